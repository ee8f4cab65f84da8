//! What can go wrong in an operation on a store, and of which kind it is.

use std::path::PathBuf;

use crate::backend::{BlobError, DiskError, LockError, WalError};
use crate::base::digest::Sha256;
use crate::base::id::{OperationId, RunKey};
use crate::format::RecordError;
use crate::format::config::ConfigError;
use crate::format::manifest::ManifestError;
use crate::index::IndexError;
use crate::schema::PackError;

/// The kind of a failure: what a caller branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operation failed for a reason of the machine.
    Failed,
    /// There is no such job, run, revision, version or path.
    NotFound,
    /// Someone else changed it, or the same id has other content.
    Conflict,
    /// An input was refused and nothing written.
    Refused,
    /// The store is damaged and reading stopped.
    Damaged,
    /// There is no store.
    NoStore,
    /// The store is locked by someone else.
    Locked,
    /// A signing key cannot be used, or must not sign.
    Key,
    /// The store's format is newer than this program.
    Newer,
    /// A signal asked to stop.
    Interrupted,
    /// A question was put wrongly.
    Usage,
}

/// Why an operation did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No `strongroom.toml` here.
    #[error("no store at {dir}: it has no strongroom.toml")]
    NoStore {
        /// The folder looked in.
        dir: PathBuf,
    },
    /// A store is already there.
    #[error("there is a store at {dir} already")]
    AlreadyAStore {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder for a new store holds something.
    #[error("{dir} is not empty")]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The store that was found belongs to somebody else.
    #[error("the store found at {dir} belongs to another user (uid {uid})")]
    Stranger {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The filesystem cannot hold a store.
    #[error("{dir} cannot hold a store: {why}")]
    Filesystem {
        /// The folder.
        dir: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A blob operation failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Threads committed together, and this is what became of all of them.
    #[error(transparent)]
    Shared(std::sync::Arc<StoreError>),
    /// The thread that committed for several ended half-way.
    #[error("whether the batch is committed is not known: the thread that wrote it ended half-way")]
    Unanswered,
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// One of the store's own records cannot be read.
    #[error("{place}: {source}")]
    Record {
        /// Where it lies.
        place: String,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A part of the log is missing or says something impossible.
    #[error("the log is damaged at {place}: {why}")]
    LogDamaged {
        /// Where.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A digest that the log names resolves to nothing.
    #[error("{what} {digest} is not in the store's objects")]
    BlobMissing {
        /// What the blob is: `revision`, `file list`, ...
        what: &'static str,
        /// Its digest.
        digest: Sha256,
    },
    /// A file list holds a path that is no path, or the run's folder holds what it must not.
    #[error("{run}: {why}")]
    BadRun {
        /// The run.
        run: String,
        /// What is wrong.
        why: String,
    },
    /// A link where a job's or run's folder belongs.
    #[error("{place} is a symbolic link where a folder of the store belongs; links are never followed")]
    LinkInPlace {
        /// Where.
        place: String,
    },
    /// An input could not be taken in.
    #[error("{path}: {why}")]
    Input {
        /// The file or folder, as given.
        path: String,
        /// Why it was refused.
        why: String,
    },
    /// A manifest could not be read.
    #[error("{run}/manifest.json: {source}")]
    Manifest {
        /// The run.
        run: RunKey,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// No such run.
    #[error("no run {name:?} in this store")]
    NoRun {
        /// As given.
        name: String,
    },
    /// A name fits more than one run.
    #[error("{name:?} could be {}", list(.candidates))]
    AmbiguousRun {
        /// As given.
        name: String,
        /// The runs that it fits.
        candidates: Vec<RunKey>,
    },
    /// No such job.
    #[error("no job {name:?} in this store")]
    NoJob {
        /// As given.
        name: String,
    },
    /// The run never had such a revision.
    #[error("{run} never had a revision {digest}")]
    NoRevision {
        /// The run.
        run: RunKey,
        /// As given.
        digest: String,
    },
    /// A prefix fits more than one revision, or is too short.
    #[error("{digest:?} names no single revision of {run}: {why}")]
    UnclearRevision {
        /// The run.
        run: RunKey,
        /// As given.
        digest: String,
        /// Why not.
        why: String,
    },
    /// No such operation.
    #[error("no operation {0} in this store")]
    NoOperation(OperationId),
    /// The operation is not one that can be undone.
    #[error("operation {operation} only {what}, which is not rolled back")]
    NotUndoable {
        /// The operation.
        operation: OperationId,
        /// What it did.
        what: String,
    },
    /// No such file in the run.
    #[error("{run} has no file {path:?}")]
    NoPath {
        /// The run.
        run: RunKey,
        /// As given.
        path: String,
    },
    /// No such schema version, or no way there.
    #[error("{0}")]
    NoVersion(String),
    /// No such pack.
    #[error("no pack {0:?}: it is neither installed nor built in")]
    NoPack(String),
    /// The settings name a pack that the store does not have.
    #[error(
        "strongroom.toml names the pack {0:?} for the manifests, and it is neither installed nor built in"
    )]
    NoManifestPack(String),
    /// A pack cannot be read.
    #[error("the pack cannot be read: {0}")]
    Pack(#[from] PackError),
    /// Someone else changed the same thing.
    #[error("{0}")]
    Conflict(Conflict),
    /// A cached success did not stand verification.
    #[error("{run} was recorded before, but it is not what was recorded ({count} findings, first: {first})")]
    DamagedRun {
        /// The run.
        run: RunKey,
        /// How many findings.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A command could not be started.
    #[error("{program:?} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Waiting for a command, or copying its streams, failed.
    #[error("{program:?}: {what}: {source}")]
    Command {
        /// The program.
        program: String,
        /// What was attempted.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// The entry is not in the tree of the checkpoint.
    #[error("the checkpoint covers {size} entries, and entry {index} is not among them")]
    NotPublished {
        /// The entry.
        index: u64,
        /// How many entries the checkpoint covers; 0 without one.
        size: u64,
    },
    /// No entry tells of the map over all runs.
    #[error(
        "the checkpoint's {size} entries hold no run-map entry, so nothing about whole runs can be proved"
    )]
    NoRunMap {
        /// How many entries the checkpoint covers; 0 without one.
        size: u64,
    },
    /// There is no checkpoint.
    #[error("no checkpoint was published yet")]
    NoCheckpoint,
    /// What was given as an anchor is none for this log.
    #[error("the anchor is not taken: {0}")]
    Anchor(String),
    /// The folder holds no witness, or one that cannot be read.
    #[error("{dir} is no witness: {why}")]
    NoWitness {
        /// The folder.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A signing key cannot be used, or must not sign.
    #[error("the key {key} {trouble}")]
    Key {
        /// The key's file, or its name and id; never the key.
        key: String,
        /// What is wrong.
        trouble: KeyTrouble,
    },
    /// A signal asked to stop; what was committed stays, the rest is as it was.
    #[error("interrupted; {} done, run the command again to finish", of_total(*done, *total))]
    Interrupted {
        /// Changes committed.
        done: u64,
        /// Changes planned; 0 where that is not known.
        total: u64,
    },
}

fn of_total(done: u64, total: u64) -> String {
    if total > 0 { format!("{done} of {total}") } else { done.to_string() }
}

/// What stands against using a signing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyTrouble {
    /// No such file.
    #[error("is not there")]
    Missing,
    /// A new key's file is there already.
    #[error("is there already; nothing was overwritten")]
    Exists,
    /// The new key's file would lie in the store.
    #[error("would lie inside the store that it is to protect")]
    InStore,
    /// Not a regular file.
    #[error("is not a regular file")]
    NotAFile,
    /// Others may read or write it.
    #[error("has mode {0:04o}; a key file must be 0600")]
    Mode(u32),
    /// It belongs to someone else.
    #[error("belongs to user {0}, not to the one who runs this")]
    Owner(u32),
    /// Its text is no key.
    #[error("cannot be read: {0}")]
    Text(crate::note::KeyError),
    /// It is for another log.
    #[error("is not for this store's log, {0}")]
    OtherLog(String),
    /// No entry of the log brought it in.
    #[error("is not one of this log's keys")]
    NotInLog,
    /// The log has keys already, so a further one needs the word of one of them.
    #[error("would be slipped in beside the log's keys; one of them must bring it in")]
    NotFirst,
    /// It is not current any more, or never was.
    #[error("is not a key that signs this log")]
    NotCurrent,
    /// No other key would be left.
    #[error("is the only key that signs this log and vouches for others; bring in another one first")]
    Last,
    /// What would retire it rests on it.
    #[error(
        "brought in the keys that would retire it, after {0} entries: trust it further, or pin another key"
    )]
    CutsItself(u64),
    /// The memory of what it signed cannot be read.
    #[error("memory cannot be read: it is not a size and a root")]
    Memory,
    /// It signed a larger tree.
    #[error(
        "has signed {signed} entries and this log has {now}: most likely the store was put back from a \
         backup; nothing was signed"
    )]
    Smaller {
        /// The size signed.
        signed: u64,
        /// The size now.
        now: u64,
    },
    /// It signed another tree of the same size.
    #[error(
        "has signed root {signed} at {size} entries and this log has {now} there: most likely the store was \
         put back from a backup and then changed; nothing was signed"
    )]
    Forked {
        /// The size signed.
        size: u64,
        /// The root signed.
        signed: crate::merkle::Hash,
        /// The root that the log has at that size.
        now: crate::merkle::Hash,
    },
}

