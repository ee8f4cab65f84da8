//! The scanner's refusals, the spans, and the laws of editing.

use proptest::prelude::*;

use super::*;

fn pointer(text: &str) -> Pointer {
    text.parse().expect("a valid pointer")
}

fn refused(text: &[u8]) -> JsonError {
    match scan(text) {
        Ok(_) => panic!("{:?} was taken", String::from_utf8_lossy(text)),
        Err(error) => error,
    }
}

#[test]
fn scan_of_each_refusal_names_kind_line_column_and_byte() {
    use JsonErrorKind as K;
    let unexpected = |expected, found| K::Unexpected { expected, found };
    type Case = (&'static [u8], K, (u32, u32, usize));
    let cases: Vec<Case> = vec![
        (b"", K::Empty, (1, 1, 0)),
        (b" \n ", K::Empty, (2, 2, 3)),
        (b"\xef\xbb\xbf{}", K::ByteOrderMark, (1, 1, 0)),
        (b"{\"a\":\"\xff\"}", K::NotUtf8, (1, 7, 6)),
        (b"{\"a\":\"\xed\xa0\x80\"}", K::NotUtf8, (1, 7, 6)),
        (b"{}\n{}", K::TrailingBytes, (2, 1, 3)),
        (b"{\"a\":1,\n \"a\":2}", K::DuplicateMember { key: "a".into() }, (2, 2, 9)),
        ("{\"é\":1,\"\\u00e9\":2}".as_bytes(), K::DuplicateMember { key: "é".into() }, (1, 8, 8)),
        (b"{\"a\":\"\\ud800\"}", K::LoneSurrogate { unit: 0xd800 }, (1, 7, 6)),
        (b"\"\\udc00\"", K::LoneSurrogate { unit: 0xdc00 }, (1, 2, 1)),
        (b"\"\\ud83dx\"", K::LoneSurrogate { unit: 0xd83d }, (1, 2, 1)),
        (b"\"\\ud83d\\ud83d\"", K::LoneSurrogate { unit: 0xd83d }, (1, 2, 1)),
        (b"\"\\x41\"", K::BadEscape, (1, 2, 1)),
        (b"\"\\u12g4\"", K::BadEscape, (1, 2, 1)),
        (b"\"a\nb\"", K::ControlCharacter { found: '\n' }, (1, 3, 2)),
        (b"\"abc", K::UnclosedString, (1, 1, 0)),
        (b"[1,]", K::TrailingComma, (1, 3, 2)),
        (b"{\"a\":1,}", K::TrailingComma, (1, 7, 6)),
        (b"[1e400]", K::NumberOverflow, (1, 2, 1)),
        (b"[-1e309]", K::NumberOverflow, (1, 2, 1)),
        (b"01", K::BadNumber { expected: "no leading zero" }, (1, 1, 0)),
        (b"-", K::BadNumber { expected: "a digit" }, (1, 2, 1)),
        (b"1.", K::BadNumber { expected: "a digit after the point" }, (1, 3, 2)),
        (b"1e+", K::BadNumber { expected: "a digit in the exponent" }, (1, 4, 3)),
        (b"+1", unexpected("a value", Some('+')), (1, 1, 0)),
        (b".5", unexpected("a value", Some('.')), (1, 1, 0)),
        (b"[1 2]", unexpected("',' or ']'", Some('2')), (1, 4, 3)),
        (b"{\"a\" 1}", unexpected("':'", Some('1')), (1, 6, 5)),
        (b"{a:1}", unexpected("a member name in double quotes", Some('a')), (1, 2, 1)),
        (b"{\"a\":1", unexpected("',' or '}'", None), (1, 7, 6)),
        (b"nul", unexpected("a value", Some('n')), (1, 1, 0)),
        (b"[\x0c1]", unexpected("a value", Some('\u{c}')), (1, 2, 1)),
    ];
    for (text, kind, (line, column, byte)) in cases {
        let shown = String::from_utf8_lossy(text).into_owned();
        assert_eq!(refused(text), JsonError { kind, line, column, byte }, "{shown:?}");
    }
}

#[test]
fn scan_of_other_languages_spellings_says_what_json_has() {
    for (text, found) in [
        ("{\"a\":NaN}", "NaN"),
        ("[Infinity]", "Infinity"),
        ("[-Infinity]", "-Infinity"),
        ("None", "None"),
        ("[True]", "True"),
        ("[1, // no\n2]", "//"),
        ("{'a':1}", "a single-quoted string"),
    ] {
        let error = refused(text.as_bytes());
        assert!(matches!(error.kind, JsonErrorKind::Foreign { found: f, .. } if f == found), "{error}");
    }
    assert_eq!(
        refused(b"{\n  \"x\": NaN}").to_string(),
        "NaN is not JSON at line 2, column 8 (byte 9); JSON has no such number; write null, or a string"
    );
}

#[test]
fn scan_at_each_limit_is_taken_and_beyond_it_refused() {
    use crate::base::limits;
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(scan(nested(limits::JSON_DEPTH).as_bytes()).is_ok());
    assert_eq!(refused(nested(limits::JSON_DEPTH + 1).as_bytes()).kind, JsonErrorKind::TooDeep);
    assert_eq!(refused("[".repeat(1 << 20).as_bytes()).kind, JsonErrorKind::TooDeep);
    let number = |n: usize| format!("0.{}", "7".repeat(n - 2));
    assert!(scan(number(limits::NUMBER_BYTES).as_bytes()).is_ok());
    let long = refused(number(limits::NUMBER_BYTES + 1).as_bytes());
    assert_eq!(long.kind, JsonErrorKind::NumberTooLong { len: limits::NUMBER_BYTES + 1 });
    let sized = |n: usize| format!("\"{}\"", "x".repeat(n - 2)).into_bytes();
    assert!(scan(&sized(limits::JSON_BYTES)).is_ok());
    let large = refused(&sized(limits::JSON_BYTES + 1));
    assert_eq!(large.kind, JsonErrorKind::TooLarge { len: limits::JSON_BYTES + 1 });
    assert_eq!(refused("9".repeat(400).as_bytes()).kind, JsonErrorKind::NumberOverflow);
}

#[test]
fn scan_of_many_members_finds_the_first_duplicate_by_decoded_name() {
    let mut text: Vec<String> = (0..1000).map(|i| format!("\"k{i}\":{i}")).collect();
    text.push("\"\\u006b7\":0".into());
    text.push("\"k3\":0".into());
    let error = refused(format!("{{{}}}", text.join(",")).as_bytes());
    assert_eq!(error.kind, JsonErrorKind::DuplicateMember { key: "k7".into() });
}

#[test]
fn node_of_each_kind_gives_its_span_and_value() {
    let text = br#" {"n":-0.10,"s":"a\"\u00e9\ud83d\ude00\/","b":true,"z":null,"a":[1,{"k\n":[]}]} "#;
    let doc = scan(text).expect("valid");
    let root = doc.root();
    assert_eq!((root.kind(), root.len(), root.span()), (Kind::Object, 5, 1..text.len() - 1));
    let node = |p: &str| doc.at(&pointer(p)).expect(p);
    assert_eq!((node("/n").raw(), node("/n").as_f64()), ("-0.10", Some(-0.1)));
    assert_eq!(node("/s").as_str().as_deref(), Some("a\"é😀/"));
    assert_eq!((node("/b").as_bool(), node("/z").is_null()), (Some(true), true));
    assert_eq!((node("/a/0").as_u64(), node("/n").as_u64()), (Some(1), None));
    assert_eq!(node("/a/1/k\n").kind(), Kind::Array);
    let keys: Vec<_> = root.members().map(|m| doc.text()[m.key_span()].to_owned()).collect();
    assert_eq!(keys, ["\"n\"", "\"s\"", "\"b\"", "\"z\"", "\"a\""]);
    assert_eq!(root.to_value(), serde_json::from_slice::<serde_json::Value>(text).expect("valid"));
}

/// Applies edits and checks that everything outside them is equal and that the result scans.
fn edited(text: &str, make: impl for<'d> FnOnce(&'d Doc<'d>, &mut Edits<'d>)) -> String {
    let doc = scan(text.as_bytes()).expect("valid");
    let mut edits = Edits::new(&doc);
    make(&doc, &mut edits);
    let edited = edits.apply().expect("applies");
    assert!(outside_is_equal(text.as_bytes(), &edited.bytes, &edited.splices));
    scan(&edited.bytes).expect("the result is valid");
    String::from_utf8(edited.bytes).expect("UTF-8")
}

