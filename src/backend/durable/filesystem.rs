//! Which filesystems a store may lie on.
//!
//! Network filesystems are refused: their rename is not atomic between clients, their fsync and their
//! locks are promises of another machine. FUSE is a frame for anything, honest or not, so it is named
//! and left to the caller. Numbers: statfs(2) and `linux/magic.h`.

use super::{Disk, DiskError};

/// What the root lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filesystem {
    /// A local filesystem, or one not known to be anything else.
    Local {
        /// The kernel's number for it.
        magic: u64,
    },
    /// Allowed, with a warning that names it.
    Doubtful(&'static str),
    /// To be refused, with a message that names it.
    Refused(&'static str),
}

impl Filesystem {
    /// Sorts the kernel's number for a filesystem.
    pub fn of_magic(magic: u64) -> Self {
        match magic {
            0x6969 => Self::Refused("NFS"),
            0x517B => Self::Refused("SMB"),
            0xFF53_4D42 => Self::Refused("CIFS"),
            0xFE53_4D42 => Self::Refused("SMB2"),
            0x0102_1997 => Self::Refused("9p"),
            0x5346_414F | 0x6B41_4653 => Self::Refused("AFS"),
            0x7375_7245 => Self::Refused("Coda"),
            0x564C => Self::Refused("NCP"),
            0x00C3_6400 => Self::Refused("Ceph"),
            0x0BD0_0BD0 => Self::Refused("Lustre"),
            0x4750_4653 => Self::Refused("GPFS"),
            0x1983_0326 => Self::Refused("BeeGFS"),
            0x786F_4256 => Self::Refused("VirtualBox shared folder"),
            0x6573_5546 => Self::Doubtful("FUSE"),
            magic => Self::Local { magic },
        }
    }
}

impl Disk {
    /// What kind of filesystem the root lies on.
    #[allow(clippy::unnecessary_cast)] // the field's type differs by platform
    pub fn filesystem(&self) -> Result<Filesystem, DiskError> {
        let stat = rustix::fs::fstatfs(self.shared.resolver.root())
            .map_err(|errno| self.error("statfs", "", errno))?;
        // The field is a signed word, of 32 bits on some platforms: no sign may be carried over.
        Ok(Filesystem::of_magic(u64::from(stat.f_type as u32)))
    }

    /// The first of the given paths that lies on another device than the root, where a rename would
    /// not reach it. Paths that do not exist are passed over.
    pub fn first_on_other_device<'p>(&self, paths: &[&'p str]) -> Result<Option<&'p str>, DiskError> {
        let Some(root) = self.stat("")? else { return Ok(None) };
        for path in paths {
            if self.stat(path)?.is_some_and(|stat| stat.dev != root.dev) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
