//! Oracles of `base/json` and `base/canonical`.

use serde_json::Value;
use strongroom::base::canonical::{PythonForm, python_dumps, rfc8785};
use strongroom::base::json::{
    self, Doc, EditError, Edited, Edits, Json, JsonError, JsonErrorKind as K, Kind, New, Node, Place, Tree,
};
use strongroom::base::limits;

use super::input::Input;

fn nodes<'d>(node: Node<'d>, out: &mut Vec<Node<'d>>) {
    out.push(node);
    for child in node.children() {
        nodes(child, out);
    }
}

fn depth(node: Node<'_>) -> usize {
    let below = node.children().map(depth).max().unwrap_or(0);
    below + usize::from(matches!(node.kind(), Kind::Array | Kind::Object))
}

/// A text is taken exactly when `serde_json` takes it, but for the rules that are stricter on
/// purpose, and then both see the same value in the same place.
pub fn scan(data: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(data);
    match json::scan(data) {
        Ok(doc) => {
            assert_eq!(doc.text().as_bytes(), data);
            tokens_make_up_the_text(&doc);
            match theirs {
                Ok(value) => same_as_serde(doc.root(), &value),
                Err(error) => assert!(excused(&doc, &error), "only serde_json refuses: {error}"),
            }
        }
        Err(error) => {
            place_is_right(data, &error);
            let stricter = matches!(
                error.kind,
                K::DuplicateMember { .. }
                    | K::NumberOverflow
                    | K::NumberTooLong { .. }
                    | K::TooDeep
                    | K::TooLarge { .. }
            );
            assert!(stricter || theirs.is_err(), "only the store refuses: {error}");
        }
    }
}

/// `serde_json` stops one level earlier, and rounds less exactly, which shows at the largest float.
fn excused(doc: &Doc<'_>, error: &serde_json::Error) -> bool {
    let why = error.to_string();
    let mut all = Vec::new();
    nodes(doc.root(), &mut all);
    (why.starts_with("recursion limit") && depth(doc.root()) == limits::JSON_DEPTH)
        || (why.starts_with("number out of range")
            && all.iter().any(|node| node.as_f64().is_some_and(|n| n.abs() > 1.797e308)))
}

/// Line and column are those that an editor shows for the byte.
fn place_is_right(data: &[u8], error: &JsonError) {
    assert!(error.byte <= data.len());
    let before = String::from_utf8_lossy(&data[..error.byte]);
    let line = before.matches('\n').count() + 1;
    assert_eq!(error.line as usize, line);
    // A byte that is no UTF-8 is no character, so there the count is the scanner's own.
    if std::str::from_utf8(&data[..error.byte]).is_ok() {
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        assert_eq!(error.column as usize, column);
    }
    assert!(!error.to_string().is_empty());
}

/// Spans, put together again with what JSON allows between them, are the text.
fn tokens_make_up_the_text(doc: &Doc<'_>) {
    let span = doc.root().span();
    let mut out = String::new();
    gap(doc.text(), 0..span.start, "", &mut out);
    rebuild(doc.text(), doc.root(), &mut out);
    gap(doc.text(), span.end..doc.text().len(), "", &mut out);
    assert_eq!(out, doc.text());
    let mut all = Vec::new();
    nodes(doc.root(), &mut all);
    // Finding a node by its pointer walks the document, so only small ones are looked at.
    for node in all.iter().filter(|_| all.len() <= 200) {
        assert_eq!(doc.at(&node.pointer()), Some(*node));
        let alone = json::scan(node.raw().as_bytes()).expect("a value's text is a document");
        assert!(alone.root().same_value(node));
    }
}

fn gap(text: &str, span: std::ops::Range<usize>, mark: &str, out: &mut String) {
    let between = &text[span];
    assert_eq!(between.trim_matches([' ', '\t', '\r', '\n']), mark);
    out.push_str(between);
}

