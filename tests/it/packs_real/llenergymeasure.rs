//! LLenergyMeasure: every file of `history/` and `generated/`, and the committed result.

use super::*;

fn documents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for part in ["history", "generated", "fixtures"] {
        let found = files(&folder.join(part)).into_iter().filter(|(name, _)| name.ends_with(".json"));
        all.extend(found.map(|(name, bytes)| (format!("{part}/{name}"), bytes)));
    }
    all
}

#[test]
fn llenergymeasure_files_are_all_told_and_come_to_the_end_of_their_line() {
    let Some(folder) = data("llenergymeasure") else { return };
    let pack = pack("llenergymeasure");
    let (mut shapes, mut verdicts, mut undescribed) = (Table::new(), Table::new(), Table::new());
    for (name, bytes) in documents(&folder) {
        let told = told(pack, &bytes);
        if let Ok(doc) = json::scan(&bytes) {
            for place in pack.undescribed(&doc, &told) {
                count(&mut undescribed, format!("{told}: {place}"));
            }
        }
        let verdict = verdict(pack, &bytes);
        count(&mut verdicts, format!("{told}: {verdict}"));
        count(&mut shapes, told);
        if verdict == "migrated" {
            let after = rewrite(migrate(pack, &bytes, None)).bytes;
            let (before, after) = (json::scan(&bytes).unwrap(), json::scan(&after).unwrap());
            assert_eq!(numbers(&before), numbers(&after), "{name}: a number changed its text");
        }
    }
    is(
        "LLenergyMeasure, files by shape",
        &shapes,
        &[
            ("2.0.0/process-215c7f3", 1),
            ("2.0.0/process-3003220", 1),
            ("2.0.0/process-53f1b15", 1),
            ("2.0.0/process-942e7ab", 1),
            ("2.0.0/result-215c7f3", 1),
            ("2.0.0/result-3003220", 1),
            ("2.0.0/result-53f1b15", 1),
            ("2.0.0/result-942e7ab", 1),
            ("2.0/process-2003c6f", 1),
            ("2.0/result-215e05e", 2),
            ("3.0.0/process-54b629e", 1),
            ("3.0.0/result-54b629e", 1),
            ("aggregated", 1),
            ("compute-metrics/a", 12),
            ("compute-metrics/b", 24),
            ("experiments", 19),
            ("global-energy", 6),
            ("inference-metrics", 36),
            ("model-architecture", 2),
            ("not JSON: the text ends where a value is wanted at line 2, column 3 (byte 4)", 1),
            ("other kind: an output that was not kept (null)", 1),
            ("other kind: the configuration of a model", 1),
            ("other kind: the generated text of a run", 1),
            ("other kind: the generated tokens of a run", 1),
            ("process-energy", 66),
            ("setup/a", 28),
            ("setup/b", 3),
            ("setup/c", 5),
            ("variables", 16),
        ],
    );
    is(
        "LLenergyMeasure, migration",
        &verdicts,
        &[
            ("2.0.0/process-215c7f3: current", 1),
            ("2.0.0/process-3003220: current", 1),
            ("2.0.0/process-53f1b15: current", 1),
            ("2.0.0/process-942e7ab: current", 1),
            (
                "2.0.0/result-215c7f3: refused: 2.0.0/result-215c7f3 goes no further: Result file schema_version=\"2.0.0\"; current schema is \"2.0\". Missing fields: measurement_config_hash, measurement_methodology -> null, which the current schema demands. They were measured or set at the run and cannot be known afterwards; re-running the experiment is the correct way to obtain them. To rerun with updated schema: llem run experiment.yaml",
                1,
            ),
            (
                "2.0.0/result-3003220: refused: 2.0.0/result-3003220 goes no further: Result file schema_version=\"2.0.0\"; current schema is \"2.0\". Missing fields: measurement_config_hash, measurement_methodology -> null, which the current schema demands. They were measured or set at the run and cannot be known afterwards; re-running the experiment is the correct way to obtain them. To rerun with updated schema: llem run experiment.yaml",
                1,
            ),
            (
                "2.0.0/result-53f1b15: refused: 2.0.0/result-53f1b15 goes no further: Result file schema_version=\"2.0.0\"; current schema is \"2.0\". Missing fields: measurement_config_hash, measurement_methodology -> null, which the current schema demands. They were measured or set at the run and cannot be known afterwards; re-running the experiment is the correct way to obtain them. To rerun with updated schema: llem run experiment.yaml",
                1,
            ),
            (
                "2.0.0/result-942e7ab: refused: 2.0.0/result-942e7ab goes no further: Result file schema_version=\"2.0.0\"; current schema is \"2.0\". Missing fields: measurement_config_hash, measurement_methodology -> null, which the current schema demands. They were measured or set at the run and cannot be known afterwards; re-running the experiment is the correct way to obtain them. To rerun with updated schema: llem run experiment.yaml",
                1,
            ),
            ("2.0/process-2003c6f: current", 1),
            ("2.0/result-215e05e: current", 2),
            ("3.0.0/process-54b629e: current", 1),
            (
                "3.0.0/result-54b629e: refused: 3.0.0/result-54b629e goes no further: Result file schema_version=\"3.0.0\"; current schema is \"2.0\". Missing fields: measurement_config_hash, measurement_methodology -> null, which the current schema demands. They were measured or set at the run and cannot be known afterwards; re-running the experiment is the correct way to obtain them. To rerun with updated schema: llem run experiment.yaml",
                1,
            ),
            ("aggregated: current", 1),
            ("compute-metrics/a: migrated", 12),
            ("compute-metrics/b: migrated", 24),
            ("experiments: current", 19),
            ("global-energy: current", 6),
            ("inference-metrics: current", 36),
            ("model-architecture: current", 2),
            (
                "not JSON: the text ends where a value is wanted at line 2, column 3 (byte 4): refused: not a JSON document: the text ends where a value is wanted at line 2, column 3 (byte 4)",
                1,
            ),
            (
                "other kind: an output that was not kept (null): refused: not a document of this kind: it is an output that was not kept (null)",
                1,
            ),
            (
                "other kind: the configuration of a model: refused: not a document of this kind: it is the configuration of a model",
                1,
            ),
            (
                "other kind: the generated text of a run: refused: not a document of this kind: it is the generated text of a run",
                1,
            ),
            (
                "other kind: the generated tokens of a run: refused: not a document of this kind: it is the generated tokens of a run",
                1,
            ),
            ("process-energy: current", 66),
            ("setup/a: migrated", 28),
            ("setup/b: migrated", 3),
            ("setup/c: migrated", 5),
            ("variables: current", 16),
        ],
    );
    is("LLenergyMeasure, members that no schema describes", &undescribed, &[]);
}

