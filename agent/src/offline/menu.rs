//! The menu at the console: what a line leads to. Pure; consoles, sticks and servers live outside.
//!
//! ```text
//!             ┌── a ──► address ──► looking for its key ──► the key's beginning ──► trusted: the session begins
//!  menu ──────┼── s ──► which stick ──► saving ──► menu
//!             ├── a program's topic ──► its questions ──► work ──► menu
//!             └── i, r, p
//! ```
//!
//! Every question is left by an empty line, and by whoever hangs up. Nothing happens by itself, and a line that is not
//! understood does nothing.

use std::fmt::Write as _;

use protocol::{Inventory, Pin};

use super::{
    dialogue::{Dialogue, Done, Reply, Task, Then, Topic},
    stick::{self, Stick},
};
use crate::finding::{self, Offer, TYPED_DIGITS};

/// So many lines in a row that lead nowhere are answered. A line whose other end sends back what it hears would never end.
const PATIENCE: u32 = 20;

/// What is known at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'s> {
    /// The machine, once it is described.
    pub(super) inventory: Option<&'s Inventory>,
    /// Where servers may be.
    pub(super) offers: &'s [Offer],
    /// Whether this boot has a server, or looks for one with a key that it knows.
    pub(super) has_server: bool,
    /// Whether a server has taken the machine over: then the menu is closed.
    pub(super) is_served: bool,
    /// Whether a person has taken it: then no server is spoken to any more.
    pub(super) is_alone: bool,
}

impl Seen<'_> {
    /// Holds where a person may choose a server.
    fn may_have_server(self) -> bool {
        !self.has_server && !self.is_alone
    }
}

/// What is to be done outside.
pub(super) enum Effect {
    /// Show that.
    Show(String),
    /// Find out which key a server has, and say it ([`Menu::key`]).
    Look(String),
    /// Speak to this server: a person has compared its key.
    Trust(String, Pin),
    /// Take the machine off-line for this boot, and begin with that where it could be.
    Alone(fn(&Inventory) -> Reply),
    /// Do that, and say what came of it ([`Menu::done`]).
    Work(Task),
    /// Put a file of this name with this content on a stick, and say what came of it ([`Menu::saved`]).
    Save(Box<Stick>, String, Vec<u8>),
    /// Restart.
    Restart,
    /// Switch off.
    SwitchOff,
}

enum State {
    Menu,
    Address,
    Looking(String),
    Key(String, Pin),
    Sticks(Vec<Stick>),
    Talking(Box<dyn Dialogue>),
    Busy {
        /// Whether disks are being changed, or a stick.
        changes_disks: bool,
    },
}

/// The menu.
pub(super) struct Menu {
    system: &'static str,
    topic: Option<Topic>,
    state: State,
    /// At which console somebody is.
    console: Option<usize>,
    /// How many lines in a row led nowhere.
    idle: u32,
    /// What a topic's work has reported.
    report: Option<(&'static str, Vec<u8>)>,
}

impl Menu {
    pub(super) fn new(system: &'static str, topic: Option<Topic>) -> Self {
        Self { system, topic, state: State::Menu, console: None, idle: 0, report: None }
    }

