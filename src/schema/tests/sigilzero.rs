//! The sigilzero pack on small manifests of our own, real ones and generated ones alike in shape.

use proptest::prelude::*;

use super::history::{ChecksumForm, HistoryState};
use super::*;
use crate::base::canonical::inputs_hash;
use crate::base::digest::Sha256;
use crate::base::json;
use crate::base::json::tests::any_json;
use crate::base::json::{Doc, Edits, scan};
use crate::schema::invariant::Invariant;

const OLD: &str = r#"{
  "schema_version": "1.0.0",
  "run_id": "575fc3b9-1d70-42de-a69c-c377ffce9d2f",
  "job_ref": "jobs/ig-test-001/brief.yaml",
  "job_type": "instagram_copy",
  "status": "succeeded",
  "took": 1.10e-08,
  "artifacts": {},
  "meta": {},
  "error": null
}"#;

const BRIEF: &str = "schema_version: \"1.0.0\"\njob_id: \"ig-test-001\"\nblocks:\n  - name: x\n    content: |\n      text [\n";

fn old_facts() -> Facts {
    facts(&[("inputs/brief.yaml", BRIEF), ("outputs/a.md", "x")])
}

fn detected(text: &str) -> Detection {
    sigilzero().detect(&scan(text.as_bytes()).expect("valid"))
}

fn known(version: &str, variant: Option<&str>) -> Detection {
    Detection::Known { version: version.to_owned(), variant: variant.map(str::to_owned) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The document without its history, for comparing routes.
fn without_history(bytes: &[u8]) -> Vec<u8> {
    let doc: Doc<'_> = scan(bytes).expect("valid");
    let Some(history) = doc.root().get("migration_history") else { return bytes.to_vec() };
    let mut edits = Edits::new(&doc);
    edits.remove(history);
    edits.apply().expect("applies").bytes
}

#[test]
fn migration_of_an_old_manifest_backfills_and_says_so() {
    let rewrite = rewritten(sigilzero().migrate(OLD.as_bytes(), None, &old_facts(), Some(&stamp())));
    assert_eq!((rewrite.from.as_str(), rewrite.to.as_str()), ("1.0.0", "1.2.0"));
    assert_eq!(rewrite.path, ["1.0.0", "1.2.0"]);
    assert_eq!(
        rewrite.changes,
        [
            "backfilled /job_id from inputs/brief.yaml",
            "backfilled /input_snapshots from 1 file below inputs/",
            "added /inputs_hash as null",
            "added /chain_metadata as {\"is_chainable_stage\":false,\"prior_stages\":[]}",
            "set /schema_version to \"1.2.0\", replacing \"1.0.0\"",
        ]
    );
    let out = text(&rewrite.bytes);
    assert!(out.starts_with("{\n  \"schema_version\": \"1.2.0\",\n  \"run_id\": \"575f"), "{out}");
    assert!(out.contains("\n  \"took\": 1.10e-08,\n"));
    assert!(out.contains("\n  \"job_id\": \"ig-test-001\",\n  \"input_snapshots\": {\n    \"brief\": {\n      \"path\": \"inputs/brief.yaml\",\n"));
    assert!(out.ends_with("\n    }\n  ]\n}"));
    assert_eq!(rewrite.digest(), Sha256::of(&rewrite.bytes));
    let names: Vec<_> = rewrite.touched.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "/schema_version",
            "/job_id",
            "/input_snapshots",
            "/inputs_hash",
            "/chain_metadata",
            "/migration_history"
        ]
    );
    let again = sigilzero().migrate(&rewrite.bytes, None, &old_facts(), Some(&stamp()));
    assert_eq!(again, Outcome::Current { version: "1.2.0".to_owned() });
}

