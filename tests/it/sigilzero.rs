//! Canonical forms and the sigilzero pack against the real data of that system, where the
//! environment says it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use strongroom::base::canonical::{PythonForm, inputs_hash, inputs_hash_form, python_dumps};
use strongroom::base::clock::Moment;
use strongroom::base::digest::Sha256;
use strongroom::base::id::RunId;
use strongroom::base::json::{self, Doc, Edits, Node};
use strongroom::schema::history::{self, ChecksumForm, HistoryState};
use strongroom::schema::{Detection, Facts, FileFact, Outcome, Pack, Refusal, Rewrite, Stamp};

/// The folder of the real data; `None` where it is not at hand.
fn real_data() -> Option<PathBuf> {
    match std::env::var_os("STRONGROOM_REAL_DATA") {
        Some(folder) => Some(PathBuf::from(folder).join("sigilzero")),
        None => {
            println!("skipped: STRONGROOM_REAL_DATA is not set");
            None
        }
    }
}

fn read(path: PathBuf) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(node: Node<'_>, key: &str) -> String {
    let member = node.get(key).unwrap_or_else(|| panic!("no member {key} in {}", node.raw()));
    member.as_str().unwrap_or_else(|| panic!("{key} is no string")).into_owned()
}

fn scan(bytes: &[u8]) -> Doc<'_> {
    json::scan(bytes).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn canonical_forms_of_the_original_program_are_equal() {
    let Some(data) = real_data() else { return };
    let bytes = read(data.join("vectors/hash_vectors.json"));
    let doc = scan(&bytes);
    let list = |key: &str| doc.root().get(key).expect("present").elements().collect::<Vec<_>>();

    for vector in list("inputs_hash") {
        let hashes: Vec<(String, Sha256)> = vector
            .get("snapshot_hashes")
            .expect("present")
            .members()
            .map(|m| {
                let digest = m.value().as_str().expect("a string").parse().expect("a digest");
                (m.key().into_owned(), digest)
            })
            .collect();
        let entries = || hashes.iter().map(|(name, digest)| (name.as_str(), digest));
        assert_eq!(inputs_hash_form(entries()), text(vector, "canonical_utf8"));
        let hash = inputs_hash(entries());
        assert_eq!(hash.to_string(), text(vector, "inputs_hash"));
        assert_eq!(RunId::derive(&hash, 1).as_str(), text(vector, "run_id"));
        assert_eq!(RunId::derive(&hash, 2).as_str(), text(vector, "run_id_2"));
    }
    for vector in list("write_json") {
        let input = text(vector, "compact_input");
        let input = scan(input.as_bytes());
        let canonical = python_dumps(input.root(), PythonForm::Compact, None);
        assert_eq!(canonical, text(vector, "canonical_json"), "{}", text(vector, "name"));
        assert_eq!(Sha256::of(canonical.as_bytes()).to_string(), text(vector, "sha256_json"));
    }
    let vector = doc.root().get("migration_checksum").expect("present");
    let dumped = python_dumps(vector.get("obj").expect("present"), PythonForm::Default, None);
    assert_eq!(dumped, text(vector, "serialised"));
    assert_eq!(Sha256::of(dumped.as_bytes()).to_string(), text(vector, "sha256"));

    let bytes = read(data.join("vectors/legacy_hash_vectors.json"));
    let doc = scan(&bytes);
    for key in ["brief_hash", "context_spec_hash", "generation_hash"] {
        let vector = doc.root().get(key).expect("present");
        let form = text(vector, "canonical_utf8");
        assert_eq!(Sha256::of(form.as_bytes()).to_string(), text(vector, "sha256"));
        assert_eq!(python_dumps(scan(form.as_bytes()).root(), PythonForm::Compact, None), form);
    }
}

/// Every manifest below a folder, by path, in a fixed order.
fn manifests(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let entry = entry.expect("readable");
            let kind = entry.file_type().expect("readable");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_str() == Some(name) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The facts of the run that a manifest describes.
fn facts_of(manifest: &Path) -> Facts {
    let run = manifest.parent().expect("a file has a folder");
    let mut facts = Facts::default();
    for folder in ["inputs", "outputs"] {
        let Ok(entries) = std::fs::read_dir(run.join(folder)) else { continue };
        for entry in entries {
            let entry = entry.expect("readable");
            if entry.file_type().expect("readable").is_dir() {
                continue;
            }
            let path = format!("{folder}/{}", entry.file_name().to_str().expect("UTF-8"));
            let bytes = read(entry.path());
            let sha256 = Sha256::of(&bytes);
            facts.files.push(FileFact { path: path.clone(), sha256, bytes: bytes.len() as u64 });
            facts.contents.insert(path, bytes);
        }
    }
    facts.files.sort_by(|a, b| a.path.cmp(&b.path));
    facts
}

fn pack() -> &'static Pack {
    Pack::builtin("sigilzero").expect("built in")
}

