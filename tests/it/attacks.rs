//! The table of attacks of `docs/threat-model.md`: each row of it is done to a store, and the command that
//! the row names gives the codes that it names, and no others. A row that says that something kept elsewhere
//! is needed is held to that: without it, the same store passes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use strongroom::base::clock::{Clock, Moment};
use strongroom::format::finding::Code;
use strongroom::store::{Context, Store};

use crate::bad_stores::Bad;
use crate::cli_keys::{forge_checkpoint, signed, stranger};
use crate::cli_policy::{cosign, cosigner, policy};
use crate::cli_witness::more;
use crate::common::{Bench, copy_tree, old_run, overwrite};
use crate::fixture;

/// A signed store with two migrated runs, its witness's word in the log, and beside it what was kept
/// elsewhere: the key, a checkpoint, a policy; and an older copy of it.
struct Scene {
    bench: Bench,
    key: String,
    bad: Bad,
    saved: tempfile::TempDir,
}

const FIRST: &str = "label-001/0a1b2c3d-0000-4000-8000-000000000001";
const SECOND: &str = "label-001/0a1b2c3d-0000-4000-8000-000000000002";

impl Scene {
    fn new() -> Self {
        let (bench, key) = signed();
        policy(&bench, &key, 1, "all");
        copy_tree(&bench.path(""), &bench.top().join("older"));
        bench.run(&["migrate"]).exits(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        cosign(&bench, &cosigner(1), now, &[]);
        bench.run(&["audit", "checkpoint", "--out", "../kept"]).exits(0);
        let saved = tempfile::tempdir().unwrap();
        copy_tree(&bench.top(), saved.path());
        let [label, tea, chain, recorded] = [FIRST, SECOND, FIRST, FIRST].map(str::to_owned);
        let bad = Bad { dir: bench.path(""), label, tea, chain, recorded };
        Self { bench, key, bad, saved }
    }

    /// As it was before the attack.
    fn again(&self) {
        for entry in std::fs::read_dir(self.bench.top()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap()
            } else {
                std::fs::remove_file(path).unwrap()
            }
        }
        copy_tree(self.saved.path(), &self.bench.top());
    }

    /// Puts another store in the place of this one.
    fn replace_by(&self, other: &str) {
        std::fs::remove_dir_all(self.bench.path("")).unwrap();
        copy_tree(&self.bench.top().join(other), &self.bench.path(""));
    }

    fn forget_what_was_signed(&self) {
        std::fs::remove_dir_all(self.bench.top().join(".local")).unwrap();
    }

    /// Runs a command as the document writes it; gives its codes, and holds their titles to be printed.
    fn codes(&self, command: &str) -> String {
        let words = command.split(' ').map(|word| match word {
            "K" => self.key.as_str(),
            "CHECKPOINT" => "../kept",
            "POLICY" => "../policy",
            word => word,
        });
        let words: Vec<&str> = words.collect();
        let report = self.bench.run(&[&["--json"], &words[..]].concat());
        let report: serde_json::Value = report.json();
        let codes: BTreeSet<&str> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["code"].as_str().unwrap())
            .collect();
        let fails = codes.iter().any(|code| code.starts_with('E'));
        let ran = self.bench.run(&words).exits(if fails { 3 } else { 0 });
        for code in &codes {
            let title = Code::parse(code).unwrap().title();
            assert!(ran.out.contains(&format!("\n    {title}\n")), "{code} {title}: {}", ran.out);
        }
        codes.into_iter().collect::<Vec<_>>().join(" ")
    }
}

/// A clock two days behind.
struct Behind;

impl Clock for Behind {
    fn now(&self) -> Moment {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Moment::from_millis(i64::try_from(now.as_millis()).unwrap() - 2 * 86_400_000)
    }

    fn random(&self) -> [u8; 16] {
        [7; 16]
    }
}

