//! Changing the run map without reading all of it: what does not lie on the way of a changed run keeps
//! its record, so a change makes a new leaf and the nodes above it, and nothing else.

use super::{Link, MapKey, MapLeaf, MapNode, MapPath};

/// Where the nodes are kept. Records are only ever added.
pub trait NodeStore {
    /// What may go wrong underneath.
    type Error;
    /// Reads a node, which MUST hash to what the link says.
    fn read(&mut self, link: &Link) -> Result<MapNode, Self::Error>;
    /// Adds a node and says where it lies.
    fn put(&mut self, node: &MapNode) -> u64;
    /// The error for a node that goes back to a bit that was decided above it, which no map has.
    fn misplaced(&self, link: &Link) -> Self::Error;
}

fn add<S: NodeStore>(nodes: &mut S, node: MapNode) -> Link {
    Link { hash: node.hash(), at: nodes.put(&node) }
}

/// The part with a 0 and the part with a 1 at this bit; the leaves are sorted and agree before it.
fn split(leaves: &[MapLeaf], bit: u8) -> (&[MapLeaf], &[MapLeaf]) {
    leaves.split_at(leaves.partition_point(|leaf| !leaf.key.bit(bit)))
}

/// The map over these leaves, sorted by key, each key once.
pub fn build_map<S: NodeStore>(nodes: &mut S, leaves: &[MapLeaf]) -> Option<Link> {
    build(nodes, leaves, None)
}

/// The map with these leaves put in or replaced, sorted by key, each key once.
pub fn update_map<S: NodeStore>(
    nodes: &mut S,
    top: Option<Link>,
    changes: &[MapLeaf],
) -> Result<Option<Link>, S::Error> {
    match top {
        None => Ok(build_map(nodes, changes)),
        Some(top) => put(nodes, top, changes, 0).map(Some),
    }
}

/// A subtree of new leaves and at most one that is kept as it lies.
fn build<S: NodeStore>(nodes: &mut S, leaves: &[MapLeaf], kept: Option<(MapKey, Link)>) -> Option<Link> {
    let keys =
        [leaves.first().map(|leaf| leaf.key), leaves.last().map(|leaf| leaf.key), kept.map(|kept| kept.0)];
    let (low, high) = (keys.iter().flatten().min()?, keys.iter().flatten().max()?);
    let Some(bit) = low.first_difference(high) else {
        return Some(match (kept, leaves) {
            (Some((_, link)), _) => link,
            (None, leaves) => add(nodes, MapNode::Leaf(leaves[0])),
        });
    };
    let (zero, one) = split(leaves, bit);
    let on_side = |side: bool| kept.filter(|(key, _)| key.bit(bit) == side);
    let zero = build(nodes, zero, on_side(false))?;
    let one = build(nodes, one, on_side(true))?;
    Some(add(nodes, MapNode::Inner { bit, zero, one }))
}

/// Puts leaves into a subtree. All of them, and all that it holds, agree on the bits before `from`.
fn put<S: NodeStore>(nodes: &mut S, link: Link, changes: &[MapLeaf], from: u16) -> Result<Link, S::Error> {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return Ok(link) };
    let (bit, zero, one) = match nodes.read(&link)? {
        MapNode::Leaf(old) => {
            let replaced = changes.binary_search_by_key(&old.key, |leaf| leaf.key).is_ok();
            let kept = (!replaced).then_some((old.key, link));
            return Ok(build(nodes, changes, kept).unwrap_or(link));
        }
        MapNode::Inner { bit, zero, one } if u16::from(bit) >= from => (bit, zero, one),
        MapNode::Inner { .. } => return Err(nodes.misplaced(&link)),
    };
    // Bits without a node are those on which all keys below agree; a new key may differ there. Which
    // bits these are any leaf below tells.
    if u16::from(bit) > from {
        let held = any_key(nodes, zero)?;
        let differs = [first, last].into_iter().filter_map(|leaf| leaf.key.first_difference(&held)).min();
        if let Some(at) = differs.filter(|at| *at < bit) {
            let (low, high) = split(changes, at);
            let (inside, outside) = if held.bit(at) { (high, low) } else { (low, high) };
            let inside = put(nodes, link, inside, u16::from(at) + 1)?;
            let outside = build(nodes, outside, None).unwrap_or(inside);
            let (zero, one) = if held.bit(at) { (outside, inside) } else { (inside, outside) };
            return Ok(add(nodes, MapNode::Inner { bit: at, zero, one }));
        }
    }
    let (low, high) = split(changes, bit);
    let zero = put(nodes, zero, low, u16::from(bit) + 1)?;
    let one = put(nodes, one, high, u16::from(bit) + 1)?;
    Ok(add(nodes, MapNode::Inner { bit, zero, one }))
}

fn any_key<S: NodeStore>(nodes: &mut S, mut link: Link) -> Result<MapKey, S::Error> {
    loop {
        match nodes.read(&link)? {
            MapNode::Leaf(leaf) => return Ok(leaf.key),
            MapNode::Inner { zero, .. } => link = zero,
        }
    }
}

/// The way of a key through the map.
pub fn lookup<S: NodeStore>(nodes: &mut S, top: Option<Link>, key: &MapKey) -> Result<MapPath, S::Error> {
    let mut path = MapPath { steps: Vec::new(), leaf: None };
    let mut next = top;
    while let Some(link) = next {
        next = match nodes.read(&link)? {
            MapNode::Leaf(leaf) => {
                path.leaf = Some(leaf);
                None
            }
            MapNode::Inner { bit, .. } if path.steps.last().is_some_and(|(above, _)| *above >= bit) => {
                return Err(nodes.misplaced(&link));
            }
            MapNode::Inner { bit, zero, one } => {
                let (taken, other) = if key.bit(bit) { (one, zero) } else { (zero, one) };
                path.steps.push((bit, other.hash));
                Some(taken)
            }
        };
    }
    Ok(path)
}
