//! What the specifications say, asked of the simulator.

mod erase;
mod neighbours;
mod settings;

use super::*;

/// Sends a command that must be executed.
fn good(disk: &mut Disk, cdb: &[u8], data: &mut [u8]) -> usize {
    let answer = disk.execute(cdb, data).unwrap();
    assert_eq!((answer.status, answer.sense), (0, Vec::new()), "{cdb:x?}");
    answer.transferred
}

/// Sends a command that must be refused; returns sense key and codes.
fn refusal(disk: &mut Disk, cdb: &[u8], data: &mut [u8]) -> (u8, u8, u8) {
    let answer = disk.execute(cdb, data).unwrap();
    assert_eq!(answer.status, 2, "{cdb:x?}");
    codes(&answer.sense)
}

fn codes(sense: &[u8]) -> (u8, u8, u8) {
    match sense[0] {
        0x70 => (sense[2], sense[12], sense[13]),
        0x72 => (sense[1], sense[2], sense[3]),
        other => panic!("response code {other:#x}"),
    }
}

/// Asks how it stands: codes and progress.
fn sense(disk: &mut Disk) -> ((u8, u8, u8), Option<u16>) {
    let mut data = [0; 252];
    let length = good(disk, &[0x03, 0, 0, 0, 252, 0], &mut data);
    assert_eq!((length, data[0], data[7]), (18, 0x70, 10));
    let progress = (data[15] & 0x80 != 0).then(|| u16::from_be_bytes([data[16], data[17]]));
    (codes(&data), progress)
}

fn page(disk: &mut Disk, code: u8) -> Vec<u8> {
    let mut data = vec![0; 252];
    let length = good(disk, &[0x12, 1, code, 0, 252, 0], &mut data);
    assert_eq!((data[1], usize::from(data[3])), (code, length - 4));
    data.truncate(length);
    data
}

/// A disk that is full of `0x5a`.
fn written(config: Config) -> Disk {
    let mut disk = Disk::new(config);
    let bytes = index(disk.accessible * u64::from(disk.block_bytes));
    disk.write(0, &vec![0x5a; bytes]).unwrap();
    disk
}

/// How many bytes of what was written are still stored.
fn left(disk: &Disk) -> usize {
    disk.medium().chunks(8).filter(|bytes| **bytes == [0x5a; 8]).count() * 8
}

#[test]
fn inquiry_says_what_the_configuration_can() {
    let mut disk = Disk::new(Config { must_write_after_sanitize: true, ..Config::solid_state() });
    let mut standard = [0; 96];
    assert_eq!(good(&mut disk, &[0x12, 0, 0, 0, 96, 0], &mut standard), 96);
    assert_eq!((standard[..4].to_vec(), &standard[8..15]), (vec![0, 0, 7, 2], &b"DRYDOCK"[..]));
    assert_eq!(page(&mut disk, 0)[4..], [0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    assert_eq!(&page(&mut disk, 0x80)[4..], b"SAS0001");
    assert_eq!(page(&mut disk, 0x83)[4..], [1, 3, 0, 8, 0x50, 0, 0xc5, 0, 0, 0, 0, 2]);
    let limits = page(&mut disk, 0xb0);
    assert_eq!((limits.len(), limits[20], limits[27], limits[43]), (64, 0xff, 16, 0));
    let mut luns = [0xee; 17];
    assert_eq!(good(&mut disk, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0], &mut luns), 16);
    assert_eq!(luns, [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xee]);
    let characteristics = page(&mut disk, 0xb1);
    assert_eq!((&characteristics[4..6], characteristics[7]), (&[0, 1][..], 0xf0));
    assert_eq!(page(&mut disk, 0xb2)[5..7], [0xc4, 1]);
    assert_eq!(refusal(&mut disk, &[0x12, 1, 0x99, 0, 96, 0], &mut [0; 96]), (5, 0x24, 0));
    let mut disk = Disk::new(Config::default());
    assert_eq!(page(&mut disk, 0xb1)[4..6], 7200_u16.to_be_bytes());
    assert_eq!(page(&mut disk, 0xb2)[5..7], [0, 0]);
    assert_eq!(page(&mut disk, 0xb0)[4..], [0; 60], "no limit is told");
}

#[test]
fn capacity_is_what_the_host_can_reach() {
    let config = Config { accessible_blocks: Some(100), block_bytes: 520, ..Config::solid_state() };
    let mut disk = Disk::new(config);
    let mut short = [0; 8];
    good(&mut disk, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut short);
    assert_eq!(short, [0, 0, 0, 99, 0, 0, 2, 8]);
    let mut long = [0; 32];
    let capacity = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    assert_eq!(good(&mut disk, &capacity, &mut [0; 64]), 32);
    good(&mut disk, &capacity, &mut long);
    assert_eq!((long[7], long[10], long[11], long[14]), (99, 2, 8, 0xc0));
    for at in [2, 9, 10, 14, 15] {
        let mut addressed = capacity;
        addressed[at] = 1;
        assert_eq!(refusal(&mut disk, &addressed, &mut long), (5, 0x24, 0));
    }
    let out = disk.read(99, 2).unwrap_err();
    assert_eq!(codes(&out.sense), (5, 0x21, 0));
}

#[test]
fn operation_codes_are_reported_by_code_and_by_service_action() {
    let mut disk = Disk::new(Config::default());
    let mut ask = |option: u8, code: u8, action: u8| {
        let mut data = [0; 64];
        let cdb = [0xa3, 0x0c, option, code, 0, action, 0, 0, 0, 64, 0, 0];
        let answer = disk.execute(&cdb, &mut data).unwrap();
        if answer.status == 0 { Ok((data[1], data[3], data[4])) } else { Err(codes(&answer.sense)) }
    };
    assert_eq!(ask(1, 0x04, 0), Ok((3, 6, 0x04)));
    assert_eq!(ask(1, 0x42, 0), Ok((1, 0, 0)), "no UNMAP");
    assert_eq!(ask(2, 0x48, 1), Ok((3, 10, 0x48)));
    assert_eq!(ask(3, 0x48, 2), Ok((1, 0, 0)), "no BLOCK ERASE");
    assert_eq!(ask(3, 0x04, 2), Ok((3, 6, 0x04)));
    assert_eq!(ask(1, 0x48, 1), Err((5, 0x24, 0)));
    assert_eq!(ask(2, 0x04, 0), Err((5, 0x24, 0)));
    let mut data = [0; 512];
    let length = good(&mut disk, &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], &mut data);
    assert_eq!(length, usize::from(u16::from_be_bytes([data[2], data[3]])) + 4);
    let all: Vec<&[u8]> = data[4..length].chunks(8).collect();
    let mut plain = vec![0x00, 0x03, 0x04, 0x12, 0x15, 0x1a];
    plain.extend([0x25, 0x28, 0x2a, 0x35, 0x41, 0x55, 0x5a, 0x88, 0x8a, 0x91, 0x93, 0xa0]);
    let length = |code: u8| match code >> 5 {
        0 => 6,
        4 => 16,
        5 => 12,
        _ => 10,
    };
    let mut expected: Vec<[u8; 8]> =
        plain.into_iter().map(|code| [code, 0, 0, 0, 0, 0, 0, length(code)]).collect();
    for (code, action) in [(0x48, 1), (0x48, 0x1f), (0x9e, 0x10), (0xa3, 0x0c)] {
        expected.push([code, 0, 0, action, 0, 1, 0, length(code)]);
    }
    let mut all: Vec<[u8; 8]> = all.into_iter().map(|one| one.try_into().unwrap()).collect();
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected);
    let mut mute = Disk::new(Config { reports_operation_codes: false, ..Config::default() });
    assert_eq!(refusal(&mut mute, &[0xa3, 0x0c], &mut []), (5, 0x20, 0));
}

