//! The blobs' contract over both drivers, and what crashes, damage and other writers may do to the
//! local one.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::backend::segments;
use crate::backend::testing::{Fault, Recorder};
use crate::base::tag::TagKey;

const ID: [u8; 16] = [9; 16];
pub(super) const HEADER: usize = crate::backend::segment::HEADER_LEN as usize;

pub(super) fn disk() -> (tempfile::TempDir, Disk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    (folder, disk)
}

pub(super) fn options() -> BlobOptions {
    BlobOptions { small_limit: 100, ..BlobOptions::new(ID) }
}

pub(super) fn open(disk: &Disk) -> LocalBlobs {
    LocalBlobs::open(disk.clone(), options())
}

/// Bytes that do not compress.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn findings(blobs: &LocalBlobs) -> Vec<BlobFinding> {
    let mut found = Vec::new();
    blobs.check_all(TagKey::new([[5; 16]; 2]), &mut |finding| found.push(finding)).unwrap();
    found
}

/// Stores and commits.
pub(super) fn store(blobs: &LocalBlobs, bytes: &[u8]) -> (BlobId, Vec<BlobId>) {
    let mut writer = blobs.writer();
    let id = writer.put(bytes).unwrap();
    blobs.set_committed(&writer.flush().unwrap());
    (id, writer.repaired().to_vec())
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn contract(blobs: &dyn Blobs) {
    let values = [Vec::new(), b"small".to_vec(), noise(1, 99), noise(2, 101), noise(3, 5000)];
    let mut expected = BTreeMap::new();
    for value in &values {
        let id = BlobId::of(value);
        assert!(!blobs.contains(&id).unwrap());
        assert_eq!(blobs.get(&id).unwrap(), None);
        assert_eq!(blobs.put(value).unwrap(), id);
        assert_eq!(blobs.put(value).unwrap(), id);
        assert!(blobs.contains(&id).unwrap());
        assert_eq!(blobs.get(&id).unwrap().as_ref(), Some(value));
        let longer = BlobId { bytes: id.bytes + 1, ..id };
        assert!(!blobs.contains(&longer).unwrap(), "another length");
        expected.insert(id.blake3, id.bytes);
    }
    let list = || {
        let mut listed = BTreeMap::new();
        blobs.list(&mut |b3, len| assert_eq!(listed.insert(b3, len), None)).unwrap();
        listed
    };
    assert_eq!(list(), expected);
    for value in &values {
        let id = BlobId::of(value);
        match blobs.delete(&id) {
            Ok(there) => {
                assert!(there && !blobs.contains(&id).unwrap() && !blobs.delete(&id).unwrap());
                expected.remove(&id.blake3);
            }
            Err(BlobError::Permanent { .. }) => assert_eq!(blobs.get(&id).unwrap().as_ref(), Some(value)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(list(), expected);
    assert!(!blobs.delete(&BlobId::of(b"never stored")).unwrap());
}

#[test]
fn memory_blobs_keep_the_contract() {
    contract(&MemoryBlobs::new());
}

#[test]
fn local_blobs_keep_the_contract() {
    let (_folder, disk) = disk();
    contract(&open(&disk));
    assert!(findings(&open(&disk)).is_empty());
}

#[test]
fn opening_and_asking_touches_nothing() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    assert_eq!(blobs.get(&Sha256::of(b"x")).unwrap(), None);
    assert!(!blobs.contains(&BlobId::of(b"x")).unwrap());
    assert!(findings(&blobs).is_empty());
    assert!(blobs.cut_torn_tails().unwrap().is_empty());
    drop(blobs.writer());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn large_blob_is_a_read_only_file_by_blake3_and_streams_whole() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    let bytes = noise(1, 700_000);
    let mut writer = blobs.writer();
    let id = writer.put_large(&mut bytes.as_slice()).unwrap();
    assert_eq!(id, BlobId::of(&bytes));
    assert!(writer.flush().unwrap().is_empty());
    let path = LocalBlobs::large_path(&id.blake3);
    assert_eq!(std::fs::read(folder.path().join(&path)).unwrap(), bytes);
    assert_eq!(disk.stat(&path).unwrap().unwrap().mode, 0o444);
    let mut out = Vec::new();
    assert!(open(&disk).copy_to(&id, &mut out).unwrap());
    assert_eq!(out, bytes);
    let entries = disk.list("objects").unwrap();
    assert_eq!(entries.len(), 1, "no temporary file stays: {entries:?}");
}

#[test]
fn flush_syncs_bytes_then_names_them_then_syncs_folders_inwards_out() {
    let (_folder, disk) = disk();
    let recorder = Recorder::new();
    let blobs = open(&disk.clone().with_hook(recorder.clone()));
    let mut writer = blobs.writer();
    writer.put(b"small").unwrap();
    writer.put(&noise(1, 1000)).unwrap();
    let before = recorder.names().len();
    writer.flush().unwrap();
    let names = recorder.names();
    let bytes = ["fsync", "fsync", "mkdir", "rename_new"];
    assert_eq!(names[before..], [&bytes[..], &["fsync_dir"; 4]].concat());
    writer.flush().unwrap();
    assert_eq!(recorder.names().len(), names.len(), "nothing left to do");
}

#[test]
fn large_blob_has_its_name_only_once_its_bytes_are_durable() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    let mut writer = blobs.writer();
    let id = writer.put(&noise(1, 1000)).unwrap();
    let path = folder.path().join(LocalBlobs::large_path(&id.blake3));
    assert!(!path.exists());
    writer.place(&id, "placed", LARGE_MODE).unwrap();
    assert_eq!(std::fs::read(folder.path().join("placed")).unwrap(), noise(1, 1000));
    writer.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), noise(1, 1000));
    // One that is never flushed leaves nothing.
    let mut other = blobs.writer();
    let gone = other.put(&noise(2, 1000)).unwrap();
    drop(other);
    assert!(blobs.get(&gone.sha256).unwrap().is_none());
    assert!(findings(&blobs).is_empty());
}

