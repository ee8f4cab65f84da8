//! JSON text: one strict reading, spans of everything, and edits that leave all else alone.
//!
//! A document is scanned once into a flat table of nodes with byte spans ([`scan`]). Nothing is
//! ever printed back from a parsed value: a change is a list of [`Edits`] on the original text, so
//! that member order, number spelling, escapes, indentation and the final newline outside the
//! edits are the same bytes by construction. `store-layout.md`, "Manifests".
//!
//! The grammar is RFC 8259 exactly; what it leaves open is closed on the strict side (duplicate
//! members, lone surrogates, numbers that overflow, a byte order mark are refused).

mod doc;
mod edit;
mod error;
mod pointer;
mod print;
mod rescan;
mod scan;
mod text;
mod value;

#[cfg(test)]
pub(crate) mod tests;

pub use doc::{Doc, Kind, Member, Node, Scanned};
pub use edit::{EditError, Edited, Edits, New, Place, Splice, Tree, outside_is_equal};
pub use error::{JsonError, JsonErrorKind};
pub use pointer::{Pointer, PointerError, PointerPattern};
pub use print::{Style, print_compact};
pub use rescan::Kept;
pub use scan::scan;
pub use text::quote;
pub(crate) use text::same as same_text;
pub use value::Json;
