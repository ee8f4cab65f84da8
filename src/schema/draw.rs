//! The version graph of a pack, drawn: as a tree of text, and as SVG.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::end::Destination;
use super::pack::Pack;

/// The graph as it is drawn: a version is one node, unless something names one of its variants.
struct Picture<'p> {
    nodes: Vec<Drawn>,
    /// From, to, what it is about.
    edges: Vec<(usize, usize, &'p str)>,
}

struct Drawn {
    name: String,
    /// Variants that are drawn as this one node.
    variants: Vec<String>,
    note: Option<String>,
    head: bool,
}

impl Drawn {
    fn text(&self) -> String {
        match self.variants.as_slice() {
            [] => self.name.clone(),
            variants => format!("{} ({})", self.name, variants.join(", ")),
        }
    }
}

fn picture(pack: &Pack) -> Picture<'_> {
    let split: Vec<&str> = pack
        .migrations
        .iter()
        .flat_map(|migration| [migration.from.as_str(), migration.to.as_str()])
        .chain(pack.ends.iter().map(|end| end.version.as_str()))
        .chain([pack.head.as_str()])
        .filter(|name| name.contains('/') && pack.version_of(name) != *name)
        .map(|name| pack.version_of(name))
        .collect();
    let mut nodes: Vec<Drawn> = Vec::new();
    for shape in &pack.shapes {
        let own = split.contains(&shape.version.as_str());
        let name = if own { shape.name() } else { shape.version.clone() };
        if let Some(node) = nodes.iter_mut().find(|node| node.name == name) {
            node.variants.extend(shape.variant.clone());
            continue;
        }
        let note = match pack.destination(&shape.name()) {
            Destination::Stuck(end) => Some(format!("stuck: {}", end.reason)),
            Destination::End(end, route) if route.is_empty() => Some(format!("end: {}", end.reason)),
            Destination::Nowhere => Some("no way to the head".to_owned()),
            _ => None,
        };
        let head = name == pack.head || shape.version == pack.head;
        let variants = if own { Vec::new() } else { shape.variant.clone().into_iter().collect() };
        nodes.push(Drawn { name, variants, note, head });
    }
    let mut edges = Vec::new();
    for migration in &pack.migrations {
        let ends = |name: &str| -> Vec<usize> {
            let at = |(at, node): (usize, &Drawn)| {
                (node.name == name || pack.version_of(&node.name) == name).then_some(at)
            };
            nodes.iter().enumerate().filter_map(at).collect()
        };
        for from in ends(&migration.from) {
            for to in ends(&migration.to) {
                edges.push((from, to, migration.summary.as_str()));
            }
        }
    }
    Picture { nodes, edges }
}

