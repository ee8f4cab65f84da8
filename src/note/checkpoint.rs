//! The text of a checkpoint, C2SP tlog-checkpoint: origin, size, root, and perhaps further lines.
//!
//! The root is held as 32 bytes: what it is the root of is the Merkle tree's business, and this
//! module stands beside that one, not above it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// There are fewer than three lines, an empty one, or no final newline.
    #[error("a checkpoint has at least three lines, none empty, each ended by a newline")]
    Lines,
    /// The second line is not a decimal number in its shortest form within 63 bits.
    #[error("the second line of a checkpoint is the tree's size in decimal, without leading zeros")]
    Size,
    /// The third line is not 32 bytes in base64.
    #[error("the third line of a checkpoint is the root hash, 32 bytes in base64")]
    Root,
}

/// What a checkpoint says: this log had this root at this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointBody {
    /// Which log.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root hash of the tree of that size.
    pub root: [u8; 32],
    /// Further lines, without their newlines. They are kept and mean nothing here.
    pub extensions: Vec<String>,
}

impl fmt::Display for CheckpointBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for CheckpointBody {
    type Err = CheckpointError;

    /// Takes the text of a note and nothing that would print differently.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n').collect();
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(CheckpointError::Lines);
        };
        if lines.contains(&"") {
            return Err(CheckpointError::Lines);
        }
        // The shortest form is what the number itself prints as; that rules out signs and zeros.
        let number: u64 = size.parse().map_err(|_| CheckpointError::Size)?;
        if number.to_string() != *size || i64::try_from(number).is_err() {
            return Err(CheckpointError::Size);
        }
        let root =
            STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(CheckpointError::Root)?;
        let extensions = extensions.iter().map(|line| (*line).to_owned()).collect();
        Ok(Self { origin: (*origin).to_owned(), size: number, root, extensions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn checkpoint_of_the_specification_round_trips() {
        let body: CheckpointBody = TEXT.parse().unwrap();
        assert_eq!((body.origin.as_str(), body.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(body.to_string(), TEXT);
        let more = format!("{TEXT}an extension\n");
        assert_eq!(more.parse::<CheckpointBody>().map(|body| body.to_string()), Ok(more));
    }

    #[test]
    fn checkpoint_in_any_other_form_is_refused() {
        use CheckpointError::{Lines, Root, Size};
        for (bad, error) in [
            (String::new(), Lines),
            (TEXT.trim_end().to_owned(), Lines),
            (format!("{TEXT}\n"), Lines),
            (format!("\n{TEXT}"), Lines),
            ("a\n1\n".to_owned(), Lines),
            (TEXT.replace("20852163", "020852163"), Size),
            (TEXT.replace("20852163", "+1"), Size),
            (TEXT.replace("20852163", "-1"), Size),
            (TEXT.replace("20852163", " 1"), Size),
            (TEXT.replace("20852163", "9223372036854775808"), Size),
            (TEXT.replace("20852163", "99999999999999999999"), Size),
            (TEXT.replace("2I=", "2J="), Root),
            (TEXT.replace("2I=", "2I"), Root),
            (TEXT.replace("CsUY", ""), Root),
            (TEXT.replace("2I=\n", "2I= \n"), Root),
        ] {
            assert_eq!(bad.parse::<CheckpointBody>(), Err(error), "{bad:?}");
        }
    }
}
