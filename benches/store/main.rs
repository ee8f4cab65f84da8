//! Whole commands against the floor: a bare program that makes only the calls that cannot be left out.
//!
//! `cargo bench --bench store` prints one table. Command and floor run as processes of their own, in
//! turn, on the same data; the figure is the median of the ratios of their wall times, beside it the
//! CPU seconds and the peak memory of both. `scripts/bench.sh` says how to choose sizes and rows.

mod floor;
mod growth;
mod measure;
mod peers;
mod workload;

use std::path::{Path, PathBuf};

use measure::{Cost, Program};

/// What the table is made of.
struct Plan {
    dir: PathBuf,
    /// Divides the sizes of W1 to W3.
    scale: usize,
    /// Manifests in M.
    manifests: usize,
    rounds: usize,
    only: Option<String>,
    /// Whether other programs are measured too.
    peers: bool,
    /// Whether memory is emptied of files before each run of a program.
    cold: bool,
    /// Runs of a store that is measured at that size and at a tenth of it, instead of all else.
    growth: Option<usize>,
}

const HELP: &str = "\
cargo bench --bench store -- [--manifests N] [--scale N] [--rounds N] [--only WORD] [--dir DIR] [--peers] [--cold]
cargo bench --bench store -- --growth N [--dir DIR] [--cold]
  --manifests N   manifests in M (20000)
  --scale N       divide the sizes of W1, W2 and W3 by N (10)
  --rounds N      rounds, of which the median counts (5)
  --only WORD     rows whose name holds WORD
  --dir DIR       where to work (a temporary folder); decides which disk is measured
  --peers         git, restic, borg and ostree, as far as they are installed, on W1 to W3 as well
  --cold          memory emptied of files before each program (Linux, as root)
  --growth N      instead of the table: each command in a store of N runs and of a tenth of them (N = 1000000
                  takes 30 GB of disk)";

fn main() {
    let mut args = std::env::args().skip(1);
    let mut plan = Plan {
        dir: std::env::temp_dir(),
        scale: 10,
        manifests: 20_000,
        rounds: 5,
        only: None,
        peers: false,
        cold: false,
        growth: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--measure" => return measure::child(args.collect()),
            "--floor" => return floor::run(&args.collect::<Vec<_>>()),
            "--bench" => {}
            "--manifests" => plan.manifests = value().parse().expect("a number"),
            "--scale" => plan.scale = value().parse().expect("a number"),
            "--rounds" => plan.rounds = value().parse().expect("a number"),
            "--only" => plan.only = Some(value()),
            "--peers" => plan.peers = true,
            "--cold" => plan.cold = true,
            "--growth" => plan.growth = Some(value().parse().expect("a number")),
            "--dir" => plan.dir = value().into(),
            _ => return println!("{HELP}"),
        }
    }
    let work = tempfile::Builder::new().prefix("strongroom-bench").tempdir_in(&plan.dir).expect("a folder");
    if let Some(runs) = plan.growth {
        return growth::run(work.path(), runs, plan.cold);
    }
    println!(
        "M = {} manifests; W1 to W3 divided by {}; median of {} rounds; {} cores; {}{}",
        plan.manifests,
        plan.scale,
        plan.rounds,
        std::thread::available_parallelism().map_or(1, usize::from),
        plan.dir.display(),
        if plan.cold { "; no file in memory" } else { "" }
    );
    println!(
        "{:<26} {:>6} {:>6}  {:>9} {:>9}  {:>8} {:>8}  {:>7} {:>7}",
        "operation", "ratio", "cpu", "wall s", "floor s", "cpu s", "floor s", "MiB", "floor"
    );
    let table = Table { plan: &plan, work: work.path() };
    for name in ["W1", "W2", "W3"] {
        table.ingest_and_verify(name);
    }
    table.manifests();
    table.small();
}

struct Table<'p> {
    plan: &'p Plan,
    work: &'p Path,
}

