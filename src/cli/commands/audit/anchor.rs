//! `strongroom audit anchor`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::give;
use crate::base::digest::Sha256;
use crate::cli::commands::policy::{read_policy, read_signers, read_small};
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::stamp::{Stamp, stamp_request};
use crate::format::witness::parse_answer;
use crate::note::{SshSignature, WitnessKey};
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
    /// Write the text of the current checkpoint, for others to sign with ssh-keygen
    ///
    /// ssh-keygen -Y sign -n strongroom-checkpoint -f KEY FILE makes FILE.sig, which `audit anchor add` takes.
    Text {
        /// Write it to this file instead
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the request for a time stamp over the current checkpoint's text (RFC 3161)
    ///
    /// Any time-stamping authority answers it; openssl ts -verify checks the answer's signature.
    TsaRequest {
        /// Where to
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take in a cosignature, an SSH signature or a time stamp: check it, keep it, and note it in the log
    Add {
        /// The witness's answer, the signature, or the stamp
        file: PathBuf,
        /// The witness's public key; repeat it for more
        #[arg(long, value_name = "VKEY", conflicts_with = "allowed_signers")]
        witness: Vec<String>,
        /// A C2SP tlog-policy that names the witnesses
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Whose SSH signatures are taken: a file as for ssh-keygen -Y verify
        #[arg(long, value_name = "FILE")]
        allowed_signers: Option<PathBuf>,
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
        Action::Text { out } => {
            let checkpoint = session.store()?.checkpoint_to_anchor()?;
            give(checkpoint.note.text(), out.as_deref(), session)?;
            if session.out.json {
                session.out.json(&json!({"size": checkpoint.body.size, "text": checkpoint.note.text()}));
            }
            Ok(exit::OK)
        }
        Action::TsaRequest { out } => {
            let checkpoint = session.store()?.checkpoint_to_anchor()?;
            let digest = Sha256::of(checkpoint.note.text().as_bytes());
            std::fs::write(&out, stamp_request(&digest))
                .map_err(|error| CliError::failed(format!("{}: {error}", out.display())))?;
            if session.out.json {
                session.out.json(&json!({"size": checkpoint.body.size, "digest": digest}));
            }
            Ok(exit::OK)
        }
        Action::Add { file, witness, policy, allowed_signers, no_note } => {
            let bytes = read_small(&file)?;
            let anchored = if SshSignature::is_one(&bytes) {
                let Some(signers) = allowed_signers else {
                    return Err(CliError::usage("--allowed-signers says whose signatures are taken", None));
                };
                session.store()?.add_ssh_signature(&bytes, &read_signers(&signers)?, !no_note)?
            } else if Stamp::is_one(&bytes) {
                session.store()?.add_stamp(&bytes, !no_note)?
            } else {
                let mut witnesses =
                    witness.iter().map(|text| witness_key(text)).collect::<Result<Vec<_>, _>>()?;
                if let Some(policy) = policy {
                    witnesses.extend(read_policy(&policy)?.witnesses);
                }
                if witnesses.is_empty() {
                    return Err(CliError::usage(
                        "--witness or --policy says whose cosignatures are taken",
                        None,
                    ));
                }
                let refused = |error: crate::format::RecordError| CliError::refused(error.to_string(), None);
                let signatures = parse_answer(&bytes).map_err(refused)?;
                session.store()?.add_cosignatures(&signatures, &witnesses, !no_note)?
            };
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
    if session.out.json {
        let by: Vec<_> = anchored.by.iter().map(|(name, time)| json!({"name": name, "time": time})).collect();
        session.out.json(&json!({"size": anchored.size, "by": by, "entry": anchored.entry}));
        return;
    }
    for (name, time) in &anchored.by {
        let at = time.map(|time| format!(" at {time}")).unwrap_or_default();
        session.out.line(format!("{} entries anchored by {}{at}", anchored.size, safe(name)));
    }
}
