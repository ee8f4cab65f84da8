//! Run manifests: what the store itself reads in them and how it writes a new one
//! (`store-layout.md`, "Manifests").
//!
//! The members are those of sigilzero's run manifests, byte for byte in what identity depends on.
//! Reading is by span over the exact text; nothing is printed anew. Members that are absent or of
//! another type are `None` here: judging that is the pack's and the verification rules' matter.

use crate::base::canonical;
use crate::base::digest::{BlobId, Sha256};
use crate::base::id::{JobId, RunId};
use crate::base::json::{self, JsonError, Node};
use crate::base::name::LogicalPath;

/// The schema version of manifests that `record` writes.
pub const RECORDED_VERSION: &str = "1.2.0";

/// A file that a manifest declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The member's name.
    pub name: String,
    /// Where the file lies in the run, as written.
    pub path: String,
    /// Its digest, as written.
    pub sha256: Option<String>,
    /// Its length in bytes.
    pub bytes: Option<u64>,
}

/// A stage that a run says it builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorStage {
    /// The earlier run's job.
    pub job_id: Option<String>,
    /// The earlier run.
    pub run_id: Option<String>,
    /// Outputs of it that were used, as written: `artifacts/<job>/<run>/outputs/...`.
    pub outputs: Vec<String>,
}

/// What the store reads in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The label, if it is a string.
    pub schema_version: Option<String>,
    /// The job.
    pub job_id: Option<String>,
    /// The run.
    pub run_id: Option<String>,
    /// Where the job's description lies.
    pub job_ref: Option<String>,
    /// The kind of job.
    pub job_type: Option<String>,
    /// `succeeded`, `failed`, ...
    pub status: Option<String>,
    /// The digest over the input snapshots.
    pub inputs_hash: Option<String>,
    /// The frozen inputs.
    pub snapshots: Vec<Declared>,
    /// The outputs.
    pub outputs: Vec<Declared>,
    /// The digest that the manifest records of its doctrine.
    pub doctrine_sha256: Option<String>,
    /// The stages built on.
    pub prior_stages: Vec<PriorStage>,
    /// `started_at`, as written.
    pub started_at: Option<String>,
    /// `finished_at`, as written.
    pub finished_at: Option<String>,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but not an object.
    #[error("a manifest must be a JSON object, not {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
}

fn text(node: Node<'_>, member: &str) -> Option<String> {
    node.get(member)?.as_str().map(|text| text.into_owned())
}

fn declared(node: Option<Node<'_>>) -> Vec<Declared> {
    let Some(node) = node.filter(|node| node.kind() == json::Kind::Object) else { return Vec::new() };
    node.members()
        .filter(|member| member.value().kind() == json::Kind::Object)
        .map(|member| {
            let name = member.key().into_owned();
            let value = member.value();
            Declared {
                path: text(value, "path").unwrap_or_else(|| name.clone()),
                sha256: text(value, "sha256"),
                bytes: value.get("bytes").and_then(|bytes| bytes.as_u64()),
                name,
            }
        })
        .collect()
}

fn prior_stages(root: Node<'_>) -> Vec<PriorStage> {
    let stages = root.get("chain_metadata").and_then(|chain| chain.get("prior_stages"));
    let Some(stages) = stages.filter(|stages| stages.kind() == json::Kind::Array) else {
        return Vec::new();
    };
    stages
        .elements()
        .map(|stage| PriorStage {
            job_id: text(stage, "job_id"),
            run_id: text(stage, "run_id"),
            outputs: stage
                .get("output_references")
                .filter(|list| list.kind() == json::Kind::Array)
                .map(|list| list.elements().filter_map(|o| o.as_str().map(|t| t.into_owned())).collect())
                .unwrap_or_default(),
        })
        .collect()
}

impl Manifest {
    /// Reads a manifest's exact bytes strictly.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::of(&json::scan(bytes)?)
    }

    /// Reads a manifest that was scanned.
    pub fn of(doc: &json::Doc<'_>) -> Result<Self, ManifestError> {
        Self::check(doc).map(|()| Self::read(doc.root()))
    }

    /// Whether a document that was scanned is a manifest.
    pub fn check(doc: &json::Doc<'_>) -> Result<(), ManifestError> {
        let found = match doc.root().kind() {
            json::Kind::Object => return Ok(()),
            json::Kind::Array => "a list",
            json::Kind::String => "a string",
            json::Kind::Number => "a number",
            json::Kind::Bool(_) => "a boolean",
            json::Kind::Null => "null",
        };
        Err(ManifestError::NotAnObject { found })
    }

    fn read(root: Node<'_>) -> Self {
        Self {
            schema_version: text(root, "schema_version"),
            job_id: text(root, "job_id"),
            run_id: text(root, "run_id"),
            job_ref: text(root, "job_ref"),
            job_type: text(root, "job_type"),
            status: text(root, "status"),
            inputs_hash: text(root, "inputs_hash"),
            snapshots: declared(root.get("input_snapshots")),
            outputs: declared(root.get("artifacts")),
            doctrine_sha256: root.get("doctrine").and_then(|doctrine| text(doctrine, "sha256")),
            prior_stages: prior_stages(root),
            started_at: text(root, "started_at"),
            finished_at: text(root, "finished_at"),
        }
    }

    /// Recomputes `inputs_hash` from the declared snapshots; `None` when one of them declares no
    /// proper digest.
    pub fn recomputed_inputs_hash(&self) -> Option<Sha256> {
        let digests: Option<Vec<(&str, Sha256)>> = self
            .snapshots
            .iter()
            .map(|s| Some((s.name.as_str(), s.sha256.as_deref()?.parse().ok()?)))
            .collect();
        let digests = digests?;
        Some(canonical::inputs_hash(digests.iter().map(|(name, digest)| (*name, digest))))
    }
}

