//! `strongroom pack`: what an author of packs needs, and the packs of a store.

mod author;
mod check;
mod store;

use std::path::Path;

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::schema::{self, PACK_FILE, Pack};
use crate::store::{PackFiles, StoreError, read_pack_folder};

/// Packs: kinds of document with their versions and migrations
///
/// A pack is a folder with a pack.toml and a JSON Schema for each shape. PACK is such a folder, or the
/// name of a pack that is installed in the store or built in (name@version for one version of it).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Find what is wrong with packs before anything is touched
    ///
    /// The version graph is looked at as declared; every migration is tried on the pack's examples
    /// (examples/VERSION--name.json, or VERSION--VARIANT--name.json) and on documents made from its JSON
    /// Schemas, spelled in several ways. A failure shows the smallest document found. Exit code 3 with
    /// findings; warnings leave it alone.
    Check(check::CheckArgs),
    /// Draft a pack from example documents
    ///
    /// Documents are JSON files, or JSON Lines. They are told apart by their label and by which members
    /// they have; each shape gets a JSON Schema and an example. Migrations are for the author to write:
    /// strongroom pack check says which are missing.
    New(author::NewArgs),
    /// Draw the version graph: as text, or as SVG with -o
    Graph(author::GraphArgs),
    /// Write a page about a pack for people: versions, members, changes, policy
    Docs(author::DocsArgs),
    /// Keep a pack in the store
    ///
    /// Its files lie under packs/ and among the objects, and one entry of the log names the pack with its
    /// digest. From then on its name means this pack.
    Install(store::InstallArgs),
    /// List the packs that are installed and built in
    List,
    /// Show one pack: versions, migrations, where it comes from
    Show(store::ShowArgs),
}

impl Args {
    /// Whether it changes the store's log.
    pub fn writes(&self) -> bool {
        matches!(self.action, Action::Install(_))
    }
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    match args.action {
        Action::Check(args) => check::run(&args, session),
        Action::New(args) => author::new(&args, session),
        Action::Graph(args) => author::graph(&args, session),
        Action::Docs(args) => author::docs(&args, session),
        Action::Install(args) => store::install(&args, session),
        Action::List => store::list(session),
        Action::Show(args) => store::show(&args, session),
    }
}

/// The files of a pack given as a folder or by name. A folder of documents is often called like the
/// pack that describes them, so a bare name is a folder only where a pack lies in it.
pub(in crate::cli) fn files_of(given: &str, session: &Session) -> Result<PackFiles, CliError> {
    let path = Path::new(given);
    if given.contains('/') || path.join(PACK_FILE).is_file() {
        return Ok(read_pack_folder(path)?);
    }
    match named(given, session) {
        Err(_) if path.is_dir() && Pack::builtin(given).is_none() => Ok(read_pack_folder(path)?),
        named => named,
    }
}

fn named(given: &str, session: &Session) -> Result<PackFiles, CliError> {
    if let Some(store) = session.store_if_any()? {
        return Ok(store.pack_files(given)?);
    }
    let version = |name: &str| Pack::builtin(name).map(Pack::version);
    let (name, wanted) = given.split_once('@').map_or((given, None), |(name, v)| (name, Some(v)));
    let files = schema::pack_files(name).filter(|_| wanted.is_none() || wanted == version(name));
    Ok(files.ok_or_else(|| StoreError::NoPack(given.to_owned()))?)
}

/// Reads a pack; an error names the file as the user knows it, with line and column.
pub(in crate::cli) fn read(given: &str, files: &PackFiles) -> Result<Pack, CliError> {
    Pack::parse(files).map_err(|error| {
        let hint = match files.contains_key(PACK_FILE) {
            true => "the place is file:line:column within the pack",
            false => "a pack is a folder with a pack.toml; strongroom pack new drafts one",
        };
        CliError::refused(format!("{}/{error}", given.trim_end_matches('/')), Some(hint.to_owned()))
    })
}
