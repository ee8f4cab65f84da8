//! Anchors made by stock tools: SSH signatures and time stamps of checkpoints, with the real `ssh-keygen` and
//! `openssl`.

use std::process::Command;

use crate::cli_keys::{found, signed};
use crate::cli_witness::more;
use crate::common::{Bench, skipped};

/// Runs a stock tool at the bench's top; gives whether it succeeded and what it said.
fn tool(bench: &Bench, line: &str) -> (bool, String) {
    let ran = Command::new("bash").args(["-c", line]).current_dir(bench.top()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.success(), said)
}

#[track_caller]
pub fn works(bench: &Bench, line: &str) -> String {
    let (good, said) = tool(bench, line);
    assert!(good, "{line}: {said}");
    said
}

pub fn have(name: &str) -> bool {
    let there =
        Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().status.success();
    if !there {
        skipped(&format!("the test needs {name}"));
    }
    there
}

/// A key for signing checkpoints, and the file that allows it.
pub fn ssh_key(bench: &Bench) {
    works(
        bench,
        "ssh-keygen -q -t ed25519 -N '' -C auditor -f key && echo \"auditor@example.org $(cat key.pub)\" > allowed",
    );
}

pub const SIGN: &str = "rm -f text.sig; ssh-keygen -q -Y sign -n strongroom-checkpoint -f key text";

#[test]
fn cli_ssh_signature_of_a_checkpoint_is_an_anchor_that_ssh_keygen_accepts() {
    if !have("ssh-keygen") {
        return;
    }
    let (bench, key) = signed();
    ssh_key(&bench);
    bench.run(&["audit", "anchor", "text", "-o", "../text"]).exits(0);
    works(&bench, SIGN);
    let add = ["audit", "anchor", "add", "../text.sig", "--allowed-signers", "../allowed"];
    bench.run(&add[..4]).exits(2).says("--allowed-signers says");
    bench.run(&add).exits(0).says("4 entries anchored by auditor@example.org (SHA256:");
    more(&bench, 1);
    let asked = ["--key", &key, "--allowed-signers", "../allowed"];
    let ran = bench.run(&[&["verify"], &asked[..]].concat()).exits(0);
    ran.says("[0, 4) anchored by auditor@example.org (SHA256:").says("nothing wrong found");
    // What is kept is what ssh-keygen verifies, with nothing of ours in between.
    let kept = std::fs::read_dir(bench.path("audit/anchors/4")).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.into_iter().find(|path| path.extension().is_some_and(|end| end == "sshsig")).unwrap();
    let verify = format!(
        "head -n 3 store/audit/anchors/4/checkpoint | ssh-keygen -Y verify -f allowed -I auditor@example.org -n strongroom-checkpoint -s {}",
        kept.display()
    );
    assert!(works(&bench, &verify).contains("Good \"strongroom-checkpoint\" signature"));
    // By somebody else, for another purpose, or of another text it is not taken.
    works(
        &bench,
        "mkdir other && ssh-keygen -q -t ed25519 -N '' -f other/key && echo \"x $(cat other/key.pub)\" > nobody",
    );
    bench
        .run(&["audit", "anchor", "add", "../text.sig", "--allowed-signers", "../nobody"])
        .exits(6)
        .says("not among");
    let ran = bench.run(&["verify", "--key", &key, "--allowed-signers", "../nobody"]).exits(0);
    assert!(!ran.out.contains("anchored by"), "{}", ran.out);
    works(&bench, &SIGN.replace("strongroom-checkpoint", "file"));
    bench.run(&add).exits(6).says("namespace");
    works(&bench, &format!("echo more >> text; {SIGN}"));
    bench.run(&add).exits(6).says("none of this store's checkpoints");
    works(
        &bench,
        "rm -f text.sig rsa*; ssh-keygen -q -t rsa -b 2048 -N '' -f rsa && ssh-keygen -q -Y sign -n strongroom-checkpoint -f rsa text",
    );
    bench.run(&add).exits(6).says("only ssh-ed25519 is taken");
    // A kept signature that is changed, or put beside another checkpoint, is found.
    let good = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, std::fs::read(bench.top().join("text.sig")).unwrap()).unwrap();
    assert_eq!(found(&bench, &asked, 3), ["E188"]);
    std::fs::write(&kept, &good).unwrap();
    bench.run(&["audit", "anchor", "text"]).exits(0).says("\n7\n");
    std::fs::write(bench.path("audit/anchors/7/0123.sshsig"), &good).unwrap();
    assert_eq!(found(&bench, &asked, 3), ["E188"]);
    std::fs::rename(bench.path("audit/anchors/7/0123.sshsig"), bench.path("audit/anchors/7/notes")).unwrap();
    assert_eq!(found(&bench, &asked, 3), ["E188"]);
}

