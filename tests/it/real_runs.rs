//! The whole day of a store on every real tree of sigilzero: adopt, verify, versions, migrate, roll
//! back, reindex, with counts that add up. The data is found by `STRONGROOM_REAL_DATA`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use strongroom::base::digest::Sha256;
use strongroom::base::id::{OperationId, RunId, RunKey};
use strongroom::base::json::{self, Edits};
use strongroom::format::entry::EntryKind;
use strongroom::format::finding::Code;
use strongroom::format::manifest::Manifest;
use strongroom::index::Value;
use strongroom::schema::history::{self, ChecksumForm, HistoryState};
use strongroom::schema::{Detection, Pack};
use strongroom::store::{
    Adopted, MigrateOptions, MigrateReport, Migrated, RolledBack, Seen, Store, Verdict, VerifyOptions,
};

use crate::fixture::{counts, failures, init, migrate, open, snapshot, try_adopt};

type Files = BTreeMap<String, Vec<u8>>;

/// What a tree comes to: runs, what else lies there, and what a migration does.
struct Tree {
    name: &'static str,
    runs: usize,
    skipped: usize,
    migrated: u64,
    current: u64,
    refused: u64,
}

const fn tree(name: &'static str, runs: usize, skipped: usize, verdicts: [u64; 3]) -> Tree {
    let [migrated, current, refused] = verdicts;
    Tree { name, runs, skipped, migrated, current, refused }
}

/// Every tree with runs in it. `_write_test` and the links under `artifacts/runs` are what is skipped.
const TREES: &[Tree] = &[
    tree("git-6b804be", 3, 1, [3, 0, 0]),
    tree("git-a0debc6", 7, 1, [7, 0, 0]),
    tree("git-30306ec", 1, 1, [1, 0, 0]),
    tree("runs-head-7d7973c", 8, 9, [7, 1, 0]),
    tree("migrated-by-original", 9, 1, [0, 0, 9]),
    tree("migrated-two-hop", 1, 0, [0, 0, 1]),
    tree("runs-by-commit/1dc4625", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/231b990", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/30306ec", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/309725b", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/483eceb", 1, 0, [1, 0, 0]),
    tree("runs-by-commit/55252c5", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/6b804be", 1, 0, [1, 0, 0]),
    tree("runs-by-commit/8c07fb1", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/a0debc6", 1, 0, [1, 0, 0]),
    tree("runs-by-commit/b321d6c", 1, 1, [1, 0, 0]),
    tree("runs-by-commit/ccde1c0", 1, 1, [1, 0, 0]),
];

/// The folder of the real data; `None` where it is not at hand.
fn real_data() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("STRONGROOM_REAL_DATA") else {
        println!("skipped: STRONGROOM_REAL_DATA is not set");
        return None;
    };
    let data = PathBuf::from(folder).join("sigilzero");
    let commits = snapshot(&data.join("runs-by-commit"));
    let commits = commits.keys().filter(|name| name.matches('/').count() == 1 && name.ends_with('/')).count();
    assert_eq!(commits, TREES.iter().filter(|tree| tree.name.starts_with("runs-by-commit")).count());
    Some(data)
}

fn artifacts(data: &Path, tree: &Tree) -> PathBuf {
    let dir = data.join(tree.name).join("artifacts");
    assert!(dir.is_dir(), "{}: missing", dir.display());
    dir
}

/// The store's files that an operation without an effect must not touch.
fn lasting(store: &Path) -> Files {
    let disposable = |name: &str| {
        name.starts_with("index.") || name == "lock" || name.starts_with("tmp/") || name.ends_with(".lock")
    };
    snapshot(store).into_iter().filter(|(name, _)| !disposable(name)).collect()
}

/// The parts of a store that a migration writes to.
fn written(store: &Path) -> Vec<Files> {
    ["artifacts", "audit", "objects"].iter().map(|part| snapshot(&store.join(part))).collect()
}

fn pack() -> &'static Pack {
    Pack::builtin("sigilzero").unwrap()
}

fn run_dir(store: &Path, key: &RunKey) -> PathBuf {
    store.join("artifacts").join(key.to_string())
}

fn manifest(store: &Path, key: &RunKey) -> Vec<u8> {
    std::fs::read(run_dir(store, key).join("manifest.json")).unwrap()
}

fn manifests(store: &Store) -> BTreeMap<RunKey, Vec<u8>> {
    store.all_runs().unwrap().into_iter().map(|key| (key.clone(), manifest(store.root(), &key))).collect()
}

