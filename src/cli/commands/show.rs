//! `strongroom show`

use crate::cli::error::{CliError, exit};
use crate::cli::session::Session;

/// Print a run's manifest: as committed, as of an earlier revision, or as a version would have it
///
/// The exact bytes go to standard output (with --json too, since they are a JSON document). What an
/// edit in place left in the file is never printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    run: String,
    /// Migrated on reading to this schema version; nothing is written
    #[arg(long = "as", value_name = "VERSION", conflicts_with = "revision")]
    version: Option<String>,
    /// The revision with this digest, or a unique beginning of it
    #[arg(long, value_name = "DIGEST")]
    revision: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let key = store.find_run(&args.run)?;
    let bytes = match (&args.version, &args.revision) {
        (Some(version), _) => store.show_as(&key, version)?,
        (None, Some(digest)) => store.show_revision(&store.find_revision(&key, digest)?)?,
        (None, None) => store.manifest_bytes(&key)?,
    };
    session.out.bytes(&bytes);
    Ok(exit::OK)
}
