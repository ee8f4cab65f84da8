//! What a key of the log says of another key: that it is to sign too, or that it is retired
//! (`store-layout.md`, "Keys of the log"). The text of a signed note; its second line is no number, so it can
//! never be taken for a checkpoint.

use std::fmt;
use std::str::FromStr;

use super::RecordError;
use crate::note::{KeyError, VerifyingKey};

const WHAT: &str = "key statement";
const FIRST: &str = "strongroom key statement v1";

/// What is said of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// It signs the log as well from here on.
    Add(VerifyingKey),
    /// Its signatures count for trees up to a size, and no further.
    Retire {
        /// The key.
        key: VerifyingKey,
        /// The size.
        trusted_to: u64,
    },
}

/// The text that another key of the log signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatement {
    /// Which log.
    pub origin: String,
    /// The log's size when it was signed.
    pub size: u64,
    /// What is said.
    pub change: KeyChange,
}

impl fmt::Display for KeyStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\norigin {}\nsize {}", self.origin, self.size)?;
        match &self.change {
            KeyChange::Add(key) => writeln!(f, "add {key}"),
            KeyChange::Retire { key, trusted_to } => writeln!(f, "retire {key}\ntrusted to {trusted_to}"),
        }
    }
}

impl FromStr for KeyStatement {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let bad = |why: &str| RecordError::Inconsistent { what: WHAT, why: why.to_owned() };
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let key = |text: &str| text.parse().map_err(|error: KeyError| bad(&error.to_string()));
        let mut lines = text.lines();
        if lines.next() != Some(FIRST) {
            return Err(bad("its first line is another"));
        }
        let origin = lines.next().and_then(|line| line.strip_prefix("origin "));
        let origin = origin.ok_or_else(|| bad("it names no origin"))?.to_owned();
        let size = number(lines.next().and_then(|line| line.strip_prefix("size ")));
        let size = size.ok_or_else(|| bad("it names no size of the log"))?;
        let line = lines.next().unwrap_or_default();
        let change = if let Some(text) = line.strip_prefix("add ") {
            KeyChange::Add(key(text)?)
        } else if let Some(text) = line.strip_prefix("retire ") {
            let trusted_to = number(lines.next().and_then(|line| line.strip_prefix("trusted to ")));
            let trusted_to = trusted_to.ok_or_else(|| bad("it names no size up to which to trust"))?;
            KeyChange::Retire { key: key(text)?, trusted_to }
        } else {
            return Err(bad("it neither adds nor retires a key"));
        };
        let statement = Self { origin, size, change };
        // What prints differently was not written by this program: one statement, one text.
        if statement.to_string() == text { Ok(statement) } else { Err(bad("it is not in its one form")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{CheckpointBody, SigningKey};

    #[test]
    fn key_statement_round_trips_and_is_never_a_checkpoint() {
        let key = SigningKey::from_seed("example.org/log".parse().unwrap(), &[3; 32]);
        let key = key.verifying_key().clone();
        for change in [KeyChange::Add(key.clone()), KeyChange::Retire { key: key.clone(), trusted_to: 7 }] {
            let statement = KeyStatement { origin: "example.org/log".into(), size: 9, change };
            let text = statement.to_string();
            assert_eq!(text.parse::<KeyStatement>().unwrap(), statement);
            assert!(text.parse::<CheckpointBody>().is_err());
            for bad in [
                text.replacen("size 9", "size 09", 1),
                text.replacen(" v1", " v2", 1),
                format!("{text}more\n"),
                text.trim_end().to_owned(),
            ] {
                assert!(bad.parse::<KeyStatement>().is_err(), "{bad:?}");
            }
        }
    }
}
