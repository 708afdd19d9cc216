//! Time that the host computes for a slice, wherever it does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A bill that futures of several tasks write on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bill(Arc<AtomicU64>);

impl Bill {
    /// A future whose turns are on the bill.
    pub(crate) fn of<F: Future>(&self, future: F) -> Billed<F> {
        Billed { future: Box::pin(future), bill: self.clone() }
    }

    /// What is on it so far.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A future whose turns are on a [`Bill`].
pub(crate) struct Billed<F> {
    future: Pin<Box<F>>,
    bill: Bill,
}

impl<F: Future> Future for Billed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = Instant::now();
        let polled = self.future.as_mut().poll(context);
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.bill.0.fetch_add(took, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_billed_and_waiting_is_not() {
        let bill = Bill::default();
        let turn = Duration::from_millis(2);
        let computes = async {
            for _ in 0..3 {
                let began = Instant::now();
                while began.elapsed() < turn {}
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        bill.of(computes).await;
        let computed = bill.sum();
        assert!(computed >= turn * 3, "{computed:?}");
        bill.of(async { tokio::task::yield_now().await }).await;
        assert!(bill.sum() > computed, "every task writes on the same bill");
    }
}
