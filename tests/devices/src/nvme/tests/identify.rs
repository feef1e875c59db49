//! Identify, logs, namespaces.

use super::*;

#[test]
fn identify_says_what_the_configuration_can() {
    let mut controller = Controller::new(Config::default());
    let page = identify(&mut controller, 1, 0);
    assert_eq!(&page[4..12], b"NVME0001");
    assert_eq!(page[256], 0b1010, "OACS: format, namespaces");
    assert_eq!(page[280..288], (64_u64 << 10).to_le_bytes(), "TNVMCAP");
    assert_eq!(page[328..332], [7, 0, 0, 0x40], "SANICAP");
    assert_eq!(page[520], 0b1100, "ONCS");
    assert_eq!(page[524], 0b100, "FNA");
    let page = identify(&mut controller, 0, 1);
    assert_eq!(page[0..8], 128_u64.to_le_bytes());
    assert_eq!((page[25], page[26], page[33]), (1, 0, 9));
    assert_eq!((page[130], page[134]), (9, 12));
    let page = identify(&mut controller, 3, 1);
    assert_eq!((page[0], page[1], page[12], page[13]), (1, 8, 2, 16));
    assert_eq!(page[32..36], [0; 4], "the list ends");

    let none =
        Config { sanitize: None, format: None, manages_namespaces: false, ..Config::default() };
    let mut controller = Controller::new(none);
    let page = identify(&mut controller, 1, 0);
    assert_eq!((page[256], page[328], page[524]), (0, 0, 0));
    assert_eq!(refusal(sanitize(&mut controller, 2)), status::INVALID_OPCODE);
    assert_eq!(refusal(format(&mut controller, 1, 0)), status::INVALID_OPCODE);
    let log = controller.admin(0x02, 0, [0x81, 0, 0, 0, 0, 0], &mut [0; 512]);
    assert_eq!(refusal(log), status::INVALID_LOG_PAGE);
}

#[test]
fn every_field_of_identify_is_where_the_specification_has_it() {
    let mut controller = Controller::new(Config { write_zeroes_limit: 3, ..Config::default() });
    let page = identify(&mut controller, 1, 0);
    assert_eq!(
        &page[4..72],
        b"NVME0001            Simulated NVMe                          1.0     "
    );
    assert!(page[768..].starts_with(b"nqn."));
    assert_eq!(
        set(&page, &[&(4..72), &(768..1024)]),
        [
            (0, 0x36),
            (1, 0x1b),
            (77, 5),
            (78, 1),
            (82, 2),
            (111, 1),
            (256, 0x0a),
            (282, 1),
            (328, 7),
            (331, 0x40),
            (512, 0x66),
            (513, 0x44),
            (516, 32),
            (520, 0x0c),
            (524, 4),
            (531, 1),
        ]
    );
    let page = identify(&mut controller, 0, 1);
    assert_eq!(
        page[104..128],
        [[0x11; 15].as_slice(), &[1, 0, 0x25, 0x38, 0, 0, 0, 0, 1]].concat()
    );
    assert_eq!(
        set(&page, &[&(104..128)]),
        [(0, 128), (8, 128), (16, 128), (25, 1), (33, 9), (50, 1), (130, 9), (134, 12)]
    );
    assert_eq!(set(&identify(&mut controller, 6, 0), &[]), [(1, 3)]);
    assert_eq!(set(&identify(&mut controller, 0x11, 2), &[]), [], "no such namespace");
    assert_eq!(set(&identify(&mut controller, 0x13, 0), &[]), [(0, 1), (2, 1)]);
    let other_set = controller.admin(0x06, 0, [6, 2 << 24, 0, 0, 0, 0], &mut [0; 4096]);
    assert_eq!(refusal(other_set), status::INVALID_FIELD);
}

