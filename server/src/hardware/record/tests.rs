//! Records as a person and as Kubernetes would read them.

use std::net::Ipv4Addr;

use protocol::inventory::{Content, MemoryModule, Port, Processor};
use serde_json::{Value, json};

use super::*;
use crate::{
    hardware::schema,
    machine::{Evidence, KnownDisk, KnownPort},
};

pub(in crate::hardware) fn mac(number: u8) -> MacAddress {
    MacAddress([0x3c, 0xec, 0xef, 0x01, 0x02, number])
}

fn disk(name: &str, transport: Transport, blank: bool) -> Disk {
    Disk {
        name: name.to_owned(),
        model: Some("PM883".to_owned()),
        serial: Some(format!("S3Z1NB0K-{name}")),
        size_bytes: Bytes(480_103_981_056),
        logical_sector_bytes: Some(512),
        physical_sector_bytes: Some(4096),
        rotational: Some(false),
        transport: Some(transport),
        by_id: vec![format!("ata-PM883_S3Z1NB0K-{name}")],
        content: Some(Content { blank, ..Content::default() }),
        ..Disk::default()
    }
}

/// A small server: two ports and one on USB, two disks of its own and one on USB.
pub(in crate::hardware) fn inventory() -> Inventory {
    let port = |name: &str, number, removable| Port {
        name: name.to_owned(),
        permanent_mac: Some(mac(number)),
        mac: Some(mac(number)),
        speed_mbps: Some(1000),
        link: Some(true),
        removable,
        ..Port::default()
    };
    let mut inventory = Inventory {
        architecture: Some("x86_64".to_owned()),
        processors: vec![Processor {
            vendor: Some("GenuineIntel".to_owned()),
            model: Some("Intel(R) Xeon(R) E-2236".to_owned()),
            cores: Some(6),
            threads: Some(12),
            flags: vec!["aes".to_owned(), "avx2".to_owned()],
            ..Processor::default()
        }],
        disks: vec![
            Disk { rotational: Some(true), ..disk("sda", Transport::Ata, true) },
            disk("sdb", Transport::Ata, true),
            disk("sdc", Transport::Usb, true),
        ],
        ports: vec![port("eth0", 1, false), port("eth1", 2, false), port("usb0", 9, true)],
        ..Inventory::default()
    };
    inventory.system.manufacturer = Some("Dell Inc.".to_owned());
    inventory.system.product = Some("PowerEdge R240".to_owned());
    inventory.system.serial = Some("4Q5HMP2".to_owned());
    inventory.system.uuid = Some("4c4c4544-0051-3510-8048-b4c04f4d5032".to_owned());
    inventory.firmware.vendor = Some("Dell Inc.".to_owned());
    inventory.firmware.version = Some("2.7.4".to_owned());
    inventory.firmware.boot_mode = Some(BootMode::Uefi);
    inventory.memory.installed_bytes = Some(Bytes(32 << 30));
    inventory.memory.usable_bytes = Some(Bytes(33_440_000_000));
    inventory.memory.modules = vec![MemoryModule {
        slot: Some("A1".to_owned()),
        size_bytes: Some(Bytes(32 << 30)),
        serial: Some("1A2B3C4D".to_owned()),
        ..MemoryModule::default()
    }];
    inventory
}

/// What a record is made from; by default of a machine that nobody approved.
pub(in crate::hardware) struct Sample {
    pub(in crate::hardware) machine: Machine,
    inventory: Inventory,
    reservations: BTreeMap<MacAddress, Reservation>,
    contested: BTreeSet<MacAddress>,
    settings: RecordSettings,
}

impl Default for Sample {
    fn default() -> Self {
        let inventory = inventory();
        let machine = Machine {
            name: "4q5hmp2".to_owned(),
            first_mac: Some(mac(2)),
            ports: inventory
                .ports
                .iter()
                .map(|port| KnownPort {
                    mac: port.permanent_mac.unwrap(),
                    removable: port.removable,
                })
                .collect(),
            evidence: Evidence::of(&inventory),
            disks: inventory.disks.iter().filter_map(KnownDisk::of).collect(),
            complete: true,
            ..Machine::default()
        };
        Self {
            machine,
            inventory,
            reservations: BTreeMap::new(),
            contested: BTreeSet::new(),
            settings: RecordSettings::default(),
        }
    }
}

