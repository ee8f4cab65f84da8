//! Loading packs: identity, and errors that say where.

use super::*;

fn error(result: Result<Pack, PackError>) -> PackError {
    match result {
        Ok(_) => panic!("the pack was taken"),
        Err(error) => error,
    }
}

const STEP: &str = "[[migration.step]]\nop = \"default\"\npath = \"/a\"\nvalue = 1";

#[test]
fn builtin_packs_all_load_under_their_names() {
    for name in builtin_names() {
        assert_eq!(Pack::builtin(name).map(Pack::name), Some(name));
        assert!(pack_files(name).is_some_and(|files| files.contains_key(PACK_FILE)));
    }
    assert!(Pack::builtin("nope").is_none());
}

#[test]
fn digest_ignores_comments_spacing_and_line_ends_and_sees_every_step() {
    let plain = two_versions("", STEP).expect("loads").digest();
    let spaced = STEP.replace(" = ", "=").replace('\n', "\r\n") + "\r\n# a comment\r\n";
    assert_eq!(two_versions("# another", &spaced).expect("loads").digest(), plain);
    let schema = "{\n  \"type\" : \"object\"\r\n}\n";
    assert_eq!(two_versions_with(schema, "", STEP).expect("loads").digest(), plain);
    let changes = [
        two_versions("", &STEP.replace("/a", "/b")),
        two_versions("", &STEP.replace("value = 1", "value = 2")),
        two_versions("", &format!("{STEP}\nwhen = [{{ absent = \"/b\" }}]")),
        two_versions("[fields]\nfrozen = [\"/z\"]", STEP),
        two_versions_with(r#"{"type":["object"]}"#, "", STEP),
    ];
    for changed in changes {
        assert_ne!(changed.expect("loads").digest(), plain);
    }
}

#[test]
fn schema_error_points_at_the_rule_that_is_wrong() {
    for (schema, place) in [
        ("{\n  \"type\": \"banana\"}", (2, 11)),
        ("{\n \"properties\": {\n  \"n\": {\"pattern\": \"(\"}}}", (3, 20)),
        ("{\n \"items\": {\"$ref\": \"#/$defs/none\"}}", (2, 20)),
        ("{\n \"items\": {\"$ref\": \"https://example.org/a\"}}", (2, 20)),
    ] {
        let bad = error(two_versions_with(schema, "", ""));
        assert_eq!((bad.file.as_str(), bad.line, bad.column), ("s.schema.json", place.0, place.1), "{bad}");
    }
    let bad = error(parse(&[(
        "pack.toml",
        "[pack]\nname = \"p\"\nversion = \"1\"\nhead = \"1\"\norder = \"graph\"\n[[shape]]\nversion = \"1\"\nschema = \"none.json\"\n",
    )]));
    assert_eq!((bad.file.as_str(), bad.line, bad.column), ("pack.toml", 8, 10), "{bad}");
    assert!(matches!(bad.kind, PackErrorKind::NoFile { .. }));
}

#[test]
fn load_error_names_file_line_and_column() {
    let bad = error(two_versions("", "[[migration.step]]\nop = \"fly\"\npath = \"/a\""));
    assert_eq!((bad.file.as_str(), bad.line, bad.column), ("pack.toml", 18, 6), "{bad}");
    assert!(matches!(&bad.kind, PackErrorKind::UnknownOp { op, .. } if op == "fly"));
    assert!(bad.to_string().starts_with("pack.toml:18:6: unknown op \"fly\"; known are set, "), "{bad}");
}

#[test]
fn load_of_each_mistake_is_refused_by_kind() {
    use PackErrorKind as K;
    let step = |rest: &str| two_versions("", &format!("[[migration.step]]\n{rest}"));
    macro_rules! refuses {
        ($result:expr, $kind:pat) => {
            let bad = error($result);
            assert!(matches!(bad.kind, $kind), "{bad}");
        };
    }
    refuses!(parse(&[]), K::MissingFile);
    refuses!(parse(&[("pack.toml", "[pack")]), K::Toml { .. });
    refuses!(parse(&[("pack.toml", "")]), K::MissingKey { key: "pack" });
    refuses!(two_versions("oops = 1", ""), K::UnknownKey { .. });
    refuses!(two_versions_with("{\"a\":NaN}", "", ""), K::Json(_));
    refuses!(two_versions_with("{\"type\":\"banana\"}", "", ""), K::Schema { .. });
    refuses!(two_versions("[[legacy]]\nrule = \"r\"\nversion = \"9\"", ""), K::UnknownShape { .. });
    refuses!(two_versions("[[migration]]\nfrom = \"1\"\nto = \"2\"", ""), K::Twice { .. });
    refuses!(two_versions("[[shape]]\nversion = \"2\"\nschema = \"s.schema.json\"", ""), K::Twice { .. });
    refuses!(step("op = \"set\"\npath = \"a\"\nvalue = 1"), K::Pointer(_));
    refuses!(step("op = \"set\"\npath = \"\"\nvalue = 1"), K::BadValue { .. });
    refuses!(step("op = \"set\"\npath = \"/a\""), K::OneOf { .. });
    refuses!(step("op = \"set\"\npath = \"/a\"\nvalue = 1\njson = \"1\""), K::BadValue { .. });
    refuses!(step("op = \"set\"\npath = \"/a\"\njson = \"{\""), K::JsonText { .. });
    refuses!(step("op = \"set\"\npath = \"/a\"\nvalue = nan"), K::WrongType { .. });
    refuses!(step("op = \"set\"\npath = \"/a\"\nvalue = 1\nvalu = 2"), K::UnknownKey { .. });
    refuses!(step("op = \"set\"\npath = \"/a\"\nfact = \"f\"\notherwise = \"fail\""), K::UnknownFact { .. });
    refuses!(step("op = \"default\"\npath = \"/a/*\"\nvalue = 1"), K::BadValue { .. });
    refuses!(step("op = \"remove\"\npath = \"/a\""), K::MissingKey { key: "reason" });
    refuses!(step("op = \"move\"\npath = \"/a\"\nto = \"/b/*/c\""), K::Stars { .. });
    refuses!(step("op = \"cast\"\npath = \"/a\"\nto = \"banana\""), K::BadValue { .. });
    refuses!(step("op = \"set\"\npath = \"/v\"\nvalue = \"2\""), K::Reserved { .. });
    refuses!(step("op = \"set\"\npath = \"/a\"\nvalue = 1\nwhen = [{ at = \"/b\" }]"), K::OneOf { .. });
    refuses!(
        step("op = \"set\"\npath = \"/a\"\nvalue = 1\nwhen = [{ at = \"/b\", type = \"x\" }]"),
        K::BadValue { .. }
    );
}

#[test]
fn load_of_a_step_that_writes_a_measured_member_is_refused() {
    let measured = "[fields]\nmeasured = [\"/energy\", \"/rows/*/power\"]";
    let with = |step: &str| two_versions(measured, &format!("[[migration.step]]\n{step}"));
    for bad in [
        "op = \"set\"\npath = \"/energy\"\nvalue = 0",
        "op = \"default\"\npath = \"/energy\"\nvalue = 0",
        "op = \"default\"\npath = \"/rows/*/power\"\nvalue = 0",
        "op = \"map\"\npath = \"/energy\"\ntable = { a = 1 }",
    ] {
        let bad = error(with(bad));
        assert!(matches!(bad.kind, PackErrorKind::Measured { .. }), "{bad}");
    }
    for good in [
        "op = \"default\"\npath = \"/energy\"\njson = \"null\"",
        "op = \"rename\"\npath = \"/old\"\nto = \"energy\"",
        "op = \"cast\"\npath = \"/energy\"\nto = \"number\"",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
}

#[test]
fn load_of_a_step_that_changes_a_frozen_member_is_refused() {
    let with =
        |step: &str| two_versions("[fields]\nfrozen = [\"/id\"]", &format!("[[migration.step]]\n{step}"));
    for bad in [
        "op = \"set\"\npath = \"/id\"\nvalue = 0",
        "op = \"remove\"\npath = \"/id\"\nreason = \"r\"",
        "op = \"rename\"\npath = \"/id\"\nto = \"ident\"",
        "op = \"remove\"\npath = \"/*\"\nreason = \"r\"",
    ] {
        let bad = error(with(bad));
        assert!(matches!(bad.kind, PackErrorKind::Frozen { .. }), "{bad}");
    }
    assert!(with("op = \"default\"\npath = \"/id\"\nvalue = \"x\"").is_ok());
}

#[test]
fn detection_by_rules_that_disagree_is_ambiguous() {
    let rules = "[[legacy]]\nrule = \"x\"\nversion = \"1\"\nwhen = [{ present = \"/x\" }]\n\
        [[legacy]]\nrule = \"y\"\nversion = \"2\"\nwhen = [{ present = \"/y\" }]";
    let pack = two_versions(rules, STEP).expect("loads");
    let detect = |text: &str| pack.detect(&crate::base::json::scan(text.as_bytes()).expect("valid"));
    assert!(matches!(detect("{\"x\":1}"), Detection::Legacy { version, .. } if version == "1"));
    assert!(
        matches!(detect("{\"x\":1,\"y\":1}"), Detection::Ambiguous { candidates } if candidates.len() == 2)
    );
    assert!(matches!(detect("{\"v\":\"10\"}"), Detection::UnknownVersion { .. }));
    assert!(matches!(detect("{\"v\":null,\"x\":1}"), Detection::NotThisKind { .. }));
    let ambiguous = pack.migrate(b"{\"x\":1,\"y\":1}", None, &Facts::default(), None);
    assert!(matches!(refused(ambiguous), Refusal::Detection(Detection::Ambiguous { .. })));
}

fn graph_pack(migrations: &[(&str, &str)]) -> Pack {
    let mut text =
        "[pack]\nname = \"g\"\nversion = \"1\"\nversion_at = \"/v\"\nhead = \"d\"\norder = \"graph\"\n"
            .to_owned();
    for version in ["a", "b", "c", "d"] {
        text += &format!("[[shape]]\nversion = \"{version}\"\nschema = \"s.schema.json\"\n");
    }
    for (from, to) in migrations {
        text += &format!("[[migration]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    }
    parse(&[("pack.toml", &text), ("s.schema.json", "{}")]).expect("loads")
}

fn route(pack: &Pack, from: &str, to: &str) -> Vec<String> {
    pack.route(from, to).expect("a route").iter().map(|m| format!("{}{}", m.from, m.to)).collect()
}

#[test]
fn route_takes_the_fewest_migrations_and_the_pack_s_order_among_equals() {
    let pack = graph_pack(&[("a", "c"), ("c", "d"), ("a", "b"), ("b", "d")]);
    assert_eq!(route(&pack, "a", "d"), ["ab", "bd"]);
    let pack = graph_pack(&[("a", "b"), ("b", "c"), ("c", "d"), ("a", "c")]);
    assert_eq!(route(&pack, "a", "d"), ["ac", "cd"]);
    assert_eq!(route(&pack, "a", "a"), Vec::<String>::new());
    assert!(matches!(pack.route("d", "a"), Err(NoRoute::NotDeclared { .. })));
    assert!(matches!(pack.route("a", "z"), Err(NoRoute::UnknownVersion { .. })));
    let circle = graph_pack(&[("a", "b"), ("b", "a"), ("b", "c")]);
    assert_eq!(route(&circle, "a", "c"), ["ab", "bc"]);
    assert_eq!(route(&circle, "b", "a"), ["ba"]);
}

#[test]
fn route_from_a_variant_follows_the_variant_s_own_migrations() {
    let text = "[pack]\nname = \"g\"\nversion = \"1\"\nversion_at = \"/v\"\nhead = \"2\"\norder = \"graph\"\n\
        [[shape]]\nversion = \"1\"\nvariant = \"x\"\nschema = \"s.schema.json\"\nwhen = [{ present = \"/x\" }]\n\
        [[shape]]\nversion = \"1\"\nvariant = \"y\"\nschema = \"s.schema.json\"\nwhen = [{ absent = \"/x\" }]\n\
        [[shape]]\nversion = \"2\"\nschema = \"s.schema.json\"\n\
        [[migration]]\nfrom = \"1/x\"\nto = \"1/y\"\n[[migration.step]]\nop = \"rename\"\npath = \"/x\"\nto = \"y\"\n\
        [[migration]]\nfrom = \"1/y\"\nto = \"2\"\n";
    let pack = parse(&[("pack.toml", text), ("s.schema.json", "{}")]).expect("loads");
    assert_eq!(route(&pack, "1/x", "2"), ["1/x1/y", "1/y2"]);
    let outcome = pack.migrate(b"{\"v\":\"1\",\"x\":1}", None, &Facts::default(), None);
    let rewrite = rewritten(outcome);
    assert_eq!(rewrite.bytes, b"{\"v\":\"2\",\"y\":1}");
    assert_eq!(rewrite.path, ["1", "1", "2"]);
}

/// Two lines: `a -> d`, the head, and `b -> c`; what `c` is depends on `stuck`.
fn two_lines(stuck: bool) -> String {
    let mut text =
        "[pack]\nname = \"g\"\nversion = \"1\"\nversion_at = \"/v\"\nhead = \"d\"\norder = \"graph\"\n"
            .to_owned();
    for version in ["a", "b", "c", "d"] {
        text += &format!("[[shape]]\nversion = \"{version}\"\nschema = \"s.schema.json\"\n");
    }
    text += "[[migration]]\nfrom = \"a\"\nto = \"d\"\n[[migration]]\nfrom = \"b\"\nto = \"c\"\n";
    text + &format!("[[end]]\nversion = \"c\"\nreason = \"needs a run\"\nstuck = {stuck}\n")
}

#[test]
fn end_that_is_not_stuck_is_where_its_line_goes() {
    let pack = parse(&[("pack.toml", &two_lines(false)), ("s.schema.json", "{}")]).expect("loads");
    let migrate = |text: &str, to: Option<&str>| pack.migrate(text.as_bytes(), to, &Facts::default(), None);
    assert_eq!(rewritten(migrate("{\"v\":\"a\"}", None)).path, ["a", "d"]);
    assert_eq!(rewritten(migrate("{\"v\":\"b\"}", None)).path, ["b", "c"]);
    assert_eq!(rewritten(migrate("{\"v\":\"b\"}", Some("d"))).path, ["b", "c"]);
    assert_eq!(migrate("{\"v\":\"c\"}", None), Outcome::Current { version: "c".to_owned() });
    assert!(matches!(refused(migrate("{\"v\":\"c\"}", Some("a"))), Refusal::NoRoute(_)));
    assert!(matches!(pack.destination("b"), Destination::End(end, route)
        if end.version == "c" && route.len() == 1));
    assert!(matches!(pack.destination("a"), Destination::Head(route) if route.len() == 1));
}

#[test]
fn end_that_is_stuck_refuses_with_the_pack_s_reason() {
    let pack = parse(&[("pack.toml", &two_lines(true)), ("s.schema.json", "{}")]).expect("loads");
    let migrate = |text: &str, to: Option<&str>| pack.migrate(text.as_bytes(), to, &Facts::default(), None);
    for text in ["{\"v\":\"b\"}", "{\"v\":\"c\"}"] {
        let refusal = refused(migrate(text, None));
        assert!(matches!(&refusal, Refusal::Stuck { reason, .. } if reason == "needs a run"), "{refusal}");
    }
    assert_eq!(migrate("{\"v\":\"c\"}", Some("c")), Outcome::Current { version: "c".to_owned() });
    assert!(matches!(pack.destination("c"), Destination::Stuck(_)));
}

#[test]
fn end_with_a_way_to_the_head_is_refused_when_the_pack_is_loaded() {
    let load = |end: &str| {
        let text =
            two_lines(true).replace("version = \"c\"\nreason", &format!("version = \"{end}\"\nreason"));
        parse(&[("pack.toml", &text), ("s.schema.json", "{}")]).map_err(|error| error.kind)
    };
    for end in ["a", "d"] {
        assert!(matches!(load(end), Err(PackErrorKind::NoEnd { .. })), "{end}");
    }
    assert!(matches!(load("z"), Err(PackErrorKind::UnknownShape { .. })));
    assert!(load("b").is_ok());
}

#[test]
fn formulas_are_told_by_table_and_by_compute_and_must_not_contradict() {
    let compute = "[[migration.step]]\nop = \"compute\"\npath = \"/tps\"\nformula = \"new\"\nexpression = \"a\"\n\
        arithmetic = \"ieee754\"\ninvalid = \"keep\"";
    let load = |tables: &str| two_versions(tables, compute);
    let pack = load(
        "[[derived]]\npath = \"/tps\"\nformula = \"old\"\nversion = \"1\"\n\
        [[derived]]\npath = \"/r/*/e\"\nformula = \"sum\"\nversion = [\"1\", \"2\"]",
    )
    .expect("loads");
    let of = |shape: &str, at: &str| pack.formula_of(shape, &at.parse().expect("a pointer"));
    assert_eq!((of("1", "/tps"), of("2", "/tps"), of("2", "/a")), (Some("old"), Some("new"), None));
    assert_eq!((of("1", "/r/0/e"), of("2", "/r/7/e")), (Some("sum"), Some("sum")));
    let kind = |tables: &str| load(tables).map(|_| ()).map_err(|error| error.kind);
    let one = |formula: &str, version: &str| {
        format!("[[derived]]\npath = \"/tps\"\nformula = \"{formula}\"\nversion = \"{version}\"\n")
    };
    assert!(matches!(kind(&one("old", "2")), Err(PackErrorKind::Formulas { .. })));
    assert!(matches!(kind(&(one("x", "1") + &one("y", "1"))), Err(PackErrorKind::Formulas { .. })));
    assert!(matches!(kind(&one("x", "9")), Err(PackErrorKind::UnknownShape { .. })));
    assert!(kind(&(one("x", "1") + &one("x", "1") + &one("new", "2"))).is_ok());
}

#[test]
fn deprecations_name_place_replacement_and_the_releases_that_remain() {
    let load = |deprecated: &str| {
        let text = two_lines(true) + "[[deprecated]]\npath = \"/r/*/old\"\nuse = \"new\"\n" + deprecated;
        parse(&[("pack.toml", &text), ("s.schema.json", "{}")])
    };
    let doc = crate::base::json::scan(b"{\"r\":[{\"old\":1},{},{\"old\":2}]}").expect("valid");
    let remaining = |deprecated: &str, shape: &str| {
        let pack = load(deprecated).expect("loads");
        let found = pack.deprecations(&doc, shape);
        let places: Vec<_> = found.iter().map(|d| d.place.to_string()).collect();
        assert!(found.is_empty() || places == ["/r/0/old", "/r/2/old"]);
        found.first().map(|d| (d.since.clone(), d.instead.clone(), d.remaining)).map(|(.., left)| left)
    };
    let grace = "since = \"b\"";
    assert_eq!(["a", "b", "c", "d"].map(|v| remaining(grace, v)), [None, Some(2), Some(1), Some(0)]);
    let shorter = "since = \"b\"\ngrace = 0";
    assert_eq!(["b", "d"].map(|v| remaining(shorter, v)), [Some(0), Some(0)]);
    let named = "since = \"a\"\ngoes_in = \"d\"";
    assert_eq!(["a", "b", "c"].map(|v| remaining(named, v)), [Some(2), Some(1), Some(0)]);
    let future = "since = \"a\"\ngoes_in = \"z\"";
    assert_eq!(["a", "d"].map(|v| remaining(future, v)), [Some(3), Some(0)]);
    let both = load("since = \"a\"\ngoes_in = \"d\"\ngrace = 1").map_err(|error| error.kind);
    assert!(matches!(both, Err(PackErrorKind::OneOf { .. })));
    assert!(matches!(load("since = \"z\"").map_err(|e| e.kind), Err(PackErrorKind::UnknownShape { .. })));
}
