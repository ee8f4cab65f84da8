//! Feeds the `note_checkpoint` oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom_fuzz::oracles::check("note_checkpoint", data));
