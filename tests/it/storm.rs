//! Many processes that are killed at random, links swapped while the store works, and recovery of a long
//! log. Nothing acknowledged is lost, nothing outside is touched, nobody waits for ever. Each test does a
//! little here; `scripts/storm.sh` does much.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::test_runner::{RngAlgorithm, TestRng};
use strongroom::backend::durable::Disk;
use strongroom::backend::{Call, Errno, Hook, Verdict};
use strongroom::base::digest::Sha256;
use strongroom::base::id::RunKey;
use strongroom::format::entry::{Entry, EntryKind};
use strongroom::index::{Index, ListFilter};
use strongroom::store::{Given, RecordOptions, Store, StoreError, Streams, VerifyOptions};

use crate::fixture::{
    adopt, context, failures, init, kill_while_the_index_is_written, migrate, open, run_with_snapshots,
    snapshot, write,
};

const CHILD: &str = "STRONGROOM_TEST_CHILD";
/// A writer that waits this long for its turn waits for ever.
const PATIENCE: Duration = Duration::from_secs(300);

struct Silent;
impl Streams for Silent {}

/// How much of something: what the script says, else a little.
fn scale(name: &str, little: u64) -> u64 {
    let told = std::env::var(format!("STRONGROOM_STORM_{name}")).ok();
    told.map_or(little, |text| text.parse().expect("a number"))
}

/// Chance that is the same in each run of one thread.
struct Chance(TestRng);

impl Chance {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, bound: u64) -> u64 {
        use proptest::prelude::Rng;
        self.0.next_u64() % bound
    }
}

fn patient(dir: &Path) -> Store {
    let mut context = context(None);
    context.lock_timeout = PATIENCE;
    Store::open(dir, context).unwrap()
}

fn options(root: &Path, input: &str) -> RecordOptions<'static> {
    RecordOptions {
        job: "job".parse().unwrap(),
        inputs: vec![Given { name: "brief".into(), path: root.join(format!("in/{input}.json")) }],
        outputs: vec![root.join("out")],
        command: None,
        job_ref: String::new(),
        job_type: None,
        streams: &Silent,
    }
}

/// The notes of one round of a writer: their number is not the same each time.
fn notes(life: &str, round: u64) -> Vec<Vec<u8>> {
    (0..1 + round * 7 % 15).map(|n| format!("{life}-{round}-{n}").into_bytes()).collect()
}

/// Writes until it is killed; each line tells of what was durable when it was written.
fn write_for_ever(root: &Path, life: &str) -> ! {
    let store = patient(&root.join("store"));
    for round in 0.. {
        let told = if round % 16 == 5 {
            let input = format!("{life}-{round}");
            write(root.join(format!("in/{input}.json")), &format!("{{\"n\": \"{input}\"}}\n"));
            format!("ack run {}\n", store.record(&options(root, &input)).unwrap().key)
        } else {
            store.note(&notes(life, round)).unwrap();
            format!("ack notes {life} {round}\n")
        };
        std::io::stdout().lock().write_all(told.as_bytes()).unwrap();
    }
    unreachable!("the rounds do not end");
}

