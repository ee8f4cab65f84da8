//! Where a test stands between the store and the kernel.
//!
//! Every file-changing call passes the hook, if one is set, so that a test can record the order of
//! the calls, replay any part of them as a crash would leave it, or fail any one of them: failed and
//! nothing done, failed but done all the same, failed half done. (After `TestSequenceErrors` of
//! filippo.io/sunlight `internal/ctlog`, where each failure point is tested both ways.)

pub use rustix::io::Errno;

/// One file-changing call, about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `create`, `write`, `fsync`, `fsync_dir`, `syncfs`, `rename_new`, `rename`, `exchange`,
    /// `unlink`, `rmdir`, `mkdir`, `link`, `reflink`, `set_len`, `preallocate`, `chmod`, `chown`, `holder`.
    pub name: &'static str,
    /// What it is made on, relative to the root.
    pub path: &'a str,
    /// The second path of a rename, an exchange, a link or a reflink (where it leads to).
    pub to: Option<&'a str>,
    /// Where in the file: for `write`; the new length for `set_len`.
    pub offset: u64,
    /// The bytes of a `write`.
    pub bytes: &'a [u8],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Go,
    /// It is not made and reported as failed.
    Fail(Errno),
    /// It is made and reported as failed.
    FailAfter(Errno),
    /// For `write`: only that many bytes are written before it fails; else as `Fail`.
    FailShort(usize, Errno),
}

/// Sees every file-changing call before it is made.
pub trait Hook: Send + Sync {
    /// Decides about one call. Called from any thread.
    fn call(&self, call: &Call<'_>) -> Verdict;
}
