//! The demonstration: a whole day with a store in a second. Each step is checked; one that does not
//! come out as it should ends the demonstration with an error.

mod samples;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::CliError;
use super::output::{count, safe};
use super::session::Session;
use crate::base::digest::Sha256;
use crate::base::id::{OperationId, RunKey};
use crate::format::finding::Code;
use crate::format::manifest::Ending;
use crate::store::{
    AdoptOptions, CommandLine, Given, MigrateOptions, RecordOptions, RecordedAs, RolledBack, Store,
    StoreError, Streams, VerifyOptions, VerifyReport,
};
use samples::{NOTES, SAMPLES, put};

/// What the recorded command does: nothing but what every shell has built in.
const SCRIPT: &str = "n=0; while read -r line; do n=$((n+1)); echo \"$n. $line\"; done \
    < inputs/notes.txt > outputs/list.txt; echo \"numbered $n lines\"";

/// Runs the demonstration in a folder.
pub(super) fn run(dir: &Path, session: &Session) -> Result<(), CliError> {
    let dir = fresh(dir)?;
    let store = Store::init(&dir.join("store"), None, session.context())?;
    let mut demo = Demo { dir, store, session, steps: Vec::new() };
    demo.say("init", vec![format!("an empty store in {}", demo.shown("store"))]);
    demo.adopt()?;
    demo.record()?;
    demo.versions()?;
    let operation = demo.migrate()?;
    demo.recompute()?;
    demo.tamper()?;
    demo.roll_back(operation)?;
    demo.end();
    Ok(())
}

/// The folder, made if it is missing, refused if it holds anything.
fn fresh(dir: &Path) -> Result<PathBuf, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        let hint = format!("remove it with: rm -r {}; or name another folder", dir.display());
        return Err(CliError::refused(format!("{} is not empty", dir.display()), Some(hint)));
    }
    dir.canonicalize().map_err(failed)
}

/// Shows nothing of the recorded command: the demonstration tells what it said.
struct Unseen;

impl Streams for Unseen {}

struct Demo<'a> {
    dir: PathBuf,
    store: Store,
    session: &'a Session,
    steps: Vec<(&'static str, Vec<String>)>,
}

/// The one thing that no step may gloss over.
fn expect(right: bool, what: &str) -> Result<(), CliError> {
    if right { Ok(()) } else { Err(CliError::failed(format!("the demonstration went wrong: {what}"))) }
}

