//! `strongroom reindex`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;

/// Make the index say what the log and the files say
///
/// The index is derived: it can be deleted at any time and comes out the same, row for row. A manifest that
/// looks as it did when it was last read (device, inode, size and times) is not read again. An index that is
/// missing, of another version or damaged is built from nothing, as is any with --anew. Manifests that cannot
/// be read are listed and do not stop it. Merkle tiles and nodes of the run map that are missing or damaged
/// are made anew from the log's entries.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build it from nothing and read every manifest, whatever is there
    #[arg(long)]
    anew: bool,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let report = if args.anew { store.reindex_anew() } else { store.reindex() };
    let report = report.map_err(|error| session.failure(error))?;
    session.end();
    let out = &session.out;
    if out.json {
        let rows: serde_json::Map<String, serde_json::Value> =
            report.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
        let problems: Vec<serde_json::Value> = report
            .problems
            .iter()
            .map(|p| json!({"job_id": p.job, "run_id": p.run, "code": p.code, "detail": p.detail}))
            .collect();
        out.json(&json!({"rows": rows, "problems": problems, "read": report.read, "mended": report.mended}));
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> =
        report.rows.iter().map(|(table, rows)| vec![(*table).to_owned(), rows.to_string()]).collect();
    out.note(table(&["TABLE", "ROWS"], &[1], &rows).trim_end());
    for problem in &report.problems {
        let place = safe(format!("{}/{}", problem.job, problem.run));
        out.line(format!("{}  {place}: {}", out.paint.yellow(&safe(&problem.code)), safe(&problem.detail)));
    }
    for path in &report.mended {
        out.line(format!("made anew: {}", safe(path)));
    }
    let problems = count(report.problems.len() as u64, "problem", "problems");
    out.note(match report.read {
        None => format!("the index was built anew, {problems}"),
        Some(read) => {
            let read = count(read, "manifest read", "manifests read");
            format!("the index was brought up to date, {read}, {problems}")
        }
    });
    Ok(exit::OK)
}
