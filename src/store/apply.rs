//! Carrying out a committed change on the plain files (`store-layout.md`, "Apply").

use super::session::Touched;
use super::stage::{MANIFEST_MODE, mode};
use super::{Store, StoreError};
use crate::backend::{DiskError, Stat};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::entry::{Entry, EntryKind};
use crate::format::paths;
use crate::plan::apply::{Step, decide};

/// One committed change and what is known of its target.
pub(super) struct Target<'a> {
    /// Its entry.
    pub entry: &'a Entry,
    /// The states that committed changes lead the target through, oldest first.
    pub states: &'a [Option<Sha256>],
    /// Which of them this change leads to.
    pub wanted: usize,
    /// Where the new state is staged; without it, it is made anew from the objects.
    pub staged: Option<&'a str>,
}

/// Bytes found where a committed change expected others. They were kept as a blob and left in place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Foreign {
    run: String,
    found: Option<Sha256>,
    committed: Option<Sha256>,
}

impl Foreign {
    /// The blob that a `noted` entry names.
    pub fn list(found: &[Self]) -> Vec<u8> {
        let value = serde_json::json!({"v": 1, "what": "foreign-manifests", "found": found});
        crate::base::canonical::rfc8785(&value).expect("digests and names are canonical")
    }
}

/// The staging folder of a recovery.
pub(super) struct Redo<'s>(&'s Store);

/// Only the holder of the store lock uses it, so one name is enough.
const REDO_DIR: &str = "tmp/redo";

impl<'s> Redo<'s> {
    /// Begins with an empty folder.
    pub fn begin(store: &'s Store) -> Result<Self, StoreError> {
        store.disk.discard(REDO_DIR)?;
        store.disk.mkdir_all(REDO_DIR)?;
        Ok(Self(store))
    }

    /// Removes the folder; what cannot be removed, the next recovery removes.
    pub fn end(self) {
        let _ = self.0.disk.discard(REDO_DIR);
    }
}

/// The largest manifest.
const LIMIT: u64 = limits::JSON_BYTES as u64;

