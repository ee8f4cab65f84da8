//! Small stores and source trees for tests of the library: everything in them is made here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom::backend::Hook;
use strongroom::base::canonical;
use strongroom::base::clock::{Clock, Moment};
use strongroom::base::digest::Sha256;
use strongroom::base::id::RunKey;
use strongroom::store::{
    AdoptOptions, AdoptReport, Context, MigrateOptions, MigrateReport, Quietly, Seen, Store, StoreError,
    VerifyOptions,
};

/// A clock that goes on by one millisecond each time it is asked, and random bytes that count.
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        let tick = i64::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap();
        Moment::from_millis(1_795_000_000_000 + tick)
    }

    fn random(&self) -> [u8; 16] {
        // Distinct from other clocks of the same process and of other processes.
        let mut bytes = [0u8; 16];
        fs::File::open("/dev/urandom")
            .and_then(|mut f| std::io::Read::read_exact(&mut f, &mut bytes))
            .unwrap();
        bytes
    }
}

pub fn context(hook: Option<Arc<dyn Hook>>) -> Context {
    Context {
        clock: Arc::new(TestClock::new()),
        actor: "tester@test".to_owned(),
        reason: None,
        holder: "a test".to_owned(),
        lock_timeout: Duration::from_secs(30),
        progress: Arc::new(Quietly),
        hook,
    }
}

pub fn open(dir: &Path) -> Store {
    Store::open(dir, context(None)).unwrap()
}

pub fn init(dir: &Path) -> Store {
    Store::init(dir, None, context(None)).unwrap()
}

pub fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A run at 1.0.0: no job id but in its brief, no snapshots.
pub fn run_100(artifacts: &Path, run: &str) {
    let dir = artifacts.join("runs").join(run);
    write(dir.join("inputs/brief.yaml"), "schema_version: \"1.0.0\"\njob_id: \"job-a\"\nbrand: \"B\"\n");
    write(dir.join("outputs/text.md"), "hello\n");
    let sha256 = Sha256::of(b"hello\n");
    write(
        dir.join("manifest.json"),
        &format!(
            r#"{{
  "schema_version": "1.0.0",
  "run_id": "{run}",
  "job_ref": "jobs/job-a/brief.yaml",
  "job_type": "copy",
  "status": "succeeded",
  "generation_hash": null,
  "artifacts": {{
    "outputs/text.md": {{
      "sha256": "{sha256}",
      "bytes": 6
    }}
  }},
  "meta": {{"odd": 1.10e2, "unknown": "kept \u00e9"}},
  "error": null
}}"#
        ),
    );
}

/// A run with snapshots at 1.1.0 or 1.2.0; gives its id.
pub fn run_with_snapshots(artifacts: &Path, job: &str, version: &str, topic: &str) -> String {
    let brief = format!("{{\n  \"topic\": \"{topic}\"\n}}\n");
    let digest = Sha256::of(brief.as_bytes());
    let hash = canonical::inputs_hash([("brief", &digest)]);
    let run = hash.hex()[..32].to_owned();
    let dir = artifacts.join(job).join(&run);
    write(dir.join("inputs/brief.resolved.json"), &brief);
    let chain = if version == "1.2.0" {
        "\n  \"chain_metadata\": {\"is_chainable_stage\": false, \"prior_stages\": []},"
    } else {
        ""
    };
    write(
        dir.join("manifest.json"),
        &format!(
            r#"{{
  "artifacts": {{}},{chain}
  "error": null,
  "input_snapshots": {{
    "brief": {{"bytes": {}, "path": "inputs/brief.resolved.json", "sha256": "{digest}"}}
  }},
  "inputs_hash": "{hash}",
  "job_id": "{job}",
  "job_ref": "jobs/{job}/brief.yaml",
  "job_type": "copy",
  "meta": {{}},
  "migration_history": [],
  "run_id": "{run}",
  "schema_version": "{version}",
  "status": "succeeded"
}}
"#,
            brief.len()
        ),
    );
    run
}

