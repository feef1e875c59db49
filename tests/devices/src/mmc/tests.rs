//! What the specification says, asked of the simulator.

mod neighbours;

use super::*;

const R1: u32 = 0x15;
const R1B: u32 = 0x1d;
const R1_DATA: u32 = 0x35;
const IS_DONE: u32 = status::TRANSFER;

fn order(card: &mut Card, command: u32, argument: u32) -> Result<u32, Error> {
    let flags = if matches!(command, 6 | 38) { R1B } else { R1 };
    card.command(command, argument, flags, false, &mut []).map(|response| response[0])
}

fn told(card: &mut Card) -> u32 {
    order(card, 13, 1 << 16).unwrap()
}

fn switch(card: &mut Card, byte: u32, value: u32) -> u32 {
    assert_eq!(order(card, 6, 3 << 24 | byte << 16 | value << 8), Ok(IS_DONE));
    told(card)
}

fn erase(card: &mut Card, start: u32, end: u32, argument: u32) -> u32 {
    assert_eq!(order(card, 35, start), Ok(IS_DONE));
    assert_eq!(order(card, 36, end), Ok(IS_DONE));
    assert_eq!(order(card, 38, argument), Ok(IS_DONE));
    told(card)
}

fn register(card: &mut Card) -> [u8; 512] {
    let mut register = [0; 512];
    card.command(8, 0, R1_DATA, false, &mut register).unwrap();
    register
}

/// A card whose user area is full of `0x5a` and whose boot partitions are full of `0xb0`.
fn written(config: Config) -> Card {
    let mut card = Card::new(config);
    let bytes = card.user_sectors() * SECTOR;
    card.write(0, &vec![0x5a; bytes]).unwrap();
    for partition in [1, 2] {
        card.write_boot(partition, 0, &vec![0xb0; 256 * SECTOR]);
    }
    card
}

/// How many sectors hold a byte.
fn left(card: &Card, byte: u8) -> usize {
    card.medium().chunks(SECTOR).filter(|sector| sector.iter().all(|found| *found == byte)).count()
}

#[test]
fn the_extended_register_says_what_the_configuration_can() {
    let mut card = Card::new(Config::default());
    let found = register(&mut card);
    assert_eq!((found[175], found[181], found[192], found[224], found[226]), (0, 0, 8, 1, 1));
    assert_eq!(found[212..216], 2048_u32.to_le_bytes());
    assert_eq!(found[231], 0b101_0001);
    let bare = Config { secure_erase: false, trim: false, sanitize: false, ..Config::default() };
    assert_eq!(register(&mut Card::new(bare))[231], 0);
}

#[test]
fn every_byte_of_the_extended_register_is_where_the_specification_has_it() {
    let found = register(&mut Card::new(Config { erases_to_ones: true, ..Config::default() }));
    let bytes = found.iter().copied().enumerate().filter(|(_, byte)| *byte != 0);
    assert_eq!(
        bytes.collect::<Vec<_>>(),
        [
            (160, 7),
            (168, 1),
            (181, 1),
            (192, 8),
            (213, 8),
            (223, 1),
            (224, 1),
            (226, 1),
            (229, 2),
            (230, 3),
            (231, 0x51),
            (232, 1),
        ]
    );
    assert_eq!(
        [
            status::OUT_OF_RANGE,
            status::ERASE_SEQUENCE,
            status::ERASE_PARAMETER,
            status::ILLEGAL_COMMAND,
            status::ERROR,
            status::ERASE_RESET,
            status::TRANSFER,
            status::SWITCH_ERROR,
        ],
        [0x8000_0000, 0x1000_0000, 0x0800_0000, 0x40_0000, 0x8_0000, 0x2000, 0x900, 0x80]
    );
}

