//! The index brought up to date against one built from nothing: after records, adoptions, migrations,
//! rollbacks and edits by hand both hold the same rows, and what looks as it did is not read again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use strongroom::backend::{Call, Errno, Hook, Verdict};
use strongroom::base::clock::{Clock, Moment};
use strongroom::base::id::{OperationId, RunKey};
use strongroom::store::{Context, Given, MigrateOptions, RecordOptions, Selection, Store, Streams};

use crate::fixture::{
    TestClock, adopt, context, init, kill_while_the_index_is_written, run_with_snapshots, write,
};

/// A clock so far ahead that no file changed shortly before now: every manifest read is remembered.
struct Ahead(TestClock);

impl Clock for Ahead {
    fn now(&self) -> Moment {
        Moment::from_millis(self.0.now().millis() + 100 * 365 * 86_400_000)
    }

    fn random(&self) -> [u8; 16] {
        self.0.random()
    }
}

struct Silent;
impl Streams for Silent {}

struct World {
    root: tempfile::TempDir,
    store: Store,
    operation: Option<OperationId>,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        init(&root.path().join("store"));
        let context = Context { clock: Arc::new(Ahead(TestClock::new())), ..context(None) };
        let store = Store::open(&root.path().join("store"), context).unwrap();
        write(root.path().join("out/a.txt"), "a\n");
        Self { root, store, operation: None }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join("store").join(path)
    }

    fn adopt(&self, topic: &str, version: &str) -> RunKey {
        let tree = self.root.path().join("old").join(topic);
        let run = run_with_snapshots(&tree, "job-a", version, topic);
        adopt(&self.store, &tree);
        format!("job-a/{run}").split_once('/').map(|(job, run)| key(job, run)).unwrap()
    }

    fn manifest(&self, key: &RunKey) -> PathBuf {
        self.path(&format!("artifacts/{key}/manifest.json"))
    }

    /// Every row of every table but the marks.
    fn dump(&self) -> Vec<String> {
        let db = rusqlite::Connection::open(self.path("index.sqlite")).unwrap();
        let list = |sql: &str| -> Vec<Vec<rusqlite::types::Value>> {
            let mut statement = db.prepare(sql).unwrap();
            let width = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| (0..width).map(|n| row.get(n)).collect();
            statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let mut out = Vec::new();
        for table in list("SELECT name, sql FROM sqlite_schema WHERE name <> 'marks' ORDER BY name") {
            out.push(format!("{table:?}"));
            let rusqlite::types::Value::Text(name) = &table[0] else { panic!("{table:?}") };
            if matches!(&table[1], rusqlite::types::Value::Text(sql) if sql.starts_with("CREATE TABLE")) {
                // The counter of writes is about the file, not about what it says.
                let rows =
                    list(&format!("SELECT * FROM {name}")).into_iter().map(|row| format!("{name} {row:?}"));
                out.extend(rows.filter(|row| !row.contains("Text(\"writes\")")));
            }
        }
        out.sort();
        out
    }

    /// Brings the index up to date, builds another from nothing and holds them together; the first goes on.
    fn compare(&self) -> Result<(), TestCaseError> {
        let read = self.store.reindex().unwrap().read;
        prop_assert!(read.is_some(), "so few rows are brought up to date");
        let (index, kept) = (self.path("index.sqlite"), self.path("kept.sqlite"));
        let up_to_date = self.dump();
        fs::copy(&index, &kept).unwrap();
        prop_assert_eq!(self.store.reindex_anew().unwrap().read, None);
        let anew = self.dump();
        fs::rename(&kept, &index).unwrap();
        prop_assert_eq!(up_to_date, anew);
        prop_assert_eq!(
            self.store.reindex().unwrap().read,
            Some(self.unreadable()),
            "nothing else is read again"
        );
        Ok(())
    }

    /// Manifests that are no rows, which are looked into each time.
    fn unreadable(&self) -> u64 {
        let sql = "SELECT count(*) FROM runs WHERE first_entry NOT IN (SELECT first_entry FROM run_index)";
        let db = rusqlite::Connection::open(self.path("index.sqlite")).unwrap();
        let count: i64 = db.query_row(sql, [], |row| row.get(0)).unwrap();
        u64::try_from(count).unwrap()
    }

    fn runs(&self) -> Vec<RunKey> {
        self.store.all_runs().unwrap()
    }
}

