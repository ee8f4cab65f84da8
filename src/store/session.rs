//! What is done while the store lock is held (`store-layout.md`, "The write path", from "Commit" on):
//! recovery, the commit point, settling.

use std::collections::{BTreeSet, HashMap};
use std::sync::MutexGuard;

use super::apply::{Foreign, Redo, Target};
use super::log::{base_of, batches_of};
use super::run_map::RunMap;
use super::stage::FLUSH_ONE_BY_ONE;
use super::{Store, StoreError};
use crate::backend::{FileLock, SegmentMark, Wal};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::batch::Batch;
use crate::format::entry::Entry;
use crate::format::head::{Head, RunMapRef};
use crate::format::paths;

/// The store lock. Threads of one process take turns first: they are woken when their turn comes, while
/// the kernel's lock is only asked for again and again.
pub(super) struct StoreLock<'s> {
    // Let go in this order.
    file: FileLock,
    _turn: MutexGuard<'s, ()>,
}

/// What is done while the store lock is held.
pub(super) struct Session<'s> {
    store: &'s Store,
    // Dropped last, after the journal is closed.
    wal: Wal,
    /// The settled log.
    pub head: Head,
    /// Folders whose entries changed and are not flushed yet.
    pub touched: Touched,
    /// What recovery found in the place of committed changes.
    pub foreign: Vec<Foreign>,
    /// The run map, once it was needed.
    map: Option<RunMap>,
    _lock: StoreLock<'s>,
}

/// Folders to flush before a batch counts as settled.
#[derive(Default)]
pub(super) struct Touched(BTreeSet<String>);

impl Touched {
    /// A folder's entries changed.
    pub fn folder(&mut self, path: impl Into<String>) {
        self.0.insert(path.into());
    }
}

impl<'s> Session<'s> {
    /// Takes the store lock and finishes what an earlier holder left.
    pub fn open(store: &'s Store) -> Result<Self, StoreError> {
        let lock = store.lock()?;
        let head = store.head()?;
        let (wal, frames) = Wal::open(&store.disk, &lock.file, store.config.store_id, base_of(&head))?;
        let mut session = Self {
            store,
            wal,
            head,
            touched: Touched::default(),
            foreign: Vec::new(),
            map: None,
            _lock: lock,
        };
        store.blobs.set_committed(&segment_marks(&session.head));
        let unfinished = !frames.is_empty();
        if unfinished {
            let bodies: Vec<&[u8]> = frames.iter().map(|frame| frame.body.as_slice()).collect();
            let batches = batches_of(&session.head, &bodies)?;
            session.redo(&batches)?;
        }
        if store.sweep() || unfinished {
            // Nothing refers to what lies beyond the committed lengths; a segment whose writer is still
            // at work is left alone. A tail that cannot be cut now is cut another time.
            let _ = store.blobs.cut_torn_tails();
        }
        Ok(session)
    }

    /// Applies committed batches that an earlier holder did not settle.
    fn redo(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let mut reach = self.head.clone();
        for batch in batches {
            reach.advance_segments(&batch.segments);
        }
        // What can be read of a segment need not be durable yet.
        self.store.blobs.make_durable(&segment_marks(&reach))?;
        let mut entries = Vec::new();
        let mut chains: HashMap<RunKey, Vec<Option<Sha256>>> = HashMap::new();
        for batch in batches {
            for bytes in &batch.entries {
                let entry = Entry::parse(bytes).map_err(StoreError::record(paths::WAL))?;
                let wanted = entry.run().map(|key| {
                    let chain = chains.entry(key).or_insert_with(|| vec![entry.before]);
                    chain.push(entry.after);
                    chain.len() - 1
                });
                entries.push((entry, wanted));
            }
        }
        let redo = Redo::begin(self.store)?;
        for (entry, wanted) in &entries {
            let (Some(key), Some(wanted)) = (entry.run(), wanted) else {
                self.store.place_installed(entry)?;
                continue;
            };
            let target = Target { entry, states: &chains[&key], wanted: *wanted, staged: None };
            if let Some(found) = self.store.apply(&target, &mut self.touched)? {
                self.foreign.push(found);
            }
        }
        redo.end();
        // The map of a log without runs is made by reading all of it: not for batches that have none either.
        let of_runs = entries.iter().any(|(entry, _)| entry.run().is_some());
        self.settle(batches, of_runs)
    }

