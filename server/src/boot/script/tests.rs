use std::net::Ipv4Addr;

use protocol::{CommandLine, MacAddress, Pin};

use super::{super::settings::SettingsAsWritten, *};
use crate::journal::Silence;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

fn settings() -> Settings {
    Settings::check(SettingsAsWritten::usual(Ipv4Addr::new(10, 0, 0, 1), vec![Pin([0xa5; 32])]))
        .unwrap()
}

fn traveller() -> Traveller {
    Traveller { mac: Some(MAC), ..Traveller::default() }
}

fn ixgbe() -> Pack {
    Pack::named(Architecture::X86_64, "ixgbe.cpio").unwrap()
}

fn with_ixgbe() -> Cargo {
    Cargo { build: None, pack: Some(ixgbe()) }
}

fn sunshine_from_the_tree(has_pack: bool) -> Fallback<'static> {
    Fallback::Sunshine { root: "../", has_pack }
}

/// The script of a machine that needs no pack.
fn plain(
    boot: &Boot,
    architecture: Option<Architecture>,
    platform: Option<Platform>,
) -> Option<String> {
    machine(boot, &settings(), &traveller(), architecture, platform, Extras::default())
}

fn everything() -> Vec<(String, String)> {
    let mut scripts = vec![
        ("autoexec".to_owned(), first(&settings(), Beginning::Autoexec)),
        ("named by DHCP".to_owned(), first(&settings(), Beginning::Leased)),
        (
            "exported".to_owned(),
            exported(&settings(), Beginning::Leased, sunshine_from_the_tree(false)),
        ),
        (
            "exported with a pack".to_owned(),
            exported(&settings(), Beginning::Leased, sunshine_from_the_tree(true)),
        ),
        (
            "sunshine with a pack, looking for disks on a network".to_owned(),
            machine(
                &Boot::System(System::Sunshine),
                &settings(),
                &traveller(),
                Some(Architecture::X86_64),
                Some(Platform::Efi),
                Extras { cargo: with_ixgbe(), network_storage: true },
            )
            .unwrap(),
        ),
    ];
    let boots = [
        ("sunshine", Boot::System(System::Sunshine)),
        ("hercules", Boot::System(System::Hercules)),
        ("own disk", Boot::OwnDisk),
    ];
    for (name, boot) in boots {
        for architecture in [Some(Architecture::X86_64), Some(Architecture::Aarch64), None] {
            for platform in [Some(Platform::Efi), Some(Platform::Pcbios), None] {
                let script = plain(&boot, architecture, platform);
                let title = format!("{name}, {architecture:?}, {platform:?}");
                scripts.push((title, script.unwrap()));
            }
        }
    }
    scripts
}

