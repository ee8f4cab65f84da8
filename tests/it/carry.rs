//! Documents outside the store: every byte that a migration does not declare stays, every change is
//! in the log and can be taken back, and a process may be killed at any call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use strongroom::backend::{Call, Errno, Hook, Verdict as HookVerdict};
use strongroom::carrier::{AggregateOptions, Counts, Member, Place};
use strongroom::schema::Pack;
use strongroom::store::carry::{self, CarryOptions, CarryReport, DocumentRow};
use strongroom::store::{PackFiles, Quietly, RolledBack, Store, StoreError, VerifyOptions};

use crate::fixture::{self, context, failures, open};

const PACK: &str = r#"
[pack]
name = "notes"
version = "1.0.0"
version_at = "/v"
unlabelled = ["null"]
head = "2"
order = "graph"

[[shape]]
version = "1"
schema = "any.json"

[[shape]]
version = "2"
schema = "two.json"

[[legacy]]
rule = "no-label"
version = "1"
when = [{ absent_or_empty = "/v" }]

[[foreign]]
kind = "a memo"
when = [{ present = "/memo" }]

[[derived]]
path = "/rate"
formula = "old-rate"
version = "1"

[[derived]]
path = "/rate"
formula = "new-rate"
version = "2"

[[deprecated]]
path = "/old"
since = "1"
use = "/new"

[carrier.sqlite]
table = "notes"
key = "id"

[[carrier.sqlite.column]]
name = "v"
declaration = "TEXT DEFAULT '1'"

[[migration]]
from = "1"
to = "2"

[[migration.step]]
op = "require"
path = "/n"
that = [{ present = "/n" }, { at = "/n", differs_json = "null" }]
text = "n is missing"

[[migration.step]]
op = "default"
path = "/done"
json = "1"
also_null = true
"#;

pub fn pack() -> Pack {
    Pack::parse(&pack_files()).unwrap()
}

fn pack_files() -> PackFiles {
    BTreeMap::from([
        ("pack.toml".to_owned(), PACK.as_bytes().to_vec()),
        (
            "any.json".to_owned(),
            br#"{"type": "object", "properties": {"n": {}, "v": {}, "done": {}, "rate": {}}}"#.to_vec(),
        ),
        ("two.json".to_owned(), br#"{"type": "object", "required": ["n", "done"]}"#.to_vec()),
    ])
}

/// Lines of every kind that a file can have.
const LINES: &str = "\u{feff}{\"n\": 1.50, \"t\": \"\u{2028}\"}\r\n\r\n{\"n\":2,\"v\":\"2\",\"done\":0}\n{\"memo\": 1}\n\
                     {\"t\": 1}\n{\"n\": NaN}\n  {\"v\":\"1\", \"n\":1E-8}  \n{\"n\": 3";

const MIGRATED: &str = "\u{feff}{\"n\": 1.50, \"t\": \"\u{2028}\", \"v\": \"2\", \"done\": 1}\r\n\r\n{\"n\":2,\"v\":\"2\",\"done\":0}\n\
                        {\"memo\": 1}\n{\"t\": 1}\n{\"n\": NaN}\n  {\"v\":\"2\", \"n\":1E-8, \"done\":1}  \n{\"n\": 3";

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn database(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL DEFAULT 7, t TEXT,\n  \
         x REAL, done REAL);\n\
         INSERT INTO notes (n, t, x) VALUES (1, 'a', 0.1), (2, x'00ff', 1e999), (3, CAST(x'ff41' AS TEXT), -0.5);\n\
         INSERT INTO notes (id, n, t) VALUES (9007199254740993, 9007199254740993, '{\"$blob\": \"00\"}');",
    )
    .unwrap();
    db
}

