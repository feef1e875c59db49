//! Every command and its neighbours.

use super::*;
use crate::neighbours::{Carried, Neighbours, answered, holds, spots};

fn later(disk: &mut Disk) -> String {
    let status = [0x85, 7, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb4, 0];
    let ask = |disk: &mut Disk| disk.execute(&status, &mut []).map(|answer| spots(&answer.sense));
    disk.advance(Duration::from_secs(30));
    let meanwhile = ask(disk);
    disk.advance(Duration::from_hours(1));
    let after = ask(disk);
    let mut page = [0; 512];
    let cdb = [0x85, 4 << 1, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0];
    drop(disk.execute(&cdb, &mut page));
    let accessible = disk.accessible_sectors();
    disk.power_cut();
    let lasting = disk.accessible_sectors();
    let read = disk.read(5, 1).map(|sector| holds(&sector));
    let words = spots(&page[160..]);
    format!(
        "{meanwhile:?} / {after:?} / {words} / {accessible} {lasting} / {read:?} / {}",
        holds(&disk.medium())
    )
}

fn sent(disk: &mut Disk, cdb: &[u8], data: &mut [u8]) -> String {
    let answer = disk.execute(cdb, data);
    answered(answer, disk.took())
}

fn spins() -> Config {
    Config { sectors: 32, spare_sectors: 4, ..Config::default() }
}

fn flash() -> Config {
    Config { sectors: 32, spare_sectors: 4, ..Config::solid_state() }
}

fn states() -> Vec<(&'static str, Disk)> {
    let full = |config: Config| {
        let mut disk = Disk::new(config);
        let bytes = usize::try_from(disk.accessible_sectors()).unwrap() * SECTOR;
        disk.write(0, &vec![0x5a; bytes]).unwrap();
        disk
    };
    let after = |mut disk: Disk, command, features| {
        order(&mut disk, command, features, 0, 0);
        disk
    };
    let hidden = Config { maximum_address: Some(19), ..spins() };
    let mut secured = full(spins());
    let mut password = [0; 512];
    password[2..34].fill(0x41);
    send(&mut secured, 0xf1, &password);
    let mut locked = secured.clone();
    locked.power_cut();
    let mut prepared = secured.clone();
    order(&mut prepared, 0xf3, 0, 0, 0);
    let mut sanitizing = full(flash());
    order(&mut sanitizing, 0xb4, 0x12, 0, 0x426b_4572);
    let mut failed = full(Config { sanitize_course: Course::FailsAt(7), ..flash() });
    order(&mut failed, 0xb4, 0x12, 0x10, 0x426b_4572);
    failed.advance(Duration::from_hours(1));
    vec![
        ("spins", full(spins())),
        ("flash", full(flash())),
        ("asked for its native size", after(full(hidden.clone()), 0x27, 0)),
        ("asked for its native size in 28 bits", after(full(hidden), 0xf8, 0)),
        ("has a password", secured),
        ("is locked", locked),
        ("is prepared to be erased", prepared),
        ("is sanitizing", sanitizing),
        ("failed to sanitize", failed),
    ]
}

/// A 48-bit command: protocol and flags as SAT has them, features, count, LBA, command.
fn extended(protocol: u8, flags: u8, features: u8, count: u8, lba: u64, command: u8) -> Vec<u8> {
    let [_, _, l5, l4, l3, l2, l1, l0] = lba.to_be_bytes();
    vec![
        0x85,
        protocol << 1 | 1,
        flags,
        0,
        features,
        0,
        count,
        l3,
        l0,
        l4,
        l1,
        l5,
        l2,
        0x40,
        command,
        0,
    ]
}

