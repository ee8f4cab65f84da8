//! A user's day, line by line, with the real program: first as text, then as JSON with the shapes
//! that `docs/json.md` promises.

use serde_json::Value;

use crate::common::{Bench, members, old_run, snapshot_run, tamper, tree};

const GENERATE: &str = "#!/bin/sh\nset -e\nread -r brief < brief.json\nread -r again < inputs/brief.json\n\
    test \"$brief\" = \"$again\"\nread -r model < model.json\nprintf 'made from %s by %s\\n' \"$brief\" \"$model\" \
    > outputs/caption.md\necho generated\necho 'a warning' >&2\n";

const RECORD: &[&str] = &[
    "record",
    "--job",
    "ig-test-001",
    "--input",
    "brief=brief.json",
    "--input",
    "model_config=model.json",
    "--output",
    "outputs/",
    "--",
    "./generate.sh",
];

/// A store with the files of the day in it, and an older system's tree beside it.
fn bench() -> (Bench, String) {
    let bench = Bench::with_store();
    bench.write("brief.json", "{\"topic\": \"quinces\"}\n");
    bench.write("model.json", "{\"model\": \"m\"}\n");
    bench.script("generate.sh", GENERATE);
    let old = bench.top().join("old/artifacts");
    let run = old_run(&old, "label-001", 1);
    snapshot_run(&old, "label-002", "1.1.0", 2);
    snapshot_run(&old, "label-003", "1.2.0", 3);
    (bench, run)
}

#[test]
fn cli_users_day_works_line_by_line() {
    let (bench, run) = bench();
    let ran = bench.run(RECORD).exits(0).says("recorded ig-test-001/").says("generated").says("a warning");
    assert!(!ran.out.contains("generated"), "the command's streams go to standard error");
    bench.run(RECORD).exits(0).says("nothing executed");
    let quiet: Vec<&str> = std::iter::once("--quiet").chain(RECORD.iter().copied()).collect();
    let key = bench.run(&quiet).exits(0).out.trim().to_owned();
    assert_eq!(
        bench.read(&format!("artifacts/{key}/outputs/caption.md")),
        "made from {\"topic\": \"quinces\"} by {\"model\": \"m\"}\n"
    );

    let source = tree(&bench.top().join("old"));
    bench
        .run(&["adopt", "../old/artifacts"])
        .exits(0)
        .says("3 runs found: 3 adopted, 0 already here, 0 refused");
    let (artifacts, audit) = (tree(&bench.path("artifacts")), tree(&bench.path("audit")));
    bench.run(&["adopt", "../old/artifacts"]).exits(0).says("0 adopted, 3 already here");
    assert!(tree(&bench.path("artifacts")) == artifacts && tree(&bench.path("audit")) == audit);
    assert!(tree(&bench.top().join("old")) == source, "the source is only read");
    let manifest = format!("artifacts/label-001/{run}/manifest.json");
    assert_eq!(bench.read(&manifest).as_bytes(), source[&format!("artifacts/runs/{run}/manifest.json")]);

    bench.run(&["versions"]).exits(0).says("4 manifests, 2 could migrate to 1.2.0");
    let ran = bench.run(&["migrate", "--dry-run", "--diff"]).exits(0);
    let ran = ran.says("2 would migrate to 1.2.0, 2 current, 0 refused, 0 unreadable; nothing was written");
    let ran = ran.says(&format!("+++ b/label-001/{run}/manifest.json")).says("+  \"job_id\": \"label-001\"");
    assert!(!ran.out.contains("-  \"meta\""), "untouched members are in no difference:\n{}", ran.out);
    assert!(tree(&bench.path("artifacts")) == artifacts && tree(&bench.path("audit")) == audit);

    let ran =
        bench.run(&["migrate"]).exits(0).says("2 migrated to 1.2.0, 2 current, 0 refused, 0 unreadable");
    let undo =
        ran.out.lines().find_map(|line| line.strip_prefix("undo with: strongroom ")).unwrap().to_owned();
    assert!(bench.read(&manifest).contains("123456789012345678901234567890, \"esc\": \"a\\/b\\u00e9\""));
    bench.run(&["migrate"]).exits(0).says("0 migrated to 1.2.0, 4 current");

    let short = &run[..30];
    let ran = bench.run(&["history", &run]).exits(0).says("adopted").says("tester@bench").says("(current)");
    let revisions: Vec<&str> = ran
        .out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("revision   ")?.split(' ').next())
        .collect();
    let [first, second] = revisions.as_slice() else { panic!("{}", ran.out) };
    bench.run(&["show", short]).exits(0).says("\"schema_version\": \"1.2.0\"");
    bench.run(&["show", &run, "--revision", &first[..20]]).exits(0).says("\"schema_version\": \"1.0.0\"");
    bench.run(&["diff", &run, first, second]).exits(0).says("-  \"schema_version\": \"1.0.0\"");

    bench.run(&["rollback", &run, "--to", first, "--reason", "a try"]).exits(0).says("1 rolled back");
    assert_eq!(bench.read(&manifest).as_bytes(), source[&format!("artifacts/runs/{run}/manifest.json")]);
    bench.run(&["show", &run, "--as", "1.2.0"]).exits(0).says("\"schema_version\": \"1.2.0\"");
    bench.run(&["history", &run]).exits(0).says("rolled-back").says("a try");
    bench.run(&["rollback", &run, "--to", second]).exits(0).says("1 rolled back");
    bench.run(&["rollback", &run, "--to", first]).exits(0);
    let undo: Vec<&str> = undo.split(' ').collect();
    bench.run(&undo).exits(0).says("1 rolled back").says("1 already there");

    bench.run(&["verify"]).exits(0).says("nothing wrong found").says("not signed");
    let input = format!("artifacts/label-001/{run}/inputs/brief.yaml");
    tamper(&bench.path(&input), "number: 1", "number: 7");
    let ran = bench.run(&["verify"]).exits(3).says("E105").says("inputs/brief.yaml");
    ran.says("strongroom restore puts the recorded bytes back").says("1 finding");
    bench.run(&["restore", &run, "inputs/brief.yaml"]).exits(0).says("1 path restored");
    bench.run(&["verify", &run]).exits(0).says("only the runs named");

    std::fs::remove_file(bench.path("index.sqlite")).unwrap();
    bench.run(&["reindex"]).exits(0).says("run_index");
    let ran = bench.run(&["list", "--job", "ig-test-001", "--status", "succeeded"]).exits(0);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    bench.run(&["query", "SELECT count(*) AS n FROM runs"]).exits(0).says("n\n4\n");
}

