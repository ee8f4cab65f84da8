//! Recording a run: inputs frozen, command run, outputs kept (`store-layout.md`, "Record").
//!
//! Inputs are hashed before anything is written: if a run with them succeeded before, that run is
//! verified and answered, and the store is not touched. Processes that record the same inputs take
//! turns, so the command runs once and the others answer with its run.

mod inputs;
mod outputs;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use inputs::{Inputs, Source};
use outputs::Outputs;

use super::commit::{Change, Operation, What};
use super::source::{self, Reading};
use super::stage::{RunFolder, Stage};
use super::{CommandLine, Conflict, Store, StoreError, Streams, VerifyOptions};
use crate::backend::{FileLock, Prepared};
use crate::base::digest::{BlobId, Hasher, Sha256};
use crate::base::id::{JobId, OperationId, RunId, RunKey};
use crate::base::json;
use crate::base::name::LogicalPath;
use crate::format::config::DEFAULT_PACK;
use crate::format::entry::EntryKind;
use crate::format::manifest::{self, Ending, Manifest};
use crate::format::paths;
use crate::plan::record::{self, Attempt, Decision};
use crate::schema::Detection;

/// A file or folder given by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The snapshot's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// What to record.
#[derive(Clone)]
pub struct RecordOptions<'a> {
    /// The job.
    pub job: JobId,
    /// The inputs.
    pub inputs: Vec<Given>,
    /// The outputs: relative to the command's folder, or given files and folders.
    pub outputs: Vec<PathBuf>,
    /// The command; without one, inputs and outputs are given.
    pub command: Option<CommandLine>,
    /// Where the job's description lies.
    pub job_ref: String,
    /// The kind of job.
    pub job_type: Option<String>,
    /// Sees the command's output as it comes.
    pub streams: &'a dyn Streams,
}

/// How a recording was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedAs {
    /// A new run.
    New,
    /// A run with these inputs was there, and it is whole.
    Same,
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The run.
    pub key: RunKey,
    /// Whether it is new.
    pub answered: RecordedAs,
    /// How it ended.
    pub ending: Ending,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// The first attempt, when this is a further one.
    pub attempt_of: Option<RunId>,
    /// The operation, when something was written.
    pub operation: Option<OperationId>,
    /// Number of files in the run, and their bytes.
    pub files: (u64, u64),
}

/// What a command left: outputs by place, how it ended, its exit code.
type Produced = (Vec<(LogicalPath, BlobId)>, Ending, Option<i32>);

fn refused(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Input { path: path.display().to_string(), why: why.into() }
}

/// The kind of job, as given or as it follows from there being a command.
fn job_type<'a>(options: &'a RecordOptions<'_>) -> &'a str {
    options.job_type.as_deref().unwrap_or(match options.command {
        Some(_) => "command",
        None => "files",
    })
}

impl Store {
    /// Records a run.
    pub fn record(&self, options: &RecordOptions<'_>) -> Result<Recorded, StoreError> {
        self.check_pack_knows_recorded(options)?;
        let mut inputs = Inputs::default();
        for given in &options.inputs {
            inputs.take(given, self.config.small_limit, self.context.progress.as_ref())?;
        }
        if let Some(command) = &options.command {
            let bytes = command.snapshot()?;
            inputs.add("command".to_owned(), "inputs/command.json", None, false, Source::Memory(bytes))?;
        }
        inputs.check_names()?;
        let inputs_hash = inputs.hash();
        let _turn = FileLock::acquire(
            &self.disk,
            &paths::record_lock(&inputs_hash),
            &self.context.holder,
            // Whoever records the same is running the command: that takes as long as it takes.
            std::time::Duration::MAX,
        )?;
        self.finish_interrupted()?;
        match self.decide(&options.job, &inputs_hash)? {
            Decision::Conflict { run } => {
                let run = RunKey { job: options.job.clone(), run };
                Err(StoreError::Conflict(Conflict::OtherContent { run, what: "inputs" }))
            }
            Decision::Same { run } => self.answer(options, run),
            Decision::New { run, first } => self.record_new(options, inputs, &inputs_hash, run, first),
        }
    }

    /// Insists that the store's pack knows the manifests that are written here: else each run would be
    /// one that it can neither judge nor migrate.
    fn check_pack_knows_recorded(&self, options: &RecordOptions<'_>) -> Result<(), StoreError> {
        // The default pack is that of these manifests, and looking for it would read the whole log.
        if self.config.pack == DEFAULT_PACK {
            return Ok(());
        }
        let pack = self.manifest_pack()?;
        let inputs_hash = Sha256::of(b"");
        let sample = manifest::Recorded {
            job: &options.job,
            run: &RunId::derive(&inputs_hash, 1),
            job_ref: &options.job_ref,
            job_type: job_type(options),
            inputs_hash: &inputs_hash,
            snapshots: &[],
            outputs: &[],
            ending: &Ending::Succeeded,
            attempt_of: None,
            exit_status: None,
        };
        let sample = sample.to_bytes();
        let Ok(doc) = json::scan(&sample) else { return Ok(()) };
        match pack.detect(&doc) {
            Detection::Known { .. } | Detection::Legacy { .. } => Ok(()),
            other => {
                let why = format!(
                    "its pack {} does not know the manifests that record writes ({DEFAULT_PACK} {}): {other}",
                    pack.name(),
                    manifest::RECORDED_VERSION
                );
                Err(StoreError::Input { path: paths::CONFIG.to_owned(), why })
            }
        }
    }

