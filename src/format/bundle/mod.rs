//! Evidence bundles: what lies where in one (`store-layout.md`, "Evidence bundles").
//!
//! A bundle is a BagIt bag whose payload is an RO-Crate. Everything in it follows from the store's
//! log at one checkpoint; no clock is asked, so the same store gives the same bundle.

pub mod bag;
pub mod dsse;
pub mod guide;
pub mod metadata;
pub mod more;
pub mod report;
pub mod statement;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::entry::Entry;
use super::file_list::FileEntry;
use super::finding::Finding;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::note::{NoteSignature, SignedNote, VerifyingKey};

/// What a bundle tells, from which its texts are made.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The log that it is from.
    pub log: statement::LogHead,
    /// Who signed the checkpoint, as its note says: name and key id.
    pub signers: Vec<String>,
    /// What others said of the log, by size.
    pub anchors: Vec<Anchor>,
    /// The runs, sorted.
    pub runs: Vec<RunContents>,
}

/// What others said of the log's first so many entries.
#[derive(Debug, Clone)]
pub struct Anchor {
    /// How many entries.
    pub size: u64,
    /// Who, and when where it says so.
    pub by: Vec<(String, Option<Moment>)>,
}

impl Anchor {
    /// What the cosignatures on a checkpoint of this log say, beside words of others; nothing when there is
    /// neither.
    pub fn of(
        origin: &str,
        size: u64,
        note: &SignedNote,
        words: Vec<(String, Option<Moment>)>,
    ) -> Option<Self> {
        let theirs = note.signatures().iter().filter(|line| line.name.as_str() != origin);
        let said = |line: &NoteSignature| {
            // A cosignature (C2SP tlog-cosignature v1): the time, then the signature.
            let time = line.bytes.first_chunk::<8>().filter(|_| line.bytes.len() == 72)?;
            Some((line.name.to_string(), Some(Moment::from_seconds(u64::from_be_bytes(*time)))))
        };
        let by: Vec<(String, Option<Moment>)> = theirs.filter_map(said).chain(words).collect();
        (!by.is_empty()).then_some(Self { size, by })
    }
}

/// One run of a bundle.
#[derive(Debug, Clone)]
pub struct RunContents {
    /// The run.
    pub key: RunKey,
    /// Its entries, oldest first.
    pub entries: Vec<Told>,
    /// Every manifest that it ever had, by digest.
    pub revisions: BTreeMap<Sha256, Vec<u8>>,
    /// The log's first so many entries have no other entry of it.
    pub covers: u64,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// What a verification in the store found when the bundle was made.
    pub findings: Vec<Finding>,
}

/// An entry with who and why.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its log index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Who, as declared.
    pub actor: String,
    /// Why, if said.
    pub reason: Option<String>,
    /// What the records that it names say besides, line by line.
    pub more: Vec<String>,
}

impl Told {
    /// The revisions before and after, of an entry that changed the manifest.
    pub fn change(&self) -> Option<(Sha256, Sha256)> {
        self.entry.before.zip(self.entry.after).filter(|(before, after)| before != after)
    }
}

impl RunContents {
    /// The manifest that the newest entry leaves.
    pub fn manifest(&self) -> Option<&[u8]> {
        self.revisions.get(&self.current()?).map(Vec::as_slice)
    }

    /// Its digest.
    pub fn current(&self) -> Option<Sha256> {
        self.entries.last()?.entry.after
    }
}

impl Contents {
    /// The time of the newest entry in the bundle, which stands for the bundle's own: it has none.
    pub fn newest(&self) -> String {
        let times = self.runs.iter().flat_map(|run| &run.entries).map(|told| told.entry.time);
        times.max().map(|time| time.to_string()).unwrap_or_default()
    }
}

/// The bag's declaration.
pub const BAGIT: &str = "bagit.txt";
/// What the bag says of itself.
pub const BAG_INFO: &str = "bag-info.txt";
/// Digests of the payload.
pub const MANIFEST: &str = "manifest-sha256.txt";
/// Digests of everything beside the payload.
pub const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// The report for people.
pub const REPORT: &str = "report.html";
/// How to check the bundle with stock programs.
pub const GUIDE: &str = "VERIFY.md";
/// The signed statement.
pub const ENVELOPE: &str = "statement.dsse.json";
/// The statement, where no key signed it.
pub const STATEMENT: &str = "statement.json";
/// The payload.
pub const PAYLOAD: &str = "data/";
/// The RO-Crate's description of the payload.
pub const METADATA: &str = "data/ro-crate-metadata.json";
/// The signed tree head that every proof leads to.
pub const CHECKPOINT: &str = "data/log/checkpoint";
/// Public keys, for convenience: they establish nothing by lying here.
pub const KEYS: &str = "data/log/keys/";
/// The entries that brought in and retired the log's keys, where there is more than the first.
pub const KEY_ENTRIES: &str = "data/log/key-entries/";
/// Checkpoints that others signed, each with the proof that the log goes on from it.
pub const ANCHORS: &str = "data/log/anchors/";
/// Blobs that entries name: actors, reasons, lists of exceptions, details.
pub const RECORDS: &str = "data/records/";
/// The runs.
pub const RUNS: &str = "data/runs/";

