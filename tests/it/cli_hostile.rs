//! Bad input at the command line: each gets an error that names the object and the place, the exit
//! code of the table, and nothing is written (`cases.md` T01 to T30, T43).

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::{Bench, old_run, overwrite, put, snapshot_run, tree};

/// What a refusal must leave as it was: the runs and the log.
fn state(bench: &Bench) -> [std::collections::BTreeMap<String, Vec<u8>>; 2] {
    [tree(&bench.path("artifacts")), tree(&bench.path("audit"))]
}

#[track_caller]
fn refused(bench: &Bench, args: &[&str], names: &[&str]) {
    let before = state(bench);
    let error = bench.error(args, 6);
    let message = error["message"].as_str().unwrap();
    for name in names {
        assert!(message.contains(name), "{name:?} is not in {message:?}");
    }
    assert!(state(bench) == before, "{args:?} wrote something");
}

#[test]
fn cli_hostile_job_ids_are_refused_by_name() {
    let bench = Bench::with_store();
    bench.write("in.txt", "in\n");
    let long = "x".repeat(129);
    let jobs = [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "%2e%2e",
        "a\nb",
        ".a",
        "a.",
        "a b",
        "é",
        "CON",
        "aux.txt",
        "COM1",
        "/etc",
        "../../x",
        "a\u{202e}b",
        &long,
    ];
    for job in jobs {
        refused(&bench, &["record", "--job", job, "--input", "a=in.txt"], &["job id"]);
    }
    refused(&bench, &["record", "--job=-a", "--input", "a=in.txt"], &["job id"]);
    let told = bench.run(&["record", "--job", "a\u{1b}[2J", "--input", "a=in.txt"]).exits(6).err;
    assert!(!told.contains('\u{1b}'), "{told:?}");
    assert_eq!(bench.json(&["list"], 0)["runs"].as_array().unwrap().len(), 0);
}

#[test]
fn cli_job_id_that_folds_to_another_is_a_conflict() {
    let bench = Bench::with_store();
    bench.write("in.txt", "in\n");
    bench.json(&["record", "--job", "Label", "--input", "a=in.txt"], 0);
    let before = state(&bench);
    let error = bench.error(&["record", "--job", "label", "--input", "a=in.txt"], 5);
    assert!(error["message"].as_str().unwrap().contains("Label"), "{error}");
    assert!(state(&bench) == before);
}

#[test]
fn cli_inputs_that_are_no_plain_files_are_refused_by_name() {
    let bench = Bench::with_store();
    let work = bench.path("work");
    put(&work.join("real.txt"), "real\n");
    symlink("real.txt", work.join("link.txt")).unwrap();
    let fifo = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    };
    fifo(&work.join("pipe"));
    std::os::unix::net::UnixListener::bind(work.join("sock")).unwrap();
    put(&work.join("tree/a.txt"), "a\n");
    symlink("/etc", work.join("tree/out")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"bad\xffname");
    put(&work.join("odd").join(odd), "odd\n");

    let given = |name: &str| format!("a=work/{name}");
    for (name, word) in [("link.txt", "link"), ("pipe", "FIFO"), ("sock", "socket"), ("tree", "link")] {
        let before = state(&bench);
        let error = bench.error(&["record", "--job", "j", "--input", &given(name)], 6);
        let message = error["message"].as_str().unwrap().to_lowercase();
        assert!(message.contains(name) && message.contains(&word.to_lowercase()), "{message}");
        assert!(state(&bench) == before);
    }
    refused(&bench, &["record", "--job", "j", "--input", &given("odd")], &["\\xff", "UTF-8"]);
    refused(&bench, &["record", "--job", "j", "--input", "a=/dev/null"], &["/dev/null", "device"]);
    refused(&bench, &["record", "--job", "j", "--input", &given("gone")], &["gone", "no such"]);
    refused(&bench, &["record", "--job", "j", "--input", "a/b=work/real.txt"], &["slash"]);
    let twice = ["record", "--job", "j", "--input", "a=work/real.txt", "--input", "a=work/real.txt"];
    refused(&bench, &twice, &["two inputs"]);
    let outside = ["record", "--job", "j", "--output", "../x", "--", "sh", "-c", "true"];
    refused(&bench, &outside, &["../x"]);
    let planted = ["record", "--job", "j", "--output", "o", "--", "sh", "-c", "ln -s /etc o"];
    refused(&bench, &planted, &["link"]);
    bench.json(&["verify"], 0);
}

#[test]
fn cli_input_that_changes_while_it_is_read_is_refused() {
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    let bench = Bench::with_store();
    bench.write("big.bin", vec![7; 48 << 20]);
    let file = std::fs::File::options().write(true).open(bench.path("big.bin")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                file.write_at(b"x", 0).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let ran = bench.run(&["record", "--job", "j", "--input", "a=big.bin"]);
        stop.store(true, Ordering::Relaxed);
        ran.exits(6).says("changed while");
    });
    assert_eq!(bench.json(&["list"], 0)["runs"].as_array().unwrap().len(), 0);
}