fn rebuild(text: &str, node: Node<'_>, out: &mut String) {
    let span = node.span();
    if !matches!(node.kind(), Kind::Array | Kind::Object) {
        out.push_str(node.raw());
        return;
    }
    let mut at = span.start + 1;
    out.push_str(&text[span.start..at]);
    let keys: Vec<_> = node.members().map(|member| member.key_span()).collect();
    for (i, child) in node.children().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        match keys.get(i) {
            Some(key) => {
                gap(text, at..key.start, comma, out);
                out.push_str(&text[key.clone()]);
                gap(text, key.end..child.span().start, ":", out);
            }
            None => gap(text, at..child.span().start, comma, out),
        }
        rebuild(text, child, out);
        at = child.span().end;
    }
    gap(text, at..span.end - 1, "", out);
    out.push_str(&text[span.end - 1..span.end]);
}

fn same_as_serde(node: Node<'_>, value: &Value) {
    match (node.kind(), value) {
        (Kind::Null, Value::Null) => {}
        (Kind::Bool(ours), Value::Bool(theirs)) => assert_eq!(ours, *theirs),
        (Kind::String, Value::String(theirs)) => assert_eq!(node.as_str().as_deref(), Some(theirs.as_str())),
        (Kind::Number, Value::Number(theirs)) => {
            if let Some(n) = node.as_u64() {
                assert_eq!(theirs.as_u64(), Some(n));
            }
            let (a, b) = (node.as_f64().expect("a number"), theirs.as_f64().expect("a number"));
            // `serde_json` does not round to the nearest float.
            assert!((a - b).abs() <= a.abs() * 1e-14 + f64::MIN_POSITIVE, "{} is {b}", node.raw());
        }
        (Kind::Array, Value::Array(theirs)) => {
            assert_eq!(node.len(), theirs.len());
            node.elements().zip(theirs).for_each(|(a, b)| same_as_serde(a, b));
        }
        (Kind::Object, Value::Object(theirs)) => {
            assert_eq!(node.len(), theirs.len());
            for member in node.members() {
                same_as_serde(member.value(), &theirs[member.key().as_ref()]);
            }
        }
        (ours, theirs) => panic!("{ours:?} is {theirs}"),
    }
}

/// One edit of a fuzzer's choosing.
enum Op<'d> {
    Replace(Node<'d>, New<'d>),
    Rename(Node<'d>, String),
    Remove(Node<'d>),
    Insert(Node<'d>, Place, String, New<'d>),
    Append(Node<'d>, New<'d>),
}

impl<'d> Op<'d> {
    fn target(&self) -> Node<'d> {
        match self {
            Self::Replace(node, _)
            | Self::Rename(node, _)
            | Self::Remove(node)
            | Self::Insert(node, ..)
            | Self::Append(node, _) => *node,
        }
    }
}

/// The text after an edit is the text before with exactly the edits in it. The input is a document, a
/// zero byte, a new value, a zero byte, and choices.
pub fn edit(data: &[u8]) {
    let mut parts = data.splitn(3, |b| *b == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (text, new, choices) = (part(), part(), part());
    let (Ok(doc), Ok(new)) = (json::scan(text), json::scan(new)) else { return };
    let mut all = Vec::new();
    nodes(doc.root(), &mut all);
    let mut input = Input::new(choices);
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < 8 {
        let what = input.byte();
        let node = all[input.below(all.len())];
        ops.push(choose(what, node, new.root(), &mut input));
    }
    // Edits that exclude each other are refused; what is left without the last may not be.
    let edited = loop {
        match apply(&doc, &ops) {
            Ok(edited) => break edited,
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        ops.pop();
    };
    only_splices_differ(text, &edited);
    no_edit_was_lost(&ops);
    // Values nested into each other may be deeper than a document can be.
    match json::scan(&edited.bytes) {
        Ok(after) => match expected(doc.root(), &ops) {
            Some(want) => matches_want(after.root(), &want),
            None => panic!("the root was removed"),
        },
        Err(error) => {
            assert!(matches!(error.kind, K::TooDeep), "{error}");
        }
    }
}

fn apply<'d>(doc: &'d Doc<'d>, ops: &[Op<'d>]) -> Result<Edited, EditError> {
    let mut edits = Edits::new(doc);
    for op in ops {
        match op {
            Op::Replace(node, new) => edits.replace(*node, new.clone()),
            Op::Rename(node, key) => edits.rename(*node, key.clone()),
            Op::Remove(node) => edits.remove(*node),
            Op::Insert(node, place, key, new) => edits.insert(*node, place.clone(), key.clone(), new.clone()),
            Op::Append(node, new) => edits.append(*node, new.clone()),
        };
    }
    edits.apply()
}

