//! The rules for one run of a bundle: its entries proved and in a row, its manifests and files those
//! that the entries name.

use std::collections::BTreeMap;

use super::Checking;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::bundle;
use crate::format::entry::Entry;
use crate::format::file_list::{FileEntry, ListBlob, check_entries};
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::format::proof::LogProof;
use crate::format::run_proof::RunProof;
use crate::merkle::{self, Hash};
use crate::plan::replay::{self, RunState};

/// A run that a bundle holds.
#[derive(Debug, Clone)]
pub struct CheckedRun {
    /// Which.
    pub key: RunKey,
    /// How many entries it has here.
    pub entries: u64,
    /// How many revisions of its manifest.
    pub revisions: u64,
    /// How many files.
    pub files: u64,
    /// The log's first so many entries are proved to have no other entry of it.
    pub covers: u64,
    /// The time of its first entry.
    pub first: Moment,
    /// The time of its last.
    pub last: Moment,
    state: RunState,
}

impl CheckedRun {
    /// What a statement must say of it.
    pub(super) fn as_claimed(&self) -> (RunKey, u64, u64, Sha256, Sha256) {
        (self.key.clone(), self.entries, self.state.entry, self.state.manifest, self.state.files)
    }
}

impl Checking<'_> {
    fn find_in(
        &mut self,
        code: Code,
        key: &RunKey,
        path: &str,
        expected: impl ToString,
        found: impl ToString,
    ) {
        self.out.findings.push(Finding::of_run(code, key).at(path).expected(expected).found(found));
    }

    /// Checks one run; `None` when it has no beginning.
    pub(super) fn run(&mut self, key: &RunKey) -> Option<CheckedRun> {
        let mut state: Option<RunState> = None;
        let (mut first, mut last) = (None, Moment::from_millis(0));
        let mut revisions = std::collections::BTreeSet::new();
        let mut texts = Vec::new();
        for (seq, path) in self.entry_paths(key) {
            texts.extend(self.facts.texts.get(&path).cloned());
            let Some((index, entry, leaf)) = self.entry(key, seq, &path) else { continue };
            if state.as_ref().is_some_and(|state| state.entry >= index) {
                self.find_in(Code::RunNotWhole, key, &path, "a later place in the log", index);
            }
            match replay::step(state.as_ref(), index, &entry, leaf) {
                Ok(next) => state = Some(next),
                Err(error) => self.find_in(Code::RunNotWhole, key, &path, "the run's next entry", error),
            }
            first = first.or(Some(entry.time));
            last = entry.time;
            for digest in [entry.before, entry.after].into_iter().flatten() {
                if revisions.insert(digest) {
                    self.must_be(Code::RevisionWrong, &bundle::revision(key, &digest), &digest);
                }
            }
            for digest in entry.blobs() {
                if ![entry.before, entry.after, entry.files].contains(&Some(digest)) {
                    self.must_be(Code::RecordWrong, &bundle::record(&digest), &digest);
                }
            }
        }
        let (Some(state), Some(first)) = (state, first) else {
            self.find_in(Code::RunNotWhole, key, &bundle::entry(key, 1), "the run's first entry", "nothing");
            return None;
        };
        let current = bundle::run_file(key, paths::MANIFEST);
        self.must_be(Code::RevisionWrong, &current, &state.manifest);
        let files = self.files(key, &state.files);
        let covers = self.whole(key, &texts);
        let (entries, revisions) = (state.seq, revisions.len() as u64);
        Some(CheckedRun { key: key.clone(), entries, revisions, files, covers, first, last, state })
    }

    /// The places of a run's entries, in order. A name in any other form belongs to nothing.
    fn entry_paths(&self, key: &RunKey) -> BTreeMap<u64, String> {
        let folder = format!("{}entries/", bundle::run_dir(key));
        let seq = |path: &String| {
            let name = path.strip_prefix(&folder)?;
            let (digits, _) = name.split_once('.')?;
            digits.parse::<u64>().ok().filter(|seq| {
                let ours = [bundle::entry(key, *seq), bundle::proof(key, *seq)];
                ours.contains(path)
            })
        };
        let found = self.facts.files.keys().filter_map(seq);
        found.map(|seq| (seq, bundle::entry(key, seq))).collect()
    }

    /// One entry, proved to be in the checkpoint's tree: its index, itself and its leaf hash.
    fn entry(&mut self, key: &RunKey, seq: u64, path: &str) -> Option<(u64, Entry, Sha256)> {
        let proof_path = bundle::proof(key, seq);
        let bytes = self.text(Code::NotProved, path)?;
        let proof = self.text(Code::NotProved, &proof_path)?;
        let proof = match LogProof::parse(proof) {
            Ok(proof) => proof,
            Err(error) => {
                self.find_in(Code::NotProved, key, &proof_path, "a proof", error);
                return None;
            }
        };
        if proof.entry.as_deref() != Some(bytes) {
            self.find_in(Code::NotProved, key, path, "the entry that its proof is of", Sha256::of(bytes));
        }
        self.in_log(key, &proof_path, &proof);
        let entry = match Entry::parse(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.find_in(Code::NotProved, key, path, "an audit entry", error);
                return None;
            }
        };
        if entry.run().as_ref() != Some(key) || entry.run_seq != Some(seq) {
            let found = format!("{:?} of {:?}", entry.run_seq, entry.run().map(|run| run.to_string()));
            self.find_in(Code::RunNotWhole, key, path, format!("entry {seq} of {key}"), found);
        }
        Some((proof.index, entry, replay::leaf(bytes)))
    }

    /// A proof must be for the bundle's checkpoint, and hold.
    fn in_log(&mut self, key: &RunKey, path: &str, proof: &LogProof) {
        let Some((note, body)) = self.checkpoint.clone() else { return };
        if proof.checkpoint != note {
            let found = "a proof for another";
            self.find_in(Code::NotProved, key, path, "a proof for the bundle's checkpoint", found);
        }
        let leaf = merkle::leaf_hash(proof.entry.as_deref().unwrap_or_default());
        let root = Hash::from_bytes(body.root);
        let held = merkle::verify_inclusion(proof.index, body.size, &leaf, &proof.hashes, &root);
        if let Err(error) = held {
            self.find_in(Code::NotProved, key, path, "an entry of the log, at its place", error);
        }
    }

    /// The run map of the log must say that these entries are all that the run has; gives how far that
    /// reaches.
    fn whole(&mut self, key: &RunKey, entries: &[Vec<u8>]) -> u64 {
        let path = bundle::whole(key);
        let Some(bytes) = self.text(Code::RunNotWhole, &path) else { return 0 };
        let proof = match RunProof::parse(bytes) {
            Ok(proof) => proof,
            Err(error) => {
                self.find_in(Code::RunNotWhole, key, &path, "a run proof", error);
                return 0;
            }
        };
        self.in_log(key, &path, &proof.map);
        if let Err(error) = proof.check_content() {
            self.find_in(Code::RunNotWhole, key, &path, "a proof that the run is whole", error);
        }
        if proof.run != *key || proof.entries != entries {
            let found = format!("{} of {}", proof.entries.len(), proof.run);
            let expected = format!("the {} entries of {key}", entries.len());
            self.find_in(Code::RunNotWhole, key, &path, expected, found);
        }
        proof.map.index + 1
    }

    /// The run's files against the list that its entries name; gives how many there are.
    fn files(&mut self, key: &RunKey, digest: &Sha256) -> u64 {
        let place = bundle::file_list(key);
        self.must_be(Code::FilesWrong, &place, digest);
        let Some(entries) = self.file_list(key, &place) else { return 0 };
        let mut count = 0;
        for file in &entries {
            let Some(blob) = file.blob() else { continue };
            let path = bundle::run_file(key, file.path.as_str());
            self.known.insert(path.clone());
            count += 1;
            match self.facts.files.get(&path) {
                Some(found) if *found == blob => {}
                Some(found) => self.find_in(Code::FilesWrong, key, &path, blob.sha256, found.sha256),
                None => self.find_in(Code::FilesWrong, key, &path, blob.sha256, "nothing"),
            }
        }
        count
    }

    fn file_list(&mut self, key: &RunKey, place: &str) -> Option<Vec<FileEntry>> {
        let bytes = self.text(Code::FilesWrong, place)?;
        let parts = match ListBlob::parse(bytes) {
            Ok(ListBlob::Entries(entries)) => return Some(entries),
            Ok(ListBlob::Parts(parts)) => parts,
            Err(error) => {
                self.find_in(Code::FilesWrong, key, place, "a file list", error);
                return None;
            }
        };
        let mut entries = Vec::new();
        for part in parts {
            let place = bundle::file_list_part(key, &part.list);
            self.must_be(Code::FilesWrong, &place, &part.list);
            match self.text(Code::FilesWrong, &place).map(ListBlob::parse) {
                Some(Ok(ListBlob::Entries(more))) if entries.len() + more.len() <= limits::RUN_FILES => {
                    entries.extend(more);
                }
                _ => {
                    self.find_in(Code::FilesWrong, key, &place, "a part of a file list", "something else");
                    return None;
                }
            }
        }
        if let Err(error) = check_entries(&entries) {
            self.find_in(Code::FilesWrong, key, place, "a file list", error);
        }
        Some(entries)
    }
}
