//! Tests of the disk; most run both ways of resolving a path.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::backend::testing::{Fault, Recorder};

fn both_ways(test: impl Fn(&Path, &Disk)) {
    for walk in [false, true] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::open(folder.path()).expect("it exists");
        test(folder.path(), &if walk { disk.walk_components() } else { disk });
    }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .expect("a FIFO");
}

/// Every call with one path.
fn each_call(disk: &Disk, path: &str) -> Vec<(&'static str, Result<(), DiskError>)> {
    vec![
        ("open_file", disk.open_file(path).map(drop)),
        ("read", disk.read(path, 100).map(drop)),
        ("list", disk.list(path).map(drop)),
        ("mkdir", disk.mkdir(path)),
        ("mkdir_all", disk.mkdir_all(&format!("{path}/sub")).map(drop)),
        ("create", disk.create(path, 0o644).map(drop)),
        ("append", disk.append(path).map(drop)),
        ("sync_file", disk.sync_file(path)),
        ("sync_dir", disk.sync_dir(path)),
        ("set_len", disk.set_len(path, 0)),
        ("remove_tree", disk.remove_tree(path)),
        ("copy", disk.clone_or_copy(path, "copied", 0o644).map(drop)),
        ("copy to", disk.clone_or_copy("plain", path, 0o644).map(drop)),
        ("link", disk.hard_link(path, "linked")),
        ("link to", disk.hard_link("plain", path)),
        ("rename_new", disk.rename_new("plain", path)),
        ("open_lock", disk.open_lock(path).map(drop)),
    ]
}

#[test]
fn path_leaving_the_root_is_refused_by_every_call() {
    both_ways(|_, disk| {
        disk.write_new("plain", b"x", 0o644).unwrap();
        for path in ["..", "../x", "/etc/passwd", "a/../../b", "a//b", "./a", "a/", "a/./b", "a\0b"] {
            for (name, result) in each_call(disk, path) {
                let error = result.expect_err(name);
                assert_eq!(error.kind(), DiskErrorKind::LeavesRoot, "{name} {path:?}: {error}");
            }
            assert!(disk.stat(path).is_err(), "stat {path:?}");
            assert!(disk.replace_durably(path, b"x", 0o644).is_err(), "replace_durably {path:?}");
            assert!(disk.exchange("plain", path).is_err(), "exchange {path:?}");
        }
    });
}

