//! Converts what a person types, pastes or clicks into a call target.
//!
//! The phone checks before it prepares a call, and the agent before it places one.
//! Both use this function, so that they accept the same targets.

/// Maximum length of a call target.
const MAX_TARGET_CHARS: usize = 256;
const WITHHELD: &str = "The number is withheld: it cannot be called.";

/// The target for the user agent: digits, an extension's name, `user@host`, or a `sip:` URI.
///
/// Visual separators (RFC 3966 §5.1.1, and the Unicode variants found in copied
/// text) are removed from numbers, as are `tel:` and its parameters. `+`, `*` and
/// `#` are kept, and a `+` is never added. The `(0)` of an international number such as
/// `+49 (0)30 901820` is left out, because it is not dialled from abroad (ITU-T E.123 §7.3).
/// Names and addresses are not changed. What stands for a caller who withholds the number
/// (RFC 3323) is not a target.
///
/// # Errors
/// A sentence for the person that says what is wrong.
pub fn call_target(typed: &str) -> Result<String, String> {
    let typed = trimmed(typed);
    if typed.is_empty() {
        return Err("Enter a number first.".to_owned());
    }
    if typed.chars().count() > MAX_TARGET_CHARS {
        return Err(format!("The number is longer than {MAX_TARGET_CHARS} characters."));
    }
    if let Some(rest) = scheme(typed, "sip:").or_else(|| scheme(typed, "sips:")) {
        return uri(typed, rest);
    }
    if let Some(rest) = scheme(typed, "tel:") {
        // Parameters such as `;ext=` and `;phone-context=` are not dialled (RFC 3966 §3).
        return plain(rest.split(';').next().unwrap_or_default());
    }
    if typed.as_bytes().contains(&b'@') {
        return uri(typed, typed);
    }
    plain(typed)
}

/// What a person dials: whom, and the digits that are sent once the call is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialled {
    /// See [`call_target`].
    pub target: String,
    /// `0–9 * # A–D`, with `,` for a pause of two seconds and `;` for a wait until a key is pressed. Often empty.
    pub digits: String,
}

/// Takes `+49301234,,42#` apart. In SIP addresses and `tel:` URIs `;` begins a parameter. Nothing follows a SIP address.
///
/// # Errors
/// A sentence for the person that says what is wrong.
pub fn dialled(typed: &str) -> Result<Dialled, String> {
    let is_tel = scheme(trimmed(typed), "tel:").is_some();
    let is_sip = !is_tel && typed.contains(['@', ':']);
    let number_end = typed.find([',', ';']).filter(|_| !is_sip).unwrap_or(typed.len());
    let (number, after) = typed.split_at(number_end);
    let after = if is_tel { after.split(';').next().unwrap_or_default() } else { after };
    Ok(Dialled { target: call_target(number)?, digits: sent_digits(after)? })
}

/// The keys of a telephone in a typed or pasted text, with its pauses, without visual separators.
///
/// # Errors
/// A sentence for the person that names what is not a key.
pub fn sent_digits(typed: &str) -> Result<String, String> {
    if typed.chars().count() > MAX_TARGET_CHARS {
        return Err(format!("More than {MAX_TARGET_CHARS} digits cannot be sent at once."));
    }
    let mut digits = String::with_capacity(typed.len());
    for c in typed.chars() {
        match c.to_ascii_uppercase() {
            key @ ('0'..='9' | '*' | '#' | 'A'..='D' | ',' | ';') => digits.push(key),
            _ if separates(c) => {}
            _ => return Err(format!("{} is not a key of a telephone.", name(c))),
        }
    }
    Ok(digits)
}

/// Copied text may contain direction marks, also around a `tel:` URI or a name.
fn trimmed(typed: &str) -> &str {
    typed.trim_matches(|c: char| c.is_whitespace() || invisible(c))
}

/// What follows the scheme of a URI.
fn scheme<'a>(typed: &'a str, name: &str) -> Option<&'a str> {
    typed.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name)).and_then(|_| typed.get(name.len()..))
}

fn uri(typed: &str, rest: &str) -> Result<String, String> {
    if let Some(bad) = rest
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '}' | '|'))
    {
        return Err(format!("{} must not stand in a SIP address.", name(bad)));
    }
    let (user, host) = match rest.split_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    if user == Some("") {
        return Err("Nothing stands before the “@”.".to_owned());
    }
    let host_end = host.find([';', '?']).unwrap_or(host.len());
    let host = host.get(..host_end).unwrap_or_default();
    // No name below `.invalid` exists (RFC 2606 §2).
    if host.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("invalid")) {
        return Err(WITHHELD.to_owned());
    }
    if host.is_empty() || host.as_bytes().contains(&b'@') {
        return Err(format!("“{typed}” is not a SIP address."));
    }
    Ok(typed.to_owned())
}

fn plain(typed: &str) -> Result<String, String> {
    if typed.eq_ignore_ascii_case("anonymous") {
        return Err(WITHHELD.to_owned());
    }
    if typed.chars().any(|c| c.is_ascii_alphabetic()) {
        return match typed
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '+' | '*' | '#' | '!')))
        {
            Some(bad) => Err(format!("{} must not stand in a name.", name(bad))),
            None => Ok(typed.to_owned()),
        };
    }
    let mut digits = String::with_capacity(typed.len());
    let (before, after) = without_trunk_prefix(typed);
    for c in before.chars().chain(after.chars()) {
        match c {
            '0'..='9' | '*' | '#' => digits.push(c),
            '+' if digits.is_empty() => digits.push(c),
            '+' => return Err("“+” may only stand at the beginning.".to_owned()),
            c if separates(c) => {}
            bad => return Err(format!("{} must not stand in a number.", name(bad))),
        }
    }
    if digits.is_empty() || digits == "+" {
        return Err(format!("“{typed}” has no digits."));
    }
    Ok(digits)
}

