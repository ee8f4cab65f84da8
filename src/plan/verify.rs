//! The rules of verification for one run (`store-layout.md`, "Findings"): facts in, findings out.
//!
//! The store gathers the facts (what lies in the run's folder, hashed; what the log and the file
//! list say), first asking [`needs`] which further bytes the rules want. Every rule gives all its
//! findings, never only the first.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::base::digest::{BlobId, Sha256};
use crate::base::id::RunKey;
use crate::base::json::{self, Doc};
use crate::base::name::LogicalPath;
use crate::format::file_list::{FileEntry, FileType};
use crate::format::finding::{Code, Finding};
use crate::format::manifest::{Declared, Manifest, ManifestError};
use crate::format::paths;
use crate::schema::FileFact;
use crate::schema::invariant;

/// What lies at one path of a run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Dir,
    /// A regular file, hashed.
    File {
        /// Its digests and length.
        blob: BlobId,
        /// Whether its owner may execute it.
        exec: bool,
    },
    /// Something that is neither: `link`, `FIFO`, ...
    Special(&'static str),
    /// It could not be read.
    Unreadable(String),
}

/// What lies where the manifest belongs.
#[derive(Debug, Clone, Copy)]
pub enum ManifestFact<'a> {
    /// Nothing.
    Missing,
    /// Something that is no regular file, or cannot be read.
    Unusable(&'a str),
    /// A file that was read.
    Read(&'a ReadManifest),
}

/// What came of reading the file that lies where the manifest belongs.
#[derive(Debug)]
pub struct ReadManifest {
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// What the rules look at in it.
    pub manifest: Result<Manifest, ManifestError>,
}

/// What the rules look at.
pub struct RunFacts<'a> {
    /// Which run.
    pub key: &'a RunKey,
    /// Its manifest as found.
    pub manifest: ManifestFact<'a>,
    /// The digests that the manifest may have: the log's state, and for an unsettled change the
    /// state before it. Empty when the run is not in the log (yet).
    pub logged: &'a [Sha256],
    /// The logged file list; `None` when the run is not in the log (yet).
    pub files: Option<&'a [FileEntry]>,
    /// What lies in the folder, but for the manifest.
    pub found: &'a BTreeMap<String, Found>,
    /// Bytes of the files that [`needs`] asked for, by path.
    pub contents: &'a HashMap<String, Vec<u8>>,
    /// Digests of the files of the runs that [`needs`] asked for; `None` for a run that the store
    /// does not have.
    pub priors: &'a HashMap<(String, String), Option<HashMap<String, Sha256>>>,
}

/// What the rules want to see beyond the run's own folder listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files of this run whose bytes are looked into.
    pub contents: Vec<String>,
    /// Runs whose file lists are looked into: job and run as the manifest has them.
    pub priors: Vec<(String, String)>,
}

/// Says what the rules will want, from the manifest alone.
pub fn needs(manifest: &Manifest) -> Needs {
    let looked_into = ["doctrine", "prior_artifact"];
    Needs {
        contents: manifest
            .snapshots
            .iter()
            .filter(|snapshot| looked_into.contains(&snapshot.name.as_str()))
            .map(|snapshot| snapshot.path.clone())
            .collect(),
        priors: manifest
            .prior_stages
            .iter()
            .filter_map(|stage| Some((stage.job_id.clone()?, stage.run_id.clone()?)))
            .collect(),
    }
}

/// Checks one run by every rule.
pub fn run(facts: &RunFacts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifest = manifest_rules(facts, &mut findings);
    if let Some(files) = facts.files {
        file_rules(facts, files, &mut findings);
    } else {
        special_rules(facts, &mut findings);
    }
    if let Some(manifest) = manifest {
        declared_rules(facts, manifest, &mut findings);
        identity_rules(facts, manifest, &mut findings);
        doctrine_rules(facts, manifest, &mut findings);
        chain_rules(facts, manifest, &mut findings);
    }
    findings
}

