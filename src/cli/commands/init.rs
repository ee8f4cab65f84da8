//! `strongroom init`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::store::Store;

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
    let store = Store::init(&dir, args.origin, session.context())?;
    let root = std::path::absolute(store.root()).unwrap_or_else(|_| store.root().to_owned());
    let root = root.display().to_string();
    let origin = &store.config().origin;
    if session.out.json {
        let id = crate::base::digest::hex(&store.config().store_id);
        session.out.json(&json!({"store": root, "origin": origin, "store_id": id}));
    } else {
        session.out.note(format!("made an empty store in {}", safe(&root)));
        session.out.note(format!("its log is called {}", safe(origin)));
    }
    Ok(exit::OK)
}
