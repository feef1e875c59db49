//! Each field where the specification has it, and nothing of one in another.

use super::*;

fn namespace(fill: impl FnOnce(&mut [u8])) -> Namespace {
    let mut bytes = vec![0; 4096];
    fill(&mut bytes);
    Namespace::parse(&bytes)
}

#[test]
fn the_number_of_the_sector_format_has_upper_bits_only_among_many() {
    let few = namespace(|bytes| {
        (bytes[25], bytes[26]) = (3, 0x62);
        bytes[128 + 2 * 4 + 2] = 12;
    });
    assert_eq!((few.formatting.index, few.sector_bytes), (2, 4096));
    let many = namespace(|bytes| {
        (bytes[25], bytes[82], bytes[26]) = (15, 40, 0x72);
        (bytes[128 + 50 * 4], bytes[128 + 50 * 4 + 2]) = (8, 9);
    });
    assert_eq!((many.formatting.index, many.sector_bytes, many.metadata_bytes), (50, 512, 8));
    assert!(many.formatting.is_metadata_extended);
    // The upper bits begin to mean something with the seventeenth.
    for (more, index) in [(0, 2), (1, 18)] {
        let some = namespace(|bytes| (bytes[25], bytes[82], bytes[26]) = (15, more, 0x22));
        assert_eq!(some.formatting.index, index, "{} formats", 16 + more);
    }
}

/// One byte after the other is something else than zero, and everything else has to stay as it was.
#[test]
fn every_field_of_a_controller_is_where_the_specification_has_it() {
    let of = |byte: usize| {
        let mut bytes = vec![0; 4096];
        bytes[byte] = b'A';
        Controller::parse(&bytes)
    };
    for byte in 0..4096 {
        let found = of(byte);
        let part = |start: usize, length: usize| {
            let place = byte.checked_sub(start).filter(|place| *place < length);
            place.map_or(0, |place| 0x41_u128 << (8 * place))
        };
        let numbers = [
            (u128::from(found.cmic), part(76, 1)),
            (u128::from(found.oacs), part(256, 2)),
            (found.total_bytes, part(280, 16)),
            (found.unallocated_bytes, part(296, 16)),
            (u128::from(found.rpmbs), part(312, 4)),
            (u128::from(found.sanicap), part(328, 4)),
            (u128::from(found.oncs), part(520, 2)),
            (u128::from(found.fna), part(524, 1)),
            (u128::from(found.vwc), part(525, 1)),
        ];
        assert!(numbers.iter().all(|(found, expected)| found == expected), "byte {byte}");
        for (text, range) in
            [(found.serial, 4..24), (found.model, 24..64), (found.firmware, 64..72)]
        {
            assert_eq!(text.is_some_and(|text| text.contains('A')), range.contains(&byte));
        }
    }
}

#[test]
fn every_bit_of_what_a_controller_can_is_its_own() {
    let of = |fill: &dyn Fn(&mut [u8])| {
        let mut bytes = vec![0; 4096];
        fill(&mut bytes);
        Controller::parse(&bytes)
    };
    for bit in 0..8 {
        let found = of(&|bytes| bytes[256] = 1 << bit);
        assert_eq!((found.can_format(), found.manages_namespaces()), (bit == 1, bit == 3));
        let found = of(&|bytes| (bytes[256], bytes[524]) = (2, 1 << bit));
        assert_eq!((found.can_format_crypto(), found.formats_all()), (bit == 2, bit < 2));
        let found = of(&|bytes| bytes[328] = 1 << bit);
        let actions = [
            (Action::Crypto, bit == 0),
            (Action::Block, bit == 1),
            (Action::Overwrite, bit == 2),
            (Action::ExitFailure, bit < 3),
            (Action::ExitVerification, bit < 3),
        ];
        for (action, can) in actions {
            assert_eq!(found.can_sanitize(action), can, "bit {bit}");
        }
    }
    assert!(!of(&|bytes| bytes[524] = 4).can_format_crypto(), "without FORMAT NVM");
}

