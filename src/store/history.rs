//! What happened to a run: its entries, in order, with who and why.

use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::actor::{Actor, Reason};
use crate::format::entry::Entry;
use crate::format::paths;

/// One entry of a run.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// Its log index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Who, as declared; `None` when the record is gone.
    pub actor: Option<String>,
    /// Why, if said.
    pub reason: Option<String>,
}

/// A run's history.
#[derive(Debug, Clone)]
pub struct RunHistory {
    /// The run.
    pub key: RunKey,
    /// Its entries, oldest first.
    pub rows: Vec<HistoryRow>,
    /// The digest of the manifest as it lies now.
    pub on_disk: Option<Sha256>,
}

/// Fewest digits of a digest's beginning that a command takes.
const FEWEST_DIGITS: usize = 8;

impl Store {
    /// The entries of a run, oldest first, settled and unsettled.
    pub(super) fn chain(&self, key: &RunKey) -> Result<Vec<(u64, Entry)>, StoreError> {
        let index = self.index()?;
        let size = index.log_size()?;
        let view = self.log()?;
        let size = size.min(view.size());
        let mut chain = Vec::new();
        // Whoever comes first brings the index up: what it took in since it was asked for its size is
        // read from the log below.
        for at in index.entries_of_run(key)?.into_iter().filter(|at| *at < size) {
            chain.push((at, self.entry(&view, at)?));
        }
        self.each_entry(&view, size, &mut |at, bytes| {
            let entry = Entry::parse(bytes).map_err(StoreError::record(format!("log entry {at}")))?;
            if entry.run().as_ref() == Some(key) {
                chain.push((at, entry));
            }
            Ok(())
        })?;
        if chain.is_empty() { Err(StoreError::NoRun { name: key.to_string() }) } else { Ok(chain) }
    }

    /// A run's history.
    pub fn history(&self, key: &RunKey) -> Result<RunHistory, StoreError> {
        let mut rows = Vec::new();
        for (index, entry) in self.chain(key)? {
            let actor = self.blobs.get(&entry.actor)?.and_then(|bytes| Actor::parse(&bytes).ok());
            let reason = match &entry.reason {
                Some(digest) => self.blobs.get(digest)?.and_then(|bytes| Reason::parse(&bytes).ok()),
                None => None,
            };
            rows.push(HistoryRow {
                index,
                entry,
                actor: actor.map(|actor| actor.name),
                reason: reason.map(|reason| reason.text),
            });
        }
        Ok(RunHistory { key: key.clone(), rows, on_disk: self.manifest_digest(key)? })
    }

    /// The committed bytes of a run's manifest, whatever lies in the folder.
    pub fn manifest_bytes(&self, key: &RunKey) -> Result<Vec<u8>, StoreError> {
        let chain = self.chain(key)?;
        let (_, last) = chain.last().expect("a chain has at least one entry");
        let digest = last.after.expect("an entry of a run has a manifest");
        // The file itself is the quick way, and the only one needed when it is what was committed.
        if let Ok(Some(bytes)) = self.disk.read_opt(&paths::manifest(key), limits::JSON_BYTES as u64)
            && Sha256::of(&bytes) == digest
        {
            return Ok(bytes);
        }
        self.revision(&digest)
    }

    /// Finds a revision of a run by its digest or by the beginning of it; `sha256:` may be left out.
    pub fn find_revision(&self, key: &RunKey, text: &str) -> Result<Sha256, StoreError> {
        let digits = text.strip_prefix(Sha256::PREFIX).unwrap_or(text);
        let unclear =
            |why: String| StoreError::UnclearRevision { run: key.clone(), digest: text.to_owned(), why };
        if digits.len() < FEWEST_DIGITS {
            return Err(unclear(format!("at least {FEWEST_DIGITS} digits are needed")));
        }
        if digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(unclear("a digest is sha256: and lower-case hex digits".to_owned()));
        }
        let chain = self.chain(key)?;
        let mut found: Vec<Sha256> = chain
            .iter()
            .filter_map(|(_, entry)| entry.after)
            .filter(|digest| digest.hex().starts_with(digits))
            .collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(StoreError::NoRevision { run: key.clone(), digest: text.to_owned() }),
            more => Err(unclear(format!("{} revisions begin so", more.len()))),
        }
    }
}
