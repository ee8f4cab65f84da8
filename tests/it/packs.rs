//! The built-in packs on small documents of our own, one golden pair or more for each migration, and
//! the pack of the authors' guide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use strongroom::base::json;
use strongroom::schema::{Destination, Detection, Facts, Outcome, Pack, Rewrite};

/// The packs whose migrations need nothing from beside the document.
const PACKS: [&str; 4] = ["mlx-knife", "palimpsest", "llenergymeasure", "llm-metrics-proxy"];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn migrate(pack: &Pack, text: &[u8]) -> Outcome {
    pack.migrate(text, None, &Facts::default(), None)
}

fn rewritten(pack: &Pack, text: &[u8], case: &str) -> Rewrite {
    match migrate(pack, text) {
        Outcome::Rewrite(rewrite) => rewrite,
        other => panic!("{case}: {other:?}"),
    }
}

fn shape(pack: &Pack, text: &[u8]) -> String {
    match pack.detect(&json::scan(text).unwrap()) {
        Detection::Known { version, variant } | Detection::Legacy { version, variant, .. } => {
            variant.map_or(version.clone(), |variant| format!("{version}/{variant}"))
        }
        other => panic!("{other}"),
    }
}

/// The cases of a pack: name, the text before, the text after.
fn cases(pack: &str) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let folder = here("tests/golden/packs").join(pack);
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(case) = name.strip_suffix(".before.json") {
            let after = folder.join(format!("{case}.after.json"));
            cases.push((
                case.to_owned(),
                std::fs::read(folder.join(&name)).unwrap(),
                std::fs::read(after).unwrap(),
            ));
        }
    }
    cases
}

/// What a rewrite hands to the store's record, one place and text a line.
fn recorded(rewrite: &Rewrite) -> String {
    rewrite.preserved.iter().map(|(place, text)| format!("{place} {text}\n")).collect()
}

#[test]
fn golden_pair_of_every_migration_comes_out_to_the_byte() {
    for name in PACKS {
        let pack = Pack::builtin(name).unwrap();
        let mut covered = BTreeSet::new();
        for (case, before, after) in cases(name) {
            let case = format!("{name}/{case}");
            let rewrite = rewritten(pack, &before, &case);
            assert_eq!(String::from_utf8_lossy(&rewrite.bytes), String::from_utf8_lossy(&after), "{case}");
            let kept = here("tests/golden/packs").join(format!("{case}.record.txt"));
            assert_eq!(recorded(&rewrite), std::fs::read_to_string(kept).unwrap_or_default(), "{case}");
            assert!(matches!(migrate(pack, &after), Outcome::Current { .. }), "{case}: not at rest");
            if let Destination::Head(way) | Destination::End(_, way) = pack.destination(&shape(pack, &before))
            {
                covered.extend(way.iter().map(|step| (step.from.to_owned(), step.to.to_owned())));
            }
        }
        let all: BTreeSet<_> =
            pack.migrations().map(|step| (step.from.to_owned(), step.to.to_owned())).collect();
        assert_eq!(covered, all, "{name}: each migration has its golden pair");
    }
}

#[test]
fn palimpsest_invents_no_id_time_or_success() {
    for (case, before, after) in cases("palimpsest") {
        for member in ["/context/trace_id", "/context/timestamp", "/success"] {
            let at = member.parse().unwrap();
            let there = |text: &[u8]| json::scan(text).unwrap().at(&at).map(|node| node.raw().to_owned());
            assert_eq!(there(&before), there(&after), "{case}: {member}");
        }
    }
}

#[test]
fn mlx_knife_word_outside_the_four_is_refused_with_the_reason() {
    let text = br#"{"schema_version":"0.1.0","timestamp":"2025-11-16T10:30:00Z","mlx_knife_version":"2.0.2","test":"t","outcome":"passed","metadata":{"inference_modality":"smell"}}"#;
    let Outcome::Refused(refusal) = migrate(Pack::builtin("mlx-knife").unwrap(), text) else { panic!() };
    assert_eq!(
        refusal.to_string(),
        "migration 0.2.0 -> 0.2.1, step 1: metadata.inference_modality was free before 0.2.1, and this one is \
         none of its four words (required: /metadata/inference_modality is one of \
         [\"vision\",\"text\",\"audio\",\"video\"])"
    );
}