/// How a recorded run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All went well.
    Succeeded,
    /// The command failed, for this reason.
    Failed(String),
}

/// What `record` writes into a new manifest. It holds no clock and no host: the same inputs and
/// outputs give the same bytes anywhere.
#[derive(Debug, Clone)]
pub struct Recorded<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The run.
    pub run: &'a RunId,
    /// Where the job's description lies.
    pub job_ref: &'a str,
    /// The kind of job.
    pub job_type: &'a str,
    /// The digest over the snapshots.
    pub inputs_hash: &'a Sha256,
    /// Name, path and blob of each input snapshot.
    pub snapshots: &'a [(String, LogicalPath, BlobId)],
    /// Path and blob of each output.
    pub outputs: &'a [(LogicalPath, BlobId)],
    /// How it ended.
    pub ending: &'a Ending,
    /// The first attempt, when this is a further one.
    pub attempt_of: Option<&'a RunId>,
    /// The command's exit status, when there was a command.
    pub exit_status: Option<i32>,
}

impl Recorded<'_> {
    /// The manifest's bytes: members sorted by name, two spaces, one final line feed, as
    /// sigilzero's own writer does it.
    pub fn to_bytes(&self) -> Vec<u8> {
        use serde_json::{Map, Value, json};
        let mut snapshots = Map::new();
        for (name, path, blob) in self.snapshots {
            snapshots.insert(
                name.clone(),
                json!({"path": path.as_str(), "sha256": blob.sha256.to_string(), "bytes": blob.bytes}),
            );
        }
        let mut artifacts = Map::new();
        for (path, blob) in self.outputs {
            artifacts.insert(
                path.as_str().to_owned(),
                json!({"sha256": blob.sha256.to_string(), "bytes": blob.bytes}),
            );
        }
        let mut meta = Map::new();
        if let Some(first) = self.attempt_of {
            meta.insert("attempt_of".to_owned(), json!(first.as_str()));
        }
        if let Some(status) = self.exit_status {
            meta.insert("exit_status".to_owned(), json!(status));
        }
        let (status, error) = match self.ending {
            Ending::Succeeded => ("succeeded", Value::Null),
            Ending::Failed(why) => ("failed", json!(why)),
        };
        let manifest = json!({
            "artifacts": artifacts,
            "chain_metadata": {"is_chainable_stage": false, "prior_stages": []},
            "doctrine": null,
            "error": error,
            "input_snapshots": snapshots,
            "inputs_hash": self.inputs_hash.to_string(),
            "job_id": self.job.as_str(),
            "job_ref": self.job_ref,
            "job_type": self.job_type,
            "meta": meta,
            "migration_history": [],
            "run_id": self.run.as_str(),
            "schema_version": RECORDED_VERSION,
            "status": status,
        });
        let mut bytes = serde_json::to_vec_pretty(&manifest).expect("a value with string keys prints");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_that_is_no_object_is_refused_by_name() {
        assert_eq!(Manifest::parse(b"[1]"), Err(ManifestError::NotAnObject { found: "a list" }));
        assert!(matches!(Manifest::parse(b""), Err(ManifestError::Json(_))));
    }

    #[test]
    fn manifest_recorded_reads_back_and_its_identity_recomputes() {
        let inputs = [("brief".to_owned(), "inputs/brief.json".parse().unwrap(), BlobId::of(b"{}"))];
        let hash = canonical::inputs_hash([("brief", &inputs[0].2.sha256)]);
        let (job, run) = ("j".parse().unwrap(), RunId::derive(&hash, 1));
        let outputs = [("outputs/a.txt".parse().unwrap(), BlobId::of(b"a"))];
        let recorded = Recorded {
            job: &job,
            run: &run,
            job_ref: "",
            job_type: "command",
            inputs_hash: &hash,
            snapshots: &inputs,
            outputs: &outputs,
            ending: &Ending::Failed("exit status 3".into()),
            attempt_of: None,
            exit_status: Some(3),
        };
        let manifest = Manifest::parse(&recorded.to_bytes()).unwrap();
        assert_eq!(manifest.recomputed_inputs_hash(), Some(hash));
        assert_eq!(manifest.status.as_deref(), Some("failed"));
        assert_eq!(manifest.outputs[0].path, "outputs/a.txt");
        assert_eq!(manifest.snapshots[0].bytes, Some(2));
    }
}
