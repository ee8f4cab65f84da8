//! Many at once: threads with handles of their own and whole processes migrate, record, roll back and
//! read one store. Each change happens once, nobody fails, and no reader sees anything half done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strongroom::base::digest::Sha256;
use strongroom::base::id::RunKey;
use strongroom::format::entry::{Entry, EntryKind};
use strongroom::index::ListFilter;
use strongroom::store::{
    Given, MigrateReport, RecordOptions, RecordedAs, Review, RolledBack, Signer, Store, Streams,
    VerifyOptions,
};

use crate::fixture::{adopt, failures, init, migrate, open, run_with_snapshots, write};

/// How many runs are migrated at once: `scripts/storm.sh` says many.
fn runs() -> usize {
    std::env::var("STRONGROOM_STORM_RUNS").map_or(400, |text| text.parse().expect("a number"))
}

struct Silent;
impl Streams for Silent {}

/// A store with so many runs at 1.1.0, and their original manifests.
fn world(root: &Path, runs: usize) -> (PathBuf, BTreeMap<RunKey, Vec<u8>>) {
    let tree = root.join("old");
    for n in 0..runs {
        run_with_snapshots(&tree, &format!("job-{}", n % 7), "1.1.0", &format!("topic {n}"));
    }
    let dir = root.join("store");
    let store = init(&dir);
    assert_eq!(adopt(&store, &tree), (runs as u64, 0, 0, 0));
    let originals = manifests(&store);
    assert_eq!(originals.len(), runs);
    (dir, originals)
}

fn manifest(dir: &Path, key: &RunKey) -> Vec<u8> {
    fs::read(dir.join("artifacts").join(key.to_string()).join("manifest.json")).unwrap()
}

fn manifests(store: &Store) -> BTreeMap<RunKey, Vec<u8>> {
    let runs = store.all_runs().unwrap();
    runs.into_iter().map(|key| (key.clone(), manifest(store.root(), &key))).collect()
}

/// How many entries of a kind the log has.
fn entries(store: &Store, kind: EntryKind) -> usize {
    let (view, mut count) = (store.log().unwrap(), 0);
    store
        .each_entry(&view, 0, &mut |_, bytes| {
            count += usize::from(Entry::parse(bytes).unwrap().kind == kind);
            Ok(())
        })
        .unwrap();
    count
}

/// Every run was migrated once, every original is there, and all of it stands.
fn check_migrated_once(dir: &Path, originals: &BTreeMap<RunKey, Vec<u8>>) {
    let store = open(dir);
    assert_eq!(entries(&store, EntryKind::Migrated), originals.len());
    assert_eq!(entries(&store, EntryKind::Noted), 0);
    for (key, original) in originals {
        let digest = Sha256::of(original);
        let rows = store.history(key).unwrap().rows;
        assert_eq!((rows.len(), rows[0].entry.after), (2, Some(digest)), "{key}");
        assert_eq!(&store.revision(&digest).unwrap(), original, "{key}");
        assert_ne!(&manifest(dir, key), original, "{key}");
    }
    assert_eq!(failures(&store), Vec::<String>::new());
    assert!(store.log().unwrap().pending.is_empty());
}

#[test]
fn migrations_of_eight_threads_at_once_change_each_manifest_once() {
    let root = tempfile::tempdir().unwrap();
    let (dir, originals) = world(root.path(), runs());
    let start = std::sync::Barrier::new(8);
    let reports: Vec<MigrateReport> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let store = open(&dir);
                    start.wait();
                    migrate(&store).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for report in &reports {
        let found = (report.found, report.refused, report.unreadable);
        assert_eq!(found, (originals.len() as u64, 0, 0), "{reports:?}");
        assert_eq!(report.migrated + report.current, originals.len() as u64);
    }
    assert_eq!(
        reports.iter().map(|report| report.migrated).sum::<u64>(),
        originals.len() as u64,
        "{reports:?}"
    );
    check_migrated_once(&dir, &originals);
    let migrated: Vec<u64> = reports.iter().map(|report| report.migrated).collect();
    println!("8 threads migrated {migrated:?}, once each, every original recoverable");
}

