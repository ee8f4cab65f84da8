//! ML-DSA-44 signatures (FIPS 204) of checkpoints, as C2SP tlog-cosignature has them: type 0x06. C2SP
//! knows no ML-DSA signature of other notes, so a key of this type signs checkpoints and nothing else.
//!
//! In the note stands the time as eight bytes, big-endian, and the signature. What is signed is not the
//! note's text but its three lines in binary, with the signer's name:
//!
//! ```text
//! "subtree/v1\n\0" | len, name | time | len, origin | 0 (start) | size (end) | root
//! ```
//!
//! A log that signs its own checkpoint makes no statement about when: its time is zero, which the
//! specification allows, and the same tree has the same signature.
//!
//! Keys are read and shown by every build; signing and checking take the feature `ml-dsa`.

use std::fmt;
use std::str::FromStr;

use super::checkpoint::CheckpointBody;
use super::key::{KeyError, KeyId, KeyName, Parts, text};

/// The signature type identifier byte of timestamped ML-DSA-44 cosignatures.
pub(super) const ML_DSA_44: u8 = 0x06;
/// The length of a public key.
const PUBLIC_BYTES: usize = 1312;

/// A public ML-DSA-44 key and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlDsaKey {
    name: KeyName,
    id: KeyId,
    key: Box<[u8; PUBLIC_BYTES]>,
}

/// What is signed of a checkpoint at a time in seconds since 1970. `None` for a text that is no checkpoint,
/// has lines that the signature would not cover, or names too long for their length byte.
fn message(name: &KeyName, text: &str, seconds: u64) -> Option<Vec<u8>> {
    let body: CheckpointBody =
        text.parse().ok().filter(|body: &CheckpointBody| body.extensions.is_empty())?;
    i64::try_from(seconds).ok()?;
    let mut bytes = b"subtree/v1\n\0".to_vec();
    let named = |bytes: &mut Vec<u8>, name: &str| {
        bytes.push(u8::try_from(name.len()).ok()?);
        bytes.extend(name.as_bytes());
        Some(())
    };
    named(&mut bytes, name.as_str())?;
    bytes.extend(seconds.to_be_bytes());
    named(&mut bytes, &body.origin)?;
    bytes.extend(0u64.to_be_bytes());
    bytes.extend(body.size.to_be_bytes());
    bytes.extend(body.root);
    Some(bytes)
}

impl MlDsaKey {
    /// A key from its name and bytes.
    pub fn new(name: KeyName, public: [u8; PUBLIC_BYTES]) -> Self {
        Self { id: KeyId::of(&name, ML_DSA_44, &public), name, key: Box::new(public) }
    }

    /// The key's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 1,312 bytes of the key.
    pub fn bytes(&self) -> &[u8] {
        &self.key[..]
    }

    /// Whether this key made the signature of a checkpoint's text. False in a build without the feature.
    pub(super) fn signed_text(&self, text: &str, signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
        let message = message(&self.name, text, u64::from_be_bytes(*time));
        message.is_some_and(|message| engine::verify(&self.key, &message, signature))
    }
}

impl fmt::Display for MlDsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.name, self.id, ML_DSA_44, self.bytes()))
    }
}

impl TryFrom<Parts<'_>> for MlDsaKey {
    type Error = KeyError;

    fn try_from(parts: Parts<'_>) -> Result<Self, KeyError> {
        if parts.kind != ML_DSA_44 {
            return Err(KeyError::Type { found: parts.kind, wanted: ML_DSA_44 });
        }
        let key = Self::new(parts.name.clone(), parts.key()?);
        parts.has_id(key.id).map(|()| key)
    }
}

impl FromStr for MlDsaKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Parts::of(text)?.try_into()
    }
}

#[cfg(not(feature = "ml-dsa"))]
mod engine {
    /// Nothing counts that cannot be checked.
    pub fn verify(_: &[u8; super::PUBLIC_BYTES], _: &[u8], _: &[u8]) -> bool {
        false
    }
}

