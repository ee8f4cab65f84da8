//! The one write path (`store-layout.md`, "One write path").
//!
//! An [`Operation`] is one command's changes, made of one or more batches. A batch is staged
//! without a lock, then, under the store lock: checked against the log's state, committed by one
//! frame with one fsync, applied, settled into bundles, and its frame retired. Threads that commit at
//! the same time share the frame (`group`). Recovery runs the same steps from the frame alone.

mod author;
mod fill;

use std::collections::HashSet;
use std::sync::Arc;

pub(super) use self::author::{Author, Stager};
use self::fill::{Entered, Filled};
use super::apply::{Foreign, Target};
use super::group::{Answer, Done, Request, everybodys};
use super::session::Session;
use super::stage::{Leftovers, Stage};
use super::states::States;
use super::{Conflict, Store, StoreError};
use crate::backend::{BlobWriter, FileLock, SegmentMark};
use crate::base::digest::Sha256;
use crate::base::id::{OperationId, RunId, RunKey};
use crate::format::batch::{Batch, Mark};
use crate::format::entry::{Entry, EntryKind, PackRef};
use crate::format::head::Head;
use crate::format::paths;

/// One command's changes.
pub(super) struct Operation {
    store: Store,
    /// Its id.
    pub id: OperationId,
    author: Author,
    states: Option<States>,
    /// The log that the states are to be brought up to before they are asked.
    behind: Option<Arc<Head>>,
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
        let mut operation = Self::tell_only(store)?;
        if store.is_interrupted()? {
            let store = store.clone();
            let mut session = Session::open(&store)?;
            let found = std::mem::take(&mut session.foreign);
            operation.author.next_batch();
            let author = operation.author.clone();
            operation.note_foreign(&mut session, &author, &found)?;
            drop(session);
            store.settle_carriers(&mut operation)?;
        }
        operation.states()?;
        Ok(operation)
    }

    /// Begins an operation that plans nothing from what runs are now: what an interrupted one left is
    /// finished when this one commits.
    pub fn tell_only(store: &Store) -> Result<Self, StoreError> {
        store.config.check_writable()?;
        let author = Author::new(&store.context);
        let id = author.id();
        Ok(Self { store: store.clone(), id, author, states: None, behind: None })
    }

    /// What the log says of runs, as of the last commit of this operation.
    pub fn states(&mut self) -> Result<&mut States, StoreError> {
        let behind = self.behind.take();
        match &mut self.states {
            Some(states) => {
                if let Some(head) = behind {
                    states.advance(&head)?;
                }
                Ok(states)
            }
            none => Ok(none.insert(States::open(&self.store)?)),
        }
    }

    /// Begins the next batch.
    pub fn stage(&mut self) -> Result<Stage, StoreError> {
        self.author.stage(&self.store)
    }

    /// For another thread, which begins all further batches while this one commits.
    pub fn stager(&self) -> Stager {
        Stager::new(&self.store, &self.author)
    }

    /// An entry of this operation, with nothing but its head.
    pub fn entry(&self, kind: EntryKind) -> Entry {
        self.author.entry(kind, &*self.store.context.clock)
    }

    /// Commits a batch. Each change either goes into the log or drops out with its conflict; the
    /// answers are in the order of the changes.
    pub fn commit(
        &mut self,
        mut stage: Stage,
        changes: Vec<Change>,
    ) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let marks = stage.flush()?;
        self.commit_flushed(stage, marks, changes).map(|(answers, _)| answers)
    }

    /// As [`Operation::commit`], of a batch that was flushed already, which gave the marks. What was staged is left
    /// to whoever calls.
    pub fn commit_flushed(
        &mut self,
        stage: Stage,
        marks: Vec<Mark>,
        changes: Vec<Change>,
    ) -> Result<(Vec<Result<Committed, Conflict>>, Leftovers), StoreError> {
        self.author.goes_on(stage.number());
        let answers = self.submit(Vec::new(), marks, changes)?;
        Ok((answers, stage.end()))
    }

    /// Commits a batch that has nothing to stage but small blobs: no folder is made for it, and threads
    /// that do this at the same time share the flush of the blobs too.
    pub fn tell(
        &mut self,
        mut kept: Vec<Vec<u8>>,
        changes: Vec<Change>,
    ) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        self.author.next_batch();
        kept.extend(self.author.blobs().map(<[u8]>::to_vec));
        self.submit(kept, Vec::new(), changes)
    }

    fn submit(
        &mut self,
        kept: Vec<Vec<u8>>,
        marks: Vec<Mark>,
        changes: Vec<Change>,
    ) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let committer = Arc::clone(&self.store.committer);
        let request = Request { author: self.author.clone(), kept, marks, changes };
        let done = committer.submit(request, |group| self.lead(group))?;
        self.behind = Some(done.head);
        if self.states.as_ref().is_some_and(States::is_full) {
            self.states = None;
        }
        Ok(done.answers)
    }

    /// Commits everybody's requests as one batch; gives each its answer.
    fn lead(&mut self, group: &[Request]) -> Vec<Answer> {
        self.commit_group(group).unwrap_or_else(|error| {
            // What was taken in may not have come to be.
            self.states = None;
            everybodys(error, group.len())
        })
    }

    fn commit_group(&mut self, group: &[Request]) -> Result<Vec<Answer>, StoreError> {
        let of_runs = |change: &Change| matches!(change, Change::Run { .. });
        if group.iter().any(|request| request.changes.iter().any(of_runs)) {
            self.states()?;
        }
        let store = self.store.clone();
        // Before the lock, so that processes do not wait for each other's flushes. The writer keeps its
        // segment to itself until what it wrote is settled.
        let (_writer, segments) = self.keep_all(group)?;
        let mut session = Session::open(&store)?;
        let recovered = std::mem::take(&mut session.foreign);
        let author = self.author.clone();
        self.note_foreign(&mut session, &author, &recovered)?;
        if let Some(states) = &mut self.states {
            states.advance(&session.head)?;
        }
        let mut filled = self.fill_group(session.head.size, group)?;
        if !filled.entries.is_empty() {
            let bytes = self.with_run_map(&mut session, &mut filled, group)?;
            let batch = Batch { first: session.head.size, segments, entries: bytes };
            session.append(&batch)?;
            let foreign = self.apply_group(&mut session, &mut filled, group)?;
            session.settle(&[batch], filled.of_runs)?;
            for (request, found) in group.iter().zip(&foreign) {
                self.note_foreign(&mut session, &request.author, found)?;
            }
        }
        let head = Arc::new(session.head.clone());
        let done = |answers: Result<_, _>| answers.map(|answers| Done { answers, head: Arc::clone(&head) });
        Ok(filled.answers.into_iter().map(done).collect())
    }

    /// Keeps the blobs that nobody has kept yet, durably; gives how far the segments are to reach for
    /// the whole group.
    fn keep_all(&self, group: &[Request]) -> Result<(Option<BlobWriter>, Vec<Mark>), StoreError> {
        let mut all: Vec<Mark> = group.iter().flat_map(|request| request.marks.iter().copied()).collect();
        let mut writer = None;
        // The same bytes are often kept again and again within a batch.
        let mut seen = HashSet::new();
        let kept = group.iter().flat_map(|request| &request.kept);
        for blob in kept.filter(|blob| seen.insert(blob.as_slice())) {
            let writer = match &mut writer {
                Some(writer) => writer,
                none => {
                    // As long as nothing is known to be committed, a writer takes up no segment that is there.
                    if !self.store.blobs.knows_committed() {
                        self.store.blobs.set_committed(&self.store.committed_marks()?);
                    }
                    none.insert(self.store.blobs.writer())
                }
            };
            writer.put_small(blob)?;
        }
        if let Some(writer) = &mut writer {
            all.extend(marks(&writer.flush()?));
        }
        all.sort_by_key(|mark| (mark.number, std::cmp::Reverse(mark.len)));
        all.dedup_by_key(|mark| mark.number);
        Ok((writer, all))
    }

    /// Puts the committed changes in their places; gives what was found there instead, by request.
    fn apply_group(
        &self,
        session: &mut Session<'_>,
        filled: &mut Filled,
        group: &[Request],
    ) -> Result<Vec<Vec<Foreign>>, StoreError> {
        let mut foreign: Vec<Vec<Foreign>> = group.iter().map(|_| Vec::new()).collect();
        for new in &filled.entries {
            let (Entered { request, change, .. }, entry) = (new, new.entry(group));
            let staged = match &group[*request].changes[*change] {
                Change::Store(entry) => {
                    self.store.place_installed(entry)?;
                    continue;
                }
                Change::Run { what: What::New { staged, .. } | What::Rewrite { staged, .. }, .. } => {
                    Some(staged.as_str())
                }
                Change::Run { what: What::Tell { .. }, .. } => None,
            };
            let states = [entry.before, entry.after];
            let target = Target { entry, states: &states, wanted: 1, staged };
            if let Some(found) = self.store.apply(&target, &mut session.touched)? {
                if let Ok(answers) = &mut filled.answers[*request]
                    && let Ok(done) = &mut answers[*change]
                {
                    done.foreign = true;
                }
                foreign[*request].push(found);
            }
        }
        Ok(foreign)
    }

    /// Puts what was found in the place of a committed change into the log: the bytes were kept, the
    /// file was left.
    fn note_foreign(
        &mut self,
        session: &mut Session<'_>,
        author: &Author,
        found: &[Foreign],
    ) -> Result<(), StoreError> {
        if found.is_empty() {
            return Ok(());
        }
        let mut blobs = self.store.blobs.writer();
        let detail = blobs.put_small(&Foreign::list(found))?.sha256;
        for blob in author.blobs() {
            blobs.put_small(blob)?;
        }
        let marks = marks(&blobs.flush()?).collect();
        let mut entry = author.entry(EntryKind::Noted, &*self.store.context.clock);
        entry.detail = Some(detail);
        let bytes = entry.to_bytes().map_err(StoreError::record("a new log entry"))?;
        let index = session.head.size;
        let batch = Batch { first: index, segments: marks, entries: vec![bytes.clone()] };
        session.append(&batch)?;
        session.settle(&[batch], false)?;
        self.take(index, &entry, &bytes)
    }

    /// Ends the operation: the index is brought up to date. A failure there changes nothing, since
    /// the index is rebuilt whenever it is missing or behind.
    /// Where threads commit together it is left to whoever reads next: they would only wait for each
    /// other.
    pub fn end(self) {
        if self.store.committer.is_alone() {
            let _ = self.store.index();
        }
    }
}

