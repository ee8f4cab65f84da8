//! Facts from beside the document that a migration may use: handed in, never fetched.
//!
//! A pack declares them: a member of a JSON or YAML file of the run, a piece of one of the
//! document's own members, or the list of files below a folder. Several facts can be named in one
//! step; the first that can be had is taken, and the change says where it came from.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, Scalar, Yaml};

use super::error::{PackError, PackErrorKind};
use super::reader::Table;
use crate::base::digest::Sha256;
use crate::base::id::JobId;
use crate::base::json::{self, Doc, Json, Pointer};

/// A file of the run, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// The path below the run's folder.
    pub path: String,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What is known beside the document.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The run's files.
    pub files: Vec<FileFact>,
    /// The bytes of those files that the pack's facts name, by path.
    pub contents: BTreeMap<String, Vec<u8>>,
}

/// How a file that holds a fact is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactFormat {
    /// JSON, read as strictly as documents are.
    Json,
    /// YAML 1.2.
    Yaml,
}

/// Where a fact comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource {
    /// A member of a file; the store hands in the file's bytes.
    File {
        /// The path below the run's folder.
        path: String,
        /// How the file is written.
        format: FactFormat,
        /// The place within it.
        pointer: Pointer,
    },
    /// The piece of a string member that stands for `<…>` in a pattern such as `jobs/<id>/brief.yaml`.
    Member {
        /// The member.
        member: Pointer,
        /// The text before the piece.
        before: String,
        /// The text after the piece.
        after: String,
    },
    /// The files below a folder, as an object of `{path, sha256, bytes}` by name: the file's name
    /// up to its first dot, or its whole path below the folder where names collide.
    FilesBelow {
        /// The folder, with its closing slash.
        folder: String,
    },
}

/// A fact that a pack's migrations want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactSpec {
    /// Its name within the pack.
    pub name: String,
    /// Where it comes from.
    pub source: FactSource,
    /// Whether it has to be fit to be a job id or run id.
    pub is_id: bool,
}

/// The largest file that is searched for a fact, in bytes.
const FACT_FILE_BYTES: usize = 1 << 20;

impl FactSpec {
    pub(super) fn read(table: &Table<'_, '_>) -> Result<Self, PackError> {
        const KEYS: &[&str] = &["file", "member", "files"];
        let name = table.need_text("name")?.value;
        let (file, member, folder) = (table.text("file")?, table.pointer("member")?, table.text("files")?);
        let source = match (file, member, folder) {
            (Some(path), None, None) => {
                let format = table.need_text("format")?;
                FactSource::File {
                    path: path.value,
                    format: match format.value.as_str() {
                        "json" => FactFormat::Json,
                        "yaml" => FactFormat::Yaml,
                        _ => return Err(table.bad("format", &format, "formats are json and yaml")),
                    },
                    pointer: table.need_pointer("pointer")?,
                }
            }
            (None, Some(member), None) => {
                let pattern = table.need_text("pattern")?;
                let parts = pattern
                    .value
                    .split_once('<')
                    .and_then(|(before, rest)| rest.split_once('>').map(|(_, after)| (before, after)));
                let Some((before, after)) = parts.filter(|(_, after)| !after.contains('<')) else {
                    return Err(table.bad("pattern", &pattern, "it has one piece in angle brackets"));
                };
                FactSource::Member { member, before: before.to_owned(), after: after.to_owned() }
            }
            (None, None, Some(folder)) => {
                if !folder.value.ends_with('/') {
                    return Err(table.bad("files", &folder, "a folder is written with a closing slash"));
                }
                FactSource::FilesBelow { folder: folder.value }
            }
            _ => return Err(table.error(PackErrorKind::OneOf { keys: KEYS })),
        };
        let is_id = match table.text("must_be")? {
            None => false,
            Some(text) if text.value == "id" => true,
            Some(text) => return Err(table.bad("must_be", &text, "the only demand known is \"id\"")),
        };
        table.finish()?;
        Ok(Self { name, source, is_id })
    }

