//! The keys of a log: Ed25519, which signs anything, and ML-DSA-44 as a second signature on checkpoints.

use std::fmt;
use std::str::FromStr;

use super::ed25519::{ED25519, PublicKey, SecretKey};
use super::key::{KeyError, KeyId, KeyName, Parts};
use super::ml_dsa;

/// The public key of a log. Its text is what people pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Signs the text of notes and, in envelopes, any bytes.
    Ed25519(PublicKey<ED25519>),
    /// Signs checkpoints only; see [`super::MlDsaKey`].
    MlDsa44(ml_dsa::MlDsaKey),
}

impl VerifyingKey {
    /// The key's name.
    pub fn name(&self) -> &KeyName {
        match self {
            Self::Ed25519(key) => key.name(),
            Self::MlDsa44(key) => key.name(),
        }
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        match self {
            Self::Ed25519(key) => key.id(),
            Self::MlDsa44(key) => key.id(),
        }
    }

    /// The bytes of the key.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key.bytes(),
            Self::MlDsa44(key) => key.bytes(),
        }
    }

    /// Whether this build can check what the key signs.
    pub fn is_checkable(&self) -> bool {
        matches!(self, Self::Ed25519(_)) || cfg!(feature = "ml-dsa")
    }

    /// Whether the key signs more than checkpoints: statements about other keys, and envelopes.
    pub fn vouches(&self) -> bool {
        matches!(self, Self::Ed25519(_))
    }

    /// Whether this key made the signature of these very bytes, strictly; never so for one that signs
    /// checkpoints only.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => key.made(message, signature),
            Self::MlDsa44(_) => false,
        }
    }

    /// Whether this key made the signature of a note's text, in the form that its type prescribes.
    pub(super) fn signed_text(&self, text: &str, signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => key.made(text.as_bytes(), signature),
            Self::MlDsa44(key) => key.signed_text(text, signature),
        }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => key.fmt(f),
            Self::MlDsa44(key) => key.fmt(f),
        }
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts = Parts::of(text)?;
        match parts.kind {
            ml_dsa::ML_DSA_44 => parts.try_into().map(Self::MlDsa44),
            _ => parts.try_into().map(Self::Ed25519),
        }
    }
}

/// The secret key of a log; `Debug` does not show it.
pub enum SigningKey {
    /// Of an Ed25519 key.
    Ed25519(SecretKey<ED25519>, VerifyingKey),
    /// Of an ML-DSA-44 key.
    #[cfg(feature = "ml-dsa")]
    MlDsa44(Box<ml_dsa::MlDsaSecret>, VerifyingKey),
}

impl SigningKey {
    /// An Ed25519 key from its name and 32 secret random bytes.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        SecretKey::from_seed(name, seed).into()
    }

    /// An ML-DSA-44 key from its name and 32 secret random bytes (FIPS 204, the seed of key generation).
    #[cfg_attr(not(feature = "ml-dsa"), expect(unused_variables, reason = "nothing is made of them"))]
    pub fn ml_dsa_from_seed(name: KeyName, seed: &[u8; 32]) -> Result<Self, KeyError> {
        #[cfg(feature = "ml-dsa")]
        return Ok(ml_dsa::MlDsaSecret::from_seed(name, seed)?.into());
        #[cfg(not(feature = "ml-dsa"))]
        Err(KeyError::NotBuilt)
    }

    /// The public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        match self {
            Self::Ed25519(_, public) => public,
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa44(_, public) => public,
        }
    }

    /// The text of the key, which is a secret.
    pub fn secret_text(&self) -> String {
        match self {
            Self::Ed25519(key, _) => key.secret_text(),
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa44(key, _) => key.secret_text(),
        }
    }

    /// The signature of these very bytes (RFC 8032), by a key that signs any.
    pub fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        match self {
            Self::Ed25519(key, _) => Some(key.signature(message)),
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa44(..) => None,
        }
    }

    /// The signature of a note's text, in the form that the key's type prescribes; the same for the same
    /// text. `None` for a text that keys of this type do not sign.
    pub(super) fn sign_text(&self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(key, _) => Some(key.signature(text.as_bytes()).to_vec()),
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa44(key, _) => key.sign_text(text),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}+{})", self.verifying_key().name(), self.verifying_key().id())
    }
}

impl From<SecretKey<ED25519>> for SigningKey {
    fn from(key: SecretKey<ED25519>) -> Self {
        let public = VerifyingKey::Ed25519(key.verifying_key().clone());
        Self::Ed25519(key, public)
    }
}

#[cfg(feature = "ml-dsa")]
impl From<ml_dsa::MlDsaSecret> for SigningKey {
    fn from(key: ml_dsa::MlDsaSecret) -> Self {
        let public = VerifyingKey::MlDsa44(key.verifying_key().clone());
        Self::MlDsa44(Box::new(key), public)
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts = Parts::of_secret(text)?;
        match parts.kind {
            #[cfg(feature = "ml-dsa")]
            ml_dsa::ML_DSA_44 => ml_dsa::MlDsaSecret::try_from(parts).map(Self::from),
            #[cfg(not(feature = "ml-dsa"))]
            ml_dsa::ML_DSA_44 => Err(KeyError::NotBuilt),
            _ => SecretKey::try_from(parts).map(Self::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The keys of the example in Go's note package.
    const SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn keys_of_another_implementation_are_read_and_written_back() {
        let secret: SigningKey = SECRET.parse().unwrap();
        assert_eq!(secret.verifying_key().to_string(), PUBLIC);
        assert_eq!(secret.secret_text(), SECRET);
        assert_eq!(PUBLIC.parse().as_ref(), Ok(secret.verifying_key()));
        assert_eq!(format!("{secret:?}"), "SigningKey(PeterNeumann+c74f20a3)");
    }

    #[test]
    fn key_text_in_any_other_form_is_refused() {
        let parse = |text: &str| text.parse::<VerifyingKey>().unwrap_err();
        assert_eq!(parse(""), KeyError::Form);
        assert_eq!(parse(SECRET), KeyError::Form);
        assert_eq!(parse(&PUBLIC[..PUBLIC.len() - 1]), KeyError::Form);
        assert_eq!(parse(&PUBLIC.replace("Peter", "Pe ter")), KeyError::Name);
        assert_eq!(parse(&PUBLIC.replace("Peter", "Paul")), KeyError::Id);
        assert_eq!(parse(&PUBLIC.replace("c74f", "C74F")), KeyError::Id);
        assert_eq!(parse(&PUBLIC.replace("+AR", "+BR")), KeyError::Type { found: 5, wanted: 1 });
        let identity = format!("a+00000000+{}", STANDARD.encode([&[1u8, 1][..], &[0; 31]].concat()));
        assert_eq!(parse(&identity), KeyError::Weak);
        assert_eq!(PUBLIC.parse::<SigningKey>().unwrap_err(), KeyError::Form);
    }
}
