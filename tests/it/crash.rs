//! Kill it anywhere, run it again: every file-changing call of every writing operation is made the
//! last one, once before it is carried out and once after; then the store is opened anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::backend::{Call, Errno, Hook, Verdict};
use strongroom::base::id::RunKey;
use strongroom::store::{Given, RecordOptions, Signer, Store, StoreError, Streams, VerifyOptions};

use crate::fixture::{self, context, failures, migrate, open};

/// How the chosen call and those after it end.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// The process is gone before the call.
    KillBefore,
    /// The process is gone after the call.
    KillAfter,
    /// A write is cut short and the process is gone.
    KillShort,
    /// The call fails and the process goes on.
    Error(Errno),
    /// The call is carried out and reported as failed, and the process goes on.
    ErrorAfter(Errno),
}

struct Trap {
    at: u64,
    fault: Fault,
    calls: AtomicU64,
}

impl Hook for Trap {
    fn call(&self, call: &Call<'_>) -> Verdict {
        let n = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let killed = !matches!(self.fault, Fault::Error(_) | Fault::ErrorAfter(_));
        if n < self.at || (n > self.at && !killed) {
            return Verdict::Go;
        }
        if n > self.at {
            return Verdict::Fail(Errno::IO);
        }
        match self.fault {
            Fault::KillBefore => Verdict::Fail(Errno::IO),
            Fault::KillAfter => Verdict::FailAfter(Errno::IO),
            Fault::KillShort => Verdict::FailShort(call.bytes.len() / 2, Errno::IO),
            Fault::Error(errno) => Verdict::Fail(errno),
            Fault::ErrorAfter(errno) => Verdict::FailAfter(errno),
        }
    }
}

type Operation = dyn Fn(&Store, &Path) -> Result<(), StoreError>;

struct Silent;
impl Streams for Silent {}

fn record_options(root: &Path) -> RecordOptions<'static> {
    RecordOptions {
        job: "job-r".parse().unwrap(),
        inputs: vec![Given { name: "brief".into(), path: root.join("in.json") }],
        outputs: vec![root.join("out")],
        command: None,
        job_ref: String::new(),
        job_type: None,
        streams: &Silent,
    }
}

/// A store with three adopted runs, a recorded one, and what the operations read.
fn world(root: &Path) -> PathBuf {
    let source = fixture::source(&root.join("old"));
    fixture::write(root.join("in.json"), "{\"n\": 1}\n");
    fixture::write(root.join("out/a.txt"), "a\n");
    fixture::write(root.join("out/empty/b.bin"), "");
    let dir = root.join("store");
    let store = fixture::init(&dir);
    fixture::adopt(&store, &source);
    dir
}

fn the_run(store: &Store) -> RunKey {
    store.find_run("575fc3b9-1d70-42de-a69c-c377ffce9d2f").unwrap()
}

/// Runs an operation with a fault at its n-th call, for every n, and checks what is left.
fn sweep(name: &str, prepare: &dyn Fn(&Path), operation: &Operation, faults: &[Fault]) -> u64 {
    let root = tempfile::tempdir().unwrap();
    let template = world(root.path());
    prepare(&template);
    let mut points = 0;
    for &fault in faults {
        for at in 1.. {
            let trial = tempfile::tempdir_in(root.path()).unwrap();
            let dir = trial.path().join("store");
            fixture::copy(&template, &dir);
            let trap = Arc::new(Trap { at, fault, calls: AtomicU64::new(0) });
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let store = Store::open(&dir, context(Some(hook))).unwrap();
            let answer = operation(&store, root.path());
            drop(store);
            if trap.calls.load(Ordering::Relaxed) < at {
                answer.unwrap();
                break;
            }
            points += 1;
            let case = format!("{name}, {fault:?} at call {at}");
            // What the faulty process left is sound as it is, and stays so when read again.
            let store = open(&dir);
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: left unsound");
            // The next command finishes; the command again comes to the same end as without a fault.
            operation(&store, root.path()).unwrap_or_else(|error| panic!("{case}: run again: {error}"));
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: unsound after running again");
            assert!(
                fixture::snapshot(&dir.join("tmp")).keys().all(|name| name.ends_with(".lock")),
                "{case}: leftovers in tmp: {:?}",
                fixture::snapshot(&dir.join("tmp")).keys()
            );
            assert!(store.log().unwrap().pending.is_empty(), "{case}: a batch is not settled");
        }
    }
    points
}

