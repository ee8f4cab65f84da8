//! What the log costs: durable appends by threads and by processes, bulk appends, verification, size on
//! the disk, proofs. Beside each figure the same work by a bare program in the same run: append and fsync
//! for a durable append, the hashes and writes alone for bulk and verification.
//! `cargo bench --bench log -- [--entries N] [--seconds S] [--only WORD]`.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::base::clock::{Clock, Moment};
use strongroom::base::id::RunKey;
use strongroom::merkle::{CompactRange, leaf_hash, node_hash};
use strongroom::store::{AdoptOptions, Context, Quietly, Review, Signer, Store, VerifyOptions};

const PROCESSES: usize = 8;
const RUNS: usize = 2_000;
const REVIEWS: usize = 5;
const PROOFS: u64 = 500;
/// What the benchmark writes as one entry: the size of a note's own.
const BATCH: usize = 4096;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Moment::from_millis(since.map_or(0, |since| since.as_millis() as i64))
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
        bytes
    }
}

fn context() -> Context {
    Context {
        clock: Arc::new(SystemClock),
        actor: "bench@bench".to_owned(),
        reason: None,
        holder: "a benchmark".to_owned(),
        lock_timeout: Duration::from_secs(60),
        progress: Arc::new(Quietly),
        hook: None,
    }
}

/// Microseconds of processor time of this process so far, the kernel's part included.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = |at: usize| after.split_whitespace().nth(at).and_then(|text| text.parse::<f64>().ok());
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    (ticks(11).unwrap_or(f64::NAN) + ticks(12).unwrap_or(f64::NAN)) * 10_000.0
}

/// Seconds and microseconds of processor time that something took.
fn cost<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (cpu_before, start) = (cpu(), Instant::now());
    let done = work();
    (done, start.elapsed().as_secs_f64(), cpu() - cpu_before)
}

/// One line of the table.
fn row(what: &str, figure: String, beside: &str) {
    println!("| {what} | {figure} | {beside} |");
}

fn new_store(dir: &Path) -> Store {
    Store::init(dir, Some("bench.example/log".to_owned()), context()).expect("a new store")
}

fn durable(top: &Path, seconds: f64) {
    let bare = bare_appends(&top.join("bare"), seconds);
    row("append and fsync alone, one thread", format!("{bare:.0}/s"), "");
    let mut alone = f64::NAN;
    for threads in [1, 16, 64, 256] {
        let rate = by_threads(&top.join(format!("threads-{threads}")), threads, seconds);
        if threads == 1 {
            alone = rate;
        }
        let beside =
            format!("{:.1} times one thread, {:.2} times the bare fsyncs", rate / alone, rate / bare);
        row(&format!("durable appends, {threads} threads"), format!("{rate:.0}/s"), &beside);
    }
    let rate = by_processes(&top.join("processes"), seconds);
    let beside = format!("{:.1} times one thread, {:.2} times the bare fsyncs", rate / alone, rate / bare);
    row(&format!("durable appends, {PROCESSES} processes"), format!("{rate:.0}/s"), &beside);
}

fn bare_appends(path: &Path, seconds: f64) -> f64 {
    let mut file = File::create(path).expect("a file");
    let (mut done, start) = (0u64, Instant::now());
    while start.elapsed().as_secs_f64() < seconds {
        file.write_all(&[b'x'; 300]).and_then(|()| file.sync_all()).expect("a write");
        done += 1;
    }
    done as f64 / start.elapsed().as_secs_f64()
}

/// Notes one after the other until told to stop; gives how many were acknowledged.
fn append_until(store: &Store, name: &str, stop: impl Fn() -> bool) -> u64 {
    let mut done = 0;
    while !stop() {
        store.note(&[format!("{name} {done}").into_bytes()]).expect("a durable append");
        done += 1;
    }
    done
}

fn by_threads(dir: &Path, threads: usize, seconds: f64) -> f64 {
    let store = new_store(dir);
    let (stop, done, start) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (store, stop, done) = (store.clone(), &stop, &done);
            scope.spawn(move || {
                let count = append_until(&store, &thread.to_string(), || stop.load(Ordering::Relaxed));
                done.fetch_add(count, Ordering::Relaxed);
            });
        }
        std::thread::sleep(Duration::from_secs_f64(seconds));
        stop.store(true, Ordering::Relaxed);
    });
    done.into_inner() as f64 / start.elapsed().as_secs_f64()
}

fn by_processes(dir: &Path, seconds: f64) -> f64 {
    new_store(dir);
    let program = std::env::current_exe().expect("this program's path");
    let start = Instant::now();
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut child = Command::new(&program);
            child.arg("--writer").arg(dir).arg("--seconds").arg(seconds.to_string());
            child.stdout(std::process::Stdio::null()).spawn().expect("a process")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("its end").success(), "a writing process failed");
    }
    let elapsed = start.elapsed().as_secs_f64();
    let log = Store::open(dir, context()).and_then(|store| store.log()).expect("the log");
    log.size() as f64 / elapsed
}