fn dump(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut out: Vec<String> =
        vec![db.query_row("SELECT sql FROM sqlite_schema WHERE name = 'notes'", [], |r| r.get(0)).unwrap()];
    let columns = if out[0].contains(" v TEXT") || out[0].contains("\"v\" TEXT") { ", quote(v)" } else { "" };
    let rows = format!(
        "SELECT id, typeof(n) || quote(n) || typeof(t) || hex(t) || typeof(x) || quote(x) || typeof(done) || quote(done){} FROM notes ORDER BY id",
        columns.replace(", ", " || ")
    );
    let mut statement = db.prepare(&rows).unwrap();
    let rows =
        statement.query_map([], |r| Ok(format!("{}: {}", r.get::<_, i64>(0)?, r.get::<_, String>(1)?)));
    out.extend(rows.unwrap().map(Result::unwrap));
    assert_eq!(db.query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
    out
}

/// A folder with a carrier of each kind.
pub fn world(root: &Path) {
    write(root.join("docs/a.json"), "{\n  \"n\": 1e3,\n  \"old\": 0\n}");
    write(root.join("docs/b/lines.jsonl"), LINES);
    write(root.join("docs/b/readme.txt"), "no carrier");
    std::os::unix::fs::symlink("a.json", root.join("docs/link.json")).unwrap();
    drop(database(&root.join("docs/c.db")));
}

pub fn carry(store: &Store, root: &Path) -> Result<(CarryReport, Vec<DocumentRow>), StoreError> {
    let mut rows = Vec::new();
    let options = CarryOptions { paths: vec![root.join("docs")], to: None };
    let report = store.carry(&pack(), &options, &mut |row| rows.push(row.clone()))?;
    Ok((report, rows))
}

fn counts(found: u64, migrated: u64, current: u64) -> Counts {
    Counts { found, migrated, current, refused: 1, unreadable: 2, foreign: 1 }
}

fn text(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn carriers_of_every_kind_migrate_once_and_go_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    world(root);
    let before = dump(&root.join("docs/c.db"));
    std::fs::set_permissions(root.join("docs/a.json"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
        .unwrap();
    let store = fixture::init(&root.join("store"));

    let (report, rows) = carry(&store, root).unwrap();
    assert_eq!(report.documents.counts, counts(11, 7, 1));
    assert_eq!((report.changed, report.documents.files, report.documents.not_looked_at), (3, 3, 2));
    assert_eq!(
        text(root.join("docs/a.json")),
        "{\n  \"n\": 1e3,\n  \"old\": 0,\n  \"v\": \"2\",\n  \"done\": 1\n}"
    );
    let mode = std::fs::metadata(root.join("docs/a.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o640);
    assert_eq!(text(root.join("docs/b/lines.jsonl")), MIGRATED);
    let left: Vec<String> =
        rows.iter().filter(|r| r.verdict.reason().is_some()).map(|r| format!("{:?}", r.place)).collect();
    assert_eq!(left, ["Line(4)", "Line(5)", "Line(6)", "Line(8)"]);
    let after = dump(&root.join("docs/c.db"));
    assert!(after[0].ends_with("done REAL, \"v\" TEXT DEFAULT '1')"), "{}", after[0]);
    assert_eq!(after[1], before[1].replace("null", "real").replace("NULL", "1.0") + "'2'");
    assert_eq!(failures(&store), Vec::<String>::new());

    // A second time nothing changes, in the files or in the log.
    let size = store.log().unwrap().size();
    let (again, _) = carry(&store, root).unwrap();
    assert_eq!((again.documents.counts, again.changed, again.operation), (counts(11, 0, 8), 0, None));
    assert_eq!(store.log().unwrap().size(), size);

    let undone = store.rollback_operation(&report.operation.unwrap()).unwrap();
    assert!(undone.targets.iter().all(|(_, result)| matches!(result, RolledBack::Done { .. })), "{undone:?}");
    assert_eq!(undone.targets.len(), 3);
    assert_eq!(text(root.join("docs/b/lines.jsonl")), LINES);
    assert_eq!(text(root.join("docs/a.json")), "{\n  \"n\": 1e3,\n  \"old\": 0\n}");
    assert_eq!(dump(&root.join("docs/c.db")), before);

    // And that can be undone too.
    store.rollback_operation(&undone.operation.unwrap()).unwrap();
    assert_eq!(dump(&root.join("docs/c.db")), after);
    assert_eq!(text(root.join("docs/b/lines.jsonl")), MIGRATED);
    assert_eq!(failures(&store), Vec::<String>::new());
}

#[test]
fn rollback_leaves_alone_what_changed_since() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    world(root);
    let store = fixture::init(&root.join("store"));
    let (report, _) = carry(&store, root).unwrap();
    write(root.join("docs/a.json"), "{\"mine\": 1}");
    let db = Connection::open(root.join("docs/c.db")).unwrap();
    db.execute_batch(
        "UPDATE notes SET t = 'edited' WHERE id = 2; INSERT INTO notes (n, v) VALUES (5, 'new');",
    )
    .unwrap();
    drop(db);
    let undone = store.rollback_operation(&report.operation.unwrap()).unwrap();
    let left: Vec<String> = undone
        .targets
        .iter()
        .filter(|(_, result)| matches!(result, RolledBack::Left(_)))
        .map(|(at, _)| at.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(left, ["a.json", "c.db[2]"]);
    assert_eq!(text(root.join("docs/a.json")), "{\"mine\": 1}");
    // The row that came in needs the column, so it stays, and the rows that went back hold its default.
    let rows = dump(&root.join("docs/c.db"));
    assert!(rows[1].ends_with("'1'") && rows[2].ends_with("'2'") && rows[5].ends_with("'new'"), "{rows:?}");
    assert_eq!(failures(&store), Vec::<String>::new());
}

#[test]
fn table_that_cannot_be_changed_safely_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("docs")).unwrap();
    let db = database(&root.join("docs/c.db"));
    db.execute_batch("CREATE TRIGGER tr AFTER UPDATE ON notes BEGIN DELETE FROM notes; END;").unwrap();
    let before = dump(&root.join("docs/c.db"));
    let store = fixture::init(&root.join("store"));
    let (report, rows) = carry(&store, root).unwrap();
    assert_eq!((report.documents.counts.refused, report.changed), (4, 0));
    assert!(rows[0].verdict.reason().unwrap().contains("triggers"), "{rows:?}");
    assert_eq!(dump(&root.join("docs/c.db")), before);
    drop(db);
    // Rows in the write-ahead log of a database that is in use are documents like any other.
    let db = Connection::open(root.join("docs/c.db")).unwrap();
    db.execute_batch("DROP TRIGGER tr; PRAGMA journal_mode = WAL; INSERT INTO notes (n) VALUES (6);")
        .unwrap();
    assert!(std::fs::metadata(root.join("docs/c.db-wal")).unwrap().len() > 0);
    let (report, _) = carry(&store, root).unwrap();
    assert_eq!((report.documents.counts.migrated, report.changed), (5, 1));
    assert_eq!(
        db.query_row("SELECT count(*) FROM notes WHERE v = '2'", [], |r| r.get::<_, i64>(0)).unwrap(),
        5
    );
}

#[test]
fn database_with_an_interrupted_transaction_is_told_of_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("docs")).unwrap();
    let db = database(&root.join("other.db"));
    db.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE notes SET t = 'half';").unwrap();
    let bulk = "INSERT INTO notes (t) SELECT hex(randomblob(2000)) FROM notes, notes AS b, notes AS c";
    db.execute_batch(bulk).unwrap();
    for name in ["db", "db-journal"] {
        std::fs::copy(root.join(format!("other.{name}")), root.join(format!("docs/c.{name}"))).unwrap();
    }
    let store = fixture::init(&root.join("store"));
    let (report, rows) = carry(&store, root).unwrap();
    assert_eq!((report.documents.counts.unreadable, report.changed), (1, 0));
    let why = rows[0].verdict.reason().unwrap();
    assert!(why.contains("interrupted transaction") && why.contains("sqlite3"), "{why}");
    // Opened once for writing, it is as before.
    assert!(dump(&root.join("docs/c.db"))[1].contains("text61"));
    assert_eq!(carry(&store, root).unwrap().0.documents.counts.migrated, 4);
}

fn warnings(store: &Store) -> Vec<String> {
    let report = store.verify(&VerifyOptions::default()).unwrap();
    report.findings.iter().filter(|f| !f.is_failure()).map(|f| f.code.to_string()).collect()
}

#[test]
fn bytes_before_that_are_lost_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root.join("docs/a.json"), format!("{{\"n\": 1, \"t\": \"{}\"}}", "x".repeat(300_000)));
    let store = fixture::init(&root.join("store"));
    carry(&store, root).unwrap();
    assert_eq!(failures(&store), Vec::<String>::new());
    let large = fixture::snapshot(&root.join("store/objects"));
    let (path, _) = large.iter().find(|(path, _)| !path.contains("segment") && !path.ends_with('/')).unwrap();
    std::fs::remove_file(root.join("store/objects").join(path)).unwrap();
    let found = failures(&store);
    assert!(found.len() == 1 && found[0].contains("the bytes before"), "{found:?}");
}

