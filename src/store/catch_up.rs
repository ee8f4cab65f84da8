//! Keeping the index: bringing it up to date, building it anew, doing without a place to write it.

use std::os::unix::fs::FileExt;

use super::rows::{Manifests, Unreadable};
use super::{LogView, Store, StoreError};
use crate::backend::{FileLock, Unnamed};
use crate::base::digest::Sha256;
use crate::format::file_list::{FileEntry, ListBlob};
use crate::format::paths;
use crate::index::Index;
use crate::merkle;

/// Below so many changes an index is brought up to date, whatever its size.
const FEW_CHANGES: u64 = 1000;
/// Where an index is built.
const ASIDE: &str = "tmp/index.new";

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
        let mut is_up = false;
        if let Ok(index) = Index::open(&path) {
            is_up = index.is_at(&view.head);
            if !is_up {
                self.name_journal()?;
                is_up = self.bring_up(&index, &view).is_ok_and(|done| done);
            }
        }
        if !is_up {
            self.build(&view, Unreadable::Stops)?;
        }
        // To read with one that could write would be to take the journal of an index that was built anew
        // since for one of its own, should whoever writes that be killed.
        Ok(Index::open_read_only(&path)?)
    }

    /// Keeps others from writing the index, and takes away what one that was stopped left aside.
    fn lock_index(&self) -> Result<FileLock, StoreError> {
        let context = &self.context;
        let lock = FileLock::acquire(&self.disk, paths::INDEX_LOCK, &context.holder, context.lock_timeout)?;
        for leftover in [ASIDE, "tmp/index.new-journal"] {
            self.disk.discard(leftover)?;
        }
        Ok(lock)
    }

    fn settled(&self) -> Result<LogView, StoreError> {
        Ok(LogView { head: self.head()?, pending: Vec::new(), torn: None })
    }

    /// Makes the index say what the log and the manifests say now. Only the manifests that look otherwise
    /// than when they were read are read again; `anew` distrusts whatever is there. Gives how many were read;
    /// `None` where the index was built from nothing.
    pub(super) fn reindex_all(&self, anew: bool) -> Result<Option<u64>, StoreError> {
        let _lock = self.lock_index()?;
        let path = self.disk.full_path(paths::INDEX);
        let view = self.settled()?;
        let mut read = None;
        if !anew && let Ok(index) = Index::open(&path) {
            self.name_journal()?;
            read = self.bring_all_up(&index, &view).unwrap_or(None);
        }
        if read.is_none() {
            self.build(&view, Unreadable::IsARow)?;
        }
        Ok(read)
    }

    /// Builds the index aside and renames it into place. Only the holder of the index lock.
    fn build(&self, view: &LogView, unreadable: Unreadable) -> Result<(), StoreError> {
        let index = Index::create(&self.disk.full_path(ASIDE))?;
        let filled = self.fill(&index, view, unreadable);
        drop(index);
        if filled.is_err() {
            // On a full disk the half-built file would stand in the way of everything else.
            let _ = self.disk.discard(ASIDE);
        }
        filled?;
        // Named before its bytes are safe it could be there torn, and nobody would look.
        let flushed = self.disk.sync_file(ASIDE);
        if flushed.is_err() {
            let _ = self.disk.discard(ASIDE);
        }
        flushed?;
        if self.journal_is_hot()? {
            // It must not be taken for one of the new index, nor the old one be there without it.
            for stale in [paths::INDEX, paths::INDEX_JOURNAL] {
                self.disk.discard(stale)?;
                self.disk.sync_dir("")?;
            }
        }
        // One that takes nothing back protects nothing, and may be another user's.
        self.disk.discard(paths::INDEX_JOURNAL)?;
        self.disk.replace(ASIDE, paths::INDEX)?;
        Ok(())
    }

    /// Whether there is a journal that takes back an update of the index: one that does not begins with zeros.
    fn journal_is_hot(&self) -> Result<bool, StoreError> {
        if self.disk.stat(paths::INDEX_JOURNAL)?.is_none() {
            return Ok(false);
        }
        let mut first = [0];
        let read = self.disk.open_file(paths::INDEX_JOURNAL)?.read_at(&mut first, 0);
        Ok(read.is_err() || first != [0])
    }

    /// Makes the journal's name durable, without which an update of the index that power interrupts would
    /// be there torn.
    fn name_journal(&self) -> Result<(), StoreError> {
        self.disk.name_durably(paths::INDEX_JOURNAL, 0o644).map_err(|unnamed| match unnamed {
            Unnamed::NotMade(error) => error.into(),
            Unnamed::NotFlushed(error) => {
                // Nor is one that was there to be taken for safe: who made it may have been stopped before the flush.
                let _ = self.disk.discard(paths::INDEX_JOURNAL);
                error.into()
            }
        })
    }

    fn fill(&self, index: &Index, view: &LogView, unreadable: Unreadable) -> Result<(), StoreError> {
        index.begin_changes()?;
        self.index_entries(index, view, 0, Manifests::WithEntries, unreadable)?;
        index.finish_tables()?;
        self.index_unknown(index)?;
        Ok(index.commit_changes(&view.head)?)
    }

    /// Whether the log so far is the beginning of the log now, and most of it: what has more to take in
    /// than it holds is built from nothing sooner.
    fn goes_on(&self, index: &Index, view: &LogView) -> Result<bool, StoreError> {
        let (known, size) = (index.log_size()?, view.head.size);
        if known > size || size - known > known.max(FEW_CHANGES) {
            return Ok(false);
        }
        let mut now = view.clone();
        let root = loop {
            match merkle::tree_root(known, &self.hash_reader(&now)) {
                _ if known == 0 => break merkle::EMPTY_ROOT,
                Ok(root) => break root,
                // A tile that was not full goes when the log grows: then there is a fuller one.
                Err(_) => {
                    let then = std::mem::replace(&mut now, self.settled()?);
                    if then.head.size == now.head.size {
                        // Tiles are derived too, and what is missing of them is made anew elsewhere.
                        return Ok(false);
                    }
                }
            }
        };
        Ok(index.has_root(&Sha256::from_bytes(*root.as_bytes())))
    }

    /// Takes in what the log has more; answers whether that was the thing to do.
    fn bring_up(&self, index: &Index, view: &LogView) -> Result<bool, StoreError> {
        if !self.goes_on(index, view)? {
            return Ok(false);
        }
        let from = index.log_size()?;
        index.begin_changes()?;
        let done = self
            .index_entries(index, view, from, Manifests::WithEntries, Unreadable::Stops)
            .and_then(|changed| self.index_manifests(index, changed, Unreadable::Stops))
            .and_then(|()| Ok(index.commit_changes(&view.head)?));
        if done.is_err() {
            index.abandon_changes();
        }
        done.map(|()| true)
    }

    /// As [`bring_up`](Self::bring_up), with all manifests that look otherwise than when they were read;
    /// gives how many were read.
    fn bring_all_up(&self, index: &Index, view: &LogView) -> Result<Option<u64>, StoreError> {
        if !self.goes_on(index, view)? {
            return Ok(None);
        }
        index.begin_changes()?;
        let done = self.take_all_in(index, view);
        if !matches!(done, Ok(Some(_))) {
            index.abandon_changes();
        }
        done
    }

    fn take_all_in(&self, index: &Index, view: &LogView) -> Result<Option<u64>, StoreError> {
        let from = index.log_size()?;
        self.index_entries(index, view, from, Manifests::Later, Unreadable::IsARow)?;
        let (changed, runs) = self.look_at_manifests(index)?;
        let read = changed.len() as u64;
        if read > FEW_CHANGES.max(runs / 2) {
            return Ok(None);
        }
        self.index_manifests(index, changed, Unreadable::IsARow)?;
        self.index_unknown(index)?;
        index.commit_changes(&view.head)?;
        Ok(Some(read))
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
