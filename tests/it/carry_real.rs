//! The commands on documents outside the store, on the real files of four systems, found by
//! `STRONGROOM_REAL_DATA`: counts, exact bytes, and what the systems' own programs made of the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use strongroom::base::json as text;

use crate::common::{Bench, copy_tree, skipped, tree};

/// A bench with an empty store in `vault` and copies of parts of a system's data; `None` where there
/// is no real data on this machine.
fn bench(system: &str, parts: &[&str]) -> Option<(Bench, PathBuf)> {
    let Some(folder) = std::env::var_os("STRONGROOM_REAL_DATA") else {
        skipped("STRONGROOM_REAL_DATA is not set");
        return None;
    };
    let folder = PathBuf::from(folder).join(system);
    let mut bench = Bench::new();
    bench.run(&["init", "vault"]).exits(0);
    bench.set("STRONGROOM_STORE", bench.path("vault").to_str().unwrap());
    for part in parts {
        assert!(folder.join(part).exists(), "{part} is missing");
        copy_tree(&folder.join(part), &bench.path(part));
    }
    Some((bench, folder))
}

/// Runs with `--json` and gives the documents and the summary.
#[track_caller]
fn lines(bench: &Bench, args: &[&str], code: i32) -> (Vec<Value>, Value) {
    let mut all = vec!["--json"];
    all.extend(args);
    let mut lines = bench.run(&all).exits(code).json_lines();
    let summary = lines.pop().unwrap();
    let sum = ["migrated", "current", "refused", "unreadable"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(summary["found"], sum.iter().sum::<u64>());
    (lines, summary)
}

#[track_caller]
fn counted(summary: &Value, expected: [u64; 5]) {
    let names = ["migrated", "current", "refused", "unreadable", "foreign"];
    assert_eq!(names.map(|name| summary[name].as_u64().unwrap()), expected, "{summary}");
}

/// The exact bytes are back after a rollback, and the store is sound.
fn rolled_back(bench: &Bench, summary: &Value, folder: &str, before: &BTreeMap<String, Vec<u8>>) {
    bench.run(&["rollback", "--operation", summary["operation"].as_str().unwrap()]).exits(0);
    assert!(tree(&bench.path(folder)) == *before, "{folder} is not what it was");
    bench.run(&["verify"]).exits(0);
}

#[test]
fn real_reports_of_mlx_knife_are_checked_line_by_line_and_stay_as_they_are() {
    let Some((bench, _)) = bench("mlx-knife", &["reports", "generated"]) else { return };
    let before = tree(&bench.path("generated"));
    let valid = |folder: &str, code: i32| bench.json(&["validate", "--pack", "mlx-knife", folder], code);
    let reports = valid("reports", 0);
    assert_eq!(
        (&reports["found"], &reports["valid"], &reports["not_looked_at"]),
        (&json!(4), &json!(4), &json!(2))
    );
    let all = valid("generated", 3);
    assert_eq!((&all["found"], &all["valid"], &all["foreign"]), (&json!(13), &json!(12), &json!(2)));
    let left = &all["left"].as_array().unwrap()[..];
    assert!(left.len() == 1 && left[0]["line"] == 1, "{left:?}");
    assert!(left[0]["reason"].as_str().unwrap().contains("column 227: Infinity is not JSON"), "{left:?}");
    let warned: Vec<&str> =
        all["warnings"].as_array().unwrap().iter().map(|w| w["warning"].as_str().unwrap()).collect();
    assert!(
        warned.contains(&"/system_health/swap_used_mb is not described by the schema of 0.2.2"),
        "{warned:?}"
    );
    bench.run(&["validate", "--pack", "mlx-knife", "--as", "0.1.0", "reports"]).exits(0);
    bench
        .run(&["validate", "--pack", "mlx-knife", "--as", "0.2.2", "reports"])
        .exits(3)
        .says("0.1.0, not 0.2.2");

    // A stored report is read upgraded, and stays as it is.
    let report = "reports/example-2025-11-16-v2.0.2.jsonl";
    let stored = bench.read(report);
    for (n, line) in stored.lines().enumerate() {
        let n = (n + 1).to_string();
        let shown =
            bench.run(&["show", "--pack", "mlx-knife", "--as", "0.2.2", "--line", &n, report]).exits(0);
        assert_eq!(shown.out.trim_end_matches('\n'), line.replace("\"0.1.0\"", "\"0.2.2\""));
    }
    assert_eq!(bench.read(report), stored);
    assert!(tree(&bench.path("generated")) == before);

    // Migrated, each line differs in its label alone; the rest of the bytes are where they were.
    let (rows, summary) = lines(&bench, &["migrate", "--pack", "mlx-knife", "generated"], 3);
    counted(&summary, [4, 8, 0, 1, 2]);
    let mut labels = 0;
    for (path, old) in &before {
        let new = std::fs::read(bench.path("generated").join(path)).unwrap();
        let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(&new));
        for (old, new) in old.split('\n').zip(new.split('\n')).filter(|(old, new)| old != new) {
            let label = ["0.1.0", "0.2.0", "0.2.1"]
                .iter()
                .find(|v| old.contains(&format!("\"schema_version\": \"{v}\"")));
            assert_eq!(new, old.replacen(label.unwrap(), "0.2.2", 1));
            labels += 1;
        }
    }
    assert_eq!(labels, 4);
    assert!(rows.iter().any(|row| row["verdict"] == "foreign" && row["line"] == 2));
    let (_, again) = lines(&bench, &["migrate", "--pack", "mlx-knife", "generated"], 3);
    counted(&again, [0, 12, 0, 1, 2]);
    assert_eq!((&again["operation"], &again["changed_files"]), (&Value::Null, &json!(0)));
    rolled_back(&bench, &summary, "generated", &before);
}