const KILLS: &[Fault] = &[Fault::KillBefore, Fault::KillAfter, Fault::KillShort];
const ERRORS: &[Fault] = &[Fault::Error(Errno::NOSPC), Fault::Error(Errno::IO), Fault::ErrorAfter(Errno::IO)];

fn sweep_both(name: &str, prepare: &dyn Fn(&Path), operation: &Operation) {
    let kills = sweep(name, prepare, operation, KILLS);
    let errors = sweep(name, prepare, operation, ERRORS);
    assert!(kills > 20 && errors > 20, "{name}: only {kills} and {errors} points");
    println!("{name}: {kills} kill points and {errors} error points, all sound");
}

#[test]
fn crash_at_any_call_of_record_leaves_the_run_absent_or_whole() {
    sweep_both("record", &|_| {}, &|store, root| store.record(&record_options(root)).map(drop));
}

#[test]
fn crash_at_any_call_of_adopt_leaves_each_run_absent_or_whole() {
    let more = |root: &Path| {
        let more = root.join("more");
        if !more.exists() {
            fixture::run_with_snapshots(&more, "job-c", "1.1.0", "one");
            fixture::run_with_snapshots(&more, "job-c", "1.1.0", "two");
        }
        more
    };
    sweep_both("adopt", &|_| {}, &move |store, root| {
        let report = store.adopt(&more(root), &Default::default())?;
        assert_eq!(report.counts().2, 0, "{:?}", report.seen);
        Ok(())
    });
}

#[test]
fn crash_at_any_call_of_migrate_leaves_each_manifest_old_or_new() {
    sweep_both("migrate", &|_| {}, &|store, _| {
        let report = migrate(store)?;
        assert_eq!((report.refused, report.unreadable), (0, 0));
        Ok(())
    });
}

#[test]
fn crash_at_any_call_of_rollback_leaves_the_manifest_old_or_new() {
    let prepare = |dir: &Path| drop(migrate(&open(dir)).unwrap());
    sweep_both("rollback", &prepare, &|store, _| {
        let key = the_run(store);
        let first = store.history(&key)?.rows[0].entry.after.unwrap();
        store.rollback(&key, &first).map(drop)
    });
}

#[test]
fn crash_at_any_call_of_restore_leaves_each_file_found_or_recorded() {
    // The store is damaged before the fault, so what is left may be damaged still; what counts is
    // that nothing else is, and that running it again mends all.
    let root = tempfile::tempdir().unwrap();
    let template = world(root.path());
    let key = the_run(&open(&template));
    let run = template.join("artifacts").join(key.to_string());
    let edit = |path: &str| {
        let path = run.join(path);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "edited").unwrap();
    };
    edit("inputs/brief.yaml");
    edit("manifest.json");
    std::fs::remove_file(run.join("outputs/text.md")).unwrap();
    let mut points = 0;
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::Error(Errno::NOSPC)] {
        for at in 1.. {
            let trial = tempfile::tempdir_in(root.path()).unwrap();
            let dir = trial.path().join("store");
            fixture::copy(&template, &dir);
            let trap = Arc::new(Trap { at, fault, calls: AtomicU64::new(0) });
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let _ = Store::open(&dir, context(Some(hook))).unwrap().restore(&key, None);
            if trap.calls.load(Ordering::Relaxed) < at {
                break;
            }
            points += 1;
            let store = open(&dir);
            let allowed = |finding: &String| {
                ["E101", "E102", "E103", "E104", "E105", "E121", "E122"].contains(&&finding[..4])
            };
            let left = failures(&store);
            assert!(left.iter().all(allowed), "{fault:?} at {at}: {left:?}");
            store.restore(&key, None).unwrap();
            assert_eq!(failures(&store), Vec::<String>::new(), "{fault:?} at call {at}");
        }
    }
    println!("restore: {points} points, all mended by running it again");
}

