//! `strongroom migrate`

mod carried;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::cli::documents::Left;
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, shown_diff, unified};
use crate::cli::session::{Session, current_dir};
use crate::format::paths;
use crate::store::carry::CarryOptions;
use crate::store::{MigrateOptions, MigrateReport, Migrated, Selection, Store, Verdict};

/// Migrate manifests, or documents outside the store, to a newer schema version
///
/// Without --pack the manifests of the store; with it the documents in the files and folders named:
/// JSON files, JSON Lines, rows of a SQLite table. These run inside a store too, which keeps the
/// replaced bytes and tells of the change in its log; a dry run needs none. Each rewrite changes exactly what the migration declares, keeps the bytes it replaces, and is one
/// entry of the log. Documents at the target are left alone; those that cannot migrate are listed with
/// the reason, and the exit code is then 3. Stopped at any moment, the same command again goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show what would change in every document, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Show the difference of every document as well
    #[arg(long)]
    diff: bool,
    /// The schema version to go to [default: the newest]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// The pack that describes the documents: a name, or a folder
    #[arg(long, value_name = "PACK", conflicts_with_all = ["job", "runs", "manifests"])]
    pack: Option<String>,
    /// Files and folders outside the store
    #[arg(value_name = "PATH", requires = "pack")]
    paths: Vec<PathBuf>,
    /// Only runs of this job
    #[arg(long, value_name = "JOB", conflicts_with_all = ["runs", "manifests"])]
    job: Option<String>,
    /// Only this run
    #[arg(long = "run", value_name = "RUN")]
    runs: Vec<String>,
    /// Only the run of this manifest file in the store
    #[arg(long = "manifest", value_name = "PATH")]
    manifests: Vec<PathBuf>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    if let Some(pack) = &args.pack {
        let options = CarryOptions { paths: args.paths, to: args.to };
        let told = carried::Told { dry_run: args.dry_run, diff: args.diff };
        return carried::run(pack, &options, told, session);
    }
    let job = args.job.as_deref().map(str::parse).transpose()?;
    let store = session.store()?;
    let mut runs: Vec<RunKey> = Vec::new();
    for name in &args.runs {
        runs.push(store.find_run(name)?);
    }
    for path in &args.manifests {
        runs.push(run_of_manifest(&store, path)?);
    }
    runs.sort();
    runs.dedup();
    let selection = match job {
        Some(job) => Selection::Job(job),
        None if args.runs.is_empty() && args.manifests.is_empty() => Selection::All,
        None => Selection::Runs(runs),
    };
    let mut teller = Teller {
        session,
        dry_run: args.dry_run,
        diff: args.diff,
        routes: BTreeMap::new(),
        left: Vec::new(),
        warned: Left::default(),
    };
    let bytes = args.diff || session.out.json;
    let options = MigrateOptions { selection, to: args.to, dry_run: args.dry_run, batch: None, bytes };
    let report =
        store.migrate(&options, &mut |row| teller.row(row)).map_err(|error| session.failure(error))?;
    session.end();
    teller.summary(&report);
    Ok(if report.refused + report.unreadable > 0 { exit::FOUND } else { exit::OK })
}

/// The run whose manifest lies at a path, given relative to here or to the store.
fn run_of_manifest(store: &Store, path: &Path) -> Result<RunKey, CliError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = real(store.root());
    let here = real(&current_dir()?.join(path));
    let inside = match here.strip_prefix(&root) {
        Ok(inside) => inside.to_owned(),
        Err(_) => path.to_owned(),
    };
    let parts: Option<Vec<&str>> = inside
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let name = match parts.as_deref() {
        Some([paths::ARTIFACTS, job, run] | [paths::ARTIFACTS, job, run, paths::MANIFEST]) => {
            format!("{job}/{run}")
        }
        _ => {
            let message =
                format!("{}: not a manifest of the store at {}", path.display(), store.root().display());
            let hint = "a manifest lies at artifacts/<job>/<run>/manifest.json".to_owned();
            return Err(CliError::refused(message, Some(hint)));
        }
    };
    Ok(store.find_run(&name)?)
}

struct Teller<'a> {
    session: &'a Session,
    dry_run: bool,
    diff: bool,
    routes: BTreeMap<String, u64>,
    left: Vec<(&'static str, RunKey, String)>,
    warned: Left,
}

impl Teller<'_> {
    fn row(&mut self, row: &Migrated) {
        let done = if self.dry_run { "would migrate" } else { "migrated" };
        let diff = row.bytes.as_ref().filter(|_| self.diff).map(|(before, after)| {
            unified(
                before,
                after,
                &format!("a/{}/{}", row.key, paths::MANIFEST),
                &format!("b/{}/{}", row.key, paths::MANIFEST),
            )
        });
        let (verdict, reason, entry) = match &row.verdict {
            Verdict::Migrated { entry } => (done, None, *entry),
            Verdict::Current => ("current", None, None),
            Verdict::Refused(why) => ("refused", Some(why), None),
            Verdict::Unreadable(why) => ("unreadable", Some(why), None),
        };
        let out = &self.session.out;
        if out.json {
            let digests = row.bytes.as_ref().map(|(before, after)| (Sha256::of(before), Sha256::of(after)));
            out.json(&json!({
                "type": "manifest", "job_id": row.key.job, "run_id": row.key.run,
                "verdict": verdict.replace(' ', "-"), "reason": reason, "path": row.path,
                "changes": row.changes, "warnings": row.warnings, "before": digests.map(|d| d.0), "after": digests.map(|d| d.1),
                "entry": entry, "diff": diff,
            }));
            return;
        }
        self.warned.warn(&row.warnings, || row.key.to_string());
        if let Some(why) = reason {
            self.left.push((
                if verdict == "refused" { "refused" } else { "unreadable" },
                row.key.clone(),
                why.clone(),
            ));
            return;
        }
        if row.verdict == Verdict::Current {
            return;
        }
        let route = row.path.join(" -> ");
        if self.dry_run || self.diff {
            self.session.end();
            out.line(format!("{verdict} {}  {}", row.key, safe(&route)));
            for change in &row.changes {
                out.line(format!("    {}", safe(change)));
            }
            if let Some(diff) = diff {
                out.bytes(shown_diff(&diff, out.paint).as_bytes());
            }
        }
        *self.routes.entry(route).or_insert(0) += 1;
    }

    fn summary(&self, report: &MigrateReport) {
        let out = &self.session.out;
        if out.json {
            out.json(&json!({
                "type": "summary", "operation": report.operation, "target": report.target,
                "dry_run": self.dry_run, "found": report.found, "migrated": report.migrated,
                "current": report.current, "refused": report.refused, "unreadable": report.unreadable,
            }));
            return;
        }
        for (word, key, why) in &self.left {
            out.line(format!("{}  {key}: {}", out.paint.red(word), safe(why)));
        }
        self.warned.tell_warnings(self.session);
        for (route, runs) in &self.routes {
            out.note(format!("{}  {}", safe(route), count(*runs, "run", "runs")));
        }
        let done = if self.dry_run { "would migrate" } else { "migrated" };
        out.line(format!(
            "{} found: {} {done} to {}, {} current, {} refused, {} unreadable{}",
            count(report.found, "manifest", "manifests"),
            report.migrated,
            safe(&report.target),
            report.current,
            report.refused,
            report.unreadable,
            if self.dry_run { "; nothing was written" } else { "" },
        ));
        if let Some(operation) = report.operation {
            out.note(format!("operation {operation}"));
            out.note(format!("undo with: strongroom rollback --operation {operation}"));
        }
    }
}
