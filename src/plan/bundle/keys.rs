//! The keys that count for a bundle: those that the reader pinned, and those that statements in the log lead
//! to from them. Statements prove themselves; that they are in the log of the checkpoint, their proofs do.

use super::Checking;
use crate::base::digest::Sha256;
use crate::format::bundle;
use crate::format::entry::{Entry, EntryKind};
use crate::format::finding::Code;
use crate::format::proof::LogProof;
use crate::note::{CheckpointBody, SignedNote, VerifyingKey};
use crate::plan::keys::{Blob, KeyEvent, Keyring};

impl Checking<'_> {
    /// The keys whose signatures count on the bundle's checkpoint, for a reader who trusts these.
    pub(super) fn counting(
        &mut self,
        pinned: &[VerifyingKey],
        note: &SignedNote,
        body: &CheckpointBody,
    ) -> Vec<VerifyingKey> {
        let ring = self.keyring(note, body);
        let known = |key: &VerifyingKey| ring.keys.iter().find(|known| known.key == *key);
        let trusted = ring.trusted_from(pinned).into_iter().map(|trusted| trusted.key);
        let counts = |key: &VerifyingKey| {
            key.name().as_str() == body.origin && known(key).is_none_or(|known| known.counts_at(body.size))
        };
        trusted.filter(counts).collect()
    }

    /// The log's keys as the bundle's key entries have them; none when it has no such entries.
    fn keyring(&mut self, note: &SignedNote, body: &CheckpointBody) -> Keyring {
        let index = |path: &String| {
            let index = path.strip_prefix(bundle::KEY_ENTRIES)?.strip_suffix(".tlog-proof")?.parse().ok()?;
            (bundle::key_entry(index) == *path).then_some(index)
        };
        // Their names have as many digits as every number needs, so they come in the order of the log.
        let indexes: Vec<u64> = self.facts.files.keys().filter_map(index).collect();
        let mut events = Vec::new();
        for index in indexes {
            events.extend(self.key_event(index, note, body));
        }
        let ring = Keyring::replay(&body.origin, &events);
        for (entry, why) in &ring.problems {
            let expected = "the word of a key of the log";
            self.find(Code::KeyUnvouched, &bundle::key_entry(*entry), expected, why);
        }
        ring
    }

    fn key_event(&mut self, index: u64, note: &SignedNote, body: &CheckpointBody) -> Option<KeyEvent> {
        let place = bundle::key_entry(index);
        let proof = match LogProof::parse(self.text(Code::NotProved, &place)?) {
            Ok(proof) => proof,
            Err(error) => {
                self.find(Code::NotProved, &place, "a proof", error);
                return None;
            }
        };
        if let Err(why) = super::proved(&proof, note, body) {
            self.find(Code::NotProved, &place, "an entry of the bundle's log, at its place", why);
        }
        let entry = Entry::parse(proof.entry.as_deref().unwrap_or_default());
        let entry = entry.map_err(|error| error.to_string()).and_then(|entry| {
            let of_keys = matches!(entry.kind, EntryKind::KeyAdded | EntryKind::KeyRetired);
            if of_keys && proof.index == index { Ok(entry) } else { Err("another entry".to_owned()) }
        });
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                self.find(Code::NotProved, &place, format!("the key entry at {index}"), why);
                return None;
            }
        };
        let key = self.blob(&bundle::key_entry_key(index), entry.key.as_ref());
        let statement = self.blob(&bundle::key_entry_statement(index), entry.detail.as_ref());
        Some(KeyEvent { entry: index, kind: entry.kind, key, statement, trusted_to: entry.trusted_to })
    }

    fn blob(&mut self, path: &str, digest: Option<&Sha256>) -> Blob {
        let Some(digest) = digest else { return Blob::Unnamed };
        self.must_be(Code::RecordWrong, path, digest);
        let text = self.facts.texts.get(path).filter(|text| Sha256::of(text) == *digest);
        text.map_or(Blob::Gone, |text| Blob::Bytes(text.clone()))
    }
}
