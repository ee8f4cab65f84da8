//! The floors: what must be read, hashed, written, renamed and flushed, and nothing else. No checks, no
//! document model, no log. Reading and hashing go to all cores, as in the program.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Runs the floor that the arguments name.
pub fn run(args: &[String]) {
    let path = |n: usize| PathBuf::from(&args[n]);
    match args[0].as_str() {
        "nothing" => {}
        "stat" => files(&path(1)).iter().for_each(|path| {
            std::hint::black_box(fs::symlink_metadata(path).expect("a file"));
        }),
        "hash" => (2..args.len()).for_each(|n| hash(&path(n), args[1] == "large")),
        "verify" => {
            hash(&path(1).join("artifacts"), true);
            objects(&path(1).join("objects"));
        }
        "ingest" => ingest(&path(1), &path(2)),
        "parse" => parse(&path(1)),
        "version" => version(&path(1)),
        "migrate" => migrate(&path(1)),
        "index" => index(&path(1), &path(2), &path(3)),
        other => panic!("no floor {other}"),
    }
}

/// All files below a folder, by the kinds that the listing tells: no metadata call per file.
fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a folder") {
            let entry = entry.expect("a name");
            match entry.file_type().expect("a kind") {
                kind if kind.is_dir() => dirs.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found
}

fn manifests(root: &Path) -> Vec<PathBuf> {
    files(root).into_iter().filter(|path| path.ends_with("manifest.json")).collect()
}

const SMALL: u64 = 256 << 10;

fn hash(root: &Path, large_by_blake3: bool) {
    hash_all(&files(root), large_by_blake3);
}

fn hash_all(paths: &[PathBuf], large_by_blake3: bool) {
    paths.par_iter().for_each_init(
        || vec![0u8; 256 << 10],
        |buffer, path| {
            let mut file = File::open(path).expect("a file");
            let len = file.metadata().expect("a length").len();
            let (mut blake, mut sha) = (blake3::Hasher::new(), Sha256::new());
            loop {
                let n = file.read(buffer).expect("bytes");
                if n == 0 {
                    break;
                }
                blake.update(&buffer[..n]);
                if len <= SMALL || !large_by_blake3 {
                    sha.update(&buffer[..n]);
                }
            }
            std::hint::black_box((blake.finalize(), sha.finalize()));
        },
    );
}

/// Every stored blob hashed: small ones both ways, unpacked from the segments, large ones with BLAKE3.
fn objects(root: &Path) {
    let (segments, large): (Vec<_>, Vec<_>) =
        files(root).into_iter().partition(|path| path.extension().is_some_and(|end| end == "seg"));
    hash_all(&large, true);
    for path in segments {
        let bytes = fs::read(&path).expect("a segment");
        records(&bytes).par_iter().for_each_init(
            || zstd::bulk::Decompressor::new().expect("a decompressor"),
            |unpack, &(is_packed, stored, len)| {
                let raw = is_packed.then(|| unpack.decompress(stored, len).expect("a frame"));
                let raw = raw.as_deref().unwrap_or(stored);
                std::hint::black_box((blake3::hash(raw), Sha256::digest(raw)));
            },
        );
    }
}

/// The records of a segment by the lengths that they state: whether packed, the stored bytes, the raw length.
fn records(segment: &[u8]) -> Vec<(bool, &[u8], usize)> {
    const HEADER: usize = 48;
    const HEAD: usize = 104;
    const CHECK: usize = 16;
    let (mut found, mut at) = (Vec::new(), HEADER);
    while at + HEAD < segment.len() {
        let number = |from: usize| {
            let bytes = segment[at + from..at + from + 8].try_into().expect("eight bytes");
            usize::try_from(u64::from_le_bytes(bytes)).expect("a length")
        };
        let stored = number(8);
        found.push((segment[at + 4] == 1, &segment[at + HEAD..at + HEAD + stored], number(16)));
        at += HEAD + stored + CHECK;
    }
    found
}

