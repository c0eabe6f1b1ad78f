//! Parsing a WebRTC INVITE beside sipx-sip and ezk-sip-types, in one run and in turns.
//!
//! `cargo bench -p bitcall-sip --bench parse`. Each does the same work: parse the message, then the top
//! Via's branch, the tags of From and To, Call-ID, `CSeq`, the Contact's URI and the body. What counts
//! is the ratio of the medians; the times themselves depend on the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use bytes::Bytes;
use ezk_sip_types as ezk;
use std::hint::black_box;
use std::time::Instant;

/// What Chromium offers for audio, sent by a phone behind two proxies.
const INVITE: &str = include_str!("invite.txt");
const BATCH: u32 = 100;
const ROUNDS: usize = 600;

/// What each library must find; compared once before anything is measured.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    branch: String,
    from_tag: Option<String>,
    to_tag: Option<String>,
    call_id: String,
    cseq: u32,
    contact_host: String,
    body: usize,
}

fn main() {
    let message = INVITE.replace('\n', "\r\n");
    let bytes = Bytes::from(message.clone().into_bytes());
    let expected = Found {
        branch: "z9hG4bK1d32hash".into(),
        from_tag: Some("ojtpe6r9ul".into()),
        to_tag: None,
        call_id: "6hbk1ba2pvd4c6l9jhnm".into(),
        cseq: 7134,
        contact_host: "s5bqkvpmml8u.invalid".into(),
        body: message.len() - message.find("\r\n\r\n").unwrap() - 4,
    };
    assert_eq!(bitcall(message.as_bytes(), found), expected);
    assert_eq!(sipx(&bytes, found), expected);
    assert_eq!(ezk(&bytes, found), expected);

    let contestants: [(&str, &dyn Fn()); 5] = [
        ("bitcall-sip", &|| bitcall(black_box(message.as_bytes()), look)),
        ("sipx-sip 1.0.1", &|| sipx(black_box(&bytes), look)),
        ("ezk-sip-types 0.6", &|| ezk(black_box(&bytes), look)),
        ("bitcall-sip, with every check", &|| check(black_box(message.as_bytes()))),
        ("bitcall-sip, as a proxy: in, changed, out", &|| forward(black_box(message.as_bytes()))),
    ];
    let mut samples = vec![Vec::with_capacity(ROUNDS); contestants.len()];
    for round in 0..ROUNDS + ROUNDS / 10 {
        for ((_, work), times) in contestants.iter().zip(&mut samples) {
            let start = Instant::now();
            for _ in 0..BATCH {
                work();
            }
            // The first rounds warm caches and branch predictors.
            if round >= ROUNDS / 10 {
                times.push(start.elapsed().as_nanos() / u128::from(BATCH));
            }
        }
    }
    let medians: Vec<u128> = samples
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect();
    println!("parse an INVITE of {} bytes and read what a user agent needs", message.len());
    println!("{:<44}{:>10}{:>22}", "", "ns", "times bitcall-sip");
    for ((name, _), median) in contestants.iter().zip(&medians) {
        #[allow(clippy::cast_precision_loss)]
        let ratio = *median as f64 / medians[0] as f64;
        println!("{name:<44}{median:>10}{ratio:>20.1} ×");
    }
}

/// The same seven findings, borrowed.
struct ReadFields<'a> {
    branch: &'a [u8],
    from_tag: Option<&'a [u8]>,
    to_tag: Option<&'a [u8]>,
    call_id: &'a [u8],
    cseq: u32,
    contact_host: &'a [u8],
    body: &'a [u8],
}

fn look(seen: &ReadFields<'_>) {
    black_box(seen);
}

fn found(seen: &ReadFields<'_>) -> Found {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Found {
        branch: text(seen.branch),
        from_tag: seen.from_tag.map(text),
        to_tag: seen.to_tag.map(text),
        call_id: text(seen.call_id),
        cseq: seen.cseq,
        contact_host: text(seen.contact_host),
        body: seen.body.len(),
    }
}

