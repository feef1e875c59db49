//! Every way to name a disk, and every refusal.

use protocol::inventory::Partition;

use super::*;

/// A good disk of this name and so many GiB.
fn disk(serial: &str, gibibytes: u64) -> Disk {
    Disk {
        name: format!("sd{serial}"),
        model: Some("PM883".to_owned()),
        serial: Some(format!("S3Z1NB0K-{serial}")),
        size_bytes: Bytes(gibibytes << 30),
        logical_sector_bytes: Some(512),
        rotational: Some(false),
        transport: Some(Transport::Ata),
        content: Some(Content { blank: true, ..Content::default() }),
        ..Disk::default()
    }
}

fn holding(kind: &str, uuid: &str) -> Content {
    let found =
        Signature { kind: kind.to_owned(), uuid: Some(uuid.to_owned()), ..Signature::default() };
    let partition = Partition { number: 1, signatures: vec![found], ..Partition::default() };
    Content { blank: false, partitions: vec![partition], ..Content::default() }
}

const SIZING: Sizing = Sizing { smallest_disk: Some(Bytes(4 << 30)), sector_bytes: Some(512) };

fn chosen(choice: &str, disks: Vec<Disk>, overwrite: bool) -> Result<ChosenDisk, ChoiceError> {
    let inventory = Inventory { disks, ..Inventory::default() };
    let once = |_: &str| vec!["this".to_owned()];
    choose(&choice.parse().unwrap(), &inventory, overwrite, &SIZING, once)
}

fn serial(choice: &str, disks: Vec<Disk>) -> Option<String> {
    chosen(choice, disks, false).unwrap().named.serial
}

/// Says which variant it is.
fn refusal(choice: &str, disks: Vec<Disk>) -> String {
    let error = chosen(choice, disks, false).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    let debug = format!("{error:?}");
    debug.split([' ', '(']).next().unwrap().to_owned()
}

#[test]
fn a_disk_answers_to_all_of_its_own_names() {
    let named = Disk {
        wwn: Some("0x5002538e40a1b2c3".to_owned()),
        by_id: vec!["ata-PM883_S3Z1NB0K-a".to_owned(), "wwn-0x5002538e40a1b2c3".to_owned()],
        ..disk("a", 8)
    };
    let nvme = Disk { eui64: Some("002538b971b4d2a1".to_owned()), ..disk("b", 8) };
    for name in [
        "S3Z1NB0K-a",
        "s3z1nb0k-A",
        "0x5002538e40a1b2c3",
        "5002538E40A1B2C3",
        "wwn-0x5002538e40a1b2c3",
        "wwn:5002538e40a1b2c3",
        "ata-PM883_S3Z1NB0K-a",
        "/dev/disk/by-id/ata-PM883_S3Z1NB0K-a",
    ] {
        let found = serial(name, vec![nvme.clone(), named.clone()]);
        assert_eq!(found.as_deref(), Some("S3Z1NB0K-a"), "{name}");
    }
    for name in ["002538b971b4d2a1", "eui.002538b971b4d2a1", "nvme-eui.002538b971b4d2a1"] {
        let found = serial(name, vec![named.clone(), nvme.clone()]);
        assert_eq!(found.as_deref(), Some("S3Z1NB0K-b"), "{name}");
    }
}

#[test]
fn a_kernels_name_is_none() {
    for name in ["/dev/sda", "sda", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"] {
        assert_eq!(refusal(name, vec![disk("a", 8)]), "KernelName", "{name}");
    }
}

#[test]
fn a_rule_finds_one_disk_or_none() {
    let several = || vec![disk("a", 8), disk("b", 6), disk("c", 2), disk("d", 9)];
    assert_eq!(serial("smallest", several()).as_deref(), Some("S3Z1NB0K-b"), "that it fits on");
    assert_eq!(serial("largest", several()).as_deref(), Some("S3Z1NB0K-d"));
    assert_eq!(refusal("only", several()), "Tie");
    assert_eq!(refusal("smallest:nvme", several()), "NoneFits");
    assert_eq!(refusal("smallest", vec![disk("a", 8), disk("b", 8)]), "Tie");
    let stick = Disk { transport: Some(Transport::Usb), ..disk("e", 5) };
    assert_eq!(serial("only", vec![stick, disk("a", 8)]).as_deref(), Some("S3Z1NB0K-a"));
    let nvme = Disk { transport: Some(Transport::Nvme), ..disk("n", 9) };
    let mixed = vec![disk("a", 8), nvme.clone()];
    assert_eq!(serial("smallest:nvme,ssd,blank", mixed).as_deref(), Some("S3Z1NB0K-n"));
}

