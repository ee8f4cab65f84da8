//! The step `wasm`: a WebAssembly module of the pack decides new values for members it declared.
//!
//! The module is a core module without imports, so it has no clock, no disk and no chance. It gets the
//! members that the step reads, as JSON text, and answers what becomes of those that the step writes;
//! the host splices and checks as for every step. Each place gets a fresh instance with bounded fuel and
//! memory, so nothing is carried from one document to the next and nothing runs for ever.
//!
//! What goes in is `{"/a": 1.50, "/b/c": …}`: the places that the step reads, as the pack spells them, from
//! the step's `path`, in the pack's order; what is not there is left out. Values have no spaces and one
//! way to spell a text; a number has the text that it has in the document. What comes out is `{"set": {"/x": …}, "remove": ["/y"]}`, either of which may be left out, or
//! `{"refuse": "why"}`.
//!
//! The module exports `memory`, `alloc(len: i32) -> i32` (where the host may write the input) and
//! `run(ptr: i32, len: i32) -> i64` (the output's place in the upper half, its length in the lower).

use serde_json::{Value, json};

use super::apply::{Ground, StepProblem, preview};
use super::error::{PackError, PackErrorKind};
#[cfg(feature = "wasm")]
use super::guest::Guest;
use super::reader::{Placed, Table};
use crate::base::digest::Sha256;
use crate::base::json::{self, Edits, Json, Kind, Node, Place, Pointer, PointerPattern, quote};

/// Without the feature there are no guests: a pack with such a step is not read.
#[cfg(not(feature = "wasm"))]
#[derive(Debug, Clone)]
pub(super) enum Guest {}

#[cfg(not(feature = "wasm"))]
impl Guest {
    fn load(_: &[u8]) -> Result<Self, PackErrorKind> {
        Err(PackErrorKind::NoFeature { what: "a step in WebAssembly", feature: "wasm" })
    }

    fn run(&self, _: &str) -> Result<Vec<u8>, String> {
        match *self {}
    }
}

/// A module and what it may see and change.
#[derive(Debug, Clone)]
pub(super) struct WasmStep {
    module: String,
    digest: Sha256,
    reads: Vec<Pointer>,
    writes: Vec<Pointer>,
    guest: Guest,
}

/// Places below the step's own, none of which has a `*`.
fn places(table: &Table<'_, '_>, key: &'static str) -> Result<Vec<(Placed<String>, Pointer)>, PackError> {
    let one = |text: Placed<String>| {
        let place: Pointer =
            text.value.parse().map_err(|e| table.source.error(text.at, PackErrorKind::Pointer(e)))?;
        if place.is_root() || place.tokens().any(|token| token == "*") {
            return Err(table.bad(key, &text, "it has to name one member; \"*\" goes into the step's path"));
        }
        Ok((text, place))
    };
    table.texts(key)?.into_iter().map(one).collect()
}

impl WasmStep {
    pub fn read(table: &Table<'_, '_>) -> Result<Self, PackError> {
        let module = table.need_text("module")?;
        let reads = places(table, "reads")?.into_iter().map(|(_, place)| place).collect();
        let mut writes: Vec<Pointer> = Vec::new();
        for (text, place) in places(table, "writes")? {
            let pattern = PointerPattern::from(&place);
            if writes.iter().any(|other| PointerPattern::from(other).touches(&pattern)) {
                return Err(table.bad("writes", &text, "another of the places holds it, or is in it"));
            }
            writes.push(place);
        }
        if writes.is_empty() {
            return Err(table.error(PackErrorKind::MissingKey { key: "writes" }));
        }
        let Some(bytes) = table.source.files.get(&module.value) else {
            return Err(table.source.error(module.at, PackErrorKind::NoFile { file: module.value }));
        };
        let guest = Guest::load(bytes).map_err(|kind| table.source.error(module.at, kind))?;
        Ok(Self { module: module.value, digest: Sha256::of(bytes), reads, writes, guest })
    }

    /// The places that it may change, for a step at `path`.
    pub fn writes(&self, path: &PointerPattern) -> Vec<PointerPattern> {
        self.writes.iter().map(|place| path.join(&PointerPattern::from(place))).collect()
    }

    /// The places that it sees, for a step at `path`.
    pub fn reads(&self, path: &PointerPattern) -> Vec<PointerPattern> {
        self.reads.iter().map(|place| path.join(&PointerPattern::from(place))).collect()
    }

    /// What identifies it: the module's bytes, whatever its file is called.
    pub fn compiled(&self) -> Value {
        json!({"module": self.digest.to_string(), "reads": self.reads, "writes": self.writes})
    }

