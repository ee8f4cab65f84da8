//! Documents without a label for ever, documents of another kind, members that no schema describes.

use super::*;
use crate::base::json::scan;

/// A pack whose old documents are told by shape and whose head is one variant of its version.
fn pack() -> Pack {
    let text = r#"
[pack]
name = "t"
version = "1"
version_at = "/v"
head = "2/new"
order = "graph"

[fields]
measured = ["/o/k", "/list/*/k", "/free/t", "/gone"]

[[shape]]
version = "old"
unlabelled = true
schema = "old.schema.json"
when = [{ present = "/a" }, { absent = "/v" }]

[[shape]]
version = "older"
unlabelled = true
schema = "old.schema.json"
when = [{ at = "", type = "array" }]

[[shape]]
version = "2"
variant = "first"
schema = "s.schema.json"
when = [{ present = "/x" }]

[[shape]]
version = "2"
variant = "new"
schema = "s.schema.json"
when = [{ absent = "/x" }]

[[foreign]]
kind = "a sample"
when = [{ present = "/ts" }, { absent = "/v" }]

[[migration]]
from = "old"
to = "old2"

    [[migration.step]]
    op = "rename"
    path = "/a"
    to = "b"

[[shape]]
version = "old2"
unlabelled = true
schema = "old.schema.json"
when = [{ present = "/b" }, { absent = "/v" }]

[[migration]]
from = "2/first"
to = "2/new"

    [[migration.step]]
    op = "rename"
    path = "/x"
    to = "y"
"#;
    let old = r#"{"type":["object","array"],"properties":{"a":{"type":"integer"},"b":{"type":"integer"}}}"#;
    let schema = r##"{"type":"object","properties":{"v":{},"x":{},"y":{},"o":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/o"}]},
        "free":{"type":"object"},"list":{"items":{"properties":{"k":{}}}},"any":{"additionalProperties":true}},
        "$defs":{"o":{"type":"object","properties":{"k":{}}}}}"##;
    parse(&[("pack.toml", text), ("old.schema.json", old), ("s.schema.json", schema)]).expect("loads")
}

fn detected(text: &str) -> String {
    pack().detect(&scan(text.as_bytes()).expect("valid")).to_string()
}

#[test]
fn unlabelled_shape_is_told_by_shape_and_never_gets_a_label() {
    assert_eq!(detected("{\"a\":1}"), "old");
    assert_eq!(detected("[1]"), "older");
    assert_eq!(
        detected("{\"a\":\"x\"}"),
        "says old, but does not fit it: /a: \"x\" is not of type \"integer\""
    );
    assert_eq!(
        detected("{\"c\":1}"),
        "not a document of this kind: it has no label, and no rule tells its version"
    );
    assert_eq!(detected("{\"v\":\"old\",\"c\":1}"), "unknown version \"old\"", "no label names it");
    let rewrite = rewritten(pack().migrate(b"{ \"a\" : 1 }", Some("old2"), &Facts::default(), None));
    assert_eq!(rewrite.bytes, b"{ \"b\" : 1 }");
    assert_eq!(detected("{\"b\":1}"), "old2");
}

#[test]
fn foreign_document_is_told_by_its_kind() {
    let doc = scan(b"{\"ts\":1,\"a\":1}").expect("valid");
    let found = pack().detect(&doc);
    assert!(
        matches!(&found, Detection::NotThisKind { kind: Some(kind), .. } if kind == "a sample"),
        "{found:?}"
    );
    assert_eq!(detected("{\"v\":\"2\",\"ts\":1}"), "2/new");
}

#[test]
fn foreign_rule_without_a_condition_is_refused() {
    let error = two_versions("[[foreign]]\nkind = \"all\"", "").expect_err("refused");
    assert_eq!(error.kind, PackErrorKind::MissingKey { key: "when" });
}

