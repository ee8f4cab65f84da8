//! Running a command for `record`: alone with its declared inputs, its streams kept.
//!
//! The command runs in a fresh folder of its own. The inputs lie there read-only, under `inputs/`
//! and at the relative paths they were given by, so a command that reads what it declared works
//! unchanged and one that reads something else fails where it can be seen.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Progress, StoreError, source};
use crate::base::canonical;
use crate::base::digest::{Hasher, Sha256};
use crate::format::manifest::Ending;

/// A command to record.
#[derive(Debug, Clone)]
pub struct CommandLine {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where a relative program path is looked up: the caller's folder.
    pub from: PathBuf,
    /// Variables set for the command beside those it inherits.
    pub env: Vec<(OsString, OsString)>,
}

/// Sees the command's output as it comes.
pub trait Streams: Sync {
    /// Bytes of standard output or standard error.
    fn show(&self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// How a command ended.
pub(super) struct Ran {
    /// Its exit status.
    pub ending: Ending,
    /// Its exit code, when it had one.
    pub code: Option<i32>,
}

impl CommandLine {
    fn program(&self) -> &str {
        &self.argv[0]
    }

    /// Whether the program is given by a path, and which file that is.
    fn program_path(&self) -> Option<PathBuf> {
        self.program().contains('/').then(|| self.from.join(self.program()))
    }

    /// The input snapshot that stands for the command: its arguments, and the digest of a program
    /// given by path. The same inputs with another command are another run.
    pub(super) fn snapshot(&self) -> Result<Vec<u8>, StoreError> {
        let mut value = serde_json::json!({"v": 1, "argv": self.argv});
        if let Some(path) = self.program_path() {
            let program = digest_of(&path)?;
            value["program"] = serde_json::json!({"path": self.program(), "sha256": program});
        }
        Ok(canonical::rfc8785(&value).expect("arguments are strings"))
    }

    /// Runs it in a folder, keeping its streams in files there.
    pub(super) fn run(
        &self,
        dir: &Path,
        streams: &dyn Streams,
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
        progress: &dyn Progress,
    ) -> Result<Ran, StoreError> {
        let program = self.program_path().map_or_else(|| OsString::from(self.program()), OsString::from);
        let start = |source| StoreError::Start { program: self.program().to_owned(), source };
        let failed = |what| {
            let program = self.program().to_owned();
            move |source| StoreError::Command { program, what, source }
        };
        let mut child = std::process::Command::new(&program)
            .args(&self.argv[1..])
            .current_dir(dir)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that stopping the command stops what it started as well.
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let out = child.stdout.take().expect("standard output is piped");
        let err = child.stderr.take().expect("standard error is piped");
        let pid = Pid::from_child(&child);
        let ended = AtomicBool::new(false);
        let (kept_out, kept_err) = std::thread::scope(|scope| {
            let out = scope.spawn(move || keep(out, stdout, streams));
            let err = scope.spawn(move || keep(err, stderr, streams));
            scope.spawn(|| stop_when_asked(pid, &ended, progress));
            let kept = (out.join(), err.join());
            // Until it is reaped below, its id is not given to another process, so a watcher that is
            // late cannot hit a stranger.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            ended.store(true, Ordering::Relaxed);
            kept
        });
        for kept in [kept_out, kept_err] {
            kept.expect("copying bytes does not panic").map_err(failed("keeping its output"))?;
        }
        let status = child.wait().map_err(failed("waiting for it"))?;
        Ok(Ran { ending: ending(status), code: status.code() })
    }
}

/// How often a running command's watcher looks up.
const LOOK: Duration = Duration::from_millis(20);
/// What a command that was asked to end has left before it is made to.
const GRACE: Duration = Duration::from_secs(5);

/// Ends the command's processes when a signal asked us to stop: politely first.
fn stop_when_asked(group: Pid, ended: &AtomicBool, progress: &dyn Progress) {
    let mut asked: Option<Instant> = None;
    while !ended.load(Ordering::Relaxed) {
        let signal = match asked {
            None if progress.interrupted() => Some(Signal::TERM),
            Some(since) if since.elapsed() > GRACE => Some(Signal::KILL),
            _ => None,
        };
        if let Some(signal) = signal {
            asked.get_or_insert_with(Instant::now);
            // It may have ended by itself meanwhile.
            let _ = kill_process_group(group, signal);
        }
        std::thread::sleep(LOOK);
    }
}

fn digest_of(path: &Path) -> Result<Sha256, StoreError> {
    // A program may be reached through a link; what is executed is what is hashed.
    let real = std::fs::canonicalize(path)
        .map_err(|error| StoreError::Input { path: path.display().to_string(), why: error.to_string() })?;
    let source::Given::File(disk, name) = source::given(&real)? else {
        let why = "the program is a folder".to_owned();
        return Err(StoreError::Input { path: path.display().to_string(), why });
    };
    let mut reading = source::Reading::open(&disk, &name)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        match reading.stream().read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(StoreError::Input { path: path.display().to_string(), why: error.to_string() });
            }
        }
    }
    let blob = hasher.finish();
    reading.held_still(blob.bytes)?;
    Ok(blob.sha256)
}

fn keep(mut from: impl Read, to: &mut dyn Write, streams: &dyn Streams) -> std::io::Result<()> {
    let mut buffer = [0u8; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.flush(),
            Ok(n) => {
                streams.show(&buffer[..n]);
                to.write_all(&buffer[..n])?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ending::Succeeded,
        (Some(code), _) => Ending::Failed(format!("exit status {code}")),
        (None, Some(signal)) => Ending::Failed(format!("killed by signal {signal}")),
        (None, None) => Ending::Failed("ended in an unknown way".to_owned()),
    }
}
