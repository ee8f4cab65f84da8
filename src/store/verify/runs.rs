//! Runs against the log: their folders, their manifests, and what their migrations did.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::super::facts::{self, Known, Logged, PriorFiles};
use super::super::{Store, StoreError};
use super::again::{Again, Newest};
use super::schema_findings;
use crate::backend::durable::DiskError;
use crate::backend::{Kind, Sound};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::json;
use crate::base::limits::TILE_WIDTH;
use crate::format::finding::{Code, Exceptions, Finding};
use crate::format::paths;
use crate::plan::verify::{Found, rewrite_rules};
use crate::schema::Pack;

/// What runs are held against.
pub(super) struct Ask<'a> {
    pub again: &'a Again<'a>,
    pub pack: Option<&'a Pack>,
    /// Whether large files are hashed with both algorithms.
    pub sha256: bool,
    /// Whether what their file lists name is looked for, and what need not be.
    pub sound: Option<&'a Sound>,
}

/// Blobs that something names and that are not there.
pub(super) type Missing = Vec<Finding>;

/// How many runs were checked, for whoever watches.
struct Progress<'s> {
    store: &'s Store,
    done: AtomicU64,
    total: u64,
}

impl Progress<'_> {
    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.store.context.progress.at(done, self.total);
    }
}

impl Store {
    /// Checks every run of the log, in the order of their last entries: these lie together. The runs of one
    /// bundle at a time are held by each core, and of most of them only counts are kept.
    pub(super) fn check_all_runs(&self, ask: &Ask<'_>) -> Result<Looked, StoreError> {
        let log = ask.again.log;
        let progress = Progress { store: self, done: AtomicU64::new(0), total: log.replay.runs() };
        let pieces = log.view.size().div_ceil(TILE_WIDTH);
        let piece = |number: u64| -> Result<Looked, StoreError> {
            let first = number * TILE_WIDTH;
            let runs = ask.again.newest_between(first, first + TILE_WIDTH)?;
            self.check_runs(ask, &runs, &progress)
        };
        (0..pieces).into_par_iter().map(piece).try_reduce(Looked::default, |a, b| Ok(a.and(b)))
    }

    /// Checks these runs, each of which must be in the log.
    pub(super) fn check_these_runs(&self, ask: &Ask<'_>, runs: &[RunKey]) -> Result<Looked, StoreError> {
        let progress = Progress { store: self, done: AtomicU64::new(0), total: runs.len() as u64 };
        let runs: Vec<Newest> = runs.iter().map(|key| ask.again.newest(key)).collect::<Result<_, _>>()?;
        self.check_runs(ask, &runs, &progress)
    }

    /// Checks runs side by side.
    fn check_runs(
        &self,
        ask: &Ask<'_>,
        runs: &[Newest],
        progress: &Progress<'_>,
    ) -> Result<Looked, StoreError> {
        let looked = |run: &Newest| -> Result<Looked, StoreError> {
            let checked = self.check_run(ask, run)?;
            progress.step();
            Ok(Looked::of(&run.key, checked))
        };
        runs.par_iter().map(looked).try_reduce(Looked::default, |a, b| Ok(a.and(b)))
    }

    fn check_run(&self, ask: &Ask<'_>, run: &Newest) -> Result<Checked, StoreError> {
        let Newest { key, state, .. } = run;
        let files = self.file_list(&state.files);
        let mut checked = Checked::default();
        if let Some(sound) = ask.sound {
            checked.missing = self.missing_of_list(&state.files, files.as_deref().ok(), sound)?;
        }
        let dir = paths::run_dir(key);
        let unsettled = ask.again.log.unsettled.get(key);
        let known = Known {
            files: files.as_deref().unwrap_or_default(),
            blobs: &self.blobs,
            small_limit: self.config.small_limit,
        };
        let read = || facts::folder(&self.disk, &dir, (!ask.sha256).then_some(&known));
        // One that is not there yet may come in just now, between the look for it and the words about it.
        let folder = match read().or_else(|error| if error.is_not_found() { read() } else { Err(error) }) {
            Ok(folder) => folder,
            Err(error) => {
                let finding = self.no_folder(run, &dir, error)?;
                // One that was to come in just now need not be there.
                if finding.code != Code::RunMissing || unsettled.is_none_or(|chain| chain[0].is_some()) {
                    checked.findings.push(finding);
                }
                return Ok(checked);
            }
        };
        checked.by_blake3 = folder.trusted;
        for found in folder.found.values() {
            if let Found::File { blob, .. } = found {
                checked.files += 1;
                checked.bytes += blob.bytes;
            }
        }
        let mut manifests = vec![state.manifest];
        manifests.extend(unsettled.into_iter().flatten().flatten());
        let files = match files {
            Ok(files) => files,
            Err(error) => {
                let finding = Finding::of_run(Code::BlobMissing, key).expected(state.files);
                checked.findings.push(finding.found(error));
                return Ok(checked);
            }
        };
        let prior = |job: &str, run: &str| self.prior_files(ask, job, run);
        let logged = Logged { manifests: &manifests, files: &files };
        let look = folder.manifest.look();
        let mut findings = facts::check(&self.disk, &dir, key, &folder, &look, Some(&logged), &prior);
        let rewrites = ask.again.rewrites(run)?;
        if let (Some(doc), Some(pack)) = (&look.doc, ask.pack) {
            let logged: Vec<Sha256> = rewrites.iter().map(|(before, _)| *before).collect();
            schema_findings(key, doc, pack, &logged, &mut findings);
        }
        let lies = look.doc.as_ref().zip(look.sha256());
        for (before, after) in &rewrites {
            // A revision that is gone is a finding of the objects.
            let Ok(Some(old)) = self.blobs.get(before) else { continue };
            let Ok(old) = json::scan(&old) else { continue };
            if let Some((new, _)) = lies.filter(|(_, lies)| lies == after) {
                findings.extend(rewrite_rules(key, &old, new, &files));
            } else if let Ok(Some(new)) = self.blobs.get(after)
                && let Ok(new) = json::scan(&new)
            {
                findings.extend(rewrite_rules(key, &old, &new, &files));
            }
        }
        if !findings.is_empty() {
            self.mark_known(ask.again.exceptions(run)?, &mut findings)?;
        }
        checked.findings = findings;
        Ok(checked)
    }

