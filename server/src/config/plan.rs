//! What the server will do on which interface of this machine.

use std::net::Ipv4Addr;

use super::{Config, Dhcp, Metadata, Vlan, interface::Interface};
use crate::dhcp::{self, ModeAsWritten, SubnetAsWritten};

/// What the server will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// On each interface once. Never empty.
    pub networks: Vec<Network>,
}

/// What the server will do on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What DHCP does, with the interface and the server's address on it.
    pub dhcp: dhcp::Settings,
    /// Whether machines that were discovered keep their addresses.
    pub reserve_for_discovered: bool,
}

/// Says why a configuration does not fit this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to serve on.
    #[error("no network interface is up and has an IPv4 address")]
    NoInterface,
    /// Which one is for a person to say.
    #[error("several network interfaces are up: {}; name one with --interface", .0.join(", "))]
    SeveralInterfaces(Vec<String>),
    /// An interface that is not there.
    #[error("{key}: no network interface {name} that is up; there are: {}", .there.join(", "))]
    NotThere {
        /// `--interface` or the key.
        key: String,
        /// The name.
        name: String,
        /// The names of those that are up.
        there: Vec<String>,
    },
    /// An interface without an address.
    #[error("{key}: network interface {name} has no IPv4 address")]
    NoAddress {
        /// `--interface` or the key.
        key: String,
        /// The name.
        name: String,
    },
    /// No interface has an address in the network.
    #[error("{key}.cidr: no network interface of this machine has an address in it")]
    NotLocal {
        /// The VLAN's key.
        key: String,
    },
    /// The server's address is not the interface's.
    #[error("{key}.staticIP.address: network interface {name} does not have {address}")]
    WrongAddress {
        /// The VLAN's key.
        key: String,
        /// The interface.
        name: String,
        /// What was written.
        address: Ipv4Addr,
    },
    /// Two VLANs on one interface want different things.
    #[error("{key}.dhcp: differs from that of another VLAN on network interface {name}")]
    Contradiction {
        /// The later VLAN's key.
        key: String,
        /// The interface.
        name: String,
    },
    /// Installed systems are to find the server at an address that is none of its own.
    #[error("spec.server.metadata.address: the server has no such address here: {0}")]
    NotOurs(Ipv4Addr),
    /// There are several addresses at which installed systems could find the server.
    #[error(
        "spec.server.metadata.address: say which one of the server's addresses installed systems reach: {}",
        list(.0)
    )]
    WhichAddress(Vec<Ipv4Addr>),
    /// `--interface` and a configuration that names its own.
    #[error("--interface: the configuration's vlans say which interfaces to serve")]
    Twice,
    /// DHCP's own settings make no sense.
    #[error(transparent)]
    Dhcp(#[from] dhcp::SettingsError),
}

impl Plan {
    /// Fits a configuration to the interfaces that are up.
    pub fn make(
        config: &Config,
        interfaces: &[Interface],
        named: Option<&str>,
    ) -> Result<Self, PlanError> {
        if config.vlans.is_empty() {
            let (interface, address) = match named {
                Some(name) => find("--interface", name, interfaces)?,
                None => only(interfaces)?,
            };
            let dhcp = dhcp::Settings::check(
                &interface.name,
                address,
                config.http_port,
                ModeAsWritten::Proxy,
            )?
            .booting(config.tls_port, config.http_boot, config.pxe_boot);
            return Ok(Self { networks: vec![Network { dhcp, reserve_for_discovered: false }] });
        }
        if named.is_some() {
            return Err(PlanError::Twice);
        }
        let mut places: Vec<Place<'_>> = Vec::new();
        for vlan in &config.vlans {
            let (interface, address) = place(vlan, interfaces)?;
            match places.iter_mut().find(|place| place.interface.name == interface.name) {
                Some(known) => known.vlans.push(vlan),
                None => places.push(Place { interface, address, vlans: vec![vlan] }),
            }
        }
        let networks =
            places.into_iter().map(|place| place.network(config)).collect::<Result<_, _>>()?;
        Ok(Self { networks })
    }
}

impl Plan {
    /// Returns where installed systems find this server, if they may: `http://10.0.0.1:7480`.
    pub fn metadata(&self, config: &Config) -> Result<Option<String>, PlanError> {
        let own: Vec<Ipv4Addr> =
            self.networks.iter().map(|network| network.dhcp.server_address()).collect();
        let address = match (config.metadata, own.as_slice()) {
            (Metadata::Off, _) => return Ok(None),
            (Metadata::On { address: Some(address) }, own) if own.contains(&address) => address,
            (Metadata::On { address: Some(address) }, _) => {
                return Err(PlanError::NotOurs(address));
            }
            (Metadata::On { address: None }, [address]) => *address,
            (Metadata::On { address: None }, _) => return Err(PlanError::WhichAddress(own)),
        };
        Ok(Some(format!("http://{address}:{}", config.http_port)))
    }
}

