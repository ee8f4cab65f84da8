//! Making a document that fails smaller, as long as it fails in the same way.

use crate::base::json::{Json, Pointer};

/// How often a smaller document is tried.
const TRIES: usize = 3000;

/// The smallest document found that still fails.
pub(super) fn shrink(document: Json, fails: &mut dyn FnMut(&Json) -> bool) -> Json {
    let mut best = document;
    let mut tries = 0;
    loop {
        let smaller = candidates(&best).find(|candidate| {
            tries += 1;
            tries <= TRIES && fails(candidate)
        });
        match smaller {
            Some(candidate) if tries <= TRIES => best = candidate,
            _ => return best,
        }
    }
}

/// Documents that are a little smaller, the largest leaps first.
fn candidates(value: &Json) -> impl Iterator<Item = Json> + '_ {
    let places = places(value);
    let removals = places.clone().into_iter().filter_map(|place| {
        let mut copy = value.clone();
        remove(&mut copy, &place)?;
        Some(copy)
    });
    let simpler = places.into_iter().flat_map(move |place| {
        let plain = at(value, &place).map(plain).unwrap_or_default();
        plain.into_iter().filter_map(move |plain| {
            let mut copy = value.clone();
            *at_mut(&mut copy, &place)? = plain;
            Some(copy)
        })
    });
    removals.chain(simpler)
}

/// Every place below the root.
pub(super) fn places(value: &Json) -> Vec<Pointer> {
    let mut places = Vec::new();
    visit(value, &Pointer::root(), &mut places);
    places
}

fn visit(value: &Json, place: &Pointer, places: &mut Vec<Pointer>) {
    let mut child = |name: String, value: &Json| {
        let place = place.child(name);
        places.push(place.clone());
        visit(value, &place, places);
    };
    match value {
        Json::Object(members) => members.iter().for_each(|(name, value)| child(name.clone(), value)),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| child(at.to_string(), value));
        }
        _ => {}
    }
}

/// Plainer values of the same type.
fn plain(value: &Json) -> Vec<Json> {
    let number = |text: &str| Json::Number(text.to_owned());
    match value {
        Json::Number(text) if text.contains(['.', 'e', 'E']) => {
            ["0.5", "1.5"].into_iter().filter(|plain| text.len() > plain.len()).map(number).collect()
        }
        Json::Number(text) if text.len() > 1 => vec![number("0"), number("1")],
        Json::String(text) if text.chars().count() > 1 => {
            let half: String = text.chars().take(text.chars().count() / 2).collect();
            vec![Json::from(""), Json::from("a"), Json::from(half)]
        }
        Json::Bool(true) => vec![Json::Bool(false)],
        _ => Vec::new(),
    }
}

/// The value at a place.
pub(super) fn at<'j>(value: &'j Json, place: &Pointer) -> Option<&'j Json> {
    place.tokens().try_fold(value, |value, token| match value {
        Json::Array(items) => items.get(token.parse::<usize>().ok()?),
        value => value.get(token),
    })
}

/// The value at a place, to be changed.
pub(super) fn at_mut<'j>(value: &'j mut Json, place: &Pointer) -> Option<&'j mut Json> {
    place.tokens().try_fold(value, |value, token| match value {
        Json::Array(items) => items.get_mut(token.parse::<usize>().ok()?),
        Json::Object(members) => members.iter_mut().find(|(name, _)| name == token).map(|(_, value)| value),
        _ => None,
    })
}

/// Takes out what is at a place.
pub(super) fn remove(value: &mut Json, place: &Pointer) -> Option<()> {
    let (parent, name) = place.split_last()?;
    match at_mut(value, &parent)? {
        Json::Array(items) => {
            let at = name.parse::<usize>().ok().filter(|at| *at < items.len())?;
            items.remove(at);
        }
        Json::Object(members) => {
            let at = members.iter().position(|(own, _)| own == name)?;
            members.remove(at);
        }
        _ => return None,
    }
    Some(())
}

/// Writes a value at a place, making the objects above it.
pub(super) fn put(value: &mut Json, place: &Pointer, new: Json) {
    let mut here = value;
    for token in place.tokens() {
        if !matches!(here, Json::Object(_) | Json::Array(_)) {
            *here = Json::Object(Vec::new());
        }
        here = match here {
            Json::Array(items) => match token.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                Some(item) => item,
                None => return,
            },
            Json::Object(members) => {
                let at = members.iter().position(|(name, _)| name == token).unwrap_or_else(|| {
                    members.push((token.to_owned(), Json::Null));
                    members.len() - 1
                });
                &mut members[at].1
            }
            _ => return,
        };
    }
    *here = new;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::{self, print_compact};

    #[test]
    fn failing_document_shrinks_to_what_makes_it_fail() {
        let text = br#"{"a":[1,2,{"bad":"long text","x":true}],"b":{"c":12345},"d":"e"}"#;
        let value = Json::from(json::scan(text).unwrap().root());
        let small = shrink(value, &mut |value| {
            (0..3).any(|n| at(value, &format!("/a/{n}/bad").parse().unwrap()).is_some())
        });
        assert_eq!(print_compact(&small), r#"{"a":[{"bad":""}]}"#);
    }

    #[test]
    fn shrinking_ends_where_everything_fails() {
        let value = Json::object([("a", Json::from("x")), ("b", Json::Null)]);
        assert_eq!(print_compact(&shrink(value, &mut |_| true)), "{}");
    }
}
