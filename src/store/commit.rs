//! The one write path (`store-layout.md`, "One write path").
//!
//! An [`Operation`] is one command's changes, made of one or more batches. A batch is staged
//! without a lock, then, under the store lock: checked against the log's state, committed by one
//! frame with one fsync, applied, settled into bundles, and its frame retired. Recovery runs the
//! same steps from the frame alone.

use std::collections::HashMap;

use super::apply::{Foreign, Redo, Target};
use super::log::{base_of, batches_of};
use super::run_map::RunMap;
use super::stage::{FLUSH_ONE_BY_ONE, Stage};
use super::states::States;
use super::{Conflict, Store, StoreError};
use crate::backend::{FileLock, Kind, SegmentMark, Wal};
use crate::base::digest::Sha256;
use crate::base::id::{OperationId, RunId, RunKey};
use crate::format::actor::{Actor, Reason};
use crate::format::batch::Batch;
use crate::format::entry::{Entry, EntryKind, PackRef};
use crate::format::head::{Head, RunMapRef};
use crate::format::paths;
use crate::plan::replay;

/// One command's changes.
pub(super) struct Operation {
    store: Store,
    /// Its id.
    pub id: OperationId,
    actor: Actor,
    reason: Option<Reason>,
    batch: u64,
    states: States,
}

/// One change of a batch.
#[allow(clippy::large_enum_variant)] // A batch holds few thousands; a box each would cost more than it saves.
pub(super) enum Change {
    /// A run changes.
    Run {
        /// The run.
        key: RunKey,
        /// What is done to it.
        what: What,
    },
    /// No run changes; the log tells of the store or of what lies outside it. The entry comes from
    /// [`Operation::entry`], with the members of its kind.
    Store(Entry),
}

impl Change {
    /// A change of a run.
    pub fn run(key: RunKey, what: What) -> Self {
        Self::Run { key, what }
    }
}

/// What a change does.
pub(super) enum What {
    /// A new run's folder is put in its place.
    New {
        /// `Recorded` or `Adopted`.
        kind: EntryKind,
        /// The manifest's digest.
        manifest: Sha256,
        /// The file list's digest.
        files: Sha256,
        /// Where the folder is staged.
        staged: String,
        /// How the recorded command ended.
        outcome: Option<String>,
        /// The first attempt.
        attempt_of: Option<RunId>,
        /// The findings that it came in with.
        exceptions: Option<Sha256>,
    },
    /// A manifest is replaced.
    Rewrite {
        /// `Migrated` or `RolledBack`.
        kind: EntryKind,
        /// The revision planned from.
        before: Sha256,
        /// The new revision.
        after: Sha256,
        /// Where the new revision is staged.
        staged: String,
        /// The migration that did it.
        route: Option<Route>,
        /// Values that left the manifest for the record of the migration.
        preserved: Option<Sha256>,
    },
    /// Nothing changes; the log tells of it.
    Tell {
        /// The kind of entry.
        kind: EntryKind,
        /// What it tells in full.
        detail: Option<Sha256>,
        /// Its result, for the kinds that have one.
        outcome: Option<String>,
    },
}

/// The migration behind a rewrite.
#[derive(Clone)]
pub(super) struct Route {
    /// The versions passed, both ends included.
    pub path: Vec<String>,
    /// The pack that decided.
    pub pack: PackRef,
}

/// A change that went into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    /// The index of its entry.
    pub entry: u64,
    /// Whether the target held foreign bytes, which were kept and left in place.
    pub foreign: bool,
}

impl Operation {
    /// Begins an operation of the store's declared actor, and first finishes what an interrupted
    /// one left, so that what is planned is planned from the committed state.
    pub fn begin(store: &Store) -> Result<Self, StoreError> {
        let mut operation = Self::new(store)?;
        if store.is_unfinished()? {
            let store = store.clone();
            let mut session = Session::open(&store)?;
            let found = std::mem::take(&mut session.foreign);
            operation.batch += 1;
            operation.note_foreign(&mut session, &found)?;
            drop(session);
            operation.states = States::open(&store)?;
        }
        Ok(operation)
    }

    fn new(store: &Store) -> Result<Self, StoreError> {
        store.config.check_writable()?;
        let clock = &store.context.clock;
        let random = clock.random();
        let mut tail = [0u8; 10];
        tail.copy_from_slice(&random[..10]);
        let millis = u64::try_from(clock.now().millis()).unwrap_or(0);
        Ok(Self {
            store: store.clone(),
            id: OperationId::new(millis, tail),
            actor: Actor::declared(&store.context.actor, clock.random()),
            reason: store.context.reason.as_deref().map(|text| Reason::new(text, clock.random())),
            batch: 0,
            states: States::open(store)?,
        })
    }

    /// What the log says of runs, as of the last commit of this operation.
    pub fn states(&mut self) -> &mut States {
        &mut self.states
    }