fn number_tokens(bytes: &[u8]) -> Vec<String> {
    fn walk(node: text::Node<'_>, out: &mut Vec<String>) {
        if node.kind() == text::Kind::Number {
            out.push(node.raw().to_owned());
        }
        node.children().for_each(|child| walk(child, out));
    }
    let (doc, mut out) = (text::scan(bytes).unwrap(), Vec::new());
    walk(doc.root(), &mut out);
    out.sort();
    out
}

#[test]
fn real_results_of_llenergymeasure_are_classified_renamed_and_added_up_apart() {
    let Some((bench, _)) = bench("llenergymeasure", &["history", "generated", "fixtures"]) else { return };
    let folders = ["history", "generated", "fixtures"];
    let with = |args: &[&'static str]| [args, &["--pack", "llenergymeasure"], &folders].concat();
    let spread = bench.json(&with(&["versions"]), 0);
    assert_eq!(
        (&spread["total"], &spread["migratable"], &spread["ending"]),
        (&json!(236), &json!(0), &json!(72))
    );
    assert_eq!(spread["untrue"], json!([]), "every file that is JSON is told");
    let unreadable = spread["unreadable"].as_array().unwrap();
    assert!(
        unreadable.len() == 1 && unreadable[0]["run"].as_str().unwrap().ends_with("0120_8_token_output.json")
    );
    let labelled = |shape: &str| spread["rows"].as_array().unwrap().iter().any(|r| r["shape"] == shape);
    assert!(labelled("2.0/result-215e05e") && labelled("2.0/process-2003c6f"));

    // The mean over processes and their sum are never one number.
    let energies =
        bench.json(&with(&["aggregate", "--field", "total_energy_joules", "--field", "total_energy_j"]), 3);
    let rows = energies["rows"].as_array().unwrap();
    let of = |field: &str| rows.iter().find(|row| row["field"] == field).unwrap_or_else(|| panic!("{field}"));
    let told = |field: &str| (of(field)["formulas"].clone(), of(field)["n"].as_u64().unwrap());
    assert_eq!(told("/experiment_avg/total_energy_joules"), (json!(["mean-over-processes"]), 6));
    assert_eq!(told("/total_energy_j"), (json!(["sum-over-processes"]), 7));
    assert_eq!(told("/energy_results/total_energy_joules"), (json!(["of-one-process"]), 66));
    assert_eq!(of("/total_energy_j")["versions"]["2.0.0/result-3003220"], json!({"n": 1, "missing": 0}));
    // A description of a machine has no energy and misses none.
    assert_eq!(of("/total_energy_j")["versions"]["setup/a"], json!(null));
    let cores = bench.json(&with(&["aggregate", "--field", "available_cpu_count"]), 3)["rows"][0].clone();
    assert_eq!((&cores["n"], &cores["missing"]), (&json!(8), &json!(28)));
    assert_eq!(cores["versions"]["setup/a"], json!({"n": 0, "missing": 28}));
    let warned = energies["warnings"].to_string();
    assert!(warned.contains(
        "Result file schema_version=\\\"3.0.0\\\"; current schema is \\\"2.0\\\". Missing fields:"
    ));
    assert!(warned.contains("To rerun with updated schema: llem run experiment.yaml"), "{warned}");
    let strict = bench.json(&with(&["aggregate", "--strict", "--field", "available_cpu_count"]), 3);
    assert!(strict["rows"].as_array().unwrap().iter().all(|row| row["mean"].is_null()));
    let csv = bench.run(&with(&["aggregate", "--csv", "--field", "total_energy_j"])).exits(3);
    assert!(csv.out.contains("all,/total_energy_j,7,0,2090.5769750011614,"), "{}", csv.out);

    let before: Vec<_> = folders.iter().map(|folder| tree(&bench.path(folder))).collect();
    let (rows, summary) = lines(&bench, &with(&["migrate"]), 3);
    counted(&summary, [72, 154, 5, 1, 4]);
    for row in rows.iter().filter(|row| row["verdict"] == "migrated") {
        let path = row["file"].as_str().unwrap();
        let (folder, below) = path.split_once('/').unwrap();
        let old = &before[folders.iter().position(|name| *name == folder).unwrap()][below];
        let new = std::fs::read(bench.path(path)).unwrap();
        assert_eq!(number_tokens(old), number_tokens(&new), "{path}");
    }
    let end = bench.json(&with(&["versions"]), 0);
    let count = |shape: &str| -> u64 {
        let rows = end["rows"].as_array().unwrap().iter().filter(|row| row["shape"] == shape);
        rows.map(|row| row["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((count("setup/d"), count("compute-metrics/c")), (36, 36), "each kind in one shape");
    for row in rows.iter().filter(|row| row["verdict"] == "refused") {
        assert!(row["reason"].as_str().unwrap().contains("re-running the experiment"), "{row}");
    }
    rolled_back(&bench, &summary, "history", &before[0]);
}

#[test]
fn real_traces_of_palimpsest_come_out_as_the_original_has_them_but_for_what_it_invents() {
    let Some((bench, data)) = bench("palimpsest", &["stored", "tests", "docs"]) else { return };
    let (mut same, mut invented) = (0, BTreeMap::new());
    let originals = tree(&data.join("migrated"));
    for (name, theirs) in &originals {
        let path = name.replace("__", "/");
        let source: Value = serde_json::from_str(&bench.read(&path)).unwrap();
        let spread = bench.json(&["versions", "--pack", "palimpsest", &path], 0);
        let shape = spread["rows"][0]["shape"].as_str().unwrap().replace("0.0.1", "0.1.0");
        let shown = bench.run(&["show", "--pack", "palimpsest", "--as", &shape, &path]).exits(0);
        let ours: Value = serde_json::from_str(&shown.out).unwrap();
        let dry = ["migrate", "--pack", "palimpsest", "--dry-run", "--to", &shape, &path];
        let (rows, _) = lines(&bench, &dry, 0);
        let mut theirs: Value = serde_json::from_slice(theirs).unwrap();
        for (object, member) in [("/context", "trace_id"), ("/context", "timestamp"), ("", "success")] {
            let place = format!("{object}/{member}");
            if source.pointer(&place).is_none() {
                theirs.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(member).unwrap();
                assert!(
                    rows[0]["absent"].as_array().unwrap().contains(&json!(place)),
                    "{path}: {place} is not named"
                );
                *invented.entry(place).or_insert(0) += 1;
            }
        }
        assert_eq!(ours, theirs, "{path}");
        same += 1;
    }
    assert_eq!((same, originals.len()), (9, 9));
    assert_eq!(invented.into_values().collect::<Vec<_>>(), [9, 9, 9]);

    let folders = ["stored", "tests", "docs"];
    let before: Vec<_> = folders.iter().map(|folder| tree(&bench.path(folder))).collect();
    let all = [&["migrate", "--pack", "palimpsest"], &folders[..]].concat();
    let (rows, summary) = lines(&bench, &all, 3);
    counted(&summary, [38, 18, 14, 0, 0]);
    let reason =
        |end: &str| rows.iter().find(|r| r["at"].as_str().unwrap().ends_with(end)).unwrap()["reason"].clone();
    assert!(reason("a484269/test_api-L240.json").as_str().unwrap().contains("\"invalid_action\""));
    let preserved = |row: &Value| row["preserved"].as_array().map_or(0, Vec::len);
    assert!(rows.iter().map(preserved).sum::<usize>() > 0);
    let (_, again) = lines(&bench, &all, 3);
    counted(&again, [0, 56, 14, 0, 0]);
    for (folder, before) in folders.iter().zip(&before).skip(1).take(1) {
        rolled_back(&bench, &summary, folder, before);
    }
    for (folder, before) in folders.iter().zip(&before) {
        assert!(tree(&bench.path(folder)) == *before, "{folder}");
    }
}

/// The table's statement and all rows, reals by their bits.
fn table(path: &Path) -> (String, Vec<Vec<String>>) {
    let db = Connection::open(path).unwrap();
    let schema = "SELECT sql FROM sqlite_schema WHERE name = 'completion_requests'";
    let schema = db.query_row(schema, [], |row| row.get(0)).unwrap();
    let mut rows = db.prepare("SELECT * FROM completion_requests ORDER BY id").unwrap();
    let width = rows.column_count();
    let rows = rows
        .query_map([], |row| {
            (0..width)
                .map(|at| {
                    row.get::<_, Cell>(at).map(|cell| match cell {
                        Cell::Real(real) => format!("real {:016x}", real.to_bits()),
                        other => format!("{other:?}"),
                    })
                })
                .collect()
        })
        .unwrap();
    let rows = rows.map(Result::unwrap).collect();
    assert_eq!(db.query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
    (schema, rows)
}

#[test]
fn real_rows_of_llm_metrics_proxy_equal_the_originals_migrated_database_to_the_bit() {
    let Some((bench, data)) = bench("llm-metrics-proxy", &[]) else { return };
    let db = bench.path("metrics.db");
    std::fs::copy(data.join("v1-app-1.0.0-schema2-1000rows.db"), &db).unwrap();
    // The program that owns the database has it open: the newest row is in its write-ahead log alone.
    let owner = Connection::open(&db).unwrap();
    owner
        .execute_batch("PRAGMA journal_mode = WAL; INSERT INTO completion_requests (success) VALUES (1);")
        .unwrap();
    let before = table(&db);
    assert!(std::fs::metadata(bench.path("metrics.db-wal")).unwrap().len() > 0);
    let (rows, summary) = lines(&bench, &["migrate", "--pack", "llm-metrics-proxy", "metrics.db"], 3);
    counted(&summary, [787, 0, 214, 0, 0]);
    assert!(rows.iter().filter(|row| row["verdict"] == "refused").all(|row| row["reason"].is_string()));
    let (schema, ours) = table(&db);
    let (their_schema, theirs) = table(&data.join("v2-migrated-by-head-schema3-1000rows.db"));
    assert_eq!(schema, their_schema, "keys, constraints, defaults, column order");
    assert_eq!((ours.len(), theirs.len()), (1001, 1000));
    let version = ours[0].len() - 1;
    let mut other = Vec::new();
    for ((ours, theirs), old) in ours.iter().zip(&theirs).zip(&before.1) {
        if ours != theirs {
            // The original stamped what SQLite makes of text; here such a row is as it was measured.
            assert_eq!((&ours[..version], ours[version].contains("1.0.0")), (&old[..], true));
            other.push(ours[0].clone());
        }
    }
    assert_eq!(other, ["Integer(981)", "Integer(982)"]);
    let named = |id: &str| rows.iter().find(|row| row["row"].as_str() == Some(id)).unwrap();
    assert!(named("981")["reason"].as_str().unwrap().contains("text"), "{}", named("981"));

    let after = table(&db);
    let (_, again) = lines(&bench, &["migrate", "--pack", "llm-metrics-proxy", "metrics.db"], 3);
    counted(&again, [0, 787, 214, 0, 0]);
    assert_eq!((&again["changed_files"], table(&db)), (&json!(0), after));
    bench.run(&["rollback", "--operation", summary["operation"].as_str().unwrap()]).exits(0);
    assert_eq!(table(&db), before, "the exact table");
    drop(owner);
    bench.run(&["verify"]).exits(0);
}
