//! Ed25519 keys with a name. Their texts are those of Go's note package, which signed-note grew out
//! of: `<name>+<8 hex digits of the id>+<base64 of 0x01 and the public key>`, and with
//! `PRIVATE+KEY+` before it and the seed in place of the public key, the signer's.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use sha2::Digest as _;

/// The signature type identifier byte of plain Ed25519 signatures.
pub(super) const ED25519: u8 = 0x01;
/// What the text of a secret key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

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
    #[error("key type {found} is not {wanted} (1: Ed25519, 4: Ed25519 cosignatures of a witness)")]
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
    fn of(name: &KeyName, kind: u8, public: &[u8; 32]) -> Self {
        let mut hasher = sha2::Sha256::new();
        hasher.update(name.as_str());
        hasher.update([b'\n', kind]);
        hasher.update(public);
        let hash: [u8; 32] = hasher.finalize().into();
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

/// Splits `name+id+base64` and undoes the base64: the name, the id's text and the 32 bytes.
fn parts(text: &str, wanted: u8) -> Result<(KeyName, &str, [u8; 32]), KeyError> {
    // The base64 part may hold plus signs, the name and the id may not.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    let bytes = STANDARD.decode(bytes).map_err(|_| KeyError::Form)?;
    let (kind, key) = bytes.split_first().ok_or(KeyError::Form)?;
    if *kind != wanted {
        return Err(KeyError::Type { found: *kind, wanted });
    }
    Ok((name.parse()?, id, key.try_into().map_err(|_| KeyError::Form)?))
}

/// The text of a key's public or secret half.
fn text(name: &KeyName, id: KeyId, kind: u8, key: &[u8; 32]) -> String {
    let mut bytes = [kind; 33];
    bytes[1..].copy_from_slice(key);
    format!("{name}+{id}+{}", STANDARD.encode(bytes))
}

/// The point that 32 bytes stand for, unless it would verify what nobody signed.
pub(super) fn point(public: &[u8; 32]) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| KeyError::Weak)?;
    if key.is_weak() { Err(KeyError::Weak) } else { Ok(key) }
}

/// Whether a key made the signature of the message. Strict: nobody can turn a signature into another
/// valid one, and a key or nonce of small order makes none.
pub(super) fn verify(key: &ed25519_dalek::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

/// A public key and its name, for signatures of one type. Its text is what people pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey<const TYPE: u8> {
    name: KeyName,
    id: KeyId,
    key: ed25519_dalek::VerifyingKey,
}

/// The public key of a log.
pub type VerifyingKey = PublicKey<ED25519>;

impl<const TYPE: u8> PublicKey<TYPE> {
    /// A key from its name and 32 bytes.
    pub fn new(name: KeyName, public: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { id: KeyId::of(&name, TYPE, public), name, key: point(public)? })
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
        verify(&self.key, message, signature)
    }
}

impl VerifyingKey {
    /// Whether this key made the signature of the message, strictly.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.made(message, signature)
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.name, self.id, TYPE, self.key.as_bytes()))
    }
}

impl<const TYPE: u8> FromStr for PublicKey<TYPE> {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parts(text, TYPE)?;
        let key = Self::new(name, &public)?;
        if id == key.id.to_string() { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// A secret key and its name. `Debug` does not show it, and it is erased when dropped; the text it
/// was read from or written to is the caller's to erase.
pub struct SecretKey<const TYPE: u8> {
    public: PublicKey<TYPE>,
    key: ed25519_dalek::SigningKey,
}

/// The secret key of a log.
pub type SigningKey = SecretKey<ED25519>;

impl<const TYPE: u8> SecretKey<TYPE> {
    /// A key from its name and 32 secret random bytes.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let id = KeyId::of(&name, TYPE, public.as_bytes());
        Self { public: PublicKey { name, id, key: public }, key }
    }

    /// The public half.
    pub fn verifying_key(&self) -> &PublicKey<TYPE> {
        &self.public
    }

    /// The text of the key, which is a secret.
    pub fn secret_text(&self) -> String {
        format!("{PRIVATE}{}", text(&self.public.name, self.public.id, TYPE, self.key.as_bytes()))
    }

    /// The 64 bytes of the signature of the bytes that its type signs.
    pub(super) fn signature(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl SigningKey {
    /// The 64 bytes of the signature; the same for the same message (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signature(message)
    }
}

impl<const TYPE: u8> fmt::Debug for SecretKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}+{})", self.public.name, self.public.id)
    }
}

impl<const TYPE: u8> FromStr for SecretKey<TYPE> {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, seed) = parts(text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?, TYPE)?;
        let key = Self::from_seed(name, &seed);
        if id == key.public.id.to_string() { Ok(key) } else { Err(KeyError::Id) }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(format!("{secret:?}"), "SecretKey(PeterNeumann+c74f20a3)");
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

    #[test]
    fn key_names_without_spaces_and_plus_are_taken() {
        assert!("example.com/log".parse::<KeyName>().is_ok());
        for bad in ["", "a b", "a+b", "a\u{2003}b", "a\nb", "a\u{7f}"] {
            assert_eq!(bad.parse::<KeyName>(), Err(KeyError::Name));
        }
    }

    /// Project Wycheproof's vectors: what must verify does, and malleable, truncated, padded or otherwise
    /// doctored signatures do not.
    #[test]
    fn signatures_of_the_wycheproof_vectors_are_judged_as_they_say() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let (mut taken, mut refused) = (0, 0);
        for group in &set.test_groups {
            let public: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
            let key = point(&public).unwrap();
            for test in &group.tests {
                let good = verify(&key, &test.msg, &test.sig);
                assert_eq!(
                    good,
                    test.result == wycheproof::TestResult::Valid,
                    "{}: {}",
                    test.tc_id,
                    test.comment
                );
                if good { taken += 1 } else { refused += 1 }
            }
        }
        assert_eq!(taken + refused, set.number_of_tests);
        assert!(taken > 50 && refused > 50, "{taken} {refused}");
    }
}