#[cfg(feature = "cli")]
#[test]
fn migrations_of_four_processes_at_once_change_each_manifest_once() {
    let root = tempfile::tempdir().unwrap();
    let (dir, originals) = world(root.path(), runs());
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .arg("--store")
            .arg(&dir)
            .args(["--quiet", "--actor", "tester@test", "migrate"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
    check_migrated_once(&dir, &originals);
    println!("4 processes: {} runs migrated once each, every original recoverable", originals.len());
}

/// Runs readers in a loop beside a writer until it is done; gives how often they looked.
fn beside(readers: &[&(dyn Fn() + Sync)], write: impl FnOnce()) -> u64 {
    let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for read in readers {
            let (done, looks) = (&done, &looks);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    read();
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The readers stop even where the writer panics.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
        done.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    looks.into_inner()
}

/// What `verify` may never say while others work.
fn no_failure(dir: &Path) {
    let report = open(dir).verify(&VerifyOptions::default()).unwrap();
    let found: Vec<_> = report.failures().collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn readers_beside_a_migration_see_old_or_new_and_no_failure() {
    let root = tempfile::tempdir().unwrap();
    let (dir, originals) = world(root.path(), 100);
    let operations = std::sync::Mutex::new(Vec::new());
    let keys: Vec<RunKey> = originals.keys().cloned().collect();
    let turn = AtomicU64::new(0);
    let next = || &keys[turn.fetch_add(7, Ordering::Relaxed) as usize % keys.len()];
    let show = || {
        let (store, key) = (open(&dir), next());
        let bytes = store.manifest_bytes(key).unwrap();
        let history = store.history(key).unwrap();
        let revisions: Vec<Sha256> = history.rows.iter().filter_map(|row| row.entry.after).collect();
        // A view taken later has at least what was shown before.
        assert!(revisions.contains(&Sha256::of(&bytes)), "{key}");
        assert!(
            revisions.contains(&history.on_disk.unwrap())
                || open(&dir).history(key).unwrap().rows.len() > revisions.len()
        );
        let shown = store.show_as(key, "1.2.0").unwrap();
        assert!(String::from_utf8(shown).unwrap().contains("\"schema_version\": \"1.2.0\""));
    };
    let list = || {
        let rows = open(&dir).list(&ListFilter::default()).unwrap();
        assert_eq!(rows.len(), keys.len());
        assert!(rows.iter().all(|row| row.problem.is_none() && row.version.is_some()), "{rows:?}");
        assert_eq!(open(&dir).versions().unwrap().unreadable, []);
    };
    let verify = || no_failure(&dir);
    let looks = beside(&[&show, &list, &verify], || {
        for _ in 0..2 {
            let report = migrate(&open(&dir)).unwrap();
            assert_eq!((report.migrated, report.refused, report.unreadable), (100, 0, 0));
            let operation = report.operation.unwrap();
            let report = open(&dir).rollback_operation(&operation).unwrap();
            assert!(report.runs.iter().all(|(_, done)| matches!(done, RolledBack::Done { .. })));
            operations.lock().unwrap().push(operation);
        }
    });
    assert_eq!(manifests(&open(&dir)), originals);
    assert_eq!(failures(&open(&dir)), Vec::<String>::new());
    println!("{looks} looks beside 2 migrations and 2 rollbacks of 100 runs");
}

fn options(root: &Path, job: &str, n: usize) -> RecordOptions<'static> {
    RecordOptions {
        job: job.parse().unwrap(),
        inputs: vec![Given { name: "brief".into(), path: root.join(format!("in/{n}.json")) }],
        outputs: vec![root.join("out")],
        command: None,
        job_ref: String::new(),
        job_type: None,
        streams: &Silent,
    }
}

#[test]
fn recordings_of_different_runs_at_once_all_come_in_and_verify_never_fails() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    init(&dir);
    write(root.path().join("out/a.txt"), "a\n");
    for n in 0..16 {
        write(root.path().join(format!("in/{n}.json")), &format!("{{\"n\": {n}}}\n"));
    }
    let verify = || no_failure(&dir);
    let looks = beside(&[&verify], || {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (dir, root) = (&dir, root.path());
                scope.spawn(move || {
                    for n in 0..4 {
                        let options = options(root, "job", thread * 4 + n);
                        let recorded = open(dir).record(&options).unwrap();
                        assert_eq!(recorded.answered, RecordedAs::New);
                    }
                });
            }
        });
    });
    let store = open(&dir);
    assert_eq!(store.all_runs().unwrap().len(), 16);
    assert_eq!(entries(&store, EntryKind::Recorded), 16);
    assert_eq!(failures(&store), Vec::<String>::new());
    println!("{looks} checks beside 16 recordings");
}

#[test]
fn recordings_of_the_same_run_at_once_converge_on_one_and_none_fails() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    init(&dir);
    write(root.path().join("out/a.txt"), "a\n");
    write(root.path().join("in/0.json"), "{}\n");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let (dir, root) = (&dir, root.path());
        let record = move || open(dir).record(&options(root, "job", 0)).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(record)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.answered == RecordedAs::New).count(), 1);
    assert!(answers.iter().all(|answer| answer.key == answers[0].key));
    assert_eq!(entries(&open(&dir), EntryKind::Recorded), 1);
    assert_eq!(failures(&open(&dir)), Vec::<String>::new());
}