struct Trap {
    at: u64,
    after: bool,
    /// Whether the process goes on after the call that failed.
    goes_on: bool,
    calls: AtomicU64,
}

impl Trap {
    fn kill(at: u64, after: bool) -> Self {
        Self { at, after, goes_on: false, calls: AtomicU64::new(0) }
    }
}

impl Hook for Trap {
    fn call(&self, _: &Call<'_>) -> HookVerdict {
        let n = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match n.cmp(&self.at) {
            std::cmp::Ordering::Less => HookVerdict::Go,
            std::cmp::Ordering::Equal if self.after => HookVerdict::FailAfter(Errno::IO),
            std::cmp::Ordering::Greater if self.goes_on => HookVerdict::Go,
            _ => HookVerdict::Fail(Errno::IO),
        }
    }
}

/// Each call fails, before it is carried out and after it; the process is gone then, or goes on.
#[test]
fn migration_killed_or_failed_anywhere_is_settled_and_finished() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    world(&template);
    drop(fixture::init(&template.join("store")));
    let goal = |root: &Path| {
        (text(root.join("docs/a.json")), text(root.join("docs/b/lines.jsonl")), dump(&root.join("docs/c.db")))
    };
    let old = goal(&template);
    let mut outcomes = BTreeMap::new();
    let (mut points, mut interrupted) = (0, 0);
    for (after, goes_on) in [(false, false), (true, false), (false, true), (true, true)] {
        for at in 1.. {
            let trial = tempfile::tempdir_in(dir.path()).unwrap();
            let root = trial.path();
            fixture::copy(&template.join("docs"), &root.join("docs"));
            fixture::copy(&template.join("store"), &root.join("store"));
            let trap = Arc::new(Trap { at, after, goes_on, calls: AtomicU64::new(0) });
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let store = Store::open(&root.join("store"), context(Some(hook))).unwrap();
            let answer = carry(&store, root);
            drop(store);
            if trap.calls.load(Ordering::Relaxed) < at {
                answer.unwrap();
                break;
            }
            points += 1;
            let case = format!("failed at call {at}, after: {after}, goes on: {goes_on}");
            let store = open(&root.join("store"));
            let open_intents = warnings(&store).iter().filter(|code| *code == "W207").count();
            interrupted += u64::from(open_intents > 0);
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: left unsound");
            // Each file is the old one or the new one, whole.
            let found = goal(root);
            assert!(found.0 == old.0 || found.0.contains("\"v\": \"2\""), "{case}: {}", found.0);
            assert!([LINES, MIGRATED].contains(&found.1.as_str()), "{case}: {}", found.1);
            let (report, _) = carry(&store, root).unwrap_or_else(|error| panic!("{case}: again: {error}"));
            for settled in report.settled {
                *outcomes.entry(settled.outcome).or_insert(0) += 1;
            }
            let done = goal(root);
            assert_eq!(done.1, MIGRATED, "{case}");
            assert!(done.0.contains("\"done\": 1") && done.2[4].ends_with("'2'"), "{case}: {done:?}");
            let left: Vec<_> =
                std::fs::read_dir(root.join("docs")).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{case}: {left:?}");
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: unsound afterwards");
        }
    }
    assert!(points > 60, "{points}");
    assert!(interrupted > 0, "verify never told of an intent without an outcome");
    assert!(outcomes["applied"] > 0 && outcomes["not-applied"] > 0, "{outcomes:?}");
    assert!(!outcomes.contains_key("foreign"), "{outcomes:?}");
}