#[test]
fn lists_begin_behind_any_namespace_but_the_last_two_numbers() {
    let mut controller = Controller::new(three_namespaces());
    for cns in [0x02, 0x10] {
        for nsid in (0..32).map(|bit| 0xffff_fffd ^ (1 << bit)).filter(|nsid| *nsid < 0xffff_fffe) {
            assert_eq!(set(&identify(&mut controller, cns, nsid), &[]), [], "{nsid:#x}");
        }
        for nsid in [0xffff_fffe, 0xffff_ffff] {
            let answer = controller.admin(0x06, nsid, [cns, 0, 0, 0, 0, 0], &mut [0; 4096]);
            assert!(answer.is_err(), "{nsid:#x}");
        }
    }
}

#[test]
fn status_codes_are_the_specification_s() {
    let codes = [
        (status::INVALID_OPCODE, 0x001),
        (status::INVALID_FIELD, 0x002),
        (status::INTERNAL_ERROR, 0x006),
        (status::INVALID_NAMESPACE, 0x00b),
        (status::SANITIZE_FAILED, 0x01c),
        (status::SANITIZE_IN_PROGRESS, 0x01d),
        (status::WRITE_PROTECTED, 0x020),
        (status::LBA_OUT_OF_RANGE, 0x080),
        (status::INVALID_LOG_PAGE, 0x109),
        (status::INVALID_FORMAT, 0x10a),
        (status::INSUFFICIENT_CAPACITY, 0x115),
        (status::IDENTIFIER_UNAVAILABLE, 0x116),
        (status::ALREADY_ATTACHED, 0x118),
        (status::NOT_ATTACHED, 0x11a),
        (status::NO_THIN_PROVISIONING, 0x11b),
        (status::INVALID_CONTROLLER_LIST, 0x11c),
    ];
    for (code, expected) in codes {
        assert_eq!(code, expected);
    }
}

#[test]
fn a_log_page_comes_in_pieces() {
    let mut controller = Controller::new(Config::default());
    sanitize(&mut controller, 2).unwrap();
    controller.advance(HOUR);
    let mut read = |dwords: u32, offset: u32| {
        let mut data = [0xee; 512];
        let dword = dwords << 16 | 0x81;
        controller.admin(0x02, ALL_NAMESPACES, [dword, 0, offset, 0, 0, 0], &mut data).unwrap();
        data
    };
    assert_eq!(read(0, 0)[..5], [0xff, 0xff, 1, 1, 0xee], "one dword");
    // The command's dword, estimates: overwrite, block erase, crypto erase.
    let estimates = [2, 0, 0, 0, 0x40, 6, 0, 0, 100, 0, 0, 0, 100, 0, 0, 0];
    assert_eq!(read(3, 4)[..17], [&estimates[..], &[0xee]].concat());
    assert_eq!(read(2, 20)[..12], estimates[4..], "without deallocation");
    controller.power_cut();
    let mut smart = [0; 512];
    controller.admin(0x02, ALL_NAMESPACES, [0x7f << 16 | 0x02, 0, 0, 0, 0, 0], &mut smart).unwrap();
    // Temperature, spare and its threshold, used; power-on hours; unsafe shutdowns.
    let expected = [(1, 0x36), (2, 1), (3, 100), (4, 10), (5, 3), (128, 0xe9), (129, 3), (144, 1)];
    assert_eq!(set(&smart, &[]), expected);
    let misplaced = controller.admin(0x02, 0, [0x81, 0, 2, 0, 0, 0], &mut [0; 512]);
    assert_eq!(refusal(misplaced), status::INVALID_FIELD);
    let beyond = controller.admin(0x02, 0, [0x81, 0, 516, 0, 0, 0], &mut [0; 512]);
    assert_eq!(refusal(beyond), status::INVALID_FIELD);
}