/// A document's text without its history.
fn without_history(bytes: &[u8]) -> String {
    let doc = json::scan(bytes).unwrap();
    let mut edits = Edits::new(&doc);
    edits.remove(doc.root().get("migration_history").unwrap());
    String::from_utf8(edits.apply().unwrap().bytes).unwrap()
}

/// The runs that came in, and the place of each.
fn brought_in(rows: &[Seen]) -> BTreeMap<RunKey, String> {
    let new = rows.iter().filter_map(|seen| match &seen.result {
        Adopted::New { key, .. } | Adopted::Already { key } => Some((key.clone(), seen.place.clone())),
        _ => None,
    });
    new.collect()
}

fn migrate_to(store: &Store, to: Option<&str>, dry_run: bool) -> (MigrateReport, Vec<Migrated>) {
    let mut rows = Vec::new();
    let options =
        MigrateOptions { to: to.map(str::to_owned), dry_run, bytes: true, ..MigrateOptions::default() };
    let report = store.migrate(&options, &mut |row| rows.push(row.clone())).unwrap();
    assert_eq!(report.found, report.migrated + report.current + report.refused + report.unreadable);
    assert_eq!(report.found, rows.len() as u64);
    (report, rows)
}

/// Every row of every table.
fn dump(store: &Store) -> Vec<String> {
    let tables = store.query("SELECT name, sql FROM sqlite_master ORDER BY name").unwrap().rows;
    let mut out: Vec<String> = tables.iter().map(|row| format!("{row:?}")).collect();
    for table in &tables {
        let (Value::Text(name), Value::Text(sql)) = (&table[0], &table[1]) else { continue };
        if sql.starts_with("CREATE TABLE") && name != "marks" {
            let found = store.query(&format!("SELECT * FROM {name}")).unwrap();
            let mut rows: Vec<String> = found.rows.iter().map(|row| format!("{name} {row:?}")).collect();
            // How often the file was written to is about the file, not about what it says.
            rows.retain(|row| !row.contains("Text(\"writes\")"));
            rows.sort();
            out.append(&mut rows);
        }
    }
    out
}

/// A store of its own into which a tree was adopted: the source untouched, every byte the same.
fn adopted(source: &Path, store: &Path, tree: &Tree) -> (Store, Vec<Seen>) {
    let before = snapshot(source);
    let store = init(store);
    let (report, rows) = try_adopt(&store, source).unwrap();
    assert_eq!(counts(&report), (tree.runs as u64, 0, 0, tree.skipped as u64), "{}: {rows:?}", tree.name);
    for (key, place) in brought_in(&rows) {
        let (theirs, ours) = (snapshot(&source.join(place)), snapshot(&run_dir(store.root(), &key)));
        assert!(theirs.contains_key("manifest.json"));
        assert_eq!(theirs, ours, "{}: {key}", tree.name);
    }
    assert_eq!(snapshot(source), before, "{}: the source changed", tree.name);
    (store, rows)
}

/// What `verify` lists of a fresh store: no failure, the README's exceptions, misfits as warnings.
fn check_known(tree: &Tree, store: &Store) -> (usize, usize) {
    assert_eq!(failures(store), Vec::<String>::new(), "{}", tree.name);
    let report = store.verify(&VerifyOptions::default()).unwrap();
    let known: Vec<String> = report
        .findings
        .iter()
        .filter(|f| f.known && !f.code.is_warning())
        .map(|f| {
            let (run, path) = (f.run.as_ref().unwrap(), f.path.as_deref().unwrap());
            format!("{} {} {path}", f.code, run.job)
        })
        .collect();
    // The chained run alone records digests that are not its files', and a doctrine without content.
    let expected: &[&str] = match tree.name {
        "runs-head-7d7973c" => &[
            "E120 optimization-001 inputs/brief.resolved.json",
            "E120 optimization-001 inputs/brief.resolved.json",
            "E120 optimization-001 inputs/model_config.json",
            "E120 optimization-001 inputs/model_config.json",
            "E120 optimization-001 inputs/prior_artifact.resolved.json",
            "E120 optimization-001 inputs/prior_artifact.resolved.json",
            "E141 optimization-001 inputs/doctrine.resolved.json",
        ],
        _ => &[],
    };
    assert_eq!(known, expected, "{}", tree.name);
    let others: Vec<_> = report.findings.iter().filter(|f| f.code.is_warning()).collect();
    assert!(others.iter().all(|f| f.code == Code::ShapeUnfit), "{}: {others:?}", tree.name);
    assert_eq!(others.len() as u64, tree.refused, "{}", tree.name);
    (known.len(), others.len())
}

