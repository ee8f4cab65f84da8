//! What went wrong, in words, with a hint and an exit code: the one table (`ARCHITECTURE.md`,
//! "Errors and exit codes").

use std::io::{ErrorKind as ErrorKindOfIo, IsTerminal, Write};

use super::args::Color;
use super::output::Paint;
use crate::base::escape::Escaped;
use crate::base::id::{IdError, OperationIdError};
use crate::plan::witness::Answer;
use crate::store::{Conflict, ErrorKind, StoreError};

/// The exit codes.
pub(super) mod exit {
    pub const OK: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const FOUND: u8 = 3;
    pub const NOT_FOUND: u8 = 4;
    pub const CONFLICT: u8 = 5;
    pub const REFUSED: u8 = 6;
    pub const DAMAGED: u8 = 7;
    pub const KEY: u8 = 8;
    pub const COMMAND: u8 = 9;
    pub const NO_STORE: u8 = 10;
    pub const LOCKED: u8 = 11;
    pub const NEWER: u8 = 12;
    /// 128 and the number of SIGINT.
    pub const INTERRUPTED: u8 = 130;
}

/// A failure as the user hears of it.
#[derive(Debug)]
pub(super) struct CliError {
    kind: &'static str,
    exit: u8,
    message: String,
    hint: Option<String>,
}

/// The word and the exit code of each kind.
fn outcome(kind: ErrorKind) -> (&'static str, u8) {
    match kind {
        ErrorKind::Failed => ("failed", exit::FAILED),
        ErrorKind::Usage => ("usage", exit::USAGE),
        ErrorKind::NotFound => ("not-found", exit::NOT_FOUND),
        ErrorKind::Conflict => ("conflict", exit::CONFLICT),
        ErrorKind::Refused => ("refused", exit::REFUSED),
        ErrorKind::Damaged => ("damaged", exit::DAMAGED),
        ErrorKind::Key => ("key", exit::KEY),
        ErrorKind::NoStore => ("no-store", exit::NO_STORE),
        ErrorKind::Locked => ("locked", exit::LOCKED),
        ErrorKind::Newer => ("newer", exit::NEWER),
        ErrorKind::Interrupted => ("interrupted", exit::INTERRUPTED),
    }
}

/// The command that helps, where one does.
fn hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::NoStore { .. } => {
            "strongroom init makes a store; --store DIR or STRONGROOM_STORE names one".to_owned()
        }
        StoreError::AlreadyAStore { .. } => "use it with --store DIR, or from inside".to_owned(),
        StoreError::NotEmpty { .. } => "name a folder that is empty or not there yet".to_owned(),
        StoreError::Stranger { dir, .. } => {
            format!("if it is the one that is meant, say so: --store {}", dir.display())
        }
        StoreError::NoRun { .. } => "strongroom list shows the runs".to_owned(),
        StoreError::AmbiguousRun { .. } => "give job/run, or more of the run id".to_owned(),
        StoreError::NoJob { .. } => "strongroom list shows the jobs and their runs".to_owned(),
        StoreError::NoRevision { run, .. } | StoreError::UnclearRevision { run, .. } => {
            format!("strongroom history {run} lists its revisions")
        }
        StoreError::NoOperation(_) | StoreError::NotUndoable { .. } => {
            "strongroom history RUN shows which operations changed a run".to_owned()
        }
        StoreError::NoPath { run, .. } => format!("strongroom verify {run} lists what is wrong with the run"),
        StoreError::NoWitness { .. } => "strongroom audit witness init makes one".to_owned(),
        StoreError::NotPublished { .. } | StoreError::NoCheckpoint => {
            "strongroom audit checkpoint publishes one; it needs a signing key".to_owned()
        }
        StoreError::NoRunMap { .. } => {
            "the next run that comes in or changes brings one; strongroom audit checkpoint publishes it"
                .to_owned()
        }
        StoreError::NoVersion(_) => "strongroom versions shows what there is and where it can go".to_owned(),
        StoreError::DamagedRun { run, .. } => {
            format!("strongroom verify {run} says what changed; strongroom restore {run} puts it back")
        }
        StoreError::Manifest { run, .. } => format!("strongroom restore {run} puts the logged revision back"),
        StoreError::BadRun { run, .. } => format!("strongroom verify {run} says what is wrong"),
        StoreError::Conflict(Conflict::Exists(_) | Conflict::Changed { .. }) => {
            "look at what is there now, then run the command again".to_owned()
        }
        StoreError::Conflict(Conflict::OtherContent { run, .. }) => {
            format!("strongroom show {run} tells what was recorded")
        }
        StoreError::LinkInPlace { .. } | StoreError::Conflict(Conflict::NoFolder { .. }) => {
            "move it out of the store; strongroom verify tells what the log expects there".to_owned()
        }
        StoreError::Conflict(Conflict::Twin { .. }) => "choose a name that differs by more".to_owned(),
        StoreError::NoPack(_) => {
            "strongroom pack list shows the packs; a folder is named with a slash, as in ./NAME".to_owned()
        }
        StoreError::NoManifestPack(_) => {
            "strongroom pack install FOLDER brings it; or name another in strongroom.toml".to_owned()
        }
        StoreError::Start { .. } => {
            "a program without a slash is looked up in PATH, one with a slash from here".to_owned()
        }
        StoreError::Interrupted { .. } => "the same command again goes on where this one stopped".to_owned(),
        other => {
            let hint = no_room(other).or_else(|| hint_by_kind(other.kind()));
            return hint.map(str::to_owned);
        }
    })
}

