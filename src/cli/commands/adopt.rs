//! `strongroom adopt`

use std::path::PathBuf;

use serde_json::json;

use crate::base::id::OperationId;
use crate::cli::error::{CliError, exit};
use crate::cli::output::{Out, count, safe};
use crate::cli::session::Session;
use crate::store::{AdoptOptions, AdoptReport, Adopted, Seen};

/// Bring an existing tree of runs under the store, every byte as it is
///
/// Every folder with a manifest.json is a run, wherever in the tree it lies. The source is only read;
/// links in it are not followed. What is inconsistent already comes in as it is and is listed, so that
/// verify knows it and a later change is told apart. Adopting the same tree again changes nothing.
///
/// Exit code 3 when a run was refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tree
    dir: PathBuf,
    /// The job of runs that name none, neither in their manifest nor in their brief
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Read every file again, also of folders that did not change since they were adopted, going by
    /// their times, sizes and inodes
    #[arg(long)]
    rehash: bool,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let job = args.job.map(|job| job.parse()).transpose()?;
    let store = session.store()?;
    let options = AdoptOptions { job, rehash: args.rehash };
    let mut teller = Teller { session, report: AdoptReport::default(), told: false, inconsistent: 0 };
    // The rows may be many more than should be held: they go out as they come.
    let done = store.adopt(&args.dir, &options, &mut |seen, so_far| {
        teller.report = *so_far;
        teller.row(&seen);
    });
    session.end();
    match done {
        Ok(report) => teller.report = report,
        Err(error) => {
            // What was told of already makes up a document all the same.
            if session.out.json && teller.told {
                teller.end_json();
            }
            return Err(session.failure(error));
        }
    }
    if session.out.json {
        teller.end_json()
    } else {
        teller.summary()
    }
    Ok(if teller.report.refused > 0 { exit::FOUND } else { exit::OK })
}

struct Teller<'a> {
    session: &'a Session,
    report: AdoptReport,
    /// Whether any row was told of.
    told: bool,
    /// Runs that came in with exceptions.
    inconsistent: u64,
}

impl Teller<'_> {
    fn row(&mut self, seen: &Seen) {
        // A bar and a row on the same terminal would overwrite each other.
        self.session.end();
        let out = &self.session.out;
        if out.json {
            out.bytes(if self.told { b"," } else { b"{\"seen\":[" });
            out.bytes(as_json(seen).to_string().as_bytes());
        } else {
            self.inconsistent +=
                u64::from(matches!(seen.result, Adopted::New { exceptions, .. } if exceptions > 0));
            tell(seen, out);
        }
        self.told = true;
    }

    /// The operation, where anything came in.
    fn operation(&self) -> Option<OperationId> {
        self.report.operation.filter(|_| self.report.adopted > 0)
    }

    fn end_json(&self) {
        let AdoptReport { adopted, already, refused, skipped, .. } = self.report;
        let rest = json!({
            "operation": self.operation(), "found": adopted + already + refused, "adopted": adopted,
            "already": already, "refused": refused, "skipped": skipped,
            "bits_dropped": self.session.bits_dropped(),
        });
        let out = &self.session.out;
        if !self.told {
            out.bytes(b"{\"seen\":[");
        }
        out.bytes(b"],");
        out.line(&rest.to_string()[1..]);
    }

    fn summary(&self) {
        let out = &self.session.out;
        let AdoptReport { adopted, already, refused, skipped, .. } = self.report;
        let found = count(adopted + already + refused, "run", "runs");
        out.line(format!(
            "{found} found: {adopted} adopted, {already} already here, {refused} refused; {skipped} skipped, no runs"
        ));
        if self.inconsistent > 0 {
            let runs = count(self.inconsistent, "run", "runs");
            out.note(format!("{runs} came in with exceptions; strongroom verify shows them as known"));
        }
        if let Some(operation) = self.operation() {
            out.note(format!("operation {operation}"));
        }
    }
}

fn as_json(seen: &Seen) -> serde_json::Value {
    match &seen.result {
        Adopted::New { key, exceptions } => json!({
            "place": seen.place, "result": "adopted", "job_id": key.job, "run_id": key.run,
            "exceptions": exceptions,
        }),
        Adopted::Already { key } => {
            json!({"place": seen.place, "result": "already", "job_id": key.job, "run_id": key.run})
        }
        Adopted::Refused(why) => json!({"place": seen.place, "result": "refused", "reason": why}),
        Adopted::Skipped(why) => json!({"place": seen.place, "result": "skipped", "reason": why}),
    }
}

fn tell(seen: &Seen, out: &Out) {
    let place = safe(&seen.place);
    match &seen.result {
        Adopted::New { key, exceptions } => {
            let known = match exceptions {
                0 => String::new(),
                n => {
                    format!(" ({} as found, listed in the log)", count(*n as u64, "exception", "exceptions"))
                }
            };
            out.note(format!("adopted  {place} as {key}{known}"));
        }
        Adopted::Already { key } => out.note(format!("already  {place} as {key}")),
        Adopted::Refused(why) => {
            out.line(format!("{}  {place}: {}", out.paint.red("refused"), safe(why)));
        }
        Adopted::Skipped(why) => out.note(format!("skipped  {place}: {}", safe(why))),
    }
}
