//! The sweep of `scripts/crash-sweep.py` over the real program's system calls, a slice of it. The script
//! by itself tries every point.

use std::path::Path;
use std::process::Command;

use crate::common::skipped;

fn have(tool: &str, probe: &str) -> bool {
    Command::new(tool).arg(probe).output().is_ok_and(|output| output.status.success())
}

/// Runs the script, which fails if a point is bad.
fn sweep(args: &[&str]) {
    if !have("strace", "-V") || !have("python3", "-V") {
        return skipped("the sweep over system calls: it needs strace and python3");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg("scripts/crash-sweep.py").args(args).arg(env!("CARGO_BIN_EXE_strongroom")).current_dir(root);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    if told.is_empty() && String::from_utf8_lossy(&output.stderr).contains("ptrace") {
        return skipped("the sweep over system calls: this machine lets nobody be traced");
    }
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
}

#[test]
fn sweep_of_killed_system_calls_leaves_every_store_sound() {
    sweep(&["--slice", "40"]);
}

#[test]
fn sweep_of_failed_system_calls_leaves_every_store_sound() {
    sweep(&["--errors", "--slice", "400"]);
}

#[test]
fn sweep_of_a_migration_whose_files_cannot_be_opened_once_leaves_nothing_wrong_behind() {
    sweep(&["--errors", "--only", "migrate, unsigned", "--call", "openat2", "--error", "EIO"]);
}
