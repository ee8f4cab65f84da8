//! `strongroom demo`

use std::path::PathBuf;

use crate::cli::error::{CliError, exit};
use crate::cli::session::Session;

/// Make a store from sample runs, and show what it does
///
/// Adopts, records, migrates, tampers, verifies, restores and rolls back, says what came of each step
/// and where it lies, and stops at the first step that does not come out as it should.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where; must be missing or empty
    #[arg(default_value = "strongroom-demo")]
    dir: PathBuf,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    crate::cli::demo::run(&args.dir, session)?;
    Ok(exit::OK)
}
