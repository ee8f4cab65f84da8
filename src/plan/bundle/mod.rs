//! The rules for an evidence bundle (`store-layout.md`, "Evidence bundles"): facts in, findings out.
//! The bundle and the keys that the reader pinned are all there is: no store.
//!
//! Nothing is taken from the bundle that a rule before it did not check, and a file that no rule
//! asked for is a finding. Every rule gives all its findings.

mod anchors;
mod keys;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::digest::{BlobId, Sha256};
use crate::base::id::RunKey;
use crate::format::bundle::bag::{self, Manifest};
use crate::format::bundle::dsse::{self, Envelope};
use crate::format::bundle::statement::{Claims, LogHead, Statement};
use crate::format::bundle::{self};
use crate::format::finding::{Code, Finding};
use crate::format::policy::Policy;
use crate::format::proof::LogProof;
use crate::merkle::{self, Hash};
use crate::note::{AllowedSigners, CheckpointBody, NoteError, SignedNote, VerifyingKey};
pub use anchors::judge_word;
pub use run::CheckedRun;

/// What lies in a bundle.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its regular files, hashed.
    pub files: BTreeMap<String, BlobId>,
    /// The bytes of the files that [`is_read`] names.
    pub texts: BTreeMap<String, Vec<u8>>,
    /// What is neither a file nor a folder, or has no name in UTF-8: place and what it is.
    pub odd: Vec<(String, String)>,
}

/// What a check came to.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The log that the bundle is from.
    pub log: Option<LogHead>,
    /// Who signed the checkpoint: pinned keys, or without any those in the bundle.
    pub signers: Vec<String>,
    /// Who signed the statement.
    pub stated_by: Vec<String>,
    /// How many of the log's first entries the policy's witnesses cosigned, and who did.
    pub anchored: Option<(u64, String)>,
    /// What others said of the log with tools of their own: of how many of its first entries, and who.
    pub words: Vec<(u64, String)>,
    /// Whether the signers are keys that the reader pinned.
    pub established: bool,
    /// The runs.
    pub runs: Vec<CheckedRun>,
}

/// Whether the rules look into a file; of all others its digests are enough.
pub fn is_read(path: &str) -> bool {
    let tags = [bundle::BAGIT, bundle::BAG_INFO, bundle::MANIFEST, bundle::TAG_MANIFEST];
    let signed = [bundle::ENVELOPE, bundle::STATEMENT, bundle::CHECKPOINT];
    if tags.contains(&path)
        || signed.contains(&path)
        || path.starts_with(bundle::KEYS)
        || path.starts_with(bundle::KEY_ENTRIES)
        || path.starts_with(bundle::ANCHORS)
    {
        return true;
    }
    let Some((_, inner)) = run_of(path) else { return false };
    inner.starts_with("entries/") || inner.starts_with("file-list") || inner == "whole.run-proof"
}

/// The run that a payload file belongs to, and its path in that run's folder.
fn run_of(path: &str) -> Option<(RunKey, &str)> {
    let mut parts = path.strip_prefix(bundle::RUNS)?.splitn(3, '/');
    let (job, run, inner) = (parts.next()?, parts.next()?, parts.next()?);
    Some((RunKey { job: job.parse().ok()?, run: run.parse().ok()? }, inner))
}

/// Checks a bundle for a reader who trusts these keys; without any, only that it fits together. With a
/// policy, as many of its witnesses as it takes must have cosigned the log. Allowed signers say whose the keys
/// of SSH signatures are.
pub fn check(
    facts: &Facts,
    pinned: &[VerifyingKey],
    policy: Option<&Policy>,
    signers: Option<&AllowedSigners>,
) -> Checked {
    let mut checking = Checking {
        facts,
        pinned,
        known: BTreeSet::new(),
        keys: Vec::new(),
        checkpoint: None,
        out: Checked::default(),
    };
    checking.bag();
    checking.signed_head();
    checking.anchors(policy, signers);
    checking.runs();
    checking.statement();
    checking.strangers();
    let mut out = checking.out;
    out.findings.sort_by(|a, b| (a.code, &a.run, &a.path).cmp(&(b.code, &b.run, &b.path)));
    out.findings.dedup();
    out
}

