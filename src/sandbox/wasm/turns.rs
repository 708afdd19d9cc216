//! Turns of guests on the cores. A guest gives its turn up at every tick, but what one of its instructions or calls of the host
//! does in one piece is not interrupted: a fill of all its memory, a string of megabytes. A version that is seen to hold a core
//! for long takes its further turns on threads beside those that all others share, as many at a time as there are cores: the
//! system then divides the cores, and nobody waits for the end of somebody else's piece.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Computing time of one turn from which on a version is known to hold the core.
const LONG: Duration = Duration::from_millis(5);

/// How many turns may be taken beside the common threads at a time.
pub(crate) fn room_beside() -> Semaphore {
    Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))
}

/// What is known of how a version behaves.
#[derive(Debug, Default)]
pub(crate) struct Manners {
    holds_core: AtomicBool,
}

impl Manners {
    /// Whether it was seen to hold a core for long.
    pub(crate) fn holds_core(&self) -> bool {
        self.holds_core.load(Ordering::Relaxed)
    }
}

/// The turns of one slice.
pub(crate) struct Turns<'a> {
    manners: &'a Manners,
    room: &'a Semaphore,
    waiting: Option<Pin<Box<dyn Future<Output = SemaphorePermit<'a>> + Send + 'a>>>,
    /// Time that it held a core.
    pub(crate) held: Duration,
}

impl<'a> Turns<'a> {
    pub(crate) fn new(manners: &'a Manners, room: &'a Semaphore) -> Self {
        Self { manners, room, waiting: None, held: Duration::ZERO }
    }

    /// Takes a turn, or waits for one.
    pub(crate) fn take<T>(
        &mut self,
        context: &mut Context<'_>,
        turn: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.manners.holds_core() {
            return self.timed(context, turn);
        }
        let room = self.room;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(async { room.acquire().await.expect("the semaphore is never closed") }));
        let _permit = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        beside(|| self.timed(context, turn))
    }

    fn timed<T>(&mut self, context: &mut Context<'_>, turn: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let (began, computed) = (Instant::now(), computed());
        let polled = turn(context);
        let took = began.elapsed();
        self.held += took;
        // A turn also takes long when the system gives the core to others, which is nobody's fault.
        if took >= LONG && self::computed().saturating_sub(computed) >= LONG {
            self.manners.holds_core.store(true, Ordering::Relaxed);
        }
        polled
    }
}

/// Does something long without holding one of the threads that guests share.
pub(crate) fn beside<T>(long: impl FnOnce() -> T) -> T {
    let has_others = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if has_others { tokio::task::block_in_place(long) } else { long() }
}

/// Computing time of this thread.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use super::*;

    /// Longer than anything here takes on a machine that works at all.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn one_thread() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    }

    #[tokio::test]
    async fn who_computes_for_long_in_one_turn_is_known_and_who_is_kept_waiting_is_not() {
        let (manners, room) = (Manners::default(), room_beside());
        let mut turns = Turns::new(&manners, &room);
        let sleeps = |_: &mut Context<'_>| {
            std::thread::sleep(LONG * 2);
            Poll::Ready(())
        };
        poll_fn(|context| turns.take(context, sleeps)).await;
        assert!(!manners.holds_core(), "it has not computed");
        let computes = |_: &mut Context<'_>| {
            let end = computed() + LONG * 2;
            while computed() < end {}
            Poll::Ready(())
        };
        poll_fn(|context| turns.take(context, computes)).await;
        assert!(manners.holds_core());
        assert!(turns.held >= LONG * 4);
    }

    #[test]
    fn others_go_on_while_such_a_turn_lasts() {
        let runtime = one_thread();
        let (done, is_done) = mpsc::sync_channel(1);
        let is_done = std::sync::Mutex::new(is_done);
        let turn = runtime.spawn(async move {
            let (manners, room) = (Manners { holds_core: AtomicBool::new(true) }, room_beside());
            let mut turns = Turns::new(&manners, &room);
            poll_fn(|context| {
                turns.take(context, |_| {
                    // It holds the only thread until another task of it has run.
                    let done = done.clone();
                    tokio::spawn(async move { done.send(()) });
                    Poll::Ready(is_done.lock().expect("nobody panics").recv_timeout(PATIENCE))
                })
            })
            .await
        });
        runtime.block_on(turn).expect("no panic").expect("another task has run meanwhile");
    }

    #[test]
    fn turns_beside_are_as_many_as_there_is_room_for() {
        let runtime = one_thread();
        let (manners, room) = (Manners { holds_core: AtomicBool::new(true) }, Semaphore::new(1));
        runtime.block_on(async {
            let taken = room.acquire().await.expect("open");
            let mut turns = Turns::new(&manners, &room);
            let mut take = pin_turn(&mut turns);
            assert!(futures_util::FutureExt::now_or_never(take.as_mut()).is_none(), "the only place is taken");
            drop(taken);
            take.await;
        });
    }

    fn pin_turn<'a>(turns: &'a mut Turns<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(poll_fn(|context| turns.take(context, |_| Poll::Ready(()))))
    }
}
