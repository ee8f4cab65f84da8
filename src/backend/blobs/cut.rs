//! Cutting what was written to segments and never committed.

use std::fs::File;

use super::writer::try_lock;
use super::{BlobDamage, BlobError, LocalBlobs};
use crate::backend::durable::DiskError;
use crate::backend::segment::{self, BadHeader, Depth, HEADER_LEN, Place};
use crate::backend::segments::{self, SegmentsError, segment_path};

/// A tail that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment's path.
    pub path: String,
    /// Its length now; 0 if it was removed for want of a header.
    pub from: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
}

impl LocalBlobs {
    /// Cuts the tails that writes which never finished have left, and says which. For the holder of
    /// the store's lock, after recovery and after [`LocalBlobs::set_committed`].
    ///
    /// A segment that a writer holds is left alone: its tail is being written. Nothing below a
    /// committed length is ever cut.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] if bytes below a committed length are bad; that segment is left as it is.
    pub fn cut_torn_tails(&self) -> Result<Vec<Cut>, BlobError> {
        let mut cuts = Vec::new();
        for mark in segments::list(self.disk())? {
            if self.segments().committed(mark.number) != Some(mark.len)
                && let Some(cut) = self.cut_torn_tail(mark.number)?
            {
                cuts.push(cut);
            }
        }
        Ok(cuts)
    }

    /// As [`LocalBlobs::cut_torn_tails`], of one segment.
    pub fn cut_torn_tail(&self, number: u32) -> Result<Option<Cut>, BlobError> {
        let path = segment_path(number);
        let mut file = match self.disk().append_existing(&path) {
            Ok(file) => file,
            Err(DiskError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !try_lock(&file)? {
            return Ok(None);
        }
        // Only now: it may have grown until its writer let go.
        let len = file.reread_end()?;
        let meant = self.segments().meant(number);
        let committed = self.segments().committed(number).unwrap_or(0);
        if committed > len {
            let damage = BlobDamage::Shorter { committed, found: len };
            return Err(BlobError::Damaged { place: path, damage });
        }
        if let Some(why) = self.segments().bad_header(file.file(), number)? {
            if committed > 0 {
                return Err(BlobError::Damaged { place: path, damage: why.into() });
            }
            if !self.never_finished(file.file(), &path, number, len, &why)? {
                // Another store's, or damaged: for `check_all` to report, not for us to cut.
                return Ok(None);
            }
            self.disk().unlink(&path)?;
            self.disk().sync_dir(segments::FOLDER)?;
            return Ok(Some(Cut { path, from: 0, bytes: len }));
        }
        let offset = committed.max(HEADER_LEN);
        let place = Place { store_id: self.options().store_id, number, offset };
        let scanned = segment::scan(file.file(), place, len, Depth::Bodies, &mut |_, _| {})
            .map_err(|source| SegmentsError::Read { path: path.clone(), source })?;
        // Where it is not known what is committed, good records behind bad ones may be somebody's.
        if scanned.prefix == len || (meant.is_none() && scanned.bad_in_the_middle()) {
            return Ok(None);
        }
        // Nothing refers to what lies beyond, good records among it included: a flush covers all of
        // a segment, and this one's never returned.
        self.disk().set_len_of(file.file(), &path, scanned.prefix)?;
        file.sync()?;
        Ok(Some(Cut { path, from: scanned.prefix, bytes: len - scanned.prefix }))
    }

    /// Whether a file with a bad header is a segment whose first flush never returned: it states no other
    /// store, and nothing of it was committed. Where that is not known, no record in it may be good.
    pub(super) fn never_finished(
        &self,
        file: &File,
        path: &str,
        number: u32,
        len: u64,
        why: &BadHeader,
    ) -> Result<bool, BlobError> {
        if !matches!(why, BadHeader::Short { .. } | BadHeader::Magic | BadHeader::Check) {
            return Ok(false);
        }
        if let Some(meant) = self.segments().meant(number) {
            return Ok(meant == 0);
        }
        let place = Place { store_id: self.options().store_id, number, offset: HEADER_LEN };
        let mut records = 0;
        segment::scan(file, place, len, Depth::Headers, &mut |_, _| records += 1)
            .map_err(|source| SegmentsError::Read { path: path.to_owned(), source })?;
        Ok(records == 0)
    }
}
