//! `strongroom audit`

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::id::RunKey;
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::run_proof::RunProof;
use crate::note::VerifyingKey;
use crate::store::StoreError;

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
    /// Make a signing key for this store's log
    ///
    /// The secret goes into a new file (mode 0600) outside the store: --signing-key, else
    /// strongroom/keys/ in the user's configuration. Printed is the public key, to be pinned elsewhere.
    NewKey,
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
    },
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    match args.action {
        Action::NewKey => new_key(session),
        Action::Checkpoint { out } => checkpoint(out.as_deref(), session),
        Action::Prove { entry, complete: true, out } => prove_run(&entry, out.as_deref(), session),
        Action::Prove { entry, complete: false, out } => prove(&entry, out.as_deref(), session),
        Action::Check { file, key } => check(&file, &key, session),
    }
}

fn new_key(session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let path = session.key_path(&store.config().origin)?;
    let key = store.new_key(&path)?;
    let shown = path.display().to_string();
    if session.out.json {
        session.out.json(&json!({"key": key.to_string(), "id": key.id().to_string(), "file": shown}));
    } else {
        session.out.line(safe(key.to_string()));
        session.out.note(format!("the secret key is in {}; keep the line above elsewhere", safe(&shown)));
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
    let checkpoint = match session.signer(&store)? {
        Some(signer) => store.publish(&signer)?,
        None => store.checkpoint()?.ok_or_else(|| {
            let hint = "strongroom audit new-key makes one".to_owned();
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

/// Says what a run proof shows.
fn check_run(bytes: &[u8], keys: &[VerifyingKey], session: &Session) -> Result<u8, CliError> {
    let refused = |error: crate::format::RecordError| CliError::refused(error.to_string(), None);
    let proof = RunProof::parse(bytes).map_err(refused)?;
    let checked = proof.check(keys);
    let answer = checked.as_ref().ok();
    if session.out.json {
        let entries = proof.entries.iter().map(|entry| String::from_utf8_lossy(entry).into_owned());
        session.out.json(&json!({
            "ok": checked.is_ok(), "run": proof.run.to_string(), "entries": entries.collect::<Vec<_>>(),
            "why": checked.as_ref().err().map(ToString::to_string),
            "covers": answer.map(|answer| answer.covers), "size": answer.map(|answer| answer.body.size),
            "origin": answer.map(|answer| answer.body.origin.clone()),
        }));
        return Ok(if checked.is_ok() { exit::OK } else { exit::FOUND });
    }
    match &checked {
        Ok(answer) => {
            let (run, origin) = (proof.run.to_string(), safe(&answer.body.origin));
            let reach = format!("the first {} of {} entries of {origin}", answer.covers, answer.body.size);
            session.out.line(match answer.entries {
                0 => format!("there is no run {run} in {reach}"),
                1 => format!("{run} has 1 entry, and no other, in {reach}"),
                n => format!("{run} has {n} entries, and no other, in {reach}"),
            });
            for entry in &proof.entries {
                session.out.note(safe(String::from_utf8_lossy(entry)));
            }
        }
        Err(why) => session.out.line(format!("not proved: {}", safe(why.to_string()))),
    }
    Ok(if checked.is_ok() { exit::OK } else { exit::FOUND })
}

/// The largest proof that is read: a run of thousands of entries brings all of them.
const PROOF_BYTES: u64 = 64 << 20;

fn check(file: &Path, keys: &[String], session: &Session) -> Result<u8, CliError> {
    let keys = super::verify::pinned(keys)?;
    if keys.is_empty() {
        return Err(CliError::usage("--key names the log's public key", None));
    }
    let bytes = super::verify::read_up_to(file, PROOF_BYTES)?;
    if RunProof::is_one(&bytes) {
        return check_run(&bytes, &keys, session);
    }
    let refused = |error: crate::format::RecordError| CliError::refused(error.to_string(), None);
    let proof = crate::format::proof::LogProof::parse(&bytes).map_err(refused)?;
    let checked = proof.check(&keys);
    let entry = proof.entry.as_deref().map(|entry| String::from_utf8_lossy(entry).into_owned());
    let why = checked.as_ref().err().map(ToString::to_string);
    if session.out.json {
        session.out.json(&json!({
            "ok": checked.is_ok(), "index": proof.index, "entry": entry, "why": why,
            "origin": checked.as_ref().ok().map(|body| body.origin.clone()),
            "size": checked.as_ref().ok().map(|body| body.size),
        }));
    } else {
        match &checked {
            Ok(body) => {
                session.out.line(format!(
                    "entry {} is in {} at {} entries",
                    proof.index,
                    safe(&body.origin),
                    body.size
                ));
                session.out.note(safe(entry.unwrap_or_default()));
            }
            Err(why) => session.out.line(format!("not proved: {}", safe(why.to_string()))),
        }
    }
    Ok(if checked.is_ok() { exit::OK } else { exit::FOUND })
}
