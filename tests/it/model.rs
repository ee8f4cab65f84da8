//! A store against a model of it: random operations, random faults in the middle of some, random
//! edits behind its back. After each step every run's manifest is one that the model allows, every
//! revision ever committed comes back by its digest, and `verify` fails only for edits not yet mended.
//!
//! `STRONGROOM_MODEL_CASES` raises the number of cases for long sweeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use strongroom::backend::{Call, Errno, Hook, Verdict};
use strongroom::base::digest::Sha256;
use strongroom::base::id::RunKey;
use strongroom::store::{
    Given, MigrateOptions, RecordOptions, Selection, Store, StoreError, Streams, VerifyOptions,
};

use crate::fixture::{context, init, run_with_snapshots, write};

struct Silent;
impl Streams for Silent {}

/// One step. Numbers pick a run, a revision or a file out of those that are there.
#[derive(Debug, Clone)]
enum Step {
    Record { input: u8, fail: bool },
    Adopt { topic: u8 },
    Migrate { halfway: bool },
    MigrateOne { run: usize },
    Rollback { run: usize, revision: usize },
    RollbackOperation,
    Edit { run: usize, what: Edit },
    Restore { run: usize },
    Reindex,
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Edit {
    Manifest,
    DeleteManifest,
    Input,
    DeleteFile,
    DeleteRun,
}

/// How the n-th call of a step fails; those after it go on.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It is not carried out, and the process is gone.
    Killed,
    /// It is carried out, and the process is gone.
    KilledAfter,
    /// It fails, and the process goes on.
    Error,
    /// It is carried out and reported as failed, and the process goes on.
    ErrorAfter,
}

struct Trap {
    at: u64,
    fault: Fault,
    calls: AtomicU64,
}

