//! What a command is handed: the global flags made ready for use, and the way to the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::Globals;
use super::clock::SystemClock;
use super::error::CliError;
use super::output::Out;
use super::progress::{Meter, Signals};
use crate::store::{Context, ErrorKind, Store, StoreError};

/// One run of the program.
pub(super) struct Session {
    /// Where answers go.
    pub out: Out,
    command: &'static str,
    globals: Globals,
    actor: String,
    signals: Signals,
    meter: Arc<Meter>,
}

impl Session {
    pub fn new(globals: Globals, command: &'static str, gently: bool) -> Result<Self, CliError> {
        let signals = Signals::install(gently)
            .map_err(|error| CliError::failed(format!("signals cannot be taken over: {error}")))?;
        let actor = globals.actor.clone().unwrap_or_else(user_at_host);
        if actor.trim().is_empty() {
            return Err(CliError::usage("--actor must not be empty", None));
        }
        let out = Out::new(globals.json, globals.quiet, globals.color);
        // A bar and rows that stream to the same terminal would overwrite each other.
        let bar = !globals.quiet && !globals.json;
        let meter = Arc::new(Meter::new(signals.clone(), command, bar));
        Ok(Self { out, command, globals, actor, signals, meter })
    }

    /// What the store is handed from outside.
    pub fn context(&self) -> Context {
        Context {
            clock: Arc::new(SystemClock),
            actor: self.actor.clone(),
            reason: self.globals.reason.clone(),
            holder: format!("pid {} (strongroom {})", std::process::id(), self.command),
            lock_timeout: Duration::from_secs(self.globals.lock_timeout),
            progress: self.meter.clone(),
            hook: None,
        }
    }

    /// The folder given by `--store` or the environment.
    fn named_store(&self) -> Option<PathBuf> {
        let from_environment =
            || std::env::var_os("STRONGROOM_STORE").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.globals.store.clone().or_else(from_environment)
    }

    /// The folder given by `--store`, for commands that make a store.
    pub fn given_store(&self) -> Option<&Path> {
        self.globals.store.as_deref()
    }

    /// Opens the store: the one named, else the nearest from here upwards.
    pub fn store(&self) -> Result<Store, CliError> {
        let dir = match self.named_store() {
            Some(dir) => dir,
            None => {
                let here = current_dir()?;
                Store::find(&here).ok_or(StoreError::NoStore { dir: here })?
            }
        };
        Ok(Store::open(&dir, self.context())?)
    }

    /// Takes the progress bar away, so that text can follow.
    pub fn end(&self) {
        self.meter.clear();
    }

    /// Translates a failure of a long command, which may be that a signal stopped it.
    pub fn failure(&self, error: StoreError) -> CliError {
        self.meter.clear();
        match (error.kind(), self.signals.asked()) {
            (ErrorKind::Interrupted, Some(signal)) => CliError::interrupted(&error, signal),
            _ => error.into(),
        }
    }
}

/// The folder that the command was called in.
pub(super) fn current_dir() -> Result<PathBuf, CliError> {
    std::env::current_dir().map_err(|error| CliError::failed(format!("the current folder: {error}")))
}

/// Who runs the program on which machine. It is declared, not proved, as the log's readers know.
fn user_at_host() -> String {
    let named = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let user = named("USER").or_else(|| named("LOGNAME"));
    let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}
