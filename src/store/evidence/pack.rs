//! A bundle as one zip file: sorted, without times or owners and not compressed, so that the same
//! bundle is the same file, whatever wrote it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::backend::Disk;
use crate::store::StoreError;

/// The one folder at the top of a bag in a zip file (RFC 8493, section 4).
const TOP: &str = "evidence/";

fn failed(place: &str) -> impl Fn(String) -> StoreError + '_ {
    move |why| StoreError::Input { path: place.to_owned(), why }
}

/// Writes these files of a folder.
pub(super) fn zip<'p>(
    folder: &Disk,
    paths: impl Iterator<Item = &'p String>,
    to: &mut dyn Write,
) -> Result<(), StoreError> {
    let mut writer = ZipWriter::new_stream(to);
    for path in paths {
        let failed = failed(path);
        let mut file = folder.open_file(path)?;
        let length = file.seek(SeekFrom::End(0)).map_err(|error| failed(error.to_string()))?;
        file.rewind().map_err(|error| failed(error.to_string()))?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(length >= u64::from(u32::MAX));
        writer.start_file(format!("{TOP}{path}"), options).map_err(|error| failed(error.to_string()))?;
        io::copy(&mut file.take(length), &mut writer).map_err(|error| failed(error.to_string()))?;
    }
    let mut end = writer.finish().map_err(|error| failed("the zip file")(error.to_string()))?;
    end.flush().map_err(|error| failed("the zip file")(error.to_string()))
}
