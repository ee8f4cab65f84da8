//! `strongroom pack install`, `list` and `show`: packs of a store, and those built in.

use serde_json::{Value, json};

use super::{files_of, read};
use crate::base::digest::Sha256;
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, table};
use crate::cli::session::Session;
use crate::schema::{self, Pack};
use crate::store::InstalledPack;

#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// The pack's folder
    #[arg(value_name = "DIR")]
    pack: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// A folder, or the name of a pack
    #[arg(value_name = "PACK")]
    pack: String,
}

pub(super) fn install(args: &InstallArgs, session: &Session) -> Result<u8, CliError> {
    let files = files_of(&args.pack, session)?;
    read(&args.pack, &files)?;
    let done = session.store()?.install_pack(&files).map_err(|error| session.failure(error))?;
    session.end();
    let pack = &done.installed.pack;
    let out = &session.out;
    if out.json {
        out.json(&json!({
            "name": pack.name, "version": pack.version, "digest": pack.digest,
            "files": done.installed.files, "folder": done.installed.folder(), "count": done.count,
            "entry": done.installed.entry, "unchanged": done.unchanged, "replaced": done.replaced,
        }));
        return Ok(exit::OK);
    }
    let word = if done.unchanged { "installed already:" } else { "installed" };
    out.line(format!("{word} {} {}  {}", safe(&pack.name), safe(&pack.version), pack.digest));
    for path in &done.replaced {
        out.line(format!("replaced {}; what lay there is kept", safe(path)));
    }
    let files = count(done.count as u64, "file", "files");
    out.note(format!("{files} in {}, log entry {}", safe(done.installed.folder()), done.installed.entry));
    Ok(exit::OK)
}

/// One pack in a list.
struct Row {
    name: String,
    version: String,
    digest: Sha256,
    entry: Option<u64>,
    current: bool,
}

impl Row {
    fn of(installed: &InstalledPack, all: &[InstalledPack]) -> Self {
        let pack = installed.pack.clone();
        let last = all.iter().rev().find(|other| other.pack.name == pack.name);
        let current = last.is_some_and(|last| last.entry == installed.entry);
        let entry = Some(installed.entry);
        Self { name: pack.name, version: pack.version, digest: pack.digest, entry, current }
    }

    fn source(&self) -> &'static str {
        if self.entry.is_some() { "installed" } else { "built in" }
    }
}

pub(super) fn list(session: &Session) -> Result<u8, CliError> {
    let installed = match session.store_if_any()? {
        Some(store) => store.installed_packs()?,
        None => Vec::new(),
    };
    let mut rows: Vec<Row> = schema::builtin_names()
        .filter_map(Pack::builtin)
        .map(|pack| Row {
            name: pack.name().to_owned(),
            version: pack.version().to_owned(),
            digest: pack.digest(),
            entry: None,
            current: !installed.iter().any(|other| other.pack.name == pack.name()),
        })
        .collect();
    rows.extend(installed.iter().map(|pack| Row::of(pack, &installed)));
    let out = &session.out;
    if out.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "version": row.version, "digest": row.digest, "source": row.source(),
                    "entry": row.entry, "current": row.current,
                })
            })
            .collect();
        out.json(&json!({ "packs": rows }));
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let source = match (row.entry, row.current) {
                (None, true) => "built in".to_owned(),
                (None, false) => "built in; an installed one comes first".to_owned(),
                (Some(entry), true) => format!("installed, log entry {entry}"),
                (Some(entry), false) => format!("installed before, log entry {entry}"),
            };
            vec![row.name.clone(), row.version.clone(), row.digest.hex()[..16].to_owned(), source]
        })
        .collect();
    out.bytes(table(&["NAME", "VERSION", "DIGEST", "FROM"], &[], &rows).as_bytes());
    Ok(exit::OK)
}

pub(super) fn show(args: &ShowArgs, session: &Session) -> Result<u8, CliError> {
    let files = files_of(&args.pack, session)?;
    let pack = read(&args.pack, &files)?;
    let out = &session.out;
    if out.json {
        let files: Vec<Value> = files
            .iter()
            .map(|(path, bytes)| json!({"path": path, "sha256": Sha256::of(bytes), "bytes": bytes.len()}))
            .collect();
        let migrations: Vec<Value> = pack
            .migrations()
            .map(|m| json!({"from": m.from, "to": m.to, "summary": m.summary, "digest": m.digest}))
            .collect();
        out.json(&json!({
            "name": pack.name(), "version": pack.version(), "digest": pack.digest(), "head": pack.head(),
            "versions": pack.versions(), "migrations": migrations, "files": files,
        }));
        return Ok(exit::OK);
    }
    out.line(format!("{} {}  {}", safe(pack.name()), safe(pack.version()), pack.digest()));
    out.line(format!("versions  {}; the head is {}", safe(pack.versions().join(", ")), safe(pack.head())));
    for migration in pack.migrations() {
        let (from, to) = (safe(migration.from), safe(migration.to));
        out.line(format!("{from} -> {to}  {}  {}", &migration.digest.hex()[..16], safe(migration.summary)));
    }
    for (path, bytes) in &files {
        out.note(format!("{}  {}", Sha256::of(bytes).hex(), safe(path)));
    }
    Ok(exit::OK)
}