fn choose<'d>(what: u8, node: Node<'d>, new: Node<'d>, input: &mut Input<'_>) -> Op<'d> {
    const KEYS: [&str; 5] = ["n", "a", "\u{e9}\"\\", "", "\u{1f600}\n"];
    let key = |input: &mut Input<'_>| KEYS[input.below(KEYS.len())].to_owned();
    let value = match what >> 4 & 3 {
        0 => New::Copy(new),
        1 => New::Within(vec!["w".to_owned(), "x\t".to_owned()], new),
        2 => New::Tree(Tree::Array(vec![
            Tree::Node(new),
            Tree::Object(vec![
                ("t\"".to_owned(), Tree::Node(new)),
                ("v".to_owned(), Tree::Value(Json::Null)),
            ]),
        ])),
        _ => New::Value(Json::from(new)),
    };
    match what % 5 {
        0 => Op::Replace(node, value),
        1 => Op::Rename(node, key(input)),
        2 => Op::Remove(node),
        3 if node.kind() == Kind::Array => Op::Append(node, value),
        _ => {
            let members: Vec<_> = node.members().map(|member| member.key().into_owned()).collect();
            let place = match input.below(members.len() + 1) {
                0 => Place::End,
                n => Place::After(members[n - 1].clone()),
            };
            Op::Insert(node, place, key(input), value)
        }
    }
}

fn only_splices_differ(before: &[u8], edited: &Edited) {
    let (mut made, mut at) = (Vec::new(), 0);
    for splice in &edited.splices {
        assert!(splice.before.start >= at && splice.before.end <= before.len());
        made.extend_from_slice(&before[at..splice.before.start]);
        assert_eq!(made.len(), splice.after.start);
        made.extend_from_slice(&edited.bytes[splice.after.clone()]);
        at = splice.before.end;
    }
    made.extend_from_slice(&before[at..]);
    assert!(made == edited.bytes, "bytes outside the edits differ");
    assert!(json::outside_is_equal(before, &edited.bytes, &edited.splices));
}

/// An edit inside something that another edit takes away would be lost without a word.
fn no_edit_was_lost(ops: &[Op<'_>]) {
    for (i, gone) in ops.iter().enumerate() {
        let (Op::Replace(node, _) | Op::Remove(node)) = gone else { continue };
        for (j, other) in ops.iter().enumerate() {
            let target = other.target();
            let both_removed = matches!((gone, other), (Op::Remove(_), Op::Remove(_))) && target == *node;
            // The name of a replaced member lies outside its value.
            let named =
                matches!((gone, other), (Op::Replace(..), Op::Rename(..) | Op::Remove(_))) && target == *node;
            let inside = std::iter::successors(Some(target), |node| node.parent()).any(|up| up == *node);
            assert!(i == j || both_removed || named || !inside, "an edit of {target:?} was lost");
        }
    }
}

/// A value as it must come out.
enum Want<'d> {
    /// Spelled as it was.
    Spelled(Node<'d>),
    /// Of this value, spelled as the editor likes.
    Value(Json),
    Array(Vec<Want<'d>>),
    /// Members with their names, and the token of a name that must have stayed.
    Object(Vec<(String, Option<&'d str>, Want<'d>)>),
}

fn want_new<'d>(new: &New<'d>) -> Want<'d> {
    match new {
        New::Value(value) => Want::Value(value.clone()),
        New::Known(value) => Want::Value((*value).clone()),
        New::Copy(node) => Want::Spelled(*node),
        New::Within(names, node) => names
            .iter()
            .rev()
            .fold(Want::Spelled(*node), |inner, name| Want::Object(vec![(name.clone(), None, inner)])),
        New::Tree(tree) => want_tree(tree),
    }
}

