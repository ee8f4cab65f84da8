//! Completing a batch's changes into the log's next entries, each against the state of its run.

use super::{Author, Change, Committed, Operation, What};
use crate::backend::Kind;
use crate::format::entry::{Entry, EntryKind};
use crate::format::paths;
use crate::plan::replay;
use crate::store::group::Request;
use crate::store::session::Session;
use crate::store::states::States;
use crate::store::{Conflict, StoreError};

/// A group's changes as entries.
#[derive(Default)]
pub(super) struct Filled {
    pub entries: Vec<Entered>,
    /// By request.
    pub answers: Vec<Result<Vec<Result<Committed, Conflict>>, StoreError>>,
    /// Whether any entry is of a run.
    pub of_runs: bool,
}

/// One entry and whose change it is.
pub(super) struct Entered {
    pub request: usize,
    pub change: usize,
    /// Of a run; any other is the change's own but for its head.
    entry: Option<Box<Entry>>,
    bytes: Vec<u8>,
}

impl Entered {
    pub fn entry<'e>(&'e self, group: &'e [Request]) -> &'e Entry {
        match (&self.entry, &group[self.request].changes[self.change]) {
            (Some(entry), _) => entry,
            (None, Change::Store(entry)) => entry,
            (None, Change::Run { .. }) => unreachable!("entries of runs are kept"),
        }
    }
}

impl Operation {
    /// Completes everybody's changes into entries. Who cannot even be told a conflict fails alone: the
    /// others are looked at again without.
    pub(super) fn fill_group(&mut self, first: u64, group: &[Request]) -> Result<Filled, StoreError> {
        let mut failed: Vec<Option<StoreError>> = group.iter().map(|_| None).collect();
        loop {
            // Where this fails for everybody the view goes, and its lock with it.
            self.states.as_ref().map_or(Ok(()), States::hold)?;
            let tried = self.try_fill_group(first, group, &failed)?;
            self.states.as_ref().map_or(Ok(()), States::let_go)?;
            match tried {
                Ok(mut filled) => {
                    for (answer, error) in filled.answers.iter_mut().zip(failed) {
                        if let Some(error) = error {
                            *answer = Err(error);
                        }
                    }
                    return Ok(filled);
                }
                Err((at, error)) => {
                    failed[at] = Some(error);
                    // They hold entries of that request.
                    self.states = None;
                    self.states()?;
                }
            }
        }
    }

    #[allow(clippy::type_complexity)] // The outer error is everybody's, the inner one request's.
    fn try_fill_group(
        &mut self,
        first: u64,
        group: &[Request],
        failed: &[Option<StoreError>],
    ) -> Result<Result<Filled, (usize, StoreError)>, StoreError> {
        let mut filled = Filled::default();
        for (at, request) in group.iter().enumerate() {
            let mut answers = Vec::with_capacity(request.changes.len());
            let changes = if failed[at].is_some() { &[][..] } else { &request.changes };
            for (change_at, change) in changes.iter().enumerate() {
                let index = first + filled.entries.len() as u64;
                match self.fill(&request.author, change, index) {
                    Err(error) => return Ok(Err((at, error))),
                    Ok(Err(conflict)) => answers.push(Err(conflict)),
                    Ok(Ok((entry, bytes))) => {
                        let of_run = entry.job_id.is_some();
                        filled.of_runs |= of_run;
                        answers.push(Ok(Committed { entry: index, foreign: false }));
                        let entry = of_run.then(|| Box::new(entry));
                        filled.entries.push(Entered { request: at, change: change_at, entry, bytes });
                    }
                }
            }
            filled.answers.push(Ok(answers));
        }
        Ok(Ok(filled))
    }

    /// The batch's entries as they are written, the run map's last where any is of a run.
    pub(super) fn with_run_map(
        &mut self,
        session: &mut Session<'_>,
        filled: &mut Filled,
        group: &[Request],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut all: Vec<Vec<u8>> =
            filled.entries.iter_mut().map(|new| std::mem::take(&mut new.bytes)).collect();
        let Some(last) = filled.entries.iter().rfind(|new| new.entry.is_some()) else { return Ok(all) };
        let new = filled.entries.iter().map(|new| new.entry(group)).zip(all.iter().map(Vec::as_slice));
        if let Some(map) = session.map()?.apply(&self.store, new)? {
            // In the name of one whose actor is durable with this batch.
            let clock = &*self.store.context.clock;
            let mut entry = group[last.request].author.entry(EntryKind::RunMap, clock);
            (entry.reason, entry.map) = (None, Some(map));
            let bytes = entry.to_bytes().map_err(StoreError::record("a new log entry"))?;
            session.map()?.apply(&self.store, [(&entry, bytes.as_slice())])?;
            self.take(session.head.size + all.len() as u64, &entry, &bytes)?;
            all.push(bytes);
        }
        Ok(all)
    }

    /// Takes a new entry into what is known of runs, if anything was asked of them.
    pub(super) fn take(&mut self, index: u64, entry: &Entry, bytes: &[u8]) -> Result<(), StoreError> {
        self.states.as_mut().map_or(Ok(()), |states| states.take(index, entry, bytes))
    }

    /// Completes a change into the log's next entry, or tells what stands against it.
    fn fill(
        &mut self,
        author: &Author,
        change: &Change,
        index: u64,
    ) -> Result<Result<(Entry, Vec<u8>), Conflict>, StoreError> {
        let entry = match self.complete(author, change)? {
            Ok(entry) => entry,
            Err(conflict) => return Ok(Err(conflict)),
        };
        let bytes = entry.to_bytes().map_err(StoreError::record("a new log entry"))?;
        self.take(index, &entry, &bytes)?;
        Ok(Ok((entry, bytes)))
    }

    fn complete(&mut self, author: &Author, change: &Change) -> Result<Result<Entry, Conflict>, StoreError> {
        let (key, what) = match change {
            Change::Run { key, what } => (key, what),
            Change::Store(entry) => {
                let mut entry = entry.clone();
                entry.batch = author.batch();
                // Like those of runs, it is stamped when it gets its place.
                entry.time = self.store.context.clock.now();
                return Ok(Ok(entry));
            }
        };
        self.states()?;
        let (store, states) = (&self.store, self.states.as_mut().expect("they were just opened"));
        let state = states.get(key)?;
        let kind = match what {
            What::New { kind, .. } | What::Rewrite { kind, .. } | What::Tell { kind, .. } => *kind,
        };
        let mut entry = author.entry(kind, &*store.context.clock);
        entry.job_id = Some(key.job.clone());
        entry.run_id = Some(key.run.clone());
        match (what, state) {
            (What::New { .. }, Some(_)) => return Ok(Err(Conflict::Exists(key.clone()))),
            (What::New { manifest, files, outcome, attempt_of, exceptions, .. }, None) => {
                if let Some(twin) = states.twin(key)? {
                    return Ok(Err(Conflict::Twin { run: key.clone(), twin }));
                }
                // Once committed, a run must be put in its place: what stands against that is found
                // before, or every later command would stop at it.
                let there = store.disk.stat(&paths::job_dir(&key.job))?;
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
}

fn continue_run(entry: &mut Entry, state: &replay::RunState) {
    entry.run_seq = Some(state.seq + 1);
    entry.run_prev = Some(state.leaf);
    entry.before = Some(state.manifest);
    entry.files = Some(state.files);
}