/// The folder of a run.
pub fn run_dir(key: &RunKey) -> String {
    format!("{RUNS}{}/{}/", key.job, key.run)
}

/// A file of a run.
pub fn run_file(key: &RunKey, path: &str) -> String {
    format!("{}files/{path}", run_dir(key))
}

/// A revision of a run's manifest.
pub fn revision(key: &RunKey, digest: &Sha256) -> String {
    format!("{}revisions/{}.json", run_dir(key), digest.hex())
}

/// A run's file list.
pub fn file_list(key: &RunKey) -> String {
    format!("{}file-list.json", run_dir(key))
}

/// A part of a long file list.
pub fn file_list_part(key: &RunKey, digest: &Sha256) -> String {
    format!("{}file-list/{}.json", run_dir(key), digest.hex())
}

/// An entry of a run, by its place in the run's chain.
pub fn entry(key: &RunKey, seq: u64) -> String {
    format!("{}entries/{seq:06}.json", run_dir(key))
}

/// The proof of an entry.
pub fn proof(key: &RunKey, seq: u64) -> String {
    format!("{}entries/{seq:06}.tlog-proof", run_dir(key))
}

/// The proof of a key entry, with the entry.
pub fn key_entry(index: u64) -> String {
    format!("{KEY_ENTRIES}{index:012}.tlog-proof")
}

/// The key that a key entry names.
pub fn key_entry_key(index: u64) -> String {
    format!("{KEY_ENTRIES}{index:012}.vkey")
}

/// The signed statement that a key entry names.
pub fn key_entry_statement(index: u64) -> String {
    format!("{KEY_ENTRIES}{index:012}.note")
}

/// What somebody said of that checkpoint with a tool of their own: an SSH signature or a time stamp.
pub fn anchor_word(size: u64, word: &[u8], ending: &str) -> String {
    format!("{ANCHORS}{size}.{}.{ending}", &Sha256::of(word).hex()[..16])
}

/// A kept checkpoint of the log's first so many entries.
pub fn anchor(size: u64) -> String {
    format!("{ANCHORS}{size}.checkpoint")
}

/// The proof that the log of the bundle's checkpoint begins with that tree: one hash a line.
pub fn anchor_proof(size: u64) -> String {
    format!("{ANCHORS}{size}.consistency")
}

/// The proof that a run's entries are all of it.
pub fn whole(key: &RunKey) -> String {
    format!("{}whole.run-proof", run_dir(key))
}

/// A blob that an entry names.
pub fn record(digest: &Sha256) -> String {
    format!("{RECORDS}{}.json", digest.hex())
}

/// A public key, in the form in which it is pinned.
pub fn key(key: &VerifyingKey) -> String {
    format!("{KEYS}{}.vkey", key.id())
}

/// A public key, in the form that OpenSSL reads.
pub fn key_pem(key: &VerifyingKey) -> String {
    format!("{KEYS}{}.pem", key.id())
}

/// The SubjectPublicKeyInfo of a key (Ed25519: RFC 8410; ML-DSA-44: RFC 9881), in PEM.
pub fn pem(key: &VerifyingKey) -> String {
    const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    const ML_DSA_44: &[u8] = &[
        0x30, 0x82, 0x05, 0x32, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11,
        0x03, 0x82, 0x05, 0x21, 0x00,
    ];
    let prefix = match key {
        VerifyingKey::Ed25519(_) => ED25519,
        VerifyingKey::MlDsa44(_) => ML_DSA_44,
    };
    let text = STANDARD.encode([prefix, key.bytes()].concat());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_the_key_as_openssl_writes_it() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text = "-----BEGIN PUBLIC KEY-----\n\
                    MCowBQYDK2VwAyEAGlzZBxQ8OExB6DDFvOEqqIF+xWSaqr8sMTiLNbLXRNY=\n\
                    -----END PUBLIC KEY-----\n";
        assert_eq!(pem(&key), text);
    }
}
