//! What becomes of one document of a carrier.

use crate::base::json::{Doc, JsonError};
use crate::schema::{Detection, Facts, Outcome, Pack, Refusal, Rewrite, Stamp};

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is rewritten.
    Rewrite(Box<Rewrite>),
    /// It is where it is to be.
    Current,
    /// It is left as it is, for this reason.
    Refused(String),
    /// It is no JSON document of this kind.
    Unreadable(String),
    /// It is of another kind that the pack knows, and is passed through.
    Foreign(String),
}

impl Verdict {
    /// The verdict in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rewrite(_) => "migrated",
            Self::Current => "current",
            Self::Refused(_) => "refused",
            Self::Unreadable(_) => "unreadable",
            Self::Foreign(_) => "foreign",
        }
    }

    /// Why it is left.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(why) | Self::Unreadable(why) | Self::Foreign(why) => Some(why),
            Self::Rewrite(_) | Self::Current => None,
        }
    }
}

/// Decides about one document. There are no side facts: what a document outside the store says is
/// all that is known of it.
pub fn judge(pack: &Pack, text: &[u8], target: Option<&str>, stamp: Option<&Stamp>) -> Verdict {
    match pack.migrate(text, target, &Facts::default(), stamp) {
        Outcome::Current { .. } => Verdict::Current,
        Outcome::Rewrite(rewrite) => Verdict::Rewrite(Box::new(rewrite)),
        Outcome::Refused(Refusal::NotJson(error)) => Verdict::Unreadable(unreadable(&error)),
        Outcome::Refused(Refusal::Detection(detection)) => left(&detection),
        Outcome::Refused(why) => Verdict::Refused(why.to_string()),
    }
}

/// Why a text is no JSON, with the place in the document: the line only where it has several.
pub fn unreadable(error: &JsonError) -> String {
    let line = if error.line > 1 { format!("line {}, ", error.line) } else { String::new() };
    let help = error.kind.help().map_or(String::new(), |help| format!("; {help}"));
    format!("{line}column {}: {}{help}", error.column, error.kind)
}

fn left(detection: &Detection) -> Verdict {
    match detection {
        Detection::NotThisKind { kind: Some(kind), .. } => Verdict::Foreign(kind.clone()),
        other => Verdict::Refused(other.to_string()),
    }
}

/// Decides whether a document is what it says, and of a version if one is given; with the name of its
/// shape where that is known. Nothing is rewritten.
pub fn looks_at(pack: &Pack, doc: &Doc<'_>, version: Option<&str>) -> (Verdict, Option<String>) {
    let detection = pack.detect(doc);
    match shape_of(&detection) {
        None => (left(&detection), None),
        Some((found, shape)) => match version {
            Some(wanted) if wanted != found => {
                (Verdict::Refused(format!("it is of version {found}, not {wanted}")), Some(shape))
            }
            _ => (Verdict::Current, Some(shape)),
        },
    }
}

/// The version and the shape's name of a document whose shape is known.
pub fn shape_of(detection: &Detection) -> Option<(&str, String)> {
    let (Detection::Known { version, variant } | Detection::Legacy { version, variant, .. }) = detection
    else {
        return None;
    };
    let name = match variant {
        Some(variant) => format!("{version}/{variant}"),
        None => version.clone(),
    };
    Some((version, name))
}

/// As [`looks_at`], from the text.
#[cfg(test)]
fn look(pack: &Pack, text: &[u8], version: Option<&str>) -> Verdict {
    match crate::base::json::scan(text) {
        Ok(doc) => looks_at(pack, &doc, version).0,
        Err(error) => Verdict::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart_by_what_they_are() {
        let pack = Pack::builtin("sigilzero").unwrap();
        assert!(matches!(judge(pack, b"{", None, None), Verdict::Unreadable(_)));
        assert!(matches!(judge(pack, b"[]", None, None), Verdict::Refused(_)));
        assert!(matches!(look(pack, b"{\"schema_version\":\"9.0.0\"}", None), Verdict::Refused(_)));
        assert!(matches!(look(pack, b"{,", None), Verdict::Unreadable(_)));
    }
}