fn want_tree<'d>(tree: &Tree<'d>) -> Want<'d> {
    match tree {
        Tree::Value(value) => Want::Value(value.clone()),
        Tree::Node(node) => Want::Spelled(*node),
        Tree::Array(items) => Want::Array(items.iter().map(want_tree).collect()),
        Tree::Object(members) => {
            Want::Object(members.iter().map(|(name, value)| (name.clone(), None, want_tree(value))).collect())
        }
    }
}

/// What the edits make of a value by their definition; `None` where it is removed.
fn expected<'d>(node: Node<'d>, ops: &[Op<'d>]) -> Option<Want<'d>> {
    if ops.iter().any(|op| matches!(op, Op::Remove(gone) if *gone == node)) {
        return None;
    }
    let replaced = ops.iter().find_map(|op| match op {
        Op::Replace(old, new) if *old == node => Some(want_new(new)),
        _ => None,
    });
    if replaced.is_some() {
        return replaced;
    }
    let children: Vec<_> = node.children().collect();
    let kept: Vec<_> = children.iter().map(|child| expected(*child, ops)).collect();
    // Additions by the number of kept items before them: at one place they keep their order.
    let additions = ops.iter().filter_map(|op| {
        let (place, key, new) = match op {
            Op::Insert(into, place, key, new) if *into == node => (Some(place), key.clone(), new),
            Op::Append(into, new) if *into == node => (None, String::new(), new),
            _ => return None,
        };
        let items = match place {
            Some(Place::After(name)) => {
                children.iter().position(|child| child.key().as_deref() == Some(name))? + 1
            }
            _ => children.len(),
        };
        Some((kept[..items].iter().flatten().count(), key, want_new(new)))
    });
    let mut additions: Vec<_> = additions.collect();
    additions.sort_by_key(|(place, ..)| *place);
    let mut additions = additions.into_iter().peekable();
    let mut out = Vec::new();
    let mut place = 0;
    let mut push = |place: usize, out: &mut Vec<_>| {
        while let Some((_, key, want)) = additions.next_if(|(at, ..)| *at == place) {
            out.push((key, None, want));
        }
    };
    push(0, &mut out);
    for (child, want) in children.iter().zip(kept) {
        let Some(want) = want else { continue };
        let renamed = ops.iter().find_map(|op| match op {
            Op::Rename(old, key) if old == child => Some(key.clone()),
            _ => None,
        });
        let member = node.members().find(|member| member.value() == *child);
        let token = member.filter(|_| renamed.is_none()).map(|member| key_token(*child, member.key_span()));
        let key = renamed.or_else(|| child.key().map(|key| key.into_owned())).unwrap_or_default();
        out.push((key, token, want));
        place += 1;
        push(place, &mut out);
    }
    Some(match node.kind() {
        Kind::Object => Want::Object(out),
        Kind::Array => Want::Array(out.into_iter().map(|(.., want)| want).collect()),
        _ => Want::Spelled(node),
    })
}

/// The token of a member's name, found from the text before its value.
fn key_token<'d>(value: Node<'d>, span: std::ops::Range<usize>) -> &'d str {
    let parent = value.parent().expect("a member has an object");
    &parent.raw()[span.start - parent.span().start..span.end - parent.span().start]
}

fn matches_want(node: Node<'_>, want: &Want<'_>) {
    match want {
        Want::Spelled(source) => same_spelling(node, *source),
        Want::Value(value) => same_in_order(node, value),
        Want::Array(elements) => {
            assert_eq!((node.kind(), node.len()), (Kind::Array, elements.len()), "{}", node.raw());
            node.elements().zip(elements).for_each(|(node, want)| matches_want(node, want));
        }
        Want::Object(members) => {
            assert_eq!((node.kind(), node.len()), (Kind::Object, members.len()), "{}", node.raw());
            for (member, (key, token, want)) in node.members().zip(members) {
                assert_eq!(member.key(), *key);
                if let Some(token) = token {
                    assert_eq!(key_token(member.value(), member.key_span()), *token);
                }
                matches_want(member.value(), want);
            }
        }
    }
}

