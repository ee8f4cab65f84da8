//! Three sample runs, one of each schema version, as an older system would have left them: written
//! out with digests and ids computed from the very bytes, so that they are right by construction.

use std::path::Path;

use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::id::RunId;
use crate::cli::error::CliError;

/// One sample run.
pub(super) struct Sample {
    /// The job that it belongs to.
    pub job: &'static str,
    /// Its id, where it does not follow from its inputs.
    id: Option<&'static str>,
    /// Its folder below `artifacts/`, without the id.
    folder: &'static str,
    /// Its manifest, with places for what is computed.
    manifest: &'static str,
    /// Inputs: snapshot name, path, content.
    inputs: &'static [(&'static str, &'static str, &'static str)],
    /// Outputs: path, content.
    outputs: &'static [(&'static str, &'static str)],
}

pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        job: "label-001",
        id: Some("4f0c2a52-6a0b-4d57-9c55-0d7f5c1b8e21"),
        folder: "runs",
        manifest: include_str!("samples/label-1.0.0.json"),
        inputs: &[("brief", "inputs/brief.yaml", include_str!("samples/label-brief.yaml"))],
        outputs: &[("outputs/label.md", include_str!("samples/label.md"))],
    },
    Sample {
        job: "label-002",
        id: None,
        folder: "label-002",
        manifest: include_str!("samples/tea-1.1.0.json"),
        inputs: &[
            ("brief", "inputs/brief.resolved.json", include_str!("samples/tea-brief.json")),
            ("model_config", "inputs/model_config.json", include_str!("samples/tea-model.json")),
        ],
        outputs: &[("outputs/tea.md", include_str!("samples/tea.md"))],
    },
    Sample {
        job: "poster-001",
        id: None,
        folder: "poster-001",
        manifest: include_str!("samples/poster-1.2.0.json"),
        inputs: &[("brief", "inputs/brief.resolved.json", include_str!("samples/poster-brief.json"))],
        outputs: &[("outputs/poster.txt", include_str!("samples/poster.txt"))],
    },
];

/// What the recorded command reads.
pub(super) const NOTES: &str = include_str!("samples/notes.txt");

impl Sample {
    fn inputs_hash(&self) -> Sha256 {
        let digests: Vec<(&str, Sha256)> =
            self.inputs.iter().map(|(name, _, text)| (*name, Sha256::of(text.as_bytes()))).collect();
        canonical::inputs_hash(digests.iter().map(|(name, digest)| (*name, digest)))
    }

    /// The run's id.
    pub fn run_id(&self) -> String {
        self.id.map_or_else(|| RunId::derive(&self.inputs_hash(), 1).to_string(), str::to_owned)
    }

    /// The run's folder below `artifacts/`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.folder, self.run_id())
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let inputs = self.inputs.iter().map(|(_, path, text)| (*path, *text));
        inputs.chain(self.outputs.iter().copied())
    }

    /// The manifest's text.
    pub fn manifest(&self) -> String {
        let mut text = self.manifest.replace("{{run_id}}", &self.run_id());
        text = text.replace("{{inputs_hash}}", &self.inputs_hash().to_string());
        for (path, content) in self.files() {
            text =
                text.replace(&format!("{{{{sha256:{path}}}}}"), &Sha256::of(content.as_bytes()).to_string());
            text = text.replace(&format!("{{{{bytes:{path}}}}}"), &content.len().to_string());
        }
        text
    }

    /// Writes the run below a folder.
    pub fn write(&self, artifacts: &Path) -> Result<(), CliError> {
        let run = artifacts.join(self.place());
        for (path, content) in self.files() {
            put(&run.join(path), content)?;
        }
        put(&run.join("manifest.json"), &self.manifest())
    }
}

/// Writes a file and the folders it lies in.
pub(super) fn put(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::Manifest;

    #[test]
    fn samples_have_nothing_left_to_fill_in_and_recompute() {
        for sample in SAMPLES {
            let text = sample.manifest();
            assert!(!text.contains("{{"), "{text}");
            let manifest = Manifest::parse(text.as_bytes()).unwrap();
            assert_eq!(manifest.run_id, Some(sample.run_id()));
            assert_eq!(manifest.outputs.len(), 1);
            if manifest.inputs_hash.is_some() {
                assert_eq!(manifest.recomputed_inputs_hash(), Some(sample.inputs_hash()));
            }
        }
    }
}
