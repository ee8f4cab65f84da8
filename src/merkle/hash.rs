//! The hashes of RFC 6962, section 2.1. The first byte tells leaves from nodes, so that no entry
//! can be passed off as an inner node.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::digest;
use crate::base::sha256::{Sha256Hasher, sha256};

/// The text is not the base64 form of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tree hash; one is 32 bytes in standard base64 with padding")]
pub struct HashError(pub String);

/// The hash of a leaf, an inner node or a whole tree. Its text is standard base64 with padding, as
/// in a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The number of bytes of a hash.
    pub const LEN: usize = 32;

    /// Wraps a raw value.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        digest::hex(&self.0)
    }

    /// Parses exactly 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        digest::parse_hex32(text).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Takes the one text that [`Display`](fmt::Display) writes: padding is required, and the unused
    /// bits of the last digit are zero.
    fn from_str(text: &str) -> Result<Self, HashError> {
        // 44 characters carry 31 to 33 bytes; longer text is refused before anything is decoded.
        let bytes = if text.len() == 44 { STANDARD.decode(text).ok() } else { None };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| HashError(text.to_owned()))
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The root of the tree without entries: the hash of no bytes.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Hashes an entry: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256Hasher::default();
    hasher.update(&[0x00]);
    hasher.update(entry);
    Hash(hasher.finish())
}

/// Hashes an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [0x01; 1 + 2 * Hash::LEN];
    input[1..33].copy_from_slice(&left.0);
    input[33..].copy_from_slice(&right.0);
    Hash(sha256(&input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_root_is_the_hash_of_nothing() {
        assert_eq!(EMPTY_ROOT.0, sha256(&[]));
    }

    #[test]
    fn hash_text_round_trips_and_everything_else_is_refused() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(EMPTY_ROOT.to_string(), text);
        assert_eq!(text.parse(), Ok(EMPTY_ROOT));
        assert_eq!(Hash::from_hex(&EMPTY_ROOT.hex()), Some(EMPTY_ROOT));
        for bad in [
            "",
            &text[..43],
            &format!("{text}="),
            &format!("{text}\n"),
            &text.replace('/', "_"),
            // The same bytes with a stray bit in the last digit.
            &text.replace("FU=", "FV="),
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        ] {
            assert_eq!(bad.parse::<Hash>(), Err(HashError(bad.to_owned())));
        }
    }
}
