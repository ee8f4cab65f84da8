//! Conditions on a document: presence, absence, equality, type.
//!
//! In `pack.toml` a condition is an inline table: `{ present = "/p" }`, `{ absent = "/p" }`,
//! `{ absent_or_empty = "/p" }`, `{ at = "/p", equals = 1 }` (or `equals_json = "null"`),
//! `{ at = "/p", differs = 1 }`, `{ at = "/p", one_of = [1, 2] }`, `{ at = "/p", type = "string" }`,
//! `{ at = "/p", above = 0 }`, `{ at = "/p", below = 1 }`, `{ at = "/p", min_length = 3 }`.
//! A list of conditions holds when each of them does.

use super::error::{PackError, PackErrorKind};
use super::reader::Table;
use crate::base::json::{Doc, Json, Kind, Node, Pointer, PointerPattern, print_compact};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Present,
    Absent,
    /// Absent, `null`, or a string, array or object of length zero.
    AbsentOrEmpty,
    Equals(Json),
    Differs(Json),
    OneOf(Vec<Json>),
    Type(Vec<JsonType>),
    /// A number above this one; both as binary64.
    Above(f64),
    /// A number below this one; both as binary64.
    Below(f64),
    /// A text of at least so many characters.
    MinLength(u32),
}

/// The types of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonType {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl JsonType {
    const ALL: [(&'static str, Self); 7] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("string", Self::String),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    pub fn fits(self, node: &Node<'_>) -> bool {
        match self {
            Self::Integer => node.kind() == Kind::Number && !node.raw().contains(['.', 'e', 'E']),
            other => node.kind().name() == other.name(),
        }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub at: PointerPattern,
    pub test: Test,
}

impl Condition {
    pub fn read(table: &Table<'_, '_>) -> Result<Self, PackError> {
        const KEYS: &[&str] = &["present", "absent", "absent_or_empty", "at"];
        let short =
            [("present", Test::Present), ("absent", Test::Absent), ("absent_or_empty", Test::AbsentOrEmpty)];
        let mut found = None;
        for (key, test) in short {
            if let Some(at) = table.pattern(key)?
                && found.replace(Self { at, test }).is_some()
            {
                return Err(table.error(PackErrorKind::OneOf { keys: KEYS }));
            }
        }
        if let Some(at) = table.pattern("at")? {
            const TESTS: &[&str] = &[
                "equals",
                "equals_json",
                "differs",
                "differs_json",
                "one_of",
                "type",
                "above",
                "below",
                "min_length",
            ];
            let mut tests = Vec::new();
            tests.extend(table.value("equals", "equals_json")?.map(Test::Equals));
            tests.extend(table.value("differs", "differs_json")?.map(Test::Differs));
            match table.value("one_of", "one_of_json")? {
                Some(Json::Array(values)) => tests.push(Test::OneOf(values)),
                Some(_) => return Err(table.error(PackErrorKind::OneOf { keys: TESTS })),
                None => {}
            }
            tests.extend(table.number("above")?.map(Test::Above));
            tests.extend(table.number("below")?.map(Test::Below));
            tests.extend(table.count("min_length", u32::MAX)?.map(Test::MinLength));
            let types = table.texts("type")?;
            if !types.is_empty() {
                let types = types.into_iter().map(|text| {
                    JsonType::parse(&text.value).ok_or_else(|| {
                        table.bad(
                            "type",
                            &text,
                            "types are null, boolean, integer, number, string, array, object",
                        )
                    })
                });
                tests.push(Test::Type(types.collect::<Result<_, _>>()?));
            }
            let (Some(test), true, None) = (tests.pop(), tests.is_empty(), &found) else {
                return Err(table.error(PackErrorKind::OneOf { keys: TESTS }));
            };
            found = Some(Self { at, test });
        }
        table.finish()?;
        found.ok_or_else(|| table.error(PackErrorKind::OneOf { keys: KEYS }))
    }

    pub fn read_all(tables: &[Table<'_, '_>]) -> Result<Vec<Self>, PackError> {
        tables.iter().map(Self::read).collect()
    }

    /// Whether it holds; each `*` means what it matched in `place`, if given, and else each child.
    pub fn holds(&self, doc: &Doc<'_>, place: Option<(&PointerPattern, &Pointer)>) -> bool {
        let (one, several);
        let nodes: &[Node<'_>] = if self.at.stars() == 0 {
            one = self.at.node(doc);
            one.as_slice()
        } else {
            let bound = place.and_then(|(pattern, pointer)| self.at.bind(pattern, pointer));
            several = match bound {
                Some(pointer) => doc.at(&pointer).into_iter().collect(),
                None => self.at.nodes(doc),
            };
            &several
        };
        let any = !nodes.is_empty();
        let all = |test: &dyn Fn(&Node<'_>) -> bool| any && nodes.iter().all(test);
        match &self.test {
            Test::Present => any,
            Test::Absent => !any,
            Test::AbsentOrEmpty => nodes.iter().all(is_empty),
            Test::Equals(value) => all(&|node| value.is(node)),
            Test::Differs(value) => all(&|node| !value.is(node)),
            Test::OneOf(values) => all(&|node| values.iter().any(|value| value.is(node))),
            Test::Type(types) => all(&|node| types.iter().any(|kind| kind.fits(node))),
            Test::Above(bound) => all(&|node| number(node).is_some_and(|value| value > *bound)),
            Test::Below(bound) => all(&|node| number(node).is_some_and(|value| value < *bound)),
            Test::MinLength(least) => all(&|node| {
                node.as_str().is_some_and(|text| text.chars().count() as u64 >= u64::from(*least))
            }),
        }
    }

    /// The condition in words.
    pub fn describe(&self) -> String {
        let at = &self.at;
        match &self.test {
            Test::Present => format!("{at} is present"),
            Test::Absent => format!("{at} is absent"),
            Test::AbsentOrEmpty => format!("{at} is absent or empty"),
            Test::Equals(value) => format!("{at} is {}", print_compact(value)),
            Test::Differs(value) => format!("{at} is other than {}", print_compact(value)),
            Test::OneOf(values) => format!("{at} is one of {}", print_compact(&Json::Array(values.clone()))),
            Test::Above(bound) => format!("{at} is a number above {bound}"),
            Test::Below(bound) => format!("{at} is a number below {bound}"),
            Test::MinLength(least) => format!("{at} is a text of {least} characters or more"),
            Test::Type(types) => {
                let names: Vec<_> = types.iter().map(|kind| kind.name()).collect();
                format!("{at} is of type {}", names.join(" or "))
            }
        }
    }

    /// The condition as part of what identifies a pack.
    pub fn compiled(&self) -> serde_json::Value {
        serde_json::json!([self.at.to_string(), self.describe()])
    }
}

fn number(node: &Node<'_>) -> Option<f64> {
    (node.kind() == Kind::Number).then(|| node.raw().parse().ok()).flatten()
}

fn is_empty(node: &Node<'_>) -> bool {
    match node.kind() {
        Kind::Null => true,
        Kind::String => node.as_str().is_some_and(|text| text.is_empty()),
        Kind::Array | Kind::Object => node.is_empty(),
        Kind::Bool(_) | Kind::Number => false,
    }
}

/// Whether all conditions hold.
pub(super) fn all_hold(
    conditions: &[Condition],
    doc: &Doc<'_>,
    place: Option<(&PointerPattern, &Pointer)>,
) -> bool {
    conditions.iter().all(|condition| condition.holds(doc, place))
}

/// All conditions in words.
pub(super) fn describe_all(conditions: &[Condition]) -> String {
    conditions.iter().map(Condition::describe).collect::<Vec<_>>().join(" and ")
}