    /// What the module is shown of a place.
    fn input(&self, node: Node<'_>) -> String {
        let below = |place: &Pointer| {
            place.tokens().try_fold(node, |node, token| match node.kind() {
                Kind::Array => node.elements().nth(token.parse().ok()?),
                _ => node.get(token),
            })
        };
        let seen = self.reads.iter().filter_map(|place| Some((place, below(place)?)));
        let members: Vec<String> = seen
            .map(|(place, node)| {
                format!("{}:{}", quote(&place.to_string()), json::print_compact(&Json::from(node)))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// Does the step at one place; answers what it did.
    pub fn apply<'d>(
        &self,
        ground: Ground<'d, '_>,
        node: Node<'d>,
        edits: &mut Edits<'d>,
    ) -> Result<Vec<String>, StepProblem> {
        let failed = |why: String| StepProblem::Guest { module: self.module.clone(), why };
        let output = self.guest.run(&self.input(node)).map_err(failed)?;
        let doc =
            json::scan(&output).map_err(|error| failed(format!("what it answers is no JSON: {error}")))?;
        let answer = Answer::read(doc.root()).map_err(failed)?;
        if let Some(text) = answer.refuse {
            return Err(StepProblem::GuestRefused { module: self.module.clone(), text });
        }
        let mut said = Vec::new();
        for (name, value) in answer.changes {
            let declared = self.writes.iter().find(|place| place.to_string() == name);
            let Some(place) = declared else {
                return Err(failed(format!("it writes {}, which the step does not declare", quote(&name))));
            };
            let at = place.tokens().fold(node.pointer(), |at, token| at.child(token));
            said.extend(self.change(ground, &at, value, edits)?);
        }
        Ok(said)
    }

    /// One new value, or one member taken out.
    fn change<'d>(
        &self,
        ground: Ground<'d, '_>,
        at: &Pointer,
        value: Option<Json>,
        edits: &mut Edits<'d>,
    ) -> Result<Option<String>, StepProblem> {
        let by = |what: String| Some(format!("{what}, by the module {}", self.module));
        let told = |value: &Json| preview(&json::print_compact(value));
        let old = |node: Node<'_>| told(&Json::from(node));
        match (ground.doc.at(at), value) {
            (Some(node), Some(value)) if value.is(&node) => Ok(None),
            (Some(node), Some(value)) => {
                let said = format!("set {at} to {}, replacing {}", told(&value), old(node));
                edits.replace(node, value);
                Ok(by(said))
            }
            (Some(node), None) => {
                edits.remove(node);
                Ok(by(format!("removed {at}, which was {}", old(node))))
            }
            (None, None) => Ok(None),
            (None, Some(value)) => {
                let no_parent = || StepProblem::NoParent { at: at.to_string() };
                let (parent, name) = at.split_last().ok_or_else(no_parent)?;
                let parent = ground.doc.at(&parent).ok_or_else(no_parent)?;
                if parent.kind() != Kind::Object {
                    return Err(StepProblem::NotAnObject { at: at.clone(), found: parent.kind().name() });
                }
                let said = format!("added {at} as {}", told(&value));
                edits.insert(parent, Place::End, name, value);
                Ok(by(said))
            }
        }
    }
}

/// What a module answers: new values and removals by place, or a refusal.
#[derive(Debug, Default)]
struct Answer {
    changes: Vec<(String, Option<Json>)>,
    refuse: Option<String>,
}

impl Answer {
    fn read(root: Node<'_>) -> Result<Self, String> {
        const FORM: &str = "what it answers is not {\"set\": {…}, \"remove\": […]} or {\"refuse\": \"…\"}";
        let mut answer = Self::default();
        if root.kind() != Kind::Object {
            return Err(FORM.to_owned());
        }
        for member in root.members() {
            let value = member.value();
            match (member.key().as_ref(), value.kind()) {
                ("set", Kind::Object) => {
                    let set = value.members().map(|m| (m.key().into_owned(), Some(Json::from(m.value()))));
                    answer.changes.extend(set);
                }
                ("remove", Kind::Array) => {
                    for place in value.elements() {
                        let place = place.as_str().ok_or(FORM)?;
                        answer.changes.push((place.into_owned(), None));
                    }
                }
                ("refuse", Kind::String) => answer.refuse = value.as_str().map(Into::into),
                _ => return Err(FORM.to_owned()),
            }
        }
        let mut names: Vec<&String> = answer.changes.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("it says two things of {}", quote(twice[0])));
        }
        Ok(answer)
    }
}
