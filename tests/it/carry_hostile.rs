//! SQLite files that are not as they should be: each is left as it was, and told of.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use strongroom::store::carry::{CarryOptions, DocumentRow};
use tempfile::TempDir;

use crate::{carry, fixture};

/// A folder with one database of four rows, in `docs/c.db`.
fn world(change: impl FnOnce(&Connection)) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docs/c.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, t TEXT, x REAL, done REAL);
         INSERT INTO notes (n) VALUES (1), (2), (3), (4);",
    )
    .unwrap();
    change(&db);
    (dir, path)
}

/// Migrates `docs` and gives the rows that were told of; nothing may be changed.
#[track_caller]
fn left(root: &Path) -> Vec<DocumentRow> {
    let store = fixture::init(&root.join("store"));
    let before = fs::read(root.join("docs/c.db")).unwrap();
    let mut rows = Vec::new();
    let options = CarryOptions { paths: vec![root.join("docs")], to: None };
    let report = store.carry(&carry::pack(), &options, &mut |row| rows.push(row.clone())).unwrap();
    assert_eq!((report.documents.counts.migrated, report.changed), (0, 0), "{rows:?}");
    assert!(fs::read(root.join("docs/c.db")).unwrap() == before, "the database was changed");
    assert_eq!(fixture::failures(&store), Vec::<String>::new());
    rows
}

fn reason(rows: &[DocumentRow]) -> &str {
    rows[0].verdict.reason().unwrap()
}

#[test]
fn database_that_stays_locked_is_left_and_told_of() {
    let (dir, path) = world(|_| ());
    let db = Connection::open(&path).unwrap();
    db.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let begun = std::time::Instant::now();
    let rows = left(dir.path());
    assert!(begun.elapsed() >= std::time::Duration::from_secs(10), "nobody waited for it");
    assert!(reason(&rows).contains("locked"), "{rows:?}");
    // Let go of, it is migrated.
    drop(db);
    let store = fixture::init(&dir.path().join("other"));
    let options = CarryOptions { paths: vec![dir.path().join("docs")], to: None };
    let report = store.carry(&carry::pack(), &options, &mut |_| ()).unwrap();
    assert_eq!(report.documents.counts.migrated, 4);
}

#[test]
fn database_that_is_damaged_is_left_and_told_of() {
    // The page of its schema; that of the table; its first bytes.
    for (at, bytes) in [(100, &[0xff; 12][..]), (4096, &[0xff; 600]), (0, b"SQLite format 4\0")] {
        let (dir, path) = world(|_| ());
        let mut damaged = fs::read(&path).unwrap();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, damaged).unwrap();
        let rows = left(dir.path());
        assert!(!rows.is_empty() && rows.iter().all(|row| row.verdict.reason().is_some()), "{rows:?}");
    }
    let (dir, path) = world(|_| ());
    fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
    let rows = left(dir.path());
    assert!(!rows.is_empty() && rows.iter().all(|row| row.verdict.reason().is_some()), "{rows:?}");
}

#[test]
fn database_of_another_schema_is_left_and_told_of() {
    for (schema, why) in [
        ("ALTER TABLE notes RENAME TO others", "no table"),
        (
            "CREATE TABLE o (k, n); INSERT INTO o SELECT id, n FROM notes; DROP TABLE notes; ALTER TABLE o RENAME TO notes",
            "no column",
        ),
        ("ALTER TABLE notes RENAME TO o; CREATE VIEW notes AS SELECT * FROM o", ""),
    ] {
        let (dir, _) = world(|db| db.execute_batch(schema).unwrap());
        let rows = left(dir.path());
        assert!(reason(&rows).contains(why), "{rows:?}");
    }
}
