//! Work prepared ahead of the one thread that takes it in.

use std::sync::mpsc::{IntoIter, sync_channel};
use std::thread::Scope;

/// Prepares each piece on another thread, one piece ahead, and hands the results over in order. The first
/// error ends it.
pub(super) fn in_order<P: Send, T: Send, E>(
    pieces: impl Iterator<Item = P> + Send,
    prepare: impl Fn(P) -> T + Send,
    take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| ahead(scope, 1, pieces.map(prepare)).try_for_each(take))
}

/// Has each piece made on another thread, while `waiting` and no more wait for whoever takes them.
pub(super) fn ahead<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    waiting: usize,
    pieces: impl Iterator<Item = T> + Send + 'scope,
) -> IntoIter<T> {
    let (send, receive) = sync_channel(waiting);
    scope.spawn(move || {
        for piece in pieces {
            // Nobody listens any more: there was an error.
            if send.send(piece).is_err() {
                break;
            }
        }
    });
    receive.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_prepared_ahead_arrive_in_order_and_stop_at_an_error() {
        let mut seen = Vec::new();
        let done: Result<(), u32> = in_order(
            0..1000u32,
            |n| n * 2,
            |n| {
                seen.push(n);
                if n == 1000 { Err(n) } else { Ok(()) }
            },
        );
        assert_eq!(done, Err(1000));
        assert_eq!(seen, (0..=500).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn pieces_made_ahead_end_when_nobody_takes_them_and_no_more_than_asked_for_wait() {
        use std::sync::atomic::{AtomicU32, Ordering};

        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let mut pieces =
                ahead(scope, 0, (0..1000u32).inspect(|_| _ = made.fetch_add(1, Ordering::SeqCst)));
            assert_eq!(pieces.next(), Some(0));
            assert_eq!(pieces.next(), Some(1));
        });
        // Two were taken, and one was made for whoever might have come.
        assert!((2..=3).contains(&made.load(Ordering::SeqCst)));
    }
}
