//! Rows of the index: those of the log part from the entries, those of the disk part from the manifests as
//! they lie (`store-layout.md`, "Index"). What is read is read ahead, on all cores, of the one thread that
//! writes rows.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::ahead::in_order;
use super::fingerprint::{Fingerprint, began_ns};
use super::{LogView, Store, StoreError};
use crate::backend::DiskError;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::entry::{Entry, EntryKind};
use crate::format::file_list::FileEntry;
use crate::format::finding::Code;
use crate::format::manifest::Manifest;
use crate::format::paths;
use crate::index::{Index, KnownRun, LogRow, ManifestRow, Mark};
use crate::plan::replay;

/// Manifests read ahead, and entries: whole bundles of them.
const READ_AHEAD: usize = 256;
const ENTRIES_AHEAD: u64 = limits::TILE_WIDTH;
/// Manifests looked at side by side.
const LOOKED_AT: usize = 4096;

/// An entry on its way into the index.
struct Logged {
    at: u64,
    leaf: Sha256,
    entry: Entry,
    /// Of an entry that brings a run in: its files, and its manifest as it lies now.
    files: Vec<FileEntry>,
    manifest: Option<Result<Read, NoManifest>>,
}

/// A manifest as it lies.
struct Read {
    manifest: Manifest,
    text: String,
    sha256: Sha256,
    /// What the kernel told of it, unless a later change need not show there.
    mark: Option<Mark>,
}

/// Why there is no manifest to index.
enum NoManifest {
    /// What lies there is a finding.
    Found(Code, String),
    /// The kernel refused, for reasons of its own.
    Refused(DiskError),
}

/// Which manifests are read along with the entries.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Manifests {
    /// Those of the runs that the entries bring in or change.
    WithEntries,
    /// None: all of them are looked at afterwards.
    Later,
}

/// What becomes of a manifest that the kernel would not let us read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unreadable {
    /// The tables are not written: what failed once may go well the next time, and a row that is
    /// wrong would stay.
    Stops,
    /// It is a row that says so: tables for one command, or asked for by name.
    IsARow,
}

