//! Entries of a replayed log, read once more where a run is looked at: of the log as a whole only the
//! order of each run's entries is held. What is read twice must be the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::log::same_entry;
use super::super::{Store, StoreError};
use super::log::LogFacts;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits::TILE_WIDTH;
use crate::format::entry::{Entry, EntryKind};
use crate::plan::replay::{self, RunState};

/// Bundles kept in memory: the earlier entries of runs that lie together tend to lie together too.
const KEPT_BUNDLES: usize = 16;

type Bundle = Vec<Vec<u8>>;

/// A run with its newest entry.
pub(super) struct Newest {
    pub key: RunKey,
    /// But for the findings that it came in with.
    pub state: RunState,
    entry: Entry,
}

impl Newest {
    fn of(entry: Entry, index: u64, leaf: Sha256) -> Option<Self> {
        Some(Self { key: entry.run()?, state: replay::after(&entry, index, leaf), entry })
    }
}

/// The log's entries, by their place.
pub(super) struct Again<'a> {
    store: &'a Store,
    pub log: &'a LogFacts,
    kept: Mutex<VecDeque<(u64, Arc<Bundle>)>>,
}

impl<'a> Again<'a> {
    /// Of a log that was replayed.
    pub fn of(store: &'a Store, log: &'a LogFacts) -> Self {
        Self { store, log, kept: Mutex::default() }
    }

    fn bundle(&self, number: u64) -> Result<Arc<Bundle>, StoreError> {
        let known = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bundle)) = known().iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(bundle));
        }
        let bundle = Arc::new(self.store.bundle(number, self.log.view.head.size)?);
        let mut kept = known();
        kept.push_front((number, Arc::clone(&bundle)));
        kept.truncate(KEPT_BUNDLES);
        Ok(bundle)
    }

    fn entry(&self, index: u64, leaf: &Sha256) -> Result<Entry, StoreError> {
        if index < self.log.view.head.size {
            let bundle = self.bundle(index / TILE_WIDTH)?;
            if let Some(bytes) = bundle.get((index % TILE_WIDTH) as usize) {
                return same_entry(bytes, index, leaf);
            }
        }
        self.store.entry_again(&self.log.view, index, leaf)
    }

    /// A run's newest entry.
    pub fn newest(&self, key: &RunKey) -> Result<Newest, StoreError> {
        let none = || StoreError::NoRun { name: key.to_string() };
        let (index, leaf) = self.log.replay.newest(key).ok_or_else(none)?;
        Newest::of(self.entry(index, &leaf)?, index, leaf).ok_or_else(none)
    }

    /// The runs whose newest entries lie between two places.
    pub fn newest_between(&self, from: u64, end: u64) -> Result<Vec<Newest>, StoreError> {
        let replay = &self.log.replay;
        let mut runs = Vec::new();
        if !(from..end).any(|at| replay.is_newest(at)) {
            return Ok(runs);
        }
        self.store.entries_between(&self.log.view, from, end, &mut |at, bytes| {
            if replay.is_newest(at) {
                let leaf = replay::leaf(bytes);
                let entry = Entry::parse(bytes).map_err(StoreError::record(format!("log entry {at}")))?;
                let same = entry.run().filter(|run| replay.newest(run) == Some((at, leaf)));
                let run = same.and_then(|_| Newest::of(entry, at, leaf));
                runs.push(run.ok_or_else(|| StoreError::LogDamaged {
                    place: format!("log entry {at}"),
                    why: "it is another than a moment ago".to_owned(),
                })?);
            }
            Ok(())
        })?;
        Ok(runs)
    }

    /// The newest of a run's entries, back to one of them; each is the one that the next says it follows.
    fn back_to(&self, run: &Newest, last: u64) -> Result<Vec<Entry>, StoreError> {
        let mut entries = vec![run.entry.clone()];
        for index in self.log.replay.back_from(run.state.entry).skip(1).take_while(|at| *at >= last) {
            let next = &entries[entries.len() - 1];
            let leaf = next.run_prev.unwrap_or(run.state.leaf);
            entries.push(self.entry(index, &leaf)?);
        }
        Ok(entries)
    }

    /// The revisions before and after each of a run's migrations, in order.
    pub fn rewrites(&self, run: &Newest) -> Result<Vec<(Sha256, Sha256)>, StoreError> {
        let replay = &self.log.replay;
        let first = replay.back_from(run.state.entry).filter(|at| replay.is_migrated(*at)).last();
        let Some(first) = first else { return Ok(Vec::new()) };
        let pair = |entry: Entry| entry.before.zip(entry.after).filter(|_| entry.kind == EntryKind::Migrated);
        Ok(self.back_to(run, first)?.into_iter().rev().filter_map(pair).collect())
    }

    /// The findings that a run came in with.
    pub fn exceptions(&self, run: &Newest) -> Result<Option<Sha256>, StoreError> {
        Ok(self.back_to(run, 0)?.last().and_then(|first| first.exceptions))
    }
}
