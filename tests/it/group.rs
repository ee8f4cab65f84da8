//! Threads that share a store commit together: what each is told stays as true as if it were alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use strongroom::backend::{Call, Errno, Hook, Verdict};
use strongroom::base::digest::Sha256;
use strongroom::format::entry::{Entry, EntryKind};
use strongroom::store::{ErrorKind, Review, Store, StoreError};

use crate::fixture::{self, context, failures, open};

/// Counts the flushes of journal files; may fail one of them.
#[derive(Default)]
struct Flushes {
    journal: AtomicUsize,
    /// Which of them fails, having been made.
    fails: Option<usize>,
    /// How many threads must be at it before the first one goes on.
    wanted: usize,
    there: AtomicUsize,
}

impl Hook for Flushes {
    fn call(&self, call: &Call<'_>) -> Verdict {
        if call.name != "fsync" || !call.path.starts_with("audit/wal/") {
            return Verdict::Go;
        }
        let at = self.journal.fetch_add(1, Ordering::SeqCst);
        if at == 0 {
            while self.there.load(Ordering::SeqCst) < self.wanted {
                std::thread::yield_now();
            }
            // They have said so just before they came.
            std::thread::sleep(Duration::from_millis(300));
        }
        if self.fails == Some(at) { Verdict::FailAfter(Errno::IO) } else { Verdict::Go }
    }
}

fn entries(store: &Store) -> Vec<Entry> {
    let view = store.log().unwrap();
    assert!(view.pending.is_empty());
    (0..view.size()).map(|index| store.entry(&view, index).unwrap()).collect()
}

fn note(thread: usize, round: usize) -> Vec<u8> {
    format!("note {round} of thread {thread}").into_bytes()
}

#[test]
fn group_of_threads_has_every_acknowledged_note_and_fewer_flushes_than_notes() {
    const THREADS: usize = 64;
    const ROUNDS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    fixture::init(&folder.path().join("store"));
    let hook = Arc::new(Flushes::default());
    let store = Store::open(&folder.path().join("store"), context(Some(hook.clone()))).unwrap();
    let told: Vec<(Vec<u8>, u64)> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let store = store.clone();
            let one = move |round| {
                let note = note(thread, round);
                let index = store.note(std::slice::from_ref(&note)).unwrap()[0];
                // Acknowledged is settled: whoever looks now finds it.
                let entry = store.entry(&store.log().unwrap(), index).unwrap();
                assert_eq!(entry.detail, Some(Sha256::of(&note)));
                (note, index)
            };
            scope.spawn(move || (0..ROUNDS).map(one).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let entries = entries(&store);
    assert_eq!(entries.len(), THREADS * ROUNDS);
    let places: BTreeSet<u64> = told.iter().map(|(_, index)| *index).collect();
    assert_eq!(places.len(), entries.len());
    for (note, index) in &told {
        assert_eq!(entries[*index as usize].detail, Some(Sha256::of(note)));
        assert_eq!(store.show_revision(&Sha256::of(note)).unwrap(), *note);
    }
    let flushes = hook.journal.load(Ordering::SeqCst);
    assert!(flushes < THREADS * ROUNDS / 2, "{flushes} flushes for {} notes", THREADS * ROUNDS);
    let reopened = fixture::open(&folder.path().join("store"));
    assert_eq!(failures(&reopened), Vec::<String>::new());
}

#[test]
fn notes_of_one_process_after_the_other_go_to_one_segment() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    fixture::init(&dir);
    for round in 0..5 {
        open(&dir).note(&[note(0, round)]).unwrap();
    }
    let segments = std::fs::read_dir(dir.join("objects/segments")).unwrap();
    let is_segment = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".seg");
    assert_eq!(segments.map(|entry| entry.unwrap().file_name()).filter(is_segment).count(), 1);
}

#[test]
fn group_whose_flush_fails_is_told_so_and_nobody_is_told_a_falsehood() {
    const THREADS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    fixture::init(&folder.path().join("store"));
    let hook = Arc::new(Flushes { fails: Some(1), wanted: THREADS, ..Flushes::default() });
    let store = Store::open(&folder.path().join("store"), context(Some(hook.clone()))).unwrap();
    let told: Vec<Result<Vec<u64>, StoreError>> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let (store, hook) = (store.clone(), Arc::clone(&hook));
            scope.spawn(move || {
                hook.there.fetch_add(1, Ordering::SeqCst);
                store.note(&[note(thread, 0)])
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let failed: Vec<&StoreError> = told.iter().filter_map(|told| told.as_ref().err()).collect();
    assert!(failed.len() > 1 && failed.len() < THREADS, "{failed:?}");
    for error in &failed {
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("is not known"), "{error}");
        assert!(matches!(error, StoreError::Shared(_)));
    }
    // What could be read of the failed batch is committed by the next holder of the lock, once.
    store.note(&[b"after".to_vec()]).unwrap();
    let entries = entries(&store);
    assert_eq!(entries.len(), THREADS + 1);
    for (thread, told) in told.iter().enumerate() {
        if let Ok(places) = told {
            assert_eq!(entries[places[0] as usize].detail, Some(Sha256::of(&note(thread, 0))));
        }
    }
    assert_eq!(failures(&fixture::open(&folder.path().join("store"))), Vec::<String>::new());
}

#[test]
fn group_of_migrations_and_reviews_changes_each_run_once_and_chains_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture::source(folder.path());
    let store = fixture::init(&folder.path().join("store"));
    fixture::adopt(&store, &source);
    let runs = store.all_runs().unwrap();
    let before = entries(&store).len();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (store, runs) = (store.clone(), runs.clone());
            scope.spawn(move || {
                if thread % 2 == 0 {
                    // Others may have migrated a run since it was looked at: then it is left.
                    fixture::migrate(&store).unwrap();
                } else {
                    assert_eq!(store.review(&runs, Review::Accepted).unwrap().len(), runs.len());
                }
            });
        }
    });
    let entries = entries(&store);
    let of = |kind| entries[before..].iter().filter(|entry| entry.kind == kind).count();
    assert_eq!(of(EntryKind::Reviewed), 3 * runs.len());
    let migrated: Vec<_> =
        entries.iter().filter(|entry| entry.kind == EntryKind::Migrated).filter_map(Entry::run).collect();
    assert_eq!(migrated.len(), migrated.iter().collect::<BTreeSet<_>>().len());
    assert!(!migrated.is_empty());
    assert_eq!(failures(&fixture::open(&folder.path().join("store"))), Vec::<String>::new());
}

#[test]
fn group_with_an_unknown_run_answers_only_its_own_thread() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture::source(folder.path());
    let store = fixture::init(&folder.path().join("store"));
    fixture::adopt(&store, &source);
    let known = store.all_runs().unwrap()[0].clone();
    let mut unknown = known.clone();
    unknown.run = "nobody".parse().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (store, known, unknown) = (store.clone(), known.clone(), unknown.clone());
            scope.spawn(move || {
                if thread % 4 == 0 {
                    let error = store.review(&[unknown], Review::Rejected).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Conflict);
                } else {
                    store.review(&[known], Review::Accepted).unwrap();
                }
            });
        }
    });
    let reviewed = entries(&store).iter().filter(|entry| entry.kind == EntryKind::Reviewed).count();
    assert_eq!(reviewed, 12);
    assert_eq!(failures(&fixture::open(&folder.path().join("store"))), Vec::<String>::new());
}
