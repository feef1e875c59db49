//! Numbers in sources, and what each is with one bit flipped.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// A number in a source, and another that differs from it in a bit.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// What it is called where it may survive: file, line without what surrounds it, number.
    pub name: String,
    /// Where it is in the file, with the type that it may end with.
    pub at: Range<usize>,
    pub old: String,
    pub new: String,
    /// Stands where no expression can, as far as its line says: in a pattern or a constant.
    pub is_fixed: bool,
}

/// Finds whole numbers in a source, outside comments, strings and tests. The seed says which bit of each is flipped.
pub(crate) fn find(file: &Path, source: &str, seed: u64) -> Vec<Number> {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let (mut found, mut start) = (Vec::new(), 0);
    for (line, text) in (1..).zip(source[..end].split_inclusive('\n')) {
        let code = text.find("//").map_or(text, |comment| &text[..comment]);
        // How long something may take is no byte of a command.
        let code = if code.contains("Duration::") { "" } else { code };
        for (at, length) in in_line(code.as_bytes()) {
            let whole = &code[at..at + length];
            // `310_u16` is 310, and of a type.
            let digits = match whole.find(|letter: char| letter.is_ascii_alphabetic()) {
                Some(kind) if !whole.starts_with("0x") => whole[..kind].trim_end_matches('_').len(),
                _ => length,
            };
            let (old, kind) = whole.split_at(digits);
            let name = format!("{}: {}: {old}", file.display(), code.trim());
            let chance = hash(format!("{seed} {name} {at}").as_bytes());
            let first = code.trim_start();
            let is_fixed = code[at..].contains("=>")
                || code.contains("matches!")
                || ["const ", "pub const ", "pub(super) const ", "#["]
                    .iter()
                    .any(|word| first.starts_with(word));
            found.push(Number {
                file: file.to_owned(),
                line,
                name,
                at: start + at..start + at + length,
                old: whole.to_owned(),
                new: flipped(old, chance) + kind,
                is_fixed,
            });
        }
        start += text.len();
    }
    found
}

/// Finds where numbers begin in a line, and how long they are.
fn in_line(code: &[u8]) -> Vec<(usize, usize)> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (mut found, mut at, mut is_string) = (Vec::new(), 0, false);
    while at < code.len() {
        if code[at] == b'"' {
            is_string = !is_string;
        }
        let begins = code[at].is_ascii_digit() && (at == 0 || !is_word(code[at - 1]));
        // Not what a tuple's fields are called.
        let is_field = at > 0 && code[at - 1] == b'.' && (at < 2 || code[at - 2] != b'.');
        if !begins || is_string || is_field {
            at += 1;
            continue;
        }
        let length = code[at..].iter().take_while(|byte| is_word(**byte)).count();
        found.push((at, length));
        at += length;
    }
    found
}

/// Flips one bit of a number, among those that it is written with.
fn flipped(text: &str, chance: u64) -> String {
    let plain = text.replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x") {
        let bits = 4 * digits.len();
        let bit = usize::try_from(chance >> 16).unwrap_or(0) % bits;
        let number = u128::from_str_radix(digits, 16).unwrap_or(0) ^ 1 << bit;
        return format!("0x{number:0width$x}", width = digits.len());
    }
    let number: u128 = plain.parse().unwrap_or(0);
    let bits = (u128::BITS - number.leading_zeros()).max(1);
    let bit = u32::try_from(chance >> 40).unwrap_or(0) % bits;
    (number ^ 1 << bit).to_string()
}

/// FNV-1a with 64 bits, mixed once more.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ hash >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