#[test]
fn edits_on_an_indented_document_follow_its_lines() {
    let text = "{\n    \"b\": 1,\n    \"e\": {},\n    \"a\": [\n        1\n    ]\n}";
    let out = edited(text, |doc, edits| {
        let at = |p: &str| doc.at(&pointer(p)).expect("present");
        let value = Json::object([
            ("x", Json::from(1u64)),
            ("y", Json::Array(vec![])),
            ("z", ["é"].into_iter().collect()),
        ]);
        edits.insert(at(""), Place::After("b".into()), "new", value);
        edits.insert(at("/e"), Place::End, "k", Json::Null);
        edits.append(at("/a"), Json::Bool(true));
        edits.replace(at("/b"), Json::Number("1e-08".into()));
    });
    assert_eq!(
        out,
        "{\n    \"b\": 1e-08,\n    \"new\": {\n        \"x\": 1,\n        \"y\": [],\n        \"z\": [\n            \"é\"\n        ]\n    },\n    \"e\": {\n        \"k\": null\n    },\n    \"a\": [\n        1,\n        true\n    ]\n}"
    );
}

#[test]
fn edits_on_other_layouts_follow_them() {
    let add = |text: &str| {
        edited(text, |doc, edits| {
            edits.insert(
                doc.root(),
                Place::End,
                "n",
                Json::object([("k", Json::from(1u64)), ("l", Json::Null)]),
            );
        })
    };
    assert_eq!(add("{\"a\":1}\n"), "{\"a\":1,\"n\":{\"k\":1,\"l\":null}}\n");
    assert_eq!(add("{\"a\": 1}"), "{\"a\": 1, \"n\": {\"k\": 1, \"l\": null}}");
    assert_eq!(
        add("{ \"a\" : 1 , \"b\" : 2 }"),
        "{ \"a\" : 1 , \"b\" : 2 , \"n\" : {\"k\" : 1 , \"l\" : null} }"
    );
    assert_eq!(add("{}"), "{\"n\": {\"k\": 1, \"l\": null}}");
    assert_eq!(add("{ }\n"), "{\"n\": {\"k\": 1, \"l\": null}}\n");
    assert_eq!(
        add("{\r\n\t\"a\": 1\r\n}\r\n"),
        "{\r\n\t\"a\": 1,\r\n\t\"n\": {\r\n\t\t\"k\": 1,\r\n\t\t\"l\": null\r\n\t}\r\n}\r\n"
    );
    assert_eq!(
        add("{\n  \"a\": 1,\n\n  \"b\": 2\n}"),
        "{\n  \"a\": 1,\n\n  \"b\": 2,\n  \"n\": {\n    \"k\": 1,\n    \"l\": null\n  }\n}"
    );
}