/// A machine that was approved, whose port has an address: its record is complete.
pub(in crate::hardware) fn sample() -> Sample {
    let mut sample = Sample::default();
    sample.machine.approval = Approval::Approved { by: "uid 1000".to_owned(), at: 7 };
    sample.reservations.insert(
        mac(2),
        Reservation {
            address: Ipv4Addr::new(10, 0, 0, 20),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            name_servers: vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(1, 1, 1, 1)],
            lease_seconds: 3600,
        },
    );
    sample
}

impl Sample {
    pub(in crate::hardware) fn record(&self) -> Hardware {
        let view = MachineView {
            machine: &self.machine,
            reservations: &self.reservations,
            contested: &self.contested,
        };
        record(&view, &self.inventory, &self.settings)
    }

    fn devices(&self) -> Vec<String> {
        self.record().spec.disks.into_iter().map(|disk| disk.device).collect()
    }
}

/// Claims that a record is held in all three ways, and says what it lacks.
fn assert_held(hardware: &Hardware) -> Option<&str> {
    assert_eq!(hardware.metadata.labels.get(OWNER).map(String::as_str), Some("drydock-pending"));
    assert!(!hardware.metadata.labels.contains_key("v1alpha1.tinkerbell.org/ownerNamespace"));
    assert_eq!(hardware.spec.auto, Some(Auto { enrollment_enabled: false }));
    assert!(hardware.spec.interfaces.iter().all(|port| !port.netboot.allow_pxe));
    hardware.metadata.annotations.get(MISSING).map(String::as_str)
}

#[test]
fn a_complete_record_reads_like_this() {
    insta::assert_snapshot!(sample().record().to_yaml().unwrap());
}

#[test]
fn nobody_may_claim_a_machine_that_nobody_approved() {
    let mut sample = sample();
    for approval in [Approval::Pending, Approval::Held { reason: "two agents".to_owned() }] {
        sample.machine.approval = approval;
        assert_eq!(assert_held(&sample.record()), None);
    }
}

#[test]
fn an_approved_machine_whose_record_lacks_something_is_held_and_says_what() {
    let check = |change: fn(&mut Sample), lacks: &str| {
        let mut sample = sample();
        change(&mut sample);
        let record = sample.record();
        assert_eq!(assert_held(&record), Some(lacks));
    };
    check(
        |sample| sample.reservations.clear(),
        "a reserved or fixed address for 3c:ec:ef:01:02:02",
    );
    check(
        |sample| sample.inventory.disks.clear(),
        "a disk that is blank or was chosen, with a stable name",
    );
    check(|sample| sample.inventory.architecture = None, "the architecture");
    check(|sample| sample.inventory.firmware.boot_mode = None, "the boot mode");
    check(|sample| sample.machine.complete = false, "a complete report");
    check(|sample| sample.machine.first_mac = None, "the port it booted through");
    check(
        |sample| {
            sample.contested.insert(mac(2));
        },
        "a port of its own: 3c:ec:ef:01:02:02 is another machine's too",
    );
}

#[test]
fn an_address_stands_only_where_it_is_reserved() {
    let record = sample().record();
    let ports: Vec<_> = record
        .spec
        .interfaces
        .iter()
        .map(|port| (port.dhcp.mac.as_str(), port.dhcp.ip.is_some(), port.dhcp.lease_time))
        .collect();
    // The port first booted through comes first, the one on USB not at all; no lease under a day.
    assert_eq!(ports, [("3c:ec:ef:01:02:02", true, 86_400), ("3c:ec:ef:01:02:01", false, 86_400)]);
}

#[test]
fn a_port_that_another_record_has_is_in_no_second_one() {
    let mut sample = sample();
    sample.contested.insert(mac(1));
    assert!(!sample.record().is_held());
    assert!(!sample.record().to_yaml().unwrap().contains("dhcp:\n      mac: 3c:ec:ef:01:02:01"));
    assert_eq!(sample.record().spec.interfaces.len(), 1);
    sample.contested.insert(mac(2));
    let record = sample.record();
    assert_eq!((record.spec.agent_id, record.spec.interfaces.len()), (None, 0));
}

