//! The command line: the only place that prints, reads the environment, knows a terminal.
//!
//! A command is a file in `commands`: an `Args` whose doc comments are its help, and a `run` that
//! calls one operation of the store and says what came of it. Failures become words, hints and exit
//! codes in `error` alone.

mod args;
mod clock;
mod commands;
mod demo;
mod documents;
mod error;
mod output;
mod progress;
mod readers;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::Cli;
use error::CliError;
use session::Session;

/// Runs the program with the process's arguments and says how it ended.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let early = args::Early::of(&arguments);
    let matches = Cli::command().color(early.color.for_clap()).try_get_matches_from(&arguments);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(unparsed(error, &early)),
    };
    let session = match Session::new(cli.globals, cli.command.name(), &cli.command) {
        Ok(session) => session,
        Err(error) => return ExitCode::from(error.tell(early.json, early.color)),
    };
    let done = cli.command.run(&session).and_then(|status| {
        session.out.finish()?;
        session.publish()?;
        Ok(status)
    });
    session.end();
    session.warn_dropped();
    ExitCode::from(match done {
        Ok(status) => status,
        Err(error) => {
            // What was said before the failure goes out first; if it cannot, the failure counts.
            let _ = session.out.finish();
            error.tell(session.out.json, early.color)
        }
    })
}

/// Help and version are answers; everything else that the parser says is wrong usage.
fn unparsed(error: clap::Error, early: &args::Early) -> u8 {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        // A closed pipe is the reader's choice.
        let _ = error.print();
        return error::exit::OK;
    }
    if early.json {
        return CliError::unparsed(&error).tell(true, early.color);
    }
    let _ = error.print();
    error::exit::USAGE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
