//! `strongroom show`

use std::path::Path;

use crate::base::json::quote;
use crate::carrier::Place;
use crate::cli::documents::pack_of;
use crate::cli::error::{CliError, exit};
use crate::cli::session::Session;
use crate::schema::Pack;
use crate::store::{StoreError, carry};

/// Print a run's manifest, or a document in a file, as it is or as a version would have it
///
/// A manifest as committed, as of an earlier revision, or migrated on reading; with --pack a document
/// in a file outside the store, which needs no store. Nothing is written. The exact bytes go to standard output (with --json too, since they are a JSON document); what they use that is deprecated is told on standard error. What an
/// edit in place left in the file is never printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one; with --pack a file
    #[arg(value_name = "RUN|FILE")]
    run: String,
    /// The pack that describes the document: a name, or a folder
    #[arg(long, value_name = "PACK", conflicts_with = "revision")]
    pack: Option<String>,
    /// The line of a JSON Lines file
    #[arg(long, value_name = "N", requires = "pack", conflicts_with = "row")]
    line: Option<u64>,
    /// The key of a row of a database
    #[arg(long, value_name = "KEY", requires = "pack")]
    row: Option<String>,
    /// Migrated on reading to this schema version; nothing is written
    #[arg(long = "as", value_name = "VERSION", conflicts_with = "revision")]
    version: Option<String>,
    /// The revision with this digest, or a unique beginning of it
    #[arg(long, value_name = "DIGEST")]
    revision: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    if let Some(pack) = &args.pack {
        let pack = pack_of(pack, session)?;
        let bytes = show_document(&args, &pack)?;
        if args.version.is_some() {
            warn(&pack, &bytes, session);
        }
        session.out.bytes(&bytes);
        if args.line.is_some() || args.row.is_some() {
            session.out.bytes(b"\n");
        }
        return Ok(exit::OK);
    }
    let store = session.store()?;
    let key = store.find_run(&args.run)?;
    let bytes = match (&args.version, &args.revision) {
        (Some(version), _) => {
            let bytes = store.show_as(&key, version)?;
            warn(&*store.manifest_pack()?, &bytes, session);
            bytes
        }
        (None, Some(digest)) => store.show_revision(&store.find_revision(&key, digest)?)?,
        (None, None) => store.manifest_bytes(&key)?,
    };
    session.out.bytes(&bytes);
    Ok(exit::OK)
}

/// Tells which deprecated members are used in what is shown.
fn warn(pack: &Pack, bytes: &[u8], session: &Session) {
    for warning in carry::deprecated(pack, bytes) {
        session.out.warn(&warning);
    }
}

fn show_document(args: &Args, pack: &Pack) -> Result<Vec<u8>, CliError> {
    let path = Path::new(&args.run);
    let version = args.version.as_deref();
    let show = |place: Option<&Place>| carry::show(pack, path, place, version);
    Ok(match (&args.line, &args.row) {
        (Some(line), _) => show(Some(&Place::Line(*line)))?,
        // A key is given as it looks: a number, or a text without quotes.
        (None, Some(key)) => match show(Some(&Place::Row(key.clone()))) {
            Err(StoreError::Input { .. }) => show(Some(&Place::Row(quote(key))))?,
            shown => shown?,
        },
        (None, None) => show(None)?,
    })
}