/// Fails the next flush of a folder once a call was made on a path that ends so.
struct FlushLost {
    after: (&'static str, &'static str),
    armed: AtomicBool,
}

impl FlushLost {
    fn after(call: &'static str, path: &'static str) -> Arc<dyn Hook> {
        Arc::new(Self { after: (call, path), armed: AtomicBool::new(false) })
    }
}

impl Hook for FlushLost {
    fn call(&self, call: &Call<'_>) -> HookVerdict {
        if call.name == self.after.0 && call.path.ends_with(self.after.1) {
            self.armed.store(true, Ordering::Relaxed);
        }
        match call.name == "fsync_dir" && self.armed.swap(false, Ordering::Relaxed) {
            true => HookVerdict::Fail(Errno::IO),
            false => HookVerdict::Go,
        }
    }
}

/// What a failed flush lost may look written until the power goes: a second flush that succeeds says nothing.
#[test]
fn flush_that_fails_after_a_document_was_replaced_leaves_its_intent_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root.join("docs/a.json"), "{\"n\": 1}");
    drop(fixture::init(&root.join("store")));
    let hook = FlushLost::after("exchange", "");
    let store = Store::open(&root.join("store"), context(Some(hook))).unwrap();
    carry(&store, root).unwrap_err();
    let store = open(&root.join("store"));
    assert!(warnings(&store).contains(&"W207".to_owned()), "{:?}", warnings(&store));
    let (report, _) = carry(&store, root).unwrap();
    assert_eq!(report.settled.iter().map(|settled| settled.outcome).collect::<Vec<_>>(), ["applied"]);
    assert!(text(root.join("docs/a.json")).contains("\"v\": \"2\""));
}

