//! One HTTP/2 connection whose requests are answered by the batch.
//!
//! Most answers are in memory: their futures are done when they are first polled, and a task of its own
//! for each, scheduled and woken, would cost more than the answer. So what arrives
//! together is polled here, in the connection's own task, and goes out together, in one TLS record and one
//! system call. Only what has to wait for something becomes a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite};

use super::gather::Gathered;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The executor of the connection's streams: it keeps them until [`answered`] polls them.
#[derive(Clone, Default)]
pub struct Batch(Arc<Mutex<Vec<Stream>>>);

impl<F> Executor<F> for Batch
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

impl Batch {
    /// Polls `connection`, which hands its streams to this executor, then the streams, then sends what all of
    /// them had to say through `stream`, which the connection writes to.
    pub fn poll<C, S>(&self, mut connection: Pin<&mut C>, stream: &Gathered<S>, cx: &mut Context<'_>) -> Poll<C::Output>
    where
        C: Future,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let outcome = connection.as_mut().poll(cx);
            let streams = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            let answers = streams.len();
            for mut stream in streams {
                // Nobody needs to be woken by this first poll: the task polls again when it starts.
                if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    tokio::spawn(stream);
                }
            }
            if outcome.is_ready() {
                return outcome;
            }
            if answers == 0 {
                match stream.poll_send(cx) {
                    Poll::Ready(Err(error)) => stream.fail(error),
                    _ => return Poll::Pending,
                }
            }
        }
    }
}
