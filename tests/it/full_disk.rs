//! A disk without room, or without names left: every command ends well or says what to free, leaves everything
//! as before or as afterwards, and finishes once there is room. Needs a filesystem of its own to fill; where none
//! can be mounted the test says that it was skipped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use strongroom::store::{Given, KeyKind, RecordOptions, Signer, Store, StoreError, Streams};

use crate::carry;
use crate::fixture::{self, context, failures, migrate, open};

/// Tells the test that it runs in the child, and where the small disk is.
const ROOM: &str = "STRONGROOM_TEST_SMALL_DISK";
const MOUNT: &str = "mount -t tmpfs -o size=3m,nr_inodes=700 none \"$1\"";
const PAGE: u64 = 4096;

struct Silent;
impl Streams for Silent {}

/// What is done on the full disk: what it starts from, itself, and the paths whose bytes must be as before or as after.
struct Operation {
    name: &'static str,
    prepare: fn(&Path),
    run: fn(&Store, &Path) -> Result<(), StoreError>,
    kept: &'static [&'static str],
    /// Whether it is refused once it is done.
    once: bool,
}

const RUNS: &[&str] = &["store/artifacts"];
const DOCUMENTS: &[&str] = &["docs"];

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "init",
        prepare: |home| fs::remove_dir_all(home.join("store")).unwrap(),
        run: |_, home| Store::init(&home.join("store"), None, context(None)).map(drop),
        kept: &[],
        once: true,
    },
    Operation { name: "record", prepare: |_| {}, run: record, kept: RUNS, once: false },
    Operation {
        name: "adopt",
        prepare: |_| {},
        run: |store, home| {
            let (report, rows) = crate::fixture::try_adopt(store, &home.join("more"))?;
            assert_eq!(report.refused, 0, "{rows:?}");
            Ok(())
        },
        kept: RUNS,
        once: false,
    },
    Operation {
        name: "migrate",
        prepare: |_| {},
        run: |store, _| migrate(store).map(drop),
        kept: RUNS,
        once: false,
    },
    Operation {
        name: "rollback",
        prepare: |home| drop(migrate(&open(&home.join("store"))).unwrap()),
        run: |store, _| {
            let key = store.find_run("575fc3b9-1d70-42de-a69c-c377ffce9d2f")?;
            let first = store.history(&key)?.rows[0].entry.after.unwrap();
            store.rollback(&key, &first).map(drop)
        },
        kept: RUNS,
        once: false,
    },
    Operation {
        name: "migrate documents",
        prepare: |_| {},
        run: |store, home| {
            let (_, rows) = carry::carry(store, home)?;
            // One document is refused on any disk.
            match rows.iter().filter(|row| row.verdict.word() == "refused").nth(1) {
                Some(row) => Err(StoreError::Input { path: row.at(), why: format!("{:?}", row.verdict) }),
                None => Ok(()),
            }
        },
        kept: DOCUMENTS,
        once: false,
    },
    Operation {
        name: "rotate a key",
        prepare: |home| drop(open(&home.join("store")).new_key(&home.join("keys/first.key")).unwrap()),
        run: |store, home| {
            let old = Signer::read(&home.join("keys/first.key"), home.join("memory"))?;
            store.rotate_key(&old, KeyKind::Ed25519, &|id| home.join(format!("keys/{id}.key")))?;
            store.publish(&[old]).map(drop)
        },
        kept: &[],
        once: false,
    },
];

fn record(store: &Store, home: &Path) -> Result<(), StoreError> {
    let options = RecordOptions {
        job: "job-r".parse().unwrap(),
        inputs: vec![Given { name: "brief".into(), path: home.join("in.json") }],
        outputs: vec![home.join("out")],
        command: None,
        job_ref: String::new(),
        job_type: None,
        streams: &Silent,
    };
    store.record(&options).map(drop)
}

/// What every operation starts from.
fn world(home: &Path) {
    let source = fixture::source(&home.join("old"));
    fixture::run_with_snapshots(&home.join("more"), "job-c", "1.1.0", "one");
    fixture::write(home.join("in.json"), "{\"n\": 1}\n");
    fixture::write(home.join("out/a.txt"), "a\n");
    fixture::write(home.join("out/large.bin"), &"0123456789abcdef".repeat(6 << 10));
    fs::create_dir(home.join("keys")).unwrap();
    carry::world(home);
    fixture::adopt(&fixture::init(&home.join("store")), &source);
}

/// Leaves this many pages free, or this many names.
enum Left {
    Pages(u64),
    Names(u64),
}

fn fill(room: &Path, left: &Left) {
    let full = room.join("full");
    fs::create_dir(&full).unwrap();
    match left {
        Left::Pages(left) => {
            let mut filler = File::create(full.join("bytes")).unwrap();
            let page = [1u8; PAGE as usize];
            while filler.write_all(&page).is_ok() {}
            let len = filler.metadata().unwrap().len();
            filler.set_len(len.saturating_sub(left * PAGE) / PAGE * PAGE).unwrap();
        }
        Left::Names(left) => {
            let mut made = 0;
            while File::create(full.join(made.to_string())).is_ok() {
                made += 1;
            }
            for name in 0..*left {
                fs::remove_file(full.join((made - 1 - name).to_string())).unwrap();
            }
        }
    }
}

