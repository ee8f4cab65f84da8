//! What belongs to a whole process: its umask, and the locks it leaves when it is killed.
//!
//! A child is this test binary again, told by a variable to run one test as the child.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strongroom::backend::durable::Disk;
use strongroom::backend::lock::{FileLock, LockError};

const CHILD: &str = "STRONGROOM_TEST_CHILD";

/// This binary, about to run one test of this file as a child on a folder.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running test has a file"));
    command.args(["--exact", &format!("backend_process::{test}"), "--nocapture"]);
    command.env(CHILD, folder).stdout(Stdio::null());
    command
}

#[test]
fn modes_are_exact_under_any_umask() {
    let Some(root) = std::env::var_os(CHILD) else {
        let folder = tempfile::tempdir().unwrap();
        assert!(child("modes_are_exact_under_any_umask", folder.path()).status().unwrap().success());
        return;
    };
    for umask in [0o000, 0o022, 0o077, 0o777] {
        let disk = Disk::open(root.as_ref()).unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let mode = |path: &str| disk.stat(path).unwrap().unwrap().mode;
        for wanted in [0o444, 0o600, 0o644, 0o755] {
            let name = format!("{umask:o}-{wanted:o}");
            disk.write_new(&name, b"x", wanted).unwrap();
            assert_eq!(mode(&name), wanted, "umask {umask:o}");
            disk.replace_durably(&name, b"y", wanted).unwrap();
            assert_eq!(mode(&name), wanted, "umask {umask:o}");
        }
        disk.mkdir(&format!("{umask:o}-folder")).unwrap();
        assert_eq!(mode(&format!("{umask:o}-folder")), 0o755 & !umask);
        drop(disk.append(&format!("{umask:o}-appended")).unwrap());
        assert_eq!(mode(&format!("{umask:o}-appended")), 0o644 & !umask);
    }
}

#[test]
fn lock_of_a_killed_process_is_free() {
    if let Some(root) = std::env::var_os(CHILD) {
        let disk = Disk::open(root.as_ref()).unwrap();
        let _lock = FileLock::acquire(&disk, "lock", "pid 7 (child)", Duration::ZERO).unwrap();
        disk.write_new("ready", b"", 0o644).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let mut holder = child("lock_of_a_killed_process_is_free", folder.path()).spawn().unwrap();
    let start = Instant::now();
    while disk.stat("ready").unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(50), "the child never got the lock");
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = FileLock::acquire(&disk, "lock", "me", Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&error, LockError::Held { holder, .. } if holder == "pid 7 (child)"), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    FileLock::acquire(&disk, "lock", "me", Duration::from_secs(10)).unwrap();
}

#[test]
fn lock_is_not_inherited_by_a_child() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let lock = FileLock::acquire(&disk, "lock", "a", Duration::ZERO).unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    drop(lock);
    // Not at once: a child that another test is starting holds every descriptor until it execs.
    let taken = FileLock::acquire(&disk, "lock", "b", Duration::from_secs(20));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(taken.is_ok());
}