impl Picture<'_> {
    fn next(&self, from: usize) -> impl Iterator<Item = (usize, &str)> {
        self.edges.iter().filter(move |edge| edge.0 == from).map(|edge| (edge.1, edge.2))
    }

    /// Where a drawing begins: what nothing leads to, and what only a circle leads to.
    fn roots(&self) -> Vec<usize> {
        let mut reached = vec![false; self.nodes.len()];
        let mut roots = Vec::new();
        let is_first = |node: &usize| self.edges.iter().all(|edge| edge.1 != *node);
        let all = 0..self.nodes.len();
        for node in all.clone().filter(is_first).chain(all) {
            if reached[node] {
                continue;
            }
            roots.push(node);
            let mut open = vec![node];
            while let Some(node) = open.pop() {
                if !std::mem::replace(&mut reached[node], true) {
                    open.extend(self.next(node).map(|(to, _)| to));
                }
            }
        }
        roots
    }

    /// How far from a root each node lies.
    fn layers(&self) -> Vec<usize> {
        let mut layers: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut open: std::collections::VecDeque<(usize, usize)> =
            self.roots().into_iter().map(|root| (root, 0)).collect();
        while let Some((node, layer)) = open.pop_front() {
            if layers[node].is_none() {
                layers[node] = Some(layer);
                open.extend(self.next(node).map(|(to, _)| (to, layer + 1)));
            }
        }
        // A node with several ways to it stands behind all that lead to it, where there is no circle.
        let mut layers: Vec<usize> = layers.into_iter().map(Option::unwrap_or_default).collect();
        for _ in 0..self.nodes.len() {
            for &(from, to, _) in &self.edges {
                let back = self.edges.iter().any(|edge| (edge.0, edge.1) == (to, from));
                if !back && layers[to] <= layers[from] && layers[from] + 1 < self.nodes.len() {
                    layers[to] = layers[from] + 1;
                }
            }
        }
        layers
    }

    fn tree(&self, node: usize, before: &str, drawn: &mut Vec<bool>, out: &mut String) {
        let mut text = self.nodes[node].text();
        if self.nodes[node].head {
            text.push_str(" (head)");
        }
        if let Some(note) = &self.nodes[node].note {
            let _ = write!(text, " ({note})");
        }
        let seen = std::mem::replace(&mut drawn[node], true);
        let next: Vec<(usize, &str)> = self.next(node).collect();
        if seen && !next.is_empty() {
            text.push_str(", as above");
        }
        out.push_str(&text);
        out.push('\n');
        if seen {
            return;
        }
        for (at, (to, summary)) in next.iter().enumerate() {
            let last = at + 1 == next.len();
            if !summary.is_empty() {
                let _ = writeln!(out, "{before}│   {summary}");
            }
            let _ = write!(out, "{before}{}", if last { "└─> " } else { "├─> " });
            let below = format!("{before}{}", if last { "    " } else { "│   " });
            self.tree(*to, &below, drawn, out);
        }
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no control characters.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

impl Pack {
    /// The version graph as a tree of text.
    pub fn graph_text(&self) -> String {
        let picture = picture(self);
        let mut out = String::new();
        let mut drawn = vec![false; picture.nodes.len()];
        for root in picture.roots() {
            picture.tree(root, "", &mut drawn, &mut out);
        }
        out
    }

    /// The version graph as an SVG image.
    pub fn graph_svg(&self) -> String {
        const WIDE: usize = 90;
        const HIGH: usize = 64;
        let picture = picture(self);
        let layers = picture.layers();
        let width = |node: &Drawn| 24 + 8 * node.text().chars().count();
        let mut columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (node, layer) in layers.iter().enumerate() {
            columns.entry(*layer).or_default().push(node);
        }
        let mut places = vec![(0, 0); picture.nodes.len()];
        let (mut x, mut height) = (20, 0);
        for column in columns.values() {
            for (row, &node) in column.iter().enumerate() {
                places[node] = (x, 20 + row * HIGH);
            }
            height = height.max(column.len() * HIGH);
            x += column.iter().map(|&node| width(&picture.nodes[node])).max().unwrap_or(0) + WIDE;
        }
        let (wide, high) = (x - WIDE + 20, height + 16);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
             viewBox=\"0 0 {wide} {high}\" font-family=\"monospace\" font-size=\"13\">\n\
             <title>{} {}</title>\n\
             <defs><marker id=\"tip\" markerWidth=\"9\" markerHeight=\"8\" refX=\"8\" refY=\"4\" orient=\"auto\">\
             <path d=\"M0,0 L9,4 L0,8 z\" fill=\"#555\"/></marker></defs>\n",
            escape(&self.name),
            escape(&self.version)
        );
        for &(from, to, summary) in &picture.edges {
            let (x1, y1) = (places[from].0 + width(&picture.nodes[from]), places[from].1 + 16);
            let (x2, y2) = (places[to].0, places[to].1 + 16);
            let path = if x2 > x1 {
                let middle = (x1 + x2) / 2;
                format!("M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}")
            } else {
                // A way back goes below the boxes.
                let (x1, x2) = (places[from].0 + 20, places[to].0 + 20);
                let low = y1.max(y2) + 40;
                format!("M{x1},{} C{x1},{low} {x2},{low} {x2},{}", y1 + 16, y2 + 16)
            };
            let _ = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#tip)\"><title>{}</title></path>",
                escape(summary)
            );
        }
        for (node, &(x, y)) in picture.nodes.iter().zip(&places) {
            let fill = match (node.head, &node.note) {
                (true, _) => "#cfe8cf",
                (false, Some(_)) => "#eee",
                (false, None) => "#fff",
            };
            let _ = writeln!(
                out,
                "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"32\" rx=\"6\" fill=\"{fill}\" \
                 stroke=\"#333\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
                escape(node.note.as_deref().unwrap_or(if node.head { "head" } else { "" })),
                width(node),
                x + 12,
                y + 21,
                escape(&node.text())
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graph_of_a_built_in_pack_is_a_tree_and_an_image() {
        let pack = Pack::builtin("sigilzero").expect("built in");
        let text = pack.graph_text();
        assert!(
            text.starts_with("1.0.0\n│   Name the job, list the input snapshots\n├─> 1.1.0 (a, b, c, d)\n"),
            "{text}"
        );
        assert!(text.ends_with("└─> 1.2.0 (head)\n"), "{text}");
        let svg = pack.graph_svg();
        assert_eq!(svg.matches("<rect").count(), 3);
        assert_eq!(svg.matches("marker-end").count(), 3);
        assert!(escape("<a & \"b\">\u{1}") == "&lt;a &amp; &quot;b&quot;&gt;\u{fffd}");
    }
}
