//! Anchors: what others said of the log, kept by the size that they said it of (`store-layout.md`,
//! "Anchors").

use super::publish::Checkpoint;
use super::{Store, StoreError};
use crate::backend::is_temp_name;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::format::paths;
use crate::format::stamp::Stamp;
use crate::format::witness::WitnessRequest;
use crate::merkle;
use crate::note::{AllowedSigners, MAX_NOTE_BYTES, NoteSignature, SshSignature, WitnessKey};

/// An anchor that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The size of the log that it is about.
    pub size: u64,
    /// Whose word it is, and for when, where it says so.
    pub by: Vec<(String, Option<Moment>)>,
    /// The entry that notes it.
    pub entry: Option<u64>,
}

/// A kept checkpoint: where it lies, and what it says or why it says nothing.
pub(super) type Kept = (String, Result<Checkpoint, String>);

impl Store {
    /// The kept checkpoints, by size.
    pub(super) fn kept_checkpoints(&self) -> Result<Vec<Kept>, StoreError> {
        let names = match self.disk.list(paths::ANCHORS) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            names => names?,
        };
        let mut sizes: Vec<u64> = names
            .iter()
            .filter(|entry| !is_temp_name(&entry.name))
            .filter_map(|entry| entry.name.to_str()?.parse().ok())
            .collect();
        sizes.sort_unstable();
        let mut kept = Vec::new();
        for size in sizes {
            let place = paths::anchor(size);
            // An interrupted command leaves a folder without its file.
            let Some(bytes) = self.disk.read_opt(&place, MAX_NOTE_BYTES as u64)? else { continue };
            let read = match Checkpoint::parse(&bytes, &place) {
                Err(error) => Err(error.to_string()),
                Ok(read) if read.body.size != size => Err(format!("it is of {} entries", read.body.size)),
                Ok(read) => Ok(read),
            };
            kept.push((place, read));
        }
        Ok(kept)
    }

    /// Keeps a checkpoint, with what was kept of it before.
    fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<Checkpoint, StoreError> {
        let size = checkpoint.body.size;
        let mut kept = checkpoint.clone();
        for (_, before) in self.kept_checkpoints()? {
            if let Ok(before) = before {
                kept.note.take_over(&before.note);
            }
        }
        let place = paths::anchor(size);
        let folder = format!("{}/{size}", paths::ANCHORS);
        self.disk.mkdir_all(&folder)?;
        for folder in [paths::AUDIT, paths::ANCHORS] {
            self.disk.sync_dir(folder)?;
        }
        self.disk.replace_durably(&place, kept.note.to_string().as_bytes(), 0o644)?;
        Ok(kept)
    }

    /// The request for a witness to cosign the current checkpoint, which is kept from now on. `old` is the
    /// size that the witness cosigned last; without it, the largest one that its kept cosignatures tell.
    pub fn witness_request(
        &self,
        witness: Option<&WitnessKey>,
        old: Option<u64>,
    ) -> Result<WitnessRequest, StoreError> {
        let checkpoint = self.checkpoint()?.ok_or(StoreError::NoCheckpoint)?;
        let checkpoint = {
            let _lock = self.lock()?;
            self.keep_checkpoint(&checkpoint)?
        };
        let size = checkpoint.body.size;
        let cosigned = |kept: &Checkpoint| {
            witness.is_some_and(|witness| matches!(witness.cosigned(&kept.note), Ok(Some(_))))
        };
        let known = self.kept_checkpoints()?.into_iter().filter_map(|(_, kept)| kept.ok());
        let known = known.filter(cosigned).map(|kept| kept.body.size).max();
        let old = old.or(known).unwrap_or(0);
        if old > size {
            return Err(StoreError::Anchor(format!(
                "the witness cosigned {old} entries and this log's checkpoint has {size}"
            )));
        }
        let proof = if old == 0 || old == size {
            Vec::new()
        } else {
            let view = self.log()?;
            merkle::prove_consistency(old, size, &self.hash_reader(&view)).map_err(|error| {
                StoreError::LogDamaged { place: "audit/tile".to_owned(), why: error.to_string() }
            })?
        };
        Ok(WitnessRequest { old, proof, checkpoint: checkpoint.note })
    }

    /// Takes in cosignatures of these witnesses, each checked against the kept checkpoint that it is of.
    /// An entry notes them, so that everything after it is known to be later, unless `note` is off.
    pub fn add_cosignatures(
        &self,
        signatures: &[NoteSignature],
        witnesses: &[WitnessKey],
        note: bool,
    ) -> Result<Anchored, StoreError> {
        let refused = |why: &str| Err(StoreError::Anchor(why.to_owned()));
        let of = |signature: &NoteSignature| {
            witnesses.iter().find(|key| *key.name() == signature.name && key.id() == signature.id)
        };
        // Lines of witnesses that nobody asked about are passed over.
        let known: Vec<(&NoteSignature, &WitnessKey)> =
            signatures.iter().filter_map(|signature| Some((signature, of(signature)?))).collect();
        if known.is_empty() {
            return refused("no line is of a witness given with --witness or --policy");
        }
        let mut candidates: Vec<Checkpoint> =
            self.kept_checkpoints()?.into_iter().filter_map(|(_, kept)| kept.ok()).collect();
        candidates.extend(self.checkpoint()?);
        // The newest first.
        for candidate in candidates.iter().rev() {
            let mut by = Vec::new();
            let mut cosigned = candidate.clone();
            for (signature, witness) in &known {
                let mut alone = candidate.clone();
                alone.note.drop_signatures_of(witness.name(), witness.id());
                alone.note.add((*signature).clone());
                if let Ok(Some(seconds)) = witness.cosigned(&alone.note) {
                    // A later cosignature of the same text takes the place of an earlier one.
                    cosigned.note.drop_signatures_of(witness.name(), witness.id());
                    cosigned.note.add((*signature).clone());
                    let time = Some(Moment::from_seconds(seconds));
                    by.push((format!("{}+{}", witness.name(), witness.id()), time));
                }
            }
            if by.len() == known.len() {
                return self.take_anchor(&cosigned, by, note);
            }
        }
        refused("a cosignature is of none of this store's checkpoints, or wrong")
    }

    fn take_anchor(
        &self,
        cosigned: &Checkpoint,
        by: Vec<(String, Option<Moment>)>,
        note: bool,
    ) -> Result<Anchored, StoreError> {
        let kept = {
            let _lock = self.lock()?;
            let kept = self.keep_checkpoint(cosigned)?;
            if self.checkpoint()?.is_some_and(|now| now.note.text() == kept.note.text()) {
                self.disk.replace_durably(paths::CHECKPOINT, kept.note.to_string().as_bytes(), 0o644)?;
            }
            kept
        };
        let entry = if note { Some(self.note_anchor(kept.note.to_string().as_bytes())?) } else { None };
        Ok(Anchored { size: kept.body.size, by, entry })
    }

    /// The current checkpoint, which is kept from now on: its text is what others sign.
    pub fn checkpoint_to_anchor(&self) -> Result<Checkpoint, StoreError> {
        let checkpoint = self.checkpoint()?.ok_or(StoreError::NoCheckpoint)?;
        let _lock = self.lock()?;
        self.keep_checkpoint(&checkpoint)
    }

    /// Takes in an SSH signature by one of these signers of a kept checkpoint's text.
    pub fn add_ssh_signature(
        &self,
        bytes: &[u8],
        signers: &AllowedSigners,
        note: bool,
    ) -> Result<Anchored, StoreError> {
        let refused = |why: String| StoreError::Anchor(why);
        let signature = SshSignature::parse(bytes).map_err(|error| refused(error.to_string()))?;
        let who = signers.who(&signature).ok_or_else(|| {
            refused(format!("{} is not among the allowed signers", signature.fingerprint()))
        })?;
        let of = self.checkpoint_of(|text| signature.check(text).is_ok())?;
        let place = paths::anchor_word(of.body.size, &Sha256::of(bytes), paths::SSH_WORD);
        self.take_word(&of, &place, bytes, (format!("{who} ({})", signature.fingerprint()), None), note)
    }

    /// Takes in a time stamp over a kept checkpoint's text. Its signature is not checked.
    pub fn add_stamp(&self, bytes: &[u8], note: bool) -> Result<Anchored, StoreError> {
        let stamp = Stamp::parse(bytes).map_err(|error| StoreError::Anchor(error.to_string()))?;
        let of = self.checkpoint_of(|text| Sha256::of(text.as_bytes()) == stamp.digest)?;
        let place = paths::anchor_word(of.body.size, &Sha256::of(bytes), paths::STAMP_WORD);
        self.take_word(&of, &place, bytes, (format!("the time stamp {place}"), Some(stamp.time)), note)
    }

    /// The newest of the store's checkpoints whose text is the one meant.
    fn checkpoint_of(&self, is_it: impl Fn(&str) -> bool) -> Result<Checkpoint, StoreError> {
        let kept = self.kept_checkpoints()?.into_iter().filter_map(|(_, kept)| kept.ok());
        let found = kept.chain(self.checkpoint()?).filter(|known| is_it(known.note.text())).last();
        found.ok_or_else(|| StoreError::Anchor("it is of none of this store's checkpoints".to_owned()))
    }

    fn take_word(
        &self,
        of: &Checkpoint,
        place: &str,
        bytes: &[u8],
        by: (String, Option<Moment>),
        note: bool,
    ) -> Result<Anchored, StoreError> {
        {
            let _lock = self.lock()?;
            self.keep_checkpoint(of)?;
            self.disk.replace_durably(place, bytes, 0o644)?;
        }
        let entry = if note { Some(self.note_anchor(bytes)?) } else { None };
        Ok(Anchored { size: of.body.size, by: vec![by], entry })
    }

    /// Puts an anchor's own bytes into the log: what comes after was written after it was made.
    pub(super) fn note_anchor(&self, bytes: &[u8]) -> Result<u64, StoreError> {
        Ok(self.note(&[bytes.to_vec()])?[0])
    }
}
