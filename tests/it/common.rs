//! Hermetic runs of the real program: a folder of its own, no inherited environment, a fixed actor;
//! and trees of runs as an older system leaves them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use strongroom::base::canonical;
use strongroom::base::digest::Sha256;
use tempfile::TempDir;

/// How a run of the program ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: std::process::Output) -> Self {
        let ran = Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }

    /// Insists on an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Insists that a text was said, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(said, "{text:?} is not in\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Standard output as JSON Lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A folder to work in.
pub struct Bench {
    dir: TempDir,
    here: PathBuf,
    env: Vec<(String, String)>,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        Self { dir, here, env: Vec::new() }
    }

    /// A bench with an empty store in `store`, worked on from there.
    pub fn with_store() -> Self {
        let mut bench = Self::new();
        bench.run(&["init", "store"]).exits(0);
        bench.go("store");
        bench
    }

    /// Changes the folder that programs run in.
    pub fn go(&mut self, below: &str) {
        self.here = self.top().join(below);
    }

    /// Sets a variable for programs.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The bench's own folder.
    pub fn top(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    /// A path below the folder that programs run in.
    pub fn path(&self, below: &str) -> PathBuf {
        self.here.join(below)
    }

    pub fn write(&self, below: &str, bytes: impl AsRef<[u8]>) {
        put(&self.path(below), bytes);
    }

    pub fn read(&self, below: &str) -> String {
        let path = self.path(below);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn script(&self, below: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(below, text);
        std::fs::set_permissions(self.path(below), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(["--actor", "tester@bench"]).args(args).current_dir(&self.here).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.top());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs with `--json`, insists on an exit code and parses the answer.
    #[track_caller]
    pub fn json(&self, args: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let ran = self.run(&all).exits(code);
        assert_eq!(ran.err, "", "a successful answer leaves standard error empty");
        ran.json()
    }

    /// Runs with `--json`, insists on a failure and gives its error object.
    #[track_caller]
    pub fn error(&self, args: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let ran = self.run(&all).exits(code);
        assert_eq!(ran.out, "", "a failure prints no answer");
        let error: Value = serde_json::from_str(&ran.err).unwrap_or_else(|e| panic!("{e}: {}", ran.err));
        let error = error["error"].clone();
        assert_eq!(error["exit"], code);
        assert!(error["kind"].is_string() && error["message"].is_string(), "{error}");
        assert!(error["hint"].is_string() || error["hint"].is_null(), "{error}");
        error
    }
}

/// Waits for a program that was started.
pub fn wait(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

/// Writes a file, and the folders it lies in.
pub fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Overwrites a file of a store in place, as someone with an editor would.
pub fn tamper(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {}", path.display());
    overwrite(path, text.replacen(from, to, 1));
}

/// Overwrites a read-only file in place, keeping its mode.
pub fn overwrite(path: &Path, bytes: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).unwrap().permissions();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, mode).unwrap();
}

/// Every file below a folder with its bytes, links with where they point.
pub fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                walk(&entry.path(), &format!("{name}/"), found);
            } else if kind.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                found.insert(name, target.to_string_lossy().into_owned().into_bytes());
            } else if kind.is_file() {
                found.insert(name, std::fs::read(entry.path()).unwrap());
            } else {
                found.insert(name, Vec::new());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, "", &mut found);
    found
}

/// Copies a folder tree of plain files.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// One snapshot or output as a manifest declares it.
fn declared(path: &str, text: &str) -> String {
    let (bytes, digest) = (text.len(), Sha256::of(text.as_bytes()));
    format!("{{\"path\": \"{path}\", \"sha256\": \"{digest}\", \"bytes\": {bytes}}}")
}

/// Writes a run of schema version 1.0.0, which names no job but in its brief; gives its id.
pub fn old_run(artifacts: &Path, job: &str, number: usize) -> String {
    let id = format!("0a1b2c3d-0000-4000-8000-{number:012}");
    let run = artifacts.join("runs").join(&id);
    let output = format!("result {number} of {job}\n");
    put(
        &run.join("inputs/brief.yaml"),
        format!("schema_version: \"1.0.0\"\njob_id: \"{job}\"\nnumber: {number}\n"),
    );
    put(&run.join("outputs/result.md"), &output);
    let manifest = format!(
        "{{\n  \"schema_version\": \"1.0.0\",\n  \"run_id\": \"{id}\",\n  \"job_ref\": \"jobs/{job}/brief.yaml\",\n  \
         \"job_type\": \"sample\",\n  \"status\": \"succeeded\",\n  \"artifacts\": {{\"outputs/result.md\": {}}},\n  \
         \"meta\": {{\"odd\": 1.10, \"big\": 123456789012345678901234567890, \"esc\": \"a\\/b\\u00e9\"}},\n  \
         \"error\": null\n}}",
        declared("outputs/result.md", &output)
    );
    put(&run.join("manifest.json"), manifest);
    id
}

/// Writes a run with input snapshots, in its canonical place; gives its id.
pub fn snapshot_run(artifacts: &Path, job: &str, version: &str, number: usize) -> String {
    let brief = format!("{{\"job_id\": \"{job}\", \"number\": {number}}}\n");
    let digest = Sha256::of(brief.as_bytes());
    let inputs_hash = canonical::inputs_hash([("brief", &digest)]);
    let id = inputs_hash.hex()[..32].to_owned();
    let run = artifacts.join(job).join(&id);
    put(&run.join("inputs/brief.resolved.json"), &brief);
    let chain = match version {
        "1.2.0" => "  \"chain_metadata\": {\"is_chainable_stage\": false, \"prior_stages\": []},\n",
        _ => "",
    };
    let manifest = format!(
        "{{\n  \"artifacts\": {{}},\n{chain}  \"error\": null,\n  \"input_snapshots\": {{\"brief\": {}}},\n  \
         \"inputs_hash\": \"{inputs_hash}\",\n  \"job_id\": \"{job}\",\n  \"job_ref\": \"jobs/{job}/brief.yaml\",\n  \
         \"job_type\": \"sample\",\n  \"meta\": {{}},\n  \"migration_history\": [],\n  \"run_id\": \"{id}\",\n  \
         \"schema_version\": \"{version}\",\n  \"status\": \"succeeded\"\n}}\n",
        declared("inputs/brief.resolved.json", &brief)
    );
    put(&run.join("manifest.json"), manifest);
    id
}

/// The sorted names of an object's members.
pub fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Writes to a standard error that outlives captured output, for what a test could not check.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