impl Store {
    /// Whether an interrupted command left a batch to settle, a staging folder to remove or an intent
    /// without an outcome.
    fn is_unfinished(&self) -> Result<bool, StoreError> {
        if !self.log()?.pending.is_empty() {
            return Ok(true);
        }
        let abandoned = |name: &String| {
            let lock = format!("{}/{name}.lock", paths::TMP);
            !FileLock::is_held(&self.disk, &lock).unwrap_or(true)
        };
        if self.staging_folders().iter().any(abandoned) {
            return Ok(true);
        }
        Ok(!self.open_intents()?.is_empty() && !FileLock::is_held(&self.disk, paths::CARRIERS_LOCK)?)
    }

    /// As [`is_unfinished`](Self::is_unfinished), but for what another thread is just at.
    fn is_interrupted(&self) -> Result<bool, StoreError> {
        if !self.is_unfinished()? {
            return Ok(false);
        }
        let _turn = self.committer.turn();
        self.is_unfinished()
    }

    /// Finishes what an interrupted command left.
    pub(super) fn finish_interrupted(&self) -> Result<(), StoreError> {
        if self.is_interrupted()? {
            Operation::begin(self)?.end();
        }
        Ok(())
    }
}

fn marks(marks: &[SegmentMark]) -> impl Iterator<Item = Mark> {
    marks.iter().map(|mark| Mark { number: mark.number, len: mark.len })
}
