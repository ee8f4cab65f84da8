//! Holding the log's checkpoints against a policy: who must have cosigned, and how lately
//! (`store-layout.md`, "Policy").

use super::Store;
use super::anchor::{Roots, Voucher, mismatch};
use super::anchors::Kept;
use super::publish::Checkpoint;
use super::verify::VerifyReport;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::format::policy::{Judged, Policy, staleness};
use crate::note::VerifyingKey;
use crate::plan::keys::Keyring;

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
        if let Some((expected, found)) = stale {
            let finding = Finding::of_store(Code::NotFresh, paths::ANCHORS);
            report.findings.push(finding.expected(expected).found(found));
        }
        let (size, judged, signer) = best?;
        report.cosigned = given.policy.asks_witnesses();
        let by = match judged.by.is_empty() {
            true => signer,
            false => format!("anchored by {judged}"),
        };
        Some(Voucher { size, anchored: true, by })
    }
}
