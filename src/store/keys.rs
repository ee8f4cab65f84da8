//! Signing keys outside the store: the file that holds one, and the memory of what it signed
//! (`store-layout.md`, "Keys and the checkpoint").
//!
//! Where either lies is said by the caller. No message and no `Debug` text holds a key's bytes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Context, KeyTrouble, Store, StoreError};
use crate::backend::{Disk, FileLock, Kind, is_temp_name};
use crate::base::clock::Clock;
use crate::base::digest::Sha256;
use crate::format::paths;
use crate::merkle::Hash;
use crate::note::{KeyError, SigningKey, VerifyingKey};

/// Largest key file read.
const KEY_BYTES: u64 = 4096;

/// A key that signs, and where what it signed is remembered.
pub struct Signer {
    key: SigningKey,
    memory: PathBuf,
}

/// The highest tree that a key has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signed {
    pub size: u64,
    pub root: Hash,
}

/// A log's origin as a file name: what is safe of it, and enough of its digest to tell two apart.
pub fn origin_file_name(origin: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let short: String = origin.chars().map(safe).take(80).collect();
    format!("{}-{}", short.trim_start_matches('.'), &Sha256::of(origin.as_bytes()).hex()[..8])
}

/// Writes the text of a secret key to a new file, which is durable afterwards.
pub(super) fn new_key_file(path: &Path, secret: String, context: &Context) -> Result<(), StoreError> {
    let (folder, file) = place(path)?;
    Disk::make_root(&folder)?;
    let disk = context.watched(Disk::open(&folder)?);
    let exists = || StoreError::Key { key: path.display().to_string(), trouble: KeyTrouble::Exists };
    if disk.stat(&file)?.is_some() {
        return Err(exists());
    }
    // Whole or not there: half a key would be refused by every later command, this one too.
    let mut new = disk.create_temp("", 0o600)?;
    let temp = new.path().to_owned();
    let mut text = secret.into_bytes();
    text.push(b'\n');
    let written = new.write_all(&text).and_then(|()| new.sync());
    text.fill(0);
    if let Err(error) = written.and_then(|()| disk.rename_new(&temp, &file)) {
        // What matters is why it failed; the leftover is as private as the key.
        let _ = disk.unlink(&temp);
        return Err(if error.is_exists() { exists() } else { error.into() });
    }
    Ok(disk.sync_dir("")?)
}

/// The key files of one log: the file of that name, if it is there, and those beside it that a rotation
/// made (`<name>.<key id>.key`).
pub fn key_files_beside(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if std::fs::symlink_metadata(path).is_ok() {
        found.push(path.to_owned());
    }
    let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".key"));
    let (Some(stem), Some(folder)) = (stem, path.parent()) else { return found };
    let mut beside: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_prefix('.'));
            id.and_then(|rest| rest.strip_suffix(".key")).is_some_and(|id| id.len() == 8)
        })
        .map(|entry| entry.path())
        .collect();
    beside.sort();
    found.extend(beside);
    found
}

/// Splits a path into its folder and the name in it.
pub(super) fn place(path: &Path) -> Result<(PathBuf, String), StoreError> {
    let trouble = |why| StoreError::Key { key: path.display().to_string(), trouble: why };
    let whole = std::path::absolute(path).map_err(|_| trouble(KeyTrouble::NotAFile))?;
    let name = whole.file_name().and_then(|name| name.to_str()).ok_or(trouble(KeyTrouble::NotAFile))?;
    let folder = whole.parent().ok_or(trouble(KeyTrouble::NotAFile))?;
    Ok((folder.to_owned(), name.to_owned()))
}

/// Reads a secret key from its file, which must be a regular file of mode 0600 (or 0400) owned by the
/// user.
pub(super) fn read_secret<K: FromStr<Err = KeyError>>(path: &Path) -> Result<K, StoreError> {
    let trouble = |trouble| StoreError::Key { key: path.display().to_string(), trouble };
    let (folder, name) = place(path)?;
    let disk = match Disk::open(&folder) {
        Err(error) if error.is_not_found() => return Err(trouble(KeyTrouble::Missing)),
        opened => opened?,
    };
    let Some(stat) = disk.stat(&name)? else { return Err(trouble(KeyTrouble::Missing)) };
    if stat.kind != Kind::File {
        return Err(trouble(KeyTrouble::NotAFile));
    }
    if !matches!(stat.mode, 0o600 | 0o400) {
        return Err(trouble(KeyTrouble::Mode(stat.mode)));
    }
    if stat.uid != rustix::process::geteuid().as_raw() {
        return Err(trouble(KeyTrouble::Owner(stat.uid)));
    }
    let mut bytes = disk.read(&name, KEY_BYTES)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
    let key = text.parse::<K>().map_err(|error| trouble(KeyTrouble::Text(error)));
    bytes.fill(0);
    key
}

/// Random bytes for a secret key.
pub(super) fn seed(clock: &dyn Clock) -> [u8; 32] {
    let mut seed = [0u8; 32];
    seed[..16].copy_from_slice(&clock.random());
    seed[16..].copy_from_slice(&clock.random());
    seed
}

