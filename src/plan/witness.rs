//! What a witness answers, C2SP tlog-witness: a request and what it saw of the log last, a status.

use crate::format::witness::WitnessRequest;
use crate::merkle::{self, EMPTY_ROOT, Hash};
use crate::note::{CheckpointBody, VerifyingKey};

/// What a witness cosigned last of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The size.
    pub size: u64,
    /// The root.
    pub root: Hash,
}

impl Default for Seen {
    /// Nothing yet: the empty tree, which begins every other.
    fn default() -> Self {
        Self { size: 0, root: EMPTY_ROOT }
    }
}

/// A witness's answer, each with the status that the protocol has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200: cosign this tree, and remember it first.
    Cosign(Seen),
    /// 400: the request contradicts itself.
    BadRequest(String),
    /// 403: none of the log's trusted keys signed.
    NotSigned(String),
    /// 404: the witness does not follow a log of that origin.
    UnknownLog(String),
    /// 409: the old size is not what was cosigned last; this is.
    OtherSize(u64),
    /// 409: another root for the size that was cosigned last.
    SecondRoot(Seen),
    /// 422: the new tree is not proved to begin with the one cosigned last.
    NotConsistent(String),
}

impl Answer {
    /// The HTTP status of the protocol.
    pub fn status(&self) -> u16 {
        match self {
            Self::Cosign(_) => 200,
            Self::BadRequest(_) => 400,
            Self::NotSigned(_) => 403,
            Self::UnknownLog(_) => 404,
            Self::OtherSize(_) | Self::SecondRoot(_) => 409,
            Self::NotConsistent(_) => 422,
        }
    }

    /// The answer in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Cosign(_) => "cosigned",
            Self::BadRequest(_) => "bad-request",
            Self::NotSigned(_) => "not-signed",
            Self::UnknownLog(_) => "unknown-log",
            Self::OtherSize(_) => "other-size",
            Self::SecondRoot(_) => "second-root",
            Self::NotConsistent(_) => "not-consistent",
        }
    }
}

/// The origin that a request is about, if its checkpoint is one at all.
pub fn body_of(request: &WitnessRequest) -> Result<CheckpointBody, Answer> {
    request
        .checkpoint
        .text()
        .parse()
        .map_err(|error: crate::note::CheckpointError| Answer::BadRequest(error.to_string()))
}

/// Decides. `keys` are those trusted for the checkpoint's origin, none for a log that is not followed. The
/// caller holds what was seen still from the question to the answer.
pub fn decide(request: &WitnessRequest, body: &CheckpointBody, keys: &[VerifyingKey], seen: Seen) -> Answer {
    if keys.is_empty() {
        return Answer::UnknownLog(body.origin.clone());
    }
    if let Err(error) = request.checkpoint.verify(keys) {
        return Answer::NotSigned(error.to_string());
    }
    if request.old > body.size {
        return Answer::BadRequest(format!(
            "the old size {} is over the new one, {}",
            request.old, body.size
        ));
    }
    if request.old != seen.size {
        return Answer::OtherSize(seen.size);
    }
    let new = Seen { size: body.size, root: Hash::from_bytes(body.root) };
    if seen.size == new.size {
        if seen.root != new.root {
            return Answer::SecondRoot(seen);
        }
        return match request.proof.is_empty() {
            true => Answer::Cosign(new),
            false => Answer::NotConsistent("a tree needs no proof that it begins with itself".to_owned()),
        };
    }
    if seen.size == 0 {
        return match request.proof.is_empty() {
            true => Answer::Cosign(new),
            false => Answer::NotConsistent("every tree begins with the empty one, without proof".to_owned()),
        };
    }
    match merkle::verify_consistency(seen.size, new.size, &seen.root, &new.root, &request.proof) {
        Ok(()) => Answer::Cosign(new),
        Err(error) => Answer::NotConsistent(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{SignedNote, SigningKey};

    const ORIGIN: &str = "example.org/log";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGIN.parse().unwrap(), &[seed; 32])
    }

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect()
    }

    fn at(size: u64) -> Seen {
        if size == 0 { Seen::default() } else { Seen { size, root: merkle::root_of(&leaves(size)) } }
    }

    fn request(old: u64, new: Seen, proof: Vec<Hash>, by: u8) -> WitnessRequest {
        let body = CheckpointBody {
            origin: ORIGIN.to_owned(),
            size: new.size,
            root: *new.root.as_bytes(),
            extensions: Vec::new(),
        };
        let checkpoint = SignedNote::sign(body.to_string(), &[&key(by)]).unwrap();
        WitnessRequest { old, proof, checkpoint }
    }

    fn ask(request: &WitnessRequest, seen: Seen) -> Answer {
        let keys = [key(1).verifying_key().clone()];
        decide(request, &body_of(request).unwrap(), &keys, seen)
    }

    fn proof(old: u64, new: u64) -> Vec<Hash> {
        merkle::prove_consistency(old, new, &leaves(new)[..]).unwrap()
    }

    #[test]
    fn witness_cosigns_each_tree_that_begins_with_the_last_one() {
        for old in 0..20 {
            for new in old..20 {
                let lines = if old == 0 || old == new { Vec::new() } else { proof(old, new) };
                assert_eq!(ask(&request(old, at(new), lines, 1), at(old)), Answer::Cosign(at(new)));
            }
        }
    }

    #[test]
    fn witness_answers_with_the_status_of_the_protocol() {
        let good = request(3, at(7), proof(3, 7), 1);
        let status = |request: &WitnessRequest, seen| ask(request, seen).status();
        assert_eq!(status(&good, at(3)), 200);
        // A rollback, and a witness that saw more than the log believes.
        assert_eq!(ask(&good, at(9)), Answer::OtherSize(9));
        assert_eq!(ask(&request(9, at(7), Vec::new(), 1), at(9)).status(), 400);
        assert_eq!(ask(&request(0, at(7), Vec::new(), 1), at(3)), Answer::OtherSize(3));
        // A second root for one size, and a fork.
        let other = Seen { size: 7, root: merkle::leaf_hash(b"other") };
        assert_eq!(ask(&request(7, other, Vec::new(), 1), at(7)), Answer::SecondRoot(at(7)));
        assert_eq!(status(&request(3, other, proof(3, 7), 1), at(3)), 422);
        assert_eq!(status(&request(3, at(7), Vec::new(), 1), at(3)), 422);
        assert_eq!(status(&request(0, at(7), proof(3, 7), 1), at(0)), 422);
        assert_eq!(status(&request(7, at(7), proof(3, 7), 1), at(7)), 422);
        // Another signer; another log.
        assert_eq!(status(&request(3, at(7), proof(3, 7), 2), at(3)), 403);
        assert_eq!(decide(&good, &body_of(&good).unwrap(), &[], at(3)).status(), 404);
        let text = SignedNote::sign("no checkpoint\n".to_owned(), &[&key(1)]).unwrap();
        let text = WitnessRequest { old: 0, proof: Vec::new(), checkpoint: text };
        assert_eq!(body_of(&text).unwrap_err().status(), 400);
    }
}