#[test]
fn crash_at_any_call_of_init_leaves_no_store_or_a_whole_one() {
    let root = tempfile::tempdir().unwrap();
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::KillShort, Fault::Error(Errno::NOSPC)] {
        for at in 1.. {
            let trial = tempfile::tempdir_in(root.path()).unwrap();
            let dir = trial.path().join("store");
            let trap = Arc::new(Trap { at, fault, calls: AtomicU64::new(0) });
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let answer = Store::init(&dir, None, context(Some(hook)));
            if trap.calls.load(Ordering::Relaxed) < at {
                answer.unwrap();
                break;
            }
            match Store::init(&dir, None, context(None)) {
                Ok(_) => {}
                Err(StoreError::AlreadyAStore { .. }) => {}
                Err(error) => panic!("{fault:?} at call {at}: {error}"),
            }
            assert_eq!(failures(&open(&dir)), Vec::<String>::new(), "{fault:?} at call {at}");
        }
    }
}

#[test]
fn crash_at_any_call_of_publishing_leaves_memory_checkpoint_and_tiles_sound() {
    let root = tempfile::tempdir().unwrap();
    let template = world(root.path());
    let key = root.path().join("key");
    let memory = root.path().join("memory");
    let pinned = open(&template).new_key(&key).unwrap();
    let first = open(&template).publish(&[Signer::read(&key, memory.clone()).unwrap()]).unwrap().body;
    let ask = VerifyOptions { keys: vec![pinned.clone()], ..VerifyOptions::default() };
    let sound = |store: &Store, case: &str| {
        let report = store.verify(&ask).unwrap();
        let codes: Vec<String> = report.failures().map(|finding| finding.code.to_string()).collect();
        assert_eq!(codes, Vec::<String>::new(), "{case}");
        let checkpoint = store.checkpoint().unwrap().unwrap();
        checkpoint
            .note
            .verify(std::slice::from_ref(&pinned))
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        checkpoint.body
    };
    let mut points = 0;
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::Error(Errno::IO)] {
        for at in 1.. {
            let trial = tempfile::tempdir_in(root.path()).unwrap();
            let (dir, remembered) = (trial.path().join("store"), trial.path().join("memory"));
            fixture::copy(&template, &dir);
            fixture::copy(&memory, &remembered);
            let signer = Signer::read(&key, remembered.clone()).unwrap();
            let signers = std::slice::from_ref(&signer);
            let trap = Arc::new(Trap { at, fault, calls: AtomicU64::new(0) });
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let store = Store::open(&dir, context(Some(hook))).unwrap();
            let answer = store.note(&[b"one more".to_vec()]).and_then(|_| store.publish(signers));
            drop(store);
            if trap.calls.load(Ordering::Relaxed) < at {
                assert!(answer.unwrap().body.size > first.size);
                break;
            }
            points += 1;
            let case = format!("publish, {fault:?} at call {at}");
            // What the key remembers is whole, and no checkpoint is of a tree that it does not remember.
            let files = fixture::snapshot(&remembered);
            let text = files.iter().find(|(name, _)| !name.contains(".lock") && !name.contains(".tmp"));
            let (_, text) = text.unwrap_or_else(|| panic!("{case}: the memory is gone: {files:?}"));
            let text = String::from_utf8(text.clone()).unwrap();
            let size: u64 = text.lines().next().and_then(|line| line.parse().ok()).unwrap();
            let store = open(&dir);
            let published = sound(&store, &case);
            assert!(first.size <= published.size && published.size <= size, "{case}: {text}");
            // The same again comes to the same end.
            store.note(&[b"one more".to_vec()]).unwrap();
            let body = store.publish(signers).unwrap_or_else(|error| panic!("{case}: {error}")).body;
            assert_eq!(body.size, store.log().unwrap().size(), "{case}");
            sound(&store, &case);
        }
    }
    assert!(points > 60, "only {points} points");
    println!("publish: {points} points, all sound");
}
