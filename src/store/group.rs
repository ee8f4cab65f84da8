//! Group commit: threads of one process share a frame and its fsyncs.
//!
//! Each thread hands in what it wants committed and waits. The first one that finds nobody at it leads:
//! it takes everything handed in so far, commits it as one batch under the store lock, and gives each
//! its answer; whatever is handed in meanwhile is the next batch. Nobody is answered before the batch
//! is settled, and a failure of the batch is everybody's, so a thread knows no more and no less than if
//! it had committed alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::commit::{Author, Change, Committed};
use super::{Conflict, StoreError};
use crate::base::limits;
use crate::format::batch::Mark;
use crate::format::head::Head;

/// The longest that a batch waits for the threads of the batch before it to come again.
const GATHER: Duration = Duration::from_millis(20);
/// What is written of one request's own blobs is bounded by what is held in memory for a whole batch.
const GROUP_BYTES: usize = 16 << 20;

/// What one thread wants committed.
pub(super) struct Request {
    /// In whose name.
    pub author: Author,
    /// Blobs that its entries name and nobody has kept yet.
    pub kept: Vec<Vec<u8>>,
    /// How far the segments reach with what it has kept itself.
    pub marks: Vec<Mark>,
    /// The changes.
    pub changes: Vec<Change>,
}

impl Request {
    fn bytes(&self) -> usize {
        self.kept.iter().map(Vec::len).sum()
    }
}

/// What became of it.
pub(super) struct Done {
    /// For each change, its place in the log or what stood against it.
    pub answers: Vec<Result<Committed, Conflict>>,
    /// The log that it is settled in.
    pub head: Arc<Head>,
}

pub(super) type Answer = Result<Done, StoreError>;

/// Where the threads meet that share one open store.
#[derive(Default)]
pub(super) struct Committer {
    queue: Mutex<Queue>,
    /// Something was handed in.
    arrived: Condvar,
    /// Answers are there, or nobody leads any more.
    answered: Condvar,
    turn: Mutex<()>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<(u64, Request)>,
    answers: HashMap<u64, Answer>,
    leading: bool,
    /// How many the last batch answered or left waiting, and how long it took.
    last: Option<(usize, Duration)>,
}

impl Queue {
    /// The requests of the next batch, oldest first: one at least, and no more changes than one batch
    /// may have.
    fn take(&mut self) -> (Vec<u64>, Vec<Request>) {
        let (mut tickets, mut group) = (Vec::new(), Vec::new());
        let (mut changes, mut bytes) = (0, 0);
        while let Some((_, request)) = self.waiting.front() {
            changes += request.changes.len();
            bytes += request.bytes();
            if !group.is_empty() && (changes > limits::BATCH_CHANGES || bytes > GROUP_BYTES) {
                break;
            }
            let (ticket, request) = self.waiting.pop_front().expect("it was just looked at");
            tickets.push(ticket);
            group.push(request);
        }
        (tickets, group)
    }
}

/// Answers everybody even where the leading thread ends half-way.
struct Leading<'c> {
    committer: &'c Committer,
    tickets: Vec<u64>,
    began: Instant,
}

impl Leading<'_> {
    fn answer(&mut self, answers: impl Iterator<Item = Answer>) {
        let mut queue = self.committer.queue();
        queue.leading = false;
        // Those that wait already came too late for this batch. Counted apart, the threads would fall into two
        // halves that commit in turn, each batch half as large as it could be.
        queue.last = Some((self.tickets.len() + queue.waiting.len(), self.began.elapsed()));
        let tickets = std::mem::take(&mut self.tickets);
        queue.answers.extend(tickets.into_iter().zip(answers));
        self.committer.answered.notify_all();
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if !self.tickets.is_empty() {
            self.answer(std::iter::repeat_with(|| Err(StoreError::Unanswered)));
        }
    }
}

