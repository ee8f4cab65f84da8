//! mlx-knife: every committed and generated report file, line by line.

use super::*;

/// Every line of every report file, with its file and number.
fn all_lines(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for part in ["reports", "generated"] {
        for (name, bytes) in files(&folder.join(part)) {
            if name.ends_with(".jsonl") {
                let numbered = lines(&bytes).into_iter().enumerate();
                all.extend(numbered.map(|(i, line)| (format!("{name}:{}", i + 1), line.to_vec())));
            }
        }
    }
    all
}

#[test]
fn mlx_knife_lines_are_all_told_and_agree_with_the_producers_schemas() {
    let Some(folder) = data("mlx-knife") else { return };
    let pack = pack("mlx-knife");
    let producer = |file: &str| {
        let text = std::fs::read_to_string(folder.join("schemas").join(file)).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    };
    let schemas: BTreeMap<&str, _> =
        [("0.1.0", "v0.1"), ("0.2.0", "v0.2"), ("0.2.1", "v0.2.1"), ("0.2.2", "v0.2.2")]
            .map(|(version, file)| (version, producer(&format!("report-{file}.schema.json"))))
            .into();

    let (mut shapes, mut undescribed) = (Table::new(), Table::new());
    for (at, line) in all_lines(&folder) {
        let told = told(pack, &line);
        if let Some(schema) = schemas.get(told.as_str()) {
            let value: Value = serde_json::from_slice(&line).unwrap();
            assert!(schema.is_valid(&value), "{at}: ours says {told}, the producer's schema refuses it");
            for place in pack.undescribed(&json::scan(&line).unwrap(), &told) {
                count(&mut undescribed, place.to_string());
            }
            count(&mut shapes, told);
        } else {
            count(&mut shapes, format!("{at}: {told}"));
        }
    }
    is(
        "mlx-knife, lines by shape",
        &shapes,
        &[
            ("0.1.0", 6),
            ("0.2.0", 1),
            ("0.2.1", 1),
            ("0.2.2", 8),
            (
                "hooks-head-linux-with-Infinity.jsonl:1: not JSON: Infinity is not JSON at line 1, column 227 (byte 226); JSON has no such number; write null, or a string",
                1,
            ),
            ("memtail.jsonl:2: other kind: a memmon sample", 1),
            ("memtail.jsonl:3: other kind: a memmon summary", 1),
        ],
    );
    is(
        "mlx-knife, members that no schema describes",
        &undescribed,
        &[
            ("/system/hardware_profile/cores_logical", 6),
            ("/system/hardware_profile/cores_physical", 6),
            ("/system/hardware_profile/model", 6),
            ("/system_health/swap_used_mb", 6),
            ("/system_health/zombie_processes", 6),
        ],
    );
}

#[test]
fn mlx_knife_reports_reach_the_head_with_only_the_label_changed() {
    let Some(folder) = data("mlx-knife") else { return };
    let pack = pack("mlx-knife");
    let mut table = Table::new();
    for (at, line) in all_lines(&folder) {
        let verdict = verdict(pack, &line);
        if verdict != "migrated" {
            count(&mut table, if verdict == "current" { verdict } else { format!("{at} {verdict}") });
            continue;
        }
        let rewrite = rewrite(migrate(pack, &line, None));
        let places: Vec<String> = rewrite.touched.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["/schema_version"], "{at}");
        let old = format!("\"schema_version\": \"{}\"", rewrite.from);
        let expected = String::from_utf8(line).unwrap().replacen(&old, "\"schema_version\": \"0.2.2\"", 1);
        assert_eq!(String::from_utf8(rewrite.bytes).unwrap(), expected, "{at}");
        count(&mut table, format!("migrated from {}", rewrite.from));
    }
    is(
        "mlx-knife, migration to 0.2.2",
        &table,
        &[
            ("current", 8),
            (
                "hooks-head-linux-with-Infinity.jsonl:1 refused: not a JSON document: Infinity is not JSON at line 1, column 227 (byte 226); JSON has no such number; write null, or a string",
                1,
            ),
            ("memtail.jsonl:2 refused: not a document of this kind: it is a memmon sample", 1),
            ("memtail.jsonl:3 refused: not a document of this kind: it is a memmon summary", 1),
            ("migrated from 0.1.0", 6),
            ("migrated from 0.2.0", 1),
            ("migrated from 0.2.1", 1),
        ],
    );
}

#[test]
fn mlx_knife_label_below_the_members_is_told() {
    let Some(folder) = data("mlx-knife") else { return };
    // Every real 0.2.0 and later record that has new members, under the oldest label.
    let (mut wrong, mut told_wrong) = (0, 0);
    for (_, line) in all_lines(&folder) {
        let text = String::from_utf8(line).unwrap();
        let Some(label) = ["0.2.0", "0.2.1", "0.2.2"].iter().find(|l| text.contains(&format!("\"{l}\"")))
        else {
            continue;
        };
        if !text.contains("system_health") || text.contains("Infinity") {
            continue;
        }
        wrong += 1;
        let low = text.replacen(label, "0.1.0", 1);
        told_wrong += usize::from(
            told(pack("mlx-knife"), low.as_bytes()).starts_with("says 0.1.0, but does not fit it"),
        );
    }
    println!("mlx-knife, records under too low a label: {told_wrong} of {wrong} told");
    assert_eq!((wrong, told_wrong), (6, 6));
}
