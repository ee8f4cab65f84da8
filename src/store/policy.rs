//! Holding the log's checkpoints against a policy: who must have cosigned, and how lately
//! (`store-layout.md`, "Policy").

use std::collections::HashSet;

use super::anchor::{Roots, Voucher, mismatch};
use super::anchors::Kept;
use super::publish::Checkpoint;
use super::{Store, StoreError, VerifyOptions, VerifyReport};
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::format::policy::{Judged, Policy, staleness};
use crate::format::stamp::Stamp;
use crate::note::{MAX_NOTE_BYTES, VerifyingKey};
use crate::plan::keys::Keyring;
use crate::plan::times::{self, Outside, Times};

/// What the checker brings.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub policy: &'a Policy,
    pub pinned: &'a [VerifyingKey],
    /// How old the quorum's cosignatures may be, in milliseconds.
    pub fresh: Option<i64>,
}

impl Store {
    /// The largest checkpoint that the policy takes; without one, or with one that is not fresh, findings.
    pub(super) fn check_policy(
        &self,
        given: &Given<'_>,
        checkpoint: Option<&Checkpoint>,
        kept: &[Kept],
        roots: &Roots,
        ring: &Keyring,
        report: &mut VerifyReport,
    ) -> Option<Voucher> {
        let mut best: Option<(u64, Judged, String)> = None;
        let mut newest = "no checkpoint".to_owned();
        let kept = kept.iter().filter_map(|(place, kept)| Some((place.as_str(), kept.as_ref().ok()?)));
        for (place, known) in kept.chain(checkpoint.map(|known| (paths::CHECKPOINT, known))) {
            let size = known.body.size;
            let judged = match given.policy.judge(&known.note) {
                Ok(judged) => judged,
                Err(error) => {
                    report.findings.push(Finding::of_store(Code::AnchorMismatch, place).found(error));
                    continue;
                }
            };
            newest = match judged.by.is_empty() {
                true => format!("a checkpoint of {size} entries that none of them cosigned"),
                false => format!("a checkpoint of {size} entries cosigned by {judged}"),
            };
            let ours = known.body.origin == self.config().origin
                && mismatch(Code::AnchorMismatch, place, &known.body, roots, report.entries).is_none();
            let Ok(signer) = self.signer_of(known, given.pinned, ring) else { continue };
            let better =
                best.as_ref().is_none_or(|(than, before, _)| (size, judged.time) > (*than, before.time));
            if ours && let Some(time) = judged.time {
                report.bounds.by.push((size, Moment::from_seconds(time), judged.to_string()));
            }
            if ours && judged.met && better {
                best = Some((size, judged, signer));
            }
        }
        report.policy_holds = Some(best.is_some());
        if best.is_none() {
            let finding = Finding::of_store(Code::PolicyUnmet, paths::ANCHORS);
            report.findings.push(finding.expected(format!("{} to cosign", given.policy)).found(newest));
        }
        let time = best.as_ref().and_then(|(_, judged, _)| judged.time);
        let stale = given.fresh.and_then(|limit| staleness(time, limit, self.context.clock.now()));
        report.fresh = given.fresh.is_some() && stale.is_none();
        if let Some((expected, found)) = stale {
            let finding = Finding::of_store(Code::NotFresh, paths::ANCHORS);
            report.findings.push(finding.expected(expected).found(found));
        }
        let (size, judged, signer) = best?;
        let by = match judged.by.is_empty() {
            true => signer,
            false => format!("anchored by {judged}"),
        };
        Some(Voucher { size, anchored: true, by })
    }

    /// Entries' times against the anchors that the policy takes, and against one another.
    pub(super) fn check_times(
        &self,
        options: &VerifyOptions,
        times: &Times,
        noted: &[(u64, Sha256)],
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        // What the same bytes say again later says nothing more.
        let mut seen = HashSet::new();
        for (index, digest) in noted.iter().filter(|(_, digest)| seen.insert(*digest)) {
            // What is gone or damaged is a finding of the objects, and most notes are of other things.
            let small = self.blobs.find(digest)?.is_some_and(|id| id.bytes <= MAX_NOTE_BYTES as u64);
            let Some(bytes) = small.then(|| self.blobs.get(digest).ok().flatten()).flatten() else {
                continue;
            };
            if let Ok(stamp) = Stamp::parse(&bytes) {
                report.bounds.after.push((*index, stamp.time, format!("the time stamp in entry {index}")));
            }
            let (Some(policy), Ok(anchor)) = (&options.policy, Checkpoint::parse(&bytes, "")) else {
                continue;
            };
            let judged = policy.judge(&anchor.note).ok();
            if let Some((judged, time)) = judged.and_then(|judged| judged.time.map(|time| (judged, time))) {
                report.bounds.after.push((*index, Moment::from_seconds(time), judged.to_string()));
            }
        }
        for Outside { first, last, allowed, stated } in times::outside(times, &report.bounds) {
            let place = match first == last {
                true => format!("log entry {first}"),
                false => format!("log entries {first} to {last}"),
            };
            report.findings.push(Finding::of_store(Code::EntryTime, place).expected(allowed).found(stated));
        }
        for (index, before, now) in times::backwards(times) {
            let finding = Finding::of_store(Code::ClockBack, format!("log entry {index}"));
            report.findings.push(finding.expected(format!("not before {before}")).found(now));
        }
        Ok(())
    }
}
