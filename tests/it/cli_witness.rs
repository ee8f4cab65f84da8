//! Witnesses and their cosignatures with the real program, each machine a folder.

use crate::cli_keys::{found, signed};
use crate::common::{Bench, copy_tree, old_run, overwrite};

/// A witness that follows the store's log; gives its public key.
pub fn witness(bench: &Bench, dir: &str, log: &str) -> String {
    let made = bench.json(&["audit", "witness", "init", dir, "--name", "witness.example/w1"], 0);
    bench.run(&["audit", "witness", "add-log", dir, log]).exits(0);
    made["key"].as_str().unwrap().to_owned()
}

pub fn request(bench: &Bench, extra: &[&str]) {
    let all = [&["audit", "anchor", "request", "-o", "../request"], extra].concat();
    bench.run(&all).exits(0);
}

pub fn sign(bench: &Bench, dir: &str) -> crate::common::Ran {
    bench.run(&["audit", "witness", "sign", dir, "../request", "-o", "../cosignature"])
}

pub fn more(bench: &Bench, number: usize) {
    let dir = bench.top().join(format!("more-{number}/artifacts"));
    old_run(&dir, "label-007", number);
    bench.run(&["adopt", dir.to_str().unwrap()]).exits(0);
}

#[test]
fn cli_witness_cosigns_what_extends_and_the_store_keeps_it() {
    let (bench, key) = signed();
    let w = witness(&bench, "../w1", &key);
    let text = bench.run(&["audit", "anchor", "request"]).exits(0).out;
    assert!(text.starts_with("old 0\n\n"), "{text}");
    request(&bench, &["--witness", &w]);
    sign(&bench, "../w1").exits(0);
    let added = bench.json(&["audit", "anchor", "add", "../cosignature", "--witness", &w], 0);
    assert_eq!((&added["size"], &added["entry"]), (&4.into(), &4.into()));
    let kept = bench.read("audit/anchors/4/checkpoint");
    assert!(kept.contains("\u{2014} witness.example/w1 "), "{kept}");
    assert_eq!(found(&bench, &["--key", &key], 0), [""; 0]);
    // The next request begins where the witness was; its proof is checked.
    more(&bench, 1);
    request(&bench, &["--witness", &w]);
    let text = std::fs::read_to_string(bench.top().join("request")).unwrap();
    assert!(text.starts_with("old 4\n"), "{text}");
    sign(&bench, "../w1").exits(0);
    // The log goes on before the answer is back: it is of a kept checkpoint.
    more(&bench, 2);
    let added = bench.json(&["audit", "anchor", "add", "../cosignature", "--witness", &w, "--no-note"], 0);
    assert_eq!((&added["size"], added["entry"].is_null()), (&7.into(), true));
    // What the witness cosigns of the current checkpoint goes into it, for other clients.
    request(&bench, &["--witness", &w]);
    sign(&bench, "../w1").exits(0);
    bench.run(&["audit", "anchor", "add", "../cosignature", "--witness", &w, "--no-note"]).exits(0);
    assert!(bench.read("audit/checkpoint").contains("\u{2014} witness.example/w1 "));
    bench.run(&["audit", "checkpoint"]).exits(0).says("\u{2014} witness.example/w1 ");
    bench.run(&["audit", "prove", "0"]).exits(0).says("\u{2014} witness.example/w1 ");
    // Asked again for the same tree it cosigns again.
    request(&bench, &["--witness", &w]);
    sign(&bench, "../w1").exits(0);
    assert_eq!(found(&bench, &["--key", &key], 0), [""; 0]);
}