/// What a writer's life acknowledged, line by line, until it is killed after so many lines.
fn life(root: &Path, life: &str, lines: u64, pause: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storm::writers_killed_at_random_lose_nothing_acknowledged", "--nocapture"])
        .env(CHILD, root)
        .env("STRONGROOM_TEST_LIFE", life)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    while output.read_line(&mut line).unwrap() > 0 {
        // A line that was cut short by the kill says nothing. The test's own name may stand before the first.
        if let (Some(at), true) = (line.find("ack "), line.ends_with('\n')) {
            acknowledged.push(line[at + 4..].trim_end().to_owned());
        }
        line.clear();
        if acknowledged.len() as u64 >= lines && !killed {
            std::thread::sleep(pause);
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(killed, "a writer ended by itself");
    child.wait().unwrap();
    acknowledged
}

#[test]
fn writers_killed_at_random_lose_nothing_acknowledged() {
    if let Some(root) = std::env::var_os(CHILD) {
        write_for_ever(root.as_ref(), &std::env::var("STRONGROOM_TEST_LIFE").unwrap());
    }
    let (writes, kills) = (scale("WRITES", 400), scale("KILLS", 20));
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    init(&dir);
    write(root.path().join("out/a.txt"), "a\n");
    let (written, killed) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let writer = |number: u64| {
            let (written, killed, root) = (&written, &killed, root.path());
            scope.spawn(move || {
                let (mut chance, mut all) = (Chance::new(number), Vec::new());
                while written.load(Ordering::Relaxed) < writes || killed.load(Ordering::Relaxed) < kills {
                    let name = format!("w{number}.{}", killed.load(Ordering::Relaxed));
                    let pause = Duration::from_micros(chance.below(5000));
                    let name = format!("{name}.{}", all.len());
                    let lines = life(root, &name, 1 + chance.below(5), pause);
                    killed.fetch_add(1, Ordering::Relaxed);
                    written.fetch_add(lines.iter().map(|line| digests(line).1).sum(), Ordering::Relaxed);
                    all.extend(lines);
                }
                all
            })
        };
        let writers: Vec<_> = (0..16).map(writer).collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    let store = patient(&dir);
    // The next command settles what the last kill left.
    store.note(&[b"after".to_vec()]).unwrap();
    assert_eq!(failures(&store), Vec::<String>::new());
    let mut noted = HashSet::new();
    let view = store.log().unwrap();
    store
        .each_entry(&view, 0, &mut |_, bytes| {
            noted.extend(Entry::parse(bytes).unwrap().detail);
            Ok(())
        })
        .unwrap();
    let runs: HashSet<String> = store.all_runs().unwrap().iter().map(ToString::to_string).collect();
    let mut lost = Vec::new();
    for line in &acknowledged {
        let there = match line.strip_prefix("run ") {
            Some(key) => runs.contains(key),
            None => digests(line).0.iter().all(|digest| noted.contains(digest)),
        };
        if !there {
            lost.push(line);
        }
    }
    let (written, killed) = (written.into_inner(), killed.into_inner());
    println!("16 writers: {written} acknowledged writes, {killed} kills, {} lost, {took:.0?}", lost.len());
    assert!(lost.is_empty(), "{lost:?}");
}

/// What a line acknowledges: the notes' digests, and how many writes that is.
fn digests(line: &str) -> (Vec<Sha256>, u64) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["notes", life, round] => {
            let digests: Vec<Sha256> =
                notes(life, round.parse().unwrap()).iter().map(|note| Sha256::of(note)).collect();
            let count = digests.len() as u64;
            (digests, count)
        }
        _ => (Vec::new(), 1),
    }
}