#[test]
fn lists_have_active_and_allocated_namespaces() {
    let mut controller = Controller::new(three_namespaces());
    assert_eq!(identify(&mut controller, 2, 0)[..12], [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(identify(&mut controller, 2, 1)[..8], [2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(identify(&mut controller, 0x10, 0)[8..16], [3, 0, 0, 0, 0, 0, 0, 0]);
    assert!(identify(&mut controller, 0, 3).iter().all(|byte| *byte == 0), "inactive");
    assert_eq!(identify(&mut controller, 0x11, 3)[0], 32, "allocated");
    assert_eq!(identify(&mut controller, 0x12, 1)[..4], [1, 0, 1, 0]);
    assert_eq!(identify(&mut controller, 0x12, 3)[..4], [0, 0, 0, 0]);
    let page = identify(&mut controller, 1, 0);
    assert_eq!(page[296..304], (16_u64 << 10).to_le_bytes(), "UNVMCAP");
    let answer = controller.admin(0x06, 99, [0, 0, 0, 0, 0, 0], &mut [0; 4096]);
    assert_eq!(refusal(answer), status::INVALID_NAMESPACE);
}

#[test]
fn namespaces_are_deleted_created_and_attached() {
    let mut controller = written(three_namespaces());
    let delete = |controller: &mut Controller, nsid| {
        controller.admin(0x0d, nsid, [1, 0, 0, 0, 0, 0], &mut [])
    };
    assert_eq!(refusal(delete(&mut controller, 9)), status::INVALID_NAMESPACE);
    delete(&mut controller, ALL_NAMESPACES).unwrap();
    assert!(left(&controller) > 0, "deleted is not erased");
    assert_eq!(controller.read(1, 0, 1), Err(Failure::Status(status::INVALID_NAMESPACE)));
    let mut structure = vec![0; 4096];
    structure[0] = 129;
    structure[8] = 129;
    let create = [0; 6];
    for reserved in [2, 4, 8, 9] {
        let answer = controller.admin(0x0d, 0, [reserved, 0, 0, 0, 0, 0], &mut structure);
        assert_eq!(refusal(answer), status::INVALID_FIELD);
    }
    let answer = controller.admin(0x0d, 0, create, &mut structure);
    assert_eq!(refusal(answer), status::INSUFFICIENT_CAPACITY);
    structure[0] = 128;
    let answer = controller.admin(0x0d, 0, create, &mut structure);
    assert_eq!(refusal(answer), status::NO_THIN_PROVISIONING);
    structure[8] = 128;
    assert_eq!(controller.admin(0x0d, 0, create, &mut structure), Ok(1));
    let mut list = vec![0; 4096];
    (list[0], list[2]) = (1, 7);
    let answer = controller.admin(0x15, 1, [0; 6], &mut list);
    assert_eq!(refusal(answer), status::INVALID_CONTROLLER_LIST);
    list[2] = 1;
    controller.admin(0x15, 1, [0; 6], &mut list).unwrap();
    assert_eq!(refusal(controller.admin(0x15, 1, [0; 6], &mut list)), status::ALREADY_ATTACHED);
    assert_eq!(controller.read(1, 127, 1).unwrap(), vec![0; 512]);
    controller.admin(0x15, 1, [1, 0, 0, 0, 0, 0], &mut list).unwrap();
    let answer = controller.admin(0x15, 1, [1, 0, 0, 0, 0, 0], &mut list);
    assert_eq!(refusal(answer), status::NOT_ATTACHED);
}

#[test]
fn what_is_no_namespace_is_all_zeros_and_power_on_hours_are_hours() {
    let mut controller = Controller::new(Config::default());
    assert_eq!(identify(&mut controller, 0, 7), vec![0; 4096]);
    let mut hours = |log: &mut [u8; 512]| {
        controller.advance(10 * HOUR);
        controller.admin(0x02, ALL_NAMESPACES, [0x7f << 16 | 2, 0, 0, 0, 0, 0], log).unwrap();
        u16::from_le_bytes([log[128], log[129]])
    };
    assert_eq!((hours(&mut [0; 512]), hours(&mut [0; 512])), (1010, 1020));
}
