//! Entries' times against what others said of the log, and against one another (`store-layout.md`, "Times").
//!
//! What a witness cosigned at a time was there by then; an entry that holds its word was written after it. So
//! the anchors around an entry leave an interval for its time. Order in the log is by position: a clock that
//! went back is told, and is no finding by itself.

use std::cmp::Reverse;

use crate::base::clock::{Moment, TOLERANCE_MILLIS};

/// The times of a log's entries. Those of many that are written together are the same, and are held as one.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Stretch>);

/// Entries in a row with one time, in eight bytes: no moment needs more than seven.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    millis: [u8; 7],
    entries: u8,
}

impl Stretch {
    /// In the place of the time of what could not be read; no moment has it.
    const UNREAD: i64 = i64::MIN >> 8;

    fn of(time: Option<Moment>) -> Self {
        let [a, b, c, d, e, f, g, _] = time.map_or(Self::UNREAD, Moment::millis).to_le_bytes();
        Self { millis: [a, b, c, d, e, f, g], entries: 1 }
    }

    fn time(self) -> Option<Moment> {
        let [a, b, c, d, e, f, g] = self.millis;
        let millis = i64::from_le_bytes([0, a, b, c, d, e, f, g]) >> 8;
        (millis != Self::UNREAD).then(|| Moment::from_millis(millis))
    }
}

impl Times {
    /// Adds the next entry's; `None` for what could not be read.
    pub fn push(&mut self, time: Option<Moment>) {
        let next = Stretch::of(time);
        match self.0.last_mut() {
            Some(last) if last.millis == next.millis && last.entries < u8::MAX => last.entries += 1,
            _ => self.0.push(next),
        }
    }

    /// All of them, in order of the entries.
    fn each(&self) -> impl Iterator<Item = Option<Moment>> + '_ {
        self.0.iter().flat_map(|stretch| std::iter::repeat_n(stretch.time(), usize::from(stretch.entries)))
    }
}

/// What anchors say of when entries were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first so many entries were there at that time, by whose word.
    pub by: Vec<(u64, Moment, String)>,
    /// The entry of that index, and all after it, were not there before that time, by whose word.
    pub after: Vec<(u64, Moment, String)>,
}

/// A stretch of entries whose times cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The first entry.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// When the first was written, as the anchors have it.
    pub allowed: String,
    /// When it says that it was.
    pub stated: Moment,
}

/// Stretches of entries whose times lie outside what the anchors allow.
pub fn outside(times: &Times, bounds: &Bounds) -> Vec<Outside> {
    let (mut by, mut after) = (bounds.by.clone(), bounds.after.clone());
    by.sort_by_key(|(size, time, _)| (*size, Reverse(*time)));
    after.sort_by_key(|(index, time, _)| (*index, *time));
    // From here on each bound is the tightest of those that hold at its place.
    for at in (1..by.len()).rev() {
        if by[at].1 < by[at - 1].1 {
            (by[at - 1].1, by[at - 1].2) = (by[at].1, by[at].2.clone());
        }
    }
    for at in 1..after.len() {
        if after[at - 1].1 > after[at].1 {
            (after[at].1, after[at].2) = (after[at - 1].1, after[at - 1].2.clone());
        }
    }
    let mut found: Vec<Outside> = Vec::new();
    for (index, stated) in (0..).zip(times.each()) {
        let Some(stated) = stated else { continue };
        let latest = by.get(by.partition_point(|(size, ..)| *size <= index));
        let earliest = after.partition_point(|(from, ..)| *from <= index).checked_sub(1).map(|at| &after[at]);
        let late = latest.is_some_and(|(_, by, _)| stated.millis() - by.millis() > TOLERANCE_MILLIS);
        let early = earliest.is_some_and(|(_, after, _)| after.millis() - stated.millis() > TOLERANCE_MILLIS);
        if !late && !early {
            continue;
        }
        let (word, bound) = if late { ("not after", latest) } else { ("not before", earliest) };
        let allowed = bound.map(|(_, time, whom)| format!("{word} {time}, by {whom}")).unwrap_or_default();
        match found.last_mut() {
            Some(last) if last.last + 1 == index && last.allowed == allowed => last.last = index,
            _ => found.push(Outside { first: index, last: index, allowed, stated }),
        }
    }
    found
}

