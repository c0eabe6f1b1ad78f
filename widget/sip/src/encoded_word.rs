//! Encoded words in display names (RFC 2047): `=?UTF-8?Q?M=C3=BCller?=`. SIP does not have them, but
//! gateways to mail and older PBXs send them.

use crate::mime_encoding::{base64, quoted_printable};

/// The text with its encoded words decoded. What is not one, or has a character set that is not known,
/// stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        let Some((content, after)) = word_at(word) else {
            decoded.push_str(before);
            decoded.push_str("=?");
            rest = word.get(2..).unwrap_or_default();
            after_word = false;
            continue;
        };
        // White space between two encoded words is not part of the text (§6.2).
        if !(after_word && before.trim().is_empty()) {
            decoded.push_str(before);
        }
        decoded.push_str(&content);
        rest = after;
        after_word = true;
    }
    decoded.push_str(rest);
    decoded
}

/// The content of the encoded word at the start of the text, and the text after it.
fn word_at(text: &str) -> Option<(String, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (content, after) = rest.split_once("?=")?;
    let bytes = match encoding {
        // In the Q encoding (§4.2) `_` is a space.
        "Q" | "q" => {
            let content: Vec<u8> = content.bytes().map(|byte| if byte == b'_' { b' ' } else { byte }).collect();
            quoted_printable(&content)?
        }
        "B" | "b" => base64(content.as_bytes())?,
        _ => return None,
    };
    // A language may follow the character set (RFC 2231 §5).
    let charset = charset.split('*').next().unwrap_or_default().to_ascii_lowercase();
    let content = match charset.as_str() {
        "utf-8" | "utf8" | "us-ascii" => String::from_utf8(bytes).ok()?,
        "iso-8859-1" | "latin1" | "windows-1252" => bytes.into_iter().map(char::from).collect(),
        _ => return None,
    };
    Some((content, after))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn encoded_words_are_decoded_and_other_text_stays() {
        for (text, decoded) in [
            ("=?UTF-8?Q?M=C3=BCller,_Anna?=", "Müller, Anna"),
            ("=?utf-8?B?TcO8bGxlcg==?=", "Müller"),
            ("=?ISO-8859-1?q?J=F6rg?= Schmidt", "Jörg Schmidt"),
            ("=?utf-8*de?Q?Gr=C3=BC?= =?utf-8?Q?=C3=9Fe?=", "Grüße"),
            ("Bob =?= x", "Bob =?= x"),
            ("=?koi8-r?Q?=C1?=", "=?koi8-r?Q?=C1?="),
            ("=?utf-8?Q?=FF?=", "=?utf-8?Q?=FF?="),
            ("=?utf-8?Q?=C", "=?utf-8?Q?=C"),
        ] {
            assert_eq!(decode(text), decoded);
        }
    }
}