#[track_caller]
fn shape(value: &Value, names: &[&str]) {
    assert_eq!(members(value), names, "{value}");
}

#[test]
fn cli_users_day_as_json_has_the_documented_shapes() {
    let (bench, run) = bench();
    let recorded = bench.json(RECORD, 0);
    let names = [
        "answered",
        "attempt_of",
        "bits_dropped",
        "bytes",
        "error",
        "exit_code",
        "files",
        "job_id",
        "operation",
        "path",
        "run_id",
        "status",
    ];
    shape(&recorded, &names);
    assert_eq!(recorded["answered"], "new");
    assert_eq!(recorded["exit_code"], 0);
    let again = bench.json(RECORD, 0);
    assert_eq!((&again["answered"], &again["run_id"]), (&"same".into(), &recorded["run_id"]));
    assert!(again["operation"].is_null());

    let adopted = bench.json(&["adopt", "../old/artifacts"], 0);
    shape(
        &adopted,
        &["adopted", "already", "bits_dropped", "found", "operation", "refused", "seen", "skipped"],
    );
    let counts = ["adopted", "already", "refused"].map(|name| adopted[name].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), adopted["found"].as_u64().unwrap());
    shape(&adopted["seen"][0], &["exceptions", "job_id", "place", "result", "run_id"]);

    let versions = bench.json(&["versions"], 0);
    shape(&versions, &["head", "migratable", "pack", "rows", "total", "unreadable"]);
    shape(&versions["rows"][0], &["count", "note", "path", "shape", "share", "target", "version"]);
    let counted: u64 =
        versions["rows"].as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!((counted, versions["total"].as_u64()), (4, Some(4)));

    let lines = bench.run(&["--json", "migrate", "--dry-run", "--diff"]).exits(0).json_lines();
    let names = [
        "after", "before", "changes", "diff", "entry", "job_id", "path", "reason", "run_id", "type",
        "verdict", "warnings",
    ];
    assert_eq!(lines.len(), 5);
    for line in &lines[..4] {
        shape(line, &names);
    }
    let names =
        ["current", "dry_run", "found", "migrated", "operation", "refused", "target", "type", "unreadable"];
    shape(&lines[4], &names);
    assert!(lines.iter().any(|line| line["verdict"] == "would-migrate" && line["diff"].is_string()));
    let lines = bench.run(&["--json", "migrate"]).exits(0).json_lines();
    let summary = lines.last().unwrap();
    let counts = ["migrated", "current", "refused", "unreadable"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!((counts, summary["found"].as_u64()), ([2, 2, 0, 0], Some(4)));
    let operation = summary["operation"].as_str().unwrap();

    let history = bench.json(&["history", &run], 0);
    shape(&history, &["current", "entries", "job_id", "matches", "on_disk", "run_id"]);
    assert_eq!(history["matches"], true);
    let names = [
        "actor",
        "after",
        "attempt_of",
        "before",
        "current",
        "exceptions",
        "from",
        "index",
        "kind",
        "operation",
        "outcome",
        "path",
        "reason",
        "time",
        "to",
    ];
    shape(&history["entries"][1], &names);
    assert_eq!(history["entries"][1]["from"], "1.0.0");
    assert_eq!(history["entries"][1]["to"], "1.2.0");
    assert_eq!(history["entries"][0]["after"], history["entries"][1]["before"]);
    let (first, second) = (&history["entries"][0]["after"], &history["entries"][1]["after"]);
    let (first, second) = (first.as_str().unwrap(), second.as_str().unwrap());

    let shown = bench.json(&["show", &run], 0);
    assert_eq!(shown["job_id"], "label-001");
    let diff = bench.json(&["diff", &run, first, second], 0);
    shape(&diff, &["diff", "from", "job_id", "run_id", "to"]);
    let back = bench.json(&["rollback", "--operation", operation], 0);
    shape(&back, &["operation", "runs", "targets"]);
    shape(&back["runs"][0], &["after", "before", "entry", "job_id", "result", "run_id"]);
    assert_eq!(back["runs"].as_array().unwrap().len(), 2);

    tamper(&bench.path(&format!("artifacts/label-001/{run}/manifest.json")), "succeeded", "failed");
    let verified = bench.json(&["verify"], 3);
    shape(
        &verified,
        &[
            "checked",
            "findings",
            "intervals",
            "not_checked",
            "ok",
            "policy",
            "recorded",
            "root",
            "signed",
            "stamps",
        ],
    );
    shape(&verified["checked"], &["blobs", "bytes", "entries", "files", "runs"]);
    let names = ["advice", "code", "expected", "found", "path", "run", "severity", "title"];
    let finding = verified["findings"].as_array().unwrap().iter().find(|f| f["code"] == "E102").unwrap();
    shape(finding, &names);
    assert_eq!(finding["severity"], "finding");
    let restored = bench.json(&["restore", &run], 0);
    shape(&restored, &["entry", "job_id", "left", "restored", "run_id"]);
    shape(&restored["restored"][0], &["found", "path", "sha256"]);
    assert_eq!(bench.json(&["verify"], 0)["ok"], true);

    let index = bench.json(&["reindex"], 0);
    shape(&index, &["mended", "problems", "read", "rows"]);
    assert_eq!(index["rows"]["runs"], 4);
    let listed = bench.json(&["list", "--limit", "1"], 0);
    let names = ["job_id", "job_type", "problem", "recorded_at", "run_id", "schema_version", "status"];
    shape(&listed["runs"][0], &names);
    let answer = bench.json(&["query", "SELECT 1 AS a, NULL, 'x', x'00ff', 9e999"], 0);
    assert_eq!(answer["columns"][0], "a");
    assert_eq!(answer["rows"], serde_json::json!([[1, null, "x", {"hex": "00ff"}, "inf"]]));

    let other = Bench::new();
    shape(
        &other.json(&["init", "s", "--origin", "example.org/s"], 0),
        &["origin", "pack", "store", "store_id"],
    );
    shape(&other.json(&["completions", "bash"], 0), &["script", "shell"]);
    let pages = other.json(&["man"], 0);
    assert_eq!(pages["pages"][0]["name"], "strongroom.1");
}
