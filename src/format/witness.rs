//! The request that a log makes of a witness, C2SP tlog-witness: an old size, a consistency proof, an
//! empty line, a checkpoint; and the answer, cosignature lines.

use std::fmt;

use super::RecordError;
use crate::merkle::Hash;
use crate::note::{NoteSignature, SignedNote};

const WHAT: &str = "witness request";
/// The specification allows no more lines of proof.
const MAX_PROOF: usize = 63;

/// The body of an add-checkpoint request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessRequest {
    /// The size that the witness cosigned last.
    pub old: u64,
    /// The proof that the tree of that size begins the new one.
    pub proof: Vec<Hash>,
    /// The checkpoint to cosign.
    pub checkpoint: SignedNote,
}

impl fmt::Display for WitnessRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl WitnessRequest {
    /// Reads a request and nothing that would print differently.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let bad = |why: &str| RecordError::Inconsistent { what: WHAT, why: why.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| bad("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).unwrap_or_default();
        let size: u64 = old.parse().map_err(|_| bad("its first line names no old size"))?;
        if size.to_string() != old {
            return Err(bad("its old size is not in the shortest form"));
        }
        let proof: Vec<Hash> = lines
            .map(|line| line.parse().map_err(|_| bad("a line of its proof is no hash in base64")))
            .collect::<Result<_, _>>()?;
        if proof.len() > MAX_PROOF {
            return Err(bad("its proof has more than 63 lines"));
        }
        let checkpoint = SignedNote::parse(note.as_bytes()).map_err(|error| bad(&error.to_string()))?;
        Ok(Self { old: size, proof, checkpoint })
    }
}

/// The lines of a witness's answer.
pub fn print_answer(signatures: &[NoteSignature]) -> String {
    signatures.iter().map(|signature| format!("{signature}\n")).collect()
}

/// Reads a witness's answer: nothing but signature lines.
pub fn parse_answer(bytes: &[u8]) -> Result<Vec<NoteSignature>, RecordError> {
    let bad = |why: String| RecordError::Inconsistent { what: "witness answer", why };
    // The note parser takes exactly such lines after a text.
    let note = [b"x\n\n", bytes].concat();
    let note = SignedNote::parse(&note).map_err(|error| bad(error.to_string()))?;
    if note.text() != "x\n" {
        return Err(bad("it holds more than signature lines".to_owned()));
    }
    Ok(note.signatures().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;

    /// The example of the specification.
    const EXAMPLE: &str = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

    #[test]
    fn witness_request_of_the_specification_round_trips() {
        let request = WitnessRequest::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.to_string(), EXAMPLE);
    }

    #[test]
    fn witness_request_in_any_other_form_is_refused() {
        for bad in [
            String::new(),
            EXAMPLE.replacen("old ", "old  ", 1),
            EXAMPLE.replacen("old 2", "old 02", 1),
            EXAMPLE.replacen("old 2", "2", 1),
            EXAMPLE.replacen("old 20852014", "old -1", 1),
            EXAMPLE.replacen("kaw=\n", "kaw\n", 1),
            EXAMPLE.replacen("Kj/0=\n\n", "Kj/0=\n", 1),
            EXAMPLE.replacen("/6WV", &"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n/6WV".repeat(61), 1),
        ] {
            assert!(WitnessRequest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn witness_answer_is_signature_lines_only() {
        let key = SigningKey::from_seed("w".parse().unwrap(), &[1; 32]);
        let note = SignedNote::sign("a\n".to_owned(), &[&key]).unwrap();
        let text = print_answer(note.signatures());
        assert_eq!(parse_answer(text.as_bytes()).unwrap(), note.signatures());
        for bad in ["", "\n", "more\n", &format!("\n{text}"), &format!("text\n\n{text}"), text.trim_end()] {
            assert!(parse_answer(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
