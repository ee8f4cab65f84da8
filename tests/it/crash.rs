//! Kill it anywhere, run it again: every file-changing call of every writing operation is made the
//! last one, once before it is carried out and once after; then the store is opened anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::backend::{Call, Errno, Hook, Verdict};
use strongroom::base::id::RunKey;
use strongroom::store::{
    Given, KeyKind, MigrateOptions, RecordOptions, Signer, Store, StoreError, Streams, VerifyOptions,
};

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
        let (report, rows) = crate::fixture::try_adopt(store, &more(root))?;
        assert_eq!(report.refused, 0, "{rows:?}");
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
fn crash_at_any_call_while_the_run_map_is_written_anew_leaves_one_that_is_whole() {
    sweep_both("migrate, the run map anew", &|store| _ = crate::audit::grow_run_map(store), &|store, _| {
        migrate(store).map(drop)
    });
}

#[test]
fn crash_at_any_call_of_migrate_in_batches_leaves_each_manifest_old_or_new() {
    // The next is staged, and what was staged of the last goes, while one is committed.
    let options = MigrateOptions { batch: Some(1), ..MigrateOptions::default() };
    sweep_both("migrate in batches", &|_| {}, &move |store, _| {
        let report = store.migrate(&options, &mut |_| {})?;
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
    for fault in
        [Fault::KillBefore, Fault::KillAfter, Fault::Error(Errno::NOSPC), Fault::ErrorAfter(Errno::IO)]
    {
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
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::Error(Errno::IO), Fault::ErrorAfter(Errno::IO)]
    {
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

/// A key that signs a log, and what it remembers.
fn signer(root: &Path, key: &Path) -> Signer {
    Signer::read(key, root.join("memory")).unwrap()
}

/// The secrets that lie in a folder, each of which must be whole.
fn secrets(keys: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "key")).collect()
}

/// Makes each call of an operation on keys fail, once without effect and once with it, or the last one.
/// The operation is given the store and the folder with the keys. Gives how many points there were.
fn sweep_keys(
    prepare: &dyn Fn(&Store, &Path),
    operation: &dyn Fn(&Store, &Path) -> Result<(), StoreError>,
    again: &dyn Fn(&Store, &Path, &str),
) -> u64 {
    let root = tempfile::tempdir().unwrap();
    let template = root.path().join("template");
    let store = fixture::init(&template.join("store"));
    std::fs::create_dir_all(template.join("keys")).unwrap();
    prepare(&store, &template);
    let mut points = 0;
    for fault in [KILLS, ERRORS].concat() {
        for at in 1.. {
            let trial = tempfile::tempdir_in(root.path()).unwrap();
            let home = trial.path().join("all");
            fixture::copy(&template, &home);
            let trap = Arc::new(Trap { at, fault, calls: AtomicU64::new(0) });
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let store = Store::open(&home.join("store"), context(Some(hook))).unwrap();
            let answer = operation(&store, &home);
            drop(store);
            if trap.calls.load(Ordering::Relaxed) < at {
                answer.unwrap();
                break;
            }
            points += 1;
            let case = format!("{fault:?} at call {at}");
            for secret in secrets(&home.join("keys")) {
                drop(signer(&home, &secret));
            }
            let store = open(&home.join("store"));
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: left unsound");
            again(&store, &home, &case);
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: unsound afterwards");
        }
    }
    points
}

fn beside(home: &Path) -> impl Fn(strongroom::note::KeyId) -> PathBuf {
    move |id| home.join(format!("keys/{id}.key"))
}

#[test]
fn crash_at_any_call_of_a_new_key_leaves_none_or_one_that_is_taken_up() {
    let operation = |store: &Store, home: &Path| store.new_key(&home.join("keys/first.key")).map(drop);
    let again = |store: &Store, home: &Path, case: &str| {
        match operation(store, home) {
            Ok(()) => {}
            // It went into the log, and only the answer was lost.
            Err(StoreError::Key { .. }) => {
                assert_eq!(store.keyring().unwrap().current().count(), 1, "{case}")
            }
            Err(error) => panic!("{case}: {error}"),
        }
        store.publish(&[signer(home, &home.join("keys/first.key"))]).unwrap();
    };
    let points = sweep_keys(&|_, _| {}, &operation, &again);
    assert!(points > 100, "only {points} points");
    println!("new key: {points} points, all sound");
}

#[test]
fn crash_at_any_call_of_a_rotation_leaves_the_old_key_signing_or_both() {
    let prepare = |store: &Store, home: &Path| drop(store.new_key(&home.join("keys/first.key")).unwrap());
    let operation = |store: &Store, home: &Path| {
        let old = signer(home, &home.join("keys/first.key"));
        store.rotate_key(&old, KeyKind::Ed25519, &beside(home)).map(drop)
    };
    let again = |store: &Store, home: &Path, case: &str| {
        let before = store.keyring().unwrap().current().count();
        assert!((1..=2).contains(&before), "{case}: {before} keys");
        // Whatever was made of the first one, the old key signs and can bring in another.
        operation(store, home).unwrap_or_else(|error| panic!("{case}: run again: {error}"));
        let ring = store.keyring().unwrap();
        assert_eq!(ring.current().count(), before + 1, "{case}");
        // Each key that the log has signs: its secret was durable before the log named it.
        let there: Vec<Signer> =
            secrets(&home.join("keys")).iter().map(|secret| signer(home, secret)).collect();
        for known in ring.current() {
            let secret = there.iter().filter(|signer| *signer.verifying_key() == known.key);
            assert_eq!(secret.count(), 1, "{case}: no secret of {}", known.key.id());
        }
        let signers: Vec<Signer> =
            there.into_iter().filter(|signer| store.may_sign(&ring, signer).is_ok()).collect();
        store.publish(&signers).unwrap_or_else(|error| panic!("{case}: publish: {error}"));
    };
    let points = sweep_keys(&prepare, &operation, &again);
    assert!(points > 100, "only {points} points");
    println!("key rotation: {points} points, all sound");
}

#[test]
fn crash_at_any_call_of_a_retirement_leaves_the_key_trusted_or_retired() {
    let prepare = |store: &Store, home: &Path| {
        store.new_key(&home.join("keys/first.key")).unwrap();
        let first = signer(home, &home.join("keys/first.key"));
        store.rotate_key(&first, KeyKind::Ed25519, &|_| home.join("keys/second.key")).unwrap();
    };
    let operation = |store: &Store, home: &Path| {
        let (first, second) =
            (signer(home, &home.join("keys/first.key")), signer(home, &home.join("keys/second.key")));
        store.retire_key(first.verifying_key().id(), None, &[second]).map(drop)
    };
    let again = |store: &Store, home: &Path, case: &str| {
        let current = store.keyring().unwrap().current().count();
        match operation(store, home) {
            Ok(()) => assert_eq!(current, 2, "{case}"),
            Err(StoreError::Key { .. }) => assert_eq!(current, 1, "{case}"),
            Err(error) => panic!("{case}: {error}"),
        }
        assert_eq!(store.keyring().unwrap().current().count(), 1, "{case}");
        store.publish(&[signer(home, &home.join("keys/second.key"))]).unwrap();
    };
    let points = sweep_keys(&prepare, &operation, &again);
    assert!(points > 60, "only {points} points");
    println!("key retirement: {points} points, all sound");
}