#[test]
fn rollbacks_beside_migrations_leave_each_run_at_one_of_its_revisions() {
    let root = tempfile::tempdir().unwrap();
    let (dir, originals) = world(root.path(), 16);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let report = migrate(&open(&dir)).unwrap();
                    // A run that was rolled back between plan and commit is refused as changed, no more.
                    assert_eq!((report.found, report.unreadable), (16, 0));
                }
            });
        }
        for half in 0..2 {
            let (dir, originals) = (&dir, &originals);
            scope.spawn(move || {
                for _ in 0..2 {
                    for (key, original) in originals.iter().skip(half).step_by(2) {
                        let report = open(dir).rollback(key, &Sha256::of(original)).unwrap();
                        assert!(!matches!(&report.runs[0].1, RolledBack::Left(why) if !why.contains("changed meanwhile")));
                    }
                }
            });
        }
    });
    let store = open(&dir);
    assert_eq!(failures(&store), Vec::<String>::new());
    for (key, original) in &originals {
        let rows = store.history(key).unwrap().rows;
        let last = rows.last().unwrap().entry.after.unwrap();
        assert_eq!(Sha256::of(&manifest(&dir, key)), last, "{key}");
        for row in &rows {
            store.revision(&row.entry.after.unwrap()).unwrap();
        }
        assert_eq!(&store.revision(&Sha256::of(original)).unwrap(), original);
    }
    let rolled = entries(&store, EntryKind::RolledBack);
    println!("{} migrated, {rolled} rolled back", entries(&store, EntryKind::Migrated));
    assert!(rolled > 0);
}

#[test]
fn proofs_beside_writers_are_all_given_and_hold() {
    let root = tempfile::tempdir().unwrap();
    let (dir, _) = world(root.path(), 3);
    let store = open(&dir);
    let key = root.path().join("key");
    let pinned = [store.new_key(&key).unwrap()];
    let signer = Signer::read(&key, root.path().join("memory")).unwrap();
    store.publish(std::slice::from_ref(&signer)).unwrap();
    let run = store.all_runs().unwrap().remove(0);
    let (stop, proved) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each settles another partial tile and bundle and removes the one that a proof was about to
            // read.
            for n in 0..60u32 {
                store.note(&[n.to_string().into_bytes()]).unwrap();
                if n % 7 == 0 {
                    store.review(std::slice::from_ref(&run), Review::Accepted).unwrap();
                    store.publish(std::slice::from_ref(&signer)).unwrap();
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = open(&dir);
                while !stop.load(Ordering::Relaxed) {
                    let size = reader.checkpoint().unwrap().unwrap().body.size;
                    let proof = reader.prove(size - 1).unwrap();
                    assert!(proof.check(&pinned).unwrap().size >= size);
                    assert!(reader.prove_run(&run).unwrap().check(&pinned).is_ok());
                    proved.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(proved.into_inner() > 0);
    assert_eq!(failures(&open(&dir)), Vec::<String>::new());
}

/// Publishes whenever it may, and tells of how many entries.
struct Publishing(Signer, std::sync::Mutex<Vec<u64>>);

impl strongroom::store::Progress for Publishing {
    fn committed(&self, store: &Store) -> Result<(), strongroom::store::StoreError> {
        let size = store.publish(std::slice::from_ref(&self.0))?.body.size;
        self.1.lock().unwrap().push(size);
        Ok(())
    }
}

#[test]
fn long_operation_can_publish_between_its_batches() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let key = root.path().join("key");
    let pinned = init(&dir).new_key(&key).unwrap();
    // More than one batch of `adopt` has.
    for n in 0..520 {
        write(root.path().join(format!("old/artifacts/job/run-{n}/manifest.json")), "{\"job_id\": \"job\"}");
    }
    let signer = Signer::read(&key, root.path().join("memory")).unwrap();
    let publishing = std::sync::Arc::new(Publishing(signer, std::sync::Mutex::default()));
    let context =
        strongroom::store::Context { progress: publishing.clone(), ..crate::fixture::context(None) };
    let store = Store::open(&dir, context).unwrap();
    crate::fixture::adopt(&store, &root.path().join("old/artifacts"));
    let sizes = publishing.1.lock().unwrap().clone();
    assert!(sizes.len() == 2 && sizes[0] > 512 && sizes[0] < sizes[1], "{sizes:?}");
    let ask = VerifyOptions { keys: vec![pinned], strict: true, ..VerifyOptions::default() };
    assert_eq!(store.verify(&ask).unwrap().failures().count(), 0);
}