impl Committer {
    /// The turn among the threads of this process to ask for the store lock.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else commits, as far as the last batch shows.
    pub fn is_alone(&self) -> bool {
        let queue = self.queue();
        !queue.leading && queue.waiting.is_empty() && queue.last.is_none_or(|(members, _)| members == 1)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic is done while it is held but moving what it holds.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in a request and gives its answer. `lead` commits a batch of requests and gives each its
    /// answer, in their order.
    pub fn submit(&self, request: Request, mut lead: impl FnMut(&[Request]) -> Vec<Answer>) -> Answer {
        let mut queue = self.queue();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.push_back((ticket, request));
        self.arrived.notify_one();
        loop {
            if let Some(answer) = queue.answers.remove(&ticket) {
                return answer;
            }
            if queue.leading {
                queue = self.answered.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.leading = true;
            queue = self.gather(queue);
            let (tickets, group) = queue.take();
            drop(queue);
            let mut leading = Leading { committer: self, tickets, began: Instant::now() };
            let answers = lead(&group);
            let none = std::iter::repeat_with(|| Err(StoreError::Unanswered));
            leading.answer(answers.into_iter().chain(none));
            drop(leading);
            queue = self.queue();
        }
    }

    /// Waits a little for the threads that the last batch answered: they are about to come again, and
    /// would otherwise miss this batch by a hair, every other time.
    fn gather<'c>(&'c self, mut queue: MutexGuard<'c, Queue>) -> MutexGuard<'c, Queue> {
        let Some((members, took)) = queue.last else { return queue };
        let until = Instant::now() + (took / 4).min(GATHER);
        while queue.waiting.len() < members {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }
}

/// One failure as everybody's.
pub(super) fn everybodys(error: StoreError, members: usize) -> Vec<Answer> {
    if members == 1 {
        return vec![Err(error)];
    }
    let error = Arc::new(error);
    (0..members).map(|_| Err(StoreError::Shared(Arc::clone(&error)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::EntryKind;

    fn request(changes: usize) -> Request {
        let author = Author::sample();
        let change = || Change::Store(author.sample_entry(EntryKind::Noted));
        let changes = (0..changes).map(|_| change()).collect();
        Request { author: author.clone(), kept: Vec::new(), marks: Vec::new(), changes }
    }

    fn done(group: &[Request]) -> Vec<Answer> {
        let head = Arc::new(Head::empty());
        let one = |_: &Request| Ok(Done { answers: Vec::new(), head: Arc::clone(&head) });
        group.iter().map(one).collect()
    }

    #[test]
    fn group_has_no_more_changes_than_a_batch_may_have_and_one_request_at_least() {
        let mut queue = Queue::default();
        for (ticket, changes) in
            [limits::BATCH_CHANGES - 1, 1, 1, limits::BATCH_CHANGES + 1].into_iter().enumerate()
        {
            queue.waiting.push_back((ticket as u64, request(changes)));
        }
        assert_eq!(queue.take().0, [0, 1]);
        assert_eq!(queue.take().0, [2]);
        assert_eq!(queue.take().0, [3]);
        assert!(queue.take().0.is_empty());
    }

    #[test]
    fn group_whose_leader_panics_is_answered_and_the_next_one_commits() {
        let committer = Committer::default();
        let led = std::sync::atomic::AtomicUsize::new(0);
        let (sender, begun) = std::sync::mpsc::channel();
        // The first leader waits until the others are there; the second one panics.
        let lead = |group: &[Request]| {
            let at = led.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if at == 0 {
                sender.send(()).unwrap();
                while committer.queue().waiting.len() < 3 {
                    std::thread::yield_now();
                }
            }
            assert!(at != 1, "the second leader ends half-way");
            done(group)
        };
        let (committer, lead) = (&committer, &lead);
        std::thread::scope(|scope| {
            let first = scope.spawn(move || committer.submit(request(1), lead).is_ok());
            begun.recv().unwrap();
            let others: Vec<_> =
                (0..3).map(|_| scope.spawn(move || committer.submit(request(1), lead).map(drop))).collect();
            assert!(first.join().unwrap());
            let others: Vec<_> = others.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            let panicked = others.iter().filter(|other| other.is_err()).count();
            let unanswered =
                others.iter().filter(|other| matches!(other, Ok(Err(StoreError::Unanswered)))).count();
            assert_eq!((panicked, unanswered), (1, 2));
        });
        assert!(committer.submit(request(1), done).is_ok());
        assert!(committer.is_alone());
    }
}
