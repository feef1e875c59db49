//! Scripts for GRUB, rendered purely. Debian's signed one stands behind shim on machines whose Secure Boot trusts Microsoft only.
//!
//! ```text
//!  shimx64.efi ──► grubx64.efi ──► grub/grub.cfg ──► kernel, initramfs and pack ──► boot
//!  (both over TFTP or HTTP, from beside each other)   │ own disk, or any failure
//!                                                     └──► exit 1: the firmware goes on
//! ```
//!
//! Shim and kernel are signed; the initramfs, where our program is, is not: this is compatibility, no protection.

use protocol::MacAddress;

use super::{
    asset::{Architecture, Image, Part},
    script::{Cargo, Extras},
    settings::Settings,
    unified::{Seal, Unified, command_line},
};
use crate::decision::{Boot, System};

/// How often kernel and initramfs are asked for, two seconds apart.
const TRIES: u32 = 3;

/// Renders the script of one machine, and says what it boots; none where the machine is to hear nothing.
pub(super) fn machine(
    boot: &Boot,
    settings: &Settings,
    mac: Option<MacAddress>,
    extras: Extras,
) -> Option<(String, Option<System>)> {
    let whose = mac.map_or_else(|| "a machine".to_owned(), |mac| mac.to_string());
    let mut text = format!("# Drydock: what {whose} boots.\n");
    let system = match boot {
        Boot::Silence(_) => return None,
        Boot::OwnDisk => None,
        Boot::System(system) => Some(*system),
    };
    if let Some(system) = system {
        load(&mut text, settings, system, mac, extras);
    }
    // `exit` alone would tell the firmware that the boot succeeded.
    text.push_str("echo 'On to the own disk'\nexit 1\n");
    Some((text, system))
}

fn load(
    text: &mut String,
    settings: &Settings,
    system: System,
    mac: Option<MacAddress>,
    extras: Extras,
) {
    let architecture = Architecture::X86_64;
    let file = |part| Image { system, architecture, part }.file_name();
    let kind = Unified { system, architecture, seal: Seal::Open };
    let Cargo { build, pack } = extras.cargo;
    let build = build.map(|build| format!("/build/{build}")).unwrap_or_default();
    let base = format!("(http,{}){build}", settings.http_server());
    let kernel = format!("{base}/image/{}", file(Part::Kernel));
    let initrd = format!("{base}/image/{}", file(Part::Initrd));
    let pack =
        pack.map(|pack| format!(" {base}/pack/{}/{}", pack.architecture.name(), pack.file_name()));
    let line = command_line(settings, kind, mac, extras.network_storage);
    let tries: Vec<String> = (1..=TRIES).map(|number| number.to_string()).collect();
    let name = system.name();
    let lines = [
        format!("echo 'Drydock: {name}'"),
        format!("for try in {}; do", tries.join(" ")),
        format!("if linux {kernel} {line}; then"),
        format!("if initrd {initrd}{}; then boot; fi", pack.unwrap_or_default()),
        "fi".to_owned(),
        "sleep 2".to_owned(),
        "done".to_owned(),
        format!("echo 'Drydock: {name} does not start'"),
    ];
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use protocol::Pin;

    use super::*;
    use crate::{
        boot::{SettingsAsWritten, assets::BuildName, pack::Pack},
        journal::Silence,
    };

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn script(boot: &Boot, extras: Extras) -> Option<(String, Option<System>)> {
        let written = SettingsAsWritten::usual(Ipv4Addr::new(10, 77, 0, 2), vec![Pin([0xab; 32])]);
        machine(boot, &Settings::check(written).unwrap(), Some(MAC), extras)
    }

    #[test]
    fn a_machine_loads_its_system_with_all_drivers_and_what_it_is_told() {
        let pack = Pack::named(Architecture::X86_64, "network.cpio");
        let build = BuildName::read("0a1b2c3d4e5f");
        let extras = Extras { cargo: Cargo { build, pack }, ..Extras::default() };
        let (text, boots) = script(&Boot::System(System::Hercules), extras).unwrap();
        assert_eq!(boots, Some(System::Hercules));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_machine_that_boots_its_own_disk_leaves_at_once_and_one_that_is_left_alone_gets_nothing() {
        let (text, boots) = script(&Boot::OwnDisk, Extras::default()).unwrap();
        assert_eq!(boots, None);
        assert!(text.ends_with("\nexit 1\n") && !text.contains("linux"), "{text}");
        let silence = Boot::Silence(Silence::UnknownArchitecture { architecture: 0 });
        assert_eq!(script(&silence, Extras::default()), None);
    }

    /// What a person writes into the configuration stands in a line of a script.
    #[test]
    fn no_console_that_the_settings_take_breaks_out_of_a_line() {
        for console in ["ttyS0;reboot", "$x", "'", "\"", "{", "tty0 "] {
            let mut written =
                SettingsAsWritten::usual(Ipv4Addr::new(10, 77, 0, 2), vec![Pin([0xab; 32])]);
            written.consoles = vec![console.to_owned()];
            assert!(Settings::check(written).is_err(), "{console:?}");
        }
    }
}