fn list(runs: &[RunKey]) -> String {
    runs.iter().map(RunKey::to_string).collect::<Vec<_>>().join(", ")
}

/// Why a change dropped out of its batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The run came in meanwhile.
    #[error("{0} is in the store already")]
    Exists(RunKey),
    /// A job or run that a folding filesystem would take for this one.
    #[error("{run} would be the same folder as {twin:?} where case or normal form does not count")]
    Twin {
        /// The new run.
        run: RunKey,
        /// What is there.
        twin: String,
    },
    /// What lies in the place of the job's folder is none.
    #[error("artifacts/{} is a {found}, so {run} cannot be put there", run.job)]
    NoFolder {
        /// The new run.
        run: RunKey,
        /// What lies there.
        found: &'static str,
    },
    /// The manifest changed since the change was planned.
    #[error("{run} changed meanwhile: planned from {planned}, it is {found}")]
    Changed {
        /// The run.
        run: RunKey,
        /// The revision planned from.
        planned: Sha256,
        /// The revision that the log has.
        found: Sha256,
    },
    /// The run is not in the log.
    #[error("{0} is not in the log")]
    Unknown(RunKey),
    /// The same id has other inputs or outputs.
    #[error("{run} is recorded with other {what}")]
    OtherContent {
        /// The run.
        run: RunKey,
        /// `inputs` or `outputs`.
        what: &'static str,
    },
}

