//! How fast documents migrate, beside a bare parse and print of the same documents by `serde_json`
//! in the same run. `cargo bench --bench engine`; a word after `--` picks the lines that have it.
//!
//! Rates are by processor time, so that they say what one core does however busy the machine is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use strongroom::base::digest::Sha256;
use strongroom::base::json;
use strongroom::schema::{Facts, Outcome, Pack};

const DOCUMENTS: usize = 64;
const ROUNDS: usize = 5;
const SECONDS: f64 = 0.4;

const HEAD: &str = r#"
[pack]
name = "bench"
version = "1.0.0"
version_at = "/schema_version"
head = "3"
order = "graph"

[[migration]]
from = "1"
to = "2"
  [[migration.step]]
  op = "rename"
  path = "/exp_id"
  to = "experiment_id"
  [[migration.step]]
  op = "default"
  path = "/context/tags"
  json = "[]"
  [[migration.step]]
  op = "set"
  path = "/origin"
  value = "import"

[[migration]]
from = "2"
to = "3"
  [[migration.step]]
  op = "map"
  path = "/steps/*/action"
  table = { validate = "test", design = "analyze" }
  otherwise = "keep"
  [[migration.step]]
  op = "default"
  path = "/success"
  json = "null"
"#;

/// Describes every member; what a pack author would write for such documents.
const SCHEMA: &str = r##"{"type":"object","required":["schema_version","steps"],"properties":{
    "schema_version":{"type":"string"},"exp_id":{"type":"string"},"experiment_id":{"type":"string"},
    "created":{"type":"string"},"model":{"type":"string"},"temperature":{"type":"number"},
    "total_tokens":{"type":"integer","minimum":0},"response_time_ms":{"type":"number"},
    "tokens_per_second":{"type":["number","null"]},"energy":{"type":"number"},"origin":{"type":"string"},
    "success":{"type":["boolean","null"]},"prompt":{"type":"string"},
    "context":{"type":"object","properties":{"cwd":{"type":"string"},"tags":{"type":"array"}}},
    "steps":{"type":"array","items":{"$ref":"#/$defs/step"}}},
    "$defs":{"step":{"type":"object","required":["id","action"],"properties":{
      "id":{"type":"integer"},"action":{"type":"string"},"text":{"type":"string"},
      "ms":{"type":"number"},"ok":{"type":"boolean"}}}}}"##;

/// The migration that llm-metrics-proxy made, on such documents: one step that computes, and the label.
const EXAMPLE: &str = r#"
[pack]
name = "bench"
version = "1.0.0"
version_at = "/schema_version"
head = "2"
order = "graph"

[fields]
frozen = ["/exp_id", "/created"]
measured = ["/total_tokens", "/response_time_ms"]

[[migration]]
from = "1"
to = "2"
  [[migration.step]]
  op = "compute"
  path = "/tokens_per_second"
  formula = "tps-response-time"
  expression = "(total_tokens * 1000.0) / response_time_ms"
  arithmetic = "ieee754"
  invalid = "null"
"#;

fn pack(head: &str, versions: &[&str], schema: &str) -> Pack {
    let shapes: String = versions
        .iter()
        .map(|v| format!("[[shape]]\nversion = \"{v}\"\nschema = \"s.schema.json\"\n"))
        .collect();
    let files = BTreeMap::from([
        ("pack.toml".to_owned(), format!("{head}{shapes}").into_bytes()),
        ("s.schema.json".to_owned(), schema.as_bytes().to_vec()),
    ]);
    Pack::parse(&files).expect("the pack loads")
}

/// A trace of about 4 KiB: scalars, a long text, sixteen steps of five members.
fn document(seed: usize) -> String {
    let mut text = format!(
        "{{\"schema_version\": \"1\", \"exp_id\": \"exp-{seed:05}\", \"created\": \"2026-02-28T17:40:08.910Z\", \
         \"model\": \"m-{}\", \"temperature\": 0.7, \"total_tokens\": {}, \"energy\": 6.64e-07, \
         \"response_time_ms\": {}.5, \"tokens_per_second\": 31.25, \
         \"context\": {{\"cwd\": \"/home/someone/project\"}}, \"prompt\": \"{}\", \"steps\": [",
        seed % 7,
        1000 + seed,
        900 + 7 * seed,
        "Summarize what the previous run found and say what is missing. ".repeat(12),
    );
    let actions = ["validate", "implement", "design", "test"];
    for i in 0..16 {
        let comma = if i > 0 { ", " } else { "" };
        let action = actions[(i + seed) % actions.len()];
        let said = "Looked at the module and its tests, found two cases that nobody covers. ".repeat(2);
        write!(
            text,
            "{comma}{{\"id\": {i}, \"action\": \"{action}\", \"text\": \"{said}\", \"ms\": {}.25, \"ok\": true}}",
            i * 37 + seed
        )
        .expect("a string takes it");
    }
    text + "]}"
}

/// Seconds that this thread was on a processor; the clock's where the system does not say.
fn seconds(begin: Instant) -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = spent.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| begin.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// Documents per second, the best of some rounds.
fn rate(documents: &[Vec<u8>], mut work: impl FnMut(&[u8])) -> f64 {
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let (begin, mut done) = (Instant::now(), 0usize);
        let from = seconds(begin);
        while begin.elapsed().as_secs_f64() < SECONDS {
            documents.iter().for_each(|document| work(document));
            done += documents.len();
        }
        best = best.max(done as f64 / (seconds(begin) - from));
    }
    best
}

fn migrate(pack: &Pack, document: &[u8]) {
    match pack.migrate(document, None, &Facts::default(), None) {
        Outcome::Rewrite(rewrite) => assert!(!black_box(rewrite.bytes).is_empty()),
        other => panic!("not migrated: {other:?}"),
    }
}

fn main() {
    let documents: Vec<Vec<u8>> = (0..DOCUMENTS).map(|seed| document(seed).into_bytes()).collect();
    let bytes = documents.iter().map(Vec::len).sum::<usize>() / documents.len();
    let described = pack(HEAD, &["1", "2", "3"], SCHEMA);
    // Nothing to validate, and no member described beyond those that the steps change.
    let nothing = r#"{"properties":{"exp_id":{},"steps":{"items":{"properties":{"action":{}}}}}}"#;
    let bare = pack(HEAD, &["1", "2", "3"], nothing);
    let example = pack(EXAMPLE, &["1", "2"], SCHEMA);

    println!("{DOCUMENTS} documents of {bytes} bytes, one thread, best of {ROUNDS} rounds, processor time");
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let beside = std::cell::OnceCell::new();
    let show = |what: &str, work: &dyn Fn(&[u8])| {
        if what.contains(&wanted) {
            let rate = rate(&documents, work);
            let times = rate / beside.get_or_init(|| rate);
            println!("{what:<44} {rate:>9.0} documents/s {times:>6.2} x the first line");
        }
    };
    show("serde_json: parse to Value and print", &|document| {
        let value: serde_json::Value = serde_json::from_slice(document).expect("JSON");
        black_box(serde_json::to_vec(&value).expect("prints"));
    });
    show("scan alone", &|document| assert!(json::scan(black_box(document)).is_ok()));
    show("two digests of each", &|document| {
        black_box((Sha256::of(document), Sha256::of(black_box(document))));
    });
    show("scan, detect and validate", &|document| {
        let doc = json::scan(document).expect("JSON");
        black_box(described.detect(&doc));
    });
    show("one migration that computes", &|document| migrate(&example, document));
    show("migrate two hops, schemas that say nothing", &|document| migrate(&bare, document));
    show("migrate two hops, every member described", &|document| migrate(&described, document));
}