#[test]
fn every_field_of_a_namespace_is_where_the_specification_has_it() {
    for byte in 0..4096 {
        let found = namespace(|bytes| bytes[byte] = 0x41);
        let part = |start: usize, length: usize| {
            let place = byte.checked_sub(start).filter(|place| *place < length);
            place.map_or(0, |place| 0x41_u64 << (8 * place))
        };
        let numbers = [
            (found.sectors, part(0, 8)),
            (u64::from(found.flbas), part(26, 1)),
            (u64::from(found.dps), part(29, 1)),
            (u64::from(found.nmic), part(30, 1)),
            (u64::from(found.fpi), part(32, 1)),
            (u64::from(found.dlfeat), part(33, 1)),
            (u64::from(found.nsattr), part(99, 1)),
            (u64::from(found.metadata_bytes), part(128, 2)),
        ];
        assert!(numbers.iter().all(|(found, expected)| found == expected), "byte {byte}");
        // 2 to the power of 65 is none.
        assert_eq!(found.sector_bytes, u32::from(byte != 130), "byte {byte}");
    }
    for bit in 0..8 {
        let found = namespace(|bytes| (bytes[25], bytes[26]) = (63, 1 << bit)).formatting;
        let expected = [1, 2, 4, 8, 0, 16, 32, 0][bit];
        assert_eq!((found.index, found.is_metadata_extended), (expected, bit == 4));
    }
}

#[test]
fn every_field_of_the_log_is_where_the_specification_has_it() {
    let with = |at: usize, number: u32| {
        let mut bytes = vec![0; 512];
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        SanitizeLog::parse(&bytes)
    };
    let seconds = |log: &SanitizeLog| {
        [log.overwrite, log.block, log.crypto].map(|time| time.map(|time| time.as_secs()))
    };
    for at in (0..512).step_by(4) {
        let log = with(at, 1600);
        let expected = [(8, 100), (12, 1600), (16, 1600)]
            .map(|(place, seconds)| Some(if at == place { seconds } else { 0 }));
        assert_eq!(seconds(&log), expected, "at {at}");
        let log = with(at, 0x0403_0201);
        let expected = if at == 0 { (0x0201, 0x0403) } else { (0, 0) };
        assert_eq!((log.progress, log.status), expected, "at {at}");
        assert_eq!(log.dword, if at == 4 { 0x0403_0201 } else { 0 });
        assert_eq!(log.state, u8::from(at == 36));
        let expected = [8, 12, 16].map(|place| if at == place { None } else { Some(0) });
        assert_eq!(seconds(&with(at, u32::MAX)), expected, "at {at}");
    }
    for bit in 0..32 {
        let log = with(4, 1 << bit);
        assert_eq!(log.is_unrestricted(), bit == 3);
        let expected = match bit {
            1 => Some(Technique::NvmeSanitizeBlock),
            2 => Some(Technique::NvmeSanitizeCrypto),
            _ => None,
        };
        assert_eq!(log.technique(), expected, "bit {bit}");
    }
    assert_eq!(with(4, 3).technique(), Some(Technique::NvmeSanitizeOverwrite));
    assert_eq!(with(4, 5).technique(), None, "that one leaves a verification");
    for bit in 0..16 {
        assert_eq!(with(0, 1 << (16 + bit)).is_global_data_erased(), bit == 8);
    }
}

