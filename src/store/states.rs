//! What the log says of single runs, without reading all of it: found through the index, confirmed
//! against the entry's own bytes, and kept up with entries that come in meanwhile.

use std::collections::{HashMap, VecDeque};

use super::{Store, StoreError};
use crate::base::id::RunKey;
use crate::base::limits::TILE_WIDTH;
use crate::base::name::fold_key;
use crate::format::entry::{Entry, EntryKind};
use crate::format::head::Head;
use crate::index::Index;
use crate::plan::replay::{self, RunState};

/// Bundles kept in memory: more than one because runs need not be asked for in the log's order.
const KEPT_BUNDLES: usize = 16;

/// States held beside the index, after which the index is to take them in: with a batch more they still fit
/// tables of 65,536. Few in unoptimized builds, so that tests come to that too.
const HELD_STATES: usize = if cfg!(debug_assertions) { 100 } else { 56_000 };

/// A view of run states that grows with the log.
pub(super) struct States {
    store: Store,
    index: Index,
    seen: u64,
    size: u64,
    bundles: VecDeque<(u64, Vec<Vec<u8>>)>,
    overlay: HashMap<RunKey, RunState>,
    /// What the index was asked last, with the run's first entry: one run tends to be asked for several times.
    last: Option<(RunKey, RunState, u64)>,
    jobs: HashMap<String, String>,
    runs: HashMap<(String, String), String>,
}

impl States {
    /// As of the log now.
    pub fn open(store: &Store) -> Result<Self, StoreError> {
        let index = store.index()?;
        let seen = index.log_size()?;
        Ok(Self {
            store: store.clone(),
            index,
            seen,
            size: seen,
            bundles: VecDeque::new(),
            overlay: HashMap::new(),
            last: None,
            jobs: HashMap::new(),
            runs: HashMap::new(),
        })
    }

    /// Takes in the entries that others settled since. Only called under the store lock, when
    /// nothing is pending.
    pub fn advance(&mut self, head: &Head) -> Result<(), StoreError> {
        self.size = head.size;
        if head.size == self.seen {
            return Ok(());
        }
        let view = super::LogView { head: head.clone(), pending: Vec::new(), torn: None };
        let mut entries = Vec::new();
        self.store.clone().each_entry(&view, self.seen, &mut |index, bytes| {
            entries.push((index, bytes.to_vec()));
            Ok(())
        })?;
        for (index, bytes) in entries {
            let entry = Entry::parse(&bytes).map_err(StoreError::record(format!("log entry {index}")))?;
            self.take(index, &entry, &bytes)?;
        }
        Ok(())
    }

    /// Takes in the next entry.
    pub fn take(&mut self, index: u64, entry: &Entry, bytes: &[u8]) -> Result<(), StoreError> {
        self.seen = index + 1;
        let Some(key) = entry.run() else { return Ok(()) };
        let state = self.get(&key)?;
        if let Some(state) = state.as_ref().filter(|state| state.entry >= index) {
            // The index is brought up by whoever comes first, so it may know more of this run already
            // than when it was opened. What it says was confirmed.
            self.overlay.insert(key, state.clone());
            return Ok(());
        }
        let next = replay::step(state.as_ref(), index, entry, replay::leaf(bytes)).map_err(|error| {
            StoreError::LogDamaged { place: format!("log entry {index} ({key})"), why: error.to_string() }
        })?;
        if matches!(entry.kind, EntryKind::Recorded | EntryKind::Adopted) {
            let (job, run) = (key.job.to_string(), key.run.to_string());
            self.runs.insert((job.clone(), fold_key(&run)), run);
            self.jobs.insert(fold_key(&job), job);
        }
        self.overlay.insert(key, next);
        Ok(())
    }

    /// Whether so much is held that a new view, from an index that has it, should follow.
    pub fn is_full(&self) -> bool {
        self.overlay.len() >= HELD_STATES
    }

    /// Asks for several runs under one lock of the index; `ask` waits for nothing else.
    pub fn at_once<T>(&mut self, ask: impl FnOnce(&mut Self) -> T) -> Result<T, StoreError> {
        self.hold()?;
        let answer = ask(self);
        self.let_go()?;
        Ok(answer)
    }

    /// Keeps the index from being brought up to date until [`States::let_go`]: to ask for each run alone, under a
    /// lock of its own, takes longer than the answers. Only for what waits for nothing else.
    pub fn hold(&self) -> Result<(), StoreError> {
        Ok(self.index.begin_reading()?)
    }

