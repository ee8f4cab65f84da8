//! Where an existing run goes and whether it may (`store-layout.md`, "Adopt").

use crate::base::digest::Sha256;
use crate::base::id::{IdError, JobId, RunKey};
use crate::format::manifest::Manifest;

/// Why a run is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The folder's name cannot be a run id.
    #[error("its folder's name cannot be a run id: {0}")]
    RunId(IdError),
    /// The manifest's `job_id` cannot be one.
    #[error("its manifest's job_id cannot be one: {0}")]
    JobId(IdError),
    /// Nothing says which job it belongs to.
    #[error(
        "nothing says which job it belongs to: no job_id in the manifest, none in what the store's pack reads beside it; give one with --job"
    )]
    NoJob,
    /// The store has another run under this id.
    #[error("the store has {key} with other bytes ({what} differs)")]
    OtherBytes {
        /// The run in the store.
        key: RunKey,
        /// What differs: `the manifest`, `the files`.
        what: &'static str,
    },
}

/// Decides where a run goes: the job from its manifest, else from the facts beside it, else as
/// given; the run id from its folder's name, which a manifest that says otherwise does not change.
pub fn place(
    folder: &str,
    manifest: &Manifest,
    derived_job: impl FnOnce() -> Option<String>,
    given_job: Option<&JobId>,
) -> Result<RunKey, Refusal> {
    let run = folder.parse().map_err(Refusal::RunId)?;
    let job = match (manifest.job_id.clone().or_else(derived_job), given_job) {
        (Some(job), _) => job.parse().map_err(Refusal::JobId)?,
        (None, Some(given)) => given.clone(),
        (None, None) => return Err(Refusal::NoJob),
    };
    Ok(RunKey { job, run })
}

/// Whether the run that the store has under this id is the one found: its file list is the same and
/// the manifest found is one of its revisions.
pub fn compare(
    key: &RunKey,
    revisions: &[Sha256],
    logged_files: &Sha256,
    manifest: &Sha256,
    files: &Sha256,
) -> Result<(), Refusal> {
    let differs = |what| Err(Refusal::OtherBytes { key: key.clone(), what });
    if !revisions.contains(manifest) {
        return differs("the manifest");
    }
    if logged_files != files {
        return differs("a file");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_without_a_job_id_goes_where_its_brief_says_else_where_told_else_nowhere() {
        let mut manifest = Manifest::default();
        let given: JobId = "given".parse().unwrap();
        let job = |manifest: &Manifest, derived: Option<&str>, given| {
            place("r", manifest, || derived.map(str::to_owned), given).map(|key| key.job)
        };
        assert_eq!(job(&manifest, None, None), Err(Refusal::NoJob));
        assert_eq!(job(&manifest, None, Some(&given)).unwrap().as_str(), "given");
        assert_eq!(job(&manifest, Some("brief"), Some(&given)).unwrap().as_str(), "brief");
        manifest.job_id = Some("own".into());
        assert_eq!(job(&manifest, Some("brief"), Some(&given)).unwrap().as_str(), "own");
        manifest.job_id = Some("../x".into());
        assert!(matches!(job(&manifest, None, Some(&given)), Err(Refusal::JobId(_))));
        assert!(matches!(place("..", &manifest, || None, None), Err(Refusal::RunId(_))));
    }
}
