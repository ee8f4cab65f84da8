//! How far a long command is, on a terminal's standard error only, and whether a signal asked it
//! to stop.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::store::{Progress, Signer, Store, StoreError};

/// Which signal asked to stop, if one did.
#[derive(Clone, Default)]
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Takes over the signals. With `gently`, the first asks the command to stop between two
    /// batches and the second ends the process; without, the first ends it.
    pub fn install(gently: bool) -> std::io::Result<Self> {
        let signals = Self::default();
        let asked = Arc::new(AtomicBool::new(!gently));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the condition is looked at before the same signal fulfils it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            let number = usize::try_from(signal).expect("signal numbers are positive");
            flag::register_usize(signal, Arc::clone(&signals.0), number)?;
        }
        // With a handler in place a write beyond the limit of file sizes fails with an error that
        // can be told, instead of ending the process in the middle. Ignoring it would be inherited
        // by recorded commands; a handler is not.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Ok(signals)
    }

    /// The number of the signal that asked to stop.
    pub fn asked(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|number| *number > 0)
    }
}

/// Short work shows no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// A bar that appears once the work turns out to be long.
pub(super) struct Meter {
    signals: Signals,
    label: &'static str,
    shown: bool,
    started: Instant,
    bar: Mutex<Option<ProgressBar>>,
    signing: Mutex<Option<Signing>>,
    dropped: Mutex<Option<(u64, String)>>,
}

/// Who signs while a long command works, and when next.
struct Signing {
    signers: Vec<Signer>,
    every: Duration,
    last: Instant,
}

impl Meter {
    pub fn new(signals: Signals, label: &'static str, wanted: bool) -> Self {
        let shown = wanted && std::io::stderr().is_terminal();
        Self {
            signals,
            label,
            shown,
            started: Instant::now(),
            bar: Mutex::new(None),
            signing: Mutex::new(None),
            dropped: Mutex::new(None),
        }
    }

    /// Has the checkpoint published between batches, where there is anyone to sign it.
    pub fn sign(&self, signers: Vec<Signer>, every: Duration) {
        let signing = Signing { signers, every, last: Instant::now() };
        *self.signing.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(signing).filter(|signing| !signing.signers.is_empty());
    }

    /// How many files were read with permission bits that are not kept, and the first of them.
    pub fn dropped(&self) -> Option<(u64, String)> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the bar away; nothing is drawn after it.
    pub fn clear(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Meter {
    fn at(&self, done: u64, total: u64) {
        if !self.shown || self.started.elapsed() < PATIENCE {
            return;
        }
        let mut slot = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = slot.get_or_insert_with(|| {
            // Where nobody knows how many there are, no bar pretends to.
            let known = "{msg} [{bar:30}] {pos}/{len} ({eta})";
            let template = if total > 0 { known } else { "{msg} {pos} ({elapsed})" };
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(self.label)
        });
        bar.set_length(total.max(done));
        bar.set_position(done);
    }

    fn interrupted(&self) -> bool {
        self.signals.asked().is_some()
    }

    fn bits_dropped(&self, path: &str) {
        let mut slot = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| (0, path.to_owned())).0 += 1;
    }

    fn committed(&self, store: &Store) -> Result<(), StoreError> {
        let mut slot = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signing) = slot.as_mut().filter(|signing| signing.last.elapsed() >= signing.every) {
            store.publish(&signing.signers)?;
            signing.last = Instant::now();
        }
        Ok(())
    }
}