impl StoreError {
    /// Of which kind the failure is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Shared(error) => error.kind(),
            Self::NoStore { .. } => ErrorKind::NoStore,
            Self::Config(ConfigError::Newer { .. } | ConfigError::NewerToWrite { .. }) => ErrorKind::Newer,
            Self::Lock(LockError::Held { .. }) => ErrorKind::Locked,
            Self::Config(_) | Self::Record { .. } | Self::LogDamaged { .. } | Self::BlobMissing { .. } => {
                ErrorKind::Damaged
            }
            Self::DamagedRun { .. } => ErrorKind::Damaged,
            Self::Wal(error) if error.is_damage() => ErrorKind::Damaged,
            Self::Blob(error) if error.is_damage() => ErrorKind::Damaged,
            Self::Manifest { .. } | Self::BadRun { .. } | Self::LinkInPlace { .. } => ErrorKind::Damaged,
            Self::AlreadyAStore { .. }
            | Self::NotEmpty { .. }
            | Self::Stranger { .. }
            | Self::Filesystem { .. }
            | Self::Input { .. }
            | Self::Pack(_)
            | Self::Anchor(_) => ErrorKind::Refused,
            Self::NoRun { .. }
            | Self::AmbiguousRun { .. }
            | Self::NoJob { .. }
            | Self::NoRevision { .. }
            | Self::UnclearRevision { .. }
            | Self::NoOperation(_)
            | Self::NoPath { .. }
            | Self::NoVersion(_)
            | Self::NotPublished { .. }
            | Self::NoRunMap { .. }
            | Self::NoCheckpoint
            | Self::NoWitness { .. }
            | Self::NoPack(_)
            | Self::NoManifestPack(_) => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::NotUndoable { .. } | Self::Index(IndexError::Query(_)) => ErrorKind::Usage,
            Self::Key { .. } => ErrorKind::Key,
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Unanswered
            | Self::Disk(_)
            | Self::Blob(_)
            | Self::Wal(_)
            | Self::Lock(_)
            | Self::Index(_)
            | Self::Start { .. }
            | Self::Command { .. } => ErrorKind::Failed,
        }
    }

    /// A record at a place that cannot be read.
    pub(crate) fn record(place: impl Into<String>) -> impl FnOnce(RecordError) -> Self {
        let place = place.into();
        move |source| Self::Record { place, source }
    }
}
