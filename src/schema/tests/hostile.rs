//! Packs that declare what no pack may do: each is refused, and the invariant is named.

use proptest::prelude::*;

use super::*;
use crate::base::canonical::inputs_hash;
use crate::base::digest::Sha256;
use crate::base::json::{Pointer, scan};
use crate::schema::invariant::{Allowed, Files, Invariant, Violation, check};

const BRIEF: &str = "job_id: j-1\n";

/// A sound manifest, with a label of its own for packs that are not sigilzero's.
fn manifest() -> String {
    let digest = Sha256::of(BRIEF.as_bytes());
    let hash = inputs_hash([("brief", &digest)]);
    let run = &hash.hex()[..32];
    let other = Sha256::of(b"other");
    format!(
        r#"{{"v":"1","schema_version":"1.1.0","run_id":"{run}","job_id":"j-1","job_ref":"jobs/j-1/brief.yaml","job_type":"t","status":"succeeded","inputs_hash":"{hash}","brief_hash":"{other}","input_snapshots":{{"brief":{{"path":"inputs/brief.yaml","sha256":"{digest}","bytes":12}}}},"doctrine":{{"doctrine_id":"d","version":"v1","sha256":"{other}"}},"artifacts":{{"o":{{"path":"outputs/o","sha256":"{other}"}}}},"meta":{{"kept":1.10}},"error":null,"not_in_the_schema":[1E-8]}}"#
    )
}

fn known_files() -> Facts {
    facts(&[("inputs/brief.yaml", BRIEF), ("outputs/o", "other")])
}

/// What one hostile step comes to, on a pack that knows the manifest's schema.
fn attempt(step: &str, text: &str) -> Outcome {
    let files = pack_files("sigilzero").expect("built in");
    let schema = String::from_utf8(files["1.1.0.schema.json"].clone()).expect("UTF-8");
    let schema = schema.replace("\"job_id\",", "").replace("\"run_id\",", "").replace("\"job_ref\",", "");
    let pack = two_versions_with(&schema, "", &format!("[[migration.step]]\n{step}")).expect("loads");
    pack.migrate(text.as_bytes(), None, &known_files(), None)
}

fn broken(step: &str, text: &str) -> Vec<Violation> {
    match refused(attempt(step, text)) {
        Refusal::Invariant { violations, .. } => violations,
        other => panic!("{step}: {other}"),
    }
}

#[test]
fn hostile_step_on_each_protected_member_is_refused_by_the_invariant_s_name() {
    use Invariant as I;
    let text = manifest();
    for (path, invariant) in [
        ("/run_id", I::RunId),
        ("/job_id", I::JobId),
        ("/inputs_hash", I::RecordedDigests),
        ("/input_snapshots", I::InputSnapshots),
        ("/input_snapshots/brief", I::InputSnapshots),
        ("/input_snapshots/brief/path", I::InputSnapshots),
        ("/input_snapshots/brief/sha256", I::InputSnapshots),
        ("/input_snapshots/brief/bytes", I::InputSnapshots),
        ("/input_snapshots/extra", I::InputSnapshots),
        ("/doctrine", I::RecordedDigests),
        ("/doctrine/doctrine_id", I::RecordedDigests),
        ("/doctrine/sha256", I::RecordedDigests),
        ("/doctrine/extra", I::RecordedDigests),
        ("/brief_hash", I::RecordedDigests),
        ("/artifacts/o/sha256", I::RecordedDigests),
        ("/artifacts", I::RecordedDigests),
        ("/not_in_the_schema", I::KeepsText),
        ("/meta/kept", I::KeepsText),
    ] {
        let mut steps = vec![format!("op = \"set\"\npath = \"{path}\"\nvalue = \"x\"")];
        if !path.ends_with("extra") {
            steps.push(format!("op = \"remove\"\npath = \"{path}\"\nreason = \"r\""));
        }
        for step in steps {
            let violations = broken(&step, &text);
            assert!(violations.iter().any(|v| v.invariant == invariant), "{step}: {violations:?}");
            let message = refused(attempt(&step, &text)).to_string();
            assert!(message.contains(invariant.name()), "{message}");
        }
    }
    for (path, invariant) in [
        ("/run_id", I::RunId),
        ("/job_id", I::JobId),
        ("/inputs_hash", I::RecordedDigests),
        ("/input_snapshots", I::InputSnapshots),
        ("/doctrine", I::RecordedDigests),
    ] {
        for step in [
            format!("op = \"rename\"\npath = \"{path}\"\nto = \"elsewhere\""),
            format!("op = \"move\"\npath = \"{path}\"\nto = \"/meta/elsewhere\""),
        ] {
            assert!(broken(&step, &text).iter().any(|v| v.invariant == invariant), "{step}");
        }
    }
}

