//! `strongroom aggregate`

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::carrier::{AggregateOptions, FieldRow, Member};
use crate::cli::documents::{Left, counts_json, pack_of, passed_over, progress, some};
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;
use crate::schema::{Destination, Pack};
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
    /// Group by the value of this member: a JSON Pointer, or a name (the member nearest to the top)
    #[arg(long, value_name = "MEMBER")]
    by: Option<String>,
    /// Only this field, a JSON Pointer or a name (all members of that name); may be given again
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
        tell(&report, &pack, !args.fields.is_empty(), session);
    }
    let bad = report.documents.counts.refused + report.documents.counts.unreadable > 0;
    Ok(if bad || (args.strict && missing) { exit::FOUND } else { exit::OK })
}

fn member(text: &str) -> Result<Member, CliError> {
    Member::parse(text)
        .map_err(|error| CliError::usage(format!("{text:?} is no JSON Pointer: {error}"), None))
}

fn formula(row: &FieldRow) -> String {
    let names: Vec<&str> = row.formulas.iter().map(|name| name.as_deref().unwrap_or("-")).collect();
    if names == ["-"] { String::new() } else { names.join(" + ") }
}

/// What each version lacks: `2.0 3, 3.0 1`; of more than `most` only those.
fn lacking(row: &FieldRow, most: usize) -> String {
    let lacking = row.versions.iter().filter(|(_, (_, missing))| *missing > 0);
    let mut lacking: Vec<String> =
        lacking.map(|(version, (_, missing))| format!("{version} {missing}")).collect();
    let more = lacking.len().saturating_sub(most);
    lacking.truncate(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    lacking.join(", ") + &more
}

/// Per shape that comes before the head: which fields none of its documents has, though those at the head
/// do; and of a shape that goes no further what the pack says of it.
fn gaps(report: &AggregateReport, pack: &Pack) -> Vec<String> {
    let rows = &report.numbers.rows;
    let has = |field: &str, shape: &str| {
        let same = rows.iter().filter(|row| row.field == field);
        same.filter_map(|row| row.versions.get(shape)).any(|(there, _)| *there > 0)
    };
    let shapes: BTreeSet<&String> = rows.iter().flat_map(|row| row.versions.keys()).collect();
    let label = pack.version_at().and_then(|at| at.tokens().next_back().map(str::to_owned));
    let label = label.unwrap_or_else(|| "version".to_owned());
    let mut warnings = BTreeSet::new();
    for shape in shapes {
        match pack.destination(shape) {
            Destination::Stuck(end) => drop(warnings.insert(end.reason.clone())),
            Destination::Head(route) if !route.is_empty() => {
                let lacks = |field: &&str| has(field, pack.head()) && !has(field, shape);
                let fields: BTreeSet<&str> =
                    rows.iter().map(|row| row.field.as_str()).filter(lacks).collect();
                if !fields.is_empty() {
                    let fields = fields.into_iter().collect::<Vec<_>>().join(", ");
                    warnings.insert(format!(
                        "{label}={shape:?}; current schema is {:?}. Missing fields: {fields} -> null; only a new run \
                         has them",
                        pack.head(),
                    ));
                }
            }
            _ => {}
        }
    }
    warnings.into_iter().collect()
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
    answer["ungrouped"] = json!(report.numbers.ungrouped);
    answer["warnings"] = json!(gaps(report, pack));
    answer["left"] = json!(left.rows());
    session.out.json(&answer);
}

/// Versions told of in a line of the table.
const SHOWN: usize = 3;

fn cells(row: &FieldRow, most: usize) -> Vec<String> {
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
        lacking(row, most),
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
        out.line(cells(row, usize::MAX).iter().map(quoted).collect::<Vec<_>>().join(","));
    }
}

fn tell(report: &AggregateReport, pack: &Pack, named: bool, session: &Session) {
    let out = &session.out;
    let headings = ["GROUP", "FIELD", "N", "MISSING", "MEAN", "MIN", "MAX", "FORMULA", "MISSING IN"];
    // What a whole group has nowhere is told by its absence, unless it was asked for.
    let shown = |row: &&FieldRow| named || row.n > 0;
    let rows: Vec<Vec<String>> =
        report.numbers.rows.iter().filter(shown).map(|row| cells(row, SHOWN)).collect();
    let hidden = report.numbers.rows.len() - rows.len();
    if !rows.is_empty() {
        out.bytes(table(&headings, &[2, 3, 4, 5, 6], &rows).as_bytes());
    }
    if hidden > 0 {
        let lines = count(hidden as u64, "line", "lines");
        out.note(format!("{lines} of fields that no document of the group has: --json and --csv have them"));
    }
    if report.numbers.ungrouped > 0 && report.numbers.ungrouped == report.documents.counts.current {
        out.line(format!("{}  no document has the member that --by names", out.paint.yellow("warning")));
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