impl Hook for Trap {
    fn call(&self, _: &Call<'_>) -> Verdict {
        let n = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match (n.cmp(&self.at), self.fault) {
            (std::cmp::Ordering::Less, _) => Verdict::Go,
            (std::cmp::Ordering::Equal, Fault::Killed) => Verdict::Fail(Errno::IO),
            (std::cmp::Ordering::Equal, Fault::KilledAfter | Fault::ErrorAfter) => {
                Verdict::FailAfter(Errno::IO)
            }
            (std::cmp::Ordering::Equal, Fault::Error) => Verdict::Fail(Errno::NOSPC),
            (std::cmp::Ordering::Greater, Fault::Killed | Fault::KilledAfter) => Verdict::Fail(Errno::IO),
            (std::cmp::Ordering::Greater, _) => Verdict::Go,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let edit = prop_oneof![
        Just(Edit::Manifest),
        Just(Edit::DeleteManifest),
        Just(Edit::Input),
        Just(Edit::DeleteFile),
        Just(Edit::DeleteRun),
    ];
    prop_oneof![
        3 => (0..6u8, any::<bool>()).prop_map(|(input, fail)| Step::Record { input, fail }),
        3 => (0..6u8).prop_map(|topic| Step::Adopt { topic }),
        3 => any::<bool>().prop_map(|halfway| Step::Migrate { halfway }),
        2 => any::<usize>().prop_map(|run| Step::MigrateOne { run }),
        4 => any::<(usize, usize)>().prop_map(|(run, revision)| Step::Rollback { run, revision }),
        1 => Just(Step::RollbackOperation),
        2 => (any::<usize>(), edit).prop_map(|(run, what)| Step::Edit { run, what }),
        2 => any::<usize>().prop_map(|run| Step::Restore { run }),
        1 => Just(Step::Reindex),
        1 => Just(Step::Reopen),
    ]
}

fn fault() -> impl Strategy<Value = Option<(u64, Fault)>> {
    let fault = prop_oneof![
        Just(Fault::Killed),
        Just(Fault::KilledAfter),
        Just(Fault::Error),
        Just(Fault::ErrorAfter),
    ];
    prop::option::weighted(0.4, (1..90u64, fault))
}

/// What is known of one run.
#[derive(Debug, Default)]
struct Known {
    /// Every revision that was ever committed.
    revisions: BTreeMap<Sha256, Vec<u8>>,
    /// Whether it was edited behind the store's back and not mended since.
    edited: bool,
}

struct World {
    root: tempfile::TempDir,
    store: Store,
    runs: BTreeMap<RunKey, Known>,
    last_migration: Option<strongroom::base::id::OperationId>,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = init(&root.path().join("store"));
        write(root.path().join("out/a.txt"), "a\n");
        Self { root, store, runs: BTreeMap::new(), last_migration: None }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn run_dir(&self, key: &RunKey) -> PathBuf {
        self.dir().join("artifacts").join(key.to_string())
    }

    fn pick(&self, n: usize) -> Option<RunKey> {
        let known: Vec<&RunKey> = self.runs.keys().collect();
        (!known.is_empty()).then(|| known[n % known.len()].clone())
    }

    /// Carries a step out, with a fault in the middle or without one.
    fn take(&mut self, step: &Step, fault: Option<(u64, Fault)>) -> Result<(), StoreError> {
        let trap = fault.map(|(at, fault)| Arc::new(Trap { at, fault, calls: AtomicU64::new(0) }));
        let store = match trap {
            Some(trap) => {
                let hook: Arc<dyn Hook> = trap;
                Store::open(&self.dir(), context(Some(hook)))?
            }
            None => self.store.clone(),
        };
        match step {
            Step::Record { input, fail } => self.record(&store, *input, *fail),
            Step::Adopt { topic } => self.adopt(&store, *topic),
            Step::Migrate { halfway } => {
                let to = halfway.then(|| "1.1.0".to_owned());
                let options = MigrateOptions { to, batch: Some(2), ..MigrateOptions::default() };
                let report = store.migrate(&options, &mut |_| {})?;
                assert_eq!(
                    report.found,
                    report.migrated + report.current + report.refused + report.unreadable
                );
                self.last_migration = report.operation.or(self.last_migration);
                Ok(())
            }
            Step::MigrateOne { run } => {
                let Some(key) = self.pick(*run) else { return Ok(()) };
                let selection = Selection::Runs(vec![key]);
                let report =
                    store.migrate(&MigrateOptions { selection, ..MigrateOptions::default() }, &mut |_| {})?;
                assert_eq!(report.found, 1);
                self.last_migration = report.operation.or(self.last_migration);
                Ok(())
            }
            Step::Rollback { run, revision } => {
                let Some(key) = self.pick(*run) else { return Ok(()) };
                let digests: Vec<Sha256> = self.runs[&key].revisions.keys().copied().collect();
                store.rollback(&key, &digests[revision % digests.len()]).map(drop)
            }
            Step::RollbackOperation => match &self.last_migration {
                Some(operation) => store.rollback_operation(operation).map(drop),
                None => Ok(()),
            },
            Step::Edit { run, what } => {
                if let Some(key) = self.pick(*run) {
                    self.edit(&key, *what);
                }
                Ok(())
            }
            Step::Restore { run } => {
                let Some(key) = self.pick(*run) else { return Ok(()) };
                let report = store.restore(&key, None)?;
                assert_eq!(report.left, [], "{key}");
                self.runs.get_mut(&key).unwrap().edited = false;
                Ok(())
            }
            Step::Reindex => store.reindex().map(drop),
            Step::Reopen => {
                self.store = Store::open(&self.dir(), context(None))?;
                Ok(())
            }
        }
    }

    fn record(&self, store: &Store, input: u8, other: bool) -> Result<(), StoreError> {
        let path = self.root.path().join(format!("in/{input}.json"));
        write(path.clone(), &format!("{{\"n\": {input}}}\n"));
        let job = if other { "job-r" } else { "job-s" };
        let options = RecordOptions {
            job: job.parse().unwrap(),
            inputs: vec![Given { name: "brief".into(), path }],
            outputs: vec![self.root.path().join("out")],
            command: None,
            job_ref: String::new(),
            job_type: None,
            streams: &Silent,
        };
        store.record(&options).map(drop)
    }

    fn adopt(&self, store: &Store, topic: u8) -> Result<(), StoreError> {
        let tree = self.root.path().join(format!("old/{topic}"));
        let version = if topic.is_multiple_of(3) { "1.2.0" } else { "1.1.0" };
        if !tree.exists() {
            run_with_snapshots(&tree, "job-a", version, &topic.to_string());
        }
        let (report, rows) = crate::fixture::try_adopt(store, &tree)?;
        assert_eq!(report.refused, 0, "{rows:?}");
        Ok(())
    }

    fn edit(&mut self, key: &RunKey, what: Edit) {
        let dir = self.run_dir(key);
        let replace = |path: &Path, text: &str| {
            let _ = fs::remove_file(path);
            if path.parent().unwrap().exists() {
                fs::write(path, text).unwrap();
            }
        };
        let input = fs::read_dir(dir.join("inputs")).ok().and_then(|mut files| files.next());
        let input = input.map(|file| file.unwrap().path());
        match (what, input) {
            (Edit::Manifest, _) => replace(&dir.join("manifest.json"), "{\"edited\": true}"),
            (Edit::DeleteManifest, _) => drop(fs::remove_file(dir.join("manifest.json"))),
            (Edit::Input, Some(input)) => replace(&input, "edited"),
            (Edit::DeleteFile, Some(input)) => fs::remove_file(input).unwrap(),
            (Edit::Input | Edit::DeleteFile, None) => {}
            (Edit::DeleteRun, _) => drop(fs::remove_dir_all(&dir)),
        }
        self.runs.get_mut(key).unwrap().edited = true;
    }

    /// What must hold after every step, faulty or not.
    fn check(&mut self, case: &str) {
        let store = Store::open(&self.dir(), context(None)).unwrap();
        let report = store.verify(&VerifyOptions::default()).unwrap();
        for finding in report.failures() {
            let edited = finding.run.as_ref().is_some_and(|key| self.runs.get(key).is_some_and(|k| k.edited));
            assert!(edited, "{case}: {finding:?}");
        }
        // The log says which runs there are, and through which revisions each went.
        let runs = store.all_runs().unwrap();
        let mut seen = BTreeSet::new();
        for key in runs {
            let history = store.history(&key).unwrap();
            let known = self.runs.entry(key.clone()).or_default();
            let mut digests: Vec<Sha256> = history.rows.iter().filter_map(|row| row.entry.after).collect();
            let last = *digests.last().unwrap();
            for digest in &digests {
                known.revisions.entry(*digest).or_insert_with(|| store.revision(digest).unwrap());
            }
            digests.sort();
            digests.dedup();
            let ever: Vec<Sha256> = known.revisions.keys().copied().collect();
            assert_eq!(digests, ever, "{case}: {key}: a revision is gone from the log");
            for (digest, bytes) in &known.revisions {
                assert_eq!(&store.revision(digest).unwrap(), bytes, "{case}: {key} {digest}");
            }
            assert_eq!(store.manifest_bytes(&key).unwrap(), known.revisions[&last], "{case}: {key}");
            if !known.edited {
                // On the disk: the committed revision, or the one before while it is not settled.
                let on_disk = history.on_disk.unwrap();
                let before = history.rows.last().unwrap().entry.before;
                let unsettled = !store.log().unwrap().pending.is_empty();
                assert!(
                    on_disk == last || (unsettled && Some(on_disk) == before),
                    "{case}: {key}: {on_disk}"
                );
            }
            seen.insert(key);
        }
        for key in self.runs.keys() {
            assert!(seen.contains(key), "{case}: {key} is gone");
        }
    }
}

fn cases() -> u32 {
    std::env::var("STRONGROOM_MODEL_CASES").ok().map_or(24, |text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(), failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default()
    })]

