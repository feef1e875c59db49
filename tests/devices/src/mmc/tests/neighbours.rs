//! Every command and its neighbours.

use super::*;
use crate::neighbours::{Carried, Neighbours, holds, spots};

fn later(card: &mut Card) -> String {
    let mut register = [0; 512];
    let status = card.command(13, 1 << 16, R1, false, &mut []);
    let _ = card.command(8, 0, R1_DATA, false, &mut register);
    format!("{status:x?} / {} / {}", spots(&register), holds(&card.medium()))
}

/// Command, argument in big-endian, and flags.
fn sent(card: &mut Card, command: &[u8], data: &mut [u8]) -> String {
    let argument = u32::from_be_bytes(command[1..5].try_into().unwrap());
    let is_write = matches!(command[0], 24 | 25);
    let answer =
        card.command(u32::from(command[0]), argument, u32::from(command[5]), is_write, data);
    format!("{answer:x?} {:?}", card.took())
}

fn small() -> Config {
    Config { erase_units: 1, spare_sectors: 8, ..Config::default() }
}

#[test]
fn every_bit_of_a_command_means_what_it_did() {
    let (r1, r1b, data) = (0x15, 0x1d, 0x35);
    let erased = |group| {
        let mut card = written(small());
        switch(&mut card, 175, group);
        order(&mut card, 35, 64).unwrap();
        order(&mut card, 36, 70).unwrap();
        card
    };
    let begun = {
        let mut card = written(small());
        order(&mut card, 35, 64).unwrap();
        card
    };
    let trimmed = {
        let mut card = written(small());
        erase(&mut card, 5, 9, 1);
        card
    };
    let bare = Config { secure_erase: false, trim: false, sanitize: false, ..small() };
    let none = Carried::In(0);
    let mut neighbours = Neighbours::new(sent, later);
    for (state, card) in [
        ("full", written(small())),
        ("begun to erase", begun),
        ("named what to erase", erased(0)),
        ("named large groups", erased(1)),
        ("trimmed", trimmed),
        ("cannot", written(bare)),
    ] {
        for (name, command, carried) in [
            ("SWITCH, sanitize", [6, 3, 165, 1, 1, r1b], none.clone()),
            ("SWITCH, large groups", [6, 1, 175, 1, 0, r1b], none.clone()),
            ("SWITCH, partition", [6, 3, 179, 2, 0, r1b], none.clone()),
            ("SEND_EXT_CSD", [8, 0, 0, 0, 0, data], Carried::In(512)),
            ("SEND_STATUS", [13, 0, 1, 0, 0, r1], none.clone()),
            ("READ_SINGLE_BLOCK", [17, 0, 0, 0, 5, data], Carried::In(512)),
            ("WRITE_BLOCK", [24, 0, 0, 0, 5, data], Carried::Out(vec![1; 512])),
            ("ERASE_GROUP_START", [35, 0, 0, 1, 0, r1], none.clone()),
            ("ERASE_GROUP_END", [36, 0, 0, 1, 0, r1], none.clone()),
            ("ERASE", [38, 0, 0, 0, 0, r1b], none.clone()),
            ("ERASE, secure trim", [38, 0x80, 0, 0, 1, r1b], none.clone()),
        ] {
            neighbours.add(&format!("{state}: {name}"), &card, &command, &carried);
        }
    }
    neighbours.compare("mmc");
}
