//! The changes that a proxy makes to a message (RFC 3261 §16.6, §16.7). All other lines remain as
//! received.

use super::{Header, Headers, Params, Request, grammar};

impl Headers {
    /// Inserts a Via above all others.
    pub fn push_via(&mut self, via: &str) {
        self.prepend(Header::Via, via);
    }

    /// Removes the topmost Via and returns whether there was one.
    pub fn pop_via(&mut self) -> bool {
        self.replace_first(Header::Via, None)
    }

    /// Adds the source address of the request to the topmost Via: always `received`, as RFC 3581 §4
    /// requires together with `rport`, and the value of `rport` if the client sent that parameter.
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

    /// Inserts a Record-Route above all others; `route` is the complete value, e.g. `<sip:edge.example;lr>`.
    pub fn push_record_route(&mut self, route: &str) {
        self.push_below_via(Header::RecordRoute, route);
    }

    /// Inserts a Route above all others; `route` is the complete value.
    pub fn push_route(&mut self, route: &str) {
        self.push_below_via(Header::Route, route);
    }

    /// Removes the topmost Route and returns its value.
    pub fn pop_route(&mut self) -> Option<String> {
        let route = grammar::first_item(self.value(Header::Route)?).0.to_owned();
        self.replace_first(Header::Route, None);
        Some(route)
    }

    /// Inserts a Path above all others (RFC 3327 §5.2); `path` is the complete value.
    pub fn push_path(&mut self, path: &str) {
        self.push_below_via(Header::Path, path);
    }

    /// Inserts above the first line of this name; if there is none, below the last Via.
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
    /// Decrements Max-Forwards (RFC 3261 §16.6 step 3; sets 70 if it is missing) and returns the new
    /// value. `None` if it was 0: the request is not forwarded but answered with 483. A malformed
    /// value, which [`Request::validate`] rejects, counts as 0.
    pub fn decrement_max_forwards(&mut self) -> Option<u8> {
        let hops = match self.max_forwards() {
            Ok(Some(received)) => received.checked_sub(1)?,
            Ok(None) => 70,
            Err(_) => return None,
        };
        let mut digits = String::new();
        grammar::push_number(&mut digits, hops.into());
        self.set(Header::MaxForwards, &digits);
        Some(hops)
    }
}
