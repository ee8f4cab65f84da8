//! Publishing the signed checkpoint (`store-layout.md`, "Keys and the checkpoint").
//!
//! Order: what is signed is durable; the proof that the new tree begins with what was signed before;
//! the key's memory; the checkpoint.

use super::keys::{Signed, Signer};
use super::{LogView, Store, StoreError};
use crate::format::paths;
use crate::merkle::{self, EMPTY_ROOT, Hash};
use crate::note::{CheckpointBody, MAX_NOTE_BYTES, SignedNote, SigningKey, VerifyingKey};

/// A checkpoint as it was read: nothing says yet who signed it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// What it says.
    pub body: CheckpointBody,
    /// The note.
    pub note: SignedNote,
}

impl Checkpoint {
    /// Reads a checkpoint; `place` is for messages.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self, StoreError> {
        let damaged = |why: String| StoreError::LogDamaged { place: place.to_owned(), why };
        let note = SignedNote::parse(bytes).map_err(|error| damaged(error.to_string()))?;
        let body =
            note.text().parse().map_err(|error: crate::note::CheckpointError| damaged(error.to_string()))?;
        Ok(Self { body, note })
    }

    pub(super) fn signed(&self) -> Signed {
        Signed { size: self.body.size, root: Hash::from_bytes(self.body.root) }
    }
}

impl Store {
    /// The store's checkpoint, if one was published.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let Some(bytes) = self.disk.read_opt(paths::CHECKPOINT, MAX_NOTE_BYTES as u64)? else {
            return Ok(None);
        };
        Checkpoint::parse(&bytes, paths::CHECKPOINT).map(Some)
    }

    /// Refuses, before anything is written, a key that could not sign what the store holds.
    pub fn check_signer(&self, signer: &Signer) -> Result<(), StoreError> {
        signer.fits(&self.config.origin)?;
        let mut tries = 0;
        loop {
            // The memory first: a tree signed in between is then in the view.
            let remembered = signer.remembered()?;
            let view = self.log()?;
            let checked = self.extends(signer, remembered, &view);
            tries += 1;
            // Tiles of this view may be gone because a writer settled meanwhile.
            if checked.is_ok() || tries == 5 || self.head()?.size == view.head.size {
                return checked.map(drop);
            }
        }
    }

    /// Proves from the tiles that the settled tree begins with a tree signed before.
    fn extends(&self, signer: &Signer, before: Option<Signed>, view: &LogView) -> Result<Signed, StoreError> {
        let now = Signed { size: view.head.size, root: Hash::from_bytes(*view.head.root.as_bytes()) };
        signer.allows(before, now)?;
        let Some(before) = before.filter(|before| before.size > 0 && before.size < now.size) else {
            return Ok(now);
        };
        let damaged = |why: String| StoreError::LogDamaged { place: "audit/tile".to_owned(), why };
        let reader = self.hash_reader(view);
        let proof = merkle::prove_consistency(before.size, now.size, &reader)
            .map_err(|error| damaged(error.to_string()))?;
        if merkle::verify_consistency(before.size, now.size, &before.root, &now.root, &proof).is_err() {
            let root = merkle::tree_root(before.size, &reader).map_err(|error| damaged(error.to_string()))?;
            return Err(signer.forked(before, root));
        }
        Ok(now)
    }

    /// Signs the settled tree with each of these keys, which must be keys that sign this log, and writes
    /// it to `audit/checkpoint`, unless it is there already.
    pub fn publish(&self, signers: &[Signer]) -> Result<Checkpoint, StoreError> {
        let _lock = self.lock()?;
        let view = self.log()?;
        let ring = self.keyring()?;
        // Everyone takes the memories in one order, so that nobody waits for another in a circle.
        let mut signers: Vec<&Signer> = signers.iter().collect();
        signers.sort_by_key(|signer| signer.verifying_key().id());
        let mut memories = Vec::new();
        for signer in &signers {
            signer.fits(&self.config.origin)?;
            self.may_sign(&ring, signer)?;
            let memory = signer.open_memory(&self.context)?;
            let remembered = memory.read()?;
            self.extends(signer, remembered, &view)?;
            memories.push((memory, remembered));
        }
        let now = Signed { size: view.head.size, root: Hash::from_bytes(*view.head.root.as_bytes()) };
        let there = self.checkpoint_to_extend(signers.first().copied(), &view)?;
        let ours: Vec<VerifyingKey> = signers.iter().map(|signer| signer.verifying_key().clone()).collect();
        if let Some(there) = &there {
            let signed = there.note.verify(&ours).is_ok_and(|signed| signed.len() == ours.len());
            let remembered = memories.iter().all(|(_, remembered)| *remembered == Some(now));
            if there.signed() == now && remembered && signed {
                return Ok(there.clone());
            }
        }
        for (memory, remembered) in &memories {
            if *remembered != Some(now) {
                memory.write(now)?;
            }
        }
        let root = if now.size == 0 { EMPTY_ROOT } else { now.root };
        let origin = self.config.origin.clone();
        let body = CheckpointBody { origin, size: now.size, root: *root.as_bytes(), extensions: Vec::new() };
        let mut keys: Vec<&SigningKey> = signers.iter().map(|signer| signer.key()).collect();
        // Readers that look at the first signature only find one that every program can check.
        keys.sort_by_key(|key| !key.verifying_key().vouches());
        let place = || paths::CHECKPOINT.to_owned();
        let mut note = SignedNote::sign(body.to_string(), &keys)
            .map_err(|error| StoreError::LogDamaged { place: place(), why: error.to_string() })?;
        if let Some(there) = there {
            // Witnesses may have signed the same text.
            note.take_over(&there.note);
        }
        for known in ring.keys.iter().filter(|known| ours.contains(&known.key)) {
            // The public half is missing where the command that brought the key in was interrupted.
            if self.disk.stat(&format!("{}/{}", paths::KEYS, known.key.id()))?.is_none() {
                self.write_key_file(&known.key)?;
            }
        }
        self.disk.replace_durably(paths::CHECKPOINT, note.to_string().as_bytes(), 0o644)?;
        Ok(Checkpoint { body, note })
    }

    /// The checkpoint that is there, if the settled tree extends it.
    fn checkpoint_to_extend(
        &self,
        signer: Option<&Signer>,
        view: &LogView,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let (Some(there), Some(signer)) = (self.checkpoint()?, signer) else { return Ok(None) };
        if there.body.origin != self.config.origin {
            let why = format!("it is the checkpoint of {}", there.body.origin);
            return Err(StoreError::LogDamaged { place: paths::CHECKPOINT.to_owned(), why });
        }
        self.extends(signer, Some(there.signed()), view)?;
        Ok(Some(there))
    }
}
