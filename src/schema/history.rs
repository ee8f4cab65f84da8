//! Migration records inside a document: the portable copy of what the log says.
//!
//! `checksum_after` is the digest of the new text with the 64 digits of this very value written as
//! zeros; the value is found by its span, never by search. `store-layout.md`, "Migration history".

use super::pack::Pack;
use crate::base::canonical::{PythonForm, python_dumps};
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::json::{
    Doc, EditError, Edited, Edits, Json, JsonError, Kind, Node, Place, Pointer, Scanned,
};

/// The checksum form of records that this program writes.
pub const SHA256_ZEROED: &str = "sha256-zeroed";

/// Why a record cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// What stands in the history's place is no array, or there is no object to put one into.
    #[error("{at:?} is of type {found}, not an array")]
    NotAnArray {
        /// The place.
        at: Pointer,
        /// The type found.
        found: &'static str,
    },
    /// The document has the digits of its own checksum elsewhere too.
    #[error("the digits of checksum_after occur elsewhere in the document")]
    AmbiguousChecksum,
    /// The record cannot be spliced in.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The document is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// What a record says.
pub(super) struct Record<'r> {
    pub from: &'r str,
    pub to: &'r str,
    pub path: &'r [String],
    pub applied_at: Moment,
    pub changes: &'r [String],
    pub before: Sha256,
    pub pack: &'r Pack,
}

impl Record<'_> {
    /// The record with zeros for the digits of `checksum_after`.
    fn zeroed(&self) -> Json {
        let texts = |list: &[String]| list.iter().map(String::as_str).collect::<Json>();
        Json::object([
            ("from_version", Json::from(self.from)),
            ("to_version", Json::from(self.to)),
            ("path", texts(self.path)),
            ("applied_at", Json::from(self.applied_at.to_string())),
            ("changes", texts(self.changes)),
            ("checksum_before", Json::from(self.before.to_string())),
            ("checksum_after", Json::from(format!("{}{ZEROS}", Sha256::PREFIX))),
            ("checksum_form", Json::from(SHA256_ZEROED)),
            (
                "pack",
                Json::object([
                    ("name", Json::from(self.pack.name())),
                    ("version", Json::from(self.pack.version())),
                    ("digest", Json::from(self.pack.digest().to_string())),
                ]),
            ),
        ])
    }
}

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Adds a record as the last of the document's history, its checksum still zeros; answers the new text
/// and the place that was added.
pub(super) fn append(
    doc: &Doc<'_>,
    at: &Pointer,
    record: &Record<'_>,
) -> Result<(Edited, Pointer), HistoryError> {
    let mut edits = Edits::new(doc);
    let place = match (doc.at(at), at.split_last()) {
        (Some(list), _) if list.kind() == Kind::Array => {
            edits.append(list, record.zeroed());
            at.child(list.len().to_string())
        }
        (None, Some((parent, name))) if doc.at(&parent).is_some() => {
            let parent = doc.at(&parent).unwrap_or(doc.root());
            edits.insert(parent, Place::End, name, Json::Array(vec![record.zeroed()]));
            at.clone()
        }
        (found, _) => {
            let found = found.map_or("absent", |node| node.kind().name());
            return Err(HistoryError::NotAnArray { at: at.clone(), found });
        }
    };
    Ok((edits.apply()?, place))
}

/// Puts the checksum in the place of the zeros of the last record; answers it.
pub(super) fn put_checksum(text: &mut Scanned, at: &Pointer) -> Result<Sha256, HistoryError> {
    let digits = text.with(|zeroed| last_record(zeroed, at).and_then(checksum_digits));
    let digits = digits.ok_or_else(|| HistoryError::NotAnArray { at: at.clone(), found: "array" })?;
    let checksum = Sha256::of(text.text().as_bytes());
    let hex = checksum.hex();
    text.put_digits(digits, &hex);
    if text.text().matches(&hex).count() != 1 {
        return Err(HistoryError::AmbiguousChecksum);
    }
    Ok(checksum)
}

fn last_record<'d>(doc: &'d Doc<'_>, at: &Pointer) -> Option<Node<'d>> {
    doc.at(at)?.elements().last()
}

