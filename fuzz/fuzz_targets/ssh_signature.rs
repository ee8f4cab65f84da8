//! Feeds the `ssh_signature` oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom_fuzz::oracles::check("ssh_signature", data));