fn key(job: &str, run: &str) -> RunKey {
    RunKey { job: job.parse().unwrap(), run: run.parse().unwrap() }
}

/// Longer than the kernel's clock for files takes from one tick to the next.
fn tick() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

#[derive(Debug, Clone)]
enum Step {
    Record { input: u8 },
    Adopt { topic: u8 },
    Migrate { halfway: bool },
    MigrateOne { run: usize },
    RollBackOperation,
    Restore { run: usize },
    Edit { run: usize, what: Edit },
    Reindex,
    ReindexAnew,
    Compare,
}

#[derive(Debug, Clone, Copy)]
enum Edit {
    /// Other bytes of the same length, in place.
    InPlace,
    /// Another file under the name.
    Replaced,
    NotJson,
    Removed,
    RunRemoved,
    LinkInItsPlace,
    /// A run that the log does not have.
    Unknown,
    UnknownRemoved,
}

fn step() -> impl Strategy<Value = Step> {
    let edit = prop_oneof![
        Just(Edit::InPlace),
        Just(Edit::Replaced),
        Just(Edit::NotJson),
        Just(Edit::Removed),
        Just(Edit::RunRemoved),
        Just(Edit::LinkInItsPlace),
        Just(Edit::Unknown),
        Just(Edit::UnknownRemoved),
    ];
    prop_oneof![
        2 => (0..5u8).prop_map(|input| Step::Record { input }),
        3 => (0..6u8).prop_map(|topic| Step::Adopt { topic }),
        2 => any::<bool>().prop_map(|halfway| Step::Migrate { halfway }),
        2 => any::<usize>().prop_map(|run| Step::MigrateOne { run }),
        1 => Just(Step::RollBackOperation),
        1 => any::<usize>().prop_map(|run| Step::Restore { run }),
        5 => (any::<usize>(), edit).prop_map(|(run, what)| Step::Edit { run, what }),
        2 => Just(Step::Reindex),
        1 => Just(Step::ReindexAnew),
        3 => Just(Step::Compare),
    ]
}

