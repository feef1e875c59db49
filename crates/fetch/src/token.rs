//! A word that proves who asks.

use std::fmt;

/// What is sent as `Authorization: Bearer`. No log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Says that a text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is one line of printable characters without blanks")]
pub struct TokenError;

impl Token {
    /// Checks that it can stand in a header; blanks around it are taken away. RFC 6750 §2.1.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the word itself, for the one header that it belongs into.
    pub(crate) fn word(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_smuggle_a_header_and_is_never_shown() {
        for text in ["", " ", "a b", "a\r\nHost: b", "ä", "a\0"] {
            assert_eq!(Token::new(text), Err(TokenError), "{text:?}");
        }
        let token = Token::new(" secret-word\n").unwrap();
        assert_eq!(token.word(), "secret-word");
        assert!(!format!("{token:?}").contains("word"));
    }
}
