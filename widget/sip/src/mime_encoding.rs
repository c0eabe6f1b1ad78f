//! The encodings of MIME (RFC 2045 §6), for bodies and for display names.

/// Base64 (§6.8), also in lines.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut buffer, mut bits) = (0u32, 0u32);
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()).take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).unwrap_or_default());
        }
    }
    Some(bytes)
}

/// Quoted-printable (§6.7). A `=` at the end of a line joins it with the next one.
pub(crate) fn quoted_printable(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, others @ ..] = rest {
        rest = match rest {
            [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => after,
            [b'=', high, low, after @ ..] => {
                bytes.push(hex(*high)? * 16 + hex(*low)?);
                after
            }
            [b'=', ..] => return None,
            _ => {
                bytes.push(*first);
                others
            }
        };
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
