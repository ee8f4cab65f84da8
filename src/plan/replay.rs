//! Replaying the log gives the one state that the disk must show (`store-layout.md`, "Replay").

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::RecordError;
use crate::format::entry::{Entry, EntryKind};
use crate::merkle;

/// What the log says of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// The number of its entries.
    pub seq: u64,
    /// The log index of the last one.
    pub entry: u64,
    /// The leaf hash of the last one.
    pub leaf: Sha256,
    /// The digest that its manifest must have.
    pub manifest: Sha256,
    /// The digest of its file list.
    pub files: Sha256,
    /// The findings that it came in with.
    pub exceptions: Option<Sha256>,
}

/// Why an entry does not continue the log.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The bytes are no entry.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The first entry of a run is not one that brings it in.
    #[error("the run's first entry is {kind:?}, which does not bring a run in")]
    NoBeginning {
        /// Its kind.
        kind: EntryKind,
    },
    /// A run is brought in twice.
    #[error("the run is brought in a second time")]
    SecondBeginning,
    /// The run's own numbering has a gap.
    #[error("run_seq is {found}, {expected} follows")]
    Sequence {
        /// The number in the entry.
        found: u64,
        /// The number that follows.
        expected: u64,
    },
    /// The entry names another predecessor.
    #[error("run_prev is {found:?}, the run's previous entry is {expected}")]
    Predecessor {
        /// The leaf hash in the entry.
        found: Option<Sha256>,
        /// The leaf hash of the previous entry.
        expected: Sha256,
    },
    /// The change starts from another manifest than the last one left.
    #[error("the entry changes {found:?}, the run's manifest is {expected}")]
    Before {
        /// The digest in the entry.
        found: Option<Sha256>,
        /// The run's manifest.
        expected: Sha256,
    },
    /// The file list changed, which no entry may do.
    #[error("the entry's file list is {found:?}, the run's is {expected}")]
    Files {
        /// The digest in the entry.
        found: Option<Sha256>,
        /// The run's file list.
        expected: Sha256,
    },
}

/// The leaf hash of an entry, as the log's tree has it.
pub fn leaf(entry: &[u8]) -> Sha256 {
    Sha256::from_bytes(*merkle::leaf_hash(entry).as_bytes())
}

/// Computes a run's state after an entry.
pub fn step(
    state: Option<&RunState>,
    index: u64,
    entry: &Entry,
    leaf: Sha256,
) -> Result<RunState, ChainError> {
    let seq = entry.run_seq.unwrap_or(0);
    let brings_in = matches!(entry.kind, EntryKind::Recorded | EntryKind::Adopted);
    let Some(state) = state else {
        if !brings_in {
            return Err(ChainError::NoBeginning { kind: entry.kind });
        }
        if seq != 1 {
            return Err(ChainError::Sequence { found: seq, expected: 1 });
        }
        return Ok(RunState {
            seq,
            entry: index,
            leaf,
            manifest: entry.after.expect("parsing insists on it for this kind"),
            files: entry.files.expect("parsing insists on it for this kind"),
            exceptions: entry.exceptions,
        });
    };
    if brings_in {
        return Err(ChainError::SecondBeginning);
    }
    if seq != state.seq + 1 {
        return Err(ChainError::Sequence { found: seq, expected: state.seq + 1 });
    }
    if entry.run_prev != Some(state.leaf) {
        return Err(ChainError::Predecessor { found: entry.run_prev, expected: state.leaf });
    }
    if entry.before != Some(state.manifest) {
        return Err(ChainError::Before { found: entry.before, expected: state.manifest });
    }
    if entry.files != Some(state.files) {
        return Err(ChainError::Files { found: entry.files, expected: state.files });
    }
    Ok(RunState {
        seq,
        entry: index,
        leaf,
        manifest: entry.after.expect("parsing insists on it for this kind"),
        files: state.files,
        exceptions: state.exceptions,
    })
}

/// The state of every run, built entry by entry.
#[derive(Debug, Default)]
pub struct Replay {
    runs: HashMap<RunKey, RunState>,
}

impl Replay {
    /// Takes in the next entry's bytes. After an error the run keeps its state and the replay can
    /// go on, so that one broken entry does not hide the rest.
    pub fn take(&mut self, index: u64, bytes: &[u8]) -> Result<Entry, (Option<RunKey>, ChainError)> {
        let entry = Entry::parse(bytes).map_err(|error| (None, error.into()))?;
        if let Some(key) = entry.run() {
            match self.runs.entry(key.clone()) {
                Slot::Occupied(mut slot) => {
                    let next = step(Some(slot.get()), index, &entry, leaf(bytes))
                        .map_err(|error| (Some(key), error))?;
                    slot.insert(next);
                }
                Slot::Vacant(slot) => {
                    let next = step(None, index, &entry, leaf(bytes)).map_err(|error| (Some(key), error))?;
                    slot.insert(next);
                }
            }
        }
        Ok(entry)
    }

    /// The runs and their states.
    pub fn into_runs(self) -> HashMap<RunKey, RunState> {
        self.runs
    }
}
