//! Writing an evidence bundle (`store-layout.md`, "Evidence bundles").
//!
//! Everything comes from the log and the objects, hashed on the way; what lies in the runs' folders
//! is checked and told of, and has no part in it. The bundle is made under a temporary name beside its
//! target, flushed, and renamed: it is there whole or not at all.

mod pack;
mod target;

use std::collections::btree_map::Entry::Vacant;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::keyring::is_key_entry;
use super::publish::Checkpoint;
use super::{LogView, Signer, Store, StoreError, VerifyOptions};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::actor::{Actor, Reason};
use crate::format::bundle::dsse::{self, Envelope};
use crate::format::bundle::statement::{Claims, LogHead, RunClaim, Statement};
use crate::format::bundle::{self, Anchor, Contents, RunContents, Told, bag, guide, metadata, more, report};
use crate::format::entry::Entry;
use crate::format::file_list::ListBlob;
use crate::format::finding::Finding;
use crate::format::paths;
use crate::format::verification::Verification;
use crate::merkle;
use crate::note::{SigningKey, VerifyingKey};
use crate::plan::keys::Blob;
use target::Target;

/// What to bundle and where.
#[derive(Debug, Clone, Default)]
pub struct EvidenceOptions {
    /// The runs.
    pub runs: Vec<RunKey>,
    /// The folder to make.
    pub dir: Option<PathBuf>,
    /// The zip file to make.
    pub zip: Option<PathBuf>,
}

/// What was bundled.
#[derive(Debug, Clone)]
pub struct EvidenceReport {
    /// The size of the log at the bundle's checkpoint.
    pub size: u64,
    /// The root at that size.
    pub root: Sha256,
    /// Entries of the runs.
    pub entries: u64,
    /// Files in the bundle.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Who signed the statement: nobody when there was no key to sign it with.
    pub signed_by: Vec<String>,
    /// What was found wrong with the runs as they lie in the store.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Makes an evidence bundle of runs. With signers the checkpoint is published first and the
    /// statement signed; without any the bundle has the checkpoint that is there.
    pub fn evidence(
        &self,
        options: &EvidenceOptions,
        signers: &[Signer],
    ) -> Result<EvidenceReport, StoreError> {
        let checkpoint = match signers {
            [_, ..] => self.publish(signers)?,
            [] => self.checkpoint()?.ok_or(StoreError::NotPublished { index: 0, size: 0 })?,
        };
        let mut runs = options.runs.clone();
        runs.sort();
        runs.dedup();
        let checked = VerifyOptions { runs: runs.clone(), ..VerifyOptions::default() };
        let findings = self.verify(&checked)?.findings;
        let mut target = Target::begin(self, options)?;
        let made = Making { store: self, view: self.log()?, checkpoint, signers, findings }
            .fill(&mut target, &runs)
            .and_then(|made| target.publish().map(|()| made));
        if made.is_err() {
            target.abandon();
        }
        made
    }
}

/// A bundle in the making.
struct Making<'s> {
    store: &'s Store,
    view: LogView,
    checkpoint: Checkpoint,
    signers: &'s [Signer],
    findings: Vec<Finding>,
}

