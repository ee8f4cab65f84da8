//! Proofs about entries, for those who do not have the store.

use super::states::States;
use super::{Checkpoint, LogView, Store, StoreError};
use crate::base::id::RunKey;
use crate::format::paths;
use crate::format::proof::LogProof;
use crate::merkle::{self, Hash};

impl Store {
    /// The index of a run's newest entry.
    pub fn newest_entry(&self, key: &RunKey) -> Result<u64, StoreError> {
        let state = States::open(self)?.get(key)?;
        Ok(state.ok_or_else(|| StoreError::NoRun { name: key.to_string() })?.entry)
    }

    /// The proof that an entry is in the tree of the current checkpoint. It is checked against the
    /// entry's bytes and the checkpoint's root before it is given.
    pub fn prove(&self, index: u64) -> Result<LogProof, StoreError> {
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
