//! Runs a program as a process and tells what it cost.
//!
//! Between the bench and the program stands a process that has no other child, so that the kernel's
//! figures for its children are those of the program alone.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What a process cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of CPU, user and system.
    pub cpu: f64,
    /// Most memory held, in MiB.
    pub peak_mib: f64,
}

/// A program and its arguments.
pub struct Program(Vec<String>, std::path::PathBuf);

/// A command on a store.
pub fn strongroom(args: &[&str], store: &Path) -> Program {
    std::fs::create_dir_all(store).expect("a folder");
    let mut all = vec![env!("CARGO_BIN_EXE_strongroom").to_owned()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    Program(all, store.to_owned())
}

/// A floor of this binary.
pub fn floor(args: &[&str], paths: &[&Path]) -> Program {
    let own = std::env::current_exe().expect("a running program has a file");
    let mut all = vec![own.to_str().expect("text").to_owned(), "--floor".to_owned()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    all.extend(paths.iter().map(|path| path.to_str().expect("text").to_owned()));
    Program(all, std::env::temp_dir())
}

/// Another program, in a folder.
pub fn other(words: Vec<String>, dir: &Path) -> Program {
    std::fs::create_dir_all(dir).expect("a folder");
    Program(words, dir.to_owned())
}

impl Program {
    /// Runs it to its end, which must be a good one.
    pub fn measure(&self) -> Cost {
        let own = std::env::current_exe().expect("a running program has a file");
        let output = Command::new(own)
            .arg("--measure")
            .args(&self.0)
            .current_dir(&self.1)
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{:?}: {said}", self.0);
        let last = said.lines().last().unwrap_or_default();
        let mut parts = last.split(' ').map(|part| part.parse::<f64>().expect("a number"));
        let mut next = || parts.next().expect("three figures");
        Cost { wall: next(), cpu: next(), peak_mib: next() }
    }
}

/// The process in between.
pub fn child(args: Vec<String>) {
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env_remove("STRONGROOM_KEY").env("STRONGROOM_ACTOR", "bench");
    let begin = Instant::now();
    let status = command.status().expect("it starts");
    let wall = begin.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    eprintln!("\n{wall} {} {}", micros as f64 / 1e6, usage.max_rss() as f64 / 1024.0);
    // A check that finds something ends with 3; adopting what is there already is fine.
    let code = status.code().unwrap_or(1);
    std::process::exit(if matches!(code, 0 | 3) { 0 } else { code });
}

/// A copy of a tree with its times.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success());
}

/// Lets the disk finish what it was given, so that the next figure does not pay for it.
pub fn settle() {
    let _ = Command::new("sync").status();
}

/// Takes everything that lies on the disk out of memory, names and inodes included.
pub fn empty_page_cache() {
    settle();
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("--cold needs Linux and root");
}
