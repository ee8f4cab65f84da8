//! The log's own check, and what it says of runs, keys and blobs.

use std::collections::{BTreeMap, HashMap};

use super::super::anchor::Roots;
use super::super::carry::Carried;
use super::super::keyring::is_key_entry;
use super::super::run_map::MapCheck;
use super::super::tiles::TileCheck;
use super::super::{LogView, Store, StoreError};
use crate::backend::Sound;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::batch::Batch;
use crate::format::entry::{Entry, EntryKind};
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::merkle;
use crate::plan::keys::KeyEvent;
use crate::plan::replay::Replay;
use crate::plan::times::Times;

/// The log's states and what is wrong with the log itself.
pub(super) struct LogFacts {
    pub view: LogView,
    /// Which entries are of which run.
    pub replay: Replay,
    /// For runs with an unsettled change: the states that may be seen, oldest first.
    pub unsettled: HashMap<RunKey, Vec<Option<Sha256>>>,
    /// Blobs that the entries name and that were not among the sound ones, each with the first entry
    /// that names it.
    pub unseen: BTreeMap<Sha256, u64>,
    pub findings: Vec<Finding>,
    /// Changes outside the store.
    pub carried: Carried,
    /// The entries about the log's keys.
    pub keys: Vec<KeyEvent>,
    pub root: Option<Sha256>,
    /// The root at each size asked for that the log reaches.
    pub roots: Roots,
    /// The entries' times; none for what is no entry.
    pub times: Times,
    /// The entries that note something, with the blob that says what.
    pub noted: Vec<(u64, Sha256)>,
}

impl Store {
    /// Replays the log and checks it against itself and the run map. With the sound blobs it also gives
    /// those that entries name and that are not among them.
    pub(super) fn log_facts(&self, wanted: &Roots, sound: Option<&Sound>) -> Result<LogFacts, StoreError> {
        let view = self.log()?;
        let mut facts = LogFacts {
            replay: Replay::new(self.tag_key()),
            unsettled: HashMap::new(),
            unseen: BTreeMap::new(),
            findings: Vec::new(),
            keys: Vec::new(),
            carried: Carried::default(),
            root: None,
            roots: wanted.clone(),
            times: Times::default(),
            noted: Vec::new(),
            view,
        };
        let mut tiles = TileCheck::begin();
        let mut map = MapCheck::default();
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
            let leaf = Sha256::from_bytes(*leaf.as_bytes());
            let taken = facts.replay.take(bytes, leaf, |at, leaf| self.entry_again(&view, at, leaf))?;
            facts.times.push(taken.as_ref().ok().map(|entry| entry.time));
            match taken {
                Ok(entry) => {
                    if let (EntryKind::Noted, Some(detail)) = (entry.kind, entry.detail) {
                        facts.noted.push((at, detail));
                    }
                    map.take(at, &entry, &mut facts.replay);
                    if is_key_entry(&entry) {
                        facts.keys.push(self.key_event(at, &entry)?);
                    }
                    facts.findings.extend(facts.carried.take(at, &entry));
                    if let Some(sound) = sound {
                        for blob in entry.blobs().filter(|blob| !sound.has(blob)) {
                            facts.unseen.entry(blob).or_insert(at);
                        }
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
        facts.findings.append(&mut map.finish(self, &head, settled_root.is_some() || head.size == 0)?);
        let root = settled_root.unwrap_or_else(|| Sha256::of(b""));
        if head.size > 0 && settled_root.is_none() {
            // A bundle could not be read: that finding is there already.
        } else if root != head.root {
            facts
                .findings
                .push(Finding::of_store(Code::RootMismatch, paths::HEAD).expected(head.root).found(root));
        } else if let Err(error) = super::super::bundles::tree_of(&head) {
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
        Ok(facts)
    }
}

fn batch_entries(batch: &Batch) -> impl Iterator<Item = Entry> + '_ {
    batch.entries.iter().filter_map(|bytes| Entry::parse(bytes).ok())
}
