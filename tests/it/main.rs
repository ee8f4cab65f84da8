//! The one integration-test binary: every file beside this one is declared here, and `tidy` holds
//! us to that.

#![allow(clippy::unwrap_used)]

mod attacks;
mod audit;
mod backend_process;
#[cfg(feature = "cli")]
mod bad_stores;
mod carry;
mod carry_hostile;
#[cfg(feature = "cli")]
mod carry_real;
#[cfg(feature = "cli")]
mod cases;
#[cfg(feature = "cli")]
mod cli_audit;
#[cfg(feature = "cli")]
mod cli_day;
#[cfg(feature = "cli")]
mod cli_evidence;
mod cli_evidence_keys;
#[cfg(feature = "cli")]
mod cli_exit;
#[cfg(feature = "cli")]
mod cli_hostile;
#[cfg(feature = "cli")]
mod cli_json;
#[cfg(feature = "cli")]
mod cli_keys;
#[cfg(feature = "cli")]
mod cli_log;
#[cfg(feature = "cli")]
mod cli_manifest_pack;
mod cli_ml_dsa;
mod cli_pack;
#[cfg(feature = "cli")]
mod cli_policy;
mod cli_process;
#[cfg(feature = "cli")]
mod cli_witness;
mod cli_words;
#[cfg(feature = "cli")]
mod common;
mod corpus;
mod crash;
mod docs;
mod fixture;
mod full_disk;
mod group;
mod layers;
mod layouts;
#[cfg(feature = "cli")]
mod limits;
mod many;
mod merkle;
mod merkle_judges;
mod model;
mod oracles;
mod packs;
mod packs_real;
mod real_runs;
mod reindex;
mod sigilzero;
mod source;
#[cfg(feature = "cli")]
mod storm;
#[cfg(feature = "cli")]
mod sweep;
mod tamper;
mod tidy;
mod wasm;