    /// Why a run's folder could not be read. One that lies behind a link, or is none, is one finding: the others
    /// are still looked at.
    fn no_folder(&self, run: &Newest, dir: &str, error: DiskError) -> Result<Finding, StoreError> {
        let misplaced = |found: &dyn std::fmt::Display| {
            Finding::of_run(Code::NotRegular, &run.key).at(dir).expected("a folder").found(found)
        };
        match self.disk.stat(dir) {
            Ok(None) => {
                let finding = Finding::of_run(Code::RunMissing, &run.key).at(dir);
                Ok(finding.expected(run.state.manifest).found("nothing"))
            }
            Ok(Some(stat)) if stat.kind != Kind::Dir => Ok(misplaced(&stat.kind.word())),
            Err(error) if error.is_not_folder() => Ok(misplaced(&error)),
            Ok(Some(_)) | Err(_) => Err(error.into()),
        }
    }

    fn prior_files(&self, ask: &Ask<'_>, job: &str, run: &str) -> PriorFiles {
        let key = RunKey { job: job.parse().ok()?, run: run.parse().ok()? };
        self.digests_of(&ask.again.newest(&key).ok()?.state.files).ok()
    }

    /// Findings that the run came in with are known, as long as they are exactly the same.
    fn mark_known(&self, list: Option<Sha256>, findings: &mut [Finding]) -> Result<(), StoreError> {
        let Some(digest) = list else { return Ok(()) };
        let missing = StoreError::BlobMissing { what: "list of exceptions", digest };
        let bytes = self.blobs.get(&digest)?.ok_or(missing)?;
        let known =
            Exceptions::parse(&bytes).map_err(StoreError::record(format!("list of exceptions {digest}")))?;
        for finding in findings {
            finding.known = known.findings.iter().any(|exception| exception.covers(finding));
        }
        Ok(())
    }
}

/// What a check of some runs came to.
#[derive(Default)]
pub(super) struct Looked {
    pub runs: u64,
    pub files: u64,
    pub bytes: u64,
    pub by_blake3: u64,
    pub missing: Missing,
    /// What is to be told of runs that are as they should be.
    pub right: Vec<Finding>,
    /// Runs that are not, with all that is to be told of them.
    pub wrong: Vec<(RunKey, Vec<Finding>)>,
}

impl Looked {
    fn of(key: &RunKey, checked: Checked) -> Self {
        let Checked { findings, missing, files, bytes, by_blake3 } = checked;
        let mut looked = Self { runs: 1, files, bytes, by_blake3, missing, ..Self::default() };
        if findings.iter().any(Finding::is_failure) {
            looked.wrong.push((key.clone(), findings));
        } else {
            looked.right = findings;
        }
        looked
    }

    fn and(mut self, mut other: Self) -> Self {
        self.runs += other.runs;
        self.files += other.files;
        self.bytes += other.bytes;
        self.by_blake3 += other.by_blake3;
        self.missing.append(&mut other.missing);
        self.right.append(&mut other.right);
        self.wrong.append(&mut other.wrong);
        self
    }
}

#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    /// What the run's file list names and is not there.
    missing: Missing,
    files: u64,
    bytes: u64,
    by_blake3: u64,
}
