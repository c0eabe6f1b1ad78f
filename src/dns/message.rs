//! Turns the bytes of a query into those of its response (RFC 1035 section 4, EDNS by RFC 6891). Sans-IO.
//!
//! hickory-server reads the request and writes the response; its own sockets are not used, because they
//! start a task for each datagram and accept any number of connections.

use std::net::SocketAddr;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{DNSClass, Record};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;

use super::zone::{DnsZone, ZoneAnswer};

/// Fits into one packet of nearly every network, so that no fragment can be forged (DNS Flag Day 2020).
const MAX_DATAGRAM_BYTES: u16 = 1232;
const HEADER_BYTES: usize = 12;
const MAX_NAME_BYTES: usize = 255;
/// Bits of the third byte of the header (RFC 1035 section 4.1.1).
const QR_BIT: u8 = 0x80;
const TC_BIT: u8 = 0x02;
const RD_BIT: u8 = 0x01;

/// The transport of a query, which limits the size of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsTransport {
    Udp,
    Tcp,
}

/// The response to `query`; none to a response. `now` is in seconds since 1970.
pub fn respond(zone: &DnsZone, query: Vec<u8>, from: SocketAddr, transport: DnsTransport, now: u64) -> Option<Vec<u8>> {
    let header = RawHeader::read(&query)?;
    // Responses to responses would never end.
    if header.is_response {
        return None;
    }
    if header.opcode != u8::from(OpCode::Query) {
        return Some(header.error(ResponseCode::NotImp));
    }
    if header.questions != 1 {
        return Some(header.error(ResponseCode::FormErr));
    }
    let protocol = match transport {
        DnsTransport::Udp => Protocol::Udp,
        DnsTransport::Tcp => Protocol::Tcp,
    };
    let Ok(request) = Request::from_bytes(query, from, protocol) else {
        return Some(header.error(ResponseCode::FormErr));
    };
    let Some(question) = request.queries.queries().first() else {
        return Some(header.error(ResponseCode::FormErr));
    };
    let answer = if request.version() > 0 {
        ZoneAnswer::only(ResponseCode::BADVERS)
    } else if question.query_class() == DNSClass::IN {
        zone.answer(question.original().name(), question.name(), question.query_type(), now)
    } else {
        ZoneAnswer::only(ResponseCode::Refused)
    };
    let limit = match transport {
        DnsTransport::Udp => request.max_payload().min(MAX_DATAGRAM_BYTES),
        DnsTransport::Tcp => u16::MAX,
    };
    write(&request, &answer, limit, false).or_else(|| Some(header.error(ResponseCode::ServFail)))
}

/// An empty truncated response, which makes the client repeat its query over TCP: a forged source address cannot.
pub fn truncated(query: &[u8]) -> Option<Vec<u8>> {
    let header = RawHeader::read(query).filter(|header| !header.is_response)?;
    let mut bytes = header.error(ResponseCode::NoError);
    bytes[2] |= TC_BIT;
    if header.questions == 1
        && let Some(question) = question_bytes(query)
    {
        // A resolver takes a response with another question, or none, for forged.
        bytes[5] = 1;
        bytes.extend_from_slice(question);
    }
    Some(bytes)
}

fn write(request: &Request, answer: &ZoneAnswer, limit: u16, truncate: bool) -> Option<Vec<u8>> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.message_type = MessageType::Response;
    metadata.response_code = answer.code;
    metadata.authoritative = answer.authoritative;
    metadata.truncation = truncate;
    // This server does not validate DNSSEC, so that there is no checking to disable.
    metadata.checking_disabled = false;

    let edns = request.edns.as_ref().map(|requested| {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_DATAGRAM_BYTES).set_version(0).set_dnssec_ok(requested.flags().dnssec_ok);
        edns
    });
    let none: &[Record] = &[];
    let (answers, authority, additionals) = if truncate {
        (none, none, none)
    } else {
        (answer.answers.as_slice(), answer.authority.as_slice(), answer.additionals.as_slice())
    };
    let response = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
        metadata,
        answers,
        none,
        authority,
        additionals,
    );
    let mut bytes = Vec::with_capacity(usize::from(MAX_DATAGRAM_BYTES.min(limit)));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    let written = response.destructive_emit(&mut encoder).ok()?;
    if written.truncation && !truncate {
        // Clients ignore the records of a truncated response (RFC 2181 section 9), but the OPT record must stay.
        return write(request, answer, limit, true);
    }
    Some(bytes)
}

impl ZoneAnswer {
    /// A response code without records.
    fn only(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authority: None, additionals: Vec::new() }
    }
}

/// The header, read before the message is parsed.
struct RawHeader {
    id: [u8; 2],
    is_response: bool,
    opcode: u8,
    recursion_desired: u8,
    questions: u16,
}

impl RawHeader {
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            id: [header[0], header[1]],
            is_response: header[2] & QR_BIT != 0,
            opcode: (header[2] >> 3) & 0xF,
            recursion_desired: header[2] & RD_BIT,
            questions: u16::from_be_bytes([header[4], header[5]]),
        })
    }

    /// A response without records.
    fn error(&self, code: ResponseCode) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&self.id);
        bytes[2] = QR_BIT | (self.opcode << 3) | self.recursion_desired;
        bytes[3] = code.low();
        bytes
    }
}

/// The bytes of the only question. Its name cannot be compressed, because no other name comes before it.
fn question_bytes(query: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER_BYTES;
    loop {
        let label = *query.get(end)?;
        end += 1 + usize::from(label);
        match label {
            0 => break,
            1..64 if end - HEADER_BYTES < MAX_NAME_BYTES => {}
            _ => return None,
        }
    }
    // Type and class.
    query.get(HEADER_BYTES..end + 4)
}

#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