/// Whether a proof is for this checkpoint and leads to its root.
fn proved(proof: &LogProof, note: &SignedNote, body: &CheckpointBody) -> Result<(), String> {
    if proof.checkpoint != *note {
        return Err("a proof for another checkpoint".to_owned());
    }
    let leaf = merkle::leaf_hash(proof.entry.as_deref().unwrap_or_default());
    let root = Hash::from_bytes(body.root);
    merkle::verify_inclusion(proof.index, body.size, &leaf, &proof.hashes, &root)
        .map_err(|error| error.to_string())
}

/// A check under way.
struct Checking<'f> {
    facts: &'f Facts,
    pinned: &'f [VerifyingKey],
    /// Files that some rule asked for.
    known: BTreeSet<String>,
    /// Keys whose signatures count.
    keys: Vec<VerifyingKey>,
    checkpoint: Option<(SignedNote, CheckpointBody)>,
    out: Checked,
}

impl<'f> Checking<'f> {
    fn find(&mut self, code: Code, path: &str, expected: impl ToString, found: impl ToString) {
        self.out.findings.push(Finding::of_store(code, path).expected(expected).found(found));
    }

    /// A file's bytes; that it is missing is a finding of the given code.
    fn text(&mut self, code: Code, path: &str) -> Option<&'f [u8]> {
        self.known.insert(path.to_owned());
        let text = self.facts.texts.get(path).map(Vec::as_slice);
        if text.is_none() {
            self.find(code, path, "a file", "nothing");
        }
        text
    }

    /// A file must have this digest.
    fn must_be(&mut self, code: Code, path: &str, digest: &Sha256) {
        self.known.insert(path.to_owned());
        match self.facts.files.get(path) {
            Some(blob) if blob.sha256 == *digest => {}
            Some(blob) => self.find(code, path, digest, blob.sha256),
            None => self.find(code, path, digest, "nothing"),
        }
    }

    /// The bag: declared, complete, every file as its manifest says and none beside.
    fn bag(&mut self) {
        if let Some(text) = self.text(Code::BagForm, bundle::BAGIT)
            && text != bag::DECLARATION.as_bytes()
        {
            let found = String::from_utf8_lossy(text).into_owned();
            self.find(Code::BagForm, bundle::BAGIT, bag::DECLARATION.trim_end(), found);
        }
        let is_payload = |path: &str| path.starts_with(bundle::PAYLOAD);
        self.manifest(bundle::MANIFEST, &is_payload);
        self.manifest(bundle::TAG_MANIFEST, &|path| path != bundle::TAG_MANIFEST && !is_payload(path));
        let payload = self.facts.files.iter().filter(|(path, _)| is_payload(path));
        let (files, bytes) =
            payload.fold((0, 0), |(files, bytes), (_, blob)| (files + 1, bytes + blob.bytes));
        let oxum = format!("Payload-Oxum: {bytes}.{files}");
        if let Some(info) = self.text(Code::BagForm, bundle::BAG_INFO)
            && !String::from_utf8_lossy(info).lines().any(|line| line == oxum)
        {
            self.find(Code::BagForm, bundle::BAG_INFO, oxum, "another size or none");
        }
        for (path, what) in &self.facts.odd {
            self.find(Code::BagExtra, path, "a regular file", what);
        }
    }

    fn manifest(&mut self, name: &str, covers: &dyn Fn(&str) -> bool) {
        let Some(text) = self.text(Code::BagForm, name) else { return };
        let manifest = match bag::parse(text) {
            Ok(manifest) => manifest,
            Err(error) => return self.find(Code::BagForm, name, "a BagIt manifest", error),
        };
        for (path, digest) in &manifest {
            if !covers(path) {
                self.find(Code::BagForm, name, "paths of this manifest's part of the bag", path);
                continue;
            }
            match self.facts.files.get(path) {
                Some(blob) if blob.sha256 == *digest => {}
                Some(blob) => self.find(Code::BagFile, path, digest, blob.sha256),
                None => self.find(Code::BagFile, path, digest, "nothing"),
            }
        }
        self.not_listed(&manifest, covers);
    }

    fn not_listed(&mut self, manifest: &Manifest, covers: &dyn Fn(&str) -> bool) {
        let extra = self.facts.files.iter().filter(|(path, _)| covers(path) && !manifest.contains_key(*path));
        for (path, blob) in extra.collect::<Vec<_>>() {
            self.find(Code::BagExtra, path, "a line in the bag's manifest", blob.sha256);
        }
    }

    /// The checkpoint and who signed it. A key speaks for the log of its own name only.
    fn signed_head(&mut self) {
        let own = self.own_keys();
        let place = bundle::CHECKPOINT;
        let Some(text) = self.text(Code::BundleCheckpoint, place) else { return };
        let note = match SignedNote::parse(text) {
            Ok(note) => note,
            Err(error) => return self.find(Code::BundleCheckpoint, place, "a signed note", error),
        };
        let body: CheckpointBody = match note.text().parse() {
            Ok(body) => body,
            Err(error) => return self.find(Code::BundleCheckpoint, place, "a checkpoint", error),
        };
        self.out.established = !self.pinned.is_empty();
        let keys = if self.out.established { self.pinned } else { &own[..] };
        self.keys = self.counting(keys, &note, &body);
        let names = |keys: Vec<&VerifyingKey>| keys.into_iter().map(dsse::key_id).collect::<Vec<_>>();
        match note.verify(&self.keys).map(names) {
            Ok(signers) => self.out.signers = signers,
            Err(NoteError::Unknown) => {
                let expected = match self.out.established {
                    true => "the signature of a key given with --key",
                    false => "the signature of a key that lies in the bundle",
                };
                let found: Vec<String> =
                    note.signatures().iter().map(|line| format!("{}+{}", line.name, line.id)).collect();
                self.find(Code::BundleCheckpoint, place, expected, format!("signed by {}", found.join(", ")));
            }
            Err(error) => self.find(Code::BundleCheckpoint, place, "a good signature", error),
        }
        if !self.out.established {
            let finding = Finding::of_store(Code::SignerUnknown, place);
            self.out.findings.push(finding.found("signature consistent, signer not established"));
        }
        let root = Sha256::from_bytes(body.root);
        self.out.log = Some(LogHead { origin: body.origin.clone(), size: body.size, root });
        self.checkpoint = Some((note, body));
    }

    /// The keys that lie in the bundle, each in both its forms.
    fn own_keys(&mut self) -> Vec<VerifyingKey> {
        let mut keys = Vec::new();
        let listed: Vec<(&String, &Vec<u8>)> =
            self.facts.texts.iter().filter(|(path, _)| path.starts_with(bundle::KEYS)).collect();
        for (path, text) in &listed {
            let key = std::str::from_utf8(text).ok().and_then(|text| text.trim_end().parse().ok());
            let Some(key) = key.filter(|key| bundle::key(key) == **path) else { continue };
            let pem = bundle::key_pem(&key);
            if self.facts.texts.get(&pem).is_some_and(|text| text == bundle::pem(&key).as_bytes()) {
                self.known.insert(pem);
            }
            self.known.insert((*path).clone());
            keys.push(key);
        }
        keys
    }

    fn runs(&mut self) {
        let payload = self.facts.files.keys().filter(|path| path.starts_with(bundle::RUNS));
        let keys: BTreeSet<RunKey> = payload.filter_map(|path| run_of(path)).map(|(key, _)| key).collect();
        for key in keys {
            let run = self.run(&key);
            self.out.runs.extend(run);
        }
    }

    /// The statement: signed, about exactly these files, and saying of the runs what they are.
    fn statement(&mut self) {
        let signed = self.facts.files.contains_key(bundle::ENVELOPE);
        let place = if signed { bundle::ENVELOPE } else { bundle::STATEMENT };
        let Some(text) = self.text(Code::StatementBad, place) else { return };
        let payload = if signed {
            match self.opened(text) {
                Some(payload) => payload,
                None => return,
            }
        } else {
            // Without a signature anybody could have made it, and left out what they liked.
            let code = if self.out.established { Code::StatementBad } else { Code::SignerUnknown };
            self.find(code, place, "a signature", "none");
            text.to_vec()
        };
        let statement = match Statement::parse(&payload) {
            Ok(statement) => statement,
            Err(error) => return self.find(Code::StatementBad, place, "an in-toto statement", error),
        };
        self.known.insert(bundle::METADATA.to_owned());
        self.known.insert(bundle::REPORT.to_owned());
        self.known.insert(bundle::GUIDE.to_owned());
        self.subjects(place, &statement);
        self.claims(place, &statement.predicate);
    }

    fn opened(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let place = bundle::ENVELOPE;
        let envelope = match Envelope::parse(text) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.find(Code::StatementBad, place, "a DSSE envelope", error);
                return None;
            }
        };
        if envelope.payload_type != dsse::IN_TOTO {
            self.find(Code::StatementBad, place, dsse::IN_TOTO, &envelope.payload_type);
        }
        match envelope.verify(&self.keys).map(|keys| keys.into_iter().map(dsse::key_id).collect()) {
            Ok(signers) => self.out.stated_by = signers,
            Err(error) => self.find(Code::StatementBad, place, "the signature of the log's key", error),
        }
        Some(envelope.payload)
    }

    fn subjects(&mut self, place: &str, statement: &Statement) {
        let mut stated = BTreeMap::new();
        for subject in &statement.subject {
            if stated.insert(subject.name.as_str(), subject.digest.sha256.as_str()).is_some() {
                self.find(Code::StatementBad, place, "each file once", &subject.name);
            }
        }
        let left_out = [bundle::ENVELOPE, bundle::STATEMENT, bundle::TAG_MANIFEST];
        for (path, blob) in &self.facts.files {
            match stated.remove(path.as_str()) {
                None if left_out.contains(&path.as_str()) => {}
                None => self.find(Code::StatementBad, path, "a subject of the statement", "not stated"),
                Some(hex) if hex == blob.sha256.hex() => {}
                Some(hex) => {
                    self.find(Code::StatementBad, path, format!("sha256:{hex}, as stated"), blob.sha256);
                }
            }
        }
        for (path, hex) in stated {
            self.find(Code::StatementBad, path, format!("sha256:{hex}, as stated"), "nothing");
        }
    }

    fn claims(&mut self, place: &str, claims: &Claims) {
        if self.out.log.as_ref() != Some(&claims.log) {
            let stated = format!("{} at {} entries", claims.log.root, claims.log.size);
            self.find(Code::StatementBad, place, stated, "another checkpoint");
        }
        let found: Vec<_> = self.out.runs.iter().map(CheckedRun::as_claimed).collect();
        let stated: Vec<_> = claims
            .runs
            .iter()
            .map(|run| {
                let key = RunKey { job: run.job_id.clone(), run: run.run_id.clone() };
                (key, run.entries, run.last, run.manifest, run.files)
            })
            .collect();
        if found != stated {
            let count = |runs: &[(RunKey, u64, u64, Sha256, Sha256)]| {
                let run = |run: &(RunKey, u64, u64, _, _)| format!("{} with {} entries", run.0, run.1);
                runs.iter().map(run).collect::<Vec<_>>().join(", ")
            };
            self.find(Code::RunNotWhole, place, count(&stated), count(&found));
        }
    }

    /// Files that no rule asked for.
    fn strangers(&mut self) {
        let strange = |path: &&String| path.starts_with(bundle::PAYLOAD) && !self.known.contains(*path);
        let strange: Vec<&String> = self.facts.files.keys().filter(strange).collect();
        // With no statement to read, only the three files that it alone speaks for are left.
        for path in strange.into_iter().filter(|path| *path != bundle::METADATA) {
            self.find(Code::BagExtra, path, "a file that an entry names", "one that none does");
        }
        let tags: [&str; 8] = [
            bundle::BAGIT,
            bundle::BAG_INFO,
            bundle::MANIFEST,
            bundle::TAG_MANIFEST,
            bundle::REPORT,
            bundle::GUIDE,
            bundle::ENVELOPE,
            bundle::STATEMENT,
        ];
        let both =
            [bundle::ENVELOPE, bundle::STATEMENT].iter().all(|path| self.facts.files.contains_key(*path));
        let beside = |path: &&String| {
            let tag = tags.contains(&path.as_str()) && !(both && *path == bundle::STATEMENT);
            !path.starts_with(bundle::PAYLOAD) && !tag
        };
        for path in self.facts.files.keys().filter(beside).collect::<Vec<_>>() {
            self.find(Code::BagExtra, path, "nothing", "a file that does not belong to a bundle");
        }
    }
}
