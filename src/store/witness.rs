//! A witness in a folder of its own, on another machine than the log: its key, the logs that it follows,
//! what it cosigned last of each (`store-layout.md`, "Anchors").
//!
//! One lock is held from looking at what was cosigned last to having the new state durable, and no
//! cosignature leaves before that.

use std::path::Path;
use std::time::Duration;

use super::keys::{new_key_file, origin_file_name, read_secret, seed};
use super::{Context, StoreError};
use crate::backend::{Disk, FileLock};
use crate::format::witness::WitnessRequest;
use crate::merkle::Hash;
use crate::note::{
    CheckpointBody, Cosigner, KeyError, MAX_NOTE_BYTES, NoteSignature, SignedNote, VerifyingKey, WitnessKey,
};
use crate::plan::witness::{self, Answer, Seen};

const KEY: &str = "witness.key";
const LOGS: &str = "logs";
const LOCK: &str = "lock";

/// An open witness.
pub struct Witness {
    disk: Disk,
    key: Cosigner,
    context: Context,
}

impl Witness {
    /// Makes a witness of that name in a folder.
    pub fn init(dir: &Path, name: &str, context: Context) -> Result<Self, StoreError> {
        let no_witness = |why: String| StoreError::NoWitness { dir: dir.to_owned(), why };
        let name = name.parse().map_err(|error: KeyError| no_witness(error.to_string()))?;
        let mut seed = seed(&*context.clock);
        let key = Cosigner::from_seed(name, &seed);
        seed.fill(0);
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Disk::make_root(&absolute)?;
        let disk = context.watched(Disk::open(dir)?);
        disk.mkdir_all(LOGS)?;
        new_key_file(&absolute.join(KEY), key.secret_text(), &context)?;
        Ok(Self { disk, key, context })
    }

    /// Opens the witness in a folder.
    pub fn open(dir: &Path, context: Context) -> Result<Self, StoreError> {
        let no_witness = |why: &str| StoreError::NoWitness { dir: dir.to_owned(), why: why.to_owned() };
        let disk = match Disk::open(dir) {
            Err(error) if error.is_not_found() => return Err(no_witness("there is no such folder")),
            opened => opened?,
        };
        if disk.stat(KEY)?.is_none() {
            return Err(no_witness("it has no witness.key"));
        }
        let disk = context.watched(disk);
        let key = read_secret(&dir.join(KEY))?;
        Ok(Self { disk, key, context })
    }

    /// The key that others check cosignatures with.
    pub fn key(&self) -> &WitnessKey {
        self.key.verifying_key()
    }

    fn lock(&self) -> Result<FileLock, StoreError> {
        let wait: Duration = self.context.lock_timeout;
        Ok(FileLock::acquire(&self.disk, LOCK, &self.context.holder, wait)?)
    }

    fn keys_place(origin: &str) -> String {
        format!("{LOGS}/{}.keys", origin_file_name(origin))
    }

    fn state_place(origin: &str) -> String {
        format!("{LOGS}/{}.checkpoint", origin_file_name(origin))
    }

    fn damaged(&self, place: &str, why: impl ToString) -> StoreError {
        let place = self.disk.full_path(place).display().to_string();
        StoreError::LogDamaged { place, why: why.to_string() }
    }

    /// The keys trusted for a log.
    fn keys_of(&self, origin: &str) -> Result<Vec<VerifyingKey>, StoreError> {
        let place = Self::keys_place(origin);
        let Some(bytes) = self.disk.read_opt(&place, MAX_NOTE_BYTES as u64)? else { return Ok(Vec::new()) };
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(|line| line.parse().map_err(|error: KeyError| self.damaged(&place, error))).collect()
    }

    /// Follows the log of a key's name, trusting that key beside those it trusts already.
    pub fn add_log(&self, key: &VerifyingKey) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut keys = self.keys_of(key.name().as_str())?;
        if !keys.contains(key) {
            keys.push(key.clone());
        }
        let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
        let place = Self::keys_place(key.name().as_str());
        Ok(self.disk.replace_durably(&place, text.as_bytes(), 0o644)?)
    }

    /// What was cosigned last of a log.
    pub fn seen(&self, origin: &str) -> Result<Seen, StoreError> {
        let place = Self::state_place(origin);
        let Some(bytes) = self.disk.read_opt(&place, MAX_NOTE_BYTES as u64)? else {
            return Ok(Seen::default());
        };
        let note = SignedNote::parse(&bytes).map_err(|error| self.damaged(&place, error))?;
        let body: CheckpointBody = note.text().parse().map_err(|error| self.damaged(&place, error))?;
        if body.origin != origin {
            return Err(self.damaged(&place, format!("it is of {}", body.origin)));
        }
        Ok(Seen { size: body.size, root: Hash::from_bytes(body.root) })
    }

    /// Answers a request; the cosignature is there exactly when the answer is to cosign.
    pub fn answer(&self, request: &[u8]) -> Result<(Answer, Option<NoteSignature>), StoreError> {
        let request = match WitnessRequest::parse(request) {
            Ok(request) => request,
            Err(error) => return Ok((Answer::BadRequest(error.to_string()), None)),
        };
        let body = match witness::body_of(&request) {
            Ok(body) => body,
            Err(answer) => return Ok((answer, None)),
        };
        let _lock = self.lock()?;
        let keys = self.keys_of(&body.origin)?;
        let answer = witness::decide(&request, &body, &keys, self.seen(&body.origin)?);
        if !matches!(answer, Answer::Cosign(_)) {
            return Ok((answer, None));
        }
        let state = request.checkpoint.to_string();
        self.disk.replace_durably(&Self::state_place(&body.origin), state.as_bytes(), 0o644)?;
        let seconds = u64::try_from(self.context.clock.now().millis() / 1000).unwrap_or(0);
        Ok((answer, Some(self.key.cosign(&request.checkpoint, seconds))))
    }
}