#[test]
fn edits_that_remove_take_the_right_comma() {
    let without = |text: &str, gone: &[&str]| {
        edited(text, |doc, edits| {
            for p in gone {
                edits.remove(doc.at(&pointer(p)).expect("present"));
            }
        })
    };
    let text = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}";
    assert_eq!(without(text, &["/a"]), "{\n  \"b\": 2,\n  \"c\": 3\n}");
    assert_eq!(without(text, &["/b"]), "{\n  \"a\": 1,\n  \"c\": 3\n}");
    assert_eq!(without(text, &["/c"]), "{\n  \"a\": 1,\n  \"b\": 2\n}");
    assert_eq!(without(text, &["/b", "/c"]), "{\n  \"a\": 1\n}");
    assert_eq!(without(text, &["/a", "/c"]), "{\n  \"b\": 2\n}");
    assert_eq!(without(text, &["/c", "/a", "/b"]), "{}");
    assert_eq!(without("[1, 2,3]", &["/0", "/1"]), "[3]");
}

#[test]
fn edits_that_remove_and_add_at_one_place_keep_the_commas() {
    for gone in
        [&["/a"][..], &["/b"], &["/c"], &["/a", "/b"], &["/b", "/c"], &["/a", "/c"], &["/a", "/b", "/c"]]
    {
        for place in
            [Place::End, Place::After("a".into()), Place::After("b".into()), Place::After("c".into())]
        {
            let out = edited("{\n \"a\": 1,\n \"b\": 2,\n \"c\": 3\n}", |doc, edits| {
                for p in gone {
                    edits.remove(doc.at(&pointer(p)).expect("present"));
                }
                edits.insert(doc.root(), place.clone(), "n", Json::from(1u64));
                edits.insert(doc.root(), place.clone(), "m", Json::from(2u64));
            });
            let doc = scan(out.as_bytes()).expect("valid");
            let keys: Vec<_> = doc.root().members().map(|m| m.key().into_owned()).collect();
            assert_eq!(keys.len(), 5 - gone.len(), "{out}");
            let n = keys.iter().position(|k| k == "n").expect("added");
            assert_eq!(keys[n + 1], "m");
            assert_eq!(out.lines().count(), keys.len() + 2, "{out}");
        }
    }
}

