//! DSSE envelopes (Dead Simple Signing Envelope, version 1): bytes, their type, signatures over both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::canonical;
use crate::note::{SigningKey, VerifyingKey};

/// The type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Why an envelope is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is no envelope.
    #[error("it is not a DSSE envelope: {0}")]
    Form(String),
    /// None of the keys signed it.
    #[error("no known key has signed it")]
    Unknown,
    /// A known key is named, and the signature is wrong.
    #[error("the signature of {0} on it is wrong")]
    Wrong(String),
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

/// An envelope as it was read or made; its payload is not to be used before [`verify`](Self::verify).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// Their type.
    pub payload_type: String,
    signatures: Vec<(String, Vec<u8>)>,
}

/// What is signed (the pre-authentication encoding): type and bytes with their lengths, so that
/// neither can run into the other.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// How a key is named in an envelope.
pub fn key_id(key: &VerifyingKey) -> String {
    format!("{}+{}", key.name(), key.id())
}

impl Envelope {
    /// Signs bytes of a type, with those of the keys that sign more than checkpoints.
    pub fn sign(payload_type: &str, payload: Vec<u8>, keys: &[&SigningKey]) -> Self {
        let message = pae(payload_type, &payload);
        let signature = |key: &&SigningKey| Some((key_id(key.verifying_key()), key.sign(&message)?.to_vec()));
        let signatures = keys.iter().filter_map(signature).collect();
        Self { payload, payload_type: payload_type.to_owned(), signatures }
    }

    /// The envelope's bytes: JSON, one line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures = self
            .signatures
            .iter()
            .map(|(keyid, sig)| Signature { keyid: keyid.clone(), sig: STANDARD.encode(sig) })
            .collect();
        let (payload, payload_type) = (STANDARD.encode(&self.payload), self.payload_type.clone());
        let raw = Raw { payload, payload_type, signatures };
        let value = serde_json::to_value(&raw).expect("strings only");
        let mut bytes = canonical::rfc8785(&value).expect("strings only");
        bytes.push(b'\n');
        bytes
    }

    /// Reads an envelope, in the one form that it is written in.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let form = |why: String| EnvelopeError::Form(why);
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| form(error.to_string()))?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| form("bad base64".to_owned()));
        let mut signatures = Vec::new();
        for signature in &raw.signatures {
            signatures.push((signature.keyid.clone(), decode(&signature.sig)?));
        }
        let envelope = Self { payload: decode(&raw.payload)?, payload_type: raw.payload_type, signatures };
        match envelope.to_bytes() == bytes {
            true => Ok(envelope),
            false => Err(form("it is not spelled as this program writes it".to_owned())),
        }
    }

    /// Which of these keys have signed. A key that is named and whose signature is wrong makes the
    /// envelope worthless; signatures by other keys are passed over.
    pub fn verify<'k>(&self, keys: &'k [VerifyingKey]) -> Result<Vec<&'k VerifyingKey>, EnvelopeError> {
        let message = pae(&self.payload_type, &self.payload);
        let mut found: Vec<&VerifyingKey> = Vec::new();
        for (id, signature) in &self.signatures {
            let mut named = keys.iter().filter(|key| key_id(key) == *id).peekable();
            if named.peek().is_none() {
                continue;
            }
            match named.find(|key| key.verify(&message, signature)) {
                Some(key) if !found.contains(&key) => found.push(key),
                Some(_) => {}
                None => return Err(EnvelopeError::Wrong(id.clone())),
            }
        }
        if found.is_empty() { Err(EnvelopeError::Unknown) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("example.org/log".parse().unwrap(), &[seed; 32])
    }

    #[test]
    fn pae_is_that_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn envelope_verifies_by_its_key_and_with_any_bit_changed_by_none() {
        let (signer, other) = (key(1), key(2));
        let keys = [signer.verifying_key().clone()];
        let envelope = Envelope::sign(IN_TOTO, b"{}".to_vec(), &[&signer]);
        let bytes = envelope.to_bytes();
        assert_eq!(Envelope::parse(&bytes), Ok(envelope.clone()));
        assert!(envelope.verify(&keys).is_ok());
        assert_eq!(envelope.verify(&[other.verifying_key().clone()]), Err(EnvelopeError::Unknown));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let taken = Envelope::parse(&bad).is_ok_and(|envelope| envelope.verify(&keys).is_ok());
            assert!(!taken, "bit {bit}");
        }
    }
}
