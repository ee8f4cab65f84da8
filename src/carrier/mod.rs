//! Carriers: where documents live outside the store, and how single documents are found in them and
//! changed without touching anything else.
//!
//! | carrier | documents | file names |
//! |---|---|---|
//! | [`Kind::Json`] | one per file | `*.json` |
//! | [`Kind::Lines`] | one per line that is not blank | `*.jsonl`, `*.ndjson` |
//! | [`Kind::Sqlite`] | one per row of the table that the pack names | `*.db`, `*.sqlite`, `*.sqlite3` |
//!
//! A carrier that was read is [`Loaded`]: one buffer, and the span and place of each document in it.
//! Texts are spliced, so that all bytes outside the changed documents stay as they are; a table is
//! changed in one transaction ([`table`]). Files are opened, replaced and kept by the store.

mod judge;
mod lines;
mod row;
pub mod table;
mod tally;

use std::fmt;
use std::ops::Range;

pub use judge::{Verdict, judge, looks_at, shape_of, unreadable};
pub use lines::{json_file, json_lines, splice};
pub use row::{Cell, Row, RowError};
pub use tally::{Aggregate, AggregateOptions, FieldRow, Member, MixedFormulas, Tally, Told};

use crate::base::escape::Escaped;
pub use crate::schema::CarrierKind as Kind;

/// The carrier that a file name speaks of.
pub fn kind_of(name: &str) -> Option<Kind> {
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() {
        return None;
    }
    match extension.to_ascii_lowercase().as_str() {
        "json" => Some(Kind::Json),
        "jsonl" | "ndjson" => Some(Kind::Lines),
        "db" | "sqlite" | "sqlite3" => Some(Kind::Sqlite),
        _ => None,
    }
}

/// Where a document lies within its carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// It is the whole file.
    Whole,
    /// On this line, counted from 1.
    Line(u64),
    /// In the row with this key, as JSON text.
    Row(String),
}

impl Place {
    /// The place with the file that it is in: `a.json`, `a.jsonl:7`, `a.db[7]`.
    pub fn in_file(&self, file: &str) -> String {
        match self {
            Self::Whole => file.to_owned(),
            Self::Line(number) => format!("{file}:{number}"),
            Self::Row(key) => format!("{file}[{key}]"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the file"),
            Self::Line(number) => write!(f, "line {number}"),
            Self::Row(key) => write!(f, "row {}", Escaped(key)),
        }
    }
}

/// One document of a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it lies.
    pub place: Place,
    /// Its bytes in the carrier's buffer.
    pub span: Range<usize>,
}

/// A carrier that was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// For a file its exact bytes, for a table the text of its rows one after the other.
    pub bytes: Vec<u8>,
    /// Its documents, in order.
    pub parts: Vec<Part>,
}

impl Loaded {
    /// A document's text.
    pub fn text(&self, part: &Part) -> &[u8] {
        &self.bytes[part.span.clone()]
    }
}

/// What became of the documents of one or more carriers. `found` is the sum of the next four;
/// documents of another kind are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents found.
    pub found: u64,
    /// Rewritten, or would be.
    pub migrated: u64,
    /// Where they are to be already.
    pub current: u64,
    /// Left, with a reason.
    pub refused: u64,
    /// No JSON document of this kind.
    pub unreadable: u64,
    /// Of another kind that the pack knows: passed through.
    pub foreign: u64,
}

impl Counts {
    /// Counts one more document.
    pub fn take(&mut self, verdict: &Verdict) {
        if matches!(verdict, Verdict::Foreign(_)) {
            self.foreign += 1;
            return;
        }
        self.found += 1;
        match verdict {
            Verdict::Rewrite(_) => self.migrated += 1,
            Verdict::Current => self.current += 1,
            Verdict::Refused(_) => self.refused += 1,
            Verdict::Unreadable(_) | Verdict::Foreign(_) => self.unreadable += 1,
        }
    }
}
