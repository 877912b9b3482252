//! Putting named tensors into a tree.

use super::file::elements;
use crate::error::{Code, Error, Result};
use crate::tensor::{Identity, Tensor};
use crate::tree::{Named, Tree, named};
use ir::Type;
use std::collections::{BTreeMap, HashMap};

/// How tensors from a file go into a tree: `strict`, with the very types of the tree, unless said otherwise.
///
/// ```
/// use tracewright::{io::Fit, DType, Tensor};
/// use std::collections::BTreeMap;
/// let mut model = (Tensor::zeros([2], DType::F32), Tensor::zeros([1], DType::F32));
/// let found = BTreeMap::from([("0".to_string(), Tensor::from([1.0f64, 2.0]))]);
/// let e = Fit::new().apply(&mut model, &found).unwrap_err().to_string();
/// assert!(e.contains("missing: 1: f32[1]") && e.contains("0 is f64[2], wanted f32[2]"), "{e}");
///
/// let fitted = Fit::new().partial().convert().apply(&mut model, &found)?;
/// assert_eq!((model.0.to_vec::<f32>()?, fitted.missing), (vec![1.0, 2.0], vec!["1".to_string()]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Fit {
    partial: bool,
    convert: bool,
}

/// What fitted only in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// Names of the tree for which there was no tensor.
    pub missing: Vec<String>,
    /// Names of tensors for which there is no place.
    pub unexpected: Vec<String>,
}

impl Fit {
    /// Everything must be there, nothing else, and of the right type.
    pub fn new() -> Fit {
        Fit::default()
    }

    /// What is missing stays as it is, and what is unexpected is left out; [`Fitted`] names both.
    pub fn partial(self) -> Fit {
        Fit { partial: true, ..self }
    }

    /// Converts the elements to the dtypes of the tree.
    pub fn convert(self) -> Fit {
        Fit { convert: true, ..self }
    }

    /// Puts the tensors into a tree, and into its cells, by their paths; the tree is as before if that is an error, which
    /// lists all names that do not fit. Tied leaves stay tied if the tensors are equal, and one name is enough for them.
    pub fn apply<T: Tree>(self, tree: &mut T, tensors: &BTreeMap<String, Tensor>) -> Result<Fitted> {
        self.named("Fit::apply", "the tensors", tree, tensors).map_err(Error::observed)
    }

    /// As [`Fit::apply`]; messages name the function and what the tensors are.
    pub(crate) fn named<T: Tree>(
        self,
        op: &'static str,
        what: &str,
        tree: &mut T,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Fitted> {
        let places = places(tree);
        // The names of each tensor that is at several places.
        let mut ties: HashMap<Identity, Vec<usize>> = HashMap::new();
        for (i, (_, place)) in places.iter().enumerate() {
            if let Named::Leaf(t) = place
                && let Some(identity) = t.identity()
            {
                ties.entry(identity).or_default().push(i);
            }
        }
        let mut found: Vec<Option<Tensor>> = places.iter().map(|(name, _)| tensors.get(name).cloned()).collect();
        for tied in ties.values().filter(|tied| tied.len() > 1) {
            let Some(first) = tied.iter().find_map(|&i| found[i].clone()) else { continue };
            for &i in tied {
                let ties = match &found[i] {
                    Some(t) => same(t, &first)?,
                    None => true,
                };
                if ties {
                    found[i] = Some(first.clone());
                }
            }
        }
        let (mut missing, mut wrong) = (Vec::new(), Vec::new());
        for ((name, place), tensor) in places.iter().zip(&mut found) {
            let wanted = place.tensor().try_type()?;
            let Some(given) = tensor else {
                missing.push((name.clone(), wanted));
                continue;
            };
            let ty = given.try_type()?;
            if self.convert && ty.shape == wanted.shape && ty.dtype != wanted.dtype {
                *tensor = Some(given.to_dtype(wanted.dtype).ok()?);
            } else if ty != wanted {
                wrong.push(format!("{name} is {ty}, wanted {wanted}"));
            }
        }
        let known: std::collections::HashSet<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
        let unexpected: Vec<&String> = tensors.keys().filter(|name| !known.contains(name.as_str())).collect();
        let whole = missing.is_empty() && unexpected.is_empty();
        if !wrong.is_empty() || !(self.partial || whole) {
            return Err(self.refused(op, what, &missing, &unexpected, &wrong, tensors));
        }
        let mut leaves = places.iter().zip(&found).filter(|((_, p), _)| matches!(p, Named::Leaf(_)));
        tree.visit_mut(&mut |leaf| {
            if let Some((_, Some(tensor))) = leaves.next() {
                *leaf = tensor.clone();
            }
        });
        for ((_, place), tensor) in places.iter().zip(&found) {
            if let (Named::Cell(cell), Some(tensor)) = (place, tensor) {
                cell.set(tensor.clone())?;
            }
        }
        let (missing, unexpected) =
            (missing.into_iter().map(|m| m.0).collect(), unexpected.into_iter().cloned().collect());
        Ok(Fitted { missing, unexpected })
    }

    fn refused(
        self,
        op: &'static str,
        what: &str,
        missing: &[(String, Type)],
        unexpected: &[&String],
        wrong: &[String],
        tensors: &BTreeMap<String, Tensor>,
    ) -> Error {
        let (missing, unexpected) = if self.partial { (&[][..], &[][..]) } else { (missing, unexpected) };
        let rule = format!(
            "{what} do not fit the tree: {} missing, {} unexpected, {} of another type",
            missing.len(),
            unexpected.len(),
            wrong.len()
        );
        let legal = if self.partial { "Fit::convert for other dtypes" } else { "Fit::partial, Fit::convert" };
        let ty = |name: &str| tensors.get(name).and_then(|t| t.try_type().ok()).map_or("?".into(), |t| t.to_string());
        let notes = missing.iter().map(|(name, ty)| format!("missing: {name}: {ty}"));
        let notes = notes.chain(unexpected.iter().map(|name| format!("unexpected: {name}: {}", ty(name))));
        let notes = notes.chain(wrong.iter().map(|w| format!("type: {w}")));
        notes.fold(Error::new(Code::File, op, rule, legal), Error::note)
    }
}

/// The leaves and cells of a tree with their names: their paths, or `tensor` if the tree is one.
pub(super) fn places<T: Tree>(tree: &T) -> Vec<(String, Named)> {
    let mut places = named(&|v| tree.visit(v), "");
    if let [(name, _)] = places.as_mut_slice()
        && name.is_empty()
    {
        *name = "tensor".into();
    }
    places
}

/// True if both have the same elements.
fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    let op = "Fit::apply";
    let (x, y) = (a.read(op)?, b.read(op)?);
    if x.ty() != y.ty() || x.shares_with(y) {
        return Ok(x.ty() == y.ty());
    }
    let (x, y) = (elements(op, a)?, elements(op, b)?);
    Ok(x.buffer().zip(y.buffer()).is_some_and(|(x, y)| x.bytes() == y.bytes()))
}