#[test]
fn disks_with_data_on_usb_san_or_read_only_media_are_never_listed() {
    let mut sample = sample();
    let keep = |sample: &mut Sample, change: fn(&mut Disk)| {
        sample.inventory = inventory();
        sample.inventory.disks.iter_mut().for_each(change);
        sample.devices()
    };
    let none: Vec<String> = vec![];
    assert_eq!(keep(&mut sample, |disk| disk.transport = Some(Transport::Network)), none);
    assert_eq!(keep(&mut sample, |disk| disk.transport = Some(Transport::Usb)), none);
    assert_eq!(keep(&mut sample, |disk| disk.removable = Some(true)), none);
    assert_eq!(keep(&mut sample, |disk| disk.read_only = Some(true)), none);
    assert_eq!(keep(&mut sample, |disk| disk.boot_medium = true), none);
    assert_eq!(keep(&mut sample, |disk| disk.size_bytes = Bytes(0)), none);
    assert_eq!(keep(&mut sample, |disk| disk.content = None), none);
    assert_eq!(keep(&mut sample, |disk| disk.content = Some(Content::default())), none);
    assert_eq!(keep(&mut sample, |disk| disk.by_id.clear()), none);
    assert_eq!(keep(&mut sample, |_| ()).len(), 2);
}

#[test]
fn the_disk_to_install_on_comes_first_and_has_a_stable_name() {
    let mut sample = sample();
    let (fast, slow) = (
        "/dev/disk/by-id/ata-PM883_S3Z1NB0K-sdb".to_owned(),
        "/dev/disk/by-id/ata-PM883_S3Z1NB0K-sda".to_owned(),
    );
    assert_eq!(sample.devices(), [fast, slow.clone()]);
    sample.inventory.disks[1].by_id.clear();
    sample.inventory.disks[1].by_path = Some("pci-0000:00:17.0-ata-2".to_owned());
    assert_eq!(sample.devices(), ["/dev/disk/by-path/pci-0000:00:17.0-ata-2", &slow]);
    sample.settings.disk_names = DiskNames::Kernel;
    assert_eq!(sample.devices(), ["/dev/sdb", "/dev/sda"]);
    sample.inventory.disks[1].name = "cciss!c0d0".to_owned();
    assert_eq!(sample.devices(), ["/dev/cciss/c0d0", "/dev/sda"]);
}

#[test]
fn a_disk_that_something_was_installed_on_is_not_offered_although_it_was_blank_when_it_was_seen() {
    let mut sample = sample();
    let mut installed = KnownDisk::of(&sample.inventory.disks[1]).unwrap();
    sample.machine.disks = sample.inventory.disks.iter().filter_map(KnownDisk::of).collect();
    assert_eq!(sample.devices().len(), 2);
    installed.state = DiskState::Data;
    sample.machine.disks[1] = installed;
    assert_eq!(sample.devices(), ["/dev/disk/by-id/ata-PM883_S3Z1NB0K-sda"]);
}

#[test]
fn a_chosen_disk_is_the_only_one_even_with_data() {
    let mut sample = sample();
    sample.inventory.disks[0].content = Some(Content::default());
    let chosen = evidence::disk_identity(&sample.inventory.disks[0]).unwrap();
    sample.machine.chosen_disks = vec![chosen];
    assert_eq!(sample.devices(), ["/dev/disk/by-id/ata-PM883_S3Z1NB0K-sda"]);
    let usb = evidence::disk_identity(&sample.inventory.disks[2]).unwrap();
    sample.machine.chosen_disks = vec![usb];
    assert_eq!(sample.devices(), [""; 0], "never USB, and no other in its stead");
    assert!(sample.record().is_held());
}

#[test]
fn a_record_says_the_same_for_the_same_machine() {
    assert_eq!(sample().record().to_yaml().unwrap(), sample().record().to_yaml().unwrap());
    let mut later = sample();
    later.machine.last_seen = 99;
    later.machine.boots = 7;
    assert_eq!(later.record(), sample().record(), "nothing in it changes by itself");
}

/// Readers of YAML 1.1 see `on` as true, `1e3` as a number, `12:30:45` as a number of base 60.
#[test]
fn texts_that_look_like_something_else_are_quoted() {
    let words = [
        "on",
        "off",
        "yes",
        "No",
        "y",
        "n",
        "true",
        "null",
        "~",
        "1e3",
        "1E3",
        "0x1f",
        "0o17",
        "017",
        "12:30:45",
        "52:54:00:12:34:56",
        "12:34:56:12:34:56",
        "2024-01-01",
        ".5",
        "1_000",
        "+1",
        "-",
        "=",
        "<<",
        "",
        " x",
        "x ",
        "# x",
        "a: b",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        "\"",
        ".inf",
        ".NaN",
    ];
    for word in words {
        let mut sample = sample();
        sample.settings.namespace = Some(word.to_owned());
        let yaml = sample.record().to_yaml().unwrap();
        let line = yaml.lines().find(|line| line.contains("namespace:")).unwrap();
        let value = line.trim().strip_prefix("namespace:").unwrap().trim();
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["metadata"]["namespace"], word, "{line}");
        assert!(value.starts_with('"') || value.starts_with('\''), "{line}");
    }
}