/// Every file hashed both ways and written at its place; small ones once more, behind each other in
/// one file, as the store keeps them.
fn ingest(tree: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let root = File::open(to).expect("a folder");
    let mut segment = File::create(to.join("segment")).expect("a file");
    let staged = to.join("staged");
    for path in files(tree) {
        let bytes = fs::read(&path).expect("a file");
        std::hint::black_box((blake3::hash(&bytes), Sha256::digest(&bytes)));
        let target = staged.join(path.strip_prefix(tree).expect("below"));
        fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
        File::create(&target).and_then(|mut file| file.write_all(&bytes)).expect("written");
        if bytes.len() as u64 <= SMALL {
            segment.write_all(&bytes).expect("written");
        } else {
            fs::hard_link(&target, to.join(format!("{}", blake3::hash(&bytes)))).expect("linked");
        }
    }
    segment.sync_all().expect("flushed");
    rustix::fs::syncfs(root.as_fd()).expect("flushed");
    let jobs = staged.join("artifacts");
    for job in fs::read_dir(&jobs).expect("a folder") {
        let job = job.expect("a name");
        let place = to.join("artifacts").join(job.file_name());
        fs::create_dir_all(&place).expect("a folder");
        for run in fs::read_dir(job.path()).expect("a folder") {
            let run = run.expect("a name");
            fs::rename(run.path(), place.join(run.file_name())).expect("renamed");
        }
    }
    rustix::fs::syncfs(root.as_fd()).expect("flushed");
}

fn parse(root: &Path) {
    manifests(root).par_iter().for_each(|path| {
        let bytes = fs::read(path).expect("a file");
        std::hint::black_box(serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON"));
    });
}

#[derive(serde::Deserialize)]
struct Version<'a> {
    schema_version: &'a str,
}

fn version(root: &Path) {
    manifests(root).par_iter().for_each(|path| {
        let bytes = fs::read(path).expect("a file");
        std::hint::black_box(
            serde_json::from_slice::<Version<'_>>(&bytes).expect("JSON").schema_version.len(),
        );
    });
}

/// Every manifest read, hashed, its successor written beside, both kept behind each other in one file,
/// one flush, all renamed, one flush.
fn migrate(root: &Path) {
    let dir = File::open(root).expect("a folder");
    let staged = root.join("staged");
    fs::create_dir_all(&staged).expect("a folder");
    let mut segment = File::create(root.join("segment")).expect("a file");
    let paths = manifests(root);
    for (n, path) in paths.iter().enumerate() {
        let before = fs::read(path).expect("a file");
        let mut after = before.clone();
        after.extend_from_slice(&before[..400.min(before.len())]);
        for bytes in [&before, &after] {
            std::hint::black_box((blake3::hash(bytes), Sha256::digest(bytes)));
            segment.write_all(bytes).expect("written");
        }
        File::create(staged.join(n.to_string()))
            .and_then(|mut file| file.write_all(&after))
            .expect("written");
    }
    segment.sync_all().expect("flushed");
    rustix::fs::syncfs(dir.as_fd()).expect("flushed");
    for (n, path) in paths.iter().enumerate() {
        let from = staged.join(n.to_string());
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &from, rustix::fs::CWD, path, flags).expect("exchanged");
    }
    rustix::fs::syncfs(dir.as_fd()).expect("flushed");
    fs::remove_dir_all(&staged).expect("removed");
}

/// Every manifest read and parsed, and the same rows inserted as the program's index has, each text as it
/// is there, in one transaction; the lookup indexes after them.
fn index(root: &Path, from: &Path, to: &Path) {
    let _ = fs::remove_file(to);
    let paths = manifests(root);
    paths.par_iter().for_each(|path| {
        let bytes = fs::read(path).expect("a file");
        std::hint::black_box(
            serde_json::from_slice::<Version<'_>>(&bytes).expect("JSON").schema_version.len(),
        );
    });
    let db = rusqlite::Connection::open(to).expect("a database");
    db.execute_batch("pragma page_size=16384; pragma journal_mode=off; pragma synchronous=off").expect("set");
    db.execute("attach ?1 as old", [from.to_str().expect("text")]).expect("attached");
    let list = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("text")
    };
    let tables = list("select name from old.sqlite_schema where type = 'table'");
    let all = |kind: &str| {
        list(&format!("select sql from old.sqlite_schema where type = '{kind}' and sql is not null"))
    };
    db.execute_batch("begin").expect("begun");
    all("table").iter().for_each(|sql| db.execute_batch(sql).expect("made"));
    for table in tables {
        copy_rows(&db, &table);
    }
    all("index").iter().for_each(|sql| db.execute_batch(sql).expect("made"));
    db.execute_batch("commit").expect("committed");
}

/// By values, as a program hands them over; not as SQLite copies a table within itself.
fn copy_rows(db: &rusqlite::Connection, table: &str) {
    let mut read = db.prepare(&format!("select * from old.{table}")).expect("a statement");
    let columns = read.column_count();
    let marks = vec!["?"; columns].join(",");
    let mut insert = db.prepare(&format!("insert into main.{table} values ({marks})")).expect("a statement");
    let mut rows = read.query([]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        let values: Vec<rusqlite::types::Value> =
            (0..columns).map(|n| row.get(n).expect("a value")).collect();
        insert.execute(rusqlite::params_from_iter(values)).expect("inserted");
    }
}