#[test]
fn link_at_any_component_is_refused_and_its_target_untouched() {
    both_ways(|root, disk| {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("deep")).unwrap();
        std::fs::write(outside.path().join("deep/file"), b"secret").unwrap();
        disk.mkdir("inside").unwrap();
        disk.write_new("inside/file", b"inner", 0o644).unwrap();
        disk.write_new("plain", b"x", 0o644).unwrap();
        symlink(outside.path(), root.join("out")).unwrap();
        symlink("inside", root.join("in")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        for path in ["out/deep/file", "out/deep", "out/new", "in/file", "in/new", "magic/etc", "out/deep/x/y"]
        {
            for (name, result) in each_call(disk, path) {
                let error = result.expect_err(name);
                assert_eq!(error.kind(), DiskErrorKind::Link, "{name} {path:?}: {error}");
            }
            assert_eq!(disk.stat(path).unwrap_err().kind(), DiskErrorKind::Link, "stat {path:?}");
        }
        for path in ["out", "in"] {
            assert_eq!(disk.stat(path).unwrap().unwrap().kind, Kind::Link);
            for (name, result) in each_call(disk, path) {
                // Names may be refused as taken; nothing may be opened through the link.
                let kind = result.expect_err(name).kind();
                use DiskErrorKind as K;
                assert!(
                    matches!(kind, K::Link | K::NotRegular | K::NotFolder | K::Exists),
                    "{name} {path:?}: {kind:?}"
                );
            }
        }
        assert_eq!(std::fs::read(outside.path().join("deep/file")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(root.join("inside/file")).unwrap(), b"inner");
        assert_eq!(std::fs::read_dir(root.join("inside")).unwrap().count(), 1);
        // A rename over a link, and an unlink, change the name and not the target.
        disk.replace_durably("out", b"now a file", 0o644).unwrap();
        disk.unlink("in").unwrap();
        assert_eq!(std::fs::read(root.join("inside/file")).unwrap(), b"inner");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    });
}

#[test]
fn fifo_folder_or_socket_in_place_of_a_file_is_refused_without_waiting() {
    both_ways(|root, disk| {
        fifo(&root.join("fifo"));
        disk.mkdir("folder").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        for path in ["fifo", "folder", "socket"] {
            let word = disk.stat(path).unwrap().unwrap().kind.word();
            assert_eq!(word, path.to_owned().replace("fifo", "FIFO"));
            for error in [
                disk.open_file(path).map(drop).unwrap_err(),
                disk.read(path, 10).map(drop).unwrap_err(),
                disk.append(path).map(drop).unwrap_err(),
                disk.append_existing(path).map(drop).unwrap_err(),
                disk.sync_file(path).unwrap_err(),
                disk.set_len(path, 0).unwrap_err(),
                disk.open_lock(path).map(drop).unwrap_err(),
                disk.clone_or_copy(path, "copied", 0o644).map(drop).unwrap_err(),
                disk.hard_link(path, "linked").unwrap_err(),
            ] {
                assert_eq!(error.kind(), DiskErrorKind::NotRegular, "{path}: {error}");
            }
            assert_eq!(disk.create(path, 0o644).unwrap_err().kind(), DiskErrorKind::Exists);
        }
        assert_eq!(disk.list("fifo").unwrap_err().kind(), DiskErrorKind::NotFolder);
        assert_eq!(disk.sync_dir("fifo").unwrap_err().kind(), DiskErrorKind::NotFolder);
        assert_eq!(disk.mkdir_all("fifo/x").unwrap_err().kind(), DiskErrorKind::NotFolder);
    });
}

#[test]
fn folder_held_open_gives_regular_files_by_single_names_and_stays_the_folder_opened() {
    both_ways(|root, disk| {
        for name in ["in/sub", "elsewhere"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("elsewhere/secret"), "secret").unwrap();
        std::fs::write(root.join("in/file"), "bytes").unwrap();
        symlink("../elsewhere/secret", root.join("in/link")).unwrap();
        fifo(&root.join("in/fifo"));
        let (folder, names) = disk.folder("in").unwrap();
        let names: Vec<_> = names.map(|entry| entry.name.into_string().unwrap()).collect();
        assert_eq!(names, ["fifo", "file", "link", "sub"]);
        assert_eq!(folder.read("file", 5).unwrap().0, b"bytes");
        assert!(folder.read("file", 4).unwrap_err().is_too_large());
        assert_eq!(folder.stat("link").unwrap().unwrap().kind, Kind::Link);
        assert_eq!(folder.stat("gone").unwrap(), None);
        assert!(folder.open_file("gone").unwrap_err().is_not_found());
        for name in ["link", "fifo", "sub"] {
            let error = folder.open_file(name).unwrap_err();
            assert_eq!(error.kind(), DiskErrorKind::NotRegular, "{name}: {error}");
        }
        for name in ["", ".", "..", "../elsewhere/secret", "sub/x", "/etc/passwd", "a\0b"] {
            let kinds = [folder.open_file(name).unwrap_err().kind(), folder.stat(name).unwrap_err().kind()];
            assert_eq!(kinds, [DiskErrorKind::LeavesRoot; 2], "{name:?}");
        }
        // What takes its place later is another folder.
        std::fs::rename(root.join("in"), root.join("moved")).unwrap();
        symlink("elsewhere", root.join("in")).unwrap();
        assert!(folder.open_file("secret").unwrap_err().is_not_found());
        assert_eq!(folder.read("file", 5).unwrap().0, b"bytes");
        assert_eq!(disk.folder("in").map(drop).unwrap_err().kind(), DiskErrorKind::Link);
        assert_eq!(disk.hold("in").map(drop).unwrap_err().kind(), DiskErrorKind::Link);
    });
}

#[test]
fn folders_held_open_exchange_single_names_and_nothing_outside() {
    both_ways(|root, disk| {
        for folder in ["one", "other"] {
            disk.mkdir(folder).unwrap();
            disk.write_new(&format!("{folder}/x"), folder.as_bytes(), 0o644).unwrap();
        }
        let [one, other] = ["one", "other"].map(|name| disk.hold(name).unwrap());
        if !one.exchange("x", &other, "x").unwrap() {
            return;
        }
        assert_eq!(one.read("x", 9).unwrap().0, b"other");
        assert_eq!(other.read("x", 9).unwrap().0, b"one");
        assert!(one.exchange("gone", &other, "x").unwrap_err().is_not_found());
        assert!(one.exchange("x", &other, "gone").unwrap_err().is_not_found());
        for name in ["", ".", "..", "../other/x", "a\0b"] {
            for error in [one.exchange(name, &other, "x"), one.exchange("x", &other, name)] {
                assert_eq!(error.unwrap_err().kind(), DiskErrorKind::LeavesRoot, "{name:?}");
            }
        }
        // A link is exchanged itself: nothing is reached through it.
        std::fs::write(root.join("secret"), "secret").unwrap();
        symlink("../secret", root.join("other/link")).unwrap();
        assert!(one.exchange("x", &other, "link").unwrap());
        assert_eq!(std::fs::read(root.join("secret")).unwrap(), b"secret");
        assert_eq!(other.read("link", 9).unwrap().0, b"other");
        assert!(disk.hold("gone").map(drop).unwrap_err().is_not_found());
        assert!(disk.hold("secret").map(drop).unwrap_err().is_not_folder());
    });
}

#[test]
fn planted_link_at_a_new_name_is_not_followed() {
    both_ways(|root, disk| {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        symlink(&target, root.join("planted")).unwrap();
        assert_eq!(disk.create("planted", 0o644).unwrap_err().kind(), DiskErrorKind::Exists);
        assert_eq!(disk.append_new("planted").unwrap_err().kind(), DiskErrorKind::Exists);
        assert!(disk.open_lock("planted").is_err());
        assert!(disk.append("planted").is_err());
        assert!(!target.exists());
    });
}

#[test]
fn missing_things_are_not_found() {
    both_ways(|_, disk| {
        assert_eq!(disk.stat("no").unwrap(), None);
        assert_eq!(disk.stat("no/such/file").unwrap(), None);
        assert_eq!(disk.read_opt("no", 1).unwrap(), None);
        for error in [
            disk.list("no").map(drop).unwrap_err(),
            disk.open_file("no").map(drop).unwrap_err(),
            disk.create("no/file", 0o644).map(drop).unwrap_err(),
            disk.mkdir("no/folder").unwrap_err(),
            disk.unlink("no").unwrap_err(),
            disk.remove_tree("no").unwrap_err(),
            disk.rename_new("no", "other").unwrap_err(),
            disk.sync_dir("no").unwrap_err(),
        ] {
            assert!(error.is_not_found(), "{error}");
        }
    });
}

#[test]
fn names_and_long_paths_are_kept_faithfully() {
    both_ways(|_, disk| {
        let odd =
            ["new\nline", "\u{1b}[31m", "\u{202e}rtl", "-rf", "CON", "C:x", " ", "é", "e\u{301}", "A", "a"];
        disk.mkdir("odd").unwrap();
        for name in odd {
            disk.write_new(&format!("odd/{name}"), name.as_bytes(), 0o644).unwrap();
        }
        let mut sorted: Vec<&[u8]> = odd.iter().map(|name| name.as_bytes()).collect();
        sorted.sort_unstable();
        let listed = disk.list("odd").unwrap();
        assert_eq!(listed.iter().map(|entry| entry.name.as_bytes()).collect::<Vec<_>>(), sorted);
        for name in odd {
            assert_eq!(disk.read(&format!("odd/{name}"), 100).unwrap(), name.as_bytes());
        }
        // Deeper than PATH_MAX in all.
        let deep = vec!["n".repeat(255); 20].join("/");
        assert_eq!(disk.mkdir_all(&deep).unwrap().len(), 20);
        let file = format!("{deep}/file");
        disk.write_new(&file, b"deep", 0o444).unwrap();
        assert_eq!(disk.read(&file, 4).unwrap(), b"deep");
        assert_eq!(disk.stat(&file).unwrap().unwrap().len, 4);
        disk.replace_durably(&file, b"again", 0o444).unwrap();
        disk.remove_tree(&"n".repeat(255)).unwrap();
        assert_eq!(disk.list("").unwrap().len(), 1);
        assert!(disk.create(&"n".repeat(256), 0o644).is_err());
    });
}

#[test]
fn read_above_the_limit_is_refused_naming_it() {
    both_ways(|_, disk| {
        disk.write_new("ten", b"0123456789", 0o644).unwrap();
        assert_eq!(disk.read("ten", 10).unwrap(), b"0123456789");
        let error = disk.read("ten", 9).unwrap_err();
        assert!(matches!(error, DiskError::TooLarge { len: 10, limit: 9, .. }), "{error}");
    });
}

#[test]
fn rename_new_and_exchange_keep_what_was_there() {
    both_ways(|_, disk| {
        disk.write_new("a", b"a", 0o644).unwrap();
        disk.write_new("b", b"b", 0o644).unwrap();
        let error = disk.rename_new("a", "b").unwrap_err();
        assert!(matches!(&error, DiskError::Exists { path, .. } if path.ends_with("b")), "{error}");
        assert_eq!(disk.read("b", 1).unwrap(), b"b");
        if disk.exchange("a", "b").unwrap() {
            assert_eq!(disk.read("a", 1).unwrap(), b"b");
            assert_eq!(disk.read("b", 1).unwrap(), b"a");
        }
        disk.rename_new("a", "c").unwrap();
        assert_eq!(disk.stat("a").unwrap(), None);
        assert!(disk.exchange("a", "b").unwrap_err().is_not_found());
        disk.mkdir("folder").unwrap();
        disk.write_new("folder/x", b"x", 0o644).unwrap();
        disk.rename_new("folder", "moved").unwrap();
        assert!(disk.rename_new("moved", "c").unwrap_err().is_exists());
        assert_eq!(disk.read("moved/x", 1).unwrap(), b"x");
    });
}

#[test]
fn remove_tree_removes_links_and_not_their_targets() {
    both_ways(|root, disk| {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("kept"), b"kept").unwrap();
        disk.mkdir_all("tree/a/b").unwrap();
        disk.write_new("tree/a/b/file", b"x", 0o444).unwrap();
        symlink(outside.path(), root.join("tree/a/out")).unwrap();
        fifo(&root.join("tree/fifo"));
        std::fs::write(root.join("tree").join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();
        disk.remove_tree("tree").unwrap();
        assert_eq!(disk.stat("tree").unwrap(), None);
        assert_eq!(std::fs::read(outside.path().join("kept")).unwrap(), b"kept");
    });
}

#[test]
fn copy_and_hard_link_give_the_same_bytes() {
    both_ways(|root, disk| {
        let bytes: Vec<u8> = (0..600_000u32).map(|i| (i % 251) as u8).collect();
        disk.write_new("from", &bytes, 0o444).unwrap();
        disk.clone_or_copy("from", "copy", 0o640).unwrap();
        assert_eq!(disk.read("copy", 1 << 20).unwrap(), bytes);
        assert_eq!(disk.stat("copy").unwrap().unwrap().mode, 0o640);
        disk.hard_link("from", "linked").unwrap();
        let (a, b) = (disk.stat("from").unwrap().unwrap(), disk.stat("linked").unwrap().unwrap());
        assert_eq!((a.ino, a.nlink), (b.ino, 2));
        assert!(disk.hard_link("from", "copy").unwrap_err().is_exists());
        assert_eq!(std::fs::metadata(root.join("from")).unwrap().permissions().mode() & 0o777, 0o444);
    });
}

#[test]
fn mkdir_all_says_which_folders_it_made() {
    both_ways(|_, disk| {
        assert_eq!(disk.mkdir_all("a/b").unwrap(), ["a", "a/b"]);
        assert_eq!(disk.mkdir_all("a/b/c").unwrap(), ["a/b/c"]);
        assert!(disk.mkdir_all("a/b/c").unwrap().is_empty());
        assert!(disk.mkdir_all("").unwrap().is_empty());
        assert!(disk.mkdir("a").unwrap_err().is_exists());
    });
}

#[test]
fn appender_after_a_failed_call_is_dead() {
    for (name, fault) in [("write", Fault::Fail), ("fsync", Fault::Fail), ("fsync", Fault::FailAfter)] {
        let folder = tempfile::tempdir().unwrap();
        let plain = Disk::open(folder.path()).unwrap();
        let recorder = Recorder::failing_first(name, fault);
        let disk = plain.clone().with_hook(recorder.clone());
        let mut file = disk.append("file").unwrap();
        let first = file.write_at_end(b"one").map(drop).and_then(|()| file.sync());
        assert!(first.is_err() && file.is_dead());
        let before = plain.read("file", 100).unwrap();
        // The fault is over, and the file stays dead.
        assert_eq!(file.write_at_end(b"two").unwrap_err().kind(), DiskErrorKind::Dead);
        assert_eq!(file.sync().unwrap_err().kind(), DiskErrorKind::Dead);
        assert_eq!(plain.read("file", 100).unwrap(), before);
    }
}

#[test]
fn syncfs_after_a_failure_fails_for_every_clone() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Disk::open(folder.path()).unwrap();
    plain.sync_all().unwrap();
    let disk = plain.clone().with_hook(Recorder::failing_first("syncfs", Fault::FailAfter));
    assert_eq!(disk.sync_all().unwrap_err().kind(), DiskErrorKind::Io);
    assert_eq!(disk.sync_all().unwrap_err().kind(), DiskErrorKind::Dead);
    assert_eq!(plain.sync_all().unwrap_err().kind(), DiskErrorKind::Dead);
}

