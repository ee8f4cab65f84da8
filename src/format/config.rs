//! `strongroom.toml`: what kind of store this is (`store-layout.md`, "Configuration").

use crate::base::digest::hex;
use crate::base::id::JobId;
use crate::base::limits;

/// The format version that this program writes. Version 0 is not yet promised to later programs.
pub const WRITE_VERSION: u64 = 0;
/// The newest format version that this program reads.
pub const READ_VERSION: u64 = 0;

/// The pack of a store's manifests where the settings name none: the one whose manifests `record` writes.
pub const DEFAULT_PACK: &str = "sigilzero";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, or not of this shape.
    #[error("strongroom.toml cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// The file is not UTF-8.
    #[error("strongroom.toml is not UTF-8")]
    NotText,
    /// The first member does not say that this is a store.
    #[error("strongroom.toml says format = {0:?}, not \"strongroom\"")]
    NotAStore(String),
    /// Written by a newer program.
    #[error("the store's format is version {needs}; this program reads up to {reads}")]
    Newer {
        /// The version that a reader must know.
        needs: u64,
        /// The newest version that this program reads.
        reads: u64,
    },
    /// May be read, and written only by a newer program.
    #[error("the store is written in format version {needs}; this program writes up to {writes}")]
    NewerToWrite {
        /// The version that a writer must know.
        needs: u64,
        /// The newest version that this program writes.
        writes: u64,
    },
    /// A member has a value it cannot have.
    #[error("strongroom.toml: {member} = {value:?} {why}")]
    BadValue {
        /// The member.
        member: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// How large blobs are kept beside the plain files of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LargeBlobs {
    /// Shared by reflink where the filesystem has it, else by hard link: one copy.
    Share,
    /// Two copies.
    Copy,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    read_version: u64,
    write_version: u64,
    origin: String,
    store_id: String,
    #[serde(default = "default_pack")]
    pack: String,
    blobs: Blobs,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Blobs {
    small_limit: u64,
    large: LargeBlobs,
}

fn default_pack() -> String {
    DEFAULT_PACK.to_owned()
}

/// Only what every version must keep, so that a newer store is told apart from a broken one.
#[derive(serde::Deserialize)]
struct Probe {
    format: String,
    read_version: u64,
}

/// A store's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The log's origin, a name without a scheme (C2SP tlog-checkpoint).
    pub origin: String,
    /// Random, made once; binds segments and journal files to this store.
    pub store_id: [u8; 16],
    /// The pack that governs the manifests: `NAME`, or `NAME@VERSION` for that version of it.
    pub pack: String,
    /// Blobs up to this size, in bytes, are kept in segments.
    pub small_limit: u64,
    /// How larger ones are kept.
    pub large: LargeBlobs,
    /// The format version that writers must know.
    pub write_version: u64,
}

impl StoreConfig {
    /// The configuration of a new store.
    pub fn new(store_id: [u8; 16], origin: Option<String>) -> Self {
        Self {
            origin: origin.unwrap_or_else(|| format!("strongroom.invalid/{}", hex(&store_id))),
            store_id,
            pack: default_pack(),
            small_limit: limits::SMALL_BLOB_BYTES,
            large: LargeBlobs::Share,
            write_version: WRITE_VERSION,
        }
    }

    /// Insists that this program may write to the store: reading it may be allowed when that is not.
    pub fn check_writable(&self) -> Result<(), ConfigError> {
        if self.write_version == WRITE_VERSION {
            return Ok(());
        }
        Err(ConfigError::NewerToWrite { needs: self.write_version, writes: WRITE_VERSION })
    }