/// Every result of a migration: valid, indexable, nothing lost, its checksum recomputed by hand.
fn check_migrated(row: &Migrated, store: &Store) {
    let (before, after) = row.bytes.as_ref().unwrap();
    assert_eq!(&manifest(store.root(), &row.key), after, "{}", row.key);
    let (old, new) = (json::scan(before).unwrap(), json::scan(after).unwrap());
    assert!(
        matches!(pack().detect(&new), Detection::Known { version, .. } if version == "1.2.0"),
        "{}: {}",
        row.key,
        pack().detect(&new)
    );
    for member in old.root().members() {
        let kept = new.root().get(&member.key()).unwrap_or_else(|| panic!("{}: a member is gone", row.key));
        match member.key().as_ref() {
            "schema_version" => assert_eq!(kept.as_str().unwrap(), "1.2.0"),
            "migration_history" => assert_eq!(kept.len(), member.value().len() + 1),
            key => assert_eq!(kept.raw(), member.value().raw(), "{}: {key}", row.key),
        }
    }
    let checks = history::check(&strongroom::base::json::scan(after).expect("it is JSON"), pack());
    let last = &checks.last().unwrap().state;
    assert_eq!(last, &HistoryState::Verified { form: ChecksumForm::Sha256Zeroed }, "{}", row.key);
    // As `sed` and `sha256sum` do it: the digits become zeros, and the file is hashed.
    let record = new.root().get("migration_history").unwrap().elements().last().unwrap();
    let stated = |member: &str| record.get(member).unwrap().as_str().unwrap().into_owned();
    let digits = stated("checksum_after").strip_prefix("sha256:").unwrap().to_owned();
    let zeroed = String::from_utf8(after.clone()).unwrap().replace(&digits, &"0".repeat(64));
    assert_eq!(Sha256::of(zeroed.as_bytes()).hex(), digits, "{}", row.key);
    assert_eq!(stated("checksum_before"), Sha256::of(before).to_string(), "{}", row.key);
    assert_eq!(stated("to_version"), "1.2.0");
    assert_eq!(&store.revision(&Sha256::of(before)).unwrap(), before, "{}: the original is gone", row.key);
    let sql = format!(
        "SELECT manifest_sha256, schema_version FROM run_index WHERE job_id = '{}' AND run_id = '{}'",
        row.key.job, row.key.run
    );
    let indexed = vec![vec![Value::Text(Sha256::of(after).to_string()), Value::Text("1.2.0".to_owned())]];
    assert_eq!(store.query(&sql).unwrap().rows, indexed, "{}", row.key);
}

/// Ids and snapshot digests recomputed from nothing but the files; gives how many runs had them.
fn check_identity(store: &Store, known: &[RunKey]) -> usize {
    let mut checked = 0;
    for (key, bytes) in manifests(store) {
        let manifest = Manifest::parse(&bytes).unwrap();
        let Some(inputs_hash) = &manifest.inputs_hash else { continue };
        checked += 1;
        assert_eq!(manifest.recomputed_inputs_hash().unwrap().to_string(), *inputs_hash, "{key}");
        assert_eq!(RunId::derive(&inputs_hash.parse().unwrap(), 1), key.run);
        assert_eq!(manifest.run_id.as_deref(), Some(key.run.as_str()));
        for snapshot in manifest.snapshots.iter().filter(|_| !known.contains(&key)) {
            let bytes = std::fs::read(run_dir(store.root(), &key).join(&snapshot.path)).unwrap();
            assert_eq!(Some(Sha256::of(&bytes).to_string()), snapshot.sha256, "{key} {}", snapshot.path);
            assert_eq!(Some(bytes.len() as u64), snapshot.bytes, "{key} {}", snapshot.path);
        }
    }
    checked
}

