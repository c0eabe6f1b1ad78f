//! The messages of RFC 4475, read from files in the RFC's own notation.

/// All 49 messages, in the RFC's order: the name the RFC gives it, and its bytes.
pub fn torture() -> Vec<(&'static str, Vec<u8>)> {
    [
        include_str!("../rfc4475/valid.txt"),
        include_str!("../rfc4475/invalid.txt"),
        include_str!("../rfc4475/semantics.txt"),
    ]
    .into_iter()
    .flat_map(|file| file.strip_suffix('\n').unwrap_or(file).split("\n## ").skip(1))
    .map(|section| {
        let (name, text) = section.split_once('\n').unwrap();
        (name, expand(text))
    })
    .collect()
}

/// Expands the notation of RFC 4475 §2.
fn expand(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut joined = false;
    for line in text.split('\n') {
        match line {
            "<allOneLine>" => joined = true,
            "</allOneLine>" => {
                joined = false;
                bytes.extend_from_slice(b"\r\n");
            }
            _ => {
                expand_line(line, &mut bytes);
                if !joined {
                    bytes.extend_from_slice(b"\r\n");
                }
            }
        }
    }
    bytes
}

fn expand_line(mut line: &str, bytes: &mut Vec<u8>) {
    loop {
        let hex = line.find("<hex>");
        let repeat = line.find("<repeat count=");
        let Some(at) = hex.into_iter().chain(repeat).min() else {
            return bytes.extend_from_slice(line.as_bytes());
        };
        bytes.extend_from_slice(&line.as_bytes()[..at]);
        if Some(at) == hex {
            let (digits, rest) = line[at + 5..].split_once("</hex>").unwrap();
            bytes.extend((0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()));
            line = rest;
        } else {
            let (count, rest) = line[at + 14..].split_once('>').unwrap();
            let (text, rest) = rest.split_once("</repeat>").unwrap();
            bytes.extend(text.repeat(count.parse().unwrap()).bytes());
            line = rest;
        }
    }
}
