//! What the specifications say, asked of the simulator.

mod capacity;
mod neighbours;
mod sanitize;
mod security;

use super::*;

/// The registers that came back: error, count, LBA, status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registers {
    error: u8,
    count: u16,
    lba: u64,
    status: u8,
}

/// Sends a 48-bit command without data, and reads the registers.
fn order(disk: &mut Disk, command: u8, features: u8, count: u8, lba: u64) -> Registers {
    let [_, _, l5, l4, l3, l2, l1, l0] = lba.to_be_bytes();
    let cdb =
        [0x85, 3 << 1 | 1, 0x20, 0, features, 0, count, l3, l0, l4, l1, l5, l2, 0xe0, command, 0];
    registers(&disk.execute(&cdb, &mut []).unwrap())
}

/// Sends a command with one block of data to the disk; returns the error register.
fn send(disk: &mut Disk, command: u8, data: &[u8; 512]) -> u8 {
    let cdb = [0x85, 5 << 1, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xa0, command, 0];
    registers(&disk.execute(&cdb, &mut data.clone()).unwrap()).error
}

fn registers(answer: &Answer) -> Registers {
    let sense = &answer.sense;
    assert_eq!(answer.status, 2, "registers were asked for");
    assert_eq!((sense[0], sense[7], sense[8], sense[9]), (0x72, 14, 0x09, 0x0c));
    assert_eq!(
        sense[1],
        if sense[11] == 0 {
            0x01
        } else if sense[11] == NOT_FOUND {
            0x05
        } else {
            0x0b
        }
    );
    Registers {
        error: sense[11],
        count: u16::from_be_bytes([sense[12], sense[13]]),
        lba: u64::from_be_bytes([
            0, 0, sense[18], sense[16], sense[14], sense[19], sense[17], sense[15],
        ]),
        status: sense[21],
    }
}

fn identify(disk: &mut Disk) -> Vec<u16> {
    let mut page = [0; 512];
    let cdb = [0x85, 4 << 1, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0];
    let answer = disk.execute(&cdb, &mut page).unwrap();
    assert_eq!(answer, Answer { status: 0, sense: Vec::new(), transferred: 512 });
    assert_eq!(page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "checksum");
    page.chunks(2).map(|word| u16::from_le_bytes([word[0], word[1]])).collect()
}

/// A disk that is full of `0x5a`.
fn written(config: Config) -> Disk {
    let mut disk = Disk::new(config);
    let bytes = usize::try_from(disk.accessible_sectors()).unwrap() * SECTOR;
    disk.write(0, &vec![0x5a; bytes]).unwrap();
    disk
}

/// How many sectors of what was written are still stored.
fn left(disk: &Disk) -> usize {
    disk.medium().chunks(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 0x5a)).count()
}

#[test]
fn identify_says_what_the_configuration_can() {
    let mut disk = Disk::new(Config::default());
    let words = identify(&mut disk);
    assert_eq!(words[10], u16::from_be_bytes(*b"AT"));
    assert_eq!(words[59], 1 << 10 | 1 << 11 | 1 << 12 | 1 << 14);
    assert_eq!((words[60], words[61], words[100]), (128, 0, 128));
    assert_eq!(words[69] & 0x4020, 0);
    assert_eq!(words[82] & 0x402, 0x402, "security, protected area");
    assert_eq!(words[83] & 0xcc00, 0x4c00, "valid, overlay, 48 bits");
    assert_eq!((words[89], words[90], words[92]), (2, 3, 0xfffe));
    assert_eq!(words[128], 0b10_0001);
    assert_eq!(words[217], 7200);
    let words = identify(&mut Disk::new(Config::solid_state()));
    assert_eq!(words[59] & 0xe000, 0xa000, "block erase, crypto scramble");
    assert_eq!(
        (words[69] & 0x4020, words[119] & 0x100, words[169], words[217]),
        (0x4020, 0x100, 1, 1)
    );
    let bare = Config { security: None, sanitize: None, ..Config::default() };
    let words = identify(&mut Disk::new(bare));
    assert_eq!((words[59], words[82] & 2, words[89], words[128]), (0, 0, 0, 0));
}

#[test]
fn every_word_of_identify_is_where_the_specification_has_it() {
    let words = identify(&mut Disk::new(Config::default()));
    let text: Vec<u8> = words[10..47].iter().flat_map(|word| word.to_be_bytes()).collect();
    assert_eq!(&text[..20], b"ATA0001             ");
    assert_eq!(&text[26..48], b"1.0     Simulated ATA ");
    let others =
        words.iter().enumerate().filter(|(at, word)| !(10..47).contains(at) && **word != 0);
    assert_eq!(
        others.map(|(at, word)| (at, *word)).filter(|(at, _)| *at != 255).collect::<Vec<_>>(),
        [
            (0, 0x0040),
            (47, 0x8001),
            (48, 0x4000),
            (49, 0x0300),
            (53, 0x0006),
            (59, 0x5c00),
            (60, 128),
            (76, 0x0008),
            (78, 0x0040),
            (79, 0x0040),
            (80, 0x0c00),
            (82, 0x0422),
            (83, 0x7d00),
            (84, 0x4100),
            (85, 0x0420),
            (86, 0xbc00),
            (87, 0x4100),
            (88, 0x007f),
            (89, 2),
            (90, 3),
            (92, 0xfffe),
            (100, 128),
            (106, 0x4000),
            (108, 0x5000),
            (109, 0xc500),
            (111, 1),
            (119, 0x4000),
            (120, 0x4000),
            (128, 0x0021),
            (217, 7200),
        ]
    );
}

