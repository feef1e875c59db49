//! Every command and its neighbours.

use super::*;
use crate::neighbours::{Carried, Neighbours, holds, spots};

fn later(controller: &mut Controller) -> String {
    let mut log = [0; 64];
    controller.advance(Duration::from_secs(30));
    let _ = controller.admin(0x02, ALL_NAMESPACES, [0xf << 16 | 0x81, 0, 0, 0, 0, 0], &mut log);
    let meanwhile = spots(&log);
    controller.advance(HOUR);
    let _ = controller.admin(0x02, ALL_NAMESPACES, [0xf << 16 | 0x81, 0, 0, 0, 0, 0], &mut log);
    let feature = controller.admin(0x0a, 0, [0x17, 0, 0, 0, 0, 0], &mut []);
    let mut namespaces = Vec::new();
    for (id, found) in controller.namespaces.clone() {
        let all = u16::try_from(found.blocks()).unwrap();
        let read = controller.read(id, 0, all).map(|blocks| holds(&blocks));
        let Namespace { bytes, format, is_attached, .. } = found;
        namespaces.push(format!("{id}:{bytes},{format},{is_attached},{read:?}"));
    }
    let medium = holds(&controller.medium());
    format!("{meanwhile} / {} / {feature:x?} / {} / {medium}", spots(&log), namespaces.join(" "))
}

/// Opcode, whether it is an I/O command, namespace and dwords 10 to 15, these little-endian.
fn sent(controller: &mut Controller, command: &[u8], data: &mut [u8]) -> String {
    let word = |at: usize| u32::from_le_bytes(command[at..at + 4].try_into().unwrap());
    let dwords = [6, 10, 14, 18, 22, 26].map(word);
    let answer = match command[1] {
        0 => controller.admin(command[0], word(2), dwords, data),
        1 => controller.io(command[0], word(2), dwords, data),
        _ => return "not sent".to_owned(),
    };
    match answer {
        Ok(dword) => format!("{dword:08x} {:?}", controller.took()),
        Err(error) => format!("{error:x?}"),
    }
}

fn states() -> Vec<(&'static str, Controller)> {
    let room = Config { capacity_bytes: 64 << 10, write_zeroes_limit: 1, ..three_namespaces() };
    let mut sanitizing = written(Config::default());
    sanitize(&mut sanitizing, 2).unwrap();
    let mut failed = written(Config { sanitize_course: Course::FailsAt(7), ..Config::default() });
    sanitize(&mut failed, 0xa).unwrap();
    failed.advance(HOUR);
    let inhibited = SanitizeCapabilities {
        no_deallocate_inhibited: true,
        no_deallocate_modifies_media: 2,
        ..Config::default().sanitize.unwrap()
    };
    let forbidden = FormatAttributes {
        broadcast_forbidden: true,
        crypto_erase: false,
        ..Config::default().format.unwrap()
    };
    let ones = Config {
        sanitize: Some(inhibited),
        format: Some(forbidden),
        deallocated: Deallocated::Ones,
        ..three_namespaces()
    };
    vec![
        ("three namespaces", written(room)),
        ("is sanitizing", sanitizing),
        ("failed to sanitize", failed),
        ("of ones", written(ones)),
        ("one namespace", written(Config { estimates: false, ..Config::default() })),
    ]
}

/// What it is called, opcode, queue (0 is the admin queue), namespace, dwords 10 to 15, and what goes with it.
type Command = (&'static str, u8, u8, u32, [u32; 6], Carried);

fn commands() -> Vec<Command> {
    let (none, page) = (Carried::In(0), Carried::In(4096));
    let all = ALL_NAMESPACES;
    let mut created = vec![0; 384];
    (created[0], created[8], created[26]) = (8, 8, 0);
    let mut controllers = vec![0; 384];
    (controllers[0], controllers[2]) = (1, 1);
    vec![
        ("Get Log Page, SMART", 0x02, 0, all, [0x7f << 16 | 2, 0, 0, 0, 0, 0], Carried::In(512)),
        ("Get Log Page, sanitize", 0x02, 0, all, [1 << 16 | 0x81, 0, 0, 0, 0, 0], Carried::In(32)),
        ("Identify, namespace", 0x06, 0, 1, [0; 6], page.clone()),
        ("Identify, controller", 0x06, 0, 0, [1, 0, 0, 0, 0, 0], page.clone()),
        ("Identify, active namespaces", 0x06, 0, 0, [2, 0, 0, 0, 0, 0], page.clone()),
        ("Identify, descriptors", 0x06, 0, 1, [3, 0, 0, 0, 0, 0], page.clone()),
        ("Identify, allocated namespaces", 0x06, 0, 0, [0x10, 0, 0, 0, 0, 0], page.clone()),
        ("Identify, controllers", 0x06, 0, 1, [0x12, 0, 0, 0, 0, 0], page),
        ("Set Features, sanitize", 0x09, 0, 0, [0x17, 1, 0, 0, 0, 0], none.clone()),
        ("Get Features, sanitize", 0x0a, 0, 0, [0x17, 0, 0, 0, 0, 0], none.clone()),
        ("Namespace Management, create", 0x0d, 0, 0, [0; 6], Carried::Out(created)),
        ("Namespace Management, delete", 0x0d, 0, 2, [1, 0, 0, 0, 0, 0], none.clone()),
        ("Namespace Attachment", 0x15, 0, 3, [0; 6], Carried::Out(controllers)),
        ("Format NVM", 0x80, 0, 1, [0x200, 0, 0, 0, 0, 0], none.clone()),
        ("Format NVM, crypto, all", 0x80, 0, all, [0x401, 0, 0, 0, 0, 0], none.clone()),
        ("Sanitize, block erase", 0x84, 0, 0, [2, 0, 0, 0, 0, 0], none.clone()),
        ("Sanitize, block erase, kept", 0x84, 0, 0, [0x202, 0, 0, 0, 0, 0], none.clone()),
        ("Sanitize, overwrite", 0x84, 0, 0, [0x123, 0x0403_0201, 0, 0, 0, 0], none.clone()),
        ("Sanitize, exit failure mode", 0x84, 0, 0, [1, 0, 0, 0, 0, 0], none.clone()),
        ("Flush", 0x00, 1, 1, [0; 6], none.clone()),
        ("Write", 0x01, 1, 1, [5, 0, 0, 0, 0, 0], Carried::Out(vec![0; 512])),
        ("Read", 0x02, 1, 1, [5, 0, 0, 0, 0, 0], Carried::In(512)),
        ("Write Zeroes", 0x08, 1, 1, [5, 0, 1 << 25 | 3, 0, 0, 0], none),
        ("Dataset Management", 0x09, 1, 1, [0, 4, 0, 0, 0, 0], Carried::Out(deallocation(5, 3))),
    ]
}

#[test]
fn every_bit_of_a_command_means_what_it_did() {
    let mut neighbours = Neighbours::new(sent, later);
    for (state, controller) in states() {
        for (name, opcode, queue, nsid, dwords, carried) in commands() {
            let mut command = vec![opcode, queue];
            command.extend(nsid.to_le_bytes());
            command.extend(dwords.iter().flat_map(|dword| dword.to_le_bytes()));
            neighbours.add(&format!("{state}: {name}"), &controller, &command, &carried);
        }
    }
    neighbours.compare("nvme");
}
