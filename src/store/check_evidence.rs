//! Reading an evidence bundle, from a folder or a zip file, without any store.
//!
//! The bundle comes from a stranger. Nothing of it is unpacked: files are hashed as they are read,
//! links are never followed, and a zip file that would lead out of its place, hide something or grow
//! beyond the limits is refused before it is read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;

use super::StoreError;
use crate::backend::{Disk, Kind};
use crate::base::digest::{BlobId, Hasher};
use crate::base::limits;
use crate::format::bundle::bag;
use crate::format::policy::Policy;
use crate::note::{AllowedSigners, VerifyingKey};
use crate::plan::bundle::{self, Checked, Facts};

fn refused(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Input { path: path.display().to_string(), why: why.into() }
}

/// A checked bundle and how much of it was read.
#[derive(Debug, Clone)]
pub struct EvidenceCheck {
    /// What the rules said.
    pub checked: Checked,
    /// Files hashed.
    pub files: u64,
    /// Bytes hashed.
    pub bytes: u64,
}

/// Checks a bundle for a reader who trusts these keys, and asks for what a policy asks.
pub fn check_evidence(
    path: &Path,
    pinned: &[VerifyingKey],
    policy: Option<&Policy>,
    signers: Option<&AllowedSigners>,
) -> Result<EvidenceCheck, StoreError> {
    let meta = std::fs::metadata(path).map_err(|error| refused(path, error.to_string()))?;
    let facts = if meta.is_dir() { folder(path)? } else { zipped(path)? };
    let bytes = facts.files.values().map(|blob| blob.bytes).sum();
    let files = facts.files.len() as u64;
    Ok(EvidenceCheck { checked: bundle::check(&facts, pinned, policy, signers), files, bytes })
}

/// Takes in one file: hashed, and kept where a rule looks into it.
fn take(facts: &mut Facts, texts: &mut u64, name: &str, from: &mut dyn Read) -> Result<(), String> {
    let kept = bundle::is_read(name);
    let mut hasher = Hasher::new();
    let mut text = Vec::new();
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
        };
        hasher.update(&buffer[..n]);
        if kept {
            *texts += n as u64;
            text.extend_from_slice(&buffer[..n]);
            if text.len() as u64 > limits::BUNDLE_TEXT_BYTES || *texts > limits::BUNDLE_TEXTS_BYTES {
                return Err(format!("it is larger than {} bytes", limits::BUNDLE_TEXT_BYTES));
            }
        }
    }
    let blob: BlobId = hasher.finish();
    if kept {
        facts.texts.insert(name.to_owned(), text);
    }
    facts.files.insert(name.to_owned(), blob);
    Ok(())
}

fn folder(path: &Path) -> Result<Facts, StoreError> {
    let disk = Disk::open(path)?;
    let (mut facts, mut texts, mut seen) = (Facts::default(), 0, 0);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in disk.list(&folder)? {
            seen += 1;
            if seen > limits::BUNDLE_FILES {
                return Err(refused(path, format!("it has more than {} files", limits::BUNDLE_FILES)));
            }
            let join =
                |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let Some(name) = entry.name.to_str() else {
                facts.odd.push((join(&entry.name.to_string_lossy()), "a name that is not UTF-8".to_owned()));
                continue;
            };
            let name = join(name);
            match entry.kind {
                Kind::Dir => folders.push(name),
                Kind::File => {
                    let mut file = disk.open_file(&name)?;
                    take(&mut facts, &mut texts, &name, &mut file)
                        .map_err(|why| refused(&path.join(&name), why))?;
                }
                other => facts.odd.push((name, other.word().to_owned())),
            }
        }
    }
    Ok(facts)
}

