//! Every step, on documents that suit it and on documents that do not.

use super::*;

/// Runs steps on a document from version 1 to 2; the label is left out on both sides.
fn run(steps: &str, members: &str) -> Outcome {
    run_with("", &Facts::default(), steps, members)
}

fn run_with(extra: &str, facts: &Facts, steps: &str, members: &str) -> Outcome {
    // The schema describes every member that the tests change.
    let schema = r##"{"type":"object","additionalProperties":{"$ref":"#/$defs/any"},
        "$defs":{"any":{"additionalProperties":{"$ref":"#/$defs/any"},"items":{"$ref":"#/$defs/any"}}}}"##;
    let steps: Vec<String> = steps.split("---").map(|s| format!("[[migration.step]]\n{s}")).collect();
    let pack = two_versions_with(schema, extra, &steps.join("\n")).expect("loads");
    let text = format!("{{\"v\":\"1\",{members}}}");
    pack.migrate(text.as_bytes(), None, facts, None)
}

fn gives(steps: &str, members: &str, want: &str) -> Vec<String> {
    let mut rewrite = rewritten(run(steps, members));
    let text = String::from_utf8(rewrite.bytes).expect("UTF-8");
    assert_eq!(text, format!("{{\"v\":\"2\",{want}}}"));
    assert_eq!(rewrite.changes.pop().as_deref(), Some("set /v to \"2\", replacing \"1\""));
    rewrite.changes
}

