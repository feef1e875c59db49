use std::{fs, net::Ipv4Addr, path::Path};

use protocol::Pin;

use super::*;
use crate::boot::{SettingsAsWritten, Wanted, resolve};

const MAC: MacAddress = MacAddress([0xdc, 0xa6, 0x32, 1, 2, 3]);
const BUILD: &str = "0a1b2c3d4e5f";

fn settings(consoles: &[&str]) -> Settings {
    let mut written = SettingsAsWritten::usual(Ipv4Addr::new(10, 77, 0, 1), vec![Pin([0xab; 32])]);
    written.consoles = consoles.iter().map(|console| (*console).to_owned()).collect();
    Settings::check(written).unwrap()
}

#[test]
fn a_board_is_told_what_to_load_of_which_build() {
    let build = BuildName::read(BUILD);
    insta::assert_snapshot!(configuration(System::Sunshine, Model::Four, MAC, build), @r"
    # Drydock: dc:a6:32:01:02:03 boots SunshineOS.
    arm_64bit=1
    upstream_kernel=1
    [pi4]
    enable_uart=1
    [all]
    os_prefix=0a1b2c3d4e5f/
    kernel=sunshineos-aarch64.vmlinuz
    initramfs sunshineos-aarch64.initrd followkernel
    ");
    insta::assert_snapshot!(configuration(System::Hercules, Model::Five, MAC, None), @r"
    # Drydock: dc:a6:32:01:02:03 boots HerculesOS.
    arm_64bit=1
    upstream_kernel=1
    kernel=herculesos-aarch64.vmlinuz
    initramfs herculesos-aarch64.initrd followkernel
    ");
    insta::assert_snapshot!(configuration(System::Sunshine, Model::FiveD, MAC, build), @r"
    # Drydock: dc:a6:32:01:02:03 boots SunshineOS.
    arm_64bit=1
    upstream_kernel=1
    device_tree=bcm2712-d-rpi-5-b.dtb
    os_prefix=0a1b2c3d4e5f/
    kernel=sunshineos-aarch64.vmlinuz
    initramfs sunshineos-aarch64.initrd followkernel
    ");
    for (system, model) in [(System::Sunshine, Model::Unknown), (System::Hercules, Model::Four)] {
        let text = configuration(system, model, MAC, build);
        assert!(text.lines().all(|line| line.len() <= 98), "the firmware cuts lines at 98: {text}");
        // What it says to load is what it gets when it asks for that.
        for (key, part) in [("kernel=", Part::Kernel), ("initramfs ", Part::Initrd)] {
            let named = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            let named = named.split(' ').next().unwrap();
            let resolved = resolve(format!("b7f44626/{BUILD}/{named}").as_bytes());
            let image = Image { system, architecture: Architecture::Aarch64, part };
            assert_eq!(resolved.wanted, Wanted::Board(Wish::Image(image)));
            assert_eq!(resolved.build, build);
        }
    }
}

#[test]
fn its_kernel_is_told_what_every_kernel_is_told_and_its_own_serial_port() {
    let settings = settings(&["tty0", "ttyS0,115200n8"]);
    let line = |model, storage| command_line(&settings, System::Sunshine, model, MAC, storage);
    let pin = "ab".repeat(32);
    let ours = format!(
        "drydock.server=https://10.77.0.1:7443 drydock.pin=sha256:{pin} cryptomgr.notests drydock.port=dc:a6:32:01:02:03\n"
    );
    let usual = "console=tty0 console=ttyS0,115200n8";
    assert_eq!(line(Model::Four, false), format!("{usual} console=ttyS1,115200n8 {ours}"));
    assert_eq!(line(Model::Five, false), format!("{usual} console=ttyAMA10,115200n8 {ours}"));
    assert!(line(Model::Unknown, false).contains("ttyS1,115200n8 console=ttyAMA10,115200n8"));
    let read = CommandLine::parse(line(Model::Four, true).trim_end()).unwrap();
    assert_eq!((read.port, read.network_storage), (Some(MAC), true));
    assert_eq!(read.pins, [Pin([0xab; 32])]);
}

#[test]
fn a_serial_port_that_is_named_or_none_is_as_it_was_written() {
    let line = |consoles: &[&str]| {
        let line = command_line(&settings(consoles), System::Sunshine, Model::Four, MAC, false);
        line.split(" drydock").next().unwrap().to_owned()
    };
    assert_eq!(line(&["ttyS0,9600", "ttyS1,57600"]), "console=ttyS0,9600 console=ttyS1,57600");
    assert_eq!(line(&["tty0"]), "console=tty0");
}

#[track_caller]
fn check(path: &str, expected: (Option<&str>, Option<MacAddress>, Option<&str>, Wanted)) {
    let resolved = resolve(path.as_bytes());
    let serial = resolved.serial.map(|serial| serial.to_string());
    let build = resolved.build.map(|build| build.to_string());
    let found = (serial.as_deref(), resolved.mac, build.as_deref(), resolved.wanted);
    assert_eq!(found, expected, "{path}");
}

fn file(name: &str) -> Wanted {
    Wanted::Board(Wish::File(BoardFile::named(name).unwrap()))
}

const SERIAL: Option<&str> = Some("b7f44626");
const ABSENT: Wanted = Wanted::Board(Wish::Absent);

#[test]
fn a_boards_paths_have_their_meaning() {
    check("b7f44626/start4.elf", (SERIAL, None, None, file("start4.elf")));
    check("/B7F44626//start4.elf", (SERIAL, None, None, file("start4.elf")));
    check("dc-a6-32-01-02-03/fixup4.dat", (None, Some(MAC), None, file("fixup4.dat")));
    check("start4.elf", (None, None, None, file("start4.elf")));
    check("b7f44626/config.txt", (SERIAL, None, None, Wanted::Board(Wish::Configuration)));
    check("config.txt", (None, None, None, Wanted::Board(Wish::Configuration)));
    let line = Wanted::Board(Wish::CommandLine);
    check("b7f44626/0a1b2c3d4e5f/cmdline.txt", (SERIAL, None, Some(BUILD), line));
    check("b7f44626/cmdline.txt", (SERIAL, None, None, line));
    let tree = file("bcm2711-rpi-4-b.dtb");
    check("b7f44626/0a1b2c3d4e5f/bcm2711-rpi-4-b.dtb", (SERIAL, None, Some(BUILD), tree));
    check("0a1b2c3d4e5f/bcm2711-rpi-4-b.dtb", (None, None, Some(BUILD), tree));
}

#[test]
fn what_nobody_has_is_known_as_such() {
    for name in ["recover4.elf", "pieeprom.sig", "armstub8-gic.bin", "x", "kernel8.img"] {
        check(&format!("b7f44626/{name}"), (SERIAL, None, None, ABSENT));
    }
    check("b7f44626/upstream/sunshineos-aarch64.vmlinuz", (SERIAL, None, None, ABSENT));
    check("b7f44626/overlays/overlay_map.dtb", (SERIAL, None, None, ABSENT));
    check("b7f44626/sunshineos-x86_64.vmlinuz", (SERIAL, None, None, ABSENT));
    check("b7f44626/a/b/c/d", (SERIAL, None, None, ABSENT));
    check("b7f44626", (SERIAL, None, None, ABSENT));
    for name in PROBED {
        check(name, (None, None, None, ABSENT));
    }
    // What is no board's is told of as before.
    for path in ["kernel8.img", "b7f4462/start4.elf", "b7f44626a/start4.elf", "x/config.txt"] {
        check(path, (None, None, None, Wanted::NotFound));
    }
}

#[test]
fn nothing_outside_can_be_named_by_a_board_either() {
    for path in ["b7f44626/../config.txt", "b7f44626/..\\..\\etc/passwd", "../b7f44626/config.txt"]
    {
        check(path, (None, None, None, Wanted::Refused));
    }
    check("b7f44626//etc/passwd", (SERIAL, None, None, ABSENT));
    check(&format!("b7f44626/{}", "a".repeat(300)), (None, None, None, Wanted::Refused));
}

fn put(directory: &Path, names: &[&str]) {
    fs::create_dir_all(directory.join(DIRECTORY)).unwrap();
    for name in names {
        fs::write(directory.join(name), b"x").unwrap();
    }
}

#[test]
fn a_board_is_served_where_its_files_and_its_system_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let assets = crate::boot::test_assets(directory.path());
    let because = |model, boot: &Boot| match unserved(&assets, model, boot) {
        None => None,
        Some(Silence::RaspberryPi { because, .. }) => Some(because),
        other => panic!("{other:?}"),
    };
    let (sunshine, hercules) = (Boot::System(System::Sunshine), Boot::System(System::Hercules));
    for model in [Model::Four, Model::Five, Model::Unknown] {
        assert_eq!(because(model, &sunshine), Some(Unserved::NoFiles), "images of x86 only");
        assert_eq!(because(model, &Boot::OwnDisk), None, "that needs no file");
    }
    put(directory.path(), &["sunshineos-aarch64.vmlinuz", "sunshineos-aarch64.initrd"]);
    assert_eq!(because(Model::Four, &sunshine), Some(Unserved::NoFiles), "no firmware");
    let files = NEEDED_BY_FOUR.map(|name| format!("{DIRECTORY}/{name}"));
    put(directory.path(), &files.each_ref().map(String::as_str));
    assert_eq!(because(Model::Four, &sunshine), None);
    assert_eq!(because(Model::Unknown, &sunshine), None);
    assert_eq!(because(Model::Four, &hercules), Some(Unserved::NoFiles));
    assert_eq!(because(Model::Five, &sunshine), Some(Unserved::NoDriver));
    put(directory.path(), &["raspberry-pi/bcm2712-rpi-5-b.dtb"]);
    assert_eq!(because(Model::Five, &sunshine), None);
    assert_eq!(because(Model::FiveD, &sunshine), Some(Unserved::NoDriver));
    put(directory.path(), &["raspberry-pi/bcm2712-d-rpi-5-b.dtb"]);
    assert_eq!(because(Model::FiveD, &sunshine), None);
    assert_eq!(because(Model::LikeFive, &sunshine), Some(Unserved::NoDriver));
    assert_eq!(because(Model::Older, &sunshine), Some(Unserved::TooOld));
}
