//! A stream that gathers what is written until it is flushed.
//!
//! HTTP/2 hands its frames over one by one, headers and data apart, those of many answers after
//! each other; over TLS each would become a record and a system call of its own. It flushes
//! whenever it has nothing more to say for the moment, so nothing waits here for long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Gathered<S> {
    stream: S,
    /// Not yet written. Empty, and without memory, while the connection rests.
    waiting: Vec<u8>,
    /// Of what waits, so much was written already.
    written: usize,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, waiting: Vec::new(), written: 0 }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
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

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
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
        let this = self.get_mut();
        let count = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if this.waiting.len() + count > MOST {
            ready!(this.poll_drain(cx))?;
        }
        if count > MOST {
            // Copying would gain nothing.
            return Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        }
        this.waiting.reserve(count);
        for buf in bufs {
            this.waiting.extend_from_slice(buf);
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// What fits into one TLS record (RFC 8446 section 5.1).
const MOST: usize = 16 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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
    async fn small_writes_go_out_as_one_when_flushed() {
        let mut stream = gathered(usize::MAX);
        for frame in ["headers", "data", "headers"] {
            stream.write_all(frame.as_bytes()).await.unwrap();
        }
        assert!(stream.stream.writes.is_empty());
        stream.flush().await.unwrap();
        assert_eq!(stream.stream.writes, [b"headersdataheaders"]);
        assert_eq!(stream.waiting.capacity(), 0, "a connection at rest holds no memory");
    }

    #[tokio::test]
    async fn bytes_keep_their_order_whatever_their_sizes_and_however_slow_the_peer() {
        let mut stream = gathered(5_000);
        let mut all = Vec::new();
        for (index, size) in [10, MOST - 10, 1, MOST, MOST + 1, 100_000, 3, 0, 16_000, 500].into_iter().enumerate() {
            let bytes = vec![u8::try_from(index).unwrap(); size];
            stream.write_all(&bytes).await.unwrap();
            assert!(stream.waiting.len() <= MOST);
            all.extend(bytes);
        }
        stream.shutdown().await.unwrap();
        assert!(stream.stream.writes.concat() == all);
    }
}