    /// Takes a line from a console; nothing is a console that was hung up.
    pub(super) fn line(
        &mut self,
        console: usize,
        line: Option<&str>,
        seen: Seen<'_>,
    ) -> Vec<Effect> {
        if seen.is_served {
            self.state = State::Menu;
            return Vec::new();
        }
        if matches!(self.state, State::Busy { .. } | State::Looking(_)) {
            // A disk that hangs when it is looked at does not keep a person from leaving; what is being written does.
            return match (line.map(str::trim), &self.state) {
                (_, State::Busy { changes_disks: true }) => Vec::new(),
                (Some("r"), _) => vec![Effect::Restart],
                (Some("p"), _) => vec![Effect::SwitchOff],
                _ => Vec::new(),
            };
        }
        // A question is answered where it was asked from.
        let is_other = self.console.replace(console) != Some(console);
        let is_asked = !matches!(self.state, State::Menu);
        let Some(line) = line.filter(|_| !(is_other && is_asked)) else {
            return self.back("nothing was done");
        };
        let line = line.trim();
        if is_asked && line.is_empty() {
            return self.back("nothing was done");
        }
        match std::mem::replace(&mut self.state, State::Menu) {
            State::Menu => self.choose(line, seen),
            State::Address => match finding::door(line) {
                Some(server) => self.look(server),
                None => self.back("that is no address of a server"),
            },
            State::Key(server, pin) if finding::confirms(line, &pin) => {
                vec![
                    show(&format!("{server} is trusted in this boot\n")),
                    Effect::Trust(server, pin),
                ]
            }
            State::Key(..) => self.back("that is not how its key begins: it is not trusted"),
            State::Sticks(sticks) => match number(line, &sticks) {
                Some(stick) => self.save(stick.clone(), seen),
                None => self.back("there is no such stick"),
            },
            State::Talking(dialogue) => self.follow(dialogue.answer(line)),
            // Both were left above.
            state @ (State::Looking(_) | State::Busy { .. }) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn choose(&mut self, key: &str, seen: Seen<'_>) -> Vec<Effect> {
        if let Some(topic) = self.topic.filter(|topic| topic.key == key) {
            self.idle = 0;
            return vec![Effect::Alone(topic.begin)];
        }
        let offered = number(key, seen.offers).filter(|_| seen.may_have_server());
        let effects = match key {
            "i" => self.picture(seen),
            "s" => self.sticks(seen),
            "a" if !seen.may_have_server() => {
                vec![show("this boot has its server, or none; restart to choose another one\n")]
            }
            "a" => {
                self.state = State::Address;
                vec![show("address of the server, nothing to go back: ")]
            }
            "r" => vec![Effect::Restart],
            "p" => vec![Effect::SwitchOff],
            _ => {
                let Some(offer) = offered else {
                    self.idle += 1;
                    return match self.idle {
                        ..=PATIENCE => vec![show(&self.keys(seen))],
                        _ => Vec::new(),
                    };
                };
                self.look(offer.server.clone())
            }
        };
        self.idle = 0;
        effects
    }

    /// Shows the machine and the menu.
    pub(super) fn picture(&self, seen: Seen<'_>) -> Vec<Effect> {
        if seen.is_served || !matches!(self.state, State::Menu) {
            return Vec::new();
        }
        let machine = seen.inventory.map(inventory::table).unwrap_or_default();
        vec![show(&format!("\n{machine}{}", self.keys(seen)))]
    }

    /// Shows servers that were heard of since.
    pub(super) fn heard(&self, seen: Seen<'_>) -> Vec<Effect> {
        if seen.is_served || !seen.may_have_server() || !matches!(self.state, State::Menu) {
            return Vec::new();
        }
        vec![show(&offered(seen))]
    }

    fn keys(&self, seen: Seen<'_>) -> String {
        let state = if seen.has_server { "waits for its server" } else { "is off-line" };
        let mut text = format!("\n{} {state}. Type a key, then Enter:\n", self.system);
        text.push_str("  i  show this machine\n");
        let what = self.report.as_ref().map_or("inventory", |(what, _)| what);
        let _infallible = writeln!(text, "  s  save its {what} to a USB stick");
        if let Some(topic) = self.topic {
            let _infallible = writeln!(text, "  {}  {}", topic.key, topic.words);
        }
        if seen.may_have_server() {
            text.push_str("  a  enter the address of a server\n");
        }
        text.push_str("  r  restart\n  p  switch off\n");
        text + &offered(seen)
    }

    fn look(&mut self, server: String) -> Vec<Effect> {
        self.state = State::Looking(server.clone());
        vec![show(&format!("asking {server} for its key\n")), Effect::Look(server)]
    }

    /// Takes the key of a server, or why there is none.
    pub(super) fn key(&mut self, found: Result<Pin, String>) -> Vec<Effect> {
        let State::Looking(server) = std::mem::replace(&mut self.state, State::Menu) else {
            return Vec::new();
        };
        match found {
            Err(why) => self.back(&format!("{server}: {}", printable(&why))),
            Ok(pin) => {
                let words = format!(
                    "{server} has the key\n  {pin}\nNobody vouches for that: compare all of it with what the server \
                     itself says.\nTo trust it in this boot, type the first {TYPED_DIGITS} digits behind \"sha256:\", \
                     nothing to go back: "
                );
                self.state = State::Key(server, pin);
                vec![show(&words)]
            }
        }
    }

    fn sticks(&mut self, seen: Seen<'_>) -> Vec<Effect> {
        let Some(inventory) = seen.inventory else {
            return self.back("the machine is still being described");
        };
        let sticks = stick::usable(inventory);
        if sticks.is_empty() {
            return self.back("there is no USB stick with a FAT filesystem, beside the medium");
        }
        let mut text = String::new();
        for (number, stick) in (1..).zip(&sticks) {
            let _infallible = writeln!(text, "  {number}  {}", printable(&stick.to_string()));
        }
        text.push_str("number of the stick, nothing to go back: ");
        self.state = State::Sticks(sticks);
        vec![show(&text)]
    }

    fn save(&mut self, stick: Stick, seen: Seen<'_>) -> Vec<Effect> {
        let Some(inventory) = seen.inventory else {
            return self.back("the machine is still being described");
        };
        let name = stick::machine_name(inventory);
        let (name, content) = match &self.report {
            Some((what, content)) => (format!("{name}-{what}.json"), content.clone()),
            None => match serde_json::to_vec(inventory) {
                Ok(content) => (format!("{name}.json"), content),
                Err(error) => return self.back(&error.to_string()),
            },
        };
        self.state = State::Busy { changes_disks: true };
        vec![show("saving\n"), Effect::Save(Box::new(stick), name, content)]
    }

    /// Takes what came of saving.
    pub(super) fn saved(&mut self, outcome: Result<String, String>) -> Vec<Effect> {
        match outcome {
            Ok(path) => self.back(&format!("saved and read back: {path}")),
            Err(why) => self.back(&format!("not saved: {}", printable(&why))),
        }
    }

    /// Follows what a topic says.
    pub(super) fn follow(&mut self, reply: Reply) -> Vec<Effect> {
        let words = show(&reply.words);
        match reply.then {
            Then::Leave => {
                self.state = State::Menu;
                vec![words, show(&format!("{} is off-line: Enter shows the keys\n", self.system))]
            }
            Then::Ask(dialogue) => {
                self.state = State::Talking(dialogue);
                vec![words]
            }
            Then::Look(task) => {
                self.state = State::Busy { changes_disks: false };
                vec![words, Effect::Work(task)]
            }
            Then::Work(task) => {
                self.state = State::Busy { changes_disks: true };
                vec![words, Effect::Work(task)]
            }
        }
    }

    /// Takes what came of a topic's work.
    pub(super) fn done(&mut self, done: Done) -> Vec<Effect> {
        if done.report.is_some() {
            self.report = done.report;
        }
        self.follow(done.reply)
    }

    /// Goes back to the menu, and says why.
    pub(super) fn back(&mut self, why: &str) -> Vec<Effect> {
        self.state = State::Menu;
        vec![show(&format!("\n{why}; Enter shows the keys\n"))]
    }
}

fn offered(seen: Seen<'_>) -> String {
    let mut text = String::new();
    if !seen.may_have_server() {
        return text;
    }
    for (number, offer) in (1..).zip(seen.offers) {
        let (server, source) = (printable(&offer.server), offer.source.words());
        let _infallible =
            writeln!(text, "  {number}  look at the server at {server}, of which {source} says");
    }
    text
}

/// Finds what a typed number means, counted from 1.
fn number<'l, T>(typed: &str, list: &'l [T]) -> Option<&'l T> {
    let number: usize = typed.parse().ok()?;
    list.get(number.checked_sub(1)?)
}

fn show(words: &str) -> Effect {
    Effect::Show(words.to_owned())
}

/// What others say cannot move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests;