    fn decide(&self, job: &JobId, inputs_hash: &Sha256) -> Result<Decision, StoreError> {
        let stem = RunId::derive(inputs_hash, 1);
        let mut attempts = Vec::new();
        for key in self.index()?.attempts(job, stem.as_str())? {
            let manifest = self.parsed_manifest(&key)?;
            attempts.push(Attempt {
                run: key.run,
                inputs_hash: manifest.inputs_hash.as_deref().and_then(|text| text.parse().ok()),
                succeeded: manifest.status.as_deref() == Some("succeeded"),
            });
        }
        Ok(record::decide(inputs_hash, &attempts))
    }

    fn parsed_manifest(&self, key: &RunKey) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_bytes(key)?;
        Manifest::parse(&bytes).map_err(|source| StoreError::Manifest { run: key.clone(), source })
    }

    /// Answers with a run that is there, once it has stood verification.
    fn answer(&self, options: &RecordOptions<'_>, run: RunId) -> Result<Recorded, StoreError> {
        let key = RunKey { job: options.job.clone(), run };
        let report = self.verify(&VerifyOptions { runs: vec![key.clone()], ..VerifyOptions::default() })?;
        if let Some(first) = report.failures().next() {
            let place = first.path.clone().unwrap_or_default();
            let first = format!("{} {}: {}", first.code, place, first.code.title());
            return Err(StoreError::DamagedRun { run: key, count: report.failures().count(), first });
        }
        let manifest = self.parsed_manifest(&key)?;
        if options.command.is_none() {
            let mut given = Outputs::default();
            for path in &options.outputs {
                given.take(path)?;
            }
            let recorded: BTreeMap<String, String> =
                manifest.outputs.iter().filter_map(|o| Some((o.path.clone(), o.sha256.clone()?))).collect();
            if given.digests()? != recorded {
                return Err(StoreError::Conflict(Conflict::OtherContent { run: key, what: "outputs" }));
            }
        }
        Ok(Recorded {
            key,
            answered: RecordedAs::Same,
            ending: Ending::Succeeded,
            exit_code: None,
            attempt_of: None,
            operation: None,
            files: (report.files, report.bytes),
        })
    }

    fn record_new(
        &self,
        options: &RecordOptions<'_>,
        inputs: Inputs,
        inputs_hash: &Sha256,
        run: RunId,
        first: Option<RunId>,
    ) -> Result<Recorded, StoreError> {
        let key = RunKey { job: options.job.clone(), run };
        let mut operation = Operation::begin(self)?;
        let mut stage = operation.stage()?;
        let mut folder = stage.run_folder()?;
        let snapshots = inputs.stage(&mut stage, &mut folder)?;
        let (outputs, ending, exit_code) = match &options.command {
            None => {
                (Outputs::given(&options.outputs)?.stage(&mut stage, &mut folder)?, Ending::Succeeded, None)
            }
            Some(command) => self.run_command(options, command, &key, &inputs, &mut stage, &mut folder)?,
        };
        if self.context.progress.interrupted() {
            stage.end();
            return Err(StoreError::Interrupted { done: 0, total: 1 });
        }
        let manifest = manifest::Recorded {
            job: &key.job,
            run: &key.run,
            job_ref: &options.job_ref,
            job_type: job_type(options),
            inputs_hash,
            snapshots: &snapshots,
            outputs: &outputs,
            ending: &ending,
            attempt_of: first.as_ref(),
            exit_status: exit_code,
        };
        let staged = folder.path.clone();
        let (manifest, list, entries) = stage.end_run(folder, &Prepared::of(manifest.to_bytes()))?;
        let what = What::New {
            kind: EntryKind::Recorded,
            manifest: manifest.sha256,
            files: list.sha256,
            staged,
            outcome: Some(if ending == Ending::Succeeded { "succeeded" } else { "failed" }.to_owned()),
            attempt_of: first.clone(),
            exceptions: None,
        };
        let id = operation.id;
        let answers = operation.commit(stage, vec![Change::run(key.clone(), what)])?;
        for answer in answers {
            match answer {
                Ok(_) => {}
                // Adopted or recorded under this id meanwhile, by other means than ours.
                Err(Conflict::Exists(_)) if ending == Ending::Succeeded => {
                    operation.end();
                    return self.answer(options, key.run);
                }
                Err(conflict) => return Err(StoreError::Conflict(conflict)),
            }
        }
        operation.end();
        let blobs = || entries.iter().filter_map(|entry| entry.blob());
        Ok(Recorded {
            key,
            answered: RecordedAs::New,
            ending,
            exit_code,
            attempt_of: first,
            operation: Some(id),
            files: (blobs().count() as u64, blobs().map(|blob| blob.bytes).sum()),
        })
    }

    /// Runs the command in a folder of its own and takes in what it declared to write.
    fn run_command(
        &self,
        options: &RecordOptions<'_>,
        command: &CommandLine,
        key: &RunKey,
        inputs: &Inputs,
        stage: &mut Stage,
        folder: &mut RunFolder,
    ) -> Result<Produced, StoreError> {
        let mut wanted: Vec<(LogicalPath, bool)> = Vec::new();
        for output in &options.outputs {
            wanted.push((relative(output)?, output.as_os_str().to_string_lossy().ends_with('/')));
        }
        let work = format!("{}/work", stage.path());
        inputs.lay_out(&self.disk, &folder.path, &work)?;
        for (output, is_folder) in &wanted {
            for parent in output.parents() {
                self.disk.mkdir_all(&format!("{work}/{parent}"))?;
            }
            if *is_folder {
                self.disk.mkdir_all(&format!("{work}/{output}"))?;
            }
        }
        let work_path = std::path::absolute(self.disk.full_path(&work)).unwrap_or_default();
        let mut command = command.clone();
        let variables = [
            ("STRONGROOM_INPUTS", work_path.join("inputs").into_os_string()),
            ("STRONGROOM_JOB_ID", key.job.as_str().into()),
            ("STRONGROOM_RUN_ID", key.run.as_str().into()),
            ("STRONGROOM_CALLER_DIR", command.from.clone().into_os_string()),
        ];
        command.env.extend(variables.map(|(name, value)| (name.into(), value)));

        let logs = format!("{}/streams", stage.path());
        self.disk.mkdir(&logs)?;
        let create = |name: &str| -> Result<File, StoreError> {
            let path = self.disk.full_path(&format!("{logs}/{name}"));
            File::create_new(&path).map_err(|error| refused(&path, error.to_string()))
        };
        let (mut out, mut err) = (create("stdout")?, create("stderr")?);
        let ran = command.run(&work_path, options.streams, &mut out, &mut err, &*self.context.progress)?;
        drop((out, err));

        let mut ending = ran.ending;
        let disk = self.disk.below(&work)?;
        let mut outputs = Vec::new();
        for (output, _) in &wanted {
            let place = run_place(output)?;
            match disk.stat(output.as_str())?.map(|stat| stat.kind) {
                None => {
                    if ending == Ending::Succeeded {
                        ending = Ending::Failed(format!("it did not write the declared output {output}"));
                    }
                }
                Some(crate::backend::Kind::File) => {
                    let place =
                        place.ok_or_else(|| refused(Path::new(output.as_str()), "it is not a folder"))?;
                    let blob =
                        stage.add_file(folder, place.clone(), Reading::open(&disk, output.as_str())?)?;
                    outputs.push((place, blob));
                }
                Some(crate::backend::Kind::Dir) => {
                    let tree = source::tree(disk.below(output.as_str())?, output.as_str(), &|_| false)?;
                    let below = place.map_or("outputs".to_owned(), |place| place.to_string());
                    stage.add_dir(folder, below.parse().expect("outputs and what lies below are paths"))?;
                    outputs.extend(stage.add_tree(folder, &below, &tree, Vec::new())?);
                }
                Some(other) => {
                    let why =
                        format!("it is a {}; only regular files and folders are recorded", other.word());
                    return Err(refused(Path::new(output.as_str()), why));
                }
            }
        }
        for name in ["stdout", "stderr"] {
            let place: LogicalPath = format!("streams/{name}").parse().expect("a fixed path");
            let reading = Reading::open(&self.disk, &format!("{logs}/{name}"))?;
            let blob = stage.add_file(folder, place.clone(), reading)?;
            outputs.push((place, blob));
        }
        Ok((outputs, ending, ran.code))
    }
}

