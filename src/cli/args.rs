//! The top of the command line: global flags and the list of commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::commands;
use super::error::CliError;
use super::session::Session;

/// A content-addressed artifact store with an immutable audit trail.
///
/// Runs lie as plain files under artifacts/<job>/<run>/. Every change to a manifest is one entry of
/// an append-only log, keeps the bytes it replaced, and is undone by naming their checksum.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 a check found something; 4 not found; \
    5 conflict; 6 input refused; 7 store damaged; 8 signing key refused; 9 the recorded command failed; 10 no store; 11 locked; \
    12 newer format; 130 and 143 interrupted and terminated."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// The store [env: STRONGROOM_STORE] [default: the nearest one from here upwards, if it is yours or root's]
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Print one JSON document (or JSON Lines) instead of text; errors too, on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only what was asked for: no progress, no notes, no streams of a recorded command
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to use colours; `auto` heeds NO_COLOR
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Who acts, as it is to stand in the log [default: user@host]
    #[arg(long, global = true, value_name = "NAME")]
    pub actor: Option<String>,
    /// Why, for the log
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// A key that signs the log's checkpoint after a change; repeat it for more [env: STRONGROOM_KEY]
    /// [default: those for this store in the user's configuration, if any]
    #[arg(long, global = true, value_name = "FILE")]
    pub signing_key: Vec<PathBuf>,
    /// How long to wait for a store that another process is writing to
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60)]
    pub lock_timeout: u64,
    /// How often a long command publishes the signed checkpoint while it works; it does so at its end anyway
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60)]
    pub publish_every: u64,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    pub fn for_clap(self) -> clap::ColorChoice {
        match self {
            Self::Auto => clap::ColorChoice::Auto,
            Self::Always => clap::ColorChoice::Always,
            Self::Never => clap::ColorChoice::Never,
        }
    }

    /// Whether to colour what goes to a stream that is, or is not, a terminal.
    pub fn wanted(self, terminal: bool) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        }
    }
}

/// What must be known before the arguments are parsed, because parsing itself may fail.
pub(super) struct Early {
    pub json: bool,
    pub color: Color,
}

impl Early {
    pub fn of(arguments: &[OsString]) -> Self {
        let mut early = Self { json: false, color: Color::Auto };
        let ours: Vec<_> = arguments.iter().skip(1).take_while(|argument| *argument != "--").collect();
        for (at, argument) in ours.iter().enumerate() {
            let text = argument.to_string_lossy();
            early.json |= text == "--json";
            let value = match text.strip_prefix("--color") {
                Some("") => ours.get(at + 1).map(|next| next.to_string_lossy().into_owned()),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                None => None,
            };
            if let Some(color) = value.and_then(|value| Color::from_str(&value, false).ok()) {
                early.color = color;
            }
        }
        early
    }
}

macro_rules! commands {
    ($($(#[$meta:meta])* $variant:ident = $module:ident, $name:literal;)*) => {
        /// The commands, in the order in which help lists them.
        #[derive(Debug, Subcommand)]
        pub(super) enum Command {
            $($(#[$meta])* $variant(commands::$module::Args),)*
        }

        impl Command {
            /// The command as typed.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Runs it; the value is the exit code.
            pub fn run(self, session: &Session) -> Result<u8, CliError> {
                match self { $(Self::$variant(args) => commands::$module::run(args, session),)* }
            }
        }
    };
}

commands! {
    Init = init, "init";
    Record = record, "record";
    Adopt = adopt, "adopt";
    List = list, "list";
    Log = log, "log";
    Validate = validate, "validate";
    Versions = versions, "versions";
    Migrate = migrate, "migrate";
    History = history, "history";
    Show = show, "show";
    Aggregate = aggregate, "aggregate";
    Diff = diff, "diff";
    Rollback = rollback, "rollback";
    Verify = verify, "verify";
    Review = review, "review";
    Audit = audit, "audit";
    Evidence = evidence, "evidence";
    CheckEvidence = check_evidence, "check-evidence";
    Pack = pack, "pack";
    Restore = restore, "restore";
    Reindex = reindex, "reindex";
    Query = query, "query";
    Demo = demo, "demo";
    Completions = completions, "completions";
    Man = man, "man";
}

impl Command {
    /// Whether it changes the store's log, so that a new checkpoint is due afterwards.
    pub fn writes(&self) -> bool {
        let tells = match self {
            Self::Verify(args) => args.records(),
            Self::Restore(_) | Self::Review(_) => true,
            Self::Pack(args) => args.writes(),
            Self::Audit(args) => args.writes(),
            _ => false,
        };
        tells || self.waits_for_a_batch()
    }

    /// Whether a first signal lets the batch at hand end. Every other command writes nothing that
    /// it could not be stopped in, and stops at once.
    pub fn waits_for_a_batch(&self) -> bool {
        matches!(self, Self::Record(_) | Self::Adopt(_) | Self::Migrate(_) | Self::Rollback(_))
    }

    /// Whether it tends to read much of what lies in a tree or a store.
    pub fn reads_much(&self) -> bool {
        use Command::{Adopt, Migrate, Reindex, Verify, Versions};
        matches!(self, Adopt(_) | Migrate(_) | Reindex(_) | Verify(_) | Versions(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn early_flags_are_read_before_the_recorded_command_only() {
        let early = |words: &[&str]| Early::of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(early(&["s", "list", "--json"]).json);
        assert!(!early(&["s", "record", "--", "x", "--json"]).json);
        assert_eq!(early(&["s", "--color", "never", "list"]).color, Color::Never);
        assert_eq!(early(&["s", "--color=always"]).color, Color::Always);
        assert_eq!(early(&["s", "--color"]).color, Color::Auto);
    }

    #[test]
    fn commands_are_named_as_the_table_says() {
        for name in ["init", "record", "adopt", "rollback", "completions", "man"] {
            assert!(Cli::command().find_subcommand(name).is_some_and(|c| c.get_about().is_some()), "{name}");
        }
    }
}
