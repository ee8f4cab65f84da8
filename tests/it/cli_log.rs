//! Listing the log and putting judgements into it, with the real program.

use std::io::Read;
use std::sync::Arc;

use serde_json::Value;
use strongroom::backend::{Call, Errno, Hook, Verdict};

use crate::common::{Bench, old_run, overwrite, tree, wait};
use crate::fixture;

fn bench(runs: usize) -> Bench {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    (1..=runs).for_each(|n| drop(old_run(&old, "label-001", n)));
    bench.run(&["adopt", "../old/artifacts", "--reason", "moved\u{1b}[2J in"]).exits(0);
    bench
}

fn log(bench: &Bench, more: &[&str]) -> Vec<Value> {
    let args = [&["--json", "log"], more].concat();
    bench.run(&args).exits(0).json_lines()
}

fn indexes(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["index"].as_u64().unwrap()).collect()
}

#[test]
fn cli_log_lists_entries_in_order_with_actor_and_reason_escaped() {
    let bench = bench(3);
    bench.run(&["migrate", "--actor", "other@bench"]).exits(0);
    let before = tree(&bench.path("audit"));
    let rows = log(&bench, &[]);
    assert_eq!(indexes(&rows), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(rows[0]["actor"], "tester@bench");
    assert_eq!(rows[0]["reason"], "moved\u{1b}[2J in");
    assert_eq!((&rows[3]["entry"]["kind"], &rows[3]["actor"]), (&"run-map".into(), &"tester@bench".into()));
    assert_eq!(rows[4]["actor"], "other@bench");
    assert_eq!((&rows[4]["reason"], &rows[4]["settled"]), (&Value::Null, &Value::Bool(true)));
    // The entry is the very entry: its leaf hash is the next one's predecessor.
    let of_run = |row: &&Value| row["entry"]["run_id"] == rows[0]["entry"]["run_id"];
    let chain: Vec<&Value> = rows.iter().filter(of_run).collect();
    assert_eq!(chain[1]["entry"]["run_prev"], chain[0]["leaf"]);

    let text = bench.run(&["log"]).exits(0).out;
    assert!(text.contains("reason  moved\\u{1b}[2J in\n") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains("  migrated 1.0.0 -> 1.2.0  label-001/0a1b2c3d"), "{text}");
    assert!(tree(&bench.path("audit")) == before, "listing writes nothing");
}

#[test]
fn cli_log_is_chosen_by_run_job_kind_time_actor_and_operation() {
    let bench = bench(3);
    old_run(&bench.top().join("more/artifacts"), "label-002", 4);
    bench.run(&["adopt", "../more/artifacts", "--actor", "other@bench"]).exits(0);
    bench.run(&["migrate"]).exits(0);
    let rows = log(&bench, &[]);
    let pick = |more: &[&str]| indexes(&log(&bench, more));
    assert_eq!(pick(&["--run", "0a1b2c3d-0000-4000-8000-000000000002"]), [1, 7]);
    assert_eq!(pick(&["--job", "label-002"]), [4, 9]);
    assert_eq!(pick(&["--job", "label-00"]), [0u64; 0]);
    assert_eq!(pick(&["--kind", "migrated"]), [6, 7, 8, 9]);
    assert_eq!(pick(&["--kind", "migrated", "--kind", "adopted", "-n", "2"]), [8, 9]);
    assert_eq!(pick(&["-n", "3"]), [8, 9, 10]);
    assert_eq!(pick(&["--reverse", "-n", "3"]), [10, 9, 8]);
    assert_eq!(pick(&["-n", "0"]), [0u64; 0]);
    assert_eq!(pick(&["--by", "other"]), [4, 5]);
    assert_eq!(pick(&["--operation", rows[4]["entry"]["operation"].as_str().unwrap()]), [4, 5]);
    let at = rows[6]["entry"]["time"].as_str().unwrap();
    assert_eq!(pick(&["--since", at, "--kind", "migrated"]), [6, 7, 8, 9]);
    assert_eq!(pick(&["--until", at, "--kind", "migrated"]), [0u64; 0]);
    assert_eq!(pick(&["--since", "2999-01-01"]), [0u64; 0]);
    assert_eq!(pick(&["--until", "2999-01-01T00:00:00+02:00"]).len(), 11);
    bench.run(&["log", "--since", "yesterday"]).exits(2).says("not a time");
    bench.run(&["log", "--kind", "changed"]).exits(2).says("rolled-back");
    bench.run(&["log", "--run", "ffff"]).exits(4);
}

#[test]
fn cli_log_past_one_bundle_is_the_same_both_ways_without_an_index() {
    let bench = bench(300);
    let rows = log(&bench, &[]);
    assert_eq!(indexes(&rows), (0..301).collect::<Vec<u64>>());
    std::fs::remove_file(bench.path("index.sqlite")).unwrap();
    let back = log(&bench, &["--reverse"]);
    assert!(!bench.path("index.sqlite").exists(), "no index is needed, and none was made");
    assert!(back.iter().rev().eq(rows.iter()));
}

#[test]
fn cli_log_into_a_closed_pipe_ends_quietly() {
    let bench = bench(300);
    let mut child = bench.start(&["--json", "log"]);
    let mut first = [0u8; 10];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let ran = wait(child).exits(0);
    assert_eq!((first.as_slice(), ran.err.as_str()), (b"{\"actor\":\"".as_slice(), ""));
}

/// Fails every write of the settled head, so that a committed batch stays unsettled.
struct NoSettle;

impl Hook for NoSettle {
    fn call(&self, call: &Call<'_>) -> Verdict {
        let head = call.name == "rename" && call.to == Some("audit/head");
        if head { Verdict::Fail(Errno::IO) } else { Verdict::Go }
    }
}

#[test]
fn cli_log_shows_what_is_committed_and_not_settled_and_what_was_only_begun() {
    let bench = bench(2);
    let store = strongroom::store::Store::open(&bench.path(""), fixture::context(Some(Arc::new(NoSettle))));
    fixture::migrate(&store.unwrap()).unwrap_err();
    let rows = log(&bench, &[]);
    assert_eq!(rows.len(), 7, "{rows:?}");
    assert_eq!((&rows[2]["settled"], &rows[3]["settled"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(rows[6]["unfinished"]["committed"], true);
    assert_eq!(indexes(&log(&bench, &["--reverse", "-n", "2"])[..2]), [5, 4]);
    bench.run(&["log"]).exits(0).says("(not settled yet)").says("any writing command finishes it");
    let begun = "tmp/00000000000000000000000000000000-1";
    std::fs::create_dir(bench.path(begun)).unwrap();
    bench.write("tmp/00000000000000000000000000000000-1.lock", "");
    bench.run(&["log"]).exits(0).says("was never committed");
    bench.run(&["migrate"]).exits(0);
    let text = bench.run(&["log"]).exits(0).out;
    assert!(!text.contains("not settled") && !text.contains("unfinished"), "{text}");
}

#[test]
fn cli_verify_record_puts_the_result_into_the_log() {
    let bench = bench(2);
    let found = bench.json(&["verify", "--record"], 0);
    assert_eq!(found["recorded"], 3);
    let row = log(&bench, &["--kind", "verified"]).remove(0);
    assert_eq!((&row["entry"]["outcome"], &row["index"]), (&"sound".into(), &3.into()));
    assert_eq!(row["entry"]["run_id"], Value::Null);
    assert_eq!(bench.json(&["verify"], 0)["recorded"], Value::Null);

    let file = "artifacts/label-001/0a1b2c3d-0000-4000-8000-000000000001/outputs/result.md";
    overwrite(&bench.path(file), "other\n");
    bench.run(&["verify", "--record"]).exits(3).says("the result is log entry 4");
    let row = log(&bench, &["--kind", "verified", "--reverse", "-n", "1"]).remove(0);
    assert_eq!(row["entry"]["outcome"], "found");
    let store = fixture::open(&bench.path(""));
    let digest = row["entry"]["detail"].as_str().unwrap().parse().unwrap();
    let record: Value = serde_json::from_slice(&store.show_revision(&digest).unwrap()).unwrap();
    assert_eq!((&record["size"], &record["runs"]), (&4.into(), &2.into()));
    let codes: Vec<&str> =
        record["findings"].as_array().unwrap().iter().map(|tally| tally["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["E105", "E121"]);
    assert_eq!(record["root"], found_root(&bench, 4));

    bench.run(&["verify", "--record", "label-001/0a1b2c3d-0000-4000-8000-000000000001"]).exits(2);
    let operation = row["entry"]["operation"].as_str().unwrap();
    bench.run(&["rollback", "--operation", operation]).exits(2).says("only verified");
}

/// The root of the first entries, computed here from their leaf hashes.
fn found_root(bench: &Bench, size: usize) -> Value {
    let leaf = |row: &Value| {
        let hex = row["leaf"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        strongroom::merkle::Hash::from_hex(hex).unwrap()
    };
    let leaves: Vec<_> = log(bench, &[]).iter().take(size).map(leaf).collect();
    format!("sha256:{}", strongroom::merkle::root_of(&leaves).hex()).into()
}

#[test]
fn cli_review_is_an_entry_of_each_run_and_changes_nothing_else() {
    let bench = bench(2);
    let files = tree(&bench.path("artifacts"));
    let (one, two) = ("0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002");
    bench.run(&["review", one, "--outcome", "accepted"]).exits(2).says("--reason");
    bench.run(&["review", one, "--outcome", "fine", "--reason", "x"]).exits(2);
    bench.run(&["review", "ffff", "--outcome", "accepted", "--reason", "x"]).exits(4);
    let args = ["review", two, one, one, "--outcome", "rejected", "--reason", "the output is cut"];
    let said = bench.json(&args, 0);
    assert_eq!(said["outcome"], "rejected");
    assert_eq!(said["runs"][1]["entry"], 4);
    let rows = log(&bench, &["--kind", "reviewed"]);
    assert_eq!(indexes(&rows), [3, 4]);
    assert_eq!(
        (&rows[0]["entry"]["outcome"], &rows[0]["reason"]),
        (&"rejected".into(), &"the output is cut".into())
    );
    assert_eq!(rows[0]["entry"]["before"], rows[0]["entry"]["after"]);
    bench.run(&["history", one]).exits(0).says("reviewed rejected").says("the output is cut");
    assert!(tree(&bench.path("artifacts")) == files);
    bench.json(&["verify"], 0);
}