impl World {
    /// What a command says of an edited run does not matter here.
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let runs = self.runs();
        let pick = |n: usize| (!runs.is_empty()).then(|| runs[n % runs.len()].clone());
        match step {
            Step::Record { input } => drop(self.record(*input)),
            Step::Adopt { topic } => {
                let version = if topic.is_multiple_of(3) { "1.2.0" } else { "1.1.0" };
                let tree = self.root.path().join(format!("old/{topic}"));
                run_with_snapshots(&tree, "job-a", version, &topic.to_string());
                let _ = crate::fixture::try_adopt(&self.store, &tree);
            }
            Step::Migrate { halfway } => {
                let to = halfway.then(|| "1.1.0".to_owned());
                self.migrate(MigrateOptions { to, ..MigrateOptions::default() });
            }
            Step::MigrateOne { run } => {
                if let Some(key) = pick(*run) {
                    let selection = Selection::Runs(vec![key]);
                    self.migrate(MigrateOptions { selection, ..MigrateOptions::default() });
                }
            }
            Step::RollBackOperation => {
                if let Some(operation) = &self.operation {
                    let _ = self.store.rollback_operation(operation);
                }
            }
            Step::Restore { run } => {
                if let Some(key) = pick(*run) {
                    let _ = self.store.restore(&key, None);
                }
            }
            Step::Edit { run, what } => {
                if let Some(key) = pick(*run) {
                    self.edit(&key, *what);
                }
            }
            Step::Reindex => drop(self.store.reindex().unwrap()),
            Step::ReindexAnew => drop(self.store.reindex_anew().unwrap()),
            Step::Compare => self.compare()?,
        }
        Ok(())
    }

    fn record(&self, input: u8) -> Option<RunKey> {
        let path = self.root.path().join(format!("in/{input}.json"));
        write(path.clone(), &format!("{{\"n\": {input}}}\n"));
        let options = RecordOptions {
            job: "job-r".parse().unwrap(),
            inputs: vec![Given { name: "brief".into(), path }],
            outputs: vec![self.root.path().join("out")],
            command: None,
            job_ref: String::new(),
            job_type: None,
            streams: &Silent,
        };
        self.store.record(&options).ok().map(|recorded| recorded.key)
    }

    fn migrate(&mut self, options: MigrateOptions) {
        if let Ok(report) = self.store.migrate(&options, &mut |_| {}) {
            self.operation = report.operation.or(self.operation);
        }
    }

    fn edit(&self, key: &RunKey, what: Edit) {
        tick();
        let manifest = self.manifest(key);
        let dir = manifest.parent().unwrap().to_owned();
        if !dir.is_dir() {
            return;
        }
        let unknown = self.path("artifacts/job-a/00000000000000000000000000000000");
        match what {
            Edit::InPlace => {
                if let Ok(text) = fs::read_to_string(&manifest) {
                    fs::write(&manifest, text.replace("succeeded", "succeedde")).unwrap();
                }
            }
            Edit::Replaced => {
                fs::write(dir.with_extension("new"), "{\"status\": \"new\"}").unwrap();
                fs::rename(dir.with_extension("new"), &manifest).unwrap();
            }
            Edit::NotJson => {
                let _ = fs::remove_file(&manifest);
                fs::write(&manifest, "{\"status\": \"a\", \"status\": \"b\"}").unwrap();
            }
            Edit::Removed => drop(fs::remove_file(&manifest)),
            Edit::RunRemoved => fs::remove_dir_all(&dir).unwrap(),
            Edit::LinkInItsPlace => {
                let _ = fs::remove_file(&manifest);
                std::os::unix::fs::symlink("../elsewhere", &manifest).unwrap();
            }
            Edit::Unknown => fs::create_dir_all(&unknown).unwrap(),
            Edit::UnknownRemoved => drop(fs::remove_dir(&unknown)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn prop_index_brought_up_to_date_is_the_one_built_from_nothing(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step)?;
        }
        world.compare()?;
    }
}

#[test]
fn reindex_reads_only_the_manifests_that_look_otherwise() {
    let world = World::new();
    let keys: Vec<RunKey> = (0..5).map(|n| world.adopt(&n.to_string(), "1.1.0")).collect();
    let read = || world.store.reindex().unwrap().read;
    assert_eq!(read(), Some(0), "adopting read them all");
    tick();
    let edit = |n: usize| {
        let text = fs::read_to_string(world.manifest(&keys[n])).unwrap();
        fs::write(world.manifest(&keys[n]), text.replace("succeeded", "succeedde")).unwrap();
    };
    edit(0);
    edit(3);
    assert_eq!(read(), Some(2));
    assert_eq!(read(), Some(0));
    let odd = world.store.query("SELECT count(*) FROM run_index WHERE status = 'succeedde'").unwrap();
    assert_eq!(format!("{:?}", odd.rows), "[[Integer(2)]]");
    // A copy of the same bytes is another file, and so is one that was there before.
    let manifest = world.manifest(&keys[1]);
    fs::copy(&manifest, manifest.with_extension("copy")).unwrap();
    fs::rename(manifest.with_extension("copy"), &manifest).unwrap();
    assert_eq!(read(), Some(1));
    assert_eq!(world.store.reindex_anew().unwrap().read, None);
    assert_eq!(read(), Some(0), "building it from nothing read them all");
}

