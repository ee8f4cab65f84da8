//! Proofs about entries, for those who do not have the store.

use super::run_map::RunMap;
use super::states::States;
use super::{Checkpoint, LogView, Store, StoreError};
use crate::base::id::RunKey;
use crate::format::entry::{Entry, EntryKind};
use crate::format::paths;
use crate::format::proof::LogProof;
use crate::format::run_proof::RunProof;
use crate::merkle::{self, Hash};
use crate::plan::replay::map_key;

/// How often a proof is tried again while writers settle.
const TRIES: usize = 100;

impl Store {
    /// The index of a run's newest entry.
    pub fn newest_entry(&self, key: &RunKey) -> Result<u64, StoreError> {
        let state = States::open(self)?.get(key)?;
        Ok(state.ok_or_else(|| StoreError::NoRun { name: key.to_string() })?.entry)
    }

    /// The proof that an entry is in the tree of the current checkpoint. It is checked against the
    /// entry's bytes and the checkpoint's root before it is given.
    pub fn prove(&self, index: u64) -> Result<LogProof, StoreError> {
        self.while_writers_settle(|| self.prove_once(index))
    }

    /// The proof of everything that the log of the current checkpoint has of a run, or that it has
    /// nothing of it.
    pub fn prove_run(&self, run: &RunKey) -> Result<RunProof, StoreError> {
        self.while_writers_settle(|| self.prove_run_once(run))
    }

    /// Tries again while the log moves: a writer removes the partial tiles and bundles that a reader was
    /// about to read. With the log at rest a missing one is damage.
    fn while_writers_settle<T>(&self, prove: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        for _ in 0..TRIES {
            let before = self.head()?;
            match prove() {
                Err(StoreError::LogDamaged { .. }) if self.head()? != before => {}
                answer => return answer,
            }
        }
        prove()
    }

    fn prove_run_once(&self, run: &RunKey) -> Result<RunProof, StoreError> {
        let checkpoint = self.checkpoint()?.ok_or(StoreError::NoRunMap { size: 0 })?;
        self.prove_run_in(&checkpoint, &self.log()?, run)
    }

    /// The proof of everything that the log of this checkpoint has of a run.
    pub(super) fn prove_run_in(
        &self,
        checkpoint: &Checkpoint,
        view: &LogView,
        run: &RunKey,
    ) -> Result<RunProof, StoreError> {
        let size = checkpoint.body.size;
        let newest = match view.head.runs.filter(|known| known.entry < size) {
            Some(known) => Some(known.entry),
            None => self.newest_run_map(view, size)?,
        };
        let Some(index) = newest else { return Err(StoreError::NoRunMap { size }) };
        let map = self.prove_in(checkpoint, view, index)?;
        let path = match view.head.runs.filter(|known| known.entry == index) {
            Some(_) => RunMap::open(self, &view.head)?.lookup(run)?,
            None => self.run_path_at(view, index, run)?,
        };
        let count = path.leaf.filter(|leaf| leaf.key == map_key(run)).map_or(0, |leaf| leaf.count);
        let entries = if count == 0 { Vec::new() } else { self.entries_of_run(view, index, run)? };
        let proof = RunProof { run: run.clone(), entries, path, map };
        proof.check_content().map_err(|error| StoreError::LogDamaged {
            place: format!("log entry {index}"),
            why: error.to_string(),
        })?;
        Ok(proof)
    }

    /// The newest `run-map` entry among the log's first `size`.
    pub(super) fn newest_run_map(&self, view: &LogView, size: u64) -> Result<Option<u64>, StoreError> {
        let mut newest = None;
        self.each_entry(view, 0, &mut |index, bytes| {
            let is_one = |bytes| Entry::parse(bytes).is_ok_and(|entry| entry.kind == EntryKind::RunMap);
            if index < size && is_one(bytes) {
                newest = Some(index);
            }
            Ok(())
        })?;
        Ok(newest)
    }

    /// A run's entries among the log's first `size`, found through the index.
    fn entries_of_run(&self, view: &LogView, size: u64, run: &RunKey) -> Result<Vec<Vec<u8>>, StoreError> {
        let indexes = self.index()?.entries_of_run(run)?;
        let before = indexes.into_iter().filter(|index| *index < size);
        before.map(|index| self.entry_bytes(view, index)).collect()
    }

    fn prove_once(&self, index: u64) -> Result<LogProof, StoreError> {
        // The checkpoint first: the log is then at least as large.
        let Some(checkpoint) = self.checkpoint()? else {
            return Err(StoreError::NotPublished { index, size: 0 });
        };
        self.prove_in(&checkpoint, &self.log()?, index)
    }

    /// The proof that an entry is in the tree of this checkpoint.
    pub(super) fn prove_in(
        &self,
        checkpoint: &Checkpoint,
        view: &LogView,
        index: u64,
    ) -> Result<LogProof, StoreError> {
        let damaged = |place: &str, why: String| StoreError::LogDamaged { place: place.to_owned(), why };
        let size = checkpoint.body.size;
        if index >= size {
            return Err(StoreError::NotPublished { index, size });
        }
        let entry = self.entry_bytes(view, index)?;
        let reader = self.hash_reader(view);
        let hashes = merkle::prove_inclusion(index, size, &reader)
            .map_err(|error| damaged("audit/tile", error.to_string()))?;
        let (leaf, root) = (merkle::leaf_hash(&entry), Hash::from_bytes(checkpoint.body.root));
        merkle::verify_inclusion(index, size, &leaf, &hashes, &root)
            .map_err(|error| damaged(paths::CHECKPOINT, error.to_string()))?;
        Ok(LogProof { entry: Some(entry), index, hashes, checkpoint: checkpoint.note.clone() })
    }
}