/// The text around the `(0)` after a country code; all of it, if there is none.
fn without_trunk_prefix(typed: &str) -> (&str, &str) {
    let Some((before, after)) = typed.split_once("(0)") else {
        return (typed, "");
    };
    let prefix: String = before.chars().filter(|c| !separates(*c)).collect();
    let country = prefix.strip_prefix('+').or_else(|| prefix.strip_prefix("00")).unwrap_or_default();
    if matches!(country.len(), 1..=3) && country.bytes().all(|digit| digit.is_ascii_digit()) {
        (before, after)
    } else {
        (typed, "")
    }
}

/// Visual separators between digits.
fn separates(c: char) -> bool {
    c.is_whitespace()
        || invisible(c)
        || matches!(c, '-' | '.' | '(' | ')' | '/' | '[' | ']' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// Soft hyphen, joiners and direction marks.
fn invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
    )
}

fn name(bad: char) -> String {
    if bad == ' ' {
        "A space".to_owned()
    } else if bad.is_control() || bad.is_whitespace() {
        format!("The character U+{:04X}", u32::from(bad))
    } else {
        format!("“{bad}”")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_removed_and_dialling_characters_are_kept() {
        for (typed, dialled) in [
            ("+49 (30) 901-820", "+4930901820"),
            ("  030/901 820 ", "030901820"),
            ("1.415.555.2671", "14155552671"),
            ("\u{202A}+1\u{00A0}415\u{2011}555\u{202C}", "+1415555"),
            ("\u{2066}tel:+49\u{2212}30\t[901]\u{2069}", "+4930901"),
            ("+49\u{A0}30\u{202F}90\u{2013}18", "+49309018"),
            ("\u{200E}anna", "anna"),
            ("*43", "*43"),
            ("#21#", "#21#"),
            ("+49 (0)30 901820", "+4930901820"),
            ("+49(0)30/901820", "+4930901820"),
            ("0049 (0) 30 901820", "004930901820"),
            ("\u{202A}+1\u{202C} (0)415", "+1415"),
            ("(0)30 901820", "030901820"),
            ("+49 30 (0) 1", "+493001"),
            ("00 (0)1", "0001"),
            ("tel:+1-415-555-2671;ext=12", "+14155552671"),
            ("TEL:0123;phone-context=+49", "0123"),
        ] {
            assert_eq!(call_target(typed).as_deref(), Ok(dialled), "{typed}");
        }
    }

    #[test]
    fn digits_after_a_comma_or_semicolon_are_sent_when_the_call_is_answered() {
        for (typed, target, digits) in [
            ("+49 30 1234,,42#", "+49301234", ",,42#"),
            ("101;1 2-3", "101", ";123"),
            ("anna,*a", "anna", ",*A"),
            ("101,", "101", ","),
            ("101", "101", ""),
            ("sip:a@b;transport=ws", "sip:a@b;transport=ws", ""),
            ("tel:0123;phone-context=+49", "0123", ""),
            ("tel:+1-555,,42;phone-context=x", "+1555", ",,42"),
        ] {
            let expected = Dialled { target: target.to_owned(), digits: digits.to_owned() };
            assert_eq!(dialled(typed), Ok(expected), "{typed}");
        }
        for (typed, culprit) in [(",42", "Enter a number"), ("101,x", "“x”"), ("101;ext=3", "“e”"), ("101,+4", "“+”")]
        {
            let said = dialled(typed).unwrap_err();
            assert!(said.contains(culprit), "{typed:?}: {said}");
        }
        assert!(sent_digits(&"1".repeat(257)).is_err());
    }

    #[test]
    fn names_and_sip_addresses_are_not_changed() {
        for typed in ["anna.b-c_d", "101@example.com", "sip:*43@example.com;transport=ws", "SIP:a@b"] {
            assert_eq!(call_target(typed).as_deref(), Ok(typed));
        }
    }

    #[test]
    fn invalid_targets_are_refused_with_the_invalid_part_in_the_message() {
        for (typed, culprit) in [
            ("", "Enter a number"),
            (" \t", "Enter a number"),
            ("---", "no digits"),
            ("+", "no digits"),
            ("12+3", "“+”"),
            ("12$3", "“$”"),
            ("anna b", "A space"),
            ("101\r\nVia: x", "U+000D"),
            ("sip:", "not a SIP address"),
            ("sip:a b@c", "A space"),
            ("@example.com", "before the “@”"),
            ("a@", "not a SIP address"),
            ("sip:<a@b>", "“<”"),
            ("Anonymous", "withheld"),
            ("anonymous@anonymous.invalid", "withheld"),
            ("sip:x@Unknown.INVALID;user=phone", "withheld"),
        ] {
            let said = call_target(typed).unwrap_err();
            assert!(said.contains(culprit), "{typed:?}: {said}");
        }
        assert!(call_target(&"1".repeat(257)).is_err());
    }
}
