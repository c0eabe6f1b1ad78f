//! One connection, from the accepted stream to its end: TLS handshake, protocol, time limits, and a graceful end when
//! the server stops.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::connection_info::ConnectionInfo;
use super::http2_streams::{Http2Transport, StreamExecutor};
use super::redirect;
use super::request_body::RequestBody;
use super::request_handler::RequestHandler;
use crate::certs::ACME_TLS;
use crate::config::LimitSettings;

/// Bytes of a request's header in all.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// How long a peer without an open request may take to end the connection, once it was told to.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What every connection of the server shares.
pub struct ServerContext {
    pub handler: RequestHandler,
    /// A connection keeps those that it began with.
    pub limits: watch::Receiver<LimitSettings>,
}

/// A stream whose writes time out when they make no progress, so that a client which asks for a large answer and never
/// reads it does not hold the answer's memory.
type TimedStream<S> = Pin<Box<TimeoutStream<S>>>;

fn timed<S: AsyncRead + AsyncWrite>(stream: S, write_timeout: Duration) -> TimedStream<S> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    Box::pin(stream)
}

pub async fn serve_tls(
    stream: TcpStream,
    shared: Arc<ServerContext>,
    info: Arc<ConnectionInfo>,
    acceptor: TlsAcceptor,
) {
    let LimitSettings { header_timeout, write_timeout, .. } = *shared.limits.borrow();
    // On the heap, so that the handshake's memory is free once it is over.
    let handshake = Box::pin(tokio::time::timeout(header_timeout, acceptor.accept(timed(stream, write_timeout))));
    let outcome = tokio::select! {
        biased;
        outcome = handshake => outcome,
        () = info.until_close_timeout() => return,
    };
    match outcome {
        Ok(Ok(stream)) => match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => serve_http2(stream, shared, info).await,
            Some(ACME_TLS) => close_validation(stream, header_timeout).await,
            _ => serve_http1(stream, shared, info).await,
        },
        Ok(Err(error)) => tracing::debug!(caller = %info.peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(caller = %info.peer, "TLS handshake took too long"),
    }
}

/// The handshake was the answer to a TLS-ALPN-01 challenge (RFC 8737 section 3): nothing more is said here.
async fn close_validation(mut stream: impl AsyncWrite + Unpin, limit: Duration) {
    // Whether the authority waits for the close_notify does not matter.
    let _ = tokio::time::timeout(limit, stream.shutdown()).await;
}

/// HTTP/1.1 without TLS.
pub async fn serve_plain<S>(stream: S, shared: Arc<ServerContext>, info: Arc<ConnectionInfo>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let write_timeout = shared.limits.borrow().write_timeout;
    serve_http1(timed(stream, write_timeout), shared, info).await;
}

/// One request, and the connection is closed.
pub async fn serve_once(stream: TcpStream, shared: Arc<ServerContext>, info: Arc<ConnectionInfo>) {
    let LimitSettings { header_timeout, write_timeout, .. } = *shared.limits.borrow();
    let service = service_fn(|request: Request<Incoming>| shared.handler.handle(&info, request.map(RequestBody::new)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout.min(redirect::HEADER_TIMEOUT))
        .max_buf_size(redirect::MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(timed(stream, write_timeout)), service);
    log_end(&info, connection.await);
}

async fn serve_http1<S>(stream: S, shared: Arc<ServerContext>, info: Arc<ConnectionInfo>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let has_request = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (shared, info, has_request) = (Arc::clone(&shared), Arc::clone(&info), Arc::clone(&has_request));
        move |request: Request<Incoming>| {
            has_request.store(true, Ordering::Relaxed);
            let (shared, info) = (Arc::clone(&shared), Arc::clone(&info));
            async move { shared.handler.handle(&info, request.map(RequestBody::new)).await }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also closes a connection that stays idle between two requests.
        .header_read_timeout(shared.limits.borrow().header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = info.until_stopping() => {
            // Between two requests, this is the end of it.
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(CLOSE_TIMEOUT, connection.as_mut()).await {
                Ok(outcome) => outcome,
                Err(_) if has_request.load(Ordering::Relaxed) => connection.await,
                Err(_) => Ok(()),
            }
        }
    };
    log_end(&info, outcome);
}

async fn serve_http2<S>(stream: S, shared: Arc<ServerContext>, info: Arc<ConnectionInfo>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let has_request = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (shared, info, has_request) = (Arc::clone(&shared), Arc::clone(&info), Arc::clone(&has_request));
        move |request: Request<Incoming>| {
            has_request.store(true, Ordering::Relaxed);
            let (shared, info) = (Arc::clone(&shared), Arc::clone(&info));
            // On the heap, because h2 moves a stream several times.
            Box::pin(async move { shared.handler.handle(&info, request.map(RequestBody::new)).await })
        }
    });
    let idle_timeout = shared.limits.borrow().header_timeout;
    // Pings begin when the peer has begun to speak HTTP/2, and show from then on whether it is there.
    let no_request = async {
        tokio::time::sleep(idle_timeout).await;
        if has_request.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        tracing::debug!(caller = %info.peer, "no request by HTTP/2");
    };
    let streams = StreamExecutor::default();
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(idle_timeout / 2)
        .keep_alive_timeout(idle_timeout)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(Http2Transport::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        outcome = poll_fn(|cx| streams.poll(connection.as_mut(), cx)) => return log_end(&info, outcome),
        () = info.until_stopping() => {}
        () = no_request => {}
    }
    // GOAWAY (RFC 9113 section 6.8): a browser that connected in advance learns that it has to connect anew.
    connection.as_mut().graceful_shutdown();
    loop {
        let end = poll_fn(|cx| streams.poll(connection.as_mut(), cx));
        match tokio::time::timeout(CLOSE_TIMEOUT, end).await {
            Ok(outcome) => return log_end(&info, outcome),
            // The peer does not acknowledge the end, and nothing is owed to it.
            Err(_) if streams.none_open() => return,
            Err(_) => {}
        }
    }
}

fn log_end(info: &ConnectionInfo, outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(caller = %info.peer, %error, "connection ended");
    }
}