fn manifest_rules<'a>(facts: &RunFacts<'a>, findings: &mut Vec<Finding>) -> Option<&'a Manifest> {
    let finding = |code| Finding::of_run(code, facts.key).at(paths::MANIFEST);
    let read = match facts.manifest {
        ManifestFact::Missing => {
            let expected = facts.logged.first().map_or("a manifest".to_owned(), Sha256::to_string);
            findings.push(finding(Code::ManifestMissing).expected(expected).found("nothing"));
            return None;
        }
        ManifestFact::Unusable(what) => {
            findings.push(finding(Code::NotRegular).expected("a regular file").found(what));
            return None;
        }
        ManifestFact::Read(read) => read,
    };
    let found = read.sha256;
    if let Some(expected) = facts.logged.first().filter(|_| !facts.logged.contains(&found)) {
        findings.push(finding(Code::ManifestChanged).expected(expected).found(found));
    }
    match &read.manifest {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            findings.push(finding(Code::ManifestUnreadable).expected("a JSON object").found(error));
            None
        }
    }
}

/// The folder against the logged file list.
fn file_rules(facts: &RunFacts<'_>, files: &[FileEntry], findings: &mut Vec<Finding>) {
    let finding = |code, path: &str| Finding::of_run(code, facts.key).at(path);
    let listed: HashSet<&str> = files.iter().map(|entry| entry.path.as_str()).collect();
    for entry in files {
        let path = entry.path.as_str();
        let expected = match entry.blob() {
            Some(blob) => blob.sha256.to_string(),
            None => "a folder".to_owned(),
        };
        match (facts.found.get(path), entry.kind) {
            (None, _) => findings.push(finding(Code::FileMissing, path).expected(expected).found("nothing")),
            (Some(Found::Dir), FileType::Dir) => {}
            (Some(Found::File { blob, exec }), FileType::File) => {
                // Both digests are compared: a file that agrees in one and not in the other would
                // mean a broken hash function, and is a change all the same.
                if entry.blob() != Some(*blob) {
                    findings.push(finding(Code::FileChanged, path).expected(expected).found(blob.sha256));
                } else if *exec != entry.exec() {
                    let word = |exec| if exec { "executable" } else { "not executable" };
                    let finding = finding(Code::ModeChanged, path);
                    findings.push(finding.expected(word(entry.exec())).found(word(*exec)));
                }
            }
            (Some(Found::Dir), FileType::File) => {
                findings.push(finding(Code::NotRegular, path).expected(expected).found("a folder"));
            }
            (Some(Found::File { blob, .. }), FileType::Dir) => {
                findings.push(finding(Code::FileChanged, path).expected(expected).found(blob.sha256));
            }
            (Some(Found::Special(what)), _) => {
                findings.push(finding(Code::NotRegular, path).expected(expected).found(what));
            }
            (Some(Found::Unreadable(why)), _) => {
                findings.push(finding(Code::FileChanged, path).expected(expected).found(why));
            }
        }
    }
    for (path, found) in facts.found {
        if !listed.contains(path.as_str()) {
            let found = match found {
                Found::Dir => "a folder".to_owned(),
                Found::File { blob, .. } => blob.sha256.to_string(),
                Found::Special(what) => (*what).to_owned(),
                Found::Unreadable(why) => why.clone(),
            };
            findings.push(finding(Code::FileExtra, path).expected("nothing").found(found));
        }
    }
}

/// Without a file list to hold the folder against, special files are still reported.
fn special_rules(facts: &RunFacts<'_>, findings: &mut Vec<Finding>) {
    for (path, found) in facts.found {
        if let Found::Special(what) = found {
            let finding = Finding::of_run(Code::NotRegular, facts.key).at(path);
            findings.push(finding.expected("a file or folder").found(what));
        }
    }
}

