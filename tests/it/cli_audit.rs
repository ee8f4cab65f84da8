//! Keys, checkpoints and proofs with the real program; some attacks of `docs/threat-model.md`:
//! which command finds it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::common::{Bench, copy_tree, old_run, overwrite, tree};

/// A store with a signing key and a signed log; gives the public key.
fn bench() -> (Bench, String) {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    (1..=3).for_each(|n| drop(old_run(&old, "label-001", n)));
    let made = bench.json(&["audit", "key", "new"], 0);
    let key = made["key"].as_str().unwrap().to_owned();
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    (bench, key)
}

fn key_file(bench: &Bench) -> std::path::PathBuf {
    let keys = bench.top().join(".config/strongroom/keys");
    std::fs::read_dir(keys).unwrap().next().unwrap().unwrap().path()
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

fn put_back(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).unwrap();
    copy_tree(from, to);
}

#[test]
fn cli_checkpoint_is_published_after_every_change_and_verified_with_a_pinned_key() {
    let (bench, key) = bench();
    let note = bench.read("audit/checkpoint");
    let origin = key.split('+').next().unwrap();
    assert!(note.starts_with(&format!("{origin}\n5\n")), "{note}");
    assert_eq!(bench.run(&["audit", "checkpoint"]).exits(0).out, note);
    assert_eq!(bench.read("audit/checkpoint"), note, "publishing what is published changes nothing");

    let found = bench.json(&["verify", "--key", &key, "--strict"], 0);
    assert_eq!((&found["signed"], &found["ok"]), (&Value::Bool(true), &Value::Bool(true)));
    bench.run(&["verify", "--key", &key]).exits(0).says("log entries [0, 5) signed by ");
    let own = bench.run(&["verify"]).exits(0).says("signature consistent, signer not established");
    own.says("not signed by a key pinned here");
    let found = bench.json(&["verify", "--strict"], 3);
    assert_eq!(codes(&found), ["E178"]);

    bench.run(&["audit", "checkpoint", "--out", "../kept"]).exits(0);
    bench.run(&["migrate"]).exits(0);
    assert!(bench.read("audit/checkpoint").starts_with(&format!("{origin}\n9\n")));
    let ran = bench.run(&["verify", "--key", &key, "--since", "../kept"]).exits(0);
    ran.says("log entries [0, 5) anchored by the checkpoint given").says("log entries [5, 9) signed by ");
    let state = tree(&bench.top().join(".local/state/strongroom/signed"));
    assert!(state.values().any(|bytes| bytes.starts_with(b"9\n")));
}

