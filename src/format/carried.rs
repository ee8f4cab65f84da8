//! Blobs that an `intent` entry names: what lies outside the store, and what is to be done to it
//! (`store-layout.md`, "Carriers").

use super::{RecordError, from_canonical, known_version, to_canonical};
use crate::base::digest::{Blake3, BlobId, Sha256, hex};
use crate::schema::{AddedColumn, CarrierKind};

/// What lies outside the store: salted, because a path can hold a person's name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetRecord {
    v: u64,
    /// The absolute path of the file.
    pub path: String,
    /// What kind of carrier it is.
    pub kind: CarrierKind,
    /// The table and the column that names its rows, for a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableRecord>,
    salt: String,
}

/// Which table of a database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRecord {
    /// Its name.
    pub name: String,
    /// The column that names a row.
    pub key: String,
}

impl TargetRecord {
    /// A record of a target.
    pub fn new(path: String, kind: CarrierKind, table: Option<TableRecord>, salt: [u8; 16]) -> Self {
        Self { v: 1, path, kind, table, salt: hex(&salt) }
    }

    /// The blob's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self = from_canonical("target", bytes)?;
        known_version("target", record.v).map(|()| record)
    }
}

/// One document of a plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDocument {
    /// The line, counted from 1; the row's key as JSON text; absent where the file is the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The row's key as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The digest of the document before.
    pub before: Sha256,
    /// The digest of the document after.
    pub after: Sha256,
    /// The versions passed, both ends included; empty for a rollback.
    pub path: Vec<String>,
    /// The digest of the record of values that left the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preserved: Option<Sha256>,
}

/// What is to be done to a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    v: u64,
    /// The documents that change, in the carrier's order.
    pub documents: Vec<PlannedDocument>,
    /// Columns that are added to the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<AddedColumn>,
    /// Columns that are taken away from the table again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<AddedColumn>,
    /// The replaced file, or the database's backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptBlob>,
    /// The rows before, one JSON text per line, in the order of the documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<KeptBlob>,
    /// In a rollback: the intent that it undoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
}

impl PlanRecord {
    /// A plan.
    pub fn new(documents: Vec<PlannedDocument>) -> Self {
        Self { v: 1, documents, ..Self::default() }
    }

    /// The blob's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self = from_canonical("plan", bytes)?;
        known_version("plan", record.v).map(|()| record)
    }

    /// Everything that was kept so that the change can be taken back.
    pub fn kept(&self) -> impl Iterator<Item = BlobId> {
        self.kept.into_iter().chain(self.images).map(BlobId::from)
    }

    /// Digests of the records of values that left documents.
    pub fn preserved(&self) -> impl Iterator<Item = Sha256> + '_ {
        self.documents.iter().filter_map(|document| document.preserved)
    }
}

/// A blob of any size: with the digest that finds a large one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptBlob {
    sha256: Sha256,
    blake3: Blake3,
    bytes: u64,
}

impl From<BlobId> for KeptBlob {
    fn from(id: BlobId) -> Self {
        Self { sha256: id.sha256, blake3: id.blake3, bytes: id.bytes }
    }
}

impl From<KeptBlob> for BlobId {
    fn from(kept: KeptBlob) -> Self {
        Self { sha256: kept.sha256, blake3: kept.blake3, bytes: kept.bytes }
    }
}

/// What became of an intent, as an outcome entry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// The target is what it was to become.
    Applied,
    /// The target is what it was.
    NotApplied,
    /// The target is neither.
    Foreign,
}

impl TargetState {
    /// The word in the entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NotApplied => "not-applied",
            Self::Foreign => "foreign",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_other_versions_are_refused() {
        let table = TableRecord { name: "t".to_owned(), key: "id".to_owned() };
        let target = TargetRecord::new("/a/b.db".to_owned(), CarrierKind::Sqlite, Some(table), [3; 16]);
        assert_eq!(TargetRecord::parse(&target.to_bytes()).unwrap(), target);
        let digest = Sha256::of(b"x");
        let document = PlannedDocument {
            line: Some(3),
            row: None,
            before: digest,
            after: digest,
            path: vec!["1".to_owned()],
            preserved: Some(digest),
        };
        let plan = PlanRecord { kept: Some(BlobId::of(b"x").into()), ..PlanRecord::new(vec![document]) };
        assert_eq!(PlanRecord::parse(&plan.to_bytes()).unwrap(), plan);
        assert_eq!(plan.kept().next(), Some(BlobId::of(b"x")));
        assert_eq!(plan.preserved().count(), 1);
        let newer = String::from_utf8(plan.to_bytes()).unwrap().replace("\"v\":1", "\"v\":2");
        assert!(matches!(PlanRecord::parse(newer.as_bytes()), Err(RecordError::Version { found: 2, .. })));
    }
}
