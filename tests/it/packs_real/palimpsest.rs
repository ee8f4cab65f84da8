//! Palimpsest: stored traces of four commits, traces of the tests and of the documentation.

use super::*;

#[test]
fn palimpsest_traces_are_all_told_and_migrated_or_refused_with_a_reason() {
    let Some(folder) = data("palimpsest") else { return };
    let pack = pack("palimpsest");
    let (mut shapes, mut verdicts) = (Table::new(), Table::new());
    for part in ["stored", "tests", "docs"] {
        for (name, bytes) in files(&folder.join(part)) {
            let told = told(pack, &bytes);
            count(&mut shapes, format!("{part}: {}", told));
            let verdict = verdict(pack, &bytes);
            let verdict = if verdict.starts_with("refused") { format!("{name} {verdict}") } else { verdict };
            count(&mut verdicts, format!("{part}: {verdict}"));
        }
    }
    is(
        "palimpsest, traces by shape",
        &shapes,
        &[
            ("docs: 0.0.1/b", 1),
            ("docs: 0.0.1/c", 1),
            ("stored: 0.1.0/a", 4),
            ("stored: 0.1.0/b", 3),
            ("stored: 0.1.0/c", 9),
            ("tests: 0.0.1/a", 5),
            ("tests: 0.0.1/b", 8),
            ("tests: 0.0.1/c", 21),
            ("tests: 0.1.0/c", 9),
            (
                "tests: says 0.0.1, but does not fit it: /execution_steps/0: \"step_number\" is a required property",
                1,
            ),
            ("tests: says 0.0.1, but does not fit it: /execution_steps: [] has less than 1 item", 1),
            (
                "tests: says 0.0.1, but does not fit it: the document: \"problem_statement\" is a required property; /execution_steps: [] has less than 1 item",
                2,
            ),
            ("tests: version \"99.0.0\" is newer than the pack", 5),
        ],
    );
    is(
        "palimpsest, migration to the head",
        &verdicts,
        &[
            (
                "docs: docs_interfaces.md-L43.json refused: migration 0.1.0/b -> 0.1.0/c, step 1: \"/execution_steps/0/action\" is \"analyze|implement|test|debug\", which the table does not have",
                1,
            ),
            ("docs: migrated", 1),
            ("stored: current", 9),
            ("stored: migrated", 7),
            (
                "tests: 555e8e0/test_file_manager-L175.json refused: migration 0.1.0/b -> 0.1.0/c, step 1: \"/execution_steps/0/action\" is \"legacy\", which the table does not have",
                1,
            ),
            (
                "tests: 555e8e0/test_migrations-L132.json refused: version \"99.0.0\" is newer than the pack",
                1,
            ),
            (
                "tests: 6176460/test_file_manager-L175.json refused: migration 0.1.0/b -> 0.1.0/c, step 1: \"/execution_steps/0/action\" is \"legacy\", which the table does not have",
                1,
            ),
            (
                "tests: 6176460/test_migrations-L132.json refused: version \"99.0.0\" is newer than the pack",
                1,
            ),
            (
                "tests: 7c64191/test_file_manager-L173.json refused: migration 0.1.0/b -> 0.1.0/c, step 1: \"/execution_steps/0/action\" is \"legacy\", which the table does not have",
                1,
            ),
            (
                "tests: 7c64191/test_migrations-L132.json refused: version \"99.0.0\" is newer than the pack",
                1,
            ),
            (
                "tests: 9785bf2/test_migrations-L136.json refused: version \"99.0.0\" is newer than the pack",
                1,
            ),
            (
                "tests: a484269/test_api-L225.json refused: says 0.0.1, but does not fit it: the document: \"problem_statement\" is a required property; /execution_steps: [] has less than 1 item",
                1,
            ),
            (
                "tests: a484269/test_api-L240.json refused: migration 0.1.0/b -> 0.1.0/c, step 1: \"/execution_steps/0/action\" is \"invalid_action\", which the table does not have",
                1,
            ),
            (
                "tests: a484269/test_api-L82.json refused: says 0.0.1, but does not fit it: the document: \"problem_statement\" is a required property; /execution_steps: [] has less than 1 item",
                1,
            ),
            (
                "tests: a484269/test_cli-L125.json refused: says 0.0.1, but does not fit it: /execution_steps/0: \"step_number\" is a required property",
                1,
            ),
            (
                "tests: a484269/test_cli-L230.json refused: says 0.0.1, but does not fit it: /execution_steps: [] has less than 1 item",
                1,
            ),
            (
                "tests: a484269/test_migrations-L132.json refused: version \"99.0.0\" is newer than the pack",
                1,
            ),
            ("tests: current", 9),
            ("tests: migrated", 30),
        ],
    );
}

