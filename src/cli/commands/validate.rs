//! `strongroom validate`

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use crate::cli::documents::{Left, counts_json, pack_of, passed_over, progress, some};
use crate::cli::error::{CliError, exit};
use crate::cli::output::count;
use crate::cli::session::Session;
use crate::store::carry;

/// Check that documents are what they say: JSON files, JSON Lines, rows of a SQLite table
///
/// Every document that does not fit the schema of its version is listed with its place and the reason,
/// and the exit code is then 3. Deprecated members, and members that the schema does not describe, are
/// warnings. Needs no store and writes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack that describes the documents: a name, or a folder
    #[arg(long, value_name = "PACK")]
    pack: String,
    /// Hold every document against this version
    #[arg(long = "as", value_name = "VERSION")]
    version: Option<String>,
    /// Files and folders
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    some(&args.paths)?;
    let pack = pack_of(&args.pack, session)?;
    let mut left = Left::default();
    let start = Instant::now();
    let report =
        carry::validate(&pack, &args.paths, args.version.as_deref(), &*progress(session), &mut |row| {
            left.take(row, session);
        })
        .map_err(|error| session.failure(error))?;
    let seconds = start.elapsed().as_secs_f64();
    session.end();
    let bad = report.counts.refused + report.counts.unreadable;
    if session.out.json {
        let mut summary = counts_json(&report);
        summary["pack"] = json!(pack.name());
        summary["valid"] = json!(report.counts.current);
        summary["left"] = json!(left.rows());
        summary["warnings"] = json!(left.warnings_json());
        summary["documents_per_second"] = json!((report.counts.found as f64 / seconds.max(1e-9)).round());
        session.out.json(&summary);
    } else {
        left.tell_warnings(session);
        session.out.line(format!(
            "{} in {}: {} valid, {} refused, {} unreadable{}",
            count(report.counts.found, "document", "documents"),
            count(report.files, "file", "files"),
            report.counts.current,
            report.counts.refused,
            report.counts.unreadable,
            passed_over(&report),
        ));
    }
    Ok(if bad > 0 { exit::FOUND } else { exit::OK })
}
