//! `strongroom record`

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::{Session, current_dir};
use crate::format::manifest::Ending;
use crate::store::{CommandLine, Given, RecordOptions, Recorded, RecordedAs, Streams};

/// Record a run: freeze its inputs, run its command, keep what it wrote
///
/// With a COMMAND, the command runs in a fresh folder of its own. The inputs lie there read-only,
/// under inputs/ and at the relative paths that they were given by, so a command that reads what it
/// declared works unchanged. Outputs are taken from that folder; exit status and standard streams are
/// kept. Without a COMMAND, inputs and outputs are given files and folders.
///
/// The run's id follows from its inputs (the command is one of them). Recording the same inputs again
/// executes nothing: the run that is there is verified and answered. A failed command is recorded as
/// failed (exit code 9) and never answered as a success; the next try is a further attempt.
///
/// A job id stands in the log for ever. Names of persons do not belong in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job that the run belongs to; not a person's name, since it can never be removed
    #[arg(long, value_name = "JOB")]
    job: String,
    /// An input file or folder and its name in the run
    #[arg(long = "input", value_name = "NAME=PATH", value_parser = given)]
    inputs: Vec<Given>,
    /// A file or folder that the command writes, relative to its folder (a trailing / makes it beforehand);
    /// without a command, one that is there
    #[arg(long = "output", value_name = "PATH")]
    outputs: Vec<PathBuf>,
    /// Where the job is described, as the manifest is to say
    #[arg(long, value_name = "TEXT", default_value = "")]
    job_ref: String,
    /// The kind of job, as the manifest is to say [default: command or files]
    #[arg(long, value_name = "TEXT")]
    job_type: Option<String>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn given(text: &str) -> Result<Given, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok(Given { name: name.to_owned(), path: PathBuf::from(path) })
        }
        _ => Err("an input is given as NAME=PATH".to_owned()),
    }
}

/// The command's output as it comes, on standard error: standard output is for the answer.
struct Shown(bool);

impl Streams for Shown {
    fn show(&self, bytes: &[u8]) {
        if self.0 {
            // The bytes are kept in the run; a terminal that went away does not stop the command.
            let _ = std::io::stderr().lock().write_all(bytes);
        }
    }
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    if args.command.is_empty() && args.inputs.is_empty() {
        let hint = "give --input NAME=PATH, or a command after --".to_owned();
        return Err(CliError::usage(
            "a run without inputs and without a command has no identity",
            Some(hint),
        ));
    }
    let job = args.job.parse()?;
    let store = session.store()?;
    let command = match args.command.is_empty() {
        true => None,
        false => Some(CommandLine { argv: args.command, from: current_dir()?, env: Vec::new() }),
    };
    let streams = Shown(!session.out.quiet && !session.out.json);
    let options = RecordOptions {
        job,
        inputs: args.inputs,
        outputs: args.outputs,
        command,
        job_ref: args.job_ref,
        job_type: args.job_type,
        streams: &streams,
    };
    let recorded = store.record(&options).map_err(|error| session.failure(error))?;
    session.end();
    tell(&recorded, session);
    Ok(if recorded.ending == Ending::Succeeded { exit::OK } else { exit::COMMAND })
}

fn tell(recorded: &Recorded, session: &Session) {
    let key = &recorded.key;
    let (files, bytes) = recorded.files;
    let failure = match &recorded.ending {
        Ending::Succeeded => None,
        Ending::Failed(why) => Some(why),
    };
    let out = &session.out;
    if out.json {
        out.json(&json!({
            "job_id": key.job, "run_id": key.run, "path": format!("artifacts/{key}"),
            "answered": match recorded.answered { RecordedAs::New => "new", RecordedAs::Same => "same" },
            "status": if failure.is_none() { "succeeded" } else { "failed" },
            "error": failure, "exit_code": recorded.exit_code, "attempt_of": recorded.attempt_of,
            "operation": recorded.operation, "files": files, "bytes": bytes,
            "bits_dropped": session.bits_dropped(),
        }));
        return;
    }
    if out.quiet {
        out.line(key.to_string());
        return;
    }
    let size = format!("{}, {}", count(files, "file", "files"), count(bytes, "byte", "bytes"));
    match (recorded.answered, failure) {
        (RecordedAs::Same, _) => {
            out.line(format!("same inputs as {key}: verified and answered, nothing executed ({size})"));
        }
        (RecordedAs::New, None) => out.line(format!("recorded {key} ({size})")),
        (RecordedAs::New, Some(why)) => {
            out.line(format!(
                "recorded {key} as {} ({size})",
                out.paint.red(&format!("failed, {}", safe(why)))
            ));
        }
    }
    if let Some(first) = &recorded.attempt_of {
        out.line(format!("a further attempt of {}/{first}", key.job));
    }
}
