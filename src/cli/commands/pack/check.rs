//! `strongroom pack check`

use serde_json::{Value, json};

use super::{files_of, read};
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;
use crate::schema::Pack;
use crate::schema::check::{CheckFinding, CheckOptions, CheckReport, check};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Folders, or names of packs
    #[arg(value_name = "PACK", required = true)]
    packs: Vec<String>,
    /// How many documents to make for each shape
    #[arg(long, value_name = "N", default_value_t = 1000)]
    documents: u64,
    /// Where the choices begin: the same seed makes the same documents
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &CheckArgs, session: &Session) -> Result<u8, CliError> {
    let options = CheckOptions { seed: args.seed, documents: args.documents };
    let mut status = exit::OK;
    let mut all = Vec::new();
    for given in &args.packs {
        let files = files_of(given, session)?;
        let pack = read(given, &files)?;
        let report = check(&files, &options).map_err(|error| CliError::refused(error.to_string(), None))?;
        if report.failures().next().is_some() {
            status = exit::FOUND;
        }
        if session.out.json {
            all.push(as_json(&pack, &report, &options));
        } else {
            tell(given, &pack, &report, session);
        }
    }
    if session.out.json {
        session.out.json(&json!({ "packs": all }));
    }
    Ok(status)
}

fn as_json(pack: &Pack, report: &CheckReport, options: &CheckOptions) -> Value {
    let finding = |f: &CheckFinding| {
        json!({
            "code": f.code, "warning": f.warning, "about": f.about, "file": f.file,
            "line": f.place.map(|p| p.line), "column": f.place.map(|p| p.column), "step": f.step, "message": f.message,
            "document": f.document, "difference": f.difference,
        })
    };
    let migrations: Vec<Value> = report
        .migrations
        .iter()
        .map(|m| {
            json!({
                "from": m.from, "to": m.to, "migrated": m.migrated, "refused": m.refused,
                "reasons": m.reasons, "round_trips": m.round_trips,
                "old_reads_new": m.compatibility.old_reads_new,
                "new_reads_old": m.compatibility.new_reads_old,
            })
        })
        .collect();
    json!({
        "name": pack.name(), "version": pack.version(), "digest": pack.digest(),
        "ok": report.failures().next().is_none(), "seed": options.seed,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(), "migrations": migrations,
        "shapes": report.shapes, "generated": report.generated, "respelled": report.respelled,
        "examples": report.examples, "route_pairs": report.route_pairs,
        "routes_compared": report.routes_compared, "not_heeded": report.not_heeded,
    })
}

fn tell(given: &str, pack: &Pack, report: &CheckReport, session: &Session) {
    let out = &session.out;
    for finding in &report.findings {
        let word = match finding.warning {
            true => out.paint.yellow("warning"),
            false => out.paint.red("finding"),
        };
        let place = finding.place.map(|place| format!(":{}:{}", place.line, place.column));
        let place = format!("{}/{}{}", given.trim_end_matches('/'), finding.file, place.unwrap_or_default());
        out.line(format!("{word} {}  {}  {}", finding.code, safe(&place), safe(&finding.about)));
        out.line(format!("    {}", safe(&finding.message)));
        if let Some(step) = finding.step {
            out.line(format!("    step: {step}"));
        }
        if let Some(document) = &finding.document {
            out.line(format!("    document: {}", safe(document)));
        }
        for line in &finding.difference {
            out.line(format!("    {}", safe(line)));
        }
    }
    if !session.out.quiet {
        let rows: Vec<Vec<String>> = report
            .migrations
            .iter()
            .map(|m| {
                vec![
                    format!("{} -> {}", m.from, m.to),
                    m.migrated.to_string(),
                    m.refused.to_string(),
                    m.round_trips.to_string(),
                    m.compatibility.word().to_owned(),
                ]
            })
            .collect();
        let headings = ["MIGRATION", "MIGRATED", "REFUSED", "THERE AND BACK", "WHO CAN READ"];
        if !rows.is_empty() {
            out.bytes(table(&headings, &[1, 2, 3], &rows).as_bytes());
        }
        for (migration, reason) in report.migrations.iter().filter_map(|m| Some((m, m.reasons.first()?))) {
            let route = format!("{} -> {}", migration.from, migration.to);
            out.line(format!("refused by {}, for instance: {}", safe(&route), safe(reason)));
        }
    }
    let failures = report.failures().count() as u64;
    let warnings = report.findings.len() as u64 - failures;
    out.line(format!(
        "{} {}: {}, {}; {} and {} made ({} respelled too), {}: {} migrated, {} refused; {} compared",
        safe(pack.name()),
        safe(pack.version()),
        count(failures, "finding", "findings"),
        count(warnings, "warning", "warnings"),
        count(report.examples, "example", "examples"),
        count(report.generated, "document", "documents"),
        report.respelled,
        count(report.migrations.len() as u64, "migration", "migrations"),
        report.migrations.iter().map(|m| m.migrated).sum::<u64>(),
        report.migrations.iter().map(|m| m.refused).sum::<u64>(),
        count(report.routes_compared, "route", "routes"),
    ));
    if !report.not_heeded.is_empty() {
        let keywords = report.not_heeded.join(", ");
        out.note(format!("keywords that documents were held to and not made by: {keywords}"));
    }
}