/// What to free or to raise where the kernel had no room. The message names the file.
fn no_room(error: &StoreError) -> Option<&'static str> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKindOfIo::StorageFull) => {
                return Some(
                    "free space on the filesystem that holds it (or file names: df -i), then run the same command again; what was \
                     committed before is whole",
                );
            }
            Some(ErrorKindOfIo::QuotaExceeded) => {
                return Some(
                    "your quota on that filesystem is used up: remove files of yours or have it raised, then run \
                     the same command again; what was committed before is whole",
                );
            }
            Some(ErrorKindOfIo::FileTooLarge) => {
                return Some(
                    "raise the limit on the size of files (ulimit -f, or the filesystem's own), then run the same command again; what was \
                     committed before is whole",
                );
            }
            _ => cause = error.source(),
        }
    }
    None
}

fn hint_by_kind(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Locked => Some("wait for it, or wait longer with --lock-timeout SECONDS"),
        ErrorKind::Newer => Some("use a newer strongroom; nothing was written"),
        ErrorKind::Damaged => Some("strongroom verify says what is damaged; put that back from a backup"),
        ErrorKind::Usage => Some("the tables: strongroom query \"SELECT sql FROM sqlite_master\""),
        _ => None,
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let (kind, exit) = outcome(error.kind());
        Self { kind, exit, message: error.to_string(), hint: hint(&error) }
    }
}

impl From<IdError> for CliError {
    fn from(error: IdError) -> Self {
        let hint = "an id has 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter, digit or underscore";
        Self::refused(error.to_string(), Some(hint.to_owned()))
    }
}

impl From<OperationIdError> for CliError {
    fn from(error: OperationIdError) -> Self {
        Self::usage(error.to_string(), Some("strongroom history RUN shows operations".to_owned()))
    }
}

impl CliError {
    /// A failure of the machine, or of something that should not fail.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: "failed", exit: exit::FAILED, message: message.into(), hint: None }
    }

    /// A command that was put wrongly.
    pub fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind: "usage", exit: exit::USAGE, message: message.into(), hint }
    }

    /// A signing key that is missing.
    pub fn key(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind: "key", exit: exit::KEY, message: message.into(), hint }
    }

    /// Something given that is not taken.
    pub fn refused(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind: "refused", exit: exit::REFUSED, message: message.into(), hint }
    }

    /// A witness's answer other than a cosignature, each status of the protocol with its exit code.
    pub fn witness(answer: &Answer) -> Self {
        let (exit, why) = match answer {
            Answer::Cosign(_) => (exit::FAILED, "cosigned".to_owned()),
            Answer::BadRequest(why) => (exit::REFUSED, why.clone()),
            Answer::NotSigned(why) => (exit::KEY, format!("none of the log's trusted keys signed: {why}")),
            Answer::UnknownLog(origin) => (exit::NOT_FOUND, format!("it does not follow {origin}")),
            Answer::OtherSize(size) => {
                (exit::CONFLICT, format!("it cosigned {size} entries last, and the request begins elsewhere"))
            }
            Answer::SecondRoot(seen) => (
                exit::CONFLICT,
                format!("it cosigned another root, {}, for {} entries", seen.root, seen.size),
            ),
            Answer::NotConsistent(why) => {
                (exit::FOUND, format!("the tree is not proved to begin with the one cosigned last: {why}"))
            }
        };
        let hint = match answer {
            Answer::OtherSize(size) => Some(format!("strongroom audit anchor request --old {size}")),
            Answer::UnknownLog(_) => Some("strongroom audit witness add-log makes it follow one".to_owned()),
            Answer::SecondRoot(_) | Answer::NotConsistent(_) => {
                Some("keep the request: two such checkpoints prove that the log was rewritten".to_owned())
            }
            _ => None,
        };
        let message = format!("the witness refuses ({} {}): {why}", answer.status(), answer.word());
        Self { kind: "witness", exit, message, hint }
    }

    /// A signal stopped the command between two batches.
    pub fn interrupted(error: &StoreError, signal: u8) -> Self {
        let exit = 128u8.saturating_add(signal);
        Self { kind: "interrupted", exit, message: error.to_string(), hint: hint(error) }
    }

    /// What the parser of arguments said, for those who read JSON.
    pub fn unparsed(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let message = lines.next().unwrap_or("wrong usage").trim_start_matches("error: ").to_owned();
        let hint = lines.find_map(|line| line.strip_prefix("tip: ")).map(str::to_owned);
        Self::usage(message, hint.or_else(|| Some("strongroom --help".to_owned())))
    }

    /// Says on standard error what went wrong; the value is the exit code.
    pub fn tell(&self, json: bool, color: Color) -> u8 {
        let text = if json {
            let error = serde_json::json!({
                "kind": self.kind, "message": self.message, "hint": self.hint, "exit": self.exit,
            });
            format!("{}\n", serde_json::json!({ "error": error }))
        } else {
            let paint = Paint::new(color, std::io::stderr().is_terminal());
            let mut text = format!("{} {}\n", paint.red("error:"), Escaped(&self.message));
            if let Some(hint) = &self.hint {
                text.push_str(&format!("{} {}\n", paint.bold("hint:"), Escaped(hint)));
            }
            text
        };
        // Nobody is left to be told when this fails; the exit code still says it.
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_exit_code_of_the_table() {
        use ErrorKind::*;
        let table = [
            (Failed, 1),
            (Usage, 2),
            (NotFound, 4),
            (Conflict, 5),
            (Refused, 6),
            (Damaged, 7),
            (Key, 8),
            (NoStore, 10),
            (Locked, 11),
            (Newer, 12),
            (Interrupted, 130),
        ];
        for (kind, code) in table {
            assert_eq!(outcome(kind).1, code, "{kind:?}");
        }
    }
}