#[test]
fn cli_key_file_is_private_and_its_text_is_shown_nowhere() {
    let (bench, key) = bench();
    let file = key_file(&bench);
    let secret = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(secret.starts_with("PRIVATE+KEY+") && !key.contains("PRIVATE"));
    let shown = |ran: crate::common::Ran| {
        let text = format!("{}{}", ran.out, ran.err);
        assert!(!text.contains(secret.trim()) && !text.contains("PRIVATE"), "{text}");
    };
    shown(bench.run(&["audit", "key", "new"]).exits(8).says("nothing was overwritten"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    for mode in [0o640, 0o644, 0o604, 0o660, 0o700] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let before = tree(&bench.path("audit"));
        let ran = bench.run(&["migrate"]).exits(8).says("must be 0600");
        shown(ran);
        assert!(tree(&bench.path("audit")) == before, "a key that is refused stops the command first");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, secret.replace("PRIVATE+KEY+", "PRIVATE+KEY+x")).unwrap();
    shown(bench.run(&["migrate"]).exits(8).says("cannot be read"));
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("elsewhere", &file).unwrap();
    shown(bench.run(&["migrate"]).exits(8).says("not a regular file"));
    assert_eq!(bench.error(&["--signing-key", "gone", "audit", "checkpoint"], 8)["kind"], "key");
    assert_eq!(bench.error(&["--signing-key", "packs/k", "audit", "key", "new"], 8)["kind"], "key");
    // Reading needs no key.
    bench.run(&["verify", "--key", &key]).exits(0);
}

#[test]
fn cli_restored_backup_and_second_root_are_not_signed() {
    let (bench, key) = bench();
    let (store, backup) = (bench.path(""), bench.top().join("backup"));
    copy_tree(&store, &backup);
    bench.run(&["migrate"]).exits(0);
    bench.run(&["audit", "checkpoint", "--out", "../kept"]).exits(0);

    // The whole older copy: its own checkpoint holds; only what was kept elsewhere shows it.
    put_back(&backup, &store);
    bench.json(&["verify", "--key", &key], 0);
    let found = bench.json(&["verify", "--key", &key, "--since", "../kept"], 3);
    assert_eq!(codes(&found), ["E177"]);
    let held = || [tree(&bench.path("audit")), tree(&bench.path("artifacts"))];
    let before = held();
    let error = bench.error(&["migrate"], 8);
    assert!(error["message"].as_str().unwrap().contains("put back from a backup"), "{error}");
    bench.run(&["audit", "checkpoint"]).exits(8);
    assert!(held() == before, "nothing is written to a store that must not be signed");

    // Grown again without the key: another tree of the size that was signed.
    let file = key_file(&bench);
    let aside = bench.top().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    bench.run(&["migrate"]).exits(0);
    std::fs::rename(&aside, &file).unwrap();
    bench.run(&["audit", "checkpoint"]).exits(8).says("has signed root");
    let found = bench.json(&["verify", "--key", &key, "--since", "../kept"], 3);
    assert_eq!(codes(&found), ["E177"]);
    // And larger than what was signed: the tree does not begin with it.
    std::fs::rename(&file, &aside).unwrap();
    old_run(&bench.top().join("more/artifacts"), "label-002", 9);
    bench.run(&["adopt", "../more/artifacts"]).exits(0);
    std::fs::rename(&aside, &file).unwrap();
    bench.run(&["audit", "checkpoint"]).exits(8).says("has signed root");
}

#[test]
fn cli_checkpoint_changed_by_hand_is_found() {
    let (bench, key) = bench();
    let path = bench.path("audit/checkpoint");
    let good = bench.read("audit/checkpoint");
    let root = good.lines().nth(2).unwrap();
    let other = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    for bad in [good.replacen("\n5\n", "\n2\n", 1), good.replace(root, other)] {
        overwrite(&path, &bad);
        assert_eq!(codes(&bench.json(&["verify", "--key", &key], 3)), ["E175", "E176"]);
        bench.json(&["verify"], 3);
    }
    overwrite(&path, "nonsense");
    assert_eq!(codes(&bench.json(&["verify"], 3)), ["E175"]);
    overwrite(&path, &good);
    bench.json(&["verify", "--key", &key], 0);
}

#[test]
fn cli_proof_of_an_entry_is_checked_without_the_store() {
    let (bench, key) = bench();
    bench.run(&["audit", "prove", "1", "--out", "../one.tlog-proof"]).exits(0);
    let text = bench.run(&["audit", "prove", "label-001/0a1b2c3d-0000-4000-8000-000000000003"]).exits(0).out;
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{text}");
    bench.run(&["audit", "prove", "5"]).exits(4).says("covers 5 entries");
    let away = bench.top();
    let check = |file: &str, key: &str| bench.run(&["audit", "check", file, "--key", key]);
    std::fs::rename(bench.path("audit"), away.join("audit-gone")).unwrap();
    check("../one.tlog-proof", &key).exits(0).says("entry 1 is in ").says("\"kind\":\"adopted\"");
    let good = std::fs::read_to_string(away.join("one.tlog-proof")).unwrap();
    for (from, to) in [("index 1", "index 2"), ("extra ey", "extra fy"), ("\n5\n", "\n6\n")] {
        assert!(good.contains(from), "{good}");
        std::fs::write(away.join("bad"), good.replacen(from, to, 1)).unwrap();
        check("../bad", &key).exits(3).says("not proved");
    }
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    check("../one.tlog-proof", other).exits(3);
    std::fs::write(away.join("bad"), "x").unwrap();
    check("../bad", &key).exits(6);
}

#[test]
fn cli_whole_history_of_a_run_and_its_absence_are_proved_without_the_store() {
    let (bench, key) = bench();
    bench.run(&["migrate"]).exits(0);
    let run = "label-001/0a1b2c3d-0000-4000-8000-000000000003";
    bench.run(&["audit", "prove", "--complete", run, "--out", "../whole"]).exits(0);
    bench.run(&["audit", "prove", "--complete", "label-001/nobody", "--out", "../none"]).exits(0);
    bench.run(&["audit", "prove", "--complete", "nobody"]).exits(4);
    let away = bench.top();
    std::fs::rename(bench.path("audit"), away.join("audit-gone")).unwrap();
    let check = |file: &str| bench.run(&["audit", "check", file, "--key", &key]);
    let whole = check("../whole").exits(0).says("has 2 entries, and no other, in the first 9 of 9 entries");
    whole.says("\"kind\":\"adopted\"").says("\"kind\":\"migrated\"");
    check("../none").exits(0).says("there is no run label-001/nobody in the first 9 of 9 entries");
    let found = bench.json(&["audit", "check", "../none", "--key", &key], 0);
    assert_eq!((found["entries"].as_array().unwrap().len(), found["covers"].as_u64()), (0, Some(9)));

    // One entry left out, another run's path shown, the map of another tree: none of it holds.
    let good = std::fs::read_to_string(away.join("whole")).unwrap();
    let none = std::fs::read_to_string(away.join("none")).unwrap();
    let mut lines: Vec<&str> = good.split_inclusive('\n').collect();
    assert!(lines[2].starts_with("entry ") && lines[3].starts_with("entry "));
    lines.remove(3);
    let hidden = none.replace("label-001/nobody", run);
    for bad in [lines.concat(), hidden, good.replacen("index 8", "index 7", 1)] {
        assert!(bad != good);
        std::fs::write(away.join("bad"), bad).unwrap();
        check("../bad").exits(3).says("not proved");
    }
    std::fs::write(away.join("bad"), good.replacen("step ", "stop ", 1)).unwrap();
    check("../bad").exits(6);
}

#[test]
fn cli_run_proof_of_a_checkpoint_that_lags_says_how_far_it_reaches() {
    let (bench, key) = bench();
    let old = bench.read("audit/checkpoint");
    bench.run(&["migrate"]).exits(0);
    overwrite(&bench.path("audit/checkpoint"), &old);
    let run = "label-001/0a1b2c3d-0000-4000-8000-000000000003";
    bench.run(&["audit", "prove", "--complete", run, "--out", "../whole"]).exits(0);
    let ran = bench.run(&["audit", "check", "../whole", "--key", &key]).exits(0);
    ran.says("has 1 entry, and no other, in the first 5 of 5 entries");
}
