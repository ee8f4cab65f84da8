//! Texts that match a regular expression, for the simple ones: literals, `.`, classes, `\d \w \s`,
//! groups, alternation, `? * + {n} {n,} {n,m}`, anchors at the ends. What else a pattern says gives no
//! text, or one that validation filters out.

use super::random::Random;

/// How deep groups nest at most.
const DEPTH: usize = 16;

struct Maker<'p, 'r> {
    chars: std::iter::Peekable<std::str::Chars<'p>>,
    random: &'r mut Random,
}

/// A text for a pattern, if it is simple enough.
pub(super) fn text_for(pattern: &str, random: &mut Random) -> Option<String> {
    let mut maker = Maker { chars: pattern.chars().peekable(), random };
    let text = maker.alternatives(0)?;
    maker.chars.next().is_none().then_some(text)
}

impl Maker<'_, '_> {
    /// Every branch is read, one is taken.
    fn alternatives(&mut self, depth: usize) -> Option<String> {
        if depth > DEPTH {
            return None;
        }
        let mut branches = vec![self.sequence(depth)?];
        while self.chars.next_if_eq(&'|').is_some() {
            branches.push(self.sequence(depth)?);
        }
        let taken = self.random.below(branches.len());
        branches.into_iter().nth(taken)
    }

    fn sequence(&mut self, depth: usize) -> Option<String> {
        let mut text = String::new();
        while let Some(&c) = self.chars.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            if matches!(c, '^' | '$') {
                self.chars.next();
                continue;
            }
            // A repeated piece is made anew for each time by reading it again.
            let start = self.chars.clone();
            let first = self.piece(depth)?;
            let after = self.chars.clone();
            let times = self.times()?;
            let end = self.chars.clone();
            let repeated = after.clone().count() != end.clone().count();
            if !repeated {
                text.push_str(&first);
                continue;
            }
            for _ in 0..times {
                self.chars = start.clone();
                text.push_str(&self.piece(depth)?);
            }
            self.chars = end;
        }
        Some(text)
    }

    fn piece(&mut self, depth: usize) -> Option<String> {
        match self.chars.next()? {
            '(' => {
                if self.chars.next_if_eq(&'?').is_some() {
                    // Only groups that do not capture; looking around is not made.
                    self.chars.next_if_eq(&':')?;
                }
                let text = self.alternatives(depth + 1)?;
                self.chars.next_if_eq(&')')?;
                Some(text)
            }
            '[' => self.class(),
            '.' => Some(self.of("aZ0 -_é")),
            '\\' => self.escape(),
            c => Some(c.to_string()),
        }
    }

    fn of(&mut self, choices: &str) -> String {
        let at = self.random.below(choices.chars().count());
        choices.chars().nth(at).map(String::from).unwrap_or_default()
    }

    fn escape(&mut self) -> Option<String> {
        match self.chars.next()? {
            'd' => Some(self.of("0123456789")),
            'w' => Some(self.of("abcxyzABC019_")),
            's' => Some(" ".to_owned()),
            c if c.is_ascii_alphanumeric() => None,
            c => Some(c.to_string()),
        }
    }

    fn class(&mut self) -> Option<String> {
        if self.chars.peek() == Some(&'^') {
            return None;
        }
        let mut choices: Vec<char> = Vec::new();
        loop {
            let c = match self.chars.next()? {
                ']' => break,
                '\\' => {
                    choices.extend(self.escape()?.chars());
                    continue;
                }
                c => c,
            };
            let mut ahead = self.chars.clone();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|end| end != ']') {
                self.chars.next();
                let end = self.chars.next()?;
                choices.extend((c..=end).take(256));
            } else {
                choices.push(c);
            }
        }
        self.random.pick(&choices).map(ToString::to_string)
    }

    /// How many times the piece before stands: 1 where nothing says otherwise.
    fn times(&mut self) -> Option<usize> {
        let (low, high) = match self.chars.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, 4),
            Some('+') => (1, 4),
            Some('{') => return self.counted(),
            _ => return Some(1),
        };
        self.chars.next();
        Some(low + self.random.below(high - low + 1))
    }

    fn counted(&mut self) -> Option<usize> {
        let mut inside = String::new();
        self.chars.next();
        loop {
            match self.chars.next()? {
                '}' => break,
                c => inside.push(c),
            }
        }
        let (low, high): (usize, usize) = match inside.split_once(',') {
            None => (inside.parse().ok()?, inside.parse().ok()?),
            Some((low, "")) => (low.parse().ok()?, low.parse::<usize>().ok()? + 3),
            Some((low, high)) => (low.parse().ok()?, high.parse().ok()?),
        };
        (low <= high && high <= 4096).then(|| low + self.random.below(high - low + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_matches_the_pattern_it_was_made_for() {
        let patterns = [
            "^sha256:[0-9a-f]{64}$",
            "^[a-z][a-z0-9_-]{0,12}$",
            r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
            "^(a|bc)+x?$",
            r"^v?\d+\.\d+\.\d+$",
        ];
        for pattern in patterns {
            let schema = serde_json::json!({ "pattern": pattern });
            let validator = jsonschema::validator_for(&schema).unwrap();
            for seed in 0..200 {
                let text = text_for(pattern, &mut Random::new(seed)).unwrap();
                assert!(validator.is_valid(&serde_json::json!(text)), "{pattern}: {text}");
            }
        }
        for pattern in ["[^a]", "(?=x)", "(", r"\p{L}", "a{9999}"] {
            assert_eq!(text_for(pattern, &mut Random::new(1)), None, "{pattern}");
        }
    }
}