#[test]
fn a_rule_chooses_the_same_disk_whether_it_is_full_or_not() {
    let full = Disk { content: Some(holding("ext4", "1")), ..disk("a", 5) };
    assert_eq!(refusal("smallest", vec![full.clone(), disk("b", 8)]), "HasData");
    let disks = vec![full, disk("b", 8)];
    assert_eq!(serial("smallest:blank", disks).as_deref(), Some("S3Z1NB0K-b"), "when told so");
}

#[test]
fn each_refusal_is_one_sentence_of_its_own() {
    let good = || disk("a", 8);
    let md = || Some(holding("md", "6a2f"));
    let cases: Vec<(&str, &str, Vec<Disk>)> = vec![
        ("Unknown", "S3Z1NB0K-x", vec![good()]),
        ("Ambiguous", "S3Z1NB0K-a", vec![good(), good()]),
        ("NoIdentity", "only", vec![Disk { serial: None, ..good() }]),
        ("NoIdentity", "QM00001", vec![Disk { serial: Some("QM00001".to_owned()), ..good() }]),
        ("Portable", "S3Z1NB0K-a", vec![Disk { removable: Some(true), ..good() }]),
        ("Portable", "S3Z1NB0K-a", vec![Disk { transport: Some(Transport::Usb), ..good() }]),
        ("Network", "S3Z1NB0K-a", vec![Disk { transport: Some(Transport::Network), ..good() }]),
        ("ReadOnly", "S3Z1NB0K-a", vec![Disk { read_only: Some(true), ..good() }]),
        ("HasData", "S3Z1NB0K-a", vec![Disk { content: Some(holding("ext4", "1")), ..good() }]),
        ("HasData", "S3Z1NB0K-a", vec![Disk { content: None, ..good() }]),
        ("TooSmall", "S3Z1NB0K-a", vec![disk("a", 3)]),
        ("SectorSize", "S3Z1NB0K-a", vec![Disk { logical_sector_bytes: Some(4096), ..good() }]),
        (
            "Shared",
            "S3Z1NB0K-a",
            vec![Disk { content: md(), ..good() }, Disk { content: md(), ..disk("b", 8) }],
        ),
        (
            "SharedStorage",
            "S3Z1NB0K-a",
            vec![Disk { content: Some(holding("vmfs", "1")), ..good() }],
        ),
        ("Unknown", "S3Z1NB0K-a", vec![Disk { size_bytes: Bytes(0), ..good() }]),
    ];
    for (expected, choice, disks) in cases {
        assert_eq!(refusal(choice, disks), expected, "{choice}");
    }
}

#[test]
fn a_disk_that_another_machine_shows_too_is_refused() {
    let inventory = Inventory { disks: vec![disk("a", 8)], ..Inventory::default() };
    let twice = |_: &str| vec!["this".to_owned(), "that".to_owned()];
    let error = choose(&"only".parse().unwrap(), &inventory, true, &SIZING, twice).unwrap_err();
    assert!(matches!(&error, ChoiceError::NotUnique { shown_by, .. } if shown_by == "that"));
}

#[test]
fn what_is_on_the_disk_is_shown_and_overwritten_only_when_said() {
    let mut full = disk("a", 8);
    full.content = Some(holding("ext4", "1"));
    let taken = chosen("only", vec![full], true).unwrap();
    assert_eq!((taken.has_data, taken.holds), (true, vec!["ext4".to_owned()]));
    assert!(!chosen("only", vec![disk("a", 8)], true).unwrap().has_data);
}

#[test]
fn a_choice_reads_back_and_nonsense_is_none() {
    for text in ["S3Z1", "smallest", "largest:nvme,blank", "only:hdd", "serial:PM883:S3Z1"] {
        assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
    }
    for text in ["", " ", "smallest:", "smallest:big", "only:nvme,"] {
        assert!(matches!(text.parse::<Choice>(), Err(ChoiceError::Nonsense(_))), "{text}");
    }
}