#[test]
fn hostile_migration_of_many_steps_is_refused_with_every_invariant_named() {
    let gone = ["run_id", "job_id", "inputs_hash", "input_snapshots", "brief_hash", "not_in_the_schema"];
    let steps = gone.map(|key| format!("op = \"remove\"\npath = \"/{key}\"\nreason = \"r\""));
    let violations = broken(&steps.join("\n[[migration.step]]\n"), &manifest());
    let mut named: Vec<_> = violations.iter().map(|v| v.invariant.number()).collect();
    named.dedup();
    assert_eq!(named, [1, 2, 3, 4, 7]);
}

#[test]
fn digest_replaced_after_its_value_was_moved_away_is_refused() {
    let fake = Sha256::of(b"fake");
    let steps = format!(
        "op = \"rename\"\npath = \"/brief_hash\"\nto = \"old_hash\"\n[[migration.step]]\nop = \"default\"\npath = \"/brief_hash\"\nvalue = \"{fake}\""
    );
    let violations = broken(&steps, &manifest());
    assert_eq!(violations.iter().map(|v| v.invariant).collect::<Vec<_>>(), [Invariant::RecordedDigests]);
    let swap = "op = \"rename\"\npath = \"/status\"\nto = \"t\"\n[[migration.step]]\nop = \"rename\"\npath = \"/not_in_the_schema\"\nto = \"status\"\n[[migration.step]]\nop = \"rename\"\npath = \"/t\"\nto = \"not_in_the_schema\"";
    let violations = broken(swap, &manifest());
    assert_eq!(violations.iter().map(|v| v.invariant).collect::<Vec<_>>(), [Invariant::KeepsText]);
}

#[test]
fn label_or_history_in_the_place_of_an_id_is_refused_when_the_pack_is_loaded() {
    for member in ["job_id", "run_id", "input_snapshots/v"] {
        let pack = two_versions(&format!("[history]\nat = \"/{member}\""), "");
        assert!(matches!(pack.map_err(|e| e.kind), Err(PackErrorKind::BadValue { .. })), "{member}");
    }
    let text =
        "[pack]\nname = \"t\"\nversion = \"1\"\nversion_at = \"/job_id\"\nhead = \"1\"\norder = \"graph\"";
    let error = parse(&[("pack.toml", text)]).map_err(|e| (e.line, e.kind));
    assert!(matches!(error, Err((4, PackErrorKind::BadValue { .. }))));
}

#[test]
fn values_made_up_where_nothing_was_recorded_are_refused() {
    use Invariant as I;
    let without = |key: &str| {
        let text = manifest();
        let doc = scan(text.as_bytes()).expect("valid");
        let mut edits = crate::base::json::Edits::new(&doc);
        edits.remove(doc.root().get(key).expect("present"));
        String::from_utf8(edits.apply().expect("applies").bytes).expect("UTF-8")
    };
    let default = |path: &str, value: &str| format!("op = \"default\"\npath = \"{path}\"\njson = '{value}'");
    let fake = r#"{"brief":{"path":"inputs/brief.yaml","sha256":"sha256:0000000000000000000000000000000000000000000000000000000000000000","bytes":12}}"#;
    for (key, value, invariant) in [
        ("job_id", "\"no/id\"", I::JobId),
        ("job_id", "{}", I::JobId),
        ("run_id", "\"x\"", I::RunId),
        ("doctrine", "{\"sha256\":\"x\"}", I::RecordedDigests),
        ("input_snapshots", fake, I::InputSnapshots),
    ] {
        let violations = broken(&default(&format!("/{key}"), value), &without(key));
        assert!(violations.iter().any(|v| v.invariant == invariant), "{key}: {violations:?}");
    }
    let hash = Sha256::of(b"made up");
    let violations = broken(&default("/inputs_hash", &format!("\"{hash}\"")), &without("inputs_hash"));
    assert_eq!(violations.iter().map(|v| v.invariant).collect::<Vec<_>>(), [I::RunId, I::RecordedDigests]);

    // The same members, filled with what is true, are taken.
    assert!(matches!(attempt(&default("/job_id", "\"j-1\""), &without("job_id")), Outcome::Rewrite(_)));
    let true_hash =
        scan(manifest().as_bytes()).expect("valid").root().get("inputs_hash").map(|n| n.raw().to_owned());
    let step = default("/inputs_hash", &true_hash.expect("present"));
    assert!(matches!(attempt(&step, &without("inputs_hash")), Outcome::Rewrite(_)));
}

