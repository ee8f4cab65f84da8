//! Which shape a document has. The answer is never a guess, and nothing is stamped.

use std::fmt;

use super::apply::preview;
use super::condition::{all_hold, describe_all};
use super::fit::Met;
use super::pack::{Order, Pack, Unlabelled};
use super::shape::Shape;
use crate::base::escape::Escaped;
use crate::base::json::{Doc, Kind, Pointer};

/// What a pack says about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// A shape of the pack.
    Known {
        /// Its version.
        version: String,
        /// The variant, where the version has several shapes.
        variant: Option<String>,
    },
    /// The document has no label; a rule of the pack tells its version by its shape.
    Legacy {
        /// The rule.
        rule: String,
        /// The version it tells.
        version: String,
        /// The variant, where the version has several shapes.
        variant: Option<String>,
    },
    /// More than one shape fits.
    Ambiguous {
        /// The shapes.
        candidates: Vec<String>,
    },
    /// The label is of no version that the pack has.
    UnknownVersion {
        /// The label.
        label: String,
    },
    /// The label is above every version that the pack has.
    Newer {
        /// The label.
        label: String,
    },
    /// The version is known, but the document does not fit it.
    Misfit {
        /// The version that the label or rule says.
        version: String,
        /// Why it does not fit.
        reasons: Vec<String>,
    },
    /// Not a document that the pack describes.
    NotThisKind {
        /// What it is instead, where the pack knows.
        kind: Option<String>,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |f: &mut fmt::Formatter<'_>, version: &str, variant: &Option<String>| match variant {
            Some(variant) => write!(f, "{}/{}", Escaped(version), Escaped(variant)),
            None => write!(f, "{}", Escaped(version)),
        };
        match self {
            Self::Known { version, variant } => shape(f, version, variant),
            Self::Legacy { rule, version, variant } => {
                shape(f, version, variant)?;
                write!(f, " (no label; by the rule {:?})", rule)
            }
            Self::Ambiguous { candidates } => write!(f, "ambiguous: {}", candidates.join(" or ")),
            Self::UnknownVersion { label } => write!(f, "unknown version {:?}", preview(label)),
            Self::Newer { label } => write!(f, "version {:?} is newer than the pack", preview(label)),
            Self::Misfit { version, reasons } => {
                write!(f, "says {}, but does not fit it: ", Escaped(version))?;
                for (i, reason) in reasons.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "; " } else { "" }, Escaped(reason))?;
                }
                Ok(())
            }
            Self::NotThisKind { why, .. } => write!(f, "not a document of this kind: {}", Escaped(why)),
        }
    }
}

/// What stands where the label belongs.
pub(super) enum Label {
    /// The pack has no labels.
    Unused,
    Text(String),
    Missing,
    Other(&'static str),
}

impl Pack {
    pub(super) fn label(&self, doc: &Doc<'_>) -> Label {
        let Some(at) = &self.version_at else { return Label::Unused };
        let Some(node) = doc.at(at) else { return Label::Missing };
        match (node.kind(), node.as_str()) {
            (Kind::Null, _) if self.unlabelled.contains(&Unlabelled::Null) => Label::Missing,
            (_, Some(text)) if text.is_empty() && self.unlabelled.contains(&Unlabelled::Empty) => {
                Label::Missing
            }
            (_, Some(text)) => Label::Text(text.into_owned()),
            (kind, None) => Label::Other(kind.name()),
        }
    }

    /// Tells which shape a document has, and whether it fits that shape's schema.
    pub fn detect(&self, doc: &Doc<'_>) -> Detection {
        self.detect_met(doc, &mut Met::of(doc))
    }

    /// The same; what was found out of the document's parts stays known.
    pub(super) fn detect_met(&self, doc: &Doc<'_>, met: &mut Met) -> Detection {
        let not = |why| Detection::NotThisKind { kind: None, why };
        if let Some(foreign) = self.foreign.iter().find(|foreign| all_hold(&foreign.when, doc, None)) {
            let why = format!("it is {}", foreign.kind);
            return Detection::NotThisKind { kind: Some(foreign.kind.clone()), why };
        }
        let object = doc.root().kind() == Kind::Object;
        if !object && self.shapes.iter().all(|shape| shape.labelled) {
            return not(format!("it is of type {}, not an object", doc.root().kind().name()));
        }
        match self.label(doc) {
            Label::Unused => {
                let none = || not("no shape of the pack fits it".to_owned());
                self.by_shape(doc, |_| true, met).unwrap_or_else(none)
            }
            Label::Missing => self
                .by_shape(doc, |shape| !shape.labelled, met)
                .unwrap_or_else(|| self.detect_legacy(doc, met)),
            Label::Other(found) => {
                let at = self.version_at.as_ref().map(ToString::to_string).unwrap_or_default();
                not(format!("its label {at} is of type {found}, not a string"))
            }
            Label::Text(label)
                if self.shapes.iter().any(|shape| shape.labelled && shape.version == label) =>
            {
                match self.shape_of(doc, &label, None, met) {
                    Ok(shape) => Detection::Known { version: label, variant: shape.variant.clone() },
                    Err(problem) => problem,
                }
            }
            Label::Text(label) => {
                if self.is_newer(&label) {
                    Detection::Newer { label }
                } else {
                    Detection::UnknownVersion { label }
                }
            }
        }
    }

