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
    /// Example documents: JSON files, JSON Lines in files that end with .jsonl, and folders of both
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

/// The files that a path stands for: itself, or all .json and .jsonl files below it.
fn files_below(path: &Path, out: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if !path.is_dir() {
        out.push(path.to_owned());
        return Ok(());
    }
    let refused = |error: std::io::Error| CliError::refused(format!("{}: {error}", path.display()), None);
    let entries =
        std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(refused)?;
    let mut entries: Vec<(PathBuf, std::fs::FileType)> = entries
        .iter()
        .map(|entry| Ok((entry.path(), entry.file_type()?)))
        .collect::<Result<_, _>>()
        .map_err(refused)?;
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, kind) in entries {
        let fits = path.extension().is_some_and(|end| end == "json" || end == "jsonl");
        // A link could lead anywhere, and round in circles.
        if kind.is_dir() || (kind.is_file() && fits) {
            files_below(&path, out)?;
        }
    }
    Ok(())
}

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
    let mut files = Vec::new();
    for path in &args.from {
        files_below(path, &mut files)?;
    }
    for path in &files {
        found.extend(documents(path)?);
    }
    let samples: Vec<Sample<'_>> = found.iter().map(|(place, text)| Sample { place, text }).collect();
    let refused = |error: crate::schema::DraftError| CliError::refused(error.to_string(), None);
    let draft = draft(&args.name, &samples, at.as_ref()).map_err(refused)?;
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    write_new(&folder, &draft.files)?;
    let out = &session.out;
    let shown = folder.display().to_string();
    let status = if draft.left_out.is_empty() { exit::OK } else { exit::FOUND };
    if out.json {
        let left_out: Vec<Value> =
            draft.left_out.iter().map(|(place, why)| json!({"place": place, "reason": why})).collect();
        let shapes: Vec<Value> = draft
            .shapes
            .iter()
            .map(|(name, documents)| json!({"shape": name, "documents": documents}))
            .collect();
        out.json(&json!({
            "name": args.name, "folder": shown, "version_at": draft.version_at, "shapes": shapes,
            "documents": samples.len(), "files": draft.files.keys().collect::<Vec<_>>(),
            "left_out": left_out,
        }));
        return Ok(status);
    }
    for (shape, documents) in &draft.shapes {
        out.line(format!("{}  {}", safe(shape), count(*documents as u64, "document", "documents")));
    }
    let label = match &draft.version_at {
        Some(at) => format!("labels at {at}"),
        None => "no label found".to_owned(),
    };
    let files = count(draft.files.len() as u64, "file", "files");
    for (place, why) in &draft.left_out {
        out.line(format!("left out {}: {}", safe(place), safe(why)));
    }
    let given = if shown.contains('/') { shown.clone() } else { format!("./{shown}") };
    out.note(format!("{files} in {}, {}", safe(&shown), safe(label)));
    out.note(format!(
        "next: write the migrations; strongroom pack check {} says what is missing",
        safe(given)
    ));
    Ok(status)
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