/// Documents that are no strict JSON object, and a word of the message for each.
fn bad_manifests() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(128), "]".repeat(128));
    let with = |text: &str| {
        let head = "{\"schema_version\": \"1.2.0\", \"job_id\": \"j\",\n ";
        format!("{head}{text}}}").into_bytes()
    };
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(with("\"a\": 1"));
    let mut broken = with("\"a\": \"");
    broken.extend(b"\xff\"}");
    vec![
        ("duplicate", with("\"a\": 1, \"a\": 2"), "duplicate"),
        ("bom", bom, "byte order mark"),
        ("utf8", broken, "UTF-8"),
        ("deep", deep.into_bytes(), "128"),
        ("huge-number", with("\"a\": 1e400"), "too large"),
        ("nan", with("\"a\": NaN"), "NaN"),
        ("surrogate", with("\"a\": \"\\ud800\""), "surrogate"),
        ("trailing", [with("\"a\": 1"), b" x".to_vec()].concat(), "more text"),
        ("list", b"[1]".to_vec(), "not a list"),
        ("empty", Vec::new(), "empty"),
    ]
}

#[test]
fn cli_bad_manifests_are_refused_by_adopt_with_the_place() {
    let bench = Bench::with_store();
    let source = bench.top().join("bad/artifacts");
    for (name, bytes, _) in bad_manifests() {
        put(&source.join(format!("j/{name}/manifest.json")), bytes);
    }
    let before = state(&bench);
    let report = bench.json(&["adopt", "../bad/artifacts"], 3);
    assert_eq!((report["refused"].as_u64(), report["adopted"].as_u64()), (Some(10), Some(0)), "{report}");
    assert!(state(&bench) == before);
    for (name, _, word) in bad_manifests() {
        let seen = report["seen"].as_array().unwrap().iter();
        let seen = seen.clone().find(|seen| seen["place"].as_str().unwrap().ends_with(name)).unwrap();
        let reason = seen["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{name}: {reason}");
        assert!(name == "list" || reason.contains("line"), "{name}: {reason}");
    }
}

#[test]
fn cli_manifest_damaged_in_the_store_stops_nothing_else() {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    let runs: Vec<String> = (0..10).map(|n| old_run(&old, "label", n)).collect();
    snapshot_run(&old, "fine", "1.1.0", 1);
    bench.json(&["adopt", "../old/artifacts"], 0);
    for ((_, bytes, _), run) in bad_manifests().into_iter().zip(&runs) {
        overwrite(&bench.path(&format!("artifacts/label/{run}/manifest.json")), bytes);
    }
    let before = state(&bench);
    assert_eq!(bench.json(&["versions"], 0)["total"], 11);
    let lines = bench.run(&["--json", "migrate", "--dry-run"]).exits(3).json_lines();
    let summary = lines.last().unwrap();
    assert_eq!((&summary["found"], &summary["migrated"]), (&11.into(), &1.into()));
    assert_eq!(summary["unreadable"].as_u64().unwrap() + summary["refused"].as_u64().unwrap(), 10);
    let found = bench.json(&["verify"], 3);
    let unreadable =
        |code: &str| found["findings"].as_array().unwrap().iter().filter(|f| f["code"] == code).count();
    assert!(unreadable("E102") + unreadable("E103") >= 10, "{found}");
    assert_eq!(bench.json(&["reindex"], 0)["problems"].as_array().unwrap().len(), 10);
    assert_eq!(bench.json(&["list"], 0)["runs"].as_array().unwrap().len(), 11);
    assert!(state(&bench) == before);
    bench.json(&["show", &runs[0]], 0);
    for run in &runs {
        bench.json(&["restore", run], 0);
    }
    bench.json(&["verify"], 0);
}

#[test]
fn cli_link_in_place_of_a_job_is_not_followed() {
    let bench = Bench::with_store();
    let elsewhere = bench.top().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, bench.path("artifacts/planted")).unwrap();
    bench.write("in.txt", "in\n");
    let before = state(&bench);
    bench.run(&["record", "--job", "planted", "--input", "a=in.txt"]).exits(5).says("symbolic link");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(state(&bench) == before);
    bench.run(&["verify"]).exits(3).says("E110");
    // The rest of the store goes on.
    bench.json(&["record", "--job", "j", "--input", "a=in.txt"], 0);
    std::fs::remove_file(bench.path("artifacts/planted")).unwrap();
    bench.json(&["verify"], 0);
    let run = bench.json(&["record", "--job", "moved", "--input", "a=in.txt"], 0)["run_id"].clone();
    let run = format!("moved/{}", run.as_str().unwrap());
    std::fs::rename(bench.path("artifacts/moved"), elsewhere.join("moved")).unwrap();
    symlink(elsewhere.join("moved"), bench.path("artifacts/moved")).unwrap();
    bench.run(&["verify"]).exits(3).says("E107").says("artifacts/moved");
    bench.run(&["show", &run]).exits(0);
    let kept = tree(&elsewhere);
    assert_ne!(bench.run(&["restore", &run]).code, Some(0));
    bench.run(&["migrate"]).exits(7).says("artifacts/moved is a symbolic link");
    assert!(tree(&elsewhere) == kept, "nothing was written through the link");
}

#[test]
fn cli_text_from_names_and_documents_is_escaped() {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    let run = old_run(&old, "label", 1);
    put(&old.join("runs").join(&run).join("inputs/\u{1b}[2Jx.txt"), "odd\n");
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    put(&bench.path(&format!("artifacts/label/{run}/inputs/\u{1b}]0;y\u{7}")), "extra\n");
    for args in [&["verify"][..], &["restore", &run], &["query", "SELECT path FROM files"]] {
        let ran = bench.run(args);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{args:?}: {:?}", ran.out);
    }
    bench.run(&["verify"]).exits(3).says("E106").says("\\u{1b}]0;y");
}
