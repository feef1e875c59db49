//! What a router must be told, so that machines boot from us: its own configuration language, ready to use.

use super::{asset::Program, settings::Settings};

/// The routers that there is a recipe for.
const KNOWN: [&str; 2] = ["dnsmasq", "openwrt"];

/// Says that there is no recipe, and which there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no recipe for a router named {0:?}; there is one for {known}", known = KNOWN.join(", "))]
pub struct UnknownRouter(String);

/// What DHCP says of the client (option 93, IANA "Processor Architecture Types"), and what it gets.
struct Client {
    tag: &'static str,
    numbers: &'static [u16],
    program: Program,
    means: Means,
    whom: &'static str,
}

#[derive(PartialEq)]
enum Means {
    Tftp,
    Http,
}

/// x64 firmware says 7, 8 or 9, over HTTP 16 or 17: RFC 4578 and its registry disagree on which is byte code.
const CLIENTS: [Client; 6] = [
    Client {
        tag: "drydock-bios",
        numbers: &[0],
        program: Program::UndionlyKpxe,
        means: Means::Tftp,
        whom: "BIOS",
    },
    Client {
        tag: "drydock-x64",
        numbers: &[7, 8, 9],
        program: Program::SnponlyEfi,
        means: Means::Tftp,
        whom: "x86-64 UEFI",
    },
    Client {
        tag: "drydock-arm64",
        numbers: &[11],
        program: Program::IpxeArm64Efi,
        means: Means::Tftp,
        whom: "64-bit Arm UEFI",
    },
    Client {
        tag: "drydock-x64-http",
        numbers: &[16, 17],
        program: Program::SnponlyEfi,
        means: Means::Http,
        whom: "x86-64 UEFI, HTTP Boot",
    },
    Client {
        tag: "drydock-bios-http",
        numbers: &[20],
        program: Program::UndionlyKpxe,
        means: Means::Http,
        whom: "BIOS, HTTP Boot",
    },
    Client {
        tag: "drydock-arm64-http",
        numbers: &[19],
        program: Program::IpxeArm64Efi,
        means: Means::Http,
        whom: "64-bit Arm UEFI, HTTP Boot",
    },
];

/// Renders the configuration with which a router sends machines to this server, while it keeps its DHCP.
///
/// Architectures without a program among `programs` are left out: the router then gives them no boot file.
pub fn recipe(
    router: &str,
    settings: &Settings,
    programs: &[Program],
) -> Result<String, UnknownRouter> {
    let place = match router {
        "dnsmasq" => {
            "# Save as a file of its own and name it with conf-file=, or put it into /etc/dnsmasq.d/; restart dnsmasq.\n"
        }
        "openwrt" => {
            "# Append to /etc/dnsmasq.conf, which OpenWrt's dnsmasq always reads; then: /etc/init.d/dnsmasq restart\n\
             # (`config boot` in /etc/config/dhcp names one file for all architectures, and is ignored where a field is missing.)\n"
        }
        _ => return Err(UnknownRouter(router.chars().take(40).collect())),
    };
    Ok(format!("{}{place}\n{}", head(settings), dnsmasq(settings, programs)))
}

fn head(settings: &Settings) -> String {
    format!(
        "# Boots machines from Drydock at {}. The router keeps its DHCP and only says what to boot.\n\
         # Drydock's own DHCP is to be off in this network: a VLAN without `dhcp` in its configuration.\n",
        settings.address()
    )
}

fn dnsmasq(settings: &Settings, programs: &[Program]) -> String {
    let server = settings.address();
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line("# iPXE, however it was started: it is told its script, whatever its architecture.");
    line("dhcp-userclass=set:drydock-ipxe,iPXE");
    line("dhcp-match=set:drydock-ipxe,175");
    line(&format!("dhcp-boot=tag:drydock-ipxe,{}/boot.ipxe", settings.http()));
    for Client { tag, numbers, program, means, whom } in &CLIENTS {
        if !programs.contains(program) {
            continue;
        }
        line("");
        line(&format!("# {whom}."));
        for number in *numbers {
            line(&format!("dhcp-match=set:{tag},option:client-arch,{number}"));
        }
        let file = program.file_name();
        match means {
            // The third field is the address that firmware asks: option 66 alone does not set it.
            Means::Tftp => {
                line(&format!("dhcp-boot=tag:{tag},tag:!drydock-ipxe,boot/{file},,{server}"));
            }
            Means::Http => {
                // Firmware drops an offer that does not say HTTPClient back to it, and need not ask for the option.
                line(&format!("dhcp-option-force=tag:{tag},tag:!drydock-ipxe,60,HTTPClient"));
                line(&format!(
                    "dhcp-boot=tag:{tag},tag:!drydock-ipxe,{}/boot/{file}",
                    settings.http()
                ));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use protocol::Pin;

    use super::{super::settings::SettingsAsWritten, *};

    fn settings() -> Settings {
        let written = SettingsAsWritten::usual(Ipv4Addr::new(10, 0, 0, 1), vec![Pin([1; 32])]);
        Settings::check(written).unwrap()
    }

    #[test]
    fn the_recipes_are_as_reviewed() {
        let dnsmasq = recipe("dnsmasq", &settings(), &Program::ALL).unwrap();
        insta::assert_snapshot!("dnsmasq", dnsmasq);
        insta::assert_snapshot!("openwrt", recipe("openwrt", &settings(), &Program::ALL).unwrap());
    }

    #[test]
    fn what_is_not_there_is_not_offered() {
        let programs = [Program::UndionlyKpxe, Program::SnponlyEfi];
        let text = recipe("dnsmasq", &settings(), &programs).unwrap();
        assert!(!text.contains("arm64") && text.contains("undionly.kpxe"), "{text}");
    }

    #[test]
    fn an_unknown_router_is_told_the_known_ones() {
        let error = recipe("fritzbox", &settings(), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no recipe for a router named \"fritzbox\"; there is one for dnsmasq, openwrt"
        );
    }

    #[test]
    fn every_file_that_the_router_names_is_one_that_we_serve() {
        use super::super::path::{Wanted, resolve};
        let text = recipe("dnsmasq", &settings(), &Program::ALL).unwrap();
        let files: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("dhcp-boot="))
            .filter_map(|line| line.split(',').find(|field| field.contains('/')))
            .collect();
        assert_eq!(files.len(), 7, "{text}");
        for file in files {
            let path = file.strip_prefix("http://10.0.0.1:7480").unwrap_or(file);
            let wanted = resolve(path.as_bytes()).wanted;
            assert!(matches!(wanted, Wanted::Asset(_) | Wanted::FirstScript), "{file}");
        }
    }
}
