//! Reading runs before their turn to be staged: on all cores, and no more than there is room for.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use rayon::prelude::*;

use super::find::Candidate;
use super::{Tree, read_facts};
use crate::backend::{Disk, Prepared, Stat};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::json::{self, Pointer};
use crate::base::limits;
use crate::format::file_list::FileEntry;
use crate::format::manifest::Manifest;
use crate::format::paths;
use crate::plan::adopt;
use crate::plan::verify::Found;
use crate::schema::Pack;
use crate::store::facts::{self, join};
use crate::store::source::{self, ReadAhead, Room};
use crate::store::{Store, StoreError};

/// Runs read together, and the most bytes kept of their manifests, names and small files.
pub(super) const RUNS: usize = 8;
const BYTES: u64 = 16 << 20;
/// What a name of a tree takes of the room.
const NAME: u64 = 128;

/// A candidate, read.
pub(super) struct ReadRun {
    /// Which run it is.
    pub key: RunKey,
    /// Its manifest.
    pub manifest: Prepared,
    /// What the kernel told of the manifest before it was read.
    pub before: Stat,
    /// Everything else in it.
    pub contents: Result<Contents, StoreError>,
}

/// What lies in a candidate's folder.
pub(super) enum Contents {
    /// Of a run that the store seems to have: as a file list would have it.
    Listed(Vec<FileEntry>),
    /// Of a run to be staged: what there is, and the first of its files as far as there was room.
    Tree(source::Tree, Vec<ReadAhead>),
}

/// Reads the candidates of one batch.
pub(super) struct Reader<'a> {
    store: &'a Store,
    from: &'a Tree<'a>,
    /// What was packed for this batch: the same bytes need not be packed again.
    packed: Mutex<HashSet<Sha256>>,
}

impl<'a> Reader<'a> {
    pub fn new(store: &'a Store, from: &'a Tree<'a>) -> Self {
        Self { store, from, packed: Mutex::default() }
    }

    /// Reads some candidates; `None` of those for which there is no room before their turn.
    pub fn read<P: Sync>(&self, candidates: &[(&Candidate, P)]) -> Vec<Option<Result<ReadRun, StoreError>>> {
        self.with_room(BYTES, |room| candidates.par_iter().map(|(one, _)| self.ahead(one, room)).collect())
    }

    /// Reads a candidate whose turn it is.
    pub fn read_now(&self, candidate: &Candidate) -> Result<ReadRun, StoreError> {
        self.with_room(0, |room| self.run(candidate, room))
    }

    fn ahead(&self, candidate: &Candidate, room: &Room<'_>) -> Option<Result<ReadRun, StoreError>> {
        let manifest = join(&candidate.place, paths::MANIFEST);
        let len = self.from.disk.stat(&manifest).ok().flatten().map_or(0, |stat| stat.len);
        // Its bytes, what they are packed to, and the document that is made of them meanwhile.
        if !room.take(len.saturating_mul(4)) {
            return None;
        }
        let run = self.run(candidate, room);
        let names = match &run {
            Ok(ReadRun { contents: Ok(Contents::Listed(entries)), .. }) => entries.len(),
            Ok(ReadRun { contents: Ok(Contents::Tree(tree, _)), .. }) => tree.files.len() + tree.dirs.len(),
            _ => 0,
        };
        room.take(names as u64 * NAME).then_some(run)
    }

    fn with_room<T>(&self, bytes: u64, read: impl FnOnce(&Room<'_>) -> T) -> T {
        let worth_packing = |blob: &crate::base::digest::BlobId| {
            let mut packed = self.packed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            packed.insert(blob.sha256) && !self.store.blobs.may_have(blob)
        };
        let largest = self.store.config.small_limit;
        let progress = self.store.context.progress.as_ref();
        read(&Room { bytes: AtomicU64::new(bytes), largest, worth_packing: &worth_packing, progress })
    }

    fn run(&self, candidate: &Candidate, room: &Room<'_>) -> Result<ReadRun, StoreError> {
        let &Tree { disk, pack, options } = self.from;
        let refused = |why: String| StoreError::Input { path: candidate.place.clone(), why };
        let path = join(&candidate.place, paths::MANIFEST);
        let told = disk.stat(&path).map_err(|error| refused(error.to_string()))?;
        let bytes =
            disk.read(&path, limits::JSON_BYTES as u64).map_err(|error| refused(error.to_string()))?;
        let before = told.ok_or_else(|| refused(format!("{path} was not there before it was read")))?;
        if before.mode & 0o7000 != 0 {
            room.progress.bits_dropped(&path);
        }
        let manifest = Manifest::parse(&bytes).map_err(|error| refused(format!("manifest.json: {error}")))?;
        let derived = derived_job(disk, &candidate.place, pack, &bytes);
        let key = adopt::place(&candidate.name, &manifest, derived.as_deref(), options.job.as_ref())
            .map_err(|refusal| refused(refusal.to_string()))?;
        let is_here = matches!(self.store.disk.stat(&paths::run_dir(&key)), Ok(Some(_)));
        let mut manifest = Prepared::of(bytes);
        let contents = if is_here {
            listed(disk, candidate).map(Contents::Listed)
        } else {
            manifest.pack();
            tree(disk, candidate).map(|tree| {
                let ahead = tree.read_ahead(0, room);
                Contents::Tree(tree, ahead)
            })
        };
        Ok(ReadRun { key, manifest, before, contents })
    }
}

/// What a candidate's folder has but the manifest, before it is read.
pub(super) fn tree(disk: &Disk, candidate: &Candidate) -> Result<source::Tree, StoreError> {
    let refused = |why: String| StoreError::Input { path: candidate.place.clone(), why };
    let below = disk.below(&candidate.place).map_err(|error| refused(error.to_string()))?;
    source::tree(below, &candidate.place, &|name| name == paths::MANIFEST)
}

/// A candidate's files as a file list would have them, hashed and not copied.
pub(super) fn listed(disk: &Disk, candidate: &Candidate) -> Result<Vec<FileEntry>, StoreError> {
    let refused = |path: &str, why: String| StoreError::Input { path: join(&candidate.place, path), why };
    let folder = facts::folder(disk, &candidate.place, None)?;
    let mut entries = Vec::with_capacity(folder.found.len());
    for (path, found) in &folder.found {
        let place =
            path.parse().map_err(|error: crate::base::name::PathError| refused(path, error.to_string()))?;
        entries.push(match found {
            Found::Dir => FileEntry::dir(place),
            Found::File { blob, exec } => FileEntry::file(place, *blob, *exec),
            Found::Special(what) => {
                let why = format!("it is a {what}; only regular files and folders are recorded");
                return Err(refused(path, why));
            }
            Found::Unreadable(why) => return Err(refused(path, why.clone())),
        });
    }
    Ok(entries)
}

/// The job that the pack's facts give a run whose manifest has none.
fn derived_job(disk: &Disk, place: &str, pack: &Pack, manifest: &[u8]) -> Option<String> {
    let doc = json::scan(manifest).ok()?;
    let facts = read_facts(disk, place, pack, &[], |_| true);
    pack.derive(&doc, &Pointer::from_tokens(["job_id"]), &facts)
}