/// Names that swap places with a link that leads out, until told to stop. Gives how often.
fn swap(names: &[PathBuf], links: &[PathBuf], swaps: u64, stop: &AtomicBool) -> u64 {
    let (mut done, each) = (0, swaps.div_ceil(names.len() as u64));
    for (name, link) in names.iter().zip(links) {
        for _ in 0..each.div_ceil(2) {
            if stop.load(Ordering::Relaxed) {
                return done;
            }
            for _ in 0..2 {
                let (at, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(at, name, at, link, flags).unwrap();
                done += 1;
                if done % 1024 < 2 {
                    std::thread::yield_now();
                }
            }
        }
    }
    done
}

/// A folder of the same shape outside, and a link to it, for each name.
fn decoys(root: &Path, names: &[PathBuf]) -> Vec<PathBuf> {
    let decoy = |(number, name): (usize, &PathBuf)| {
        let (outside, link) = (root.join(format!("outside/{number}")), root.join(format!("link-{number}")));
        fs::create_dir_all(&outside).unwrap();
        for (path, bytes) in snapshot(name) {
            match path.strip_suffix('/') {
                Some(folder) => fs::create_dir_all(outside.join(folder)).unwrap(),
                None => write(outside.join(path), &String::from_utf8_lossy(&bytes).replace('"', "\"OUTSIDE")),
            }
        }
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        link
    };
    names.iter().enumerate().map(decoy).collect()
}

#[test]
fn links_swapped_under_a_store_at_work_never_lead_out() {
    let swaps = scale("SWAPS", 20_000);
    let root = tempfile::tempdir().unwrap();
    let (dir, tree) = (root.path().join("store"), root.path().join("old"));
    for n in 0..4 {
        run_with_snapshots(&tree, "job", "1.1.0", &format!("topic {n}"));
    }
    let store = init(&dir);
    adopt(&store, &tree);
    write(root.path().join("out/a.txt"), "a\n");
    let keys = store.all_runs().unwrap();
    let run = format!("artifacts/{}", keys[0]);
    let names: Vec<PathBuf> =
        ["artifacts/job", &run, "artifacts", "objects", "audit", "tmp"].map(|name| dir.join(name)).to_vec();
    let links = decoys(root.path(), &names);
    let before = snapshot(&root.path().join("outside"));
    let (stop, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let (tried, worked, escaped) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = |step: u64| {
        let Ok(store) = Store::open(&dir, context(None)) else { return false };
        let key = &keys[step as usize % keys.len()];
        let inside = |bytes: &[u8]| {
            let out = bytes.windows(7).any(|window| window == b"OUTSIDE");
            escaped.fetch_add(u64::from(out), Ordering::Relaxed);
            true
        };
        match step % 9 {
            0 => {
                write(root.path().join(format!("in/{step}.json")), &format!("{{\"n\": {step}}}\n"));
                store.record(&options(root.path(), &step.to_string())).is_ok()
            }
            1 => migrate(&store).is_ok(),
            2 => store.history(key).is_ok_and(|history| {
                let first = history.rows[0].entry.after.unwrap();
                store.rollback(key, &first).is_ok()
            }),
            3 => store.restore(key, None).is_ok(),
            4 => store.verify(&VerifyOptions::default()).is_ok(),
            5 => store.list(&ListFilter::default()).is_ok(),
            6 => store.reindex().is_ok(),
            7 => store.show_as(key, "1.2.0").is_ok_and(|bytes| inside(&bytes)),
            _ => store.manifest_bytes(key).is_ok_and(|bytes| inside(&bytes)),
        }
    };
    let done = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let done = swap(&names, &links, swaps, &never);
            stop.store(true, Ordering::Relaxed);
            done
        });
        for worker in 0..2u64 {
            let (stop, tried, worked, work) = (&stop, &tried, &worked, &work);
            scope.spawn(move || {
                for step in (worker..).step_by(2) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    worked.fetch_add(u64::from(work(step)), Ordering::Relaxed);
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        swapper.join().unwrap()
    });
    let changed = snapshot(&root.path().join("outside")) != before;
    let escaped = escaped.into_inner() + u64::from(changed);
    println!("{done} swaps beside {tried:?} operations ({worked:?} came through), {escaped} escapes");
    assert_eq!(escaped, 0);
    // Where a name was a link, an operation failed; what it left is put in order as after a kill.
    migrate(&open(&dir)).unwrap();
    let store = open(&dir);
    store.reindex().unwrap();
    // A run whose job was a link when it was to come in is told of as missing, and is in the objects.
    for key in store.all_runs().unwrap() {
        store.restore(&key, None).unwrap();
    }
    assert_eq!(failures(&store), Vec::<String>::new());
}

#[test]
fn links_swapped_under_a_folder_never_lead_out_with_and_without_openat2() {
    let swaps = scale("SWAPS", 20_000);
    for walk in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let names = vec![root.path().join("top/a"), root.path().join("top/a/b")];
        fs::create_dir_all(&names[1]).unwrap();
        write(names[1].join("file"), "inside");
        let links = decoys(root.path(), &names);
        for outside in ["0/b/file", "1/file"] {
            write(root.path().join("outside").join(outside), "OUTSIDE");
        }
        let before = snapshot(&root.path().join("outside"));
        let disk = Disk::open(&root.path().join("top")).unwrap();
        let disk = if walk { disk.walk_components() } else { disk };
        let (stop, never) = (AtomicBool::new(false), AtomicBool::new(false));
        let (mut tried, mut worked) = (0u64, 0u64);
        let done = std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                let done = swap(&names, &links, swaps, &never);
                stop.store(true, Ordering::Relaxed);
                done
            });
            while !stop.load(Ordering::Relaxed) {
                tried += 1;
                worked += u64::from(match tried % 7 {
                    0 => disk.write_new(&format!("a/b/{tried}"), b"x", 0o644).is_ok(),
                    1 => disk.replace_durably("a/b/kept", b"y", 0o644).is_ok(),
                    2 => disk.mkdir(&format!("a/b/d{tried}")).is_ok(),
                    3 => disk.unlink(&format!("a/b/{}", tried - 3)).is_ok(),
                    4 => disk.list("a/b").is_ok_and(|entries| {
                        assert!(entries.iter().all(|entry| entry.name != "OUTSIDE"));
                        true
                    }),
                    5 => disk.stat("a/b/file").is_ok(),
                    _ => disk.read("a/b/file", 100).is_ok_and(|bytes| {
                        assert_eq!(bytes, b"inside");
                        true
                    }),
                });
            }
            swapper.join().unwrap()
        });
        assert_eq!(snapshot(&root.path().join("outside")), before);
        println!("walk {walk}: {done} swaps beside {tried} calls ({worked} came through), 0 escapes");
        assert!(worked > 0);
    }
}

