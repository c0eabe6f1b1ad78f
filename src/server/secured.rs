//! The server's side of a TLS connection, as a stream that holds no buffers while it rests.
//!
//! Thousands of phones sit idle on their Web sockets. The usual stream keeps four kilobytes for each
//! of them, ready for a read that may come in half an hour; here reading and writing borrow a buffer of
//! the thread's, and only what is half a record, or not yet taken, is kept with the connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at a time: one record (RFC 8446 section 5.2).
const READ: usize = 17 << 10;
/// Bytes encrypted at a time: some records.
const MOST: usize = 64 << 10;

pub struct Secured<S> {
    stream: S,
    session: Box<UnbufferedServerConnection>,
    /// The beginning of a record whose rest has not arrived.
    incoming: Vec<u8>,
    held: Held,
    /// Of [`Held::plaintext`], so much was read already.
    read: usize,
    /// Of [`Held::outgoing`], so much was written already.
    written: usize,
    /// We said farewell.
    closing: bool,
}

/// What the session has produced and nobody has taken yet. Without memory while the connection rests.
#[derive(Default)]
struct Held {
    plaintext: Vec<u8>,
    /// Records.
    outgoing: Vec<u8>,
    /// The peer said farewell.
    ended: bool,
    /// What the peer sent was not in order.
    broken: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secured<S> {
    /// Waits for the handshake.
    pub async fn accept(stream: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = Box::new(UnbufferedServerConnection::new(config).map_err(io::Error::other)?);
        let held = Held::default();
        let mut secured = Self { stream, session, incoming: Vec::new(), held, read: 0, written: 0, closing: false };
        poll_fn(|cx| secured.poll_handshake(cx)).await?;
        Ok(secured)
    }

    /// What was agreed on by ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            // Both at a time: a peer may not read before it is rid of what it has to say.
            if let Poll::Ready(outcome) = self.poll_drain(cx) {
                outcome?;
            }
            if !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        // The last of it, a ticket, need not have left: the peer may already speak.
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Takes in what has arrived; false when the peer is gone.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let outcome = INCOMING.with_borrow_mut(|buffer| {
            let begun = self.incoming.len();
            if buffer.len() < begun + READ {
                buffer.resize(begun + READ, 0);
            }
            let mut room = ReadBuf::new(&mut buffer[begun..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
            let count = room.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(false));
            }
            buffer[..begun].copy_from_slice(&self.incoming);
            let received = &mut buffer[..begun + count];
            let (used, outcome) = take_in(&mut self.session, received, &mut self.held);
            let rest = &received[used..];
            if rest.is_empty() {
                self.incoming = Vec::new();
            } else {
                self.incoming.clear();
                self.incoming.extend_from_slice(rest);
            }
            Poll::Ready(outcome.map(|()| true))
        });
        if matches!(outcome, Poll::Ready(Err(_))) {
            // The peer is told why, as far as it still takes anything.
            let _ = self.poll_drain(cx);
        }
        outcome
    }

    /// Encrypts some of `plain` and writes as much as the peer takes.
    fn poll_send(&mut self, cx: &mut Context<'_>, plain: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        let plain = &plain[..plain.len().min(MOST)];
        OUTGOING.with_borrow_mut(|buffer| {
            let length = self.encrypt(plain, buffer)?;
            let mut records = &buffer[..length];
            // What the session itself has to say comes first.
            if self.held.outgoing.is_empty()
                && let Poll::Ready(count) = Pin::new(&mut self.stream).poll_write(cx, records)
            {
                records = &records[count?..];
            }
            self.held.outgoing.extend_from_slice(records);
            Poll::Ready(Ok(plain.len()))
        })
    }

    fn encrypt(&mut self, plain: &[u8], buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.settle()?;
        let state = self.session.process_tls_records(&mut self.incoming).state;
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        loop {
            match traffic.encrypt(plain, buffer) {
                Ok(length) => return Ok(length),
                Err(EncryptError::InsufficientSize(wanted)) if buffer.len() < wanted.required_size => {
                    buffer.resize(wanted.required_size, 0);
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Lets the session finish what it is at, so that it can write.
    fn settle(&mut self) -> io::Result<()> {
        let (used, outcome) = take_in(&mut self.session, &mut self.incoming, &mut self.held);
        self.incoming.drain(..used);
        outcome
    }

    /// Writes what waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.outgoing.len() {
            let waiting = &self.held.outgoing[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, waiting))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.held.outgoing = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// Lets the session look at what was received, until it needs more. How much of it is done with, and
/// whether it was in order; once it was not, the session must not be asked again.
fn take_in(session: &mut UnbufferedServerConnection, received: &mut [u8], held: &mut Held) -> (usize, io::Result<()>) {
    if held.broken {
        return (received.len(), Err(io::ErrorKind::BrokenPipe.into()));
    }
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = session.process_tls_records(&mut received[used..]);
        used += discard;
        match state {
            Ok(state) => match handle(state, held) {
                Some(further) => used += further,
                None => return (used, Ok(())),
            },
            Err(error) => {
                held.broken = true;
                // The alert that says why. Without one it would look at the same bytes again.
                if session.wants_write()
                    && let Ok(state) = session.process_tls_records(&mut received[used..]).state
                {
                    handle(state, held);
                }
                return (used, Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

/// Takes what the session produced; how many bytes further that was. Nothing when it waits for more.
fn handle(state: ConnectionState<'_, '_, ServerConnectionData>, held: &mut Held) -> Option<usize> {
    let mut used = 0;
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(Ok(record)) = traffic.next_record() {
                used += record.discard;
                held.plaintext.extend_from_slice(record.payload);
            }
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut held.outgoing),
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::PeerClosed => held.ended = true,
        // Early data is switched off; whatever else there may be waits for more.
        _ => return None,
    }
    Some(used)
}

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) {
    let start = outgoing.len();
    while let Err(EncodeError::InsufficientSize(wanted)) = data.encode(&mut outgoing[start..]) {
        outgoing.resize(start + wanted.required_size, 0);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Who reads may be about to wait for an answer to what is still held here.
        if !this.held.outgoing.is_empty()
            && let Poll::Ready(outcome) = this.poll_drain(cx)
        {
            outcome?;
        }
        loop {
            let unread = &this.held.plaintext[this.read..];
            if !unread.is_empty() {
                let count = unread.len().min(buf.remaining());
                buf.put_slice(&unread[..count]);
                this.read += count;
                if this.read == this.held.plaintext.len() {
                    this.held.plaintext = Vec::new();
                    this.read = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if this.held.ended {
                return Poll::Ready(Ok(()));
            }
            if !ready!(this.poll_receive(cx))? {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            // An answer to the peer's TLS, such as to a change of keys, does not wait for the next write.
            if !this.held.outgoing.is_empty()
                && let Poll::Ready(outcome) = this.poll_drain(cx)
            {
                outcome?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing && !this.held.broken {
            this.closing = true;
            this.settle()?;
            let mut farewell = [0; 64];
            let state = this.session.process_tls_records(&mut this.incoming).state;
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state
                && let Ok(length) = traffic.queue_close_notify(&mut farewell)
            {
                this.held.outgoing.extend_from_slice(&farewell[..length]);
            }
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = RefCell::default();
    static OUTGOING: RefCell<Vec<u8>> = RefCell::default();
}

#[cfg(test)]
mod tests;