    /// Begins the next batch.
    pub fn stage(&mut self) -> Result<Stage, StoreError> {
        self.batch += 1;
        let mut stage = Stage::begin(&self.store, &self.id, self.batch)?;
        stage.keep(&self.actor.to_bytes())?;
        if let Some(reason) = &self.reason {
            stage.keep(&reason.to_bytes())?;
        }
        Ok(stage)
    }

    /// An entry of this operation, with nothing but its head.
    pub fn entry(&self, kind: EntryKind) -> Entry {
        let actor = Sha256::of(&self.actor.to_bytes());
        let mut entry = Entry::new(kind, self.store.context.clock.now(), actor, self.id, self.batch);
        entry.reason = self.reason.as_ref().map(|reason| Sha256::of(&reason.to_bytes()));
        entry
    }

    /// Commits a batch. Each change either goes into the log or drops out with its conflict; the
    /// answers are in the order of the changes.
    pub fn commit(
        &mut self,
        mut stage: Stage,
        changes: Vec<Change>,
    ) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let marks = stage.flush()?;
        let store = self.store.clone();
        let mut session = Session::open(&store)?;
        let recovered = std::mem::take(&mut session.foreign);
        self.note_foreign(&mut session, &recovered)?;
        self.states.advance(&session.head)?;

        let first = session.head.size;
        let mut entries: Vec<(usize, Entry, Vec<u8>)> = Vec::new();
        let mut answers: Vec<Result<Committed, Conflict>> = Vec::with_capacity(changes.len());
        for (at, change) in changes.iter().enumerate() {
            match self.fill(change)? {
                Err(conflict) => answers.push(Err(conflict)),
                Ok(entry) => {
                    let index = first + entries.len() as u64;
                    let bytes = entry.to_bytes().map_err(StoreError::record("a new log entry"))?;
                    self.states.take(index, &entry, &bytes)?;
                    answers.push(Ok(Committed { entry: index, foreign: false }));
                    entries.push((at, entry, bytes));
                }
            }
        }
        if !entries.is_empty() {
            let mut bytes: Vec<Vec<u8>> = entries.iter().map(|(_, _, bytes)| bytes.clone()).collect();
            let new = entries.iter().map(|(_, entry, bytes)| (entry, bytes.as_slice()));
            let of_runs = entries.iter().any(|(_, entry, _)| entry.run().is_some());
            if of_runs && let Some(map) = session.map()?.apply(&store, new)? {
                let mut entry = self.entry(EntryKind::RunMap);
                (entry.reason, entry.map) = (None, Some(map));
                let last = entry.to_bytes().map_err(StoreError::record("a new log entry"))?;
                session.map()?.apply(&store, [(&entry, last.as_slice())])?;
                self.states.take(first + bytes.len() as u64, &entry, &last)?;
                bytes.push(last);
            }
            let batch = Batch { first, segments: marks, entries: bytes };
            session.append(&batch)?;
            let mut foreign = Vec::new();
            for (at, entry, _) in &entries {
                let staged = match &changes[*at] {
                    Change::Store(_) => continue,
                    Change::Run { what: What::New { staged, .. } | What::Rewrite { staged, .. }, .. } => {
                        Some(staged.as_str())
                    }
                    Change::Run { what: What::Tell { .. }, .. } => None,
                };
                let states = [entry.before, entry.after];
                let target = Target { entry, states: &states, wanted: 1, staged };
                if let Some(found) = self.store.apply(&target, &mut session.touched)? {
                    answers[*at] = answers[*at].clone().map(|done| Committed { foreign: true, ..done });
                    foreign.push(found);
                }
            }
            session.settle(&[batch], of_runs)?;
            self.note_foreign(&mut session, &foreign)?;
        }
        drop(session);
        stage.end();
        Ok(answers)
    }

    /// Completes a change into an entry, or tells what stands against it.
    fn fill(&mut self, change: &Change) -> Result<Result<Entry, Conflict>, StoreError> {
        let (key, what) = match change {
            Change::Run { key, what } => (key, what),
            Change::Store(entry) => {
                let mut entry = entry.clone();
                entry.batch = self.batch;
                // Like those of runs, it is stamped when it gets its place.
                entry.time = self.store.context.clock.now();
                return Ok(Ok(entry));
            }
        };
        let state = self.states.get(key)?;
        let kind = match what {
            What::New { kind, .. } | What::Rewrite { kind, .. } | What::Tell { kind, .. } => *kind,
        };
        let mut entry = self.entry(kind);
        entry.job_id = Some(key.job.clone());
        entry.run_id = Some(key.run.clone());
        match (what, state) {
            (What::New { .. }, Some(_)) => return Ok(Err(Conflict::Exists(key.clone()))),
            (What::New { manifest, files, outcome, attempt_of, exceptions, .. }, None) => {
                if let Some(twin) = self.states.twin(key)? {
                    return Ok(Err(Conflict::Twin { run: key.clone(), twin }));
                }
                // Once committed, a run must be put in its place: what stands against that is found
                // before, or every later command would stop at it.
                let there = self.store.disk.stat(&paths::job_dir(&key.job))?;
                if let Some(stat) = there.filter(|stat| stat.kind != Kind::Dir) {
                    return Ok(Err(Conflict::NoFolder { run: key.clone(), found: stat.kind.word() }));
                }
                entry.run_seq = Some(1);
                entry.after = Some(*manifest);
                entry.files = Some(*files);
                entry.outcome = outcome.clone();
                entry.attempt_of = attempt_of.clone();
                entry.exceptions = *exceptions;
            }
            (_, None) => return Ok(Err(Conflict::Unknown(key.clone()))),
            (What::Rewrite { before, after, route, preserved, .. }, Some(state)) => {
                if state.manifest != *before {
                    let (run, planned, found) = (key.clone(), *before, state.manifest);
                    return Ok(Err(Conflict::Changed { run, planned, found }));
                }
                continue_run(&mut entry, &state);
                entry.after = Some(*after);
                entry.detail = *preserved;
                if let Some(route) = route {
                    entry.from = route.path.first().cloned();
                    entry.to = route.path.last().cloned();
                    entry.path = Some(route.path.clone());
                    entry.pack = Some(route.pack.clone());
                }
            }
            (What::Tell { detail, outcome, .. }, Some(state)) => {
                continue_run(&mut entry, &state);
                entry.after = Some(state.manifest);
                entry.detail = *detail;
                entry.outcome = outcome.clone();
            }
        }
        Ok(Ok(entry))
    }

    /// Puts what was found in the place of a committed change into the log: the bytes were kept, the
    /// file was left.
    fn note_foreign(&mut self, session: &mut Session<'_>, found: &[Foreign]) -> Result<(), StoreError> {
        if found.is_empty() {
            return Ok(());
        }
        let mut blobs = self.store.blobs.writer();
        let detail = blobs.put_small(&Foreign::list(found))?.sha256;
        blobs.put_small(&self.actor.to_bytes())?;
        if let Some(reason) = &self.reason {
            blobs.put_small(&reason.to_bytes())?;
        }
        let marks = marks(&blobs.flush()?);
        let mut entry = self.entry(EntryKind::Noted);
        entry.detail = Some(detail);
        let bytes = entry.to_bytes().map_err(StoreError::record("a new log entry"))?;
        let index = session.head.size;
        let batch = Batch { first: index, segments: marks, entries: vec![bytes.clone()] };
        session.append(&batch)?;
        session.settle(&[batch], false)?;
        self.states.take(index, &entry, &bytes)
    }

    /// Ends the operation: the index is brought up to date. A failure there changes nothing, since
    /// the index is rebuilt whenever it is missing or behind.
    pub fn end(self) {
        let _ = self.store.index();
    }
}

