//! Numbers over documents of several versions: per field how many values there are, how many are
//! missing and in which versions, and never a sum over values that mean different things.
//!
//! A field is a place in a document that holds a number in at least one of them. Places within
//! arrays are no fields. A document misses a field that documents of its kind have; a pack can have
//! several kinds of document, such as the files of one experiment. A field that a pack computes has a formula by shape; values of two formulas
//! are two different quantities, whatever their name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::base::json::{Doc, Kind, Node, Pointer, PointerError};

/// A member as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// By its place.
    At(Pointer),
    /// By its name: the one nearest to the top, and never within an array.
    Named(String),
}

impl Member {
    /// Reads a JSON Pointer, or a bare name.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.starts_with('/') { text.parse().map(Self::At) } else { Ok(Self::Named(text.to_owned())) }
    }

    /// The member of a document; of two that are equally near the earlier.
    fn find<'d>(&self, doc: &'d Doc<'_>) -> Option<Node<'d>> {
        let name = match self {
            Self::At(at) => return doc.at(at),
            Self::Named(name) => name,
        };
        let mut level = vec![doc.root()];
        while !level.is_empty() {
            if let Some(found) = level.iter().find_map(|node| node.get(name)) {
                return Some(found);
            }
            let below = level.iter().flat_map(Node::members).map(|member| member.value());
            level = below.filter(|node| node.kind() == Kind::Object).collect();
        }
        None
    }

    /// Whether a place is meant: a name means every member of that name.
    fn is(&self, at: &Pointer) -> bool {
        match self {
            Self::At(own) => own == at,
            Self::Named(name) => at.tokens().next_back() == Some(name),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// How to aggregate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AggregateOptions {
    /// The member whose values make the groups; without it there is one group.
    pub by: Option<Member>,
    /// Only these fields; all when empty.
    pub fields: Vec<Member>,
    /// Whether values of different formulas may go into one mean.
    pub mix_formulas: bool,
}

/// Values of one field in one group, by one formula.
#[derive(Debug, Clone, Default, PartialEq)]
struct Cell {
    n: u64,
    sum: f64,
    least: f64,
    most: f64,
    versions: BTreeMap<String, u64>,
    formulas: BTreeSet<Option<String>>,
}

/// One line of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldRow {
    /// The value of the member that groups, as text.
    pub group: String,
    /// The field.
    pub field: String,
    /// The formula that computed the values, where a pack names one; several where they were mixed.
    pub formulas: Vec<Option<String>>,
    /// How many documents have a number there, by this formula.
    pub n: u64,
    /// How many documents of the group have no number there at all, of the kinds that have the field.
    pub missing: u64,
    /// The mean; `None` without values.
    pub mean: Option<f64>,
    /// The least value.
    pub least: Option<f64>,
    /// The greatest value.
    pub most: Option<f64>,
    /// Per version, of the kinds that have the field: values of this line, and documents without any.
    pub versions: BTreeMap<String, (u64, u64)>,
}

/// What an aggregate came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aggregate {
    /// A line per group, field and formula.
    pub rows: Vec<FieldRow>,
    /// Fields with values of more than one formula in one group.
    pub mixed: Vec<MixedFormulas>,
    /// How many documents do not have the member that groups.
    pub ungrouped: u64,
}

/// A field whose values were computed by different formulas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixedFormulas {
    /// The group.
    pub group: String,
    /// The field.
    pub field: String,
    /// The formulas; `None` for values that no formula is named for.
    pub formulas: Vec<Option<String>>,
}

/// Numbers being gathered.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    options: AggregateOptions,
    /// Per group and shape's version, how many documents there are.
    documents: BTreeMap<(String, String), u64>,
    cells: BTreeMap<(String, Pointer), BTreeMap<Option<String>, Cell>>,
    /// The kinds of document that have each field; none where a field was asked for that none has.
    fields: BTreeMap<Pointer, BTreeSet<Option<String>>>,
    /// The kind that each shape's version is of.
    kinds: BTreeMap<String, Option<String>>,
    ungrouped: u64,
}

/// What a pack says of the documents of one shape.
pub struct Told<'t> {
    /// The version, or the shape.
    pub version: &'t str,
    /// The kind, where the pack has several.
    pub kind: Option<&'t str>,
    /// By which formula a field was computed.
    pub formula: &'t dyn Fn(&Pointer) -> Option<String>,
}

