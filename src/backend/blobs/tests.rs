//! The blobs' contract over both drivers, and what crashes, damage and other writers may do to the
//! local one.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::backend::segments;
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
pub(super) fn noise(seed: u8, len: usize) -> Vec<u8> {
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