#[test]
fn history_record_is_written_as_the_layout_says_and_verifies() {
    let rewrite = rewritten(sigilzero().migrate(OLD.as_bytes(), None, &old_facts(), Some(&stamp())));
    let doc = scan(&rewrite.bytes).expect("valid");
    let record = doc.root().get("migration_history").and_then(|h| h.element(0)).expect("present");
    let keys: Vec<_> = record.members().map(|m| m.key().into_owned()).collect();
    assert_eq!(
        keys,
        [
            "from_version",
            "to_version",
            "path",
            "applied_at",
            "changes",
            "checksum_before",
            "checksum_after",
            "checksum_form",
            "pack",
        ]
    );
    let value = |key: &str| record.get(key).and_then(|n| n.as_str()).expect("a string").into_owned();
    assert_eq!(value("applied_at"), "2026-02-28T17:33:20.123Z");
    assert_eq!(value("checksum_before"), Sha256::of(OLD.as_bytes()).to_string());
    let stated = rewrite.checksum_after.expect("stamped");
    assert_eq!(value("checksum_after"), stated.to_string());
    let zeroed = text(&rewrite.bytes).replace(&stated.hex(), &"0".repeat(64));
    assert_eq!(Sha256::of(zeroed.as_bytes()), stated);
    assert_eq!(
        record.get("pack").and_then(|p| p.get("digest")).and_then(|n| n.as_str()).as_deref(),
        Some(sigilzero().digest().to_string().as_str())
    );

    let checks = |bytes: &[u8]| history::check(&json::scan(bytes).expect("valid"), sigilzero());
    let form = ChecksumForm::Sha256Zeroed;
    assert_eq!(checks(&rewrite.bytes)[0].state, HistoryState::Verified { form });
    let edited = text(&rewrite.bytes).replace("succeeded", "failed");
    assert!(matches!(checks(edited.as_bytes())[0].state, HistoryState::Differs { .. }));
    assert!(checks(OLD.as_bytes()).is_empty());
}

#[test]
fn history_of_two_rewrites_verifies_the_last_and_chains_by_digest() {
    let first = rewritten(sigilzero().migrate(OLD.as_bytes(), Some("1.1.0"), &old_facts(), Some(&stamp())));
    let second = rewritten(sigilzero().migrate(&first.bytes, None, &old_facts(), Some(&stamp())));
    let checks = history::check(&json::scan(&second.bytes).expect("valid"), sigilzero());
    assert_eq!(checks[0].state, HistoryState::NeedsRevision);
    assert_eq!(checks[1].state, HistoryState::Verified { form: ChecksumForm::Sha256Zeroed });
    let doc = json::scan(&second.bytes).expect("valid");
    let before = doc.at(&"/migration_history/1/checksum_before".parse().expect("valid")).expect("there");
    assert_eq!(before.as_str().as_deref(), Some(first.digest().to_string().as_str()));
    let direct = rewritten(sigilzero().migrate(OLD.as_bytes(), None, &old_facts(), Some(&stamp())));
    assert_eq!(text(&without_history(&direct.bytes)), text(&without_history(&second.bytes)));
}

#[test]
fn history_that_is_malformed_is_reported_by_record() {
    let with = |history: &str| {
        let text = OLD.replace("\"error\": null", &format!("\"migration_history\": {history}"));
        history::check(&json::scan(text.as_bytes()).expect("valid"), sigilzero())
    };
    assert!(matches!(with("7")[0].state, HistoryState::Malformed { .. }));
    assert!(matches!(with("[{}]")[0].state, HistoryState::Malformed { .. }));
    let digest = Sha256::of(b"");
    let odd = format!("[{{\"checksum_after\":\"{digest}\",\"checksum_form\":\"md5\"}}]");
    assert!(matches!(with(&odd)[0].state, HistoryState::Malformed { .. }));
    let none = format!("[{{\"checksum_after\":\"{digest}\"}}]");
    assert!(matches!(with(&none)[0].state, HistoryState::Differs { .. }));
}

