//! A machine as the server knows it: its record, read as its consumers read it, and what the command says of it.

use std::{net::Ipv4Addr, ops::RangeInclusive, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Server;
use crate::{
    machine::{Content, Disk, Machine},
    router::ROUTER,
    wait,
};

/// What [`super::Mode::Authoritative`] lends.
pub(super) const LENT: RangeInclusive<Ipv4Addr> =
    Ipv4Addr::new(10, 77, 0, 50)..=Ipv4Addr::new(10, 77, 0, 99);
/// SAFETY 17: leases of installed machines last so long at least.
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// The complete report follows the first one, and the record the report, within seconds.
const REPORT_PATIENCE: Duration = Duration::from_mins(1);

/// A machine that has a record.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its name.
    pub(crate) name: String,
    /// The record.
    pub(crate) record: Value,
}

impl Known {
    /// Finds the record that has a port with this address.
    pub(crate) fn with_port(records: &[(String, Value)], mac: &str) -> Option<Known> {
        let found = records.iter().find(|(_, record)| ports(record).contains(&mac))?;
        Some(Known { name: found.0.clone(), record: found.1.clone() })
    }

    /// Returns a value of the record by its JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Result<&Value> {
        let value = self.record.pointer(pointer);
        value.with_context(|| format!("the record of {} has no {pointer}", self.name))
    }

    /// Returns the addresses of its ports, in the record's order.
    pub(crate) fn ports(&self) -> Vec<&str> {
        ports(&self.record)
    }

    /// Fails unless a value of the record is this one.
    pub(crate) fn says(&self, pointer: &str, value: impl Into<Value>) -> Result<()> {
        let value = value.into();
        let found = self.at(pointer)?;
        ensure!(
            *found == value,
            "in the record of {}, {pointer} is {found}, not {value}",
            self.name
        );
        Ok(())
    }

    /// Fails unless the record describes this machine, which booted first through its first port.
    pub(crate) fn describes(&self, machine: &Machine) -> Result<()> {
        self.says("/apiVersion", "tinkerbell.org/v1alpha1")?;
        self.says("/kind", "Hardware")?;
        self.says("/metadata/name", self.name.as_str())?;
        self.says("/spec/interfaces/0/dhcp/mac", machine.ports[0].mac.as_str())?;
        self.says("/spec/interfaces/0/dhcp/arch", machine.architecture())?;
        self.says("/spec/interfaces/0/dhcp/uefi", machine.is_uefi())?;
        let text = self.record.to_string();
        ensure!(text.contains(&machine.serial), "the serial {} is not in it", machine.serial);
        for disk in &machine.disks {
            ensure!(text.contains(&disk.serial), "the disk {} is not in the record", disk.serial);
        }
        // SAFETY 2: only blank disks stand where something may be installed, by names that stay.
        let blank = machine.disks.iter().filter(|disk| disk.content == Content::Blank);
        let devices = self.install_disks()?;
        ensure!(devices.len() == blank.clone().count(), "it may be installed on {devices:?}");
        for disk in blank {
            let is_listed = devices.iter().any(|device| is_name_of(device, disk));
            ensure!(is_listed, "{} is not among {devices:?}", disk.serial);
        }
        Ok(())
    }

    /// Returns the disks that something may be installed on, the first choice first.
    pub(crate) fn install_disks(&self) -> Result<Vec<&str>> {
        let disks = self.at("/spec/disks")?.as_array().context("disks are no list")?;
        disks.iter().map(|disk| disk["device"].as_str().context("a disk without device")).collect()
    }

    /// Fails unless the record keeps every controller away (SAFETY 2), and says why in this annotation.
    pub(crate) fn is_held(&self, why: &str, words: &str) -> Result<()> {
        self.says("/metadata/labels/v1alpha1.tinkerbell.org~1ownerName", "drydock-pending")?;
        self.says("/spec/auto/enrollmentEnabled", false)?;
        for netboot in self.each_port("netboot")? {
            ensure!(netboot["allowPXE"] == false, "a port may boot: {netboot}");
            ensure!(netboot["allowWorkflow"] == false, "a port may work: {netboot}");
        }
        let reason = self.at(&format!("/metadata/annotations/drydock.evoteum.com~1{why}"))?;
        let reason = reason.as_str().unwrap_or_default();
        ensure!(reason.contains(words), "the record says {why}: {reason}");
        Ok(())
    }

    /// Fails unless Tinkerbell's services and Cluster API's provider find all that they need, and nothing keeps them away.
    pub(crate) fn is_complete(&self, machine: &Machine) -> Result<()> {
        self.describes(machine)?;
        self.lacks("/metadata/labels/v1alpha1.tinkerbell.org~1ownerName")?;
        self.lacks("/metadata/annotations/drydock.evoteum.com~1missing")?;
        self.lacks("/spec/auto")?;
        for netboot in self.each_port("netboot")? {
            ensure!(netboot["allowPXE"] == true, "a port may not boot: {netboot}");
            ensure!(netboot["allowWorkflow"] == true, "a port may not work: {netboot}");
        }
        self.says("/spec/agentID", machine.ports[0].mac.as_str())?;
        self.says("/spec/metadata/instance/id", machine.ports[0].mac.as_str())?;
        let address = self.at("/spec/interfaces/0/dhcp/ip/address")?.as_str().unwrap_or_default();
        let address: Ipv4Addr = address.parse().with_context(|| format!("reading {address:?}"))?;
        ensure!(LENT.contains(&address), "{address} is not from the range");
        self.says("/spec/interfaces/0/dhcp/ip/netmask", "255.255.255.0")?;
        self.says("/spec/interfaces/0/dhcp/ip/gateway", ROUTER.to_string())?;
        self.says("/spec/interfaces/0/dhcp/name_servers/0", ROUTER.to_string())?;
        let lease = self.at("/spec/interfaces/0/dhcp/lease_time")?.as_u64();
        ensure!(lease >= Some(DAY_SECONDS), "its lease lasts {lease:?} s");
        Ok(())
    }

    fn each_port(&self, what: &str) -> Result<Vec<&Value>> {
        let ports = self.at("/spec/interfaces")?.as_array().context("interfaces are no list")?;
        ports.iter().map(|port| port.get(what).with_context(|| format!("no {what}"))).collect()
    }

    fn lacks(&self, pointer: &str) -> Result<()> {
        let found = self.record.pointer(pointer);
        ensure!(found.is_none(), "in the record of {}, {pointer} is {found:?}", self.name);
        Ok(())
    }
}

