//! Phone numbers: formatting for display.

use crate::text::uppercase;

/// An international number in groups of digits. Any other number is returned as it is.
pub fn format_number(number: &str) -> String {
    let Some(digits) = number.strip_prefix('+') else {
        return without_scheme(number).to_owned();
    };
    if digits.len() < 7 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return number.to_owned();
    }
    let (country, rest) = digits.split_at(country_code_length(digits));
    let sizes: &[usize] = match (country, rest.len()) {
        ("1", 10) => &[3, 3, 4],
        ("33", 9) => &[1, 2, 2, 2, 2],
        // DIN 5008: the area code, and the rest without groups.
        ("49", 6..) if ["30", "40", "69", "89"].iter().any(|area| rest.starts_with(area)) => &[2, 13],
        ("49", 6..) => &[3, 12],
        ("44", 10) if rest.starts_with('2') => &[2, 4, 4],
        ("44", 10) => &[4, 6],
        (_, n) if n % 3 == 1 && n > 4 => &[3, 3, 4],
        _ => &[3, 3, 3, 3, 3],
    };
    let mut shown = format!("+{country}");
    let mut left = rest;
    let last = sizes.len() - 1;
    for (i, size) in sizes.iter().enumerate() {
        if left.is_empty() {
            break;
        }
        let take = if i == last { left.len() } else { (*size).min(left.len()) };
        // Avoids a last group of one digit.
        let take = if left.len() - take == 1 { left.len() } else { take };
        let (group, tail) = left.split_at(take);
        shown.push(' ');
        shown.push_str(group);
        left = tail;
    }
    shown
}

/// Up to two initials for the avatar; `None` when the name has no letters.
pub fn initials(name: &str) -> Option<String> {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|c| c.is_alphabetic()));
    let mut letters = String::from(words.next()?);
    letters.extend(words.next_back());
    Some(uppercase(&letters))
}

/// A SIP URI without its scheme.
fn without_scheme(number: &str) -> &str {
    number.strip_prefix("sips:").or_else(|| number.strip_prefix("sip:")).unwrap_or(number)
}

/// Length of the country code at the start (ITU-T E.164: 1 and 7 have one
/// digit, the two-digit ones are listed, all others have three).
fn country_code_length(digits: &str) -> usize {
    const TWO_DIGIT_CODES: &str = "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98";
    match digits.as_bytes().first() {
        Some(b'1' | b'7') => 1,
        _ if digits.get(..2).is_some_and(|two| TWO_DIGIT_CODES.split(' ').any(|code| code == two)) => 2,
        _ => 3.min(digits.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn international_numbers_are_grouped() {
        assert_eq!(format_number("+15551234567"), "+1 555 123 4567");
        assert_eq!(format_number("+4930901820"), "+49 30 901820");
        assert_eq!(format_number("+33123456789"), "+33 1 23 45 67 89");
        assert_eq!(format_number("+359888123456"), "+359 888 123 456");
        assert_eq!(format_number("+442079460958"), "+44 20 7946 0958");
        assert_eq!(format_number("101"), "101");
        assert_eq!(format_number("sip:bob@example.com"), "bob@example.com");
        assert_eq!(format_number("+12"), "+12");
        assert_eq!(format_number("+49é1234567"), "+49é1234567");
    }

    #[test]
    fn grouping_keeps_all_digits() {
        for n in 7..20 {
            for start in ["1", "7", "49", "359", "999"] {
                let digits: String = start.chars().chain("234567890123456789".chars()).take(n).collect();
                let shown = format_number(&format!("+{digits}"));
                let back: String = shown.chars().filter(char::is_ascii_digit).collect();
                assert_eq!(back, digits, "{shown}");
            }
        }
    }

    #[test]
    fn initials_are_those_of_first_and_last_name() {
        assert_eq!(initials("Anna Maria Schmidt").as_deref(), Some("AS"));
        assert_eq!(initials("bob").as_deref(), Some("B"));
        assert_eq!(initials("+49 30"), None);
    }
}
