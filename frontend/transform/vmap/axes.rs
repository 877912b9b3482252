//! Which axis of each leaf of a tree is that of the examples.

use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::tree::{Fixed, Paths, Step, Tree, Visit};

/// Which axis of the tensors of a tree is that of the examples: one for all of them, or one choice for each part of the
/// tree.
///
/// Made from a number, negative from the end; from `None` for what is the same for all examples; from a tuple, array or
/// vector with an entry for each part of a tuple, struct, list or map, in order.
///
/// ```
/// use tracewright::vmap::Axes;
/// let axes = Axes::from((0, (None, -1)));
/// assert_eq!(axes, Axes::Parts(vec![Axes::At(0), Axes::Parts(vec![Axes::Common, Axes::At(-1)])]));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Axes {
    /// The same for all examples.
    Common,
    /// An axis, negative from the end.
    At(isize),
    /// One choice for each part.
    Parts(Vec<Axes>),
}

impl From<i32> for Axes {
    fn from(axis: i32) -> Axes {
        Axes::At(axis as isize)
    }
}

impl From<Option<i32>> for Axes {
    fn from(axis: Option<i32>) -> Axes {
        axis.map_or(Axes::Common, Axes::from)
    }
}

impl<T: Into<Axes>> From<Vec<T>> for Axes {
    fn from(parts: Vec<T>) -> Axes {
        Axes::Parts(parts.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Axes>, const N: usize> From<[T; N]> for Axes {
    fn from(parts: [T; N]) -> Axes {
        Axes::Parts(parts.into_iter().map(Into::into).collect())
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*))*) => { $(
        impl<$($t: Into<Axes>),*> From<($($t,)*)> for Axes {
            fn from(parts: ($($t,)*)) -> Axes {
                Axes::Parts(vec![$(parts.$i.into()),*])
            }
        }
    )* };
}
tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

impl Axes {
    /// The choice for each leaf of a tree; `what` names the tree.
    pub(super) fn of_leaves(&self, what: &str, tree: &impl Tree) -> Result<Vec<Option<isize>>> {
        let levels = vec![Level { axes: self, next: 0 }];
        let mut walk = Assign { what, levels, paths: Paths::default(), found: Ok(Vec::new()) };
        tree.visit(&mut walk);
        walk.leave();
        walk.found
    }
}

/// A walk over a tree, with the choice for each part that it is in.
struct Assign<'a> {
    what: &'a str,
    levels: Vec<Level<'a>>,
    paths: Paths,
    found: Result<Vec<Option<isize>>>,
}

struct Level<'a> {
    axes: &'a Axes,
    /// The next part.
    next: usize,
}

const LEGAL: &str = "a number or None for all parts, or one for each part";

impl Assign<'_> {
    fn place(&self) -> String {
        match self.paths.text() {
            "" => self.what.into(),
            path => format!("{path} of {}", self.what),
        }
    }
    fn fail(&mut self, rule: String) {
        if self.found.is_ok() {
            self.found = Err(Error::new(Code::Argument, "vmap", rule, LEGAL));
        }
    }
    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if let Axes::Parts(parts) = level.axes
            && level.next < parts.len()
        {
            let (path, n) = (self.place(), level.next);
            self.fail(format!("{path} has {n} parts, and axes are given for {}", parts.len()));
        }
    }
}

impl Visit for Assign<'_> {
    fn leaf(&mut self, _: &Tensor) {
        let choice = match self.levels.last().map(|l| l.axes) {
            Some(Axes::At(axis)) => Some(*axis),
            Some(Axes::Parts(parts)) => {
                // Said here, and not again on the way out.
                let n = parts.len();
                self.levels.last_mut().expect("it was there").next = n;
                return self.fail(format!("{} is a tensor, and axes are given for {n} parts", self.place()));
            }
            _ => None,
        };
        if let Ok(all) = &mut self.found {
            all.push(choice);
        }
    }
    fn fixed(&mut self, _: Fixed<'_>) {}
    fn enter(&mut self, step: Step<'_>) {
        let mut axes = &Axes::Common;
        if let Some(level) = self.levels.last_mut() {
            level.next += 1;
            axes = level.axes;
            if let Axes::Parts(parts) = axes {
                axes = parts.get(level.next - 1).unwrap_or(&Axes::Common);
                if level.next > parts.len() {
                    let n = parts.len();
                    self.fail(format!("{} has more than the {n} parts that axes are given for", self.place()));
                }
            }
        }
        self.levels.push(Level { axes, next: 0 });
        self.paths.enter(step);
    }
    fn exit(&mut self) {
        self.leave();
        self.paths.exit();
    }
}
