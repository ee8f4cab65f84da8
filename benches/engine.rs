//! How fast documents migrate, beside a bare parse and print of the same documents by `serde_json`
//! in the same run. `cargo bench --bench engine`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

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
    "total_tokens":{"type":"integer","minimum":0},"energy":{"type":"number"},"origin":{"type":"string"},
    "success":{"type":["boolean","null"]},"prompt":{"type":"string"},
    "context":{"type":"object","properties":{"cwd":{"type":"string"},"tags":{"type":"array"}}},
    "steps":{"type":"array","items":{"$ref":"#/$defs/step"}}},
    "$defs":{"step":{"type":"object","required":["id","action"],"properties":{
      "id":{"type":"integer"},"action":{"type":"string"},"text":{"type":"string"},
      "ms":{"type":"number"},"ok":{"type":"boolean"}}}}}"##;

fn pack(schema: &str) -> Pack {
    let shapes: String = ["1", "2", "3"]
        .iter()
        .map(|v| format!("[[shape]]\nversion = \"{v}\"\nschema = \"s.schema.json\"\n"))
        .collect();
    let files = BTreeMap::from([
        ("pack.toml".to_owned(), format!("{HEAD}{shapes}").into_bytes()),
        ("s.schema.json".to_owned(), schema.as_bytes().to_vec()),
    ]);
    Pack::parse(&files).expect("the pack loads")
}

/// A trace of about 4 KiB: scalars, a long text, sixteen steps of five members.
fn document(seed: usize) -> String {
    let mut text = format!(
        "{{\"schema_version\": \"1\", \"exp_id\": \"exp-{seed:05}\", \"created\": \"2026-02-28T17:40:08.910Z\", \
         \"model\": \"m-{}\", \"temperature\": 0.7, \"total_tokens\": {}, \"energy\": 6.64e-07, \
         \"context\": {{\"cwd\": \"/home/someone/project\"}}, \"prompt\": \"{}\", \"steps\": [",
        seed % 7,
        1000 + seed,
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

/// Documents per second, the best of some rounds.
fn rate(documents: &[Vec<u8>], mut work: impl FnMut(&[u8])) -> f64 {
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let (begin, mut done) = (Instant::now(), 0usize);
        while begin.elapsed().as_secs_f64() < SECONDS {
            documents.iter().for_each(|document| work(document));
            done += documents.len();
        }
        best = best.max(done as f64 / begin.elapsed().as_secs_f64());
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
    let described = pack(SCHEMA);
    // Nothing to validate, and no member described beyond those that the steps change.
    let bare = pack(r#"{"properties":{"exp_id":{},"steps":{"items":{"properties":{"action":{}}}}}}"#);

    println!("{DOCUMENTS} documents of {bytes} bytes, one thread, best of {ROUNDS} rounds");
    let parse_print = rate(&documents, |document| {
        let value: serde_json::Value = serde_json::from_slice(document).expect("JSON");
        black_box(serde_json::to_vec(&value).expect("prints"));
    });
    let show = |what: &str, rate: f64| {
        println!("{what:<44} {rate:>9.0} documents/s {:>6.2} x serde_json", rate / parse_print);
    };
    show("serde_json: parse to Value and print", parse_print);
    show("scan alone", rate(&documents, |document| assert!(json::scan(black_box(document)).is_ok())));
    let detect = |document: &[u8]| {
        let doc = json::scan(document).expect("JSON");
        black_box(described.detect(&doc));
    };
    show("scan, detect and validate", rate(&documents, detect));
    show("migrate two hops, schemas that say nothing", rate(&documents, |document| migrate(&bare, document)));
    show(
        "migrate two hops, every member described",
        rate(&documents, |document| migrate(&described, document)),
    );
}
