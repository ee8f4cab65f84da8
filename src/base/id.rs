//! Names that people and programs give: jobs, runs, operations.
//!
//! A job id and a run id are path components, so the rule is narrow (`store-layout.md`, "Ids"):
//! 1 to 128 bytes of `A-Z a-z 0-9 . _ -`, first a letter, digit or underscore, no trailing dot, no
//! Windows device name. Everything else is refused by name before anything is written.

use std::fmt;
use std::str::FromStr;

use super::digest::Sha256;
use super::limits;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("a {kind} must not be empty")]
    Empty {
        /// What was parsed: `job id`, `run id`, ...
        kind: &'static str,
    },
    /// The text is longer than an id may be.
    #[error("{kind} of {len} bytes is over the limit of {max}", max = limits::ID_BYTES)]
    TooLong {
        /// What was parsed.
        kind: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// A character outside the allowed set.
    #[error(
        "{kind} {text:?} has {found:?} at byte {at}; allowed are letters, digits, '.', '_' and '-', \
         and the first is a letter, digit or '_'"
    )]
    BadChar {
        /// What was parsed.
        kind: &'static str,
        /// The whole text.
        text: String,
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// The text ends with a dot, which some filesystems drop.
    #[error("{kind} {text:?} ends with a dot")]
    TrailingDot {
        /// What was parsed.
        kind: &'static str,
        /// The whole text.
        text: String,
    },
    /// The text is a device name on Windows.
    #[error("{kind} {text:?} is a device name on Windows")]
    DeviceName {
        /// What was parsed.
        kind: &'static str,
        /// The whole text.
        text: String,
    },
}

/// Whether a file name means a device on Windows, with or without an extension.
pub fn is_device_name(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or(text).to_ascii_uppercase();
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || stem
            .strip_prefix("COM")
            .or_else(|| stem.strip_prefix("LPT"))
            .is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit() && n != "0")
}

fn check(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > limits::ID_BYTES {
        return Err(IdError::TooLong { kind, len: text.len() });
    }
    for (at, found) in text.char_indices() {
        let inner = found.is_ascii_alphanumeric() || found == '_';
        if !(inner || (at > 0 && (found == '.' || found == '-'))) {
            return Err(IdError::BadChar { kind, text: text.to_owned(), found, at });
        }
    }
    if text.ends_with('.') {
        return Err(IdError::TrailingDot { kind, text: text.to_owned() });
    }
    if is_device_name(text) {
        return Err(IdError::DeviceName { kind, text: text.to_owned() });
    }
    Ok(())
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check($kind, text)?;
                Ok(Self(text.into()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                super::text::parsed(d)
            }
        }
    };
}

id_type!(
    /// The name of a governed piece of work; its runs lie under it.
    JobId,
    "job id"
);
id_type!(
    /// The name of one recorded execution within its job.
    RunId,
    "run id"
);

impl RunId {
    /// Derives the id from `inputs_hash`: its first 32 hex digits, and `-<attempt>` from the second
    /// attempt on.
    pub fn derive(inputs_hash: &Sha256, attempt: u32) -> Self {
        let stem = &inputs_hash.hex()[..32];
        if attempt <= 1 { Self(stem.into()) } else { Self(format!("{stem}-{attempt}").into()) }
    }

    /// Splits a derived id into its stem and attempt number; a suffix with leading zeros, or below
    /// 2, is no attempt suffix.
    pub fn stem_and_attempt(&self) -> (&str, u32) {
        if let Some((stem, suffix)) = self.0.rsplit_once('-')
            && !suffix.starts_with('0')
            && let Ok(n) = suffix.parse::<u32>()
            && n >= 2
        {
            return (stem, n);
        }
        (&self.0, 1)
    }
}

/// A run's place: its job and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The job.
    pub job: JobId,
    /// The run within it.
    pub run: RunId,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.run)
    }
}

/// One command's changes: 32 lower-case hex digits, the first twelve the milliseconds since 1970,
/// so that operations sort by the time they began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId([u8; 16]);

impl OperationId {
    /// Makes an id from the clock and ten random bytes.
    pub fn new(millis: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0u8; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Self(bytes)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 32];
        super::digest::write_hex(&self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).expect("ASCII"))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an operation id; one has 32 lower-case hex digits")]
pub struct OperationIdError(pub String);

impl FromStr for OperationId {
    type Err = OperationIdError;

    fn from_str(text: &str) -> Result<Self, OperationIdError> {
        let bad = || OperationIdError(text.to_owned());
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| bad())?;
        let mut padded = [b'0'; 64];
        padded[..32].copy_from_slice(digits);
        let padded = std::str::from_utf8(&padded).map_err(|_| bad())?;
        let bytes = super::digest::parse_hex32(padded).ok_or_else(bad)?;
        let mut id = [0u8; 16];
        id.copy_from_slice(&bytes[..16]);
        Ok(Self(id))
    }
}

impl serde::Serialize for OperationId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for OperationId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        super::text::parsed(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_accepted_exactly_when_the_rule_says_so() {
        for good in
            ["a", "_", "0", "ig-test-001", "A.b_c-d", "a..b", "72b9c367-2", "com0", "console", "lpt10"]
        {
            assert!(good.parse::<JobId>().is_ok(), "{good:?} was refused");
        }
        assert!("x".repeat(128).parse::<RunId>().is_ok());
        let long = "x".repeat(129);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "a\0",
            "%2e%2e",
            "a\n",
            "-a",
            ".a",
            "a.",
            "a b",
            "é",
            "a\u{200d}",
            "CON",
            "con",
            "aux.txt",
            "COM1",
            "LPT9.x",
            "nul",
            &long,
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn run_id_with_attempt_suffix_splits() {
        let hash = Sha256::of(b"x");
        let first = RunId::derive(&hash, 1);
        let third = RunId::derive(&hash, 3);
        assert_eq!(first.as_str().len(), 32);
        assert_eq!(third.stem_and_attempt(), (first.as_str(), 3));
        let uuid: RunId = "575fc3b9-1d70-42de-a69c-c377ffce9d2f".parse().expect("a valid id");
        assert_eq!(uuid.stem_and_attempt().1, 1);
        let zeros: RunId = "abc-02".parse().expect("a valid id");
        assert_eq!(zeros.stem_and_attempt(), ("abc-02", 1));
    }

    #[test]
    fn operation_id_round_trips_and_sorts_by_time() {
        let a = OperationId::new(1_000, [9; 10]);
        let b = OperationId::new(1_001, [0; 10]);
        assert!(a.to_string() < b.to_string());
        assert_eq!(a.to_string().parse(), Ok(a));
        assert!("abc".parse::<OperationId>().is_err());
    }
}
