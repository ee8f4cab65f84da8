//! Packs: kinds of schema-versioned document, their shapes, and the migrations between them.
//!
//! A pack is data (`pack.toml` and one JSON Schema per shape), read by [`Pack::parse`]. It tells
//! what a document is ([`Pack::detect`]), finds the way between versions ([`Pack::route`]) and
//! migrates ([`Pack::migrate`]): a pure function from text, facts and stamp to new text. Whatever a
//! pack declares, the invariants of [`invariant`] hold for every rewrite.
//!
//! # The grammar of `pack.toml`
//!
//! | table | keys |
//! |---|---|
//! | `[pack]` | `name`, `version`, `head` (a version, or `version/variant`), `order` (`"graph"` or `"semver"`), `version_at` (a pointer; without it shapes are told by `when` alone), `unlabelled` (`"null"`, `"empty"`: labels that count as none), `summary` |
//! | `[[shape]]` | `version`, `schema` (a file of the pack), `variant` (where a version has several shapes), `unlabelled = true` (its documents carry no label and never get one), `when` |
//! | `[[legacy]]` | `rule` (its name), `version`, `when`: tells the version of a document without a label |
//! | `[[foreign]]` | `kind` (in words), `when`: tells a document of another kind, which is passed through |
//! | `[fields]` | `frozen`, `measured`: lists of paths |
//! | `[history]` | `at`: the array that gets a record for each rewrite |
//! | `[[end]]` | `version` (or `version/variant`), `reason`, `stuck`: a shape from which no way leads to the head, on purpose. Documents told no version go to the head, else to the nearest end that is not stuck, and are current there; at a stuck one they are refused with the reason |
//! | `[[fact]]` | `name`, `must_be = "id"`, and one of `file` + `format` + `pointer`; `member` + `pattern` (`"jobs/<id>/brief.yaml"`); `files` (a folder) |
//! | `[[migration]]` | `from`, `to` (a version, or `version/variant`), `summary`, `inverse` (`true`: the migration the other way undoes it, which `pack check` tries), `[[migration.step]]` |
//!
//! Paths are JSON Pointers in which `*` stands for each child. The engine writes the label itself.
//! Every step has `op`, `path`, and may have `when` (a list of conditions, all of which must hold):
//!
//! | `op` | keys | does |
//! |---|---|---|
//! | `set` | value, `after` | writes; says what it replaced |
//! | `default` | value, `after`, `also_null` | writes only where nothing is |
//! | `rename` | `to` (a name) | keeps place and text |
//! | `move`, `copy` | `to` (a path) | to an object that is there |
//! | `preserve` | `to` (a path), or `record = true` | like `move`, making the objects above; or the value leaves the document for the store's record of the migration, with its exact text |
//! | `remove` | `reason` | with its comma |
//! | `map` | `table`, `otherwise` (`"fail"`, `"keep"`), or `otherwise_value`, `otherwise_json` | by the text of a string |
//! | `cast` | `to` (a type) | only without loss |
//! | `require` | `that` (conditions), `text`; `path` may be left out | refuses the document |
//!
//! A value is `value` (TOML), `json` (a JSON text, which has `null`), or `fact` (names, tried in
//! order) with `otherwise` (`"absent"`, `"fail"`), `otherwise_value` or `otherwise_json`. A
//! condition is `{ present = "/p" }`, `{ absent = "/p" }`, `{ absent_or_empty = "/p" }`, or
//! `{ at = "/p", … }` with one of `equals`, `equals_json`, `differs`, `differs_json`, `one_of`,
//! `one_of_json`, `type`.

mod apply;
mod builtin;
pub mod check;
mod compat;
mod condition;
mod derive;
mod detect;
pub mod diff;
mod end;
mod engine;
mod error;
mod fact;
mod foreign;
mod graph;
pub mod history;
pub mod invariant;
mod pack;
mod reader;
mod shape;
mod step;
mod undescribed;

#[cfg(test)]
mod tests;

pub use apply::StepProblem;
pub use builtin::{builtin_names, pack_files};
pub use compat::Compatibility;
pub use detect::Detection;
pub use end::{Destination, End};
pub use engine::{Outcome, Refusal, Rewrite, Stamp};
pub use error::{PackError, PackErrorKind};
pub use fact::{FactFormat, FactSource, FactSpec, Facts, FileFact};
pub use graph::{MigrationRef, NoRoute};
pub use pack::{PACK_FILE, Pack};
