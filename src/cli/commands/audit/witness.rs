//! `strongroom audit witness`

use std::path::PathBuf;

use serde_json::json;

use super::give;
use crate::cli::commands::policy::read_small;
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::witness::print_answer;
use crate::note::{KeyError, VerifyingKey};
use crate::store::Witness;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Make a witness in a folder, and print its public key
    Init {
        /// The folder, on another machine than the logs'
        dir: PathBuf,
        /// Its name: a host and path without a scheme
        #[arg(long)]
        name: String,
    },
    /// Follow a log: trust a key of it, beside those trusted already
    AddLog {
        /// The witness's folder
        dir: PathBuf,
        /// The log's public key
        key: String,
    },
    /// Cosign the checkpoint of a request, if its tree begins with the one cosigned last
    ///
    /// The answers of the protocol and their exit codes: 200 cosigned 0; 400 bad-request 6; 403 not-signed 8;
    /// 404 unknown-log 4; 409 other-size or second-root 5; 422 not-consistent 3.
    Sign {
        /// The witness's folder
        dir: PathBuf,
        /// The request: the body of a C2SP tlog-witness add-checkpoint call
        request: PathBuf,
        /// Write the cosignature to this file instead
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(super) fn run(action: Action, session: &Session) -> Result<u8, CliError> {
    match action {
        Action::Init { dir, name } => {
            let key = Witness::init(&dir, &name, session.context())?.key().to_string();
            match session.out.json {
                true => session.out.json(&json!({"key": key, "dir": dir.display().to_string()})),
                false => session.out.line(safe(key)),
            }
            Ok(exit::OK)
        }
        Action::AddLog { dir, key } => {
            let usage = |error: KeyError| CliError::usage(format!("{key:?}: {error}"), None);
            let key: VerifyingKey = key.trim().parse().map_err(usage)?;
            if !key.is_checkable() {
                return Err(usage(KeyError::NotBuilt));
            }
            Witness::open(&dir, session.context())?.add_log(&key)?;
            match session.out.json {
                true => session.out.json(&json!({"origin": key.name().as_str(), "key": key.to_string()})),
                false => session.out.note(format!("follows {}", safe(key.name().as_str()))),
            }
            Ok(exit::OK)
        }
        Action::Sign { dir, request, out } => {
            let witness = Witness::open(&dir, session.context())?;
            let (answer, cosignature) = witness.answer(&read_small(&request)?)?;
            let Some(cosignature) = cosignature else { return Err(CliError::witness(&answer)) };
            let text = print_answer(&[cosignature]);
            give(&text, out.as_deref(), session)?;
            if session.out.json {
                session.out.json(&json!({
                    "status": answer.status(), "answer": answer.word(), "cosignature": text,
                    "witness": witness.key().to_string(),
                }));
            }
            Ok(exit::OK)
        }
    }
}
