//! What a command is handed: the global flags made ready for use, and the way to the store.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::{Command, Globals};
use super::clock::SystemClock;
use super::error::CliError;
use super::output::Out;
use super::progress::{Meter, Signals};
use crate::store::{Context, ErrorKind, Signer, Store, StoreError, origin_file_name};

/// One run of the program.
pub(super) struct Session {
    /// Where answers go.
    pub out: Out,
    command: &'static str,
    globals: Globals,
    actor: String,
    signals: Signals,
    meter: Arc<Meter>,
    writes: bool,
    // The store and the key that are to publish when the command has ended.
    due: RefCell<Option<(Store, Signer)>>,
}

impl Session {
    pub fn new(globals: Globals, name: &'static str, command: &Command) -> Result<Self, CliError> {
        let signals = Signals::install(command.waits_for_a_batch())
            .map_err(|error| CliError::failed(format!("signals cannot be taken over: {error}")))?;
        let actor = globals.actor.clone().unwrap_or_else(user_at_host);
        if actor.trim().is_empty() {
            return Err(CliError::usage("--actor must not be empty", None));
        }
        let out = Out::new(globals.json, globals.quiet, globals.color);
        // A bar and rows that stream to the same terminal would overwrite each other.
        let bar = !globals.quiet && !globals.json;
        let meter = Arc::new(Meter::new(signals.clone(), name, bar));
        let (writes, due) = (command.writes(), RefCell::new(None));
        Ok(Self { out, command: name, globals, actor, signals, meter, writes, due })
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
        let store = Store::open(&dir, self.context())?;
        if self.writes
            && let Some(signer) = self.signer(&store)?
        {
            // A store that must not be signed is not written to either.
            store.check_signer(&signer)?;
            *self.due.borrow_mut() = Some((store.clone(), signer));
        }
        Ok(store)
    }

    /// The store, where one is named or here: for what can do without.
    pub fn store_if_any(&self) -> Result<Option<Store>, CliError> {
        match self.named_store() {
            None if Store::find(&current_dir()?).is_none() => Ok(None),
            _ => self.store().map(Some),
        }
    }

    /// Publishes the checkpoint that is due after a change.
    pub fn publish(&self) -> Result<(), CliError> {
        if let Some((store, signer)) = self.due.take() {
            store.publish(&signer)?;
        }
        Ok(())
    }

    /// The key file that was named.
    fn named_key(&self) -> Option<PathBuf> {
        let set = || std::env::var_os("STRONGROOM_KEY").filter(|file| !file.is_empty()).map(PathBuf::from);
        self.globals.signing_key.clone().or_else(set)
    }

    /// Where the signing key of a log is: as named, else in the user's configuration.
    pub fn key_path(&self, origin: &str) -> Result<PathBuf, CliError> {
        let own = || Some(user_folder("XDG_CONFIG_HOME", ".config")?.join("keys"));
        let file = |dir: PathBuf| dir.join(format!("{}.key", origin_file_name(origin)));
        let homeless = || CliError::usage("there is no home folder; name the file with --signing-key", None);
        self.named_key().or_else(|| own().map(file)).ok_or_else(homeless)
    }

    /// The key that signs this store's log, where there is one.
    pub fn signer(&self, store: &Store) -> Result<Option<Signer>, CliError> {
        let named = self.named_key().is_some();
        let Ok(path) = self.key_path(&store.config().origin) else { return Ok(None) };
        if !named && std::fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let homeless = || CliError::key("there is no home folder to remember what the key signed", None);
        let memory = user_folder("XDG_STATE_HOME", ".local/state").ok_or_else(homeless)?;
        Ok(Some(Signer::read(&path, memory.join("signed"))?))
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

/// Our folder in one of the user's (XDG Base Directory Specification: a relative path is ignored).
fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))?;
    Some(base.join("strongroom"))
}

/// Who runs the program on which machine. It is declared, not proved, as the log's readers know.
fn user_at_host() -> String {
    let named = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let user = named("USER").or_else(|| named("LOGNAME"));
    let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}