/// SQLite goes on without; what took back an interrupted change could then be gone.
#[test]
fn table_whose_journal_cannot_be_named_durably_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir(root.join("docs")).unwrap();
    let table = root.join("docs/c.db");
    drop(database(&table));
    drop(fixture::init(&root.join("store")));
    let before = dump(&table);
    let hook = FlushLost::after("create", "c.db-journal");
    let store = Store::open(&root.join("store"), context(Some(hook))).unwrap();
    carry(&store, root).unwrap_err();
    assert_eq!(dump(&table), before);
    assert!(!root.join("docs/c.db-journal").exists());
    let store = open(&root.join("store"));
    assert!(warnings(&store).contains(&"W207".to_owned()), "{:?}", warnings(&store));
    let (report, _) = carry(&store, root).unwrap();
    assert_eq!(report.settled.iter().map(|settled| settled.outcome).collect::<Vec<_>>(), ["not-applied"]);
    assert_ne!(dump(&table), before);
    assert!(!root.join("docs/c.db-journal").exists());
}

/// Someone edits the file between the crash and the next command.
#[test]
fn interrupted_change_of_a_file_edited_since_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root.join("docs/a.json"), "{\"n\": 1}");
    drop(fixture::init(&root.join("store")));
    let template = tempfile::tempdir().unwrap();
    fixture::copy(root, &template.path().join("all"));
    let mut foreign = 0;
    for at in 1..200 {
        let trial = tempfile::tempdir().unwrap();
        let root = trial.path().join("all");
        fixture::copy(&template.path().join("all"), &root);
        let trap = Arc::new(Trap::kill(at, true));
        let hook: Arc<dyn Hook> = trap;
        let store = Store::open(&root.join("store"), context(Some(hook))).unwrap();
        if carry(&store, &root).is_ok() {
            break;
        }
        write(root.join("docs/a.json"), "{\"n\": 1, \"mine\": true}");
        let store = open(&root.join("store"));
        let (report, _) = carry(&store, &root).unwrap();
        foreign += report.settled.iter().filter(|settled| settled.outcome == "foreign").count();
        let text = text(root.join("docs/a.json"));
        assert!(text.contains("\"mine\": true") && text.contains("\"v\": \"2\""), "call {at}: {text}");
        assert_eq!(failures(&store), Vec::<String>::new());
    }
    assert!(foreign > 0);
}

