use agent::offline::Then;
use proptest::prelude::*;
use protocol::{
    Bytes,
    inventory::{Content, Signature},
};

use super::*;

fn disk(name: &str, serial: &str) -> Disk {
    Disk {
        name: name.to_owned(),
        serial: Some(serial.to_owned()),
        size_bytes: Bytes(1 << 30),
        transport: Some(Transport::Ata),
        removable: Some(false),
        ..Disk::default()
    }
}

fn machine() -> Inventory {
    Inventory { disks: vec![disk("sda", "A1"), disk("sdb", "B2")], ..Inventory::default() }
}

/// What lines lead to, after the disks were shown.
#[derive(Debug, PartialEq)]
enum End {
    Asked,
    Left,
    /// Some disks are wiped.
    Wiped,
}

fn typed(lines: &[&str]) -> End {
    let Inventory { disks, .. } = machine();
    let mut dialogue: Box<dyn Dialogue> = Box::new(Which { inventory: machine(), disks });
    for line in lines {
        match dialogue.answer(line).then {
            Then::Ask(next) => dialogue = next,
            Then::Leave => return End::Left,
            Then::Look(_) | Then::Work(_) => return End::Wiped,
        }
    }
    End::Asked
}

#[test]
fn disks_are_wiped_once_each_of_them_was_named() {
    assert_eq!(typed(&["1", "full"]), End::Asked);
    assert_eq!(typed(&["1", "full", "A1"]), End::Wiped);
    assert_eq!(typed(&["2 1", "working", "B2"]), End::Asked);
    assert_eq!(typed(&["2 1", "working", "B2", "A1"]), End::Wiped);
    assert_eq!(typed(&["1 1", "redline", "A1"]), End::Wiped, "it is one disk");
}

#[test]
fn every_other_answer_touches_nothing() {
    for lines in [
        &[""][..],
        &["0"],
        &["3"],
        &["sda"],
        &["1 x"],
        &["-1"],
        &["1", ""],
        &["1", "idle"],
        &["1", "Full"],
        &["1", "all"],
        &["1", "full", ""],
        &["1", "full", "y"],
        &["1", "full", "yes"],
        &["1", "full", "B2"],
        &["1", "full", "a1"],
        &["1", "full", "sda"],
        &["1", "full", "A1 B2"],
        &["1 2", "full", "A1", "A1"],
        &["1 2", "full", "B2"],
    ] {
        assert_eq!(typed(lines), End::Left, "{lines:?}");
    }
}

#[test]
fn what_the_machine_may_have_started_from_is_not_offered() {
    assert!(may_be_meant(&disk("sda", "A1")));
    let iso = Signature { kind: "iso9660".to_owned(), ..Signature::default() };
    let copy = Content { signatures: vec![iso], ..Content::default() };
    for other in [
        Disk { transport: Some(Transport::Usb), ..disk("sdb", "B2") },
        Disk { removable: Some(true), ..disk("sdb", "B2") },
        Disk { content: Some(copy), ..disk("sdb", "B2") },
        Disk { serial: None, ..disk("sdb", "") },
        Disk { size_bytes: Bytes(0), ..disk("sdb", "B2") },
    ] {
        assert!(!may_be_meant(&other), "{other:?}");
        let inventory = Inventory { disks: vec![other], ..Inventory::default() };
        assert!(matches!(begin(&inventory).then, Then::Leave));
    }
}

#[test]
fn without_all_drivers_of_disks_nothing_is_offered() {
    let inventory = Inventory { awaited: vec!["megaraid_sas".to_owned()], ..machine() };
    let reply = begin(&inventory);
    assert!(matches!(reply.then, Then::Leave) && reply.words.contains("megaraid_sas"));
    assert!(matches!(begin(&machine()).then, Then::Look(_)), "it looks, and writes nothing");
}

#[test]
fn who_begins_is_told_that_a_power_cut_is_remembered_by_nobody() {
    let (inventory, disks) = (machine(), vec![disk("sda", "A1")]);
    let asked = Confirmation { inventory, disks, level: PowerLevel::Full, typed: Vec::new() };
    let reply = Box::new(asked).answer("A1");
    assert!(matches!(reply.then, Then::Work(_)));
    assert!(reply.words.contains("Wipe all of these again"), "{reply:?}");
}

#[test]
fn what_is_typed_moves_no_cursor() {
    let Inventory { disks, .. } = machine();
    let reply = Box::new(Which { inventory: machine(), disks }).answer("\x1b[2J");
    assert!(reply.words.chars().all(|one| one == '\n' || !one.is_control()), "{reply:?}");
}

proptest! {
    #[test]
    fn no_lines_without_the_names_wipe(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("1".to_owned()), Just("2".to_owned()), Just("1 2".to_owned()),
                Just("full".to_owned()), Just("redline".to_owned()), Just("A1".to_owned()),
                Just("B2".to_owned()), "\\PC{0,12}",
            ],
            0..6,
        ),
    ) {
        let borrowed: Vec<&str> = lines.iter().map(String::as_str).collect();
        if typed(&borrowed) == End::Wiped {
            // Exactly the names of what was chosen, in that order, behind a level.
            let chosen: Vec<&str> = borrowed[0].split_whitespace().collect();
            let names: Vec<&str> =
                chosen.iter().map(|number| if *number == "1" { "A1" } else { "B2" }).collect();
            prop_assert!(LEVELS.iter().any(|(_, word, _)| *word == borrowed[1]));
            prop_assert_eq!(&borrowed[2..2 + names.len()], names.as_slice());
        }
    }
}
