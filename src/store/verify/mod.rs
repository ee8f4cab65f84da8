//! Checking the whole store, or some runs, against the log (`store-layout.md`, "Findings").
//!
//! Nothing is written. Readers race with writers, so a run that does not show the state of the view
//! is looked at again under a new view before it is reported: only what stays wrong is a finding.

mod log;
mod objects;

use std::sync::Arc;

use rayon::prelude::*;

use super::anchor::{Interval, Roots, check_keys};
use super::facts::{self, Known, Logged, PriorFiles};
use super::packs::builtin_pack;
use super::publish::Checkpoint;
use super::{ErrorKind, LogView, Store, StoreError};
use crate::backend::{Kind as FileKind, Sound};
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::json::{self, Doc, Kind};
use crate::format::finding::{Code, Exceptions, Finding};
use crate::format::paths;
use crate::format::policy::Policy;
use crate::note::{AllowedSigners, VerifyingKey};
use crate::plan::keys::Keyring;
use crate::plan::replay::RunState;
use crate::plan::times::Bounds;
use crate::plan::verify::rewrite_rules;
use crate::schema::history::{self, HistoryState};
use crate::schema::{Detection, Pack};
use log::LogFacts;

/// What to check.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Only these runs, and neither objects nor the rest of the log; empty for everything.
    pub runs: Vec<RunKey>,
    /// Keys whose signatures are trusted, from outside the store.
    pub keys: Vec<VerifyingKey>,
    /// A checkpoint kept elsewhere.
    pub since: Option<Checkpoint>,
    /// Whose word counts, and who must have cosigned.
    pub policy: Option<Policy>,
    /// Whose SSH signatures count.
    pub allowed_signers: Option<AllowedSigners>,
    /// How old the cosignatures that the policy asks for may be, in milliseconds.
    pub fresh: Option<i64>,
    /// Whether a part of the log that nothing vouches for is a finding.
    pub strict: bool,
    /// Whether the SHA-256 of large files is computed too: else a large file whose BLAKE3 is the listed one
    /// counts as what its list says.
    pub sha256: bool,
}

impl VerifyOptions {
    /// The keys given and the policy's.
    pub(super) fn pinned(&self) -> Vec<VerifyingKey> {
        let logs = self.policy.iter().flat_map(|policy| &policy.logs);
        self.keys.iter().chain(logs).cloned().collect()
    }
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Findings, warnings and known exceptions.
    pub findings: Vec<Finding>,
    /// Log entries read.
    pub entries: u64,
    /// Runs checked.
    pub runs: u64,
    /// Files hashed.
    pub files: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// Large files of which only the BLAKE3 was computed.
    pub by_blake3: u64,
    /// Blobs checked in the objects.
    pub blobs: u64,
    /// The log's root hash, recomputed.
    pub root: Option<Sha256>,
    /// Whether the log's checkpoint holds and a pinned key signed it.
    pub signed: bool,
    /// Whether the checkpoint kept elsewhere holds, when one was given.
    pub since_holds: Option<bool>,
    /// Whether a checkpoint meets the policy, when one was given.
    pub policy_holds: Option<bool>,
    /// Whether witnesses vouch for it as lately as asked.
    pub fresh: bool,
    /// Time stamps that are over checkpoints of this log: size, time, where they lie. Their signatures are
    /// not checked.
    pub stamps: Vec<(u64, Moment, String)>,
    /// What vouches for which part of the log.
    pub intervals: Vec<Interval>,
    /// What anchors say of when entries were written.
    pub(super) bounds: Bounds,
}

impl VerifyReport {
    /// Findings that make the check fail.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_failure())
    }
}

/// What runs are held against.
struct Ask<'a> {
    log: &'a LogFacts,
    pack: Option<&'a Pack>,
    /// Whether large files are hashed with both algorithms.
    sha256: bool,
    /// Whether what their file lists name is looked for, and what need not be.
    sound: Option<&'a Sound>,
}

/// Blobs that something names and that are not there.
type Missing = Vec<Finding>;

/// Looks taken at a run that does not fit before it is reported.
const LOOKS: usize = 5;

