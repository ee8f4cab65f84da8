//! The journal's contract over both drivers, and what a crash or a flipped bit may do to the local one.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::backend::testing::{Fault, Recorder};

const ID: [u8; 16] = [7; 16];

fn lock(disk: &Disk) -> FileLock {
    FileLock::acquire(disk, "lock", "test", Duration::from_secs(5)).unwrap()
}

fn open(disk: &Disk, base: Base) -> Result<(Wal, Vec<Frame>), WalError> {
    Wal::open(disk, &lock(disk), ID, base)
}

fn disk() -> (tempfile::TempDir, Disk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    (folder, disk)
}

fn bodies(frames: &[Frame]) -> Vec<&[u8]> {
    frames.iter().map(|frame| frame.body.as_slice()).collect()
}

/// The one generation's file.
fn only_file(root: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> =
        std::fs::read_dir(root.join(FOLDER)).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

fn contract(journal: &mut dyn Journal, mut reopen: impl FnMut(Base) -> Option<Vec<Frame>>) {
    let start = journal.head();
    assert_eq!(journal.pending().unwrap(), []);
    let first = journal.commit(&start, b"first").unwrap();
    let second = journal.commit(&first.base(), b"").unwrap();
    assert_eq!((first.seq, second.seq), (start.seq + 1, start.seq + 2));
    assert_ne!(first.hash, second.hash);
    assert!(matches!(journal.commit(&first.base(), b"late"), Err(WalError::Conflict { .. })));
    let forged = Base { hash: [1; 32], ..second.base() };
    assert!(matches!(journal.commit(&forged, b"forged"), Err(WalError::Conflict { .. })));
    assert_eq!(journal.head(), second.base());
    assert_eq!(journal.pending().unwrap(), [first.clone(), second.clone()]);
    if let Some(found) = reopen(start) {
        assert_eq!(found, [first, second.clone()]);
    }
    assert_eq!(journal.retire().unwrap(), second.base());
    assert_eq!(journal.pending().unwrap(), []);
    assert_eq!(journal.retire().unwrap(), second.base());
    let third = journal.commit(&second.base(), b"third").unwrap();
    assert_eq!(third.seq, second.seq + 1);
    if let Some(found) = reopen(second.base()) {
        assert_eq!(found, std::slice::from_ref(&third));
    }
    let too_large = vec![0; limits::FRAME_BYTES + 1];
    assert!(matches!(journal.commit(&third.base(), &too_large), Err(WalError::TooLarge { .. })));
}

#[test]
fn batch_over_the_limit_of_a_frame_is_refused_by_its_number() {
    let (_folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    let error = wal.append(&vec![0; limits::FRAME_BYTES + 1]).unwrap_err().to_string();
    assert_eq!(error, "a batch of 67108865 bytes is over the limit of 67108864");
    assert!(wal.append(b"small").is_ok(), "nothing of it was written");
}

#[test]
fn memory_journal_keeps_the_contract() {
    contract(&mut MemoryJournal::new(Base::default()), |_| None);
    contract(&mut MemoryJournal::new(Base { seq: 9, hash: [3; 32] }), |_| None);
}

#[test]
fn local_journal_keeps_the_contract() {
    for base in [Base::default(), Base { seq: 9, hash: [3; 32] }] {
        let (_folder, disk) = disk();
        let (mut wal, found) = open(&disk, base).unwrap();
        assert!(found.is_empty());
        contract(&mut wal, |base| Some(read_pending(&disk, &ID, &base).unwrap().frames));
    }
}

#[test]
fn both_drivers_give_the_same_frames() {
    let (_folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    let mut memory = MemoryJournal::default();
    for body in [b"a".as_slice(), b"", b"ccc"] {
        let head = memory.head();
        assert_eq!(wal.append(body).unwrap(), memory.commit(&head, body).unwrap());
    }
}

#[test]
fn journal_with_nothing_pending_makes_no_file() {
    let (folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    wal.retire().unwrap();
    assert!(!folder.path().join("audit").exists());
}

#[test]
fn reopening_copies_pending_frames_to_a_durable_new_generation_first() {
    let (folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    wal.append(b"one").unwrap();
    wal.append(b"two").unwrap();
    let old = only_file(folder.path());
    let recorder = Recorder::new();
    let watched = disk.clone().with_hook(recorder.clone());
    let (mut wal, frames) = Wal::open(&watched, &lock(&disk), ID, Base::default()).unwrap();
    assert_eq!(bodies(&frames), [b"one", b"two"]);
    assert_eq!(recorder.names(), ["create", "write", "fsync", "fsync_dir", "unlink", "fsync_dir"]);
    assert_ne!(only_file(folder.path()), old);
    wal.append(b"three").unwrap();
    assert_eq!(
        bodies(&read_pending(&disk, &ID, &Base::default()).unwrap().frames),
        [b"one".as_slice(), b"two", b"three"]
    );
}

#[test]
fn frames_up_to_the_base_are_passed_over() {
    let (_folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    let one = wal.append(b"one").unwrap();
    let two = wal.append(b"two").unwrap();
    assert_eq!(bodies(&read_pending(&disk, &ID, &one.base()).unwrap().frames), [b"two"]);
    assert!(read_pending(&disk, &ID, &two.base()).unwrap().frames.is_empty());
    // A base of another history, or one that leaves a gap, is damage.
    for bad in [Base { hash: [9; 32], ..one.base() }, Base { hash: [9; 32], ..two.base() }] {
        assert!(matches!(read_pending(&disk, &ID, &bad), Err(WalError::Damaged { .. })));
    }
    let (_folder, disk) = self::disk();
    let (mut wal, _) = open(&disk, two.base()).unwrap();
    wal.append(b"three").unwrap();
    assert!(matches!(read_pending(&disk, &ID, &one.base()), Err(WalError::Damaged { .. })));
}

#[test]
fn journal_of_another_store_is_damage() {
    let (_folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    wal.append(b"one").unwrap();
    let error = read_pending(&disk, &[8; 16], &Base::default()).unwrap_err();
    assert!(matches!(error, WalError::Damaged { damage: Damage::ForeignStore { found: ID }, .. }), "{error}");
    assert!(Wal::open(&disk, &lock(&disk), [8; 16], Base::default()).is_err());
}

/// Three frames, their file's bytes, and where each ends.
fn three() -> (tempfile::TempDir, Disk, Vec<u8>, Vec<usize>) {
    let (folder, disk) = disk();
    let (mut wal, _) = open(&disk, Base::default()).unwrap();
    let mut ends = vec![HEADER_LEN];
    for body in [b"first".as_slice(), b"second", b"third and last"] {
        wal.append(body).unwrap();
        ends.push(ends.last().unwrap() + 80 + body.len());
    }
    drop(wal);
    let bytes = std::fs::read(only_file(folder.path())).unwrap();
    assert_eq!(bytes.len(), ends[3]);
    (folder, disk, bytes, ends)
}

#[test]
fn journal_cut_at_any_byte_keeps_the_frames_before_the_cut() {
    let (folder, disk, bytes, ends) = three();
    let path = only_file(folder.path());
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let pending = read_pending(&disk, &ID, &Base::default()).unwrap();
        let whole = ends[1..].iter().filter(|end| **end <= cut).count();
        assert_eq!(pending.frames.len(), whole, "cut at {cut}");
        let at_an_end = ends.contains(&cut);
        assert_eq!(pending.torn.is_none(), at_an_end, "cut at {cut}: {:?}", pending.torn);
        if let Some(torn) = pending.torn {
            let from = if cut < HEADER_LEN { 0 } else { ends[whole] };
            assert_eq!((torn.offset, torn.bytes), (from as u64, (cut - from) as u64));
        }
    }
}

#[test]
fn torn_frame_with_its_head_missing_is_torn_still() {
    // Its tail reached the disk before its head.
    let (folder, disk, mut bytes, ends) = three();
    let path = only_file(folder.path());
    bytes[ends[2]..ends[2] + 20].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let pending = read_pending(&disk, &ID, &Base::default()).unwrap();
    assert_eq!(pending.frames.len(), 2);
    assert_eq!(pending.torn.unwrap().offset, ends[2] as u64);
    // The next holder goes on after the last good frame, in a new generation.
    let (mut wal, frames) = open(&disk, Base::default()).unwrap();
    assert_eq!(frames.len(), 2);
    assert!(wal.torn().is_some());
    wal.append(b"other third").unwrap();
    let pending = read_pending(&disk, &ID, &Base::default()).unwrap();
    assert_eq!(pending.torn, None);
    assert_eq!(bodies(&pending.frames)[2], b"other third");
}

#[test]
fn journal_with_any_bit_flipped_never_serves_another_frame() {
    let (folder, disk, bytes, ends) = three();
    let path = only_file(folder.path());
    let good = read_pending(&disk, &ID, &Base::default()).unwrap().frames;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).unwrap();
        match read_pending(&disk, &ID, &Base::default()) {
            Err(WalError::Damaged { .. }) => {}
            Err(error) => panic!("bit {bit}: {error}"),
            // Only the last frame can be taken for torn.
            Ok(pending) => {
                assert!(bit / 8 >= ends[2], "bit {bit} of an earlier frame was not found");
                assert_eq!(pending.frames, good[..2]);
                assert_eq!(pending.torn.unwrap().offset, ends[2] as u64);
            }
        }
    }
}

#[test]
fn journal_after_a_failed_fsync_is_poisoned() {
    for name in ["fsync", "write", "fsync_dir"] {
        let (_folder, plain) = disk();
        let watched = plain.clone().with_hook(Recorder::failing_first(name, Fault::FailAfter));
        let (mut wal, _) = Wal::open(&watched, &lock(&plain), ID, Base::default()).unwrap();
        assert!(matches!(wal.append(b"one"), Err(WalError::OutcomeUnknown { .. })), "{name}");
        assert!(matches!(wal.append(b"two"), Err(WalError::Poisoned)));
        assert!(matches!(wal.retire(), Err(WalError::Poisoned)));
        assert_eq!(wal.head(), Base::default());
        // It was carried out all the same: the next holder finds it.
        let (_, frames) = open(&plain, Base::default()).unwrap();
        assert_eq!(bodies(&frames), [b"one"]);
    }
}

/// Appends and retires; gives the acknowledged bodies and the base the caller would have stored.
fn work(disk: &Disk, lock: &FileLock) -> (Vec<&'static [u8]>, Base) {
    let mut acknowledged: Vec<&'static [u8]> = Vec::new();
    let mut base = Base::default();
    let Ok((mut wal, _)) = Wal::open(disk, lock, ID, base) else { return (acknowledged, base) };
    for round in [[b"one".as_slice(), b"two"], [b"three", b"four"]] {
        for body in round {
            if wal.append(body).is_err() {
                return (acknowledged, base);
            }
            acknowledged.push(body);
        }
        if round[0] == b"one" {
            base = wal.head();
            if wal.retire().is_err() {
                return (acknowledged, base);
            }
        }
    }
    (acknowledged, base)
}

#[test]
fn journal_failing_at_any_call_keeps_what_was_acknowledged() {
    let all: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];
    for fault in [Fault::Fail, Fault::FailAfter, Fault::FailShort(30), Fault::FailShort(120)] {
        for nth in 0.. {
            let (_folder, plain) = disk();
            let guard = lock(&plain);
            let recorder = Recorder::crashing(nth, fault);
            let (acknowledged, base) = work(&plain.clone().with_hook(recorder.clone()), &guard);
            // A second crash, at every place of the recovery, must not lose anything either.
            for again in 0..8 {
                let second = plain.clone().with_hook(Recorder::crashing(again, fault));
                let _ = Wal::open(&second, &guard, ID, base);
            }
            let (wal, frames) = Wal::open(&plain, &guard, ID, base).unwrap();
            let skipped = base.seq as usize;
            let found = bodies(&frames);
            let label = format!("call {nth} {fault:?}: {found:?}");
            assert_eq!(found, all[skipped..skipped + found.len()], "{label}");
            assert!(skipped + found.len() >= acknowledged.len(), "{label}");
            assert_eq!(wal.head().seq as usize, skipped + found.len());
            if !recorder.fired() {
                assert_eq!(acknowledged, all);
                break;
            }
        }
    }
}

#[test]
fn reader_while_a_writer_works_sees_frames_in_order() {
    let (_folder, disk) = disk();
    let guard = lock(&disk);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut wal, _) = Wal::open(&disk, &guard, ID, Base::default()).unwrap();
            for number in 0..30u32 {
                wal.append(&number.to_le_bytes()).unwrap();
            }
        });
        while !writer.is_finished() {
            let pending = read_pending(&disk, &ID, &Base::default()).unwrap();
            for (number, frame) in pending.frames.iter().enumerate() {
                assert_eq!(frame.body, (number as u32).to_le_bytes());
            }
        }
    });
}
