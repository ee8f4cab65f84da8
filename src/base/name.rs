//! Logical paths inside a run: relative, UTF-8, with `/` between components.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;

use super::limits;

/// Why a text is not a logical path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text is empty.
    #[error("a path must not be empty")]
    Empty,
    /// The text begins with `/`.
    #[error("path {0:?} is absolute")]
    Absolute(String),
    /// A component is empty, `.` or `..`.
    #[error("path {path:?} has the component {component:?}")]
    BadComponent {
        /// The whole path.
        path: String,
        /// The offending component.
        component: String,
    },
    /// A NUL byte, which no filesystem takes.
    #[error("path {0:?} has a NUL byte")]
    Nul(String),
    /// Longer than a path may be.
    #[error("path of {len} bytes is over the limit of {max}", max = limits::PATH_BYTES)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// One component is longer than filesystems take.
    #[error("path {path:?} has a component of {len} bytes, over the limit of {max}", max = limits::NAME_BYTES)]
    LongComponent {
        /// The whole path.
        path: String,
        /// The component's length in bytes.
        len: usize,
    },
}

/// A path inside a run. Ordered by its UTF-8 bytes, as file lists are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalPath(Box<str>);

impl LogicalPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below a folder of this path.
    pub fn join(&self, below: &str) -> Result<Self, PathError> {
        format!("{}/{below}", self.0).parse()
    }

    /// The folders that the path lies in, outermost first.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl fmt::Display for LogicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LogicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for LogicalPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > limits::PATH_BYTES {
            return Err(PathError::TooLong { len: text.len() });
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        if text.contains('\0') {
            return Err(PathError::Nul(text.to_owned()));
        }
        for component in text.split('/') {
            if matches!(component, "" | "." | "..") {
                return Err(PathError::BadComponent {
                    path: text.to_owned(),
                    component: component.to_owned(),
                });
            }
            if component.len() > limits::NAME_BYTES {
                return Err(PathError::LongComponent { path: text.to_owned(), len: component.len() });
            }
        }
        Ok(Self(text.into()))
    }
}

impl serde::Serialize for LogicalPath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for LogicalPath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a filesystem that folds case and Unicode normal forms would make of a name; two names with
/// one key are twins there.
pub fn fold_key(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Character by character, since lower case alone keeps two forms of the Greek sigma, and that of
    // a whole text depends on where the letter stands; filesystems fold them to one.
    text.nfc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_that_could_leave_its_folder_is_refused() {
        for bad in ["../x", "/x", "a/../b", "a//b", "./a", "a/", "", "a/.", "a\0b", "/"] {
            assert!(bad.parse::<LogicalPath>().is_err(), "{bad:?} was taken");
        }
        assert!("x/".repeat(2049).parse::<LogicalPath>().is_err());
        assert!("x".repeat(256).parse::<LogicalPath>().is_err());
    }

    #[test]
    fn path_at_each_limit_is_taken_and_beyond_it_refused_by_its_number() {
        let of = |bytes: usize| "x/".repeat(bytes / 2 - 1) + &"x".repeat(2 + bytes % 2);
        for (longest, over, limit) in [
            (of(limits::PATH_BYTES), of(limits::PATH_BYTES + 1), "4096"),
            ("x".repeat(limits::NAME_BYTES), "x".repeat(limits::NAME_BYTES + 1), "255"),
        ] {
            assert!(longest.parse::<LogicalPath>().is_ok(), "{}", longest.len());
            let error = over.parse::<LogicalPath>().unwrap_err().to_string();
            assert!(error.contains(&format!("over the limit of {limit}")), "{error}");
        }
    }

    #[test]
    fn path_odd_but_valid_is_kept() {
        for good in ["a", "a/b", "-x", ".hidden", "a\nb", "C:x", "CON", "\u{202e}x", "...", "a b"] {
            assert_eq!(good.parse::<LogicalPath>().map(|p| p.as_str().to_owned()).as_deref(), Ok(good));
        }
    }

    #[test]
    fn fold_key_joins_case_and_normal_form_twins() {
        assert_eq!(fold_key("README"), fold_key("readme"));
        assert_eq!(fold_key("e\u{301}"), fold_key("É"));
        assert_eq!(fold_key("\u{391}\u{3a3}"), fold_key("\u{3b1}\u{3c3}"));
        assert_eq!(fold_key("\u{391}\u{3a3}"), fold_key("\u{3b1}\u{3c2}"));
        assert_ne!(fold_key("a"), fold_key("b"));
    }
}