impl Store {
    /// Rows of the log part from an entry on. `WithEntries` reads the manifest of each run that comes in;
    /// what is given are the runs from before that changed, whose manifests are still to be read.
    pub(super) fn index_entries(
        &self,
        index: &Index,
        view: &LogView,
        from: u64,
        manifests: Manifests,
        unreadable: Unreadable,
    ) -> Result<Vec<KnownRun>, StoreError> {
        let mut changed = BTreeSet::new();
        let began = began_ns(self.context.clock.now());
        let with = (manifests == Manifests::WithEntries).then_some(began);
        let pieces = (from..view.size()).step_by(ENTRIES_AHEAD as usize);
        let prepare = |from| self.read_entries(view, from, view.size().min(from + ENTRIES_AHEAD), with);
        in_order(pieces, prepare, |read| -> Result<(), StoreError> {
            for Logged { at, leaf, entry, files, manifest } in read? {
                let new = index.put_entry(&LogRow { index: at, leaf, entry: &entry })?;
                let Some(key) = entry.run() else { continue };
                if new {
                    index.put_files(&key, &files)?;
                }
                match manifest {
                    Some(read) if new => put_read(index, &key, at, read, unreadable)?,
                    // Built from nothing, every run comes in by an entry.
                    _ if from > 0 => {
                        changed.insert(key);
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        let mut known = Vec::with_capacity(changed.len());
        for key in changed {
            let Some(first_entry) = index.first_entry(&key)? else { continue };
            if first_entry < from {
                known.push(KnownRun { key, first_entry, mark: None });
            }
        }
        Ok(known)
    }

    /// Reads entries, with the file lists and manifests of the runs that they bring in.
    fn read_entries(
        &self,
        view: &LogView,
        from: u64,
        end: u64,
        manifests_since: Option<i128>,
    ) -> Result<Vec<Logged>, StoreError> {
        let mut read = Vec::with_capacity((end - from) as usize);
        self.entries_between(view, from, end, &mut |at, bytes| {
            read.push((at, bytes.to_vec()));
            Ok(())
        })?;
        let parse = |(at, bytes): (u64, Vec<u8>)| {
            let entry = Entry::parse(&bytes).map_err(StoreError::record(format!("log entry {at}")))?;
            let mut logged =
                Logged { at, leaf: replay::leaf(&bytes), entry, files: Vec::new(), manifest: None };
            if matches!(logged.entry.kind, EntryKind::Recorded | EntryKind::Adopted) {
                // A list that is gone is a finding of verify; the index shows the run without files.
                let list = logged.entry.files.map(|list| self.file_list(&list));
                logged.files = list.and_then(Result::ok).unwrap_or_default();
                logged.manifest = match (logged.entry.run(), manifests_since) {
                    (Some(key), Some(began)) => Some(self.read_manifest(&key, began)),
                    _ => None,
                };
            }
            Ok(logged)
        };
        read.into_par_iter().map(parse).collect()
    }

    /// Rows of these manifests.
    pub(super) fn index_manifests(
        &self,
        index: &Index,
        runs: Vec<KnownRun>,
        unreadable: Unreadable,
    ) -> Result<(), StoreError> {
        let began = began_ns(self.context.clock.now());
        let prepare = |chunk: &[KnownRun]| -> Vec<_> {
            let read =
                |run: &KnownRun| (run.key.clone(), run.first_entry, self.read_manifest(&run.key, began));
            chunk.par_iter().map(read).collect()
        };
        in_order(runs.chunks(READ_AHEAD), prepare, |read| {
            read.into_iter().try_for_each(|(key, at, read)| put_read(index, &key, at, read, unreadable))
        })
    }

    /// Looks at every manifest of the log without opening any; gives those that do not look as they did
    /// when they were read, and how many there are.
    pub(super) fn look_at_manifests(&self, index: &Index) -> Result<(Vec<KnownRun>, u64), StoreError> {
        let (mut changed, mut count) = (Vec::new(), 0);
        let mut waiting: Vec<KnownRun> = Vec::new();
        let mut look = |waiting: &mut Vec<KnownRun>| {
            count += waiting.len() as u64;
            changed.par_extend(waiting.par_drain(..).filter(|run| !self.looks_as_it_did(run)));
        };
        for job in index.jobs()? {
            waiting.extend(index.known_of_job(&job)?);
            if waiting.len() >= LOOKED_AT {
                look(&mut waiting);
            }
        }
        look(&mut waiting);
        Ok((changed, count))
    }

    fn looks_as_it_did(&self, run: &KnownRun) -> bool {
        let Some(mark) = run.mark else { return false };
        let now = self.disk.stat(&paths::manifest(&run.key));
        now.is_ok_and(|stat| stat.is_some_and(|stat| Fingerprint::of_file(&stat).mark == mark))
    }

    /// Problem rows of the runs that only the disk has.
    pub(super) fn index_unknown(&self, index: &Index) -> Result<(), StoreError> {
        let code = Code::RunUnknown;
        index.drop_problems(code.as_str())?;
        for job in self.jobs_on_disk()?.names {
            let known: Vec<RunKey> = index.runs_of_job(job.as_str())?;
            for key in self.runs_on_disk_of(&job)?.names {
                if known.binary_search(&key).is_err() {
                    index.put_problem(&key, code.as_str(), code.title())?;
                }
            }
        }
        Ok(())
    }

    /// Reads a run's manifest as it lies.
    fn read_manifest(&self, key: &RunKey, began_ns: i128) -> Result<Read, NoManifest> {
        let found = |code: Code, why: String| Err(NoManifest::Found(code, why));
        let (bytes, stat) = match self.disk.read_with_stat(&paths::manifest(key), limits::JSON_BYTES as u64) {
            Ok(read) => read,
            Err(error) if error.is_not_found() => {
                return found(Code::ManifestMissing, Code::ManifestMissing.title().to_owned());
            }
            Err(error) if error.is_not_regular() => return found(Code::NotRegular, error.to_string()),
            Err(error) if error.is_not_folder() || error.is_too_large() => {
                return found(Code::ManifestUnreadable, error.to_string());
            }
            Err(error) => return Err(NoManifest::Refused(error)),
        };
        let print = Fingerprint::of_file(&stat);
        let mark = print.is_settled(began_ns).then_some(print.mark);
        let sha256 = Sha256::of(&bytes);
        let unreadable = |why: String| NoManifest::Found(Code::ManifestUnreadable, why);
        let manifest = Manifest::parse(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
        Ok(Read { manifest, text, sha256, mark })
    }
}

fn put_read(
    index: &Index,
    key: &RunKey,
    first_entry: u64,
    read: Result<Read, NoManifest>,
    unreadable: Unreadable,
) -> Result<(), StoreError> {
    let (code, detail) = match read {
        Ok(Read { manifest, text, sha256, mark }) => {
            let row = ManifestRow::Good { manifest: &manifest, text: &text, sha256 };
            return Ok(index.put_manifest(key, first_entry, &row, mark.as_ref())?);
        }
        Err(NoManifest::Found(code, detail)) => (code, detail),
        Err(NoManifest::Refused(error)) if unreadable == Unreadable::Stops => return Err(error.into()),
        Err(NoManifest::Refused(error)) => (Code::ManifestUnreadable, error.to_string()),
    };
    let row = ManifestRow::Bad { code: code.as_str(), detail: &detail };
    Ok(index.put_manifest(key, first_entry, &row, None)?)
}
