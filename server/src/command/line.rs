//! How far something is, for who waits for it.

use std::io::{self, IsTerminal, Write};

use super::output;
use crate::text::one_line;

/// One line on a terminal that is written again and again; elsewhere a line whenever something changed.
#[derive(Debug)]
pub(super) struct Line {
    on_terminal: bool,
    last: String,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { on_terminal: io::stderr().is_terminal(), last: String::new() }
    }

    /// Says how far it is.
    pub(super) fn say(&mut self, text: &str) {
        // In a log every percent would be a line: there only what is being done counts.
        let stem = |text: &str| text.split(|c: char| c.is_ascii_digit()).next().map(str::to_owned);
        let is_news =
            if self.on_terminal { self.last != text } else { stem(&self.last) != stem(text) };
        if is_news {
            if self.on_terminal {
                // Return, text, erase to the end of the line.
                drop(write!(io::stderr().lock(), "\r{}\u{1b}[K", one_line(text)));
            } else {
                output::say(&one_line(text));
            }
            text.clone_into(&mut self.last);
        }
    }

    /// Goes to the next line, where there is one.
    pub(super) fn end(&self) {
        if self.on_terminal && !self.last.is_empty() {
            output::say("");
        }
    }
}