#[test]
fn head_that_is_a_variant_is_reached_within_its_version() {
    let rewrite = rewritten(pack().migrate(b"{\"v\":\"2\",\"x\":1}", None, &Facts::default(), None));
    assert_eq!(rewrite.bytes, b"{\"v\":\"2\",\"y\":1}");
    assert_eq!(rewrite.path, ["2", "2"]);
    assert_eq!(rewrite.route(), ["2/first", "2/new"]);
    let again = pack().migrate(&rewrite.bytes, None, &Facts::default(), None);
    assert_eq!(again, Outcome::Current { version: "2".to_owned() });
}

#[test]
fn undescribed_members_are_listed_and_free_form_objects_are_not() {
    let text = r#"{"v":"2","o":{"k":1,"q":1},"free":{"z":1},"any":{"z":{"z":1}},"list":[{"k":1},{"m":{"n":1}}],"zz":{"y":1}}"#;
    let doc = scan(text.as_bytes()).expect("valid");
    let places: Vec<String> = pack().undescribed(&doc, "2/new").iter().map(ToString::to_string).collect();
    assert_eq!(places, ["/o/q", "/list/1/m", "/zz"]);
    assert!(pack().undescribed(&doc, "no such shape").is_empty());
}

#[test]
fn unmeasured_members_are_those_that_the_schema_names_and_the_document_lacks() {
    let unmeasured = |text: &str| -> Vec<String> {
        let doc = scan(text.as_bytes()).expect("valid");
        pack().unmeasured(&doc, "2/new").iter().map(ToString::to_string).collect()
    };
    let places = unmeasured(r#"{"v":"2","o":{"q":1},"free":{},"list":[{"k":null},{"m":1},2]}"#);
    assert_eq!(places, ["/o/k", "/list/1/k"]);
    assert!(unmeasured(r#"{"v":"2","o":null}"#).is_empty());
}

#[test]
fn number_conditions_hold_for_numbers_on_their_side_only() {
    let step = "[[migration.step]]\nop = \"require\"\n\
        that = [{ at = \"/n\", above = 0 }, { at = \"/n\", below = 1.5 }]\ntext = \"out of range\"";
    let pack = two_versions("", step).expect("loads");
    let holds = |n: &str| {
        let text = format!("{{\"v\":\"1\",\"n\":{n}}}");
        matches!(pack.migrate(text.as_bytes(), None, &Facts::default(), None), Outcome::Rewrite(_))
    };
    for (n, expected) in [("1", true), ("1e-300", true), ("0", false), ("-1", false), ("1.5", false)] {
        assert_eq!(holds(n), expected, "{n}");
    }
    assert!(!holds("\"1\""), "a text is no number");
    assert!(!holds("null"));
    let bad = step.replace("above = 0", "above = \"0\"");
    let error = two_versions("", &bad).expect_err("refused");
    assert!(matches!(error.kind, PackErrorKind::WrongType { .. }), "{error}");
}

#[test]
fn length_condition_counts_characters_and_holds_for_texts_only() {
    let step =
        "[[migration.step]]\nop = \"require\"\nthat = [{ at = \"/t\", min_length = 3 }]\ntext = \"short\"";
    let pack = two_versions("", step).expect("loads");
    let holds = |t: &str| {
        let text = format!("{{\"v\":\"1\",\"t\":{t}}}");
        matches!(pack.migrate(text.as_bytes(), None, &Facts::default(), None), Outcome::Rewrite(_))
    };
    for (t, expected) in [
        (r#""abc""#, true),
        (r#""éé""#, false),
        (r#""\u00e9\u00e9e""#, true),
        ("[1,2,3]", false),
        ("1000", false),
    ] {
        assert_eq!(holds(t), expected, "{t}");
    }
    assert!(two_versions("", &step.replace("= 3", "= -3")).is_err());
}

#[test]
fn empty_object_above_a_measured_member_invents_nothing_and_a_filled_one_does() {
    let with = |value: &str| {
        let step = format!("[[migration.step]]\nop = \"default\"\npath = \"/c\"\nvalue = {value}");
        two_versions("[fields]\nmeasured = [\"/c/t\"]", &step)
    };
    assert!(with("{}").is_ok());
    for value in ["{ t = 1 }", "{ u = 1 }", "1"] {
        let error = with(value).expect_err(value);
        assert!(matches!(error.kind, PackErrorKind::Measured { .. }), "{error}");
    }
}
