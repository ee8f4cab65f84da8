//! Feeds the `bundle_tile_paths` oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom_fuzz::oracles::check("bundle_tile_paths", data));