fn same_spelling(node: Node<'_>, source: Node<'_>) {
    assert_eq!((node.kind(), node.len()), (source.kind(), source.len()));
    if !matches!(node.kind(), Kind::Array | Kind::Object) {
        assert_eq!(node.raw(), source.raw());
    }
    for (a, b) in node.members().zip(source.members()) {
        assert_eq!(key_token(a.value(), a.key_span()), key_token(b.value(), b.key_span()));
    }
    node.children().zip(source.children()).for_each(|(a, b)| same_spelling(a, b));
}

fn same_in_order(node: Node<'_>, value: &Json) {
    assert!(value.is(&node), "{} is not {value:?}", node.raw());
    if let Json::Object(members) = value {
        assert!(node.members().zip(members).all(|(a, (key, _))| a.key() == *key));
    }
}

/// Canonical forms read back as the same value, and their form is that of itself.
pub fn canonical(data: &[u8]) {
    let Ok(doc) = json::scan(data) else { return };
    for form in [PythonForm::Default, PythonForm::Compact] {
        let dumped = python_dumps(doc.root(), form, None);
        let back = json::scan(dumped.as_bytes()).expect("what is dumped is JSON");
        same_as_python(back.root(), doc.root());
        assert_eq!(python_dumps(back.root(), form, None), dumped);
        assert!(form == PythonForm::Compact || dumped.is_ascii());
        let mut all = Vec::new();
        nodes(back.root(), &mut all);
        for node in all {
            assert!(node.members().map(|member| member.key()).is_sorted());
        }
    }
    let value = doc.root().to_value();
    match rfc8785(&value) {
        Ok(bytes) => {
            let back = json::scan(&bytes).expect("a canonical form is JSON");
            assert_eq!(back.root().to_value(), value);
            assert_eq!(rfc8785(&back.root().to_value()).expect("it was canonical"), bytes);
            let mut all = Vec::new();
            nodes(back.root(), &mut all);
            for node in all {
                let keys = node.members().map(|member| member.key().encode_utf16().collect::<Vec<_>>());
                assert!(keys.is_sorted());
            }
        }
        Err(error) => {
            let mut all = Vec::new();
            nodes(doc.root(), &mut all);
            let unsafe_number = |node: &Node<'_>| {
                node.as_f64().is_some_and(|n| n.abs() > 9_007_199_254_740_991.0)
                    || (node.kind() == Kind::Number && node.raw().contains(['.', 'e', 'E']))
                    || node.raw() == "-0"
            };
            assert!(all.iter().any(unsafe_number), "{error}");
        }
    }
}

/// Python tells integers from floats by their spelling and keeps the digits of the former.
fn same_as_python(dumped: Node<'_>, source: Node<'_>) {
    assert_eq!((dumped.kind(), dumped.len()), (source.kind(), source.len()));
    match source.kind() {
        Kind::Number if source.raw().contains(['.', 'e', 'E']) => {
            let bits = |node: Node<'_>| node.as_f64().map(f64::to_bits);
            assert_eq!(bits(dumped), bits(source));
            assert!(dumped.raw().contains(['.', 'e']));
        }
        Kind::Number => assert_eq!(dumped.raw(), if source.raw() == "-0" { "0" } else { source.raw() }),
        Kind::String => assert_eq!(dumped.as_str(), source.as_str()),
        Kind::Array => dumped.elements().zip(source.elements()).for_each(|(a, b)| same_as_python(a, b)),
        Kind::Object => source.members().for_each(|member| {
            let other = dumped.get(&member.key()).expect("no member is lost");
            same_as_python(other, member.value());
        }),
        Kind::Null | Kind::Bool(_) => {}
    }
}