impl Demo<'_> {
    /// A path below the demonstration's folder, as shown.
    fn shown(&self, below: &str) -> String {
        safe(self.dir.join(below).display().to_string())
    }

    fn say(&mut self, step: &'static str, lines: Vec<String>) {
        let out = &self.session.out;
        if !out.json {
            for (at, line) in lines.iter().enumerate() {
                let head = if at == 0 { step } else { "" };
                out.note(format!("{}{line}", out.paint.bold(&format!("{head:<10}"))));
            }
        }
        self.steps.push((step, lines));
    }

    fn key(&self, sample: usize) -> Result<RunKey, CliError> {
        let sample = &SAMPLES[sample];
        Ok(RunKey { job: sample.job.parse()?, run: sample.run_id().parse()? })
    }

    fn manifest_path(&self, key: &RunKey) -> PathBuf {
        self.dir.join(format!("store/artifacts/{key}/manifest.json"))
    }

    fn verify(&self) -> Result<VerifyReport, CliError> {
        Ok(self.store.verify(&VerifyOptions::default())?)
    }

    fn adopt(&mut self) -> Result<(), CliError> {
        let source = self.dir.join("old-system/artifacts");
        for sample in SAMPLES {
            sample.write(&source)?;
        }
        let report = self.store.adopt(&source, &AdoptOptions::default(), &mut |_, _| {})?;
        let (adopted, refused) = (report.adopted, report.refused);
        expect(adopted == SAMPLES.len() as u64 && refused == 0, "not every sample was adopted")?;
        for (at, sample) in SAMPLES.iter().enumerate() {
            let bytes = read(&self.manifest_path(&self.key(at)?))?;
            expect(bytes == sample.manifest().as_bytes(), "an adopted manifest has other bytes")?;
        }
        let runs = count(SAMPLES.len() as u64, "run", "runs");
        let lines = vec![
            format!("{runs} of an older system came in, every byte as it was, from"),
            self.shown("old-system/artifacts"),
        ];
        self.say("adopt", lines);
        Ok(())
    }

    fn record(&mut self) -> Result<(), CliError> {
        let notes = self.dir.join("work/notes.txt");
        put(&notes, NOTES)?;
        let mut options = RecordOptions {
            job: "numbering".parse()?,
            inputs: vec![Given { name: "notes".to_owned(), path: notes }],
            outputs: vec![PathBuf::from("outputs/")],
            command: Some(CommandLine {
                argv: ["sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
                from: self.dir.join("work"),
                env: Vec::new(),
            }),
            job_ref: String::new(),
            job_type: None,
            streams: &Unseen,
        };
        let mut how = "a shell command ran alone with its input";
        let first = match self.store.record(&options) {
            Err(StoreError::Start { .. }) => {
                how = "there is no shell here, so a given output was kept with its input";
                let list = self.dir.join("work/list.txt");
                put(&list, "1. pick the quinces\n2. boil the sugar\n3. label the jars\n")?;
                (options.command, options.outputs) = (None, vec![list]);
                self.store.record(&options)?
            }
            other => other?,
        };
        expect(first.ending == Ending::Succeeded && first.answered == RecordedAs::New, "recording failed")?;
        let list = read(&self.dir.join(format!("store/artifacts/{}/outputs/list.txt", first.key)))?;
        expect(list.starts_with(b"1. pick the quinces\n"), "the recorded output is not what was written")?;
        let second = self.store.record(&options)?;
        let same = second.answered == RecordedAs::Same && second.key == first.key;
        expect(same, "the same inputs again were not answered from the store")?;
        let lines = vec![
            format!("{how}; it is {}", first.key),
            "the same again: verified and answered from the store, nothing executed".to_owned(),
        ];
        self.say("record", lines);
        Ok(())
    }

    fn versions(&mut self) -> Result<(), CliError> {
        let report = self.store.versions()?;
        let counted: u64 = report.rows.iter().map(|row| row.count).sum();
        expect(report.total == 4 && counted == 4 && report.migratable() == 2, "the versions do not add up")?;
        let rows: Vec<String> =
            report.rows.iter().map(|row| format!("{} {}", row.version, row.count)).collect();
        let text = format!("{}; {} could migrate to {}", rows.join(", "), report.migratable(), report.head);
        self.say("versions", vec![text]);
        Ok(())
    }

    fn migrate(&mut self) -> Result<OperationId, CliError> {
        let mut changes = Vec::new();
        let dry = MigrateOptions { dry_run: true, ..MigrateOptions::default() };
        let planned = self.store.migrate(&dry, &mut |row| {
            changes.extend(row.changes.iter().map(|change| format!("  {}: {}", row.key.job, safe(change))));
        })?;
        expect((planned.migrated, planned.current) == (2, 2), "the dry run does not add up")?;
        let unchanged = read(&self.manifest_path(&self.key(0)?))? == SAMPLES[0].manifest().as_bytes();
        expect(unchanged, "the dry run wrote something")?;
        let text =
            format!("would migrate {} and leave {}; nothing written", planned.migrated, planned.current);
        let mut lines = vec![text];
        lines.append(&mut changes);
        self.say("dry run", lines);

        let done = self.store.migrate(&MigrateOptions::default(), &mut |_| {})?;
        expect((done.migrated, done.current, done.refused) == (2, 2, 0), "the migration does not add up")?;
        let operation = done.operation.ok_or_else(|| CliError::failed("the migration has no operation"))?;
        let again = self.store.migrate(&MigrateOptions::default(), &mut |_| {})?;
        let idle = (again.migrated, again.current) == (0, 4) && again.operation.is_none();
        expect(idle, "migrating again changed something")?;
        let text =
            format!("{} to {}, operation {operation}; again: nothing to do", done.migrated, done.target);
        self.say("migrate", vec![text]);
        Ok(operation)
    }

    /// Recomputes the checksum that the migration wrote, as a reader with sed and sha256sum would.
    fn recompute(&mut self) -> Result<(), CliError> {
        let path = self.manifest_path(&self.key(0)?);
        let bytes = read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        let doc = crate::base::json::scan(&bytes).map_err(|error| CliError::failed(error.to_string()))?;
        let records = doc.root().get("migration_history");
        let written = records
            .and_then(|records| records.elements().last())
            .and_then(|record| record.get("checksum_after")?.as_str().map(|text| text.into_owned()));
        let Some(written) = written else {
            return expect(false, "the migrated manifest has no checksum_after");
        };
        let digits = written.trim_start_matches(Sha256::PREFIX);
        let zeroed = text.replace(digits, &"0".repeat(64));
        expect(Sha256::of(zeroed.as_bytes()).to_string() == written, "checksum_after does not recompute")?;
        expect(
            text.contains("\"seed\": 9007199254740993, \"batch\": \"2026\\/01\""),
            "a number was respelled",
        )?;
        let lines = vec![
            "the checksum in the migrated manifest recomputes, also without this program:".to_owned(),
            format!("  sum={digits}"),
            format!("  sed \"s/$sum/$(printf %064d 0)/\" {} | sha256sum", safe(path.display().to_string())),
        ];
        self.say("by hand", lines);
        Ok(())
    }

    fn tamper(&mut self) -> Result<(), CliError> {
        let (edited, altered) = (self.key(0)?, self.key(2)?);
        let input = "inputs/brief.resolved.json";
        edit(&self.manifest_path(&edited), "\"succeeded\"", "\"failed\"")?;
        edit(&self.dir.join(format!("store/artifacts/{altered}/{input}")), "Sunday", "Monday")?;
        let lines = vec![
            format!("edited {edited}/manifest.json in place"),
            format!("edited {altered}/{input} in place"),
        ];
        self.say("tamper", lines);

        let report = self.verify()?;
        let found = |code: Code, key: &RunKey, path: &str| {
            report.failures().any(|finding| {
                finding.code == code
                    && finding.run.as_ref() == Some(key)
                    && finding.path.as_deref() == Some(path)
            })
        };
        expect(found(Code::ManifestChanged, &edited, "manifest.json"), "the edited manifest was not found")?;
        expect(found(Code::FileChanged, &altered, input), "the edited input was not found")?;
        let others =
            report.failures().any(|f| f.run.as_ref() != Some(&edited) && f.run.as_ref() != Some(&altered));
        expect(!others, "something was found that was not touched")?;
        let findings = report.failures().map(|finding| {
            let run = finding.run.as_ref().map(ToString::to_string).unwrap_or_default();
            let path = finding.path.as_deref().map(safe).unwrap_or_default();
            format!("{} {run} {path}: {}", finding.code, finding.code.title())
        });
        self.say("verify", findings.collect());

        for key in [&edited, &altered] {
            let report = self.store.restore(key, None)?;
            expect(
                report.restored.len() == 1 && report.left.is_empty(),
                "the restore did not put back one file",
            )?;
        }
        let clean = self.verify()?;
        expect(clean.failures().next().is_none(), "the restored store is not clean")?;
        let text = format!(
            "both files have their recorded bytes again; verify: {} of {} clean",
            count(clean.files, "file", "files"),
            count(clean.runs, "run", "runs")
        );
        self.say("restore", vec![text]);
        Ok(())
    }

    fn roll_back(&mut self, operation: OperationId) -> Result<(), CliError> {
        let report = self.store.rollback_operation(&operation)?;
        let done = report.runs.iter().filter(|(_, result)| matches!(result, RolledBack::Done { .. })).count();
        expect(done == 2 && report.runs.len() == 2, "the migration was not rolled back as a whole")?;
        for (at, sample) in SAMPLES.iter().enumerate() {
            let bytes = read(&self.manifest_path(&self.key(at)?))?;
            expect(bytes == sample.manifest().as_bytes(), "a manifest is not what it was before")?;
        }
        let clean = self.verify()?;
        expect(clean.failures().next().is_none(), "the store is not clean after the rollback")?;
        let mut lines = vec![format!("{done} manifests are byte for byte what they were; verify: clean")];
        let undone = report.operation.ok_or_else(|| CliError::failed("the rollback has no operation"))?;
        let forward = self.store.rollback_operation(&undone)?;
        let done =
            forward.runs.iter().filter(|(_, result)| matches!(result, RolledBack::Done { .. })).count();
        expect(done == 2, "the rollback was not rolled back")?;
        let clean = self.verify()?;
        expect(clean.failures().next().is_none(), "the store is not clean after going forward again")?;
        let entries = count(clean.entries, "log entry", "log entries");
        lines.push(format!("and forward again by undoing the rollback; nothing was lost: {entries}"));
        self.say("rollback", lines);
        Ok(())
    }

    fn end(&self) {
        let out = &self.session.out;
        let next = [
            format!("cd {}", self.shown("store")),
            format!("strongroom history {}", SAMPLES[0].job.to_owned() + "/" + &SAMPLES[0].run_id()),
            "strongroom list".to_owned(),
            format!("strongroom show {}", SAMPLES[0].run_id()),
            "strongroom verify".to_owned(),
            "strongroom query \"SELECT job_id, from_version, to_version, time FROM migrations\"".to_owned(),
        ];
        if out.json {
            let steps: Vec<serde_json::Value> =
                self.steps.iter().map(|(step, lines)| json!({"step": step, "says": lines})).collect();
            let dir = self.dir.display().to_string();
            out.json(&json!({"dir": dir, "store": self.dir.join("store").display().to_string(), "steps": steps, "next": next}));
            return;
        }
        out.line(format!("\nEverything came out as it should. The store lies in {}:", self.shown("store")));
        out.note("artifacts/ holds the runs as plain files, audit/ the log, objects/ every replaced byte.");
        out.note("Next:");
        for line in &next {
            out.note(format!("  {line}"));
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| CliError::failed(format!("{}: {error}", path.display())))
}

/// Edits a read-only file in place, as someone with an editor would.
fn edit(path: &Path, from: &str, to: &str) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", path.display()));
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    expect(text.contains(from), "there is nothing to tamper with")?;
    let mode = std::fs::metadata(path).map_err(failed)?.permissions();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    std::fs::write(path, text.replacen(from, to, 1)).map_err(failed)?;
    std::fs::set_permissions(path, mode).map_err(failed)
}
