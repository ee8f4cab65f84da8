//! A table of names that is asked often: which of the known names is this, if any?
//!
//! The names of members mostly differ in their length and their first and last letters, so a number
//! made of these leads nearly always to the one name that it can be.

use std::collections::BTreeMap;

use crate::base::json::same_text as same;

#[derive(Debug)]
pub(super) struct Names<T> {
    /// Entries by their number, with gaps; a name stands at its number or right after, gaps not passed.
    places: Vec<Option<(String, T)>>,
    shift: u32,
    len: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { places: Vec::new(), shift: 0, len: 0 }
    }
}

impl<T> Names<T> {
    pub fn new(entries: BTreeMap<String, T>) -> Self {
        let len = entries.len();
        if len == 0 {
            return Self::default();
        }
        // A quarter full: names are few, and a hit at the first look is worth some empty places.
        let size = (4 * len).next_power_of_two();
        let shift = u64::BITS - size.trailing_zeros();
        let mut places: Vec<_> = std::iter::repeat_with(|| None).take(size).collect();
        for (name, value) in entries {
            let mut at = number(name.as_bytes(), shift);
            while places[at].is_some() {
                at = (at + 1) % size;
            }
            places[at] = Some((name, value));
        }
        Self { places, shift, len }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn get(&self, name: &str) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        let mut at = number(name.as_bytes(), self.shift);
        loop {
            match &self.places[at] {
                Some((own, value)) if same(own.as_bytes(), name.as_bytes()) => return Some(value),
                Some(_) => at = (at + 1) % self.places.len(),
                None => return None,
            }
        }
    }
}

/// A number below the size of the table.
fn number(name: &[u8], shift: u32) -> usize {
    let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or(0));
    let len = name.len();
    let marks = (len as u64)
        | byte(0) << 8
        | byte(len / 2) << 16
        | byte(len.saturating_sub(1)) << 24
        | byte(len.saturating_sub(2)) << 32;
    // The upper bits of the product depend on all bits of the marks.
    (marks.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_entries_are_all_found_and_no_other() {
        let all: BTreeMap<String, usize> = (0..500).map(|i| (format!("member_{i}"), i)).collect();
        let names = Names::new(all.clone());
        assert!(all.iter().all(|(name, i)| names.get(name) == Some(i)));
        for other in ["", "member_", "member_500", "member_0\u{0}", "m"] {
            assert!(names.get(other).is_none(), "{other:?}");
        }
        assert!(Names::<u8>::default().get("").is_none());
        assert_eq!(Names::new(BTreeMap::from([(String::new(), 7)])).get(""), Some(&7));
    }
}
