//! The rules for what others said of a bundle's log: each kept checkpoint is of a beginning of its tree,
//! and a policy's witnesses cosigned one that reaches far enough.

use super::Checking;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::format::bundle;
use crate::format::finding::Code;
use crate::format::paths::{SSH_WORD, STAMP_WORD};
use crate::format::policy::Policy;
use crate::format::stamp::Stamp;
use crate::merkle::{self, Hash};
use crate::note::{AllowedSigners, CheckpointBody, SignedNote, SshSignature};

/// Whose word on a checkpoint's text these bytes are, and when where they say so: an SSH signature of it by
/// the key that it names, or a time stamp over it, whose own signature is not checked.
pub fn judge_word(ending: &str, bytes: &[u8], text: &str) -> Result<(String, Option<Moment>), String> {
    if ending == SSH_WORD {
        let signature = SshSignature::parse(bytes).map_err(|error| error.to_string())?;
        signature.check(text).map_err(|error| error.to_string())?;
        return Ok((signature.to_string(), None));
    }
    let stamp = Stamp::parse(bytes).map_err(|error| error.to_string())?;
    match stamp.digest == Sha256::of(text.as_bytes()) {
        true => Ok(("time stamp".to_owned(), Some(stamp.time))),
        false => Err("a stamp over other bytes".to_owned()),
    }
}

impl Checking<'_> {
    pub(super) fn anchors(&mut self, policy: Option<&Policy>, signers: Option<&AllowedSigners>) {
        let mut best: Option<(u64, String)> = None;
        let mut notes: Vec<(String, SignedNote, u64)> = self.kept();
        for (_, note, size) in &notes {
            self.words(*size, note, signers);
        }
        if let Some((note, body)) = &self.checkpoint {
            notes.push((bundle::CHECKPOINT.to_owned(), note.clone(), body.size));
        }
        let Some(policy) = policy else { return };
        for (place, note, size) in notes {
            let judged = match policy.judge(&note) {
                Ok(judged) => judged,
                Err(error) => {
                    self.find(Code::AnchorMismatch, &place, "a good cosignature", error);
                    continue;
                }
            };
            // A cosignature is of a tree; that it is this log's is the word of the log's own key.
            let signed = note.verify(&self.keys).is_ok();
            if judged.met && signed && best.as_ref().is_none_or(|(than, _)| size > *than) {
                best = Some((size, judged.to_string()));
            }
        }
        if best.is_none() {
            self.find(
                Code::PolicyUnmet,
                bundle::ANCHORS,
                format!("{policy} to cosign"),
                "no such checkpoint",
            );
        }
        self.out.anchored = best.filter(|(_, by)| !by.is_empty());
    }

    /// The SSH signatures and time stamps of one kept checkpoint.
    fn words(&mut self, size: u64, note: &SignedNote, signers: Option<&AllowedSigners>) {
        let start = format!("{}{size}.", bundle::ANCHORS);
        let facts = self.facts;
        for (path, bytes) in facts.texts.iter().filter(|(path, _)| path.starts_with(&start)) {
            let Some(ending) = path.rsplit('.').next().filter(|end| [SSH_WORD, STAMP_WORD].contains(end))
            else {
                continue;
            };
            if bundle::anchor_word(size, bytes, ending) != *path {
                continue;
            }
            self.known.insert(path.clone());
            match judge_word(ending, bytes, note.text()) {
                Ok((by, time)) => {
                    let signature = SshSignature::parse(bytes).ok();
                    let who = signature.as_ref().zip(signers).map(|(signature, signers)| {
                        signers.who(signature).unwrap_or("a key that is not among the allowed signers")
                    });
                    let who = who.map(|who| format!(" of {who}")).unwrap_or_default();
                    let when = time.map(|time| format!(" at {time}")).unwrap_or_default();
                    self.out.words.push((size, format!("{by}{who}{when}")));
                }
                Err(why) => self.find(Code::AnchorMismatch, path, "a word on its checkpoint's text", why),
            }
        }
    }

    /// The kept checkpoints that do lead to the bundle's, with their sizes.
    fn kept(&mut self) -> Vec<(String, SignedNote, u64)> {
        let size = |path: &String| -> Option<u64> {
            let size = path.strip_prefix(bundle::ANCHORS)?.strip_suffix(".checkpoint")?.parse().ok()?;
            (bundle::anchor(size) == *path).then_some(size)
        };
        let sizes: Vec<u64> = self.facts.files.keys().filter_map(size).collect();
        let mut kept = Vec::new();
        for size in sizes {
            let place = bundle::anchor(size);
            match self.one(size, &place) {
                Ok(Some(note)) => kept.push((place, note, size)),
                Ok(None) => {}
                Err(why) => {
                    let expected = format!("a checkpoint of the log's first {size} entries, and its proof");
                    self.find(Code::AnchorMismatch, &place, expected, why);
                }
            }
        }
        kept
    }

    /// One kept checkpoint; `None` where a part is missing, which is found already.
    fn one(&mut self, size: u64, place: &str) -> Result<Option<SignedNote>, String> {
        let text = self.text(Code::AnchorMismatch, place);
        let proof = self.text(Code::AnchorMismatch, &bundle::anchor_proof(size));
        let (Some(text), Some(proof), Some((_, log))) = (text, proof, self.checkpoint.as_ref()) else {
            return Ok(None);
        };
        let note = SignedNote::parse(text).map_err(|error| error.to_string())?;
        let body: CheckpointBody = note.text().parse().map_err(|error| format!("{error}"))?;
        if body.origin != log.origin || body.size != size {
            return Err(format!("one of {} entries of {}", body.size, body.origin));
        }
        let lines = std::str::from_utf8(proof).map_err(|error| error.to_string())?.lines();
        let hashes: Result<Vec<Hash>, _> = lines.map(str::parse).collect();
        let hashes = hashes.map_err(|error| format!("{error}"))?;
        if hashes.iter().map(|hash| format!("{hash}\n")).collect::<String>().as_bytes() != proof {
            return Err("a proof that is not one hash a line".to_owned());
        }
        let (old, new) = (Hash::from_bytes(body.root), Hash::from_bytes(log.root));
        let held = merkle::verify_consistency(size, log.size, &old, &new, &hashes);
        held.map(|()| Some(note)).map_err(|error| error.to_string())
    }
}
