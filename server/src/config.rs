//! What the server shall do: the `BootstrapConfig` as a person writes it, checked against the machine it runs on.
//!
//! ```text
//! file ─► wire (as written, unknown keys refused) ─► Config (checked) ─► Plan (with the interfaces of this machine)
//! ```

pub mod interface;
mod plan;
mod wire;

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

pub use self::plan::{Network, Plan, PlanError};
use crate::{
    boot::{HttpBoot, PxeBoot},
    decision::{Lists, Selector},
};

/// What a person wrote, checked as far as that is possible without looking at this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The VLANs; without any, proxy on the only interface.
    pub vlans: Vec<Vlan>,
    /// Whom the server answers at all.
    pub lists: Lists,
    /// The port of plain HTTP.
    pub http_port: u16,
    /// The port of the agents' door.
    pub tls_port: u16,
    /// The kernel's consoles in the scripts; empty means the usual ones.
    pub consoles: Vec<String>,
    /// What machines get whose firmware boots by HTTP.
    pub http_boot: HttpBoot,
    /// What machines get whose UEFI firmware boots by PXE.
    pub pxe_boot: PxeBoot,
    /// Whether installed systems are answered over plain HTTP.
    pub metadata: Metadata,
    /// Whether every machine looks for disks on a network; those that were named are in `lists`.
    pub network_storage: bool,
    /// Whether the server says by multicast DNS where the agents' door is.
    pub announce: bool,
}

/// Whether installed systems are answered over plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metadata {
    /// No.
    #[default]
    Off,
    /// Yes.
    On {
        /// Where they find this server; absent means its only address.
        address: Option<Ipv4Addr>,
    },
}

impl Default for Config {
    fn default() -> Self {
        let vlans = Vec::new();
        Self {
            vlans,
            lists: Lists::default(),
            http_port: 7480,
            tls_port: 7443,
            consoles: Vec::new(),
            http_boot: HttpBoot::default(),
            pxe_boot: PxeBoot::default(),
            metadata: Metadata::Off,
            network_storage: false,
            announce: true,
        }
    }
}

/// A VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// Where it stands: `spec.network.vlans[0]`.
    pub key: String,
    /// The interface that it is on; absent means the one with an address in `cidr`, or the only one.
    pub interface: Option<String>,
    /// Its network.
    pub cidr: Option<Cidr>,
    /// The server's address on it; absent means the interface's.
    pub address: Option<Ipv4Addr>,
    /// Its router.
    pub gateway: Option<Ipv4Addr>,
    /// Its name servers, best first.
    pub name_servers: Vec<Ipv4Addr>,
    /// What DHCP does there.
    pub dhcp: Dhcp,
}

/// What DHCP does on a VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcp {
    /// Nothing.
    Off,
    /// The router gives addresses, we say what to boot.
    Proxy,
    /// We give addresses.
    Authoritative {
        /// The first.
        range_start: Ipv4Addr,
        /// The last.
        range_end: Ipv4Addr,
        /// Whether machines that were discovered keep theirs.
        reserve_for_discovered: bool,
        /// Whether to go on beside another server.
        force: bool,
    },
}

/// A network: an address in it, and how many bits are the same in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub prefix_length: u8,
}

impl Cidr {
    /// Holds for addresses of the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(self.prefix_length.min(32));
        let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
        (self.address.to_bits() ^ address.to_bits()) & mask == 0
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let cidr = Self { address: address.parse().ok()?, prefix_length: bits.parse().ok()? };
        (cidr.prefix_length <= 32).then_some(cidr)
    }
}

/// Says what is wrong with a configuration, by its key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no YAML, or not of this shape.
    #[error("line {line}: {problem}")]
    Shape {
        /// Where; 0 when it is not known.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A key that nobody knows.
    #[error("line {line}: unknown key: {key}")]
    UnknownKey {
        /// Where.
        line: u64,
        /// The key.
        key: String,
    },
    /// A key of the vocabulary that does nothing yet.
    #[error("line {line}: {key} is not built yet")]
    NotBuilt {
        /// Where.
        line: u64,
        /// The key, with its path.
        key: String,
    },
    /// A key that must be there.
    #[error("{key} is missing")]
    Missing {
        /// The key, with its path.
        key: String,
    },
    /// A value that makes no sense.
    #[error("line {line}: {key}: {problem}")]
    Value {
        /// Where.
        line: u64,
        /// The key, with its path.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        wire::read(text)?.check()
    }
}

/// Reads a list of machines.
fn selectors(key: &str, written: &[wire::Text]) -> Result<Vec<Selector>, ConfigError> {
    written
        .iter()
        .enumerate()
        .map(|(index, text)| {
            text.value.parse().map_err(|error: crate::decision::SelectorError| ConfigError::Value {
                line: text.referenced.line(),
                key: format!("{key}[{index}]"),
                problem: error.to_string(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
