//! Checking the whole store, or some runs, against the log (`store-layout.md`, "Findings").
//!
//! Nothing is written. Readers race with writers, so a run that does not show the state of the view
//! is looked at again under a new view before it is reported: only what stays wrong is a finding.

mod again;
mod log;
mod objects;
mod runs;
mod schema;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::anchor::{Interval, Roots, check_keys};
use super::packs::builtin_pack;
use super::publish::Checkpoint;
use super::{ErrorKind, LogView, Store, StoreError};
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::entry::Entry;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::format::policy::Policy;
use crate::note::{AllowedSigners, VerifyingKey};
use crate::plan::keys::Keyring;
use crate::plan::replay;
use crate::plan::times::Bounds;
use crate::schema::Pack;
use again::Again;
use log::LogFacts;
use runs::{Ask, Missing};
pub(super) use schema::schema_findings;

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
            true => Some(self.check_objects(&mut report)?),
            false => None,
        };
        let mut log = self.log_facts(&wanted, sound.as_ref())?;
        report.entries = log.view.size();
        report.root = log.root;
        if let Some(key) = options.runs.iter().find(|key| log.replay.newest(key).is_none()) {
            return Err(StoreError::NoRun { name: key.to_string() });
        }
        let pack = self.pack_to_check(&log, &mut report.findings)?;
        let mut suspects = options.runs.clone();
        let mut settled: Vec<Finding> = Vec::new();
        let mut missing = Missing::new();
        for look in 0..LOOKS {
            let again = Again::of(self, &log);
            let ask =
                Ask { again: &again, pack: pack.as_deref(), sha256: options.sha256, sound: sound.as_ref() };
            let mut looked = match whole && look == 0 {
                true => self.check_all_runs(&ask)?,
                false => self.check_these_runs(&ask, &suspects)?,
            };
            if look == 0 {
                report.runs = looked.runs;
                report.files = looked.files;
                report.by_blake3 = looked.by_blake3;
                report.bytes = looked.bytes;
            }
            missing.append(&mut looked.missing);
            settled.append(&mut looked.right);
            if looked.wrong.is_empty() {
                break;
            }
            if look + 1 == LOOKS || !self.has_moved(&log.view)? {
                settled.extend(looked.wrong.into_iter().flat_map(|(_, findings)| findings));
                break;
            }
            suspects = looked.wrong.into_iter().map(|(key, _)| key).collect();
            // Two replays at once would be too much of a large log.
            drop(log);
            log = self.log_facts(&wanted, sound.as_ref())?;
        }
        // Runs with equal files have one list.
        missing.sort_by(|a, b| a.path.cmp(&b.path));
        missing.dedup();
        report.findings.append(&mut missing);
        report.findings.append(&mut settled);
        if let Some(sound) = &sound {
            let ring = Keyring::replay(&self.config.origin, &log.keys);
            check_keys(&ring, &key_files, &log.findings, &mut report);
            self.check_kept(&kept, &log.roots, &mut report);
            self.check_anchors(options, checkpoint.as_ref(), &kept, &log.roots, &ring, &mut report)?;
            self.check_times(options, &log.times, &log.noted, &mut report)?;
            self.check_strangers(&log, &mut report)?;
            report.findings.append(&mut log.findings);
            self.check_packs(&mut report.findings)?;
            self.check_carried(&log.carried, &mut report.findings)?;
            self.check_named(&log, sound, &mut report.findings)?;
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

    /// Runs on the disk that the log does not have, and what is no run at all.
    fn check_strangers(&self, log: &LogFacts, report: &mut VerifyReport) -> Result<(), StoreError> {
        let jobs = self.jobs_on_disk()?;
        report.findings.extend(jobs.strays);
        let mut unknown: BTreeSet<RunKey> = BTreeSet::new();
        for job in jobs.names {
            let runs = self.runs_on_disk_of(&job)?;
            report.findings.extend(runs.strays);
            unknown.extend(runs.names.into_iter().filter(|key| log.replay.newest(key).is_none()));
        }
        let unread = |finding: &Finding| matches!(finding.code, Code::BundleBad | Code::EntryBad);
        // What the unreadable part of the log has is not known, so nothing can be called unknown to it.
        if unknown.is_empty() || log.findings.iter().any(unread) {
            return Ok(());
        }
        // What the log has of it by now came in after the log was read, and before the disk was.
        let mut readable = true;
        let read = self.each_entry(&self.log()?, log.view.size(), &mut |at, bytes| {
            match Entry::parse(bytes) {
                Ok(entry) => {
                    let begins = replay::step(None, at, &entry, replay::leaf(bytes)).is_ok();
                    if let Some(run) = entry.run().filter(|_| begins) {
                        unknown.remove(&run);
                    }
                }
                Err(_) => readable = false,
            }
            Ok(())
        });
        match read {
            Err(StoreError::LogDamaged { .. }) => return Ok(()),
            read => read?,
        }
        for key in unknown.into_iter().filter(|_| readable) {
            let finding = Finding::of_run(Code::RunUnknown, &key).at(paths::run_dir(&key));
            report.findings.push(finding.expected("nothing").found("a folder"));
        }
        Ok(())
    }

    /// Whether entries came in or were settled since a view was taken.
    fn has_moved(&self, since: &LogView) -> Result<bool, StoreError> {
        let now = self.log()?;
        Ok((now.size(), now.head.size) != (since.size(), since.head.size))
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
