//! The watchdog of a machine, looked at from outside: in the device's own registers.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::qmp::Qmp;

/// How QEMU calls it.
pub(super) const NAME: &str = "watchdog";
/// Where q35 shows the configuration of PCI devices in memory, unless its firmware says otherwise: SeaBIOS, then OVMF.
const WINDOWS: [u64; 2] = [0xb000_0000, 0xe000_0000];
/// Intel 6300ESB: vendor and device.
const IDENTITY: u64 = 0x25ab_8086;
/// Its lock register, whose bit 1 says that it counts. Intel 6300ESB datasheet §16.4.
const LOCK: u64 = 0x68;
const ENABLED: u64 = 2;

/// Returns whether it counts down to a reset.
pub(super) fn is_armed(qmp: &mut Qmp) -> Result<bool> {
    let place = place(&qmp.command("query-pci", &json!({}))?)?;
    for window in WINDOWS {
        if read(qmp, "w", window + place)? == IDENTITY {
            // By itself: QEMU's device answers only whoever asks for this one byte.
            return Ok(read(qmp, "b", window + place + LOCK)? & ENABLED != 0);
        }
    }
    anyhow::bail!("the configuration of PCI devices is nowhere in memory")
}

/// Returns where in such a window the device is: PCI Express 3.0 §7.2.2.
fn place(buses: &Value) -> Result<u64> {
    let buses = buses.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut devices = buses.iter().flat_map(|bus| bus["devices"].as_array().into_iter().flatten());
    let device = devices.find(|device| device["qdev_id"] == NAME).context("no watchdog")?;
    let number = |key: &str| device[key].as_u64().with_context(|| format!("no {key}: {device}"));
    Ok(number("bus")? << 20 | number("slot")? << 15 | number("function")? << 12)
}

/// Reads a byte (`b`) or 32 bits (`w`) of the machine's memory, where devices may be.
fn read(qmp: &mut Qmp, size: &str, address: u64) -> Result<u64> {
    let line = format!("xp /1x{size} {address:#x}");
    let answer = qmp.command("human-monitor-command", &json!({ "command-line": line }))?;
    // `00000000b0020000: 0x25ab8086`
    let text = answer.as_str().and_then(|text| text.trim().rsplit("0x").next());
    let value = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    value.with_context(|| format!("{line}: {answer}"))
}
