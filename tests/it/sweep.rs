//! The sweep of `scripts/crash-sweep.py` over the real program's system calls, and the search of
//! `scripts/power-loss.py` over what a power loss could leave; a slice of each. The scripts by themselves
//! try every point.

use std::path::Path;
use std::process::Command;

use crate::common::skipped;

fn have(tool: &str, probe: &str) -> bool {
    Command::new(tool).arg(probe).output().is_ok_and(|output| output.status.success())
}

fn sweep(args: &[&str]) {
    run("scripts/crash-sweep.py", args);
}

/// Runs a script, which fails if a point is bad; gives what it says.
fn run(script: &str, args: &[&str]) -> Option<String> {
    if !have("strace", "-V") || !have("python3", "-V") {
        skipped("the sweep over system calls: it needs strace and python3");
        return None;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(script).args(args).arg(env!("CARGO_BIN_EXE_strongroom")).current_dir(root);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    if told.is_empty() && String::from_utf8_lossy(&output.stderr).contains("ptrace") {
        skipped("the sweep over system calls: this machine lets nobody be traced");
        return None;
    }
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
    Some(told.into_owned())
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

#[test]
fn power_loss_in_any_model_leaves_the_store_sound() {
    run("scripts/power-loss.py", &["--random", "2", "--only", "init"]);
    run("scripts/power-loss.py", &["--random", "2", "--only", "audit checkpoint"]);
    run("scripts/power-loss.py", &["--random", "2", "--slice", "80", "--only", "migrate, unsigned"]);
}

#[test]
fn power_loss_brings_back_no_journal_of_a_table_that_was_migrated() {
    run("scripts/power-loss.py", &["--random", "2", "--slice", "200", "--only", "migrate, SQLite"]);
}

#[test]
fn power_loss_search_misses_no_flush_of_a_checkpoint_that_is_left_out() {
    let args = ["--mutants", "--random", "2", "--only", "audit checkpoint"];
    if let Some(told) = run("scripts/power-loss.py", &args) {
        assert!(!told.contains("unseen:"), "{told}");
    }
}