#[test]
fn many_large_blobs_are_flushed_by_one_syncfs() {
    let (_folder, disk) = disk();
    let recorder = Recorder::new();
    let blobs = open(&disk.with_hook(recorder.clone()));
    let mut writer = blobs.writer();
    for seed in 0..40 {
        writer.put(&noise(seed, 200)).unwrap();
    }
    writer.flush().unwrap();
    let count = |name| recorder.names().iter().filter(|found| **found == name).count();
    assert_eq!((count("syncfs"), count("fsync")), (1, 0));
    assert!(findings(&blobs).is_empty());
}

#[test]
fn many_writers_at_once_take_up_the_segments_of_those_before_them() {
    let (_folder, disk) = disk();
    let blobs = open(&disk);
    for round in 0..3 {
        let mut writers: Vec<BlobWriter> = (0..40)
            .map(|n| {
                let mut writer = blobs.writer();
                writer.put(format!("{round} {n}").as_bytes()).unwrap();
                writer
            })
            .collect();
        for writer in &mut writers {
            blobs.set_committed(&writer.flush().unwrap());
        }
        assert_eq!(segments::list(&disk).unwrap().len(), 40, "round {round}");
    }
}

#[test]
fn writer_shares_only_what_is_committed_or_its_own() {
    let (_folder, disk) = disk();
    let length = || segments::list(&disk).unwrap().iter().map(|mark| mark.len).sum::<u64>();
    let blobs = open(&disk);
    let mut first = blobs.writer();
    first.put(b"value").unwrap();
    let once = length();
    first.put(b"value").unwrap();
    assert_eq!(length(), once, "its own");
    let marks = first.flush().unwrap();
    drop(first);
    // In another process, which knows of no commit: a copy, in a segment of its own.
    let other = open(&disk);
    assert!(!other.can_share(&BlobId::of(b"value")));
    let mut second = other.writer();
    second.put(b"value").unwrap();
    assert_eq!((length(), segments::list(&disk).unwrap().len()), (2 * once, 2));
    drop(second);
    let third = open(&disk);
    third.set_committed(&marks);
    assert!(third.can_share(&BlobId::of(b"value")) && !third.can_share(&BlobId::of(b"another")));
    let mut writer = third.writer();
    writer.put(b"value").unwrap();
    assert!(writer.flush().unwrap().is_empty(), "shared");
    assert_eq!(length(), 2 * once);
    assert!(writer.repaired().is_empty());
}