#[test]
fn manifest_read_soon_after_it_changed_is_read_again() {
    let world = World::new();
    (0..3).for_each(|n| drop(world.adopt(&n.to_string(), "1.1.0")));
    // By this clock the files changed later than the reading began.
    let store = crate::fixture::open(&world.path(""));
    store.reindex_anew().unwrap();
    assert_eq!(store.reindex().unwrap().read, Some(3));
    assert_eq!(store.reindex().unwrap().read, Some(3));
    assert_eq!(world.store.reindex().unwrap().read, Some(3));
    assert_eq!(world.store.reindex().unwrap().read, Some(0));
}

#[test]
fn index_of_others_is_built_from_nothing() {
    let world = World::new();
    world.adopt("a", "1.1.0");
    let index = world.path("index.sqlite");
    let read = || world.store.reindex().unwrap().read;
    let edits: [(&str, &dyn Fn()); 3] = [
        ("missing", &|| fs::remove_file(&index).unwrap()),
        ("no index", &|| fs::write(&index, "rubbish").unwrap()),
        ("of another version", &|| sql(&index, "UPDATE meta SET value = 3 WHERE name = 'tables'")),
    ];
    for (what, edit) in edits {
        assert_eq!(read(), Some(0), "before: {what}");
        edit();
        assert_eq!(read(), None, "{what}");
    }
    // Rows that somebody wrote are believed where nothing is to be read, and go when it is made anew.
    assert_eq!(read(), Some(0));
    let failed = || world.store.query("SELECT count(*) FROM run_index WHERE status = 'failed'").unwrap().rows;
    sql(&index, "UPDATE run_index SET status = 'failed'");
    assert_eq!(read(), Some(0));
    assert_ne!(format!("{:?}", failed()), "[[Integer(0)]]");
    assert_eq!(world.store.reindex_anew().unwrap().read, None);
    assert_eq!(format!("{:?}", failed()), "[[Integer(0)]]");
    // One that is behind on another log: the same store, put back as it was and gone on otherwise.
    let (early, store) = (world.root.path().join("early"), world.path(""));
    crate::fixture::copy(&store, &early);
    world.adopt("b", "1.1.0");
    fs::copy(&index, early.join("index.sqlite")).unwrap();
    let other = crate::fixture::open(&early);
    let tree = world.root.path().join("other");
    (0..2).for_each(|n| drop(run_with_snapshots(&tree, "job-c", "1.2.0", &n.to_string())));
    adopt(&other, &tree);
    let runs = other.query("SELECT count(*) FROM runs").unwrap();
    assert_eq!(format!("{:?}", runs.rows), "[[Integer(3)]]");
    assert_eq!(other.query("SELECT count(*) FROM runs WHERE job_id = 'job-c'").unwrap().rows.len(), 1);
}

/// A command that goes on from the index meets the planted row where its own entry is to go.
#[test]
fn index_with_a_row_of_an_entry_that_the_log_does_not_have_is_made_anew() {
    let world = World::new();
    world.adopt("a", "1.1.0");
    let index = world.path("index.sqlite");
    let rows = |what: &str| format!("{:?}", world.store.query(what).unwrap().rows);
    assert_eq!(rows("SELECT max(entry) FROM entries"), "[[Integer(1)]]");
    sql(&index, "INSERT INTO entries VALUES (2,'planted','',NULL,NULL,NULL,'',1,NULL,NULL,'',NULL)");
    world.adopt("b", "1.1.0");
    assert_eq!(rows("SELECT count(*) FROM entries WHERE kind = 'planted'"), "[[Integer(0)]]");
    assert_eq!(rows("SELECT count(*) FROM run_index"), "[[Integer(2)]]");
    assert_eq!(world.store.reindex().unwrap().read, Some(0), "it is up to date");
    assert_eq!(world.dump(), {
        world.store.reindex_anew().unwrap();
        world.dump()
    });
}

