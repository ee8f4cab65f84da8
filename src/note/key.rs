//! What all keys share: a name, an id, and their texts. These are those of Go's note package, which
//! signed-note grew out of: `<name>+<8 hex digits of the id>+<base64 of the type and the public key>`, and
//! with `PRIVATE+KEY+` before it and the seed in place of the public key, the signer's.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::sha256::Sha256Hasher;

/// What the text of a secret key begins with.
pub(super) const PRIVATE: &str = "PRIVATE+KEY+";

/// Why a text is not a key. No variant carries the text: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty or has a space, a plus sign or a control character.
    #[error("a key name must not be empty and has no space, plus sign or control character")]
    Name,
    /// The text is not three parts joined by plus signs, or a part is not in its one form.
    #[error("the text is not a key of the form name+id+base64")]
    Form,
    /// The key is of another type.
    #[error(
        "key type {found} is not {wanted} (1: Ed25519, 4: Ed25519 cosignatures of a witness, 6: ML-DSA-44)"
    )]
    Type {
        /// The type of the key.
        found: u8,
        /// The type that belongs here.
        wanted: u8,
    },
    /// The id is not the one that the name and the public key have.
    #[error("the key's id does not belong to its name and public key")]
    Id,
    /// The bytes are no point of the curve, or one that would verify what nobody signed.
    #[error("the key's bytes are not a usable Ed25519 public key")]
    Weak,
    /// The key is of a type that only a build with the feature `ml-dsa` can use.
    #[error("keys of type 6 (ML-DSA-44) need a program that was built with the feature ml-dsa")]
    NotBuilt,
}

/// The name of a key: not empty, without Unicode spaces, plus signs and control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.contains(bad) { Err(KeyError::Name) } else { Ok(Self(text.into())) }
    }
}

/// The first four bytes of a hash over name, type and public key, shown as 8 hex digits. Short on
/// purpose: it tells keys apart and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    /// `SHA-256(name || 0x0A || type || public key)[:4]`
    pub(super) fn of(name: &KeyName, kind: u8, public: &[u8]) -> Self {
        let mut hasher = Sha256Hasher::default();
        hasher.update(name.as_str().as_bytes());
        hasher.update(&[b'\n', kind]);
        hasher.update(public);
        let hash = hasher.finish();
        Self([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::base::digest::hex(&self.0))
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    /// Takes the 8 hex digits that an id prints as.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let number = u32::from_str_radix(text, 16).map_err(|_| KeyError::Form)?;
        let id = Self(number.to_be_bytes());
        if id.to_string() == text { Ok(id) } else { Err(KeyError::Form) }
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The parts of a key's text: name, id, type and the bytes of the key.
pub(super) struct Parts<'t> {
    pub name: KeyName,
    id: &'t str,
    pub kind: u8,
    pub bytes: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// Splits `name+id+base64` and undoes the base64.
    pub fn of(text: &'t str) -> Result<Self, KeyError> {
        // The base64 part may hold plus signs, the name and the id may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let bytes = STANDARD.decode(bytes).map_err(|_| KeyError::Form)?;
        let (kind, bytes) = bytes.split_first().ok_or(KeyError::Form)?;
        Ok(Self { name: name.parse()?, id, kind: *kind, bytes: bytes.to_vec() })
    }

    /// Splits the text of a secret key.
    pub fn of_secret(text: &'t str) -> Result<Self, KeyError> {
        Self::of(text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?)
    }

    /// The key's bytes, as many as its type has.
    pub fn key<const N: usize>(&self) -> Result<[u8; N], KeyError> {
        self.bytes.as_slice().try_into().map_err(|_| KeyError::Form)
    }

    /// Refuses a text whose id is not the one that its name and key have.
    pub fn has_id(&self, id: KeyId) -> Result<(), KeyError> {
        if self.id == id.to_string() { Ok(()) } else { Err(KeyError::Id) }
    }
}

/// The text of a key's public or secret half.
pub(super) fn text(name: &KeyName, id: KeyId, kind: u8, key: &[u8]) -> String {
    format!("{name}+{id}+{}", STANDARD.encode([&[kind], key].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_id_is_read_from_the_one_text_that_it_prints_as() {
        for text in ["00000000", "0123abcd", "ffffffff", "00000001"] {
            assert_eq!(text.parse::<KeyId>().map(|id| id.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "1", "0123ABCD", "+123abcd", "0123abcg", "00123abcd", " 123abcd"] {
            assert_eq!(bad.parse::<KeyId>(), Err(KeyError::Form), "{bad:?}");
        }
    }

    #[test]
    fn key_names_without_spaces_and_plus_are_taken() {
        assert!("example.com/log".parse::<KeyName>().is_ok());
        for bad in ["", "a b", "a+b", "a\u{2003}b", "a\nb", "a\u{7f}"] {
            assert_eq!(bad.parse::<KeyName>(), Err(KeyError::Name));
        }
    }
}
