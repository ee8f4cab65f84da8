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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;
    use crate::base::id::OperationId;

    /// The second entry of a run, which puts revision `b` in place of `a`.
    fn second() -> Entry {
        let operation = OperationId::new(1, [2; 10]);
        let mut entry =
            Entry::new(EntryKind::RolledBack, Moment::from_millis(0), Sha256::of(b"actor"), operation, 1);
        entry.job_id = Some("job".parse().unwrap());
        entry.run_id = Some("run".parse().unwrap());
        entry.run_seq = Some(2);
        entry.run_prev = Some(Sha256::of(b"leaf"));
        entry.before = Some(Sha256::of(b"a"));
        entry.after = Some(Sha256::of(b"b"));
        entry.files = Some(Sha256::of(b"files"));
        entry
    }

    fn changed(mut entry: Entry, change: impl FnOnce(&mut Entry)) -> Entry {
        change(&mut entry);
        entry
    }

    fn first(kind: EntryKind) -> Entry {
        changed(second(), |entry| {
            (entry.kind, entry.run_seq, entry.run_prev) = (kind, Some(1), None);
            (entry.before, entry.after) = (None, Some(Sha256::of(b"a")));
        })
    }

    fn state() -> RunState {
        let manifest = Sha256::of(b"a");
        let (leaf, files, exceptions) = (Sha256::of(b"leaf"), Sha256::of(b"files"), None);
        RunState { seq: 1, entry: 7, leaf, manifest, files, exceptions }
    }

    #[test]
    fn step_that_follows_gives_the_next_state() {
        let leaf = Sha256::of(b"next");
        let known = RunState { exceptions: Some(Sha256::of(b"x")), ..state() };
        let next = RunState { seq: 2, entry: 9, leaf, manifest: Sha256::of(b"b"), ..known.clone() };
        assert_eq!(step(Some(&known), 9, &second(), leaf).unwrap(), next);
        for kind in [EntryKind::Recorded, EntryKind::Adopted] {
            let next = step(None, 7, &first(kind), Sha256::of(b"leaf")).unwrap();
            assert_eq!(next, state());
        }
    }

    #[test]
    fn step_that_does_not_follow_is_refused_for_its_reason() {
        let leaf = Sha256::of(b"next");
        let on = |change: &dyn Fn(&mut Entry)| {
            let mut entry = second();
            change(&mut entry);
            step(Some(&state()), 9, &entry, leaf).unwrap_err()
        };
        for seq in [None, Some(0), Some(1), Some(3)] {
            let error = on(&|entry| entry.run_seq = seq);
            let ChainError::Sequence { found, expected: 2 } = error else { panic!("{error}") };
            assert_eq!(found, seq.unwrap_or(0));
        }
        for other in [None, Some(Sha256::of(b"other"))] {
            assert!(matches!(on(&|entry| entry.run_prev = other), ChainError::Predecessor { .. }));
            assert!(matches!(on(&|entry| entry.before = other), ChainError::Before { .. }));
            assert!(matches!(on(&|entry| entry.files = other), ChainError::Files { .. }));
        }
        for kind in [EntryKind::Recorded, EntryKind::Adopted] {
            assert!(matches!(on(&|entry| entry.kind = kind), ChainError::SecondBeginning));
        }
        let begins = |entry: &Entry| step(None, 9, entry, leaf).unwrap_err();
        assert!(matches!(begins(&second()), ChainError::NoBeginning { kind: EntryKind::RolledBack }));
        for seq in [None, Some(0), Some(2)] {
            let error = begins(&changed(first(EntryKind::Adopted), |entry| entry.run_seq = seq));
            assert!(matches!(error, ChainError::Sequence { expected: 1, .. }), "{error}");
        }
    }

    #[test]
    fn replay_keeps_a_run_s_state_when_an_entry_does_not_follow() {
        let mut replay = Replay::default();
        let bytes = first(EntryKind::Adopted).to_bytes().unwrap();
        let key = replay.take(0, &bytes).unwrap().run().unwrap();
        let stray = second().to_bytes().unwrap();
        let (of, error) = replay.take(1, &stray).unwrap_err();
        assert!(of == Some(key.clone()) && matches!(error, ChainError::Predecessor { .. }), "{error}");
        let next = changed(second(), |entry| entry.run_prev = Some(leaf(&bytes))).to_bytes().unwrap();
        replay.take(2, &next).unwrap();
        assert!(matches!(replay.take(3, b"{}"), Err((None, ChainError::Record(_)))));
        let runs = replay.into_runs();
        let state = &runs[&key];
        assert_eq!((runs.len(), state.seq, state.entry, state.leaf), (1, 2, 2, leaf(&next)));
        assert_eq!(state.manifest, Sha256::of(b"b"));
    }
}
