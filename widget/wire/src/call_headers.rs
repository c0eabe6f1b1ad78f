//! The header fields that a host page may set for a call: `X-…`, and `User-to-User` (RFC 7433).
//!
//! Others are the phone's own. The phone checks before it prepares a call, and the agent before it places one.

use crate::agent_protocol::CallHeader;

const MAX_HEADERS: usize = 16;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 512;

/// # Errors
/// A sentence that says what is wrong.
pub fn check(headers: &[CallHeader]) -> Result<(), String> {
    if headers.len() > MAX_HEADERS {
        return Err(format!("A call has at most {MAX_HEADERS} header fields."));
    }
    for CallHeader { name, value } in headers {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!%*+`'~".contains(&byte);
        let is_extension = name.len() > 2 && name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"));
        if !(is_extension || name.eq_ignore_ascii_case("User-to-User")) || !name.bytes().all(is_token) {
            return Err("Only header fields that begin with “X-”, and User-to-User, can be set.".to_owned());
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(format!("The name of a header field is longer than {MAX_NAME_BYTES} bytes."));
        }
        if value.trim().is_empty() || value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
            return Err(format!("{name} needs a value of one line with at most {MAX_VALUE_BYTES} bytes."));
        }
    }
    Ok(())
}

/// The fields with each name once, whose values are joined by commas (RFC 3261 §7.3.1).
pub fn joined(headers: &[CallHeader]) -> Vec<CallHeader> {
    let mut joined: Vec<CallHeader> = Vec::new();
    for header in headers {
        match joined.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&header.name)) {
            Some(known) => {
                known.value.push_str(", ");
                known.value.push_str(&header.value);
            }
            None => joined.push(header.clone()),
        }
    }
    joined
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> CallHeader {
        CallHeader { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn values_of_one_name_are_joined() {
        let told = [header("X-Tag", "a"), header("User-to-User", "56"), header("x-tag", "b")];
        assert_eq!(joined(&told), [header("X-Tag", "a, b"), header("User-to-User", "56")]);
    }

    #[test]
    fn only_extension_fields_with_one_line_of_bounded_length_can_be_set() {
        for good in [header("X-Ticket", "42"), header("x-a", "ä b"), header("user-to-user", "56a3;encoding=hex")] {
            assert_eq!(check(&[good]), Ok(()));
        }
        for bad in [
            header("Via", "x"),
            header("X-", "x"),
            header("X-A\r\nVia", "x"),
            header("X-A: b", "x"),
            header("X-A", "x\r\nVia: y"),
            header("X-A", "\u{0}"),
            header("X-A", " "),
            header("X-A", &"a".repeat(513)),
            header(&format!("X-{}", "a".repeat(63)), "x"),
        ] {
            assert!(check(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        assert!(check(&vec![header("X-A", "1"); 16]).is_ok());
        assert!(check(&vec![header("X-A", "1"); 17]).is_err());
    }
}