#[test]
fn replace_durably_syncs_bytes_before_the_name_and_the_folder_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::new();
    let disk = Disk::open(folder.path()).unwrap().with_hook(recorder.clone());
    disk.replace_durably("file", b"bytes", 0o600).unwrap();
    assert_eq!(recorder.names(), ["create", "chmod", "write", "fsync", "rename", "fsync_dir"]);
}

#[test]
fn replace_durably_failing_anywhere_leaves_old_or_new() {
    for fault in [Fault::Fail, Fault::FailAfter, Fault::FailShort(2)] {
        for nth in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let plain = Disk::open(folder.path()).unwrap();
            plain.write_new("file", b"old", 0o644).unwrap();
            let recorder = Recorder::failing(nth, fault);
            let disk = plain.clone().with_hook(recorder.clone());
            let result = disk.replace_durably("file", b"newer", 0o644);
            let found = plain.read("file", 100).unwrap();
            assert!(found == b"old" || found == b"newer", "call {nth} {fault:?}: {found:?}");
            if !recorder.fired() {
                result.unwrap();
                assert_eq!(found, b"newer");
                break;
            }
            assert!(result.is_err(), "call {nth} {fault:?} was not reported");
            plain.replace_durably("file", b"third", 0o644).unwrap();
            assert_eq!(plain.read("file", 100).unwrap(), b"third");
        }
    }
}