impl Server {
    /// Returns what the command says of a machine.
    pub(crate) fn shows(&self, name: &str) -> Result<Value> {
        self.ask(&["machines", "show", name])
    }

    /// Returns how often a machine has booted into an agent that announced itself.
    pub(crate) fn boots_of(&self, name: &str) -> Result<u64> {
        let machine = self.shows(name)?;
        machine["boots"].as_u64().with_context(|| format!("no number of boots: {machine}"))
    }

    /// Waits until a machine's agent, in that many boots, this one included, has reported completely and is to be had.
    pub(crate) fn hears_boot(&mut self, name: &str, boots: u64) -> Result<()> {
        let what = format!("boot {boots} of {name}");
        wait::until(&what, crate::cases::BOOT_PATIENCE, || {
            self.must_run()?;
            let machine = self.shows(name)?;
            let is_there = machine["boots"].as_u64() >= Some(boots)
                && machine["online"] == true
                && machine["session"]["complete"] == true;
            Ok(is_there.then_some(()))
        })
    }

    /// Waits until what is recorded of a machine is as wanted: the record follows reports and orders within a moment.
    pub(crate) fn records_of(
        &mut self,
        mac: &str,
        wanted: impl Fn(&Known) -> Result<()>,
    ) -> Result<Known> {
        let mut last = None;
        let known = wait::until("the record to say so", REPORT_PATIENCE, || {
            self.must_run()?;
            let Some(known) = Known::with_port(&self.records()?, mac) else { return Ok(None) };
            last = wanted(&known).err();
            Ok(last.is_none().then_some(known))
        });
        known.with_context(|| match last {
            Some(error) => format!("at last: {error:#}"),
            None => format!("no record has the port {mac}"),
        })
    }

    /// Says, as a person does, that a machine belongs here.
    pub(crate) fn approves(&self, name: &str) -> Result<()> {
        self.command(&["machines", "approve", name]).map(drop)
    }

    /// Tells a machine something, by the name of the order.
    pub(crate) fn orders(&self, name: &str, order: &str) -> Result<()> {
        self.command(&["machines", order, name]).map(drop)
    }
}

/// Returns whether a device's name is one that stays with this disk, in whatever port it is.
pub(crate) fn is_name_of(device: &str, disk: &Disk) -> bool {
    // NVMe disks without an identifier of their own are named by their serial number in hexadecimal digits,
    // SCSI disks by their world wide name.
    let digits: Vec<String> = disk.serial.bytes().map(|byte| format!("{byte:02x}")).collect();
    let names = [disk.serial.clone(), digits.concat(), format!("{:016x}", disk.wwn)];
    device.starts_with("/dev/disk/by-id/") && names.iter().any(|name| device.contains(name))
}

fn ports(record: &Value) -> Vec<&str> {
    let ports = record.pointer("/spec/interfaces").and_then(Value::as_array);
    ports.into_iter().flatten().filter_map(|port| port.pointer("/dhcp/mac")?.as_str()).collect()
}
