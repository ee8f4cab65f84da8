//! `strongroom audit anchor`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::give;
use crate::base::clock::Moment;
use crate::cli::commands::policy::{read_policy, read_small};
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::witness::parse_answer;
use crate::note::WitnessKey;
use crate::store::Anchored;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Make the request for a witness to cosign the current checkpoint
    ///
    /// It begins at what the witness cosigned last: as its kept cosignatures tell, or --old, which a witness
    /// that answers 409 tells.
    Request {
        /// The witness's public key, to look for what it cosigned last
        #[arg(long, value_name = "VKEY")]
        witness: Option<String>,
        /// The size of the log that the witness cosigned last
        #[arg(long, value_name = "SIZE")]
        old: Option<u64>,
        /// Write it to this file instead
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take in a cosignature: check it, keep it beside the log, and note it in the log
    Add {
        /// The witness's answer
        file: PathBuf,
        /// The witness's public key; repeat it for more
        #[arg(long, value_name = "VKEY", required_unless_present = "policy")]
        witness: Vec<String>,
        /// A C2SP tlog-policy that names the witnesses
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Do not note it in the log: later entries are then not known to be later than it
        #[arg(long)]
        no_note: bool,
    },
}

impl Action {
    /// Whether the log changes.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Add { no_note: false, .. })
    }
}

fn witness_key(text: &str) -> Result<WitnessKey, CliError> {
    text.trim().parse().map_err(|error| CliError::usage(format!("--witness: {error}"), None))
}

pub(super) fn run(action: Action, session: &Session) -> Result<u8, CliError> {
    match action {
        Action::Request { witness, old, out } => {
            let witness = witness.as_deref().map(witness_key).transpose()?;
            request(witness.as_ref(), old, out.as_deref(), session)
        }
        Action::Add { file, witness, policy, no_note } => {
            let mut witnesses =
                witness.iter().map(|text| witness_key(text)).collect::<Result<Vec<_>, _>>()?;
            if let Some(policy) = policy {
                witnesses.extend(read_policy(&policy)?.witnesses);
            }
            let refused = |error: crate::format::RecordError| CliError::refused(error.to_string(), None);
            let signatures = parse_answer(&read_small(&file)?).map_err(refused)?;
            let anchored = session.store()?.add_cosignatures(&signatures, &witnesses, !no_note)?;
            tell(&anchored, session);
            Ok(exit::OK)
        }
    }
}

fn request(
    witness: Option<&WitnessKey>,
    old: Option<u64>,
    out: Option<&Path>,
    session: &Session,
) -> Result<u8, CliError> {
    let request = session.store()?.witness_request(witness, old)?;
    let text = request.to_string();
    give(&text, out, session)?;
    if session.out.json {
        session.out.json(&json!({"old": request.old, "proof": request.proof.len(), "request": text}));
    }
    Ok(exit::OK)
}

fn tell(anchored: &Anchored, session: &Session) {
    let by: Vec<(String, String)> = anchored
        .by
        .iter()
        .map(|(name, seconds)| (name.clone(), Moment::from_seconds(*seconds).to_string()))
        .collect();
    if session.out.json {
        let by: Vec<_> = by.iter().map(|(name, time)| json!({"name": name, "time": time})).collect();
        session.out.json(&json!({"size": anchored.size, "by": by, "entry": anchored.entry}));
        return;
    }
    for (name, time) in by {
        session.out.line(format!("{} entries anchored by {} at {time}", anchored.size, safe(name)));
    }
}