impl Store {
    /// Checks the store.
    pub fn verify(&self, options: &VerifyOptions) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        // Before the log, which then has what they are about.
        let key_files = self.key_files()?;
        let kept = self.kept_checkpoints()?;
        let checkpoint = self.checkpoint_to_check(&mut report.findings)?;
        let mut wanted = Roots::new();
        let anchors = kept.iter().filter_map(|(_, kept)| kept.as_ref().ok());
        for known in options.since.iter().chain(&checkpoint).chain(anchors) {
            wanted.insert(known.body.size, None);
        }
        let whole = options.runs.is_empty();
        // Before the log: what the log names and this look did not see is looked for again.
        let sound = match whole {
            true => self.check_objects(&mut report)?,
            false => Sound::default(),
        };
        let mut log = self.log_facts(&wanted, whole.then_some(&sound))?;
        report.entries = log.view.size();
        report.root = log.root;
        for key in &options.runs {
            if !log.states.contains_key(key) {
                return Err(StoreError::NoRun { name: key.to_string() });
            }
        }
        let pack = self.pack_to_check(&log, &mut report.findings)?;
        let mut suspects = options.runs.clone();
        let mut settled: Vec<Finding> = Vec::new();
        let mut missing = Missing::new();
        for look in 0..LOOKS {
            let sound = whole.then_some(&sound);
            let ask = Ask { log: &log, pack: pack.as_deref(), sha256: options.sha256, sound };
            let mut runs: Vec<&RunKey> = match whole && look == 0 {
                true => log.states.keys().collect(),
                false => suspects.iter().collect(),
            };
            runs.sort_unstable();
            let mut looked = self.check_runs(&ask, &runs)?;
            if look == 0 {
                report.runs = runs.len() as u64;
                report.files = looked.files;
                report.by_blake3 = looked.by_blake3;
                report.bytes = looked.bytes;
            }
            missing.append(&mut looked.missing);
            settled.append(&mut looked.right);
            if looked.wrong.is_empty() {
                break;
            }
            let again = self.log_facts(&wanted, sound)?;
            let unmoved = again.view.size() == log.view.size() && again.view.head.size == log.view.head.size;
            if unmoved || look + 1 == LOOKS {
                settled.extend(looked.wrong.into_iter().flat_map(|(_, findings)| findings));
                break;
            }
            suspects = looked.wrong.into_iter().map(|(key, _)| key).collect();
            log = again;
        }
        // Runs with equal files have one list.
        missing.sort_by(|a, b| a.path.cmp(&b.path));
        missing.dedup();
        report.findings.append(&mut missing);
        report.findings.append(&mut settled);
        if whole {
            let ring = Keyring::replay(&self.config.origin, &log.keys);
            check_keys(&ring, &key_files, &log.findings, &mut report);
            self.check_kept(&kept, &log.roots, &mut report);
            self.check_anchors(options, checkpoint.as_ref(), &kept, &log.roots, &ring, &mut report)?;
            self.check_times(options, &log.times, &log.noted, &mut report)?;
            report.findings.append(&mut log.findings);
            self.check_strangers(&log, &mut report)?;
            self.check_packs(&mut report.findings)?;
            self.check_carried(&log.carried, &mut report.findings)?;
            self.check_named(&log, &sound, &mut report.findings)?;
            self.check_tmp(&log.view, &mut report);
        }
        report.findings.sort_by(|a, b| (&a.run, a.code, &a.path).cmp(&(&b.run, b.code, &b.path)));
        Ok(report)
    }

    /// The pack that manifests are held against. Where damage keeps it from being read, that is a
    /// finding, and the built-in pack of the name serves, if there is one: the rest is still checked.
    fn pack_to_check(
        &self,
        log: &LogFacts,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Arc<Pack>>, StoreError> {
        match self.manifest_pack_by_log() {
            Ok(pack) => Ok(Some(pack)),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                // A log that cannot be read through is found as such.
                if log.findings.is_empty() {
                    let finding = Finding::of_store(Code::PackChanged, paths::CONFIG);
                    let expected = format!("the pack {}", self.config.pack);
                    findings.push(finding.expected(expected).found(error));
                }
                Ok(builtin_pack(&self.config.pack))
            }
            Err(error) => Err(error),
        }
    }

    /// Checks runs side by side. Of most of them only counts are kept.
    fn check_runs(&self, ask: &Ask<'_>, runs: &[&RunKey]) -> Result<Looked, StoreError> {
        let done = std::sync::atomic::AtomicU64::new(0);
        let total = runs.len() as u64;
        let looked = |key: &&RunKey| -> Result<Looked, StoreError> {
            let checked = self.check_run(ask, key)?;
            let n = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            self.context.progress.at(n, total);
            Ok(Looked::of(key, checked))
        };
        runs.par_iter().map(looked).try_reduce(Looked::default, |a, b| Ok(a.and(b)))
    }

    fn check_run(&self, ask: &Ask<'_>, key: &RunKey) -> Result<Checked, StoreError> {
        let log = ask.log;
        let state = &log.states[key];
        let files = self.file_list(&state.files);
        let mut checked = Checked::default();
        if let Some(sound) = ask.sound {
            checked.missing = self.missing_of_list(&state.files, files.as_deref().ok(), sound)?;
        }
        let dir = paths::run_dir(key);
        let unsettled = log.unsettled.get(key);
        let misplaced = |found: &dyn std::fmt::Display| {
            Finding::of_run(Code::NotRegular, key).at(&dir).expected("a folder").found(found)
        };
        // A run that lies behind a link, or is none, is one finding: the others are still looked at.
        match self.disk.stat(&dir) {
            Ok(Some(stat)) if stat.kind == FileKind::Dir => {}
            Ok(Some(stat)) => {
                checked.findings.push(misplaced(&stat.kind.word()));
                return Ok(checked);
            }
            Ok(None) => {
                if unsettled.is_none_or(|chain| chain[0].is_some()) {
                    let finding = Finding::of_run(Code::RunMissing, key).at(&dir);
                    checked.findings.push(finding.expected(state.manifest).found("nothing"));
                }
                return Ok(checked);
            }
            Err(error) if error.is_not_folder() => {
                checked.findings.push(misplaced(&error));
                return Ok(checked);
            }
            Err(error) => return Err(error.into()),
        }
        let known = Known {
            files: files.as_deref().unwrap_or_default(),
            blobs: &self.blobs,
            small_limit: self.config.small_limit,
        };
        let folder = facts::folder(&self.disk, &dir, (!ask.sha256).then_some(&known))?;
        checked.by_blake3 = folder.trusted;
        for found in folder.found.values() {
            if let crate::plan::verify::Found::File { blob, .. } = found {
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
        let prior = |job: &str, run: &str| self.prior_files(log, job, run);
        let logged = Logged { manifests: &manifests, files: &files };
        let look = folder.manifest.look();
        let mut findings = facts::check(&self.disk, &dir, key, &folder, &look, Some(&logged), &prior);
        let rewrites = log.migrated.get(key).map_or(&[][..], Vec::as_slice);
        if let (Some(doc), Some(pack)) = (&look.doc, ask.pack) {
            let logged: Vec<Sha256> = rewrites.iter().map(|(before, _)| *before).collect();
            schema_findings(key, doc, pack, &logged, &mut findings);
        }
        let lies = look.doc.as_ref().zip(look.sha256());
        for (before, after) in rewrites {
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
        self.mark_known(state, &mut findings)?;
        checked.findings = findings;
        Ok(checked)
    }

    fn prior_files(&self, log: &LogFacts, job: &str, run: &str) -> PriorFiles {
        let key = RunKey { job: job.parse().ok()?, run: run.parse().ok()? };
        self.digests_of(&log.states.get(&key)?.files).ok()
    }

    /// Findings that the run came in with are known, as long as they are exactly the same.
    pub(super) fn mark_known(&self, state: &RunState, findings: &mut [Finding]) -> Result<(), StoreError> {
        let Some(digest) = &state.exceptions else { return Ok(()) };
        let missing = StoreError::BlobMissing { what: "list of exceptions", digest: *digest };
        let bytes = self.blobs.get(digest)?.ok_or(missing)?;
        let known =
            Exceptions::parse(&bytes).map_err(StoreError::record(format!("list of exceptions {digest}")))?;
        for finding in findings {
            finding.known = known.findings.iter().any(|exception| exception.covers(finding));
        }
        Ok(())
    }

    /// Runs on the disk that the log does not have, and what is no run at all.
    fn check_strangers(&self, log: &LogFacts, report: &mut VerifyReport) -> Result<(), StoreError> {
        let jobs = self.jobs_on_disk()?;
        report.findings.extend(jobs.strays);
        let mut unknown: Vec<RunKey> = Vec::new();
        for job in jobs.names {
            let runs = self.runs_on_disk_of(&job)?;
            report.findings.extend(runs.strays);
            unknown.extend(runs.names.into_iter().filter(|key| !log.states.contains_key(key)));
        }
        if unknown.is_empty() {
            return Ok(());
        }
        // The log is read again after the disk: a run that came in between is then in it.
        let log = self.log_facts(&Roots::new(), None)?;
        if log.findings.iter().any(|finding| matches!(finding.code, Code::BundleBad | Code::EntryBad)) {
            // What the unreadable part of the log has is not known, so nothing can be called unknown to it.
            return Ok(());
        }
        unknown.retain(|key| !log.states.contains_key(key));
        for key in unknown {
            let finding = Finding::of_run(Code::RunUnknown, &key).at(paths::run_dir(&key));
            report.findings.push(finding.expected("nothing").found("a folder"));
        }
        Ok(())
    }

    fn check_tmp(&self, view: &LogView, report: &mut VerifyReport) {
        for batch in &view.pending {
            let place = format!("log entries {} to {}", batch.first, batch.end() - 1);
            report.findings.push(Finding::of_store(Code::Unsettled, place));
        }
        if let Some(torn) = &view.torn {
            report.findings.push(Finding::of_store(Code::TornTail, torn.clone()));
        }
        for name in self.staging_folders() {
            let lock = format!("{}/{name}.lock", paths::TMP);
            if !crate::backend::FileLock::is_held(&self.disk, &lock).unwrap_or(true) {
                report.findings.push(Finding::of_store(Code::Leftover, format!("{}/{name}", paths::TMP)));
            }
        }
    }
}

/// What the pack says of a manifest: whether it fits its version, whether its history recomputes and
/// is the log's. `logged` are the revisions that the run's migrations started from.
pub(super) fn schema_findings(
    key: &RunKey,
    doc: &Doc<'_>,
    pack: &Pack,
    logged: &[Sha256],
    findings: &mut Vec<Finding>,
) {
    let finding = |code| Finding::of_run(code, key).at(paths::MANIFEST);
    match pack.detect(doc) {
        Detection::Known { .. } | Detection::Legacy { .. } => {}
        Detection::Misfit { version, reasons } => {
            findings.push(finding(Code::ShapeUnfit).expected(version).found(reasons.join("; ")));
        }
        other => findings.push(finding(Code::VersionUnknown).found(other)),
    }
    for check in history::check(doc, pack) {
        let finding = finding(Code::HistoryMismatch);
        match check.state {
            HistoryState::Verified { .. } | HistoryState::NeedsRevision => {}
            HistoryState::Differs { stated, computed } => {
                findings.push(finding.expected(stated).found(computed));
            }
            HistoryState::Malformed { why } => {
                findings.push(finding.expected("a migration record").found(format!("{}: {why}", check.at)));
            }
        }
    }
    // Records of other programs have no checksum form and were never in this log.
    let list = pack.history_at().and_then(|at| doc.at(at)).filter(|list| list.kind() == Kind::Array);
    let own: Vec<String> = list
        .iter()
        .flat_map(|list| list.elements())
        .filter(|record| record.get("checksum_form").is_some())
        .filter_map(|record| Some(record.get("checksum_before")?.as_str()?.into_owned()))
        .collect();
    for record in crate::plan::verify::records_not_in_log(&own, logged) {
        let finding = finding(Code::HistoryNotInLog);
        findings.push(
            finding.expected("a migration in the log").found(format!("one that started from {record}")),
        );
    }
}

/// What a check of some runs came to.
#[derive(Default)]
struct Looked {
    files: u64,
    bytes: u64,
    by_blake3: u64,
    missing: Missing,
    /// What is to be told of runs that are as they should be.
    right: Vec<Finding>,
    /// Runs that are not, with all that is to be told of them.
    wrong: Vec<(RunKey, Vec<Finding>)>,
}

impl Looked {
    fn of(key: &RunKey, checked: Checked) -> Self {
        let Checked { findings, missing, files, bytes, by_blake3 } = checked;
        let mut looked = Self { files, bytes, by_blake3, missing, ..Self::default() };
        if findings.iter().any(Finding::is_failure) {
            looked.wrong.push((key.clone(), findings));
        } else {
            looked.right = findings;
        }
        looked
    }

    fn and(mut self, mut other: Self) -> Self {
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