#[test]
fn writer_goes_on_in_the_committed_segment() {
    let (_folder, disk) = disk();
    let mut marks = Vec::new();
    for number in 0..5u8 {
        let blobs = open(&disk);
        blobs.set_committed(&marks);
        let mut writer = blobs.writer();
        writer.put(&[number]).unwrap();
        marks = writer.flush().unwrap();
    }
    assert_eq!(segments::list(&disk).unwrap(), marks);
    assert_eq!(marks.len(), 1);
}

#[test]
fn full_segment_is_followed_by_a_new_one_and_both_are_marked() {
    let (_folder, disk) = disk();
    let blobs = LocalBlobs::open(disk.clone(), BlobOptions { segment_bytes: 500, ..options() });
    let mut writer = blobs.writer();
    for number in 0..10u8 {
        writer.put(&[number; 50]).unwrap();
    }
    let marks = writer.flush().unwrap();
    assert_eq!(marks, segments::list(&disk).unwrap());
    assert!(marks.len() > 2);
    for number in 0..10u8 {
        assert_eq!(blobs.get(&Sha256::of(&[number; 50])).unwrap().unwrap(), [number; 50]);
    }
}

#[test]
fn writers_at_the_same_time_take_different_segments() {
    let (_folder, disk) = disk();
    let value = |thread: u32, n: u32| format!("thread {thread} value {n}").into_bytes();
    let barrier = std::sync::Barrier::new(4);
    let marks: Vec<Vec<SegmentMark>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (disk, barrier) = (&disk, &barrier);
                scope.spawn(move || {
                    // Each as a process of its own would.
                    let blobs = open(disk);
                    let mut writer = blobs.writer();
                    for n in 0..200 {
                        writer.put(&value(thread, n)).unwrap();
                    }
                    let large = writer.put(&noise(1, 3000)).unwrap();
                    assert_eq!(large, BlobId::of(&noise(1, 3000)));
                    barrier.wait();
                    writer.flush().unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut numbers: Vec<u32> = marks.iter().flatten().map(|mark| mark.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
    let blobs = open(&disk);
    for thread in 0..4 {
        for n in 0..200 {
            let value = value(thread, n);
            assert_eq!(blobs.get(&Sha256::of(&value)).unwrap(), Some(value));
        }
    }
    assert!(findings(&blobs).is_empty());
}

#[test]
fn damaged_small_blob_is_never_served_and_is_stored_again() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    let (id, _) = store(&blobs, b"precious");
    let (other, _) = store(&blobs, b"beside it");
    let path = folder.path().join(segments::segment_path(1));
    edit(&path, |bytes| bytes[48 + 104] ^= 1);
    let marks = segments::list(&disk).unwrap();
    for blobs in [&blobs, &open(&disk)] {
        blobs.set_committed(&marks);
        assert!(matches!(blobs.get(&id.sha256), Err(BlobError::Damaged { .. })));
        assert!(matches!(blobs.get_id(&id), Err(BlobError::Damaged { .. })));
        assert!(matches!(blobs.place(&id, "placed", 0o644), Err(BlobError::Damaged { .. })));
        assert_eq!(blobs.get(&other.sha256).unwrap().unwrap(), b"beside it");
        assert!(matches!(findings(blobs)[..], [BlobFinding::DamagedRecord { offset: 48, .. }]));
    }
    assert!(disk.stat("placed").unwrap().is_none());
    let fresh = open(&disk);
    fresh.set_committed(&marks);
    assert!(!fresh.can_share(&id), "a damaged record is not shared");
    let (_, repaired) = store(&fresh, b"precious");
    assert_eq!(repaired, [id]);
    assert_eq!(open(&disk).get(&id.sha256).unwrap().unwrap(), b"precious");
    assert_eq!(store(&fresh, b"precious").1, []);
}

#[test]
fn damaged_large_blob_is_found_by_size_or_hash_and_replaced() {
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 3] = [|bytes| bytes[500] ^= 1, |bytes| bytes.truncate(10), |bytes| bytes.push(0)];
    for change in changes {
        let (folder, disk) = disk();
        let bytes = noise(1, 1000);
        let (id, _) = store(&open(&disk), &bytes);
        let path = folder.path().join(LocalBlobs::large_path(&id.blake3));
        edit(&path, change);
        let blobs = open(&disk);
        assert!(matches!(blobs.get_id(&id), Err(BlobError::Damaged { .. })));
        assert!(matches!(blobs.place(&id, "placed", 0o444), Err(BlobError::Damaged { .. })));
        assert!(matches!(findings(&blobs)[..], [BlobFinding::DamagedLarge { .. }]));
        assert_eq!(store(&blobs, &bytes).1, [id]);
        assert_eq!(open(&disk).get_id(&id).unwrap().unwrap(), bytes);
        assert!(findings(&blobs).is_empty());
        assert_eq!(store(&blobs, &bytes).1, []);
        // Changed again under a process that has verified it.
        edit(&path, change);
        assert_eq!(store(&blobs, &bytes).1, [id]);
    }
}

#[test]
fn link_or_fifo_in_place_of_a_large_blob_is_replaced_and_its_target_untouched() {
    let bytes = noise(1, 1000);
    let id = BlobId::of(&bytes);
    for fifo in [false, true] {
        let (folder, disk) = disk();
        let path = LocalBlobs::large_path(&id.blake3);
        disk.mkdir_all(path.rsplit_once('/').unwrap().0).unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, b"untouched").unwrap();
        if fifo {
            let kind = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(rustix::fs::CWD, folder.path().join(&path), kind, mode, 0).unwrap();
        } else {
            symlink(&target, folder.path().join(&path)).unwrap();
        }
        let blobs = open(&disk);
        assert!(!blobs.contains(&id).unwrap());
        assert!(matches!(blobs.get_id(&id), Err(BlobError::Damaged { .. })));
        assert!(matches!(findings(&blobs)[..], [BlobFinding::DamagedLarge { .. }]));
        assert_eq!(store(&blobs, &bytes).1, [id]);
        assert_eq!(blobs.get_id(&id).unwrap().unwrap(), bytes);
        assert_eq!(std::fs::read(&target).unwrap(), b"untouched");
    }
}

