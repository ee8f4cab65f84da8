//! `strongroom versions`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::documents::{pack_of, progress, some};
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;
use crate::store::carry::{self, DocumentVersions, Untrue};
use crate::store::{Next, VersionRow, VersionsReport};

/// Show how documents are spread over schema versions, and which could migrate to what
///
/// Without --pack the manifests of the store; with it the documents in the files named, told by their
/// shape and not by their label alone. Documents that are not what they say are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack that describes the documents: a name, or a folder
    #[arg(long, value_name = "PACK")]
    pack: Option<String>,
    /// Files and folders
    #[arg(value_name = "PATH", requires = "pack")]
    paths: Vec<PathBuf>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let report = match &args.pack {
        None => DocumentVersions { spread: session.store()?.versions()?, ..DocumentVersions::default() },
        Some(pack) => {
            some(&args.paths)?;
            let pack = pack_of(pack, session)?;
            carry::versions(&pack, &args.paths, &*progress(session))
                .map_err(|error| session.failure(error))?
        }
    };
    session.end();
    if session.out.json {
        tell_json(&report, session)
    } else {
        let what = if args.pack.is_some() { DOCUMENTS } else { MANIFESTS };
        tell(&report, what, session)
    }
    Ok(exit::OK)
}

/// The heading, one and many.
const MANIFESTS: [&str; 3] = ["RUNS", "manifest", "manifests"];
const DOCUMENTS: [&str; 3] = ["DOCUMENTS", "document", "documents"];

fn share(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { count as f64 / total as f64 }
}

fn tell_json(whole: &DocumentVersions, session: &Session) {
    let report = &whole.spread;
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
    let mut answer = json!({
        "pack": report.pack, "head": report.head, "total": report.total, "migratable": report.migratable(),
        "rows": rows, "unreadable": unreadable,
    });
    if let Some(files) = whole.files {
        let one = |untrue: &Untrue| json!({"at": untrue.at, "what": untrue.what, "reason": untrue.why});
        let untrue = whole.untrue.iter().map(one);
        answer["ending"] = json!(report.ending());
        answer["untrue"] = untrue.collect();
        answer["files"] = json!(files);
        answer["not_looked_at"] = json!(whole.not_looked_at);
    }
    session.out.json(&answer);
}

fn tell(whole: &DocumentVersions, [heading, one, many]: [&str; 3], session: &Session) {
    let (out, report) = (&session.out, &whole.spread);
    // Rows that differ only by what is noted of them are one line.
    let mut merged: Vec<VersionRow> = Vec::new();
    for row in &report.rows {
        let same = |other: &&mut VersionRow| (&other.version, &other.shape) == (&row.version, &row.shape);
        match merged.iter_mut().find(same) {
            Some(other) => other.count += row.count,
            None => merged.push(row.clone()),
        }
    }
    let mut rows: Vec<Vec<String>> = merged
        .iter()
        .map(|row| {
            let next = match (&row.target, row.next) {
                (Some(_), _) => row.path.join(" -> "),
                (None, Next::Head) => "at the head".to_owned(),
                (None, Next::End) => "at its end".to_owned(),
                (None, Next::Stuck) => "goes no further".to_owned(),
                (None, Next::Nowhere | Next::Unknown) => "no way".to_owned(),
            };
            vec![
                row.version.clone(),
                row.shape.clone(),
                row.count.to_string(),
                format!("{:.1} %", 100.0 * share(row.count, report.total)),
                next,
            ]
        })
        .collect();
    let broken = report.unreadable.len() as u64;
    if broken > 0 {
        let part = format!("{:.1} %", 100.0 * share(broken, report.total));
        let none = "-".to_owned();
        rows.push(vec!["unreadable".to_owned(), none.clone(), broken.to_string(), part, none]);
    }
    if !rows.is_empty() {
        let headings = ["VERSION", "SHAPE", heading, "SHARE", "MIGRATES"];
        out.bytes(table(&headings, &[2, 3], &rows).as_bytes());
    }
    for (note, shapes) in notes(report) {
        out.line(format!("{}  {}: {}", out.paint.bold("note"), safe(shapes.join(", ")), safe(note)));
    }
    for (run, why) in &report.unreadable {
        out.line(format!("{}  {}: {}", out.paint.red("unreadable"), safe(run), safe(why)));
    }
    for Untrue { at, what, why } in &whole.untrue {
        out.line(format!("{}  {}: {}", out.paint.yellow(what), safe(at), safe(why)));
    }
    if whole.not_looked_at > 0 {
        out.line(format!("{} not looked at", count(whole.not_looked_at, "file", "files")));
    }
    let total = count(report.total, one, many);
    let ending = match report.ending() {
        0 => String::new(),
        ending => format!(", {ending} to the end of a line of their own"),
    };
    out.line(format!("{total}, {} could migrate to {}{ending}", report.migratable(), safe(&report.head)));
}

/// What the pack says of shapes, each note once.
fn notes(report: &VersionsReport) -> Vec<(&str, Vec<&str>)> {
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in &report.rows {
        let Some(note) = row.note.as_deref() else { continue };
        match notes.iter_mut().find(|(other, _)| *other == note) {
            Some((_, shapes)) if shapes.contains(&row.shape.as_str()) => {}
            Some((_, shapes)) => shapes.push(&row.shape),
            None => notes.push((note, vec![&row.shape])),
        }
    }
    notes
}