fn writer(dir: &Path, seconds: f64) {
    let store = Store::open(dir, context()).expect("the store");
    let (name, start) = (std::process::id().to_string(), Instant::now());
    append_until(&store, &name, || start.elapsed().as_secs_f64() > seconds);
}

fn bulk(top: &Path, entries: usize) -> Store {
    let store = new_store(&top.join("bulk"));
    let note = vec![b"what all of them say".to_vec(); BATCH];
    let ((), seconds, micros) = cost(|| {
        let mut left = entries;
        while left > 0 {
            let now = left.min(BATCH);
            store.note(&note[..now]).expect("a bulk append");
            left -= now;
        }
    });
    let texts = all_entries(&store);
    let (ours, n) = (micros / entries as f64, entries as f64);
    let ((), bare_seconds, bare_micros) = cost(|| bare_bulk(&top.join("bare-bulk"), &texts));
    let bare = bare_micros / n;
    row("bulk append, entries", format!("{:.0}/s", n / seconds), &format!("bare {:.0}/s", n / bare_seconds));
    let beside = format!("bare {bare:.2} µs: {:.1} times", ours / bare);
    row("bulk append, processor time of an entry", format!("{ours:.2} µs"), &beside);
    let (_, _, index) = cost(|| store.query("SELECT count(*) FROM entries").expect("the index"));
    let beside = "left to the next reader".to_owned();
    row("index brought up to date, processor time of an entry", format!("{:.2} µs", index / n), &beside);
    verified(&store, &texts);
    store
}

fn all_entries(store: &Store) -> Vec<Vec<u8>> {
    let view = store.log().expect("the log");
    let mut texts = Vec::new();
    let mut keep = |_: u64, bytes: &[u8]| {
        texts.push(bytes.to_vec());
        Ok(())
    };
    store.each_entry(&view, 0, &mut keep).expect("the entries");
    texts
}

/// The same bytes and hashes: each batch into a journal, flushed, then into a file as bundles are, flushed
/// too; each entry's leaf hash and one more for the tree; the tiles' bytes.
fn bare_bulk(path: &Path, texts: &[Vec<u8>]) {
    let open = |name: &str| {
        let path = path.with_extension(name);
        OpenOptions::new().create(true).append(true).open(path).expect("a file")
    };
    let (mut journal, mut bundles, mut tiles) = (open("journal"), open("bundles"), open("tiles"));
    let mut last = leaf_hash(b"");
    for batch in texts.chunks(BATCH) {
        let mut hashes = Vec::with_capacity(batch.len() * 32);
        for text in batch {
            let leaf = leaf_hash(text);
            last = node_hash(&last, &leaf);
            hashes.extend_from_slice(leaf.as_bytes());
        }
        let bytes = batch.concat();
        journal.write_all(&bytes).and_then(|()| journal.sync_all()).expect("a write");
        bundles.write_all(&bytes).and_then(|()| bundles.sync_all()).expect("a write");
        tiles.write_all(&hashes).and_then(|()| tiles.sync_all()).expect("a write");
    }
    black_box(last);
}

fn verified(store: &Store, texts: &[Vec<u8>]) {
    let n = texts.len() as f64;
    let (_, _, floor) = cost(|| {
        let mut last = leaf_hash(b"");
        for text in texts {
            last = node_hash(&last, &leaf_hash(text));
        }
        black_box(last)
    });
    let floor = floor / n;
    let (_, _, tree) = cost(|| {
        let view = store.log().expect("the log");
        let mut tree = CompactRange::new();
        let mut take = |_: u64, bytes: &[u8]| {
            tree.append(leaf_hash(bytes));
            Ok(())
        };
        store.each_entry(&view, 0, &mut take).expect("the entries");
        assert_eq!(tree.root().as_bytes(), view.head.root.as_bytes());
    });
    let tree = tree / n;
    let beside = format!("the hashes alone {floor:.2} µs: {:.1} times", tree / floor);
    row("root from the entries on the disk, processor time of an entry", format!("{tree:.2} µs"), &beside);
    let (report, seconds, all) = cost(|| store.verify(&VerifyOptions::default()).expect("a report"));
    assert_eq!(report.failures().count(), 0);
    let all = all / n;
    let beside = format!("the hashes alone {floor:.2} µs: {:.1} times", all / floor);
    row("whole verification, processor time of an entry", format!("{all:.2} µs"), &beside);
    row("whole verification, entries", format!("{:.0}/s", n / seconds), "");
}

/// Bytes and files below a folder.
fn measured(dir: &Path) -> (u64, u64) {
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let (more_bytes, more_files) = measured(&entry.path());
            (bytes, files) = (bytes + more_bytes, files + more_files);
        } else {
            (bytes, files) = (bytes + meta.len(), files + 1);
        }
    }
    (bytes, files)
}

