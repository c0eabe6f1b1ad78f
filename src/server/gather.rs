//! A stream that gathers what is written until its owner sends it.
//!
//! HTTP/2 hands its frames over one by one, headers and data apart, those of many answers after
//! each other, and asks for a flush after each answer; over TLS each would become a record and a system call of its own.
//! So a flush does nothing here: who polls the connection calls [`Gathered::poll_send`] when the
//! connection has nothing more to say for the moment, and nothing waits for longer than that.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What fits into one TLS record (RFC 8446 section 5.1).
const MOST: usize = 16 << 10;

/// One stream in two hands: the protocol's, which reads and writes, and its owner's, who sends.
pub struct Gathered<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    /// Not yet written. Empty, and without memory, while the connection rests.
    waiting: Vec<u8>,
    /// Of what waits, so much was written already.
    written: usize,
    /// The stream below may hold something back.
    unflushed: bool,
    /// For the protocol to hear of when it reads.
    failed: Option<io::Error>,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream, waiting: Vec::new(), written: 0, unflushed: false, failed: None })))
    }

    /// Writes all that waits. To be called again with the connection's waker until it is ready.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if inner.waiting.is_empty() && !inner.unflushed {
            return Poll::Ready(Ok(()));
        }
        ready!(inner.poll_drain(cx))?;
        ready!(Pin::new(&mut inner.stream).poll_flush(cx))?;
        inner.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Lets the protocol's next read fail, because nothing can be sent any more.
    pub fn fail(&self, error: io::Error) {
        let mut inner = self.inner();
        inner.waiting = Vec::new();
        inner.written = 0;
        inner.failed = Some(error);
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            self.unflushed = true;
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        match inner.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut inner.stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        let count = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if inner.waiting.len() + count > MOST {
            ready!(inner.poll_drain(cx))?;
        }
        if count > MOST {
            // Copying would gain nothing.
            inner.unflushed = true;
            return Pin::new(&mut inner.stream).poll_write_vectored(cx, bufs);
        }
        inner.waiting.reserve(count);
        for buf in bufs {
            inner.waiting.extend_from_slice(buf);
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Remembers each write. Takes `at_most` bytes of one, and lets every second attempt wait.
    struct Peer {
        writes: Vec<Vec<u8>>,
        at_most: usize,
        busy: bool,
    }

    impl AsyncWrite for Peer {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.busy = !self.busy;
            if self.busy {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = buf.len().min(self.at_most);
            self.writes.push(buf[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn gathered(at_most: usize) -> Gathered<Peer> {
        Gathered::new(Peer { writes: Vec::new(), at_most, busy: false })
    }

    #[tokio::test]
    async fn small_writes_go_out_as_one_when_they_are_sent() {
        let mut stream = gathered(usize::MAX);
        for frame in ["headers", "data", "headers"] {
            stream.write_all(frame.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(stream.inner().stream.writes.is_empty());
        poll_fn(|cx| stream.poll_send(cx)).await.unwrap();
        assert_eq!(stream.inner().stream.writes, [b"headersdataheaders"]);
        assert_eq!(stream.inner().waiting.capacity(), 0, "a connection at rest holds no memory");
    }

    #[tokio::test]
    async fn bytes_keep_their_order_whatever_their_sizes_and_however_slow_the_peer() {
        let mut stream = gathered(5_000);
        let mut all = Vec::new();
        for (index, size) in [10, MOST - 10, 1, MOST, MOST + 1, 100_000, 3, 0, 16_000, 500].into_iter().enumerate() {
            let bytes = vec![u8::try_from(index).unwrap(); size];
            stream.write_all(&bytes).await.unwrap();
            assert!(stream.inner().waiting.len() <= MOST);
            all.extend(bytes);
        }
        stream.shutdown().await.unwrap();
        assert!(stream.inner().stream.writes.concat() == all);
    }
}
