//! What stands in the scripts, checked once.

use std::net::Ipv4Addr;

use protocol::{CommandLine, Pin};

use super::{asset::Architecture, pack::NAME_LIMIT};
use crate::decision::System;

/// The longest kernel command line, the terminating NUL included (`COMMAND_LINE_SIZE` on x86 and arm64).
const COMMAND_LINE_LIMIT: usize = 2048;
/// The longest that iPXE can make of the lease: a MAC address and four IPv4 addresses.
const LONGEST_LEASE: usize = 17 + 4 * (1 + 15);
/// The longest `initrd=` of a system of ours.
const LONGEST_INITRD: &str = "initrd=herculesos-aarch64.initrd ";
/// The longest `initrd=` of a pack.
const LONGEST_PACK: usize = "initrd=.cpio ".len() + NAME_LIMIT;

/// What stands in the scripts. Only [`Settings::check`] makes one.
///
/// Nothing in it can break out of a line of a script or of a kernel command line, and the command line is never too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    address: Ipv4Addr,
    http_port: u16,
    agents_port: u16,
    pins: Vec<Pin>,
    consoles: Vec<String>,
    network_storage: bool,
}

/// The same, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsAsWritten {
    /// The server's address as the machines see it.
    pub address: Ipv4Addr,
    /// The port of plain HTTP: 7480.
    pub http_port: u16,
    /// The port of the agents' door: 7443.
    pub agents_port: u16,
    /// The pins of the server's CA key: one, or two while keys rotate.
    pub pins: Vec<Pin>,
    /// The kernel's consoles: `tty0`, `ttyS0,115200n8`. The last one becomes `/dev/console`.
    pub consoles: Vec<String>,
    /// Whether every machine looks for disks on a network.
    pub network_storage: bool,
}

/// Says what is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Machines cannot reach it.
    #[error("no address that machines can reach: {0}")]
    Address(Ipv4Addr),
    /// A port that nobody can connect to.
    #[error("no port for {0}: 0")]
    Port(&'static str),
    /// A machine without a pin would trust anyone.
    #[error("no pin of the server's key")]
    NoPin,
    /// Not of the form that the kernel's documentation has for `console=`.
    #[error("no kernel console: {0:?}")]
    Console(String),
    /// The kernel would cut it.
    #[error(
        "a kernel command line of up to {length} bytes is longer than the kernel's {COMMAND_LINE_LIMIT}: name fewer consoles"
    )]
    TooLong {
        /// Its length with the longest lease and the terminating NUL.
        length: usize,
    },
}

impl SettingsAsWritten {
    /// Returns the usual settings of a server: its usual ports, the screen and the first serial port as consoles.
    pub fn usual(address: Ipv4Addr, pins: Vec<Pin>) -> Self {
        let consoles = ["tty0", "ttyS0,115200n8"].map(str::to_owned).to_vec();
        Self { address, http_port: 7480, agents_port: 7443, pins, consoles, network_storage: false }
    }
}

impl Settings {
    /// Checks the settings.
    pub fn check(written: SettingsAsWritten) -> Result<Self, SettingsError> {
        let SettingsAsWritten { address, http_port, agents_port, pins, consoles, network_storage } =
            written;
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            return Err(SettingsError::Address(address));
        }
        for (port, name) in [(http_port, "HTTP"), (agents_port, "the agents' door")] {
            if port == 0 {
                return Err(SettingsError::Port(name));
            }
        }
        if pins.is_empty() {
            return Err(SettingsError::NoPin);
        }
        if let Some(console) = consoles.iter().find(|console| !is_console(console)) {
            return Err(SettingsError::Console(console.chars().take(80).collect()));
        }
        let settings = Self { address, http_port, agents_port, pins, consoles, network_storage };
        let arguments =
            settings.kernel_arguments(System::Sunshine, Architecture::Aarch64, true).len();
        let longest = [arguments, LONGEST_INITRD.len(), LONGEST_PACK, LONGEST_LEASE];
        let length = longest.iter().sum::<usize>() + " drydock.lease=".len() + 1;
        if length > COMMAND_LINE_LIMIT {
            return Err(SettingsError::TooLong { length });
        }
        Ok(settings)
    }

    /// Returns the server's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns the base of all plain URLs: `http://10.0.0.1:7480`, without a slash at the end.
    pub fn http(&self) -> String {
        format!("http://{}", self.http_server())
    }

    /// Returns address and port of plain HTTP: `10.0.0.2:7480`.
    pub fn http_server(&self) -> String {
        format!("{}:{}", self.address, self.http_port)
    }

    /// Returns a machine's own serial port as a console beside those that are named, where the first of PCs is named and this
    /// one is not. What a machine does not have its kernel leaves out.
    fn beside_first_port(&self, name: &str) -> Option<String> {
        if self.consoles.iter().any(|console| console.starts_with(name)) {
            return None;
        }
        let settings = self.consoles.iter().find_map(|console| console.strip_prefix(FIRST_PORT))?;
        Some(format!("console={name}{settings}"))
    }

    /// Returns the kernel arguments of a system, but for what iPXE puts in: those of a machine that looks for disks on a network
    /// because that was said of it, or of one of which nothing was said.
    ///
    /// What holds for every machine does so in SunshineOS only: HerculesOS sees other machines' disks only where an order says
    /// so (SAFETY.md 11).
    pub fn kernel_arguments(
        &self,
        system: System,
        architecture: Architecture,
        network_storage: bool,
    ) -> String {
        let ports: &[&str] = match architecture {
            Architecture::X86_64 => &[],
            Architecture::Aarch64 => &[FIRST_PORT_OF_ARM],
        };
        self.kernel_arguments_of(system, ports, network_storage)
    }

    /// The same for machines whose serial ports have these names, the last of which becomes `/dev/console`.
    pub fn kernel_arguments_of(
        &self,
        system: System,
        serial_ports: &[&str],
        network_storage: bool,
    ) -> String {
        let mut words: Vec<String> =
            self.consoles.iter().map(|console| format!("console={console}")).collect();
        words.extend(serial_ports.iter().filter_map(|name| self.beside_first_port(name)));
        let server = Some(format!("https://{}:{}", self.address, self.agents_port));
        let ours = CommandLine {
            server,
            pins: self.pins.clone(),
            network_storage: network_storage
                || (self.network_storage && system == System::Sunshine),
            ..CommandLine::default()
        };
        words.push(ours.to_string());
        words.push(NO_SELF_TESTS.to_owned());
        words.join(" ")
    }
}

