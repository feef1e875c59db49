//! What DHCP does on one interface, checked before anything starts.

use std::net::Ipv4Addr;

use crate::boot::{HttpBoot, PxeBoot};

/// The widest pool: one hexadecimal digit more would make a full pool's search slow, and no VLAN is larger.
const LARGEST_POOL: u32 = 65_536;
/// The usual port of the agents' door.
const AGENTS_PORT: u16 = 7443;

/// What DHCP does on one interface. Only [`Settings::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    interface: String,
    server_address: Ipv4Addr,
    http_port: u16,
    mode: Mode,
    agents_port: u16,
    http_boot: HttpBoot,
    pxe_boot: PxeBoot,
}

/// Whose the DHCP service of the interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Ours: we lend addresses.
    Authoritative {
        /// The subnets we lend addresses of: the interface's own, and those behind relays. Never empty, never overlapping.
        subnets: Vec<Subnet>,
        /// Whether to start and go on beside another server.
        force: bool,
    },
    /// The router's: we only say what to boot.
    Proxy,
    /// The router's, which also says what to boot: we only listen, to explain.
    Off,
}

/// A subnet that addresses are lent of. Only `Subnet::check` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix_length: u8,
    range_start: Ipv4Addr,
    range_end: Ipv4Addr,
    routers: Vec<Ipv4Addr>,
    name_servers: Vec<Ipv4Addr>,
    domain_name: Option<String>,
}

/// A subnet as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetAsWritten {
    /// Where it stands in the configuration: `spec.network.vlans[0]`.
    pub key: String,
    /// The network's address in `cidr`, or any address in it.
    pub network: Ipv4Addr,
    /// The bits of `cidr` behind the slash.
    pub prefix_length: u8,
    /// `dhcp.rangeStart`: the first address to lend.
    pub range_start: Ipv4Addr,
    /// `dhcp.rangeEnd`: the last address to lend.
    pub range_end: Ipv4Addr,
    /// Routers, best first. May be empty.
    pub routers: Vec<Ipv4Addr>,
    /// Name servers, best first. May be empty.
    pub name_servers: Vec<Ipv4Addr>,
    /// The domain that clients resolve names in.
    pub domain_name: Option<String>,
}

/// What is wrong with the settings, by the configuration's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A network without room for a pool.
    #[error("{key}.cidr: a prefix of {prefix_length} bits leaves no addresses to lend")]
    Prefix {
        /// The subnet's key.
        key: String,
        /// What was written.
        prefix_length: u8,
    },
    /// An end of the range is not in the subnet.
    #[error("{key}.dhcp.{field}: {address} is no host address of {network}/{prefix_length}")]
    OutsideSubnet {
        /// The subnet's key.
        key: String,
        /// `rangeStart` or `rangeEnd`.
        field: &'static str,
        /// What was written.
        address: Ipv4Addr,
        /// The subnet.
        network: Ipv4Addr,
        /// The subnet.
        prefix_length: u8,
    },
    /// The range runs backwards.
    #[error("{key}.dhcp.rangeEnd: {range_end} comes before {range_start}")]
    EndBeforeStart {
        /// The subnet's key.
        key: String,
        /// What was written.
        range_start: Ipv4Addr,
        /// What was written.
        range_end: Ipv4Addr,
    },
    /// The range is too wide.
    #[error(
        "{key}.dhcp.rangeEnd: more than {LARGEST_POOL} addresses from {range_start} to {range_end}"
    )]
    TooWide {
        /// The subnet's key.
        key: String,
        /// What was written.
        range_start: Ipv4Addr,
        /// What was written.
        range_end: Ipv4Addr,
    },
    /// An address in use would be lent.
    #[error("{key}.dhcp.rangeStart: the range holds {address}, which is {whose}")]
    InUse {
        /// The subnet's key.
        key: String,
        /// The address.
        address: Ipv4Addr,
        /// `the server's own` or `a router's`.
        whose: &'static str,
    },
    /// Two subnets share addresses.
    #[error("{key}.cidr: shares addresses with {other}")]
    Overlap {
        /// The later subnet's key.
        key: String,
        /// The earlier subnet's key.
        other: String,
    },
    /// The server's address is in none of the subnets, so machines on the interface could not be answered.
    #[error("{key}.cidr: does not hold the server's own address {address} on {interface}")]
    NotLocal {
        /// The first subnet's key.
        key: String,
        /// The server's address.
        address: Ipv4Addr,
        /// The interface.
        interface: String,
    },
    /// Nothing to lend.
    #[error("no subnet to lend addresses of on {interface}")]
    NoSubnet {
        /// The interface.
        interface: String,
    },
    /// An interface name that the kernel cannot have.
    #[error("no interface name: {0:?}")]
    Interface(String),
    /// An address that no server can have.
    #[error("no address for a server on {interface}: {address}")]
    ServerAddress {
        /// The interface.
        interface: String,
        /// What was found or written.
        address: Ipv4Addr,
    },
}

