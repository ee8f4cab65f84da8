//! `strongroom audit check`

use std::path::Path;

use serde_json::json;

use crate::base::clock::Clock;
use crate::cli::clock::SystemClock;
use crate::cli::commands::policy::{PolicyArgs, read_up_to};
use crate::cli::commands::verify::pinned;
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::RecordError;
use crate::format::finding::Code;
use crate::format::policy::{Judged, Policy, staleness};
use crate::format::proof::LogProof;
use crate::format::run_proof::{RunAnswer, RunProof};
use crate::note::{CheckpointBody, SignedNote};

/// Why a proof is not taken; with the finding's code where the policy is what says so.
struct Refused {
    code: Option<Code>,
    why: String,
}

/// The largest proof that is read: a run of thousands of entries brings all of them.
const PROOF_BYTES: u64 = 64 << 20;

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
    let bytes = read_up_to(file, PROOF_BYTES)?;
    let (policy, fresh) = (policy.as_ref(), options.fresh);
    let unproved = |why: String| Refused { code: None, why };
    let good = if RunProof::is_one(&bytes) {
        let proof = RunProof::parse(&bytes).map_err(refused)?;
        let checked = proof.check(&keys).map_err(|error| unproved(error.to_string()));
        let checked = checked.and_then(|answer| Ok((answer, judge(&proof.map.checkpoint, policy, fresh)?)));
        tell_run(&proof, &checked, session);
        checked.is_ok()
    } else {
        let proof = LogProof::parse(&bytes).map_err(refused)?;
        let checked = proof.check(&keys).map_err(|error| unproved(error.to_string()));
        let checked = checked.and_then(|body| Ok((body, judge(&proof.checkpoint, policy, fresh)?)));
        tell(&proof, &checked, session);
        checked.is_ok()
    };
    Ok(if good { exit::OK } else { exit::FOUND })
}

/// Whether the proof's checkpoint is what the policy asks for.
fn judge(note: &SignedNote, policy: Option<&Policy>, fresh: Option<i64>) -> Result<Option<Judged>, Refused> {
    let Some(policy) = policy else { return Ok(None) };
    let unmet = |why| Refused { code: Some(Code::PolicyUnmet), why };
    let judged = policy.judge(note).map_err(|error| unmet(error.to_string()))?;
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
            tell_anchor(body, judged.as_ref(), session);
            session.out.note(safe(entry.unwrap_or_default()));
        }
        Err(refused) => tell_refused(refused, session),
    }
}

/// Says what a run proof shows.
fn tell_run(proof: &RunProof, checked: &Result<(RunAnswer, Option<Judged>), Refused>, session: &Session) {
    if session.out.json {
        let entries = proof.entries.iter().map(|entry| String::from_utf8_lossy(entry).into_owned());
        let (good, bad) = (checked.as_ref().ok(), checked.as_ref().err());
        let answer = good.map(|(answer, _)| answer);
        let by = good.and_then(|(_, judged)| judged.as_ref()).map(ToString::to_string);
        session.out.json(&json!({
            "ok": checked.is_ok(), "run": proof.run.to_string(), "entries": entries.collect::<Vec<_>>(),
            "code": bad.and_then(|refused| refused.code), "why": bad.map(|refused| &refused.why),
            "covers": answer.map(|answer| answer.covers), "size": answer.map(|answer| answer.body.size),
            "origin": answer.map(|answer| &answer.body.origin), "cosigned": by,
        }));
        return;
    }
    match checked {
        Ok((answer, judged)) => {
            let (run, origin) = (proof.run.to_string(), safe(&answer.body.origin));
            let reach = format!("the first {} of {} entries of {origin}", answer.covers, answer.body.size);
            session.out.line(match answer.entries {
                0 => format!("there is no run {run} in {reach}"),
                1 => format!("{run} has 1 entry, and no other, in {reach}"),
                n => format!("{run} has {n} entries, and no other, in {reach}"),
            });
            tell_anchor(&answer.body, judged.as_ref(), session);
            for entry in &proof.entries {
                session.out.note(safe(String::from_utf8_lossy(entry)));
            }
        }
        Err(refused) => tell_refused(refused, session),
    }
}

fn tell_anchor(body: &CheckpointBody, judged: Option<&Judged>, session: &Session) {
    if let Some(judged) = judged.filter(|judged| !judged.by.is_empty()) {
        session.out.line(format!("[0, {}) anchored by {}", body.size, safe(judged.to_string())));
    }
}

fn tell_refused(refused: &Refused, session: &Session) {
    let code = refused.code.map(|code| format!("{code}  ")).unwrap_or_default();
    session.out.line(format!("{code}not proved: {}", safe(&refused.why)));
}
