//! Mode pages, block lengths, protection.

use super::*;

/// MODE SELECT (6) of a block descriptor.
fn select(blocks: u32, length: u32) -> ([u8; 6], Vec<u8>) {
    let list = [&[0, 0, 0, 8], &blocks.to_be_bytes()[..], &length.to_be_bytes()].concat();
    ([0x15, 0x10, 0, 0, 12, 0], list)
}

fn capacity(disk: &mut Disk) -> (u32, u32) {
    let mut data = [0; 8];
    good(disk, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut data);
    let [a, b, c, d, rest @ ..] = data;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(rest))
}

#[test]
fn another_block_length_comes_with_the_next_format() {
    let mut disk = written(Config { block_bytes: 520, blocks: 512, ..Config::default() });
    let (cdb, mut list) = select(0, 512);
    good(&mut disk, &cdb, &mut list);
    assert_eq!(capacity(&mut disk), (511, 520));
    good(&mut disk, &[0x04, 0x10, 0, 0, 0, 0], &mut [0, 0, 0, 0]);
    let (highest, length) = capacity(&mut disk);
    assert_eq!(length, 512);
    assert!(highest > 511, "there are more of them");
    assert_eq!(disk.read(u64::from(highest), 1).unwrap().len(), 512);
    assert_eq!(left(&disk), 0);
    let (cdb, mut list) = select(0, 511);
    assert_eq!(refusal(&mut disk, &cdb, &mut list), (5, 0x26, 0));
}

#[test]
fn five_block_lengths_are_taken() {
    let disk = Disk::new(Config::default());
    let is_accepted = |length: &u32| {
        let (cdb, mut list) = select(0, *length);
        disk.clone().execute(&cdb, &mut list).unwrap().status == 0
    };
    let taken: Vec<u32> = (0..=0x4000).filter(is_accepted).collect();
    assert_eq!(taken, [512, 520, 528, 4096, 4160]);
}

#[test]
fn a_block_length_that_was_not_formatted_is_forgotten() {
    let mut disk = Disk::new(Config { block_bytes: 520, ..Config::default() });
    let (cdb, mut list) = select(0, 512);
    good(&mut disk, &cdb, &mut list);
    disk.power_cut();
    good(&mut disk, &[0x04, 0, 0, 0, 0, 0], &mut []);
    assert_eq!(capacity(&mut disk).1, 520);
}

#[test]
fn a_shortened_capacity_is_told_and_lifted() {
    let mut disk = Disk::new(Config { accessible_blocks: Some(100), ..Config::default() });
    let mut data = [0; 64];
    good(&mut disk, &[0x1a, 0, 0x0a, 0, 64, 0], &mut data);
    assert_eq!(data[..12], [23, 0, 0, 8, 0, 0, 0, 100, 0, 0, 2, 0]);
    assert_eq!(data[12..25], [0x0a, 0x0a, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (cdb, mut list) = select(0, 512);
    good(&mut disk, &cdb, &mut list);
    assert_eq!(capacity(&mut disk).0, 99, "zero changes nothing");
    let (cdb, mut list) = select(129, 512);
    assert_eq!(refusal(&mut disk, &cdb, &mut list), (5, 0x26, 0));
    let (cdb, mut list) = select(u32::MAX, 512);
    good(&mut disk, &cdb, &mut list);
    assert_eq!(capacity(&mut disk).0, 127);
    // The same with long addresses: MODE SELECT (10), LONGLBA.
    let mut list = vec![0, 0, 0, 0, 1, 0, 0, 16];
    list.extend(50_u64.to_be_bytes());
    list.extend([0, 0, 0, 0, 0, 0, 2, 0]);
    good(&mut disk, &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0], &mut list);
    good(&mut disk, &[0x5a, 0x10, 0x3f, 0, 0, 0, 0, 0, 64, 0], &mut data);
    assert_eq!((data[1], data[4], data[7], data[15], data[22]), (54, 1, 16, 50, 2));
}

#[test]
fn a_software_write_protection_can_be_lifted_and_a_switch_cannot() {
    for (protection, code) in [(Protection::Software, 2), (Protection::Hardware, 1)] {
        let mut disk = Disk::new(Config { protection, ..Config::default() });
        let mut data = [0; 64];
        good(&mut disk, &[0x1a, 8, 0x0a, 0, 64, 0], &mut data);
        assert_eq!((data[2], data[8]), (0x80, if code == 2 { 8 } else { 0 }));
        for cdb in [&[0x04, 0, 0, 0, 0, 0][..], &[0x48, 1, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(refusal(&mut disk, cdb, &mut []), (7, 0x27, code));
        }
        assert_eq!(codes(&disk.write(0, &[0; 512]).unwrap_err().sense), (7, 0x27, code));
        for opcode in [0x2a, 0x41, 0x42, 0x93] {
            assert_eq!(refusal(&mut disk, &[opcode], &mut []), (7, 0x27, code));
        }
        disk.read(0, 1).unwrap();
        let mut list = [0, 0, 0, 0, 0x0a, 0x0a, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        good(&mut disk, &[0x15, 0x10, 0, 0, 16, 0], &mut list);
        assert_eq!(disk.write(0, &[0; 512]).is_ok(), protection == Protection::Software);
    }
}

#[test]
fn sense_data_comes_in_the_format_that_is_set() {
    let mut disk = Disk::new(Config { sense_format: SenseFormat::Fixed, ..Config::default() });
    let answer = disk.execute(&[0xff], &mut []).unwrap();
    assert_eq!(
        (answer.sense.len(), answer.sense[0], codes(&answer.sense)),
        (18, 0x70, (5, 0x20, 0))
    );
    // REQUEST SENSE chooses for itself: the DESC bit.
    let mut data = [0; 252];
    assert_eq!(good(&mut disk, &[0x03, 1, 0, 0, 252, 0], &mut data), 8);
    assert_eq!(data[0], 0x72);
}
