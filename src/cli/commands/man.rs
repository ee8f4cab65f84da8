//! `strongroom man`

use std::path::PathBuf;

use clap::CommandFactory;
use serde_json::json;

use crate::cli::args::Cli;
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;

/// Print the manual page, or write all of them into a folder
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where strongroom.1 and a page for each command go [default: the main page to standard output]
    dir: Option<PathBuf>,
}

/// The main page and one per command, by file name.
fn pages() -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("manual page: {error}"));
    let mut main = Cli::command();
    main.build();
    let mut pages = Vec::new();
    let commands: Vec<clap::Command> = main.get_subcommands().cloned().collect();
    for command in std::iter::once(main).chain(commands) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let mut text = Vec::new();
        clap_mangen::Man::new(command).title(name.to_uppercase()).render(&mut text).map_err(failed)?;
        pages.push((format!("{name}.1"), text));
    }
    Ok(pages)
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let out = &session.out;
    let pages = pages()?;
    if let Some(dir) = &args.dir {
        let failed = |path: &std::path::Path, error: std::io::Error| {
            CliError::failed(format!("{}: {error}", path.display()))
        };
        std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        for (name, text) in &pages {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
    }
    if out.json {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pages: Vec<serde_json::Value> =
            pages.iter().map(|(name, bytes)| json!({"name": name, "text": text(bytes)})).collect();
        out.json(&json!({"dir": args.dir, "pages": pages}));
    } else if let Some(dir) = &args.dir {
        let written = count(pages.len() as u64, "page", "pages");
        out.note(format!("{written} written to {}", safe(dir.display().to_string())));
    } else if let Some((_, text)) = pages.first() {
        out.bytes(text);
    }
    Ok(exit::OK)
}