fn stamp() -> Stamp {
    Stamp { applied_at: Moment::from_millis(1_772_300_000_123) }
}

fn rewrite(bytes: &[u8], target: Option<&str>, facts: &Facts, stamp: Option<&Stamp>) -> Rewrite {
    match pack().migrate(bytes, target, facts, stamp) {
        Outcome::Rewrite(rewrite) => rewrite,
        other => panic!("no rewrite: {other:?}"),
    }
}

/// A document's text without its history.
fn without_history(bytes: &[u8]) -> String {
    let doc = scan(bytes);
    let Some(history) = doc.root().get("migration_history") else {
        return String::from_utf8(bytes.to_vec()).expect("UTF-8");
    };
    let mut edits = Edits::new(&doc);
    edits.remove(history);
    String::from_utf8(edits.apply().expect("applies").bytes).expect("UTF-8")
}

/// The manifests that the system's own programs wrote, before its migration tool touched any.
fn unmigrated(data: &Path) -> Vec<PathBuf> {
    let folders = ["git-30306ec", "git-6b804be", "git-a0debc6", "runs-by-commit", "runs-head-7d7973c"];
    folders.iter().flat_map(|folder| manifests(&data.join(folder), "manifest.json")).collect()
}

#[test]
fn real_manifests_are_all_known_and_fit() {
    let Some(data) = real_data() else { return };
    let mut counts = BTreeMap::new();
    for path in unmigrated(&data) {
        let bytes = read(path.clone());
        let detection = pack().detect(&scan(&bytes));
        assert!(matches!(detection, Detection::Known { .. }), "{}: {detection}", path.display());
        *counts.entry(detection.to_string()).or_insert(0) += 1;
    }
    println!("{counts:?}");
    let total: usize = counts.values().sum();
    assert_eq!(total, 30, "{counts:?}");
    for shape in ["1.0.0", "1.1.0/a", "1.1.0/b", "1.1.0/c", "1.1.0/d", "1.2.0"] {
        assert!(counts.contains_key(shape), "no {shape} in {counts:?}");
    }
}

#[test]
fn real_manifests_migrate_and_keep_every_member() {
    let Some(data) = real_data() else { return };
    let (mut migrated, mut current) = (0, 0);
    for path in unmigrated(&data) {
        let bytes = read(path.clone());
        let facts = facts_of(&path);
        let outcome = pack().migrate(&bytes, None, &facts, Some(&stamp()));
        let rewrite = match outcome {
            Outcome::Rewrite(rewrite) => rewrite,
            Outcome::Current { .. } => {
                current += 1;
                continue;
            }
            Outcome::Refused(why) => panic!("{}: {why}", path.display()),
        };
        migrated += 1;
        let (before, after) = (scan(&bytes), scan(&rewrite.bytes));
        for member in before.root().members() {
            let key = member.key();
            let kept = after.root().get(&key).unwrap_or_else(|| panic!("{}: {key} is gone", path.display()));
            match key.as_ref() {
                "schema_version" => assert_eq!(text(after.root(), "schema_version"), "1.2.0"),
                "migration_history" => assert_eq!(kept.len(), member.value().len() + 1),
                _ => assert_eq!(kept.raw(), member.value().raw(), "{}: {key}", path.display()),
            }
        }
        assert_eq!(
            text(after.root(), "job_id"),
            if rewrite.from == "1.0.0" { "ig-test-001".to_owned() } else { text(before.root(), "job_id") }
        );
        if rewrite.from == "1.0.0" {
            let snapshot =
                after.root().get("input_snapshots").and_then(|s| s.get("brief")).expect("backfilled");
            assert_eq!(text(snapshot, "path"), "inputs/brief.yaml");
            let brief = read(path.with_file_name("inputs").join("brief.yaml"));
            assert_eq!(text(snapshot, "sha256"), Sha256::of(&brief).to_string());
            assert_eq!(rewrite.changes[0], "backfilled /job_id from inputs/brief.yaml");
        }
        assert_eq!(bytes.ends_with(b"\n"), rewrite.bytes.ends_with(b"\n"));
        let checks =
            history::check(&strongroom::base::json::scan(&rewrite.bytes).expect("it is JSON"), pack());
        let last = &checks.last().expect("a record").state;
        assert_eq!(last, &HistoryState::Verified { form: ChecksumForm::Sha256Zeroed });
        let again = pack().migrate(&rewrite.bytes, None, &facts, Some(&stamp()));
        assert_eq!(again, Outcome::Current { version: "1.2.0".to_owned() });
    }
    println!("{migrated} migrated, {current} current");
    assert_eq!((migrated, current), (29, 1));
}