    /// Reads `strongroom.toml`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ConfigError::NotText)?;
        let probe: Probe = toml::from_str(text)?;
        if probe.format != "strongroom" {
            return Err(ConfigError::NotAStore(probe.format));
        }
        if probe.read_version > READ_VERSION {
            return Err(ConfigError::Newer { needs: probe.read_version, reads: READ_VERSION });
        }
        let file: File = toml::from_str(text)?;
        let bad = |member, value: &str, why| ConfigError::BadValue { member, value: value.to_owned(), why };
        let id = crate::base::digest::parse_hex32(&format!("{}{}", file.store_id, "0".repeat(32)))
            .filter(|_| file.store_id.len() == 32)
            .ok_or_else(|| bad("store_id", &file.store_id, "is not 32 lower-case hex digits"))?;
        let mut store_id = [0u8; 16];
        store_id.copy_from_slice(&id[..16]);
        if file.origin.is_empty() || file.origin.chars().any(|c| c.is_whitespace() || c == '+') {
            return Err(bad("origin", &file.origin, "must not be empty or hold white space or '+'"));
        }
        let name = file.pack.rsplit_once('@').map_or(file.pack.as_str(), |(name, _)| name);
        if name.parse::<JobId>().is_err() {
            return Err(bad("pack", &file.pack, "is not the name of a pack"));
        }
        if file.blobs.small_limit > limits::SEGMENT_BLOB_BYTES {
            let value = file.blobs.small_limit.to_string();
            return Err(bad("blobs.small_limit", &value, "is over the limit of 64 MiB"));
        }
        Ok(Self {
            origin: file.origin,
            store_id,
            pack: file.pack,
            small_limit: file.blobs.small_limit,
            large: file.blobs.large,
            write_version: file.write_version,
        })
    }

    /// Prints `strongroom.toml`.
    pub fn print(&self) -> String {
        let file = File {
            format: "strongroom".to_owned(),
            read_version: WRITE_VERSION,
            write_version: self.write_version,
            origin: self.origin.clone(),
            store_id: hex(&self.store_id),
            pack: self.pack.clone(),
            blobs: Blobs { small_limit: self.small_limit, large: self.large },
        };
        toml::to_string(&file).expect("the configuration holds strings and small integers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_printed_and_parsed_is_the_same() {
        let config = StoreConfig::new([7; 16], None);
        assert_eq!(StoreConfig::parse(config.print().as_bytes()).unwrap(), config);
    }

    #[test]
    fn config_without_a_pack_has_the_default_and_one_that_is_no_name_is_refused() {
        let mut config = StoreConfig::new([7; 16], None);
        let without = config.print().replace("pack = \"sigilzero\"\n", "");
        assert!(!without.contains("pack"), "{without}");
        assert_eq!(StoreConfig::parse(without.as_bytes()).unwrap(), config);
        config.pack = "notes@1.0.0".to_owned();
        assert_eq!(StoreConfig::parse(config.print().as_bytes()).unwrap(), config);
        for odd in ["", "a/b", "../notes", "@1"] {
            config.pack = odd.to_owned();
            let answer = StoreConfig::parse(config.print().as_bytes());
            assert!(matches!(answer, Err(ConfigError::BadValue { member: "pack", .. })), "{odd:?}");
        }
    }

    #[test]
    fn config_of_a_newer_store_is_told_apart_from_a_broken_one() {
        let newer = "format = \"strongroom\"\nread_version = 9\nsomething_new = true\n";
        assert!(matches!(
            StoreConfig::parse(newer.as_bytes()),
            Err(ConfigError::Newer { needs: 9, reads: READ_VERSION })
        ));
        assert!(matches!(StoreConfig::parse(b"x = 1"), Err(ConfigError::Syntax(_))));
        assert!(matches!(
            StoreConfig::parse(b"format = \"zip\"\nread_version = 0"),
            Err(ConfigError::NotAStore(_))
        ));
        assert!(matches!(StoreConfig::parse(b"\xff"), Err(ConfigError::NotText)));
        let config = StoreConfig::new([7; 16], None).print();
        let text = config.replace("write_version = 0", "write_version = 3");
        let config = StoreConfig::parse(text.as_bytes()).unwrap();
        assert!(matches!(
            config.check_writable(),
            Err(ConfigError::NewerToWrite { needs: 3, writes: WRITE_VERSION })
        ));
        let odd = StoreConfig::new([7; 16], Some("a b".into())).print();
        assert!(matches!(StoreConfig::parse(odd.as_bytes()), Err(ConfigError::BadValue { .. })));
    }
}
