//! What a proxy changes in a message on its way (RFC 3261 §16.6, §16.7): everything else stays as it
//! was received.

use super::{Header, Headers, Params, Request, grammar};

impl Headers {
    /// Puts a Via above all others.
    pub fn push_via(&mut self, via: &str) {
        self.prepend(Header::Via, via);
    }

    /// Takes the topmost Via off, and says whether there was one.
    pub fn pop_via(&mut self) -> bool {
        self.replace_first(Header::Via, None)
    }

    /// Adds to the topmost Via where the request really came from: `received` always, as RFC 3581 §4
    /// wants it together with `rport`, and `rport`'s value where the client asked for it.
    pub fn stamp_via(&mut self, received: core::net::SocketAddr) {
        let Some(value) = self.value(Header::Via) else {
            return;
        };
        let (first, _) = grammar::first_item(value);
        let (sent_by, params) = first.split_once(';').unwrap_or((first, ""));
        let mut stamped = grammar::trim(sent_by).to_owned();
        for (name, value) in Params::new(params).iter() {
            if name.eq_ignore_ascii_case("received") {
                continue;
            }
            stamped.push(';');
            stamped.push_str(name);
            if name.eq_ignore_ascii_case("rport") {
                stamped.push('=');
                grammar::push_number(&mut stamped, received.port().into());
            } else if !value.is_empty() {
                stamped.push('=');
                stamped.push_str(value);
            }
        }
        stamped.push_str(";received=");
        stamped.push_str(&received.ip().to_string());
        self.replace_first(Header::Via, Some(&stamped));
    }

    /// Puts a Record-Route above all others; `route` is a whole value: `<sip:edge.example;lr>`.
    pub fn push_record_route(&mut self, route: &str) {
        self.push_below_via(Header::RecordRoute, route);
    }

    /// Puts a Route above all others; `route` is a whole value.
    pub fn push_route(&mut self, route: &str) {
        self.push_below_via(Header::Route, route);
    }

    /// Takes the topmost Route off and returns its value.
    pub fn pop_route(&mut self) -> Option<String> {
        let route = grammar::first_item(self.value(Header::Route)?).0.to_owned();
        self.replace_first(Header::Route, None);
        Some(route)
    }

    /// Puts a Path above all others (RFC 3327 §5.2); `path` is a whole value.
    pub fn push_path(&mut self, path: &str) {
        self.push_below_via(Header::Path, path);
    }

    /// Above the first line of its name; where there is none, below the last Via.
    fn push_below_via(&mut self, header: Header, value: &str) {
        if self.has(header) {
            return self.prepend(header, value);
        }
        let at = self.lines.iter().rposition(|line| line.header == Header::Via);
        self.append(header, value);
        if let (Some(at), Some(line)) = (at, self.lines.pop()) {
            self.lines.insert(at + 1, line);
        }
    }
}

impl Request {
    /// Counts Max-Forwards down (RFC 3261 §16.6 step 3; 70 where it is missing) and returns what is
    /// left, or `None` where it was 0 already: the request is not forwarded but answered with 483. A
    /// value that is no number, which [`Request::validate`] refuses, counts as 0.
    pub fn decrement_max_forwards(&mut self) -> Option<u8> {
        let left = match self.max_forwards() {
            Ok(Some(hops)) => hops.checked_sub(1)?,
            Ok(None) => 70,
            Err(_) => return None,
        };
        let mut digits = String::new();
        grammar::push_number(&mut digits, left.into());
        self.set(Header::MaxForwards, &digits);
        Some(left)
    }
}
