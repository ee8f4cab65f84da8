//! How many threads read and hash.

use rayon::ThreadPoolBuilder;

use super::error::CliError;

/// Threads at least. What is not in memory is waited for, and a disk serves several reads in the time of one.
const AT_LEAST: usize = 8;

/// Makes the threads: as many as there are processors and no fewer than some, or as many as `RAYON_NUM_THREADS` says.
pub(super) fn start() -> Result<(), CliError> {
    let mut pool = ThreadPoolBuilder::new();
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        pool = pool.num_threads(processors.max(AT_LEAST));
    }
    pool.build_global().map_err(|error| {
        CliError::failed(format!(
            "threads cannot be started: {error}; allow more (ulimit -u, ulimit -v), or set RAYON_NUM_THREADS=1"
        ))
    })
}