/// How many members the zip file's own directory says it has. Members of one name would be read as
/// one, and different programs would take different ones for it.
fn stated_members(file: &mut File) -> std::io::Result<Option<u64>> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail = length.min(22 + 65_535 + 20 + 56);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    let last = |mark: &[u8]| bytes.windows(mark.len()).rposition(|window| window == mark);
    let number = |at: usize, len: usize| -> Option<u64> {
        let field = bytes.get(at..at + len)?;
        Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let Some(end) = last(b"PK\x05\x06") else { return Ok(None) };
    let short = number(end + 10, 2);
    Ok(match (short, last(b"PK\x06\x06")) {
        (Some(0xffff), Some(long)) => number(long + 32, 8),
        _ => short,
    })
}

fn zipped(path: &Path) -> Result<Facts, StoreError> {
    let bad = |error: &dyn std::fmt::Display| {
        refused(path, format!("it is not a zip file that can be read: {error}"))
    };
    let mut file = File::open(path).map_err(|error| bad(&error))?;
    let length = file.metadata().map_err(|error| bad(&error))?.len();
    let stated = stated_members(&mut file).map_err(|error| bad(&error))?;
    if stated.is_some_and(|stated| stated > limits::BUNDLE_FILES as u64) {
        return Err(refused(path, format!("it has more than {} files", limits::BUNDLE_FILES)));
    }
    let mut archive = ZipArchive::new(file).map_err(|error| bad(&error))?;
    if stated != Some(archive.len() as u64) {
        return Err(refused(path, "it has several members of one name"));
    }
    let names = names(path, &mut archive, length)?;
    let top = top_folder(&names);
    let (mut facts, mut texts) = (Facts::default(), 0);
    for (at, name) in names {
        let inner = name[top..].to_owned();
        let mut member = archive.by_index(at).map_err(|error| bad(&error))?;
        let size = member.size();
        // What was said of its size was counted against the limits: more than that is not read.
        let mut limited = (&mut member).take(size + 1);
        take(&mut facts, &mut texts, &inner, &mut limited)
            .map_err(|why| refused(path, format!("{inner}: {why}")))?;
        if facts.files.get(&inner).is_some_and(|blob| blob.bytes != size) {
            return Err(refused(path, format!("{inner}: its size is not what the zip file says")));
        }
    }
    Ok(facts)
}

/// The members that are files, with their names; refuses what no bundle has.
fn names(
    path: &Path,
    archive: &mut ZipArchive<File>,
    length: u64,
) -> Result<Vec<(usize, String)>, StoreError> {
    let mut names = Vec::new();
    let mut total = 0u64;
    for at in 0..archive.len() {
        let member = archive.by_index_raw(at).map_err(|error| refused(path, error.to_string()))?;
        let name = std::str::from_utf8(member.name_raw()).map(str::to_owned);
        let name = name.map_err(|_| refused(path, "it has a member whose name is not UTF-8"))?;
        let stem = name.strip_suffix('/').unwrap_or(&name);
        let why = match () {
            () if !bag::stays_inside(stem) => Some("leads out of the bundle, or is no path"),
            () if member.is_symlink() => Some("is a link"),
            () if member.encrypted() => Some("is encrypted"),
            () => None,
        };
        if let Some(why) = why {
            return Err(refused(path, format!("its member {name:?} {why}")));
        }
        total = total.saturating_add(member.size());
        let ratio = length.saturating_mul(limits::ZIP_RATIO).max(limits::ZIP_FREE_BYTES);
        if total > ratio {
            let why = format!(
                "its files are more than {} times as large as itself; unpack it yourself and check the folder",
                limits::ZIP_RATIO
            );
            return Err(refused(path, why));
        }
        if stem.len() == name.len() {
            names.push((at, name));
        }
    }
    Ok(names)
}

/// The length of the one folder that all members lie in, as a bag in a zip file has it (RFC 8493,
/// section 4); 0 when they lie at its top.
fn top_folder(names: &[(usize, String)]) -> usize {
    let Some((_, first)) = names.first() else { return 0 };
    let Some(end) = first.find('/') else { return 0 };
    let top = &first[..=end];
    if names.iter().all(|(_, name)| name.starts_with(top)) { top.len() } else { 0 }
}
