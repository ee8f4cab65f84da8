//! Recording a run: inputs frozen, command run, outputs kept (`store-layout.md`, "Record").
//!
//! Inputs are hashed before anything is written: if a run with them succeeded before, that run is
//! verified and answered, and the store is not touched. Processes that record the same inputs take
//! turns, so the command runs once and the others answer with its run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use super::commit::{Change, Operation, What};
use super::source::{self, Reading};
use super::stage::{RunFolder, Stage};
use super::{CommandLine, Conflict, Store, StoreError, Streams, VerifyOptions};
use crate::backend::{Disk, FileLock};
use crate::base::canonical;
use crate::base::digest::{BlobId, Hasher, Sha256};
use crate::base::id::{JobId, OperationId, RunId, RunKey};
use crate::base::name::LogicalPath;
use crate::format::entry::EntryKind;
use crate::format::manifest::{self, Ending, Manifest};
use crate::format::paths;
use crate::plan::record::{self, Attempt, Decision};

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

/// Inputs up to this size in all are kept in memory between hashing and staging; above, they are
/// read a second time, and must then be the same.
const KEPT_BYTES: u64 = 64 << 20;

struct Input {
    name: String,
    path: LogicalPath,
    /// The relative path that it was given by, if it was.
    given: Option<LogicalPath>,
    blob: BlobId,
    exec: bool,
    from: From,
}

enum From {
    Bytes(Vec<u8>),
    File(Disk, String),
}

#[derive(Default)]
struct Inputs {
    files: Vec<Input>,
    dirs: Vec<LogicalPath>,
    kept: u64,
}

fn refused(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Input { path: path.display().to_string(), why: why.into() }
}

