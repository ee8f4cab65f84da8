//! The keys of a log, replayed from its entries: who may sign what, and by whose word
//! (`store-layout.md`, "Keys of the log").
//!
//! The first key comes in without a statement: it is trusted on first use, or because it is pinned
//! elsewhere. Every later change is a statement signed by a key that counted at that place of the log.
//! Statements prove themselves, so a chain from a pinned key holds wherever the log was read.

use crate::format::entry::EntryKind;
use crate::format::key_statement::{KeyChange, KeyStatement};
use crate::note::{KeyId, SignedNote, VerifyingKey};

/// A blob that a key entry may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    /// The entry names none.
    Unnamed,
    /// It does, and the objects do not have it.
    Gone,
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// A key entry with the blobs that it names.
#[derive(Debug, Clone)]
pub struct KeyEvent {
    /// Its place in the log.
    pub entry: u64,
    /// `KeyAdded` or `KeyRetired`.
    pub kind: EntryKind,
    /// The text of the key, as kept.
    pub key: Blob,
    /// The signed statement, as kept.
    pub statement: Blob,
    /// The size up to which a retired key is trusted.
    pub trusted_to: Option<u64>,
}

/// The end of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// The entry that says so.
    pub entry: u64,
    /// Its signatures count for trees up to this size.
    pub trusted_to: u64,
}

/// One key of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The key.
    pub key: VerifyingKey,
    /// The entry that brought it in.
    pub added: u64,
    /// The key whose statement brought it in; `None` for the first.
    pub by: Option<KeyId>,
    /// Its retirement.
    pub retired: Option<Retired>,
}

impl LogKey {
    /// Whether it signs new checkpoints.
    pub fn is_current(&self) -> bool {
        self.retired.is_none()
    }

    /// Whether its signature counts on a tree of that size.
    pub fn counts_at(&self, size: u64) -> bool {
        self.retired.is_none_or(|retired| size <= retired.trusted_to)
    }
}

/// A key that is trusted because of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The key.
    pub key: VerifyingKey,
    /// The keys that lead to it, the pinned one first; empty when it is pinned itself.
    pub path: Vec<KeyId>,
}

/// All keys of the log, in the order in which they came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    /// The keys.
    pub keys: Vec<LogKey>,
    /// Entries that change nothing because nobody entitled says so, and why.
    pub problems: Vec<(u64, String)>,
    /// Entries whose key or statement cannot be read, so that what they change is not known. The blob that
    /// is gone is a finding of the objects.
    pub unread: Vec<u64>,
}

impl Keyring {
    /// Replays the key entries of the log of that origin.
    pub fn replay(origin: &str, events: &[KeyEvent]) -> Self {
        let mut ring = Self::default();
        for event in events {
            let gone = |blob: &Blob| matches!(blob, Blob::Gone);
            if gone(&event.key) || gone(&event.statement) {
                ring.unread.push(event.entry);
                continue;
            }
            if !ring.unread.is_empty() {
                // Whoever vouches here may have come in by what cannot be read.
                ring.take(origin, event).unwrap_or_else(|_| ring.unread.push(event.entry));
                continue;
            }
            if let Err(why) = ring.take(origin, event) {
                ring.problems.push((event.entry, why));
            }
        }
        ring
    }

    /// The key of that id.
    pub fn get(&self, id: KeyId) -> Option<&LogKey> {
        self.keys.iter().find(|known| known.key.id() == id)
    }

    /// The keys that sign new checkpoints.
    pub fn current(&self) -> impl Iterator<Item = &LogKey> {
        self.keys.iter().filter(|known| known.is_current())
    }

