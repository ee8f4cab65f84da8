//! Packs: kinds of schema-versioned document, their shapes, and the migrations between them.
//!
//! A pack is data (`pack.toml` and one JSON Schema per shape), read by [`Pack::parse`]. It tells
//! what a document is ([`Pack::detect`]), finds the way between versions ([`Pack::route`]) and
//! migrates ([`Pack::migrate`]): a pure function from text, facts and stamp to new text. Whatever a
//! pack declares, the invariants of [`invariant`] hold for every rewrite.

mod apply;
mod builtin;
mod condition;
mod detect;
pub mod diff;
mod engine;
mod error;
mod fact;
mod graph;
pub mod history;
pub mod invariant;
mod pack;
mod reader;
mod shape;
mod step;

#[cfg(test)]
mod tests;

pub use apply::StepProblem;
pub use builtin::{builtin_names, pack_files};
pub use detect::Detection;
pub use engine::{Outcome, Refusal, Rewrite, Stamp};
pub use error::{PackError, PackErrorKind};
pub use fact::{FactFormat, FactSource, FactSpec, Facts, FileFact};
pub use graph::{MigrationRef, NoRoute};
pub use pack::{PACK_FILE, Pack};