impl Table<'_> {
    fn wanted(&self, row: &str) -> bool {
        self.plan.only.as_ref().is_none_or(|only| row.contains(only.as_str()))
    }

    /// As [`Table::row`] of what only reads: the floor runs once more before each pair, so that neither of the two
    /// finds the files less warm than the other.
    fn warm_row(&self, name: &str, ours: &dyn Fn() -> Program, floor: &dyn Fn() -> Program) {
        self.row(name, &|_| _ = floor().measure(), ours, floor);
    }

    /// Runs both, in turn, and prints the row. `before` puts the scene in order for each.
    fn row(
        &self,
        name: &str,
        before: &dyn Fn(usize),
        ours: &dyn Fn() -> Program,
        floor: &dyn Fn() -> Program,
    ) {
        if !self.wanted(name) {
            return;
        }
        let mut pairs: Vec<(Cost, Cost)> = Vec::new();
        for round in 0..self.plan.rounds {
            before(round);
            let first = round % 2 == 0;
            let (a, b) = if first { (ours(), floor()) } else { (floor(), ours()) };
            let (a, b) = (self.measure(&a), self.measure(&b));
            pairs.push(if first { (a, b) } else { (b, a) });
        }
        let median = |value: &dyn Fn(&(Cost, Cost)) -> f64| {
            let mut all: Vec<f64> = pairs.iter().map(value).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!(
            "{name:<26} {:>6.2} {:>6.2}  {:>9.3} {:>9.3}  {:>8.2} {:>8.2}  {:>7.0} {:>7.0}",
            median(&|(a, b)| a.wall / b.wall),
            median(&|(a, b)| a.cpu / b.cpu.max(0.001)),
            median(&|(a, _)| a.wall),
            median(&|(_, b)| b.wall),
            median(&|(a, _)| a.cpu),
            median(&|(_, b)| b.cpu),
            median(&|(a, _)| a.peak_mib),
            median(&|(_, b)| b.peak_mib),
        );
    }

    fn measure(&self, program: &Program) -> Cost {
        if self.plan.cold {
            measure::empty_page_cache();
        }
        program.measure()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// W1, W2, W3: adopting a tree, adopting it again, verifying.
    fn ingest_and_verify(&self, name: &str) {
        let rows =
            ["ingest {}", "again, reading {}", "again {}", "verify {}", "verify {}, segments as files"]
                .map(|row| row.replace("{}", name));
        if !rows.iter().any(|row| self.wanted(row)) {
            return;
        }
        let (tree, store, bare) = (self.path("tree"), self.path("store"), self.path("bare"));
        workload::tree(&tree, name, self.plan.scale);
        let fresh = |_: usize| {
            for dir in [&store, &bare] {
                let _ = std::fs::remove_dir_all(dir);
            }
            measure::strongroom(&["init"], &store).measure();
            measure::settle();
        };
        let adopt = || measure::strongroom(&["adopt", tree.to_str().expect("text")], &store);
        self.row(&rows[0], &fresh, &adopt, &|| measure::floor(&["ingest"], &[&tree, &bare]));
        if !store.join("audit/tile").exists() {
            fresh(0);
            adopt().measure();
        }
        let rehash = || measure::strongroom(&["adopt", "--rehash", tree.to_str().expect("text")], &store);
        self.warm_row(&rows[1], &rehash, &|| measure::floor(&["hash", "both"], &[&tree]));
        // What was adopted just now is not known by its times yet.
        std::thread::sleep(std::time::Duration::from_secs(3));
        adopt().measure();
        self.warm_row(&rows[2], &adopt, &|| measure::floor(&["stat"], &[&tree]));
        let verify = || measure::strongroom(&["verify"], &store);
        self.warm_row(&rows[3], &verify, &|| measure::floor(&["verify"], &[&store]));
        self.warm_row(&rows[4], &verify, &|| {
            measure::floor(&["hash", "large"], &[&store.join("artifacts"), &store.join("objects")])
        });
        if self.plan.peers {
            self.peers(name, &tree);
        }
        for dir in [&tree, &store, &bare] {
            let _ = std::fs::remove_dir_all(dir);
        }
    }

    /// The same tree, kept and checked by others.
    fn peers(&self, name: &str, tree: &Path) {
        let (here, bare) = (self.path("peer"), self.path("peer-bare"));
        for peer in peers::installed() {
            let fresh = |_: usize| {
                for dir in [&here, &bare] {
                    let _ = std::fs::remove_dir_all(dir);
                }
                peers::command(peer.begin, tree, &here).measure();
                measure::settle();
            };
            let ingest = || peers::command(peer.ingest, tree, &here);
            self.row(&format!("ingest {name}, {}", peer.name), &fresh, &ingest, &|| {
                measure::floor(&["ingest"], &[tree, &bare])
            });
            let verify = || peers::command(peer.verify, tree, &here);
            self.row(&format!("verify {name}, {}", peer.name), &|_| {}, &verify, &|| {
                measure::floor(&["hash", "large"], &[tree])
            });
        }
        for dir in [&here, &bare] {
            let _ = std::fs::remove_dir_all(dir);
        }
    }

    /// M: what is done to many manifests.
    fn manifests(&self) {
        let rows = [
            "migrate M",
            "migrate M dry",
            "migrate M current",
            "reindex M",
            "versions M",
            "list M",
            "show one of M",
            "history one of M",
            "verify M",
            "reindex M, 100 changed",
        ];
        if !rows.iter().any(|row| self.wanted(row)) {
            return;
        }
        let (tree, kept, store, bare) =
            (self.path("m-tree"), self.path("m-kept"), self.path("m-store"), self.path("m-bare"));
        let one = workload::manifests(&tree, self.plan.manifests, 0);
        measure::strongroom(&["init"], &kept).measure();
        measure::strongroom(&["adopt", tree.to_str().expect("text")], &kept).measure();
        let again = |_: usize| {
            for dir in [&store, &bare] {
                let _ = std::fs::remove_dir_all(dir);
            }
            measure::copy(&kept, &store);
            measure::copy(&kept.join("artifacts"), &bare);
            measure::settle();
        };
        let ours = |args: &'static [&'static str]| move || measure::strongroom(args, &self.path("m-store"));
        let artifacts = store.join("artifacts");
        again(0);
        self.warm_row(rows[1], &ours(&["migrate", "--dry-run", "--quiet"]), &|| {
            measure::floor(&["parse"], &[&artifacts])
        });
        self.row(rows[0], &again, &ours(&["migrate", "--quiet"]), &|| measure::floor(&["migrate"], &[&bare]));
        measure::strongroom(&["migrate", "--quiet"], &store).measure();
        self.warm_row(rows[2], &ours(&["migrate", "--quiet"]), &|| {
            measure::floor(&["version"], &[&artifacts])
        });
        let (index, kept_index) = (store.join("index.sqlite"), self.path("index.sqlite"));
        std::fs::copy(&index, &kept_index).expect("an index");
        let drop_index = |_: usize| drop(std::fs::remove_file(&index));
        self.row(rows[3], &drop_index, &ours(&["reindex"]), &|| {
            measure::floor(&["index"], &[&artifacts, &kept_index, &self.path("bare.sqlite")])
        });
        self.warm_row(rows[4], &ours(&["versions"]), &|| measure::floor(&["version"], &[&artifacts]));
        self.warm_row(rows[5], &ours(&["list", "--limit", "20"]), &|| measure::floor(&["nothing"], &[]));
        let one: &str = &one;
        self.warm_row(rows[6], &|| measure::strongroom(&["show", one], &store), &|| {
            measure::floor(&["nothing"], &[])
        });
        self.warm_row(rows[7], &|| measure::strongroom(&["history", one], &store), &|| {
            measure::floor(&["nothing"], &[])
        });
        self.warm_row(rows[8], &ours(&["verify"]), &|| measure::floor(&["verify"], &[&store]));
        // What was migrated just now is not known by its times yet.
        std::thread::sleep(std::time::Duration::from_secs(3));
        measure::strongroom(&["reindex"], &store).measure();
        let edit = |round: usize| workload::edit(&artifacts, 100, round.is_multiple_of(2));
        self.row(rows[9], &edit, &ours(&["reindex"]), &|| measure::floor(&["stat"], &[&artifacts]));
    }

    /// How long any command takes to begin.
    fn small(&self) {
        let here = self.path("small");
        measure::strongroom(&["init"], &here).measure();
        self.warm_row("start-up", &|| measure::strongroom(&["--version"], &here), &|| {
            measure::floor(&["nothing"], &[])
        });
    }
}