/// A time-stamping authority of the test's own.
pub fn authority(bench: &Bench) {
    let settings = "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\n\
        digests=sha256\nordering=no\ntsa_name=no\ness_cert_id_alg=sha256\n[ext]\n\
        extendedKeyUsage=critical,timeStamping\n[req]\ndistinguished_name=dn\n[dn]\n";
    std::fs::write(bench.top().join("tsa.cnf"), settings).unwrap();
    works(
        bench,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tsa.key -out tsa.pem \
         -subj /CN=tsa -days 30 -config tsa.cnf -extensions ext && echo 01 > serial",
    );
}

const STAMP: &str =
    "openssl ts -reply -queryfile q.tsq -signer tsa.pem -inkey tsa.key -config tsa.cnf -out a.tsr";

#[test]
fn cli_time_stamp_of_a_checkpoint_is_requested_taken_and_verified_by_openssl() {
    if !have("openssl") {
        return;
    }
    let (bench, key) = signed();
    authority(&bench);
    bench.run(&["audit", "anchor", "text", "-o", "../text"]).exits(0);
    bench.run(&["audit", "anchor", "tsa-request", "-o", "../q.tsq"]).exits(0);
    // Byte for byte what openssl makes of the same text.
    works(
        &bench,
        "openssl ts -query -data text -sha256 -cert -no_nonce -out theirs.tsq && cmp q.tsq theirs.tsq",
    );
    works(&bench, STAMP);
    let added = bench.json(&["audit", "anchor", "add", "../a.tsr"], 0);
    assert_eq!((&added["size"], added["entry"].is_u64()), (&4.into(), true), "{added}");
    let report = bench.json(&["verify", "--key", &key], 0);
    let stamp = &report["stamps"][0];
    assert_eq!((&stamp["size"], &stamp["time"]), (&4.into(), &added["by"][0]["time"]), "{report}");
    let place = stamp["path"].as_str().unwrap();
    bench.run(&["verify", "--key", &key]).exits(0).says("[0, 4) stamped 2");
    let check = format!(
        "head -n 3 store/audit/anchors/4/checkpoint > t; openssl ts -verify -data t -in store/{place} -CAfile tsa.pem"
    );
    assert!(works(&bench, &check).contains("Verification: OK"));
    // An answer without a stamp, and one over other bytes, are not taken.
    works(
        &bench,
        &format!("echo x > other; openssl ts -query -data other -sha256 -no_nonce -out q.tsq; {STAMP}"),
    );
    bench.run(&["audit", "anchor", "add", "../a.tsr"]).exits(6).says("none of this store's checkpoints");
    works(&bench, &format!("openssl ts -query -data other -sha512 -no_nonce -out q.tsq; {STAMP}"));
    bench.run(&["audit", "anchor", "add", "../a.tsr"]).exits(6).says("grants none (status 2)");
    bench.run(&["audit", "anchor", "add", "../q.tsq"]).exits(6);
    // A kept stamp that is changed is found: by its form, or by openssl.
    let file = bench.path(place);
    let good = std::fs::read(&file).unwrap();
    let at = good.windows(4).position(|window| window == b"\x18\x0f20").unwrap();
    let mut bad = good.clone();
    bad[at + 2] = b'1';
    std::fs::write(&file, &bad).unwrap();
    assert_eq!(found(&bench, &["--key", &key], 3), ["E187"], "stamped a thousand years before");
    assert!(!tool(&bench, &check).0);
    std::fs::write(&file, &good[..good.len() - 1]).unwrap();
    assert_eq!(found(&bench, &["--key", &key], 3), ["E188"]);
    std::fs::write(&file, &good).unwrap();
    assert_eq!(found(&bench, &["--key", &key], 0), [""; 0]);
}