    /// The fact and where it came from, or why it cannot be had.
    pub(super) fn find(&self, doc: &Doc<'_>, facts: &Facts) -> Result<(Json, String), String> {
        let (value, origin) = match &self.source {
            FactSource::File { path, format, pointer } => {
                let bytes = facts.contents.get(path).ok_or_else(|| format!("there is no {path}"))?;
                let value = match format {
                    FactFormat::Json => from_json(bytes, pointer),
                    FactFormat::Yaml => from_yaml(bytes, pointer),
                };
                (value.map_err(|why| format!("{path} {why}"))?, path.clone())
            }
            FactSource::Member { member, before, after } => {
                let text = doc.at(member).and_then(|node| node.as_str());
                let text = text.ok_or_else(|| format!("there is no string at {member}"))?;
                let piece = text
                    .strip_prefix(before.as_str())
                    .and_then(|rest| rest.strip_suffix(after.as_str()))
                    .filter(|piece| !piece.is_empty() && !piece.contains('/'));
                let piece = piece.ok_or_else(|| format!("{member} has not the form {before}<…>{after}"))?;
                (Json::from(piece), member.to_string())
            }
            FactSource::FilesBelow { folder } => {
                let snapshots = snapshots_below(folder, &facts.files);
                let origin = match snapshots.len() {
                    0 => format!("no file below {folder}"),
                    1 => format!("1 file below {folder}"),
                    n => format!("{n} files below {folder}"),
                };
                (Json::Object(snapshots), origin)
            }
        };
        if self.is_id && value.as_str().is_none_or(|text| text.parse::<JobId>().is_err()) {
            return Err(format!("what {origin} says is not fit to be an id"));
        }
        Ok((value, origin))
    }

    pub(super) fn compiled(&self) -> serde_json::Value {
        let source = match &self.source {
            FactSource::File { path, format, pointer } => {
                let format = if *format == FactFormat::Json { "json" } else { "yaml" };
                serde_json::json!({"file": path, "format": format, "pointer": pointer})
            }
            FactSource::Member { member, before, after } => {
                serde_json::json!({"member": member, "before": before, "after": after})
            }
            FactSource::FilesBelow { folder } => serde_json::json!({"files": folder}),
        };
        serde_json::json!({"name": self.name, "source": source, "is_id": self.is_id})
    }
}

fn snapshots_below(folder: &str, files: &[FileFact]) -> Vec<(String, Json)> {
    let stem = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.split('.').next().unwrap_or(name).to_owned()
    };
    let below: Vec<(&str, &FileFact)> =
        files.iter().filter_map(|file| Some((file.path.strip_prefix(folder)?, file))).collect();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for (path, _) in &below {
        *count.entry(stem(path)).or_default() += 1;
    }
    let named: BTreeMap<String, &FileFact> = below
        .into_iter()
        .map(|(path, file)| {
            let stem = stem(path);
            let alone = !stem.is_empty() && count.get(&stem) == Some(&1);
            (if alone { stem } else { path.to_owned() }, file)
        })
        .collect();
    named
        .into_iter()
        .map(|(name, file)| {
            let entry = Json::object([
                ("path", Json::from(file.path.as_str())),
                ("sha256", Json::from(file.sha256.to_string())),
                ("bytes", Json::from(file.bytes)),
            ]);
            (name, entry)
        })
        .collect()
}

fn from_json(bytes: &[u8], pointer: &Pointer) -> Result<Json, String> {
    let doc = json::scan(bytes).map_err(|error| format!("is not JSON: {error}"))?;
    doc.at(pointer).map(Json::from).ok_or_else(|| format!("has no {pointer}"))
}

fn from_yaml(bytes: &[u8], pointer: &Pointer) -> Result<Json, String> {
    if bytes.len() > FACT_FILE_BYTES {
        return Err(format!("is over {FACT_FILE_BYTES} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if is_nested_deeply(text) {
        return Err("is nested too deeply".to_owned());
    }
    let docs = Yaml::load_from_str(text).map_err(|error| format!("is not YAML: {error}"))?;
    let [root] = docs.as_slice() else { return Err(format!("holds {} documents", docs.len())) };
    let found = pointer.tokens().try_fold(root, |node, token| match node {
        Yaml::Sequence(items) => items.get(token.parse::<usize>().ok()?),
        node => node.as_mapping_get(token),
    });
    match found {
        None => Err(format!("has no {pointer}")),
        Some(Yaml::Value(Scalar::String(text))) => Ok(Json::from(text.as_ref())),
        Some(Yaml::Value(Scalar::Boolean(value))) => Ok(Json::from(*value)),
        Some(Yaml::Value(Scalar::Integer(value))) => Ok(Json::Number(value.to_string())),
        Some(Yaml::Value(Scalar::Null)) => Ok(Json::Null),
        Some(_) => Err(format!("has something other than a text, integer, boolean or null at {pointer}")),
    }
}

/// Whether brackets or dashes nest further than a parse tree can be walked safely; an estimate on
/// the side of refusing. Indentation cannot, within the size limit.
fn is_nested_deeply(text: &str) -> bool {
    const LEVELS: usize = 200;
    let mut open = 0usize;
    for b in text.bytes() {
        match b {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        if open > LEVELS {
            return true;
        }
    }
    text.lines().any(|line| line.matches("- ").count() + line.matches("? ").count() > LEVELS)
}
