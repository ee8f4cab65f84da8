//! `strongroom init`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::pack::read;
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::config::DEFAULT_PACK;
use crate::schema::{PACK_FILE, Pack};
use crate::store::{ManifestPack, Store, read_pack_folder};

/// Make a new, empty store
///
/// The folder is made if it is missing; one that holds anything is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where [default: --store, else the current folder]
    dir: Option<PathBuf>,
    /// The log's name, as witnesses will know it: a host and path without a scheme [default: made up]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// The pack that governs the store's manifests: a built-in one by name, or the folder of one, which
    /// is installed at once [default: sigilzero]
    #[arg(long, value_name = "PACK")]
    pack: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let dir = match (args.dir, session.given_store()) {
        (Some(dir), None) => dir,
        (None, Some(dir)) => dir.to_owned(),
        (None, None) => PathBuf::from("."),
        (Some(_), Some(_)) => return Err(CliError::usage("the new store's folder is given twice", None)),
    };
    if let Some(origin) = &args.origin
        && (origin.is_empty() || origin.chars().any(|c| c.is_whitespace() || c == '+'))
    {
        let hint = "such as example.org/strongroom".to_owned();
        return Err(CliError::usage("--origin must not be empty or hold white space or '+'", Some(hint)));
    }
    let pack = governing(args.pack.as_deref().unwrap_or(DEFAULT_PACK))?;
    let store = Store::init_with(&dir, args.origin, &pack, session.context())?;
    let root = std::path::absolute(store.root()).unwrap_or_else(|_| store.root().to_owned());
    let root = root.display().to_string();
    let origin = &store.config().origin;
    if session.out.json {
        let id = crate::base::digest::hex(&store.config().store_id);
        session
            .out
            .json(&json!({"store": root, "origin": origin, "store_id": id, "pack": store.config().pack}));
    } else {
        session.out.note(format!("made an empty store in {}", safe(&root)));
        session.out.note(format!("its log is called {}", safe(origin)));
        if args.pack.is_some() {
            let pack = store.manifest_pack()?;
            session.out.note(format!(
                "its manifests are of the pack {} {}",
                safe(pack.name()),
                safe(pack.version())
            ));
        }
    }
    Ok(exit::OK)
}

/// The pack for the manifests of a new store, as given. Nothing is written while it is not found.
fn governing(given: &str) -> Result<ManifestPack, CliError> {
    let path = Path::new(given);
    let folder = given.contains('/')
        || path.join(PACK_FILE).is_file()
        || (path.is_dir() && Pack::builtin(given).is_none());
    if !folder {
        return Ok(ManifestPack::BuiltIn(given.to_owned()));
    }
    let files = read_pack_folder(path)?;
    read(given, &files)?;
    Ok(ManifestPack::Files(files))
}