/// Entries whose time lies before that of the entry before them by more than clocks may be apart: the index,
/// the time before, the time.
pub fn backwards(times: &Times) -> Vec<(u64, Moment, Moment)> {
    let steps = (1..).zip(times.each().zip(times.each().skip(1)));
    let back = steps.filter_map(|(index, (before, now))| Some((index, before?, now?)));
    back.filter(|(_, before, now)| before.millis() - now.millis() > TOLERANCE_MILLIS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn held(all: impl IntoIterator<Item = Option<Moment>>) -> Times {
        let mut times = Times::default();
        all.into_iter().for_each(|time| times.push(time));
        times
    }

    fn times(minutes: &[i64]) -> Times {
        held(minutes.iter().map(|minute| Some(Moment::from_millis(minute * MINUTE))))
    }

    #[test]
    fn times_are_given_back_as_they_were_put_in() {
        let all = [None, Some(5), Some(5), None, None, Some(-5), Some(5), Some(5), Some(5)];
        let all = all.map(|millis| millis.map(Moment::from_millis));
        let times = held(all);
        assert_eq!((times.each().collect::<Vec<_>>(), times.0.len()), (all.to_vec(), 5));
        for end in [i64::MIN, -1, 0, i64::MAX].map(|end| Some(Moment::from_millis(end))) {
            assert_eq!(Stretch::of(end).time(), end);
            let many = held(std::iter::repeat_n(end, 600));
            assert_eq!((many.each().filter(|time| *time == end).count(), many.0.len()), (600, 3));
        }
        assert_eq!(size_of::<Stretch>(), 8);
    }

    fn bounds(by: &[(u64, i64)], after: &[(u64, i64)]) -> Bounds {
        let bound = |list: &[(u64, i64)]| {
            let list =
                list.iter().map(|(at, minute)| (*at, Moment::from_millis(minute * MINUTE), "w".to_owned()));
            list.collect()
        };
        Bounds { by: bound(by), after: bound(after) }
    }

    #[test]
    fn times_inside_what_anchors_allow_are_no_finding() {
        let log = times(&[0, 10, 20, 30, 40, 50]);
        for good in [bounds(&[], &[]), bounds(&[(2, 12), (4, 31), (6, 60)], &[(2, 15), (5, 45)])] {
            assert_eq!(outside(&log, &good), []);
        }
        // Clocks may be five minutes apart, and what cannot be read says nothing.
        assert_eq!(outside(&log, &bounds(&[(6, 45)], &[(0, 5)])), []);
        assert_eq!(outside(&held([None, None]), &bounds(&[(2, -100)], &[(0, 100)])), []);
    }

    #[test]
    fn times_outside_are_found_as_stretches_with_the_tightest_bound() {
        let found = |log: &[i64], bounds| -> Vec<(u64, u64, String)> {
            let found = outside(&times(log), &bounds);
            found.into_iter().map(|part| (part.first, part.last, part.allowed)).collect()
        };
        let said = |text: &str| text.to_owned();
        // Backdated: entries 3 and 4 say 10, and stand after a word of minute 25.
        let back = found(&[0, 10, 20, 10, 10, 50], bounds(&[(6, 60)], &[(2, 15), (3, 25), (5, 20)]));
        assert_eq!(back, [(3, 4, said("not before 1970-01-01T00:25:00.000Z, by w"))]);
        // A later bound holds for all after it, whatever weaker ones follow; the earliest holds for all before.
        assert_eq!(found(&[0, 0], bounds(&[], &[(0, 30), (1, 2)])).len(), 1);
        let late = found(&[99, 0, 99, 99], bounds(&[(1, 90), (3, 50), (4, 200)], &[]));
        assert_eq!(
            late,
            [(0, 0, said("not after 1970-01-01T00:50:00.000Z, by w")), (2, 2, late[0].2.clone())]
        );
    }

    #[test]
    fn times_that_go_back_beyond_the_tolerance_are_told_once_each() {
        let told: Vec<u64> =
            backwards(&times(&[0, 10, 5, 4, 20, 14, 13, 30])).iter().map(|(index, ..)| *index).collect();
        assert_eq!(told, [5]);
        assert_eq!(backwards(&held([i64::MAX, i64::MIN].map(|end| Some(Moment::from_millis(end))))).len(), 1);
    }
}
