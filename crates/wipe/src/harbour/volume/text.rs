//! The syntax of LVM's texts (lvm.conf(5)): `key = value`, `name { … }`, lists, comments.

/// How deep sections and lists lie in one another; LVM writes four.
const DEPTH_LIMIT: usize = 12;

/// Names and what they stand for, in order.
pub(super) type Section = Vec<(String, Value)>;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Section(Section),
    /// A number that is negative or has a point.
    Odd,
}

impl Value {
    /// Holds when this is the text, or it stands somewhere in this.
    pub(super) fn mentions(&self, name: &str) -> bool {
        match self {
            Self::Text(text) => text == name,
            Self::List(list) => list.iter().any(|one| one.mentions(name)),
            Self::Section(section) => section.iter().any(|(_, one)| one.mentions(name)),
            Self::Number(_) | Self::Odd => false,
        }
    }
}

fn get<'s>(section: &'s Section, key: &str) -> Option<&'s Value> {
    section.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

pub(super) fn number(section: &Section, key: &str) -> Option<u64> {
    if let Value::Number(number) = get(section, key)? { Some(*number) } else { None }
}

pub(super) fn text_of<'s>(section: &'s Section, key: &str) -> Option<&'s str> {
    if let Value::Text(text) = get(section, key)? { Some(text) } else { None }
}

pub(super) fn list<'s>(section: &'s Section, key: &str) -> Option<&'s [Value]> {
    if let Value::List(list) = get(section, key)? { Some(list) } else { None }
}

pub(super) fn section<'s>(within: &'s Section, key: &str) -> Option<&'s Section> {
    if let Value::Section(section) = get(within, key)? { Some(section) } else { None }
}

pub(super) fn has(list: &[Value], word: &str) -> bool {
    list.iter().any(|value| matches!(value, Value::Text(text) if text == word))
}

/// Reads all of a text; nothing where it is cut or senseless.
pub(super) fn parse(text: &[u8]) -> Option<Section> {
    Parser { rest: text }.section(DEPTH_LIMIT)
}

struct Parser<'t> {
    rest: &'t [u8],
}

impl Parser<'_> {
    /// Reads `key = value` and `key { … }` up to the end or a closing brace.
    fn section(&mut self, depth: usize) -> Option<Section> {
        let depth = depth.checked_sub(1)?;
        let mut found = Section::new();
        loop {
            self.skip();
            match self.rest.first() {
                None | Some(0 | b'}') => return Some(found),
                Some(_) => {}
            }
            let key = self.word();
            if key.is_empty() {
                return None;
            }
            self.skip();
            let value = if self.take(b'{') {
                let inner = self.section(depth)?;
                if !self.take(b'}') {
                    return None;
                }
                Value::Section(inner)
            } else if self.take(b'=') {
                self.value(depth)?
            } else {
                return None;
            };
            found.push((key, value));
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.skip();
        if self.take(b'[') {
            let mut values = Vec::new();
            loop {
                self.skip();
                if self.take(b']') {
                    return Some(Value::List(values));
                }
                values.push(self.value(depth)?);
                self.skip();
                self.take(b',');
            }
        }
        if self.take(b'"') {
            return self.quoted();
        }
        let word = self.word();
        let is_empty = word.is_empty();
        (!is_empty).then(|| word.parse().map_or(Value::Odd, Value::Number))
    }

    fn quoted(&mut self) -> Option<Value> {
        let mut text = Vec::new();
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(Value::Text(String::from_utf8_lossy(&text).into_owned())),
                b'\\' => {
                    let (byte, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    text.push(*byte);
                }
                other => text.push(*other),
            }
        }
    }

    fn word(&mut self) -> String {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(byte);
        let end = self.rest.iter().position(|byte| !is_word(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        String::from_utf8_lossy(word).into_owned()
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Skips blanks and comments.
    fn skip(&mut self) {
        while let Some((byte, rest)) = self.rest.split_first() {
            if byte.is_ascii_whitespace() {
                self.rest = rest;
            } else if *byte == b'#' {
                let end = self.rest.iter().position(|byte| *byte == b'\n');
                self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
            } else {
                return;
            }
        }
    }
}
