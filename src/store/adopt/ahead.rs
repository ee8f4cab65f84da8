//! Reading runs before their turn to be staged: on all cores, and no more than there is room for.

use std::collections::HashSet;
use std::fmt::Display;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use rayon::prelude::*;

use super::find::Candidate;
use super::{Todo, Tree, read_facts};
use crate::backend::{Disk, Prepared, Stat};
use crate::base::digest::{BlobId, Sha256};
use crate::base::id::RunKey;
use crate::base::json::{self, Doc, Pointer};
use crate::base::limits;
use crate::format::file_list::{self, FileEntry};
use crate::format::manifest::Manifest;
use crate::format::paths;
use crate::plan::adopt;
use crate::plan::verify::Found;
use crate::schema::Pack;
use crate::store::facts::{self, join};
use crate::store::fingerprint::Fingerprint;
use crate::store::source::{self, ReadAhead, Room};
use crate::store::{Store, StoreError};

/// Runs read together, and the most bytes kept of their manifests, names and small files.
pub(super) const RUNS: usize = 32;
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

/// What lies in a candidate's folder beside the manifest, and the folder's fingerprint from before it was read.
pub(super) enum Contents {
    /// Of a run that the store seems to have: the file list that it would have.
    Listed { files: BlobId, print: Fingerprint },
    /// Of a run to be staged: what there is, and the first of its files as far as there was room.
    Tree { tree: source::Tree, ahead: Vec<ReadAhead>, print: Option<Fingerprint> },
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
    pub fn read(&self, runs: &[Todo]) -> Vec<Option<Result<ReadRun, StoreError>>> {
        self.with_room(BYTES, |room| runs.par_iter().map(|run| self.ahead(run, room)).collect())
    }

    /// Reads a candidate whose turn it is.
    pub fn read_now(&self, run: &Todo) -> Result<ReadRun, StoreError> {
        self.with_room(0, |room| self.run(run, self.open(run)?, room))
    }

    fn ahead(&self, run: &Todo, room: &Room<'_>) -> Option<Result<ReadRun, StoreError>> {
        let opened = match self.open(run) {
            Ok(opened) => opened,
            Err(error) => return Some(Err(error)),
        };
        // Its bytes, what they are packed to, and the document that is made of them meanwhile.
        if !room.take(opened.1.len.saturating_mul(4)) {
            return None;
        }
        let read = self.run(run, opened, room);
        let names = match &read {
            Ok(ReadRun { contents: Ok(Contents::Tree { tree, .. }), .. }) => {
                tree.files.len() + tree.dirs.len()
            }
            _ => 0,
        };
        room.take(names as u64 * NAME).then_some(read)
    }

    /// Opens a candidate's manifest.
    fn open(&self, run: &Todo) -> Result<(File, Stat), StoreError> {
        let place = &run.candidate.place;
        let opened = self.from.disk.open_with_stat(&join(place, paths::MANIFEST));
        opened.map_err(|error| refused(place, error))
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

    fn run(&self, run: &Todo, (file, before): (File, Stat), room: &Room<'_>) -> Result<ReadRun, StoreError> {
        let &Tree { disk, pack, options, .. } = self.from;
        let candidate = &run.candidate;
        let refused = |why: &dyn Display| refused(&candidate.place, why);
        let path = join(&candidate.place, paths::MANIFEST);
        let bytes = disk
            .read_open(&path, &file, &before, limits::JSON_BYTES as u64)
            .map_err(|error| refused(&error))?;
        if before.mode & 0o7000 != 0 {
            room.progress.bits_dropped(&path);
        }
        let key = {
            let not_manifest = |why: &dyn Display| refused(&format_args!("manifest.json: {why}"));
            let doc = json::scan(&bytes).map_err(|error| not_manifest(&error))?;
            let manifest = Manifest::of(&doc).map_err(|error| not_manifest(&error))?;
            let derived = || derived_job(disk, &candidate.place, pack, &doc);
            adopt::place(&candidate.name, &manifest, derived, options.job.as_ref())
                .map_err(|refusal| refused(&refusal))?
        };
        let is_here = matches!(self.store.disk.stat(&paths::run_dir(&key)), Ok(Some(_)));
        let mut manifest = Prepared::of(bytes);
        let contents = if is_here {
            listed(self.from, candidate, before).map(|(files, print)| Contents::Listed { files, print })
        } else {
            manifest.pack();
            let print = run.print.or_else(|| self.from.fingerprint(candidate));
            tree(self.from, candidate).map(|tree| {
                let ahead = tree.read_ahead(0, room);
                Contents::Tree { tree, ahead, print }
            })
        };
        Ok(ReadRun { key, manifest, before, contents })
    }
}

fn refused(place: &str, why: impl Display) -> StoreError {
    StoreError::Input { path: place.to_owned(), why: why.to_string() }
}

/// What a candidate's folder has but the manifest, before it is read.
pub(super) fn tree(from: &Tree<'_>, candidate: &Candidate) -> Result<source::Tree, StoreError> {
    let below = from.disk.below(&candidate.place).map_err(|error| refused(&candidate.place, error))?;
    source::tree(below, &candidate.place, &|name| name == paths::MANIFEST)
}

/// What a candidate's folder has but the manifest, as the file list that a run of it would have, and the folder's
/// fingerprint. `manifest` is what the kernel told of that before it was read.
pub(super) fn listed(
    from: &Tree<'_>,
    candidate: &Candidate,
    manifest: Stat,
) -> Result<(BlobId, Fingerprint), StoreError> {
    let taking = from.begin_fingerprint(candidate);
    let (all, print) = facts::beside_manifest(from.disk, &candidate.place, manifest, taking)
        .map_err(|error| refused(&candidate.place, error))?;
    let mut entries = Vec::with_capacity(all.len());
    for (path, found) in all {
        let refused = |why: &dyn Display| refused(&join(&candidate.place, &path), why);
        let place = path.parse().map_err(|error: crate::base::name::PathError| refused(&error))?;
        entries.push(match found {
            Found::Dir => FileEntry::dir(place),
            Found::File { blob, exec } => FileEntry::file(place, blob, exec),
            Found::Special(what) => {
                return Err(refused(&format_args!(
                    "it is a {what}; only regular files and folders are recorded"
                )));
            }
            Found::Unreadable(why) => return Err(refused(&why)),
        });
    }
    let lists = file_list::print(&entries);
    Ok((BlobId::of(lists.last().expect("a file list has at least one blob")), print))
}

fn derived_job(disk: &Disk, place: &str, pack: &Pack, manifest: &Doc<'_>) -> Option<String> {
    let facts = read_facts(disk, place, pack, &[], |_| true);
    pack.derive(manifest, &Pointer::from_tokens(["job_id"]), &facts)
}
