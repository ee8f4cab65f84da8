//! The second signature on checkpoints, ML-DSA-44, with the real program: in a build that has it, and in one
//! that has not.

use crate::cli_keys::{found, key_files, signed};
use crate::common::{Bench, overwrite};

#[cfg(feature = "ml-dsa")]
mod with_the_feature {
    use strongroom::note::SignedNote;

    use super::*;
    use crate::common::old_run;

    /// A store whose checkpoints two keys of different types sign; gives both public keys.
    fn twice_signed() -> (Bench, String, String) {
        let (bench, first) = signed();
        let made = bench.json(&["audit", "key", "rotate", "--type", "ml-dsa-44"], 0);
        let second = made["key"].as_str().unwrap().to_owned();
        (bench, first, second)
    }

    fn id_of(key: &str) -> &str {
        key.split('+').nth(1).unwrap()
    }

    #[test]
    fn cli_ml_dsa_key_signs_beside_the_first_and_each_can_be_pinned_alone() {
        let (bench, first, second) = twice_signed();
        assert_eq!(key_files(&bench).len(), 2);
        let note = SignedNote::parse(bench.read("audit/checkpoint").as_bytes()).unwrap();
        let lengths: Vec<usize> = note.signatures().iter().map(|line| line.bytes.len()).collect();
        assert_eq!(lengths, [64, 8 + 2420], "the Ed25519 signature comes first");
        for key in [&first, &second] {
            assert_eq!(found(&bench, &["--key", key, "--strict"], 0), [""; 0]);
        }
        let by = format!("+{} (by the word of {} in the log)", id_of(&second), id_of(&first));
        bench.run(&["verify", "--key", &first]).exits(0).says(&by);
        bench.run(&["audit", "key", "list"]).exits(0).says(id_of(&second)).says("signs");
        // Everything that signs goes on: further runs, evidence, and proofs checked by the second key alone.
        old_run(&bench.top().join("more/artifacts"), "label-002", 9);
        bench.run(&["adopt", "../more/artifacts"]).exits(0);
        bench.run(&["audit", "prove", "0", "--out", "../proof"]).exits(0);
        bench.run(&["audit", "check", "../proof", "--key", &second]).exits(0);
        let run = bench.json(&["list"], 0)["runs"][0]["run_id"].as_str().unwrap().to_owned();
        bench.run(&["evidence", &run, "-o", "../bundle"]).exits(0);
        bench.run(&["check-evidence", "../bundle", "--key", &first]).exits(0);
    }

    #[test]
    fn cli_ml_dsa_signature_that_is_wrong_makes_the_checkpoint_worthless() {
        let (bench, first, second) = twice_signed();
        let note = bench.read("audit/checkpoint");
        let line = note.lines().last().unwrap();
        let (head, tail) = line.split_at(line.len() - 40);
        let other = if tail.starts_with('A') { "B" } else { "A" };
        overwrite(
            &bench.path("audit/checkpoint"),
            note.replace(line, &format!("{head}{other}{}", &tail[1..])),
        );
        for key in [&first, &second] {
            assert_eq!(found(&bench, &["--key", key], 3), ["E175"]);
        }
        // Without it, whoever pinned the second key has nothing, and whoever pinned the first has all.
        overwrite(&bench.path("audit/checkpoint"), note.replace(&format!("{line}\n"), ""));
        assert_eq!(found(&bench, &["--key", &first], 0), [""; 0]);
        assert_eq!(found(&bench, &["--key", &second], 3), ["E175"]);
    }

    #[test]
    fn cli_ml_dsa_key_vouches_for_nobody_and_can_be_retired() {
        let (bench, first, second) = twice_signed();
        bench.run(&["audit", "key", "retire", id_of(&first)]).exits(8).says("vouches for others");
        let files = key_files(&bench);
        let ml_dsa = files.iter().find(|file| file.to_string_lossy().contains(id_of(&second))).unwrap();
        let ml_dsa = ml_dsa.to_str().unwrap();
        bench.run(&["--signing-key", ml_dsa, "audit", "key", "rotate"]).exits(8).says("none of the keys");
        bench.run(&["audit", "key", "retire", id_of(&second)]).exits(0);
        bench.run(&["migrate"]).exits(0);
        assert_eq!(bench.read("audit/checkpoint").matches('\u{2014}').count(), 1);
        assert_eq!(found(&bench, &["--key", &first, "--strict"], 0), [""; 0]);
    }
}

/// A signature line of a type that nobody here knows is passed over, as signed-note has it.
#[test]
fn cli_checkpoint_with_a_signature_of_an_unknown_type_stands_on_its_ed25519_line() {
    let (bench, key) = signed();
    let name = key.split('+').next().unwrap();
    let note = bench.read("audit/checkpoint");
    overwrite(&bench.path("audit/checkpoint"), format!("{note}\u{2014} {name} {}\n", "A".repeat(3244)));
    assert_eq!(found(&bench, &["--key", &key, "--strict"], 0), [""; 0]);
}

#[cfg(not(feature = "ml-dsa"))]
#[test]
fn cli_ml_dsa_in_a_build_without_it_is_refused_and_says_what_is_missing() {
    let (bench, key) = signed();
    let files = key_files(&bench);
    let refused = |bench: &Bench, args: &[&str], code: i32| {
        bench.run(args).exits(code).says("need a program that was built with the feature ml-dsa");
    };
    refused(&bench, &["audit", "key", "rotate", "--type", "ml-dsa-44"], 8);
    assert_eq!(key_files(&bench), files);
    // The public key of 1,312 bytes of 7, under the name "log".
    let public = strongroom::note::MlDsaKey::new("log".parse().unwrap(), [7; 1312]).to_string();
    refused(&bench, &["verify", "--key", &public], 2);
    std::fs::write(bench.top().join("policy"), format!("log {public}\nquorum none\n")).unwrap();
    refused(&bench, &["verify", "--policy", "../policy"], 6);
    assert_eq!(found(&bench, &["--key", &key], 0), [""; 0]);
}