fn bitcall<T>(message: &[u8], see: impl FnOnce(&ReadFields<'_>) -> T) -> T {
    let Ok(bitcall_sip::message::Message::Request(request)) = bitcall_sip::message::Message::parse(message) else {
        panic!("a request")
    };
    see(&ReadFields {
        branch: request.via().unwrap().branch().unwrap().as_bytes(),
        from_tag: request.from().unwrap().tag().map(str::as_bytes),
        to_tag: request.to().unwrap().tag().map(str::as_bytes),
        call_id: request.call_id().unwrap().as_bytes(),
        cseq: request.cseq().unwrap().number,
        contact_host: request.contact().unwrap().unwrap().uri().unwrap().host.as_bytes(),
        body: request.body(),
    })
}

fn check(message: &[u8]) {
    let message = bitcall_sip::message::Message::parse(message).unwrap();
    message.validate().unwrap();
    black_box(&message);
}

fn forward(message: &[u8]) {
    let Ok(bitcall_sip::message::Message::Request(mut request)) = bitcall_sip::message::Message::parse(message) else {
        panic!("a request")
    };
    request.push_via("SIP/2.0/WSS edge.invalid;branch=z9hG4bKedge");
    request.push_record_route("<sip:edge.invalid;lr>");
    request.decrement_max_forwards().unwrap();
    black_box(request.to_bytes());
}

fn sipx<T>(message: &Bytes, see: impl FnOnce(&ReadFields<'_>) -> T) -> T {
    use sipx_sip::headers::{CSeq, CallId, Contact, From, To, Via};
    let Ok(sipx_sip::Message::Request(request)) =
        sipx_sip::parse_datagram(message.clone(), &sipx_sip::Limits::datagram())
    else {
        panic!("a request")
    };
    let headers = &request.headers;
    let via = headers.typed::<Via>().unwrap().unwrap();
    let from = headers.typed::<From>().unwrap().unwrap();
    let to = headers.typed::<To>().unwrap().unwrap();
    let call_id = headers.typed::<CallId>().unwrap().unwrap();
    let cseq = headers.typed::<CSeq>().unwrap().unwrap();
    let contact = headers.typed::<Contact>().unwrap().unwrap();
    let Some(sipx_sip::Host::Name(host)) = contact.0.uri.host() else { panic!("a name") };
    see(&ReadFields {
        branch: via.branch().unwrap(),
        from_tag: from.0.tag(),
        to_tag: to.0.tag(),
        call_id: call_id.0.as_ref(),
        cseq: cseq.sequence,
        contact_host: host.as_bytes(),
        body: request.body(),
    })
}

fn ezk<T>(message: &Bytes, see: impl FnOnce(&ReadFields<'_>) -> T) -> T {
    use ezk::header::typed::{CSeq, CallID, Contact, FromTo, Via};
    use ezk::msg::{Line, MessageLine, PullParser};
    use ezk::parse::Parse;
    let mut parser = PullParser::new(message, 0);
    let first = std::str::from_utf8(parser.next().unwrap().unwrap()).unwrap();
    let (_, line) = MessageLine::parse(message)(first).unwrap();
    assert!(line.is_request());
    let mut headers = ezk::Headers::with_capacity(16);
    for line in &mut parser {
        let (_, line) = Line::parse(message, std::str::from_utf8(line.unwrap()).unwrap()).unwrap();
        headers.insert(line.name, line.value);
    }
    let body = message.slice(parser.head_end()..);
    let via: Via = headers.get_named().unwrap();
    let from: FromTo = headers.get(ezk::Name::FROM).unwrap();
    let to: FromTo = headers.get(ezk::Name::TO).unwrap();
    let call_id: CallID = headers.get_named().unwrap();
    let cseq: CSeq = headers.get_named().unwrap();
    let contact: Contact = headers.get_named().unwrap();
    let ezk::host::Host::Name(host) = &contact.uri.uri.host_port.host else { panic!("a name") };
    see(&ReadFields {
        branch: via.params.get_val("branch").unwrap().as_bytes(),
        from_tag: from.tag.as_ref().map(|tag| tag.as_bytes()),
        to_tag: to.tag.as_ref().map(|tag| tag.as_bytes()),
        call_id: call_id.0.as_bytes(),
        cseq: cseq.cseq,
        contact_host: host.as_bytes(),
        body: &body,
    })
}
