//! What is noted of a request before it is answered, where the access log is on or refusals are logged.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{HeaderMap, HeaderName, ORIGIN, REFERER, USER_AGENT};
use hyper::{Request, Response};
use tracing::Level;

use super::access_log::{AccessEntry, AccessLog, redacted, without_query};
use super::connection_info::{ConnectionInfo, Peer};
use crate::api::{ApiError, ConcernedTenant};
use crate::timestamp::Timestamp;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub struct NotedRequest {
    caller: Peer,
    origin: Option<String>,
    entry: AccessEntry,
    started: Instant,
    concerned: ConcernedTenant,
    /// None: only a refusal is told.
    access_log: Option<Arc<AccessLog>>,
}

impl NotedRequest {
    /// Nothing where nobody wants to know, which costs nothing.
    pub fn of<B>(
        access_log: Option<&Arc<AccessLog>>,
        info: &ConnectionInfo,
        request: &mut Request<B>,
    ) -> Option<Box<Self>> {
        // Health checks and the operator's own commands are not what comes from outside.
        let is_public = matches!(info.peer, Peer::Remote(_) | Peer::Redirect(_));
        let access_log = access_log.filter(|_| is_public).cloned();
        if access_log.is_none() && !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let concerned = ConcernedTenant::default();
        request.extensions_mut().insert(concerned.clone());
        let headers = request.headers();
        let entry = AccessEntry {
            timestamp: Timestamp::now(),
            target: "access",
            client: info.client_address(headers),
            tenant: None,
            method: request.method().clone(),
            path: redacted(request.uri()),
            protocol: request.version(),
            status: 0,
            bytes: 0,
            duration_ms: 0.0,
            error: None,
            request_id: None,
            referer: text(headers, &REFERER).map(|url| without_query(&url)),
            user_agent: text(headers, &USER_AGENT),
        };
        let origin = text(headers, &ORIGIN);
        Some(Box::new(Self { caller: info.peer, origin, entry, started: Instant::now(), concerned, access_log }))
    }

    /// Tells a refusal, and has the access log written when the answer has left.
    pub fn answered(mut self: Box<Self>, response: Response<Body>) -> Response<Body> {
        self.entry.tenant = self.concerned.get().map(ToString::to_string);
        self.entry.status = response.status().as_u16();
        self.entry.request_id = text(response.headers(), &X_REQUEST_ID);
        let error = response.extensions().get::<ApiError>();
        self.entry.error = error.map(|error| error.code.as_str());
        if let Some(ApiError { code, message, .. }) = error {
            let AccessEntry { client, tenant, method, path, request_id, .. } = &self.entry;
            tracing::debug!(
                client = client.map_or_else(|| self.caller.to_string(), |client| client.to_string()),
                %method,
                path,
                tenant,
                origin = self.origin,
                code = code.as_str(),
                reason = message,
                request_id,
                "request refused"
            );
        }
        match self.access_log.take() {
            None => response,
            Some(access_log) => {
                let Self { entry, started, .. } = *self;
                response.map(|inner| Body::new(LoggedBody { inner, entry, started, access_log }))
            }
        }
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// An answer's body, whose end writes the line.
struct LoggedBody {
    inner: Body,
    entry: AccessEntry,
    started: Instant,
    access_log: Arc<AccessLog>,
}

impl hyper::body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        self.entry.duration_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        self.access_log.write(&self.entry);
    }
}
