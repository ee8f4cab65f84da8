//! What others say of a log: policies that ask for it, SSH signatures, time stamps.

use std::collections::BTreeMap;

use strongroom::base::digest::Sha256;
use strongroom::format::policy::Policy;
use strongroom::format::stamp::{Stamp, stamp_request};
use strongroom::note::{AllowedSigners, Cosigner, SSH_NAMESPACE, SignedNote, SigningKey, SshSignature};

/// What the seeds have signatures and stamps of.
const TEXT: &str = "example.org/log\n3\nAAAA\n";

/// Witnesses whose keys the seeds of the corpus have.
fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(format!("w{number}.example").parse().expect("a name"), &[100 + number; 32])
}

/// Whether a policy's text is met by these witnesses: the lines taken one by one, each name looked up among the
/// names before, as C2SP tlog-policy has it.
fn met(text: &str, cosigned: &[String]) -> bool {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let mut quorum = false;
    for line in text.split('\n') {
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["witness", name, key, ..] => {
                known.insert(name, cosigned.iter().any(|cosigned| cosigned == key));
            }
            ["group", name, least, members @ ..] => {
                let count = members.iter().filter(|member| known[*member]).count();
                let least = match *least {
                    "all" => members.len(),
                    "any" => 1,
                    number => number.parse().expect("a number"),
                };
                known.insert(name, count >= least);
            }
            ["quorum", "none"] => quorum = true,
            ["quorum", name] => quorum = known[name],
            _ => {}
        }
    }
    quorum
}

/// A policy says the same with comments and empty lines in between, and is met by exactly the cosignatures by
/// which its lines, read one by one, are.
pub fn policy(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    let spread: Vec<u8> = data
        .iter()
        .flat_map(|b| if *b == b'\n' { &b"\n\n# more\n \t\n"[..] } else { std::slice::from_ref(b) })
        .copied()
        .collect();
    assert_eq!(Policy::parse(&spread).ok().as_ref(), Some(&policy));
    let log = SigningKey::from_seed("example.org/log".parse().expect("a name"), &[1; 32]);
    let text = String::from_utf8_lossy(data);
    // Names of other bytes are not told apart in a text.
    let plain = std::str::from_utf8(data).is_ok();
    for chosen in 0..8u8 {
        let mut note = SignedNote::sign(TEXT.to_owned(), &[&log]).expect("a note's text");
        let mut cosigned = Vec::new();
        for number in (0..3).filter(|number| chosen >> number & 1 == 1) {
            let witness = witness(number + 1);
            note.add(witness.cosign(&note, 1_700_000_000 + u64::from(number)));
            cosigned.push(witness.verifying_key().to_string());
        }
        let judged = policy.judge(&note).expect("cosignatures that were just made");
        assert!(!plain || judged.met == met(&text, &cosigned), "{chosen}: {judged:?}");
        assert_eq!(judged.time.is_some(), judged.met && policy.asks_witnesses());
        assert!(judged.by.len() <= cosigned.len());
    }
}

/// A signature holds for one text and no other; a file of signers says the same with more lines that name
/// nobody, and a key that it names is on one of its lines.
pub fn ssh_signature(data: &[u8]) {
    if let Ok(signature) = SshSignature::parse(data) {
        assert!(SshSignature::is_one(data));
        assert!(signature.fingerprint().starts_with("SHA256:"));
        let held = signature.check(TEXT).is_ok();
        for other in [&TEXT[1..], "", "example.org/log\n4\nAAAA\n", &format!("{TEXT}\n")] {
            assert!(signature.check(other).is_err(), "it holds for a text that nobody signed");
        }
        assert!(!held || String::from_utf8_lossy(data).contains("BEGIN SSH SIGNATURE"));
        assert!(AllowedSigners::default().who(&signature).is_none());
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(signers) = AllowedSigners::parse(&text) {
        let more = format!("# nobody\n\n{text}\n  \n# nobody\n");
        assert_eq!(AllowedSigners::parse(&more).as_ref(), Ok(&signers));
        let elsewhere = format!("{text}\nx namespaces=\"other-{SSH_NAMESPACE}\" ssh-ed25519 AAAA\n");
        assert_eq!(AllowedSigners::parse(&elsewhere).as_ref(), Ok(&signers));
        let twice = AllowedSigners::parse(&format!("{text}\n{text}"));
        let seed =
            SshSignature::parse(include_bytes!("../../corpus/ssh_signature/signature.txt")).expect("a seed");
        assert_eq!(twice.expect("the same lines").who(&seed), signers.who(&seed));
        assert!(signers.who(&seed).is_none_or(|who| text.contains(who)));
    }
}

/// A stamp speaks of a digest and a time that stand in its bytes, and only of these; a request is none.
pub fn time_stamp(data: &[u8]) {
    if let Ok(stamp) = Stamp::parse(data) {
        assert!(Stamp::is_one(data));
        let place = data.windows(32).position(|window| window == stamp.digest.as_bytes());
        assert!(place.is_some(), "the digest does not stand in the stamp");
        let time: Vec<u8> = stamp.time.to_string().bytes().filter(u8::is_ascii_digit).take(14).collect();
        assert!(data.windows(14).any(|window| window == time), "the time does not stand in the stamp");
        for cut in [0, 1, data.len() / 2, data.len() - 1] {
            assert!(Stamp::parse(&data[..cut]).is_err(), "a part of it was taken");
        }
        assert!(Stamp::parse(&[data, &[0]].concat()).is_err(), "more than it was taken");
    }
    let digest = Sha256::of(data);
    let request = stamp_request(&digest);
    assert!(request.ends_with(&[0x01, 0x01, 0xff]) && Stamp::parse(&request).is_err());
    assert!(request.windows(32).any(|window| window == digest.as_bytes()));
}
