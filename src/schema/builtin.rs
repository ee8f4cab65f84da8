//! The packs that come with the program. They are data like any other pack and have no more powers.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::pack::Pack;

type Files = &'static [(&'static str, &'static [u8])];

macro_rules! pack {
    ($name:literal, [$($file:literal),+ $(,)?]) => {
        ($name, &[$(($file, include_bytes!(concat!("../packs/", $name, "/", $file)) as &[u8])),+])
    };
}

const BUILTIN: &[(&str, Files)] = &[
    pack!(
        "sigilzero",
        [
            "pack.toml",
            "1.0.0.schema.json",
            "1.1.0.schema.json",
            "1.2.0.schema.json",
            "examples/1.0.0--uuid.json",
            "examples/1.1.0--a--snapshots.json",
            "examples/1.1.0--b--generation.json",
            "examples/1.1.0--c--chain.json",
            "examples/1.2.0--chain.json",
        ]
    ),
    pack!(
        "mlx-knife",
        [
            "pack.toml",
            "0.1.0.schema.json",
            "0.2.0.schema.json",
            "0.2.1.schema.json",
            "0.2.2.schema.json",
            "examples/0.1.0--stop-tokens.json",
            "examples/0.2.0--undescribed-members.json",
            "examples/0.2.2--stop-tokens.json",
        ]
    ),
    pack!(
        "llm-metrics-proxy",
        [
            "pack.toml",
            "row.schema.json",
            "examples/1.0.0--column-absent.json",
            "examples/1.0.0--label-empty.json",
            "examples/2.0.0--computed.json",
        ]
    ),
    pack!(
        "llenergymeasure",
        [
            "pack.toml",
            "aggregated.schema.json",
            "compute-metrics-a.schema.json",
            "compute-metrics-b.schema.json",
            "compute-metrics-c.schema.json",
            "experiments.schema.json",
            "global-energy.schema.json",
            "inference-metrics.schema.json",
            "model-architecture.schema.json",
            "process-215c7f3.schema.json",
            "process-215e05e.schema.json",
            "process-3003220.schema.json",
            "process-31412c5.schema.json",
            "process-53f1b15.schema.json",
            "process-54b629e.schema.json",
            "process-energy.schema.json",
            "result-2003c6f.schema.json",
            "result-215c7f3.schema.json",
            "result-215e05e.schema.json",
            "result-3003220.schema.json",
            "result-31412c5.schema.json",
            "result-53f1b15.schema.json",
            "result-54b629e.schema.json",
            "setup-a.schema.json",
            "setup-b.schema.json",
            "setup-c.schema.json",
            "setup-d.schema.json",
            "variables.schema.json",
            "examples/2.0--result-2003c6f--pip-freeze.json",
            "examples/2.0--result-215e05e--pip-freeze.json",
            "examples/compute-metrics--a--flops.json",
            "examples/compute-metrics--c--flops.json",
            "examples/setup--a--renamed.json",
            "examples/setup--d--renamed.json",
        ]
    ),
    pack!(
        "palimpsest",
        [
            "pack.toml",
            "0.0.1-a.schema.json",
            "0.0.1-b.schema.json",
            "0.0.1-c.schema.json",
            "0.1.0-a.schema.json",
            "0.1.0-b.schema.json",
            "0.1.0-c.schema.json",
            "examples/0.0.1--a--branch.json",
            "examples/0.0.1--b--action.json",
            "examples/0.0.1--c--plain.json",
            "examples/0.1.0--a--metadata-empty.json",
            "examples/0.1.0--c--branch.json",
        ]
    ),
];

/// The names of the built-in packs.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// The files of a built-in pack, by their names within its folder.
pub fn pack_files(name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let (_, files) = BUILTIN.iter().find(|(known, _)| *known == name)?;
    Some(files.iter().map(|(file, bytes)| ((*file).to_owned(), bytes.to_vec())).collect())
}

impl Pack {
    /// A built-in pack; it is read once per process.
    pub fn builtin(name: &str) -> Option<&'static Pack> {
        static PACKS: OnceLock<Vec<Pack>> = OnceLock::new();
        let packs = PACKS.get_or_init(|| {
            builtin_names()
                .filter_map(pack_files)
                .map(|files| Pack::parse(&files).expect("a test reads every built-in pack"))
                .collect()
        });
        packs.iter().find(|pack| pack.name() == name)
    }
}