#[test]
fn replace_durably_passes_over_names_already_taken() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let taken = disk.create_temp("", 0o644).unwrap().path().to_owned();
    assert!(is_temp_name(taken.as_ref()));
    disk.replace_durably("file", b"x", 0o644).unwrap();
    assert_eq!(disk.list("").unwrap().len(), 2);
}

#[test]
fn filesystems_over_a_network_are_refused_by_name() {
    for (magic, name) in [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB2"), (0x0102_1997, "9p")]
    {
        assert_eq!(Filesystem::of_magic(magic), Filesystem::Refused(name));
    }
    assert_eq!(Filesystem::of_magic(0x6573_5546), Filesystem::Doubtful("FUSE"));
    assert_eq!(Filesystem::of_magic(0xEF53), Filesystem::Local { magic: 0xEF53 });
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    assert!(!matches!(disk.filesystem().unwrap(), Filesystem::Refused(_)));
    disk.mkdir("a").unwrap();
    assert_eq!(disk.first_on_other_device(&["a", "missing"]).unwrap(), None);
    let top = Disk::open(Path::new("/")).unwrap();
    assert_eq!(top.first_on_other_device(&["proc"]).unwrap(), Some("proc"));
}

#[test]
fn links_swapped_underneath_never_lead_out() {
    both_ways(|root, disk| {
        let outside = tempfile::tempdir().unwrap();
        disk.mkdir("real").unwrap();
        let stop = Mutex::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !*stop.lock().unwrap() {
                    let _ = std::fs::rename(root.join("real"), root.join("aside"));
                    let _ = symlink(outside.path(), root.join("real"));
                    let _ = std::fs::remove_file(root.join("real"));
                    let _ = std::fs::rename(root.join("aside"), root.join("real"));
                }
            });
            for number in 0..2000 {
                let _ = disk.write_new(&format!("real/{number}"), b"x", 0o644);
            }
            *stop.lock().unwrap() = true;
        });
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}

proptest! {
    #[test]
    fn prop_stays_below_takes_only_plain_components(parts in prop::collection::vec("[a./\u{0}é]{0,4}", 1..5)) {
        let path = parts.join("/");
        let plain = path.split('/').all(|part| {
            !matches!(part, "" | "." | "..") && !part.contains('\0')
        });
        prop_assert_eq!(stays_below(&path), plain || path.is_empty());
    }
}