impl Store {
    /// Whether an interrupted command left a batch to settle or a staging folder to remove.
    fn is_unfinished(&self) -> Result<bool, StoreError> {
        if !self.log()?.pending.is_empty() {
            return Ok(true);
        }
        let abandoned = |name: &String| {
            let lock = format!("{}/{name}.lock", paths::TMP);
            !FileLock::is_held(&self.disk, &lock).unwrap_or(true)
        };
        Ok(self.staging_folders().iter().any(abandoned))
    }

    /// Finishes what an interrupted command left.
    pub(super) fn finish_interrupted(&self) -> Result<(), StoreError> {
        if self.is_unfinished()? {
            Operation::begin(self)?.end();
        }
        Ok(())
    }
}

fn continue_run(entry: &mut Entry, state: &replay::RunState) {
    entry.run_seq = Some(state.seq + 1);
    entry.run_prev = Some(state.leaf);
    entry.before = Some(state.manifest);
    entry.files = Some(state.files);
}

fn marks(marks: &[SegmentMark]) -> Vec<crate::format::batch::Mark> {
    marks.iter().map(|mark| crate::format::batch::Mark { number: mark.number, len: mark.len }).collect()
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
    _lock: FileLock,
}

/// Folders to flush before a batch counts as settled.
#[derive(Default)]
pub(super) struct Touched(std::collections::BTreeSet<String>);

impl Touched {
    /// A folder's entries changed.
    pub fn folder(&mut self, path: impl Into<String>) {
        self.0.insert(path.into());
    }
}

impl<'s> Session<'s> {
    /// Takes the store lock and finishes what an earlier holder left.
    pub fn open(store: &'s Store) -> Result<Self, StoreError> {
        let context = &store.context;
        let lock = FileLock::acquire(&store.disk, paths::LOCK, &context.holder, context.lock_timeout)?;
        let head = store.head()?;
        let (wal, frames) = Wal::open(&store.disk, &lock, store.config.store_id, base_of(&head))?;
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
            let (Some(key), Some(wanted)) = (entry.run(), wanted) else { continue };
            let target = Target { entry, states: &chains[&key], wanted: *wanted, staged: None };
            if let Some(found) = self.store.apply(&target, &mut self.touched)? {
                self.foreign.push(found);
            }
        }
        redo.end();
        self.settle(batches, true)
    }

    /// The run map as of the settled log and of what was put into it since.
    fn map(&mut self) -> Result<&mut RunMap, StoreError> {
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