/// Counts the calls, and lets none through from one of them on.
struct Stop {
    at: u64,
    calls: AtomicU64,
}

impl Hook for Stop {
    fn call(&self, _: &Call<'_>) -> Verdict {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call < self.at { Verdict::Go } else { Verdict::Fail(Errno::IO) }
    }
}

type Change<'a> = &'a dyn Fn(&Store) -> Result<(), StoreError>;

/// A copy of the store in which a write was stopped at its n-th call; `None` where it made fewer calls.
fn stopped(dir: &Path, trial: &Path, at: u64, write: Change<'_>) -> Option<()> {
    let _ = fs::remove_dir_all(trial);
    assert!(Command::new("cp").arg("-a").args([dir, trial]).status().unwrap().success());
    let stop = Arc::new(Stop { at, calls: AtomicU64::new(0) });
    let hook = Arc::<Stop>::clone(&stop) as Arc<dyn Hook>;
    let _ = write(&Store::open(trial, context(Some(hook))).unwrap());
    (stop.calls.load(Ordering::Relaxed) >= at).then_some(())
}

#[test]
fn recovery_of_a_long_log_after_a_stop_at_any_call_goes_on() {
    let entries = scale("ENTRIES", 1_000);
    let root = tempfile::tempdir().unwrap();
    let (dir, tree) = (root.path().join("store"), root.path().join("old"));
    let (bare, trial) = (root.path().join("bare"), root.path().join("trial"));
    for n in 0..3 {
        run_with_snapshots(&tree, "job", "1.1.0", &format!("topic {n}"));
    }
    write(root.path().join("out/a.txt"), "a\n");
    write(root.path().join("in/next.json"), "{}\n");
    let notes = |n: u64| (0..n).map(|n| format!("note {n}").into_bytes()).collect::<Vec<_>>();
    // One log with runs, and one without any.
    for dir in [&dir, &bare] {
        let store = init(dir);
        if *dir != bare {
            adopt(&store, &tree);
        }
        for done in (0..entries).step_by(1000) {
            store.note(&notes((entries - done).min(1000))).unwrap();
        }
        // The first reader makes the index; that is not recovery.
        store.list(&ListFilter::default()).unwrap();
    }
    let (note, record): (Change<'_>, Change<'_>) =
        (&|store| store.note(&[b"next".to_vec()]).map(drop), &|store| {
            store.record(&options(root.path(), "next")).map(drop)
        });
    let several: Change<'_> = &|store| store.note(&notes(entries.div_ceil(1000).max(20))).map(drop);
    let rewrite: Change<'_> = &|store| migrate(store).map(drop);
    let cases = [
        ("a note", "several notes", &dir, several, note),
        ("a note", "several notes in a log without runs", &bare, several, note),
        ("a recorded run", "several notes", &dir, several, record),
        ("a recorded run", "a migration", &dir, rewrite, record),
        ("a note", "a recorded run", &dir, record, note),
    ];
    for (next, stopped_one, dir, stopped_write, next_write) in cases {
        let (mut slowest, mut interrupted, mut stops) = (Duration::ZERO, 0, 0);
        for at in 1.. {
            if stopped(dir, &trial, at, stopped_write).is_none() {
                break;
            }
            stops += 1;
            let store = open(&trial);
            interrupted += u64::from(!store.log().unwrap().pending.is_empty());
            slowest = slowest.max(timed(|| next_write(&store).unwrap()));
            // Of a long log not every one is checked: that takes what a check of a log takes.
            if at % (entries / 1000).max(1) == 0 {
                assert_eq!(
                    failures(&open(&trial)),
                    Vec::<String>::new(),
                    "{stopped_one}, stopped at call {at}"
                );
            }
        }
        assert!(interrupted > 0, "{stopped_one}");
        // What the same write costs without anything to recover.
        let _ = stopped(dir, &trial, u64::MAX, stopped_write);
        let plain = timed(|| next_write(&open(&trial)).unwrap());
        println!(
            "{entries} entries: {next} after a stop at any of {stops} calls of {stopped_one} took at most {slowest:.1?}, \
             after nothing {plain:.1?}"
        );
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Ends a child that does not end by itself; gives its exit code, or nothing where it was killed.
fn ended(child: &mut Child, kill_after: Option<Duration>) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if kill_after.is_some_and(|limit| begun.elapsed() > limit) {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        assert!(begun.elapsed() < PATIENCE, "a command waits for ever");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn commands_of_all_kinds_killed_at_random_leave_every_acknowledged_run() {
    let (workers, seconds) = (scale("WORKERS", 8), scale("SECONDS", 4));
    let root = tempfile::tempdir().unwrap();
    let (dir, tree) = (root.path().join("store"), root.path().join("old"));
    for n in 0..24 {
        run_with_snapshots(&tree, &format!("job-{}", n % 3), "1.1.0", &format!("topic {n}"));
    }
    let store = init(&dir);
    adopt(&store, &tree);
    write(root.path().join("out/a.txt"), "a\n");
    let first = |key: RunKey| (key.to_string(), Sha256::of(&store.manifest_bytes(&key).unwrap()), key);
    let old: Vec<(String, Sha256, RunKey)> = store.all_runs().unwrap().into_iter().map(first).collect();
    let (done, killed, conflicts) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let acknowledged: BTreeSet<String> = std::thread::scope(|scope| {
        let worker = |number: u64| {
            let (dir, root, old) = (&dir, root.path(), &old);
            let (done, killed, conflicts) = (&done, &killed, &conflicts);
            scope.spawn(move || {
                let (mut chance, mut kept) = (Chance::new(number), Vec::new());
                for step in 0.. {
                    if Instant::now() > until {
                        break;
                    }
                    let (run, original, _) = &old[chance.below(old.len() as u64) as usize];
                    let original = original.to_string();
                    let input = format!("a=in/{number}-{step}.json");
                    let kind = chance.below(9);
                    let args: Vec<&str> = match kind {
                        0 | 1 => {
                            write(root.join(&input[2..]), &format!("{{\"n\": \"{number}-{step}\"}}\n"));
                            vec!["--json", "record", "--job", "new", "--input", &input, "--output", "out"]
                        }
                        2 => vec!["migrate"],
                        3 => vec!["rollback", run, "--to", &original],
                        4 => vec!["verify"],
                        5 => vec!["reindex"],
                        6 => vec!["--json", "list"],
                        7 => vec!["show", run, "--as", "1.2.0"],
                        _ => vec!["query", "SELECT count(*) FROM files"],
                    };
                    let out = root.join(format!("told-{number}"));
                    let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
                        .args(["--actor", "storm", "--lock-timeout", "300", "--store"])
                        .arg(dir)
                        .args(&args)
                        .current_dir(root)
                        .env("HOME", root)
                        .stdin(Stdio::null())
                        .stdout(fs::File::create(&out).unwrap())
                        .stderr(fs::File::create(root.join(format!("said-{number}"))).unwrap())
                        .spawn()
                        .unwrap();
                    let limit = (chance.below(3) == 0).then(|| Duration::from_millis(chance.below(120)));
                    let code = ended(&mut child, limit);
                    done.fetch_add(1, Ordering::Relaxed);
                    let said = || fs::read_to_string(root.join(format!("said-{number}"))).unwrap();
                    match (code, kind) {
                        (None, _) => drop(killed.fetch_add(1, Ordering::Relaxed)),
                        (Some(0), 0 | 1) => {
                            let told: serde_json::Value =
                                serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
                            kept.push(format!("new/{}", told["run_id"].as_str().unwrap()));
                        }
                        (Some(0), _) => {}
                        // A run that someone else changed between plan and commit is left, and said so.
                        (Some(3), 2) | (Some(5), 3) => drop(conflicts.fetch_add(1, Ordering::Relaxed)),
                        (Some(code), _) => {
                            let told = fs::read_to_string(&out).unwrap();
                            panic!("{args:?} exits {code}: {told}{}", said());
                        }
                    }
                }
                kept
            })
        };
        let workers: Vec<_> = (0..workers).map(worker).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let store = patient(&dir);
    migrate(&store).unwrap();
    assert_eq!(failures(&store), Vec::<String>::new());
    let runs: BTreeSet<String> = store.all_runs().unwrap().iter().map(ToString::to_string).collect();
    let lost: Vec<&String> = acknowledged.difference(&runs).collect();
    for (_, original, key) in &old {
        let history = store.history(key).unwrap();
        assert_eq!(history.rows[0].entry.kind, EntryKind::Adopted);
        // No step of a run's history begins elsewhere than where the one before ended.
        for pair in history.rows.windows(2) {
            assert_eq!(pair[0].entry.after, pair[1].entry.before, "{key}");
            assert_ne!(pair[1].entry.before, pair[1].entry.after, "{key}");
        }
        store.revision(original).unwrap();
    }
    println!(
        "{workers} processes for {seconds} s: {done:?} commands, {killed:?} killed, {conflicts:?} told of a change \
         meanwhile, {} acknowledged runs, {} lost",
        acknowledged.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
}

/// Whoever brings the index up may be killed while others have it open to read.
#[test]
fn index_open_to_read_is_read_on_after_its_writer_was_killed() {
    let root = tempfile::tempdir().unwrap();
    let (dir, tree) = (root.path().join("store"), root.path().join("old"));
    run_with_snapshots(&tree, "job", "1.1.0", "topic");
    let store = init(&dir);
    adopt(&store, &tree);
    let runs = store.all_runs().unwrap();
    let reader = Index::open_read_only(&dir.join("index.sqlite")).unwrap();
    kill_while_the_index_is_written(&dir);
    assert_eq!(reader.all_runs().unwrap(), runs);
    let journal = fs::read(dir.join("index.sqlite-journal")).unwrap_or_default();
    assert!(journal.first().is_none_or(|first| *first == 0), "it was played back");
}
