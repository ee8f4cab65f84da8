//! Time as the log writes it: UTC, milliseconds. The clock itself comes in as an argument.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

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
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(form).ok())
            .ok_or(fmt::Error)?;
        f.write_str(&text)
    }
}

impl serde::Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        match Self::parse(&text) {
            Some(moment) if moment.to_string() == text => Ok(moment),
            _ => Err(serde::de::Error::custom(format!(
                "{text:?} is not a UTC time with milliseconds like 2026-02-28T17:40:08.910Z"
            ))),
        }
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