    /// The run map as of the settled log and of what was put into it since.
    pub fn map(&mut self) -> Result<&mut RunMap, StoreError> {
        match &mut self.map {
            Some(map) => Ok(map),
            none => Ok(none.insert(RunMap::open(self.store, &self.head)?)),
        }
    }

    /// Takes committed entries into the run map, unless that was done to make their `run-map` entry;
    /// makes its nodes durable and gives where they lie. Where no entry is of a run nothing changes.
    fn settle_map(&mut self, batches: &[Batch], of_runs: bool) -> Result<Option<RunMapRef>, StoreError> {
        if !of_runs && self.map.is_none() {
            return Ok(self.head.runs);
        }
        let store = self.store;
        let map = self.map()?;
        for batch in batches.iter().filter(|batch| batch.end() > batch.first) {
            if map.size >= batch.end() {
                continue;
            }
            let parsed: Result<Vec<Entry>, _> =
                batch.entries.iter().map(|bytes| Entry::parse(bytes)).collect();
            let parsed = parsed.map_err(StoreError::record(paths::WAL))?;
            map.apply(store, parsed.iter().zip(batch.entries.iter().map(Vec::as_slice)))?;
        }
        map.write(store)
    }

    /// Makes tiles and run map anew from the entries where they are missing or damaged; gives what was
    /// made.
    pub fn mend(&mut self) -> Result<Vec<String>, StoreError> {
        let mut made = self.store.mend_tiles(&self.head)?;
        let Some(known) = self.head.runs else { return Ok(made) };
        if self.store.walk_run_map(&known)?.is_some() {
            let mut map = RunMap::from_log(self.store, &self.head)?;
            // Another root than the recorded one is for verify to report, and hides nothing this way.
            let runs = map.write(self.store)?.filter(|runs| runs.root == known.root);
            let mut head = self.head.clone();
            head.runs = runs;
            self.store.disk.replace_durably(paths::HEAD, &head.to_bytes(), 0o644)?;
            self.head = head;
            self.store.drop_run_maps(&self.head);
            made.extend(runs.map(|runs| paths::run_map(runs.file)));
        }
        Ok(made)
    }

    /// The commit point: one frame, one fsync.
    pub fn append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.wal.append(&batch.to_bytes())?;
        Ok(())
    }

    /// Makes the effects of committed batches durable, their entries part of the bundles, and
    /// retires their frames. `of_runs` says whether any of them may be of a run.
    pub fn settle(&mut self, batches: &[Batch], of_runs: bool) -> Result<(), StoreError> {
        let touched = std::mem::take(&mut self.touched.0);
        if touched.len() > FLUSH_ONE_BY_ONE {
            self.store.disk.sync_all()?;
        } else {
            for folder in touched {
                self.store.disk.sync_dir(&folder)?;
            }
        }
        let mut head = self.store.settle_entries(&self.head, batches)?;
        head.runs = self.settle_map(batches, of_runs)?;
        let last = self.wal.head();
        head.frame_seq = last.seq;
        head.frame_hash = Sha256::from_bytes(last.hash);
        self.store.disk.replace_durably(paths::HEAD, &head.to_bytes(), 0o644)?;
        self.store.blobs.set_committed(&segment_marks(&head));
        let old = std::mem::replace(&mut self.head, head);
        self.wal.retire()?;
        self.store.drop_partial(old.size, self.head.size);
        if old.runs.map(|runs| runs.file) != self.head.runs.map(|runs| runs.file) {
            self.store.drop_run_maps(&self.head);
        }
        Ok(())
    }
}

impl Store {
    /// Takes the store lock.
    pub(super) fn lock(&self) -> Result<StoreLock<'_>, StoreError> {
        let context = &self.context;
        let turn = self.committer.turn();
        let (disk, holder, timeout) = (&self.disk, &context.holder, context.lock_timeout);
        let file = FileLock::acquire_in_turn(disk, paths::LOCK, paths::QUEUE, holder, timeout)?;
        Ok(StoreLock { file, _turn: turn })
    }

    /// How far each segment is committed, settled or not.
    pub(super) fn committed_marks(&self) -> Result<Vec<SegmentMark>, StoreError> {
        let view = self.log()?;
        let mut head = view.head;
        for batch in &view.pending {
            head.advance_segments(&batch.segments);
        }
        Ok(segment_marks(&head))
    }
}

/// How far each segment is committed, by a head.
pub(super) fn segment_marks(head: &Head) -> Vec<SegmentMark> {
    head.segments.iter().map(|mark| SegmentMark { number: mark.number, len: mark.len }).collect()
}
