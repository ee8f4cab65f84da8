//! What each change behind the store's back comes to: which codes `verify` reports, what `restore`
//! mends, and that no flipped bit is ever served as good.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rustix::fs::{CWD, FileType, Mode};
use strongroom::base::digest::{BlobId, Sha256};
use strongroom::base::id::RunKey;
use strongroom::format::config::StoreConfig;
use strongroom::format::head::Head;
use strongroom::merkle::prefix::LEAF_BYTES;
use strongroom::note::VerifyingKey;
use strongroom::store::{
    ErrorKind, Given, RecordOptions, RolledBack, Signer, Store, StoreError, Streams, VerifyOptions,
};

use crate::fixture::{self, adopt, copy, failures, init, migrate, open, run_with_snapshots, write};

struct Silent;
impl Streams for Silent {}

/// The run that most edits are made to, and the others.
struct World {
    root: tempfile::TempDir,
    key: RunKey,
    recorded: RunKey,
}

const LARGE: usize = 300 << 10;

impl World {
    /// Three adopted runs, two of them migrated, and a recorded one with a large output.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let source = fixture::source(&root.path().join("old"));
        let store = init(&root.path().join("template"));
        adopt(&store, &source);
        migrate(&store).unwrap();
        write(root.path().join("in.json"), "{\"n\": 1}\n");
        write(root.path().join("out/small.txt"), "small\n");
        fs::write(root.path().join("out/large.bin"), large()).unwrap();
        let options = RecordOptions {
            job: "job-r".parse().unwrap(),
            inputs: vec![Given { name: "brief".into(), path: root.path().join("in.json") }],
            outputs: vec![root.path().join("out")],
            command: None,
            job_ref: String::new(),
            job_type: None,
            streams: &Silent,
        };
        let recorded = store.record(&options).unwrap().key;
        let key = store.find_run("575fc3b9-1d70-42de-a69c-c377ffce9d2f").unwrap();
        assert_eq!(failures(&store), Vec::<String>::new());
        Self { root, key, recorded }
    }

    fn template(&self) -> PathBuf {
        self.root.path().join("template")
    }
}

/// Bytes that do not compress, the same each time.
fn large() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..LARGE).map(|_| next()).collect()
}

/// What `verify` says: each code once with its place, or the error's kind. Digests are left out.
fn told(store: Result<Store, StoreError>) -> Vec<String> {
    let report = match store.and_then(|store| store.verify(&VerifyOptions::default())) {
        Ok(report) => report,
        Err(error) => return vec![format!("{:?}", error.kind())],
    };
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .map(|f| {
            let run = f.run.as_ref().map(|key| format!("{} ", key.job)).unwrap_or_default();
            let path = f.path.as_deref().unwrap_or_default();
            let path = match path {
                _ if path.starts_with("file list ") => "file list".to_owned(),
                _ if path.starts_with("log entry ") => "log entry".to_owned(),
                _ if path.starts_with("objects/segments/") => path.split(' ').next().unwrap().to_owned(),
                _ if path.starts_with("objects/") => "objects".to_owned(),
                _ => path.split('/').filter(|part| part.len() < 30).collect::<Vec<_>>().join("/"),
            };
            format!("{} {run}{path}", f.code)
        })
        .collect();
    lines.dedup();
    lines
}

/// A trial: a store that may be edited at will.
struct Trial {
    dir: PathBuf,
    run: PathBuf,
    recorded: PathBuf,
}

impl Trial {
    fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Replaces a byte of a file; a negative offset counts from its end.
    fn edit(&self, path: &str, offset: i64) {
        let path = self.at(path);
        let mut bytes = fs::read(&path).unwrap();
        let at = if offset < 0 { bytes.len() as i64 + offset } else { offset } as usize;
        bytes[at] ^= 1;
        rewrite(&path, &bytes);
    }

    /// Replaces the first occurrence of a text by one of the same length.
    fn replace(&self, path: &str, old: &str, new: &str) {
        let path = self.at(path);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        assert_eq!(old.len(), new.len());
        rewrite(&path, &bytes);
    }

    fn segment(&self) -> String {
        let segments = fs::read_dir(self.at("objects/segments")).unwrap();
        let mut names: Vec<_> = segments.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".seg"));
        names.sort();
        assert_eq!(names, ["00000001.seg"]);
        format!("objects/segments/{}", names[0])
    }

    fn large(&self) -> String {
        let hex = BlobId::of(&large()).blake3.hex();
        format!("objects/{}/{}", &hex[..2], &hex[2..])
    }

    fn bundle(&self) -> String {
        let folder = "audit/tile/entries/000.p";
        let names: Vec<_> = fs::read_dir(self.at(folder)).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["9"]);
        format!("{folder}/9")
    }
}

fn rewrite(path: &Path, bytes: &[u8]) {
    let mode = fs::metadata(path).map_or(0o644, |meta| meta.mode());
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// One row of the table.
struct Case {
    name: &'static str,
    edit: fn(&Trial),
    /// What `verify` reports.
    reports: &'static [&'static str],
    /// What `restore` of the run in `job-a` puts back, or the kind of its failure.
    mends: Result<&'static [&'static str], ErrorKind>,
    /// What `verify` reports after that.
    leaves: &'static [&'static str],
}

const MANIFEST: &[&str] = &["manifest.json"];
const OUTPUT: &[&str] = &["outputs/text.md"];
const INPUT: &[&str] = &["inputs/brief.yaml"];