impl Tally {
    /// Nothing gathered yet.
    pub fn new(options: AggregateOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Takes in a document.
    pub fn take(&mut self, doc: &Doc<'_>, told: &Told<'_>) {
        let version = told.version;
        let kind = told.kind.map(str::to_owned);
        self.kinds.entry(version.to_owned()).or_insert_with(|| kind.clone());
        let group = match &self.options.by {
            None => "all".to_owned(),
            Some(by) => match by.find(doc) {
                None => {
                    self.ungrouped += 1;
                    "(none)".to_owned()
                }
                Some(node) => node.as_str().map_or_else(|| node.raw().to_owned(), |text| text.into_owned()),
            },
        };
        *self.documents.entry((group.clone(), version.to_owned())).or_default() += 1;
        let mut numbers = Vec::new();
        gather(doc.root(), &mut Vec::new(), &mut numbers);
        for (at, value) in numbers {
            let fields = &self.options.fields;
            let wanted = fields.is_empty() || fields.iter().any(|field| field.is(&at));
            if !wanted || self.options.by == Some(Member::At(at.clone())) {
                continue;
            }
            self.fields.entry(at.clone()).or_default().insert(kind.clone());
            let formula = (told.formula)(&at);
            let own = if self.options.mix_formulas { None } else { formula.clone() };
            let cell = self.cells.entry((group.clone(), at)).or_default().entry(own).or_default();
            cell.least = if cell.n == 0 { value } else { cell.least.min(value) };
            cell.most = if cell.n == 0 { value } else { cell.most.max(value) };
            cell.n += 1;
            cell.sum += value;
            *cell.versions.entry(version.to_owned()).or_default() += 1;
            cell.formulas.insert(formula);
        }
    }

    /// The lines, by group and field.
    pub fn end(mut self) -> Aggregate {
        for wanted in &self.options.fields {
            if !self.fields.keys().any(|field| wanted.is(field)) {
                let at = match wanted {
                    Member::At(at) => at.clone(),
                    Member::Named(name) => Pointer::from_tokens([name.clone()]),
                };
                self.fields.insert(at, BTreeSet::new());
            }
        }
        let mut aggregate = Aggregate { ungrouped: self.ungrouped, ..Aggregate::default() };
        let groups: BTreeSet<String> = self.documents.keys().map(|(group, _)| group.clone()).collect();
        for group in groups {
            for field in self.fields.keys() {
                let cells = self.cells.remove(&(group.clone(), field.clone())).unwrap_or_default();
                let formulas: BTreeSet<&Option<String>> =
                    cells.values().flat_map(|cell| &cell.formulas).collect();
                if formulas.len() > 1 {
                    let formulas = formulas.into_iter().cloned().collect();
                    let (group, field) = (group.clone(), field.to_string());
                    aggregate.mixed.push(MixedFormulas { group, field, formulas });
                }
                if cells.is_empty() {
                    let row = self.row(&group, field, &Cell::default(), &cells);
                    aggregate.rows.extend(Some(row).filter(|row| row.missing > 0));
                }
                for cell in cells.values() {
                    aggregate.rows.push(self.row(&group, field, cell, &cells));
                }
            }
        }
        aggregate
    }

    fn row(
        &self,
        group: &str,
        field: &Pointer,
        cell: &Cell,
        all: &BTreeMap<Option<String>, Cell>,
    ) -> FieldRow {
        let mut versions = BTreeMap::new();
        let kinds = self.fields.get(field);
        let has = |version: &String| {
            kinds.is_none_or(|kinds| {
                kinds.is_empty() || self.kinds.get(version).is_some_and(|k| kinds.contains(k))
            })
        };
        let documents = self.documents.iter().filter(|((of, version), _)| of == group && has(version));
        for ((_, version), count) in documents {
            let of = |cell: &Cell| cell.versions.get(version).copied().unwrap_or(0);
            let there: u64 = all.values().map(of).sum();
            versions.insert(version.clone(), (of(cell), count - there));
        }
        let shown = cell.n > 0;
        FieldRow {
            group: group.to_owned(),
            field: field.to_string(),
            formulas: cell.formulas.iter().cloned().collect(),
            n: cell.n,
            missing: versions.values().map(|(_, missing)| missing).sum(),
            mean: shown.then(|| cell.sum / cell.n as f64),
            least: shown.then_some(cell.least),
            most: shown.then_some(cell.most),
            versions,
        }
    }
}

fn gather(node: Node<'_>, at: &mut Vec<String>, out: &mut Vec<(Pointer, f64)>) {
    match node.kind() {
        Kind::Number => {
            if let Some(value) = node.as_f64() {
                out.push((Pointer::from_tokens(at.iter().cloned()), value));
            }
        }
        Kind::Object => {
            for member in node.members() {
                at.push(member.key().into_owned());
                gather(member.value(), at, out);
                at.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::scan;

    fn tally(options: AggregateOptions, documents: &[(&str, &str)]) -> Aggregate {
        let mut tally = Tally::new(options);
        for (version, text) in documents {
            let doc = scan(text.as_bytes()).unwrap();
            let formula = |at: &Pointer| (at.to_string() == "/tps").then(|| format!("tps-{version}"));
            let kind = version.strip_prefix("setup").map(|_| "setup");
            tally.take(&doc, &Told { version, kind, formula: &formula });
        }
        tally.end()
    }

    const DOCUMENTS: [(&str, &str); 3] = [
        ("1", r#"{"model":"a","e":1,"tps":2}"#),
        ("2", r#"{"model":"a","e":2.5,"tps":4,"list":[1]}"#),
        ("2", r#"{"model":"b","e":null}"#),
    ];

    #[test]
    fn values_and_gaps_are_counted_by_version() {
        let all = tally(AggregateOptions::default(), &DOCUMENTS);
        let fields: Vec<&str> = all.rows.iter().map(|row| row.field.as_str()).collect();
        assert_eq!(fields, ["/e", "/tps", "/tps"]);
        let row = &all.rows[0];
        assert_eq!((row.n, row.missing, row.mean), (2, 1, Some(1.75)));
        assert_eq!(row.versions["2"], (1, 1));
        assert_eq!(row.versions["1"], (1, 0));
    }

    #[test]
    fn documents_of_another_kind_miss_nothing() {
        let setup = ("setup-a", r#"{"cores":8}"#);
        let all = tally(AggregateOptions::default(), &[&DOCUMENTS[..], &[setup, setup]].concat());
        let row = |field: &str| all.rows.iter().find(|row| row.field == field).unwrap();
        assert_eq!((row("/e").n, row("/e").missing), (2, 1));
        assert_eq!((row("/cores").n, row("/cores").missing), (2, 0));
        assert!(!row("/e").versions.contains_key("setup-a"));
        let asked =
            AggregateOptions { fields: vec![Member::parse("nowhere").unwrap()], ..Default::default() };
        let asked = tally(asked, &[&DOCUMENTS[..], &[setup]].concat());
        assert_eq!((asked.rows[0].n, asked.rows[0].missing), (0, 4));
    }

    #[test]
    fn formulas_are_kept_apart_unless_told() {
        let all = tally(AggregateOptions::default(), &DOCUMENTS);
        let means: Vec<_> = all.rows[1..].iter().map(|row| (row.mean, row.n, row.missing)).collect();
        assert_eq!(means, [(Some(2.0), 1, 1), (Some(4.0), 1, 1)]);
        assert_eq!(all.mixed[0].formulas, [Some("tps-1".to_owned()), Some("tps-2".to_owned())]);
        let told = AggregateOptions { mix_formulas: true, ..AggregateOptions::default() };
        let told = tally(told, &DOCUMENTS);
        assert_eq!((told.rows[1].mean, told.rows[1].formulas.len(), told.mixed.len()), (Some(3.0), 2, 1));
    }

    #[test]
    fn member_by_name_is_the_nearest_to_the_top() {
        let doc = scan(br#"{"list":[{"m":0}],"a":{"b":{"m":1},"x":2},"c":{"m":3}}"#).unwrap();
        let find = |text: &str| Member::parse(text).unwrap().find(&doc).map(|node| node.raw().to_owned());
        let found = [find("m"), find("x"), find("/a/b/m"), find("/list/0/m"), find("z"), find("/m")];
        let expected = [Some("3"), Some("2"), Some("1"), Some("0"), None, None];
        assert_eq!(found, expected.map(|raw| raw.map(str::to_owned)));
        assert!(Member::parse("/a~x").is_err());
        let named = AggregateOptions { fields: vec![Member::parse("tps").unwrap()], ..Default::default() };
        let fields: Vec<String> = tally(named, &DOCUMENTS).rows.into_iter().map(|row| row.field).collect();
        assert_eq!(fields, ["/tps", "/tps"]);
    }

    #[test]
    fn groups_are_the_values_of_a_member() {
        let by =
            AggregateOptions { by: Some(Member::parse("/model").unwrap()), ..AggregateOptions::default() };
        let groups = tally(by, &DOCUMENTS);
        let shown: Vec<(&str, &str, u64, u64)> =
            groups.rows.iter().map(|r| (r.group.as_str(), r.field.as_str(), r.n, r.missing)).collect();
        let expected = [
            ("a", "/e", 2, 0),
            ("a", "/tps", 1, 0),
            ("a", "/tps", 1, 0),
            ("b", "/e", 0, 1),
            ("b", "/tps", 0, 1),
        ];
        assert_eq!(shown, expected);
    }
}
