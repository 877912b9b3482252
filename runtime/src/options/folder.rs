//! Where files are kept from one process to the next.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A folder for what is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheFolder {
    /// That of the user: `$XDG_CACHE_HOME/tracewright`, or `$HOME/.cache/tracewright`.
    User,
    /// None.
    Off,
    /// This one.
    At(PathBuf),
}

impl CacheFolder {
    /// Where it is, or why there is none; `None` if none is wanted.
    pub fn path(&self) -> Option<Result<PathBuf, String>> {
        static USER: OnceLock<Option<PathBuf>> = OnceLock::new();
        match self {
            CacheFolder::Off => None,
            CacheFolder::At(path) => Some(Ok(path.clone())),
            CacheFolder::User => {
                let user = USER.get_or_init(|| user(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")));
                Some(user.clone().ok_or_else(|| "neither XDG_CACHE_HOME nor HOME names a folder".into()))
            }
        }
    }
}

/// The folder of the user; relative paths mean nothing here.
fn user(cache: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let cache = cache.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".cache")))?;
    Some(cache.join("tracewright"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_user() {
        let of = |cache: &str, home: &str| user(Some(cache.into()), Some(home.into()));
        assert_eq!(of("/c", "/h"), Some("/c/tracewright".into()));
        assert_eq!(of("c", "/h"), Some("/h/.cache/tracewright".into()));
        assert_eq!(of("", ""), None);
        assert_eq!(user(None, None), None);
        assert_eq!(CacheFolder::Off.path(), None);
        assert_eq!(CacheFolder::At("x".into()).path(), Some(Ok("x".into())));
    }
}
