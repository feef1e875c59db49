//! A machine as the server knows it: its record, read as its consumers read it, and what the command says of it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Server;
use crate::{machine::Machine, wait};

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

    /// Fails unless the record describes this machine, and lets nobody claim it.
    pub(crate) fn describes(&self, machine: &Machine) -> Result<()> {
        self.says("/apiVersion", "tinkerbell.org/v1alpha1")?;
        self.says("/kind", "Hardware")?;
        self.says("/metadata/name", self.name.as_str())?;
        self.says("/spec/interfaces/0/dhcp/mac", machine.mac())?;
        self.says("/spec/interfaces/0/dhcp/arch", "x86_64")?;
        self.says("/spec/interfaces/0/dhcp/uefi", machine.is_uefi())?;
        // SAFETY 2: nobody has approved it.
        self.says("/metadata/labels/v1alpha1.tinkerbell.org~1ownerName", "drydock-pending")?;
        self.says("/spec/interfaces/0/netboot/allowPXE", false)?;
        let text = self.record.to_string();
        ensure!(text.contains(&machine.serial), "the serial {} is not in it", machine.serial);
        for disk in &machine.disks {
            ensure!(text.contains(&disk.serial), "the disk {} is not in the record", disk.serial);
        }
        Ok(())
    }
}

impl Server {
    /// Returns what the command says of a machine.
    pub(crate) fn shows(&self, name: &str) -> Result<Value> {
        self.ask(&["machines", "show", name])
    }

    /// Returns how often a machine has booted into an agent that reported completely.
    pub(crate) fn boots_of(&self, name: &str) -> Result<u64> {
        let machine = self.shows(name)?;
        machine["boots"].as_u64().with_context(|| format!("no number of boots: {machine}"))
    }

    /// Waits until a machine's agent has announced itself in that many boots, this one included.
    pub(crate) fn hears_boot(&mut self, name: &str, boots: u64) -> Result<()> {
        let what = format!("boot {boots} of {name}");
        wait::until(&what, crate::cases::BOOT_PATIENCE, || {
            self.must_run()?;
            let machine = self.shows(name)?;
            Ok((machine["boots"].as_u64() >= Some(boots) && machine["online"] == true)
                .then_some(()))
        })
    }

    /// Tells a machine something, by the name of the order.
    pub(crate) fn orders(&self, name: &str, order: &str) -> Result<()> {
        self.command(&["machines", order, name]).map(drop)
    }
}

fn ports(record: &Value) -> Vec<&str> {
    let ports = record.pointer("/spec/interfaces").and_then(Value::as_array);
    ports.into_iter().flatten().filter_map(|port| port.pointer("/dhcp/mac")?.as_str()).collect()
}
