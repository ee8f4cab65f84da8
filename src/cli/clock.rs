//! The machine's time and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::base::clock::{Clock, Moment};

/// The system's clock and random source.
pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        // A clock before 1970 gives a time before 1970: order in the log is by position, so a wrong
        // clock is shown and stops nothing.
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Moment::from_millis(millis)
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // Requests of up to 256 bytes are neither interrupted nor cut short (getrandom(2)).
        let filled = getrandom(&mut bytes, GetRandomFlags::empty());
        assert_eq!(filled, Ok(bytes.len()), "the kernel gives random bytes");
        bytes
    }
}