#[test]
fn the_scripts_are_as_reviewed() {
    let shown: Vec<String> =
        everything().iter().map(|(title, script)| format!("==== {title}\n{script}")).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn silence_has_no_script() {
    let boot = Boot::Silence(Silence::Ignored);
    assert_eq!(plain(&boot, None, None), None);
}

/// Follows every branch: a label that is missing, a loop without a limit or an end in the shell is a machine that hangs.
#[test]
fn every_way_ends_at_the_own_disk() {
    for (title, script) in everything() {
        let lines: Vec<&str> = script.lines().collect();
        assert_eq!(lines[0], "#!ipxe", "{title}");
        assert!(script.is_ascii(), "{title}");
        let label = |name: &str| lines.iter().position(|line| *line == format!(":{name}"));
        for (number, line) in lines.iter().enumerate() {
            for (at, _) in line.match_indices("goto ") {
                let name = line[at + 5..].split(' ').next().unwrap();
                let to = label(name).unwrap_or_else(|| panic!("{title}: no label {name}"));
                let counted =
                    lines[..number].iter().rev().take(3).any(|line| *line == "inc attempt");
                let walks_ports = line.trim() == "goto find";
                assert!(to > number || counted || walks_ports, "{title}: {line} may never end");
            }
        }
        let own_disk = label("own_disk").unwrap();
        let end = &lines[own_disk + 2..];
        let efi = &["exit 1"][..];
        let bios = &["sanboot --no-describe --drive 0x80 ||", "exit"][..];
        let either = [&["iseq ${platform} efi && exit 1 ||"], bios].concat();
        assert!([efi, bios, &either].contains(&end), "{title}: {end:?}");
    }
}

#[test]
fn under_uefi_nothing_leaves_by_exit_as_if_it_had_booted() {
    let boots = [Boot::System(System::Sunshine), Boot::OwnDisk];
    for boot in boots {
        let architecture = Some(Architecture::X86_64);
        let script = plain(&boot, architecture, Some(Platform::Efi));
        let script = script.unwrap();
        assert!(!script.lines().any(|line| line.trim() == "exit"), "{script}");
        assert!(!script.contains("sanboot"), "{script}");
    }
}

#[test]
fn the_agent_reads_the_command_line_that_ipxe_makes_of_it() {
    let boot = Boot::System(System::Sunshine);
    let script = plain(&boot, Some(Architecture::X86_64), Some(Platform::Pcbios)).unwrap();
    let kernel = script.lines().find(|line| line.starts_with("kernel ")).unwrap();
    let kernel = kernel
        .replace("${netX/mac}", &MAC.to_string())
        .replace("${netX/ip}", "10.0.0.77")
        .replace("${netX/netmask}", "255.255.255.0")
        .replace("${netX/gateway}", "")
        .replace("${netX/dns}", "10.0.0.254")
        .replace(" || goto load_failed", "");
    let read = CommandLine::parse(&kernel).unwrap();
    assert_eq!(read.server.as_deref(), Some("https://10.0.0.1:7443"));
    assert_eq!(read.pins, [Pin([0xa5; 32])]);
    let lease = read.lease.unwrap();
    assert_eq!((lease.mac, lease.address), (MAC, Ipv4Addr::new(10, 0, 0, 77)));
    assert_eq!((lease.gateway, lease.name_server), (None, Some(Ipv4Addr::new(10, 0, 0, 254))));
}

#[test]
fn what_a_machine_says_of_itself_stands_in_no_script() {
    let traveller = Traveller {
        mac: Some(MAC),
        uuid: Some("shell".to_owned()),
        serial: Some("x\nshell".to_owned()),
    };
    for boot in [Boot::System(System::Sunshine), Boot::OwnDisk] {
        let architecture = Some(Architecture::X86_64);
        let extras = Extras::default();
        let script = machine(&boot, &settings(), &traveller, architecture, None, extras);
        assert!(!script.unwrap().contains("shell"));
    }
}

#[test]
fn a_pack_stands_behind_the_core_and_is_gone_without_where_it_does_not_come() {
    let boot = Boot::System(System::Hercules);
    let extras = Extras { cargo: with_ixgbe(), network_storage: false };
    let architecture = Some(Architecture::X86_64);
    let script = machine(&boot, &settings(), &traveller(), architecture, None, extras).unwrap();
    let at = |begin: &str| script.lines().position(|line| line.starts_with(begin)).unwrap();
    let pack = at("initrd --name ixgbe.cpio http://10.0.0.1:7480/pack/x86_64/ixgbe.cpio ");
    assert!(at("kernel ") < at("initrd --name herculesos") && at("initrd --name hercules") < pack);
    let kernel = script.lines().nth(at("kernel ")).unwrap();
    assert!(kernel.contains(" initrd=herculesos-x86_64.initrd initrd=ixgbe.cpio "), "{kernel}");
    // The same, but for the file that is not there.
    let alone = script.lines().nth(at("imgargs kernel ")).unwrap();
    let arguments = kernel.split_once("initrd=").unwrap().1.replace("initrd=ixgbe.cpio ", "");
    let arguments = arguments.replace(" || goto load_failed", "");
    assert_eq!(alone, format!("imgargs kernel initrd={arguments} ||"));
    assert!(pack < at("imgargs kernel ") && at("imgargs kernel ") < at("boot ||"));
}
