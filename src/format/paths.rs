//! Where things lie in a store (`store-layout.md`, "Tree"). Paths are relative to its root.

use crate::base::digest::Sha256;
use crate::base::id::{JobId, OperationId, RunKey};

/// The store's configuration.
pub const CONFIG: &str = "strongroom.toml";
/// The runs, readable by any tool.
pub const ARTIFACTS: &str = "artifacts";
/// Blobs by digest.
pub const OBJECTS: &str = "objects";
/// Segments of small blobs.
pub const SEGMENTS: &str = "objects/segments";
/// The audit log.
pub const AUDIT: &str = "audit";
/// How far the log is settled: local state.
pub const HEAD: &str = "audit/head";
/// The signed checkpoint (C2SP tlog-checkpoint).
pub const CHECKPOINT: &str = "audit/checkpoint";
/// Public keys of the log, which prove nothing by lying here.
pub const KEYS: &str = "audit/keys";
/// What others said of the log, by size.
pub const ANCHORS: &str = "audit/anchors";
/// Held while the log's keys are being changed, so that each change is decided on the one before.
pub const KEYS_LOCK: &str = "tmp/keys.lock";
/// The run map's nodes.
pub const RUN_MAP: &str = "audit/runs";
/// Batches committed and not yet settled.
pub const WAL: &str = "audit/wal";
/// Entry bundles (C2SP tlog-tiles).
pub const ENTRIES: &str = "audit/tile/entries";
/// Packs in use, as files.
pub const PACKS: &str = "packs";
/// The disposable index.
pub const INDEX: &str = "index.sqlite";
/// The journal by which an update of the index that was interrupted is taken back.
pub const INDEX_JOURNAL: &str = "index.sqlite-journal";
/// What `adopt` remembers of folders that it looked into, as disposable.
pub const ADOPTED: &str = "index.adopted";
/// Held while the index is being refreshed, so that two processes never build it at once.
pub const INDEX_LOCK: &str = "tmp/index.lock";
/// Staging, on the same filesystem.
pub const TMP: &str = "tmp";
/// Held by whoever changes documents outside the store.
pub const CARRIERS_LOCK: &str = "tmp/carriers.lock";
/// Held by whoever is next to have the store lock, where several processes wait for it.
pub const QUEUE: &str = "tmp/queue.lock";
/// The store lock.
pub const LOCK: &str = "lock";
/// The manifest's file name within a run.
pub const MANIFEST: &str = "manifest.json";

/// Whether a name in the root folder of a store is one of the store's own. Other files may lie beside
/// them, and are none of its business.
pub fn is_own(name: &str) -> bool {
    [ARTIFACTS, OBJECTS, AUDIT, PACKS, TMP, LOCK, CONFIG, ADOPTED].contains(&name) || name.starts_with(INDEX)
}

/// The folder of a job.
pub fn job_dir(job: &JobId) -> String {
    format!("{ARTIFACTS}/{job}")
}

/// The folder of a run.
pub fn run_dir(key: &RunKey) -> String {
    format!("{ARTIFACTS}/{}/{}", key.job, key.run)
}

/// A kept checkpoint of that size, with the cosignatures that came for it.
pub fn anchor(size: u64) -> String {
    format!("{ANCHORS}/{size}/checkpoint")
}

/// The ending of a kept SSH signature of a checkpoint's text.
pub const SSH_WORD: &str = "sshsig";
/// The ending of a kept time stamp over a checkpoint's text.
pub const STAMP_WORD: &str = "tsr";

/// What someone said of the kept checkpoint of that size, by the digest of what was said.
pub fn anchor_word(size: u64, digest: &Sha256, ending: &str) -> String {
    format!("{ANCHORS}/{size}/{}.{ending}", &digest.hex()[..16])
}

/// The manifest of a run.
pub fn manifest(key: &RunKey) -> String {
    format!("{ARTIFACTS}/{}/{}/{MANIFEST}", key.job, key.run)
}

/// The staging folder of one batch.
pub fn batch_dir(operation: &OperationId, batch: u64) -> String {
    format!("{TMP}/{operation}-{batch}")
}

/// The lock held while a batch's staging folder is in use.
pub fn batch_lock(operation: &OperationId, batch: u64) -> String {
    format!("{TMP}/{operation}-{batch}.lock")
}

/// The lock that makes processes recording the same inputs take turns. A fixed set of files, so
/// that none needs to be removed; two recordings that share one only wait for each other.
pub fn record_lock(inputs_hash: &Sha256) -> String {
    format!("{TMP}/record-{}.lock", &inputs_hash.hex()[..2])
}

/// A file of the run map's nodes.
pub fn run_map(file: u64) -> String {
    format!("{RUN_MAP}/{file:08}")
}

/// The installed files of one pack, by the digest of its file list.
pub fn pack_dir(name: &str, files: &Sha256) -> String {
    format!("{PACKS}/{name}/{}", &files.hex()[..16])
}
