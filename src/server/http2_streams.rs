//! The streams of one HTTP/2 connection, polled in the connection's own task.
//!
//! Most answers are in memory: their futures are done when they are first polled. A task for each would be woken and
//! scheduled, and would wake the connection to write its answer alone, in a TLS record and a system call of its own. Here
//! what was asked together is answered together. Only a stream that has to wait becomes a task.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http2_flood::FrameBudget;

type StreamFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The executor of one connection's streams.
#[derive(Clone, Default)]
pub struct StreamExecutor(Arc<Streams>);

#[derive(Default)]
struct Streams {
    /// By the connection, and not polled yet.
    accepted: Mutex<Vec<StreamFuture>>,
    /// Each stream that had to become a task holds it as well.
    open: Arc<()>,
}

impl Streams {
    fn accepted(&self) -> MutexGuard<'_, Vec<StreamFuture>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.accepted().push(Box::pin(stream));
    }
}

impl StreamExecutor {
    /// Polls the connection that has this executor, then the streams that it has accepted, then the connection again,
    /// which sends what they have answered.
    pub fn poll<C: Future>(&self, mut connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                self.poll_accepted();
                return Poll::Ready(outcome);
            }
            if !self.poll_accepted() {
                return Poll::Pending;
            }
        }
    }

    /// Whether every stream that was accepted is answered, to the end of its body.
    pub fn none_open(&self) -> bool {
        self.0.accepted().is_empty() && Arc::strong_count(&self.0.open) == 1
    }

    /// Whether there was any.
    fn poll_accepted(&self) -> bool {
        let accepted = std::mem::take(&mut *self.0.accepted());
        let any = !accepted.is_empty();
        for mut stream in accepted {
            // Nobody needs to be woken for it: as a task, it is polled again at once.
            if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                let open = Arc::clone(&self.0.open);
                drop(tokio::spawn(async move {
                    stream.await;
                    drop(open);
                }));
            }
        }
        any
    }
}

/// The transport of h2. It does not say that slices of memory can be written together: h2 would flush before each DATA frame
/// of 256 bytes or more, to save copying it; else only from 1,024 bytes on. Most answers of the API are between the two.
/// And it ends with an error when its client floods it with frames.
pub struct Http2Transport<S> {
    stream: S,
    budget: FrameBudget,
}

impl<S> Http2Transport<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, budget: FrameBudget::new(Instant::now()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http2Transport<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.budget.received(&buf.filled()[before..], Instant::now()).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http2Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::convert::Infallible;
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures_util::future::join_all;
    use http_body_util::{BodyExt as _, Empty, Full};
    use hyper::client::conn::http2::SendRequest;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::DuplexStream;
    use tokio::sync::Notify;

    use super::*;

    /// As long as most answers of the API.
    const BODY_BYTES: usize = 700;

    type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

    /// Remembers each write.
    struct Recorded {
        stream: DuplexStream,
        writes: Writes,
    }

    impl AsyncRead for Recorded {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Recorded {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.writes.lock().unwrap().push(buf.to_vec());
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// A server that answers `/slow` when it is notified, and everything else at once.
    async fn serve() -> (SendRequest<Empty<Bytes>>, Writes, Arc<Notify>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (writes, notify) = (Writes::default(), Arc::new(Notify::new()));
        let far = Recorded { stream: far, writes: Arc::clone(&writes) };
        let service = service_fn({
            let notify = Arc::clone(&notify);
            move |request: Request<hyper::body::Incoming>| {
                let notify = Arc::clone(&notify);
                async move {
                    if request.uri().path() == "/slow" {
                        notify.notified().await;
                    }
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'a'; BODY_BYTES]))))
                }
            }
        });
        let streams = StreamExecutor::default();
        let builder = hyper::server::conn::http2::Builder::new(streams.clone());
        let mut connection = Box::pin(builder.serve_connection(TokioIo::new(Http2Transport::new(far)), service));
        tokio::spawn(async move { poll_fn(|cx| streams.poll(connection.as_mut(), cx)).await });
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        (sender, writes, notify)
    }

    async fn get(mut sender: SendRequest<Empty<Bytes>>, path: &str) -> usize {
        let request = Request::get(format!("http://localhost{path}")).body(Empty::new()).unwrap();
        sender.ready().await.unwrap();
        sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn what_is_asked_together_is_answered_in_one_write() {
        let (sender, writes, _) = serve().await;
        assert_eq!(get(sender.clone(), "/").await, BODY_BYTES);
        writes.lock().unwrap().clear();
        let answers = join_all((0..4).map(|_| get(sender.clone(), "/"))).await;
        assert_eq!(answers, [BODY_BYTES; 4]);
        let largest = writes.lock().unwrap().iter().map(Vec::len).max();
        assert!(largest >= Some(4 * BODY_BYTES), "{largest:?}");
    }

    #[tokio::test]
    async fn an_answer_that_has_to_wait_holds_up_no_other() {
        let (sender, _, notify) = serve().await;
        let slow = tokio::spawn(get(sender.clone(), "/slow"));
        for _ in 0..3 {
            assert_eq!(get(sender.clone(), "/").await, BODY_BYTES);
        }
        assert!(!slow.is_finished());
        notify.notify_one();
        assert_eq!(slow.await.unwrap(), BODY_BYTES);
    }
}
