//! GRUB's script language: words, commands, blocks. GRUB manual, "Writing full configuration files directly".

use std::rc::Rc;

use super::NotPlain;

/// Blocks lie in each other no deeper than this.
const DEPTH_LIMIT: usize = 32;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Taken as it is.
    Text(String),
    /// A variable; unquoted ones fall apart at blanks.
    Variable { name: String, quoted: bool },
}

/// A word as it is written.
pub(super) type Word = Vec<Piece>;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Command(Vec<Word>),
    If {
        arms: Vec<(Vec<Statement>, Vec<Statement>)>,
        other: Vec<Statement>,
    },
    Function {
        name: Word,
        body: Rc<Vec<Statement>>,
    },
    Entry {
        words: Vec<Word>,
        body: Rc<Vec<Statement>>,
        is_submenu: bool,
    },
    /// Something that no generated menu does where it is carried out.
    Loop(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Word),
    Open,
    Close,
    End,
}

pub(super) fn parse(text: &str) -> Result<Vec<Statement>, NotPlain> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    let script = parser.block(&[])?;
    if parser.at < tokens.len() {
        return Err(NotPlain::new("a block ends that never began"));
    }
    Ok(script)
}

fn tokens(text: &str) -> Result<Vec<Token>, NotPlain> {
    let mut lexer = Lexer { rest: text.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    while let Some(next) = lexer.peek() {
        match next {
            ' ' | '\t' | '\r' => lexer.at += 1,
            '\n' | ';' => {
                lexer.at += 1;
                tokens.push(Token::End);
            }
            '#' => {
                while lexer.peek().is_some_and(|next| next != '\n') {
                    lexer.at += 1;
                }
            }
            '\\' if lexer.rest.get(lexer.at + 1) == Some(&'\n') => lexer.at += 2,
            '{' | '}' => {
                lexer.at += 1;
                tokens.push(if next == '{' { Token::Open } else { Token::Close });
            }
            '|' | '&' | '<' | '>' => return Err(NotPlain::new(format!("{next} in a command"))),
            _ => tokens.push(Token::Word(lexer.word()?)),
        }
    }
    tokens.push(Token::End);
    Ok(tokens)
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn word(&mut self) -> Result<Word, NotPlain> {
        let open = || NotPlain::new("a quotation that does not end");
        let mut word = Word::new();
        let mut text = String::new();
        // An empty quotation is a word, too.
        let mut is_quoted = false;
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' | '{' | '}' | '|' | '&' | '<' | '>' => break,
                '\\' => {
                    self.at += 1;
                    match self.next() {
                        Some('\n') | None => {}
                        Some(escaped) => text.push(escaped),
                    }
                }
                '\'' => {
                    is_quoted = true;
                    self.at += 1;
                    loop {
                        match self.next().ok_or_else(open)? {
                            '\'' => break,
                            plain => text.push(plain),
                        }
                    }
                }
                '"' => {
                    is_quoted = true;
                    self.at += 1;
                    loop {
                        match self.next().ok_or_else(open)? {
                            '"' => break,
                            '\\' => match self.next().ok_or_else(open)? {
                                '\n' => {}
                                escaped @ ('$' | '"' | '\\') => text.push(escaped),
                                other => text.extend(['\\', other]),
                            },
                            '$' => self.variable(true, &mut text, &mut word)?,
                            plain => text.push(plain),
                        }
                    }
                }
                '$' => {
                    self.at += 1;
                    // A text to be translated.
                    if self.peek() != Some('"') {
                        self.variable(false, &mut text, &mut word)?;
                    }
                }
                plain => {
                    self.at += 1;
                    text.push(plain);
                }
            }
        }
        if !text.is_empty() || (is_quoted && word.is_empty()) {
            word.push(Piece::Text(text));
        }
        Ok(word)
    }

    /// Reads a name after its dollar sign.
    fn variable(
        &mut self,
        quoted: bool,
        text: &mut String,
        word: &mut Word,
    ) -> Result<(), NotPlain> {
        let mut name = String::new();
        if self.peek() == Some('{') {
            self.at += 1;
            loop {
                let next = self.next().ok_or_else(|| NotPlain::new("a name that does not end"))?;
                if next == '}' {
                    break;
                }
                name.push(next);
            }
        } else if let Some(special @ ('?' | '@' | '*' | '#')) = self.peek() {
            self.at += 1;
            name.push(special);
        } else {
            while let Some(next) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                self.at += 1;
                name.push(next);
            }
        }
        if name.is_empty() {
            text.push('$');
            return Ok(());
        }
        if !text.is_empty() {
            word.push(Piece::Text(std::mem::take(text)));
        }
        word.push(Piece::Variable { name, quoted });
        Ok(())
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    /// Reads statements until one of some words, or until a block or the text ends.
    fn block(&mut self, ends: &[&str]) -> Result<Vec<Statement>, NotPlain> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(NotPlain::new("too many blocks in each other"));
        }
        let mut statements = Vec::new();
        loop {
            match self.tokens.get(self.at) {
                Some(Token::End) => self.at += 1,
                None | Some(Token::Close) => break,
                Some(Token::Open) => return Err(NotPlain::new("a block without a command")),
                Some(Token::Word(word)) if literal(word).is_some_and(|w| ends.contains(&w)) => {
                    break;
                }
                Some(Token::Word(_)) => statements.push(self.statement()?),
            }
        }
        self.depth -= 1;
        Ok(statements)
    }

    fn statement(&mut self) -> Result<Statement, NotPlain> {
        let words = self.words();
        match words.first().and_then(literal) {
            Some("if") => self.conditional(words.len()),
            Some(name @ ("while" | "until" | "for")) => {
                self.at -= words.len() - 1;
                self.block(&["done"])?;
                self.expect("done")?;
                Ok(Statement::Loop(match name {
                    "while" => "while",
                    "until" => "until",
                    _ => "for",
                }))
            }
            Some("function") => {
                let name = words.get(1).cloned().unwrap_or_default();
                Ok(Statement::Function { name, body: self.body()? })
            }
            Some(kind @ ("menuentry" | "submenu")) => {
                let is_submenu = kind == "submenu";
                let words = words[1..].to_vec();
                Ok(Statement::Entry { words, body: self.body()?, is_submenu })
            }
            _ => Ok(Statement::Command(words)),
        }
    }

    fn words(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.tokens.get(self.at) {
            words.push(word.clone());
            self.at += 1;
        }
        words
    }

    /// Reads a block in braces.
    fn body(&mut self) -> Result<Rc<Vec<Statement>>, NotPlain> {
        let no_block = || NotPlain::new("an entry or function without a block");
        while self.tokens.get(self.at) == Some(&Token::End) {
            self.at += 1;
        }
        if self.tokens.get(self.at) != Some(&Token::Open) {
            return Err(no_block());
        }
        self.at += 1;
        let body = self.block(&[])?;
        if self.tokens.get(self.at) != Some(&Token::Close) {
            return Err(no_block());
        }
        self.at += 1;
        Ok(Rc::new(body))
    }

    /// Reads the rest of a conditional, of which `read` words were taken already.
    fn conditional(&mut self, read: usize) -> Result<Statement, NotPlain> {
        self.at -= read - 1;
        let mut arms = Vec::new();
        let mut other = Vec::new();
        loop {
            let condition = self.block(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.block(&["elif", "else", "fi"])?));
            match self.keyword() {
                Some("elif") => self.at += 1,
                Some("else") => {
                    self.at += 1;
                    other = self.block(&["fi"])?;
                    break;
                }
                _ => break,
            }
        }
        self.expect("fi")?;
        Ok(Statement::If { arms, other })
    }

    fn keyword(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => literal(word),
            _ => None,
        }
    }

    fn expect(&mut self, keyword: &str) -> Result<(), NotPlain> {
        if self.keyword() != Some(keyword) {
            return Err(NotPlain::new(format!("no {keyword} where there should be one")));
        }
        self.at += 1;
        Ok(())
    }
}

/// Returns a word without variables.
fn literal(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [Piece::Text(text)] => Some(text),
        _ => None,
    }
}
