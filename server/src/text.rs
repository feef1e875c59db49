//! What machines wrote, made fit for people and for storage: serial numbers and reasons are anybody's text.

/// Shows a text on one line: whatever could move the cursor, begin a line or turn the reading order is replaced.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Shortens a text to so many bytes at most, at a character's boundary.
pub fn shorten(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

/// Says an error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn is_harmless(character: char) -> bool {
    // Line and paragraph separators, and marks of the reading order.
    let turns = matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    !character.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(one_line("\u{1b}]0;x\u{7}a\nb\u{9b}2J\u{202e}é"), "�]0;x�a�b�2J�é");
        assert_eq!(one_line("PowerEdge R640 (rev. 2)"), "PowerEdge R640 (rev. 2)");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut text = "éé".to_owned();
        shorten(&mut text, 3);
        assert_eq!(text, "é");
        shorten(&mut text, 100);
        assert_eq!(text, "é");
    }
}
