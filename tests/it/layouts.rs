//! The layouts that `adopt` meets, made here with real links, devices and odd names: what is a run,
//! what is not, what is refused and why, and that nothing outside the tree is read or written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use strongroom::format::finding::Code;
use strongroom::store::{AdoptOptions, Adopted, ErrorKind, MigrateOptions, Store, VerifyOptions};

use crate::fixture::{
    adopt, failures, init, migrate, run_100, run_with_snapshots, snapshot, source, try_adopt, try_adopt_as,
    write,
};

const OLD: &str = "575fc3b9-1d70-42de-a69c-c377ffce9d2f";

/// A store and an empty tree beside it.
struct World {
    root: tempfile::TempDir,
    store: Store,
    tree: PathBuf,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = init(&root.path().join("store"));
        let tree = root.path().join("old/artifacts");
        fs::create_dir_all(&tree).unwrap();
        Self { root, store, tree }
    }

    /// What became of each place, in words.
    fn adopt(&self) -> Vec<String> {
        self.adopt_as(&AdoptOptions::default())
    }

    fn adopt_as(&self, options: &AdoptOptions) -> Vec<String> {
        let before = snapshot(&self.tree);
        let (_, rows) = try_adopt_as(&self.store, &self.tree, options).unwrap();
        assert_eq!(snapshot(&self.tree), before, "the source changed");
        assert_eq!(failures(&self.store), Vec::<String>::new());
        let word = |result: &Adopted| match result {
            Adopted::New { key, exceptions: 0 } => format!("new {key}"),
            Adopted::New { key, exceptions } => format!("new {key} with {exceptions}"),
            Adopted::Already { key } => format!("already {key}"),
            Adopted::Refused(why) => format!("refused {why}"),
            Adopted::Skipped(why) => format!("skipped {why}"),
        };
        rows.iter().map(|seen| format!("{}: {}", seen.place, word(&seen.result))).collect()
    }

    /// Runs in the store by place.
    fn runs(&self) -> Vec<String> {
        let names = snapshot(&self.store.root().join("artifacts")).into_keys();
        let run = |name: String| name.strip_suffix("/manifest.json").map(str::to_owned);
        names.filter_map(run).collect()
    }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

#[test]
fn adopt_of_links_under_runs_takes_each_run_once_and_follows_none() {
    let world = World::new();
    let run = run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    fs::create_dir(world.tree.join("runs")).unwrap();
    symlink(format!("../job-b/{run}"), world.tree.join("runs").join(&run)).unwrap();
    let link = format!("runs/{run}: skipped a link to ../job-b/{run}; links are not followed");
    assert_eq!(world.adopt(), [format!("job-b/{run}: new job-b/{run}"), link.clone()]);
    assert_eq!(world.adopt(), [format!("job-b/{run}: already job-b/{run}"), link]);
    assert_eq!(world.runs(), [format!("job-b/{run}")]);
}

#[test]
fn adopt_of_real_folders_under_runs_finds_the_job_in_the_brief() {
    let world = World::new();
    run_100(&world.tree, OLD);
    assert_eq!(world.adopt(), [format!("runs/{OLD}: new job-a/{OLD}")]);
    assert_eq!(
        snapshot(&world.tree.join("runs").join(OLD)),
        snapshot(&world.store.root().join("artifacts/job-a").join(OLD))
    );
}

#[test]
fn adopt_of_links_out_of_the_tree_and_in_loops_ends_and_reads_nothing_behind_them() {
    let world = World::new();
    let outside = world.root.path().join("outside");
    run_with_snapshots(&outside, "job-o", "1.1.0", "outside");
    symlink(&outside, world.tree.join("out")).unwrap();
    symlink("self", world.tree.join("self")).unwrap();
    symlink("..", world.tree.join("up")).unwrap();
    fs::create_dir(world.tree.join("job")).unwrap();
    symlink("../job", world.tree.join("job/again")).unwrap();
    let not = "links are not followed";
    assert_eq!(
        world.adopt(),
        [
            format!("job/again: skipped a link to ../job; {not}"),
            format!("out: skipped a link to {}; {not}", outside.display()),
            format!("self: skipped a link to self; {not}"),
            format!("up: skipped a link to ..; {not}"),
        ]
    );
    assert_eq!(world.runs(), Vec::<String>::new());
}

