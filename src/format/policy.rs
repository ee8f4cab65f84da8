//! Whose word on a log counts, C2SP tlog-policy: log keys, witnesses, groups of them, a quorum. A text that
//! lies with whoever checks, never in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::RecordError;
use crate::base::clock::{Moment, TOLERANCE_MILLIS};
use crate::note::{KeyError, NoteError, SignedNote, VerifyingKey, WitnessKey};

const WHAT: &str = "policy";
/// More bytes than this are no policy: thousands of witnesses fit.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

/// A rule that cosignatures meet or do not.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// The witness of that place in the list.
    Witness(usize),
    /// At least `least` of the members.
    Group { least: usize, members: Vec<Rule> },
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Any of these logs is meant.
    pub logs: Vec<VerifyingKey>,
    /// The witnesses that rules may name.
    pub witnesses: Vec<WitnessKey>,
    quorum: Option<Rule>,
}

/// What a policy says of a checkpoint's cosignatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Whether the quorum cosigned.
    pub met: bool,
    /// Who cosigned, and when, in seconds since 1970.
    pub by: Vec<(String, u64)>,
    /// The latest time by which as many had cosigned as the quorum takes: so recently the tree was shown to
    /// them. `None` without a quorum of witnesses.
    pub time: Option<u64>,
}

impl fmt::Display for Judged {
    /// Who cosigned and when.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by =
            self.by.iter().map(|(name, seconds)| format!("{name} at {}", Moment::from_seconds(*seconds)));
        f.write_str(&by.collect::<Vec<_>>().join(", "))
    }
}

/// Why the time of a quorum is not fresh, if it is not: what was asked, and what there is. `limit` is in
/// milliseconds.
pub fn staleness(time: Option<u64>, limit: i64, now: Moment) -> Option<(String, String)> {
    let asked = format!("cosignatures at most {} s old", limit / 1000);
    let Some(time) = time.map(Moment::from_seconds) else {
        return Some((asked, "no time that a quorum vouches for".to_owned()));
    };
    let age = now.millis() - time.millis();
    match age {
        age if age > limit => Some((asked, format!("{time}, {} s ago", age / 1000))),
        age if age < -TOLERANCE_MILLIS => Some((asked, format!("{time}, {} s in the future", -age / 1000))),
        _ => None,
    }
}

impl Rule {
    /// The latest time at which still enough had cosigned at or after it.
    fn time(&self, times: &[Option<u64>]) -> Option<u64> {
        match self {
            Self::Witness(at) => times[*at],
            Self::Group { least, members } => {
                let mut met: Vec<u64> = members.iter().filter_map(|member| member.time(times)).collect();
                met.sort_unstable_by(|a, b| b.cmp(a));
                met.get(least - 1).copied()
            }
        }
    }

    fn show(&self, witnesses: &[WitnessKey]) -> String {
        match self {
            Self::Witness(at) => witnesses[*at].name().to_string(),
            Self::Group { least, members } => {
                let members: Vec<String> = members.iter().map(|member| member.show(witnesses)).collect();
                format!("{least} of ({})", members.join(", "))
            }
        }
    }
}

impl fmt::Display for Policy {
    /// The quorum, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.quorum {
            None => f.write_str("no witness"),
            Some(rule) => f.write_str(&rule.show(&self.witnesses)),
        }
    }
}

impl Policy {
    /// Reads a policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(bad(None, "it is over the limit of 1 MiB"));
        }
        if bytes.iter().any(|b| matches!(b, 0..=8 | 11..=31 | 127)) {
            return Err(bad(None, "it has control characters other than tab and newline"));
        }
        let mut reader = Reader::default();
        for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let words: Vec<&[u8]> =
                line.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
            if words.first().is_some_and(|word| word[0] != b'#') {
                reader.line(&words).map_err(|why| bad(Some(number + 1), &why))?;
            }
        }
        let quorum = reader.quorum.ok_or_else(|| bad(None, "it has no quorum line"))?;
        Ok(Self { logs: reader.logs, witnesses: reader.witnesses, quorum })
    }

    /// Whether it asks for any cosignature.
    pub fn asks_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Judges a note's cosignatures. A wrong one under a witness's name and id is an error.
    pub fn judge(&self, note: &SignedNote) -> Result<Judged, NoteError> {
        let times: Vec<Option<u64>> =
            self.witnesses.iter().map(|witness| witness.cosigned(note)).collect::<Result<_, _>>()?;
        let named = self.witnesses.iter().zip(&times);
        let by = named.filter_map(|(witness, time)| Some((witness.name().to_string(), (*time)?))).collect();
        let time = self.quorum.as_ref().and_then(|rule| rule.time(&times));
        Ok(Judged { met: self.quorum.is_none() || time.is_some(), by, time })
    }
}

fn bad(line: Option<usize>, why: &str) -> RecordError {
    let why = line.map_or_else(|| why.to_owned(), |line| format!("line {line}: {why}"));
    RecordError::Inconsistent { what: WHAT, why }
}