#[test]
fn what_is_not_known_is_an_invalid_operation_code() {
    let mut disk = Disk::new(Config { sanitize: None, formats: false, ..Config::default() });
    for opcode in [0x04, 0x42, 0x48, 0x5e, 0x85, 0xff] {
        assert_eq!(refusal(&mut disk, &[opcode], &mut []), (5, 0x20, 0), "{opcode:#x}");
    }
}

#[test]
fn write_same_gives_up_zeros_that_then_stay_on_the_medium() {
    let mut disk = written(Config { write_same_limit: 64, ..Config::solid_state() });
    let cdb = |flags, blocks| [0x93, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, blocks, 0, 0];
    // UNMAP and NDOB.
    good(&mut disk, &cdb(0x09, 64), &mut []);
    assert_eq!(disk.read(63, 1).unwrap(), [0; 512]);
    assert_eq!(disk.read(64, 1).unwrap(), [0x5a; 512]);
    assert_eq!(left(&disk), 128 * 512);
    assert_eq!(refusal(&mut disk, &cdb(0x09, 65), &mut []), (5, 0x24, 0));
    assert_eq!(refusal(&mut disk, &cdb(0x09, 0), &mut []), (5, 0x24, 0), "0 is all");
    assert_eq!(refusal(&mut disk, &cdb(0x08, 1), &mut []), (5, 0x24, 0), "without data");
    good(&mut disk, &cdb(0x00, 1), &mut [7; 512]);
    assert_eq!(disk.read(0, 1).unwrap(), [7; 512]);
    let mut rotating = written(Config::default());
    assert_eq!(refusal(&mut rotating, &cdb(0x09, 1), &mut []), (5, 0x24, 0));
    good(&mut rotating, &cdb(0x01, 0), &mut []);
    assert_eq!(left(&rotating), 0, "in place, to the end");
    // The one of 10 bytes always has data.
    let short = |flags| [0x41, flags, 0, 0, 0, 1, 0, 0, 2, 0];
    good(&mut rotating, &short(0), &mut [9; 512]);
    assert_eq!(rotating.read(1, 2).unwrap(), [9; 1024]);
    assert_eq!(rotating.read(3, 1).unwrap(), [0; 512]);
    assert_eq!(refusal(&mut rotating, &short(1), &mut []), (5, 0x24, 0));
}

#[test]
fn unmapped_blocks_read_as_declared() {
    let mut config = Config::solid_state();
    config.provisioning.as_mut().unwrap().reads_zeros = false;
    let mut disk = written(config);
    let mut list = [0; 24];
    (list[3], list[19]) = (16, 8);
    good(&mut disk, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], &mut list);
    assert_eq!(disk.read(7, 1).unwrap(), [0xff; 512]);
    assert_eq!(disk.read(8, 1).unwrap(), [0x5a; 512]);
    assert_eq!(left(&disk), 128 * 512);
}
