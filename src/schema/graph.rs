//! The version graph: shapes as nodes, migrations as edges, routes by breadth-first search.

use std::collections::VecDeque;

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::pack::{Migration, Pack};
use super::shape::Shape;
use crate::base::digest::Sha256;

#[derive(Debug, Clone)]
struct Place {
    name: String,
    version: String,
}

/// The graph of a pack. A version with several shapes has one node for each and one for itself,
/// which stands for "one of them": what a migration to that version arrives at.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    graph: DiGraph<Place, usize>,
}

/// One migration of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationRef<'p> {
    /// The source version, or shape.
    pub from: &'p str,
    /// The target version, or shape.
    pub to: &'p str,
    /// What it is about.
    pub summary: &'p str,
    /// Its identity: the digest of its compiled steps.
    pub digest: Sha256,
}

/// There is no way from one version to the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The pack does not have the version.
    #[error("the pack {pack} has no version {version:?}; it has {}", known.join(", "))]
    UnknownVersion {
        /// The pack's name.
        pack: String,
        /// The version.
        version: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// No declared migrations lead there.
    #[error("the pack {pack} declares no migrations that lead from {from} to {to}")]
    NotDeclared {
        /// The pack's name.
        pack: String,
        /// The source.
        from: String,
        /// The target.
        to: String,
    },
}

impl Graph {
    /// Builds the graph; the error names a migration that there are two of.
    pub fn new(shapes: &[Shape], migrations: &[Migration]) -> Result<Self, String> {
        let mut graph: DiGraph<Place, usize> = DiGraph::new();
        let mut seen: Vec<&str> = Vec::new();
        for shape in shapes {
            if shape.variant.is_some() && !seen.contains(&shape.version.as_str()) {
                graph.add_node(Place { name: shape.version.clone(), version: shape.version.clone() });
            }
            seen.push(&shape.version);
            graph.add_node(Place { name: shape.name(), version: shape.version.clone() });
        }
        for (number, migration) in migrations.iter().enumerate() {
            let find = |graph: &DiGraph<Place, usize>, name: &str| {
                graph.node_indices().find(|&node| graph[node].name == name)
            };
            let Some(to) = find(&graph, &migration.to) else { continue };
            // A migration from a version starts at each of its shapes.
            let starts: Vec<NodeIndex> = graph
                .node_indices()
                .filter(|&node| graph[node].name == migration.from || graph[node].version == migration.from)
                .collect();
            for from in starts {
                let version = &graph[to].version;
                if graph.edges(from).any(|edge| graph[edge.target()].version == *version) {
                    return Err(format!("{} -> {}", migration.from, migration.to));
                }
                graph.add_edge(from, to, number);
            }
        }
        Ok(Self { graph })
    }

    /// The numbers of the migrations on the shortest route to any of the targets; among equals, the
    /// one whose versions come first in the pack.
    pub fn route(&self, from: &str, to: &[&str]) -> Option<Vec<usize>> {
        let graph = &self.graph;
        let start = graph.node_indices().find(|&node| graph[node].name == from)?;
        let arrived =
            |node: NodeIndex| to.iter().any(|to| graph[node].name == *to || graph[node].version == *to);
        let mut came: Vec<Option<(NodeIndex, usize)>> = vec![None; graph.node_count()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if arrived(node) {
                let mut route = Vec::new();
                let mut at = node;
                while let Some((previous, migration)) = came[at.index()].filter(|_| at != start) {
                    route.push(migration);
                    at = previous;
                }
                route.reverse();
                return Some(route);
            }
            // Node numbers follow the order of the pack.
            let mut next: Vec<_> = graph.edges(node).map(|e| (e.target(), *e.weight())).collect();
            next.sort();
            for (target, migration) in next {
                if target != start && came[target.index()].is_none() {
                    came[target.index()] = Some((node, migration));
                    queue.push_back(target);
                }
            }
        }
        None
    }
}

impl Pack {
    /// The migrations that lead from one version (or shape, written `version/variant`) to another:
    /// as few as possible, and among equal routes the one whose versions come first in the pack.
    pub fn route(&self, from: &str, to: &str) -> Result<Vec<MigrationRef<'_>>, NoRoute> {
        Ok(self.refs(&self.route_numbers(from, to)?))
    }

    pub(super) fn refs(&self, numbers: &[usize]) -> Vec<MigrationRef<'_>> {
        let one = |number: &usize| {
            let migration = &self.migrations[*number];
            MigrationRef {
                from: &migration.from,
                to: &migration.to,
                summary: &migration.summary,
                digest: migration.digest,
            }
        };
        numbers.iter().map(one).collect()
    }

    /// All migrations, in the pack's order.
    pub fn migrations(&self) -> impl ExactSizeIterator<Item = MigrationRef<'_>> {
        self.migrations.iter().map(|migration| MigrationRef {
            from: &migration.from,
            to: &migration.to,
            summary: &migration.summary,
            digest: migration.digest,
        })
    }

    pub(super) fn route_numbers(&self, from: &str, to: &str) -> Result<Vec<usize>, NoRoute> {
        for name in [from, to] {
            if !self.shapes.iter().any(|shape| shape.version == name || shape.name() == name) {
                return Err(NoRoute::UnknownVersion {
                    pack: self.name.clone(),
                    version: name.to_owned(),
                    known: self.versions().into_iter().map(str::to_owned).collect(),
                });
            }
        }
        self.graph.route(from, &[to]).ok_or_else(|| NoRoute::NotDeclared {
            pack: self.name.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }
}