#[test]
fn run_id_not_derived_from_inputs_hash_is_refused_whatever_changes() {
    let text = manifest();
    let doc = scan(text.as_bytes()).expect("valid");
    let run = doc.root().get("run_id").and_then(|n| n.as_str()).expect("present").into_owned();
    let step = "op = \"default\"\npath = \"/new\"\nvalue = 1";
    for (other, sound) in [
        (format!("{run}-2"), true),
        (format!("{run}-17"), true),
        (format!("{run}-02"), false),
        (format!("{run}-1"), false),
        (format!("{run}-x"), false),
        (run[1..].to_owned(), false),
        ("575fc3b9-1d70-42de-a69c-c377ffce9d2f".to_owned(), false),
    ] {
        let text = text.replace(&format!("\"run_id\":\"{run}\""), &format!("\"run_id\":\"{other}\""));
        match attempt(step, &text) {
            Outcome::Rewrite(_) => assert!(sound, "{other} was taken"),
            Outcome::Refused(Refusal::Invariant { violations, .. }) => {
                assert!(!sound, "{other} was refused");
                assert_eq!(violations[0].invariant, Invariant::RunId);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn check_of_files_that_changed_names_each() {
    let text = manifest();
    let doc = scan(text.as_bytes()).expect("valid");
    let before = known_files().files;
    let mut after = before.clone();
    after[0] = file("inputs/brief.yaml", b"edited");
    after.push(file("inputs/new", b""));
    let files = Files { before: &before, after: &after };
    let violations = check(&doc, &doc, Some(files), &Allowed::NOTHING);
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].invariant, Invariant::InputSnapshots);
    let gone = Files { before: &before, after: &before[1..] };
    assert_eq!(check(&doc, &doc, Some(gone), &Allowed::NOTHING)[0].after, None);
    let outputs = Files { before: &before, after: &before[..1] };
    assert!(check(&doc, &doc, Some(outputs), &Allowed::NOTHING).is_empty());
}

#[test]
fn frozen_member_below_a_removed_element_is_refused_when_the_pack_is_loaded() {
    let text = "[[migration.step]]\nop = \"rename\"\npath = \"/b\"\nto = \"c\"\n[[migration.step]]\nop = \"remove\"\npath = \"/list/*\"\nreason = \"r\"\nwhen = [{ at = \"/list/*\", equals = 1 }]";
    let schema = r#"{"properties":{"list":{"items":{}},"b":{}}}"#;
    let pack = two_versions_with(schema, "[fields]\nfrozen = [\"/list/0/x\"]", text);
    assert!(matches!(pack.map_err(|e| e.kind), Err(PackErrorKind::Frozen { .. })));
}

fn scalars<'d>(node: crate::base::json::Node<'d>) -> Vec<&'d str> {
    if node.is_empty() && node.children().next().is_none() {
        return vec![node.raw()];
    }
    node.children().flat_map(scalars).collect()
}