    /// Lets go of what [`States::hold`] holds.
    pub fn let_go(&self) -> Result<(), StoreError> {
        Ok(self.index.end_reading()?)
    }

    /// A run's state; `None` when it is not in the log.
    pub fn get(&mut self, key: &RunKey) -> Result<Option<RunState>, StoreError> {
        if let Some(state) = self.overlay.get(key) {
            return Ok(Some(state.clone()));
        }
        if let Some((known, state, _)) = &self.last
            && known == key
        {
            return Ok(Some(state.clone()));
        }
        let Some(row) = self.index.run(key)? else { return Ok(None) };
        if row.entry >= self.size {
            self.size = self.store.head()?.size;
        }
        let state = RunState {
            seq: row.seq,
            entry: row.entry,
            leaf: row.leaf,
            manifest: row.manifest,
            files: row.files,
            exceptions: row.exceptions,
        };
        self.confirm(key, &state)?;
        self.last = Some((key.clone(), state.clone(), row.first_entry));
        Ok(Some(state))
    }

    /// The run that an entry is of; `None` where it is of none, or cannot be read.
    pub fn run_of(&mut self, entry: u64) -> Option<RunKey> {
        if entry >= self.size {
            return None;
        }
        Entry::parse(&self.entry_bytes(entry).ok()?).ok()?.run()
    }

    /// The log index of the first entry of a run, if it is known.
    pub fn first_entry(&mut self, key: &RunKey) -> Result<Option<u64>, StoreError> {
        let Some(state) = self.get(key)? else { return Ok(None) };
        let asked = self.last.as_ref().filter(|(known, ..)| known == key).map(|(_, _, first)| *first);
        Ok(asked.or((state.seq == 1).then_some(state.entry)))
    }

    /// The bytes of a settled entry. Entries asked for in a row tend to lie in one bundle.
    fn entry_bytes(&mut self, index: u64) -> Result<Vec<u8>, StoreError> {
        if index >= self.size {
            // The index names it, so the log has grown since this view was taken.
            self.size = self.store.head()?.size;
        }
        let (number, at) = (index / TILE_WIDTH, (index % TILE_WIDTH) as usize);
        if !self.bundles.iter().any(|(known, entries)| *known == number && at < entries.len()) {
            let bundle = self.store.bundle(number, self.size)?;
            self.bundles.retain(|(known, _)| *known != number);
            self.bundles.push_front((number, bundle));
            self.bundles.truncate(KEPT_BUNDLES);
        }
        let found = self.bundles.iter().find(|(known, _)| *known == number);
        found.and_then(|(_, entries)| entries.get(at)).cloned().ok_or_else(|| StoreError::LogDamaged {
            place: format!("log entry {index}"),
            why: format!("the log has {} entries", self.size),
        })
    }

    /// The index is only a guide: what it says must be what the entry says.
    fn confirm(&mut self, key: &RunKey, state: &RunState) -> Result<(), StoreError> {
        let bytes = self.entry_bytes(state.entry)?;
        let entry = Entry::parse(&bytes).map_err(StoreError::record(format!("log entry {}", state.entry)))?;
        let agrees = entry.run().as_ref() == Some(key)
            && replay::leaf(&bytes) == state.leaf
            && entry.run_seq == Some(state.seq)
            && entry.after == Some(state.manifest)
            && entry.files == Some(state.files);
        if agrees {
            return Ok(());
        }
        let place = format!("log entry {} ({key})", state.entry);
        let why =
            "the index says otherwise; strongroom reindex --anew makes it anew, and strongroom verify tells \
                   whether the log contradicts itself"
                .to_owned();
        Err(StoreError::LogDamaged { place, why })
    }

    /// A job or run that a folding filesystem would take for this one.
    pub fn twin(&self, key: &RunKey) -> Result<Option<String>, StoreError> {
        let (job, run) = (key.job.as_str(), key.run.as_str());
        if let Some(other) = self.jobs.get(&fold_key(job)).filter(|other| *other != job) {
            return Ok(Some(other.clone()));
        }
        let slot = (job.to_owned(), fold_key(run));
        if let Some(other) = self.runs.get(&slot).filter(|other| *other != run) {
            return Ok(Some(other.clone()));
        }
        Ok(self.index.twin(key)?)
    }
}