/// The digest of what was read; `None` where nothing lies, or nothing that can be a manifest.
fn digest_if_any(read: Result<(Vec<u8>, Stat), DiskError>) -> Result<Option<Sha256>, StoreError> {
    match read {
        Ok((bytes, _)) => Ok(Some(Sha256::of(&bytes))),
        Err(error)
            if error.is_not_found()
                || error.is_not_regular()
                || error.is_not_folder()
                || error.is_too_large() =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Store {
    /// Brings a target to its committed state, or tells what foreign bytes are in its place.
    pub(super) fn apply(
        &self,
        target: &Target<'_>,
        touched: &mut Touched,
    ) -> Result<Option<Foreign>, StoreError> {
        let entry = target.entry;
        let Some(key) = entry.run().filter(|_| entry.before != entry.after) else { return Ok(None) };
        match entry.kind {
            EntryKind::Recorded | EntryKind::Adopted => self.apply_new(&key, target, touched),
            _ => self.apply_rewrite(&key, target, touched),
        }
    }

    fn apply_new(
        &self,
        key: &RunKey,
        target: &Target<'_>,
        touched: &mut Touched,
    ) -> Result<Option<Foreign>, StoreError> {
        let run_dir = paths::run_dir(key);
        let there = match self.disk.stat(&run_dir) {
            Ok(there) => there.is_some(),
            // The job's place is taken by what is no folder: nothing can be put below it.
            Err(error) if error.is_not_folder() => return Ok(Some(self.foreign(key, target, None)?)),
            Err(error) => return Err(error.into()),
        };
        touched.folder(paths::job_dir(&key.job));
        touched.folder(paths::ARTIFACTS);
        if there {
            // A run's folder comes into being whole, by one rename: if it is there, it is ours or
            // someone else's, never half ours.
            let found = self.manifest_digest(key)?;
            return match decide(found, target.states, target.wanted) {
                Step::Done => Ok(None),
                Step::Put | Step::Foreign => Ok(Some(self.foreign(key, target, found)?)),
            };
        }
        let staged = match target.staged {
            Some(staged) => staged.to_owned(),
            None => self.remake_run(key, target.entry)?,
        };
        self.disk.mkdir_all(&paths::job_dir(&key.job))?;
        match self.disk.rename_new(&staged, &run_dir) {
            Ok(()) => Ok(None),
            Err(error) if error.is_exists() => {
                let found = self.manifest_digest(key)?;
                Ok(Some(self.foreign(key, target, found)?))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn apply_rewrite(
        &self,
        key: &RunKey,
        target: &Target<'_>,
        touched: &mut Touched,
    ) -> Result<Option<Foreign>, StoreError> {
        let run_dir = paths::run_dir(key);
        let run = match self.disk.hold(&run_dir) {
            Ok(run) => Some(run),
            Err(error) if error.is_not_found() || error.is_not_folder() => None,
            Err(error) => return Err(error.into()),
        };
        let found = run.as_ref().map_or(Ok(None), |run| digest_if_any(run.read(paths::MANIFEST, LIMIT)))?;
        let step = decide(found, target.states, target.wanted);
        if step == Step::Foreign {
            // The folder may be gone, or be none: it is not to be flushed.
            return Ok(Some(self.foreign(key, target, found)?));
        }
        touched.folder(&run_dir);
        if step == Step::Done {
            return Ok(None);
        }
        let staged = match target.staged {
            Some(staged) => staged.to_owned(),
            None => self.remake_manifest(key, target.entry)?,
        };
        let run = match run {
            Some(run) => run,
            None => self.disk.hold(&run_dir)?,
        };
        let (staging, name) = staged.rsplit_once('/').expect("what is staged lies in a folder");
        let staging = self.disk.hold(staging)?;
        if !staging.exchange(name, &run, paths::MANIFEST)? {
            self.disk.replace(&staged, &paths::manifest(key))?;
            return Ok(None);
        }
        // What was displaced is looked at again: an editor may have written between the look above
        // and the exchange. Then its bytes go back and are kept.
        let displaced = staging.read(name, LIMIT).map(|(bytes, _)| Sha256::of(&bytes));
        match displaced {
            Ok(displaced) if Some(displaced) == found => Ok(None),
            // It could not be read just now, so nothing is known of it: all is put back as it was, and
            // the batch stays to be finished by the next command.
            Err(error) if !error.is_not_found() && !error.is_not_regular() && !error.is_too_large() => {
                staging.exchange(name, &run, paths::MANIFEST)?;
                Err(error.into())
            }
            _ => {
                staging.exchange(name, &run, paths::MANIFEST)?;
                let found = self.manifest_digest(key)?;
                Ok(Some(self.foreign(key, target, found)?))
            }
        }
    }

    /// The digest of a run's manifest as it lies; `None` when there is nothing, or nothing readable
    /// as a file of sane size.
    pub(super) fn manifest_digest(&self, key: &RunKey) -> Result<Option<Sha256>, StoreError> {
        digest_if_any(self.disk.read_with_stat(&paths::manifest(key), LIMIT))
    }

    fn foreign(
        &self,
        key: &RunKey,
        target: &Target<'_>,
        found: Option<Sha256>,
    ) -> Result<Foreign, StoreError> {
        if found.is_some()
            && let Ok(Some(bytes)) = self.disk.read_opt(&paths::manifest(key), LIMIT)
        {
            let mut blobs = self.blobs.writer();
            blobs.put_small(&bytes)?;
            blobs.flush()?;
        }
        Ok(Foreign { run: key.to_string(), found, committed: target.entry.after })
    }

    fn remake_manifest(&self, key: &RunKey, entry: &Entry) -> Result<String, StoreError> {
        let after = entry.after.expect("a rewrite has a new revision");
        let bytes = self.revision(&after)?;
        let path = format!("{REDO_DIR}/{}-{}", key.job, key.run);
        self.disk.discard(&path)?;
        self.disk.write_new(&path, &bytes, MANIFEST_MODE)?;
        self.disk.sync_file(&path)?;
        Ok(path)
    }

    fn remake_run(&self, key: &RunKey, entry: &Entry) -> Result<String, StoreError> {
        let path = format!("{REDO_DIR}/{}-{}", key.job, key.run);
        self.disk.discard(&path)?;
        let files = entry.files.expect("a new run has a file list");
        let manifest = entry.after.expect("a new run has a manifest");
        self.materialize(&files, &manifest, &path)?;
        Ok(path)
    }

    /// Makes a run's folder from the objects, durably.
    pub(super) fn materialize(&self, files: &Sha256, manifest: &Sha256, to: &str) -> Result<(), StoreError> {
        self.disk.mkdir(to)?;
        for file in self.file_list(files)? {
            let full = format!("{to}/{}", file.path);
            match file.blob() {
                None => self.disk.mkdir(&full)?,
                Some(blob) => drop(self.blobs.place(&blob, &full, mode(file.exec()))?),
            }
        }
        let bytes = self.revision(manifest)?;
        self.disk.write_new(&format!("{to}/{}", paths::MANIFEST), &bytes, MANIFEST_MODE)?;
        // Recovery and repair are rare and may touch many files: one flush for all of them.
        self.disk.sync_all()?;
        Ok(())
    }

    /// The exact bytes of a revision.
    pub fn revision(&self, digest: &Sha256) -> Result<Vec<u8>, StoreError> {
        let missing = StoreError::BlobMissing { what: "revision", digest: *digest };
        self.blobs.get(digest)?.ok_or(missing)
    }
}
