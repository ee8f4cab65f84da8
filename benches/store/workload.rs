//! Trees to work on, the same for the same sizes: a seeded generator makes names, numbers and bytes.

use std::fmt::Write as _;
use std::path::Path;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// JSON text of about this length, as result files look: names, floats, a few words.
    fn json(&mut self, len: usize) -> String {
        let mut text = String::from("{\n");
        for number in 0.. {
            if text.len() >= len {
                break;
            }
            let value = self.next();
            // With its number, so that no name comes twice.
            let name = format!("{number}_{:x}", value >> 48);
            let _ = match value % 3 {
                0 => writeln!(text, "  \"metric_{name}\": {}.{},", value % 1000, value >> 44),
                1 => writeln!(text, "  \"name_{name}\": \"value-{:x}\",", value >> 20),
                _ => writeln!(text, "  \"count_{name}\": {},", value >> 30),
            };
        }
        text.push_str("  \"end\": true\n}\n");
        text
    }
}

/// A run manifest of sigilzero at 1.0.0, of about this length.
fn manifest(random: &mut Random, job: &str, run: &str, len: usize) -> String {
    let filler = random.json(len.saturating_sub(420));
    format!(
        "{{\n  \"schema_version\": \"1.0.0\",\n  \"run_id\": \"{run}\",\n  \"job_ref\": \"jobs/{job}/brief.yaml\",\n  \
         \"job_type\": \"instagram_copy\",\n  \"status\": \"succeeded\",\n  \
         \"started_at\": \"2026-02-28T17:40:08.910Z\",\n  \"finished_at\": \"2026-02-28T17:40:09.910Z\",\n  \
         \"doctrine\": null,\n  \"artifacts\": {{}},\n  \"langfuse_trace_id\": null,\n  \"error\": null,\n  \
         \"measured\": {}}}\n",
        filler.trim_end()
    )
}

fn run_name(random: &mut Random) -> String {
    format!("{:016x}{:016x}", random.next(), random.next())
}

/// Makes W1 (many small JSON files), W2 (large files) or W3 (files of which 60 in 100 are copies).
pub fn tree(to: &Path, name: &str, scale: usize) {
    let mut random = Random(1);
    let (runs, files) = match name {
        "W1" => (10_000 / scale, 10),
        "W2" => ((20 / scale).max(2), 1),
        _ => (1_000 / scale, 10),
    };
    let shared: Vec<Vec<u8>> = (0..40).map(|_| random.bytes(100 << 10)).collect();
    for n in 0..runs.max(1) {
        let (job, run) = (format!("job-{}", n % 50), run_name(&mut random));
        let dir = to.join("artifacts").join(&job).join(&run);
        std::fs::create_dir_all(dir.join("inputs")).expect("a folder");
        std::fs::create_dir_all(dir.join("outputs")).expect("a folder");
        std::fs::write(dir.join("manifest.json"), manifest(&mut random, &job, &run, 2 << 10))
            .expect("a file");
        for file in 0..files {
            let bytes = match name {
                "W1" => {
                    let len = 1024 + random.below(3072);
                    random.json(len).into_bytes()
                }
                "W2" => random.bytes(100 << 20),
                _ if random.below(10) < 6 => shared[random.below(shared.len())].clone(),
                _ => random.bytes(100 << 10),
            };
            let folder = if file == 0 { "inputs" } else { "outputs" };
            std::fs::write(dir.join(folder).join(format!("{file}.json")), bytes).expect("a file");
        }
    }
}

/// Makes M: runs that are little more than a manifest of 4 KiB; gives one run's name. Another seed gives
/// other runs.
pub fn manifests(to: &Path, count: usize, seed: u64) -> String {
    let mut random = Random(2 + (seed << 32));
    let mut one = String::new();
    for n in 0..count {
        let (job, run) = (format!("job-{}", n % 50), run_name(&mut random));
        let dir = to.join("artifacts").join(&job).join(&run);
        std::fs::create_dir_all(dir.join("inputs")).expect("a folder");
        std::fs::write(dir.join("manifest.json"), manifest(&mut random, &job, &run, 4 << 10))
            .expect("a file");
        std::fs::write(dir.join("inputs/brief.yaml"), format!("job_id: {job}\nn: {n}\n")).expect("a file");
        one = format!("{job}/{run}");
    }
    one
}

/// Edits some manifests in place, as nobody should, or edits them back.
pub fn edit(artifacts: &Path, mut count: usize, there: bool) {
    let (from, to) = if there { ("succeeded", "failed") } else { ("failed", "succeeded") };
    for job in std::fs::read_dir(artifacts).expect("a folder") {
        for run in std::fs::read_dir(job.expect("a name").path()).expect("a folder") {
            let path = run.expect("a name").path().join("manifest.json");
            let text = std::fs::read_to_string(&path).expect("a file");
            let edited = path.with_extension("edited");
            std::fs::write(&edited, text.replace(from, to)).expect("a file");
            std::fs::rename(&edited, &path).expect("renamed");
            count -= 1;
            if count == 0 {
                return;
            }
        }
    }
}