/// What DHCP shall do, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeAsWritten {
    /// `drydockManagesDHCP: true`.
    Authoritative {
        /// The interface's own subnet, and those behind relays.
        subnets: Vec<SubnetAsWritten>,
        /// Whether to start and go on beside another server.
        force: bool,
    },
    /// `drydockManagesDHCP: false`.
    Proxy,
    /// A VLAN without `dhcp`.
    Off,
}

impl Settings {
    /// Checks everything that can be wrong before a socket is open.
    pub fn check(
        interface: &str,
        server_address: Ipv4Addr,
        http_port: u16,
        mode: ModeAsWritten,
    ) -> Result<Self, SettingsError> {
        // IFNAMSIZ of the kernel: 15 bytes and a NUL.
        if interface.is_empty() || interface.len() > 15 || interface.contains(['/', '\0', ' ']) {
            return Err(SettingsError::Interface(interface.to_owned()));
        }
        if server_address.is_unspecified()
            || server_address.is_broadcast()
            || server_address.is_multicast()
        {
            return Err(SettingsError::ServerAddress {
                interface: interface.to_owned(),
                address: server_address,
            });
        }
        let mode = match mode {
            ModeAsWritten::Proxy => Mode::Proxy,
            ModeAsWritten::Off => Mode::Off,
            ModeAsWritten::Authoritative { subnets, force } => {
                let subnets = check_subnets(interface, server_address, subnets)?;
                Mode::Authoritative { subnets, force }
            }
        };
        let (http_boot, pxe_boot) = (HttpBoot::default(), PxeBoot::default());
        let (interface, agents_port) = (interface.to_owned(), AGENTS_PORT);
        Ok(Self { interface, server_address, http_port, mode, agents_port, http_boot, pxe_boot })
    }

    /// Says where the agents' door is, and what UEFI firmware gets, where that is not the usual.
    #[must_use]
    pub fn booting(self, agents_port: u16, http_boot: HttpBoot, pxe_boot: PxeBoot) -> Self {
        Self { agents_port, http_boot, pxe_boot, ..self }
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The server's address on the interface: option 54, `siaddr`, and where boot files are.
    pub fn server_address(&self) -> Ipv4Addr {
        self.server_address
    }

    /// The port of the plain HTTP server.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The agents' door, as option 224 says it: `https://10.0.0.2:7443`.
    pub fn agents_door(&self) -> String {
        format!("https://{}:{}", self.server_address, self.agents_port)
    }

    /// What firmware gets that boots by HTTP.
    pub fn http_boot(&self) -> HttpBoot {
        self.http_boot
    }

    /// What UEFI firmware gets that boots by PXE.
    pub fn pxe_boot(&self) -> PxeBoot {
        self.pxe_boot
    }

    /// Whose the DHCP service is.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The subnets that addresses are lent of; empty unless authoritative.
    pub fn subnets(&self) -> &[Subnet] {
        match &self.mode {
            Mode::Authoritative { subnets, .. } => subnets,
            Mode::Proxy | Mode::Off => &[],
        }
    }
}

impl Subnet {
    /// Checks one subnet by itself.
    fn check(written: SubnetAsWritten) -> Result<Self, SettingsError> {
        let SubnetAsWritten { key, prefix_length, range_start, range_end, .. } = written;
        if !(8..=30).contains(&prefix_length) {
            return Err(SettingsError::Prefix { key, prefix_length });
        }
        let mask = u32::MAX << (32 - prefix_length);
        let network = Ipv4Addr::from_bits(written.network.to_bits() & mask);
        let broadcast = Ipv4Addr::from_bits(network.to_bits() | !mask);
        for (field, address) in [("rangeStart", range_start), ("rangeEnd", range_end)] {
            if address <= network || address >= broadcast {
                return Err(SettingsError::OutsideSubnet {
                    key,
                    field,
                    address,
                    network,
                    prefix_length,
                });
            }
        }
        if range_end < range_start {
            return Err(SettingsError::EndBeforeStart { key, range_start, range_end });
        }
        if range_end.to_bits() - range_start.to_bits() >= LARGEST_POOL {
            return Err(SettingsError::TooWide { key, range_start, range_end });
        }
        let subnet = Self {
            network,
            prefix_length,
            range_start,
            range_end,
            routers: written.routers,
            name_servers: written.name_servers,
            domain_name: written.domain_name,
        };
        match subnet.routers.iter().find(|router| subnet.lends(**router)) {
            Some(&address) => Err(SettingsError::InUse { key, address, whose: "a router's" }),
            None => Ok(subnet),
        }
    }