fn list(addresses: &[Ipv4Addr]) -> String {
    addresses.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ")
}

/// An interface with the VLANs that are served through it: its own first, then those behind relays.
struct Place<'a> {
    interface: &'a Interface,
    address: Ipv4Addr,
    vlans: Vec<&'a Vlan>,
}

impl Place<'_> {
    fn network(self, config: &Config) -> Result<Network, PlanError> {
        let name = &self.interface.name;
        let mut subnets = Vec::new();
        let (mut forced, mut reserving) = (false, false);
        let mut mode = None;
        for vlan in self.vlans {
            let kind = std::mem::discriminant(&vlan.dhcp);
            if *mode.get_or_insert(kind) != kind {
                return Err(PlanError::Contradiction { key: vlan.key.clone(), name: name.clone() });
            }
            let Dhcp::Authoritative { range_start, range_end, reserve_for_discovered, force } =
                vlan.dhcp
            else {
                continue;
            };
            forced |= force;
            reserving |= reserve_for_discovered;
            // The check of the configuration demands it.
            let Some(cidr) = vlan.cidr else { continue };
            subnets.push(SubnetAsWritten {
                key: vlan.key.clone(),
                network: cidr.address,
                prefix_length: cidr.prefix_length,
                range_start,
                range_end,
                routers: vlan.gateway.into_iter().collect(),
                name_servers: vlan.name_servers.clone(),
                domain_name: None,
            });
        }
        let mode = if !subnets.is_empty() {
            ModeAsWritten::Authoritative { subnets, force: forced }
        } else if mode == Some(std::mem::discriminant(&Dhcp::Proxy)) {
            ModeAsWritten::Proxy
        } else {
            ModeAsWritten::Off
        };
        let dhcp = dhcp::Settings::check(name, self.address, config.http_port, mode)?.booting(
            config.tls_port,
            config.http_boot,
            config.pxe_boot,
        );
        Ok(Network { dhcp, reserve_for_discovered: reserving })
    }
}

/// Finds the interface of a VLAN, and the server's address on it.
fn place<'a>(
    vlan: &Vlan,
    interfaces: &'a [Interface],
) -> Result<(&'a Interface, Ipv4Addr), PlanError> {
    let key = &vlan.key;
    let (interface, first) = match (&vlan.interface, vlan.cidr) {
        (Some(name), _) => find(&format!("{key}.interface"), name, interfaces)?,
        (None, Some(cidr)) => interfaces
            .iter()
            .find_map(|interface| {
                let mut addresses = interface.addresses.iter();
                Some((interface, *addresses.find(|address| cidr.contains(**address))?))
            })
            .ok_or_else(|| PlanError::NotLocal { key: key.clone() })?,
        (None, None) => only(interfaces)?,
    };
    let name = interface.name.clone();
    match (vlan.address, vlan.cidr) {
        (Some(address), _) if interface.addresses.contains(&address) => Ok((interface, address)),
        (Some(address), _) => Err(PlanError::WrongAddress { key: key.clone(), name, address }),
        (None, Some(cidr)) => {
            let mut addresses = interface.addresses.iter().copied();
            // A network behind a relay has none here.
            let address = addresses.find(|address| cidr.contains(*address)).unwrap_or(first);
            Ok((interface, address))
        }
        (None, None) => Ok((interface, first)),
    }
}

fn find<'a>(
    key: &str,
    name: &str,
    interfaces: &'a [Interface],
) -> Result<(&'a Interface, Ipv4Addr), PlanError> {
    let interface =
        interfaces.iter().find(|interface| interface.name == name).ok_or_else(|| {
            let there = interfaces.iter().map(|interface| interface.name.clone()).collect();
            PlanError::NotThere { key: key.to_owned(), name: name.to_owned(), there }
        })?;
    let address = interface
        .addresses
        .first()
        .ok_or_else(|| PlanError::NoAddress { key: key.to_owned(), name: name.to_owned() })?;
    Ok((interface, *address))
}

fn only(interfaces: &[Interface]) -> Result<(&Interface, Ipv4Addr), PlanError> {
    let mut addressed =
        interfaces.iter().filter_map(|interface| Some((interface, *interface.addresses.first()?)));
    let first = addressed.next().ok_or(PlanError::NoInterface)?;
    let mut names: Vec<String> = addressed.map(|(interface, _)| interface.name.clone()).collect();
    if names.is_empty() {
        return Ok(first);
    }
    names.insert(0, first.0.name.clone());
    Err(PlanError::SeveralInterfaces(names))
}