#[test]
fn job_id_comes_from_the_brief_else_from_job_ref_else_the_document_is_refused() {
    let job = |facts: &Facts, text: &str| {
        rewritten(sigilzero().migrate(text.as_bytes(), None, facts, None)).changes[0].clone()
    };
    assert_eq!(job(&Facts::default(), OLD), "backfilled /job_id from /job_ref");
    let resolved = facts(&[("inputs/brief.resolved.json", "{\"job_id\":\"x\"}")]);
    assert_eq!(job(&resolved, OLD), "backfilled /job_id from inputs/brief.resolved.json");
    let unfit = facts(&[("inputs/brief.yaml", "job_id: ../x")]);
    assert_eq!(job(&unfit, OLD), "backfilled /job_id from /job_ref");
    let elsewhere = OLD.replace("jobs/ig-test-001/brief.yaml", "somewhere/else.yaml");
    let refusal = refused(sigilzero().migrate(elsewhere.as_bytes(), None, &unfit, None));
    let Refusal::Step { problem: StepProblem::NoFact { tried, .. }, .. } = &refusal else {
        panic!("{refusal}")
    };
    assert_eq!(tried.len(), 3, "{refusal}");
}

#[test]
fn detection_tells_every_shape_and_never_guesses() {
    assert_eq!(detected(OLD), known("1.0.0", None));
    let new = OLD.replace("1.0.0", "1.1.0").replace("\"error\"", "\"job_id\": \"j\", \"error\"");
    let with = |more: &str| new.replace("\"error\"", &format!("{more} \"error\""));
    assert_eq!(detected(&new), known("1.1.0", Some("a")));
    assert_eq!(detected(&with("\"generation_metadata\": {},")), known("1.1.0", Some("b")));
    assert_eq!(detected(&with("\"chain_metadata\": {},")), known("1.1.0", Some("c")));
    assert_eq!(
        detected(&with("\"chain_metadata\": {}, \"migration_history\": [],")),
        known("1.1.0", Some("d"))
    );
    let label = |label: &str| detected(&OLD.replace("\"1.0.0\"", label));
    for newer in ["1.2.1", "1.10.0", "10.0.0", "2.0.0-rc.1"] {
        assert_eq!(label(&format!("\"{newer}\"")), Detection::Newer { label: newer.to_owned() });
    }
    for unknown in ["1.0.1", "0.9.0", "1.1.0-beta", "one", ""] {
        assert_eq!(label(&format!("\"{unknown}\"")), Detection::UnknownVersion { label: unknown.to_owned() });
    }
    assert!(matches!(label("1.0"), Detection::NotThisKind { .. }));
    assert!(matches!(label("null"), Detection::NotThisKind { .. }));
    assert!(matches!(detected("[]"), Detection::NotThisKind { .. }));
    assert!(matches!(detected("{}"), Detection::NotThisKind { .. }));
    assert!(matches!(detected(&new.replace("\"j\"", "7")), Detection::Misfit { .. }));
    let nested = with(
        "\"migration_history\": [{\"from_version\":\"1.0.0\",\"to_version\":\"1.1.0\",\"changes\":[[\"x\"]]}],",
    );
    let Detection::Misfit { version, reasons } = detected(&nested) else { panic!("it fits") };
    assert_eq!(version, "1.1.0");
    assert!(reasons[0].starts_with("/migration_history/0/changes/0: "), "{reasons:?}");
}

#[test]
fn refusal_of_a_newer_or_unknown_version_says_exactly_that() {
    let run = |label: &str| {
        let text = OLD.replace("\"1.0.0\"", &format!("\"{label}\""));
        refused(sigilzero().migrate(text.as_bytes(), None, &old_facts(), None)).to_string()
    };
    assert_eq!(run("10.0.0"), "version \"10.0.0\" is newer than the pack");
    assert_eq!(run("1.0.5"), "unknown version \"1.0.5\"");
    let down = rewritten(sigilzero().migrate(OLD.as_bytes(), None, &old_facts(), None));
    assert_eq!(
        refused(sigilzero().migrate(&down.bytes, Some("1.0.0"), &old_facts(), None)).to_string(),
        "the pack sigilzero declares no migrations that lead from 1.2.0 to 1.0.0"
    );
    let refusal = refused(sigilzero().migrate(b"{\"a\":1,\"a\":2}", None, &old_facts(), None));
    assert!(matches!(refusal, Refusal::NotJson(_)));
}

