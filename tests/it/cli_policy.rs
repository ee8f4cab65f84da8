//! Policies with the real program: whose cosignatures a checkpoint needs, and how fresh they must be.

use strongroom::base::clock::Moment;
use strongroom::note::{Cosigner, SignedNote};

use crate::cli_keys::{found, signed, stranger};
use crate::cli_witness::{more, request, sign, witness};
use crate::common::{Bench, copy_tree};

/// A witness without a memory, which cosigns whatever it is given, at whatever time: for tests.
pub fn cosigner(n: u8) -> Cosigner {
    Cosigner::from_seed(format!("w{n}.example").parse().unwrap(), &[100 + n; 32])
}

/// Takes in a cosignature of the store's checkpoint.
pub fn cosign(bench: &Bench, by: &Cosigner, seconds: u64, extra: &[&str]) {
    bench.run(&["audit", "anchor", "request", "-o", "../request"]).exits(0);
    let note = SignedNote::parse(bench.read("audit/checkpoint").as_bytes()).unwrap();
    std::fs::write(bench.top().join("line"), format!("{}\n", by.cosign(&note, seconds))).unwrap();
    let key = by.verifying_key().to_string();
    bench.run(&[&["audit", "anchor", "add", "../line", "--witness", &key], extra].concat()).exits(0);
}

/// Writes a policy over the store's log: `quorum` of the first `n` witnesses.
pub fn policy(bench: &Bench, key: &str, n: u8, quorum: &str) {
    let mut text = format!("# who counts\nlog {key}\n");
    (1..=n).for_each(|n| text += &format!("witness w{n} {}\n", cosigner(n).verifying_key()));
    let names: Vec<String> = (1..=n).map(|n| format!("w{n}")).collect();
    text += &format!("group all-of-them {quorum} {}\nquorum all-of-them\n", names.join(" "));
    std::fs::write(bench.top().join("policy"), text).unwrap();
}