#[test]
fn edits_that_conflict_are_refused_by_kind() {
    let text = r#"{"a":{"b":1},"c":[2]}"#;
    let doc = scan(text.as_bytes()).expect("valid");
    let at = |p: &str| doc.at(&pointer(p)).expect("present");
    macro_rules! fails {
        ($($call:ident($($arg:expr),*)),+ => $error:ident) => {{
            let mut edits = Edits::new(&doc);
            $(edits.$call($($arg),*);)+
            let error = edits.apply().expect_err("conflict");
            assert!(matches!(error, EditError::$error { .. }), "{error}");
        }};
    }
    fails!(remove(at("/a")), replace(at("/a/b"), Json::Null) => Overlap);
    fails!(replace(at("/c"), Json::Null), append(at("/c"), Json::Null) => Overlap);
    fails!(replace(at("/c"), Json::Null), replace(at("/c"), Json::Null) => Overlap);
    fails!(insert(at(""), Place::End, "a", Json::Null) => MemberExists);
    fails!(rename(at("/a"), "c") => MemberExists);
    fails!(
        insert(at(""), Place::End, "n", Json::Null), insert(at(""), Place::End, "n", Json::Null)
        => MemberExists
    );
    fails!(insert(at("/c"), Place::End, "n", Json::Null) => NotAContainer);
    fails!(insert(at(""), Place::After("x".into()), "n", Json::Null) => NoSuchMember);
    fails!(remove(at("")) => NotAMember);
    fails!(rename(at("/c/0"), "n") => NotAMember);
}

#[test]
fn edits_that_copy_a_value_keep_its_spelling() {
    let text = "{\n  \"a\": {\n    \"\\u006b\": [\n      1E-8,\n      \"\\/\"\n    ]\n  },\n  \"b\": {}\n}";
    let out = edited(text, |doc, edits| {
        let at = |p: &str| doc.at(&pointer(p)).expect("present");
        edits.insert(at("/b"), Place::End, "c", at("/a/k"));
    });
    assert!(out.ends_with("\"b\": {\n    \"c\": [\n      1E-8,\n      \"\\/\"\n    ]\n  }\n}"), "{out}");
}