impl Making<'_> {
    fn fill(&self, target: &mut Target, runs: &[RunKey]) -> Result<EvidenceReport, StoreError> {
        target.put(bundle::CHECKPOINT, self.checkpoint.note.to_string().as_bytes())?;
        for key in self.keys()? {
            target.put(&bundle::key(&key), format!("{key}\n").as_bytes())?;
            target.put(&bundle::key_pem(&key), bundle::pem(&key).as_bytes())?;
        }
        self.key_entries(target)?;
        let body = &self.checkpoint.body;
        let log =
            LogHead { origin: body.origin.clone(), size: body.size, root: Sha256::from_bytes(body.root) };
        let signatures = self.checkpoint.note.signatures();
        let signers = signatures.iter().map(|line| format!("{}+{}", line.name, line.id)).collect();
        let mut contents = Contents { log, signers, anchors: Vec::new(), runs: Vec::new() };
        let mut claims = Vec::new();
        for (at, key) in runs.iter().enumerate() {
            self.store.context.progress.at(at as u64, runs.len() as u64);
            let run = self.run(key, target)?;
            claims.extend(claim(&run));
            contents.runs.push(run);
        }
        contents.anchors = self.anchors(&contents, target)?;
        let payload: Vec<(String, u64, String)> = target.listed().collect();
        target.put(bundle::METADATA, &metadata::print(&contents, &payload))?;
        let signed_by = self.tags(&contents, claims, target)?;
        Ok(EvidenceReport {
            size: contents.log.size,
            root: contents.log.root,
            entries: contents.runs.iter().map(|run| run.entries.len() as u64).sum(),
            files: target.count(),
            bytes: target.bytes(),
            signed_by,
            findings: self.findings.clone(),
        })
    }

    /// The keys that did sign the checkpoint, of those that are known here.
    fn keys(&self) -> Result<Vec<VerifyingKey>, StoreError> {
        let files = self.store.key_files()?;
        let mut keys: Vec<VerifyingKey> = files.into_iter().filter_map(|(_, key)| key).collect();
        keys.extend(self.signers.iter().map(|signer| signer.verifying_key().clone()));
        let mut signed: Vec<VerifyingKey> = self
            .checkpoint
            .note
            .verify(&keys)
            .map_or(Vec::new(), |found| found.into_iter().cloned().collect());
        signed.sort_by_key(ToString::to_string);
        signed.dedup();
        Ok(signed)
    }

    /// Where the log's keys changed, the entries that say so, for readers who pinned an earlier one.
    fn key_entries(&self, target: &mut Target) -> Result<(), StoreError> {
        let ring = self.store.keyring()?;
        if ring.keys.len() < 2 {
            return Ok(());
        }
        let size = self.checkpoint.body.size;
        for index in self.store.index()?.entries_of_keys()?.into_iter().filter(|index| *index < size) {
            let entry = self.store.entry(&self.view, index)?;
            if !is_key_entry(&entry) {
                continue;
            }
            let event = self.store.key_event(index, &entry)?;
            let proof = self.store.prove_in(&self.checkpoint, &self.view, index)?;
            target.put(&bundle::key_entry(index), proof.to_string().as_bytes())?;
            for (place, blob) in [
                (bundle::key_entry_key(index), event.key),
                (bundle::key_entry_statement(index), event.statement),
            ] {
                if let Blob::Bytes(bytes) = blob {
                    target.put(&place, &bytes)?;
                }
            }
        }
        Ok(())
    }

    /// For each entry the first checkpoint that covers it and that somebody signed who is not the log.
    fn anchors(&self, contents: &Contents, target: &mut Target) -> Result<Vec<Anchor>, StoreError> {
        let mut kept = BTreeMap::new();
        for (_, checkpoint) in self.store.kept_checkpoints()? {
            let Ok(Checkpoint { note, body, .. }) = checkpoint else { continue };
            let words = self.store.words_of(body.size, note.text())?;
            let told = words.iter().map(|word| (word.by.clone(), word.time)).collect();
            let anchor = Anchor::of(&contents.log.origin, body.size, &note, told);
            if let Some(anchor) = anchor.filter(|anchor| anchor.size <= contents.log.size) {
                kept.insert(body.size, (note, anchor, words));
            }
        }
        let entries = contents.runs.iter().flat_map(|run| &run.entries);
        let covers = |told: &Told| kept.range(told.index + 1..).next().map(|(size, _)| *size);
        let sizes: BTreeSet<u64> = entries.filter_map(covers).collect();
        let mut anchors = Vec::new();
        for size in sizes {
            let Some((note, anchor, words)) = kept.remove(&size) else { continue };
            let reader = self.store.hash_reader(&self.view);
            let proof = merkle::prove_consistency(size, contents.log.size, &reader).map_err(|error| {
                StoreError::LogDamaged { place: "audit/tile".to_owned(), why: error.to_string() }
            })?;
            let lines: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
            target.put(&bundle::anchor(size), note.to_string().as_bytes())?;
            for word in words {
                target.put(&bundle::anchor_word(size, &word.bytes, word.ending), &word.bytes)?;
            }
            target.put(&bundle::anchor_proof(size), lines.as_bytes())?;
            anchors.push(anchor);
        }
        Ok(anchors)
    }

    /// Everything of one run.
    fn run(&self, key: &RunKey, target: &mut Target) -> Result<RunContents, StoreError> {
        let chain = self.store.chain(key)?;
        let mut entries = Vec::new();
        let mut revisions = BTreeMap::new();
        let mut lists = BTreeSet::new();
        for (index, entry) in chain {
            let proof = self.store.prove_in(&self.checkpoint, &self.view, index)?;
            let seq = entry.run_seq.unwrap_or(0);
            let bytes = proof.entry.as_deref().unwrap_or_default();
            target.put(&bundle::entry(key, seq), bytes)?;
            target.put(&bundle::proof(key, seq), proof.to_string().as_bytes())?;
            for digest in [entry.before, entry.after].into_iter().flatten() {
                if let Vacant(place) = revisions.entry(digest) {
                    let bytes = self.store.revision(&digest)?;
                    target.put(&bundle::revision(key, &digest), &bytes)?;
                    place.insert(bytes);
                }
            }
            lists.extend(entry.files);
            entries.push(self.told(index, entry, target)?);
        }
        let whole = self.store.prove_run_in(&self.checkpoint, &self.view, key)?;
        target.put(&bundle::whole(key), whole.to_string().as_bytes())?;
        let covers = whole.map.index + 1;
        let mut files = Vec::new();
        for list in lists {
            self.list(key, &list, target)?;
            files = self.store.file_list(&list)?;
        }
        for file in &files {
            if let Some(blob) = file.blob() {
                target.put_blob(&bundle::run_file(key, file.path.as_str()), &blob, &self.store.blobs)?;
            }
        }
        let findings = self.findings.iter().filter(|finding| finding.run.as_ref() == Some(key)).cloned();
        let (key_of, findings) = (key.clone(), findings.collect());
        let run = RunContents { key: key_of, entries, revisions, covers, files, findings };
        let manifest = run.manifest().expect("the newest entry's revision was read above");
        target.put(&bundle::run_file(key, paths::MANIFEST), manifest)?;
        Ok(run)
    }

    /// The blobs that an entry names, and the two of them that people read.
    fn told(&self, index: u64, entry: Entry, target: &mut Target) -> Result<Told, StoreError> {
        let mut named: Vec<Sha256> = entry.blobs().collect();
        named.retain(|digest| ![entry.before, entry.after, entry.files].contains(&Some(*digest)));
        let mut read = BTreeMap::new();
        for digest in named {
            let missing = StoreError::BlobMissing { what: "record", digest };
            let bytes = self.store.blobs.get(&digest)?.ok_or(missing)?;
            if !target.has(&bundle::record(&digest)) {
                target.put(&bundle::record(&digest), &bytes)?;
            }
            read.insert(digest, bytes);
        }
        let actor = Actor::parse(&read[&entry.actor])
            .map_err(StoreError::record(format!("the actor {}", entry.actor)))?
            .name;
        let reason = match &entry.reason {
            None => None,
            Some(digest) => {
                let record = StoreError::record(format!("the reason {digest}"));
                Some(Reason::parse(&read[digest]).map_err(record)?.text)
            }
        };
        let more = more::lines(&entry, &read);
        Ok(Told { index, entry, actor, reason, more })
    }

    /// A file list and its parts, as they are kept.
    fn list(&self, key: &RunKey, digest: &Sha256, target: &mut Target) -> Result<(), StoreError> {
        let missing = |digest: Sha256| StoreError::BlobMissing { what: "file list", digest };
        let bytes = self.store.blobs.get(digest)?.ok_or(missing(*digest))?;
        target.put(&bundle::file_list(key), &bytes)?;
        let list = ListBlob::parse(&bytes).map_err(StoreError::record(format!("file list {digest}")))?;
        if let ListBlob::Parts(parts) = list {
            for part in parts {
                let bytes = self.store.blobs.get(&part.list)?.ok_or(missing(part.list))?;
                target.put(&bundle::file_list_part(key, &part.list), &bytes)?;
            }
        }
        Ok(())
    }

    /// Everything beside the payload; gives who signed the statement.
    fn tags(
        &self,
        contents: &Contents,
        runs: Vec<RunClaim>,
        target: &mut Target,
    ) -> Result<Vec<String>, StoreError> {
        let names: Vec<String> = contents.runs.iter().map(|run| run.key.to_string()).collect();
        let (bytes, files) = (target.bytes(), target.count());
        let newest = contents.newest();
        let date = newest.split('T').next().unwrap_or_default();
        let about = format!("Evidence of {}, from the log {}", names.join(", "), contents.log.origin);
        let manifest = bag::print(target.digests());
        let odd = target.digests().keys().any(|path| bag::encode_path(path) != *path);
        target.put(bundle::BAGIT, bag::DECLARATION.as_bytes())?;
        target.put(bundle::BAG_INFO, bag::info(&about, bytes, files, date).as_bytes())?;
        target.put(bundle::MANIFEST, manifest.as_bytes())?;
        target.put(bundle::REPORT, report::print(contents).as_bytes())?;
        target.put(bundle::GUIDE, guide::print(&contents.log.origin, odd).as_bytes())?;
        let subjects = target.digests().iter().map(|(path, digest)| (path, *digest));
        let claims = Claims { log: contents.log.clone(), runs };
        let statement = Statement::new(subjects, claims).to_bytes();
        if !self.signers.iter().any(|signer| signer.verifying_key().vouches()) {
            target.put(bundle::STATEMENT, &statement)?;
        } else {
            let keys: Vec<&SigningKey> = self.signers.iter().map(Signer::key).collect();
            target.put(bundle::ENVELOPE, &Envelope::sign(dsse::IN_TOTO, statement, &keys).to_bytes())?;
        }
        let mut tags = target.digests().clone();
        tags.retain(|path, _| !path.starts_with(bundle::PAYLOAD));
        target.put(bundle::TAG_MANIFEST, bag::print(&tags).as_bytes())?;
        let stated = self.signers.iter().map(Signer::verifying_key).filter(|key| key.vouches());
        Ok(stated.map(dsse::key_id).collect())
    }
}

fn claim(run: &RunContents) -> Option<RunClaim> {
    let last = run.entries.last()?;
    Some(RunClaim {
        job_id: run.key.job.clone(),
        run_id: run.key.run.clone(),
        entries: run.entries.len() as u64,
        last: last.index,
        manifest: last.entry.after?,
        files: last.entry.files?,
        findings: Verification::tally(&run.findings),
    })
}
