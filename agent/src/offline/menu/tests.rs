use proptest::prelude::*;
use protocol::{
    Bytes,
    inventory::{Content, Disk, Signature, Transport},
};

use super::*;
use crate::finding::Source;

const PIN: Pin = Pin([0xab; 32]);
const SERVER: &str = "https://10.0.0.1:7443";

fn machine() -> Inventory {
    let fat = Signature { kind: "vfat".to_owned(), ..Signature::default() };
    let mut inventory = Inventory::default();
    inventory.system.serial = Some("CZ1".to_owned());
    inventory.disks.push(Disk {
        name: "sdb".to_owned(),
        transport: Some(Transport::Usb),
        removable: Some(true),
        size_bytes: Bytes(1 << 26),
        content: Some(Content { signatures: vec![fat], ..Content::default() }),
        ..Disk::default()
    });
    inventory
}

/// A topic that destroys everything where somebody types `S3RIAL`, and asks once before.
struct Destroys;

impl Dialogue for Destroys {
    fn answer(self: Box<Self>, line: &str) -> Reply {
        if line != "S3RIAL" {
            return Reply::leave("nothing was touched");
        }
        Reply::work("wiping", || Done {
            reply: Reply::leave("wiped"),
            report: Some(("wipe", b"{}".to_vec())),
        })
    }
}

const TOPIC: Topic =
    Topic { key: "w", words: "wipe disks", begin: |_| Reply::ask("serial number: ", Destroys) };

/// A menu, and what it says and does.
struct Sitting {
    menu: Menu,
    inventory: Inventory,
    offers: Vec<Offer>,
    has_server: bool,
    is_served: bool,
    is_alone: bool,
    shown: String,
}

impl Sitting {
    fn new() -> Self {
        let offer = Offer { server: SERVER.to_owned(), source: Source::Multicast };
        Self {
            menu: Menu::new("HerculesOS", Some(TOPIC)),
            inventory: machine(),
            offers: vec![offer],
            has_server: false,
            is_served: false,
            is_alone: false,
            shown: String::new(),
        }
    }

    /// Types at a console; what is to be done is named, and what a topic begins with happens.
    fn types_at(&mut self, console: usize, line: Option<&str>) -> Vec<String> {
        let seen = Seen {
            inventory: Some(&self.inventory),
            offers: &self.offers,
            has_server: self.has_server,
            is_served: self.is_served,
            is_alone: self.is_alone,
        };
        let effects = self.menu.line(console, line, seen);
        self.takes(effects)
    }

    fn types(&mut self, line: &str) -> Vec<String> {
        self.types_at(0, Some(line))
    }

    fn takes(&mut self, effects: Vec<Effect>) -> Vec<String> {
        let mut done = Vec::new();
        for effect in effects {
            done.push(match effect {
                Effect::Show(words) => {
                    self.shown.push_str(&words);
                    continue;
                }
                Effect::Look(server) => format!("look {server}"),
                Effect::Trust(server, pin) => format!("trust {server} {pin}"),
                Effect::Alone(begin) => {
                    let more = self.menu.follow(begin(&self.inventory));
                    let more = self.takes(more);
                    done.extend(more);
                    continue;
                }
                Effect::Work(_) => "work".to_owned(),
                Effect::Save(stick, name, _) => format!("save {name} on {stick}"),
                Effect::Restart => "restart".to_owned(),
                Effect::SwitchOff => "off".to_owned(),
            });
        }
        done
    }
}

#[test]
fn a_server_is_trusted_by_whoever_types_the_beginning_of_its_key() {
    let mut sitting = Sitting::new();
    assert!(sitting.types("a").is_empty());
    assert_eq!(sitting.types("10.0.0.1"), [format!("look {SERVER}")]);
    assert!(sitting.types("abababababababab").is_empty(), "nothing was shown yet");
    let effects = sitting.menu.key(Ok(PIN));
    assert!(sitting.takes(effects).is_empty());
    assert!(sitting.shown.contains(&PIN.to_string()), "{}", sitting.shown);
    assert_eq!(sitting.types("abababababababab"), [format!("trust {SERVER} {PIN}")]);
}