#[test]
fn commands_must_wait_for_their_own_kind_of_response() {
    let mut card = Card::new(Config::default());
    for (command, flags, is_write) in
        [(6, R1, false), (8, R1, false), (24, R1_DATA, false), (99, R1, false)]
    {
        assert_eq!(card.command(command, 0, flags, is_write, &mut [0; 512]), Err(Error::Timeout));
        assert_eq!(told(&mut card), IS_DONE | status::ILLEGAL_COMMAND);
    }
    assert_eq!(order(&mut card, 13, 0), Err(Error::Timeout), "another card's address");
    // Those of SPI do not count.
    card.command(8, 0, R1_DATA | 1 << 7, false, &mut [0; 512]).unwrap();
}

/// JESD84-B51: `READ_SINGLE_BLOCK`, `READ_MULTIPLE_BLOCK`, `WRITE_BLOCK`, `WRITE_MULTIPLE_BLOCK`.
#[test]
fn sectors_are_read_and_written_one_by_one_and_several_at_once() {
    let mut card = Card::new(Config::default());
    for (write, read, byte) in [(24, 17, 0x11), (25, 18, 0x22)] {
        let mut sectors = [byte; 1024];
        card.command(write, 5, R1_DATA, true, &mut sectors).unwrap();
        let mut found = [0; 1024];
        card.command(read, 5, R1_DATA, false, &mut found).unwrap();
        assert_eq!((found, card.read(5, 2).unwrap()), (sectors, sectors.to_vec()));
    }
    assert_eq!(card.read(4, 1).unwrap(), [0; 512]);
}

/// What a card takes: R1b with SWITCH, ERASE and stop, data with reads and writes, R1 with the others that there are.
#[test]
fn every_command_has_one_kind_of_response_and_one_direction() {
    for (command, flags, is_write) in (0..64).flat_map(|command| {
        [R1, R1B, R1_DATA]
            .into_iter()
            .flat_map(move |flags| [false, true].map(|is_write| (command, flags, is_write)))
    }) {
        let expected = match command {
            6 | 12 | 38 => Some((R1B, false)),
            8 | 17 | 18 => Some((R1_DATA, false)),
            24 | 25 => Some((R1_DATA, true)),
            13 | 16 | 23 | 35 | 36 => Some((R1, false)),
            _ => None,
        };
        let mut card = Card::new(Config::default());
        let _ = card.command(command, 1 << 16, flags, is_write, &mut [0; 512]);
        let is_taken = told(&mut card) & status::ILLEGAL_COMMAND == 0;
        assert_eq!(
            is_taken,
            expected == Some((flags, is_write)),
            "{command} {flags:#x} {is_write}"
        );
    }
}

#[test]
fn an_erase_takes_the_whole_groups_and_leaves_all_on_the_medium() {
    let mut card = written(Config::default());
    assert_eq!(erase(&mut card, 40, 64, 0), IS_DONE);
    for (sector, byte) in [(31, 0x5a), (32, 0), (95, 0), (96, 0x5a)] {
        assert_eq!(card.read(sector, 1).unwrap(), [byte; 512], "{sector}");
    }
    assert_eq!(left(&card, 0x5a), 2048);
    assert_eq!(switch(&mut card, 175, 1), IS_DONE);
    assert_eq!(erase(&mut card, 1024, 1024, 0), IS_DONE);
    assert_eq!(card.read(2047, 1).unwrap(), [0; 512], "groups are of 512 KiB");
    assert_eq!(erase(&mut card, 100, 100, 1), IS_DONE);
    assert_eq!(card.read(100, 1).unwrap(), [0; 512]);
    assert_eq!(card.read(101, 1).unwrap(), [0x5a; 512], "a trim takes sectors");
    assert_eq!(erase(&mut card, 101, 101, 3), IS_DONE);
    assert_eq!(card.read(101, 1).unwrap(), [0x5a; 512], "a discard may do nothing");
    card.power_cut();
    assert_eq!(register(&mut card)[175], 0, "ERASE_GROUP_DEF is forgotten");
}

