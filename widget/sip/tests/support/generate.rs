//! Strategies for generated messages, and mutations of known ones.

use crate::support::torture;
use proptest::prelude::*;

/// A header line in any allowed form: any case, compact, with white space, folded.
fn line(names: &'static [&'static str], value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::sample::select(names), 0..3usize, "[ \t]{0,2}", "([ \t]{0,2}|\r\n[ \t]{1,2})", value, "[ \t]{0,2}").prop_map(
        |(name, case, before, after, value, end)| {
            let name = match case {
                0 => name.to_owned(),
                1 => name.to_lowercase(),
                _ => name.to_uppercase(),
            };
            format!("{name}{before}:{after}{value}{end}\r\n")
        },
    )
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    "([a-z0-9]{1,8}(\\.[a-z]{2,5}){0,2}|192\\.0\\.2\\.[1-9]|\\[2001:db8::[1-9a-f]\\])(:[1-9][0-9]{2,3})?"
}

fn uri() -> impl Strategy<Value = String> {
    (
        "sips?",
        "([A-Za-z0-9*+;?&=$,/.!~'()_-]{1,12}(:[a-z0-9&=+$,]{0,4})?@)?",
        host(),
        "(;[a-z]{1,6}(=[a-z0-9.]{1,6})?){0,3}",
    )
        .prop_map(|(scheme, user, host, params)| format!("{scheme}:{user}{host}{params}"))
}

fn address() -> impl Strategy<Value = String> {
    (
        "(|\"[^\"\\\\\r\n\\x00]{0,10}\" ?|[A-Za-z0-9]{1,6} |[a-z]{1,3} [a-z]{1,3}\t)",
        uri(),
        "(;[a-su-z]{2,5}(=[a-z0-9]{1,5})?){0,2}",
    )
        .prop_map(|(display, uri, params)| format!("{display}<{uri}>{params}"))
}

prop_compose! {
    fn via()(transport in "(UDP|TCP|TLS|WS|WSS)", host in host(), branch in token(), rport in "(;rport)?") -> String {
        format!("SIP/2.0/{transport} {host}{rport};branch=z9hG4bK{branch}")
    }
}

/// A generated request: its text and the values in it.
#[derive(Debug, Clone)]
pub struct GeneratedRequest {
    pub text: String,
    pub uri: String,
    pub branches: usize,
    pub from_tag: String,
    pub to_tag: Option<String>,
    pub call_id: String,
    pub cseq: u32,
    pub contacts: usize,
    pub body: Vec<u8>,
}

pub fn request() -> impl Strategy<Value = GeneratedRequest> {
    let start = (prop::sample::select(&["INVITE", "OPTIONS", "REGISTER", "FOO-1"][..]), uri());
    let identity = (address(), token(), address(), prop::option::of(token()), "[a-zA-Z0-9.@-]{1,20}", 0..1u32 << 31);
    let lists =
        (prop::collection::vec(prop::collection::vec(via(), 1..3), 1..4), prop::collection::vec(address(), 0..3));
    let other = line(&["X-Queue", "Subject", "s", "Server", "P-Strange"], "[^\r\n\\x00]{0,30}".prop_map(|text| text));
    let rest =
        (prop::collection::vec(other, 0..6), prop::collection::vec(any::<u8>(), 0..40), any::<bool>(), any::<u64>());
    (start, identity, lists, rest).prop_flat_map(
        |(
            (method, uri),
            (from, from_tag, to, to_tag, call_id, cseq),
            (vias, contacts),
            (others, body, length, seed),
        )| {
            let mut fields: Vec<BoxedStrategy<String>> = Vec::new();
            let branches: usize = vias.iter().map(Vec::len).sum();
            let vias: Vec<_> = vias.iter().map(|hops| line(&["Via", "v"], Just(hops.join(", "))).boxed()).collect();
            fields.extend(vias);
            fields.push(line(&["From", "f"], Just(format!("{from};tag={from_tag}"))).boxed());
            let tag = to_tag.as_ref().map(|tag| format!(" ; tag = {tag}")).unwrap_or_default();
            fields.push(line(&["To", "t"], Just(format!("{to}{tag}"))).boxed());
            fields.push(line(&["Call-ID", "i"], Just(call_id.clone())).boxed());
            fields.push(line(&["CSeq"], Just(format!("{cseq} {method}"))).boxed());
            fields.push(line(&["Max-Forwards"], Just("70".to_owned())).boxed());
            if !contacts.is_empty() {
                fields.push(line(&["Contact", "m"], Just(contacts.join(" , "))).boxed());
            }
            if length {
                fields.push(line(&["Content-Length", "l"], Just(body.len().to_string())).boxed());
            }
            fields.extend(others.into_iter().map(|other| Just(other).boxed()));
            let count = fields.len();
            let contacts = contacts.len();
            fields.prop_map(move |mut lines| {
                // The order of the header fields does not matter.
                let turn = usize::try_from(seed % count as u64).unwrap();
                lines.rotate_left(turn);
                let head = format!("{method} {uri} SIP/2.0\r\n{}\r\n", lines.concat());
                GeneratedRequest {
                    text: head,
                    uri: uri.clone(),
                    branches,
                    from_tag: from_tag.clone(),
                    to_tag: to_tag.clone(),
                    call_id: call_id.clone(),
                    cseq,
                    contacts,
                    body: body.clone(),
                }
            })
        },
    )
}

impl GeneratedRequest {
    pub fn bytes(&self) -> Vec<u8> {
        [self.text.as_bytes(), &self.body].concat()
    }
}

/// One change of the bytes of a message.
#[derive(Debug, Clone)]
pub enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Double(usize, usize),
}

pub fn mutation() -> impl Strategy<Value = Mutation> {
    let delimiter = prop::sample::select(
        &[
            "\r\n",
            "\r",
            "\n",
            "\"",
            "<",
            ">",
            ",",
            ";",
            ":",
            "%",
            "\\",
            "\0",
            "\u{e9}",
            " ",
            "\t",
            "=",
            "@",
            "[",
            "]",
            "SIP/2.0",
            "*",
            "99999999999",
        ][..],
    );
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<usize>(), delimiter).prop_map(|(at, text)| Mutation::Insert(at, text.into())),
        (any::<usize>(), 1..40usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (any::<usize>(), 1..60usize).prop_map(|(at, length)| Mutation::Double(at, length)),
    ]
}

pub fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let length = bytes.len().max(1);
        match mutation {
            Mutation::Set(at, byte) => {
                if let Some(slot) = bytes.get_mut(at % length) {
                    *slot = *byte;
                }
            }
            Mutation::Insert(at, piece) => {
                let at = at % length;
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), piece.iter().copied());
            }
            Mutation::Cut(at, count) => {
                let at = at % length;
                bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()));
            }
            Mutation::Double(at, count) => {
                let at = (at % length).min(bytes.len());
                let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

pub fn corpus() -> Vec<Vec<u8>> {
    let invite = include_str!("../../benches/invite.txt").replace('\n', "\r\n").into_bytes();
    torture().into_iter().map(|(_, bytes)| bytes).chain([invite]).collect()
}
