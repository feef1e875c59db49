//! The kernel command line, as far as it is ours: rendered by the server, read by the agent.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use crate::{MacAddress, Pin, PinError};

/// The keys that begin with `drydock.`. No secret is ever among them: `/proc/cmdline` is for everyone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// `drydock.server=URL`: the agents' door, for example `https://10.0.0.1:7443`.
    pub server: Option<String>,
    /// `drydock.pin=sha256:…`, two of them separated by a comma while keys rotate.
    pub pins: Vec<Pin>,
    /// `drydock.lease=…`: what iPXE had from DHCP.
    pub lease: Option<HandedLease>,
    /// `drydock.port=…`: the MAC address of the port that the machine booted through, where no lease says it.
    pub port: Option<MacAddress>,
    /// `drydock.network-storage=1`: drivers of Fibre Channel, iSCSI and other storage on a network are loaded too, because
    /// somebody ordered it for this machine. Any other value is none.
    pub network_storage: bool,
    /// `drydock.medium=1`: the machine started from a CD or stick of ours, which has the whole store, and a person may be at its
    /// console. Any other value is none.
    pub medium: bool,
}

/// The lease that iPXE hands over, so that the agent is online before it has asked DHCP itself.
///
/// Written `drydock.lease=MAC,ADDRESS/NETMASK,GATEWAY,NAMESERVER`; the last two may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedLease {
    /// The port that the machine booted through.
    pub mac: MacAddress,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its network mask.
    pub netmask: Ipv4Addr,
    /// The default gateway, where there is one.
    pub gateway: Option<Ipv4Addr>,
    /// The first name server, where there is one.
    pub name_server: Option<Ipv4Addr>,
}

/// Says which key of the command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// A pin is malformed: going on without it would mean trusting anyone.
    #[error("drydock.pin")]
    Pin(#[source] PinError),
    /// A key stands there twice with different values: one of them is not ours.
    #[error("{0} is given twice")]
    Twice(&'static str),
}

impl CommandLine {
    /// Reads `/proc/cmdline`. Words of others are ignored; a lease that cannot be read is none, because the agent can ask again.
    pub fn parse(text: &str) -> Result<Self, CommandLineError> {
        let mut read = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else { continue };
            match key {
                "drydock.server" => put(&mut read.server, value.to_owned(), "drydock.server")?,
                "drydock.lease" => {
                    if let Ok(lease) = value.parse() {
                        put(&mut read.lease, lease, "drydock.lease")?;
                    }
                }
                "drydock.port" => {
                    if let Ok(port) = value.parse() {
                        put(&mut read.port, port, "drydock.port")?;
                    }
                }
                "drydock.pin" => {
                    let pins: Vec<Pin> = value
                        .split(',')
                        .map(str::parse)
                        .collect::<Result<_, _>>()
                        .map_err(CommandLineError::Pin)?;
                    if !read.pins.is_empty() && read.pins != pins {
                        return Err(CommandLineError::Twice("drydock.pin"));
                    }
                    read.pins = pins;
                }
                "drydock.medium" => read.medium |= value == "1",
                "drydock.network-storage" => read.network_storage |= value == "1",
                _ => {}
            }
        }
        Ok(read)
    }
}

fn put<T: PartialEq>(
    place: &mut Option<T>,
    value: T,
    key: &'static str,
) -> Result<(), CommandLineError> {
    match place {
        Some(before) if *before != value => Err(CommandLineError::Twice(key)),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.server.as_ref().map(|server| format!("drydock.server={server}")));
        if !self.pins.is_empty() {
            let pins: Vec<String> = self.pins.iter().map(Pin::to_string).collect();
            words.push(format!("drydock.pin={}", pins.join(",")));
        }
        words.extend(self.lease.as_ref().map(|lease| format!("drydock.lease={lease}")));
        words.extend(self.port.map(|port| format!("drydock.port={port}")));
        words.extend(self.medium.then(|| "drydock.medium=1".to_owned()));
        words.extend(self.network_storage.then(|| "drydock.network-storage=1".to_owned()));
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for HandedLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_empty = |address: Option<Ipv4Addr>| {
            address.map(|address| address.to_string()).unwrap_or_default()
        };
        write!(f, "{},{}/{},", self.mac, self.address, self.netmask)?;
        write!(f, "{},{}", or_empty(self.gateway), or_empty(self.name_server))
    }
}

impl FromStr for HandedLease {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split(',');
        let mut next = || fields.next().unwrap_or_default();
        let mac = next().parse().map_err(|_| ())?;
        let (address, netmask) = next().split_once('/').ok_or(())?;
        let address: Ipv4Addr = address.parse().map_err(|_| ())?;
        let netmask: Ipv4Addr = netmask.parse().map_err(|_| ())?;
        if address.is_unspecified()
            || netmask.is_unspecified()
            || netmask.to_bits().leading_ones() + netmask.to_bits().trailing_zeros() != 32
        {
            return Err(());
        }
        Ok(Self {
            mac,
            address,
            netmask,
            gateway: next().parse().ok(),
            name_server: next().parse().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> CommandLine {
        CommandLine {
            server: Some("https://10.0.0.1:7443".to_owned()),
            pins: vec![Pin([1; 32]), Pin([2; 32])],
            lease: Some(HandedLease {
                mac: MacAddress([0x52, 0x54, 0, 1, 2, 3]),
                address: Ipv4Addr::new(10, 0, 0, 77),
                netmask: Ipv4Addr::new(255, 255, 255, 0),
                gateway: Some(Ipv4Addr::new(10, 0, 0, 254)),
                name_server: None,
            }),
            port: Some(MacAddress([0x52, 0x54, 0, 1, 2, 4])),
            network_storage: true,
            medium: true,
        }
    }

    #[test]
    fn storage_on_a_network_and_a_medium_are_said_by_one_word_only() {
        for (text, expected) in [("", false), ("=0", false), ("=1", true), ("=yes", false)] {
            let read = CommandLine::parse(&format!("drydock.network-storage{text}")).unwrap();
            assert_eq!(read.network_storage, expected, "{text}");
            let read = CommandLine::parse(&format!("drydock.medium{text}")).unwrap();
            assert_eq!(read.medium, expected, "{text}");
        }
    }

    #[test]
    fn what_the_server_renders_the_agent_reads_among_the_words_of_others() {
        let text = format!("BOOT_IMAGE=vmlinuz console=ttyS0 {} quiet", sample());
        assert_eq!(CommandLine::parse(&text), Ok(sample()));
    }

    #[test]
    fn a_malformed_pin_is_an_error_and_never_no_pin() {
        assert!(matches!(
            CommandLine::parse("drydock.pin=sha256:12"),
            Err(CommandLineError::Pin(_))
        ));
        assert!(matches!(CommandLine::parse("drydock.pin="), Err(CommandLineError::Pin(_))));
    }

    #[test]
    fn two_different_servers_are_an_error() {
        let text = "drydock.server=https://a drydock.server=https://b";
        assert_eq!(CommandLine::parse(text), Err(CommandLineError::Twice("drydock.server")));
    }

    #[test]
    fn a_lease_that_ipxe_left_empty_is_none() {
        for lease in
            ["", ",/,,", "52:54:00:01:02:03,/,,", "52:54:00:01:02:03,10.0.0.1/255.0.255.0,,"]
        {
            let read = CommandLine::parse(&format!("drydock.lease={lease}")).unwrap();
            assert_eq!(read.lease, None, "{lease}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_panics(text in "(drydock\\.(server|pin|lease)=)?\\PC{0,80}") {
            let _read = CommandLine::parse(&text);
        }
    }
}