#[test]
fn mlx_knife_deprecated_member_is_told_with_its_grace() {
    let pack = Pack::builtin("mlx-knife").unwrap();
    let remaining = |version: &str| {
        let text = format!("{{\"schema_version\":\"{version}\",\"performance\":{{\"ram_peak_mb\":1}}}}");
        let doc = json::scan(text.as_bytes()).unwrap();
        let told = pack.deprecations(&doc, version);
        told.iter().map(|d| (d.instead.clone(), d.remaining)).collect::<Vec<_>>()
    };
    assert_eq!(remaining("0.1.0"), []);
    let told = |left| vec![("performance.peak_ram_gb".to_owned(), left)];
    assert_eq!((remaining("0.2.0"), remaining("0.2.2")), (told(2), told(0)));
}

#[test]
fn proxy_label_is_compared_by_precedence_and_a_formula_by_version() {
    let pack = Pack::builtin("llm-metrics-proxy").unwrap();
    let row = |label: &str| {
        let text = format!(
            "{{\"id\":1,\"response_time_ms\":1,\"total_tokens\":1,\"tokens_per_second\":1,\"app_version\":{label}}}"
        );
        pack.detect(&json::scan(text.as_bytes()).unwrap())
    };
    assert_eq!(row("\"10.0.0\""), Detection::Newer { label: "10.0.0".to_owned() });
    for label in ["null", "\"\""] {
        assert!(matches!(row(label), Detection::Legacy { version, .. } if version == "1.0.0"), "{label}");
    }
    let formula = |version| pack.formula_of(version, &"/tokens_per_second".parse().unwrap());
    assert_eq!((formula("1.0.0"), formula("2.0.0")), (Some("tps-completion"), Some("tps-response-time")));
}

#[test]
fn llenergymeasure_old_result_is_refused_in_the_words_of_the_decision_record() {
    let pack = Pack::builtin("llenergymeasure").unwrap();
    for (shape, label) in [("2.0.0/result-942e7ab", "2.0.0"), ("3.0.0/result-54b629e", "3.0.0")] {
        let Destination::Stuck(end) = pack.destination(shape) else { panic!("{shape}") };
        let words =
            format!("Result file schema_version=\"{label}\"; current schema is \"2.0\". Missing fields: ");
        assert!(end.reason.starts_with(&words), "{}", end.reason);
        assert!(
            end.reason.ends_with("To rerun with updated schema: llem run experiment.yaml"),
            "{}",
            end.reason
        );
    }
}

/// The blocks of the authors' guide, by the name in the heading above each.
fn guide() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(here("docs/pack-authors.md")).unwrap();
    let mut blocks = BTreeMap::new();
    for part in text.split("\n#### `").skip(1) {
        let (name, rest) = part.split_once('`').unwrap();
        let (_, rest) = rest.split_once("```").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let (block, _) = rest.split_once("\n```").unwrap();
        let clash = blocks.insert(name.to_owned(), format!("{block}\n").into_bytes());
        assert!(clash.is_none(), "{name} twice");
    }
    blocks
}

#[test]
fn pack_of_the_guide_is_read_and_does_what_the_guide_says() {
    let mut blocks = guide();
    let mut take = |name: &str| blocks.remove(name).unwrap_or_else(|| panic!("no {name}"));
    let (before, after) = (take("before.json"), take("after.json"));
    let (bad, reason) = (take("refused.json"), take("refused.txt"));
    let pack = Pack::parse(&blocks).unwrap();
    let rewrite = rewritten(&pack, &before, "guide");
    assert_eq!(String::from_utf8_lossy(&rewrite.bytes), String::from_utf8_lossy(&after));
    assert_eq!(recorded(&rewrite), "/celsius 21.50\n/observer \"K. M.\"\n");
    assert!(matches!(migrate(&pack, &after), Outcome::Current { .. }));
    let Outcome::Refused(refusal) = migrate(&pack, &bad) else { panic!("not refused") };
    assert_eq!(format!("{refusal}\n"), String::from_utf8(reason).unwrap());
    let heartbeat = json::scan(b"{\"alive\":true}").unwrap();
    assert!(matches!(pack.detect(&heartbeat), Detection::NotThisKind { kind: Some(_), .. }));
    let told = pack.deprecations(&json::scan(&after).unwrap(), "2");
    assert_eq!(told.len(), 1, "{told:?}");
}
