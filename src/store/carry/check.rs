//! What `verify` says of changes outside the store: whether each intent has its one outcome, and
//! whether everything that is needed to take a change back is still in the objects.

use std::collections::BTreeSet;

use crate::base::digest::Sha256;
use crate::format::entry::{Entry, EntryKind};
use crate::format::finding::{Code, Finding};
use crate::store::{Store, StoreError};

/// The intents of a log, as its entries go by.
#[derive(Default)]
pub(in crate::store) struct Carried {
    all: Vec<u64>,
    open: BTreeSet<u64>,
}

impl Carried {
    /// Takes in an entry; an outcome that ends no open intent is a finding.
    pub fn take(&mut self, at: u64, entry: &Entry) -> Option<Finding> {
        match entry.kind {
            EntryKind::Intent => {
                self.all.push(at);
                self.open.insert(at);
                None
            }
            EntryKind::Outcome => {
                let of = entry.of?;
                (!self.open.remove(&of)).then(|| {
                    let finding = Finding::of_store(Code::OutcomeStray, format!("log entry {at}"));
                    finding.expected("an intent without an outcome").found(format!("entry {of}"))
                })
            }
            _ => None,
        }
    }
}

impl Store {
    /// Checks what the intents rest on.
    pub(in crate::store) fn check_carried(
        &self,
        carried: &Carried,
        findings: &mut Vec<Finding>,
    ) -> Result<(), StoreError> {
        let missing = |at: u64, what: &str, digest: Sha256| {
            let place = format!("log entry {at}, {what}");
            Finding::of_store(Code::BlobMissing, place).expected(digest).found("nothing")
        };
        for at in &carried.all {
            // Records that are gone are found by their digests in the entry.
            let intent = match self.intent(*at) {
                Ok(intent) => intent,
                Err(StoreError::BlobMissing { .. }) => continue,
                Err(error) => {
                    let place = format!("log entry {at}");
                    findings.push(Finding::of_store(Code::IntentBad, place).found(error));
                    continue;
                }
            };
            for blob in intent.plan.kept() {
                if !self.blobs.contains(&blob)? {
                    findings.push(missing(*at, "the bytes before", blob.sha256));
                }
            }
            for digest in intent.plan.preserved() {
                if self.blobs.find(&digest)?.is_none() {
                    findings.push(missing(*at, "the values that left a document", digest));
                }
            }
        }
        for at in &carried.open {
            findings.push(Finding::of_store(Code::IntentOpen, format!("log entry {at}")));
        }
        Ok(())
    }
}
