//! A record, read as its consumers read it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::machine::Machine;

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
        let has_port = |record: &Value| {
            let ports = record.pointer("/spec/interfaces").and_then(Value::as_array);
            ports.is_some_and(|ports| {
                ports.iter().any(|port| port.pointer("/dhcp/mac") == Some(&mac.into()))
            })
        };
        let (name, record) = records.iter().find(|(_, record)| has_port(record))?;
        Some(Known { name: name.clone(), record: record.clone() })
    }

    /// Returns a value of the record by its JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Result<&Value> {
        self.record
            .pointer(pointer)
            .with_context(|| format!("the record of {} has no {pointer}", self.name))
    }

    /// Fails unless the record describes this machine, and lets nobody claim it.
    pub(crate) fn describes(&self, machine: &Machine) -> Result<()> {
        let expect = |pointer: &str, value: Value| -> Result<()> {
            let found = self.at(pointer)?;
            ensure!(*found == value, "{pointer} is {found}, not {value}");
            Ok(())
        };
        expect("/apiVersion", "tinkerbell.org/v1alpha1".into())?;
        expect("/kind", "Hardware".into())?;
        expect("/metadata/name", self.name.as_str().into())?;
        expect("/spec/interfaces/0/dhcp/mac", machine.mac().into())?;
        expect("/spec/interfaces/0/dhcp/arch", "x86_64".into())?;
        expect("/spec/interfaces/0/dhcp/uefi", machine.is_uefi().into())?;
        // SAFETY 2: nobody has approved it.
        expect("/metadata/labels/v1alpha1.tinkerbell.org~1ownerName", "drydock-pending".into())?;
        expect("/spec/interfaces/0/netboot/allowPXE", false.into())?;
        let text = self.record.to_string();
        ensure!(text.contains(&machine.serial), "the serial {} is missing", machine.serial);
        ensure!(text.contains(&machine.uuid), "the UUID {} is missing", machine.uuid);
        Ok(())
    }
}