fn sql(index: &std::path::Path, sql: &str) {
    rusqlite::Connection::open(index).unwrap().execute_batch(sql).unwrap();
}

/// Fails every flush of the store's own folder.
struct NoFlush;

impl Hook for NoFlush {
    fn call(&self, call: &Call<'_>) -> Verdict {
        match call.name == "fsync_dir" && call.path.is_empty() {
            true => Verdict::Fail(Errno::IO),
            false => Verdict::Go,
        }
    }
}

/// SQLite goes on where it cannot flush the folder of its journal; an update that then loses the journal's
/// name is there torn, and nobody would see it.
#[test]
fn index_whose_journal_cannot_be_named_durably_is_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let store = init(&dir);
    let bring_in = |store: &Store, topic: &str| {
        let tree = root.path().join(topic);
        run_with_snapshots(&tree, "job-a", "1.1.0", topic);
        adopt(store, &tree);
    };
    let (index, journal) = (dir.join("index.sqlite"), dir.join("index.sqlite-journal"));
    let inode = || fs::metadata(&index).unwrap().ino();
    bring_in(&store, "one");
    assert_eq!(store.all_runs().unwrap().len(), 1);
    let built = inode();
    bring_in(&store, "two");
    assert_eq!(store.all_runs().unwrap().len(), 2);
    assert_eq!(inode(), built, "brought up in place");
    assert!(
        fs::read(&journal).unwrap().first().is_none_or(|first| *first == 0),
        "nothing is to be taken back"
    );
    fs::remove_file(&journal).unwrap();
    let failing = Store::open(&dir, context(Some(Arc::new(NoFlush)))).unwrap();
    bring_in(&failing, "three");
    let before = fs::read(&index).unwrap();
    assert_eq!(failing.all_runs().unwrap().len(), 3, "asked of one in memory");
    failing.reindex().unwrap_err();
    assert!(fs::read(&index).unwrap() == before, "neither changed in place");
    assert_eq!(inode(), built, "nor built anew");
    assert!(!journal.exists(), "the next one would take its name for safe");
    assert_eq!(store.all_runs().unwrap().len(), 3);
}

/// The calls on the index and its journal, and the flushes of their folder.
#[derive(Default)]
struct IndexCalls(std::sync::Mutex<Vec<String>>);

impl Hook for IndexCalls {
    fn call(&self, call: &Call<'_>) -> Verdict {
        if call.path.starts_with("index.sqlite") || call.path.is_empty() || call.path == "tmp/index.new" {
            self.0.lock().unwrap().push(format!("{} {}", call.name, call.path));
        }
        Verdict::Go
    }
}

/// A journal that takes back changes of the old index would take pages of the new one back to them.
#[test]
fn index_built_anew_beside_a_hot_journal_is_not_undone_by_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let store = init(&dir);
    run_with_snapshots(&root.path().join("old"), "job-a", "1.1.0", "one");
    adopt(&store, &root.path().join("old"));
    let runs = store.all_runs().unwrap();
    drop(store);
    kill_while_the_index_is_written(&dir);
    let calls = Arc::new(IndexCalls::default());
    let hook: Arc<dyn Hook> = Arc::<IndexCalls>::clone(&calls);
    let store = Store::open(&dir, context(Some(hook))).unwrap();
    store.reindex_anew().unwrap();
    let calls = std::mem::take(&mut *calls.0.lock().unwrap());
    let order = [
        "unlink index.sqlite",
        "fsync_dir ",
        "unlink index.sqlite-journal",
        "fsync_dir ",
        "rename tmp/index.new",
    ];
    assert!(calls.windows(5).any(|window| window == order), "{calls:?}");
    let index = rusqlite::Connection::open(dir.join("index.sqlite")).unwrap();
    assert_eq!(index.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    assert_eq!(store.all_runs().unwrap(), runs);
}
