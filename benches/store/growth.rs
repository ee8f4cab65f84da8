//! What commands cost in a store of many runs beside a tenth of them: time and memory of one run.
//!
//! The store grows by adopting a tenth at a time, each from a tree that is gone afterwards, so that the
//! disk need hold one copy only. The trees lie in the folder for temporary files (`TMPDIR`): where that is
//! in memory, they go at once.

use std::path::Path;

use crate::measure::{self, Cost};
use crate::workload;

/// Tenths that the store grows by.
const PIECES: usize = 10;

/// What one command cost at one size.
struct Row {
    name: &'static str,
    cost: Cost,
    /// By what its time is divided.
    runs: usize,
}

/// Grows a store to that many runs and prints the rows.
pub fn run(work: &Path, runs: usize, cold: bool) {
    let (piece, store) = ((runs / PIECES).max(1), work.join("store"));
    measure::strongroom(&["init"], &store).measure();
    let mut one = String::new();
    let mut grow = |seed: usize| {
        let tree = tempfile::tempdir().expect("a temporary folder");
        one = workload::manifests(tree.path(), piece, seed as u64);
        settle(cold);
        let cost = measure::strongroom(&["adopt", tree.path().to_str().expect("text")], &store).measure();
        eprintln!("adopt of {piece}: {:.1} s, CPU {:.1} s, {:.0} MiB", cost.wall, cost.cpu, cost.peak_mib);
        drop(tree);
        measure::settle();
        (Row { name: "adopt, of a tenth of all", cost, runs: piece }, one.clone())
    };
    let (first, one) = grow(0);
    let few = measured(&store, first, &one, piece, piece, cold);
    (1..PIECES - 1).for_each(|seed| drop(grow(seed)));
    let (last, one) = grow(PIECES - 1);
    let many = measured(&store, last, &one, piece * PIECES, piece * (PIECES - 1), cold);
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6} {:>7} {:>7}",
        "us of a run; MiB",
        piece,
        "cpu",
        piece * PIECES,
        "cpu",
        "wall x",
        "cpu x",
        "MiB",
        "MiB"
    );
    for (few, many) in few.iter().zip(&many) {
        let each = |row: &Row, seconds: f64| seconds * 1e6 / row.runs as f64;
        println!(
            "{:<28} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>6.2} {:>6.2} {:>7.0} {:>7.0}",
            few.name,
            each(few, few.cost.wall),
            each(few, few.cost.cpu),
            each(many, many.cost.wall),
            each(many, many.cost.cpu),
            each(many, many.cost.wall) / each(few, few.cost.wall),
            each(many, many.cost.cpu) / each(few, few.cost.cpu).max(0.001),
            few.cost.peak_mib,
            many.cost.peak_mib,
        );
    }
}

/// What was written is on the disk; `cold`: and nothing of it in memory.
fn settle(cold: bool) {
    if cold { measure::empty_page_cache() } else { measure::settle() }
}

/// Every command once. `migrated` of the runs are not migrated yet.
fn measured(store: &Path, adopted: Row, one: &str, all: usize, migrated: usize, cold: bool) -> Vec<Row> {
    let mut rows = vec![adopted];
    let mut take = |name, args: &[&str], runs| {
        settle(cold);
        let cost = measure::strongroom(args, store).measure();
        eprintln!("{name} of {all}: {:.1} s, CPU {:.1} s, {:.0} MiB", cost.wall, cost.cpu, cost.peak_mib);
        rows.push(Row { name, cost, runs });
    };
    take("migrate, dry run", &["migrate", "--dry-run", "--quiet"], all);
    take("migrate", &["migrate", "--quiet"], migrated);
    take("migrate, current", &["migrate", "--quiet"], all);
    // What was migrated just now is not known by its times yet.
    std::thread::sleep(std::time::Duration::from_secs(3));
    take("reindex --anew", &["reindex", "--anew"], all);
    take("reindex", &["reindex"], all);
    take("versions", &["versions"], all);
    take("list", &["list"], all);
    take("show, of one", &["show", one], 1);
    take("history, of one", &["history", one], 1);
    take("verify", &["verify"], all);
    rows
}