fn commands() -> Vec<(&'static str, Vec<u8>, Carried)> {
    let (none, sector) = (Carried::In(0), Carried::In(512));
    let mut password = vec![0; 512];
    password[2..34].fill(0x41);
    let password = Carried::Out(password);
    let mut trim = vec![0; 512];
    (trim[0], trim[6]) = (5, 3);
    let plain = |features, count, command| {
        vec![0x85, 3 << 1, 0x20, 0, features, 0, count, 0, 10, 0, 0, 0, 0, 0x40, command, 0]
    };
    let out = |command| vec![0x85, 5 << 1, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, command, 0];
    vec![
        ("IDENTIFY DEVICE", vec![0xa1, 8, 0x0e, 0, 1, 0, 0, 0, 0, 0xec, 0, 0], sector.clone()),
        ("IDENTIFY DEVICE, of 16 bytes", extended(4, 0x2e, 0, 1, 0, 0xec), sector.clone()),
        (
            "READ SECTOR(S), of 12 bytes",
            vec![0xa1, 8, 0x0e, 0, 1, 5, 0, 0, 0x40, 0x24, 0, 0],
            sector.clone(),
        ),
        ("CHECK POWER MODE", plain(0, 0, 0xe5), none.clone()),
        ("READ DMA EXT", extended(6, 0x0e, 0, 1, 5, 0x25), sector.clone()),
        ("WRITE DMA EXT", extended(6, 0x26, 0, 1, 5, 0x35), Carried::Out(vec![1; 512])),
        ("DATA SET MANAGEMENT", extended(6, 0x26, 1, 1, 0, 0x06), Carried::Out(trim)),
        ("FLUSH CACHE EXT", extended(3, 0x20, 0, 0, 0, 0xea), none.clone()),
        ("READ NATIVE MAX ADDRESS", plain(0, 0, 0xf8), none.clone()),
        ("READ NATIVE MAX ADDRESS EXT", extended(3, 0x20, 0, 0, 0, 0x27), none.clone()),
        ("SET MAX ADDRESS", plain(0, 1, 0xf9), none.clone()),
        ("SET MAX FREEZE LOCK", plain(4, 0, 0xf9), none.clone()),
        ("SET MAX ADDRESS EXT", extended(3, 0x20, 0, 1, 20, 0x37), none.clone()),
        ("GET NATIVE MAX ADDRESS EXT", extended(3, 0x20, 0, 0, 0, 0x78), none.clone()),
        ("SET ACCESSIBLE MAX ADDRESS EXT", extended(3, 0x20, 1, 0, 20, 0x78), none.clone()),
        ("FREEZE ACCESSIBLE MAX ADDRESS EXT", extended(3, 0x20, 2, 0, 0, 0x78), none.clone()),
        ("DEVICE CONFIGURATION RESTORE", plain(0xc0, 0, 0xb1), none.clone()),
        ("DEVICE CONFIGURATION FREEZE LOCK", plain(0xc1, 0, 0xb1), none.clone()),
        (
            "DEVICE CONFIGURATION IDENTIFY",
            vec![0x85, 8, 0x2e, 0, 0xc2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xb1, 0],
            sector,
        ),
        ("SANITIZE STATUS EXT", extended(3, 0x20, 0, 1, 0, 0xb4), none.clone()),
        ("CRYPTO SCRAMBLE EXT", extended(3, 0x20, 0x11, 0x10, 0x4372_7970, 0xb4), none.clone()),
        ("BLOCK ERASE EXT", extended(3, 0x20, 0x12, 0, 0x426b_4572, 0xb4), none.clone()),
        ("OVERWRITE EXT", extended(3, 0x20, 0x14, 0x92, 0x4f57_0102_0304, 0xb4), none.clone()),
        (
            "SANITIZE ANTIFREEZE LOCK EXT",
            extended(3, 0x20, 0x40, 0, 0x416e_7469, 0xb4),
            none.clone(),
        ),
        ("SANITIZE FREEZE LOCK EXT", extended(3, 0x20, 0x20, 0, 0x4672_4c6b, 0xb4), none.clone()),
        ("SECURITY SET PASSWORD", out(0xf1), password.clone()),
        ("SECURITY UNLOCK", out(0xf2), password.clone()),
        ("SECURITY ERASE PREPARE", plain(0, 0, 0xf3), none.clone()),
        ("SECURITY ERASE UNIT", out(0xf4), password.clone()),
        ("SECURITY FREEZE LOCK", plain(0, 0, 0xf5), none),
        ("SECURITY DISABLE PASSWORD", out(0xf6), password),
        ("INQUIRY", vec![0x12, 0, 0, 0, 96, 0], Carried::In(128)),
        ("INQUIRY, serial number", vec![0x12, 1, 0x80, 0, 64, 0], Carried::In(64)),
        ("INQUIRY, ATA information", vec![0x12, 1, 0x89, 2, 0x3c, 0], Carried::In(572)),
        (
            "READ CAPACITY (16)",
            vec![0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
            Carried::In(32),
        ),
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
    neighbours.compare("ata");
}