/// What the manifest declares against the files.
fn declared_rules(facts: &RunFacts<'_>, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let mut check = |declared: &Declared, mismatch: Code| {
        let finding = |code| Finding::of_run(code, facts.key).at(&declared.path);
        if declared.path.parse::<LogicalPath>().is_err() {
            findings.push(finding(Code::DeclaredPathBad).expected("a path in the run").found(&declared.path));
            return;
        }
        let Some(Found::File { blob, .. }) = facts.found.get(&declared.path) else {
            // A file that is listed and missing is a finding of the file list already.
            let listed = facts
                .files
                .is_some_and(|files| files.iter().any(|entry| entry.path.as_str() == declared.path));
            if !listed {
                let expected = declared.sha256.as_deref().unwrap_or("a file");
                findings.push(finding(Code::DeclaredMissing).expected(expected).found("nothing"));
            }
            return;
        };
        if let Some(sha256) = &declared.sha256
            && *sha256 != blob.sha256.to_string()
        {
            findings.push(finding(mismatch).expected(sha256).found(blob.sha256));
        }
        if let Some(bytes) = declared.bytes
            && bytes != blob.bytes
        {
            let count = |n: u64| format!("{n} bytes");
            findings.push(finding(mismatch).expected(count(bytes)).found(count(blob.bytes)));
        }
    };
    for snapshot in &manifest.snapshots {
        check(snapshot, Code::SnapshotMismatch);
    }
    for output in &manifest.outputs {
        check(output, Code::OutputMismatch);
    }
}

/// The manifest's ids against each other and against its place.
fn identity_rules(facts: &RunFacts<'_>, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let finding = |code| Finding::of_run(code, facts.key).at(paths::MANIFEST);
    let mut same = |code, found: &Option<String>, expected: &str| {
        if let Some(found) = found
            && found != expected
        {
            findings.push(finding(code).expected(expected).found(found));
        }
    };
    same(Code::RunIdMismatch, &manifest.run_id, facts.key.run.as_str());
    same(Code::JobIdMismatch, &manifest.job_id, facts.key.job.as_str());
    let Some(inputs_hash) = &manifest.inputs_hash else { return };
    if let Some(recomputed) = manifest.recomputed_inputs_hash() {
        same(Code::InputsHashMismatch, &manifest.inputs_hash, &recomputed.to_string());
    }
    let (stem, _) = facts.key.run.stem_and_attempt();
    let derived = inputs_hash.strip_prefix(Sha256::PREFIX).and_then(|hex| hex.get(..32));
    if derived != Some(stem) {
        let expected = derived.unwrap_or("an id derived from inputs_hash");
        findings.push(finding(Code::RunIdNotDerived).expected(expected).found(&facts.key.run));
    }
}

/// The doctrine's content against the digest that the manifest records of it.
fn doctrine_rules(facts: &RunFacts<'_>, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let Some(recorded) = &manifest.doctrine_sha256 else { return };
    let Some(snapshot) = manifest.snapshots.iter().find(|snapshot| snapshot.name == "doctrine") else {
        return;
    };
    let Some(bytes) = facts.contents.get(&snapshot.path) else { return };
    let finding = |code| Finding::of_run(code, facts.key).at(&snapshot.path).expected(recorded);
    let doc = json::scan(bytes).ok();
    let text = |member: &str| {
        let value = doc.as_ref()?.root().get(member)?.as_str()?;
        Some(value.into_owned())
    };
    if let Some(own) = text("sha256")
        && own != *recorded
    {
        findings.push(finding(Code::DoctrineMismatch).found(own));
    }
    match text("content") {
        Some(content) => {
            let digest = Sha256::of(content.as_bytes()).to_string();
            if digest != *recorded {
                findings.push(finding(Code::DoctrineMismatch).found(digest));
            }
        }
        None => findings.push(finding(Code::DoctrineUnproved).found("no content")),
    }
}

/// Invariant 6: the migration records that this program wrote into a manifest, named by the revision
/// each started from, are an ordered part of the migrations that the log has of the run. Gives the
/// records that are not.
pub fn records_not_in_log<'r>(records: &'r [String], logged: &[Sha256]) -> Vec<&'r str> {
    let mut rest = logged.iter();
    let mut missing = Vec::new();
    for record in records {
        let mut ahead = rest.clone();
        if ahead.any(|before| before.to_string() == *record) {
            rest = ahead;
        } else {
            missing.push(record.as_str());
        }
    }
    missing
}