/// Takes what the original made up out of its own result, and answers which members that were.
fn without_inventions(source: &Value, original: &mut Value) -> Vec<String> {
    let mut invented = Vec::new();
    for (object, name) in [("/context", "trace_id"), ("/context", "timestamp"), ("", "success")] {
        let place = format!("{object}/{name}");
        if source.pointer(&place).is_none()
            && let Some(members) = original.pointer_mut(object).and_then(Value::as_object_mut)
            && let Some(value) = members.remove(name)
        {
            let value =
                if name == "trace_id" { "(a hash of this run)".to_owned() } else { value.to_string() };
            invented.push(format!("{place} = {value}"));
        }
    }
    invented
}

#[test]
fn palimpsest_result_is_the_originals_but_for_what_it_invents() {
    let Some(folder) = data("palimpsest") else { return };
    let mut invented = Table::new();
    let mut documents = 0;
    for (name, bytes) in files(&folder.join("migrated")) {
        let source = folder.join(name.replace("__", "/"));
        let text = std::fs::read(&source).unwrap();
        let ours = rewrite(migrate(pack("palimpsest"), &text, Some("0.1.0")));
        let ours: Value = serde_json::from_slice(&ours.bytes).unwrap();
        let mut original: Value = serde_json::from_slice(&bytes).unwrap();
        let made_up = without_inventions(&serde_json::from_slice(&text).unwrap(), &mut original);
        println!("  {name}: {}", made_up.join(", "));
        assert_eq!(ours, original, "{name}");
        documents += 1;
        for member in made_up {
            count(&mut invented, member);
        }
    }
    assert_eq!(documents, 9);
    is(
        "palimpsest, what the original invents",
        &invented,
        &[
            ("/context/timestamp = \"2025-01-01T00:00:00Z\"", 9),
            ("/context/trace_id = (a hash of this run)", 9),
            ("/success = true", 9),
        ],
    );
}

#[test]
fn palimpsest_stored_traces_of_all_commits_come_to_the_current_programs_form() {
    let Some(folder) = data("palimpsest") else { return };
    let stored = folder.join("stored");
    let read =
        |commit: &str, n: u32| std::fs::read(stored.join(commit).join(format!("dev-{n}.json"))).unwrap();
    let mut preserved = 0;
    for n in 1..=4 {
        let head: Value = serde_json::from_slice(&read("a484269", n)).unwrap();
        for commit in ["6176460", "555e8e0"] {
            let (bytes, kept) = match settled(pack("palimpsest"), &read(commit, n), None) {
                Outcome::Rewrite(rewrite) => (rewrite.bytes, rewrite.preserved.len()),
                Outcome::Current { .. } => (read(commit, n), 0),
                Outcome::Refused(refusal) => panic!("{commit}/dev-{n}: {refusal}"),
            };
            let mut ours: Value = serde_json::from_slice(&bytes).unwrap();
            if let Some(environment) = ours.pointer_mut("/context/environment").and_then(Value::as_object_mut)
            {
                environment.retain(|name, _| !name.starts_with("legacy_"));
            }
            println!("  {commit}/dev-{n}: {kept} preserved in the record");
            preserved += kept;
            assert_eq!(ours, head, "{commit}/dev-{n}");
        }
    }
    assert_eq!(preserved, 66);
}
