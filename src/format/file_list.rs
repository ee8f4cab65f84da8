//! File lists: everything in a run but its manifest (`store-layout.md`, "File lists").
//!
//! A list is canonical JSON, sorted by the UTF-8 bytes of the paths. Up to
//! [`limits::FILE_LIST_ENTRIES`] entries it is one blob; above, the blob is a list of such lists.

use super::{RecordError, from_canonical, to_canonical};
use crate::base::digest::{Blake3, BlobId, Sha256};
use crate::base::limits;
use crate::base::name::LogicalPath;

const WHAT: &str = "file list";

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// A folder.
    Dir,
    /// A regular file.
    File,
}

/// One file or folder of a run. Sizes and digests belong to files alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it lies in the run.
    pub path: LogicalPath,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: FileType,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<Blake3>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<bool>,
}

impl FileEntry {
    /// A folder.
    pub fn dir(path: LogicalPath) -> Self {
        Self { path, kind: FileType::Dir, bytes: None, sha256: None, blake3: None, exec: None }
    }

    /// A regular file; `exec` is whether its owner may execute it.
    pub fn file(path: LogicalPath, blob: BlobId, exec: bool) -> Self {
        Self {
            path,
            kind: FileType::File,
            bytes: Some(blob.bytes),
            sha256: Some(blob.sha256),
            blake3: Some(blob.blake3),
            exec: Some(exec),
        }
    }

    /// The file's blob; `None` for a folder.
    pub fn blob(&self) -> Option<BlobId> {
        Some(BlobId { sha256: self.sha256?, blake3: self.blake3?, bytes: self.bytes? })
    }

    /// Whether the file's owner may execute it.
    pub fn exec(&self) -> bool {
        self.exec == Some(true)
    }

    fn is_whole(&self) -> bool {
        let file = (self.bytes.is_some(), self.sha256.is_some(), self.blake3.is_some(), self.exec.is_some());
        match self.kind {
            FileType::File => file == (true, true, true, true),
            FileType::Dir => file == (false, false, false, false),
        }
    }
}

#[derive(serde::Serialize)]
struct FlatRef<'a> {
    v: u64,
    entries: &'a [FileEntry],
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    v: u64,
    entries: Vec<FileEntry>,
}

/// One part of a list of lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The first path of the part.
    pub first: LogicalPath,
    /// Digest of the part's blob, itself a file list.
    pub list: Sha256,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree {
    v: u64,
    parts: Vec<Part>,
}

/// A file list, or the parts of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListBlob {
    /// The entries.
    Entries(Vec<FileEntry>),
    /// Where the entries are.
    Parts(Vec<Part>),
}

impl ListBlob {
    /// Reads a blob; entries are checked for order, for doubles and for files used as folders.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        // Most are flat, and need not be looked into first.
        let flat: Result<Flat, _> = from_canonical(WHAT, bytes);
        if let Ok(Flat { v: 1, entries }) = flat {
            check_entries(&entries)?;
            return Ok(Self::Entries(entries));
        }
        #[derive(serde::Deserialize)]
        struct Probe {
            v: u64,
            parts: Option<serde::de::IgnoredAny>,
        }
        let probe: Probe =
            serde_json::from_slice(bytes).map_err(|source| RecordError::Json { what: WHAT, source })?;
        if probe.v != 1 {
            return Err(RecordError::Version { what: WHAT, found: probe.v, known: 1 });
        }
        if probe.parts.is_some() {
            let tree: Tree = from_canonical(WHAT, bytes)?;
            return Ok(Self::Parts(tree.parts));
        }
        flat.map(|flat| Self::Entries(flat.entries))
    }
}

/// Checks what must hold of the entries of one list.
pub fn check_entries(entries: &[FileEntry]) -> Result<(), RecordError> {
    let bad = |why: String| Err(RecordError::Inconsistent { what: WHAT, why });
    let mut files: Vec<&str> = Vec::new();
    let mut previous: Option<&LogicalPath> = None;
    for entry in entries {
        if !entry.is_whole() {
            return bad(format!("{:?} lacks or has too many members for its type", entry.path));
        }
        if previous.is_some_and(|previous| *previous >= entry.path) {
            return bad(format!("{:?} is out of order or there twice", entry.path));
        }
        // Entries are sorted by bytes, so a file's own name comes before anything below it, but
        // names like `a-b` may lie between `a` and `a/b`: every ancestor is looked up.
        if entry.path.parents().any(|parent| files.binary_search(&parent).is_ok()) {
            return bad(format!("{:?} lies below a file", entry.path));
        }
        if entry.kind == FileType::File {
            files.push(entry.path.as_str());
        }
        previous = Some(&entry.path);
    }
    Ok(())
}

/// The blobs that make up a file list: its parts first, the list itself last.
pub fn print(entries: &[FileEntry]) -> Vec<Vec<u8>> {
    let flat = |entries: &[FileEntry]| to_canonical(&FlatRef { v: 1, entries });
    if entries.len() <= limits::FILE_LIST_ENTRIES {
        return vec![flat(entries)];
    }
    let mut blobs: Vec<Vec<u8>> = entries.chunks(limits::FILE_LIST_ENTRIES).map(flat).collect();
    let firsts = entries.chunks(limits::FILE_LIST_ENTRIES).map(|chunk| chunk[0].path.clone());
    let parts =
        firsts.zip(&blobs).map(|(first, blob)| Part { first, list: Sha256::of(blob) }).collect::<Vec<_>>();
    blobs.push(to_canonical(&Tree { v: 1, parts }));
    blobs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> FileEntry {
        FileEntry::file(path.parse().unwrap(), BlobId::of(path.as_bytes()), false)
    }

    #[test]
    fn file_list_round_trips_in_canonical_form() {
        let entries = vec![FileEntry::dir("a".parse().unwrap()), file("a-b"), file("a/b")];
        let blobs = print(&entries);
        assert_eq!(ListBlob::parse(&blobs[0]).unwrap(), ListBlob::Entries(entries));
        assert!(blobs[0].starts_with(b"{\"entries\":[{\"path\":\"a\",\"type\":\"dir\"}"));
    }

    #[test]
    fn file_list_with_a_bad_order_a_double_or_a_file_as_folder_is_refused() {
        for entries in [
            vec![file("b"), file("a")],
            vec![file("a"), file("a")],
            vec![file("a"), file("a-b"), file("a/b")],
            vec![file("a"), file("a-b"), FileEntry::dir("a/b".parse().unwrap())],
        ] {
            let bytes = print(&entries).remove(0);
            assert!(matches!(ListBlob::parse(&bytes), Err(RecordError::Inconsistent { .. })), "{entries:?}");
        }
        let escape = b"{\"entries\":[{\"path\":\"../x\",\"type\":\"dir\"}],\"v\":1}";
        assert!(ListBlob::parse(escape).is_err());
        let bare = b"{\"entries\":[{\"path\":\"x\",\"type\":\"file\"}],\"v\":1}";
        assert!(ListBlob::parse(bare).is_err());
    }

    #[test]
    fn file_list_over_the_limit_becomes_a_list_of_lists() {
        let entries: Vec<FileEntry> =
            (0..limits::FILE_LIST_ENTRIES + 1).map(|n| file(&format!("f{n:06}"))).collect();
        let blobs = print(&entries);
        assert_eq!(blobs.len(), 3);
        let ListBlob::Parts(parts) = ListBlob::parse(&blobs[2]).unwrap() else { panic!("not a tree") };
        assert_eq!(parts[1].list, Sha256::of(&blobs[1]));
        assert_eq!(parts[1].first.as_str(), "f010000");
    }
}