#[test]
fn an_erase_out_of_order_or_range_is_told() {
    let mut card = written(Config::default());
    assert_eq!(order(&mut card, 36, 0), Ok(IS_DONE | status::ERASE_SEQUENCE));
    order(&mut card, 38, 0).unwrap();
    assert_eq!(told(&mut card), IS_DONE | status::ERASE_SEQUENCE);
    assert_eq!(order(&mut card, 35, 2048), Ok(IS_DONE | status::OUT_OF_RANGE));
    assert_eq!(erase(&mut card, 10, 5, 0), IS_DONE | status::ERASE_PARAMETER);
    order(&mut card, 35, 0).unwrap();
    register(&mut card);
    order(&mut card, 36, 0).unwrap();
    assert_eq!(order(&mut card, 38, 0), Ok(IS_DONE));
    assert_eq!(told(&mut card), IS_DONE | status::ERASE_SEQUENCE);
    assert_eq!(left(&card, 0x5a), 2048);
    order(&mut card, 35, 0).unwrap();
    card.command(16, 512, R1, false, &mut [])
        .map(|response| {
            assert_eq!(response[0], IS_DONE | status::ERASE_RESET);
        })
        .unwrap();
}

#[test]
fn a_secure_erase_removes_its_sectors_and_their_copies() {
    let mut card = written(Config::default());
    // Older copies of the first sectors.
    card.write(0, &vec![0x77; 64 * SECTOR]).unwrap();
    card.write(0, &vec![0x5a; 32 * SECTOR]).unwrap();
    assert_eq!(erase(&mut card, 0, 31, 0x8000_0000), IS_DONE);
    assert_eq!(card.took(), Duration::ZERO, "the status was asked for since");
    assert_eq!(card.read(0, 1).unwrap(), [0; 512]);
    assert_eq!(left(&card, 0x77), 32);
    // Both steps of a secure trim.
    assert_eq!(erase(&mut card, 32, 63, 0x8000_0001), IS_DONE);
    assert_eq!(left(&card, 0x77), 32, "only marked");
    assert_eq!(erase(&mut card, 32, 63, 0x8000_8000), IS_DONE);
    assert_eq!(left(&card, 0x77), 0);
    assert_eq!(left(&card, 0x5a), 2048 - 64);
    let mut card = written(Config { secure_erase: false, ..Config::default() });
    assert_eq!(erase(&mut card, 0, 31, 0x8000_0000), IS_DONE | status::ERROR);
}

#[test]
fn a_sanitize_removes_what_the_host_does_not_see_and_nothing_else() {
    let mut card = written(Config::default());
    card.write(0, &vec![0x77; 64 * SECTOR]).unwrap();
    assert_eq!(switch(&mut card, 165, 1), IS_DONE);
    assert_eq!((left(&card, 0x77), left(&card, 0x5a)), (64, 2048 - 64), "what is seen stays");
    assert_eq!(erase(&mut card, 0, 2047, 0), IS_DONE);
    assert_eq!((left(&card, 0x77), left(&card, 0x5a)), (64, 2048 - 64), "erased is still there");
    order(&mut card, 6, 3 << 24 | 165 << 16 | 1 << 8).unwrap();
    assert_eq!(card.took(), Duration::from_mins(1));
    assert_eq!((left(&card, 0x77), left(&card, 0x5a)), (0, 0));
    assert_eq!(left(&card, 0xb0), 512, "boot partitions stay");
}

#[test]
fn what_a_card_cannot_switch_is_told_with_the_next_status() {
    let mut card = written(Config { sanitize: false, ..Config::default() });
    assert_eq!(switch(&mut card, 165, 1), IS_DONE | status::SWITCH_ERROR);
    assert_eq!(told(&mut card), IS_DONE, "once");
    assert_eq!(switch(&mut card, 231, 1), IS_DONE | status::SWITCH_ERROR, "read only");
    assert_eq!(order(&mut card, 6, 165 << 16 | 1 << 8), Ok(IS_DONE));
    assert_eq!(told(&mut card), IS_DONE | status::SWITCH_ERROR, "no command set");
}

#[test]
fn erased_sectors_read_as_the_register_says() {
    for (erases_to_ones, byte) in [(false, 0), (true, 0xff)] {
        let mut card = Card::new(Config { erases_to_ones, ..Config::default() });
        assert_eq!(card.read(0, 1).unwrap(), [byte; 512]);
    }
}