#[test]
fn place_gives_a_file_of_the_bytes_and_refuses_a_taken_name() {
    let (folder, disk) = disk();
    for share_large in [true, false] {
        let blobs = LocalBlobs::open(disk.clone(), BlobOptions { share_large, ..options() });
        let large = noise(1, 1000);
        for (bytes, mode) in [(b"small".to_vec(), 0o644), (large.clone(), 0o444), (large, 0o755)] {
            let (id, _) = store(&blobs, &bytes);
            let to = format!("placed-{}-{mode:o}-{share_large}", bytes.len());
            let placed = blobs.place(&id, &to, mode).unwrap();
            assert_eq!(std::fs::read(folder.path().join(&to)).unwrap(), bytes);
            assert_eq!(disk.stat(&to).unwrap().unwrap().mode, mode);
            assert!(placed != Placed::HardLink || (share_large && mode == 0o444));
            assert!(matches!(blobs.place(&id, &to, mode), Err(BlobError::Disk(DiskError::Exists { .. }))));
            assert_eq!(
                disk.stat(&LocalBlobs::large_path(&id.blake3)).unwrap().map_or(0o444, |s| s.mode),
                0o444
            );
        }
        let absent = BlobId::of(b"absent");
        assert!(matches!(blobs.place(&absent, "absent", 0o644), Err(BlobError::Missing { .. })));
        assert!(disk.stat("absent").unwrap().is_none());
    }
}

#[test]
fn check_names_foreign_segments_and_unexpected_things() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    store(&blobs, b"x");
    store(&blobs, &noise(1, 1000));
    let objects = folder.path().join("objects");
    std::fs::write(objects.join("stray"), b"").unwrap();
    std::fs::write(objects.join(".tmp-1-2"), b"").unwrap();
    std::fs::create_dir(objects.join("zz")).unwrap();
    std::fs::create_dir_all(objects.join("00/sub")).unwrap();
    symlink("index", objects.join("segments/link")).unwrap();
    let foreign = LocalBlobs::open(disk.clone(), BlobOptions { store_id: [1; 16], ..options() });
    store(&foreign, b"y");
    let found = findings(&blobs);
    let text = format!("{found:?}");
    for wanted in ["stray", "zz", "00/sub", "segments/link"] {
        assert!(text.contains(&format!("Unexpected {{ path: \"objects/{wanted}\"")), "{wanted}: {text}");
    }
    assert!(text.contains("Leftover { path: \"objects/.tmp-1-2\""));
    assert!(text.contains("BadSegment { path: \"objects/segments/00000002.seg\", why: ForeignStore"));
    assert_eq!(found.len(), 6, "{text}");
    assert_eq!(blobs.find(&Sha256::of(b"y")).unwrap(), None);
}

