//! `strongroom restore`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;

/// Put back what the log says and the objects hold
///
/// Files that differ or are missing get their recorded bytes; what lay in their place is kept in the
/// objects. Extra files are left where they are and listed, as is what cannot be put back, and the
/// exit code is then 3.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    run: String,
    /// Only this file or folder of the run
    path: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let key = store.find_run(&args.run)?;
    let path = args.path.as_deref().map(|path| path.trim_end_matches('/'));
    let report = store.restore(&key, path).map_err(|error| session.failure(error))?;
    session.end();
    let out = &session.out;
    let status = if report.left.is_empty() { exit::OK } else { exit::FOUND };
    if out.json {
        let restored: Vec<serde_json::Value> = report
            .restored
            .iter()
            .map(|file| json!({"path": file.path, "sha256": file.sha256, "found": file.found}))
            .collect();
        let left: Vec<serde_json::Value> =
            report.left.iter().map(|(path, why)| json!({"path": path, "reason": why})).collect();
        out.json(&json!({
            "job_id": key.job, "run_id": key.run, "restored": restored, "left": left, "entry": report.entry,
        }));
        return Ok(status);
    }
    for file in &report.restored {
        let found = match &file.found {
            Some(found) => format!("in place of {}", safe(found)),
            None => "where nothing was".to_owned(),
        };
        out.note(format!("restored  {}  {found}", safe(&file.path)));
    }
    for (path, why) in &report.left {
        out.line(format!("{}  {}: {}", out.paint.yellow("left"), safe(path), safe(why)));
    }
    let entry = report.entry.map(|entry| format!(", log entry {entry}")).unwrap_or_default();
    let restored = count(report.restored.len() as u64, "path", "paths");
    out.line(format!("{key}: {restored} restored, {} left{entry}", report.left.len()));
    Ok(status)
}
