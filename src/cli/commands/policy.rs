//! The options that say whose word counts: `--policy`, `--fresh`.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::format::policy::Policy;
use crate::note::{AllowedSigners, MAX_NOTE_BYTES};

/// Whose word on the log counts.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// Whose word counts: log keys, witnesses and their quorum, as C2SP tlog-policy has it
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How old the cosignatures that the policy asks for may be: 90s, 30m, 24h or 7d
    #[arg(long, value_name = "AGE", requires = "policy", value_parser = age)]
    pub fresh: Option<i64>,
}

impl PolicyArgs {
    /// The policy, read.
    pub fn policy(&self) -> Result<Option<Policy>, CliError> {
        self.policy.as_deref().map(read_policy).transpose()
    }
}

/// Reads a policy.
pub(super) fn read_policy(path: &Path) -> Result<Policy, CliError> {
    let refused = |error| CliError::refused(format!("{}: {error}", path.display()), None);
    Policy::parse(&read_small(path)?).map_err(refused)
}

/// Reads a file of allowed signers.
pub(super) fn read_signers(path: &Path) -> Result<AllowedSigners, CliError> {
    let refused = |why: String| CliError::refused(format!("{}: {why}", path.display()), None);
    let text = String::from_utf8(read_small(path)?).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    AllowedSigners::parse(&text).map_err(|error| refused(error.to_string()))
}

/// Milliseconds of an age as it is typed.
fn age(text: &str) -> Result<i64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, seconds) = unit.ok_or("an age is a number and one of s, m, h, d")?;
    let number: u32 = number.parse().map_err(|_| format!("{number:?} is not a whole number"))?;
    Ok(i64::from(number) * seconds * 1000)
}

/// Reads a note or proof that was kept somewhere.
pub(super) fn read_small(path: &Path) -> Result<Vec<u8>, CliError> {
    read_up_to(path, MAX_NOTE_BYTES as u64)
}

/// Reads a file of at most so many bytes.
pub(super) fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, CliError> {
    let refused = |why: String| CliError::refused(format!("{}: {why}", path.display()), None);
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut bytes = Vec::new();
    let limit = most + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    if bytes.len() as u64 == limit {
        return Err(refused(format!("it is over the limit of {most} bytes")));
    }
    Ok(bytes)
}