#[test]
fn nothing_else_than_the_key_is_trusted() {
    for typed in ["", "y", "yes", "abababababababa", "bababababababababa", "1"] {
        let mut sitting = Sitting::new();
        assert_eq!(sitting.types("1"), [format!("look {SERVER}")]);
        let effects = sitting.menu.key(Ok(PIN));
        sitting.takes(effects);
        assert!(sitting.types(typed).is_empty(), "{typed}");
        // Too late: the question is over.
        assert!(sitting.types("abababababababab").is_empty(), "{typed}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_said_and_not_trusted() {
    let mut sitting = Sitting::new();
    sitting.types("1");
    let effects = sitting.menu.key(Err("no\x1b[2J answer".to_owned()));
    sitting.takes(effects);
    assert!(sitting.shown.contains("no [2J answer"), "{}", sitting.shown);
    assert!(sitting.types("abababababababab").is_empty());
}

#[test]
fn the_inventory_is_saved_on_the_stick_that_is_chosen() {
    let mut sitting = Sitting::new();
    assert!(sitting.types("s").is_empty());
    assert!(sitting.types("2").is_empty(), "there is one only");
    sitting.types("s");
    let saved = sitting.types("1");
    assert_eq!(saved, ["save CZ1.json on sdb: USB stick, 64 MiB"]);
    assert!(sitting.types("r").is_empty(), "not in the middle");
    let effects = sitting.menu.saved(Ok("drydock/CZ1.json on sdb".to_owned()));
    sitting.takes(effects);
    assert_eq!(sitting.types("r"), ["restart"]);
}

#[test]
fn a_report_is_what_is_saved_once_there_is_one() {
    let mut sitting = Sitting::new();
    sitting.types("w");
    assert_eq!(sitting.types("S3RIAL"), ["work"]);
    assert!(sitting.types("p").is_empty(), "not in the middle");
    let done = Done { reply: Reply::leave("wiped"), report: Some(("wipe", b"{}".to_vec())) };
    let effects = sitting.menu.done(done);
    sitting.takes(effects);
    sitting.types("s");
    assert!(sitting.types("1")[0].starts_with("save CZ1-wipe.json on"));
}

#[test]
fn a_server_that_has_the_machine_closes_the_menu() {
    let mut sitting = Sitting::new();
    sitting.types("w");
    sitting.is_served = true;
    for line in ["S3RIAL", "r", "p", "s", "w", "a"] {
        assert!(sitting.types(line).is_empty(), "{line}");
    }
    let seen =
        Seen { inventory: None, offers: &[], has_server: true, is_served: true, is_alone: false };
    assert!(sitting.menu.picture(seen).is_empty());
}

#[test]
fn who_took_the_machine_chooses_no_server_any_more() {
    let mut sitting = Sitting::new();
    sitting.is_alone = true;
    for line in ["a", "1"] {
        assert!(sitting.types(line).is_empty(), "{line}");
    }
}

#[test]
fn a_disk_that_hangs_keeps_nobody_from_leaving_and_a_wipe_does() {
    for (then, left) in [(Then::Look(Box::new(nothing)), 1), (Then::Work(Box::new(nothing)), 0)] {
        let mut sitting = Sitting::new();
        sitting.menu.follow(Reply { words: String::new(), then });
        assert_eq!(sitting.types("r").len(), left);
        assert!(sitting.types("w").is_empty());
    }
}

fn nothing() -> Done {
    Done { reply: Reply::leave(""), report: None }
}

#[test]
fn a_machine_whose_server_is_known_asks_for_no_other() {
    let mut sitting = Sitting::new();
    sitting.has_server = true;
    for line in ["a", "1"] {
        assert!(sitting.types(line).is_empty(), "{line}");
    }
    assert!(!sitting.shown.contains("10.0.0.1"), "{}", sitting.shown);
    assert!(!sitting.types("s").is_empty() || sitting.shown.contains("number of the stick"));
}

#[test]
fn a_question_is_answered_where_it_was_asked() {
    let mut sitting = Sitting::new();
    sitting.types("w");
    assert!(sitting.types_at(1, Some("S3RIAL")).is_empty());
    assert!(sitting.types_at(0, Some("S3RIAL")).is_empty(), "it is over");
}

#[test]
fn whoever_hangs_up_or_types_nothing_does_nothing() {
    for line in [None, Some(""), Some("  ")] {
        let mut sitting = Sitting::new();
        sitting.types("w");
        assert!(sitting.types_at(0, line).is_empty());
        assert!(sitting.types("S3RIAL").is_empty(), "{line:?}");
    }
}

#[test]
fn a_line_that_sends_back_what_it_hears_is_not_answered_for_ever() {
    let mut sitting = Sitting::new();
    for _ in 0..1000 {
        sitting.types("loop");
    }
    assert!(sitting.shown.len() < 20_000);
    assert_eq!(sitting.types("p"), ["off"]);
}

proptest! {
    /// What a stranger's cable or cat types; the keys of the menu among it, and parts of the confirmations.
    #[test]
    fn no_lines_without_the_confirmation_destroy_or_trust(
        lines in proptest::collection::vec(
            (0_usize..2, proptest::option::weighted(0.95, prop_oneof![
                "[wasip12]",
                Just("S3RIA".to_owned()),
                Just("s3rial".to_owned()),
                Just("S3RIAL S3RIAL".to_owned()),
                Just("10.0.0.1".to_owned()),
                Just("abababababababa".to_owned()),
                "\\PC{0,20}",
            ])),
            0..40,
        ),
    ) {
        let mut sitting = Sitting::new();
        for (console, line) in lines {
            let is_name = line.as_deref().is_some_and(|line| line.trim() == "S3RIAL");
            let is_key = line.as_deref().is_some_and(|line| finding::confirms(line, &PIN));
            prop_assume!(!is_name && !is_key);
            for done in sitting.types_at(console, line.as_deref()) {
                prop_assert!(done != "work" && !done.starts_with("trust"), "{}", done);
                if done.starts_with("look") {
                    let effects = sitting.menu.key(Ok(PIN));
                    sitting.takes(effects);
                } else if done.starts_with("save") {
                    let effects = sitting.menu.saved(Err("full".to_owned()));
                    sitting.takes(effects);
                }
            }
        }
    }
}
