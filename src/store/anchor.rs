//! Holding the log against checkpoints: the one on the disk and one kept elsewhere.
//!
//! Only keys that the caller pins say who signed. Keys found in the store show at most that the
//! signature is consistent.

use std::collections::BTreeMap;

use super::anchors::Kept;
use super::policy::Given;
use super::publish::Checkpoint;
use super::{Store, StoreError, VerifyOptions, VerifyReport};
use crate::base::digest::Sha256;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::format::policy::Policy;
use crate::note::{CheckpointBody, KeyError, NoteError, VerifyingKey};
use crate::plan::keys::{Keyring, LogKey, Trusted};

/// A stretch of the log and what vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The first entry.
    pub from: u64,
    /// The entry after the last.
    pub to: u64,
    /// Whether a pinned key or a checkpoint kept elsewhere vouches for it.
    pub anchored: bool,
    /// By what, in words.
    pub by: String,
}

/// The sizes at which checks want to know the root, and what it is.
pub(super) type Roots = BTreeMap<u64, Option<Sha256>>;

impl Store {
    /// The checkpoint on the disk, or the finding that it is none. Read before the log: what it
    /// covers is then in the view.
    pub(super) fn checkpoint_to_check(
        &self,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        match self.checkpoint() {
            Err(StoreError::LogDamaged { place, why }) => {
                findings.push(Finding::of_store(Code::CheckpointBad, place).found(why));
                Ok(None)
            }
            other => other,
        }
    }

    /// Every checkpoint that was kept is still of this log's tree.
    pub(super) fn check_kept(&self, kept: &[Kept], roots: &Roots, report: &mut VerifyReport) {
        for (place, kept) in kept {
            let finding = Finding::of_store(Code::AnchorMismatch, place);
            match kept {
                Err(why) => report.findings.push(finding.found(why)),
                Ok(kept) if kept.body.origin != self.config.origin => {
                    report.findings.push(finding.expected(&self.config.origin).found(&kept.body.origin));
                }
                Ok(kept) => {
                    let finding = mismatch(Code::AnchorMismatch, place, &kept.body, roots, report.entries);
                    report.findings.extend(finding);
                }
            }
        }
    }

    /// Checks both checkpoints against the roots, and says which part of the log each vouches for.
    pub(super) fn check_anchors(
        &self,
        options: &VerifyOptions,
        checkpoint: Option<&Checkpoint>,
        kept: &[Kept],
        roots: &Roots,
        ring: &Keyring,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let mut covered = 0;
        let pinned = options.pinned();
        let policy = options.policy.as_ref();
        let given = policy.map(|policy| Given { policy, pinned: &pinned, fresh: options.fresh });
        let cosigned = given.map(|given| self.check_policy(&given, checkpoint, kept, roots, ring, report));
        let signed = self.check_words(options, kept, roots, report)?;
        let mut others: Vec<Voucher> = cosigned.flatten().into_iter().chain(signed).collect();
        others.sort_by_key(|voucher| voucher.size);
        let since = options.since.as_ref().map(|since| (since, "the checkpoint given", Code::SinceMismatch));
        let ours = checkpoint.map(|ours| (ours, paths::CHECKPOINT, Code::CheckpointMismatch));
        for (checkpoint, place, code) in since.into_iter().chain(ours) {
            let kept_elsewhere = code == Code::SinceMismatch;
            if !kept_elsewhere {
                others.drain(..).for_each(|voucher| report.anchor(&mut covered, voucher));
            }
            let mut sound = true;
            if checkpoint.body.origin != self.config.origin {
                let finding = Finding::of_store(Code::CheckpointBad, place);
                let finding = finding.expected(&self.config.origin).found(&checkpoint.body.origin);
                report.findings.push(finding);
                sound = false;
            }
            let signer = match self.signer_of(checkpoint, &pinned, ring) {
                Ok(signer) => signer,
                Err(Unsigned::Retired(why)) => {
                    report.findings.push(Finding::of_store(Code::KeyRetired, place).found(why));
                    sound = false;
                    String::new()
                }
                Err(Unsigned::Wrong(why)) => {
                    let expected = if pinned.is_empty() { "a signature" } else { "a pinned key's signature" };
                    let finding = Finding::of_store(Code::CheckpointBad, place);
                    report.findings.push(finding.expected(expected).found(why));
                    sound = false;
                    String::new()
                }
            };
            let size = checkpoint.body.size;
            if let Some(finding) = mismatch(code, place, &checkpoint.body, roots, report.entries) {
                report.findings.push(finding);
                sound = false;
            }
            if kept_elsewhere {
                report.since_holds = Some(sound);
            } else {
                report.signed = sound && !pinned.is_empty();
            }
            if sound {
                let asked = policy.is_some_and(Policy::asks_witnesses);
                let (anchored, by) = match kept_elsewhere {
                    true => (true, format!("anchored by the checkpoint given, {signer}")),
                    false if asked => (false, format!("{signer}, not cosigned as the policy asks")),
                    false => (!pinned.is_empty(), signer),
                };
                report.anchor(&mut covered, Voucher { size, anchored, by });
            }
        }
        others.into_iter().for_each(|voucher| report.anchor(&mut covered, voucher));
        if covered < report.entries {
            let by = "consistent, not anchored".to_owned();
            report.anchor(&mut covered, Voucher { size: report.entries, anchored: false, by });
        }
        if options.strict {
            for interval in report.intervals.iter().filter(|interval| !interval.anchored) {
                let place = format!("log entries {} to {}", interval.from, interval.to - 1);
                report.findings.push(Finding::of_store(Code::NotAnchored, place).found(&interval.by));
            }
        }
        Ok(())
    }