#[test]
fn cli_witness_refuses_a_rollback_a_fork_a_second_root_and_strangers() {
    let (bench, key) = signed();
    let w = witness(&bench, "../w1", &key);
    let (store, backup) = (bench.path(""), bench.top().join("backup"));
    copy_tree(&store, &backup);
    more(&bench, 1);
    request(&bench, &[]);
    sign(&bench, "../w1").exits(0);
    let state = |bench: &Bench| crate::common::tree(&bench.top().join("w1/logs"));
    let before = state(&bench);
    // It has been further than the request believes, which says so in its answer.
    request(&bench, &[]);
    sign(&bench, "../w1").exits(5).says("409 other-size").says("--old 6");
    let error = bench.error(&["audit", "witness", "sign", "../w1", "../request"], 5);
    assert_eq!(error["kind"], "witness");
    // The older copy, put back: its log has fewer entries than were cosigned.
    std::fs::remove_dir_all(&store).unwrap();
    copy_tree(&backup, &store);
    std::fs::remove_dir_all(bench.top().join(".local")).unwrap();
    request(&bench, &[]);
    sign(&bench, "../w1").exits(5).says("409 other-size");
    bench.run(&["audit", "anchor", "request", "--old", "6"]).exits(6);
    let text = std::fs::read_to_string(bench.top().join("request")).unwrap();
    std::fs::write(bench.top().join("request"), text.replacen("old 0", "old 6", 1)).unwrap();
    sign(&bench, "../w1").exits(6).says("400 bad-request");
    // Grown to another tree of the same size: a second root; and larger: a fork.
    more(&bench, 2);
    request(&bench, &["--old", "6"]);
    sign(&bench, "../w1").exits(5).says("409 second-root").says("keep the request");
    more(&bench, 3);
    request(&bench, &["--old", "6"]);
    sign(&bench, "../w1").exits(3).says("422 not-consistent");
    std::fs::write(bench.top().join("request"), "nonsense").unwrap();
    sign(&bench, "../w1").exits(6).says("400 bad-request");
    assert!(state(&bench) == before, "a refusal changes nothing");
    // A log that it does not follow, and a key that it does not trust.
    request(&bench, &[]);
    bench.run(&["audit", "witness", "init", "../w2", "--name", "witness.example/w2"]).exits(0);
    sign(&bench, "../w2").exits(4).says("404 unknown-log");
    let stranger = crate::cli_keys::stranger(&key, 7).verifying_key().to_string();
    bench.run(&["audit", "witness", "add-log", "../w2", &stranger]).exits(0);
    sign(&bench, "../w2").exits(8).says("403 not-signed");
    bench.run(&["audit", "witness", "add-log", "../w2", "nonsense"]).exits(2);
    bench.run(&["audit", "witness", "sign", "../nowhere", "../request"]).exits(4).says("no such folder");
    bench.run(&["audit", "witness", "init", "../w2", "--name", "x"]).exits(8).says("already");
    assert_ne!(w, stranger);
}

#[test]
fn cli_cosignature_of_something_else_is_not_taken_and_a_changed_anchor_is_found() {
    let (bench, key) = signed();
    let w = witness(&bench, "../w1", &key);
    request(&bench, &["--witness", &w]);
    sign(&bench, "../w1").exits(0);
    let good = std::fs::read_to_string(bench.top().join("cosignature")).unwrap();
    let add = |text: &str| {
        std::fs::write(bench.top().join("bad"), text).unwrap();
        bench.run(&["audit", "anchor", "add", "../bad", "--witness", &w])
    };
    let before = crate::common::tree(&bench.path("audit"));
    add("nonsense").exits(6);
    add(&good.replacen("witness.example/w1", "witness.example/w2", 1)).exits(6).says("no line is of");
    let at = good.len() - 10;
    let other = if &good[at..=at] == "A" { "B" } else { "A" };
    add(&format!("{}{other}{}", &good[..at], &good[at + 1..])).exits(6).says("or wrong");
    assert!(crate::common::tree(&bench.path("audit")) == before);
    bench.run(&["audit", "anchor", "add", "../bad", "--witness", "nonsense"]).exits(2);
    add(&good).exits(0);
    // What was kept is held against the log: an older copy of the rest does not fit it.
    let place = bench.path("audit/anchors/4/checkpoint");
    let kept = bench.read("audit/anchors/4/checkpoint");
    overwrite(&place, kept.replacen("\n4\n", "\n2\n", 1));
    assert_eq!(found(&bench, &["--key", &key], 3), ["E188"]);
    let root = kept.lines().nth(2).unwrap();
    overwrite(&place, kept.replacen(root, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 1));
    assert_eq!(found(&bench, &["--key", &key], 3), ["E188"]);
    overwrite(&place, &kept);
    let ahead = bench.path("audit/anchors/9/checkpoint");
    std::fs::create_dir(ahead.parent().unwrap()).unwrap();
    std::fs::write(&ahead, kept.replacen("\n4\n", "\n9\n", 1)).unwrap();
    assert_eq!(found(&bench, &["--key", &key], 3), ["E188"], "a log that is cut below its anchor");
}
