//! Who boots what: the table of rule 18 in docs/safety.md, as one pure function.

use protocol::MacAddress;

use crate::journal::Silence;

/// What a booting machine shows of itself before an agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traveller {
    /// The port that it boots through.
    pub mac: Option<MacAddress>,
    /// The SMBIOS UUID in canonical lower-case spelling: DHCP option 97 or iPXE's `${uuid}`.
    pub uuid: Option<String>,
    /// The system serial number, from iPXE's `${serial}`.
    pub serial: Option<String>,
}

/// What a machine is given to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Nothing is answered at all.
    Silence(Silence),
    /// Its own disk, at once: a file name that does not exist, so that firmware goes on within a second.
    OwnDisk,
    /// One of our systems.
    System(System),
}

/// Our systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// Discovers, reports, waits, installs.
    Sunshine,
    /// Wipes.
    Hercules,
}
