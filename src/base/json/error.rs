//! Why a text is not a JSON document that the store takes, and where.

use std::fmt;

use crate::base::escape::Escaped;
use crate::base::limits;

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// The text holds no value at all.
    Empty,
    /// More bytes than a document may have.
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text begins with a byte order mark.
    ByteOrderMark,
    /// Something else stands where the grammar wants `expected`.
    Unexpected {
        /// What the grammar allows here.
        expected: &'static str,
        /// The character found; `None` at the end of the text.
        found: Option<char>,
    },
    /// A spelling of some other language: `NaN`, `Infinity`, `None`, `True`, a comment.
    Foreign {
        /// The spelling found.
        found: &'static str,
        /// What JSON has in its place.
        instead: &'static str,
    },
    /// A comma stands before the closing bracket.
    TrailingComma,
    /// More text follows the document's value.
    TrailingBytes,
    /// Two members of one object have the same name once escapes are decoded.
    DuplicateMember {
        /// The name.
        key: String,
    },
    /// A `\u` escape names half of a surrogate pair without the other half.
    LoneSurrogate {
        /// The code unit.
        unit: u16,
    },
    /// A backslash is followed by something that is no escape.
    BadEscape,
    /// A control character stands unescaped in a string.
    ControlCharacter {
        /// The character.
        found: char,
    },
    /// A string has no closing quote.
    UnclosedString,
    /// A number is not spelled as RFC 8259 says (leading zero, plus sign, missing digits).
    BadNumber {
        /// What the grammar wants.
        expected: &'static str,
    },
    /// A number is too large for a binary64, so that other readers would see infinity.
    NumberOverflow,
    /// A number token is longer than the limit.
    NumberTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Objects and arrays are nested too deeply.
    TooDeep,
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the text is empty"),
            Self::TooLarge { len } => {
                write!(f, "the text of {len} bytes is over the limit of {}", limits::JSON_BYTES)
            }
            Self::NotUtf8 => f.write_str("the bytes are not UTF-8"),
            Self::ByteOrderMark => f.write_str("the text begins with a byte order mark"),
            Self::Unexpected { expected, found: None } => {
                write!(f, "the text ends where {expected} is wanted")
            }
            Self::Unexpected { expected, found: Some(c) } => {
                write!(f, "found '{}' where {expected} is wanted", Escaped(c.encode_utf8(&mut [0; 4])))
            }
            Self::Foreign { found, .. } => write!(f, "{found} is not JSON"),
            Self::TrailingComma => f.write_str("a comma stands before the closing bracket"),
            Self::TrailingBytes => f.write_str("more text follows the document"),
            Self::DuplicateMember { key } => write!(f, "duplicate member \"{}\"", Escaped(key)),
            Self::LoneSurrogate { unit } => {
                write!(f, "lone surrogate \\u{unit:04x}, which is no character")
            }
            Self::BadEscape => f.write_str("a backslash is followed by no known escape"),
            Self::ControlCharacter { found } => {
                write!(f, "unescaped control character U+{:04X} in a string", u32::from(*found))
            }
            Self::UnclosedString => f.write_str("a string has no closing quote"),
            Self::BadNumber { expected } => {
                write!(f, "a number is misspelled: {expected} is wanted")
            }
            Self::NumberOverflow => f.write_str("a number is too large for a 64-bit float"),
            Self::NumberTooLong { len } => {
                write!(f, "a number of {len} bytes is over the limit of {}", limits::NUMBER_BYTES)
            }
            Self::TooDeep => write!(f, "nested deeper than {} levels", limits::JSON_DEPTH),
        }
    }
}

impl JsonErrorKind {
    /// What would help, where there is something to say beyond the problem itself.
    pub fn help(&self) -> Option<&str> {
        Some(match self {
            Self::Empty => "a document is one JSON value",
            Self::NotUtf8 => "store the document as UTF-8",
            Self::ByteOrderMark => "remove the first three bytes (EF BB BF)",
            Self::Foreign { instead, .. } => instead,
            Self::TrailingComma => "remove the comma",
            Self::TrailingBytes => "one file holds one JSON value",
            Self::DuplicateMember { .. } => "keep one of the members",
            Self::LoneSurrogate { .. } => "write both halves of the pair, or the character itself",
            Self::BadEscape => "the escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX",
            Self::ControlCharacter { .. } => "write it as \\uXXXX",
            Self::NumberOverflow => "write it as a string if every digit counts",
            _ => return None,
        })
    }
}

/// A JSON text refused, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// The byte offset, counted from 0.
    pub byte: usize,
}

impl JsonError {
    /// Works out line and column of a byte offset.
    pub(super) fn at(text: &[u8], byte: usize, kind: JsonErrorKind) -> Self {
        let byte = byte.min(text.len());
        let before = &text[..byte];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let lines = before.iter().filter(|&&b| b == b'\n').count();
        // Continuation bytes of UTF-8 begin no character.
        let column = before[line_start..].iter().filter(|&&b| b & 0xc0 != 0x80).count();
        let one_based = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Self { kind, line: one_based(lines), column: one_based(column), byte }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {}, column {} (byte {})", self.kind, self.line, self.column, self.byte)?;
        match self.kind.help() {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for JsonError {}
