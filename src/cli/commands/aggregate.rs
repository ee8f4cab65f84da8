//! `strongroom aggregate`

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::base::json::Pointer;
use crate::carrier::{AggregateOptions, FieldRow};
use crate::cli::documents::{Left, counts_json, pack_of, passed_over, progress, some};
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;
use crate::schema::Pack;
use crate::store::carry::{self, AggregateReport};

/// Add up the numbers of documents of several versions, and say what is missing where
///
/// Per field: how many values there are, how many documents have none, and in which versions. Values
/// that different formulas computed are kept apart, whatever their name. Documents that do not fit
/// their version stay out and are listed; the exit code is then 3. Needs no store and writes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack that describes the documents: a name, or a folder
    #[arg(long, value_name = "PACK")]
    pack: String,
    /// Group by the value of this member: a name, or a JSON Pointer
    #[arg(long, value_name = "MEMBER")]
    by: Option<String>,
    /// Only this field, a name or a JSON Pointer; may be given again
    #[arg(long = "field", value_name = "MEMBER")]
    fields: Vec<String>,
    /// Take values of different formulas together
    #[arg(long)]
    mix_formulas: bool,
    /// Refuse when a value is missing in any document: tell where, give no numbers, exit 3
    #[arg(long)]
    strict: bool,
    /// Print the lines as CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Files and folders
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    some(&args.paths)?;
    let pack = pack_of(&args.pack, session)?;
    let options = AggregateOptions {
        by: args.by.as_deref().map(member).transpose()?,
        fields: args.fields.iter().map(|text| member(text)).collect::<Result<_, _>>()?,
        mix_formulas: args.mix_formulas,
    };
    let mut left = Left::default();
    let mut report = carry::aggregate(&pack, &args.paths, options, &*progress(session), &mut |row| {
        left.take(row, session)
    })
    .map_err(|error| session.failure(error))?;
    session.end();
    let missing = report.numbers.rows.iter().any(|row| row.missing > 0);
    if args.strict && missing {
        report.numbers.rows.retain(|row| row.missing > 0);
        for row in &mut report.numbers.rows {
            (row.mean, row.least, row.most) = (None, None, None);
        }
    }
    if session.out.json {
        tell_json(&report, &pack, &mut left, session);
    } else if args.csv {
        tell_csv(&report, session);
    } else {
        tell(&report, &pack, session);
    }
    let bad = report.documents.counts.refused + report.documents.counts.unreadable > 0;
    Ok(if bad || (args.strict && missing) { exit::FOUND } else { exit::OK })
}

/// A member as given: a JSON Pointer, or the name of one at the top.
fn member(text: &str) -> Result<Pointer, CliError> {
    if !text.starts_with('/') {
        return Ok(Pointer::from_tokens([text.to_owned()]));
    }
    text.parse().map_err(|error| CliError::usage(format!("{text:?} is no JSON Pointer: {error}"), None))
}

fn formula(row: &FieldRow) -> String {
    let names: Vec<&str> = row.formulas.iter().map(|name| name.as_deref().unwrap_or("-")).collect();
    if names == ["-"] { String::new() } else { names.join(" + ") }
}

/// What each version lacks: `2.0 3, 3.0 1`.
fn lacking(row: &FieldRow) -> String {
    let lacking = row.versions.iter().filter(|(_, (_, missing))| *missing > 0);
    lacking.map(|(version, (_, missing))| format!("{version} {missing}")).collect::<Vec<_>>().join(", ")
}

