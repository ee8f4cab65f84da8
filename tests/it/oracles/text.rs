//! Oracles of names and of the store's own records.

use strongroom::base::canonical::rfc8785;
use strongroom::base::digest::{Blake3, Sha256};
use strongroom::base::id::{JobId, OperationId, RunId};
use strongroom::base::json;
use strongroom::base::name::{LogicalPath, fold_key};
use strongroom::format::actor::{Actor, Reason};
use strongroom::format::batch::Batch;
use strongroom::format::config::StoreConfig;
use strongroom::format::entry::Entry;
use strongroom::format::file_list::{self, FileEntry, FileType, ListBlob};
use strongroom::format::finding::Exceptions;
use strongroom::format::head::Head;

use super::input::Input;

/// Names are taken exactly when the rule as it is written down takes them.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert_eq!(text.parse::<JobId>().is_ok(), is_id(&text), "{text:?}");
    match text.parse::<RunId>() {
        Ok(id) => {
            assert!(is_id(&text));
            assert_eq!(id.as_str(), text);
            let (stem, attempt) = id.stem_and_attempt();
            let whole = if attempt == 1 { stem.to_owned() } else { format!("{stem}-{attempt}") };
            assert_eq!(whole, text);
        }
        Err(error) => assert!(!is_id(&text) && !error.to_string().is_empty()),
    }
    match text.parse::<LogicalPath>() {
        Ok(path) => {
            assert!(is_path(&text), "{text:?}");
            assert_eq!(path.as_str(), text);
            // The first few: a path can have two thousand, each as long as the path.
            for parent in path.parents().take(8) {
                assert!(parent.parse::<LogicalPath>().is_ok() && text.starts_with(&format!("{parent}/")));
            }
        }
        Err(error) => assert!(!is_path(&text) && !error.to_string().is_empty(), "{text:?}"),
    }
    if let Ok(id) = text.parse::<OperationId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(digest) = text.parse::<Sha256>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(digest) = text.parse::<Blake3>() {
        assert_eq!(digest.to_string(), text);
    }
    twins_share_a_key(&text);
}

/// `store-layout.md`, section 3, word by word.
fn is_id(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let device = {
        let stem = text.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let numbered = |word: &str| (1..=9).any(|n| stem == format!("{word}{n}"));
        ["con", "prn", "aux", "nul"].contains(&stem.as_str()) || numbered("com") || numbered("lpt")
    };
    (1..=128).contains(&text.len())
        && text.starts_with(first)
        && text.chars().all(|c| first(c) || c == '.' || c == '-')
        && !text.ends_with('.')
        && !device
}

fn is_path(text: &str) -> bool {
    (1..=4096).contains(&text.len())
        && !text.contains('\0')
        && text.split('/').all(|part| (1..=255).contains(&part.len()) && part != "." && part != "..")
}

/// Names that differ by the case of letters alone are one name on a filesystem that folds case.
fn twins_share_a_key(text: &str) {
    let key = fold_key(text);
    assert_eq!(fold_key(&key), key, "{text:?}");
    // Only letters whose two cases are one character each and lead back to each other.
    let other = |c: char| {
        let mut upper = c.to_uppercase();
        let pair = upper.next().filter(|_| upper.next().is_none())?;
        let mut lower = pair.to_lowercase();
        lower.next().filter(|back| *back == c && lower.next().is_none()).map(|_| pair)
    };
    let twin: String = text.chars().map(|c| other(c).unwrap_or(c)).collect();
    assert_eq!(fold_key(&twin), key, "{twin:?} is a twin of {text:?}");
}

/// A record is taken in its canonical form only, and prints as it was read. The first byte chooses the
/// kind of record.
pub fn records(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let bytes = input.rest();
    record(kind, bytes);
    // The same in canonical form, which a fuzzer does not come upon by itself.
    let value = json::scan(bytes).map(|doc| doc.root().to_value());
    if let Ok(Ok(canonical)) = value.map(|value| rfc8785(&value)) {
        record(kind, &canonical);
    }
}

fn record(kind: u8, bytes: &[u8]) {
    let printed = match kind % 8 {
        0 => Entry::parse(bytes).ok().map(|entry| {
            let _ = (entry.run(), entry.blobs().count());
            entry.to_bytes().expect("it was below the limit")
        }),
        1 => Exceptions::parse(bytes).ok().map(|list| list.to_bytes()),
        2 => ListBlob::parse(bytes).ok().map(|list| match list {
            ListBlob::Entries(entries) => {
                can_be_laid_out(&entries);
                file_list::print(&entries).remove(0)
            }
            // Lists of lists are printed with the lists that they name, so not from here.
            ListBlob::Parts(_) => bytes.to_vec(),
        }),
        3 => Head::parse(bytes).ok().map(|head| head.to_bytes()),
        4 => Actor::parse(bytes).ok().map(|actor| actor.to_bytes()),
        5 => Reason::parse(bytes).ok().map(|reason| reason.to_bytes()),
        6 => return batch(bytes),
        _ => return config(bytes),
    };
    if let Some(printed) = printed {
        assert_eq!(printed, bytes);
        let doc = json::scan(bytes).expect("a record is JSON as the store reads it");
        assert_eq!(rfc8785(&doc.root().to_value()).as_deref(), Ok(bytes));
        let version = doc.root().get("v").and_then(|node| node.as_u64());
        assert_eq!(version, Some(1), "a version that this program does not know");
    }
}

/// Every path once, in order, and none below a file.
fn can_be_laid_out(entries: &[FileEntry]) {
    assert!(entries.windows(2).all(|pair| pair[0].path.as_str() < pair[1].path.as_str()));
    let files: Vec<_> = entries.iter().filter(|entry| entry.kind == FileType::File).collect();
    for entry in entries {
        let below = |file: &&FileEntry| entry.path.as_str().starts_with(&format!("{}/", file.path));
        assert!(entries.len() > 100 || !files.iter().any(below), "{} lies below a file", entry.path);
        assert_eq!(entry.blob().is_some(), entry.kind == FileType::File);
    }
}

fn batch(bytes: &[u8]) {
    let Ok(batch) = Batch::parse(bytes) else { return };
    assert_eq!(batch.to_bytes(), bytes);
    assert_eq!(batch.end() - batch.first, batch.entries.len() as u64);
}

fn config(bytes: &[u8]) {
    let Ok(config) = StoreConfig::parse(bytes) else { return };
    let printed = config.print();
    assert_eq!(StoreConfig::parse(printed.as_bytes()).expect("printed by itself"), config);
}
