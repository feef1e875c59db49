//! Every command and its neighbours.

use super::*;
use crate::neighbours::{Carried, Neighbours, answered, holds, spots};

/// How a disk stands, half a minute and an hour later.
fn later(disk: &mut Disk) -> String {
    disk.advance(Duration::from_secs(30));
    let (mut meanwhile, mut modes, mut capacity) = ([0; 64], [0; 64], [0; 32]);
    drop(disk.execute(&[0x03, 1, 0, 0, 64, 0], &mut meanwhile));
    disk.advance(Duration::from_hours(1));
    let ready = disk.execute(&[0; 6], &mut []).map(|answer| spots(&answer.sense));
    drop(disk.execute(&[0x5a, 0x10, 0x3f, 0, 0, 0, 0, 0, 64, 0], &mut modes));
    drop(disk.execute(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], &mut capacity));
    let pages = [meanwhile.as_slice(), &modes, &capacity].map(spots).join(" / ");
    format!("{pages} / {ready:?} / {}", holds(&disk.medium()))
}

fn sent(disk: &mut Disk, cdb: &[u8], data: &mut [u8]) -> String {
    let answer = disk.execute(cdb, data);
    answered(answer, disk.took())
}

fn spins() -> Config {
    Config { blocks: 32, spare_blocks: 4, ..Config::default() }
}

fn flash() -> Config {
    Config { blocks: 32, spare_blocks: 4, ..Config::solid_state() }
}

fn states() -> Vec<(&'static str, Disk)> {
    let mut flashed = written(Config { write_same_limit: 20, ..flash() });
    flashed.reallocate(3);
    let spinning = written(Config { accessible_blocks: Some(30), ..spins() });
    let fixed = Config { sense_format: SenseFormat::Fixed, ..flash() };
    let mut sanitizing = written(fixed.clone());
    good(&mut sanitizing, &[0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0], &mut []);
    let mut failed = written(Config { sanitize_course: Course::FailsAt(7), ..fixed });
    good(&mut failed, &[0x48, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0], &mut []);
    failed.advance(Duration::from_hours(1));
    let mut formatting = written(Config { block_bytes: 520, ..spins() });
    good(&mut formatting, &[0x04, 0x10, 0, 0, 0, 0], &mut [0, 2, 0, 0]);
    let software = Config { protection: Protection::Software, ..spins() };
    vec![
        ("flash", flashed),
        ("spins", spinning),
        ("is sanitizing", sanitizing),
        ("failed to sanitize", failed),
        ("is formatting", formatting),
        ("is protected", Disk::new(software)),
    ]
}

fn commands() -> Vec<(&'static str, Vec<u8>, Carried)> {
    let (none, page) = (Carried::In(0), Carried::In(64));
    let list = |bytes: &[u8]| Carried::Out(bytes.to_vec());
    let mut unmap = vec![0, 22, 0, 16];
    unmap.resize(24, 0);
    (unmap[15], unmap[19]) = (5, 8);
    let mut select = vec![0, 0, 0, 8, 0, 0, 0, 30, 0, 0, 2, 0];
    select.extend([0x0a, 0x0a, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut select_long = vec![0, 0, 0, 0, 1, 0, 0, 16];
    select_long.extend([0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 2, 0]);
    select_long.extend([0x08, 2, 0, 0]);
    vec![
        ("TEST UNIT READY", vec![0; 6], none.clone()),
        ("REQUEST SENSE", vec![0x03, 0, 0, 0, 64, 0], page.clone()),
        ("INQUIRY", vec![0x12, 0, 0, 0, 128, 0], Carried::In(128)),
        ("INQUIRY, pages", vec![0x12, 1, 0, 0, 64, 0], page.clone()),
        ("INQUIRY, serial number", vec![0x12, 1, 0x80, 0, 64, 0], page.clone()),
        ("INQUIRY, identification", vec![0x12, 1, 0x83, 0, 64, 0], page.clone()),
        ("INQUIRY, limits", vec![0x12, 1, 0xb0, 0, 64, 0], page.clone()),
        ("READ CAPACITY (10)", vec![0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Carried::In(8)),
        (
            "READ CAPACITY (16)",
            vec![0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
            Carried::In(32),
        ),
        ("MODE SENSE (6)", vec![0x1a, 0, 0x3f, 0, 64, 0], page.clone()),
        ("MODE SENSE (10)", vec![0x5a, 0x10, 0x0a, 0, 0, 0, 0, 0, 64, 0], page.clone()),
        ("MODE SELECT (6)", vec![0x15, 0x10, 0, 0, 24, 0], list(&select)),
        ("MODE SELECT (10)", vec![0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0], list(&select_long)),
        ("READ (10)", vec![0x28, 0, 0, 0, 0, 4, 0, 0, 1, 0], Carried::In(512)),
        ("READ (16)", vec![0x88, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0], Carried::In(512)),
        ("WRITE (10)", vec![0x2a, 0, 0, 0, 0, 4, 0, 0, 1, 0], list(&[0; 512])),
        ("WRITE SAME (10)", vec![0x41, 0, 0, 0, 0, 4, 0, 0, 16, 0], list(&[0; 512])),
        ("WRITE SAME (16)", vec![0x93, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 16, 0, 0], none.clone()),
        ("UNMAP", vec![0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list(&unmap)),
        (
            "SANITIZE, overwrite",
            vec![0x48, 0x81, 0, 0, 0, 0, 0, 0, 8, 0],
            list(&[2, 0, 0, 4, 1, 2, 3, 4]),
        ),
        ("SANITIZE, block erase", vec![0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0], none.clone()),
        ("SANITIZE, exit failure mode", vec![0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0], none.clone()),
        ("FORMAT UNIT", vec![0x04, 0x10, 0, 0, 0, 0], list(&[0, 2, 0, 0])),
        ("FORMAT UNIT, options", vec![0x04, 0x10, 0, 0, 0, 0], list(&[0, 0x82, 0, 0])),
        (
            "FORMAT UNIT, options that count for nothing",
            vec![0x04, 0x10, 0, 0, 0, 0],
            list(&[0, 0x23, 0, 0]),
        ),
        ("FORMAT UNIT, waited for", vec![0x04, 0, 0, 0, 0, 0], none.clone()),
        ("REPORT LUNS", vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], page.clone()),
        (
            "REPORT SUPPORTED OPERATION CODES",
            vec![0xa3, 0x0c, 0x82, 0x48, 0, 1, 0, 0, 0, 64, 0, 0],
            page.clone(),
        ),
        (
            "REPORT SUPPORTED OPERATION CODES, all",
            vec![0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            Carried::In(256),
        ),
        ("SYNCHRONIZE CACHE", vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], none),
    ]
}

#[test]
fn every_bit_of_a_command_means_what_it_did() {
    let mut neighbours = Neighbours::new(sent, later);
    for (state, disk) in states() {
        for (name, cdb, carried) in commands() {
            neighbours.add(&format!("{state}: {name}"), &disk, &cdb, &carried);
        }
    }
    neighbours.compare("scsi");
}
