//! Keeping the index: bringing it up to date, building it anew, doing without a place to write it.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::ahead::in_order;
use super::{LogView, Store, StoreError};
use crate::backend::{DiskError, FileLock};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::entry::{Entry, EntryKind};
use crate::format::file_list::{FileEntry, ListBlob};
use crate::format::finding::Code;
use crate::format::manifest::Manifest;
use crate::format::paths;
use crate::index::{Index, LogRow, ManifestRow};
use crate::plan::replay;

/// Manifests read ahead of the one thread that writes rows, and entries: whole bundles of them.
const READ_AHEAD: usize = 512;
const ENTRIES_AHEAD: u64 = 4 * limits::TILE_WIDTH;

/// An entry on its way into the index.
struct Logged {
    at: u64,
    leaf: Sha256,
    entry: Entry,
    /// The files of a run that it brings in.
    files: Vec<FileEntry>,
}

/// What becomes of a manifest that the kernel would not let us read.
#[derive(Clone, Copy, PartialEq)]
enum Unreadable {
    /// The tables are not written: what failed once may go well the next time, and a row that is
    /// wrong would stay.
    Stops,
    /// It is a row that says so: tables for one command, or asked for by name.
    IsARow,
}

/// Why there is no manifest to index.
enum NoManifest {
    /// What lies there is a finding.
    Found(Code, String),
    /// The kernel refused, for reasons of its own.
    Refused(DiskError),
}

impl Store {
    /// The index, up to date with the settled log. Built when it is missing or unusable; kept in
    /// memory when it cannot be written (a read-only store, a full disk). Only what is settled is
    /// indexed: a frame that can be read need not be durable yet.
    pub(super) fn index(&self) -> Result<Index, StoreError> {
        let view = self.settled()?;
        if let Ok(index) = Index::open_read_only(&self.disk.full_path(paths::INDEX))
            && index.is_at(&view.head)
        {
            return Ok(index);
        }
        match self.refresh_index() {
            Err(StoreError::Index(_) | StoreError::Disk(_) | StoreError::Lock(_)) => {
                let index = Index::in_memory()?;
                self.fill(&index, &self.settled()?, Unreadable::IsARow)?;
                Ok(index)
            }
            refreshed => refreshed,
        }
    }

    fn refresh_index(&self) -> Result<Index, StoreError> {
        let _lock = self.lock_index()?;
        let path = self.disk.full_path(paths::INDEX);
        let view = self.settled()?;
        if let Ok(index) = Index::open(&path) {
            let behind = index.log_size().is_ok_and(|size| size < view.head.size);
            if index.is_at(&view.head) || (behind && self.bring_up(&index, &view).is_ok()) {
                drop(index);
                // To read with one that could write would be to take the journal of an index that was
                // built anew since for one of its own, should whoever writes that be killed.
                return Ok(Index::open_read_only(&path)?);
            }
        }
        self.build(&view, Unreadable::Stops)?;
        Ok(Index::open_read_only(&path)?)
    }

    fn lock_index(&self) -> Result<FileLock, StoreError> {
        let context = &self.context;
        Ok(FileLock::acquire(&self.disk, paths::INDEX_LOCK, &context.holder, context.lock_timeout)?)
    }

    fn settled(&self) -> Result<LogView, StoreError> {
        Ok(LogView { head: self.head()?, pending: Vec::new(), torn: None })
    }

    /// Builds the index anew, whatever is there.
    pub(super) fn rebuild_index(&self) -> Result<Index, StoreError> {
        let _lock = self.lock_index()?;
        self.build(&self.settled()?, Unreadable::IsARow)?;
        Ok(Index::open_read_only(&self.disk.full_path(paths::INDEX))?)
    }

    /// Builds the index aside and renames it into place. Only the holder of the index lock.
    fn build(&self, view: &LogView, unreadable: Unreadable) -> Result<(), StoreError> {
        const ASIDE: &str = "tmp/index.new";
        for leftover in [ASIDE, "tmp/index.new-journal"] {
            self.disk.discard(leftover)?;
        }
        let index = Index::create(&self.disk.full_path(ASIDE))?;
        let filled = self.fill(&index, view, unreadable);
        drop(index);
        if filled.is_err() {
            // On a full disk the half-built file would stand in the way of everything else.
            let _ = self.disk.discard(ASIDE);
        }
        filled?;
        // A journal of the old index must not be taken for one of the new.
        self.disk.discard("index.sqlite-journal")?;
        self.disk.replace(ASIDE, paths::INDEX)?;
        Ok(())
    }

    fn fill(&self, index: &Index, view: &LogView, unreadable: Unreadable) -> Result<(), StoreError> {
        index.begin_changes()?;
        self.index_entries(index, view, 0)?;
        index.finish_tables()?;
        // All manifests are read: those of the log and those that only the disk has.
        let mut runs: BTreeSet<RunKey> = index.all_runs()?.into_iter().collect();
        let scan = self.scan()?;
        let unknown: Vec<RunKey> = scan.runs.into_iter().filter(|key| !runs.contains(key)).collect();
        self.index_manifests(index, runs.iter().cloned().collect(), unreadable)?;
        for key in &unknown {
            let row = ManifestRow::Bad { code: Code::RunUnknown.as_str(), detail: Code::RunUnknown.title() };
            index.put_manifest(key, &row)?;
        }
        runs.clear();
        index.commit_changes(&view.head)?;
        Ok(())
    }

