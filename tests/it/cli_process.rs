//! Several processes, killed processes, failed commands, and what must not matter: time zone, locale,
//! place.

use std::io::Read;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{Bench, copy_tree, old_run, put, snapshot_run, tree, wait};

#[test]
fn cli_processes_that_record_the_same_converge_on_one_run() {
    let bench = Bench::with_store();
    bench.write("in.txt", "in\n");
    let script = "echo run >> \"$STRONGROOM_CALLER_DIR/executed\"; sleep 0.3; echo done > outputs/x";
    let args = [
        "--json", "record", "--job", "j", "--input", "a=in.txt", "--output", "outputs/", "--", "sh", "-c",
        script,
    ];
    let started: Vec<_> = (0..8).map(|_| bench.start(&args)).collect();
    let answers: Vec<Value> = started.into_iter().map(|child| wait(child).exits(0).json()).collect();
    let count = |how: &str| answers.iter().filter(|answer| answer["answered"] == how).count();
    assert_eq!((count("new"), count("same")), (1, 7), "{answers:?}");
    assert!(answers.iter().all(|answer| answer["run_id"] == answers[0]["run_id"]));
    assert_eq!(bench.read("executed"), "run\n", "the command ran once");
    assert_eq!(bench.json(&["list"], 0)["runs"].as_array().unwrap().len(), 1);
    bench.json(&["verify"], 0);
}

#[test]
fn cli_processes_that_record_different_things_all_succeed() {
    let bench = Bench::with_store();
    let started: Vec<_> = (0..8)
        .map(|n| {
            bench.write(&format!("in-{n}.txt"), format!("{n}\n"));
            bench.start(&["record", "--job", "j", "--input", &format!("a=in-{n}.txt")])
        })
        .collect();
    for child in started {
        wait(child).exits(0);
    }
    assert_eq!(bench.json(&["list"], 0)["runs"].as_array().unwrap().len(), 8);
    bench.json(&["verify"], 0);
}

#[test]
fn cli_failed_command_is_recorded_and_never_answered_as_a_success() {
    let bench = Bench::with_store();
    bench.write("in.txt", "in\n");
    let script = "echo out; echo err >&2; test -e \"$STRONGROOM_CALLER_DIR/ready\" || exit 3";
    let args = ["record", "--job", "j", "--input", "a=in.txt", "--", "sh", "-c", script];
    let first = bench.json(&args, 9);
    assert_eq!((&first["status"], &first["exit_code"]), (&"failed".into(), &3.into()));
    let id = first["run_id"].as_str().unwrap();
    assert_eq!(
        bench.read(&format!("artifacts/j/{id}/outputs/streams/stderr").replace("outputs/streams", "streams")),
        "err\n"
    );
    let second = bench.json(&args, 9);
    assert_eq!((&second["answered"], &second["attempt_of"]), (&"new".into(), &first["run_id"]));
    assert_eq!(second["run_id"], format!("{id}-2"));
    bench.write("ready", "");
    let third = bench.json(&args, 0);
    assert_eq!((&third["run_id"], &third["answered"]), (&format!("{id}-3").into(), &"new".into()));
    let fourth = bench.json(&args, 0);
    assert_eq!((&fourth["run_id"], &fourth["answered"]), (&format!("{id}-3").into(), &"same".into()));
    let failed = bench.json(&["list", "--status", "failed"], 0);
    assert_eq!(failed["runs"].as_array().unwrap().len(), 2);
    let missing = ["record", "--job", "j", "--output", "never.txt", "--", "sh", "-c", "true"];
    bench.run(&missing).exits(9).says("never.txt");
    bench.json(&["verify"], 0);
}

#[test]
fn cli_cached_success_that_was_changed_is_not_answered() {
    let bench = Bench::with_store();
    bench.write("in.txt", "in\n");
    let args =
        ["record", "--job", "j", "--input", "a=in.txt", "--output", "o", "--", "sh", "-c", "echo x > o"];
    let run = bench.json(&args, 0)["run_id"].as_str().unwrap().to_owned();
    crate::common::tamper(&bench.path(&format!("artifacts/j/{run}/outputs/o")), "x", "y");
    let error = bench.error(&args, 7);
    assert!(error["hint"].as_str().unwrap().contains("strongroom restore j/"), "{error}");
    bench.json(&["restore", &run], 0);
    assert_eq!(bench.json(&args, 0)["answered"], "same");
}

#[test]
fn cli_command_sees_its_inputs_read_only_and_nothing_else() {
    let bench = Bench::with_store();
    bench.write("data/in.txt", "in\n");
    bench.write("undeclared.txt", "secret\n");
    let script = "set -e; test ! -e undeclared.txt; test \"$(cat data/in.txt)\" = in; \
        test \"$(cat \"$STRONGROOM_INPUTS/d/in.txt\")\" = in; test \"$STRONGROOM_JOB_ID\" = j; \
        case $(ls -l data/in.txt) in -r--r--r--*) ;; *) exit 7;; esac";
    let args = ["record", "--job", "j", "--input", "d=data", "--", "sh", "-c", script];
    bench.json(&args, 0);
    assert_eq!(bench.read("data/in.txt"), "in\n");
}

