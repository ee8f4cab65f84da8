//! The keys of the log: bringing in, rotating, retiring, listing (`store-layout.md`, "Keys of the log").
//!
//! Order: a secret is durable in its file before the log names its public half; the public half lies in
//! `audit/keys` only after that. So a key that lies there and in no entry was put there by hand.

use std::path::{Path, PathBuf};

use super::commit::{Change, Operation};
use super::keys::{Signer, new_key_file, place, seed};
use super::{KeyTrouble, Store, StoreError};
use crate::backend::{Disk, FileLock};
use crate::base::digest::Sha256;
use crate::format::entry::{Entry, EntryKind};
use crate::format::key_statement::{KeyChange, KeyStatement};
use crate::format::paths;
use crate::note::{KeyId, SignedNote, SigningKey, VerifyingKey};
use crate::plan::keys::{Blob, KeyEvent, Keyring};

/// What a new key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// Ed25519: checkpoints, statements about keys, evidence.
    #[default]
    Ed25519,
    /// ML-DSA-44: a second signature on checkpoints. Needs the feature `ml-dsa`.
    MlDsa44,
}

/// The keys of the log, for showing.
#[derive(Debug, Clone)]
pub struct KeyListing {
    /// As the log has them.
    pub ring: Keyring,
    /// Files in `audit/keys` that the log does not have.
    pub strangers: Vec<String>,
}

/// Whether an entry is about the log's keys.
pub(super) fn is_key_entry(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::KeyAdded | EntryKind::KeyRetired)
}

impl Store {
    /// What a key entry tells, with the blobs that it names.
    pub(super) fn key_event(&self, index: u64, entry: &Entry) -> Result<KeyEvent, StoreError> {
        let blob = |digest: &Option<Sha256>| -> Result<Blob, StoreError> {
            let Some(digest) = digest else { return Ok(Blob::Unnamed) };
            // One that is there and damaged is a finding of the objects like one that is gone.
            match self.blobs.get(digest) {
                Ok(bytes) => Ok(bytes.map_or(Blob::Gone, Blob::Bytes)),
                Err(error) if error.is_damage() => Ok(Blob::Gone),
                Err(error) => Err(error.into()),
            }
        };
        let (key, statement) = (blob(&entry.key)?, blob(&entry.detail)?);
        Ok(KeyEvent { entry: index, kind: entry.kind, key, statement, trusted_to: entry.trusted_to })
    }

    /// The keys of the log, found through the index and read from the entries' own bytes.
    pub fn keyring(&self) -> Result<Keyring, StoreError> {
        let view = self.log()?;
        let mut events = Vec::new();
        for at in self.index()?.entries_of_keys()? {
            let entry = self.entry(&view, at)?;
            if is_key_entry(&entry) {
                events.push(self.key_event(at, &entry)?);
            }
        }
        for batch in &view.pending {
            for (at, bytes) in (batch.first..).zip(&batch.entries) {
                let entry = Entry::parse(bytes).map_err(StoreError::record(format!("log entry {at}")))?;
                if is_key_entry(&entry) && events.iter().all(|event| event.entry != at) {
                    events.push(self.key_event(at, &entry)?);
                }
            }
        }
        Ok(Keyring::replay(&self.config.origin, &events))
    }

    /// The keys of the log, and what lies beside them.
    pub fn list_keys(&self) -> Result<KeyListing, StoreError> {
        let files = self.key_files()?;
        let ring = self.keyring()?;
        let stranger = |key: &Option<VerifyingKey>| {
            key.as_ref().is_none_or(|key| ring.get(key.id()).is_none_or(|known| known.key != *key))
        };
        let strangers = files.into_iter().filter(|(_, key)| stranger(key)).map(|(path, _)| path).collect();
        Ok(KeyListing { ring, strangers })
    }

    /// A new secret key for this log.
    fn make_key(&self, shown: &Path, kind: KeyKind) -> Result<SigningKey, StoreError> {
        let trouble =
            |error| StoreError::Key { key: shown.display().to_string(), trouble: KeyTrouble::Text(error) };
        let name = self.config.origin.parse().map_err(trouble)?;
        let mut seed = seed(&*self.context.clock);
        let key = match kind {
            KeyKind::Ed25519 => Ok(SigningKey::from_seed(name, &seed)),
            KeyKind::MlDsa44 => SigningKey::ml_dsa_from_seed(name, &seed),
        };
        seed.fill(0);
        key.map_err(trouble)
    }

    /// Refuses a key file that would lie in the store.
    fn outside(&self, path: &Path) -> Result<(), StoreError> {
        let (folder, _) = place(path)?;
        let root = std::fs::canonicalize(self.root()).unwrap_or_else(|_| self.root().to_owned());
        // The folder may not be there yet; what is there of it decides.
        let there = folder.ancestors().find_map(|part| std::fs::canonicalize(part).ok());
        if there.is_some_and(|there| there.starts_with(&root)) {
            let key = path.display().to_string();
            return Err(StoreError::Key { key, trouble: KeyTrouble::InStore });
        }
        Ok(())
    }

    fn keys_turn(&self) -> Result<FileLock, StoreError> {
        let context = &self.context;
        Ok(FileLock::acquire(&self.disk, paths::KEYS_LOCK, &context.holder, context.lock_timeout)?)
    }

