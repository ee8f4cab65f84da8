//! Checking the whole store, or some runs, against the log (`store-layout.md`, "Findings").
//!
//! Nothing is written. Readers race with writers, so a run that does not show the state of the view
//! is looked at again under a new view before it is reported: only what stays wrong is a finding.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::anchor::{Interval, Roots, check_keys};
use super::carry::Carried;
use super::facts::{self, Logged, PriorFiles};
use super::keyring::is_key_entry;
use super::packs::builtin_pack;
use super::publish::Checkpoint;
use super::run_map::MapCheck;
use super::tiles::TileCheck;
use super::{ErrorKind, LogView, Store, StoreError};
use crate::backend::{BlobFinding, Kind as FileKind};
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::json::Kind;
use crate::format::batch::Batch;
use crate::format::entry::{Entry, EntryKind};
use crate::format::finding::{Code, Exceptions, Finding};
use crate::format::paths;
use crate::format::policy::Policy;
use crate::merkle;
use crate::note::{AllowedSigners, VerifyingKey};
use crate::plan::keys::{KeyEvent, Keyring};
use crate::plan::replay::{Replay, RunState};
use crate::plan::times::Bounds;
use crate::schema::history::{self, HistoryState};
use crate::schema::{Detection, Pack};

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

/// The log's states and what is wrong with the log itself.
struct LogFacts {
    view: LogView,
    states: HashMap<RunKey, RunState>,
    /// For runs with an unsettled change: the states that may be seen, oldest first.
    unsettled: HashMap<RunKey, Vec<Option<Sha256>>>,
    /// For migrated runs: the revisions before and after each migration, in order.
    migrated: HashMap<RunKey, Vec<(Sha256, Sha256)>>,
    /// Blobs that the entries name, each with the first entry that does.
    named: BTreeMap<Sha256, u64>,
    findings: Vec<Finding>,
    /// The entries about the log's keys.
    /// Changes outside the store.
    carried: Carried,
    keys: Vec<KeyEvent>,
    root: Option<Sha256>,
    /// The root at each size asked for that the log reaches.
    roots: Roots,
    /// The entries' times; `None` for what is no entry.
    times: Vec<Option<Moment>>,
    /// The entries that note something, with the blob that says what.
    noted: Vec<(u64, Sha256)>,
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
        let mut log = self.log_facts(&wanted, true)?;
        report.entries = log.view.size();
        report.root = log.root;
        let whole = options.runs.is_empty();
        let mut suspects: Vec<RunKey> =
            if whole { log.states.keys().cloned().collect() } else { options.runs.clone() };
        for key in &options.runs {
            if !log.states.contains_key(key) {
                return Err(StoreError::NoRun { name: key.to_string() });
            }
        }
        let pack = self.pack_to_check(&log, &mut report.findings)?;
        suspects.sort();
        let total = suspects.len() as u64;
        let mut settled: Vec<Finding> = Vec::new();
        for look in 0..LOOKS {
            let found = self.check_runs(&log, &suspects, pack.as_deref(), look == 0, total, &mut report)?;
            let (wrong, right): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|(_, findings)| findings.iter().any(Finding::is_failure));
            settled.extend(right.into_iter().flat_map(|(_, findings)| findings));
            if wrong.is_empty() {
                break;
            }
            let again = self.log_facts(&wanted, true)?;
            let unmoved = again.view.size() == log.view.size() && again.view.head.size == log.view.head.size;
            if unmoved || look + 1 == LOOKS {
                settled.extend(wrong.into_iter().flat_map(|(_, findings)| findings));
                break;
            }
            suspects = wrong.into_iter().map(|(key, _)| key).collect();
            log = again;
        }
        report.findings.append(&mut settled);
        if whole {
            let ring = Keyring::replay(&self.config.origin, &log.keys);
            check_keys(&ring, &key_files, &log.findings, &mut report);
            self.check_kept(&kept, &log.roots, &mut report);
            self.check_anchors(options, checkpoint.as_ref(), &kept, &log.roots, &ring, &mut report)?;
            self.check_times(options, &log.times, &log.noted, &mut report)?;
            report.findings.append(&mut log.findings);
            self.check_strangers(&mut report)?;
            self.check_packs(&mut report.findings)?;
            self.check_carried(&log.carried, &mut report.findings)?;
            self.check_objects(&log, &mut report)?;
            self.check_tmp(&log.view, &mut report);
        }
        report.findings.sort_by(|a, b| (&a.run, a.code, &a.path).cmp(&(&b.run, b.code, &b.path)));
        Ok(report)
    }

    /// Replays the log and checks it against itself; `maps` says whether the run map is checked too.
    fn log_facts(&self, wanted: &Roots, maps: bool) -> Result<LogFacts, StoreError> {
        let view = self.log()?;
        let mut facts = LogFacts {
            states: HashMap::new(),
            unsettled: HashMap::new(),
            migrated: HashMap::new(),
            named: BTreeMap::new(),
            findings: Vec::new(),
            keys: Vec::new(),
            carried: Carried::default(),
            root: None,
            roots: wanted.clone(),
            times: Vec::new(),
            noted: Vec::new(),
            view,
        };
        let mut replay = Replay::default();
        let mut tiles = TileCheck::begin();
        let mut map = maps.then(MapCheck::begin);
        let mut settled_root = None;
        let head = facts.view.head.clone();
        let view = facts.view.clone();
        let mut take = |at: u64, bytes: &[u8], facts: &mut LogFacts| -> Result<(), StoreError> {
            let leaf = merkle::leaf_hash(bytes);
            if at < head.size {
                tiles.append(self, leaf)?;
                if let Some(root) = facts.roots.get_mut(&(at + 1)) {
                    *root = Some(tiles.root());
                }
            }
            if at + 1 == head.size {
                settled_root = Some(tiles.root());
                facts.findings.append(&mut tiles.finish(self, &head)?);
            }
            facts.times.push(None);
            match replay.take(at, bytes) {
                Ok(entry) => {
                    facts.times.pop();
                    facts.times.push(Some(entry.time));
                    if let (EntryKind::Noted, Some(detail)) = (entry.kind, entry.detail) {
                        facts.noted.push((at, detail));
                    }
                    if let Some(map) = &mut map {
                        map.take(at, &entry, &Sha256::from_bytes(*leaf.as_bytes()));
                    }
                    if let (EntryKind::Migrated, Some(key), Some(before), Some(after)) =
                        (entry.kind, entry.run(), entry.before, entry.after)
                    {
                        facts.migrated.entry(key).or_default().push((before, after));
                    }
                    if is_key_entry(&entry) {
                        facts.keys.push(self.key_event(at, &entry)?);
                    }
                    facts.findings.extend(facts.carried.take(at, &entry));
                    for blob in entry.blobs() {
                        facts.named.entry(blob).or_insert(at);
                    }
                }
                Err((run, error)) => {
                    let code = if run.is_some() { Code::ChainBroken } else { Code::EntryBad };
                    let mut finding = Finding::of_store(code, format!("log entry {at}")).found(error);
                    finding.run = run;
                    facts.findings.push(finding);
                }
            }
            Ok(())
        };
        let read = self.each_entry(&view, 0, &mut |at, bytes| take(at, bytes, &mut facts));
        if let Err(error) = read {
            let StoreError::LogDamaged { place, why } = error else { return Err(error) };
            facts.findings.push(Finding::of_store(Code::BundleBad, place).found(why));
        }
        if let Some(map) = map {
            facts.findings.append(&mut map.finish(self, &head, settled_root.is_some() || head.size == 0)?);
        }
        let root = settled_root.unwrap_or_else(|| Sha256::of(b""));
        if head.size > 0 && settled_root.is_none() {
            // A bundle could not be read: that finding is there already.
        } else if root != head.root {
            facts
                .findings
                .push(Finding::of_store(Code::RootMismatch, paths::HEAD).expected(head.root).found(root));
        } else if let Err(error) = super::bundles::tree_of(&head) {
            facts.findings.push(Finding::of_store(Code::RootMismatch, paths::HEAD).found(error));
        }
        facts.root = Some(root);
        for batch in &view.pending {
            for entry in batch_entries(batch) {
                if let Some(key) = entry.run() {
                    let chain = facts.unsettled.entry(key).or_insert_with(|| vec![entry.before]);
                    chain.push(entry.after);
                }
            }
        }
        facts.states = replay.into_runs();
        Ok(facts)
    }

    /// The pack that manifests are held against. Where damage keeps it from being read, that is a
    /// finding, and the built-in pack of the name serves, if there is one: the rest is still checked.
    fn pack_to_check(
        &self,
        log: &LogFacts,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Arc<Pack>>, StoreError> {
        match self.manifest_pack() {
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

    /// Checks runs side by side; gives each one's findings.
    fn check_runs(
        &self,
        log: &LogFacts,
        runs: &[RunKey],
        pack: Option<&Pack>,
        first_look: bool,
        total: u64,
        report: &mut VerifyReport,
    ) -> Result<Vec<(RunKey, Vec<Finding>)>, StoreError> {
        let done = std::sync::atomic::AtomicU64::new(0);
        let checked: Vec<(RunKey, Checked)> = runs
            .par_iter()
            .map(|key| {
                let checked = self.check_run(log, key, pack)?;
                let n = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                self.context.progress.at(n, total);
                Ok((key.clone(), checked))
            })
            .collect::<Result<_, StoreError>>()?;
        if first_look {
            report.runs = runs.len() as u64;
            for (_, checked) in &checked {
                report.files += checked.files;
                report.bytes += checked.bytes;
            }
        }
        Ok(checked.into_iter().map(|(key, checked)| (key, checked.findings)).collect())
    }

    fn check_run(&self, log: &LogFacts, key: &RunKey, pack: Option<&Pack>) -> Result<Checked, StoreError> {
        let state = &log.states[key];
        let mut checked = Checked::default();
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
        let folder = facts::folder(&self.disk, &dir)?;
        for found in folder.found.values() {
            if let crate::plan::verify::Found::File { blob, .. } = found {
                checked.files += 1;
                checked.bytes += blob.bytes;
            }
        }
        let mut manifests = vec![state.manifest];
        manifests.extend(unsettled.into_iter().flatten().flatten());
        let files = match self.file_list(&state.files) {
            Ok(files) => files,
            Err(error) => {
                let finding = Finding::of_run(Code::BlobMissing, key).expected(state.files);
                checked.findings.push(finding.found(error));
                return Ok(checked);
            }
        };
        let prior = |job: &str, run: &str| self.prior_files(log, job, run);
        let logged = Logged { manifests: &manifests, files: &files };
        let mut findings = facts::check(&self.disk, &dir, key, &folder, Some(&logged), &prior);
        let rewrites = log.migrated.get(key).map_or(&[][..], Vec::as_slice);
        if let (facts::ManifestBytes::Bytes(bytes), Some(pack)) = (&folder.manifest, pack) {
            let logged: Vec<Sha256> = rewrites.iter().map(|(before, _)| *before).collect();
            schema_findings(key, bytes, pack, &logged, &mut findings);
        }
        for (before, after) in rewrites {
            // A revision that is gone is a finding of the objects.
            if let (Ok(Some(old)), Ok(Some(new))) = (self.blobs.get(before), self.blobs.get(after)) {
                findings.extend(crate::plan::verify::rewrite_rules(key, &old, &new, &files));
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
    fn check_strangers(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        let scan = self.scan()?;
        // The log is read after the disk: a run that came in between is then in it.
        let log = self.log_facts(&Roots::new(), false)?;
        report.findings.extend(scan.strays);
        if log.findings.iter().any(|finding| matches!(finding.code, Code::BundleBad | Code::EntryBad)) {
            // What the unreadable part of the log has is not known, so nothing can be called unknown to it.
            return Ok(());
        }
        for key in scan.runs {
            if !log.states.contains_key(&key) {
                let finding = Finding::of_run(Code::RunUnknown, &key).at(paths::run_dir(&key));
                report.findings.push(finding.expected("nothing").found("a folder"));
            }
        }
        Ok(())
    }

    /// Every digest that the log names resolves, and every stored blob is its digest.
    fn check_objects(&self, log: &LogFacts, report: &mut VerifyReport) -> Result<(), StoreError> {
        for (digest, entry) in &log.named {
            if self.blobs.find(digest)?.is_none() {
                let place = format!("log entry {entry}");
                let finding = Finding::of_store(Code::BlobMissing, place).expected(digest);
                report.findings.push(finding.found("nothing"));
            }
        }
        let mut lists: HashSet<Sha256> = log.states.values().map(|state| state.files).collect();
        // A log that cannot be read has findings of its own.
        lists.extend(self.installed_packs().unwrap_or_default().iter().map(|pack| pack.files));
        for list in &lists {
            let Ok(files) = self.file_list(list) else {
                report.findings.push(Finding::of_store(Code::BlobMissing, format!("file list {list}")));
                continue;
            };
            for file in files {
                if let Some(blob) = file.blob()
                    && !self.blobs.contains(&blob)?
                {
                    let place = format!("file list {list}, {}", file.path);
                    let finding = Finding::of_store(Code::BlobMissing, place).expected(blob.sha256);
                    report.findings.push(finding.found("nothing"));
                }
            }
        }
        // Bad bytes below a committed length are damage; only beyond it a write was never finished.
        self.blobs.set_committed(&super::session::segment_marks(&log.view.head));
        let mut findings = Vec::new();
        let checked = self.blobs.check_all(&mut |found| findings.push(object_finding(found)))?;
        report.blobs = checked.records + checked.large;
        report.findings.append(&mut findings);
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

fn object_finding(found: BlobFinding) -> Finding {
    let at = |code, path: String| Finding::of_store(code, path);
    match found {
        BlobFinding::BadSegment { path, why } => at(Code::SegmentDamaged, path).found(why),
        BlobFinding::Shorter { path, committed, found } => {
            let bytes = |n: u64| format!("{n} bytes");
            at(Code::SegmentDamaged, path).expected(bytes(committed)).found(bytes(found))
        }
        BlobFinding::DamagedRecord { path, offset, end, why } => {
            at(Code::SegmentDamaged, format!("{path} bytes {offset} to {end}"))
                .expected("a record")
                .found(why)
        }
        BlobFinding::TornTail { path, offset, bytes } => {
            at(Code::TornTail, path).found(format!("{bytes} bytes from byte {offset}"))
        }
        BlobFinding::DamagedLarge { path, damage } => {
            at(Code::BlobDamaged, path).expected("the bytes its name says").found(damage)
        }
        BlobFinding::Leftover { path } => at(Code::Leftover, path),
        BlobFinding::Unexpected { path, found } => at(Code::Stray, path).expected("a blob").found(found),
        BlobFinding::Unreadable { path, error } => {
            at(Code::BlobDamaged, path).expected("a readable file").found(error)
        }
    }
}

/// What the pack says of a manifest: whether it fits its version, whether its history recomputes and
/// is the log's. `logged` are the revisions that the run's migrations started from.
pub(super) fn schema_findings(
    key: &RunKey,
    bytes: &[u8],
    pack: &Pack,
    logged: &[Sha256],
    findings: &mut Vec<Finding>,
) {
    let Ok(doc) = crate::base::json::scan(bytes) else { return };
    let finding = |code| Finding::of_run(code, key).at(paths::MANIFEST);
    match pack.detect(&doc) {
        Detection::Known { .. } | Detection::Legacy { .. } => {}
        Detection::Misfit { version, reasons } => {
            findings.push(finding(Code::ShapeUnfit).expected(version).found(reasons.join("; ")));
        }
        other => findings.push(finding(Code::VersionUnknown).found(other)),
    }
    for check in history::check(bytes, pack).unwrap_or_default() {
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

#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    files: u64,
    bytes: u64,
}

fn batch_entries(batch: &Batch) -> impl Iterator<Item = Entry> + '_ {
    batch.entries.iter().filter_map(|bytes| Entry::parse(bytes).ok())
}