    /// Who signed, in words. A key speaks for the log of its own name only.
    pub(super) fn signer_of(
        &self,
        checkpoint: &Checkpoint,
        pinned: &[VerifyingKey],
        ring: &Keyring,
    ) -> Result<String, Unsigned> {
        let size = checkpoint.body.size;
        let trusted: Vec<Trusted> = if pinned.is_empty() {
            let own = |known: &LogKey| Trusted { key: known.key.clone(), path: Vec::new() };
            ring.keys.iter().map(own).collect()
        } else {
            ring.trusted_from(pinned)
        };
        let named = |trusted: &&Trusted| trusted.key.name().as_str() == self.config.origin;
        let keys: Vec<VerifyingKey> =
            trusted.iter().filter(named).map(|trusted| trusted.key.clone()).collect();
        let signers = match checkpoint.note.verify(&keys) {
            Err(NoteError::Unknown) if pinned.is_empty() => {
                return Ok("signer not known, signature not checked".to_owned());
            }
            other => other.map_err(|error| Unsigned::Wrong(error.to_string()))?,
        };
        // Whether the key itself signs still is not the question: only what it signed by then counts.
        let known = |key: &VerifyingKey| ring.keys.iter().find(|known| known.key == *key);
        let (good, late): (Vec<_>, Vec<_>) =
            signers.into_iter().partition(|key| known(key).is_none_or(|known| known.counts_at(size)));
        let after = |key: &&VerifyingKey| {
            let retired = known(key).and_then(|known| known.retired);
            retired.is_some_and(|retired| size > retired.entry || good.is_empty())
        };
        if let Some((key, retired)) =
            late.iter().copied().find(after).and_then(|key| Some((key, known(key)?.retired?)))
        {
            let trusted_to = retired.trusted_to;
            let why = format!("{} is trusted up to {trusted_to} entries and signed {size}", name(key));
            return Err(Unsigned::Retired(why));
        }
        if pinned.is_empty() {
            return Ok("signature consistent, signer not established".to_owned());
        }
        let shown = |key: &VerifyingKey| {
            let path =
                trusted.iter().find(|trusted| trusted.key == *key).map_or(&[][..], |found| &found.path);
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            match path.is_empty() {
                true => name(key),
                false => format!("{} (by the word of {} in the log)", name(key), path.join(", then ")),
            }
        };
        let unchecked: String = unchecked(checkpoint, &keys)
            .map(|key| format!("; the signature of {} was not checked: {}", name(key), KeyError::NotBuilt))
            .collect();
        Ok(format!("signed by {}{unchecked}", good.into_iter().map(shown).collect::<Vec<_>>().join(", ")))
    }
}

/// What vouches for the log up to a size.
#[derive(Debug, Clone)]
pub(super) struct Voucher {
    pub size: u64,
    pub anchored: bool,
    pub by: String,
}

impl VerifyReport {
    /// Adds the stretch that a voucher reaches beyond the ones before.
    fn anchor(&mut self, covered: &mut u64, voucher: Voucher) {
        let Voucher { size, anchored, by } = voucher;
        if size > *covered {
            self.intervals.push(Interval { from: *covered, to: size, anchored, by });
            *covered = size;
        }
    }
}

/// The finding that the log does not have a checkpoint's root at its size.
pub(super) fn mismatch(
    code: Code,
    place: &str,
    body: &CheckpointBody,
    roots: &Roots,
    entries: u64,
) -> Option<Finding> {
    let (size, signed) = (body.size, Sha256::from_bytes(body.root));
    let found = if size == 0 { Some(Sha256::of(b"")) } else { roots.get(&size).copied().flatten() };
    if found == Some(signed) {
        return None;
    }
    let log = match found {
        Some(root) => format!("root {root}"),
        None => format!("a log of {entries} entries"),
    };
    Some(Finding::of_store(code, place).expected(format!("root {signed} at {size} entries")).found(log))
}

/// Why a checkpoint does not count.
pub(super) enum Unsigned {
    /// Nobody who is trusted signed it, or a signature is wrong.
    Wrong(String),
    /// A retired key signed it after its time.
    Retired(String),
}

/// The keys that a checkpoint names as signers and that this build cannot check.
fn unchecked<'k>(
    checkpoint: &'k Checkpoint,
    keys: &'k [VerifyingKey],
) -> impl Iterator<Item = &'k VerifyingKey> {
    let named = |key: &VerifyingKey| {
        let signatures = checkpoint.note.signatures();
        signatures.iter().any(|line| line.name == *key.name() && line.id == key.id())
    };
    keys.iter().filter(move |key| !key.is_checkable() && named(key))
}

fn name(key: &VerifyingKey) -> String {
    format!("{}+{}", key.name(), key.id())
}

/// The log's keys against the entries that brought them in, and the files that lie beside the log.
pub(super) fn check_keys(
    ring: &Keyring,
    files: &[(String, Option<VerifyingKey>)],
    log: &[Finding],
    report: &mut VerifyReport,
) {
    for (entry, why) in &ring.problems {
        let place = format!("log entry {entry}");
        report.findings.push(Finding::of_store(Code::KeyUnvouched, place).found(why));
    }
    // What the unreadable part of the log brings in is not known, so nothing can be called unknown to it.
    let unread = |finding: &Finding| matches!(finding.code, Code::BundleBad | Code::EntryBad);
    if !ring.unread.is_empty() || log.iter().any(unread) {
        return;
    }
    for (path, key) in files {
        let known = key.as_ref().is_some_and(|key| ring.keys.iter().any(|known| known.key == *key));
        if !known {
            let found = key.as_ref().map_or("no key".to_owned(), name);
            report.findings.push(
                Finding::of_store(Code::KeyUnknown, path)
                    .expected("a key that an entry brought in")
                    .found(found),
            );
        }
    }
}
