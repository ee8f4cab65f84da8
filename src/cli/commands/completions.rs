//! `strongroom completions`

use clap::CommandFactory;
use serde_json::json;

use crate::cli::args::Cli;
use crate::cli::error::{CliError, exit};
use crate::cli::session::Session;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "strongroom", &mut script);
    if session.out.json {
        let script = String::from_utf8_lossy(&script);
        session.out.json(&json!({"shell": args.shell.to_string(), "script": script}));
    } else {
        session.out.bytes(&script);
    }
    Ok(exit::OK)
}
