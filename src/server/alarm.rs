//! The timer of one HTTP/1.1 connection. hyper sets an alarm for every request's header and drops it when
//! the header is there; to enter each in the runtime's timers and to take it out again costs more than to
//! parse the header. So all alarms of a connection share one entry, which is moved only when it
//! rings too early.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{self, sleep_until};

#[derive(Clone, Default)]
pub struct Alarms(Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>);

impl Timer for Alarms {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Alarm { clock: self.clone(), deadline: deadline.into() })
    }
}

struct Alarm {
    clock: Alarms,
    deadline: time::Instant,
}

impl Sleep for Alarm {}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut clock = self.clock.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = clock.get_or_insert_with(|| Box::pin(sleep_until(self.deadline)));
        if clock.deadline() > self.deadline {
            clock.as_mut().reset(self.deadline);
        }
        loop {
            ready!(clock.as_mut().poll(cx));
            if clock.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            clock.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn each_alarm_rings_at_its_own_time_and_not_before() {
        let (alarms, start) = (Alarms::default(), Instant::now());
        let at = |milliseconds| alarms.sleep_until(start + Duration::from_millis(milliseconds));
        let elapsed = || start.elapsed().as_millis();

        let mut dropped = at(20);
        assert!(futures_util::poll!(dropped.as_mut()).is_pending());
        drop(dropped);
        at(60).await;
        assert!(elapsed() >= 60, "the entry stood at 20: {}", elapsed());

        let mut dropped = at(100_000);
        assert!(futures_util::poll!(dropped.as_mut()).is_pending());
        drop(dropped);
        at(120).await;
        assert!((120..50_000).contains(&elapsed()), "the entry stood at 100,000: {}", elapsed());

        at(70).await;
        alarms.sleep(Duration::ZERO).await;
        assert!(elapsed() < 50_000, "both were over: {}", elapsed());
    }
}