/// Go's reader refuses control characters, and takes some line separators for ends of lines.
#[test]
fn no_text_of_a_machine_breaks_out_of_its_place() {
    for hostile in [
        "a\nkind: Secret\n---\nb",
        "a\r\n\tb: c",
        "\u{0}\u{7}\u{1b}[2J\u{7f}",
        "\u{85}\u{9b}2J\u{a0}",
        "\u{2028}x\u{2029}y",
        "\u{feff}x\u{fffe}\u{ffff}",
        "'\"\\' # : {}[]",
        "\u{1f600}é",
    ] {
        let mut sample = sample();
        sample.inventory.architecture = Some(hostile.to_owned());
        sample.inventory.system.product = Some(hostile.to_owned());
        sample.inventory.disks[1].by_id = vec![hostile.to_owned()];
        let yaml = sample.record().to_yaml().unwrap();
        let is_printable = |c: char| {
            matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
                || c >= '\u{10000}'
        };
        let odd: Vec<char> = yaml.chars().filter(|c| !is_printable(*c)).collect();
        assert!(odd.is_empty(), "{hostile:?}: {odd:?}");
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["spec"]["interfaces"][0]["dhcp"]["arch"], hostile);
    }
}

fn definitions() -> Vec<Value> {
    ["crds/tinkerbell.org_hardware.yaml", "crds-v0.25.0/tinkerbell.org_hardware.yaml"]
        .into_iter()
        .filter_map(schema::shared)
        .map(|text| schema::hardware_schema(&text))
        .collect()
}

fn read(hardware: &Hardware) -> Value {
    serde_saphyr::from_str(&hardware.to_yaml().unwrap()).unwrap()
}

#[test]
fn records_are_valid_in_both_versions_and_nothing_in_them_is_pruned() {
    let mut bare = Sample { inventory: Inventory::default(), ..Sample::default() };
    bare.machine.first_mac = None;
    for schema in definitions() {
        for sample in [&sample(), &Sample::default(), &bare] {
            let record = read(&sample.record());
            assert_eq!(schema::problems(&schema, &record), Vec::<String>::new());
            for port in record["spec"]["interfaces"].as_array().unwrap() {
                for half in ["tftp_server_name", "boot_file_name"] {
                    assert!(port["dhcp"].get(half).is_none(), "the definition's own rule");
                }
            }
        }
    }
}

#[test]
fn the_checker_takes_tinkerbells_own_sample_and_refuses_it_broken() {
    let Some(text) = schema::shared("samples/playground-hardware.yaml") else {
        return;
    };
    let filled = text
        .replace("$DISK_DEVICE", "/dev/sda")
        .replace("$TINKERBELL_CLIENT_MAC", "\"52:54:00:12:34:56\"")
        .replace("\"\"", "\"")
        .replace("$TINKERBELL_CLIENT_ARCH", "x86_64")
        .replace("$TINKERBELL_CLIENT_IP", "10.0.0.20");
    let good: Value = serde_saphyr::from_str(&filled).unwrap();
    for schema in definitions() {
        assert_eq!(schema::problems(&schema, &good), Vec::<String>::new());
        for (pointer, value) in [
            ("/spec/disks", json!({"device": "/dev/sda"})),
            ("/spec/disks/0/device", json!(7)),
            ("/spec/disks/0/size", json!(7)),
            ("/spec/interfaces/0/dhcp/mac", json!("52:54:00:AB:CD:EF")),
            ("/spec/interfaces/0/dhcp/lease_time", json!("86400")),
            ("/spec/interfaces/0/dhcp/lease_time", json!(1.5)),
            ("/spec/interfaces/0/dhcp/uefi", json!("true")),
            ("/spec/interfaces/0/netboot/allowPxe", json!(true)),
            ("/spec/bmcRef", json!({"kind": "Machine"})),
            ("/spec/resources", json!({"memory": "much"})),
            ("/spec/metadata/instance/ips", json!([{"family": 4, "net": "x"}])),
            ("/kind", json!(1)),
            ("/extra", json!(1)),
        ] {
            let mut broken = good.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            broken.pointer_mut(parent).unwrap()[name] = value;
            assert_eq!(schema::problems(&schema, &broken).len(), 1, "{pointer}");
        }
    }
}