/// Per version that is not the head: which fields none of its documents has.
fn gaps(report: &AggregateReport, pack: &Pack) -> Vec<String> {
    let rows = &report.numbers.rows;
    let mut versions: Vec<&String> = rows.iter().flat_map(|row| row.versions.keys()).collect();
    versions.sort();
    versions.dedup();
    let mut warnings = Vec::new();
    for version in versions {
        let lacks = |row: &&FieldRow| {
            let same = rows.iter().filter(|other| other.field == row.field);
            same.filter_map(|other| other.versions.get(version)).all(|(there, _)| *there == 0)
        };
        let mut fields: Vec<&str> = rows.iter().filter(lacks).map(|row| row.field.as_str()).collect();
        fields.sort_unstable();
        fields.dedup();
        if !fields.is_empty() {
            warnings.push(format!(
                "version \"{version}\"; current is \"{}\". Missing fields: {} -> null. To have them, run again \
                 with the current version",
                pack.head(),
                fields.join(", ")
            ));
        }
    }
    warnings
}

fn tell_json(report: &AggregateReport, pack: &Pack, left: &mut Left, session: &Session) {
    let rows: Vec<Value> = report
        .numbers
        .rows
        .iter()
        .map(|row| {
            let versions: serde_json::Map<String, Value> = row
                .versions
                .iter()
                .map(|(version, (there, missing))| (version.clone(), json!({"n": there, "missing": missing})))
                .collect();
            json!({
                "group": row.group, "field": row.field, "formulas": row.formulas, "n": row.n,
                "missing": row.missing, "mean": row.mean, "min": row.least, "max": row.most,
                "versions": versions,
            })
        })
        .collect();
    let mixed: Vec<Value> = report
        .numbers
        .mixed
        .iter()
        .map(|mixed| json!({"group": mixed.group, "field": mixed.field, "formulas": mixed.formulas}))
        .collect();
    let mut answer = counts_json(&report.documents);
    answer["pack"] = json!(pack.name());
    answer["rows"] = json!(rows);
    answer["formulas"] = json!(mixed);
    answer["warnings"] = json!(gaps(report, pack));
    answer["left"] = json!(left.rows());
    session.out.json(&answer);
}

fn cells(row: &FieldRow) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:?}"));
    vec![
        row.group.clone(),
        row.field.clone(),
        row.n.to_string(),
        row.missing.to_string(),
        number(row.mean),
        number(row.least),
        number(row.most),
        formula(row),
        lacking(row),
    ]
}

/// RFC 4180, with line feeds.
fn tell_csv(report: &AggregateReport, session: &Session) {
    let out = &session.out;
    out.line("group,field,n,missing,mean,min,max,formula,missing_by_version");
    for row in &report.numbers.rows {
        let quoted = |cell: &String| {
            if cell.contains(['"', ',', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        out.line(cells(row).iter().map(quoted).collect::<Vec<_>>().join(","));
    }
}

fn tell(report: &AggregateReport, pack: &Pack, session: &Session) {
    let out = &session.out;
    let headings = ["GROUP", "FIELD", "N", "MISSING", "MEAN", "MIN", "MAX", "FORMULA", "MISSING IN"];
    let rows: Vec<Vec<String>> = report.numbers.rows.iter().map(cells).collect();
    if !rows.is_empty() {
        out.bytes(table(&headings, &[2, 3, 4, 5, 6], &rows).as_bytes());
    }
    for warning in gaps(report, pack) {
        out.line(format!("{}  {}", out.paint.yellow("warning"), safe(warning)));
    }
    for mixed in &report.numbers.mixed {
        let names: Vec<&str> =
            mixed.formulas.iter().map(|name| name.as_deref().unwrap_or("none named")).collect();
        out.line(format!(
            "{}  {} of {} comes by {} formulas: {}",
            out.paint.yellow("warning"),
            safe(&mixed.field),
            safe(&mixed.group),
            names.len(),
            safe(names.join(", ")),
        ));
    }
    let documents = &report.documents;
    out.line(format!(
        "{} in {}: {} added up, {} refused, {} unreadable{}",
        count(documents.counts.found, "document", "documents"),
        count(documents.files, "file", "files"),
        documents.counts.current,
        documents.counts.refused,
        documents.counts.unreadable,
        passed_over(documents),
    ));
}