/// A source tree of three runs: one of each version.
pub fn source(root: &Path) -> PathBuf {
    let artifacts = root.join("artifacts");
    run_100(&artifacts, "575fc3b9-1d70-42de-a69c-c377ffce9d2f");
    run_with_snapshots(&artifacts, "job-b", "1.1.0", "moon");
    run_with_snapshots(&artifacts, "job-b", "1.2.0", "sun");
    artifacts
}

/// How many runs came in, were there already, were refused; what was skipped.
pub fn adopt(store: &Store, source: &Path) -> (u64, u64, u64, u64) {
    counts(&try_adopt(store, source).unwrap().0)
}

pub fn counts(report: &AdoptReport) -> (u64, u64, u64, u64) {
    (report.adopted, report.already, report.refused, report.skipped)
}

/// Adopts; gives what became of each place too.
pub fn try_adopt(store: &Store, source: &Path) -> Result<(AdoptReport, Vec<Seen>), StoreError> {
    try_adopt_as(store, source, &AdoptOptions::default())
}

pub fn try_adopt_as(
    store: &Store,
    source: &Path,
    options: &AdoptOptions,
) -> Result<(AdoptReport, Vec<Seen>), StoreError> {
    let mut rows = Vec::new();
    let report = store.adopt(source, options, &mut |seen, so_far| {
        rows.push(seen);
        let counts = counts(so_far);
        assert_eq!(rows.len() as u64, counts.0 + counts.1 + counts.2 + counts.3);
    })?;
    Ok((report, rows))
}

pub fn migrate(store: &Store) -> Result<MigrateReport, StoreError> {
    store.migrate(&MigrateOptions::default(), &mut |_| {})
}

/// The findings that make verification fail, as `code place`.
pub fn failures(store: &Store) -> Vec<String> {
    let report = store.verify(&VerifyOptions::default()).unwrap();
    report
        .failures()
        .map(|f| {
            let run = f.run.as_ref().map(RunKey::to_string).unwrap_or_default();
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{} {run} {} ({} / {})", f.code, part(&f.path), part(&f.expected), part(&f.found))
        })
        .collect()
}

/// Every file below a folder with its bytes; folders end in a slash.
pub fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, below: &str, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                out.insert(format!("{name}/"), Vec::new());
                walk(&entry.path(), &format!("{name}/"), out);
            } else if entry.file_type().unwrap().is_file() {
                out.insert(name, fs::read(entry.path()).unwrap());
            } else {
                out.insert(name, b"special".to_vec());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(dir, "", &mut out);
    out
}

/// Copies a store folder for a trial.
pub fn copy(from: &Path, to: &Path) {
    for (name, bytes) in snapshot(from) {
        match name.strip_suffix('/') {
            Some(folder) => fs::create_dir_all(to.join(folder)).unwrap(),
            None => {
                let path = to.join(&name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, bytes).unwrap();
                let mode = fs::metadata(from.join(&name)).unwrap().permissions();
                fs::set_permissions(&path, mode).unwrap();
            }
        }
    }
}

/// Leaves at a store's index what a killed writer leaves: some of its pages, and the journal to take them back.
pub fn kill_while_the_index_is_written(store: &Path) {
    let paths = ["index.sqlite", "index.sqlite-journal"].map(|name| store.join(name));
    let writer = rusqlite::Connection::open(&paths[0]).unwrap();
    writer.execute_batch("PRAGMA cache_size = 1; BEGIN; DELETE FROM runs; CREATE TABLE bulk (b);").unwrap();
    for _ in 0..50 {
        writer.execute_batch("INSERT INTO bulk VALUES (randomblob(9000))").unwrap();
    }
    let left = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    drop(writer);
    for (path, bytes) in paths.iter().zip(left) {
        std::fs::write(path, bytes).unwrap();
    }
}