fn kept(home: &Path, operation: &Operation) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for part in operation.kept {
        all.extend(fixture::snapshot(&home.join(part)).into_iter().filter(|(name, _)| !name.ends_with('/')));
    }
    all
}

/// One operation at one level of fullness; tells whether there was room enough.
fn attempt(room: &Path, template: &Path, operation: &Operation, left: &Left, case: &str) -> bool {
    let home = room.join("home");
    fixture::copy(template, &home);
    let before = kept(&home, operation);
    fill(room, left);
    let there = Store::open(&home.join("store"), context(None));
    // For init there is none; the operation does without.
    let store = there.unwrap_or_else(|_| open(&template.parent().unwrap().join("any/store")));
    let answer = (operation.run)(&store, &home);
    let during = kept(&home, operation);
    if operation.name != "init" {
        assert_eq!(failures(&open(&home.join("store"))), Vec::<String>::new(), "{case}: while full");
    }
    fs::remove_dir_all(room.join("full")).unwrap();
    match (operation.run)(&store, &home) {
        Ok(()) | Err(StoreError::AlreadyAStore { .. }) if operation.once || answer.is_err() => {}
        Ok(()) => {}
        Err(error) => panic!("{case}: run again with room: {error}"),
    }
    let after = kept(&home, operation);
    for (path, bytes) in &during {
        let own = path.contains(".tmp-strongroom-");
        assert!(own || before.get(path) == Some(bytes) || after.get(path) == Some(bytes), "{case}: {path}");
    }
    let lost: Vec<&String> = before.keys().filter(|path| !during.contains_key(*path)).collect();
    assert!(lost.is_empty(), "{case}: {lost:?} went");
    let store = open(&home.join("store"));
    assert_eq!(failures(&store), Vec::<String>::new(), "{case}: afterwards");
    fs::remove_dir_all(&home).unwrap();
    answer.is_ok()
}

fn on_a_small_disk(room: &Path) {
    let aside = tempfile::tempdir().unwrap();
    let any = aside.path().join("any");
    fs::create_dir(&any).unwrap();
    world(&any);
    for operation in OPERATIONS {
        let template = aside.path().join(operation.name);
        fs::create_dir(&template).unwrap();
        world(&template);
        (operation.prepare)(&template);
        let (mut tried, mut failed) = (0, 0);
        for unit in ["pages", "names"] {
            // Every level where something may fail first, and on to where there is room enough.
            for left in (0..12).chain((12..40).step_by(3)).chain((40..400).step_by(24)) {
                let case = format!("{}, {left} {unit} left", operation.name);
                let level = if unit == "pages" { Left::Pages(left) } else { Left::Names(left) };
                tried += 1;
                if attempt(room, &template, operation, &level, &case) {
                    break;
                }
                failed += 1;
            }
        }
        println!("{}: {tried} levels of a full disk, {failed} of them too full", operation.name);
        assert!(failed > 1, "{}: it never ran out of room", operation.name);
    }
}

/// The program itself: what it says, and what a full disk keeps it from.
fn program_on_a_small_disk(room: &Path) {
    let home = room.join("home");
    fs::create_dir(&home).unwrap();
    world(&home);
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(args).current_dir(home.join("store")).env("HOME", &home).output().unwrap()
    };
    let before = fixture::snapshot(&home.join("store/artifacts"));
    fill(room, &Left::Pages(2));
    let output = run(&["record", "--job", "j", "--input", "a=../in.json", "--output", "../out"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("No space left") && told.contains("free space on the filesystem"), "{told}");
    assert_eq!(fixture::snapshot(&home.join("store/artifacts")), before);
    for reading in [vec!["verify"], vec!["list"], vec!["log"], vec!["history", "575fc3b9"]] {
        let output = run(&reading);
        assert_eq!(output.status.code(), Some(0), "{reading:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::remove_dir_all(room.join("full")).unwrap();
    assert_eq!(
        run(&["record", "--job", "j", "--input", "a=../in.json", "--output", "../out"]).status.code(),
        Some(0)
    );
    assert_eq!(failures(&open(&home.join("store"))), Vec::<String>::new());
    fs::remove_dir_all(&home).unwrap();
}

/// Runs the test of that name once more, in a process that has a small filesystem of its own.
fn in_a_small_room(test: &str) {
    let room = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
        command.arg(room.path()).arg(std::env::current_exe().unwrap());
        command.arg(format!("full_disk::{test}")).env(ROOM, room.path());
        command
    };
    if !unshare(MOUNT).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no small filesystem can be mounted here");
        return;
    }
    let output = unshare(&format!("{MOUNT} && exec \"$2\" --exact \"$3\" --nocapture")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    print!(
        "{}",
        told.lines()
            .filter(|line| line.contains("levels"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    );
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
fn full_disk_leaves_everything_as_before_or_after_and_the_command_again_finishes() {
    match std::env::var_os(ROOM) {
        Some(room) => on_a_small_disk(Path::new(&room)),
        None => {
            in_a_small_room("full_disk_leaves_everything_as_before_or_after_and_the_command_again_finishes")
        }
    }
}

#[test]
fn full_disk_is_told_with_what_to_free() {
    match std::env::var_os(ROOM) {
        Some(room) => program_on_a_small_disk(Path::new(&room)),
        None => in_a_small_room("full_disk_is_told_with_what_to_free"),
    }
}