#[cfg(feature = "ml-dsa")]
mod engine {
    use ml_dsa::{EncodedVerifyingKey, MlDsa44, Signature, VerifyingKey};

    /// FIPS 204, algorithm 3, with an empty context.
    pub fn verify(key: &[u8; super::PUBLIC_BYTES], message: &[u8], signature: &[u8]) -> bool {
        let Ok(encoded) = EncodedVerifyingKey::<MlDsa44>::try_from(&key[..]) else { return false };
        let Ok(signature) = Signature::<MlDsa44>::try_from(signature) else { return false };
        VerifyingKey::<MlDsa44>::decode(&encoded).verify_with_context(message, &[], &signature)
    }
}

#[cfg(feature = "ml-dsa")]
pub use secret::MlDsaSecret;

#[cfg(feature = "ml-dsa")]
mod secret {
    use super::{KeyError, KeyName, ML_DSA_44, MlDsaKey, PUBLIC_BYTES, Parts, fmt, message, text};
    use crate::note::key::PRIVATE;

    /// A secret ML-DSA-44 key and its name. `Debug` does not show it, and it is erased when dropped; the
    /// text it was read from or written to is the caller's to erase.
    pub struct MlDsaSecret {
        public: MlDsaKey,
        key: ml_dsa::SigningKey<ml_dsa::MlDsa44>,
    }

    impl MlDsaSecret {
        /// A key from its name and 32 secret random bytes. The name goes into what is signed behind a length
        /// byte, so it has at most 255 bytes.
        pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Result<Self, KeyError> {
            if name.as_str().len() > 255 {
                return Err(KeyError::Name);
            }
            let key = ml_dsa::SigningKey::from_seed(&ml_dsa::Seed::from(*seed));
            let encoded = key.expanded_key().verifying_key().encode();
            let public: [u8; PUBLIC_BYTES] = encoded.as_slice().try_into().map_err(|_| KeyError::Form)?;
            Ok(Self { public: MlDsaKey::new(name, public), key })
        }

        /// The public half.
        pub fn verifying_key(&self) -> &MlDsaKey {
            &self.public
        }

        /// The text of the key, which is a secret.
        pub fn secret_text(&self) -> String {
            format!("{PRIVATE}{}", text(&self.public.name, self.public.id, ML_DSA_44, self.key.as_seed()))
        }

        /// Signs a checkpoint's text, deterministically (FIPS 204, section 3.4) and without a time.
        pub(in crate::note) fn sign_text(&self, text: &str) -> Option<Vec<u8>> {
            let message = message(&self.public.name, text, 0)?;
            let signature = self.key.expanded_key().sign_deterministic(&message, &[]).ok()?;
            Some([&0u64.to_be_bytes()[..], &signature.encode()].concat())
        }
    }