#[test]
fn document_without_a_label_is_told_by_its_shape_and_gets_its_label() {
    let unlabelled = OLD.replace("\"schema_version\": \"1.0.0\",\n  ", "");
    let Detection::Legacy { version, rule, .. } = detected(&unlabelled) else { panic!("not legacy") };
    assert_eq!((version.as_str(), rule.as_str()), ("1.0.0", "no job"));
    let rewrite = rewritten(sigilzero().migrate(unlabelled.as_bytes(), None, &old_facts(), Some(&stamp())));
    assert_eq!(rewrite.changes[0], "labelled /schema_version as \"1.0.0\" by the rule \"no job\"");
    assert_eq!(detected(&text(&rewrite.bytes)), known("1.2.0", None));

    let head = rewritten(sigilzero().migrate(OLD.as_bytes(), None, &old_facts(), None));
    let stripped = text(&head.bytes).replace("\"schema_version\": \"1.2.0\",\n  ", "");
    let rewrite = rewritten(sigilzero().migrate(stripped.as_bytes(), None, &old_facts(), None));
    assert_eq!(rewrite.path, ["1.2.0"]);
    assert_eq!(rewrite.changes.len(), 1);
    let mid = rewritten(sigilzero().migrate(OLD.as_bytes(), Some("1.1.0"), &old_facts(), None));
    let stripped = text(&mid.bytes).replace("\"schema_version\": \"1.1.0\",\n  ", "");
    assert!(matches!(detected(&stripped), Detection::Legacy { version, .. } if version == "1.1.0"));
}

#[test]
fn document_with_snapshots_under_a_label_too_low_keeps_them() {
    let digest = Sha256::of(b"gone since");
    let hash = inputs_hash([("brief", &digest)]);
    let real = format!(
        "\"input_snapshots\": {{\"brief\": {{\"path\": \"inputs/old.json\", \"sha256\": \"{digest}\", \"bytes\": 10}}}}, \"inputs_hash\": \"{hash}\", \"error\""
    );
    let low =
        OLD.replace("575fc3b9-1d70-42de-a69c-c377ffce9d2f", &hash.hex()[..32]).replace("\"error\"", &real);
    for low in [low.clone(), low.replace("\"schema_version\": \"1.0.0\",", "\"job_id\": \"j\",")] {
        let rewrite = rewritten(sigilzero().migrate(low.as_bytes(), None, &old_facts(), Some(&stamp())));
        let (before, after) = (scan(low.as_bytes()).expect("valid"), scan(&rewrite.bytes).expect("valid"));
        for key in ["input_snapshots", "inputs_hash"] {
            assert_eq!(
                before.root().get(key).map(|n| n.raw().to_owned()),
                after.root().get(key).map(|n| n.raw().to_owned())
            );
        }
    }
}

