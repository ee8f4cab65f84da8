//! The expression language of `compute`: one formula over the members of a document, and nothing
//! else. It has no clock, chance, environment or loop, and its size, depth and results are bounded.
//!
//! The language and both arithmetics are described with the grammar of packs, in [`crate::schema`].

mod eval;
mod exact;
mod lex;
mod parse;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

pub use eval::Invalid;
pub(super) use eval::Scope;
use parse::Expr;
pub(super) use parse::{Path, Seg, Start};

use crate::base::json::Json;

/// Longest expression, in bytes.
pub(super) const SOURCE_BYTES: usize = 4096;
/// Deepest nesting of an expression, chains of operators included.
pub(super) const DEPTH: usize = 64;

/// What is wrong with the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExprErrorKind {
    /// It is too long.
    #[error("the expression has {len} bytes; at most {SOURCE_BYTES} are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// It nests too deeply.
    #[error("the expression nests deeper than {DEPTH} levels")]
    TooDeep,
    /// A character that begins nothing.
    #[error("{found:?} means nothing in an expression")]
    Character {
        /// The character.
        found: char,
    },
    /// A text without its closing quote, or with an unknown escape.
    #[error("the text is not closed, or has an escape other than \\\\ \\' \\\" \\n \\r \\t")]
    Text,
    /// A number that JSON does not have.
    #[error("{found:?} is no number as JSON writes it")]
    Number {
        /// How it is spelled.
        found: String,
    },
    /// Something else than what can stand here.
    #[error("{wanted} is wanted here, not {found}")]
    Unexpected {
        /// What can stand here.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// A function that the language does not have.
    #[error("there is no function {name:?}; known are {}", known.join(", "))]
    UnknownFunction {
        /// Its name.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// A function with too few or too many arguments.
    #[error("{name} takes {wanted}, not {found} arguments")]
    Arguments {
        /// The function.
        name: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// How many it got.
        found: usize,
    },
}

/// An expression refused, with the byte of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExprError {
    pub at: usize,
    pub kind: ExprErrorKind,
}

/// How exact results lose digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    HalfEven,
    HalfUp,
    Down,
}

/// How numbers are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Ieee754,
    Exact { scale: u32, rounding: Rounding },
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ieee754 => f.write_str("ieee754"),
            Self::Exact { scale, rounding } => {
                let rounding = match rounding {
                    Rounding::HalfEven => "half-even",
                    Rounding::HalfUp => "half-up",
                    Rounding::Down => "down",
                };
                write!(f, "exact({scale}, {rounding})")
            }
        }
    }
}

/// A parsed expression with the arithmetic it is meant for.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    root: Expr,
    pub arithmetic: Arithmetic,
}

impl Expression {
    pub fn parse(text: &str, arithmetic: Arithmetic) -> Result<Self, ExprError> {
        Ok(Self { root: parse::parse(text)?, arithmetic })
    }

    /// The value of the expression, ready to be written.
    pub fn evaluate<'d>(&'d self, scope: &Scope<'d>) -> Result<Json, Invalid> {
        eval::evaluate(&self.root, scope, self.arithmetic)
    }

    /// The members that it names.
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        self.root.paths(&mut paths);
        paths
    }
}

impl fmt::Display for Expression {
    /// Writes the expression without its author's spacing, as part of what identifies a pack.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.arithmetic, self.root)
    }
}
