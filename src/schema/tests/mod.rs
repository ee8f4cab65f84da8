//! Tests of packs: loading, detection, steps, the engine's refusals, the history.

mod fit;
mod hostile;
mod invariants;
mod kinds;
mod load;
mod sigilzero;
mod steps;

use std::collections::BTreeMap;

use super::*;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;

/// A pack of two versions, `1` and `2`, with permissive schemas and the given migration steps.
pub(super) fn two_versions(extra: &str, steps: &str) -> Result<Pack, PackError> {
    two_versions_with(r#"{"type":"object"}"#, extra, steps)
}

pub(super) fn two_versions_with(schema: &str, extra: &str, steps: &str) -> Result<Pack, PackError> {
    let text = format!(
        "[pack]\nname = \"t\"\nversion = \"1\"\nversion_at = \"/v\"\nhead = \"2\"\norder = \"graph\"\n\
         [[shape]]\nversion = \"1\"\nschema = \"s.schema.json\"\n\
         [[shape]]\nversion = \"2\"\nschema = \"s.schema.json\"\n\
         {extra}\n[[migration]]\nfrom = \"1\"\nto = \"2\"\n{steps}\n"
    );
    parse(&[("pack.toml", &text), ("s.schema.json", schema)])
}

pub(super) fn parse(files: &[(&str, &str)]) -> Result<Pack, PackError> {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    Pack::parse(&files)
}

pub(super) fn sigilzero() -> &'static Pack {
    Pack::builtin("sigilzero").expect("it is built in")
}

pub(super) fn rewritten(outcome: Outcome) -> Rewrite {
    match outcome {
        Outcome::Rewrite(rewrite) => rewrite,
        other => panic!("no rewrite: {other:?}"),
    }
}

pub(super) fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) fn stamp() -> Stamp {
    Stamp { applied_at: Moment::from_millis(1_772_300_000_123) }
}

pub(super) fn file(path: &str, bytes: &[u8]) -> FileFact {
    FileFact { path: path.to_owned(), sha256: Sha256::of(bytes), bytes: bytes.len() as u64 }
}

/// Facts of a run with these files, contents included.
pub(super) fn facts(files: &[(&str, &str)]) -> Facts {
    Facts {
        files: files.iter().map(|(path, text)| file(path, text.as_bytes())).collect(),
        contents: files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
    }
}