/// Back to the originals as one operation, and forward again by digest.
fn check_rollback(
    store: &Store,
    operation: &OperationId,
    originals: &BTreeMap<RunKey, Vec<u8>>,
    migrated: &BTreeMap<RunKey, Vec<u8>>,
) {
    let report = store.rollback_operation(operation).unwrap();
    assert!(report.runs.iter().all(|(_, done)| matches!(done, RolledBack::Done { .. })), "{report:?}");
    assert_eq!(&manifests(store), originals);
    assert_eq!(failures(store), Vec::<String>::new());
    for (key, _) in &report.runs {
        let to = Sha256::of(&migrated[key]);
        let forward = store.rollback(key, &to).unwrap();
        assert!(matches!(&forward.runs[0].1, RolledBack::Done { after, .. } if *after == to));
        let again = store.rollback(key, &to).unwrap();
        assert_eq!(again.runs[0].1, RolledBack::Already);
    }
    assert_eq!(&manifests(store), migrated);
    assert_eq!(failures(store), Vec::<String>::new());
}

fn a_day(data: &Path, tree: &Tree) {
    let name = tree.name;
    let root = tempfile::tempdir().unwrap();
    let (dir, source) = (root.path().join("store"), artifacts(data, tree));
    let (store, rows) = adopted(&source, &dir, tree);
    let originals = manifests(&store);

    let (before, seen) = (lasting(&dir), snapshot(&source));
    let (second, again) = try_adopt(&store, &source).unwrap();
    assert_eq!(counts(&second), (0, tree.runs as u64, 0, tree.skipped as u64), "{name}");
    assert_eq!(brought_in(&again), brought_in(&rows), "{name}");
    assert!(lasting(&dir) == before && snapshot(&source) == seen, "{name}: the second adopt wrote");

    let (known, misfits) = check_known(tree, &store);
    let excepted: Vec<RunKey> =
        originals.keys().filter(|key| key.job.as_str() == "optimization-001").cloned().collect();
    let identical = check_identity(&store, &excepted);

    let versions = store.versions().unwrap();
    assert_eq!(versions.total, tree.runs as u64, "{name}");
    assert_eq!(versions.rows.iter().map(|row| row.count).sum::<u64>(), versions.total, "{name}");
    assert_eq!(versions.migratable(), tree.migrated, "{name}");
    assert!(versions.unreadable.is_empty());

    let untouched = snapshot(&dir);
    let (plan, planned) = migrate_to(&store, None, true);
    assert!(snapshot(&dir) == untouched, "{name}: the dry run wrote");
    let (done, rows) = migrate_to(&store, None, false);
    let verdicts = |report: &MigrateReport| (report.migrated, report.current, report.refused);
    assert_eq!(verdicts(&done), (tree.migrated, tree.current, tree.refused), "{name}");
    assert_eq!((verdicts(&plan), plan.found, plan.operation), (verdicts(&done), done.found, None), "{name}");
    for (planned, row) in planned.iter().zip(&rows) {
        assert_eq!((&planned.key, &planned.path, &planned.changes), (&row.key, &row.path, &row.changes));
        if matches!(row.verdict, Verdict::Migrated { .. }) {
            check_migrated(row, &store);
        } else {
            assert_eq!(manifest(&dir, &row.key), originals[&row.key], "{name}: {}", row.key);
        }
    }
    let migrated = manifests(&store);
    check_identity(&store, &excepted);

    let after = written(&dir);
    let (again, _) = migrate_to(&store, None, false);
    assert_eq!(verdicts(&again), (0, tree.migrated + tree.current, tree.refused), "{name}");
    assert!(again.operation.is_none() && written(&dir) == after, "{name}: the second migration wrote");
    assert_eq!(failures(&store), Vec::<String>::new(), "{name}");

    if let Some(operation) = &done.operation {
        check_rollback(&store, operation, &originals, &migrated);
    }
    let kept = dump(&store);
    std::fs::remove_file(dir.join("index.sqlite")).unwrap();
    let store = open(&dir);
    let rows_of = store.reindex().unwrap().rows;
    assert_eq!(rows_of[0], ("runs", tree.runs as u64), "{name}");
    assert_eq!(dump(&store), kept, "{name}: the rebuilt index differs");
    assert_eq!(failures(&store), Vec::<String>::new(), "{name}");

    two_steps(&source, &root.path().join("two"), tree, &migrated);
    let files = store.verify(&VerifyOptions::default()).unwrap();
    println!(
        "{name}: {} runs adopted, 0 refused, {} skipped; {} migrated, {} current, {} refused; {} files, {} bytes; \
         {} known exceptions, {} misfits; {} identities recomputed; {} log entries, {} blobs; 0 failures",
        tree.runs,
        tree.skipped,
        done.migrated,
        done.current,
        done.refused,
        files.files,
        files.bytes,
        known,
        misfits,
        identical,
        files.entries,
        files.blobs,
    );
}