#[test]
fn real_manifests_come_out_the_same_on_both_routes() {
    let Some(data) = real_data() else { return };
    let mut count = 0;
    for path in unmigrated(&data) {
        let bytes = read(path.clone());
        let facts = facts_of(&path);
        if !matches!(pack().detect(&scan(&bytes)), Detection::Known { version, .. } if version == "1.0.0") {
            continue;
        }
        count += 1;
        for stamp in [None, Some(&stamp())] {
            let direct = rewrite(&bytes, None, &facts, stamp);
            assert_eq!(direct.path, ["1.0.0", "1.2.0"]);
            let halfway = rewrite(&bytes, Some("1.1.0"), &facts, stamp);
            let twice = rewrite(&halfway.bytes, None, &facts, stamp);
            assert_eq!(without_history(&direct.bytes), without_history(&twice.bytes), "{}", path.display());
        }
    }
    assert_eq!(count, 12);
}

#[test]
fn documents_that_the_original_tool_migrated_do_not_fit_and_are_left_alone() {
    let Some(data) = real_data() else { return };
    let mut paths = manifests(&data.join("migrated-by-original"), "manifest.json");
    paths.extend(manifests(&data.join("migrated-two-hop"), "manifest.json"));
    assert_eq!(paths.len(), 10);
    let (mut python, mut earlier) = (0, 0);
    for path in &paths {
        let bytes = read(path.clone());
        let Detection::Misfit { version, reasons } = pack().detect(&scan(&bytes)) else {
            panic!("{} fits", path.display())
        };
        assert_eq!(version, "1.2.0");
        assert!(reasons.iter().any(|r| r.starts_with("/migration_history/0/changes/0")), "{reasons:?}");
        let outcome = pack().migrate(&bytes, None, &facts_of(path), Some(&stamp()));
        assert!(matches!(outcome, Outcome::Refused(Refusal::Detection(Detection::Misfit { .. }))));
        for check in history::check(&strongroom::base::json::scan(&bytes).expect("it is JSON"), pack()) {
            match check.state {
                HistoryState::Verified { form } => {
                    assert_ne!(form, ChecksumForm::Sha256Zeroed);
                    python += 1;
                }
                HistoryState::NeedsRevision => earlier += 1,
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        let edited = String::from_utf8(bytes).expect("UTF-8").replace("instagram", "telegram");
        let checks =
            history::check(&strongroom::base::json::scan(edited.as_bytes()).expect("it is JSON"), pack());
        assert!(matches!(checks.last().map(|c| &c.state), Some(HistoryState::Differs { .. })));
    }
    assert_eq!((python, earlier), (10, 1));
    let halfway = manifests(&data.join("migrated-two-hop"), "manifest.json.backup");
    for path in &halfway {
        let bytes = read(path.clone());
        assert!(matches!(pack().detect(&scan(&bytes)), Detection::Misfit { .. }));
    }
    assert_eq!(halfway.len(), 1);
}

#[test]
fn original_documents_beside_the_migrated_ones_migrate_from_their_backups() {
    let Some(data) = real_data() else { return };
    let paths = manifests(&data.join("migrated-by-original"), "manifest.json.backup");
    for path in &paths {
        let rewrite = rewrite(&read(path.clone()), None, &facts_of(path), Some(&stamp()));
        assert!(matches!(pack().detect(&scan(&rewrite.bytes)), Detection::Known { .. }));
    }
    assert_eq!(paths.len(), 9);
}
