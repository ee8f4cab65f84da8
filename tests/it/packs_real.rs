//! The built-in packs on the real files of the systems they describe, with exact counts. The data is
//! found by `STRONGROOM_REAL_DATA`; `--nocapture` prints one table a system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom::base::json::{self, Doc};
use strongroom::schema::{Detection, Facts, Outcome, Pack, Rewrite};

/// A folder of the real data; `None` (and a word about it) where there is none on this machine.
pub fn data(system: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("STRONGROOM_REAL_DATA") else {
        println!("skipped: STRONGROOM_REAL_DATA is not set");
        return None;
    };
    let folder = PathBuf::from(folder).join(system);
    assert!(folder.is_dir(), "{} is missing", folder.display());
    Some(folder)
}

fn pack(name: &str) -> &'static Pack {
    Pack::builtin(name).expect("built in")
}

/// All files below a folder with their paths within it, in order.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The lines of a JSON Lines file, without mark and line ends.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect()
}

/// What a document is, in a word; a misfit or unreadable one with its reason.
fn told(pack: &Pack, bytes: &[u8]) -> String {
    match json::scan(bytes) {
        Err(error) => format!("not JSON: {error}"),
        Ok(doc) => match pack.detect(&doc) {
            Detection::NotThisKind { kind: Some(kind), .. } => format!("other kind: {kind}"),
            Detection::Legacy { version, variant, .. } | Detection::Known { version, variant } => {
                variant.map_or(version.clone(), |variant| format!("{version}/{variant}"))
            }
            other => other.to_string(),
        },
    }
}

fn migrate(pack: &Pack, bytes: &[u8], target: Option<&str>) -> Outcome {
    pack.migrate(bytes, target, &Facts::default(), None)
}

/// Migrates, and holds a rewrite to being at rest afterwards.
fn settled(pack: &Pack, bytes: &[u8], target: Option<&str>) -> Outcome {
    let outcome = migrate(pack, bytes, target);
    if let Outcome::Rewrite(rewrite) = &outcome {
        let again = migrate(pack, &rewrite.bytes, target);
        assert!(matches!(again, Outcome::Current { .. }), "not at rest: {again:?}");
    }
    outcome
}

fn rewrite(outcome: Outcome) -> Rewrite {
    match outcome {
        Outcome::Rewrite(rewrite) => rewrite,
        other => panic!("no rewrite: {other:?}"),
    }
}

type Table = BTreeMap<String, u64>;

fn count(table: &mut Table, row: impl Into<String>) {
    *table.entry(row.into()).or_default() += 1;
}

/// Prints a table and holds it to these rows, no more and no fewer.
fn is(title: &str, table: &Table, rows: &[(&str, u64)]) {
    println!("{title}");
    for (row, n) in table {
        println!("  {n:>5}  {row}");
    }
    let expected: Table = rows.iter().map(|(row, n)| ((*row).to_owned(), *n)).collect();
    assert_eq!(*table, expected, "{title}");
}

/// How a document fares on the way to the head.
fn verdict(pack: &Pack, bytes: &[u8]) -> String {
    match settled(pack, bytes, None) {
        Outcome::Current { .. } => "current".to_owned(),
        Outcome::Rewrite(_) => "migrated".to_owned(),
        Outcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

/// Every number of a document, as it is spelled, in the order of the text.
fn numbers<'d>(doc: &'d Doc<'_>) -> Vec<&'d str> {
    let mut found = Vec::new();
    let mut open = vec![doc.root()];
    while let Some(node) = open.pop() {
        if node.kind() == json::Kind::Number {
            found.push(node.raw());
        }
        let mut below: Vec<_> = node.children().collect();
        below.reverse();
        open.extend(below);
    }
    found
}

mod llenergymeasure;
mod mlx_knife;
mod palimpsest;
mod proxy;
