//! Text that other people have written and this person reads.

/// Whether the character is not seen, and changes how the text around it is read: the marks, embeddings, overrides and
/// isolates of bidirectional text (Unicode Standard Annex #9), characters without width, and line and paragraph
/// separators. The joiners U+200C and U+200D are not among them: scripts and emoji need them.
pub const fn is_misleading(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// The text without control characters and without those that mislead, e.g. a caller's name.
pub fn readable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() && !is_misleading(*character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misleads_is_left_out_and_every_script_stays() {
        assert_eq!(readable("Bank \u{202e}kcalb\u{202c}\u{200b}\u{feff}"), "Bank kcalb");
        for name in ["Zoë", "می‌خواهم", "👩‍💻", "שלום", "O'Neill, Jr."] {
            assert_eq!(readable(name), name);
        }
    }
}
