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
//! | `[[shape]]` | `version`, `schema` (a file of the pack), `variant` (where a version has several shapes), `unlabelled = true` (its documents carry no label and never get one), `kind` (which of the pack's kinds of document it is of, where the pack has several: `aggregate` misses no member in documents of another kind), `when` |
//! | `[[legacy]]` | `rule` (its name), `version`, `when`: tells the version of a document without a label |
//! | `[[foreign]]` | `kind` (in words), `when`: tells a document of another kind, which is passed through |
//! | `[fields]` | `frozen`, `measured`: lists of paths |
//! | `[history]` | `at`: the array that gets a record for each rewrite |
//! | `[[end]]` | `version` (or `version/variant`), `reason`, `stuck`: a shape from which no way leads to the head, on purpose. Documents told no version go to the head, else to the nearest end that is not stuck, and are current there; at a stuck one they are refused with the reason |
//! | `[carrier.sqlite]` | `table`, `key` (the column that names a row), `[[carrier.sqlite.column]]` with `name`, `declaration`: columns to add where they are missing |
//! | `[[derived]]` | `path`, `formula`, `version` (one or a list, each a version or `version/variant`): the formula that a member has there. A `compute` says it for the version that its migration leads to |
//! | `[[deprecated]]` | `path`, `since` (a version), `use` (what to use instead), and `goes_in` (a version, which the pack need not have yet) or `grace` (how many releases after `since` keep it; 2). Only documents at `since` or later are told |
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
//! | `compute` | `formula` (its name), `expression`, `arithmetic` (`"ieee754"`, or `"exact"` with `scale` and `rounding`), `invalid` (`"null"`, `"keep"`, `"fail"`), `after` | writes what the expression gives over what is there; `invalid` says what happens where it has no value |
//! | `entries` | `to` (`"list"`, `"object"`), `key`, `value` (names) | an object to a list of objects of two members each, and back; what has the form already stays |
//! | `for_each` | `[[migration.step.step]]`: steps whose paths, targets and conditions begin at each child of `path` | each of them, as if its path began with `path/*` |
//! | `wasm` | `module` (a file of the pack), `reads`, `writes` (lists of places from `path`, without `*`); `path` may be left out | shows a WebAssembly module the members it reads and writes what it answers; the program needs the cargo feature `wasm` |
//! | `require` | `that` (conditions), `text`; `path` may be left out | refuses the document |
//!
//! A value is `value` (TOML), `json` (a JSON text, which has `null`), `from_version = true` (the
//! version that the migration, not the whole route, found the document at), or `fact` (names, tried in
//! order) with `otherwise` (`"absent"`, `"fail"`), `otherwise_value` or `otherwise_json`. A
//! condition is `{ present = "/p" }`, `{ absent = "/p" }`, `{ absent_or_empty = "/p" }`, or
//! `{ at = "/p", … }` with one of `equals`, `equals_json`, `differs`, `differs_json`, `one_of`,
//! `one_of_json`, `type`, `above`, `below` (a number above or below this one, both as binary64),
//! `min_length` (a text of at least so many characters).
//!
//! The expressions of `compute` are a language of their own:
//!
//! | form | is |
//! |---|---|
//! | `total_tokens`, `execution.steps`, `steps[0].name`, `["odd/key"]` | a member, from the object that holds the step's target (of an element: the nearest object around its array) |
//! | `$.context.tags` | the same from the whole document |
//! | `it`, `it.x` | what stands at the step's target now |
//! | `12`, `1.5e-3`, `'text'`, `"text"`, `true`, `false`, `null` | itself; a text has the escapes `\\ \' \" \n \r \t` |
//! | `+ - * /`, `-x` | arithmetic; `+` also joins two texts |
//! | `== != < <= > >=` | numbers by value, texts by code points; `==` and `!=` take any two values |
//! | `&& \|\| !`, `c ? a : b` | the second side is looked at only where it decides |
//! | `exists(m)` | whether the member is there, `null` included |
//! | `min max` (numbers, or one list), `sum` (one list), `abs`, `round(x)`, `round(x, digits)` | numbers |
//! | `upper lower trim`, `text(x)`, `number(t)` | texts; `number` takes JSON's numbers only |
//! | `lines(t)`, `split(t, by)`, `join(list, by)`, `len(t or list)` | `lines` cuts at LF and CRLF and makes no empty last line; `len` of a text counts characters |
//! | `seconds(t)`, `millis(t)` | an RFC 3339 time since 1970; a second argument such as `'+00:00'` is the offset of times that have none |
//!
//! Member names are letters, digits and `_`; any other name goes in brackets and quotes. What is
//! missing, `null` or of another type where a value is needed makes the result invalid, as do
//! division by zero and numbers beyond bounds.
//!
//! `ieee754`: binary64, operations in the written order. A computed number is spelled as Python's
//! `repr` and `json` spell it: the shortest digits that read back, `12.0`, `1e-07`, `1e+16`; a number
//! taken over as it is keeps its text. `round` goes to even, by the exact value, as Python's does.
//! `exact`: fractions over the numbers' own text. The result has exactly `scale` digits after the
//! point, by `rounding`: `half-even`, `half-up` (ties away from zero) or `down` (towards zero).

mod act;
mod apply;
mod builtin;
mod carried;
pub mod check;
mod compat;
mod compute;
mod condition;
mod deprecated;
mod derive;
mod describe;
mod detect;
pub mod diff;
mod draft;
mod draw;
mod end;
mod engine;
mod error;
mod expr;
mod fact;
mod fit;
mod foreign;
mod formula;
mod graph;
#[cfg(feature = "wasm")]
mod guest;
pub mod history;
pub mod invariant;
mod names;
mod outcome;
mod pack;
mod reader;
mod shape;
mod step;
mod undescribed;
mod unmeasured;
mod wasm;

#[cfg(test)]
mod tests;

pub use apply::StepProblem;
pub use builtin::{builtin_names, pack_files};
pub use carried::{AddedColumn, CarrierKind, SqliteCarrier};
pub use compat::Compatibility;
pub use deprecated::Deprecation;
pub use detect::Detection;
pub use draft::{Draft, DraftError, Sample, draft};
pub use end::{Destination, End};
pub use engine::Told;
pub use error::{PackError, PackErrorKind};
pub use expr::{ExprErrorKind, Invalid};
pub use fact::{FactFormat, FactSource, FactSpec, Facts, FileFact};
pub use graph::{MigrationRef, NoRoute};
pub use outcome::{Outcome, Refusal, Rewrite, Stamp};
pub use pack::{PACK_FILE, Pack};
