//! What must hold of every input, however hostile: one oracle for each fuzz target.
//!
//! An oracle takes bytes, gives them to the library and panics when a promise is broken. The fuzz
//! targets feed them bytes that a fuzzer makes up; `corpus` feeds them the files under
//! `tests/corpus`, so that what a fuzzer once found is looked at again by every `cargo test`. Each
//! compares the library with something slower and simpler than itself: another parser, a
//! definition, or the input before a round trip.

mod input;
mod json;
mod log;
mod objects;
mod packs;
mod text;
mod words;

/// A target's name, which is also that of its corpus, and its oracle.
pub type Oracle = (&'static str, fn(&[u8]));

/// Every oracle.
pub const ORACLES: &[Oracle] = &[
    ("bundle_tile_paths", log::bundle_tile_paths),
    ("canonical", json::canonical),
    ("json_edit", json::edit),
    ("json_scan", json::scan),
    ("migrate", packs::migrate),
    ("names", text::names),
    ("note_checkpoint", log::note_checkpoint),
    ("pack_parse", packs::pack_parse),
    ("policy", words::policy),
    ("proofs", log::proofs),
    ("records", text::records),
    ("run_proof", log::run_proof),
    ("segment", objects::segment),
    ("ssh_signature", words::ssh_signature),
    ("time_stamp", words::time_stamp),
    ("wal_frames", objects::wal_frames),
];

/// Holds the input against the oracle of that name.
///
/// # Panics
/// When a promise is broken, or when there is no such oracle.
pub fn check(name: &str, data: &[u8]) {
    let (_, oracle) = ORACLES.iter().find(|(known, _)| *known == name).expect("a known oracle");
    oracle(data);
}
