//! Listing the log: entries in order, with who and why, chosen by what they say.
//!
//! The entries themselves are read, one bundle at a time; the index has no part in it. So what is
//! listed is what was written, and a log of any length takes the same memory.

use std::collections::{HashMap, HashSet};

use super::{LogView, Store, StoreError};
use crate::backend::FileLock;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::{JobId, OperationId, RunKey};
use crate::base::limits::TILE_WIDTH;
use crate::format::actor::{Actor, Reason};
use crate::format::carried::TargetRecord;
use crate::format::entry::{Entry, EntryKind};
use crate::format::paths;
use crate::plan::replay;

/// Which entries to list; what is not said does not restrict.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Of this run.
    pub run: Option<RunKey>,
    /// Of runs of this job.
    pub job: Option<JobId>,
    /// Of one of these kinds.
    pub kinds: Vec<EntryKind>,
    /// At this moment or later, by the writer's clock.
    pub since: Option<Moment>,
    /// Before this moment, by the writer's clock.
    pub until: Option<Moment>,
    /// By an actor whose name has this in it.
    pub actor: Option<String>,
    /// Of this operation.
    pub operation: Option<OperationId>,
    /// The newest first.
    pub reverse: bool,
    /// At most so many.
    pub limit: Option<u64>,
}

/// One listed entry.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// Its log index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Its leaf hash.
    pub leaf: Sha256,
    /// Whether it is settled: part of the bundles and of the tree.
    pub settled: bool,
    /// Who, as declared; `None` when the record is gone or damaged.
    pub actor: Option<String>,
    /// Why, if said and still there.
    pub reason: Option<String>,
    /// The file outside the store that it is about; `None` when the record is gone or damaged.
    pub target: Option<String>,
}

/// A batch that a command began and did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// `<operation>-<batch>`, as its folder in `tmp/` is named.
    pub batch: String,
    /// Whether it was committed; if not, nothing of it counts.
    pub committed: bool,
}

/// Takes in a row; `false` ends the listing.
pub type Show<'a> = dyn FnMut(LogRow) -> Result<bool, StoreError> + 'a;

/// Names and reasons kept in memory while listing: entries of one operation share theirs.
const KEPT_NAMES: usize = 1024;

impl LogFilter {
    /// Texts that every wanted entry has in its bytes. Entries are canonical JSON and ids need no
    /// escapes, so what lacks one of these needs no parsing.
    fn marks(&self) -> Vec<String> {
        let mut marks = Vec::new();
        let job = self.run.as_ref().map(|run| &run.job).or(self.job.as_ref());
        marks.extend(job.map(|job| format!("\"job_id\":\"{job}\"")));
        marks.extend(self.run.as_ref().map(|key| format!("\"run_id\":\"{}\"", key.run)));
        marks.extend(self.operation.as_ref().map(|id| format!("\"operation\":\"{id}\"")));
        marks
    }

    /// Whether the entry itself is wanted, but for its actor.
    fn takes(&self, entry: &Entry) -> bool {
        let job = self.job.as_ref().is_none_or(|job| entry.job_id.as_ref() == Some(job));
        let run = self.run.as_ref().is_none_or(|run| entry.run().as_ref() == Some(run));
        let kind = self.kinds.is_empty() || self.kinds.contains(&entry.kind);
        let since = self.since.is_none_or(|since| entry.time >= since);
        let until = self.until.is_none_or(|until| entry.time < until);
        let operation = self.operation.is_none_or(|operation| entry.operation == operation);
        job && run && kind && since && until && operation
    }
}

/// A listing under way.
struct Listing<'s> {
    store: &'s Store,
    filter: &'s LogFilter,
    marks: Vec<String>,
    left: u64,
    names: HashMap<Sha256, Option<String>>,
}

