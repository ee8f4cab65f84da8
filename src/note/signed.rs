//! The note itself: text, empty line, signatures.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{KeyId, KeyName};
use super::log_key::{SigningKey, VerifyingKey};

/// More bytes than this are no note. Sixteen post-quantum signatures of 5 kB fit.
pub const MAX_NOTE_BYTES: usize = 1 << 20;
/// More signatures than this are no note; the specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// Why bytes are no note, or a note is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is over [`MAX_NOTE_BYTES`] or [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_NOTE_BYTES} bytes or {MAX_SIGNATURES} signatures")]
    TooLarge,
    /// The bytes are not UTF-8 or hold a control character other than newline.
    #[error("the note is not UTF-8 text without control characters")]
    NotText,
    /// There is no empty line between a text and its signatures.
    #[error("the note does not consist of text, an empty line and signatures")]
    Form,
    /// A line after the last empty one is no signature.
    #[error("line {line} of the note's signatures is not one")]
    SignatureLine {
        /// Which of the signature lines, from 1.
        line: usize,
    },
    /// A key does not sign a text like this one.
    #[error("a key that signs checkpoints only cannot sign this text")]
    NotSignable,
    /// A key that the caller knows has signed, and the signature is wrong.
    #[error("the signature of {name}+{id} on the note is wrong")]
    WrongSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// No key that the caller knows has signed.
    #[error("no known key has signed the note")]
    Unknown,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Who is said to have signed.
    pub name: KeyName,
    /// With which key.
    pub id: KeyId,
    /// The signature, in the form that the key's type prescribes.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    /// The signature's line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0, self.bytes.as_slice()].concat();
        write!(f, "\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A note as it was read or made; its text is not to be used before [`verify`](Self::verify).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Whether a text may be signed: it ends with a newline and has no other control character.
fn is_note_text(text: &str) -> bool {
    text.ends_with('\n') && !text.bytes().any(|b| b < 0x20 && b != b'\n')
}

impl SignedNote {
    /// Signs a text, which ends with a newline and has no other control characters.
    pub fn sign(text: String, keys: &[&SigningKey]) -> Result<Self, NoteError> {
        if !is_note_text(&text) {
            return Err(NoteError::NotText);
        }
        if keys.is_empty() {
            return Err(NoteError::Form);
        }
        let mut note = Self { text, signatures: Vec::new() };
        for key in keys {
            let bytes = key.sign_text(&note.text).ok_or(NoteError::NotSignable)?;
            let public = key.verifying_key();
            note.signatures.push(NoteSignature { name: public.name().clone(), id: public.id(), bytes });
        }
        Ok(note)
    }

    /// Adds a signature, unless one of that key is there.
    pub fn add(&mut self, signature: NoteSignature) {
        let same = |mine: &NoteSignature| mine.name == signature.name && mine.id == signature.id;
        if self.signatures.len() < MAX_SIGNATURES && !self.signatures.iter().any(same) {
            self.signatures.push(signature);
        }
    }

    /// Removes the signatures of one key.
    pub fn drop_signatures_of(&mut self, name: &KeyName, id: KeyId) {
        self.signatures.retain(|signature| signature.name != *name || signature.id != id);
    }

    /// Takes over the signatures that another note has on the same text and this one has not, as they are.
    pub fn take_over(&mut self, other: &Self) {
        if self.text != other.text {
            return;
        }
        other.signatures.iter().for_each(|signature| self.add(signature.clone()));
    }

    /// Parses a note. What it prints is what was parsed, byte for byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if whole.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::NotText);
        }
        // The last empty line separates: the text itself may hold empty lines.
        let at = whole.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&whole[..=at], &whole[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let mut signatures = Vec::new();
        for (at, line) in lines.split('\n').enumerate() {
            if at == MAX_SIGNATURES {
                return Err(NoteError::TooLarge);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::SignatureLine { line: at + 1 })?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, with its final newline. Whoever has not verified the note has no reason to read it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, of known and unknown keys.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Which of these keys have signed. One wrong signature by any of them makes the whole note
    /// worthless, and so does having none; signatures by other keys, and by keys that this build cannot
    /// check, are passed over.
    pub fn verify<'k>(&self, keys: &'k [VerifyingKey]) -> Result<Vec<&'k VerifyingKey>, NoteError> {
        let mut found: Vec<&VerifyingKey> = Vec::new();
        for signature in &self.signatures {
            // Two keys may share name and id by accident or malice: then either may have signed.
            let mut named = keys
                .iter()
                .filter(|key| *key.name() == signature.name && key.id() == signature.id && key.is_checkable())
                .peekable();
            if named.peek().is_none() {
                continue;
            }
            match named.find(|key| key.signed_text(&self.text, &signature.bytes)) {
                Some(key) if !found.contains(&key) => found.push(key),
                Some(_) => {}
                None => {
                    return Err(NoteError::WrongSignature { name: signature.name.clone(), id: signature.id });
                }
            }
        }
        if found.is_empty() { Err(NoteError::Unknown) } else { Ok(found) }
    }
}