#[test]
fn documents_are_validated_listed_and_shown_without_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    world(root);
    let pack = pack();
    let paths = [root.join("docs")];
    let mut rows = Vec::new();
    let report = carry::validate(&pack, &paths, None, &Quietly, &mut |row| rows.push(row.clone())).unwrap();
    assert_eq!(
        report.counts,
        Counts { found: 11, current: 9, refused: 0, unreadable: 2, foreign: 1, migrated: 0 }
    );
    let at: Vec<String> =
        rows.iter().filter(|r| r.verdict.word() == "unreadable").map(DocumentRow::at).collect();
    assert!(at[0].ends_with("lines.jsonl:6") && at[1].ends_with("lines.jsonl:8"), "{at:?}");
    assert!(rows[0].warnings[0].contains("/old is deprecated since 1"), "{:?}", rows[0].warnings);
    let report = carry::validate(&pack, &paths, Some("2"), &Quietly, &mut |_| ()).unwrap();
    assert_eq!((report.counts.current, report.counts.refused), (1, 8));

    let spread = carry::versions(&pack, &paths, &Quietly).unwrap();
    let counted: u64 = spread.spread.rows.iter().map(|row| row.count).sum();
    assert_eq!(counted + spread.spread.unreadable.len() as u64, spread.spread.total);

    let lines = root.join("docs/b/lines.jsonl");
    let show = |place, version| carry::show(&pack, &lines, place, version);
    assert_eq!(show(Some(&Place::Line(7)), Some("2")).unwrap(), b"  {\"v\":\"2\", \"n\":1E-8, \"done\":1}  ");
    assert!(matches!(show(None, None), Err(StoreError::Input { .. })));
    assert!(matches!(show(Some(&Place::Line(2)), None), Err(StoreError::Input { .. })));
    assert!(matches!(show(Some(&Place::Line(1)), Some("9")), Err(StoreError::NoVersion(_))));
    assert_eq!(text(lines), LINES);
    let row = carry::show(&pack, &root.join("docs/c.db"), Some(&Place::Row("2".into())), None).unwrap();
    assert_eq!(
        String::from_utf8(row).unwrap(),
        "{\"id\": 2, \"n\": 2, \"t\": {\"$blob\": \"00ff\"}, \"x\": {\"$real\": \"inf\"}, \"done\": null}"
    );
}

#[test]
fn aggregate_keeps_formulas_apart_and_counts_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(
        root.join("a.jsonl"),
        "{\"n\":1,\"rate\":2}\n{\"n\":2,\"v\":\"2\",\"done\":1,\"rate\":4}\n{\"n\":3,\"v\":\"2\",\"done\":1}\n",
    );
    let report = carry::aggregate(
        &pack(),
        &[root.join("a.jsonl")],
        AggregateOptions::default(),
        &Quietly,
        &mut |_| (),
    )
    .unwrap();
    let rate: Vec<_> = report.numbers.rows.iter().filter(|row| row.field == "/rate").collect();
    assert_eq!(rate.len(), 2);
    assert!(rate.iter().all(|row| row.n == 1 && row.missing == 1 && row.versions["2"].1 == 1));
    assert_eq!(report.numbers.mixed.len(), 1);
    let by = AggregateOptions { by: Some(Member::parse("v").unwrap()), ..AggregateOptions::default() };
    let report = carry::aggregate(&pack(), &[root.join("a.jsonl")], by, &Quietly, &mut |_| ()).unwrap();
    assert!(report.numbers.mixed.is_empty());
}

