//! What a command is handed: the global flags made ready for use, and the way to the store.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::{Command, Globals};
use super::clock::SystemClock;
use super::error::CliError;
use super::output::{self, Out};
use super::progress::{Meter, Signals};
use crate::store::{Context, ErrorKind, Signer, Store, StoreError, key_files_beside, origin_file_name};

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
    // The store whose checkpoint is to be published when the command has ended.
    due: RefCell<Option<Store>>,
}

impl Session {
    pub fn new(globals: Globals, name: &'static str, command: &Command) -> Result<Self, CliError> {
        let signals = Signals::install(command.waits_for_a_batch())
            .map_err(|error| CliError::failed(format!("signals cannot be taken over: {error}")))?;
        let actor = globals.actor.clone().unwrap_or_else(user_at_host);
        if actor.trim().is_empty() {
            return Err(CliError::usage("--actor must not be empty", None));
        }
        if command.reads_much() {
            super::readers::start()?;
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
        let store = self.store_before_keys()?;
        if self.writes {
            // A store that must not be signed is not written to either.
            let signers = self.signers(&store)?;
            self.meter.sign(signers, Duration::from_secs(self.globals.publish_every));
            self.publish_at_end(&store);
        }
        Ok(store)
    }

    /// Opens the store without looking for its keys.
    pub fn store_before_keys(&self) -> Result<Store, CliError> {
        Ok(match self.named_store() {
            Some(dir) => Store::open(&dir, self.context())?,
            None => Store::open_nearest(&current_dir()?, self.context())?,
        })
    }

    /// Has the checkpoint published when the command has ended, by the keys that sign then.
    pub fn publish_at_end(&self, store: &Store) {
        *self.due.borrow_mut() = Some(store.clone());
    }

    /// The store, where one is named or here: for what can do without.
    pub fn store_if_any(&self) -> Result<Option<Store>, CliError> {
        if self.named_store().is_none() {
            match Store::open_nearest(&current_dir()?, self.context()) {
                Err(StoreError::NoStore { .. }) => return Ok(None),
                // It was not made for whoever asks, who can do without.
                Err(error @ StoreError::Stranger { .. }) => {
                    self.out.warn(&format!("done without a store: {error}"));
                    return Ok(None);
                }
                _ => {}
            }
        }
        self.store().map(Some)
    }

    /// Publishes the checkpoint that is due after a change.
    pub fn publish(&self) -> Result<(), CliError> {
        if let Some(store) = self.due.take() {
            let signers = self.signers(&store)?;
            if !signers.is_empty() {
                store.publish(&signers)?;
            }
        }
        Ok(())
    }

    /// The key files that were named.
    fn named_keys(&self) -> Vec<PathBuf> {
        if !self.globals.signing_key.is_empty() {
            return self.globals.signing_key.clone();
        }
        let set = std::env::var_os("STRONGROOM_KEY").unwrap_or_default();
        std::env::split_paths(&set).filter(|path| !path.as_os_str().is_empty()).collect()
    }

    /// Where the first signing key of a log is: as named, else in the user's configuration.
    pub fn key_path(&self, origin: &str) -> Result<PathBuf, CliError> {
        let own = || Some(user_folder("XDG_CONFIG_HOME", ".config")?.join("keys"));
        let file = |dir: PathBuf| dir.join(format!("{}.key", origin_file_name(origin)));
        let homeless = || CliError::usage("there is no home folder; name the file with --signing-key", None);
        self.named_keys().into_iter().next().or_else(|| own().map(file)).ok_or_else(homeless)
    }

    /// The keys at hand that sign this store's log: those named, else those in the user's configuration.
    /// Keys of the latter that are retired, or that the log never took in, are left out, but their memory
    /// of what they signed is heeded like that of the others.
    pub fn signers(&self, store: &Store) -> Result<Vec<Signer>, CliError> {
        let named = self.named_keys();
        let files = if named.is_empty() {
            let Ok(first) = self.key_path(&store.config().origin) else { return Ok(Vec::new()) };
            key_files_beside(&first)
        } else {
            named.clone()
        };
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let homeless = || CliError::key("there is no home folder to remember what the key signed", None);
        let memory = user_folder("XDG_STATE_HOME", ".local/state").ok_or_else(homeless)?.join("signed");
        let mut signers = Vec::new();
        for file in &files {
            let signer = Signer::read(file, memory.clone())?;
            store.check_signer(&signer)?;
            signers.push(signer);
        }
        let ring = store.keyring()?;
        if named.is_empty() {
            let current = |signer: &Signer| ring.current().any(|known| known.key == *signer.verifying_key());
            signers.retain(current);
        } else {
            signers.iter().try_for_each(|signer| store.may_sign(&ring, signer))?;
        }
        Ok(signers)
    }

    /// How many files were read with permission bits that are not kept: a warning, where the answer is text.
    pub fn bits_dropped(&self) -> u64 {
        self.meter.dropped().map_or(0, |(count, _)| count)
    }

    /// Takes the progress bar away, so that text can follow.
    pub fn end(&self) {
        self.meter.clear();
    }

    /// Tells, where the answer is text, what was not kept of what came in.
    pub fn warn_dropped(&self) {
        if let Some((count, path)) = self.meter.dropped().filter(|_| !self.out.json) {
            let files = output::count(count, "file", "files");
            self.out.warn(&format!(
                "{files} with set-uid, set-gid or sticky bits, which are not kept, first {path}"
            ));
        }
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
