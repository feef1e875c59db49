//! The Tinkerbell `Hardware` record of each machine. The only place that knows Tinkerbell.
//!
//! ```text
//!  machine ─┐
//!  inventory ┼─► record (pure) ─► YAML ─► file: one per machine, renamed into place, only when it changed
//!  settings ─┘
//! ```
//!
//! Until a machine is approved *and* its record has all that Tinkerbell's services and Cluster API's provider need,
//! the record is held: it carries the label `v1alpha1.tinkerbell.org/ownerName=drydock-pending`, so that the provider,
//! which takes any record without an owner and looks at it afterwards, leaves it alone; and no port may boot from it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use protocol::MacAddress;
use serde::{Deserialize, Serialize};

mod attributes;
pub mod file;
mod keeper;
mod label;
mod record;
#[cfg(test)]
mod schema;

pub use self::{
    keeper::{Keeper, Reservations, keep},
    record::{MachineView, record},
};

/// The label of a machine's owner: Cluster API's provider claims only records without it.
pub const OWNER: &str = "v1alpha1.tinkerbell.org/ownerName";
/// The owner of records that nobody may claim.
pub const PENDING: &str = "drydock-pending";
/// The label by which a record is known as ours: the machine's name.
pub const MACHINE: &str = "drydock.evoteum.com/machine";
/// The annotation that says why an approved record is held all the same.
pub const MISSING: &str = "drydock.evoteum.com/missing";

/// What the operator decided about records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordSettings {
    /// The namespace that records name; none leaves it to whoever applies them.
    pub namespace: Option<String>,
    /// How disks are named.
    pub disk_names: DiskNames,
    /// Name servers for machines whose reservation has none.
    pub name_servers: Vec<Ipv4Addr>,
}

/// How a record names disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskNames {
    /// By identity, else by position: the same disk in every boot.
    #[default]
    Stable,
    /// By the kernel's name, for boot environments without those links.
    Kernel,
}

/// An address that a port has for good: reserved by us, or fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub address: Ipv4Addr,
    /// Its network's mask.
    pub netmask: Ipv4Addr,
    /// The way out, where there is one.
    pub gateway: Option<Ipv4Addr>,
    /// Who resolves names.
    pub name_servers: Vec<Ipv4Addr>,
    /// How long a lease lasts; raised to a day where it is shorter (SAFETY.md 17).
    pub lease_seconds: u32,
}

/// The record, as YAML and JSON have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// `tinkerbell.org/v1alpha1`.
    pub api_version: &'static str,
    /// `Hardware`.
    pub kind: &'static str,
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// What it is.
    pub spec: Spec,
}

/// Name, labels, annotations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The machine's name.
    pub name: String,
    /// Where it lives in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What machines are selected by.
    pub labels: BTreeMap<String, String>,
    /// What people and Tinkerbell read.
    pub annotations: BTreeMap<String, String>,
}

/// `HardwareSpec`, as far as Drydock fills it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// What Tinkerbell's agent will call itself: the port first booted through.
    #[serde(rename = "agentID", skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Present while the record is held: nothing starts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto: Option<Auto>,
    /// Where something may be installed, best first.
    pub disks: Vec<DiskSpec>,
    /// Its ports, the one first booted through first.
    pub interfaces: Vec<Interface>,
    /// Who it is, for metadata services and Cluster API.
    pub metadata: MachineMetadata,
    /// What it has, for schedulers: `cpu` and `memory`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<&'static str, String>,
}

/// `spec.auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Auto {
    /// Whether Tinkerbell may make Workflows by rules.
    pub enrollment_enabled: bool,
}

/// `spec.disks[]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskSpec {
    /// Its path below `/dev`.
    pub device: String,
}

/// `spec.interfaces[]`. Tinkerbell needs both halves, even where one says little.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// How its DHCP requests are answered.
    pub dhcp: Dhcp,
    /// How it boots.
    pub netboot: Netboot,
}

/// `spec.interfaces[].dhcp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dhcp {
    /// Lower case, with colons.
    pub mac: String,
    /// The name that the machine is given.
    pub hostname: String,
    /// In seconds.
    pub lease_time: i64,
    /// `x86_64` or `aarch64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// How its firmware boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uefi: Option<bool>,
    /// Present where the address is reserved or fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ip>,
    /// Who resolves names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<String>,
}

/// An address in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ip {
    /// The address.
    pub address: String,
    /// Its network's mask.
    pub netmask: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// 4.
    pub family: i64,
}

/// `spec.interfaces[].netboot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Netboot {
    /// Whether Tinkerbell boots it.
    #[serde(rename = "allowPXE")]
    pub allow_pxe: bool,
    /// Whether it may run Workflows.
    #[serde(rename = "allowWorkflow")]
    pub allow_workflow: bool,
}

/// `spec.metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineMetadata {
    /// The machine as its installed system will know itself.
    pub instance: Instance,
}

/// `spec.metadata.instance`. Cluster API's provider reads `id` without looking whether it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// The port first booted through.
    pub id: String,
    /// The machine's name.
    pub hostname: String,
}

impl Hardware {
    /// Holds for records that no controller may claim.
    pub fn is_held(&self) -> bool {
        self.metadata.labels.contains_key(OWNER)
    }

    /// Writes the record as YAML that readers of YAML 1.1, as Go has them, understand the same way.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        let mut options = serde_saphyr::SerializerOptions::default();
        // The attributes are one line of JSON: folding would only make them harder to search.
        options.prefer_block_scalars = false;
        serde_saphyr::to_string_with_options(self, options).map_err(YamlError)
    }
}

/// Says that a record could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("writing a record as YAML")]
pub struct YamlError(#[source] serde_saphyr::ser_error::Error);

/// Returns the MAC address in the only spelling that the resource definition takes.
fn spelled(mac: MacAddress) -> String {
    mac.to_string()
}