    fn take(&mut self, origin: &str, event: &KeyEvent) -> Result<(), String> {
        let Blob::Bytes(text) = &event.key else { return Err("it names no key".to_owned()) };
        let text = std::str::from_utf8(text).unwrap_or_default();
        let key: VerifyingKey =
            text.strip_suffix('\n').unwrap_or(text).parse().map_err(|error| format!("no key: {error}"))?;
        if key.name().as_str() != origin {
            return Err(format!("the key is named {}, not as the log", key.name()));
        }
        match (event.kind, event.trusted_to) {
            (EntryKind::KeyAdded, _) => self.add(origin, event, key),
            (_, Some(trusted_to)) => self.retire(origin, event, &key, trusted_to),
            (_, None) => Err("it does not say up to which size the key is trusted".to_owned()),
        }
    }

    fn add(&mut self, origin: &str, event: &KeyEvent, key: VerifyingKey) -> Result<(), String> {
        if self.get(key.id()).is_some() {
            return Err(format!("key {} came in before", key.id()));
        }
        // Whoever comes first must be able to vouch for those that follow.
        let first = self.keys.is_empty() && self.unread.is_empty() && key.vouches();
        let by = match (&event.statement, first) {
            (Blob::Bytes(statement), _) => {
                let change = KeyChange::Add(key.clone());
                Some(self.signers(origin, event.entry, statement, &change)?[0])
            }
            (_, true) => None,
            (_, false) => return Err("no statement of a key of the log brings it in".to_owned()),
        };
        self.keys.push(LogKey { key, added: event.entry, by, retired: None });
        Ok(())
    }

    fn retire(
        &mut self,
        origin: &str,
        event: &KeyEvent,
        key: &VerifyingKey,
        trusted_to: u64,
    ) -> Result<(), String> {
        if !self.current().any(|known| known.key == *key) {
            return Err(format!("key {} is not one that signs", key.id()));
        }
        if trusted_to > event.entry {
            return Err(format!("it trusts the key up to {trusted_to} entries, which the log did not have"));
        }
        let Blob::Bytes(statement) = &event.statement else {
            return Err("no statement of a key of the log retires it".to_owned());
        };
        let change = KeyChange::Retire { key: key.clone(), trusted_to };
        let signers = self.signers(origin, event.entry, statement, &change)?;
        let fallen = self.falls(key.id(), trusted_to);
        if signers.iter().all(|id| fallen.contains(id)) {
            return Err("it rests on the very key that it retires".to_owned());
        }
        let retired = Retired { entry: event.entry, trusted_to };
        for known in &mut self.keys {
            if known.key.id() == key.id() {
                known.retired = Some(retired);
            } else if fallen.contains(&known.key.id()) {
                let why =
                    format!("key {} was brought in by {} after it lost trust", known.key.id(), key.id());
                self.problems.push((known.added, why));
                known.retired = Some(Retired { entry: event.entry, trusted_to: known.added });
            }
        }
        Ok(())
    }

    /// The keys that fall with one: it, and what it brought in at or after that size.
    pub fn falls(&self, id: KeyId, trusted_to: u64) -> Vec<KeyId> {
        let mut fallen = vec![id];
        for known in &self.keys {
            if known.by.is_some_and(|by| fallen.contains(&by)) && known.added >= trusted_to {
                fallen.push(known.key.id());
            }
        }
        fallen
    }

    /// The current keys that signed a statement, which says exactly this.
    fn signers(
        &self,
        origin: &str,
        entry: u64,
        statement: &[u8],
        change: &KeyChange,
    ) -> Result<Vec<KeyId>, String> {
        let note = SignedNote::parse(statement).map_err(|error| error.to_string())?;
        let vouching = self.current().filter(|known| known.key.vouches());
        let keys: Vec<VerifyingKey> = vouching.map(|known| known.key.clone()).collect();
        let signers = note.verify(&keys).map_err(|error| format!("the statement: {error}"))?;
        let said: KeyStatement = note.text().parse().map_err(|error| format!("{error}"))?;
        if said.origin != origin || said.change != *change || said.size > entry {
            return Err("the statement says something else than the entry".to_owned());
        }
        Ok(signers.into_iter().map(VerifyingKey::id).collect())
    }

