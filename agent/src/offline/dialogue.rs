//! What a program adds to the menu: a conversation of its own, and work that comes of it.

use std::fmt;

use protocol::Inventory;

/// A conversation that a program can have with a person at the console.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// The key that begins it.
    pub key: &'static str,
    /// What the menu says of it.
    pub words: &'static str,
    /// Begins it. Who begins it takes the machine off-line for this boot: nobody else gives it orders then.
    pub begin: fn(&Inventory) -> Reply,
}

/// A conversation, waiting for the next line. Pure: what is to be done is a [`Task`].
pub trait Dialogue: Send {
    /// Takes a line, without its end.
    fn answer(self: Box<Self>, line: &str) -> Reply;
}

/// What is said to a line, and how it goes on.
#[derive(Debug)]
pub struct Reply {
    /// For the person.
    pub words: String,
    /// How it goes on.
    pub then: Then,
}

/// How a conversation goes on.
pub enum Then {
    /// The next line is awaited.
    Ask(Box<dyn Dialogue>),
    /// It is over; nothing is done.
    Leave,
    /// Something is looked at, on a thread of its own, and nothing is changed.
    Look(Task),
    /// Something is done, on a thread of its own.
    Work(Task),
}

/// Something to do, which ends in a reply of its own. Blocks for as long as it takes.
pub type Task = Box<dyn FnOnce() -> Done + Send>;

/// What came of a task.
#[derive(Debug)]
pub struct Done {
    /// For the person, and how it goes on.
    pub reply: Reply,
    /// A report that may be saved to a stick: what it is of, and its JSON.
    pub report: Option<(&'static str, Vec<u8>)>,
}

impl Reply {
    /// Says something, and ends the conversation.
    pub fn leave(words: impl Into<String>) -> Self {
        Self { words: words.into(), then: Then::Leave }
    }

    /// Asks something.
    pub fn ask(words: impl Into<String>, next: impl Dialogue + 'static) -> Self {
        Self { words: words.into(), then: Then::Ask(Box::new(next)) }
    }

    /// Looks at something: a person may restart the machine meanwhile.
    pub fn look(words: impl Into<String>, task: impl FnOnce() -> Done + Send + 'static) -> Self {
        Self { words: words.into(), then: Then::Look(Box::new(task)) }
    }

    /// Does something.
    pub fn work(words: impl Into<String>, task: impl FnOnce() -> Done + Send + 'static) -> Self {
        Self { words: words.into(), then: Then::Work(Box::new(task)) }
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ask(_) => "Ask",
            Self::Leave => "Leave",
            Self::Look(_) => "Look",
            Self::Work(_) => "Work",
        })
    }
}
