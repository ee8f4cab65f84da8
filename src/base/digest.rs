//! Digests: fixed-size values, parsed once at the edge.
//!
//! SHA-256 (FIPS 180-4) is what manifests, file lists and the log show; BLAKE3 addresses storage.
//! Both are computed in one pass by [`Hasher`]. The only accepted text is the algorithm's name, a
//! colon and 64 lower-case hex digits (`store-layout.md`, "Digests").

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text has no `algorithm:` prefix.
    #[error("digest {0:?} names no algorithm; write sha256:<64 hex digits>")]
    NoAlgorithm(String),
    /// The algorithm is not one this store uses.
    #[error("digest {0:?} has an unknown algorithm; known are sha256 and blake3")]
    UnknownAlgorithm(String),
    /// The value is not 64 lower-case hex digits.
    #[error("digest {0:?} is not the algorithm and 64 lower-case hex digits")]
    BadValue(String),
}

fn hex_nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

/// Parses exactly 64 lower-case hex digits.
pub fn parse_hex32(text: &str) -> Option<[u8; 32]> {
    parse_hex(text)
}

/// Parses exactly two lower-case hex digits for each byte.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut out = [0u8; N];
    for (i, pair) in bytes.chunks_exact(2).enumerate() {
        out[i] = hex_nibble(pair[0])? << 4 | hex_nibble(pair[1])?;
    }
    Some(out)
}

/// Writes bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)] as char);
        out.push(DIGITS[usize::from(b & 15)] as char);
    }
    out
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The algorithm's name and colon, as it stands before the hex digits.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a raw digest value.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 lower-case hex digits, without the algorithm.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                match text.strip_prefix($prefix) {
                    Some(value) => parse_hex32(value)
                        .map(Self)
                        .ok_or_else(|| DigestError::BadValue(text.to_owned())),
                    None if !text.contains(':') => Err(DigestError::NoAlgorithm(text.to_owned())),
                    None => Err(DigestError::UnknownAlgorithm(text.to_owned())),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest_type!(
    /// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits.
    Sha256,
    "sha256:"
);
digest_type!(
    /// A BLAKE3 digest, written `blake3:` and 64 lower-case hex digits.
    Blake3,
    "blake3:"
);

impl Sha256 {
    /// Hashes bytes held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl Blake3 {
    /// Hashes bytes held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// What is known of a blob: both digests and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobId {
    /// The digest that manifests, file lists and the log show.
    pub sha256: Sha256,
    /// The digest that addresses storage.
    pub blake3: Blake3,
    /// The length in bytes.
    pub bytes: u64,
}

impl BlobId {
    /// Hashes bytes held in memory with both algorithms.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), blake3: Blake3::of(bytes), bytes: bytes.len() as u64 }
    }
}

/// Computes both digests in one pass over the bytes.
#[derive(Clone, Default)]
pub struct Hasher {
    sha256: sha2::Sha256,
    blake3: blake3::Hasher,
    bytes: u64,
}

impl Hasher {
    /// Starts with no bytes seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no bytes were seen yet.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The digests of everything seen.
    pub fn finish(self) -> BlobId {
        BlobId {
            sha256: Sha256(self.sha256.finalize().into()),
            blake3: Blake3(*self.blake3.finalize().as_bytes()),
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_the_published_value() {
        // FIPS 180-4, example "abc".
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), text);
        assert_eq!(text.parse::<Sha256>(), Ok(Sha256::of(b"abc")));
    }

    #[test]
    fn digest_text_other_than_exact_is_refused() {
        let good = Sha256::of(b"").hex();
        for bad in [
            good.clone(),
            format!("sha256:{}", &good[1..]),
            format!("sha256:{good}0"),
            format!("sha256:{}", good.to_uppercase()),
            format!("SHA256:{good}"),
            format!("sha512:{good}"),
            format!(" sha256:{good}"),
            format!("sha256: {}", &good[1..]),
            String::new(),
        ] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn hasher_in_pieces_equals_hasher_at_once() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
        let mut hasher = Hasher::new();
        for piece in data.chunks(13) {
            hasher.update(piece);
        }
        assert_eq!(hasher.finish(), BlobId::of(&data));
    }
}