    #[test]
    fn prop_store_follows_its_model_through_faults_and_edits(
        steps in prop::collection::vec((step(), fault()), 1..14),
    ) {
        let mut world = World::new();
        for (n, (step, fault)) in steps.iter().enumerate() {
            let case = format!("step {n}, {step:?} with {fault:?}");
            let edited = world.runs.values().any(|known| known.edited);
            match world.take(step, *fault) {
                Ok(()) => {}
                // A fault is answered with an error; so is an edited run that would be built on.
                Err(_) if fault.is_some() => {}
                Err(error) if edited => {
                    let kind = error.kind();
                    prop_assert!(kind == strongroom::store::ErrorKind::Damaged, "{case}: {error}");
                }
                Err(error) => prop_assert!(false, "{case}: {error}"),
            }
            world.check(&case);
        }
        // In the end the next commands finish what was left, and restoring mends every edit.
        world.store = Store::open(&world.dir(), context(None)).unwrap();
        world.store.reindex().unwrap();
        let keys: Vec<RunKey> = world.runs.keys().cloned().collect();
        for key in keys {
            prop_assert_eq!(world.store.restore(&key, None).unwrap().left, vec![]);
            world.runs.get_mut(&key).unwrap().edited = false;
        }
        world.check("at the end");
        prop_assert!(world.store.log().unwrap().pending.is_empty());
    }
}
