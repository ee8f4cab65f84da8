//! `strongroom versions`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;
use crate::store::VersionsReport;

/// Show how the manifests are spread over schema versions, and which could migrate to what
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, session: &Session) -> Result<u8, CliError> {
    let report = session.store()?.versions()?;
    session.end();
    if session.out.json {
        tell_json(&report, session)
    } else {
        tell(&report, session)
    }
    Ok(exit::OK)
}

fn share(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { count as f64 / total as f64 }
}

fn tell_json(report: &VersionsReport, session: &Session) {
    let rows: Vec<serde_json::Value> = report
        .rows
        .iter()
        .map(|row| {
            json!({
                "version": row.version, "shape": row.shape, "note": row.note, "count": row.count,
                "share": share(row.count, report.total), "target": row.target, "path": row.path,
            })
        })
        .collect();
    let unreadable: Vec<serde_json::Value> =
        report.unreadable.iter().map(|(run, why)| json!({"run": run, "reason": why})).collect();
    session.out.json(&json!({
        "pack": report.pack, "head": report.head, "total": report.total, "migratable": report.migratable(),
        "rows": rows, "unreadable": unreadable,
    }));
}

fn tell(report: &VersionsReport, session: &Session) {
    let out = &session.out;
    let mut rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| {
            let next = match (&row.target, row.version == report.head) {
                (Some(_), _) => row.path.join(" -> "),
                (None, true) => "at the head".to_owned(),
                (None, false) => "no way".to_owned(),
            };
            vec![
                row.version.clone(),
                row.shape.clone(),
                row.count.to_string(),
                format!("{:.1} %", 100.0 * share(row.count, report.total)),
                next,
                row.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let broken = report.unreadable.len() as u64;
    if broken > 0 {
        let part = format!("{:.1} %", 100.0 * share(broken, report.total));
        let none = "-".to_owned();
        rows.push(vec!["unreadable".to_owned(), none.clone(), broken.to_string(), part, none, String::new()]);
    }
    if !rows.is_empty() {
        let headings = ["VERSION", "SHAPE", "RUNS", "SHARE", "MIGRATES", "NOTE"];
        out.bytes(table(&headings, &[2, 3], &rows).as_bytes());
    }
    for (run, why) in &report.unreadable {
        out.line(format!("{}  {}: {}", out.paint.red("unreadable"), safe(run), safe(why)));
    }
    let total = count(report.total, "manifest", "manifests");
    out.line(format!("{total}, {} could migrate to {}", report.migratable(), safe(&report.head)));
}