fn any_step() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "/run_id",
        "/job_id",
        "/inputs_hash",
        "/input_snapshots",
        "/input_snapshots/*",
        "/doctrine/*",
        "/brief_hash",
        "/artifacts/*/sha256",
        "/not_in_the_schema",
        "/not_in_the_schema/*",
        "/meta",
        "/meta/*",
        "/error",
        "/status",
        "/job_type",
        "/*",
        "/new",
        "/new/deeper",
    ]);
    let other =
        prop::sample::select(vec!["/meta/x", "/status", "/moved", "/run_id", "/doctrine/x", "/error"]);
    let op = prop::sample::select(vec![
        "op = \"set\"\nvalue = 1",
        "op = \"set\"\nvalue = \"succeeded\"",
        "op = \"default\"\nvalue = { a = [] }",
        "op = \"default\"\njson = 'null'\nalso_null = true",
        "op = \"remove\"\nreason = \"r\"",
        "op = \"rename\"\nto = \"z\"",
        "op = \"rename\"\nto = \"run_id\"",
        "op = \"move\"\nto = \"OTHER\"",
        "op = \"copy\"\nto = \"OTHER\"",
        "op = \"preserve\"\nto = \"OTHER\"",
        "op = \"map\"\ntable = { succeeded = \"ok\" }\notherwise = \"keep\"",
        "op = \"map\"\ntable = {}\notherwise_value = 0",
        "op = \"cast\"\nto = \"string\"",
    ]);
    (op, path, other).prop_map(|(op, path, other)| {
        format!("[[migration.step]]\npath = \"{path}\"\n{}", op.replace("OTHER", other))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_no_generated_migration_gets_past_the_invariants(steps in prop::collection::vec(any_step(), 1..4)) {
        let Ok(pack) = two_versions("", &steps.join("\n")) else { return Ok(()) };
        let text = manifest();
        let outcome = pack.migrate(text.as_bytes(), None, &known_files(), None);
        let Outcome::Rewrite(rewrite) = outcome else { return Ok(()) };
        let (before, after) = (scan(text.as_bytes()).expect("valid"), scan(&rewrite.bytes).expect("valid"));
        for kept in ["run_id", "job_id", "inputs_hash", "input_snapshots", "doctrine"] {
            let raw = |doc: &crate::base::json::Doc<'_>| doc.root().get(kept).map(|node| node.raw().to_owned());
            prop_assert_eq!(raw(&before), raw(&after));
        }
        // The schema here describes nothing, so whatever was there is there still, moved at most.
        let whole = String::from_utf8(rewrite.bytes.clone()).expect("UTF-8");
        for member in before.root().members().filter(|m| m.key() != "v") {
            for scalar in scalars(member.value()) {
                prop_assert!(whole.contains(scalar), "{} of {} is gone", scalar, member.key());
            }
        }
        prop_assert!(rewrite.touched.contains(&Pointer::from_tokens(["v"])));
        let again = pack.migrate(&rewrite.bytes, None, &known_files(), None);
        prop_assert_eq!(again, Outcome::Current { version: "2".to_owned() });
    }
}

/// Looked into by every way, such a schema has more ways than anyone can wait for.
#[test]
fn schema_that_refers_to_itself_by_many_ways_is_looked_into_once() {
    let ways = [r##"{"$ref":"#"}"##; 5].join(",");
    let schema = format!(
        r#"{{"type":"object","anyOf":[{ways}],"oneOf":[{ways}],"properties":{{"v":{{}},"a":{{"allOf":[{ways}]}}}}}}"#
    );
    let step = "[[migration.step]]\nop = \"set\"\npath = \"/a/a/b\"\nvalue = 1\n";
    let pack = two_versions_with(&schema, "", step).expect("loads");
    let text = format!(r#"{{"v":"1","a":{}1{}}}"#, r#"{"a":"#.repeat(40), "}".repeat(40));
    let doc = scan(text.as_bytes()).expect("JSON");
    assert_eq!(pack.undescribed(&doc, "1"), []);
    let unknown = text.replace("1}", r#"{"x":1}}"#);
    assert_eq!(pack.undescribed(&scan(unknown.as_bytes()).expect("JSON"), "1").len(), 1);
}

/// The validator tells of any of several, in whatever order it meets them.
#[test]
fn schema_with_references_that_lead_out_of_it_is_refused_at_the_first_of_them() {
    let refused = |schema: &str| two_versions_with(schema, "", "").expect_err("refused").to_string();
    let elsewhere = r#"{"const":{"$ref":"no"},"allOf":[{"$ref":"a"},{"$ref":"other#"},{"$ref":"x:y"}]}"#;
    for _ in 0..20 {
        let found = refused(elsewhere);
        let told = ":1:41: not a JSON Schema: $ref a leads out of the schema; put what it names under $defs";
        assert!(found.contains(told), "{found}");
    }
    // It may be another's, where parts of the schema have names; then none is blamed.
    let named = refused(r#"{"$defs":{"a":{"$id":"a"}},"allOf":[{"$ref":"a"},{"$ref":"x:y"}]}"#);
    assert!(named.contains(":1:1: not a JSON Schema: a $ref leads out of the schema"), "{named}");
    // What else is wrong with references the validator says itself.
    for (schema, told) in [
        (
            r##"{"allOf":[{"$ref":"#/$defs/a"}]}"##,
            ":1:19: not a JSON Schema: Pointer '/$defs/a' does not exist",
        ),
        (r##"{"allOf":[{"$ref":"#a"}]}"##, "Anchor 'a' does not exist"),
        (r#"{"$schema":"x:y"}"#, "x:y"),
    ] {
        let found = refused(schema);
        assert!(found.contains(told) && !found.contains("leads out"), "{found}");
    }
}