/// What the lines so far have said. Names are bytes: two spellings are two names.
#[derive(Default)]
struct Reader {
    logs: Vec<VerifyingKey>,
    witnesses: Vec<WitnessKey>,
    names: BTreeMap<Vec<u8>, Rule>,
    members: BTreeSet<Vec<u8>>,
    quorum: Option<Option<Rule>>,
}

impl Reader {
    fn line(&mut self, words: &[&[u8]]) -> Result<(), String> {
        match words {
            [b"log", key] | [b"log", key, _] => self.log(key),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, key),
            [b"group", name, least, members @ ..] => self.group(name, least, members),
            [b"quorum", name] => self.set_quorum(name),
            [word @ (b"log" | b"witness" | b"group" | b"quorum"), ..] => {
                Err(format!("a {} line has another number of words", shown(word)))
            }
            [word, ..] => Err(format!("{} begins no line of a policy", shown(word))),
            [] => Ok(()),
        }
    }

    fn log(&mut self, key: &[u8]) -> Result<(), String> {
        let key: VerifyingKey = text(key)?.parse().map_err(|error| format!("the log's key: {error}"))?;
        if !key.is_checkable() {
            return Err(format!("the log's key: {}", KeyError::NotBuilt));
        }
        if self.logs.iter().any(|known| known.bytes() == key.bytes()) {
            return Err("this log's key came before".to_owned());
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8]) -> Result<(), String> {
        let key: WitnessKey = text(key)?.parse().map_err(|error| format!("the witness's key: {error}"))?;
        if self.witnesses.iter().any(|known| known.bytes() == key.bytes()) {
            return Err("this witness's key came before".to_owned());
        }
        self.name(name, Rule::Witness(self.witnesses.len()))?;
        self.witnesses.push(key);
        Ok(())
    }

    fn group(&mut self, name: &[u8], least: &[u8], members: &[&[u8]]) -> Result<(), String> {
        if members.is_empty() {
            return Err("a group has members".to_owned());
        }
        let least = match least {
            b"all" => members.len(),
            b"any" => 1,
            number if number.iter().all(u8::is_ascii_digit) => text(number)?.parse().unwrap_or(0),
            _ => 0,
        };
        if !(1..=members.len()).contains(&least) {
            return Err(format!("a group needs all, any, or 1 to {} of its members", members.len()));
        }
        let mut rules = Vec::new();
        for member in members {
            let rule = self.names.get(*member).ok_or_else(|| undefined(member))?;
            // Each witness counts in one way only.
            if !self.members.insert(member.to_vec()) {
                return Err(format!("{} is a member already", shown(member)));
            }
            rules.push(rule.clone());
        }
        self.name(name, Rule::Group { least, members: rules })
    }

    fn name(&mut self, name: &[u8], rule: Rule) -> Result<(), String> {
        if name == b"none" {
            return Err("the name none has a meaning of its own".to_owned());
        }
        match self.names.insert(name.to_vec(), rule) {
            None => Ok(()),
            Some(_) => Err(format!("the name {} came before", shown(name))),
        }
    }

    fn set_quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("a policy has one quorum line".to_owned());
        }
        let rule = match name {
            b"none" => None,
            name => Some(self.names.get(name).ok_or_else(|| undefined(name))?.clone()),
        };
        self.quorum = Some(rule);
        Ok(())
    }
}

fn undefined(name: &[u8]) -> String {
    format!("no line before names {}", shown(name))
}

fn shown(word: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(word))
}

