//! `strongroom audit`

mod anchor;
mod check;
mod witness;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::policy::PolicyArgs;
use crate::base::id::RunKey;
use crate::cli::error::{CliError, exit};
use crate::cli::output::{safe, table};
use crate::cli::session::Session;
use crate::note::{KeyId, VerifyingKey};
use crate::store::{KeyKind, StoreError};

/// The audit log for others: keys, checkpoints, proofs
///
/// A checkpoint is the log's size and root, signed. Kept elsewhere, it shows later whether the log was
/// cut, rewritten or put back from an older copy. Formats: C2SP signed-note, tlog-checkpoint, tlog-proof.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// The keys that sign the log
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// What others say of the log: requests, and their answers taken in
    Anchor {
        #[command(subcommand)]
        action: anchor::Action,
    },
    /// A witness: cosigns the checkpoints of other logs, on a machine of its own
    ///
    /// It cosigns a tree only if that begins with the one it cosigned last: a log that was cut, rewritten or
    /// shown in two versions gets no cosignature. Formats: C2SP tlog-witness, tlog-cosignature.
    Witness {
        #[command(subcommand)]
        action: witness::Action,
    },
    /// Publish the log's signed checkpoint and print it
    Checkpoint {
        /// Write it to this file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make a proof that an entry is in the log of the current checkpoint
    Prove {
        /// The entry's index, or a run: its newest entry
        entry: String,
        /// Prove the whole history of the run, or that the log has no such run (job/run)
        ///
        /// The proof reaches up to the newest run-map entry of the checkpoint, and says how far that is.
        #[arg(long)]
        complete: bool,
        /// Write it to this file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a proof, without any store
    ///
    /// Prints the proved entry. Exit code 3 when the proof does not hold.
    Check {
        /// The proof
        file: PathBuf,
        /// The log's public key, from where it was pinned
        #[arg(long, value_name = "VKEY")]
        key: Vec<String>,
        #[command(flatten)]
        policy: PolicyArgs,
    },
}

#[derive(Debug, clap::Subcommand)]
enum KeyAction {
    /// Make the first signing key of this store's log
    ///
    /// The secret goes into a new file (mode 0600) outside the store: --signing-key, else
    /// strongroom/keys/ in the user's configuration. Printed is the public key, to be pinned elsewhere.
    New,
    /// List the keys of the log
    List,
    /// Make a further key, brought in by the word of one that signs now
    ///
    /// From then on both sign. Pinned keys go on working: verify follows the statement in the log from the
    /// old key to the new one. Retire the old key when nobody needs its signature any more.
    ///
    /// A key of type ml-dsa-44 (FIPS 204) is a second signature beside the first, for checkpoints that must
    /// still hold when Ed25519 no longer does. It vouches for no other key and signs no evidence.
    Rotate {
        /// What the new key signs with
        #[arg(long, value_enum, default_value_t = TypeArg::Ed25519)]
        r#type: TypeArg,
        /// Where the new secret goes [default: beside the old one, by its id]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Retire a key, by the word of another one that signs now
    ///
    /// What it signed up to a size of the log still counts, nothing beyond.
    Retire {
        /// The key's id, 8 hex digits
        id: String,
        /// Up to which size of the log its signatures count [default: the size now]
        #[arg(long, value_name = "SIZE")]
        trusted_to: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TypeArg {
    /// Ed25519
    Ed25519,
    /// ML-DSA-44, in a program built with the feature ml-dsa
    #[value(name = "ml-dsa-44")]
    MlDsa44,
}

impl Args {
    /// Whether the log changes.
    pub fn writes(&self) -> bool {
        match &self.action {
            Action::Key { action } => !matches!(action, KeyAction::List),
            Action::Anchor { action } => action.writes(),
            _ => false,
        }
    }
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    match args.action {
        Action::Key { action } => match action {
            KeyAction::New => new_key(session),
            KeyAction::List => list_keys(session),
            KeyAction::Rotate { r#type, to } => rotate_key(r#type, to, session),
            KeyAction::Retire { id, trusted_to } => retire_key(&id, trusted_to, session),
        },
        Action::Anchor { action } => anchor::run(action, session),
        Action::Witness { action } => witness::run(action, session),
        Action::Checkpoint { out } => checkpoint(out.as_deref(), session),
        Action::Prove { entry, complete: true, out } => prove_run(&entry, out.as_deref(), session),
        Action::Prove { entry, complete: false, out } => prove(&entry, out.as_deref(), session),
        Action::Check { file, key, policy } => check::run(&file, &key, &policy, session),
    }
}

fn new_key(session: &Session) -> Result<u8, CliError> {
    let store = session.store_before_keys()?;
    let path = session.key_path(&store.config().origin)?;
    let key = store.new_key(&path)?;
    session.publish_at_end(&store);
    tell_new_key(&key, &path, session);
    Ok(exit::OK)
}

fn tell_new_key(key: &VerifyingKey, path: &Path, session: &Session) {
    let shown = path.display().to_string();
    if session.out.json {
        session.out.json(&json!({"key": key.to_string(), "id": key.id().to_string(), "file": shown}));
    } else {
        session.out.line(safe(key.to_string()));
        session.out.note(format!("the secret key is in {}; keep the line above elsewhere", safe(&shown)));
    }
}

fn rotate_key(kind: TypeArg, to: Option<PathBuf>, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let first = session.key_path(&store.config().origin)?;
    let signers = session.signers(&store)?;
    let old = signers.iter().rfind(|signer| signer.verifying_key().vouches()).ok_or_else(|| {
        CliError::key(
            "none of the keys that sign this log is at hand",
            Some("--signing-key names one; strongroom audit key list shows them".to_owned()),
        )
    })?;
    let beside = |id: KeyId| match &to {
        Some(path) => path.clone(),
        None => first.with_extension(format!("{id}.key")),
    };
    let kind = match kind {
        TypeArg::Ed25519 => KeyKind::Ed25519,
        TypeArg::MlDsa44 => KeyKind::MlDsa44,
    };
    let (key, path) = store.rotate_key(old, kind, &beside)?;
    tell_new_key(&key, &path, session);
    if !session.out.json && kind == KeyKind::MlDsa44 {
        session.out.note("from now on checkpoints have its signature beside the others");
    } else if !session.out.json {
        session.out.note(format!(
            "both sign from now on; strongroom audit key retire {} ends that",
            old.verifying_key().id()
        ));
    }
    Ok(exit::OK)
}

fn retire_key(id: &str, trusted_to: Option<u64>, session: &Session) -> Result<u8, CliError> {
    let id: KeyId = id.parse().map_err(|_| {
        let hint = "strongroom audit key list shows the ids".to_owned();
        CliError::usage(format!("{id:?} is not a key id of 8 hex digits"), Some(hint))
    })?;
    let store = session.store()?;
    let (key, entry, trusted_to) = store.retire_key(id, trusted_to, &session.signers(&store)?)?;
    if session.out.json {
        session.out.json(&json!({"key": key.to_string(), "id": id.to_string(), "entry": entry,
            "trusted_to": trusted_to}));
    } else {
        session.out.line(format!("{id} is retired; its signatures count up to {trusted_to} entries"));
    }
    Ok(exit::OK)
}

fn list_keys(session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let listing = store.list_keys()?;
    let keys = &listing.ring.keys;
    if session.out.json {
        let keys: Vec<serde_json::Value> = keys
            .iter()
            .map(|known| {
                json!({
                    "id": known.key.id().to_string(), "key": known.key.to_string(), "entry": known.added,
                    "by": known.by.map(|by| by.to_string()),
                    "retired": known.retired.map(|retired| retired.entry),
                    "trusted_to": known.retired.map(|retired| retired.trusted_to),
                })
            })
            .collect();
        let problems: Vec<serde_json::Value> =
            listing.ring.problems.iter().map(|(entry, why)| json!({"entry": entry, "why": why})).collect();
        session.out.json(&json!({"keys": keys, "problems": problems, "strangers": listing.strangers}));
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|known| {
            let state = match known.retired {
                None => "signs".to_owned(),
                Some(retired) => format!("retired, trusted to {}", retired.trusted_to),
            };
            let by = known.by.map_or("on first use".to_owned(), |by| by.to_string());
            vec![known.key.id().to_string(), known.added.to_string(), by, state, known.key.to_string()]
        })
        .collect();
    session.out.bytes(table(&["ID", "ENTRY", "BY", "STATE", "KEY"], &[1], &rows).as_bytes());
    for (entry, why) in &listing.ring.problems {
        session.out.line(format!("log entry {entry} changes nothing: {}", safe(why)));
    }
    for path in &listing.strangers {
        session.out.line(format!("{} is no key of the log", safe(path)));
    }
    Ok(exit::OK)
}

fn give(text: &str, out: Option<&Path>, session: &Session) -> Result<(), CliError> {
    match out {
        Some(path) => std::fs::write(path, text)
            .map_err(|error| CliError::failed(format!("{}: {error}", path.display()))),
        None if session.out.json => Ok(()),
        None => {
            session.out.bytes(text.as_bytes());
            Ok(())
        }
    }
}

fn checkpoint(out: Option<&Path>, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let signers = session.signers(&store)?;
    let checkpoint = match signers.is_empty() {
        false => store.publish(&signers)?,
        true => store.checkpoint()?.ok_or_else(|| {
            let hint = "strongroom audit key new makes one".to_owned();
            CliError::key("there is no signing key and no checkpoint", Some(hint))
        })?,
    };
    let text = checkpoint.note.to_string();
    give(&text, out, session)?;
    if session.out.json {
        let root = crate::merkle::Hash::from_bytes(checkpoint.body.root).hex();
        session.out.json(&json!({
            "origin": checkpoint.body.origin, "size": checkpoint.body.size,
            "root": format!("sha256:{root}"), "note": text,
        }));
    }
    Ok(exit::OK)
}

fn prove(entry: &str, out: Option<&Path>, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let index = match entry.parse::<u64>() {
        Ok(index) if entry.len() < 16 => index,
        _ => store.newest_entry(&store.find_run(entry)?)?,
    };
    let text = store.prove(index)?.to_string();
    give(&text, out, session)?;
    if session.out.json {
        session.out.json(&json!({"entry": index, "proof": text}));
    }
    Ok(exit::OK)
}

fn prove_run(name: &str, out: Option<&Path>, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    // A run that the store does not have has no other name than its full one.
    let whole = name
        .split_once('/')
        .and_then(|(job, run)| Some(RunKey { job: job.parse().ok()?, run: run.parse().ok()? }));
    let key = match (store.find_run(name), whole) {
        (Ok(key), _) => key,
        (Err(StoreError::NoRun { .. }), Some(key)) => key,
        (Err(error), _) => return Err(error.into()),
    };
    let proof = store.prove_run(&key)?;
    let text = proof.to_string();
    give(&text, out, session)?;
    if session.out.json {
        session.out.json(&json!({
            "run": key.to_string(), "entries": proof.entries.len(), "covers": proof.map.index + 1, "proof": text,
        }));
    }
    Ok(exit::OK)
}