    /// Semantic versions are compared by precedence, and only where the pack says that it has them.
    fn is_newer(&self, label: &str) -> bool {
        let Ok(label) = semver::Version::parse(label) else { return false };
        self.order == Order::Semver
            && self.shapes.iter().all(|shape| {
                semver::Version::parse(&shape.version).is_ok_and(|known| label.cmp_precedence(&known).is_gt())
            })
    }

    fn detect_legacy(&self, doc: &Doc<'_>, met: &mut Met) -> Detection {
        let hits: Vec<_> = self.legacy.iter().filter(|rule| all_hold(&rule.when, doc, None)).collect();
        let Some(first) = hits.first() else {
            return Detection::NotThisKind {
                kind: None,
                why: "it has no label, and no rule tells its version".to_owned(),
            };
        };
        if hits.iter().any(|rule| rule.version != first.version) {
            let candidates = hits.iter().map(|rule| format!("{} ({})", rule.version, rule.rule)).collect();
            return Detection::Ambiguous { candidates };
        }
        match self.shape_of(doc, &first.version, Some(&first.version), met) {
            Ok(shape) => Detection::Legacy {
                rule: first.rule.clone(),
                version: first.version.clone(),
                variant: shape.variant.clone(),
            },
            Err(problem) => problem,
        }
    }

    /// Tells a document by its shape alone; `None` where no such shape's conditions hold.
    fn by_shape(&self, doc: &Doc<'_>, among: impl Fn(&Shape) -> bool, met: &mut Met) -> Option<Detection> {
        let told: Vec<&Shape> =
            self.shapes.iter().filter(|shape| among(shape) && all_hold(&shape.when, doc, None)).collect();
        if told.is_empty() {
            return None;
        }
        Some(match self.fitting(doc, &told, None, met) {
            Err(reasons) => {
                let names: Vec<String> = told.iter().map(|shape| shape.name()).collect();
                Detection::Misfit { version: names.join(" or "), reasons }
            }
            Ok(fits) => match fits.as_slice() {
                [shape] => {
                    Detection::Known { version: shape.version.clone(), variant: shape.variant.clone() }
                }
                several => Detection::Ambiguous { candidates: several.iter().map(|s| s.name()).collect() },
            },
        })
    }

    /// Those of some shapes whose schema a document fits; where none does, why it does not fit the one
    /// that it comes closest to.
    fn fitting<'p>(
        &self,
        doc: &Doc<'_>,
        shapes: &[&'p Shape],
        label: Option<&str>,
        met: &mut Met,
    ) -> Result<Vec<&'p Shape>, Vec<String>> {
        let (mut fits, mut closest) = (Vec::new(), None::<Vec<String>>);
        for shape in shapes {
            let problems = self.misfits(shape, doc, label, met);
            if problems.is_empty() {
                fits.push(*shape);
            } else if closest.as_ref().is_none_or(|other| problems.len() < other.len()) {
                closest = Some(problems);
            }
        }
        if fits.is_empty() { Err(closest.unwrap_or_default()) } else { Ok(fits) }
    }

    /// Where documents of a shape, named by version or with its variant, carry their label.
    pub(super) fn label_place(&self, shape: &str) -> Option<&Pointer> {
        let labelled = |known: &Shape| known.labelled && (known.is_named(shape) || known.version == shape);
        self.version_at.as_ref().filter(|_| self.shapes.iter().any(labelled))
    }

    /// The one shape of a version that a document has, or why there is none.
    pub(super) fn shape_of(
        &self,
        doc: &Doc<'_>,
        version: &str,
        label: Option<&str>,
        met: &mut Met,
    ) -> Result<&Shape, Detection> {
        let misfit = |reasons| Detection::Misfit { version: version.to_owned(), reasons };
        let shapes: Vec<&Shape> = self.shapes.iter().filter(|shape| shape.version == version).collect();
        let told: Vec<&Shape> =
            shapes.iter().copied().filter(|shape| all_hold(&shape.when, doc, None)).collect();
        if told.is_empty() {
            let reasons =
                shapes.iter().map(|s| format!("not {}: {} does not hold", s.name(), describe_all(&s.when)));
            return Err(misfit(reasons.collect()));
        }
        let fits = self.fitting(doc, &told, label, met).map_err(misfit)?;
        match fits.as_slice() {
            [shape] => Ok(shape),
            several => Err(Detection::Ambiguous { candidates: several.iter().map(|s| s.name()).collect() }),
        }
    }
}