fn text(word: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(word).map_err(|_| "a key is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Cosigner, SigningKey};

    fn log() -> SigningKey {
        SigningKey::from_seed("example.org/log".parse().unwrap(), &[1; 32])
    }

    fn witness(n: u8) -> Cosigner {
        Cosigner::from_seed(format!("w{n}.example").parse().unwrap(), &[100 + n; 32])
    }

    fn key(n: u8) -> String {
        witness(n).verifying_key().to_string()
    }

    /// The example of the specification, two levels of groups.
    fn example() -> String {
        let mut text = format!("# who counts\n\nlog {} https://example.org/\n", log().verifying_key());
        (1..=3).for_each(|n| text += &format!("witness X{n} {}\n", key(n)));
        text += "group X-witnesses 2 X1 X2 X3\n";
        (4..=6).for_each(|n| text += &format!("\twitness  Y{n}\t{} https://w/{n} \n", key(n)));
        text + "group Y-witnesses any Y4 Y5 Y6\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
    }

    fn note(by: &[(u8, u64)]) -> SignedNote {
        let mut note = SignedNote::sign("example.org/log\n".to_owned(), &[&log()]).unwrap();
        for (n, seconds) in by {
            let line = witness(*n).cosign(&note, *seconds);
            note.add(line);
        }
        note
    }

    #[test]
    fn policy_of_the_specification_is_met_by_two_and_one_and_tells_since_when() {
        let policy = Policy::parse(example().as_bytes()).unwrap();
        assert_eq!((policy.logs.len(), policy.witnesses.len()), (1, 6));
        assert_eq!(
            policy.to_string(),
            "2 of (2 of (w1.example, w2.example, w3.example), 1 of (w4.example, w5.example, w6.example))"
        );
        for (by, time) in [
            (&[][..], None),
            (&[(1, 5), (2, 6), (3, 7)], None),
            (&[(1, 5), (4, 6)], None),
            (&[(1, 5), (2, 9), (5, 8)], Some(5)),
            (&[(1, 5), (2, 9), (3, 7), (5, 8)], Some(7)),
            (&[(1, 5), (2, 9), (3, 7), (5, 3), (6, 4)], Some(4)),
        ] {
            let judged = policy.judge(&note(by)).unwrap();
            assert_eq!(
                (judged.met, judged.time, judged.by.len()),
                (time.is_some(), time, by.len()),
                "{by:?}"
            );
        }
        // One wrong cosignature of a known witness makes the note worthless.
        let mut wrong = note(&[(1, 5), (2, 9)]);
        let mut line = witness(5).cosign(&wrong, 8);
        line.bytes[3] ^= 1;
        wrong.add(line);
        assert!(matches!(policy.judge(&wrong), Err(NoteError::WrongSignature { .. })));
    }

    #[test]
    fn policy_without_witnesses_is_met_by_any_note() {
        let policy = Policy::parse(b"quorum none").unwrap();
        assert!(!policy.asks_witnesses() && policy.logs.is_empty());
        assert_eq!(policy.judge(&note(&[])), Ok(Judged { met: true, by: Vec::new(), time: None }));
    }

    #[test]
    fn policy_over_the_limit_is_refused_by_its_number() {
        assert_eq!(MAX_POLICY_BYTES, 1 << 20);
        let mut text = b"quorum none\n".to_vec();
        text.resize(MAX_POLICY_BYTES, b'\n');
        assert!(Policy::parse(&text).is_ok());
        text.push(b'\n');
        assert!(Policy::parse(&text).unwrap_err().to_string().contains("over the limit of 1 MiB"));
    }

    #[test]
    fn policy_in_any_other_form_is_refused_with_its_line() {
        let why = |text: &str| Policy::parse(text.as_bytes()).unwrap_err().to_string();
        let (x1, x2, l) = (format!("witness X1 {}\n", key(1)), format!("witness X2 {}\n", key(2)), log());
        let renamed = Cosigner::from_seed("other.example".parse().unwrap(), &[101; 32]);
        for (text, says) in [
            (String::new(), "no quorum line"),
            ("log\n".to_owned(), "line 1: a \"log\" line"),
            ("quorum none\nquorum none\n".to_owned(), "line 2: a policy has one quorum line"),
            ("quorum X1\n".to_owned(), "line 1: no line before names \"X1\""),
            ("logs none\n".to_owned(), "line 1: \"logs\" begins no line"),
            ("Quorum none\n".to_owned(), "begins no line"),
            ("quorum none \r\n".to_owned(), "control characters"),
            (format!("log {}\n", key(1)), "line 1: the log's key"),
            (format!("witness X1 {}\n", l.verifying_key()), "line 1: the witness's key"),
            (format!("log {0}\nlog {0}\n", l.verifying_key()), "line 2: this log's key came before"),
            (
                format!("{x1}witness X2 {}\n", renamed.verifying_key()),
                "line 2: this witness's key came before",
            ),
            (format!("{x1}witness X1 {}\n", key(2)), "line 2: the name \"X1\" came before"),
            (format!("witness none {}\n", key(1)), "of its own"),
            (format!("{x1}group G any X1 none\n"), "line 2: no line before names \"none\""),
            (format!("{x1}group G any\n"), "a group has members"),
            (format!("{x1}{x2}group G 3 X1 X2\n"), "1 to 2 of its members"),
            (format!("{x1}{x2}group G 0 X1 X2\n"), "1 to 2 of its members"),
            (format!("{x1}{x2}group G +1 X1 X2\n"), "1 to 2 of its members"),
            (format!("{x1}group G all X1 X1\n"), "\"X1\" is a member already"),
            (format!("{x1}group G all X1\ngroup H all X1\n"), "line 3: \"X1\" is a member already"),
            (format!("group G all X1\n{x1}"), "line 1: no line before names"),
        ] {
            assert!(why(&text).contains(says), "{text:?}: {}", why(&text));
        }
        // Names are bytes: the Kelvin sign is no K.
        let text = format!("witness K {}\nwitness \u{212a} {}\nquorum \u{212a}\n", key(1), key(2));
        assert!(Policy::parse(text.as_bytes()).unwrap().judge(&note(&[(2, 1)])).unwrap().met);
        assert!(!Policy::parse(text.as_bytes()).unwrap().judge(&note(&[(1, 1)])).unwrap().met);
    }
}
