//! Cosignatures of witnesses, C2SP tlog-cosignature v1: "as of this time, this is the largest tree of
//! this log that I have seen, and it extends every one I saw before".
//!
//! An Ed25519 signature over two lines (`cosignature/v1`, `time <seconds>`) and the checkpoint's text. In
//! a note it is a signature of a key of type 0x04, led by the time as eight bytes, big-endian.

use super::ed25519::{PublicKey, SecretKey};
use super::signed::{NoteError, NoteSignature, SignedNote};

/// The signature type identifier byte of timestamped Ed25519 cosignatures.
pub(super) const COSIGNATURE: u8 = 0x04;

/// A witness's public key and name.
pub type WitnessKey = PublicKey<COSIGNATURE>;

/// A witness's secret key and name.
pub type Cosigner = SecretKey<COSIGNATURE>;

fn message(text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

impl WitnessKey {
    /// When this witness cosigned the note's text, in seconds since 1970: the latest time, if it did so
    /// more than once. `None` when it did not; a wrong signature under its name and id is an error.
    pub fn cosigned(&self, note: &SignedNote) -> Result<Option<u64>, NoteError> {
        let mut latest = None;
        let ours = |signature: &&NoteSignature| signature.name == *self.name() && signature.id == self.id();
        for signature in note.signatures().iter().filter(ours) {
            let wrong = || NoteError::WrongSignature { name: self.name().clone(), id: self.id() };
            let (time, bytes) = signature.bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
            let seconds = u64::from_be_bytes(*time);
            if !self.made(&message(note.text(), seconds), bytes) {
                return Err(wrong());
            }
            latest = latest.max(Some(seconds));
        }
        Ok(latest)
    }
}

impl Cosigner {
    /// Cosigns the text of a note at a time; the caller has seen to it that the statement is true.
    pub fn cosign(&self, note: &SignedNote, seconds: u64) -> NoteSignature {
        let signature = self.signature(&message(note.text(), seconds));
        let bytes = [&seconds.to_be_bytes()[..], &signature].concat();
        let public = self.verifying_key();
        NoteSignature { name: public.name().clone(), id: public.id(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::KeyError;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn cosigner() -> Cosigner {
        Cosigner::from_seed("witness.example/w1".parse().unwrap(), &[5; 32])
    }

    #[test]
    fn cosignature_tells_its_time_and_any_bit_changed_is_wrong() {
        let witness = cosigner();
        let log =
            crate::note::SigningKey::from_seed("example.com/behind-the-sofa".parse().unwrap(), &[1; 32]);
        let mut note = SignedNote::sign(TEXT.to_owned(), &[&log]).unwrap();
        assert_eq!(witness.verifying_key().cosigned(&note), Ok(None));
        let signature = witness.cosign(&note, 1_679_315_147);
        note.add(signature.clone());
        assert_eq!(witness.verifying_key().cosigned(&note), Ok(Some(1_679_315_147)));
        // The log's own signature stands as before.
        assert!(note.verify(std::slice::from_ref(log.verifying_key())).is_ok());
        for bit in 0..signature.bytes.len() * 8 {
            let mut bad = SignedNote::sign(TEXT.to_owned(), &[&log]).unwrap();
            let mut changed = signature.clone();
            changed.bytes[bit / 8] ^= 1 << (bit % 8);
            bad.add(changed);
            assert!(witness.verifying_key().cosigned(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn cosignature_under_another_name_or_id_is_not_the_witness_s() {
        let witness = cosigner();
        let log = crate::note::SigningKey::from_seed("l".parse().unwrap(), &[1; 32]);
        let note = SignedNote::sign(TEXT.to_owned(), &[&log]).unwrap();
        let ours = witness.cosign(&note, 5);
        let named = NoteSignature { name: "witness.example/w2".parse().unwrap(), ..ours.clone() };
        let numbered = NoteSignature { id: log.verifying_key().id(), ..ours };
        for other in [named, numbered] {
            let mut with = note.clone();
            with.add(other);
            assert_eq!(witness.verifying_key().cosigned(&with), Ok(None));
        }
    }

    #[test]
    fn cosignature_is_what_the_specification_says_it_is() {
        // The layout of tlog-cosignature, put together by hand.
        let witness = cosigner();
        let log = crate::note::SigningKey::from_seed("l".parse().unwrap(), &[1; 32]);
        let note = SignedNote::sign(TEXT.to_owned(), &[&log]).unwrap();
        let bytes = witness.cosign(&note, 1_679_315_147).bytes;
        assert_eq!((bytes.len(), &bytes[..8]), (72, &[0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb][..]));
        let signed = format!("cosignature/v1\ntime 1679315147\n{TEXT}");
        let plain = crate::note::SigningKey::from_seed("x".parse().unwrap(), &[5; 32]);
        assert!(plain.verifying_key().verify(signed.as_bytes(), &bytes[8..]));
        let hash = crate::base::digest::Sha256::of(
            &[b"witness.example/w1\n\x04", plain.verifying_key().bytes()].concat(),
        );
        assert_eq!(witness.verifying_key().id().0, hash.as_bytes()[..4]);
    }

    #[test]
    fn witness_key_texts_round_trip_and_are_no_log_keys() {
        let witness = cosigner();
        let public = witness.verifying_key().to_string();
        assert_eq!(public.parse::<WitnessKey>().as_ref(), Ok(witness.verifying_key()));
        assert_eq!(public.parse::<crate::note::VerifyingKey>(), Err(KeyError::Type { found: 4, wanted: 1 }));
        let secret: Cosigner = witness.secret_text().parse().unwrap();
        assert_eq!(secret.verifying_key(), witness.verifying_key());
        assert_eq!(
            format!("{secret:?}"),
            format!("SecretKey({}+{})", secret.verifying_key().name(), secret.verifying_key().id())
        );
    }
}