/// A JSON text of any shape, with varied spacing, escapes and number spellings.
pub(crate) fn any_json() -> impl Strategy<Value = String> {
    let space = || prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n  "), 1 => Just("\t")];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        prop_oneof![Just("-0"), Just("1.10"), Just("1e2"), Just("1E-8"), Just("123456789012345678901")]
            .prop_map(str::to_owned),
        any::<i64>().prop_map(|n| n.to_string()),
        ".{0,6}".prop_map(|s| quote(&s)),
        Just(r#""\/\u00e9\ud83d\ude00""#.to_owned()),
    ];
    scalar.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            (prop::collection::vec((inner.clone(), space()), 0..5), space()).prop_map(|(items, open)| {
                let items: Vec<_> = items.into_iter().map(|(v, s)| format!("{v}{s}")).collect();
                format!("[{open}{}]", items.join(","))
            }),
            (prop::collection::btree_map("[a-d/~é]{0,3}", (inner, space()), 0..5), space()).prop_map(
                |(items, open)| {
                    let items: Vec<_> =
                        items.into_iter().map(|(k, (v, s))| format!("{}:{s}{v}{s}", quote(&k))).collect();
                    format!("{{{open}{}}}", items.join(","))
                }
            ),
        ]
    })
}

fn all_nodes<'d>(node: Node<'d>, out: &mut Vec<Node<'d>>) {
    out.push(node);
    for child in node.children() {
        all_nodes(child, out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_scan_agrees_with_serde_json(text in any_json()) {
        let doc = scan(text.as_bytes()).expect("valid");
        let other: serde_json::Value = serde_json::from_str(&text).expect("valid");
        prop_assert_eq!(doc.root().to_value().to_string(), other.to_string());
        let mut nodes = Vec::new();
        all_nodes(doc.root(), &mut nodes);
        for node in nodes {
            prop_assert_eq!(doc.at(&node.pointer()), Some(node));
            let alone = scan(node.raw().as_bytes()).expect("a span is a value");
            prop_assert!(alone.root().same_value(&node));
        }
    }

    #[test]
    fn prop_scan_of_any_bytes_never_panics_and_is_no_laxer_than_serde_json(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if scan(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn prop_scan_of_jsonish_bytes_never_panics(text in "[\\[\\]{}:,\"\\\\0-9eE.+\\-truefalsn u]{0,30}") {
        if scan(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }

    #[test]
    fn prop_one_edit_changes_exactly_its_place(text in any_json(), pick in any::<prop::sample::Index>(), op in 0..4, new in any_json()) {
        let doc = scan(text.as_bytes()).expect("valid");
        let new = scan(new.as_bytes()).expect("valid");
        let mut nodes = Vec::new();
        all_nodes(doc.root(), &mut nodes);
        let node = nodes[pick.index(nodes.len())];
        let mut edits = Edits::new(&doc);
        let mut want = doc.root().to_value();
        let place = node.pointer().to_string();
        match op {
            0 => {
                edits.replace(node, Json::from(new.root()));
                *want.pointer_mut(&place).expect("present") = new.root().to_value();
            }
            1 if node.parent().is_some() => {
                edits.remove(node);
                let (parent, last) = node.pointer().split_last().map(|(p, l)| (p, l.to_owned())).expect("no root");
                match want.pointer_mut(&parent.to_string()).expect("present") {
                    serde_json::Value::Object(members) => { members.remove(&last); }
                    serde_json::Value::Array(elements) => { elements.remove(last.parse().expect("an index")); }
                    _ => unreachable!(),
                }
            }
            2 if node.kind() == Kind::Object => {
                edits.insert(node, Place::End, "zzz", new.root());
                want.pointer_mut(&place).and_then(|v| v.as_object_mut()).expect("object")
                    .insert("zzz".into(), new.root().to_value());
            }
            _ if node.kind() == Kind::Array => {
                edits.append(node, new.root());
                want.pointer_mut(&place).and_then(|v| v.as_array_mut()).expect("array")
                    .push(new.root().to_value());
            }
            _ => {}
        }
        let edited = edits.apply().expect("applies");
        prop_assert!(outside_is_equal(text.as_bytes(), &edited.bytes, &edited.splices));
        let after = scan(&edited.bytes).expect("valid");
        prop_assert_eq!(after.root().to_value().to_string(), want.to_string());
    }

    #[test]
    fn prop_scan_of_an_edited_text_is_the_scan_of_the_text_alone(
        text in any_json(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..12usize, fragment()), 0..4),
    ) {
        let (edited, taken) = spliced(&text, cuts);
        let doc = scan(text.as_bytes()).expect("valid");
        let alone = scan(&edited.bytes);
        let whole = match (Scanned::edited(&doc, edited.clone()), alone) {
            (Ok((mut again, kept)), Ok(alone)) => {
                prop_assert_eq!(&again.slots, &alone.slots);
                again.with(|again| for one in &kept {
                    let old = Node { doc: &doc, id: one.before };
                    assert_eq!(old.raw(), Node { doc: again, id: one.after }.raw());
                });
                kept.iter().any(|one| one.before == 0)
            }
            (Err(again), Err(alone)) => {
                prop_assert_eq!(again, alone);
                false
            }
            (again, alone) => return Err(TestCaseError::fail(format!("{again:?} is not {alone:?}"))),
        };
        prop_assert!(whole || taken > 0);
    }
}

/// What edits put in, sound JSON or not.
fn fragment() -> impl Strategy<Value = String> {
    const SOME: &[&str] = &[
        "", "0", "1", ".5", "e1", "-", "true", "null", "\"", "\\", "[", "]", "{", "}", ",", ":", " ",
        "\"a\":",
    ];
    prop_oneof![prop::sample::select(SOME).prop_map(str::to_owned), any_json()]
}

/// A text with stretches of it replaced, wherever they lie; and how many were.
fn spliced(text: &str, cuts: Vec<(prop::sample::Index, usize, String)>) -> (Edited, usize) {
    let whole = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let mut cuts: Vec<_> = cuts
        .into_iter()
        .map(|(at, len, new)| {
            let start = at.index(text.len() + 1);
            (whole(start)..whole((start + len).min(text.len())), new)
        })
        .collect();
    cuts.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut bytes, mut splices, mut from) = (Vec::new(), Vec::new(), 0);
    for (range, new) in cuts {
        if range.start < from {
            continue;
        }
        bytes.extend_from_slice(&text.as_bytes()[from..range.start]);
        let start = bytes.len();
        bytes.extend_from_slice(new.as_bytes());
        from = range.end;
        splices.push(Splice { before: range, after: start..bytes.len() });
    }
    bytes.extend_from_slice(&text.as_bytes()[from..]);
    let taken = splices.len();
    (Edited { bytes, splices }, taken)
}

#[test]
fn scan_of_an_edited_text_takes_over_what_was_not_touched() {
    let text = r#"{"a": [1, {"deep": [true]}], "b": 2, "c": {"x": 1, "y": [3]}}"#;
    let doc = scan(text.as_bytes()).expect("valid");
    let mut edits = Edits::new(&doc);
    edits
        .replace(doc.at(&pointer("/c/x")).expect("there"), Json::from(true))
        .remove(doc.at(&pointer("/b")).expect("there"));
    let edited = edits.apply().expect("no conflict");
    let (mut again, kept) = Scanned::edited(&doc, edited).expect("valid");
    let kept: Vec<String> = again.with(|again| {
        kept.iter().map(|one| Node { doc: again, id: one.after }.pointer().to_string()).collect()
    });
    assert_eq!(kept, ["/a", "/c/y"]);
    assert_eq!(again.into_bytes(), br#"{"a": [1, {"deep": [true]}], "c": {"x": true, "y": [3]}}"#);
}
