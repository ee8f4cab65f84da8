//! Ed25519 keys with a name (RFC 8032): of logs, which sign notes, and of witnesses, which sign what
//! [`cosign`](super::cosign) says. `TYPE` is the signature type identifier byte of either.

use std::fmt;
use std::str::FromStr;

use super::curve;
use super::key::{KeyError, KeyId, KeyName, PRIVATE, Parts, text};

/// The signature type identifier byte of plain Ed25519 signatures.
pub(super) const ED25519: u8 = 0x01;

/// A public key and its name, for signatures of one type. Its text is what people pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey<const TYPE: u8> {
    name: KeyName,
    id: KeyId,
    key: curve::Public,
}

impl<const TYPE: u8> PublicKey<TYPE> {
    /// A key from its name and 32 bytes.
    pub fn new(name: KeyName, public: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { id: KeyId::of(&name, TYPE, public), name, key: curve::Public::new(public)? })
    }

    /// The key's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the key.
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether this key made the signature of the bytes that its type signs, strictly.
    pub(super) fn made(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify(message, signature)
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.name, self.id, TYPE, self.bytes()))
    }
}

impl<const TYPE: u8> TryFrom<Parts<'_>> for PublicKey<TYPE> {
    type Error = KeyError;

    fn try_from(parts: Parts<'_>) -> Result<Self, KeyError> {
        if parts.kind != TYPE {
            return Err(KeyError::Type { found: parts.kind, wanted: TYPE });
        }
        let key = Self::new(parts.name.clone(), &parts.key()?)?;
        parts.has_id(key.id).map(|()| key)
    }
}

impl<const TYPE: u8> FromStr for PublicKey<TYPE> {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Parts::of(text)?.try_into()
    }
}

/// A secret key and its name. `Debug` does not show it, and it is erased when dropped; the text it
/// was read from or written to is the caller's to erase.
pub struct SecretKey<const TYPE: u8> {
    public: PublicKey<TYPE>,
    key: curve::Secret,
}

impl<const TYPE: u8> SecretKey<TYPE> {
    /// A key from its name and 32 secret random bytes.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = curve::Secret::new(seed);
        let public = key.public();
        let id = KeyId::of(&name, TYPE, public.as_bytes());
        Self { public: PublicKey { name, id, key: public }, key }
    }

    /// The public half.
    pub fn verifying_key(&self) -> &PublicKey<TYPE> {
        &self.public
    }

    /// The text of the key, which is a secret.
    pub fn secret_text(&self) -> String {
        format!("{PRIVATE}{}", text(&self.public.name, self.public.id, TYPE, self.key.seed()))
    }

    /// The 64 bytes of the signature of the bytes that its type signs; the same for the same bytes.
    pub(super) fn signature(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message)
    }
}

impl<const TYPE: u8> fmt::Debug for SecretKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}+{})", self.public.name, self.public.id)
    }
}

impl<const TYPE: u8> TryFrom<Parts<'_>> for SecretKey<TYPE> {
    type Error = KeyError;

    fn try_from(parts: Parts<'_>) -> Result<Self, KeyError> {
        if parts.kind != TYPE {
            return Err(KeyError::Type { found: parts.kind, wanted: TYPE });
        }
        let key = Self::from_seed(parts.name.clone(), &parts.key()?);
        parts.has_id(key.public.id).map(|()| key)
    }
}

impl<const TYPE: u8> FromStr for SecretKey<TYPE> {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Parts::of_secret(text)?.try_into()
    }
}
