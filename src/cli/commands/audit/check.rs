//! `strongroom audit check`

use std::path::Path;

use serde_json::json;

use crate::base::clock::Clock;
use crate::cli::clock::SystemClock;
use crate::cli::commands::policy::{PolicyArgs, read_small};
use crate::cli::commands::verify::pinned;
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::RecordError;
use crate::format::finding::Code;
use crate::format::policy::{Judged, Policy, staleness};
use crate::format::proof::LogProof;
use crate::note::CheckpointBody;

/// Why a proof is not taken; with the finding's code where the policy is what says so.
struct Refused {
    code: Option<Code>,
    why: String,
}

pub(super) fn run(
    file: &Path,
    keys: &[String],
    options: &PolicyArgs,
    session: &Session,
) -> Result<u8, CliError> {
    let mut keys = pinned(keys)?;
    let policy = options.policy()?;
    keys.extend(policy.iter().flat_map(|policy| policy.logs.clone()));
    if keys.is_empty() {
        return Err(CliError::usage("--key or a policy's log line names the log's public key", None));
    }
    let refused = |error: RecordError| CliError::refused(error.to_string(), None);
    let proof = LogProof::parse(&read_small(file)?).map_err(refused)?;
    let checked = match proof.check(&keys) {
        Err(error) => Err(Refused { code: None, why: error.to_string() }),
        Ok(body) => judge(&proof, policy.as_ref(), options.fresh).map(|judged| (body, judged)),
    };
    tell(&proof, &checked, session);
    Ok(if checked.is_ok() { exit::OK } else { exit::FOUND })
}

/// Whether the proof's checkpoint is what the policy asks for.
fn judge(proof: &LogProof, policy: Option<&Policy>, fresh: Option<i64>) -> Result<Option<Judged>, Refused> {
    let Some(policy) = policy else { return Ok(None) };
    let unmet = |why| Refused { code: Some(Code::PolicyUnmet), why };
    let judged = policy.judge(&proof.checkpoint).map_err(|error| unmet(error.to_string()))?;
    if !judged.met {
        let by = if judged.by.is_empty() { "none of them".to_owned() } else { judged.to_string() };
        return Err(unmet(format!("the policy asks {policy} to cosign, and {by} did")));
    }
    let stale = fresh.and_then(|limit| staleness(judged.time, limit, SystemClock.now()));
    match stale {
        None => Ok(Some(judged)),
        Some((asked, found)) => Err(Refused {
            code: Some(Code::NotFresh),
            why: format!("{asked} are asked for, and there is {found}"),
        }),
    }
}

fn tell(proof: &LogProof, checked: &Result<(CheckpointBody, Option<Judged>), Refused>, session: &Session) {
    let entry = proof.entry.as_deref().map(|entry| String::from_utf8_lossy(entry).into_owned());
    if session.out.json {
        let (good, bad) = (checked.as_ref().ok(), checked.as_ref().err());
        let by = good.and_then(|(_, judged)| judged.as_ref()).map(ToString::to_string);
        session.out.json(&json!({
            "ok": checked.is_ok(), "index": proof.index, "entry": entry,
            "code": bad.and_then(|refused| refused.code), "why": bad.map(|refused| &refused.why),
            "origin": good.map(|(body, _)| &body.origin), "size": good.map(|(body, _)| body.size),
            "cosigned": by,
        }));
        return;
    }
    match checked {
        Ok((body, judged)) => {
            let (index, origin) = (proof.index, safe(&body.origin));
            session.out.line(format!("entry {index} is in {origin} at {} entries", body.size));
            if let Some(judged) = judged.as_ref().filter(|judged| !judged.by.is_empty()) {
                session.out.line(format!("[0, {}) anchored by {}", body.size, safe(judged.to_string())));
            }
            session.out.note(safe(entry.unwrap_or_default()));
        }
        Err(Refused { code: None, why }) => session.out.line(format!("not proved: {}", safe(why))),
        Err(Refused { code: Some(code), why }) => {
            session.out.line(format!("{code}  not proved: {}", safe(why)));
        }
    }
}