/// When a check is asked at the machine's own time.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn cli_policy_is_met_by_its_quorum_and_the_rest_of_the_log_is_told_apart() {
    let (bench, key) = signed();
    policy(&bench, &key, 3, "2");
    let asked = ["--policy", "../policy"];
    assert_eq!(found(&bench, &asked, 3), ["E185"]);
    bench.run(&[&["verify"], &asked[..]].concat()).exits(3).says("2 of (w1.example, w2.example, w3.example)");
    let (first, second) = (now(), now() + 100);
    cosign(&bench, &cosigner(1), first, &["--no-note"]);
    assert_eq!(found(&bench, &asked, 3), ["E185"]);
    cosign(&bench, &cosigner(3), second, &["--no-note"]);
    let ran = bench.run(&[&["verify", "--strict"], &asked[..]].concat()).exits(0);
    let [first, second] = [first, second].map(Moment::from_seconds);
    ran.says(&format!("[0, 4) anchored by w1.example at {first}, w3.example at {second}\n"));
    more(&bench, 1);
    let ran = bench.run(&[&["verify"], &asked[..]].concat()).exits(0);
    let ran = ran.says("log entries [0, 4) anchored by ").says("[4, 6) signed by ");
    ran.says("not cosigned as the policy asks").says("nothing wrong found");
    let report = bench.json(&[&["verify"], &asked[..]].concat(), 0);
    assert_eq!((&report["policy"], &report["intervals"][1]["anchored"]), (&true.into(), &false.into()));
    assert_eq!(report["not_checked"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(found(&bench, &["--policy", "../policy", "--strict"], 3), ["E178"]);
    // A wrong cosignature under a witness's name is no anchor.
    let place = bench.path("audit/anchors/4/checkpoint");
    let mut note = SignedNote::parse(&std::fs::read(&place).unwrap()).unwrap();
    let other = SignedNote::parse(bench.read("audit/checkpoint").as_bytes()).unwrap();
    let w3 = cosigner(3);
    note.drop_signatures_of(w3.verifying_key().name(), w3.verifying_key().id());
    note.add(w3.cosign(&other, now()));
    std::fs::write(&place, note.to_string()).unwrap();
    assert_eq!(found(&bench, &asked, 3), ["E185", "E188"]);
}

#[test]
fn cli_policy_of_another_log_or_without_one_establishes_nothing() {
    let (bench, key) = signed();
    let other = stranger(&key, 5).verifying_key().to_string();
    std::fs::write(bench.top().join("policy"), format!("log {other}\nquorum none\n")).unwrap();
    assert_eq!(found(&bench, &["--policy", "../policy"], 3), ["E175", "E185"]);
    std::fs::write(bench.top().join("policy"), format!("log {key}\nquorum none\n")).unwrap();
    let ran = bench.run(&["verify", "--policy", "../policy", "--strict"]).exits(0);
    ran.says("log entries [0, 4) signed by ").says("neither a checkpoint kept elsewhere");
    std::fs::write(bench.top().join("policy"), "quorum none\n").unwrap();
    bench.run(&["verify", "--policy", "../policy"]).exits(2).says("names no log");
    assert_eq!(found(&bench, &["--policy", "../policy", "--key", &key], 0), [""; 0]);
    std::fs::write(bench.top().join("policy"), "quorum w1\n").unwrap();
    bench.run(&["verify", "--policy", "../policy"]).exits(6).says("line 1: no line before names");
    bench.run(&["verify", "--policy", "../nowhere"]).exits(6);
    // A key that statements lead to from the policy's key signs for it.
    std::fs::write(bench.top().join("policy"), format!("log {key}\nquorum none\n")).unwrap();
    bench.run(&["audit", "key", "rotate"]).exits(0);
    bench.run(&["audit", "key", "retire", key.split('+').nth(1).unwrap()]).exits(0);
    let ran = bench.run(&["verify", "--policy", "../policy", "--strict"]).exits(0);
    ran.says("by the word of");
}

#[test]
fn cli_policy_with_an_age_finds_what_was_not_shown_to_witnesses_lately() {
    let (bench, key) = signed();
    policy(&bench, &key, 1, "all");
    let asked = |age: &'static str| ["--policy", "../policy", "--fresh", age];
    assert_eq!(found(&bench, &asked("24h"), 3), ["E185", "E186"]);
    cosign(&bench, &cosigner(1), now(), &["--no-note"]);
    let report = bench.json(&[&["verify"], &asked("24h")[..]].concat(), 0);
    assert_eq!(report["not_checked"].as_array().unwrap().len(), 1, "{report}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(found(&bench, &asked("0s"), 3), ["E186"]);
    // A witness's clock a little ahead is no matter; far ahead vouches for nothing.
    cosign(&bench, &cosigner(1), now() + 60, &["--no-note"]);
    assert_eq!(found(&bench, &asked("0s"), 0), [""; 0]);
    cosign(&bench, &cosigner(1), now() + 3600, &["--no-note"]);
    assert_eq!(found(&bench, &asked("7d"), 3), ["E186"]);
    bench.run(&["verify", "--policy", "../policy", "--fresh", "soon"]).exits(2);
    bench.run(&["verify", "--fresh", "24h"]).exits(2);
}

#[test]
fn cli_older_copy_put_back_is_found_by_what_its_witness_should_have_said_since() {
    let (bench, key) = signed();
    let text = format!("log {key}\nwitness w {}\nquorum w\n", witness(&bench, "../w1", &key));
    std::fs::write(bench.top().join("policy"), text).unwrap();
    request(&bench, &[]);
    sign(&bench, "../w1").exits(0);
    bench.run(&["audit", "anchor", "add", "../cosignature", "--policy", "../policy"]).exits(0);
    let (store, backup) = (bench.path(""), bench.top().join("backup"));
    copy_tree(&store, &backup);
    assert_eq!(found(&bench, &["--policy", "../policy", "--fresh", "1h"], 0), [""; 0]);
    more(&bench, 1);
    bench.run(&["audit", "anchor", "request", "--witness", "x"]).exits(2);
    // A proof carries the cosignatures of its checkpoint, and is held against the policy without a store.
    let check = ["audit", "check", "../p", "--policy", "../policy"];
    bench.run(&["audit", "prove", "1", "--out", "../p"]).exits(0);
    bench.run(&check).exits(3).says("E185  not proved: the policy asks witness.example/w1 to cosign");
    let refused = bench.json(&check, 3);
    assert_eq!((&refused["code"], &refused["ok"]), (&"E185".into(), &false.into()));
    bench.run(&["audit", "anchor", "request", "--old", "4", "-o", "../request"]).exits(0);
    sign(&bench, "../w1").exits(0);
    bench.run(&["audit", "anchor", "add", "../cosignature", "--policy", "../policy", "--no-note"]).exits(0);
    bench.run(&["audit", "prove", "1", "--out", "../p"]).exits(0);
    bench.run(&check).exits(0).says("[0, 7) anchored by witness.example/w1 at 2");
    bench.run(&[&check[..], &["--fresh", "1h"]].concat()).exits(0);
    let old = std::fs::read_to_string(bench.top().join("p")).unwrap();
    let mut proof = strongroom::format::proof::LogProof::parse(old.as_bytes()).unwrap();
    policy(&bench, &key, 1, "all");
    let line = cosigner(1).cosign(&proof.checkpoint, now() - 7200);
    proof.checkpoint.add(line);
    std::fs::write(bench.top().join("p"), proof.to_string()).unwrap();
    bench.run(&check).exits(0);
    bench.run(&[&check[..], &["--fresh", "1h"]].concat()).exits(3).says("E186  not proved");
    bench.run(&["audit", "check", "../p"]).exits(2);
}

#[test]
fn cli_entry_that_says_a_time_outside_its_anchors_is_found() {
    let (bench, key) = signed();
    policy(&bench, &key, 1, "all");
    let asked = ["--policy", "../policy"];
    // Honest: a word before and one after, each noted.
    cosign(&bench, &cosigner(1), now(), &[]);
    more(&bench, 1);
    cosign(&bench, &cosigner(1), now(), &[]);
    assert_eq!(found(&bench, &asked, 0), [""; 0]);
    // Backdated: the entries after the note say that they were written two hours before the word in it.
    cosign(&bench, &cosigner(1), now() + 7200, &[]);
    more(&bench, 2);
    let report = bench.json(&[&["verify"], &asked[..]].concat(), 3);
    let all: Vec<_> = report["findings"].as_array().unwrap().iter().collect();
    assert_eq!((all.len(), &all[0]["code"]), (1, &"E187".into()), "{report}");
    assert!(all[0]["expected"].as_str().unwrap().starts_with("not before 2"), "{report}");
    assert!(all[0]["path"].as_str().unwrap().starts_with("log entries "), "{report}");
    // Without a policy nobody says whose word counts: nothing can be said.
    assert_eq!(found(&bench, &["--key", &key], 0), [""; 0]);
    // The other way round: entries that were there by then say a later time.
    let (bench, key) = signed();
    policy(&bench, &key, 1, "all");
    cosign(&bench, &cosigner(1), now() - 7200, &["--no-note"]);
    let ran = bench.run(&[&["verify"], &asked[..]].concat()).exits(3);
    ran.says("E187  log entries 0 to 3").says("not after 2").says(", by w1.example at 2");
}