#[test]
fn writer_after_a_failed_fsync_is_poisoned() {
    for fault in [Fault::Fail, Fault::FailAfter] {
        for name in ["fsync", "fsync_dir"] {
            let (folder, plain) = disk();
            let blobs = open(&plain.clone().with_hook(Recorder::failing_first(name, fault)));
            let mut writer = blobs.writer();
            writer.put(b"small").unwrap();
            let large = writer.put(&noise(1, 1000)).unwrap();
            assert!(writer.flush().is_err());
            assert!(matches!(writer.put(b"more"), Err(BlobError::Poisoned)));
            assert!(matches!(writer.flush(), Err(BlobError::Poisoned)));
            // Not to be shared: its bytes may be gone.
            assert!(!folder.path().join(LocalBlobs::large_path(&large.blake3)).exists());
            drop(writer);
            let mut next = blobs.writer();
            next.put(b"small").unwrap();
            assert_eq!(next.flush().unwrap()[0].number, 2, "the dead segment is not appended to");
        }
    }
}

#[test]
fn put_and_flush_failing_at_any_call_keep_what_was_acknowledged() {
    let small: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 30]).collect();
    let large: Vec<Vec<u8>> = (0..2).map(|n| noise(n, 300)).collect();
    for fault in [Fault::Fail, Fault::FailAfter, Fault::FailShort(7), Fault::FailShort(110)] {
        for nth in 0.. {
            let (_folder, plain) = disk();
            let recorder = Recorder::crashing(nth, fault);
            let blobs = open(&plain.clone().with_hook(recorder.clone()));
            let mut acknowledged: Vec<&Vec<u8>> = Vec::new();
            let mut marks = Vec::new();
            let mut writer = blobs.writer();
            for round in 0..2 {
                let values = [&small[2 * round], &large[round], &small[2 * round + 1]];
                let put = values.iter().try_for_each(|value| writer.put(value).map(drop));
                let Ok(flushed) = put.and_then(|()| writer.flush()) else { break };
                blobs.set_committed(&flushed);
                marks = flushed;
                acknowledged.extend(values);
            }
            drop(writer);
            // The next process.
            let after = open(&plain);
            after.set_committed(&marks);
            let label = format!("call {nth} {fault:?}");
            after.cut_torn_tails().unwrap();
            for value in &acknowledged {
                assert_eq!(after.get_id(&BlobId::of(value)).unwrap().as_ref(), Some(*value), "{label}");
            }
            for value in small.iter().chain(&large) {
                let found = after.get_id(&BlobId::of(value)).unwrap();
                assert!(found.is_none_or(|found| found == *value), "{label}");
            }
            let left: Vec<_> = findings(&after)
                .into_iter()
                .filter(|finding| !matches!(finding, BlobFinding::Leftover { .. }))
                .collect();
            assert_eq!(left, [], "{label}");
            for value in small.iter().chain(&large) {
                store(&after, value);
                assert!(after.contains(&BlobId::of(value)).unwrap());
            }
            if !recorder.fired() {
                assert_eq!(acknowledged.len(), 6);
                break;
            }
        }
    }
}

#[test]
fn blob_above_the_segment_limit_is_refused_where_it_must_fit() {
    let (_folder, disk) = disk();
    let blobs = open(&disk);
    let bytes = vec![0; limits::SEGMENT_BLOB_BYTES as usize + 1];
    assert!(matches!(blobs.writer().put_small(&bytes), Err(BlobError::TooLarge { .. })));
    let id = BlobId { bytes: bytes.len() as u64, ..BlobId::of(b"") };
    assert!(matches!(blobs.get_id(&id), Err(BlobError::TooLarge { .. })));
}
