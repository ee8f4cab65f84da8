//! The table of exit codes, help and pages, the demonstration, and a reader that goes away.

use std::io::Read;
use std::process::Stdio;

use crate::common::{Bench, old_run, overwrite, put, snapshot_run, tamper, wait};

#[test]
fn cli_exit_codes_are_those_of_the_table() {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    let run = old_run(&old, "label-001", 1);
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    bench.write("in.txt", "in\n");
    bench.write("out.txt", "out\n");
    let given = ["record", "--job", "j", "--input", "a=in.txt", "--output", "out.txt"];

    assert_eq!(bench.error(&["record", "--job", "j", "--", "./nothing-here"], 6)["kind"], "refused");
    assert_eq!(bench.error(&["record", "--job", "j", "--", "no-such-program-anywhere"], 1)["kind"], "failed");
    assert_eq!(bench.error(&["list", "--no-such-flag"], 2)["kind"], "usage");
    assert_eq!(bench.error(&["query", "DELETE FROM runs"], 2)["kind"], "usage");
    assert_eq!(bench.error(&["query", "SELECT nothing FROM nowhere"], 2)["kind"], "usage");
    assert_eq!(bench.error(&["rollback", "--operation", "zz"], 2)["kind"], "usage");
    assert_eq!(bench.error(&["record", "--job", "j"], 2)["kind"], "usage");
    bench.run(&[]).exits(2);

    assert_eq!(bench.error(&["show", "ffff"], 4)["kind"], "not-found");
    assert_eq!(bench.error(&["show", &run, "--as", "9.9.9"], 4)["kind"], "not-found");
    assert_eq!(bench.error(&["migrate", "--to", "9.9.9"], 4)["kind"], "not-found");
    assert_eq!(bench.error(&["migrate", "--job", "nobody"], 4)["kind"], "not-found");
    assert_eq!(bench.error(&["restore", &run, "outputs/none"], 4)["kind"], "not-found");
    let none = format!("sha256:{}", "0".repeat(64));
    let hint = bench.error(&["rollback", &run, "--to", &none], 4)["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("strongroom history label-001/"), "{hint}");
    bench.error(&["rollback", "--operation", &"0".repeat(32)], 4);

    bench.json(&given, 0);
    bench.json(&given, 0);
    bench.write("out.txt", "other\n");
    assert_eq!(bench.error(&given, 5)["kind"], "conflict");
    assert_eq!(bench.error(&["record", "--job", "../j", "--input", "a=in.txt"], 6)["kind"], "refused");
    assert_eq!(bench.error(&["record", "--job", "j", "--input", "a=gone.txt"], 6)["kind"], "refused");
    assert_eq!(bench.error(&["init", ".."], 6)["kind"], "refused");
    assert_eq!(bench.error(&["init", "."], 6)["kind"], "refused");
    assert_eq!(bench.json(&["record", "--job", "j", "--", "sh", "-c", "exit 3"], 9)["exit_code"], 3);

    let broken = "bad/artifacts/runs/x/manifest.json";
    put(&bench.top().join(broken), "[]");
    assert_eq!(bench.json(&["adopt", "../bad/artifacts"], 3)["refused"], 1);
    tamper(&bench.path(&format!("artifacts/label-001/{run}/manifest.json")), "succeeded", "failed");
    bench.json(&["verify"], 3);

    let empty = Bench::new();
    assert_eq!(empty.error(&["list"], 10)["kind"], "no-store");
    assert_eq!(empty.error(&["--store", "nowhere", "list"], 10)["kind"], "no-store");
    let (config, head) = (bench.path("strongroom.toml"), bench.path("audit/head"));
    let kept = (std::fs::read(&config).unwrap(), std::fs::read(&head).unwrap());
    overwrite(&head, "nonsense");
    assert_eq!(bench.error(&["verify"], 7)["kind"], "damaged");
    overwrite(&head, &kept.1);
    overwrite(&config, "format = \"strongroom\"\nread_version = 99\n");
    assert_eq!(bench.error(&["list"], 12)["kind"], "newer");
    assert_eq!(bench.error(&["record", "--job", "j", "--input", "a=in.txt"], 12)["kind"], "newer");
    overwrite(&config, "format = \"zip\"\nread_version = 0\n");
    assert_eq!(bench.error(&["list"], 7)["kind"], "damaged");
    overwrite(&config, &kept.0);
    bench.json(&["list"], 0);
}

#[test]
fn cli_locked_store_is_told_with_its_holder_and_in_time() {
    let bench = Bench::with_store();
    old_run(&bench.top().join("old/artifacts"), "label-001", 1);
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    put(&bench.path("lock"), "pid 4711 (someone else)");
    let lock = std::fs::File::options().read(true).write(true).open(bench.path("lock")).unwrap();
    lock.lock().unwrap();
    let error = bench.error(&["--lock-timeout", "0", "migrate"], 11);
    assert_eq!(error["kind"], "locked");
    assert!(error["message"].as_str().unwrap().contains("4711"), "{error}");
    bench.json(&["list"], 0);
    bench.json(&["verify"], 0);
    lock.unlock().unwrap();
    bench.run(&["migrate"]).exits(0);
}

#[test]
fn cli_store_is_found_by_flag_then_environment_then_upwards() {
    let mut bench = Bench::new();
    for name in ["one", "two", "three"] {
        bench.json(&["init", name, "--origin", &format!("example.org/{name}")], 0);
        snapshot_run(&bench.top().join(format!("old-{name}/artifacts")), name, "1.2.0", 1);
        bench.json(&["--store", name, "adopt", &format!("old-{name}/artifacts")], 0);
    }
    let job = |bench: &Bench, args: &[&str]| bench.json(args, 0)["runs"][0]["job_id"].clone();
    std::fs::create_dir_all(bench.path("one/deep/er")).unwrap();
    bench.go("one/deep/er");
    assert_eq!(job(&bench, &["list"]), "one");
    let (two, three) = (bench.top().join("two"), bench.top().join("three"));
    bench.set("STRONGROOM_STORE", two.to_str().unwrap());
    assert_eq!(job(&bench, &["list"]), "two");
    assert_eq!(job(&bench, &["list", "--store", three.to_str().unwrap()]), "three");
}

#[test]
fn cli_help_completions_and_pages_come_from_the_same_definitions() {
    let bench = Bench::new();
    let help = bench.run(&["record", "--help"]).exits(0).out;
    for word in ["person", "read-only", "inputs/", "--job-type", "--lock-timeout"] {
        assert!(help.contains(word), "{word:?} is not in\n{help}");
    }
    bench.run(&["--version"]).exits(0).says(env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        bench.run(&["completions", shell]).exits(0).says("rollback");
    }
    bench.run(&["man"]).exits(0).says(".TH");
    bench.run(&["man", "pages"]).exits(0);
    let page = bench.read("pages/strongroom-migrate.1");
    assert!(page.contains("dry") && page.contains("undo") || page.contains("entry of the log"), "{page}");
}

#[test]
fn cli_demo_runs_once_and_says_what_it_did() {
    let bench = Bench::new();
    let ran =
        bench.run(&["demo"]).exits(0).says("Everything came out as it should").says("E102").says("E105");
    assert!(ran.out.lines().count() <= 44, "{} lines:\n{}", ran.out.lines().count(), ran.out);
    bench.run(&["demo"]).exits(6).says("rm -r");
    bench.json(&["--store", "strongroom-demo/store", "verify"], 0);
    let demo = bench.json(&["demo", "again"], 0);
    assert_eq!(crate::common::members(&demo), ["dir", "next", "steps", "store"]);
    // What it says to type works when typed.
    let by_hand = demo["steps"].as_array().unwrap().iter().find(|step| step["step"] == "by hand").unwrap();
    let lines: Vec<&str> =
        by_hand["says"].as_array().unwrap()[1..].iter().map(|l| l.as_str().unwrap()).collect();
    assert!(lines[0].trim().starts_with("sum=") && lines[1].contains("sha256sum"), "{lines:?}");
}

#[test]
fn cli_reader_that_goes_away_is_no_error() {
    let bench = Bench::with_store();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT i FROM n";
    let mut child = bench.command(&["query", sql]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 8];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut first).unwrap();
    drop(pipe);
    let ran = wait(child).exits(0);
    assert_eq!(ran.err, "");
}

#[test]
fn cli_output_that_cannot_be_written_is_told() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return crate::common::skipped("there is no /dev/full");
    };
    let bench = Bench::with_store();
    let output = bench.command(&["query", "SELECT 1"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}

#[test]
fn cli_color_is_used_when_asked_for_only() {
    let bench = Bench::with_store();
    let escape = '\u{1b}';
    assert!(!bench.run(&["verify"]).exits(0).out.contains(escape));
    assert!(bench.run(&["--color", "always", "verify"]).exits(0).out.contains(escape));
    assert!(!bench.run(&["--color=never", "show", "x"]).exits(4).err.contains(escape));
    assert!(bench.run(&["--color", "always", "show", "x"]).exits(4).err.contains(escape));
}