#[test]
fn llenergymeasure_legacy_files_reach_one_shape_by_renames_alone() {
    let Some(folder) = data("llenergymeasure") else { return };
    let pack = pack("llenergymeasure");
    let mut table = Table::new();
    for (name, bytes) in documents(&folder) {
        let before = told(pack, &bytes);
        let Some((kind, _)) =
            before.split_once('/').filter(|(kind, _)| ["setup", "compute-metrics"].contains(kind))
        else {
            continue;
        };
        let rewrite = rewrite(settled(pack, &bytes, None));
        let renames = rewrite.changes.iter().filter(|change| change.starts_with("renamed")).count();
        assert_eq!(renames, rewrite.changes.len(), "{name}: {:?}", rewrite.changes);
        count(&mut table, format!("{kind}: {before} -> {} by {renames} renames", told(pack, &rewrite.bytes)));
    }
    is(
        "LLenergyMeasure, renames",
        &table,
        &[
            ("compute-metrics: compute-metrics/a -> compute-metrics/c by 7 renames", 12),
            ("compute-metrics: compute-metrics/b -> compute-metrics/c by 3 renames", 24),
            ("setup: setup/a -> setup/d by 4 renames", 28),
            ("setup: setup/b -> setup/d by 2 renames", 3),
            ("setup: setup/c -> setup/d by 1 renames", 5),
        ],
    );
}

#[test]
fn llenergymeasure_mean_and_sum_of_energy_have_formulas_of_their_own() {
    let Some(folder) = data("llenergymeasure") else { return };
    let pack = pack("llenergymeasure");
    let formula = |shape: &str, at: &str| pack.formula_of(shape, &at.parse().unwrap());
    let (mut means, mut of_nothing, mut sums) = (0, 0, 0);
    for (name, bytes) in documents(&folder) {
        let shape = told(pack, &bytes);
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let number = |value: &Value| value.as_f64().unwrap();
        if shape == "global-energy" {
            let each = value.pointer("/process_results/total_energy_joules").unwrap().as_object().unwrap();
            if each.is_empty() {
                // The program wrote 0 joules for the mean of nothing.
                assert_eq!(number(value.pointer("/experiment_avg/total_energy_joules").unwrap()), 0.0);
                println!("  {name}: 0 joules over no process");
                of_nothing += 1;
                continue;
            }
            let mean = each.values().map(number).sum::<f64>() / each.len() as f64;
            let stated = number(value.pointer("/experiment_avg/total_energy_joules").unwrap());
            assert!((mean - stated).abs() <= 1e-9 * mean, "{name}: {stated} is no mean of {each:?}");
            assert_eq!(formula(&shape, "/experiment_avg/total_energy_joules"), Some("mean-over-processes"));
            println!("  {name}: the mean of {} processes", each.len());
            means += 1;
        } else if shape.contains("/result-") {
            let each = value["process_results"].as_array().unwrap();
            if each.is_empty() {
                println!("  {name}: no process kept");
                continue;
            }
            let sum: f64 = each.iter().map(|p| number(&p["energy_metrics"]["total_energy_j"])).sum();
            let stated = number(&value["total_energy_j"]);
            assert!((sum - stated).abs() <= 1e-9 * sum, "{name}: {stated} is not the sum {sum}");
            assert_eq!(formula(&shape, "/total_energy_j"), Some("sum-over-processes"));
            println!("  {name}: the sum of {} processes", each.len());
            sums += 1;
        }
    }
    assert_eq!((means, of_nothing, sums), (1, 5, 6));
}