    fn bring_up(&self, index: &Index, view: &LogView) -> Result<(), StoreError> {
        let from = index.log_size()?;
        index.begin_changes()?;
        let done = self
            .index_entries(index, view, from)
            .and_then(|changed| self.index_manifests(index, changed.into_iter().collect(), Unreadable::Stops))
            .and_then(|()| Ok(index.commit_changes(&view.head)?));
        if done.is_err() {
            index.abandon_changes();
        }
        done
    }

    /// Rows of the log part; gives the runs that changed.
    fn index_entries(
        &self,
        index: &Index,
        view: &LogView,
        from: u64,
    ) -> Result<BTreeSet<RunKey>, StoreError> {
        let mut changed = BTreeSet::new();
        let pieces = (from..view.size()).step_by(ENTRIES_AHEAD as usize);
        let prepare = |from| self.read_entries(view, from, view.size().min(from + ENTRIES_AHEAD));
        in_order(pieces, prepare, |read| -> Result<(), StoreError> {
            for Logged { at, leaf, entry, files } in read? {
                index.put_entry(&LogRow { index: at, leaf, entry: &entry })?;
                let Some(key) = entry.run() else { continue };
                index.put_files(&key, &files)?;
                changed.insert(key);
            }
            Ok(())
        })?;
        Ok(changed)
    }

    /// Reads entries, with the file lists of those that bring a run in.
    fn read_entries(&self, view: &LogView, from: u64, end: u64) -> Result<Vec<Logged>, StoreError> {
        let mut read = Vec::with_capacity((end - from) as usize);
        self.entries_between(view, from, end, &mut |at, bytes| {
            read.push((at, bytes.to_vec()));
            Ok(())
        })?;
        let parse = |(at, bytes): (u64, Vec<u8>)| {
            let entry = Entry::parse(&bytes).map_err(StoreError::record(format!("log entry {at}")))?;
            let files = match (&entry.files, entry.kind) {
                // A list that is gone is a finding of verify; the index shows the run without files.
                (Some(list), EntryKind::Recorded | EntryKind::Adopted) => {
                    self.file_list(list).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            Ok(Logged { at, leaf: replay::leaf(&bytes), entry, files })
        };
        read.into_par_iter().map(parse).collect()
    }

    /// Rows of the disk part.
    fn index_manifests(
        &self,
        index: &Index,
        runs: Vec<RunKey>,
        unreadable: Unreadable,
    ) -> Result<(), StoreError> {
        let prepare = |chunk: &[RunKey]| -> Vec<_> {
            chunk.par_iter().map(|key| (key.clone(), self.read_manifest(key))).collect()
        };
        in_order(runs.chunks(READ_AHEAD), prepare, |read| {
            for (key, read) in read {
                let (code, detail) = match read {
                    Ok((manifest, text, sha256)) => {
                        let (manifest, text) = (&manifest, &text);
                        index.put_manifest(&key, &ManifestRow::Good { manifest, text, sha256 })?;
                        continue;
                    }
                    Err(NoManifest::Found(code, detail)) => (code, detail),
                    Err(NoManifest::Refused(error)) if unreadable == Unreadable::Stops => {
                        return Err(error.into());
                    }
                    Err(NoManifest::Refused(error)) => (Code::ManifestUnreadable, error.to_string()),
                };
                index.put_manifest(&key, &ManifestRow::Bad { code: code.as_str(), detail: &detail })?;
            }
            Ok(())
        })
    }

    /// Reads a run's manifest as it lies: the manifest, its text and digest.
    fn read_manifest(&self, key: &RunKey) -> Result<(Manifest, String, Sha256), NoManifest> {
        let found = |code: Code, why: String| Err(NoManifest::Found(code, why));
        let bytes = match self.disk.read_opt(&paths::manifest(key), limits::JSON_BYTES as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return found(Code::ManifestMissing, Code::ManifestMissing.title().to_owned()),
            Err(error) if error.is_not_regular() => return found(Code::NotRegular, error.to_string()),
            Err(error) if error.is_not_folder() || error.is_too_large() => {
                return found(Code::ManifestUnreadable, error.to_string());
            }
            Err(error) => return Err(NoManifest::Refused(error)),
        };
        let sha256 = Sha256::of(&bytes);
        let unreadable = |why: String| NoManifest::Found(Code::ManifestUnreadable, why);
        let manifest = Manifest::parse(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
        Ok((manifest, text, sha256))
    }

    /// A run's file list, its parts put together.
    pub fn file_list(&self, digest: &Sha256) -> Result<Vec<FileEntry>, StoreError> {
        let read = |digest: &Sha256| -> Result<ListBlob, StoreError> {
            let missing = StoreError::BlobMissing { what: "file list", digest: *digest };
            let bytes = self.blobs.get(digest)?.ok_or(missing)?;
            ListBlob::parse(&bytes).map_err(StoreError::record(format!("file list {digest}")))
        };
        match read(digest)? {
            ListBlob::Entries(entries) => Ok(entries),
            ListBlob::Parts(parts) => {
                let mut entries = Vec::new();
                for part in parts {
                    let ListBlob::Entries(more) = read(&part.list)? else {
                        let place = format!("file list {}", part.list);
                        return Err(StoreError::LogDamaged {
                            place,
                            why: "a list of lists of lists".to_owned(),
                        });
                    };
                    entries.extend(more);
                }
                crate::format::file_list::check_entries(&entries)
                    .map_err(StoreError::record(format!("file list {digest}")))?;
                Ok(entries)
            }
        }
    }
}