#[test]
fn every_number_of_how_a_sanitize_stands_is_its_own() {
    use Operation as O;
    let operation = |status: u32, state: u8| {
        let mut bytes = vec![0; 512];
        bytes[..4].copy_from_slice(&(status << 16).to_le_bytes());
        bytes[36] = state;
        SanitizeLog::parse(&bytes).operation()
    };
    let by_status = [0, 1, 2, 3, 4, 5, 6, 7].map(|status| operation(status, 0));
    let expected = [
        O::Never,
        O::Succeeded,
        O::Running,
        O::Failed,
        O::Succeeded,
        O::Unclear,
        O::Unclear,
        O::Unclear,
    ];
    assert_eq!(by_status, expected);
    assert_eq!(operation(0x1f9, 0), O::Succeeded, "what stands above the status is no part of it");
    for state in 0..=0xff {
        let expected = match state & 0xf {
            1 | 3 | 6 => O::Running,
            5 => O::Verifying,
            _ => O::Succeeded,
        };
        assert_eq!(operation(1, state), expected, "state {state}");
    }
}

#[test]
fn how_sectors_are_protected_stands_in_a_byte_of_its_own() {
    for byte in 0..128 {
        let found = namespace(|bytes| bytes[byte] = 0x0b);
        let Formatting { protection, is_protection_first, .. } = found.formatting;
        let expected = if byte == 29 { (0x0b, 3, true) } else { (0, 0, false) };
        assert_eq!((found.dps, protection, is_protection_first), expected, "byte {byte}");
    }
}

#[test]
fn what_deallocated_sectors_read_as_is_taken_from_the_device() {
    let reads = |dlfeat| namespace(|bytes| bytes[33] = dlfeat).deallocated();
    assert_eq!(reads(0x09), Some(Expected::Zeros));
    assert_eq!(reads(0x02), Some(Expected::Ones));
    assert_eq!(reads(0x18), None);
}

#[test]
fn a_format_that_runs_says_what_remains() {
    let progress = |fpi| namespace(|bytes| bytes[32] = fpi).format_progress();
    assert_eq!(progress(0x80 | 0x4b), Some(25 * 655));
    assert_eq!(progress(0x80), None, "nothing remains");
    assert_eq!(progress(0x4b), None, "it does not say");
    assert_eq!(progress(0xff), None, "more than all");
}

#[test]
fn a_log_says_how_the_last_sanitize_stands() {
    let log = |status: u16, state| {
        let mut bytes = vec![0; 512];
        bytes[2..4].copy_from_slice(&status.to_le_bytes());
        bytes[36] = state;
        bytes[12..16].copy_from_slice(&[0xff; 4]);
        SanitizeLog::parse(&bytes)
    };
    let operation = |status, state| log(status, state).operation();
    assert_eq!(operation(0, 0), Operation::Never);
    assert_eq!(operation(0x101, 0), Operation::Succeeded);
    assert_eq!(operation(0x104, 0), Operation::Succeeded);
    assert_eq!(operation(0x2a, 0), Operation::Running);
    assert_eq!(operation(1, 3), Operation::Running);
    assert_eq!(operation(3, 2), Operation::Failed);
    assert_eq!(operation(1, 5), Operation::Verifying);
    assert_eq!(operation(7, 0), Operation::Unclear);
    assert!(log(0x101, 0).is_global_data_erased() && !log(1, 0).is_global_data_erased());
    assert_eq!((log(0, 0).block, log(0, 0).crypto), (None, Some(Duration::ZERO)));
}

#[test]
fn every_answer_however_short_is_read() {
    let bytes = [0xff; 4096];
    for length in 0..bytes.len() {
        let bytes = &bytes[..length];
        Controller::parse(bytes);
        Namespace::parse(bytes);
        SanitizeLog::parse(bytes).operation();
        namespaces(bytes);
    }
}

/// Base 2.0, FPI: bit 7 says that the rest counts, bits 6:0 are what remains, in percent.
#[test]
fn a_format_runs_while_something_remains_of_it() {
    for fpi in 0..=u8::MAX {
        let mut bytes = [0; 4096];
        bytes[32] = fpi;
        let found = Namespace::parse(&bytes).format_progress();
        let remaining = u16::from(fpi & 0x7f);
        let runs = fpi >= 0x80 && (1..=100).contains(&remaining);
        assert_eq!(found, runs.then(|| (100 - remaining) * 655), "{fpi:#x}");
    }
}