/// The route through 1.1.0 gives the same documents as the direct one, history aside.
fn two_steps(source: &Path, dir: &Path, tree: &Tree, direct: &BTreeMap<RunKey, Vec<u8>>) {
    let (store, _) = adopted(source, dir, tree);
    migrate_to(&store, Some("1.1.0"), false);
    assert_eq!(failures(&store), Vec::<String>::new(), "{}", tree.name);
    migrate_to(&store, Some("1.2.0"), false);
    assert_eq!(failures(&store), Vec::<String>::new(), "{}", tree.name);
    for (key, bytes) in manifests(&store) {
        assert_eq!(without_history(&bytes), without_history(&direct[&key]), "{}: {key}", tree.name);
        let entries = store.history(&key).unwrap().rows;
        let steps: Vec<_> = entries.iter().filter(|row| row.entry.kind == EntryKind::Migrated).collect();
        // No revision on the way is lost.
        assert!(steps.iter().all(|row| store.revision(&row.entry.before.unwrap()).is_ok()));
    }
}

#[test]
fn real_trees_of_single_programs_go_through_the_whole_day() {
    let Some(data) = real_data() else { return };
    TREES.iter().filter(|tree| tree.name.contains("by-")).for_each(|tree| a_day(&data, tree));
}

#[test]
fn real_trees_of_many_runs_go_through_the_whole_day() {
    let Some(data) = real_data() else { return };
    TREES.iter().filter(|tree| !tree.name.contains("by-")).for_each(|tree| a_day(&data, tree));
}

#[test]
fn real_trees_in_one_store_take_the_first_bytes_of_each_run_and_refuse_others() {
    let Some(data) = real_data() else { return };
    let root = tempfile::tempdir().unwrap();
    let store = init(&root.path().join("store"));
    let mut first: BTreeMap<String, Files> = BTreeMap::new();
    let mut totals = (0, 0, 0, 0);
    for tree in TREES {
        let source = artifacts(&data, tree);
        let (report, rows) = try_adopt(&store, &source).unwrap();
        let (new, already, refused, skipped) = counts(&report);
        let expected = (tree.runs as u64, tree.skipped as u64);
        assert_eq!((new + already + refused, skipped), expected, "{}", tree.name);
        totals = (totals.0 + new, totals.1 + already, totals.2 + refused, totals.3 + skipped);
        for seen in rows.iter().filter(|seen| !matches!(seen.result, Adopted::Skipped(_))) {
            // No run id of the real data occurs in two jobs.
            let run = seen.place.rsplit('/').next().unwrap();
            let bytes = snapshot(&source.join(&seen.place));
            let place = format!("{}: {}", tree.name, seen.place);
            match (&seen.result, first.get(run)) {
                (Adopted::New { .. }, None) => drop(first.insert(run.to_owned(), bytes)),
                (Adopted::Already { .. }, Some(there)) => assert_eq!(there, &bytes, "{place}"),
                (Adopted::Refused(why), Some(there)) => {
                    assert_ne!(there, &bytes, "{place}");
                    let what = if there["manifest.json"] == bytes["manifest.json"] {
                        "a file"
                    } else {
                        "the manifest"
                    };
                    let wanted = format!("the store has ig-test-001/{run} with other bytes ({what} differs)");
                    assert!(why.ends_with(&wanted), "{place}: {why}");
                }
                (result, there) => panic!("{place}: {result:?}, known: {}", there.is_some()),
            }
        }
    }
    assert_eq!(failures(&store), Vec::<String>::new());
    for (key, _) in manifests(&store) {
        assert_eq!(snapshot(&run_dir(store.root(), &key)), first[key.run.as_str()], "{key}");
    }
    let report = migrate(&store).unwrap();
    assert_eq!(report.found, report.migrated + report.current + report.refused);
    assert_eq!(failures(&store), Vec::<String>::new());
    println!(
        "all trees in one store: {} adopted, {} already here, {} refused, {} skipped; {} migrated, {} current, {} refused",
        totals.0, totals.1, totals.2, totals.3, report.migrated, report.current, report.refused
    );
    assert_eq!(totals.0 + totals.1 + totals.2, TREES.iter().map(|tree| tree.runs as u64).sum::<u64>());
    assert_eq!((first.len() as u64, report.found), (totals.0, totals.0));
}
