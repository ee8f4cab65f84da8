//! `strongroom pack new`, `graph` and `docs`: from documents to a pack, and from a pack to pictures and
//! pages.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{files_of, read};
use crate::backend::Disk;
use crate::base::json::Pointer;
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::schema::{Sample, draft};

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The new pack's name
    name: String,
    /// Example documents: JSON files, and JSON Lines in files that end with .jsonl
    #[arg(long, value_name = "DOCS", required = true, num_args = 1..)]
    from: Vec<PathBuf>,
    /// Where documents say their version [default: /schema_version, /version or /app_version]
    #[arg(long, value_name = "POINTER")]
    version_at: Option<String>,
    /// The folder to write, which must be empty or not there yet [default: NAME]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct GraphArgs {
    /// A folder, or the name of a pack
    #[arg(value_name = "PACK")]
    pack: String,
    /// Write an SVG image to this file
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DocsArgs {
    /// A folder, or the name of a pack
    #[arg(value_name = "PACK")]
    pack: String,
    /// Write the page to this file instead
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes a file whole, or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |why: String| CliError::failed(format!("{}: {why}", path.display()));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| failed("it does not name a file".to_owned()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = Disk::open(folder).map_err(|error| failed(error.to_string()))?;
    disk.replace_durably(name, bytes, 0o644).map_err(|error| failed(error.to_string()))
}

pub(super) fn graph(args: &GraphArgs, session: &Session) -> Result<u8, CliError> {
    let pack = read(&args.pack, &files_of(&args.pack, session)?)?;
    let out = &session.out;
    let text = pack.graph_text();
    if let Some(path) = &args.out {
        write(path, pack.graph_svg().as_bytes())?;
    }
    if out.json {
        let edges: Vec<Value> =
            pack.migrations().map(|m| json!({"from": m.from, "to": m.to, "summary": m.summary})).collect();
        out.json(&json!({
            "name": pack.name(), "head": pack.head(), "text": text, "migrations": edges,
            "svg": args.out.as_ref().map(|path| path.display().to_string()),
        }));
    } else if let Some(path) = &args.out {
        out.note(format!("wrote {}", safe(path.display().to_string())));
    } else {
        text.lines().for_each(|line| out.line(safe(line)));
    }
    Ok(exit::OK)
}

pub(super) fn docs(args: &DocsArgs, session: &Session) -> Result<u8, CliError> {
    let pack = read(&args.pack, &files_of(&args.pack, session)?)?;
    let page = pack.page();
    let out = &session.out;
    if let Some(path) = &args.out {
        write(path, page.as_bytes())?;
    }
    match &args.out {
        _ if out.json => {
            let file = args.out.as_ref().map(|path| path.display().to_string());
            out.json(&json!({"name": pack.name(), "page": page, "file": file}));
        }
        Some(path) => out.note(format!("wrote {}", safe(path.display().to_string()))),
        None => page.lines().for_each(|line| out.line(safe(line))),
    }
    Ok(exit::OK)
}

/// Largest file that documents are taken from.
const SAMPLE_BYTES: u64 = 64 << 20;

/// The documents of a file, each with its place.
fn documents(path: &Path) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let shown = path.display().to_string();
    let refused = |why: String| CliError::refused(format!("{shown}: {why}"), None);
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > SAMPLE_BYTES {
        return Err(refused(format!("it is over {SAMPLE_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    if path.extension().is_none_or(|end| end != "jsonl") {
        return Ok(vec![(shown, bytes)]);
    }
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(at, line)| (at, line.strip_suffix(b"\r").unwrap_or(line)));
    let full = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    Ok(full.map(|(at, line)| (format!("{shown}:{}", at + 1), line.to_vec())).collect())
}

pub(super) fn new(args: &NewArgs, session: &Session) -> Result<u8, CliError> {
    let at = match &args.version_at {
        None => None,
        Some(text) => {
            let parsed = text.parse::<Pointer>();
            Some(parsed.map_err(|error| CliError::usage(format!("--version-at: {error}"), None))?)
        }
    };
    let mut found = Vec::new();
    for path in &args.from {
        found.extend(documents(path)?);
    }
    let samples: Vec<Sample<'_>> = found.iter().map(|(place, text)| Sample { place, text }).collect();
    let refused = |error: crate::schema::DraftError| CliError::refused(error.to_string(), None);
    let draft = draft(&args.name, &samples, at.as_ref()).map_err(refused)?;
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    write_new(&folder, &draft.files)?;
    let out = &session.out;
    let shown = folder.display().to_string();
    if out.json {
        let shapes: Vec<Value> = draft
            .shapes
            .iter()
            .map(|(name, documents)| json!({"shape": name, "documents": documents}))
            .collect();
        out.json(&json!({
            "name": args.name, "folder": shown, "version_at": draft.version_at, "shapes": shapes,
            "documents": samples.len(), "files": draft.files.keys().collect::<Vec<_>>(),
        }));
        return Ok(exit::OK);
    }
    for (shape, documents) in &draft.shapes {
        out.line(format!("{}  {}", safe(shape), count(*documents as u64, "document", "documents")));
    }
    let label = match &draft.version_at {
        Some(at) => format!("labels at {at}"),
        None => "no label found".to_owned(),
    };
    let files = count(draft.files.len() as u64, "file", "files");
    out.note(format!(
        "{files} in {}, {}; next: strongroom pack check ./{}",
        safe(&shown),
        safe(label),
        safe(&shown)
    ));
    Ok(exit::OK)
}

/// Writes a folder that is empty or not there.
fn write_new(folder: &Path, files: &crate::store::PackFiles) -> Result<(), CliError> {
    let failed = |error: crate::backend::DiskError| CliError::failed(error.to_string());
    let full = std::path::absolute(folder).map_err(|error| CliError::failed(error.to_string()))?;
    Disk::make_root(&full).map_err(failed)?;
    let disk = Disk::open(&full).map_err(failed)?;
    if !disk.list("").map_err(failed)?.is_empty() {
        let hint = "name a folder that is empty or not there yet with -o".to_owned();
        return Err(CliError::refused(format!("{} is not empty", folder.display()), Some(hint)));
    }
    for (path, bytes) in files {
        if let Some((parent, _)) = path.rsplit_once('/') {
            disk.mkdir_all(parent).map_err(failed)?;
        }
        disk.replace_durably(path, bytes, 0o644).map_err(failed)?;
    }
    Ok(())
}