    /// Holds for addresses of the subnet.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.network.to_bits()) & self.mask().to_bits() == 0
    }

    /// Holds for addresses of the pool.
    pub fn lends(&self, address: Ipv4Addr) -> bool {
        (self.range_start..=self.range_end).contains(&address)
    }

    /// The first address to lend.
    pub fn range_start(&self) -> Ipv4Addr {
        self.range_start
    }

    /// How many addresses there are to lend; at least one.
    pub fn pool_size(&self) -> u32 {
        self.range_end.to_bits() - self.range_start.to_bits() + 1
    }

    /// The subnet mask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX << (32 - self.prefix_length))
    }

    /// The subnet's broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !self.mask().to_bits())
    }

    /// Routers, best first. May be empty.
    pub fn routers(&self) -> &[Ipv4Addr] {
        &self.routers
    }

    /// Name servers, best first. May be empty.
    pub fn name_servers(&self) -> &[Ipv4Addr] {
        &self.name_servers
    }

    /// The domain that clients resolve names in.
    pub fn domain_name(&self) -> Option<&str> {
        self.domain_name.as_deref()
    }
}

/// Checks the subnets against each other and against the server's own address.
fn check_subnets(
    interface: &str,
    server_address: Ipv4Addr,
    written: Vec<SubnetAsWritten>,
) -> Result<Vec<Subnet>, SettingsError> {
    let mut checked: Vec<(String, Subnet)> = Vec::new();
    for written in written {
        let key = written.key.clone();
        let subnet = Subnet::check(written)?;
        if subnet.lends(server_address) {
            let whose = "the server's own";
            return Err(SettingsError::InUse { key, address: server_address, whose });
        }
        let overlapping = checked.iter().find(|(_, earlier)| {
            earlier.contains(subnet.network) || subnet.contains(earlier.network)
        });
        if let Some((other, _)) = overlapping {
            return Err(SettingsError::Overlap { key, other: other.clone() });
        }
        checked.push((key, subnet));
    }
    let Some((key, _)) = checked.first() else {
        return Err(SettingsError::NoSubnet { interface: interface.to_owned() });
    };
    if !checked.iter().any(|(_, subnet)| subnet.contains(server_address)) {
        return Err(SettingsError::NotLocal {
            key: key.clone(),
            address: server_address,
            interface: interface.to_owned(),
        });
    }
    Ok(checked.into_iter().map(|(_, subnet)| subnet).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The subnet of the tests: 10.77.0.0/24, of which .100 to .199 are lent.
    pub(crate) fn written() -> SubnetAsWritten {
        SubnetAsWritten {
            key: "spec.network.vlans[0]".to_owned(),
            network: Ipv4Addr::new(10, 77, 0, 0),
            prefix_length: 24,
            range_start: Ipv4Addr::new(10, 77, 0, 100),
            range_end: Ipv4Addr::new(10, 77, 0, 199),
            routers: vec![Ipv4Addr::new(10, 77, 0, 254)],
            name_servers: vec![Ipv4Addr::new(10, 77, 0, 253)],
            domain_name: Some("ship.example".to_owned()),
        }
    }

    pub(crate) fn check(mode: ModeAsWritten) -> Result<Settings, SettingsError> {
        Settings::check("eth0", Ipv4Addr::new(10, 77, 0, 1), 7480, mode)
    }

    fn authoritative(subnets: Vec<SubnetAsWritten>) -> Result<Settings, SettingsError> {
        check(ModeAsWritten::Authoritative { subnets, force: false })
    }

    fn refused(change: impl FnOnce(&mut SubnetAsWritten)) -> String {
        let mut subnet = written();
        change(&mut subnet);
        authoritative(vec![subnet]).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_subnet_is_taken() {
        let settings = authoritative(vec![written()]).unwrap();
        let [subnet] = settings.subnets() else { panic!("one subnet") };
        assert_eq!(subnet.pool_size(), 100);
        assert_eq!(subnet.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 77, 0, 255));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let address = |last| Ipv4Addr::new(10, 77, 0, last);
        assert_eq!(
            refused(|subnet| subnet.range_start = Ipv4Addr::new(10, 78, 0, 1)),
            "spec.network.vlans[0].dhcp.rangeStart: 10.78.0.1 is no host address of 10.77.0.0/24"
        );
        assert_eq!(
            refused(|subnet| subnet.range_end = address(255)),
            "spec.network.vlans[0].dhcp.rangeEnd: 10.77.0.255 is no host address of 10.77.0.0/24"
        );
        assert_eq!(
            refused(|subnet| subnet.range_end = address(99)),
            "spec.network.vlans[0].dhcp.rangeEnd: 10.77.0.99 comes before 10.77.0.100"
        );
        assert_eq!(
            refused(|subnet| subnet.range_start = address(1)),
            "spec.network.vlans[0].dhcp.rangeStart: the range holds 10.77.0.1, which is the server's own"
        );
        assert_eq!(
            refused(|subnet| subnet.range_end = address(254)),
            "spec.network.vlans[0].dhcp.rangeStart: the range holds 10.77.0.254, which is a router's"
        );
        assert_eq!(
            refused(|subnet| subnet.prefix_length = 31),
            "spec.network.vlans[0].cidr: a prefix of 31 bits leaves no addresses to lend"
        );
        assert_eq!(
            refused(|subnet| {
                subnet.prefix_length = 8;
                subnet.range_end = Ipv4Addr::new(10, 79, 0, 0);
            }),
            "spec.network.vlans[0].dhcp.rangeEnd: more than 65536 addresses from 10.77.0.100 to 10.79.0.0"
        );
        assert_eq!(
            refused(|subnet| {
                subnet.network = Ipv4Addr::new(10, 5, 0, 0);
                subnet.range_start = Ipv4Addr::new(10, 5, 0, 1);
                subnet.range_end = Ipv4Addr::new(10, 5, 0, 2);
            }),
            "spec.network.vlans[0].cidr: does not hold the server's own address 10.77.0.1 on eth0"
        );
    }

    #[test]
    fn subnets_that_share_addresses_are_refused() {
        let mut second = written();
        second.key = "spec.network.vlans[1]".to_owned();
        second.prefix_length = 16;
        assert_eq!(
            authoritative(vec![written(), second]).unwrap_err().to_string(),
            "spec.network.vlans[1].cidr: shares addresses with spec.network.vlans[0]"
        );
        assert_eq!(
            authoritative(Vec::new()).unwrap_err().to_string(),
            "no subnet to lend addresses of on eth0"
        );
    }

    #[test]
    fn an_impossible_interface_or_address_is_refused() {
        let address = Ipv4Addr::new(10, 77, 0, 1);
        for name in ["", "a/b", "a-name-of-sixteen"] {
            assert!(Settings::check(name, address, 7480, ModeAsWritten::Proxy).is_err(), "{name}");
        }
        let nobody = Ipv4Addr::UNSPECIFIED;
        assert!(Settings::check("eth0", nobody, 7480, ModeAsWritten::Proxy).is_err());
    }
}
