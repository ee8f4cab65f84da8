//! Feeds the `pack_parse` oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom_fuzz::oracles::check("pack_parse", data));
