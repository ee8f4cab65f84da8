//! llm-metrics-proxy: the 1,000 rows of the database, as JSON objects of their columns.

use super::*;

fn rows(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(folder.join(name)).unwrap();
    lines(&bytes).into_iter().map(<[u8]>::to_vec).collect()
}

/// The members of a row with the exact text of their values.
fn columns(row: &[u8]) -> Vec<(String, String)> {
    let doc = json::scan(row).unwrap();
    let column =
        |node: json::Node<'_>| (node.pointer().tokens().next().unwrap().to_owned(), node.raw().to_owned());
    doc.root().children().map(column).collect()
}

#[test]
fn proxy_rows_that_migrate_equal_the_originals_migrated_database_to_the_bit() {
    let Some(folder) = data("llm-metrics-proxy") else { return };
    let pack = pack("llm-metrics-proxy");
    let before = rows(&folder, "v1-app-1.0.0-schema2-1000rows.jsonl");
    let after = rows(&folder, "v2-migrated-by-head-schema3-1000rows.jsonl");
    assert_eq!((before.len(), after.len()), (1000, 1000));
    let (mut table, mut differs) = (Table::new(), Table::new());
    for (row, original) in before.iter().zip(&after) {
        let label = columns(original).pop().unwrap().1;
        match settled(pack, row, None) {
            Outcome::Rewrite(rewrite) => {
                assert_eq!(columns(&rewrite.bytes), columns(original));
                count(&mut table, "migrated, equal to the original");
            }
            Outcome::Refused(refusal) => {
                let reason = refusal.to_string();
                let reason = reason.split_once(": ").map_or(reason.as_str(), |(_, reason)| reason);
                count(&mut table, format!("refused: {reason}"));
                if label != "\"1.0.0\"" {
                    let name = |key: &str| columns(original).into_iter().find(|(k, _)| k == key).unwrap().1;
                    count(&mut differs, format!("{} tps {}", name("model"), name("tokens_per_second")));
                }
            }
            Outcome::Current { .. } => count(&mut table, "current"),
        }
    }
    is(
        "llm-metrics-proxy, rows of 1.0.0",
        &table,
        &[
            ("migrated, equal to the original", 787),
            (
                "refused: total_tokens or response_time_ms is NULL: the row stays as it was measured (required: /total_tokens is other than null and /response_time_ms is other than null)",
                206,
            ),
            (
                "refused: total_tokens or response_time_ms is text where a number belongs (required: /total_tokens is of type number and /response_time_ms is of type number)",
                2,
            ),
            (
                "refused: total_tokens or response_time_ms is zero or negative (required: /total_tokens is a number above 0 and /response_time_ms is a number above 0)",
                5,
            ),
        ],
    );
    is(
        "llm-metrics-proxy, rows that the original labels 2.0.0 and we do not",
        &differs,
        &[("\"edge:response_text_word\" tps null", 1), ("\"edge:total_text_word\" tps 0.0", 1)],
    );
}

#[test]
fn proxy_rows_of_the_migrated_database_are_current_or_reported_and_never_changed() {
    let Some(folder) = data("llm-metrics-proxy") else { return };
    let mut table = Table::new();
    for row in rows(&folder, "v2-migrated-by-head-schema3-1000rows.jsonl") {
        match migrate(pack("llm-metrics-proxy"), &row, None) {
            Outcome::Current { version } => count(&mut table, format!("current at {version}")),
            Outcome::Refused(_) => count(&mut table, "refused"),
            Outcome::Rewrite(rewrite) => panic!("rewritten: {:?}", rewrite.changes),
        }
    }
    is(
        "llm-metrics-proxy, rows of the migrated database",
        &table,
        &[("current at 2.0.0", 789), ("refused", 211)],
    );
}
