//! `strongroom evidence`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::store::EvidenceOptions;

/// Make a folder (or zip file) that proves to others what happened to runs
///
/// It holds the runs' files, every revision of their manifests, their log entries each with a proof, the
/// signed checkpoint, and a report to read and print; `check-evidence` checks it without this store, and
/// VERIFY.md in it says how to check it without this program. It is a BagIt bag and an RO-Crate. With a
/// signing key the checkpoint is published first and the statement about the files signed. The same
/// store gives the same bundle. Exit code 3 when a run as it lies in the store is not as recorded: the
/// bundle is made all the same, of the recorded bytes, and says so.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    #[arg(required = true)]
    runs: Vec<String>,
    /// The folder to make
    #[arg(short, long, value_name = "DIR", required_unless_present = "zip")]
    output: Option<PathBuf>,
    /// The zip file to make
    #[arg(long, value_name = "FILE")]
    zip: Option<PathBuf>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let signers = session.signers(&store)?;
    let runs = args.runs.iter().map(|name| store.find_run(name)).collect::<Result<Vec<_>, _>>()?;
    let options = EvidenceOptions { runs, dir: args.output, zip: args.zip };
    let report = store.evidence(&options, &signers).map_err(|error| session.failure(error))?;
    session.end();
    let out = &session.out;
    let found = report.findings.iter().filter(|finding| finding.is_failure()).count();
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    if out.json {
        out.json(&json!({
            "dir": shown(&options.dir), "zip": shown(&options.zip), "entries": report.entries,
            "files": report.files, "bytes": report.bytes, "size": report.size, "root": report.root,
            "signed_by": report.signed_by, "findings": found,
        }));
    } else {
        for path in [shown(&options.dir), shown(&options.zip)].into_iter().flatten() {
            out.line(format!(
                "{}: {}, {} proved at size {}",
                safe(path),
                count(report.files, "file", "files"),
                count(report.entries, "log entry", "log entries"),
                report.size
            ));
        }
        match report.signed_by.is_empty() {
            false => out.note(format!("the statement is signed by {}", safe(report.signed_by.join(", ")))),
            true => out.note("the statement is not signed: there is no signing key"),
        }
        if found > 0 {
            let found = count(found as u64, "finding", "findings");
            out.line(format!(
                "{}: {found} in the store; the bundle has the recorded bytes",
                out.paint.red("note")
            ));
        }
    }
    Ok(if found > 0 { exit::FOUND } else { exit::OK })
}