#[test]
fn numbers_of_64_bits_stand_in_four_words() {
    let odd = 0x8123_4567_89ab_cdef;
    for wwn in [odd, !odd] {
        let words = identify(&mut Disk::new(Config { wwn, ..Config::default() }));
        let bytes: Vec<u8> = words[108..112].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(bytes, wwn.to_be_bytes());
        let mut words = [0; 4];
        identify::put_u64(&mut words, wwn);
        assert_eq!(words.map(u16::to_le_bytes).concat(), wwn.to_le_bytes());
    }
}

#[test]
fn both_sizes_of_pass_through_are_taken_and_must_fit_the_command() {
    let mut disk = Disk::new(Config::default());
    let twelve = [0xa1, 4 << 1, 0x0e, 0, 1, 0, 0, 0, 0, 0xec, 0, 0];
    let mut page = [0; 512];
    assert_eq!(disk.execute(&twelve, &mut page).unwrap().transferred, 512);
    assert_eq!(page[510], 0xa5);
    for (byte, value) in [(1, 5 << 1), (1, 3 << 1), (2, 0x06), (2, 0x0d), (6, 2)] {
        let mut cdb = [0x85, 4 << 1, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0];
        cdb[byte] = value;
        let answer = disk.execute(&cdb, &mut page).unwrap();
        assert_eq!((answer.status, answer.sense[1], answer.sense[2]), (2, 0x05, 0x24), "{byte}");
    }
    let answer = disk.execute(&[0x48, 2], &mut []).unwrap();
    assert_eq!((answer.status, answer.sense[1], answer.sense[2]), (2, 0x05, 0x20));
}

#[test]
fn a_transfer_is_as_long_in_bytes_as_in_blocks() {
    let mut disk = Disk::new(Config::default());
    // T_LENGTH: FEATURES; BYT_BLOK: bytes, or blocks.
    for (flags, features, fits) in
        [(0x29, 512_u16, true), (0x29, 511, false), (0x2d, 1, true), (0x2d, 512, false)]
    {
        let [high, low] = features.to_be_bytes();
        let cdb = [0x85, 4 << 1 | 1, flags, high, low, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0];
        let answer = disk.execute(&cdb, &mut [0; 512]).unwrap();
        let is_refused = answer.sense.get(1).is_some_and(|key| *key == 5);
        assert_eq!(is_refused, !fits, "{flags:#x} {features}");
    }
}

/// SAT-4, PROTOCOL: 4 and 5 are PIO in and out, 6 is DMA, 10 and 11 are UDMA in and out.
#[test]
fn each_transfer_has_its_protocols() {
    for (command, flags, expected) in
        [(0x24, 0x2e, &[4][..]), (0x34, 0x26, &[5]), (0x25, 0x2e, &[6, 10]), (0x35, 0x26, &[6, 11])]
    {
        let mut disk = Disk::new(Config::default());
        let mut fits = |protocol: u8| {
            let cdb =
                [0x85, protocol << 1 | 1, flags, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xe0, command, 0];
            let answer = disk.execute(&cdb, &mut [0; 512]).unwrap();
            answer.sense.get(1).is_none_or(|key| *key != 5)
        };
        let found: Vec<u8> = (0..16).filter(|protocol| fits(*protocol)).collect();
        assert_eq!(found, expected, "{command:#x}");
    }
}

#[test]
fn sectors_are_read_and_written_by_both_protocols() {
    let mut disk = Disk::new(Config::default());
    for (protocols, [write, read]) in [([5, 4], [0x34, 0x24]), ([6, 6], [0x35, 0x25])] {
        let cdb = |protocol: u8, flags, command| {
            [0x85, protocol << 1 | 1, flags, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0, 0xe0, command, 0]
        };
        let mut data = [write; 1024];
        assert_eq!(disk.execute(&cdb(protocols[0], 0x06, write), &mut data).unwrap().status, 0);
        let mut data = [0; 1024];
        assert_eq!(
            disk.execute(&cdb(protocols[1], 0x0e, read), &mut data).unwrap().transferred,
            1024
        );
        assert_eq!((data, disk.read(8, 1).unwrap()), ([write; 1024], vec![write; 512]));
        assert_eq!(disk.read(9, 1).unwrap(), [0; 512]);
    }
}

#[test]
fn without_extend_the_upper_registers_are_not_there() {
    let mut disk = Disk::new(Config::default());
    let cdb = [0x85, 3 << 1, 0x20, 0xff, 0, 0xff, 0, 0, 0, 0xff, 0, 0xff, 0, 0xe0, 0xf8, 0];
    let found = registers(&disk.execute(&cdb, &mut []).unwrap());
    assert_eq!((found.count, found.lba, found.status), (0, 127, 0x50));
}

