//! Odd things that a disk, a clock or another process may hold out to us, each with what it comes to. The
//! table of all such cases is `docs/cases.md`, and what it names is looked for here.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use strongroom::base::clock::{Clock, Moment};
use strongroom::store::{Store, VerifyOptions};

use crate::common::{Bench, Ran, put};
use crate::fixture;

/// Records one input folder and gives the run's folder.
fn recorded(bench: &Bench, input: &str) -> String {
    let told = bench.json(&["record", "--job", "j", "--input", &format!("a={input}")], 0);
    format!("artifacts/j/{}", told["run_id"].as_str().unwrap())
}

fn bytes_below(folder: &Path) -> BTreeSet<Vec<u8>> {
    let files = crate::common::tree(folder);
    files.keys().map(|path| fs::read(folder.join(path)).unwrap_or_default()).collect()
}

#[test]
fn sparse_empty_and_hard_linked_inputs_are_kept_as_bytes_and_the_source_left_alone() {
    let bench = Bench::with_store();
    let work = bench.path("work/in");
    fs::create_dir_all(work.join("empty-folder")).unwrap();
    put(&work.join("empty"), "");
    let sparse = File::create(work.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    sparse.write_all_at(b"end", (3 << 20) - 3).unwrap();
    put(&bench.path("work/elsewhere"), "linked\n");
    fs::hard_link(bench.path("work/elsewhere"), work.join("linked")).unwrap();
    put(&work.join("x".repeat(255)), "long name\n");
    put(&work.join(" -rf\n\u{202e}CON"), "odd name\n");
    let before = bytes_below(&work);
    let run = recorded(&bench, "work/in");
    assert_eq!(fs::metadata(work.join("linked")).unwrap().nlink(), 2);
    let inputs = bench.path(&run).join("inputs");
    assert!(bytes_below(&inputs).is_superset(&before));
    // An edit of the source through its other name is none of the store's bytes.
    fs::write(bench.path("work/elsewhere"), "LINKED\n").unwrap();
    bench.json(&["verify"], 0);
    fs::remove_dir_all(bench.path(&run)).unwrap();
    bench.json(&["restore", &run], 0);
    assert!(bytes_below(&inputs).is_superset(&before));
    bench.json(&["verify"], 0);
}

#[test]
fn setuid_bit_of_an_input_does_not_come_into_the_store() {
    let bench = Bench::with_store();
    put(&bench.path("work/tool"), "#!/bin/sh\n");
    fs::set_permissions(bench.path("work/tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    let ran = bench.run(&["record", "--job", "j", "--input", "a=work/tool"]);
    assert!(ran.err.contains("warning: 1 file with set-uid") && ran.err.contains("work/tool"), "{}", ran.err);
    ran.exits(0);
    let run = recorded(&bench, "work/tool");
    for path in crate::common::tree(&bench.path(&run)).keys() {
        let mode = fs::symlink_metadata(bench.path(&run).join(path)).unwrap().mode();
        assert_eq!(mode & 0o7000, 0, "{path}: {mode:o}");
    }
    let mode = fs::metadata(bench.path("work/tool")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o6755);
    // What a command writes, and what is adopted, says so too.
    let script = "echo x > out; chmod 4755 out";
    let ran = bench.run(&["record", "--job", "j", "--output", "out", "--", "sh", "-c", script]);
    assert!(ran.err.contains("warning: 1 file with set-uid"), "{}", ran.err);
    ran.exits(0);
    let source = fixture::source(&bench.top().join("elsewhere"));
    let file = source.join(
        crate::common::tree(&source)
            .keys()
            .find(|path| path.contains("/outputs/") && !path.ends_with('/'))
            .unwrap(),
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o2755)).unwrap();
    assert_eq!(bench.json(&["adopt", source.to_str().unwrap()], 0)["bits_dropped"], 1);
    bench.json(&["verify"], 0);
}

#[test]
fn link_planted_in_place_of_a_file_is_replaced_by_restore_and_its_target_untouched() {
    let bench = Bench::with_store();
    put(&bench.path("work/in.txt"), "recorded\n");
    put(&bench.path("work/outside"), "outside\n");
    let run = recorded(&bench, "work/in.txt");
    let (folder, files) = (bench.path(&run), crate::common::tree(&bench.path(&run)));
    let name = files.keys().find(|path| path.starts_with("inputs/") && !path.ends_with('/')).unwrap();
    fs::remove_file(folder.join(name)).unwrap();
    symlink(bench.path("work/outside"), folder.join(name)).unwrap();
    bench.run(&["verify"]).exits(3);
    bench.run(&["restore", &run]).exits(0);
    assert_eq!(fs::read_to_string(bench.path("work/outside")).unwrap(), "outside\n");
    assert!(fs::symlink_metadata(folder.join(name)).unwrap().is_file());
    bench.json(&["verify"], 0);
}

#[test]
fn input_that_may_not_be_read_is_refused_by_name() {
    // Root may read everything, so it runs the program as somebody else, in a folder of theirs.
    let bench = Bench::new();
    let root = rustix::process::geteuid().is_root();
    fs::set_permissions(bench.top(), fs::Permissions::from_mode(0o777)).unwrap();
    let run = |args: &[&str]| {
        let mut command = bench.command(args);
        if root {
            command.uid(65534).gid(65534);
        }
        command.output().map(Ran::of)
    };
    match run(&["init", "store"]) {
        Ok(ran) => drop(ran.exits(0)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return crate::common::skipped("an unreadable input: nobody else may run the program here");
        }
        Err(error) => panic!("{error}"),
    }
    put(&bench.top().join("secret"), "secret\n");
    fs::set_permissions(bench.top().join("secret"), fs::Permissions::from_mode(0o0)).unwrap();
    let ran = run(&["--store", "store", "record", "--job", "j", "--input", "a=secret"]).unwrap();
    let said = ran.err.clone();
    ran.exits(6);
    assert!(said.contains("secret") && said.to_lowercase().contains("permission"), "{said}");
    assert_eq!(fs::read_dir(bench.top().join("store/artifacts")).unwrap().count(), 0);
}

#[test]
fn store_of_another_user_is_used_only_by_its_name() {
    // Only root can give a store away.
    if !rustix::process::geteuid().is_root() {
        return crate::common::skipped("a store of another user: only root can make one");
    }
    let bench = Bench::with_store();
    let below = bench.path("artifacts");
    let here = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env_remove("STRONGROOM_STORE").current_dir(&below);
        Ran::of(command.output().unwrap())
    };
    here(&["list"]).exits(0);
    // The folder alone, then the settings alone, which anybody can put into a folder like /tmp.
    for (path, name) in [(bench.path("."), "folder"), (bench.path("strongroom.toml"), "settings")] {
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        for args in [&["list"][..], &["record", "--job", "j", "--", "true"]] {
            let ran = here(args);
            assert!(ran.err.contains("belongs to another user (uid 65534)"), "{name}: {}", ran.err);
            assert!(ran.err.contains("--store"), "{name}: {}", ran.err);
            ran.exits(6);
        }
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
        let named = bench.path(".");
        here(&["--store", named.to_str().unwrap(), "list"]).exits(0);
        // What needs no store does without it.
        let ran = here(&["pack", "list"]);
        assert!(ran.err.contains("done without a store"), "{name}: {}", ran.err);
        ran.exits(0);
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    here(&["list"]).exits(0);
    // Whatever they wrote there, it is not read.
    let settings = bench.path("strongroom.toml");
    fs::write(&settings, "rubbish").unwrap();
    std::os::unix::fs::chown(&settings, Some(65534), None).unwrap();
    let ran = here(&["list"]);
    assert!(ran.err.contains("belongs to another user"), "{}", ran.err);
    ran.exits(6);
}

#[test]
fn file_larger_than_the_memory_that_there_is_is_recorded_and_given_back() {
    let bench = Bench::with_store();
    let large = bench.top().join("large");
    let file = File::create(&large).unwrap();
    file.set_len(400 << 20).unwrap();
    file.write_all_at(b"end", (400 << 20) - 3).unwrap();
    // 300 MiB of addresses, for everything.
    let limited = |args: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -v 300000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_strongroom")]);
        let env = [("HOME", bench.top().into_os_string()), ("RAYON_NUM_THREADS", "2".into())];
        Ran::of(command.args(args).current_dir(bench.path(".")).envs(env).output().unwrap())
    };
    limited(&["record", "--job", "j", "--input", "a=../large"]).exits(0);
    limited(&["verify"]).exits(0);
    let run = fs::read_dir(bench.path("artifacts/j")).unwrap().next().unwrap().unwrap().path();
    let name = format!("j/{}", run.file_name().unwrap().to_str().unwrap());
    fs::remove_dir_all(&run).unwrap();
    limited(&["restore", &name]).exits(0);
    let back = File::open(run.join("inputs/a")).unwrap();
    let mut end = [0; 4];
    back.read_exact_at(&mut end, (400 << 20) - 4).unwrap();
    assert_eq!((&end, back.metadata().unwrap().len()), (b"\0end", 400 << 20));
}

/// Goes through some times, one after the other, and stays at the last.
struct Jumping(AtomicUsize);

const TIMES: [i64; 7] =
    [1_700_000_000_000, 1_600_000_000_000, -1, i64::MIN, i64::MAX, 0, 253_402_300_800_000];

impl Clock for Jumping {
    fn now(&self) -> Moment {
        Moment::from_millis(TIMES[self.0.fetch_add(1, Ordering::Relaxed) % TIMES.len()])
    }

    fn random(&self) -> [u8; 16] {
        fixture::TestClock::new().random()
    }
}

#[test]
fn clock_that_goes_back_before_1970_and_after_9999_stops_nothing_and_is_told() {
    let root = tempfile::tempdir().unwrap();
    let source = fixture::source(root.path());
    let mut context = fixture::context(None);
    context.clock = Arc::new(Jumping(AtomicUsize::new(0)));
    let store = Store::init(&root.path().join("store"), None, context).unwrap();
    fixture::adopt(&store, &source);
    fixture::migrate(&store).unwrap();
    for n in 0..8u8 {
        store.note(&[vec![n]]).unwrap();
    }
    store.reindex().unwrap();
    assert_eq!(fixture::failures(&store), Vec::<String>::new());
    let report = store.verify(&VerifyOptions::default()).unwrap();
    let told = report.findings.iter().any(|finding| finding.code.to_string() == "W210");
    assert!(told, "{:?}", report.findings);
}

#[test]
fn holder_that_was_stopped_keeps_its_lock_and_others_time_out() {
    let bench = Bench::with_store();
    let mut holder = std::process::Command::new("flock")
        .arg("--no-fork")
        .arg(bench.path("lock"))
        .args(["sleep", "60"])
        .spawn()
        .expect("flock is part of util-linux");
    let file = File::options().append(true).create(true).open(bench.path("lock")).unwrap();
    while file.try_lock().is_ok() {
        file.unlock().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = Pid::from_raw(holder.id().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    put(&bench.path("other/a.txt"), "a\n");
    let args = ["--lock-timeout", "1", "record", "--job", "j", "--input", "a=other/a.txt"];
    assert_eq!(bench.error(&args, 11)["kind"], "locked");
    kill_process(pid, Signal::KILL).unwrap();
    holder.wait().unwrap();
    bench.json(&args[2..], 0);
}

#[test]
fn dependencies_are_pinned_to_one_registry_by_checksum_and_unsafe_is_forbidden() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock: toml::Table = fs::read_to_string(root.join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    assert!(packages.len() > 50);
    let mut sources = BTreeSet::new();
    for package in packages.iter().filter(|package| package["name"].as_str() != Some("strongroom")) {
        let member = |name: &str| package.get(name).and_then(|value| value.as_str()).unwrap_or("");
        assert!(member("source").starts_with("registry+https://"), "{package}");
        sources.insert(member("source"));
        assert_eq!(member("checksum").len(), 64, "{package}");
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

/// Every test that the table of cases names is there, and every case has a row.
#[test]
fn cases_of_the_table_name_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/cases.md")).unwrap();
    let mut source = String::new();
    for folder in ["src", "tests/it"] {
        for (path, bytes) in fixture::snapshot(&root.join(folder)) {
            if path.ends_with(".rs") {
                source += &String::from_utf8(bytes).unwrap();
            }
        }
    }
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| T")).collect();
    for row in &rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        assert!(!named.is_empty() || row.contains("no test"), "{row}");
        for name in named {
            assert!(source.contains(&format!("fn {name}(")), "{name} is no test: {row}");
        }
    }
    assert!(rows.len() > 50, "{}", rows.len());
}
