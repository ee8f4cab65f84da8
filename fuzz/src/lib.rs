//! The oracles of the fuzz targets: the very ones that `cargo test` replays its corpora through.

#[path = "../../tests/it/oracles/mod.rs"]
pub mod oracles;