    impl fmt::Debug for MlDsaSecret {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "MlDsaSecret({}+{})", self.public.name, self.public.id)
        }
    }

    impl TryFrom<Parts<'_>> for MlDsaSecret {
        type Error = KeyError;

        fn try_from(parts: Parts<'_>) -> Result<Self, KeyError> {
            let key = Self::from_seed(parts.name.clone(), &parts.key()?)?;
            parts.has_id(key.public.id).map(|()| key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Sha256;
    use crate::note::VerifyingKey;

    fn public() -> MlDsaKey {
        MlDsaKey::new("example.com/log".parse().unwrap(), [7; PUBLIC_BYTES])
    }

    #[test]
    fn ml_dsa_key_texts_round_trip_in_every_build() {
        let key = public();
        let text = key.to_string();
        assert_eq!(text.parse::<MlDsaKey>().as_ref(), Ok(&key));
        assert_eq!(text.parse::<VerifyingKey>(), Ok(VerifyingKey::MlDsa44(key.clone())));
        let hash = Sha256::of(&[b"example.com/log\n\x06", key.bytes()].concat());
        assert_eq!(key.id().0, hash.as_bytes()[..4]);
        assert_eq!(text.replace("log+", "gol+").parse::<VerifyingKey>(), Err(KeyError::Id));
        let short = text[..text.len() - 4].to_owned();
        assert_eq!(short.parse::<VerifyingKey>(), Err(KeyError::Form));
    }

    #[test]
    fn ml_dsa_key_vouches_for_nothing_and_signs_no_bytes_in_every_build() {
        let key = VerifyingKey::MlDsa44(public());
        assert!(!key.vouches() && !key.verify(b"x", &[0; 2420]) && !key.verify(b"", &[]));
        let text = "example.com/log\n258\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert!([0, 7, 8, 9, 2428].iter().all(|len| !key.signed_text(text, &vec![0; *len])));
        let other = crate::note::SigningKey::from_seed("example.com/log".parse().unwrap(), &[1; 32]);
        assert!(other.verifying_key().vouches());
    }

    /// The structure of tlog-cosignature, put together by hand.
    #[test]
    fn ml_dsa_message_is_what_the_specification_says_it_is() {
        let name: KeyName = "w.example".parse().unwrap();
        let text = "example.com/log\n258\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let mut wanted = b"subtree/v1\n\0\x09w.example".to_vec();
        wanted.extend([0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb]);
        wanted.extend(b"\x0fexample.com/log");
        wanted.extend([0; 8]);
        wanted.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        wanted.extend(text.parse::<CheckpointBody>().unwrap().root);
        assert_eq!(message(&name, text, 1_679_315_147), Some(wanted));
        // What the signature would not cover is not signed, nor what is no checkpoint.
        assert_eq!(message(&name, &format!("{text}more\n"), 0), None);
        assert_eq!(message(&name, "strongroom key statement v1\n", 0), None);
        assert_eq!(message(&name, text, 1 << 63), None);
        assert_eq!(message(&"n".repeat(256).parse().unwrap(), text, 0), None);
    }

    #[cfg(not(feature = "ml-dsa"))]
    #[test]
    fn ml_dsa_key_in_a_build_without_it_signs_and_checks_nothing() {
        use crate::note::SigningKey;
        let name = || "example.com/log".parse().unwrap();
        assert_eq!(SigningKey::ml_dsa_from_seed(name(), &[1; 32]).unwrap_err(), KeyError::NotBuilt);
        let secret = format!("PRIVATE+KEY+{}", text(&name(), public().id(), ML_DSA_44, &[1; 32]));
        assert_eq!(secret.parse::<SigningKey>().unwrap_err(), KeyError::NotBuilt);
        let key = VerifyingKey::MlDsa44(public());
        assert!(!key.is_checkable() && !key.signed_text("example.com/log\n", &[0; 2428]));
        assert!(SigningKey::from_seed(name(), &[1; 32]).verifying_key().is_checkable());
    }
}

#[cfg(all(test, feature = "ml-dsa"))]
mod tests_with_the_feature {
    use super::*;
    use crate::note::{NoteError, SignedNote, SigningKey, VerifyingKey};

    const TEXT: &str = "example.com/log\n258\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key(seed: u8) -> SigningKey {
        SigningKey::ml_dsa_from_seed("example.com/log".parse().expect("a name"), &[seed; 32]).expect("a key")
    }

    #[test]
    fn ml_dsa_signature_stands_beside_the_ed25519_one_and_is_checked() {
        let (old, new) = (SigningKey::from_seed("example.com/log".parse().unwrap(), &[1; 32]), key(1));
        let keys = [old.verifying_key().clone(), new.verifying_key().clone()];
        let note = SignedNote::sign(TEXT.to_owned(), &[&old, &new]).unwrap();
        assert_eq!(SignedNote::parse(note.to_string().as_bytes()).as_ref(), Ok(&note));
        assert_eq!(note.verify(&keys).map(|found| found.len()), Ok(2));
        assert_eq!(note.verify(&keys[..1]).map(|found| found.len()), Ok(1));
        assert_eq!(note.verify(&keys[1..]).map(|found| found.len()), Ok(1));
        assert_eq!(note.verify(&[key(2).verifying_key().clone()]), Err(NoteError::Unknown));
        let bytes = &note.signatures()[1].bytes;
        assert_eq!((bytes.len(), &bytes[..8]), (8 + 2420, &[0; 8][..]));
        let read: SigningKey = new.secret_text().parse().unwrap();
        assert_eq!(read.verifying_key(), new.verifying_key());
        assert!(!format!("{new:?}").contains(&new.secret_text()[30..60]));
    }

    #[test]
    fn ml_dsa_signature_with_any_byte_changed_is_wrong() {
        let (signer, keys) = (key(1), [key(1).verifying_key().clone()]);
        let good = signer.sign_text(TEXT).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(!keys[0].signed_text(TEXT, &bad), "byte {at}");
        }
        assert!(keys[0].signed_text(TEXT, &good) && !keys[0].signed_text(TEXT, &good[1..]));
        for text in [TEXT.replace("258", "257"), TEXT.replace("log", "gol"), TEXT.replace("CsU", "DsU")] {
            assert!(!keys[0].signed_text(&text, &good), "{text}");
        }
        // The same bytes under another name are another key's, and sign another message.
        let named = MlDsaKey::new("example.com/gol".parse().unwrap(), *public_bytes(&keys[0]));
        assert!(!named.signed_text(TEXT, &good));
    }

    fn public_bytes(key: &VerifyingKey) -> &[u8; PUBLIC_BYTES] {
        key.bytes().try_into().expect("its length")
    }

    #[test]
    fn ml_dsa_key_has_a_name_of_at_most_255_bytes() {
        let made = |len: usize| SigningKey::ml_dsa_from_seed("n".repeat(len).parse().unwrap(), &[1; 32]);
        assert!([1, 254, 255].iter().all(|len| made(*len).is_ok()));
        assert_eq!(made(256).unwrap_err(), crate::note::KeyError::Name);
    }

    #[test]
    fn ml_dsa_key_signs_nothing_but_checkpoints() {
        let signer = key(1);
        assert_eq!(signer.sign(b"bytes"), None);
        assert_eq!(SignedNote::sign("no checkpoint\n".to_owned(), &[&signer]), Err(NoteError::NotSignable));
        let longer = format!("{TEXT}an extension\n");
        assert_eq!(SignedNote::sign(longer, &[&signer]), Err(NoteError::NotSignable));
    }

    /// AWS-LC shares nothing with what signed.
    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn ml_dsa_signatures_are_taken_by_another_library() {
        use aws_lc_rs::signature::{ML_DSA_44, UnparsedPublicKey};
        for seed in 1..20 {
            let (signer, made) = (key(seed), key(seed).sign_text(TEXT).unwrap());
            let public = UnparsedPublicKey::new(&ML_DSA_44, signer.verifying_key().bytes());
            let message = message(signer.verifying_key().name(), TEXT, 0).unwrap();
            assert!(public.verify(&message, &made[8..]).is_ok(), "seed {seed}");
            assert!(public.verify(&message[1..], &made[8..]).is_err(), "seed {seed}");
        }
    }

    /// Project Wycheproof's vectors, those without a context: C2SP signs without one.
    #[test]
    fn ml_dsa_signatures_of_the_wycheproof_vectors_are_judged_as_they_say() {
        use wycheproof::mldsa_verify::{TestName, TestSet};
        let set = TestSet::load(TestName::MlDsa44Verify).unwrap();
        let (mut taken, mut refused) = (0, 0);
        for group in &set.test_groups {
            let Ok(key) = <[u8; PUBLIC_BYTES]>::try_from(group.pubkey.as_slice()) else { continue };
            for test in group.tests.iter().filter(|test| test.ctx.as_ref().is_none_or(|ctx| ctx.is_empty())) {
                let good = engine::verify(&key, &test.msg, &test.sig);
                let must = test.result == wycheproof::TestResult::Valid;
                assert_eq!(good, must, "{}: {}", test.tc_id, test.comment);
                if good { taken += 1 } else { refused += 1 }
            }
        }
        assert!(taken > 20 && refused > 10, "{taken} {refused}");
    }
}