/// The bytes of the 64 digits of a record's `checksum_after`.
fn checksum_digits(record: Node<'_>) -> Option<std::ops::Range<usize>> {
    let value = record.get("checksum_after")?;
    // Spelled without escapes, so that the span's bytes are the digits themselves.
    let inner = value.raw().strip_prefix('"')?.strip_suffix('"')?;
    inner.parse::<Sha256>().ok()?;
    let end = value.span().end - 1;
    Some(end - ZEROS.len()..end)
}

/// How a record's checksum was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumForm {
    /// Of the exact text, with the checksum's own digits as zeros.
    Sha256Zeroed,
    /// Of Python's `json.dumps(…, sort_keys=True)` without the record.
    PythonWithoutRecord,
    /// The same without the whole history, where this is the first record.
    PythonWithoutHistory,
}

/// What checking one record comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryState {
    /// The checksum was computed again and is equal.
    Verified {
        /// How it was made.
        form: ChecksumForm,
    },
    /// The checksum was computed again and differs: the document changed since.
    Differs {
        /// What the record says.
        stated: Sha256,
        /// What the text gives.
        computed: Sha256,
    },
    /// Not the last record: only a kept revision can tell.
    NeedsRevision,
    /// The record cannot be read.
    Malformed {
        /// Why not.
        why: String,
    },
}

/// What is known of one record of a document's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryCheck {
    /// Its place.
    pub at: Pointer,
    /// The version before, if it says one.
    pub from: Option<String>,
    /// The version after, if it says one.
    pub to: Option<String>,
    /// What checking it came to.
    pub state: HistoryState,
}

/// Checks the history of a document: the last record against the text, the others for their form.
///
/// Answers nothing where the pack has no history or the document none.
pub fn check(doc: &Doc<'_>, pack: &Pack) -> Vec<HistoryCheck> {
    let Some(at) = pack.history_at() else { return Vec::new() };
    let Some(list) = doc.at(at) else { return Vec::new() };
    if list.kind() != Kind::Array {
        let why = format!("the history is of type {}, not an array", list.kind().name());
        let state = HistoryState::Malformed { why };
        return vec![HistoryCheck { at: at.clone(), from: None, to: None, state }];
    }
    let last = list.len().saturating_sub(1);
    list.elements()
        .enumerate()
        .map(|(i, record)| {
            let version = |key: &str| Some(record.get(key)?.as_str()?.into_owned());
            HistoryCheck {
                at: at.child(i.to_string()),
                from: version("from_version"),
                to: version("to_version"),
                state: state_of(doc, list, record, i == last),
            }
        })
        .collect()
}

fn state_of(doc: &Doc<'_>, list: Node<'_>, record: Node<'_>, is_last: bool) -> HistoryState {
    let malformed = |why: &str| HistoryState::Malformed { why: why.to_owned() };
    let stated = record.get("checksum_after").and_then(|node| node.as_str()?.parse::<Sha256>().ok());
    let Some(stated) = stated else { return malformed("checksum_after is no digest") };
    let form = match record.get("checksum_form") {
        None => None,
        Some(node) if node.as_str().as_deref() == Some(SHA256_ZEROED) => Some(SHA256_ZEROED),
        Some(_) => return malformed("checksum_form is unknown"),
    };
    if !is_last {
        return HistoryState::NeedsRevision;
    }
    if form.is_some() {
        let Some(digits) = checksum_digits(record) else {
            return malformed("checksum_after is spelled with escapes");
        };
        let mut zeroed = doc.text().as_bytes().to_vec();
        zeroed[digits].copy_from_slice(ZEROS.as_bytes());
        let computed = Sha256::of(&zeroed);
        return if computed == stated {
            HistoryState::Verified { form: ChecksumForm::Sha256Zeroed }
        } else {
            HistoryState::Differs { stated, computed }
        };
    }
    let dumped =
        |without| Sha256::of(python_dumps(doc.root(), PythonForm::Default, Some(without)).as_bytes());
    let computed = dumped(record);
    if computed == stated {
        HistoryState::Verified { form: ChecksumForm::PythonWithoutRecord }
    } else if list.len() == 1 && dumped(list) == stated {
        HistoryState::Verified { form: ChecksumForm::PythonWithoutHistory }
    } else {
        HistoryState::Differs { stated, computed }
    }
}