fn sizes(store: &Store) {
    let n = store.log().expect("the log").size();
    let (bytes, files) = measured(&store.root().join("audit"));
    let whole: u64 = all_entries(store).iter().map(|text| text.len() as u64).sum();
    let beside = format!("the entries' own bytes: {:.1}", whole as f64 / n as f64);
    row("log on the disk, bytes of an entry", format!("{:.1}", bytes as f64 / n as f64), &beside);
    row("log on the disk, files", format!("{files}"), &format!("{:.4} of an entry", files as f64 / n as f64));
}

fn keyed(top: &Path, store: &Store) -> Signer {
    let path = top.join(format!("{}.key", store.log().expect("the log").size()));
    store.new_key(&path).expect("a key");
    let signer = Signer::read(&path, top.join("signed")).expect("the key");
    store.publish(std::slice::from_ref(&signer)).expect("a checkpoint");
    signer
}

fn proofs(top: &Path, store: &Store) {
    let signer = keyed(top, store);
    let size = store.log().expect("the log").size();
    let mut bytes = 0;
    let (made, seconds, _) = cost(|| {
        let one = |at: u64| {
            let proof = store.prove(at * 2_654_435_761 % size).expect("a proof");
            bytes += proof.to_string().len();
            proof
        };
        (0..PROOFS).map(one).collect::<Vec<_>>()
    });
    let keys = [signer.verifying_key().clone()];
    let ((), checking, _) =
        cost(|| made.iter().for_each(|proof| drop(proof.check(&keys).expect("it holds"))));
    let each = |seconds: f64| seconds * 1e6 / PROOFS as f64;
    let beside = format!("made in {:.0} µs, checked in {:.0} µs", each(seconds), each(checking));
    row(&format!("proof of an entry among {size}"), format!("{} bytes", bytes as u64 / PROOFS), &beside);
}

/// Entries of runs, with the run map that they change.
fn of_runs(top: &Path) {
    let source = top.join("source");
    for run in 0..RUNS {
        let dir = source.join(format!("run-{run:05}"));
        fs::create_dir_all(&dir).expect("a folder");
        let manifest = format!(r#"{{"schema_version":"1.2.0","job_id":"bench","run_id":"run-{run:05}"}}"#);
        fs::write(dir.join("manifest.json"), manifest).expect("a manifest");
    }
    let store = new_store(&top.join("runs"));
    store.adopt(&source, &AdoptOptions::default(), &mut |_, _| {}).expect("runs come in");
    let runs: Vec<RunKey> = store.all_runs().expect("the runs");
    assert_eq!(runs.len(), RUNS);
    let ((), seconds, micros) = cost(|| {
        for _ in 0..REVIEWS {
            store.review(&runs, Review::Accepted).expect("reviews");
        }
    });
    let n = (RUNS * REVIEWS) as f64;
    let map = measured(&store.root().join("audit/runs")).0 / RUNS as u64;
    row(&format!("bulk entries of {RUNS} runs"), format!("{:.0}/s", n / seconds), "with the run map");
    let beside = format!("the map has {map} bytes for each run");
    row("bulk entry of a run, processor time", format!("{:.2} µs", micros / n), &beside);
    let signer = keyed(top, &store);
    let keys = [signer.verifying_key().clone()];
    let (made, seconds, _) = cost(|| {
        let one = |run: &RunKey| store.prove_run(run).expect("a proof");
        runs.iter().step_by(RUNS / 50).map(one).collect::<Vec<_>>()
    });
    let bytes: usize = made.iter().map(|proof| proof.to_string().len()).sum();
    let ((), checking, _) =
        cost(|| made.iter().for_each(|proof| drop(proof.check(&keys).expect("it holds"))));
    let each = |seconds: f64| seconds * 1e6 / made.len() as f64;
    let beside = format!("made in {:.0} µs, checked in {:.0} µs", each(seconds), each(checking));
    let what = format!("proof of a run's whole history, {} entries", REVIEWS + 1);
    row(&what, format!("{} bytes", bytes / made.len()), &beside);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let number =
        |name: &str, otherwise: f64| option(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let seconds = number("--seconds", 3.0);
    if let Some(dir) = option("--writer") {
        return writer(&PathBuf::from(dir), seconds);
    }
    let entries = number("--entries", 200_000.0) as usize;
    let only = option("--only");
    let wanted = |word: &str| only.as_deref().is_none_or(|only| only == word);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let top = folder.path();
    println!("| what | figure | beside |\n|---|---|---|");
    if wanted("durable") {
        durable(top, seconds);
    }
    if wanted("bulk") {
        let store = bulk(top, entries);
        sizes(&store);
        proofs(top, &store);
    }
    if wanted("runs") {
        of_runs(top);
    }
}