/// Edits of the plain files: all of it is found, and all but what was added is mended.
const PLAIN: &[Case] = &[
    Case {
        name: "manifest byte",
        edit: |t| {
            let path = t.run.join("manifest.json");
            let text = fs::read_to_string(&path).unwrap();
            rewrite(&path, text.replace("succeeded", "Succeeded").as_bytes());
        },
        reports: &["E102 job-a manifest.json", "E150 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest's white space",
        edit: |t| {
            let path = t.run.join("manifest.json");
            let mut text = fs::read(&path).unwrap();
            text.push(b' ');
            rewrite(&path, &text);
        },
        reports: &["E102 job-a manifest.json", "E150 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest edited with all digests beside it",
        edit: |t| {
            let path = t.run.join("manifest.json");
            let text = fs::read_to_string(&path).unwrap();
            let start = text.find("\"checksum_after\": \"sha256:").unwrap() + 26;
            let digits = text[start..start + 64].to_owned();
            let edited = text.replace("succeeded", "failed").replace(&digits, &"0".repeat(64));
            let digest = Sha256::of(edited.as_bytes()).hex();
            let mut edited = edited;
            let start = edited.find("\"checksum_after\": \"sha256:").unwrap() + 26;
            edited.replace_range(start..start + 64, &digest);
            rewrite(&path, edited.as_bytes());
        },
        reports: &["E102 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest that is no JSON",
        edit: |t| rewrite(&t.run.join("manifest.json"), b"{\"a\": 1"),
        reports: &["E102 job-a manifest.json", "E103 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest emptied",
        edit: |t| rewrite(&t.run.join("manifest.json"), b""),
        reports: &["E102 job-a manifest.json", "E103 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest deleted",
        edit: |t| fs::remove_file(t.run.join("manifest.json")).unwrap(),
        reports: &["E101 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest of another run",
        edit: |t| {
            let other = fs::read(t.recorded.join("manifest.json")).unwrap();
            rewrite(&t.run.join("manifest.json"), &other);
        },
        reports: &[
            "E102 job-a manifest.json",
            "E122 job-a inputs/brief.json",
            "E122 job-a outputs/out/large.bin",
            "E122 job-a outputs/out/small.txt",
            "E131 job-a manifest.json",
            "E132 job-a manifest.json",
            "E133 job-a manifest.json",
        ],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest replaced by a link",
        edit: |t| {
            fs::rename(t.run.join("manifest.json"), t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), t.run.join("manifest.json")).unwrap();
        },
        reports: &["E107 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest replaced by a FIFO",
        edit: |t| {
            fs::remove_file(t.run.join("manifest.json")).unwrap();
            fifo(&t.run.join("manifest.json"));
        },
        reports: &["E107 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "manifest replaced by a folder",
        edit: |t| {
            fs::remove_file(t.run.join("manifest.json")).unwrap();
            fs::create_dir(t.run.join("manifest.json")).unwrap();
        },
        reports: &["E107 job-a manifest.json"],
        mends: Ok(&[]),
        leaves: &["E107 job-a manifest.json"],
    },
    Case {
        name: "manifest replaced by an earlier revision",
        edit: |t| {
            let store = open(&t.dir);
            let key = store.find_run("575fc3b9-1d70-42de-a69c-c377ffce9d2f").unwrap();
            let first = store.history(&key).unwrap().rows[0].entry.after.unwrap();
            rewrite(&t.run.join("manifest.json"), &store.revision(&first).unwrap());
        },
        reports: &["E102 job-a manifest.json"],
        mends: Ok(MANIFEST),
        leaves: &[],
    },
    Case {
        name: "input byte",
        edit: |t| rewrite(&t.run.join("inputs/brief.yaml"), b"schema_version: \"1.0.1\"\njob_id: x\n"),
        reports: &["E105 job-a inputs/brief.yaml", "E120 job-a inputs/brief.yaml"],
        mends: Ok(INPUT),
        leaves: &[],
    },
    Case {
        name: "output byte",
        edit: |t| rewrite(&t.run.join("outputs/text.md"), b"hellO\n"),
        reports: &["E105 job-a outputs/text.md", "E121 job-a outputs/text.md"],
        mends: Ok(OUTPUT),
        leaves: &[],
    },
    Case {
        name: "output and its digest in the manifest",
        edit: |t| {
            let path = t.run.join("manifest.json");
            let text = fs::read_to_string(&path).unwrap();
            let (old, new) = (Sha256::of(b"hello\n").hex(), Sha256::of(b"hellO\n").hex());
            rewrite(&path, text.replace(&old, &new).as_bytes());
            rewrite(&t.run.join("outputs/text.md"), b"hellO\n");
        },
        reports: &["E102 job-a manifest.json", "E105 job-a outputs/text.md", "E150 job-a manifest.json"],
        mends: Ok(&["outputs/text.md", "manifest.json"]),
        leaves: &[],
    },
    Case {
        name: "file deleted",
        edit: |t| fs::remove_file(t.run.join("outputs/text.md")).unwrap(),
        reports: &["E104 job-a outputs/text.md"],
        mends: Ok(OUTPUT),
        leaves: &[],
    },
    Case {
        name: "folder deleted",
        edit: |t| fs::remove_dir_all(t.run.join("outputs")).unwrap(),
        reports: &["E104 job-a outputs", "E104 job-a outputs/text.md"],
        mends: Ok(&["outputs", "outputs/text.md"]),
        leaves: &[],
    },
    Case {
        name: "run deleted",
        edit: |t| fs::remove_dir_all(&t.run).unwrap(),
        reports: &["E108 job-a artifacts/job-a"],
        mends: Ok(&["inputs", "inputs/brief.yaml", "outputs", "outputs/text.md", "manifest.json"]),
        leaves: &[],
    },
    Case {
        name: "job deleted",
        edit: |t| fs::remove_dir_all(t.at("artifacts/job-a")).unwrap(),
        reports: &["E108 job-a artifacts/job-a"],
        mends: Ok(&["inputs", "inputs/brief.yaml", "outputs", "outputs/text.md", "manifest.json"]),
        leaves: &[],
    },
    Case {
        name: "file replaced by a link",
        edit: |t| {
            fs::rename(t.run.join("outputs/text.md"), t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), t.run.join("outputs/text.md")).unwrap();
        },
        reports: &["E107 job-a outputs/text.md"],
        mends: Ok(OUTPUT),
        leaves: &[],
    },
    Case {
        name: "file replaced by a FIFO",
        edit: |t| {
            fs::remove_file(t.run.join("outputs/text.md")).unwrap();
            fifo(&t.run.join("outputs/text.md"));
        },
        reports: &["E107 job-a outputs/text.md"],
        mends: Ok(OUTPUT),
        leaves: &[],
    },
    Case {
        name: "file replaced by a folder",
        edit: |t| {
            fs::remove_file(t.run.join("outputs/text.md")).unwrap();
            fs::create_dir(t.run.join("outputs/text.md")).unwrap();
        },
        reports: &["E107 job-a outputs/text.md"],
        mends: Ok(&[]),
        leaves: &["E107 job-a outputs/text.md"],
    },
    Case {
        name: "folder replaced by a file",
        edit: |t| {
            fs::remove_dir_all(t.run.join("outputs")).unwrap();
            fs::write(t.run.join("outputs"), "x").unwrap();
        },
        reports: &["E104 job-a outputs/text.md", "E105 job-a outputs"],
        mends: Ok(&["outputs", "outputs/text.md"]),
        leaves: &[],
    },
    Case {
        name: "folder replaced by a link",
        edit: |t| {
            fs::rename(t.run.join("outputs"), t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), t.run.join("outputs")).unwrap();
        },
        reports: &["E104 job-a outputs/text.md", "E107 job-a outputs"],
        mends: Ok(&["outputs", "outputs/text.md"]),
        leaves: &[],
    },
    Case {
        name: "run replaced by a link",
        edit: |t| {
            fs::rename(&t.run, t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), &t.run).unwrap();
        },
        reports: &["E110 artifacts/job-a", "E107 job-a artifacts/job-a"],
        mends: Err(ErrorKind::Failed),
        leaves: &["E110 artifacts/job-a", "E107 job-a artifacts/job-a"],
    },
    Case {
        name: "job replaced by a link",
        edit: |t| {
            fs::rename(t.at("artifacts/job-a"), t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), t.at("artifacts/job-a")).unwrap();
        },
        reports: &["E110 artifacts/job-a", "E107 job-a artifacts/job-a"],
        mends: Err(ErrorKind::Failed),
        leaves: &["E110 artifacts/job-a", "E107 job-a artifacts/job-a"],
    },
    Case {
        name: "run replaced by a file",
        edit: |t| {
            fs::remove_dir_all(&t.run).unwrap();
            fs::write(&t.run, "x").unwrap();
        },
        reports: &["E110 artifacts/job-a", "E107 job-a artifacts/job-a"],
        mends: Err(ErrorKind::Failed),
        leaves: &["E110 artifacts/job-a", "E107 job-a artifacts/job-a"],
    },
    Case {
        name: "made executable",
        edit: |t| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(t.run.join("outputs/text.md"), mode).unwrap();
        },
        reports: &["W204 job-a outputs/text.md"],
        mends: Ok(&[]),
        leaves: &["W204 job-a outputs/text.md"],
    },
    Case {
        name: "file added",
        edit: |t| fs::write(t.run.join("outputs/more.md"), "more").unwrap(),
        reports: &["E106 job-a outputs/more.md"],
        mends: Ok(&[]),
        leaves: &["E106 job-a outputs/more.md"],
    },
    Case {
        name: "link added",
        edit: |t| symlink("/", t.run.join("root")).unwrap(),
        reports: &["E106 job-a root"],
        mends: Ok(&[]),
        leaves: &["E106 job-a root"],
    },
    Case {
        name: "run added by hand",
        edit: |t| drop(run_with_snapshots(&t.at("artifacts"), "job-x", "1.2.0", "by hand")),
        reports: &["E109 job-x artifacts/job-x"],
        mends: Ok(&[]),
        leaves: &["E109 job-x artifacts/job-x"],
    },
    Case {
        name: "stray file",
        edit: |t| fs::write(t.at("artifacts/stray"), "x").unwrap(),
        reports: &["E110 artifacts/stray"],
        mends: Ok(&[]),
        leaves: &["E110 artifacts/stray"],
    },
    Case {
        name: "stray folder of an impossible name",
        edit: |t| fs::create_dir(t.at("artifacts/-x")).unwrap(),
        reports: &["E110 artifacts/-x"],
        mends: Ok(&[]),
        leaves: &["E110 artifacts/-x"],
    },
    Case {
        name: "stray file beside a run",
        edit: |t| fs::write(t.at("artifacts/job-a/notes.md"), "x").unwrap(),
        reports: &["E110 artifacts/job-a/notes.md"],
        mends: Ok(&[]),
        leaves: &["E110 artifacts/job-a/notes.md"],
    },
    Case {
        name: "empty folder of a job",
        edit: |t| fs::create_dir(t.at("artifacts/job-e")).unwrap(),
        reports: &[],
        mends: Ok(&[]),
        leaves: &[],
    },
];

#[test]
fn plain_files_edited_are_reported_by_code_and_restore_mends_them() {
    let world = World::new();
    run_cases(&world, PLAIN);
}

fn run_cases(world: &World, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let root = tempfile::tempdir_in(world.root.path()).unwrap();
        let dir = root.path().join("store");
        copy(&world.template(), &dir);
        let place = |key: &RunKey| dir.join("artifacts").join(key.to_string());
        let (run, recorded) = (place(&world.key), place(&world.recorded));
        let trial = Trial { dir: dir.clone(), run, recorded };
        (case.edit)(&trial);
        let mut check = |what: &str, found: Vec<String>, expected: &[&str]| {
            if found != expected {
                wrong.push(format!("{}: {what}: {found:?}, not {expected:?}", case.name));
            }
        };
        let open = || Store::open(&dir, fixture::context(None));
        check("reported", told(open()), case.reports);
        let restored = open().and_then(|store| store.restore(&world.key, None));
        match (restored, case.mends) {
            (Ok(report), Ok(mends)) => {
                check("mended", report.restored.iter().map(|file| file.path.clone()).collect(), mends);
            }
            (Err(error), Err(kind)) if error.kind() == kind => {}
            (result, _) => check("restored", vec![format!("{result:?}")], &["the opposite"]),
        }
        check("left", told(open()), case.leaves);
        if case.leaves.is_empty() {
            check("unlike", differences(&trial, world), &[]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files under `artifacts/` that are not as they were, bytes and modes.
fn differences(trial: &Trial, world: &World) -> Vec<String> {
    let (was, is) = (world.template().join("artifacts"), trial.at("artifacts"));
    let (before, after) = (fixture::snapshot(&was), fixture::snapshot(&is));
    let mode = |root: &Path, name: &str| fs::metadata(root.join(name)).unwrap().mode() & 0o777;
    before
        .iter()
        .filter(|(name, bytes)| after.get(*name) != Some(bytes) || mode(&was, name) != mode(&is, name))
        .map(|(name, _)| name.clone())
        .collect()
}

/// What a changed entry leads to: the root, the run map, and the run's chain from there on.
const ALTERED: &[&str] = &[
    "E173 audit/head",
    "E174 audit/tile/0/000.p/9",
    "E200 log entry",
    "E102 job-b manifest.json",
    "E151 job-b manifest.json",
    "E171 job-b log entry",
];

/// What an entry that is none leads to.
const BAD: &[&str] = &[
    "E170 log entry",
    "E173 audit/head",
    "E174 audit/tile/0/000.p/9",
    "E200 log entry",
    "E171 job-b log entry",
];

/// Edits of the log and the objects. What `restore` can do is asked of the run in `job-a`, whose own
/// files are as they should be.
const LOG: &[Case] = &[
    Case {
        name: "time of an entry",
        edit: |t| t.replace(&t.bundle(), "\"time\":\"2026", "\"time\":\"2025"),
        reports: ALTERED,
        mends: Ok(&[]),
        leaves: ALTERED,
    },
    Case {
        name: "kind of an entry",
        edit: |t| t.replace(&t.bundle(), "\"adopted\"", "\"adoptee\""),
        reports: BAD,
        mends: Ok(&[]),
        leaves: BAD,
    },
    Case {
        name: "order of members in an entry",
        edit: |t| t.replace(&t.bundle(), "\"batch\":1,\"files\"", "\"files\":1,\"batch\""),
        reports: BAD,
        mends: Ok(&[]),
        leaves: BAD,
    },
    Case {
        name: "length of an entry in a bundle",
        edit: |t| t.edit(&t.bundle(), 0),
        reports: &["E172 audit/tile/entries/000.p/9"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["E172 audit/tile/entries/000.p/9"],
    },
    Case {
        name: "bundle cut",
        edit: |t| {
            let path = t.at(&t.bundle());
            let bytes = fs::read(&path).unwrap();
            rewrite(&path, &bytes[..bytes.len() - 1]);
        },
        reports: &["E172 audit/tile/entries/000.p/9"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["E172 audit/tile/entries/000.p/9"],
    },
    Case {
        name: "bundle deleted",
        edit: |t| fs::remove_file(t.at(&t.bundle())).unwrap(),
        reports: &["E172 audit/tile/entries/000.p/9"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["E172 audit/tile/entries/000.p/9"],
    },
    Case {
        name: "bundle replaced by a FIFO",
        edit: |t| {
            let path = t.at(&t.bundle());
            fs::remove_file(&path).unwrap();
            fifo(&path);
        },
        reports: &["E172 audit/tile/entries/000.p/9"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["E172 audit/tile/entries/000.p/9"],
    },
    Case {
        name: "head deleted",
        edit: |t| fs::remove_file(t.at("audit/head")).unwrap(),
        reports: &["Damaged"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["Damaged"],
    },
    Case {
        name: "head emptied",
        edit: |t| rewrite(&t.at("audit/head"), b""),
        reports: &["Damaged"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["Damaged"],
    },
    Case {
        name: "root in the head",
        edit: |t| {
            let mut head = Head::parse(&fs::read(t.at("audit/head")).unwrap()).unwrap();
            head.root = Sha256::of(b"another");
            rewrite(&t.at("audit/head"), &head.to_bytes());
        },
        reports: &["E173 audit/head"],
        mends: Ok(&[]),
        leaves: &["E173 audit/head"],
    },
    Case {
        name: "subtree in the head",
        edit: |t| {
            let mut head = Head::parse(&fs::read(t.at("audit/head")).unwrap()).unwrap();
            head.frontier[0] = Sha256::of(b"another");
            rewrite(&t.at("audit/head"), &head.to_bytes());
        },
        reports: &["E173 audit/head"],
        mends: Ok(&[]),
        leaves: &["E173 audit/head"],
    },
    Case {
        name: "committed length in the head",
        edit: |t| t.replace("audit/head", "\"len\":", "\"lem\":"),
        reports: &["Damaged"],
        mends: Err(ErrorKind::Damaged),
        leaves: &["Damaged"],
    },
    Case {
        name: "rubbish in the journal",
        edit: |t| fs::write(t.at("audit/wal/0000000000000099"), "rubbish").unwrap(),
        reports: &["W206 audit/wal"],
        mends: Ok(&[]),
        leaves: &["W206 audit/wal"],
    },
    Case {
        name: "a stray file beside the journal",
        edit: |t| fs::write(t.at("audit/wal/notes"), "rubbish").unwrap(),
        reports: &[],
        mends: Ok(&[]),
        leaves: &[],
    },
    Case {
        name: "segment's header",
        edit: |t| t.edit(&t.segment(), 20),
        reports: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
        mends: Err(ErrorKind::Damaged),
        leaves: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
    },
    Case {
        name: "byte of the first record",
        edit: |t| t.edit(&t.segment(), 160),
        reports: &["E162 objects/segments/00000001.seg"],
        mends: Ok(&[]),
        leaves: &["E162 objects/segments/00000001.seg"],
    },
    Case {
        name: "byte of the last record",
        edit: |t| t.edit(&t.segment(), -20),
        reports: &["E160 file list", "E162 objects/segments/00000001.seg", "E160 job-r "],
        mends: Ok(&[]),
        leaves: &["E160 file list", "E162 objects/segments/00000001.seg", "E160 job-r "],
    },
    Case {
        name: "segment cut by one byte",
        edit: |t| {
            let path = t.at(&t.segment());
            let bytes = fs::read(&path).unwrap();
            rewrite(&path, &bytes[..bytes.len() - 1]);
        },
        reports: &["E160 file list", "E160 log entry", "E162 objects/segments/00000001.seg", "E160 job-r "],
        mends: Ok(&[]),
        leaves: &["E160 file list", "E160 log entry", "E162 objects/segments/00000001.seg", "E160 job-r "],
    },
    Case {
        name: "segment emptied",
        edit: |t| rewrite(&t.at(&t.segment()), b""),
        reports: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
        mends: Err(ErrorKind::Damaged),
        leaves: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
    },
    Case {
        name: "segment deleted",
        edit: |t| fs::remove_file(t.at(&t.segment())).unwrap(),
        reports: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
        mends: Err(ErrorKind::Damaged),
        leaves: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
    },
    Case {
        name: "rubbish behind the last record",
        edit: |t| {
            let path = t.at(&t.segment());
            let mut bytes = fs::read(&path).unwrap();
            bytes.extend(b"rubbish");
            rewrite(&path, &bytes);
        },
        reports: &["W206 objects/segments/00000001.seg"],
        mends: Ok(&[]),
        leaves: &["W206 objects/segments/00000001.seg"],
    },
    Case {
        name: "segments' index rubbish",
        edit: |t| rewrite(&t.at("objects/segments/index"), b"rubbish"),
        reports: &[],
        mends: Ok(&[]),
        leaves: &[],
    },
    Case {
        name: "large blob's byte",
        edit: |t| t.edit(&t.large(), 1000),
        reports: &["E161 objects"],
        mends: Ok(&[]),
        leaves: &["E161 objects"],
    },
    Case {
        name: "large blob cut",
        edit: |t| rewrite(&t.at(&t.large()), b"short"),
        reports: &["E160 file list", "E161 objects"],
        mends: Ok(&[]),
        leaves: &["E160 file list", "E161 objects"],
    },
    Case {
        name: "large blob deleted",
        edit: |t| fs::remove_file(t.at(&t.large())).unwrap(),
        reports: &["E160 file list"],
        mends: Ok(&[]),
        leaves: &["E160 file list"],
    },
    Case {
        name: "large blob replaced by a FIFO",
        edit: |t| {
            fs::remove_file(t.at(&t.large())).unwrap();
            fifo(&t.at(&t.large()));
        },
        reports: &["E160 file list", "E161 objects"],
        mends: Ok(&[]),
        leaves: &["E160 file list", "E161 objects"],
    },
    Case {
        name: "stray file among the objects",
        edit: |t| fs::write(t.at("objects/notes"), "x").unwrap(),
        reports: &["E110 objects"],
        mends: Ok(&[]),
        leaves: &["E110 objects"],
    },
    Case {
        name: "index that is none",
        edit: |t| rewrite(&t.at("index.sqlite"), b"rubbish"),
        reports: &[],
        mends: Ok(&[]),
        leaves: &[],
    },
    Case {
        name: "index deleted",
        edit: |t| fs::remove_file(t.at("index.sqlite")).unwrap(),
        reports: &[],
        mends: Ok(&[]),
        leaves: &[],
    },
    Case {
        name: "another store's id in the configuration",
        edit: |t| {
            let text = fs::read_to_string(t.at("strongroom.toml")).unwrap();
            let start = text.find("store_id = \"").unwrap() + 12;
            let mut text = text;
            text.replace_range(start..start + 4, "dead");
            rewrite(&t.at("strongroom.toml"), text.as_bytes());
        },
        reports: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
        mends: Err(ErrorKind::Damaged),
        leaves: &[
            "E160 file list",
            "E160 log entry",
            "E162 objects/segments/00000001.seg",
            "E160 job-a ",
            "E160 job-b ",
            "E160 job-r ",
        ],
    },
    Case {
        name: "configuration deleted",
        edit: |t| fs::remove_file(t.at("strongroom.toml")).unwrap(),
        reports: &["NoStore"],
        mends: Err(ErrorKind::NoStore),
        leaves: &["NoStore"],
    },
];

#[test]
fn log_and_objects_edited_are_reported_by_code() {
    let world = World::new();
    run_cases(&world, LOG);
}

#[test]
fn poisoned_index_row_changes_no_check_and_no_write() {
    let world = World::new();
    let dir = world.root.path().join("store");
    copy(&world.template(), &dir);
    let query = |sql: &str| {
        let db = rusqlite::Connection::open(dir.join("index.sqlite")).unwrap();
        assert_eq!(db.execute(sql, []).unwrap(), 1, "{sql}");
    };
    let (job, run) = (&world.key.job, &world.key.run);
    let of_run = format!("WHERE job_id = '{job}' AND run_id = '{run}'");
    query(&format!("UPDATE runs SET manifest_sha256 = 'sha256:{}' {of_run}", "0".repeat(64)));
    query(&format!("UPDATE run_index SET status = 'failed' {of_run}"));
    // Verification asks the log; a writer confirms what the index says against the entry's bytes.
    assert_eq!(told(Ok(open(&dir))), Vec::<String>::new());
    let output = dir.join("artifacts").join(world.key.to_string()).join("outputs/text.md");
    fs::remove_file(&output).unwrap();
    let error = open(&dir).restore(&world.key, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(
        error.to_string().contains("the index says otherwise; strongroom reindex --anew makes it anew"),
        "{error}"
    );
    open(&dir).reindex_anew().unwrap();
    open(&dir).restore(&world.key, None).unwrap();
    assert_eq!(fs::read(&output).unwrap(), b"hello\n");
    let status = open(&dir).query(&format!("SELECT status FROM run_index {of_run}")).unwrap();
    assert_eq!(format!("{:?}", status.rows), "[[Text(\"succeeded\")]]");
}

#[test]
fn large_blob_edited_through_its_run_is_found_and_mended_when_the_bytes_come_in_again() {
    let world = World::new();
    let dir = world.template();
    let output = dir.join("artifacts").join(world.recorded.to_string()).join("outputs/out/large.bin");
    let shared = fs::metadata(&output).unwrap().nlink() > 1;
    fs::set_permissions(&output, fs::Permissions::from_mode(0o644)).unwrap();
    fs::File::options().write(true).open(&output).unwrap().write_all_at(b"edited", 1000).unwrap();
    fs::set_permissions(&output, fs::Permissions::from_mode(0o444)).unwrap();
    let path = "job-r outputs/out/large.bin";
    let changed = [format!("E105 {path}"), format!("E121 {path}")];
    let mut expected: Vec<String> = shared.then(|| "E161 objects".to_owned()).into_iter().collect();
    expected.extend(changed.clone());
    assert_eq!(told(Ok(open(&dir))), expected);
    if shared {
        // One copy, damaged: nothing to restore it from, and nothing wrong is put back.
        let report = open(&dir).restore(&world.recorded, None).unwrap();
        assert_eq!((report.restored, report.left.len()), (vec![], 1));
        assert_eq!(report.left[0].0, "outputs/out/large.bin");
        assert_eq!(told(Ok(open(&dir))), expected);
        // The same bytes come in with another run: the damaged blob is replaced by them.
        let options = RecordOptions {
            job: "job-s".parse().unwrap(),
            inputs: vec![Given { name: "brief".into(), path: world.root.path().join("in.json") }],
            outputs: vec![world.root.path().join("out")],
            command: None,
            job_ref: String::new(),
            job_type: None,
            streams: &Silent,
        };
        open(&dir).record(&options).unwrap();
        assert_eq!(told(Ok(open(&dir))), changed);
    }
    let report = open(&dir).restore(&world.recorded, None).unwrap();
    assert_eq!((report.restored.len(), report.left), (1, vec![]));
    assert_eq!(fs::read(&output).unwrap(), large());
    assert_eq!(told(Ok(open(&dir))), Vec::<String>::new());
}

#[test]
fn rollback_of_a_run_whose_folder_is_gone_or_replaced_leaves_it_and_the_store_goes_on() {
    let world = World::new();
    let edits: [fn(&Trial); 5] = [
        |t| fs::remove_dir_all(&t.run).unwrap(),
        |t| fs::remove_dir_all(t.at("artifacts/job-a")).unwrap(),
        |t| {
            fs::remove_dir_all(&t.run).unwrap();
            fs::write(&t.run, "x").unwrap();
        },
        |t| {
            fs::rename(&t.run, t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), &t.run).unwrap();
        },
        |t| {
            fs::rename(t.at("artifacts/job-a"), t.at("tmp/kept")).unwrap();
            symlink(t.at("tmp/kept"), t.at("artifacts/job-a")).unwrap();
        },
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let root = tempfile::tempdir_in(world.root.path()).unwrap();
        let dir = root.path().join("store");
        copy(&world.template(), &dir);
        let place = |key: &RunKey| dir.join("artifacts").join(key.to_string());
        let trial = Trial { dir: dir.clone(), run: place(&world.key), recorded: place(&world.recorded) };
        let first = open(&dir).history(&world.key).unwrap().rows[0].entry.after.unwrap();
        edit(&trial);
        let report = open(&dir).rollback(&world.key, &first).unwrap();
        assert!(matches!(report.runs[0].1, RolledBack::Left(_)), "edit {n}: {report:?}");
        assert!(open(&dir).log().unwrap().pending.is_empty(), "edit {n}: a batch is not settled");
        // Others are written as before, and once what is in the way is gone the run comes back.
        let other = open(&dir).find_run(&world.recorded.to_string()).unwrap();
        fs::remove_dir_all(trial.recorded.join("inputs")).unwrap();
        assert_eq!(open(&dir).restore(&other, None).unwrap().restored.len(), 2);
        for path in [&trial.at("artifacts/job-a"), &trial.run] {
            if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_dir()) {
                fs::remove_file(path).unwrap();
            }
        }
        open(&dir).restore(&world.key, None).unwrap();
        assert_eq!(told(Ok(open(&dir))), Vec::<String>::new(), "edit {n}");
        let served = open(&dir).manifest_bytes(&world.key).unwrap();
        assert_eq!(Sha256::of(&served), first, "edit {n}");
    }
}

/// The files of a store whose loss or change costs nothing: locks, staging, derived tables.
fn disposable(name: &str) -> bool {
    name.ends_with("lock") || name.starts_with("tmp/") || name.starts_with("index.sqlite")
}

/// What must come out whatever is flipped: every revision by its digest, every file by its run.
struct Truth {
    current: BTreeMap<RunKey, Vec<u8>>,
    revisions: BTreeMap<Sha256, Vec<u8>>,
}

impl Truth {
    fn of(store: &Store) -> Self {
        let mut truth = Self { current: BTreeMap::new(), revisions: BTreeMap::new() };
        for key in store.all_runs().unwrap() {
            truth.current.insert(key.clone(), store.manifest_bytes(&key).unwrap());
            for row in store.history(&key).unwrap().rows {
                let digest = row.entry.after.unwrap();
                truth.revisions.insert(digest, store.revision(&digest).unwrap());
            }
        }
        truth
    }

    /// What a store serves is right or refused.
    fn holds(&self, store: &Store, case: &str) {
        for (key, bytes) in &self.current {
            if let Ok(served) = store.manifest_bytes(key) {
                assert_eq!(&served, bytes, "{case}: {key} served wrong");
            }
        }
        for (digest, bytes) in &self.revisions {
            if let Ok(served) = store.revision(digest) {
                assert_eq!(&served, bytes, "{case}: {digest} served wrong");
            }
        }
    }
}

/// A change of one file's bytes.
#[derive(Clone, Copy)]
enum Damage {
    /// One bit is the other.
    Flip { byte: usize, bit: usize },
    /// Only so many bytes are left.
    Cut(usize),
}

impl Damage {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let mut after = bytes.to_vec();
        match self {
            Self::Flip { byte, bit } => after[byte] ^= 1 << bit,
            Self::Cut(len) => after.truncate(len),
        }
        after
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flip { byte, bit } => write!(f, "bit {bit} of byte {byte} flipped"),
            Self::Cut(len) => write!(f, "cut after {len} bytes"),
        }
    }
}

/// Whether a change that `verify` does not find is in a place where it does no harm, and why.
fn harmless(name: &str, before: &[u8], after: &[u8]) -> Option<&'static str> {
    match name {
        // The lookup table over the segments is rebuilt from them; what it says is confirmed there.
        "objects/segments/index" => Some("derived"),
        // The configuration reads, and is that of this store: what differs concerns later writes and
        // the name of the log, which nothing is bound to before it is signed.
        "strongroom.toml" => {
            let (was, is) = (StoreConfig::parse(before).ok()?, StoreConfig::parse(after).ok()?);
            (was.store_id == is.store_id).then_some("setting")
        }
        // The run's leaf as it was before the migration: no node that the head leads to is in it.
        "audit/runs/00000001" => {
            let differs = before.iter().zip(after).position(|(a, b)| a != b)?;
            (differs < LEAF_BYTES).then_some("node of an older map")
        }
        _ => None,
    }
}

/// A small store with something of each kind: a migrated run, a large blob, a key and a signed checkpoint. Gives the
/// key too.
fn store_of_each(root: &Path, template: &Path) -> (Store, VerifyingKey) {
    drop(init(template));
    let config = template.join("strongroom.toml");
    let text = fs::read_to_string(&config).unwrap();
    let less = text.replace("small_limit = 262144", "small_limit = 500");
    assert_ne!(text, less);
    fs::write(&config, less).unwrap();
    let store = open(template);
    let run = run_with_snapshots(&root.join("old"), "job-b", "1.1.0", "moon");
    write(root.join("old/job-b").join(run).join("outputs/large.txt"), &"more than 500 bytes\n".repeat(30));
    adopt(&store, &root.join("old"));
    migrate(&store).unwrap();
    let key = store.new_key(&root.join("key")).unwrap();
    store.publish(&[Signer::read(&root.join("key"), root.join("memory")).unwrap()]).unwrap();
    (store, key)
}

/// Does each damage to a small store in turn: it must be found, stop the check or be harmless, and nothing wrong
/// be served.
fn each_damage(what: &str, damages: impl Fn(&[u8]) -> Vec<Damage>) {
    let root = tempfile::tempdir().unwrap();
    let template = root.path().join("template");
    let (store, key) = store_of_each(root.path(), &template);
    let ask = VerifyOptions { keys: vec![key], ..VerifyOptions::default() };
    let truth = Truth::of(&store);
    drop(store);
    let files: Vec<(String, Vec<u8>)> = fixture::snapshot(&template)
        .into_iter()
        .filter(|(name, _)| !disposable(name) && !name.ends_with('/'))
        .collect();
    let trials: Vec<(&str, &[u8], Damage)> = files
        .iter()
        .flat_map(|(name, bytes)| damages(bytes).into_iter().map(move |damage| (&**name, &**bytes, damage)))
        .collect();
    let (found, stopped) = (AtomicU64::new(0), AtomicU64::new(0));
    let places: std::sync::Mutex<BTreeMap<(String, &str), u64>> = std::sync::Mutex::default();
    trials.par_chunks(trials.len().div_ceil(16)).enumerate().for_each(|(n, trials)| {
        let dir = root.path().join(format!("trial-{n}"));
        copy(&template, &dir);
        for (name, _) in &files {
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        for &(name, bytes, damage) in trials {
            let case = format!("{name}, {damage}");
            let after = damage.of(bytes);
            let file = fs::File::options().write(true).open(dir.join(name)).unwrap();
            file.write_all_at(&after, 0).unwrap();
            file.set_len(after.len() as u64).unwrap();
            let opened = Store::open(&dir, fixture::context(None));
            match opened.as_ref().map(|store| store.verify(&ask)) {
                Err(_) | Ok(Err(_)) => drop(stopped.fetch_add(1, Ordering::Relaxed)),
                Ok(Ok(report)) if report.failures().next().is_some() => {
                    found.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Ok(_)) => {
                    let why = harmless(name, bytes, &after).unwrap_or_else(|| panic!("{case}: not found"));
                    *places.lock().unwrap().entry((name.to_owned(), why)).or_default() += 1;
                }
            }
            if let Ok(store) = &opened {
                truth.holds(store, &case);
            }
            file.write_all_at(bytes, 0).unwrap();
        }
        assert_eq!(failures(&open(&dir)), Vec::<String>::new());
    });
    println!(
        "{} {what} in {} files: {} found, {} stopped the check, harmless: {:?}",
        trials.len(),
        files.len(),
        found.into_inner(),
        stopped.into_inner(),
        places.into_inner().unwrap()
    );
}

/// Whether all of a store's bits and lengths are tried, which takes some minutes; else a part of them.
fn all_damage() -> bool {
    std::env::var_os("STRONGROOM_EVERY_BIT").is_some()
}

#[test]
fn each_flipped_bit_is_found_or_harmless_and_never_served() {
    let all = all_damage();
    each_damage("flipped bits", |bytes| {
        let bits = |byte| (0..8).map(move |bit| (byte, bit)).filter(|(byte, bit)| all || byte % 8 == *bit);
        (0..bytes.len()).flat_map(bits).map(|(byte, bit)| Damage::Flip { byte, bit }).collect()
    });
}

#[test]
fn each_truncation_is_found_or_harmless_and_never_served() {
    let step = if all_damage() { 1 } else { 4 };
    each_damage("truncations", |bytes| (0..bytes.len()).rev().step_by(step).map(Damage::Cut).collect());
}

#[test]
fn file_restored_from_a_flipped_object_is_the_recorded_one_or_refused() {
    let root = tempfile::tempdir().unwrap();
    let template = root.path().join("template");
    let store = init(&template);
    let run = run_with_snapshots(&root.path().join("old"), "job-b", "1.1.0", "moon");
    adopt(&store, &root.path().join("old"));
    let key = store.find_run(&run).unwrap();
    let place = Path::new("artifacts").join(key.to_string());
    let right = fixture::snapshot(&template.join(&place));
    fs::remove_dir_all(template.join(&place)).unwrap();
    let segment = fs::read(template.join("objects/segments/00000001.seg")).unwrap();
    let (mut mended, mut refused) = (0, 0);
    for at in (0..segment.len()).step_by(segment.len() / 60) {
        let trial = tempfile::tempdir_in(root.path()).unwrap();
        let dir = trial.path().join("store");
        copy(&template, &dir);
        let mut flipped = segment.clone();
        flipped[at] ^= 1 << (at % 8);
        rewrite(&dir.join("objects/segments/00000001.seg"), &flipped);
        match open(&dir).restore(&key, None) {
            Ok(_) => mended += 1,
            Err(_) => refused += 1,
        }
        if dir.join(&place).exists() {
            for (name, bytes) in fixture::snapshot(&dir.join(&place)) {
                assert_eq!(Some(&bytes), right.get(&name), "byte {at}: {name}");
            }
        }
    }
    println!("{mended} restored, {refused} refused");
    assert!(mended > 0 && refused > 0);
}
