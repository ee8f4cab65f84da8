//! What users might pick instead, on the same data: those of git, restic, borg and ostree that are
//! installed. Their bytes need not be durable when they say that they are done; ours are.

use std::path::Path;

use crate::measure::{self, Program};

/// A program that keeps a tree, and checks all that it keeps.
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// Makes the place where it keeps things.
    pub begin: &'static [&'static str],
    /// Takes the tree in.
    pub ingest: &'static [&'static str],
    /// Reads everything back and checks it.
    pub verify: &'static [&'static str],
}

/// `TREE` and `HERE` stand for the tree and the place.
const PEERS: [Peer; 4] = [
    Peer {
        name: "git",
        begin: &["git", "init", "--quiet", "--bare", "HERE/git"],
        ingest: &[
            "sh",
            "-c",
            "git --git-dir HERE/git --work-tree TREE -c core.bigFileThreshold=1m add -A && git --git-dir HERE/git \
             --work-tree TREE -c user.name=x -c user.email=x@x commit --quiet -m x",
        ],
        verify: &["git", "--git-dir", "HERE/git", "fsck", "--full", "--no-progress"],
    },
    Peer {
        name: "restic",
        begin: &["env", "RESTIC_PASSWORD=x", "restic", "-q", "-r", "HERE/restic", "init"],
        ingest: &["env", "RESTIC_PASSWORD=x", "restic", "-q", "-r", "HERE/restic", "backup", "TREE"],
        verify: &["env", "RESTIC_PASSWORD=x", "restic", "-q", "-r", "HERE/restic", "check", "--read-data"],
    },
    Peer {
        name: "borg",
        begin: &["borg", "init", "--encryption=none", "HERE/borg"],
        ingest: &["borg", "create", "HERE/borg::one", "TREE"],
        verify: &["borg", "check", "--verify-data", "HERE/borg"],
    },
    Peer {
        name: "ostree",
        begin: &["ostree", "init", "--repo=HERE/ostree", "--mode=archive"],
        ingest: &["ostree", "commit", "--repo=HERE/ostree", "--branch=one", "--tree=dir=TREE"],
        verify: &["ostree", "fsck", "--quiet", "--repo=HERE/ostree"],
    },
];

/// Those that are there; the others are named.
pub fn installed() -> Vec<&'static Peer> {
    let on_path = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
    };
    let (there, gone): (Vec<_>, Vec<_>) = PEERS.iter().partition(|peer| on_path(peer.name));
    for peer in gone {
        println!("{} is not installed", peer.name);
    }
    there
}

/// A peer's command on a tree.
pub fn command(words: &[&str], tree: &Path, here: &Path) -> Program {
    let filled = |word: &&str| {
        word.replace("TREE", tree.to_str().expect("text")).replace("HERE", here.to_str().expect("text"))
    };
    measure::other(words.iter().map(filled).collect(), here)
}