impl Listing<'_> {
    /// Shows an entry if it is wanted; `false` ends the listing.
    fn take(
        &mut self,
        index: u64,
        bytes: &[u8],
        settled: bool,
        show: &mut Show<'_>,
    ) -> Result<bool, StoreError> {
        if self.left == 0 {
            return Ok(false);
        }
        let text = String::from_utf8_lossy(bytes);
        if self.marks.iter().any(|mark| !text.contains(mark.as_str())) {
            return Ok(true);
        }
        let entry = Entry::parse(bytes).map_err(StoreError::record(format!("log entry {index}")))?;
        if !self.filter.takes(&entry) {
            return Ok(true);
        }
        let actor = self.text(&entry.actor, |bytes| Actor::parse(bytes).ok().map(|actor| actor.name))?;
        if let Some(wanted) = &self.filter.actor
            && !actor.as_ref().is_some_and(|actor| actor.contains(wanted.as_str()))
        {
            return Ok(true);
        }
        let reason = match &entry.reason {
            Some(digest) => self.text(digest, |bytes| Reason::parse(bytes).ok().map(|reason| reason.text))?,
            None => None,
        };
        let path = |bytes: &[u8]| TargetRecord::parse(bytes).ok().map(|target| target.path);
        let target = match &entry.target {
            Some(digest) => self.store.blobs.get(digest)?.and_then(|bytes| path(&bytes)),
            None => None,
        };
        self.left -= 1;
        let row = LogRow { index, entry, leaf: replay::leaf(bytes), settled, actor, reason, target };
        Ok(show(row)? && self.left > 0)
    }

    /// The text in a small blob; a blob that is damaged is shown as one that is gone, since the
    /// listing is of the log and `verify` tells of the objects.
    fn text(
        &mut self,
        digest: &Sha256,
        read: fn(&[u8]) -> Option<String>,
    ) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.names.get(digest) {
            return Ok(known.clone());
        }
        let text = match self.store.blobs.get(digest) {
            Ok(bytes) => bytes.and_then(|bytes| read(&bytes)),
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error.into()),
        };
        if self.names.len() >= KEPT_NAMES {
            self.names.clear();
        }
        self.names.insert(*digest, text.clone());
        Ok(text)
    }

    fn forward(&mut self, view: &LogView, show: &mut Show<'_>) -> Result<(), StoreError> {
        for number in 0..view.head.size.div_ceil(TILE_WIDTH) {
            let first = number * TILE_WIDTH;
            for (at, bytes) in self.store.bundle(number, view.head.size)?.iter().enumerate() {
                if !self.take(first + at as u64, bytes, true, show)? {
                    return Ok(());
                }
            }
        }
        for batch in &view.pending {
            for (at, bytes) in batch.entries.iter().enumerate() {
                if !self.take(batch.first + at as u64, bytes, false, show)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn backward(&mut self, view: &LogView, show: &mut Show<'_>) -> Result<(), StoreError> {
        for batch in view.pending.iter().rev() {
            for (at, bytes) in batch.entries.iter().enumerate().rev() {
                if !self.take(batch.first + at as u64, bytes, false, show)? {
                    return Ok(());
                }
            }
        }
        for number in (0..view.head.size.div_ceil(TILE_WIDTH)).rev() {
            let first = number * TILE_WIDTH;
            for (at, bytes) in self.store.bundle(number, view.head.size)?.iter().enumerate().rev() {
                if !self.take(first + at as u64, bytes, true, show)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Lists the log, entry by entry, and says what commands left unfinished.
    pub fn list_log(&self, filter: &LogFilter, show: &mut Show<'_>) -> Result<Vec<Unfinished>, StoreError> {
        let view = self.log()?;
        let left = filter.limit.unwrap_or(u64::MAX);
        let mut listing = Listing { store: self, filter, marks: filter.marks(), left, names: HashMap::new() };
        if filter.reverse {
            listing.backward(&view, show)?
        } else {
            listing.forward(&view, show)?
        }
        self.unfinished(&view)
    }

    /// Batches committed and not settled, and batches that were being staged when their command
    /// ended. A batch whose command still runs is neither.
    fn unfinished(&self, view: &LogView) -> Result<Vec<Unfinished>, StoreError> {
        let mut found: Vec<Unfinished> = Vec::new();
        let mut known = HashSet::new();
        for bytes in view.pending.iter().flat_map(|batch| &batch.entries) {
            // A frame holds what threads of one process committed together.
            if let Ok(entry) = Entry::parse(bytes)
                && known.insert((entry.operation, entry.batch))
            {
                let batch = format!("{}-{}", entry.operation, entry.batch);
                found.push(Unfinished { batch, committed: true });
            }
        }
        for name in self.staging_folders() {
            let lock = format!("{}/{name}.lock", paths::TMP);
            let known = found.iter().any(|batch| batch.batch == name);
            if !known && !FileLock::is_held(&self.disk, &lock).unwrap_or(true) {
                found.push(Unfinished { batch: name, committed: false });
            }
        }
        Ok(found)
    }
}