/// Parses `— <name> <base64>`; the base64 has its one form, so that a note has one text.
fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some(NoteSignature { name: name.parse().ok()?, id: KeyId(*id), bytes: signature.to_vec() })
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("example.com/log".parse().unwrap(), &[seed; 32])
    }

    #[test]
    fn note_of_another_implementation_verifies() {
        // The example of Go's note package.
        let public: VerifyingKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let note = SignedNote::parse(text.as_bytes()).unwrap();
        assert_eq!(note.to_string(), text);
        assert_eq!(note.verify(std::slice::from_ref(&public)).map(|keys| keys.len()), Ok(1));
    }

    #[test]
    fn note_with_any_bit_changed_does_not_verify_to_another() {
        let (signer, keys) = (key(1), [key(1).verifying_key().clone()]);
        let good = SignedNote::sign("a\n\nb\n".to_owned(), &[&signer]).unwrap();
        let bytes = good.to_string().into_bytes();
        assert_eq!(SignedNote::parse(&bytes).as_ref(), Ok(&good));
        assert!(good.verify(&keys).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let taken = SignedNote::parse(&bad).is_ok_and(|note| note.verify(&keys).is_ok());
            assert!(!taken, "bit {bit}");
        }
    }

    #[test]
    fn note_signatures_by_unknown_keys_are_passed_over() {
        let (known, other) = (key(1), key(2));
        let keys = [known.verifying_key().clone()];
        let both = SignedNote::sign("x\n".to_owned(), &[&other, &known]).unwrap();
        assert_eq!(both.verify(&keys), Ok(vec![&keys[0]]));
        let alone = SignedNote::sign("x\n".to_owned(), &[&other]).unwrap();
        assert_eq!(alone.verify(&keys), Err(NoteError::Unknown));
        let mut wrong = both.clone();
        wrong.signatures[1].bytes[7] ^= 1;
        assert!(matches!(wrong.verify(&keys), Err(NoteError::WrongSignature { .. })));
    }

    fn by(name: &str, id: u8) -> NoteSignature {
        NoteSignature { name: name.parse().unwrap(), id: KeyId([id; 4]), bytes: vec![1] }
    }

    #[test]
    fn note_has_one_signature_of_a_key_and_as_many_as_the_limit() {
        let mut note = SignedNote { text: "x\n".to_owned(), signatures: Vec::new() };
        for (name, id, count) in
            [("a", 1, 1), ("a", 1, 1), ("a", 2, 2), ("b", 1, 3), ("b", 1, 3), ("b", 2, 4)]
        {
            note.add(by(name, id));
            assert_eq!(note.signatures.len(), count, "{name} {id}");
        }
        let mut most = note.clone();
        (0..=MAX_SIGNATURES as u8).for_each(|id| most.add(by("c", id)));
        assert_eq!(most.signatures.len(), MAX_SIGNATURES);
        note.drop_signatures_of(&"a".parse().unwrap(), KeyId([1; 4]));
        assert_eq!(note.signatures, [by("a", 2), by("b", 1), by("b", 2)]);
    }

    #[test]
    fn note_takes_over_signatures_of_its_own_text_only() {
        let note = |text: &str, signatures: &[NoteSignature]| SignedNote {
            text: text.to_owned(),
            signatures: signatures.to_vec(),
        };
        let from = note("x\n", &[by("a", 1), by("b", 1)]);
        let mut same = note("x\n", &[by("b", 1), by("b", 2)]);
        same.take_over(&from);
        assert_eq!(same.signatures, [by("b", 1), by("b", 2), by("a", 1)]);
        let mut other = note("y\n", &[by("c", 1)]);
        other.take_over(&from);
        assert_eq!(other.signatures, [by("c", 1)]);
    }

    #[test]
    fn note_text_has_no_control_characters_but_newlines() {
        let signs = |text: &str| SignedNote::sign(text.to_owned(), &[&key(1)]).is_ok();
        assert!(signs("a b\n") && signs(" \n\n!\n"));
        assert!(["a\tb\n", "a\u{1f}\n", "\0\n", "a\r\n", "a", ""].iter().all(|text| !signs(text)));
    }

    #[test]
    fn note_in_any_other_form_is_refused() {
        let line = "\u{2014} a AAAAAAA=\n";
        assert!(SignedNote::parse(format!("x\n\n{line}").as_bytes()).is_ok());
        for (bad, error) in [
            (String::new(), NoteError::Form),
            ("x\n".to_owned(), NoteError::Form),
            (format!("x\n{line}"), NoteError::Form),
            ("x\n\n".to_owned(), NoteError::Form),
            (format!("x\n\n{}", line.trim_end()), NoteError::Form),
            (format!("x\r\n\n{line}"), NoteError::NotText),
            (format!("x\n\n{line}- a AAAAAAA=\n"), NoteError::SignatureLine { line: 2 }),
            (format!("x\n\n{}", line.replace("AAA=", "AAB=")), NoteError::SignatureLine { line: 1 }),
            (format!("x\n\n{}", line.replace(" a ", "  ")), NoteError::SignatureLine { line: 1 }),
            (format!("x\n\n{}", line.replace("AAAAAAA=", "AAAA")), NoteError::SignatureLine { line: 1 }),
            (format!("x\n\n{}", line.repeat(MAX_SIGNATURES + 1)), NoteError::TooLarge),
            (format!("{}\n\n{line}", "x".repeat(MAX_NOTE_BYTES)), NoteError::TooLarge),
        ] {
            assert_eq!(SignedNote::parse(bad.as_bytes()), Err(error), "{bad:?}");
        }
        let end = format!("\n\n{line}");
        let longest = "x".repeat(MAX_NOTE_BYTES - end.len()) + &end;
        assert!(SignedNote::parse(longest.as_bytes()).is_ok());
        let most = format!("x\n\n{}", line.repeat(MAX_SIGNATURES));
        assert_eq!(SignedNote::parse(most.as_bytes()).unwrap().signatures.len(), MAX_SIGNATURES);
        assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::NotText));
        assert_eq!(SignedNote::sign("no newline".to_owned(), &[&key(1)]), Err(NoteError::NotText));
        assert_eq!(SignedNote::sign("x\n".to_owned(), &[]), Err(NoteError::Form));
    }
}