#[test]
fn a_power_cut_in_a_sanitize_ends_it_half_way() {
    let mut card = written(Config::default());
    erase(&mut card, 0, 2047, 0);
    card.cut_power_in_erase(0x8000);
    assert_eq!(order(&mut card, 6, 3 << 24 | 165 << 16 | 1 << 8), Err(Error::NoAnswer));
    assert_eq!(card.now(), Duration::from_secs(30), "power went after half a minute");
    card.advance(Duration::from_hours(1));
    assert!(left(&card, 0x5a) > 0 && left(&card, 0x5a) < 2048);
    assert_eq!(switch(&mut card, 165, 1), IS_DONE);
    assert_eq!(left(&card, 0x5a), 0);
}

#[test]
fn a_sanitize_can_fail_hang_or_lie() {
    for (course, expected) in
        [(Course::FailsAt(0x8000), IS_DONE | status::ERROR), (Course::Lies, IS_DONE)]
    {
        let mut card = written(Config { sanitize_course: course, ..Config::default() });
        erase(&mut card, 0, 2047, 0);
        assert_eq!(switch(&mut card, 165, 1), expected);
        assert!(left(&card, 0x5a) > 0);
    }
    let mut card = written(Config { sanitize_course: Course::SticksAt(655), ..Config::default() });
    assert_eq!(order(&mut card, 6, 3 << 24 | 165 << 16 | 1 << 8), Err(Error::NoAnswer));
    assert_eq!(order(&mut card, 13, 1 << 16), Err(Error::NoAnswer));
    assert_eq!(card.read(0, 1), Err(Error::NoAnswer));
    card.power_cut();
    assert_eq!(told(&mut card), IS_DONE);
}

#[test]
fn the_kernel_erases_securely_what_the_card_can() {
    let mut card = written(Config::default());
    let bytes = 2048 * 512;
    assert_eq!(card.secure_discard(0, bytes + 512), Err(Error::Invalid));
    assert_eq!(card.secure_discard(100, 512), Err(Error::Invalid));
    assert_eq!(card.secure_discard(512, 0), Err(Error::Invalid));
    card.secure_discard(512, 1024).unwrap();
    assert_eq!(left(&card, 0x5a), 2046);
    card.secure_discard(0, bytes).unwrap();
    assert_eq!((left(&card, 0x5a), left(&card, 0xb0)), (0, 512));
    let mut card = written(Config { trim: false, ..Config::default() });
    assert_eq!(card.secure_discard(512, 1024), Err(Error::Invalid), "no whole group, no trim");
    let mut card = written(Config { secure_erase: false, ..Config::default() });
    assert_eq!(card.secure_discard(0, bytes), Err(Error::NotSupported));
    let mut card = written(Config { erase_course: Course::Lies, ..Config::default() });
    card.secure_discard(0, bytes).unwrap();
    assert_eq!(left(&card, 0x5a), 2048);
}

#[test]
fn the_partition_that_is_chosen_is_read_written_and_erased() {
    let mut card = written(Config::default());
    assert_eq!(switch(&mut card, 179, 1), IS_DONE);
    let mut data = [0; 512];
    card.command(17, 0, R1_DATA, false, &mut data).unwrap();
    assert_eq!(data, [0xb0; 512]);
    assert_eq!(erase(&mut card, 0, 255, 0x8000_0000), IS_DONE);
    assert_eq!((left(&card, 0xb0), left(&card, 0x5a)), (256, 2048));
    card.command(24, 0, R1_DATA, true, &mut [1; 512]).unwrap();
    assert_eq!(card.read(0, 1).unwrap(), [0x5a; 512], "the user area is another");
    switch(&mut card, 179, 3);
    let found = card.command(17, 0, R1_DATA, false, &mut data).unwrap();
    assert_eq!(found[0], IS_DONE | status::OUT_OF_RANGE, "not by this way");
}