    /// Makes the first signing key of this store's log: the secret into a new file outside the store,
    /// the public half into the log. A secret that an interrupted call left is taken up.
    pub fn new_key(&self, path: &Path) -> Result<VerifyingKey, StoreError> {
        self.outside(path)?;
        let _turn = self.keys_turn()?;
        let ring = self.keyring()?;
        // A first key that cannot be read is a first key all the same.
        let first = ring.keys.is_empty() && ring.unread.is_empty();
        let there = Disk::open(&place(path)?.0).is_ok() && std::fs::symlink_metadata(path).is_ok();
        let shown = path.display().to_string();
        if !first {
            let trouble = if there { KeyTrouble::Exists } else { KeyTrouble::NotFirst };
            return Err(StoreError::Key { key: shown, trouble });
        }
        let public = if there {
            let signer = Signer::read(path, PathBuf::new())?;
            signer.fits(&self.config.origin)?;
            signer.verifying_key().clone()
        } else {
            let key = self.make_key(path, KeyKind::Ed25519)?;
            new_key_file(path, key.secret_text(), &self.context)?;
            key.verifying_key().clone()
        };
        self.add_key(&public, None)?;
        Ok(public)
    }

    /// Brings in a further key by the word of one that signs now: the secret into a new file, whose path
    /// `beside` makes from the new key's id.
    pub fn rotate_key(
        &self,
        old: &Signer,
        kind: KeyKind,
        beside: &dyn Fn(KeyId) -> PathBuf,
    ) -> Result<(VerifyingKey, PathBuf), StoreError> {
        old.fits(&self.config.origin)?;
        let _turn = self.keys_turn()?;
        self.may_sign(&self.keyring()?, old)?;
        let key = self.make_key(&beside(old.verifying_key().id()), kind)?;
        let public = key.verifying_key().clone();
        let path = beside(public.id());
        self.outside(&path)?;
        new_key_file(&path, key.secret_text(), &self.context)?;
        let statement = self.statement(KeyChange::Add(public.clone()), old)?;
        self.add_key(&public, Some(statement))?;
        Ok((public, path))
    }

    /// Refuses a key that does not sign this log.
    pub fn may_sign(&self, ring: &Keyring, signer: &Signer) -> Result<(), StoreError> {
        let known = ring.keys.iter().find(|known| known.key == *signer.verifying_key());
        match known {
            Some(known) if known.is_current() => Ok(()),
            Some(_) => Err(signer.trouble(KeyTrouble::NotCurrent)),
            None => Err(signer.trouble(KeyTrouble::NotInLog)),
        }
    }

    fn statement(&self, change: KeyChange, by: &Signer) -> Result<Vec<u8>, StoreError> {
        let origin = self.config.origin.clone();
        let statement = KeyStatement { origin, size: self.log()?.size(), change };
        let note = SignedNote::sign(statement.to_string(), &[by.key()]);
        let note = note.map_err(|error| StoreError::LogDamaged {
            place: "a new key statement".to_owned(),
            why: error.to_string(),
        })?;
        Ok(note.to_string().into_bytes())
    }

    fn add_key(&self, key: &VerifyingKey, statement: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.commit_key(EntryKind::KeyAdded, key, statement, None)?;
        self.write_key_file(key)
    }

    fn commit_key(
        &self,
        kind: EntryKind,
        key: &VerifyingKey,
        statement: Option<Vec<u8>>,
        trusted_to: Option<u64>,
    ) -> Result<u64, StoreError> {
        let mut operation = Operation::begin(self)?;
        let mut stage = operation.stage()?;
        let mut entry = operation.entry(kind);
        entry.key = Some(stage.keep(key_text(key).as_bytes())?.sha256);
        if let Some(statement) = statement {
            entry.detail = Some(stage.keep(&statement)?.sha256);
        }
        entry.trusted_to = trusted_to;
        let done = operation.commit(stage, vec![Change::Store(entry)])?;
        operation.end();
        let done = done.into_iter().next().expect("one change has one answer");
        Ok(done.map_err(StoreError::Conflict)?.entry)
    }

    /// Puts the public half of a key of the log into `audit/keys`.
    pub(super) fn write_key_file(&self, key: &VerifyingKey) -> Result<(), StoreError> {
        self.disk.mkdir_all(paths::KEYS)?;
        self.disk.sync_dir(paths::AUDIT)?;
        let place = format!("{}/{}", paths::KEYS, key.id());
        Ok(self.disk.replace_durably(&place, key_text(key).as_bytes(), 0o644)?)
    }

    /// Retires a key by the word of another one that signs now. Its signatures count up to
    /// `trusted_to`, by default the log's size now.
    pub fn retire_key(
        &self,
        id: KeyId,
        trusted_to: Option<u64>,
        signers: &[Signer],
    ) -> Result<(VerifyingKey, u64, u64), StoreError> {
        let _turn = self.keys_turn()?;
        let ring = self.keyring()?;
        let trouble = |trouble| StoreError::Key { key: id.to_string(), trouble };
        let known = ring.current().find(|known| known.key.id() == id);
        let known = known.ok_or(trouble(KeyTrouble::NotCurrent))?.clone();
        let others = |signer: &&Signer| {
            let key = signer.verifying_key();
            key.id() != id && key.vouches() && ring.current().any(|known| known.key == *key)
        };
        let by = signers.iter().find(others).ok_or(trouble(KeyTrouble::Last))?;
        let size = self.log()?.size();
        let trusted_to = trusted_to.unwrap_or(size).min(size);
        let statement = self.statement(KeyChange::Retire { key: known.key.clone(), trusted_to }, by)?;
        if ring.falls(id, trusted_to).contains(&by.verifying_key().id()) {
            return Err(trouble(KeyTrouble::CutsItself(trusted_to)));
        }
        let entry = self.commit_key(EntryKind::KeyRetired, &known.key, Some(statement), Some(trusted_to))?;
        Ok((known.key, entry, trusted_to))
    }
}

/// The text of a key as it is kept: `sha256sum` of the file in `audit/keys` is the entry's `key`.
fn key_text(key: &VerifyingKey) -> String {
    format!("{key}\n")
}
