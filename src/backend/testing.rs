//! A hook that records the calls and fails one of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::durable::{Call, Errno, Hook, Verdict};

/// How the chosen call fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is not made.
    Fail,
    /// It is made, and reported as failed.
    FailAfter,
    /// So many bytes are written; other calls are not made.
    FailShort(usize),
}

/// Records every call; fails the n-th, or the first of a name, once or from then on.
pub(crate) struct Recorder {
    calls: Mutex<Vec<(&'static str, String)>>,
    only: Option<&'static str>,
    nth: usize,
    fault: Fault,
    seen: AtomicUsize,
    fired: AtomicBool,
    dead_after: bool,
}

impl Recorder {
    fn make(only: Option<&'static str>, nth: usize, fault: Fault, dead_after: bool) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            only,
            nth,
            fault,
            seen: AtomicUsize::new(0),
            fired: AtomicBool::new(false),
            dead_after,
        })
    }

    /// Fails nothing.
    pub(crate) fn new() -> Arc<Self> {
        Self::make(None, usize::MAX, Fault::Fail, false)
    }

    /// Fails the n-th call, counted from 0.
    pub(crate) fn failing(nth: usize, fault: Fault) -> Arc<Self> {
        Self::make(None, nth, fault, false)
    }

    /// Fails the n-th call in the given way and every later one: nothing changes any more, as after
    /// a crash.
    pub(crate) fn crashing(nth: usize, fault: Fault) -> Arc<Self> {
        Self::make(None, nth, fault, true)
    }

    /// Fails the first call of a name.
    pub(crate) fn failing_first(name: &'static str, fault: Fault) -> Arc<Self> {
        Self::make(Some(name), 0, fault, false)
    }

    /// Whether the fault has happened.
    pub(crate) fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }

    /// The names of all calls, in order.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }
}

impl Hook for Recorder {
    fn call(&self, call: &Call<'_>) -> Verdict {
        self.calls.lock().unwrap().push((call.name, call.path.to_owned()));
        if self.only.is_some_and(|name| name != call.name) {
            return Verdict::Go;
        }
        let number = self.seen.fetch_add(1, Ordering::SeqCst);
        if number < self.nth {
            return Verdict::Go;
        }
        if number > self.nth {
            return if self.dead_after { Verdict::Fail(Errno::IO) } else { Verdict::Go };
        }
        self.fired.store(true, Ordering::SeqCst);
        match self.fault {
            Fault::Fail => Verdict::Fail(Errno::IO),
            Fault::FailAfter => Verdict::FailAfter(Errno::IO),
            Fault::FailShort(len) => Verdict::FailShort(len, Errno::IO),
        }
    }
}
