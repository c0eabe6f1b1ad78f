//! A request's body, whose unread rest is read after the answer.
//!
//! A refusal is often answered before the body has arrived. Over HTTP/2, what arrives for a stream that is over is
//! answered with an error, and a client that was still sending then reports that error instead of the refusal (curl: exit
//! code 92). Over HTTP/1.1, a connection that closes with bytes unread is reset, and the refusal may be lost with it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Bytes of the rest that are read; a larger one ends the stream or the connection.
const MAX_REST_BYTES: usize = 64 << 10;
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// None only while it is dropped.
pub struct RequestBody(Option<Incoming>);

impl RequestBody {
    pub fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.0.take().filter(|body| !body.is_end_stream())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(tokio::time::timeout(REST_TIMEOUT, read_rest(body))));
        }
    }
}

async fn read_rest(mut body: Incoming) {
    let mut bytes = 0;
    while bytes <= MAX_REST_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}