#[test]
fn bridges_lie_abort_or_know_nothing() {
    let cdb = [0x85, 3 << 1 | 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb4, 0];
    let with = |bridge| Disk::new(Config { bridge, ..Config::default() });
    let answer = with(Bridge::WithoutSense).execute(&cdb, &mut []).unwrap();
    assert_eq!(answer, Answer::default());
    // NOP is aborted, and nobody hears of it.
    let mut nop = cdb;
    nop[14] = 0;
    let answer = with(Bridge::WithoutSense).execute(&nop, &mut []).unwrap();
    assert_eq!(answer, Answer::default());
    let answer = with(Bridge::AbortsAll).execute(&cdb, &mut []).unwrap();
    assert_eq!(registers(&answer).error, ABORTED);
    identify(&mut with(Bridge::AbortsAll));
    for (bridge, highest) in [(Bridge::Honest, 127), (Bridge::OtherSize, 128)] {
        let mut page = [0; 32];
        let read_capacity = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
        with(bridge).execute(&read_capacity, &mut page).unwrap();
        assert_eq!((page[7], &page[8..12]), (highest, &[0, 0, 2, 0][..]));
    }
    let answer = with(Bridge::WithoutPassThrough).execute(&cdb, &mut []).unwrap();
    assert_eq!((answer.sense[1], answer.sense[2]), (0x05, 0x20));
}

#[test]
fn inquiry_says_that_it_is_ata_and_has_the_identify_data() {
    let mut disk = Disk::new(Config::default());
    let mut page = [0; 600];
    let mut ask = |flags, code| {
        let answer = disk.execute(&[0x12, flags, code, 2, 88, 0], &mut page).unwrap();
        page[..answer.transferred].to_vec()
    };
    let standard = ask(0, 0);
    assert_eq!((standard.len(), standard[4], &standard[8..16]), (96, 91, &b"ATA     "[..]));
    assert_eq!(&standard[16..36], b"Simulated ATA   1.0 ");
    assert_eq!(ask(1, 0), [0, 0, 0, 3, 0, 0x80, 0x89]);
    let serial = ask(1, 0x80);
    assert_eq!((serial.len(), serial[3], &serial[4..11]), (24, 20, &b"ATA0001"[..]));
    let information = ask(1, 0x89);
    assert_eq!((information.len(), &information[..4]), (572, &[0, 0x89, 2, 0x38][..]));
    assert_eq!((information[56], information[60], information[570]), (0xec, 0x40, 0xa5));
}

#[test]
fn a_trim_hides_and_does_not_erase() {
    let mut disk = written(Config::solid_state());
    let mut range = [0; 512];
    range[6] = 8;
    let cdb = [0x85, 6 << 1 | 1, 0x06, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0xe0, 0x06, 0];
    assert_eq!(disk.execute(&cdb, &mut range).unwrap().status, 0);
    assert_eq!(disk.read(7, 1).unwrap(), [0; 512]);
    assert_eq!(disk.read(8, 1).unwrap(), [0x5a; 512]);
    assert_eq!(left(&disk), 128);
    let mut rotating = Disk::new(Config::default());
    assert_eq!(registers(&rotating.execute(&cdb, &mut range).unwrap()).error, ABORTED);
}

#[test]
fn a_trim_names_its_sectors_in_all_48_bits() {
    let cdb = [0x85, 6 << 1 | 1, 0x06, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0xe0, 0x06, 0];
    for bit in 0..48 {
        let mut disk = written(Config::solid_state());
        let lba = 1_u64 << bit;
        let mut ranges = [0; 512];
        // Behind an entry of no sectors.
        ranges[8..16].copy_from_slice(&(1 << 48 | lba).to_le_bytes());
        let answer = disk.execute(&cdb, &mut ranges).unwrap();
        if lba >= disk.accessible_sectors() {
            assert_eq!(registers(&answer).error, NOT_FOUND, "bit {bit}");
        }
        let trimmed: Vec<u64> = (0..disk.accessible_sectors())
            .filter(|sector| disk.read(*sector, 1).unwrap() == [0; 512])
            .collect();
        let expected = (lba < disk.accessible_sectors()).then_some(lba);
        assert_eq!(trimmed, Vec::from_iter(expected), "bit {bit}");
    }
}

#[test]
fn trimmed_sectors_read_as_declared() {
    for (trimmed, expected) in
        [(Trimmed::Zeros, 0), (Trimmed::Deterministic, 0xff), (Trimmed::Anything, 0x5a)]
    {
        let mut disk =
            written(Config { kind: Kind::Flash(Some(trimmed)), ..Config::solid_state() });
        let mut ranges = [0; 512];
        ranges[..8].copy_from_slice(&(1_u64 << 48 | 7).to_le_bytes());
        let cdb = [0x85, 6 << 1 | 1, 0x06, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0xe0, 0x06, 0];
        disk.execute(&cdb, &mut ranges).unwrap();
        assert_eq!(disk.read(7, 1).unwrap(), [expected; 512], "{trimmed:?}");
    }
}