fn problem(steps: &str, members: &str) -> StepProblem {
    match refused(run(steps, members)) {
        Refusal::Step { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn set_writes_and_says_what_it_replaced() {
    let step = "op = \"set\"\npath = \"/a\"\nvalue = { k = [1, \"é\"] }";
    assert_eq!(
        gives(step, r#""a":1E-8,"b":2"#, r#""a":{"k":[1,"é"]},"b":2"#),
        ["set /a to {\"k\":[1,\"é\"]}, replacing 1E-8"]
    );
    assert_eq!(gives(step, r#""b":2"#, r#""b":2,"a":{"k":[1,"é"]}"#), ["added /a as {\"k\":[1,\"é\"]}"]);
    assert!(gives(step, r#""a":{"k":[1,"\u00e9"]}"#, r#""a":{"k":[1,"\u00e9"]}"#).is_empty());
    let each = "op = \"set\"\npath = \"/a/*\"\nvalue = 0";
    assert_eq!(gives(each, r#""a":[1,0,2]"#, r#""a":[0,0,0]"#).len(), 2);
}

#[test]
fn default_fills_only_what_is_absent() {
    let step = "op = \"default\"\npath = \"/a\"\nvalue = 1\nafter = \"b\"";
    assert_eq!(gives(step, r#""b":2,"c":3"#, r#""b":2,"a":1,"c":3"#), ["added /a as 1"]);
    assert!(gives(step, r#""a":null"#, r#""a":null"#).is_empty());
    assert!(gives(step, r#""a":9"#, r#""a":9"#).is_empty());
    let null = format!("{step}\nalso_null = true");
    assert_eq!(gives(&null, r#""a":null"#, r#""a":1"#), ["added /a as 1, replacing null"]);
    let each = "op = \"default\"\npath = \"/r/*/a\"\njson = \"null\"";
    gives(each, r#""r":[{},{"a":1}]"#, r#""r":[{"a":null},{"a":1}]"#);
    assert!(matches!(
        problem("op = \"default\"\npath = \"/x/a\"\nvalue = 1", r#""b":1"#),
        StepProblem::NoParent { .. }
    ));
    assert!(matches!(
        problem("op = \"default\"\npath = \"/b/a\"\nvalue = 1", r#""b":1"#),
        StepProblem::NotAnObject { .. }
    ));
}

#[test]
fn rename_keeps_place_and_text_and_refuses_a_conflict() {
    let step = "op = \"rename\"\npath = \"/a\"\nto = \"b\"";
    assert_eq!(gives(step, r#""a":1.10,"c":2"#, r#""b":1.10,"c":2"#), ["renamed /a to /b"]);
    gives(step, r#""c":2"#, r#""c":2"#);
    gives(step, r#""a":1,"b":1"#, r#""b":1"#);
    assert!(matches!(problem(step, r#""a":1,"b":2"#), StepProblem::Conflict { .. }));
    let each = "op = \"rename\"\npath = \"/r/*/a\"\nto = \"b\"";
    gives(each, r#""r":[{"a":1},{"a":2},{}]"#, r#""r":[{"b":1},{"b":2},{}]"#);
}

#[test]
fn move_copy_and_preserve_keep_the_spelling() {
    let step = |op: &str| format!("op = \"{op}\"\npath = \"/a\"\nto = \"/m/a\"");
    assert_eq!(gives(&step("move"), r#""a":["\/",1E2],"m":{}"#, r#""m":{"a":["\/",1E2]}"#).len(), 1);
    gives(&step("copy"), r#""a":1,"m":{}"#, r#""a":1,"m":{"a":1}"#);
    assert!(matches!(problem(&step("move"), r#""a":1"#), StepProblem::NoParent { .. }));
    assert_eq!(
        gives(&step("preserve"), r#""a":"\/","b":1"#, r#""b":1,"m":{"a":"\/"}"#),
        ["preserved /a as /m/a"]
    );
    for op in ["move", "copy", "preserve"] {
        assert!(matches!(problem(&step(op), r#""a":1,"m":{"a":2}"#), StepProblem::Conflict { .. }));
        assert!(matches!(problem(&step(op), r#""a":1,"m":3"#), StepProblem::NotAnObject { .. }));
    }
    let each = "op = \"preserve\"\npath = \"/r/*/a\"\nto = \"/r/*/old/a\"";
    gives(each, r#""r":[{"a":1,"z":0},{}]"#, r#""r":[{"z":0,"old":{"a":1}},{}]"#);
    let two = "op = \"preserve\"\npath = \"/a\"\nto = \"/m/n/a\"---op = \"preserve\"\npath = \"/b\"\nto = \"/m/n/b\"";
    gives(two, r#""a":1,"b":2,"c":3"#, r#""c":3,"m":{"n":{"a":1,"b":2}}"#);
}

#[test]
fn remove_takes_a_reason_and_works_on_elements() {
    let step = "op = \"remove\"\npath = \"/a\"\nreason = \"never read\"";
    assert_eq!(gives(step, r#""a":1,"b":2"#, r#""b":2"#), ["removed /a: never read"]);
    let each = "op = \"remove\"\npath = \"/a/*\"\nreason = \"r\"\nwhen = [{ at = \"/a/*\", equals_json = \"null\" }]";
    gives(each, r#""a":[1,null,2,null]"#, r#""a":[1,2]"#);
}

#[test]
fn map_has_a_table_and_what_to_do_otherwise() {
    let step = |otherwise: &str| {
        format!("op = \"map\"\npath = \"/s/*/a\"\ntable = {{ validate = \"test\", x = 1 }}\n{otherwise}")
    };
    let members = r#""s":[{"a":"validate"},{"a":"test"},{"a":5}]"#;
    gives(&step("otherwise = \"keep\""), members, r#""s":[{"a":"test"},{"a":"test"},{"a":5}]"#);
    gives(&step("otherwise_json = \"null\""), members, r#""s":[{"a":"test"},{"a":null},{"a":null}]"#);
    assert!(matches!(problem(&step(""), members), StepProblem::Unmapped { .. }));
}

#[test]
fn cast_never_loses() {
    let cast = |to: &str| format!("op = \"cast\"\npath = \"/a\"\nto = \"{to}\"");
    for (to, before, after) in [
        ("string", "1.10", "\"1.10\""),
        ("string", "true", "\"true\""),
        ("integer", "\"12\"", "12"),
        ("integer", "3.000", "3"),
        ("number", "\"1e-08\"", "1e-08"),
        ("boolean", "\"false\"", "false"),
        ("integer", "7", "7"),
    ] {
        gives(&cast(to), &format!("\"a\":{before}"), &format!("\"a\":{after}"));
    }
    for (to, before) in [
        ("integer", "1.5"),
        ("integer", "\"1.0\""),
        ("integer", "1e2"),
        ("number", "\"NaN\""),
        ("number", "\" 1\""),
        ("number", "null"),
        ("string", "null"),
        ("boolean", "1"),
        ("integer", "-0.0"),
    ] {
        let problem = problem(&cast(to), &format!("\"a\":{before}"));
        assert!(matches!(problem, StepProblem::CannotCast { .. }), "{to} {before}");
    }
}

#[test]
fn require_refuses_with_the_pack_s_text() {
    let step = "op = \"require\"\npath = \"/r/*\"\nthat = [{ at = \"/r/*/n\", type = \"integer\" }]\ntext = \"rows need a number\"";
    gives(step, r#""r":[{"n":1},{"n":2}]"#, r#""r":[{"n":1},{"n":2}]"#);
    let problem = problem(step, r#""r":[{"n":1},{"n":1.5}]"#);
    assert_eq!(problem.to_string(), "rows need a number (required: /r/*/n is of type integer)");
}

#[test]
fn when_binds_the_same_element_as_the_path() {
    let step = "op = \"set\"\npath = \"/r/*/a\"\nvalue = 0\nwhen = [{ at = \"/r/*/k\", one_of = [\"x\", \"y\"] }, { absent_or_empty = \"/z\" }]";
    gives(
        step,
        r#""r":[{"k":"x"},{"k":"w"},{"k":"y","a":1}],"z":[]"#,
        r#""r":[{"k":"x","a":0},{"k":"w"},{"k":"y","a":0}],"z":[]"#,
    );
    gives(step, r#""r":[{"k":"x"}],"z":1"#, r#""r":[{"k":"x"}],"z":1"#);
}

#[test]
fn steps_that_build_on_each_other_see_each_other_s_results() {
    let steps = "op = \"default\"\npath = \"/c\"\njson = \"{}\"---op = \"default\"\npath = \"/c/tags\"\njson = \"[]\"\
        ---op = \"rename\"\npath = \"/c\"\nto = \"d\"---op = \"copy\"\npath = \"/d/tags\"\nto = \"/e\"";
    gives(steps, r#""a":1"#, r#""a":1,"d":{"tags":[]},"e":[]"#);
}

#[test]
fn many_places_are_summarized() {
    let rows: Vec<String> = (0..100).map(|i| format!("{{\"a\":{i}}}")).collect();
    let steps = "op = \"remove\"\npath = \"/r/*/a\"\nreason = \"r\"";
    let rewrite = rewritten(run(steps, &format!("\"r\":[{}]", rows.join(","))));
    assert_eq!(rewrite.changes.len(), 6);
    assert!(rewrite.changes[4].ends_with("and likewise in 95 more places"));
    assert_eq!(rewrite.touched.len(), 101);
}

#[test]
fn facts_are_tried_in_order_and_told() {
    let extra = "[[fact]]\nname = \"j\"\nfile = \"x.json\"\nformat = \"json\"\npointer = \"/n\"\n\
        [[fact]]\nname = \"y\"\nfile = \"x.yaml\"\nformat = \"yaml\"\npointer = \"/l/1\"\n\
        [[fact]]\nname = \"m\"\nmember = \"/ref\"\npattern = \"a/<x>.b\"\n";
    let step = |otherwise: &str| {
        format!("op = \"default\"\npath = \"/a\"\nfact = [\"j\", \"y\", \"m\"]\n{otherwise}")
    };
    let told = |files: &[(&str, &str)], members: &str| {
        let outcome = run_with(extra, &facts(files), &step("otherwise = \"fail\""), members);
        let rewrite = rewritten(outcome);
        (String::from_utf8(rewrite.bytes).expect("UTF-8"), rewrite.changes[0].clone())
    };
    let (text, change) = told(&[("x.json", "{\"n\":1.10}"), ("x.yaml", "l: [0, true]")], "\"ref\":\"a/q.b\"");
    assert_eq!((text.ends_with("\"a\":1.10}"), change.as_str()), (true, "backfilled /a from x.json"));
    let (text, change) = told(&[("x.json", "{}"), ("x.yaml", "l: [0, 'é']")], "\"ref\":\"a/q.b\"");
    assert_eq!((text.ends_with("\"a\":\"é\"}"), change.as_str()), (true, "backfilled /a from x.yaml"));
    let (text, change) = told(&[("x.yaml", "a: [b")], "\"ref\":\"a/q.b\"");
    assert_eq!((text.ends_with("\"a\":\"q\"}"), change.as_str()), (true, "backfilled /a from /ref"));

    let none = |otherwise: &str| run_with(extra, &Facts::default(), &step(otherwise), "\"ref\":\"a/.b\"");
    assert_eq!(rewritten(none("otherwise = \"absent\"")).changes.len(), 1);
    assert_eq!(rewritten(none("otherwise_value = 5")).changes[0], "added /a as 5");
    let Refusal::Step { problem: StepProblem::NoFact { tried, .. }, .. } =
        refused(none("otherwise = \"fail\""))
    else {
        panic!("no fact was had")
    };
    assert_eq!(tried.len(), 3);
}

#[test]
fn fact_files_that_nest_deeply_are_refused_without_a_crash() {
    let extra = "[[fact]]\nname = \"y\"\nfile = \"x.yaml\"\nformat = \"yaml\"\npointer = \"/a\"\n";
    let step = "op = \"default\"\npath = \"/a\"\nfact = \"y\"\notherwise = \"absent\"";
    for yaml in ["[".repeat(500_000), "- ".repeat(400_000), "{a: ".repeat(200_000), "? ".repeat(400_000)] {
        let outcome = run_with(extra, &facts(&[("x.yaml", &yaml)]), step, "\"b\":1");
        assert_eq!(rewritten(outcome).changes.len(), 1);
    }
}

#[test]
fn fact_file_over_the_limit_is_refused_by_its_number() {
    let extra = "[[fact]]\nname = \"y\"\nfile = \"x.yaml\"\nformat = \"yaml\"\npointer = \"/a\"\n";
    let step = "op = \"default\"\npath = \"/a\"\nfact = \"y\"\notherwise = \"fail\"";
    let outcome = |bytes: usize| {
        let yaml = format!("a: 1\n#{}", "x".repeat(bytes - 6));
        format!("{:?}", run_with(extra, &facts(&[("x.yaml", &yaml)]), step, "\"b\":1"))
    };
    assert!(outcome(1 << 20).starts_with("Rewrite"));
    assert!(outcome((1 << 20) + 1).contains("over 1048576 bytes"), "{}", outcome((1 << 20) + 1));
}

#[test]
fn input_files_are_named_up_to_the_first_dot_unless_names_collide() {
    let extra = "[[fact]]\nname = \"f\"\nfiles = \"inputs/\"\n";
    let step = "op = \"default\"\npath = \"/input_snapshots\"\nfact = \"f\"\notherwise = \"fail\"";
    let files = facts(&[
        ("inputs/brief.yaml", "1"),
        ("inputs/sub/model.config.json", "22"),
        ("inputs/x.a", ""),
        ("inputs/x.b", ""),
        ("inputs/.hidden", ""),
        ("outputs/out.md", ""),
    ]);
    let rewrite = rewritten(run_with(extra, &files, step, "\"b\":1"));
    let doc = crate::base::json::scan(&rewrite.bytes).expect("valid");
    let snapshots = doc.root().get("input_snapshots").expect("present");
    let names: Vec<_> = snapshots.members().map(|m| m.key().into_owned()).collect();
    assert_eq!(names, [".hidden", "brief", "model", "x.a", "x.b"]);
    let brief = snapshots.get("brief").expect("present").raw();
    let digest = crate::base::digest::Sha256::of(b"1");
    assert_eq!(brief, format!("{{\"path\":\"inputs/brief.yaml\",\"sha256\":\"{digest}\",\"bytes\":1}}"));
    assert_eq!(rewrite.changes[0], "backfilled /input_snapshots from 5 files below inputs/");
}

#[test]
fn preserve_in_the_record_takes_the_exact_text_out_of_the_document() {
    let step = "op = \"preserve\"\npath = \"/r/*/t\"\nrecord = true";
    let rewrite = rewritten(run(step, r#""r":[{"t":1E-8,"k":1},{},{"t":"\/\u00e9"}]"#));
    assert_eq!(String::from_utf8_lossy(&rewrite.bytes), r#"{"v":"2","r":[{"k":1},{},{}]}"#);
    let kept: Vec<_> = rewrite.preserved.iter().map(|(at, text)| format!("{at} {text}")).collect();
    assert_eq!(kept, ["/r/0/t 1E-8", r#"/r/2/t "\/\u00e9""#]);
    assert_eq!(rewrite.changes[0], "preserved /r/0/t in the record of the migration");
    let record = String::from_utf8(rewrite.preserved_record().expect("there are values")).expect("UTF-8");
    assert!(record.starts_with(r#"{"v":1,"values":[{"at":"/r/0/t","text":"1E-8"},"#), "{record}");
    for bad in ["to = \"/b\"\nrecord = true", "record = false", ""] {
        let step = format!("[[migration.step]]\nop = \"preserve\"\npath = \"/a\"\n{bad}");
        let bad = two_versions("", &step).map_err(|error| error.kind);
        assert!(matches!(bad, Err(PackErrorKind::OneOf { .. })), "{bad:?}");
    }
}

const TPS: &str = "op = \"compute\"\npath = \"/tps\"\nformula = \"tps-response-time\"\n\
    expression = \"(tokens * 1000.0) / ms\"\narithmetic = \"ieee754\"\ninvalid = \"null\"";

#[test]
fn compute_writes_the_formula_s_value_and_names_the_formula() {
    assert_eq!(
        gives(TPS, r#""tokens":100,"ms":333,"tps":1"#, r#""tokens":100,"ms":333,"tps":300.3003003003003"#),
        ["computed /tps as 300.3003003003003 by the formula tps-response-time, replacing 1"]
    );
    gives(TPS, r#""tokens":1,"ms":500"#, r#""tokens":1,"ms":500,"tps":2.0"#);
    assert!(gives(TPS, r#""tokens":1,"ms":500,"tps":2.0"#, r#""tokens":1,"ms":500,"tps":2.0"#).is_empty());
    let after = format!("{TPS}\nafter = \"tokens\"");
    gives(&after, r#""tokens":1,"ms":500"#, r#""tokens":1,"tps":2.0,"ms":500"#);
}

#[test]
fn compute_without_a_value_does_what_the_step_says() {
    for members in [
        r#""tokens":1,"ms":0,"tps":7"#,
        r#""tokens":1,"ms":null,"tps":7"#,
        r#""tokens":"9","ms":1,"tps":7"#,
        r#""tokens":1e308,"ms":1,"tps":7"#,
        r#""ms":1,"tps":7"#,
    ] {
        let nulled = members.replace("\"tps\":7", "\"tps\":null");
        assert_eq!(gives(TPS, members, &nulled).len(), 1);
        assert!(gives(&TPS.replace("null", "keep"), members, members).is_empty());
        let failed = problem(&TPS.replace("null", "fail"), members);
        assert!(matches!(failed, StepProblem::NotComputed { .. }), "{failed}");
    }
    let when = format!("{TPS}\nwhen = [{{ at = \"/ms\", differs = 0 }}]");
    assert!(gives(&when, r#""tokens":1,"ms":0"#, r#""tokens":1,"ms":0"#).is_empty());
}

#[test]
fn compute_sees_the_steps_before_it_and_the_document_around_it() {
    let steps = "op = \"rename\"\npath = \"/tokens_total\"\nto = \"tokens\"---".to_owned() + TPS;
    gives(&steps, r#""tokens_total":1,"ms":1"#, r#""tokens":1,"ms":1,"tps":1000.0"#);
    let each = "op = \"compute\"\npath = \"/r/*/n\"\nformula = \"f\"\nexpression = \"k + $.add + it\"\n\
        arithmetic = \"exact\"\nscale = 1\nrounding = \"half-even\"\ninvalid = \"keep\"";
    gives(each, r#""add":1,"r":[{"k":0.15,"n":1},{"k":2}]"#, r#""add":1,"r":[{"k":0.15,"n":2.2},{"k":2}]"#);
    let element = each.replace("/r/*/n", "/r/*").replace("k + $.add + it", "it * add");
    gives(&element, r#""add":2,"r":[1,"x",1.5]"#, r#""add":2,"r":[2.0,"x",3.0]"#);
    let lines = "op = \"compute\"\npath = \"/e/list\"\nformula = \"lines\"\nexpression = \"lines(freeze)\"\n\
        arithmetic = \"ieee754\"\ninvalid = \"fail\"";
    gives(
        lines,
        r#""e":{"freeze":"a==1\nb==2\n"}"#,
        r#""e":{"freeze":"a==1\nb==2\n","list":["a==1","b==2"]}"#,
    );
}

#[test]
fn compute_errors_point_into_the_expression() {
    let load = |line: &str| {
        let step = format!(
            "[[migration.step]]\nop = \"compute\"\npath = \"/a\"\nformula = \"f\"\n\
            arithmetic = \"ieee754\"\ninvalid = \"null\"\n{line}"
        );
        two_versions("", &step).map(|_| ()).expect_err("refused")
    };
    for (line, at) in [
        ("expression = \"a % b\"", (23, 17)),
        ("expression = '\"é\" % b'", (23, 19)),
        ("expression = \"'\\u00e9\\\"' % b\"", (23, 26)),
        ("expression = \"\"\"\na +\n  % b\"\"\"", (25, 3)),
        ("expression = \"\"\"a \\\n   % b\"\"\"", (24, 4)),
    ] {
        let error = load(line);
        assert!(matches!(error.kind, PackErrorKind::Expression(ExprErrorKind::Character { found: '%' })));
        assert_eq!((error.line, error.column), at, "{line}");
    }
}

#[test]
fn compute_of_a_measured_or_frozen_member_is_refused_when_the_pack_is_loaded() {
    for (fields, want_measured) in [("measured = [\"/tps\"]", true), ("frozen = [\"/tps\"]", false)] {
        let kind = two_versions(&format!("[fields]\n{fields}"), &format!("[[migration.step]]\n{TPS}"))
            .map_err(|error| error.kind);
        match kind {
            Err(PackErrorKind::Measured { .. }) => assert!(want_measured),
            Err(PackErrorKind::Frozen { .. }) => assert!(!want_measured),
            other => panic!("{other:?}"),
        }
    }
    let bad = |from: &str, to: &str| {
        two_versions("", &format!("[[migration.step]]\n{}", TPS.replace(from, to))).map_err(|e| e.kind)
    };
    assert!(matches!(bad("ieee754", "exact"), Err(PackErrorKind::MissingKey { key: "scale" })));
    assert!(matches!(bad("ieee754", "float"), Err(PackErrorKind::BadValue { .. })));
    assert!(matches!(bad("invalid = \"null\"", ""), Err(PackErrorKind::MissingKey { key: "invalid" })));
}

#[test]
fn for_each_does_its_steps_at_every_child() {
    let steps = "op = \"for_each\"\npath = \"/r\"\nwhen = [{ present = \"/on\" }]\n\
        [[migration.step.step]]\nop = \"rename\"\npath = \"/a\"\nto = \"b\"\n\
        [[migration.step.step]]\nop = \"preserve\"\npath = \"/c\"\nto = \"/old/c\"\n\
        when = [{ at = \"/c\", differs = 1 }]\n\
        [[migration.step.step]]\nop = \"for_each\"\npath = \"/in\"\n\
        [[migration.step.step.step]]\nop = \"cast\"\npath = \"\"\nto = \"string\"";
    gives(
        steps,
        r#""on":1,"r":[{"a":1,"c":2},{"c":1},{"a":2,"in":[1,"x"]}]"#,
        r#""on":1,"r":[{"b":1,"old":{"c":2}},{"c":1},{"b":2,"in":["1","x"]}]"#,
    );
    gives(steps, r#""r":[{"a":1}]"#, r#""r":[{"a":1}]"#);
    let failing = "op = \"for_each\"\npath = \"/r\"\n[[migration.step.step]]\nop = \"require\"\n\
        that = [{ present = \"/k\" }]\ntext = \"rows have k\"";
    assert!(matches!(problem(failing, r#""r":[{"k":1},{}]"#), StepProblem::Required { .. }));
    gives(failing, r#""r":[{"k":1}]"#, r#""r":[{"k":1}]"#);
    let empty = two_versions("", "[[migration.step]]\nop = \"for_each\"\npath = \"/r\"");
    assert!(matches!(empty.map_err(|e| e.kind), Err(PackErrorKind::MissingKey { key: "step" })));
}

#[test]
fn entries_turns_an_object_into_a_list_and_back() {
    let step =
        |to: &str| format!("op = \"entries\"\npath = \"/a\"\nto = \"{to}\"\nkey = \"name\"\nvalue = \"n\"");
    let (object, list) =
        (r#""a":{"x/y":1E-8,"é":"\/"}"#, r#""a":[{"name":"x/y","n":1E-8},{"name":"é","n":"\/"}]"#);
    assert_eq!(gives(&step("list"), object, list), ["turned /a into a list of its entries"]);
    gives(&step("object"), list, object);
    assert!(gives(&step("list"), list, list).is_empty());
    gives(&step("list"), r#""a":{}"#, r#""a":[]"#);
    for (to, bad) in [
        ("list", "1"),
        ("object", "1"),
        ("object", r#"[{"name":"x","n":1},{"name":"x","n":2}]"#),
        ("object", r#"[{"name":1,"n":1}]"#),
        ("object", r#"[{"name":"x"}]"#),
        ("object", r#"[{"name":"x","n":1,"more":2}]"#),
    ] {
        let problem = problem(&step(to), &format!("\"a\":{bad}"));
        assert!(matches!(problem, StepProblem::NotEntries { .. }), "{bad}: {problem}");
    }
}

#[test]
fn from_version_writes_the_version_that_the_migration_found() {
    let step = "op = \"default\"\npath = \"/migrated_from\"\nfrom_version = true";
    assert_eq!(gives(step, r#""b":1"#, r#""b":1,"migrated_from":"1""#), ["added /migrated_from as \"1\""]);
    let both = two_versions("", &format!("[[migration.step]]\n{step}\nvalue = 1"));
    assert!(matches!(both.map_err(|e| e.kind), Err(PackErrorKind::OneOf { .. })));
}
