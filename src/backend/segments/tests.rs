//! Tests of the set of segments and of its index.

use super::*;
use crate::backend::blobs::{BlobOptions, LocalBlobs};

const ID: [u8; 16] = [9; 16];

fn disk() -> (tempfile::TempDir, Disk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    (folder, disk)
}

fn blobs(disk: &Disk) -> LocalBlobs {
    LocalBlobs::open(disk.clone(), BlobOptions { segment_bytes: 20_000, ..BlobOptions::new(ID) })
}

fn blob(number: u32) -> Vec<u8> {
    format!("blob {number}").into_bytes()
}

/// Stores blobs in a batch and gives all marks.
fn fill(blobs: &LocalBlobs, numbers: std::ops::Range<u32>) -> Vec<SegmentMark> {
    let mut writer = blobs.writer();
    for number in numbers {
        writer.put(&blob(number)).unwrap();
    }
    let marks = writer.flush().unwrap();
    blobs.set_committed(&marks);
    marks
}

fn all_found(segments: &Segments, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let id = BlobId::of(&blob(number));
        for found in [segments.locate_sha256(&id.sha256, false), segments.locate_blake3(&id.blake3, false)] {
            let found = found.unwrap();
            let (location, header) = found.first().unwrap_or_else(|| panic!("blob {number} not found"));
            let read = segments.read(*location, header.as_ref().unwrap()).unwrap().unwrap();
            assert_eq!(read.1, blob(number));
        }
    }
}

fn opened(disk: &Disk) -> Segments {
    Segments::new(disk.clone(), ID)
}

/// How many rows lie in memory, beyond the index.
fn rows_beyond(segments: &Segments) -> usize {
    segments.locate_sha256(&Sha256::of(b"anything"), false).unwrap();
    segments.state().by_sha256.len()
}

#[test]
fn index_covers_what_is_committed_and_the_rest_is_scanned() {
    let (_folder, disk) = disk();
    let blobs = blobs(&disk);
    fill(&blobs, 0..500);
    blobs.rewrite_index().unwrap();
    let mut writer = blobs.writer();
    for number in 500..510 {
        writer.put(&blob(number)).unwrap();
    }
    writer.flush().unwrap();
    let segments = opened(&disk);
    assert_eq!(rows_beyond(&segments), 10);
    all_found(&segments, 0..510);
    assert!(list(&disk).unwrap().len() > 1);
}

#[test]
fn index_rewritten_after_more_was_committed_holds_old_and_new() {
    let (_folder, disk) = disk();
    let blobs = blobs(&disk);
    for round in 0..4u32 {
        fill(&blobs, round * 100..round * 100 + 100);
        blobs.rewrite_index().unwrap();
        let segments = opened(&disk);
        assert_eq!(rows_beyond(&segments), 0);
        all_found(&segments, 0..round * 100 + 100);
        assert!(segments.locate_sha256(&Sha256::of(b"absent"), true).unwrap().is_empty());
    }
}

#[test]
fn index_damaged_at_any_byte_never_hides_a_blob_or_shows_another() {
    let (folder, disk) = disk();
    let blobs = blobs(&disk);
    fill(&blobs, 0..3);
    blobs.rewrite_index().unwrap();
    let path = folder.path().join(INDEX);
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        std::fs::write(&path, &bad).unwrap();
        let segments = opened(&disk);
        for number in 0..3 {
            let id = BlobId::of(&blob(number));
            let found = segments.locate_sha256(&id.sha256, true).unwrap();
            let sound = found.iter().any(|(_, header)| header.as_ref().is_ok_and(|header| header.id == id));
            let by_other = segments.locate_blake3(&id.blake3, true).unwrap();
            let other =
                by_other.iter().any(|(_, header)| header.as_ref().is_ok_and(|header| header.id == id));
            assert!(sound && other, "byte {at}, blob {number}");
        }
    }
    for cut in [0, 10, 40, 100, good.len() - 1] {
        std::fs::write(&path, &good[..cut]).unwrap();
        all_found(&opened(&disk), 0..3);
    }
}

#[test]
fn index_finds_all_rows_of_a_key_however_the_keys_lie() {
    let (_folder, disk) = disk();
    std::fs::create_dir_all(disk.full_path(FOLDER)).unwrap();
    let row = |key: [u8; 16], offset: u32| Row {
        key,
        location: Location { segment: 1, offset: u64::from(offset) },
    };
    let mut rows: Vec<Row> = (0..4000u32)
        .map(|n| {
            let mut key: [u8; 16] = super::key(Sha256::of(&n.to_le_bytes()).as_bytes());
            // Evenly, all at the beginning of one first byte, all at its end, and many times the same.
            match n % 4 {
                0 => {}
                1 => key[..4].copy_from_slice(&[7, 0, 0, 0]),
                2 => key[..4].copy_from_slice(&[7, 255, 255, 255]),
                _ => key = [8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, (n % 3) as u8],
            }
            row(key, n)
        })
        .collect();
    rows.sort();
    index::write(&disk, &ID, &[], None, &rows, &rows).unwrap();
    let index = Index::open(&disk, &ID).unwrap();
    let mut absent = rows.clone();
    absent.iter_mut().for_each(|row| row.key[15] ^= 0x80);
    for wanted in rows.iter().chain(&absent) {
        let all: Vec<Location> =
            rows.iter().filter(|row| row.key == wanted.key).map(|row| row.location).collect();
        assert_eq!(index.find(Table::Sha256, &wanted.key).unwrap(), all);
    }
}

#[test]
fn index_that_does_not_fit_the_segments_is_ignored() {
    let (folder, disk) = disk();
    let blobs = blobs(&disk);
    fill(&blobs, 0..10);
    blobs.rewrite_index().unwrap();
    let index = std::fs::read(folder.path().join(INDEX)).unwrap();
    // The same numbers, other segments, as after putting back a backup.
    std::fs::remove_dir_all(folder.path().join(FOLDER)).unwrap();
    fill(&self::blobs(&disk), 100..110);
    std::fs::write(folder.path().join(INDEX), index).unwrap();
    all_found(&opened(&disk), 100..110);
}

#[test]
fn segments_seen_by_one_reader_include_what_another_writes_later() {
    let (_folder, disk) = disk();
    let reader = blobs(&disk);
    assert_eq!(reader.find(&Sha256::of(&blob(1))).unwrap(), None);
    fill(&blobs(&disk), 0..2);
    assert_eq!(reader.find(&Sha256::of(&blob(1))).unwrap(), Some(BlobId::of(&blob(1))));
    fill(&blobs(&disk), 2..4);
    assert_eq!(reader.get(&Sha256::of(&blob(3))).unwrap(), Some(blob(3)));
}

#[test]
fn index_is_written_by_itself_once_it_has_fallen_behind() {
    let (folder, disk) = disk();
    let blobs = LocalBlobs::open(disk.clone(), BlobOptions::new(ID));
    fill(&blobs, 0..8200);
    assert!(!folder.path().join(INDEX).exists(), "nothing was committed when it was flushed");
    fill(&blobs, 8200..8201);
    assert!(folder.path().join(INDEX).exists());
    all_found(&opened(&disk), 8190..8201);
    assert!(!blobs.maintain_index().unwrap());
}

#[test]
fn segment_names_other_than_exact_are_not_segments() {
    assert_eq!(segment_number("0000000a.seg".as_ref()), Some(10));
    for bad in ["0000000A.seg", "a.seg", "00000001.se", "000000001.seg", "+0000001.seg", ".seg", "index"] {
        assert_eq!(segment_number(bad.as_ref()), None, "{bad}");
    }
}
