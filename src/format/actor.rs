//! Salted blobs that entries name by digest: who acted and why (`store-layout.md`, "Actors and
//! reasons"). They are blobs so that they can be redacted without touching the log; the salt keeps
//! a digest from being guessed.

use super::{RecordError, from_canonical, known_version, to_canonical};
use crate::base::digest::hex;

/// Who ran a command, as declared by whoever ran it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    v: u64,
    /// The declared name, by default `user@host`.
    pub name: String,
    /// How the name was established: `declared` for the command line.
    pub authenticated: String,
    salt: String,
}

impl Actor {
    /// A declared actor.
    pub fn declared(name: &str, salt: [u8; 16]) -> Self {
        Self { v: 1, name: name.to_owned(), authenticated: "declared".to_owned(), salt: hex(&salt) }
    }

    /// The blob's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let actor: Self = from_canonical("actor", bytes)?;
        known_version("actor", actor.v).map(|()| actor)
    }
}

/// Why a change was made, in the words of whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    v: u64,
    /// The text.
    pub text: String,
    salt: String,
}

impl Reason {
    /// A reason.
    pub fn new(text: &str, salt: [u8; 16]) -> Self {
        Self { v: 1, text: text.to_owned(), salt: hex(&salt) }
    }

    /// The blob's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let reason: Self = from_canonical("reason", bytes)?;
        known_version("reason", reason.v).map(|()| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actor_and_reason_of_another_version_are_refused() {
        let newer = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("\"v\":1", "\"v\":2");
        let actor = Actor::declared("a@b", [1; 16]);
        assert_eq!(Actor::parse(&actor.to_bytes()).unwrap(), actor);
        let refused = Actor::parse(newer(actor.to_bytes()).as_bytes());
        assert!(matches!(refused, Err(RecordError::Version { found: 2, .. })));
        let reason = Reason::new("why", [1; 16]);
        assert_eq!(Reason::parse(&reason.to_bytes()).unwrap(), reason);
        let refused = Reason::parse(newer(reason.to_bytes()).as_bytes());
        assert!(matches!(refused, Err(RecordError::Version { found: 2, .. })));
    }
}