    /// The keys to be trusted by someone who trusts these: they themselves, and every key of the log
    /// that statements lead to from them.
    pub fn trusted_from(&self, pinned: &[VerifyingKey]) -> Vec<Trusted> {
        let mut trusted: Vec<Trusted> =
            pinned.iter().map(|key| Trusted { key: key.clone(), path: Vec::new() }).collect();
        // A key comes in after the one that vouches for it, so one pass reaches all.
        for known in &self.keys {
            if trusted.iter().any(|there| there.key == known.key) {
                continue;
            }
            let from = known.by.and_then(|by| self.get(by)).map(|by| &by.key);
            let Some(step) = from.and_then(|from| trusted.iter().find(|there| there.key == *from)) else {
                continue;
            };
            let path = [&step.path[..], &[step.key.id()]].concat();
            trusted.push(Trusted { key: known.key.clone(), path });
        }
        trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{MlDsaKey, SigningKey};

    const ORIGIN: &str = "example.org/log";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGIN.parse().unwrap(), &[seed; 32])
    }

    fn event(entry: u64, change: &KeyChange, by: Option<&SigningKey>) -> KeyEvent {
        let statement = KeyStatement { origin: ORIGIN.to_owned(), size: entry, change: change.clone() };
        let note = by.map(|by| SignedNote::sign(statement.to_string(), &[by]).unwrap().to_string());
        let (kind, key, trusted_to) = match change {
            KeyChange::Add(key) => (EntryKind::KeyAdded, key, None),
            KeyChange::Retire { key, trusted_to } => (EntryKind::KeyRetired, key, Some(*trusted_to)),
        };
        let statement = note.map_or(Blob::Unnamed, |note| Blob::Bytes(note.into_bytes()));
        KeyEvent { entry, kind, key: Blob::Bytes(format!("{key}\n").into_bytes()), statement, trusted_to }
    }

    fn add(entry: u64, new: u8, by: Option<u8>) -> KeyEvent {
        let change = KeyChange::Add(key(new).verifying_key().clone());
        event(entry, &change, by.map(key).as_ref())
    }

    fn retire(entry: u64, old: u8, trusted_to: u64, by: u8) -> KeyEvent {
        let change = KeyChange::Retire { key: key(old).verifying_key().clone(), trusted_to };
        event(entry, &change, Some(&key(by)))
    }

    fn problems(events: &[KeyEvent]) -> Vec<u64> {
        Keyring::replay(ORIGIN, events).problems.iter().map(|(entry, _)| *entry).collect()
    }

    fn reached(events: &[KeyEvent], pinned: u8) -> Vec<KeyId> {
        let ring = Keyring::replay(ORIGIN, events);
        let from = ring.trusted_from(&[key(pinned).verifying_key().clone()]);
        from.into_iter().map(|trusted| trusted.key.id()).collect()
    }

    fn id(seed: u8) -> KeyId {
        key(seed).verifying_key().id()
    }

    #[test]
    fn keyring_follows_statements_from_key_to_key() {
        let events = [add(0, 1, None), add(5, 2, Some(1)), retire(9, 1, 8, 2), add(20, 3, Some(2))];
        let ring = Keyring::replay(ORIGIN, &events);
        assert_eq!(ring.problems, []);
        assert_eq!(ring.current().map(|known| known.key.id()).collect::<Vec<_>>(), [id(2), id(3)]);
        let first = ring.get(id(1)).unwrap();
        assert!(first.counts_at(8) && !first.counts_at(9));
        assert_eq!(reached(&events, 1), [id(1), id(2), id(3)]);
        // Trust goes forward only.
        assert_eq!(reached(&events, 2), [id(2), id(3)]);
        assert_eq!(reached(&events, 9), [id(9)]);
    }

    #[test]
    fn key_that_nobody_entitled_brings_in_is_a_problem() {
        assert_eq!(problems(&[add(0, 1, None), add(5, 2, None)]), [5]);
        assert_eq!(problems(&[add(0, 1, None), add(5, 2, Some(2))]), [5]);
        assert_eq!(problems(&[add(0, 1, None), add(5, 1, Some(1))]), [5]);
        // A retired key brings nothing in, and retires nothing.
        let events = [add(0, 1, None), add(5, 2, Some(1)), retire(9, 1, 8, 2), add(20, 3, Some(1))];
        assert_eq!(problems(&events), [20]);
        assert_eq!(problems(&[&events[..3], &[retire(20, 2, 9, 1)]].concat()), [20]);
        // A statement made for another entry says something else.
        let mut moved = add(5, 2, Some(1));
        moved.key = add(5, 3, Some(1)).key;
        assert_eq!(problems(&[add(0, 1, None), moved]), [5]);
        let mut raised = retire(9, 1, 8, 2);
        raised.trusted_to = Some(9);
        assert_eq!(problems(&[add(0, 1, None), add(5, 2, Some(1)), raised]), [9]);
        assert_eq!(problems(&[add(0, 1, None), add(5, 2, Some(1)), retire(9, 1, 10, 2)]), [9]);
    }

    #[test]
    fn ml_dsa_key_comes_in_by_an_ed25519_key_and_vouches_for_nobody() {
        let second = VerifyingKey::MlDsa44(MlDsaKey::new(ORIGIN.parse().unwrap(), [7; 1312]));
        let change = KeyChange::Add(second.clone());
        // Not as the first key: nothing could follow it.
        assert_eq!(problems(&[event(0, &change, None)]), [0]);
        let events = [add(0, 1, None), event(5, &change, Some(&key(1)))];
        let ring = Keyring::replay(ORIGIN, &events);
        assert_eq!(
            (&ring.problems[..], ring.get(second.id()).map(|known| known.by)),
            (&[][..], Some(Some(id(1))))
        );
        assert_eq!(ring.trusted_from(std::slice::from_ref(&second)).len(), 1);
        assert_eq!(ring.trusted_from(&[key(1).verifying_key().clone()]).len(), 2);
        let retire = event(9, &KeyChange::Retire { key: second, trusted_to: 9 }, Some(&key(1)));
        assert_eq!(problems(&[&events[..], &[retire]].concat()), [0; 0]);
    }

    #[test]
    fn key_entry_that_cannot_be_read_is_no_problem_of_those_after_it() {
        let mut events = [add(0, 1, None), add(5, 2, Some(1)), add(9, 3, Some(2))];
        events[1].statement = Blob::Gone;
        let ring = Keyring::replay(ORIGIN, &events);
        assert_eq!((ring.problems, ring.unread), (vec![], vec![5, 9]));
        // A first key whose text is gone lets nobody pass for the first.
        events[0].key = Blob::Gone;
        let unvouched = add(12, 4, None);
        let ring = Keyring::replay(ORIGIN, &[&events[..], &[unvouched]].concat());
        assert_eq!((ring.keys.len(), ring.unread.len()), (0, 4));
    }

    #[test]
    fn key_that_a_stolen_key_brought_in_falls_with_it() {
        // Key 1 is stolen after size 6; the thief brings in key 3.
        let events = [add(0, 1, None), add(5, 2, Some(1)), add(7, 3, Some(1)), retire(9, 1, 6, 2)];
        let ring = Keyring::replay(ORIGIN, &events);
        assert_eq!(ring.problems.iter().map(|(entry, _)| *entry).collect::<Vec<_>>(), [7]);
        assert!(!ring.get(id(3)).unwrap().is_current() && ring.get(id(2)).unwrap().is_current());
        // What the thief's key says does not count, nor a retirement that cuts its own branch.
        assert_eq!(problems(&[&events[..3], &[retire(9, 1, 5, 2)]].concat()), [9]);
    }
}
