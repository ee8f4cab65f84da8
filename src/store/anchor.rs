//! Holding the log against checkpoints: the one on the disk and one kept elsewhere.
//!
//! Only keys that the caller pins say who signed. Keys found in the store show at most that the
//! signature is consistent.

use std::collections::BTreeMap;

use super::publish::Checkpoint;
use super::{Store, StoreError, VerifyOptions, VerifyReport};
use crate::base::digest::Sha256;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::note::{NoteError, VerifyingKey};

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

    /// Checks both checkpoints against the roots, and says which part of the log each vouches for.
    pub(super) fn check_anchors(
        &self,
        options: &VerifyOptions,
        checkpoint: Option<&Checkpoint>,
        roots: &Roots,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let own = self.own_keys()?;
        let mut covered = 0;
        let since = options.since.as_ref().map(|since| (since, "the checkpoint given", Code::SinceMismatch));
        let ours = checkpoint.map(|ours| (ours, paths::CHECKPOINT, Code::CheckpointMismatch));
        for (checkpoint, place, mismatch) in since.into_iter().chain(ours) {
            let kept_elsewhere = mismatch == Code::SinceMismatch;
            let mut sound = true;
            if checkpoint.body.origin != self.config.origin {
                let finding = Finding::of_store(Code::CheckpointBad, place);
                let finding = finding.expected(&self.config.origin).found(&checkpoint.body.origin);
                report.findings.push(finding);
                sound = false;
            }
            let signer = match self.signer_of(checkpoint, &options.keys, &own) {
                Ok(signer) => signer,
                Err(why) => {
                    let expected =
                        if options.keys.is_empty() { "a signature" } else { "a pinned key's signature" };
                    let finding = Finding::of_store(Code::CheckpointBad, place);
                    report.findings.push(finding.expected(expected).found(why));
                    sound = false;
                    String::new()
                }
            };
            let signed = Sha256::from_bytes(checkpoint.body.root);
            let size = checkpoint.body.size;
            let found = if size == 0 { Some(Sha256::of(b"")) } else { roots.get(&size).copied().flatten() };
            if found != Some(signed) {
                let log = match found {
                    Some(root) => format!("root {root}"),
                    None => format!("a log of {} entries", report.entries),
                };
                let finding = Finding::of_store(mismatch, place);
                report.findings.push(finding.expected(format!("root {signed} at {size} entries")).found(log));
                sound = false;
            }
            let pinned = !options.keys.is_empty();
            if kept_elsewhere {
                report.since_holds = Some(sound);
            } else {
                report.signed = sound && pinned;
            }
            if sound && size > covered {
                let by = match kept_elsewhere {
                    true => format!("anchored by the checkpoint given, {signer}"),
                    false => signer,
                };
                let anchored = pinned || kept_elsewhere;
                report.intervals.push(Interval { from: covered, to: size, anchored, by });
                covered = size;
            }
        }
        if covered < report.entries {
            let by = "consistent, not anchored".to_owned();
            report.intervals.push(Interval { from: covered, to: report.entries, anchored: false, by });
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
    fn signer_of(
        &self,
        checkpoint: &Checkpoint,
        pinned: &[VerifyingKey],
        own: &[VerifyingKey],
    ) -> Result<String, String> {
        let named = |keys: &[VerifyingKey]| -> Vec<VerifyingKey> {
            keys.iter().filter(|key| key.name().as_str() == self.config.origin).cloned().collect()
        };
        if pinned.is_empty() {
            return match checkpoint.note.verify(&named(own)) {
                Ok(_) => Ok("signature consistent, signer not established".to_owned()),
                Err(NoteError::Unknown) => Ok("signer not known, signature not checked".to_owned()),
                Err(error) => Err(error.to_string()),
            };
        }
        let keys = named(pinned);
        let signers = checkpoint.note.verify(&keys).map_err(|error| error.to_string())?;
        let names: Vec<String> = signers.iter().map(|key| format!("{}+{}", key.name(), key.id())).collect();
        Ok(format!("signed by {}", names.join(", ")))
    }
}