#[test]
fn cli_migration_killed_anywhere_is_finished_by_the_next() {
    const RUNS: usize = 200;
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    for n in 0..RUNS / 2 {
        old_run(&old, "label", n);
        snapshot_run(&old, "tea", "1.1.0", n);
    }
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    let mut done_early = 0;
    for (round, delay) in [4, 15, 30, 50, 80].into_iter().enumerate() {
        let store = bench.top().join(format!("copy-{round}"));
        copy_tree(&bench.path(""), &store);
        let store = store.to_str().unwrap();
        let mut child = bench.start(&["--store", store, "migrate"]);
        std::thread::sleep(Duration::from_millis(delay));
        done_early += usize::from(child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        // Before or after, never between: an unsettled batch is a warning, not a finding.
        bench.json(&["--store", store, "verify"], 0);
        let lines = bench.run(&["--store", store, "--json", "migrate"]).exits(0).json_lines();
        let summary = lines.last().unwrap();
        let sum = summary["migrated"].as_u64().unwrap() + summary["current"].as_u64().unwrap();
        assert_eq!(sum, RUNS as u64, "{summary}");
        assert_eq!(bench.json(&["--store", store, "verify"], 0)["findings"], serde_json::json!([]));
        let versions = bench.json(&["--store", store, "versions"], 0);
        assert_eq!((&versions["migratable"], &versions["total"]), (&0.into(), &RUNS.into()));
    }
    assert!(done_early < 5, "no migration was killed while it ran");
}

#[test]
fn cli_first_signal_stops_between_batches_and_the_second_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let bench = Bench::with_store();
        // What the command started is stopped with it: nobody waits for the minute.
        let script = "sleep 60; echo never";
        let child = bench.start(&["--json", "record", "--job", "j", "--", "sh", "-c", script]);
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ran = wait(child).exits(code);
        let error: Value = serde_json::from_str(&ran.err).unwrap();
        assert_eq!((&error["error"]["kind"], &error["error"]["exit"]), (&"interrupted".into(), &code.into()));
        assert_eq!(bench.json(&["list"], 0)["runs"].as_array().unwrap().len(), 0);
        bench.json(&["verify"], 0);

        let script = "trap '' TERM INT; sleep 1; sleep 1";
        let child = bench.start(&["record", "--job", "j", "--", "sh", "-c", script]);
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&child), signal).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        // The first may have ended it already.
        let _ = kill_process(Pid::from_child(&child), signal);
        wait(child).exits(code);
        bench.json(&["verify"], 0);
    }
}

#[test]
fn cli_adopt_that_is_stopped_ends_its_document_with_what_came_in() {
    let bench = Bench::with_store();
    for run in 0..1300 {
        let id = format!("run-{run:060}");
        let manifest = format!(r#"{{"schema_version":"1.2.0","job_id":"j","run_id":"{id}"}}"#);
        put(&bench.top().join("old").join(&id).join("manifest.json"), manifest);
    }
    let mut child = bench.start(&["--json", "adopt", "../old"]);
    // Its first rows: it is in the middle, and has to wait until somebody reads the rest.
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = wait(child).exits(130);
    let report: Value = serde_json::from_str(&format!("{{{}", ran.out)).unwrap();
    let seen = report["seen"].as_array().unwrap().len() as u64;
    assert_eq!((first, seen), (*b"{", report["adopted"].as_u64().unwrap()));
    assert!((512..1300).contains(&seen) && report["operation"].is_string(), "{seen}");
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    let message = format!("interrupted; {seen} done, run the command again to finish");
    assert_eq!(error["error"]["message"], message);
    let rest = bench.json(&["adopt", "../old"], 0);
    assert_eq!((&rest["adopted"], &rest["already"]), (&(1300 - seen).into(), &seen.into()));
}

#[test]
fn cli_file_size_limit_is_an_error_and_not_a_death() {
    let bench = Bench::with_store();
    bench.write("big.bin", vec![1; 8 << 20]);
    let program = env!("CARGO_BIN_EXE_strongroom");
    let limited = format!("ulimit -f 1024; exec {program} --store . record --job j --input a=big.bin");
    let output =
        std::process::Command::new("sh").args(["-c", &limited]).current_dir(bench.path("")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("error:") && told.contains("ulimit -f"), "{told}");
    bench.json(&["verify"], 0);
    assert_eq!(bench.json(&["list"], 0)["runs"], serde_json::json!([]));
    bench.json(&["record", "--job", "j", "--input", "a=big.bin"], 0);
}

#[test]
fn cli_runs_depend_on_neither_time_zone_nor_locale_nor_place() {
    let places = [
        ("UTC", "C", "a"),
        ("Pacific/Kiritimati", "de_DE.UTF-8", "b/deeper/ä place"),
        ("X-5:30", "tr_TR", "c"),
    ];
    let mut seen = Vec::new();
    for (zone, locale, place) in places {
        let mut bench = Bench::new();
        bench.set("TZ", zone);
        bench.set("LANG", locale);
        bench.set("LC_ALL", locale);
        std::fs::create_dir_all(bench.path(place)).unwrap();
        bench.go(place);
        bench.run(&["init", "store"]).exits(0);
        bench.go(&format!("{place}/store"));
        // Made in another order each time, so that the order of folders differs too.
        let mut names = ["b.txt", "a.txt", "é.txt", "Z.txt"];
        names.rotate_left(seen.len());
        for name in names {
            bench.write(&format!("in/{name}"), name);
        }
        let args = [
            "record",
            "--job",
            "j",
            "--input",
            "tree=in",
            "--output",
            "outputs/",
            "--",
            "sh",
            "-c",
            "cat in/a.txt in/b.txt > outputs/x",
        ];
        let recorded = bench.json(&args, 0);
        seen.push((recorded["run_id"].clone(), tree(&bench.path("artifacts"))));
    }
    assert!(
        seen.iter().all(|one| *one == seen[0]),
        "{:?}",
        seen.iter().map(|one| &one.0).collect::<Vec<_>>()
    );
}
