//! Work prepared ahead of the one thread that takes it in.

use std::sync::mpsc::sync_channel;

/// Prepares each piece on another thread, one piece ahead, and hands the results over in order. The first
/// error ends it.
pub(super) fn in_order<P: Send, T: Send, E>(
    pieces: impl Iterator<Item = P> + Send,
    prepare: impl Fn(P) -> T + Send,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(1);
        scope.spawn(move || {
            for piece in pieces {
                // Nobody listens any more: there was an error.
                if send.send(prepare(piece)).is_err() {
                    break;
                }
            }
        });
        receive.into_iter().try_for_each(&mut take)
    })
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
}