#[test]
fn document_whose_run_id_is_not_its_hash_is_refused_by_invariant_2() {
    let text = OLD.replace("\"error\"", &format!("\"inputs_hash\": \"{}\", \"error\"", Sha256::of(b"")));
    let refusal = refused(sigilzero().migrate(text.as_bytes(), None, &old_facts(), None));
    let Refusal::Invariant { violations, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(violations[0].invariant, Invariant::RunId);
}

/// A manifest of version 1.0.0 or 1.1.0, with unknown members, in some order and layout.
fn any_manifest() -> impl Strategy<Value = (String, String)> {
    let extras = prop::collection::btree_map("x_[a-z]{1,4}", any_json(), 0..4);
    let layout = prop::sample::select(vec![("", ""), (" ", ""), (" ", "\n  "), (" ", "\r\n\t")]);
    (any::<bool>(), any::<[bool; 4]>(), extras, layout, any::<u64>(), any::<bool>()).prop_map(
        |(newer, [chain, generation, labelled, doctrine], extras, (colon, newline), seed, end)| {
            let digest = Sha256::of(&seed.to_be_bytes());
            let hash = inputs_hash([("brief", &digest)]);
            let run = if newer { hash.hex()[..32].to_owned() } else { format!("uuid-{seed}") };
            let mut members = vec![
                ("run_id".to_owned(), format!("\"{run}\"")),
                ("job_ref".to_owned(), "\"jobs/j-1/brief.yaml\"".to_owned()),
                ("job_type".to_owned(), "\"t\"".to_owned()),
                ("status".to_owned(), "\"succeeded\"".to_owned()),
                ("brief_hash".to_owned(), format!("\"{digest}\"")),
            ];
            let version = if newer { "1.1.0" } else { "1.0.0" };
            if labelled {
                members.push(("schema_version".to_owned(), format!("\"{version}\"")));
            }
            if newer {
                members.push(("job_id".to_owned(), "\"j-1\"".to_owned()));
                members.push(("inputs_hash".to_owned(), format!("\"{hash}\"")));
                let entry =
                    format!("{{\"brief\":{{\"bytes\":8,\"path\":\"inputs/b\",\"sha256\":\"{digest}\"}}}}");
                members.push(("input_snapshots".to_owned(), entry));
            }
            if newer && chain {
                members.push(("chain_metadata".to_owned(), "{\"prior_stages\":[]}".to_owned()));
            }
            if newer && generation {
                members.push(("generation_metadata".to_owned(), "{}".to_owned()));
            }
            if doctrine {
                let doctrine = format!("{{\"doctrine_id\":\"d\",\"version\":\"v\",\"sha256\":\"{digest}\"}}");
                members.push(("doctrine".to_owned(), doctrine));
            }
            members.extend(extras);
            members.sort_by_key(|(key, _)| Sha256::of(format!("{seed}{key}").as_bytes()));
            let lines: Vec<_> =
                members.iter().map(|(key, value)| format!("{newline}\"{key}\":{colon}{value}")).collect();
            let close = newline.trim_end_matches([' ', '\t']);
            let end = if end { "\n" } else { "" };
            (format!("{{{}{close}}}{end}", lines.join(",")), version.to_owned())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_migration_keeps_every_member_and_ends_at_the_head((manifest, _) in any_manifest()) {
        let before = scan(manifest.as_bytes()).expect("valid");
        let rewrite = match sigilzero().migrate(manifest.as_bytes(), None, &old_facts(), Some(&stamp())) {
            Outcome::Rewrite(rewrite) => rewrite,
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let after = scan(&rewrite.bytes).expect("valid");
        for member in before.root().members().filter(|m| m.key() != "schema_version") {
            let kept = after.root().get(&member.key()).map(|node| node.raw().to_owned());
            prop_assert_eq!(kept.as_deref(), Some(member.value().raw()));
        }
        prop_assert_eq!(sigilzero().detect(&after), known("1.2.0", None));
        prop_assert_eq!(manifest.ends_with('\n'), rewrite.bytes.ends_with(b"\n"));
        let state = &history::check(&json::scan(&rewrite.bytes).expect("valid"), sigilzero())[0].state;
        prop_assert_eq!(state, &HistoryState::Verified { form: ChecksumForm::Sha256Zeroed });
        let again = sigilzero().migrate(&rewrite.bytes, None, &old_facts(), Some(&stamp()));
        prop_assert_eq!(again, Outcome::Current { version: "1.2.0".to_owned() });
    }

    #[test]
    fn prop_both_routes_give_the_same_document((manifest, version) in any_manifest()) {
        prop_assume!(version == "1.0.0");
        let run = |text: &[u8], target, stamp: Option<&Stamp>| {
            rewritten(sigilzero().migrate(text, target, &old_facts(), stamp)).bytes
        };
        let direct = run(manifest.as_bytes(), None, None);
        let halfway = run(manifest.as_bytes(), Some("1.1.0"), None);
        prop_assert_eq!(text(&direct), text(&run(&halfway, None, None)));
        let stamped = run(manifest.as_bytes(), None, Some(&stamp()));
        prop_assert_eq!(text(&direct), text(&without_history(&stamped)));
        let halfway = run(manifest.as_bytes(), Some("1.1.0"), Some(&stamp()));
        let twice = run(&halfway, None, Some(&stamp()));
        prop_assert_eq!(text(&direct), text(&without_history(&twice)));
    }
}
