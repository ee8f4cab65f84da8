//! What crashes leave in segments: found, left alone, and cut only where nothing of it was committed.

use super::tests::{HEADER, disk, findings, open, options, store};
use super::*;
use crate::backend::segments;

#[test]
fn torn_tail_is_found_left_alone_and_cut_only_when_told_to() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    let (id, _) = store(&blobs, b"committed");
    let marks = segments::list(&disk).unwrap();
    let path = folder.path().join(segments::segment_path(1));
    let whole = std::fs::read(&path).unwrap();
    let (_, full) = (store(&blobs, b"never committed"), std::fs::read(&path).unwrap());
    for cut in whole.len() + 1..full.len() {
        std::fs::write(&path, &full[..cut]).unwrap();
        let blobs = open(&disk);
        blobs.set_committed(&marks);
        let offset = whole.len() as u64;
        let bytes = cut as u64 - offset;
        let name = segments::segment_path(1);
        assert_eq!(findings(&blobs), [BlobFinding::TornTail { path: name.clone(), offset, bytes }]);
        assert_eq!(blobs.get(&id.sha256).unwrap().unwrap(), b"committed");
        if cut == whole.len() + 60 {
            // A writer takes a new segment.
            let mut writer = blobs.writer();
            writer.put(b"other").unwrap();
            assert_eq!(writer.flush().unwrap()[0].number, 2);
            assert_eq!(std::fs::read(&path).unwrap(), full[..cut]);
            drop(writer);
            disk.unlink(&segments::segment_path(2)).unwrap();
        }
        assert_eq!(blobs.cut_torn_tails().unwrap(), [Cut { path: name, from: offset, bytes }]);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert!(findings(&blobs).is_empty());
    }
}

#[test]
fn torn_segment_header_is_taken_away() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    store(&blobs, b"x");
    let path = folder.path().join(segments::segment_path(1));
    let header = std::fs::read(&path).unwrap()[..48].to_vec();
    for len in 0..48 {
        for torn in [header[..len].to_vec(), vec![0; 200]] {
            std::fs::write(&path, &torn).unwrap();
            let blobs = open(&disk);
            assert!(matches!(findings(&blobs)[..], [BlobFinding::TornTail { offset: 0, .. }]));
            assert_eq!(blobs.cut_torn_tails().unwrap().len(), 1);
            assert!(!path.exists());
        }
    }
}

#[test]
fn segment_that_no_commit_names_is_a_torn_tail_whatever_of_it_is_lost() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    store(&blobs, b"one");
    store(&blobs, b"two");
    let name = segments::segment_path(1);
    let path = folder.path().join(&name);
    let whole = std::fs::read(&path).unwrap();
    let second = HEADER + (whole.len() - HEADER) / 2;
    for lost in [0..8, 0..HEADER, 30..60, HEADER..second] {
        let mut torn = whole.clone();
        torn[lost.clone()].fill(0);
        std::fs::write(&path, &torn).unwrap();
        // Not knowing what is committed: damage, and nothing is cut.
        let blobs = open(&disk);
        assert!(!matches!(findings(&blobs)[0], BlobFinding::TornTail { .. }), "{lost:?}");
        assert!(blobs.cut_torn_tails().unwrap().is_empty());
        blobs.set_committed(&[]);
        assert!(matches!(findings(&blobs)[..], [BlobFinding::TornTail { .. }]), "{lost:?}");
        assert_eq!(blobs.cut_torn_tails().unwrap().len(), 1);
        assert_eq!(path.exists(), lost.start >= HEADER, "{lost:?}");
        assert!(findings(&open(&disk)).is_empty());
    }
    // One of another store is nobody's unfinished write.
    let other = LocalBlobs::open(disk.clone(), BlobOptions { store_id: [1; 16], ..options() });
    std::fs::write(&path, &whole).unwrap();
    other.set_committed(&[]);
    assert!(matches!(findings(&other)[..], [BlobFinding::BadSegment { .. }]));
    assert!(other.cut_torn_tails().unwrap().is_empty());
}

#[test]
fn what_is_committed_is_known_still_after_the_table_of_blobs_is_written() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    store(&blobs, b"one");
    store(&blobs, b"two");
    blobs.set_committed(&segments::list(&disk).unwrap());
    blobs.rewrite_index().unwrap();
    let path = folder.path().join(segments::segment_path(1));
    let mut damaged = std::fs::read(&path).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert!(blobs.cut_torn_tails().unwrap().is_empty());
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
    assert!(matches!(findings(&blobs)[..], [BlobFinding::DamagedRecord { .. }]));
}

#[test]
fn new_segment_that_recovery_takes_away_before_it_is_locked_is_not_written_to() {
    let (_folder, disk) = disk();
    disk.mkdir_all(segments::FOLDER).unwrap();
    let name = segments::segment_path(1);
    // Made and not locked yet: to recovery, what a process that died has left.
    let new = disk.append_new(&name).unwrap();
    assert_eq!(open(&disk).cut_torn_tails().unwrap(), [Cut { path: name.clone(), from: 0, bytes: 0 }]);
    assert!(!writer::lock_named(&new).unwrap());
    // Nor where somebody else has the name by now.
    let other = disk.append_new(&name).unwrap();
    assert!(!writer::lock_named(&new).unwrap());
    assert!(writer::lock_named(&other).unwrap());
    assert!(open(&disk).cut_torn_tails().unwrap().is_empty());
    assert!(disk.stat(&name).unwrap().is_some());
}

#[test]
fn cut_never_reaches_below_a_committed_mark_or_into_a_held_segment() {
    let (folder, disk) = disk();
    let blobs = open(&disk);
    store(&blobs, b"one");
    store(&blobs, b"two");
    let path = folder.path().join(segments::segment_path(1));
    let marks = segments::list(&disk).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // Damage below the mark, and a tail beyond it: the tail alone goes.
    let mut bad = [whole.as_slice(), b"torn"].concat();
    bad[60] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let other = open(&disk);
    other.set_committed(&marks);
    assert_eq!(other.cut_torn_tails().unwrap()[0].from, whole.len() as u64);
    assert_eq!(std::fs::read(&path).unwrap(), bad[..whole.len()]);
    // Nothing vouches for it, but a good record follows the bad one: left for people to look at.
    assert!(open(&disk).cut_torn_tails().unwrap().is_empty());
    assert_eq!(std::fs::read(&path).unwrap(), bad[..whole.len()]);
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(
        other.cut_torn_tails(),
        Err(BlobError::Damaged { damage: BlobDamage::Shorter { .. }, .. })
    ));
    std::fs::write(&path, &whole).unwrap();
    let mut writer = other.writer();
    writer.put(b"held").unwrap();
    let held = std::fs::read(&path).unwrap();
    std::fs::write(&path, &held[..held.len() - 1]).unwrap();
    assert!(other.cut_torn_tails().unwrap().is_empty());
    drop(writer);
    assert_eq!(other.cut_torn_tails().unwrap().len(), 1);
}
