//! Feeds the `records` oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom_fuzz::oracles::check("records", data));
