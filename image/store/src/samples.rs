//! Cards and controllers that people have, each of which must find its driver, what that needs, and its firmware.

use anyhow::{Context as _, Result, ensure};
use modules::{Index, Named};

use crate::check::Built;

/// Checks lines of a `modalias`, the driver that is expected, and a firmware that it cannot do without, if there is one.
/// Returns what is wrong.
pub(crate) fn check(text: &str, built: &Built, index: &Index<'_>) -> Result<Vec<String>> {
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    ensure!(!lines.is_empty(), "there are no cards to try");
    let mut wrong = Vec::new();
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let modalias = words.next().unwrap_or_default();
        let driver = words.next().with_context(|| format!("no driver is named: {line}"))?;
        let mut say = |what: String| wrong.push(format!("{modalias}: {what}"));
        let drivers = index.drivers(modalias);
        if !drivers.contains(&driver) {
            say(format!("its drivers are {drivers:?}, not {driver}"));
            continue;
        }
        let plan = index.plan(driver);
        if plan.is_empty() {
            say(format!("{driver} has no file"));
        }
        for path in &plan {
            if !built.core_has(path) && built.store.get(path).is_none() {
                say(format!("{path} is nowhere"));
            }
        }
        let asked: Vec<&Named> = plan.iter().flat_map(|path| built.asked.of(path)).collect();
        for named in asked.iter().filter(|named| named.in_debian) {
            if !built.has_firmware(&named.name) {
                say(format!("{} is nowhere", named.name));
            }
        }
        if let Some(firmware) = words.next()
            && !asked.iter().any(|named| named.name == firmware && named.in_debian)
        {
            say(format!("{firmware} is not among what its modules ask for"));
        }
        // What a machine may boot from: not the ports that stand behind a card.
        let is_card = |path: &&str| {
            path.starts_with("kernel/drivers/net/ethernet/") && modules::name(path) == driver
        };
        let is_network = modalias.starts_with("pci:") && plan.iter().any(is_card);
        if is_network && !card(modalias).is_some_and(|card| built.cards.contains_key(&card)) {
            say("no pack, and not in the core".to_owned());
        }
    }
    Ok(wrong)
}

/// Returns how boot scripts name a device: `pci:v00008086d000010D3sv…` is `8086:10d3`.
fn card(modalias: &str) -> Option<String> {
    let vendor = modalias.strip_prefix("pci:v0000")?.get(..4)?;
    let device = modalias.get(14..)?.strip_prefix("0000")?.get(..4)?;
    Some(format!("{vendor}:{device}").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_named_as_boot_scripts_name_it() {
        let modalias = "pci:v000014E4d000016D8sv00001028sd00001FEBbc02sc00i00";
        assert_eq!(card(modalias).unwrap(), "14e4:16d8");
        assert_eq!(card("usb:v0B95p1790d0100"), None);
        assert_eq!(card("pci:v000014E4"), None);
    }
}