/// Invariants 1 to 4 on one logged rewrite: what was enforced when it was made is held against the kept
/// revisions again. What a migration may do beyond them, its pack said then.
pub fn rewrite_rules(key: &RunKey, before: &Doc<'_>, after: &Doc<'_>, files: &[FileEntry]) -> Vec<Finding> {
    let facts: Vec<FileFact> = files
        .iter()
        .filter_map(|file| {
            let blob = file.blob()?;
            Some(FileFact { path: file.path.to_string(), sha256: blob.sha256, bytes: blob.bytes })
        })
        .collect();
    let around = invariant::Files { before: &facts, after: &facts };
    invariant::check(before, after, Some(around), &invariant::Allowed::NOTHING)
        .into_iter()
        .filter(|violation| violation.invariant.number() <= 4)
        .map(|violation| {
            let finding = Finding::of_run(Code::InvariantBroken, key).at(paths::MANIFEST);
            let before = Sha256::of(before.text().as_bytes());
            finding.expected(format!("the invariant kept since {before}")).found(violation)
        })
        .collect()
}

/// The stages that the run builds on.
fn chain_rules(facts: &RunFacts<'_>, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let finding = |code| Finding::of_run(code, facts.key);
    let claimed = prior_output_hashes(facts, manifest);
    for stage in &manifest.prior_stages {
        let (Some(job), Some(run)) = (&stage.job_id, &stage.run_id) else { continue };
        let place = format!("artifacts/{job}/{run}");
        let Some(Some(files)) = facts.priors.get(&(job.clone(), run.clone())) else {
            findings.push(finding(Code::PriorRunMissing).at(&place).expected("a run").found("nothing"));
            continue;
        };
        for output in &stage.outputs {
            let inner = output.strip_prefix(&place).and_then(|rest| rest.strip_prefix('/'));
            let Some(actual) = inner.and_then(|inner| files.get(inner)) else {
                let finding = finding(Code::PriorOutputMismatch).at(output);
                findings.push(finding.expected("an output of the earlier run").found("nothing"));
                continue;
            };
            let name = output.rsplit('/').next().unwrap_or(output);
            if let Some(expected) = claimed.get(name)
                && *expected != actual.to_string()
            {
                findings.push(finding(Code::PriorOutputMismatch).at(output).expected(expected).found(actual));
            }
        }
    }
}

/// The digests that the `prior_artifact` snapshot records, by file name.
fn prior_output_hashes(facts: &RunFacts<'_>, manifest: &Manifest) -> HashMap<String, String> {
    let snapshot = manifest.snapshots.iter().find(|snapshot| snapshot.name == "prior_artifact");
    let doc = snapshot
        .and_then(|snapshot| facts.contents.get(&snapshot.path))
        .and_then(|bytes| json::scan(bytes).ok());
    let Some(hashes) = doc.as_ref().and_then(|doc| doc.root().get("prior_output_hashes")) else {
        return HashMap::new();
    };
    hashes
        .members()
        .filter_map(|member| Some((member.key().into_owned(), member.value().as_str()?.into_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrite_that_changes_an_id_or_a_digest_is_found_and_one_that_adds_is_not() {
        let key = RunKey { job: "j".parse().unwrap(), run: "r".parse().unwrap() };
        let before = br#"{"run_id":"r","job_id":"j","artifacts":{},"doctrine":{"sha256":"x"}}"#;
        let text = std::str::from_utf8(before).unwrap();
        let added = text.replace("\"artifacts\"", "\"added\":1,\"artifacts\"");
        let rules = |after: &str| {
            rewrite_rules(&key, &json::scan(before).unwrap(), &json::scan(after.as_bytes()).unwrap(), &[])
        };
        assert_eq!(rules(&added), []);
        for (from, to) in [("\"r\"", "\"s\""), ("\"j\"", "\"k\""), ("\"x\"", "\"y\"")] {
            let found = rules(&text.replace(from, to));
            assert!(found.iter().all(|finding| finding.code == Code::InvariantBroken) && !found.is_empty());
        }
    }

    #[test]
    fn history_record_is_in_the_log_in_order_or_reported() {
        let logged = [b"a", b"b", b"c"].map(|x| Sha256::of(x));
        let texts: Vec<String> = logged.iter().map(Sha256::to_string).collect();
        assert!(records_not_in_log(&texts, &logged).is_empty());
        assert!(records_not_in_log(&texts[1..2], &logged).is_empty());
        let swapped = [texts[1].clone(), texts[0].clone()];
        assert_eq!(records_not_in_log(&swapped, &logged), [texts[0].as_str()]);
        let foreign = [Sha256::of(b"x").to_string()];
        assert_eq!(records_not_in_log(&foreign, &logged), [foreign[0].as_str()]);
    }
}
