//! Feeds the `json_edit` oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom_fuzz::oracles::check("json_edit", data));
