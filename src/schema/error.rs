//! Why a pack cannot be loaded, with file, line and column.

use std::fmt;

use super::expr::ExprErrorKind;
use crate::base::json::{JsonErrorKind, PointerError};

/// What is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackErrorKind {
    /// A file that the pack needs is not among those given.
    #[error("the pack has no such file")]
    MissingFile,
    /// A file that the pack names is not among those given.
    #[error("the pack has no file {file:?}")]
    NoFile {
        /// The name.
        file: String,
    },
    /// What the pack asks for is not in this build of the program.
    #[error("{what} needs a program that was built with the cargo feature {feature:?}; this one was not")]
    NoFeature {
        /// What is asked for.
        what: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A file is no WebAssembly module that a step may run.
    #[error("not a module for a step: {why}")]
    Module {
        /// Why not.
        why: String,
    },
    /// The file is not UTF-8.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// The file is not TOML.
    #[error("not TOML: {message}")]
    Toml {
        /// What the reader says.
        message: String,
    },
    /// The file is not JSON.
    #[error("{0}")]
    Json(JsonErrorKind),
    /// A JSON text inside the pack file is not JSON.
    #[error("the JSON text of {key:?} is refused: {problem}")]
    JsonText {
        /// The key that holds the text.
        key: String,
        /// What is wrong with it.
        problem: JsonErrorKind,
    },
    /// A schema is not a JSON Schema.
    #[error("not a JSON Schema: {message}")]
    Schema {
        /// What the validator says.
        message: String,
    },
    /// A key that means nothing here.
    #[error("unknown key {key:?}; known here are {}", known.join(", "))]
    UnknownKey {
        /// The key.
        key: String,
        /// Those that mean something.
        known: Vec<&'static str>,
    },
    /// A key that has to be here is not.
    #[error("the key {key:?} is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value of another type than the key takes.
    #[error("{key:?} is {found}, where {expected} is wanted")]
    WrongType {
        /// The key.
        key: String,
        /// The type wanted.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A value that the key does not take.
    #[error("{key:?} cannot be {found:?}; {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// Keys that exclude each other, or one of several that is needed.
    #[error("write one of {}", keys.join(", "))]
    OneOf {
        /// The keys.
        keys: &'static [&'static str],
    },
    /// A step of a kind that this program does not know.
    #[error("unknown op {op:?}; known are {}", known.join(", "))]
    UnknownOp {
        /// The op.
        op: String,
        /// Those known.
        known: &'static [&'static str],
    },
    /// A text is not a JSON Pointer.
    #[error("{0}")]
    Pointer(#[from] PointerError),
    /// An expression cannot be read.
    #[error("{0}")]
    Expression(#[from] ExprErrorKind),
    /// Two `*` of a path have to have partners in the other path of the step.
    #[error("{to:?} has more '*' than the step's path {path:?}")]
    Stars {
        /// The step's path.
        path: String,
        /// The other path.
        to: String,
    },
    /// A shape is named that the pack does not have.
    #[error("the pack has no shape {name:?}; it has {}", known.join(", "))]
    UnknownShape {
        /// The name.
        name: String,
        /// The shapes it has.
        known: Vec<String>,
    },
    /// A fact is named that the pack does not have.
    #[error("the pack has no fact {name:?}")]
    UnknownFact {
        /// The name.
        name: String,
    },
    /// Two things have the same name.
    #[error("a second {what} {name:?}")]
    Twice {
        /// What there are two of.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A step writes a member that the pack calls measured: that would invent a measurement.
    #[error("the step writes {path:?}, but {measured:?} is measured and never invented")]
    Measured {
        /// The step's path.
        path: String,
        /// The measured path.
        measured: String,
    },
    /// A step changes a member that the pack calls frozen.
    #[error("the step changes {path:?}, but {frozen:?} is frozen")]
    Frozen {
        /// The step's path.
        path: String,
        /// The frozen path.
        frozen: String,
    },
    /// A step writes where the engine itself writes.
    #[error("the step writes {path:?}, which belongs to {owner}")]
    Reserved {
        /// The step's path.
        path: String,
        /// Whose place it is.
        owner: &'static str,
    },
    /// One member has two formulas in one version.
    #[error("{path:?} has two formulas in {version:?}: {one:?} and {other:?}")]
    Formulas {
        /// The member.
        path: Box<str>,
        /// The version or shape.
        version: Box<str>,
        /// One formula.
        one: Box<str>,
        /// The other.
        other: Box<str>,
    },
    /// A shape is called an end, and is not one.
    #[error("{name:?} is no end: migrations lead from it to the head {head:?}")]
    NoEnd {
        /// The version or shape.
        name: String,
        /// The pack's head.
        head: String,
    },
    /// The pack's order of versions does not fit its versions.
    #[error("order is \"semver\", but {version:?} is not a semantic version")]
    NotSemver {
        /// The version.
        version: String,
    },
}

/// A pack refused, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackError {
    /// The file within the pack.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// What is wrong.
    pub kind: PackErrorKind,
}

impl PackError {
    /// Works out line and column of a byte offset.
    pub(super) fn at(file: &str, text: &str, byte: usize, kind: PackErrorKind) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let one_based = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Self {
            file: file.to_owned(),
            line: one_based(before.bytes().filter(|&b| b == b'\n').count()),
            column: one_based(before[line_start..].chars().count()),
            kind,
        }
    }
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.kind)
    }
}

impl std::error::Error for PackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}