/// How Linux names the first serial port: of PCs, and of Arm's own kind, which most machines of that kind have.
const FIRST_PORT: &str = "ttyS0";
const FIRST_PORT_OF_ARM: &str = "ttyAMA0";

/// Has the kernel not try its ciphers on known answers: a third of its time on a slow processor, before anything else runs.
/// Nothing that is written rests on them. Where FIPS mode is on, they are tried all the same.
/// Linux, `crypto/testmgr.c`.
const NO_SELF_TESTS: &str = "cryptomgr.notests";

/// Holds for `tty0`, `ttyS1,115200n8`, `uart8250,io,0x3f8`: nothing that a script or a command line could misread.
fn is_console(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b",._:-".contains(&byte);
    (1..=64).contains(&text.len())
        && text.bytes().all(allowed)
        && text.as_bytes()[0].is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> SettingsAsWritten {
        SettingsAsWritten::usual(Ipv4Addr::new(10, 0, 0, 1), vec![Pin([1; 32])])
    }

    #[test]
    fn the_agent_reads_what_is_rendered() {
        let settings = Settings::check(usual()).unwrap();
        let arguments = settings.kernel_arguments(System::Sunshine, Architecture::X86_64, false);
        let read = CommandLine::parse(&arguments).unwrap();
        assert_eq!(read.server.as_deref(), Some("https://10.0.0.1:7443"));
        assert_eq!(read.pins, [Pin([1; 32])]);
        assert!(arguments.starts_with("console=tty0 console=ttyS0,115200n8 "));
    }

    #[test]
    fn machines_for_arm_have_their_own_first_serial_port_too() {
        let of = |consoles: &[&str]| {
            let consoles = consoles.iter().map(ToString::to_string).collect();
            let settings = Settings::check(SettingsAsWritten { consoles, ..usual() }).unwrap();
            let arguments =
                settings.kernel_arguments(System::Sunshine, Architecture::Aarch64, false);
            let (consoles, _) = arguments.split_once(" drydock.").unwrap();
            consoles.to_owned()
        };
        let both = "console=tty0 console=ttyS0,9600 console=ttyAMA0,9600";
        assert_eq!(of(&["tty0", "ttyS0,9600"]), both);
        assert_eq!(of(&["ttyAMA0", "ttyS0"]), "console=ttyAMA0 console=ttyS0");
        assert_eq!(of(&["ttyS1"]), "console=ttyS1");
    }

    #[test]
    fn disks_on_a_network_are_looked_for_where_that_was_said_of_one_machine_or_of_all() {
        for (of_all, of_one) in [(false, false), (false, true), (true, false), (true, true)] {
            let written = SettingsAsWritten { network_storage: of_all, ..usual() };
            let settings = Settings::check(written).unwrap();
            let looks = |system| {
                let arguments = settings.kernel_arguments(system, Architecture::X86_64, of_one);
                CommandLine::parse(&arguments).unwrap().network_storage
            };
            assert_eq!(looks(System::Sunshine), of_all || of_one);
            assert_eq!(looks(System::Hercules), of_one, "by no setting for all");
        }
    }

    #[test]
    fn what_could_break_out_of_a_line_is_refused() {
        for console in ["", "ttyS0 init=/bin/sh", "ttyS0\nexit", "${x}", "tty0||exit", ",", "é"] {
            let written = SettingsAsWritten { consoles: vec![console.to_owned()], ..usual() };
            assert_eq!(Settings::check(written), Err(SettingsError::Console(console.to_owned())));
        }
    }

    #[test]
    fn a_server_without_pin_address_or_port_is_refused() {
        let check = Settings::check;
        assert_eq!(check(SettingsAsWritten { pins: vec![], ..usual() }), Err(SettingsError::NoPin));
        let address = Ipv4Addr::UNSPECIFIED;
        let written = SettingsAsWritten { address, ..usual() };
        assert_eq!(check(written), Err(SettingsError::Address(address)));
        let written = SettingsAsWritten { http_port: 0, ..usual() };
        assert_eq!(check(written), Err(SettingsError::Port("HTTP")));
    }

    #[test]
    fn a_command_line_that_the_kernel_would_cut_is_refused() {
        let of = |count| SettingsAsWritten {
            consoles: vec!["ttyS0,115200n8".to_owned(); count],
            ..usual()
        };
        assert!(Settings::check(of(50)).is_ok());
        assert!(matches!(Settings::check(of(100)), Err(SettingsError::TooLong { length: 2048.. })));
    }
}
