//! What a rewrite may change at all, place by place.

use crate::base::canonical::inputs_hash;
use crate::base::digest::Sha256;
use crate::base::json::{Pointer, PointerPattern, scan};
use crate::schema::FileFact;
use crate::schema::invariant::{Allowed, Files, Invariant, check};

/// The violations of a rewrite that declares these places and moved those: number and place.
fn found(before: &str, after: &str, declared: &[&str], moved: &[(&str, &str)]) -> Vec<(u8, String)> {
    let (before, after) = (scan(before.as_bytes()).expect("JSON"), scan(after.as_bytes()).expect("JSON"));
    let declared: Vec<PointerPattern> = declared.iter().map(|at| at.parse().expect("a pattern")).collect();
    let place = |at: &str| -> Pointer { at.parse().expect("a pointer") };
    let moved: Vec<(Pointer, Pointer)> = moved.iter().map(|(from, to)| (place(from), place(to))).collect();
    let allowed = Allowed { declared: &declared, moved: &moved, described: &|_| true };
    check(&before, &after, None, &allowed).iter().map(|v| (v.invariant.number(), v.at.to_string())).collect()
}

fn at(number: u8, place: &str) -> (u8, String) {
    (number, place.to_owned())
}

#[test]
fn invariants_are_numbered_in_their_order() {
    assert_eq!(Invariant::ALL.map(Invariant::number), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn change_that_no_step_declares_is_a_violation_wherever_it_is() {
    assert_eq!(found(r#"{"a":1}"#, r#"{"a":2}"#, &[], &[]), [at(7, "/a")]);
    assert_eq!(found(r#"{"a":1}"#, r#"{"a":2}"#, &["/a"], &[]), []);
    assert_eq!(found(r#"{"a":1}"#, "{}", &[], &[]), [at(7, "/a")]);
    for scalar in ["1", "\"x\"", "null", "[]", "{}"] {
        assert_eq!(found("{}", &format!(r#"{{"s":{scalar}}}"#), &[], &[]), [at(7, "/s")], "{scalar}");
    }
}

#[test]
fn object_made_to_hold_declared_members_is_declared_when_all_of_them_are() {
    let made = |value: &str| found("{}", &format!(r#"{{"o":{value}}}"#), &["/o/x", "/o/p/q"], &[]);
    assert_eq!(made(r#"{"x":1}"#), []);
    assert_eq!(made(r#"{"x":1,"p":{"q":2}}"#), []);
    for bad in ["{}", "1", r#"{"x":1,"y":2}"#, r#"{"y":2,"x":1}"#, r#"{"x":1,"p":{}}"#, r#"{"y":2}"#] {
        assert_eq!(made(bad), [at(7, "/o")], "{bad}");
    }
}

#[test]
fn recorded_doctrine_takes_no_member_more_and_may_be_called_absent() {
    let doctrine = |before: &str, after: &str| found(before, after, &["/doctrine"], &[]);
    assert_eq!(doctrine("{}", r#"{"doctrine":null}"#), []);
    assert_eq!(doctrine("{}", r#"{"doctrine":{"a":1}}"#), [at(4, "/doctrine")]);
    let one = r#"{"doctrine":{"a":1}}"#;
    assert_eq!(doctrine(one, r#"{"doctrine":{"a":1,"b":null}}"#), [at(4, "/doctrine/b")]);
    assert_eq!(doctrine(one, r#"{"doctrine":{"a":2}}"#), [at(4, "/doctrine/a")]);
}

#[test]
fn recorded_digest_that_changes_is_told_once_and_moved_whole_it_is_none() {
    let (one, two) = (Sha256::of(b"1"), Sha256::of(b"2"));
    let doctrine = |digest: &Sha256| format!(r#"{{"doctrine":{{"sha256":"{digest}"}}}}"#);
    assert_eq!(found(&doctrine(&one), &doctrine(&two), &["/doctrine"], &[]), [at(4, "/doctrine/sha256")]);
    let named = |name: &str, digest: &Sha256| format!(r#"{{"{name}":{{"list":[1,"{digest}"]}}}}"#);
    let (before, both) = (named("a", &one), ["/a", "/b"]);
    assert_eq!(found(&before, &named("b", &one), &both, &[("/a", "/b")]), []);
    assert_eq!(found(&before, &named("b", &one), &both, &[]), [at(4, "/a/list/1")]);
    assert_eq!(found(&before, &named("b", &two), &both, &[("/a", "/b")]), [at(4, "/a/list/1")]);
    // Said to be moved, and gone.
    assert_eq!(found(&before, "{}", &both, &[("/a", "/b")]), [at(4, "/a/list/1")]);
}

#[test]
fn recorded_inputs_hash_does_not_change_even_to_the_right_one() {
    let digest = Sha256::of(b"x");
    let right = inputs_hash([("a", &digest)]);
    let snapshots =
        format!(r#""input_snapshots":{{"a":{{"path":"inputs/a","sha256":"{digest}","bytes":1}}}}"#);
    let run = &right.hex()[..32];
    let with = |hash: &str| format!(r#"{{"run_id":"{run}",{snapshots}{hash}}}"#);
    let after = with(&format!(r#","inputs_hash":"{right}""#));
    let wrong = with(&format!(r#","inputs_hash":"{digest}""#));
    assert_eq!(found(&wrong, &after, &["/inputs_hash"], &[]), [at(4, "/inputs_hash")]);
    assert_eq!(found(&with(""), &after, &["/inputs_hash"], &[]), []);
    assert_eq!(found(&with(r#","inputs_hash":null"#), &after, &["/inputs_hash"], &[]), []);
    assert_eq!(found(&with(""), &with(r#","inputs_hash":null"#), &["/inputs_hash"], &[]), []);
}

#[test]
fn input_files_are_those_below_inputs_and_those_that_snapshots_name() {
    let text = r#"{"input_snapshots":{"a":{"path":"elsewhere/a"}}}"#;
    let doc = scan(text.as_bytes()).expect("JSON");
    let file = |path: &str, bytes: &[u8]| FileFact {
        path: path.to_owned(),
        sha256: Sha256::of(bytes),
        bytes: bytes.len() as u64,
    };
    for (path, is_input) in
        [("inputs/unnamed", true), ("elsewhere/a", true), ("elsewhere/b", false), ("outputs/inputs/x", false)]
    {
        let (before, after) = ([file(path, b"1")], [file(path, b"2")]);
        let files = Files { before: &before, after: &after };
        let violations = check(&doc, &doc, Some(files), &Allowed::NOTHING);
        assert_eq!(violations.len(), usize::from(is_input), "{path}");
    }
}