/// The rollback's process is gone at each of its calls: each file is as it was or as it became, and
/// the same rollback again comes to the end.
#[test]
fn rollback_killed_anywhere_is_finished_by_the_same_command() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    world(&template);
    let old = dump(&template.join("docs/c.db"));
    let store = fixture::init(&template.join("store"));
    // The log names absolute paths, so each trial is made anew in the same place.
    let kept = dir.path().join("kept");
    let (report, _) = carry(&store, &template).unwrap();
    let operation = report.operation.unwrap();
    let migrated = dump(&template.join("docs/c.db"));
    drop(store);
    fixture::copy(&template, &kept);
    let mut points = 0;
    // Every fifth call, and between them every fifth failing afterwards.
    for after in [false, true] {
        for at in (1 + 2 * u64::from(after)..).step_by(5) {
            std::fs::remove_dir_all(&template).unwrap();
            fixture::copy(&kept, &template);
            let trap = Arc::new(Trap::kill(at, after));
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let store = Store::open(&template.join("store"), context(Some(hook))).unwrap();
            let answer = store.rollback_operation(&operation);
            drop(store);
            if trap.calls.load(Ordering::Relaxed) < at {
                answer.unwrap();
                break;
            }
            points += 1;
            let case = format!("killed at call {at}, after: {after}");
            let lines = text(template.join("docs/b/lines.jsonl"));
            assert!([LINES, MIGRATED].contains(&lines.as_str()), "{case}: {lines}");
            let rows = dump(&template.join("docs/c.db"));
            assert!(rows == old || rows == migrated, "{case}: {rows:?}");
            let store = open(&template.join("store"));
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: left unsound");
            let again = store.rollback_operation(&operation).unwrap_or_else(|e| panic!("{case}: again: {e}"));
            assert!(
                !again.targets.iter().any(|(_, r)| matches!(r, RolledBack::Left(_))),
                "{case}: {again:?}"
            );
            assert_eq!(text(template.join("docs/b/lines.jsonl")), LINES, "{case}");
            assert!(!text(template.join("docs/a.json")).contains("done"), "{case}");
            assert_eq!(dump(&template.join("docs/c.db")), old, "{case}");
            assert_eq!(failures(&store), Vec::<String>::new(), "{case}: unsound afterwards");
        }
    }
    assert!(points > 20, "{points}");
}

#[test]
fn pack_install_killed_anywhere_is_finished_by_the_next_command() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    drop(fixture::init(&template));
    let mut installed = 0;
    for after in [false, true] {
        for at in 1.. {
            let trial = tempfile::tempdir_in(dir.path()).unwrap();
            let root = trial.path().join("store");
            fixture::copy(&template, &root);
            let trap = Arc::new(Trap::kill(at, after));
            let hook: Arc<dyn Hook> = Arc::<Trap>::clone(&trap);
            let store = Store::open(&root, context(Some(hook))).unwrap();
            let answer = store.install_pack(&pack_files());
            drop(store);
            if trap.calls.load(Ordering::Relaxed) < at {
                answer.unwrap();
                break;
            }
            let store = open(&root);
            assert_eq!(
                failures(&store),
                Vec::<String>::new(),
                "killed at call {at}, after: {after}: left unsound"
            );
            fixture::migrate(&store).unwrap();
            assert_eq!(failures(&store), Vec::<String>::new(), "killed at call {at}, after: {after}");
            installed += u64::from(!store.installed_packs().unwrap().is_empty());
        }
    }
    assert!(installed > 3, "{installed}");
}