/// Where an output goes in the run: below `outputs/`, once. `None` for `outputs` itself.
fn run_place(path: &LogicalPath) -> Result<Option<LogicalPath>, StoreError> {
    let text = path.as_str();
    let below = match text.strip_prefix("outputs") {
        Some("") => return Ok(None),
        Some(rest) if rest.starts_with('/') => text.to_owned(),
        _ => format!("outputs/{text}"),
    };
    let place = below.parse();
    place.map(Some).map_err(|error: crate::base::name::PathError| refused(Path::new(text), error.to_string()))
}

/// A path given relative to the command's folder.
fn relative(path: &Path) -> Result<LogicalPath, StoreError> {
    let mut text = String::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                let name = name.to_str().ok_or_else(|| refused(path, "its name is not UTF-8"))?;
                if !text.is_empty() {
                    text.push('/');
                }
                text.push_str(name);
            }
            _ => {
                let why = "an output of a command is given relative to the folder it runs in, without ..";
                return Err(refused(path, why));
            }
        }
    }
    text.parse().map_err(|error: crate::base::name::PathError| refused(path, error.to_string()))
}

fn hash(reading: &mut Reading) -> Result<BlobId, StoreError> {
    use std::io::Read;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        match reading.stream().read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(refused(Path::new("an input"), error.to_string())),
        }
    }
    let blob = hasher.finish();
    reading.held_still(blob.bytes)?;
    Ok(blob)
}