/// What is done, in the words of the document.
type Attack = (&'static str, fn(&Scene));

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    ("nobody does anything", |_| {}),
    ("edits a manifest", |s| s.bad.replace(&s.bad.manifest(FIRST), "1.10", "1.11")),
    ("edits an output and its digest in the manifest", |s| {
        let (output, manifest) = (s.bad.of(FIRST, "outputs/result.md"), s.bad.manifest(FIRST));
        let digest = |bytes: Vec<u8>| strongroom::base::digest::Sha256::of(&bytes).to_string();
        let old = digest(s.bad.read(&output));
        s.bad.replace(&output, "result", "Result");
        s.bad.replace(&manifest, &old, &digest(s.bad.read(&output)));
    }),
    ("changes an input and the manifest together", |s| {
        s.bad.replace(&s.bad.of(FIRST, "inputs/brief.yaml"), "number: 1", "number: 7");
        s.bad.replace(&s.bad.manifest(FIRST), "sample", "simple");
    }),
    ("deletes a run", |s| s.bad.remove(&format!("artifacts/{FIRST}"))),
    ("adds a run by hand", |s| drop(fixture::run_with_snapshots(&s.bad.dir.join("artifacts"), "by-hand", "1.2.0", "x"))),
    ("edits a manifest and the entry that names it", |s| edit_with_entry(s, false)),
    ("edits a manifest and the entry, and makes tiles and head anew", |s| edit_with_entry(s, true)),
    ("the same, and removes checkpoint and anchors", |s| {
        edit_with_entry(s, true);
        s.bad.remove("audit/checkpoint");
        s.bad.remove("audit/anchors");
    }),
    ("rewrites everything, without the key", |s| {
        s.forget_what_was_signed();
        std::fs::remove_dir_all(s.bench.top().join(".config")).unwrap();
        another_store(s, None);
    }),
    ("signs the checkpoint with a key of their own", |s| forge_checkpoint(&s.bench, &stranger(&s.key, 9))),
    ("slips in a key", |s| {
        let key = stranger(&s.key, 9).verifying_key().to_string();
        s.bad.write("audit/keys/00000000", format!("{key}\n"));
    }),
    ("replaces every key and signs everything anew", |s| another_store(s, Some(&["--signing-key", "../forger.key"]))),
    ("has the signing key, rewrites everything and signs it", |s| {
        s.forget_what_was_signed();
        another_store(s, Some(&[]));
    }),
    ("has the signing key and rewrites everything, asked without a checkpoint", |s| {
        s.forget_what_was_signed();
        another_store(s, Some(&[]));
    }),
    ("cuts the newest entries and the checkpoint", |s| {
        let mut entries = s.bad.entries();
        // The witness's word, and what names it.
        entries.truncate(entries.len() - 1);
        s.bad.rewrite_log(&entries);
        s.bad.remove("audit/checkpoint");
        s.bad.remove("audit/anchors");
    }),
    ("puts a whole older copy back", |s| s.replace_by("older")),
    ("puts a whole older copy back and leaves the kept anchors", |s| {
        copy_tree(&s.bench.path("audit/anchors"), &s.bench.top().join("aside"));
        s.replace_by("older");
        copy_tree(&s.bench.top().join("aside"), &s.bench.path("audit/anchors"));
    }),
    ("shows two auditors two logs", |s| {
        s.replace_by("older");
        s.forget_what_was_signed();
        (3..=4).for_each(|n| more(&s.bench, n));
    }),
    ("backdates an entry", |s| {
        let dir = s.bench.top().join("late/artifacts");
        old_run(&dir, "label-009", 9);
        let context = Context { clock: Arc::new(Behind), ..fixture::context(None) };
        fixture::adopt(&Store::open(&s.bench.path(""), context).unwrap(), &s.bench.top().join("late/artifacts"));
    }),
    ("poisons the index", |s| {
        let index = Connection::open(s.bench.path("index.sqlite")).unwrap();
        index.execute_batch("DELETE FROM entries WHERE kind = 'migrated'; UPDATE runs SET manifest_sha256 = 'sha256:00'").unwrap();
    }),
];

/// As an insider does it: the manifest, and the entry that says what it is.
fn edit_with_entry(s: &Scene, whole: bool) {
    let path = s.bad.manifest(FIRST);
    let digest = || strongroom::base::digest::Sha256::of(&s.bad.read(&path)).to_string();
    let before = digest();
    s.bad.replace(&path, "1.10", "1.11");
    let after = digest();
    if whole {
        let entries = s.bad.entries();
        let names =
            |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(&format!("\"after\":\"{before}\""));
        s.bad.edit_entry(entries.iter().position(names).unwrap(), &before, &after);
        return;
    }
    let bundle = s.bad.read(&s.bad.bundle());
    let at = bundle.windows(before.len()).position(|window| window == before.as_bytes()).unwrap();
    let mut bundle = bundle;
    bundle[at..at + before.len()].copy_from_slice(after.as_bytes());
    overwrite(&s.bad.dir.join(s.bad.bundle()), bundle);
}

/// Another history under the same origin, whole and sound, in the place of the store.
fn another_store(s: &Scene, by: Option<&[&str]>) {
    let origin = s.key.split('+').next().unwrap();
    s.bench.run(&["init", "../new", "--origin", origin]).exits(0);
    let there = [&["--store", "../new"], by.unwrap_or_default()].concat();
    if by.is_some() {
        s.bench.run(&[&there[..], &["audit", "key", "new"]].concat()).exits(0);
    }
    (5..=6).for_each(|n| drop(old_run(&s.bench.top().join("told/artifacts"), "label-001", n)));
    s.bench.run(&[&there[..], &["adopt", "../told/artifacts"]].concat()).exits(0);
    s.replace_by("new");
}

/// The rows of the document's table: who does what, found by, codes, what is needed.
fn rows() -> Vec<[String; 4]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split("| someone… | found by | codes |").nth(1).expect("the table of attacks");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let cells = |line: &str| -> [String; 4] {
        let cells: Vec<String> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("{cells:?}"))
    };
    lines.map(cells).collect()
}

#[test]
fn attacks_are_those_of_the_threat_model_and_found_as_it_says() {
    let rows = rows();
    let named: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let ours: Vec<&str> = ATTACKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, ours, "the document's rows are the test's");
    let scene = Scene::new();
    let mut wrong = Vec::new();
    for ([name, command, codes, needs], (_, attack)) in rows.iter().zip(ATTACKS) {
        scene.again();
        attack(&scene);
        let found = scene.codes(command.trim_matches('`'));
        let told = if codes == "none" { "" } else { codes };
        if found != *told {
            wrong.push(format!("{name}: {command} gives {found:?}, not {told:?}"));
        }
        let plain = scene.codes("verify");
        let alone = !plain.split(' ').any(|code| code.starts_with('E'));
        if alone != (needs != "no" || codes == "none") {
            wrong.push(format!("{name}: needs {needs}, and plain verify gives {plain:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn attack_on_the_index_changes_no_answer_after_the_next_reindex() {
    let scene = Scene::new();
    let list = || scene.bench.run(&["--json", "list"]).exits(0).out;
    let before = list();
    ATTACKS.last().unwrap().1(&scene);
    scene.bench.run(&["reindex"]).exits(0);
    assert_eq!(list(), before);
}
