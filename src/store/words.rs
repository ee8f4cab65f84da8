//! What others said of kept checkpoints with tools of their own: SSH signatures and time stamps
//! (`store-layout.md`, "Anchors").

use super::anchor::{Roots, Voucher, mismatch};
use super::anchors::Kept;
use super::publish::Checkpoint;
use super::{Store, StoreError, VerifyOptions, VerifyReport};
use crate::backend::is_temp_name;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::format::stamp::Stamp;
use crate::note::{MAX_NOTE_BYTES, SshSignature};
use crate::plan::bundle::judge_word;

impl Store {
    /// Checks every kept signature and stamp against its checkpoint's text. The value is the largest tree
    /// that one of the allowed signers signed.
    pub(super) fn check_words(
        &self,
        options: &VerifyOptions,
        kept: &[Kept],
        roots: &Roots,
        report: &mut VerifyReport,
    ) -> Result<Option<Voucher>, StoreError> {
        let mut largest = None;
        for (place, known) in kept {
            let Ok(known) = known else { continue };
            let ours = mismatch(Code::AnchorMismatch, place, &known.body, roots, report.entries).is_none();
            let folder = format!("{}/{}", paths::ANCHORS, known.body.size);
            for entry in self.disk.list(&folder)? {
                let name = entry.name.to_string_lossy().into_owned();
                let place = format!("{folder}/{name}");
                let bytes = || self.disk.read_opt(&place, MAX_NOTE_BYTES as u64);
                let wrong = match name.rsplit_once('.') {
                    Some((_, paths::SSH_WORD)) => {
                        let Some(bytes) = bytes()? else { continue };
                        signer_of(options, known, &bytes).map(|who| {
                            if let Some(who) = who.filter(|_| ours) {
                                let by = format!("anchored by {who}");
                                largest = Some(Voucher { size: known.body.size, anchored: true, by });
                            }
                        })
                    }
                    Some((_, paths::STAMP_WORD)) => {
                        let Some(bytes) = bytes()? else { continue };
                        stamp_of(known, &bytes).map(|stamp| {
                            if ours {
                                let by = format!("the time stamp {place}");
                                report.bounds.by.push((known.body.size, stamp.time, by));
                                report.stamps.push((known.body.size, stamp.time, place.clone()));
                            }
                        })
                    }
                    _ if name == "checkpoint" || is_temp_name(&entry.name) => Ok(()),
                    _ => Err("no anchor".to_owned()),
                };
                if let Err(why) = wrong {
                    report.findings.push(Finding::of_store(Code::AnchorMismatch, &place).found(why));
                }
            }
        }
        Ok(largest)
    }
}

/// A word that holds: of whom and when as it says itself, and its bytes.
pub(super) struct Word {
    pub by: String,
    pub time: Option<Moment>,
    pub ending: &'static str,
    pub bytes: Vec<u8>,
}

impl Store {
    /// The words that lie beside a kept checkpoint and are of its text, by name. What is none, `verify` finds.
    pub(super) fn words_of(&self, size: u64, text: &str) -> Result<Vec<Word>, StoreError> {
        let folder = format!("{}/{size}", paths::ANCHORS);
        let mut words = Vec::new();
        for entry in self.disk.list(&folder)? {
            let place = format!("{folder}/{}", entry.name.to_string_lossy());
            let ending = match place.rsplit_once('.') {
                Some((_, paths::SSH_WORD)) => paths::SSH_WORD,
                Some((_, paths::STAMP_WORD)) => paths::STAMP_WORD,
                _ => continue,
            };
            let Some(bytes) = self.disk.read_opt(&place, MAX_NOTE_BYTES as u64)? else { continue };
            let told = judge_word(ending, &bytes, text).ok();
            words.extend(told.map(|(by, time)| Word { by, time, ending, bytes }));
        }
        words.sort_by(|a, b| (a.ending, &a.bytes).cmp(&(b.ending, &b.bytes)));
        Ok(words)
    }
}

/// Who signed, if it is one of those that the checker allows; an error if nobody did.
fn signer_of(options: &VerifyOptions, of: &Checkpoint, bytes: &[u8]) -> Result<Option<String>, String> {
    let signature = SshSignature::parse(bytes).map_err(|error| error.to_string())?;
    signature.check(of.note.text()).map_err(|error| error.to_string())?;
    let who = options.allowed_signers.as_ref().and_then(|signers| signers.who(&signature));
    Ok(who.map(|who| format!("{who} ({})", signature.fingerprint())))
}

fn stamp_of(of: &Checkpoint, bytes: &[u8]) -> Result<Stamp, String> {
    let stamp = Stamp::parse(bytes).map_err(|error| error.to_string())?;
    match stamp.digest == Sha256::of(of.note.text().as_bytes()) {
        true => Ok(stamp),
        false => Err("a stamp over other bytes".to_owned()),
    }
}