impl Store {
    /// Records a run.
    pub fn record(&self, options: &RecordOptions<'_>) -> Result<Recorded, StoreError> {
        let mut inputs = Inputs::default();
        for given in &options.inputs {
            inputs.take(given, self.config.small_limit)?;
        }
        if let Some(command) = &options.command {
            let bytes = command.snapshot()?;
            inputs.add("command".to_owned(), "inputs/command.json", None, false, From::Bytes(bytes))?;
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
        let job_type = options.job_type.as_deref().unwrap_or(match options.command {
            Some(_) => "command",
            None => "files",
        });
        let manifest = manifest::Recorded {
            job: &key.job,
            run: &key.run,
            job_ref: &options.job_ref,
            job_type,
            inputs_hash,
            snapshots: &snapshots,
            outputs: &outputs,
            ending: &ending,
            attempt_of: first.as_ref(),
            exit_status: exit_code,
        };
        let staged = folder.path.clone();
        let (manifest, list, entries) = stage.end_run(folder, &manifest.to_bytes())?;
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
        let answers = operation.commit(stage, vec![Change { key: key.clone(), what }])?;
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
                    outputs.extend(stage.add_tree(folder, &below, &tree)?);
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

impl Inputs {
    fn take(&mut self, given: &Given, small_limit: u64) -> Result<(), StoreError> {
        let path = &given.path;
        if given.name.contains('/') {
            return Err(refused(
                path,
                format!("an input's name must not hold a slash, {:?} does", given.name),
            ));
        }
        let as_given = relative(path).ok();
        match source::given(path)? {
            source::Given::File(disk, name) => {
                let extension = Path::new(&name).extension().and_then(|e| e.to_str());
                let place = match extension {
                    Some(extension) if !given.name.ends_with(&format!(".{extension}")) => {
                        format!("inputs/{}.{extension}", given.name)
                    }
                    _ => format!("inputs/{}", given.name),
                };
                self.read(given.name.clone(), &place, as_given, &disk, &name, small_limit)
            }
            source::Given::Folder(disk) => {
                let below = format!("inputs/{}", given.name);
                let tree = source::tree(disk, &path.display().to_string(), &|_| false)?;
                let parse = |text: &str| {
                    text.parse::<LogicalPath>().map_err(|error| refused(path, error.to_string()))
                };
                self.dirs.push(parse(&below)?);
                for dir in &tree.dirs {
                    self.dirs.push(parse(&format!("{below}/{dir}"))?);
                }
                for file in &tree.files {
                    let name = format!("{}/{file}", given.name);
                    let beside = as_given.as_ref().and_then(|folder| folder.join(file.as_str()).ok());
                    let place = format!("{below}/{file}");
                    self.read(name, &place, beside, &tree.disk, file.as_str(), small_limit)?;
                }
                Ok(())
            }
        }
    }

    fn read(
        &mut self,
        name: String,
        place: &str,
        given: Option<LogicalPath>,
        disk: &Disk,
        file: &str,
        small_limit: u64,
    ) -> Result<(), StoreError> {
        let mut reading = Reading::open(disk, file)?;
        let exec = reading.exec();
        if reading.len() <= small_limit && self.kept + reading.len() <= KEPT_BYTES {
            self.kept += reading.len();
            let bytes = reading.bytes()?;
            return self.add(name, place, given, exec, From::Bytes(bytes));
        }
        let blob = hash(&mut reading)?;
        let from = From::File(disk.clone(), file.to_owned());
        self.push(name, place, given, exec, from, blob)
    }

    fn add(
        &mut self,
        name: String,
        place: &str,
        given: Option<LogicalPath>,
        exec: bool,
        from: From,
    ) -> Result<(), StoreError> {
        let blob = match &from {
            From::Bytes(bytes) => BlobId::of(bytes),
            From::File(disk, path) => hash(&mut Reading::open(disk, path)?)?,
        };
        self.push(name, place, given, exec, from, blob)
    }

    fn push(
        &mut self,
        name: String,
        place: &str,
        given: Option<LogicalPath>,
        exec: bool,
        from: From,
        blob: BlobId,
    ) -> Result<(), StoreError> {
        let path = place
            .parse()
            .map_err(|error: crate::base::name::PathError| refused(Path::new(&name), error.to_string()))?;
        self.files.push(Input { name, path, given, blob, exec, from });
        Ok(())
    }

    fn check_names(&self) -> Result<(), StoreError> {
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        for input in &self.files {
            if !names.insert(&input.name) {
                return Err(refused(Path::new(&input.name), "two inputs have this name"));
            }
            if !places.insert(input.path.as_str()) {
                let why = format!("two inputs would lie at {}", input.path);
                return Err(refused(Path::new(&input.name), why));
            }
        }
        for dir in &self.dirs {
            if places.contains(dir.as_str()) {
                let why = "two inputs would lie there, one of them a folder";
                return Err(refused(Path::new(dir.as_str()), why));
            }
        }
        Ok(())
    }

    fn hash(&self) -> Sha256 {
        let mut digests: Vec<(&str, &Sha256)> =
            self.files.iter().map(|input| (input.name.as_str(), &input.blob.sha256)).collect();
        digests.sort();
        canonical::inputs_hash(digests)
    }

    fn stage(
        &self,
        stage: &mut Stage,
        folder: &mut RunFolder,
    ) -> Result<Vec<(String, LogicalPath, BlobId)>, StoreError> {
        let inputs: LogicalPath = "inputs".parse().expect("a fixed path");
        stage.add_dir(folder, inputs)?;
        for dir in &self.dirs {
            stage.add_dir(folder, dir.clone())?;
        }
        let mut snapshots = Vec::with_capacity(self.files.len());
        for input in &self.files {
            let blob = match &input.from {
                From::Bytes(bytes) => stage.add_bytes(folder, input.path.clone(), bytes, input.exec)?,
                From::File(disk, path) => {
                    stage.add_file(folder, input.path.clone(), Reading::open(disk, path)?)?
                }
            };
            if blob != input.blob {
                return Err(refused(Path::new(&input.name), "it changed while it was being read"));
            }
            snapshots.push((input.name.clone(), input.path.clone(), blob));
        }
        Ok(snapshots)
    }

    /// Lays the inputs out for a command: read-only copies of what was staged, under `inputs/` and
    /// at the relative path each was given by.
    fn lay_out(&self, disk: &Disk, staged: &str, work: &str) -> Result<(), StoreError> {
        disk.mkdir_all(&format!("{work}/inputs"))?;
        let mut laid = BTreeSet::new();
        for dir in &self.dirs {
            disk.mkdir_all(&format!("{work}/{dir}"))?;
        }
        for input in &self.files {
            for place in [Some(&input.path), input.given.as_ref()].into_iter().flatten() {
                if !laid.insert(place.as_str().to_owned()) {
                    continue;
                }
                for parent in place.parents() {
                    disk.mkdir_all(&format!("{work}/{parent}"))?;
                }
                let mode = super::stage::mode(input.exec);
                disk.clone_or_copy(&format!("{staged}/{}", input.path), &format!("{work}/{place}"), mode)?;
            }
        }
        Ok(())
    }
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

/// Outputs that are given, not produced.
#[derive(Default)]
struct Outputs {
    files: Vec<(LogicalPath, Disk, String)>,
    dirs: Vec<LogicalPath>,
}

impl Outputs {
    fn given(paths: &[PathBuf]) -> Result<Self, StoreError> {
        let mut outputs = Self::default();
        for path in paths {
            outputs.take(path)?;
        }
        let mut places = BTreeSet::new();
        for (place, _, _) in &outputs.files {
            if !places.insert(place.as_str()) {
                return Err(refused(Path::new(place.as_str()), "two outputs would lie there"));
            }
        }
        Ok(outputs)
    }

    fn take(&mut self, path: &Path) -> Result<(), StoreError> {
        let parse =
            |text: String| text.parse::<LogicalPath>().map_err(|error| refused(path, error.to_string()));
        match source::given(path)? {
            source::Given::File(disk, name) => {
                self.files.push((parse(format!("outputs/{name}"))?, disk, name));
            }
            source::Given::Folder(disk) => {
                let real = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                let name = real.file_name().and_then(|name| name.to_str()).unwrap_or("outputs");
                let below = if name == "outputs" { name.to_owned() } else { format!("outputs/{name}") };
                let tree = source::tree(disk, &path.display().to_string(), &|_| false)?;
                self.dirs.push(parse(below.clone())?);
                for dir in &tree.dirs {
                    self.dirs.push(parse(format!("{below}/{dir}"))?);
                }
                for file in &tree.files {
                    let place = parse(format!("{below}/{file}"))?;
                    self.files.push((place, tree.disk.clone(), file.to_string()));
                }
            }
        }
        Ok(())
    }

    fn digests(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.files
            .iter()
            .map(|(place, disk, name)| {
                let blob = hash(&mut Reading::open(disk, name)?)?;
                Ok((place.to_string(), blob.sha256.to_string()))
            })
            .collect()
    }

    fn stage(
        &self,
        stage: &mut Stage,
        folder: &mut RunFolder,
    ) -> Result<Vec<(LogicalPath, BlobId)>, StoreError> {
        stage.add_dir(folder, "outputs".parse().expect("a fixed path"))?;
        for dir in &self.dirs {
            stage.add_dir(folder, dir.clone())?;
        }
        self.files
            .iter()
            .map(|(place, disk, name)| {
                let blob = stage.add_file(folder, place.clone(), Reading::open(disk, name)?)?;
                Ok((place.clone(), blob))
            })
            .collect()
    }
}
