//! Time as the log writes it: UTC, milliseconds. The clock itself comes in as an argument.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How far the clocks of two machines may be apart before a time counts as wrong.
pub const TOLERANCE_MILLIS: i64 = 5 * 60 * 1000;

/// A moment in UTC with millisecond precision, written `2026-02-28T17:40:08.910Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// The first millisecond of the year 0001.
    const FIRST: i64 = -62_135_596_800_000;
    /// The last millisecond of the year 9999.
    const LAST: i64 = 253_402_300_799_999;

    /// From milliseconds since 1970-01-01T00:00:00Z; values outside the years 0001 to 9999 are
    /// clamped to them, so that a broken clock never stops the log.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::FIRST, Self::LAST))
    }

    /// From seconds since 1970, clamped in the same way.
    pub fn from_seconds(seconds: u64) -> Self {
        Self::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 text; `None` also where its offset leads out of the years 0001 to 9999, which
    /// have no such text in UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?;
        (Self::FIRST..=Self::LAST).contains(&millis).then_some(Self(millis))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)).map_err(|_| fmt::Error)?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, digits: usize, mut number: u32| {
            for place in text[at..at + digits].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, u32::try_from(moment.year()).map_err(|_| fmt::Error)?);
        put(5, 2, u8::from(moment.month()).into());
        put(8, 2, moment.day().into());
        put(11, 2, moment.hour().into());
        put(14, 2, moment.minute().into());
        put(17, 2, moment.second().into());
        put(20, 3, self.0.rem_euclid(1000) as u32);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl serde::Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        super::text::parsed::<D, Exact>(d).map(|exact| exact.0)
    }
}

/// A moment in the one text that it prints as.
struct Exact(Moment);

impl std::str::FromStr for Exact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exact = Moment::parse(text).filter(|moment| moment.to_string() == text);
        exact.map(Self).ok_or_else(|| {
            format!("{text:?} is not a UTC time with milliseconds like 2026-02-28T17:40:08.910Z")
        })
    }
}

/// Tells the time and gives random bytes: what pure code must be handed from outside.
pub trait Clock: Sync {
    /// The moment now.
    fn now(&self) -> Moment;
    /// Fresh random bytes.
    fn random(&self) -> [u8; 16];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_prints_and_parses_milliseconds() {
        let text = "2026-02-28T17:40:08.910Z";
        assert_eq!(Moment::parse(text).map(|m| m.to_string()).as_deref(), Some(text));
        assert_eq!(Moment::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn moment_whose_offset_leads_out_of_the_calendar_is_refused() {
        assert_eq!(Moment::parse("9999-12-31T23:59:59.999-01:00"), None);
        assert_eq!(Moment::parse("0001-01-01T00:00:00.000+01:00"), None);
        assert!(Moment::parse("9999-12-31T23:59:59.999+01:00").is_some());
    }

    #[test]
    fn moment_beyond_the_calendar_is_clamped_without_a_panic() {
        assert_eq!(Moment::from_millis(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Moment::from_millis(i64::MIN).to_string(), "0001-01-01T00:00:00.000Z");
    }
}