impl Signer {
    /// Reads a key file. `memory` is the folder that remembers what keys signed.
    pub fn read(path: &Path, memory: PathBuf) -> Result<Self, StoreError> {
        Ok(Self { key: read_secret(path)?, memory })
    }

    /// The key that others check signatures with.
    pub fn verifying_key(&self) -> &VerifyingKey {
        self.key.verifying_key()
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) fn trouble(&self, trouble: KeyTrouble) -> StoreError {
        let public = self.verifying_key();
        StoreError::Key { key: format!("{}+{}", public.name(), public.id()), trouble }
    }

    /// Refuses a store whose log is not the one that this key is for.
    pub(super) fn fits(&self, origin: &str) -> Result<(), StoreError> {
        if self.verifying_key().name().as_str() == origin {
            return Ok(());
        }
        Err(self.trouble(KeyTrouble::OtherLog(origin.to_owned())))
    }

    fn memory_name(&self) -> String {
        let public = self.verifying_key();
        format!("{}-{}", origin_file_name(public.name().as_str()), public.id())
    }

    /// Opens the memory and keeps other processes out of it until the lock is dropped.
    pub(super) fn open_memory(&self, context: &Context) -> Result<Memory, StoreError> {
        Disk::make_root(&self.memory)?;
        let disk = context.watched(Disk::open(&self.memory)?);
        let name = self.memory_name();
        let lock = FileLock::acquire(&disk, &format!("{name}.lock"), &context.holder, context.lock_timeout)?;
        Ok(Memory { disk, name, _lock: lock })
    }

    /// What the memory holds, without making it.
    pub(super) fn remembered(&self) -> Result<Option<Signed>, StoreError> {
        match Disk::open(&self.memory) {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
            Ok(disk) => read_memory(&disk, &self.memory_name()),
        }
    }

    /// Refuses to sign a tree that the memory speaks against. That a larger tree begins with the
    /// remembered one is proved elsewhere.
    pub(super) fn allows(&self, signed: Option<Signed>, tree: Signed) -> Result<(), StoreError> {
        let Some(signed) = signed else { return Ok(()) };
        if tree.size < signed.size {
            return Err(self.trouble(KeyTrouble::Smaller { signed: signed.size, now: tree.size }));
        }
        if tree.size == signed.size && tree.root != signed.root {
            return Err(self.forked(signed, tree.root));
        }
        Ok(())
    }

    /// The error for a tree that does not begin with the one signed before.
    pub(super) fn forked(&self, signed: Signed, now: Hash) -> StoreError {
        let trouble = KeyTrouble::Forked { size: signed.size, signed: signed.root, now };
        self.trouble(trouble)
    }
}

/// The memory of one key, held.
pub(super) struct Memory {
    disk: Disk,
    name: String,
    _lock: FileLock,
}

fn read_memory(disk: &Disk, name: &str) -> Result<Option<Signed>, StoreError> {
    let Some(bytes) = disk.read_opt(name, KEY_BYTES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let size = lines.next().and_then(|line| line.parse().ok());
    let root = lines.next().and_then(|line| line.parse().ok());
    match (size, root, lines.next()) {
        (Some(size), Some(root), None) => Ok(Some(Signed { size, root })),
        _ => {
            let key = disk.full_path(name).display().to_string();
            Err(StoreError::Key { key, trouble: KeyTrouble::Memory })
        }
    }
}

impl Memory {
    pub fn read(&self) -> Result<Option<Signed>, StoreError> {
        read_memory(&self.disk, &self.name)
    }

    /// Remembers, durably.
    pub fn write(&self, signed: Signed) -> Result<(), StoreError> {
        let text = format!("{}\n{}\n", signed.size, signed.root);
        Ok(self.disk.replace_durably(&self.name, text.as_bytes(), 0o600)?)
    }
}

impl Store {
    /// What lies in `audit/keys`, by name: public keys, or what is none. Whoever can write the store
    /// can put keys here: they establish nothing about who signed.
    pub(super) fn key_files(&self) -> Result<Vec<(String, Option<VerifyingKey>)>, StoreError> {
        let names = match self.disk.list(paths::KEYS) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            names => names?,
        };
        let mut keys = Vec::new();
        for entry in names.iter().filter(|entry| !is_temp_name(&entry.name)) {
            let path = format!("{}/{}", paths::KEYS, entry.name.to_string_lossy());
            let bytes = self.disk.read(&path, KEY_BYTES).unwrap_or_default();
            let line = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n'));
            keys.push((path, line.and_then(|line| line.parse().ok())));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_as_a_file_name_is_safe_and_tells_origins_apart() {
        for origin in ["example.org/log", "../../etc", ".hidden", "a/b", "a_b", "\u{e9}"] {
            let name = origin_file_name(origin);
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name}");
            assert!(!name.starts_with('.'), "{name}");
        }
        assert_ne!(origin_file_name("a/b"), origin_file_name("a_b"));
    }
}