#[test]
fn adopt_of_a_run_with_a_special_file_is_refused_by_name_and_the_others_come_in() {
    let world = World::new();
    let good = run_with_snapshots(&world.tree, "job-g", "1.1.0", "good");
    let run = |job: &str| world.tree.join(job).join(run_with_snapshots(&world.tree, job, "1.1.0", job));
    let linked = run("linked-manifest");
    fs::rename(linked.join("manifest.json"), linked.join("real.json")).unwrap();
    symlink("real.json", linked.join("manifest.json")).unwrap();
    let input = run("linked-input");
    fs::rename(input.join("inputs/brief.resolved.json"), input.join("brief")).unwrap();
    symlink("../brief", input.join("inputs/brief.resolved.json")).unwrap();
    let folder = run("linked-folder");
    fs::rename(folder.join("inputs"), world.root.path().join("inputs")).unwrap();
    symlink(world.root.path().join("inputs"), folder.join("inputs")).unwrap();
    let piped = run("piped");
    fifo(&piped.join("inputs/pipe"));
    let manifest = run("piped-manifest");
    fs::remove_file(manifest.join("manifest.json")).unwrap();
    fifo(&manifest.join("manifest.json"));
    let socket = run("socket");
    let _listener = std::os::unix::net::UnixListener::bind(socket.join("s")).unwrap();
    let odd = run("odd-name");
    fs::write(odd.join("inputs").join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();

    let only = "only regular files and folders are recorded";
    let place = |path: &Path| path.strip_prefix(&world.tree).unwrap().display().to_string();
    let refused = |path: &Path, file: &str, why: &str| {
        let place = place(path);
        format!("{place}: refused {place}/{file}: {why}")
    };
    let manifest_is = |path: &Path, what: &str| {
        format!("{}: refused its manifest.json is a {what}; only regular manifests are taken", place(path))
    };
    let mut expected = vec![
        format!("job-g/{good}: new job-g/{good}"),
        refused(&folder, "inputs", &format!("it is a symbolic link; {only}")),
        refused(&input, "inputs/brief.resolved.json", &format!("it is a symbolic link; {only}")),
        manifest_is(&linked, "symbolic link"),
        refused(&odd, "inputs/caf\\xe9", "its name is not UTF-8, so no manifest could name it"),
        refused(&piped, "inputs/pipe", &format!("it is a FIFO; {only}")),
        manifest_is(&manifest, "FIFO"),
        refused(&socket, "s", &format!("it is a socket; {only}")),
    ];
    expected.sort();
    let mut found = world.adopt();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(world.runs(), [format!("job-g/{good}")]);
}

#[test]
fn adopt_of_folders_that_are_no_runs_skips_or_refuses_each_by_name() {
    let world = World::new();
    let staged = run_with_snapshots(&world.tree.join(".tmp"), "tmp-1", "1.1.0", "staged");
    run_with_snapshots(&world.tree.join(".hidden"), "job-h", "1.1.0", "hidden");
    write(world.tree.join("outputs/manifest.json"), "{}");
    write(world.tree.join("job/inputs/manifest.json"), "{}");
    write(world.tree.join("_write_test"), "");
    write(world.tree.join("job/notes.md"), "x");
    fifo(&world.tree.join("pipe"));
    let deep = world.tree.join((0..13).map(|n| n.to_string()).collect::<Vec<_>>().join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(world.tree.join(OsStr::from_bytes(b"\xff"))).unwrap();
    assert_eq!(
        world.adopt(),
        [
            ".hidden: skipped a staging folder",
            ".tmp: skipped a staging folder",
            "0/1/2/3/4/5/6/7/8/9/10/11: skipped too deep to hold runs, below 12 folders",
            "_write_test: skipped a file that belongs to no run",
            "job/inputs: skipped a run's part without a run",
            "job/notes.md: skipped a file that belongs to no run",
            "outputs: skipped a run's part without a run",
            "pipe: skipped a FIFO",
            "\\xff: refused its name is not UTF-8",
        ]
    );
    assert_eq!(world.runs(), Vec::<String>::new());
    assert!(!staged.is_empty());
}

#[test]
fn adopt_keeps_manifests_among_outputs_backups_and_odd_names_as_files_of_the_run() {
    let world = World::new();
    let run = run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    let dir = world.tree.join("job-b").join(&run);
    write(dir.join("outputs/manifest.json"), "[not a run]");
    write(dir.join("outputs/deep/manifest.json"), "{}");
    write(dir.join("manifest.json.backup"), "old");
    write(dir.join("outputs/.tmp/x"), "hidden");
    for name in ["-rf", "CON", "C:x", "a\nb", "\u{1b}[31m", "\u{202e}x", "Case", "case", "e\u{301}", "\u{e9}"]
    {
        write(dir.join("outputs").join(name), name);
    }
    write(dir.join("outputs").join("n".repeat(255)), "long");
    fs::create_dir_all(dir.join("outputs/empty/folder")).unwrap();
    write(dir.join("outputs/empty.bin"), "");
    assert_eq!(world.adopt(), [format!("job-b/{run}: new job-b/{run}")]);
    assert_eq!(snapshot(&dir), snapshot(&world.store.root().join("artifacts/job-b").join(&run)));
    // And they come back from the objects as they were.
    let ours = world.store.root().join("artifacts/job-b").join(&run);
    fs::remove_dir_all(&ours).unwrap();
    let key = world.store.find_run(&run).unwrap();
    assert_eq!(world.store.restore(&key, None).unwrap().left, []);
    assert_eq!(snapshot(&dir), snapshot(&ours));
}

#[test]
fn adopt_of_manifests_that_do_not_read_refuses_each_with_the_place_and_takes_the_others() {
    let world = World::new();
    let good = run_with_snapshots(&world.tree, "good", "1.1.0", "good");
    let levels = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    let bad: &[(&str, Vec<u8>, &str)] = &[
        ("bom", b"\xef\xbb\xbf{}".to_vec(), "byte order mark"),
        ("cut", b"{\"a\": 1".to_vec(), "line 1, column 8"),
        ("double", b"{\"a\": 1,\n \"a\": 2}".to_vec(), "line 2, column 2"),
        ("double-escaped", b"{\"a\": 1,\n \"\\u0061\": 2}".to_vec(), "line 2, column 2"),
        ("empty", b"".to_vec(), "the text is empty"),
        ("huge", b"{\"a\": 1e400}".to_vec(), "line 1, column 7"),
        ("latin", b"{\"a\": \"\xe9\"}".to_vec(), "UTF-8"),
        ("list", b"[1]".to_vec(), "a manifest must be a JSON object, not a list"),
        ("lone", b"{\"a\": \"\\ud800\"}".to_vec(), "line 1, column 8"),
        ("nan", b"{\"a\": NaN}".to_vec(), "line 1, column 7"),
        ("null", b"null".to_vec(), "a manifest must be a JSON object, not null"),
        ("nul", b"{\"a\": 1}\0".to_vec(), "line 1, column 9"),
        ("number", format!("{{\"a\": {}}}", "1".repeat(1001)).into_bytes(), "line 1, column 7"),
        ("text", b"hello".to_vec(), "line 1, column 1"),
        ("trailing", b"{} {}".to_vec(), "line 1, column 4"),
        ("deep", levels(128).into_bytes(), "line 1, column 133"),
    ];
    for (name, bytes, _) in bad {
        fs::create_dir_all(world.tree.join(name)).unwrap();
        fs::write(world.tree.join(name).join("manifest.json"), bytes).unwrap();
    }
    // One level less is taken: the limit is 128 with the object itself.
    fs::create_dir_all(world.tree.join("deepest")).unwrap();
    fs::write(world.tree.join("deepest/manifest.json"), levels(127)).unwrap();
    let found = world.adopt_as(&AdoptOptions { job: Some("job".parse().unwrap()), ..Default::default() });
    assert_eq!(found.len(), bad.len() + 2);
    for (name, _, why) in bad {
        let start = format!("{name}: refused manifest.json: ");
        let told =
            found.iter().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{name}: {found:?}"));
        assert!(told.contains(why), "{told}");
    }
    assert!(found.iter().any(|line| line.starts_with("deepest: new job/deepest")), "{found:?}");
    assert_eq!(world.runs(), [format!("good/{good}"), "job/deepest".to_owned()]);
}

#[test]
fn adopt_of_hostile_or_missing_ids_refuses_by_name_and_creates_nothing() {
    let world = World::new();
    let manifest = |job: &str| format!("{{\"job_id\": {job}, \"status\": \"succeeded\"}}");
    let jobs = [
        "\"../x\"",
        "\"a/b\"",
        "\"\"",
        "\".\"",
        "\"CON\"",
        "\"a\\u0000b\"",
        "\"x.\"",
        "\"a b\"",
        "\"%2e%2e\"",
    ];
    for (n, job) in jobs.iter().enumerate() {
        write(world.tree.join(format!("job{n}/manifest.json")), &manifest(job));
    }
    for run in ["-run", "aux.txt", "a b", "x.", "COM1", "a\\b", "\u{e9}"] {
        write(world.tree.join("runs").join(run).join("manifest.json"), &manifest("\"job\""));
    }
    write(world.tree.join("none/manifest.json"), "{}");
    write(world.tree.join("number/manifest.json"), "{\"job_id\": 7}");
    let found = world.adopt();
    assert_eq!(found.len(), jobs.len() + 7 + 2);
    let all = |part: &str| found.iter().filter(|line| line.contains(part)).count();
    assert_eq!(all("its manifest's job_id cannot be one: "), jobs.len(), "{found:?}");
    assert_eq!(all("its folder's name cannot be a run id: "), 7, "{found:?}");
    assert_eq!(all("nothing says which job it belongs to"), 2, "{found:?}");
    assert_eq!(snapshot(&world.store.root().join("artifacts")).len(), 0);
    // What says nothing goes where it is told; what says something wrong does not.
    let told = world.adopt_as(&AdoptOptions { job: Some("told".parse().unwrap()), ..Default::default() });
    assert_eq!(world.runs(), ["told/none", "told/number"], "{told:?}");
}

#[test]
fn adopt_of_two_folders_that_are_the_same_run_takes_one_and_says_so_of_the_other() {
    let world = World::new();
    let run = run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    let copied = world.tree.join("runs").join(&run);
    crate::fixture::copy(&world.tree.join("job-b").join(&run), &copied);
    assert_eq!(
        world.adopt(),
        [
            format!("job-b/{run}: new job-b/{run}"),
            format!("runs/{run}: refused another folder of this tree is job-b/{run} too"),
        ]
    );
    write(copied.join("inputs/more"), "other bytes");
    assert_eq!(
        world.adopt(),
        [
            format!("job-b/{run}: already job-b/{run}"),
            format!("runs/{run}: refused the store has job-b/{run} with other bytes (a file differs)"),
        ]
    );
    // The store went on: the revision that came in is still the same run.
    migrate(&world.store).unwrap();
    fs::remove_dir_all(&copied).unwrap();
    assert_eq!(world.adopt(), [format!("job-b/{run}: already job-b/{run}")]);
}

/// The index takes in what an operation holds in between, so that a later batch learns of it from there.
#[test]
fn adopt_of_many_runs_knows_in_a_later_batch_what_came_in_with_an_earlier_one() {
    let world = World::new();
    for run in 0..1100 {
        write(world.tree.join(format!("j/{run:04}/manifest.json")), "{\"job_id\": \"j\"}");
    }
    for run in ["0003", "0700", "Z9"] {
        write(world.tree.join(format!("k/{run}/manifest.json")), "{\"job_id\": \"j\", \"n\": 1}");
    }
    write(world.tree.join("j/z9/manifest.json"), "{\"job_id\": \"j\"}");
    let found = world.adopt();
    let said = |place: &str| found.iter().find_map(|line| line.strip_prefix(place)).map(str::to_owned);
    assert_eq!(found.iter().filter(|line| line.contains(": new ")).count(), 1101);
    for run in ["0003", "0700"] {
        let why = said(&format!("k/{run}"));
        let other = format!(": refused the store has j/{run} with other bytes");
        assert!(why.as_ref().is_some_and(|why| why.starts_with(&other)), "{why:?}");
    }
    assert!(said("k/Z9").is_some_and(|why| why.contains("would be the same folder as")), "{found:?}");
    assert!(world.adopt().iter().all(|line| !line.contains(": new ")));
}

#[test]
fn adopt_of_ids_that_differ_only_by_case_is_refused_as_a_conflict() {
    let world = World::new();
    let first = run_with_snapshots(&world.tree, "Job", "1.1.0", "moon");
    let second = run_with_snapshots(&world.tree, "job", "1.1.0", "moon");
    write(world.tree.join("one/Run/manifest.json"), "{\"job_id\": \"one\"}");
    write(world.tree.join("one/run/manifest.json"), "{\"job_id\": \"one\"}");
    let twin = "would be the same folder as";
    let tail = "where case or normal form does not count";
    assert_eq!(
        world.adopt(),
        [
            format!("Job/{first}: new Job/{first}"),
            format!("job/{second}: refused job/{second} {twin} \"Job\" {tail}"),
            "one/Run: new one/Run with 1".to_owned(),
            format!("one/run: refused one/run {twin} \"Run\" {tail}"),
        ]
    );
    assert_eq!(world.adopt()[1], format!("job/{second}: refused job/{second} {twin} \"Job\" {tail}"));
    assert_eq!(world.runs(), [format!("Job/{first}"), "one/Run".to_owned()]);
}

#[test]
fn adopt_of_the_store_itself_or_what_holds_it_is_refused() {
    let world = World::new();
    adopt(&world.store, &source(&world.tree));
    let store = world.store.root().to_owned();
    let linked = world.root.path().join("linked");
    symlink(&store, &linked).unwrap();
    let before = snapshot(&store);
    let mut places = vec![store.clone(), store.join("artifacts"), store.join("artifacts/job-b")];
    places.extend([world.root.path().to_owned(), linked.join("artifacts"), linked]);
    for place in places {
        let error = try_adopt(&world.store, &place).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{}: {error}", place.display());
    }
    let gone = try_adopt(&world.store, &world.root.path().join("gone")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Refused, "{gone}");
    assert_eq!(snapshot(&store), before);
}

#[test]
fn adopt_of_a_run_folder_or_a_job_folder_itself_takes_what_is_in_it() {
    let world = World::new();
    let run = run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    assert_eq!(adopt(&world.store, &world.tree.join("job-b").join(&run)), (1, 0, 0, 0));
    assert_eq!(adopt(&world.store, &world.tree.join("job-b")), (0, 1, 0, 0));
    let key = world.store.find_run(&run).unwrap();
    assert_eq!(key.to_string(), format!("job-b/{run}"));
    let file = world.tree.join("job-b").join(&run).join("manifest.json");
    let error = try_adopt(&world.store, &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

/// What `verify` says of a store: code, and `known` or `new`.
fn told(store: &Store) -> Vec<String> {
    let report = store.verify(&VerifyOptions::default()).unwrap();
    let word = |known| if known { "known" } else { "new" };
    report
        .findings
        .iter()
        .filter(|f| f.code != Code::ShapeUnfit)
        .map(|f| format!("{} {} {}", f.code, word(f.known), f.path.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn known_exception_never_hides_a_later_change() {
    let world = World::new();
    let run = run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    let dir = world.tree.join("job-b").join(&run);
    // It came in inconsistent: an input that is not the one declared, a chain to a run that is not here.
    write(dir.join("inputs/brief.resolved.json"), "{\"topic\": \"sun\"}\n");
    assert_eq!(world.adopt(), [format!("job-b/{run}: new job-b/{run} with 2")]);
    let input = "inputs/brief.resolved.json";
    let known = [format!("E120 known {input}"), format!("E120 known {input}")];
    assert_eq!(told(&world.store), known);

    let ours = world.store.root().join("artifacts/job-b").join(&run);
    let edit = |text: &str| {
        fs::remove_file(ours.join(input)).unwrap();
        fs::write(ours.join(input), text).unwrap();
    };
    // Edited to other bytes of the same length: the digest that came in is not the one found.
    edit("{\"topic\": \"sum\"}\n");
    assert_eq!(
        told(&world.store),
        [format!("E105 new {input}"), format!("E120 new {input}"), format!("E120 known {input}")]
    );
    // Edited to what the manifest declares: consistent with it, and still not what came in.
    edit("{\n  \"topic\": \"moon\"\n}\n");
    assert_eq!(told(&world.store), [format!("E105 new {input}")]);
    fs::remove_file(ours.join(input)).unwrap();
    assert_eq!(told(&world.store), [format!("E104 new {input}")]);
    let key = world.store.find_run(&run).unwrap();
    world.store.restore(&key, None).unwrap();
    assert_eq!(told(&world.store), known);
    // A migration leaves it known, and a rollback too.
    let report = migrate(&world.store).unwrap();
    assert_eq!(report.migrated, 1);
    assert_eq!(told(&world.store), known);
    world.store.rollback_operation(&report.operation.unwrap()).unwrap();
    assert_eq!(told(&world.store), known);
}

#[test]
fn adopted_chain_is_checked_across_runs_whatever_their_order() {
    let world = World::new();
    let first = run_with_snapshots(&world.tree, "job-z", "1.2.0", "first");
    let output = format!("artifacts/job-z/{first}/outputs/a.txt");
    let stage =
        format!("{{\"job_id\": \"job-z\", \"run_id\": \"{first}\", \"output_references\": [\"{output}\"]}}");
    let manifest = format!(
        "{{\"job_id\": \"job-a\", \"chain_metadata\": {{\"is_chainable_stage\": true, \"prior_stages\": [{stage}]}}}}"
    );
    write(world.tree.join("job-a/later/manifest.json"), &manifest);
    // The output that the later run names is not there: found when it comes in, known from then on.
    let found = world.adopt();
    assert!(found.iter().any(|line| line == "job-a/later: new job-a/later with 2"), "{found:?}");
    assert!(told(&world.store).contains(&format!("E143 known {output}")), "{:?}", told(&world.store));
    // Without the earlier run it is the run that is missing.
    let other = World::new();
    write(other.tree.join("job-a/later/manifest.json"), &manifest);
    other.adopt();
    assert!(told(&other.store).contains(&format!("E142 known artifacts/job-z/{first}")));
}

#[test]
fn job_replaced_by_a_link_is_refused_by_every_command_that_would_act_behind_it() {
    let world = World::new();
    run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    world.adopt();
    let job = world.store.root().join("artifacts/job-b");
    let aside = world.store.root().parent().unwrap().join("aside");
    fs::rename(&job, &aside).unwrap();
    symlink(&aside, &job).unwrap();
    let before = snapshot(&aside);
    for answer in [
        world.store.versions().map(drop),
        world.store.migrate(&MigrateOptions::default(), &mut |_| {}).map(drop),
    ] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.to_string().contains("artifacts/job-b is a symbolic link"), "{error}");
    }
    assert_eq!(snapshot(&aside), before);
}

/// A clock far behind every file's times, so that none is racily clean.
struct LateClock;

impl strongroom::base::clock::Clock for LateClock {
    fn now(&self) -> strongroom::base::clock::Moment {
        strongroom::base::clock::Moment::from_millis(4_000_000_000_000)
    }

    fn random(&self) -> [u8; 16] {
        crate::fixture::TestClock::new().random()
    }
}

/// The rows of `adopt`'s cache.
fn rows_of(cache: &[u8]) -> Vec<[u8; 40]> {
    let head = cache.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (rows, rest) = cache[head..cache.len() - 32].as_chunks();
    assert!(rest.is_empty() && rows.is_sorted());
    rows.to_vec()
}

/// A cache with other rows, its check as whoever can write the file would make it.
fn with_rows(cache: &[u8], rows: &[[u8; 40]]) -> Vec<u8> {
    let head = cache.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let bytes = [&cache[..head], rows.as_flattened()].concat();
    let check = blake3::derive_key("strongroom 2026 adopted folders v2", &bytes);
    [&bytes[..], &check].concat()
}

#[test]
fn adopt_again_says_the_same_with_its_cache_without_it_and_with_a_spoilt_one() {
    let mut world = World::new();
    let clock = std::sync::Arc::new(LateClock);
    let context = strongroom::store::Context { clock, ..crate::fixture::context(None) };
    world.store = Store::open(world.store.root(), context).unwrap();
    let run = run_with_snapshots(&world.tree, "job-b", "1.1.0", "moon");
    run_with_snapshots(&world.tree, "job-b", "1.1.0", "sun");
    run_100(&world.tree, OLD);
    assert!(world.adopt().iter().all(|line| line.contains(": new ")));
    let cache = world.store.root().join("index.adopted");
    let known = fs::read(&cache).unwrap();
    assert_eq!(rows_of(&known).len(), 3);
    assert_eq!(with_rows(&known, &rows_of(&known)), known, "forged as the program writes it");
    let already = world.adopt();
    assert!(already.iter().all(|line| line.contains(": already ")), "{already:?}");
    assert_eq!(fs::read(&cache).unwrap(), known);
    migrate(&world.store).unwrap();
    assert_eq!(world.adopt(), already, "migrated since");
    assert_eq!(world.adopt_as(&AdoptOptions { rehash: true, ..Default::default() }), already);
    // A cache that leads to other runs is no reason to believe it.
    let mut turned = rows_of(&known);
    for at in 0..3 {
        turned[at][32..].copy_from_slice(&known[known.len() - 32 - 40 * at - 8..][..8]);
    }
    let beyond = rows_of(&known).into_iter().map(|row| [&row[..32], &[7; 8]].concat().try_into().unwrap());
    let mut bit = known.clone();
    bit[known.len() - 40] ^= 1;
    for spoilt in [
        with_rows(&known, &turned),
        with_rows(&known, &beyond.collect::<Vec<_>>()),
        with_rows(&known, &[]),
        bit,
        known[..known.len() - 20].to_vec(),
        [&known[..known.len() - 72], &known[known.len() - 32..]].concat(),
        b"strongroom adopted 1 00\n".to_vec(),
        Vec::new(),
    ] {
        fs::write(&cache, spoilt).unwrap();
        assert_eq!(world.adopt(), already);
    }
    fs::remove_file(&cache).unwrap();
    assert_eq!(world.adopt(), already);
    // The same length and the same time of change, as far as a program can set it.
    let brief = world.tree.join("job-b").join(&run).join("inputs");
    let file = snapshot(&brief).into_keys().find(|name| !name.ends_with('/')).unwrap();
    let path = brief.join(file);
    let (bytes, time) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    fs::write(&path, vec![b'x'; bytes.len()]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let edited = world.adopt();
    assert!(edited.iter().any(|line| line.contains(&run) && line.contains("refused")), "{edited:?}");
    assert_eq!(edited.iter().filter(|line| line.contains(": already ")).count(), 2);
}

/// Asks to stop once this many runs are done.
struct Stops(u64, std::sync::atomic::AtomicU64);

impl strongroom::store::Progress for Stops {
    fn at(&self, done: u64, total: u64) {
        assert_eq!(total, 0, "nobody counted the runs");
        self.1.store(done, std::sync::atomic::Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::Relaxed) >= self.0
    }
}

#[test]
fn adopt_that_is_stopped_has_told_of_what_came_in_and_goes_on_from_there() {
    let mut world = World::new();
    for run in 0..700 {
        let manifest =
            format!(r#"{{"schema_version":"1.2.0","job_id":"j-{}","run_id":"run-{run}"}}"#, run % 3);
        write(world.tree.join(format!("t-{}/run-{run}/manifest.json", run % 7)), &manifest);
    }
    write(world.tree.join("t-3/notes.txt"), "no run");
    let progress = std::sync::Arc::new(Stops(1, 0.into()));
    let context = strongroom::store::Context { progress, ..crate::fixture::context(None) };
    world.store = Store::open(world.store.root(), context).unwrap();
    let mut told = Vec::new();
    let hear = &mut |seen, so_far: &_| told.push((seen, *so_far));
    let stopped = world.store.adopt(&world.tree, &AdoptOptions::default(), hear).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Interrupted);
    assert_eq!(stopped.to_string(), "interrupted; 512 done, run the command again to finish");
    let so_far = told.last().unwrap().1;
    assert_eq!((so_far.adopted, so_far.skipped, told.len()), (512, 1, 513));
    assert_eq!(world.runs().len(), 512);
    world.store = crate::fixture::open(world.store.root());
    let (report, rows) = try_adopt(&world.store, &world.tree).unwrap();
    assert_eq!(crate::fixture::counts(&report), (188, 512, 0, 1));
    assert!(rows.iter().map(|seen| &seen.place).is_sorted(), "folder by folder, by name");
    let told: Vec<_> = told.iter().map(|(seen, _)| &seen.place).collect();
    assert_eq!(told, rows[..513].iter().map(|seen| &seen.place).collect::<Vec<_>>());
    assert_eq!(failures(&world.store), Vec::<String>::new());
}
