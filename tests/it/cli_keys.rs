//! The log's keys with the real program: rotation, retirement, and the attacks on them.

use std::path::PathBuf;

use serde_json::Value;
use strongroom::note::{SignedNote, SigningKey};

use crate::common::{Bench, copy_tree, old_run, overwrite};

/// A store with a signing key and a signed log; gives the public key.
pub fn signed() -> (Bench, String) {
    let bench = Bench::with_store();
    let key = bench.json(&["audit", "key", "new"], 0)["key"].as_str().unwrap().to_owned();
    let old = bench.top().join("old/artifacts");
    (1..=2).for_each(|n| drop(old_run(&old, "label-001", n)));
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    (bench, key)
}

/// The codes of what `verify` finds with these arguments.
#[track_caller]
pub fn found(bench: &Bench, args: &[&str], exit: i32) -> Vec<String> {
    let report = bench.json(&[&["verify"], args].concat(), exit);
    let codes = report["findings"].as_array().unwrap().iter();
    codes.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// The store's key files, sorted.
pub fn key_files(bench: &Bench) -> Vec<PathBuf> {
    let keys = std::fs::read_dir(bench.top().join(".config/strongroom/keys")).unwrap();
    let mut files: Vec<PathBuf> = keys.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Signs the text of the store's checkpoint with another key of that name, as a thief or forger would.
pub fn forge_checkpoint(bench: &Bench, key: &SigningKey) {
    let note = SignedNote::parse(bench.read("audit/checkpoint").as_bytes()).unwrap();
    let forged = SignedNote::sign(note.text().to_owned(), &[key]).unwrap();
    overwrite(&bench.path("audit/checkpoint"), forged.to_string());
}

/// A key of the store's log that the store does not know.
pub fn stranger(public: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(public.split('+').next().unwrap().parse().unwrap(), &[seed; 32])
}

fn id_of(key: &str) -> &str {
    key.split('+').nth(1).unwrap()
}

#[test]
fn cli_rotated_key_is_trusted_by_the_word_of_the_pinned_one() {
    let (bench, old) = signed();
    let made = bench.json(&["audit", "key", "rotate"], 0);
    let new = made["key"].as_str().unwrap().to_owned();
    assert_eq!(key_files(&bench).len(), 2);
    // An overlap: both sign.
    let note = bench.read("audit/checkpoint");
    assert_eq!(note.matches('\u{2014}').count(), 2, "{note}");
    for key in [&old, &new] {
        assert_eq!(found(&bench, &["--key", key, "--strict"], 0), [""; 0]);
    }
    let size = note.lines().nth(1).unwrap().to_owned();
    let done = bench.json(&["audit", "key", "retire", id_of(&old)], 0);
    assert_eq!(done["trusted_to"].to_string(), size);
    bench.run(&["migrate"]).exits(0);
    let note = bench.read("audit/checkpoint");
    assert_eq!(note.matches('\u{2014}').count(), 1, "the retired key signs no more: {note}");
    // Pinned long ago, the old key leads to the new one, and verify says so.
    let ran = bench.run(&["verify", "--key", &old, "--strict"]).exits(0);
    ran.says(&format!("+{} (by the word of {} in the log)", id_of(&new), id_of(&old)));
    let report = bench.json(&["verify", "--key", &old], 0);
    assert_eq!(report["signed"], Value::Bool(true));
    assert_eq!(found(&bench, &["--key", &new], 0), [""; 0]);
    // With the old key file gone, everything goes on.
    std::fs::remove_file(&key_files(&bench)[1]).unwrap();
    old_run(&bench.top().join("more/artifacts"), "label-002", 9);
    bench.run(&["adopt", "../more/artifacts"]).exits(0);
    assert_eq!(found(&bench, &["--key", &old, "--strict"], 0), [""; 0]);

    let list = bench.json(&["audit", "key", "list"], 0);
    assert_eq!(list["keys"].as_array().unwrap().len(), 2);
    assert_eq!((&list["keys"][0]["by"], &list["keys"][1]["by"]), (&Value::Null, &Value::from(id_of(&old))));
    bench.run(&["audit", "key", "list"]).exits(0).says("retired, trusted to").says("on first use");
    // The last key stays; a key that does not sign is no key to retire.
    bench.run(&["audit", "key", "retire", id_of(&new)]).exits(8).says("the only key");
    bench.run(&["audit", "key", "retire", id_of(&old)]).exits(8).says("not a key that signs");
    bench.run(&["audit", "key", "retire", "nonsense"]).exits(2);
    bench.run(&["audit", "key", "new"]).exits(8);
}

#[test]
fn cli_checkpoint_before_a_retirement_still_verifies_and_one_after_it_does_not() {
    let (bench, old) = signed();
    bench.run(&["audit", "checkpoint", "--out", "../kept"]).exits(0);
    let secret = std::fs::read_to_string(&key_files(&bench)[0]).unwrap();
    bench.run(&["audit", "key", "rotate"]).exits(0);
    bench.run(&["audit", "key", "retire", id_of(&old)]).exits(0);
    // What the old key signed in its time holds.
    assert_eq!(found(&bench, &["--key", &old, "--since", "../kept"], 0), [""; 0]);
    // Whoever has it still can sign, and that is found, with the key pinned and without.
    let thief: SigningKey = secret.trim().parse().unwrap();
    let good = bench.read("audit/checkpoint");
    forge_checkpoint(&bench, &thief);
    assert_eq!(found(&bench, &["--key", &old], 3), ["E184"]);
    assert_eq!(found(&bench, &[], 3), ["E184"]);
    // Beside a good signature too: nobody honest makes it.
    let mut both = SignedNote::parse(good.as_bytes()).unwrap();
    both.take_over(&SignedNote::parse(bench.read("audit/checkpoint").as_bytes()).unwrap());
    overwrite(&bench.path("audit/checkpoint"), both.to_string());
    assert_eq!(found(&bench, &["--key", &old], 3), ["E184"]);
    // The program itself does not sign with it, however it is named.
    std::fs::write(bench.top().join("thief.key"), &secret).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(bench.top().join("thief.key"), private).unwrap();
    bench
        .run(&["--signing-key", "../thief.key", "audit", "checkpoint"])
        .exits(8)
        .says("not a key that signs");
    overwrite(&bench.path("audit/checkpoint"), good);
    assert_eq!(found(&bench, &["--key", &old], 0), [""; 0]);
}

#[test]
fn cli_stolen_key_is_retired_to_before_the_theft_and_what_it_brought_in_falls() {
    let (bench, old) = signed();
    let good = bench.json(&["audit", "key", "rotate"], 0)["key"].as_str().unwrap().to_owned();
    // The thief brings in a key of their own, by the old key's word.
    let mine = &key_files(&bench);
    let old_file = mine.iter().find(|file| !file.to_string_lossy().contains(id_of(&good))).unwrap();
    let old_file = old_file.to_str().unwrap();
    let size = bench.read("audit/checkpoint").lines().nth(1).unwrap().to_owned();
    let theirs = ["--signing-key", old_file, "audit", "key", "rotate", "--to", "../theirs.key"];
    let theirs = bench.json(&theirs, 0)["key"].as_str().unwrap().to_owned();
    // Trusted no further than before that, the old key takes what it brought in with it.
    bench.run(&["audit", "key", "retire", id_of(&old), "--trusted-to", &size]).exits(0);
    assert_eq!(found(&bench, &["--key", &old], 3), ["E183"]);
    let list = bench.json(&["audit", "key", "list"], 0);
    let states: Vec<bool> =
        list["keys"].as_array().unwrap().iter().map(|key| key["retired"].is_null()).collect();
    assert_eq!(states, [false, true, false], "{list}");
    bench.run(&["--signing-key", "../theirs.key", "audit", "checkpoint"]).exits(8);
    assert_eq!(found(&bench, &["--key", &theirs], 3), ["E175", "E183"]);
    // Trusted not even up to where it brought in the good key, nobody would be left.
    bench.run(&["audit", "key", "rotate"]).exits(0);
    bench
        .run(&["audit", "key", "retire", id_of(&good), "--trusted-to", "1"])
        .exits(8)
        .says("trust it further");
}

#[test]
fn cli_slipped_in_key_is_a_finding_and_establishes_nothing() {
    let (bench, key) = signed();
    let good = bench.read("audit/checkpoint");
    let other = stranger(&key, 9);
    let public = other.verifying_key();
    bench.write(&format!("audit/keys/{}", public.id()), format!("{public}\n"));
    assert_eq!(found(&bench, &["--key", &key], 3), ["E182"]);
    forge_checkpoint(&bench, &other);
    assert_eq!(found(&bench, &["--key", &key], 3), ["E175", "E182"]);
    assert_eq!(found(&bench, &[], 3), ["E182"]);
    std::fs::write(bench.top().join("other.key"), format!("{}\n", other.secret_text())).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(bench.top().join("other.key"), private).unwrap();
    let named = ["--signing-key", "../other.key"];
    bench.run(&[&named[..], &["migrate"]].concat()).exits(8).says("not one of this log's keys");
    bench.run(&[&named[..], &["audit", "key", "rotate"]].concat()).exits(8);
    bench.run(&[&named[..], &["audit", "key", "new"]].concat()).exits(8);
    overwrite(&bench.path("audit/checkpoint"), good);
    std::fs::remove_file(bench.path(&format!("audit/keys/{}", public.id()))).unwrap();
    assert_eq!(found(&bench, &["--key", &key], 0), [""; 0]);
    bench.run(&["verify", "--key", "nonsense"]).exits(2);
}

#[test]
fn cli_store_with_every_key_replaced_is_found_by_a_pinned_key_only() {
    let (bench, key) = signed();
    // The same runs in a store made anew under the same origin, with a key of its own: whole and sound.
    let origin = key.split('+').next().unwrap();
    bench.run(&["init", "../new", "--origin", origin]).exits(0);
    let there = ["--store", "../new", "--signing-key", "../forger.key"];
    bench.run(&[&there[..], &["audit", "key", "new"]].concat()).exits(0);
    bench.run(&[&there[..], &["adopt", "../old/artifacts"]].concat()).exits(0);
    std::fs::remove_dir_all(bench.path("")).unwrap();
    copy_tree(&bench.top().join("new"), &bench.path(""));
    assert_eq!(found(&bench, &[], 0), [""; 0]);
    assert_eq!(found(&bench, &["--key", &key], 3), ["E175"]);
}

#[test]
fn cli_key_made_by_an_interrupted_command_is_taken_up() {
    let bench = Bench::with_store();
    let made = bench.json(&["audit", "key", "new"], 0);
    let file = key_files(&bench)[0].clone();
    // As if the command had ended between the secret's file and the log: another store, the same name.
    let origin = made["key"].as_str().unwrap().split('+').next().unwrap().to_owned();
    bench.run(&["init", "../twin", "--origin", &origin]).exits(0);
    std::fs::remove_dir_all(bench.top().join(".local")).unwrap();
    bench.run(&["--store", "../twin", "verify"]).exits(0);
    let again = bench.json(&["--store", "../twin", "audit", "key", "new"], 0);
    assert_eq!(again["key"], made["key"]);
    assert_eq!(key_files(&bench), [file]);
    let key = made["key"].as_str().unwrap();
    bench.json(&["--store", "../twin", "verify", "--key", key, "--strict"], 0);
    // The public half is put back by whatever command publishes next.
    let public = bench.top().join("twin/audit/keys").join(id_of(key));
    std::fs::remove_file(&public).unwrap();
    old_run(&bench.top().join("more/artifacts"), "label-002", 9);
    bench.run(&["--store", "../twin", "adopt", "../more/artifacts"]).exits(0);
    assert_eq!(std::fs::read_to_string(public).unwrap(), format!("{key}\n"));
}
