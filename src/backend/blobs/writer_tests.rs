//! Writers: in which order their bytes become durable, which segments they take up, and what is left of
//! one that failed.

use super::tests::{disk, findings, noise, open, options, store};
use super::*;
use crate::backend::segments;
use crate::backend::testing::{Fault, Recorder};

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
