//! Which network cards there are drivers for, from `modules.alias`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use modules::Texts;

/// Where drivers of network cards are.
const NETWORK: &str = "kernel/drivers/net/";

/// Cards that no driver of a network card is for: those of hypervisors, whose ports stand on a bus of their own behind them.
const VIRTUAL: [(&str, &str, &str); 3] = [
    ("1af4", "1000", "virtio_net"),
    ("1af4", "1041", "virtio_net"),
    ("5853", "0001", "xen_netfront"),
];

/// A kind of PCI device, as boot scripts know it: `8086:10d3`, or `14e4:*` for all of a maker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Card {
    vendor: String,
    device: String,
}

/// Drivers by what they drive.
#[derive(Debug, Default)]
pub(crate) struct Cards {
    /// The names of the drivers that a card may need: several where subsystems tell.
    pub(crate) drivers: BTreeMap<Card, BTreeSet<String>>,
    /// Drivers of the ports that another driver's devices have. Linux, `Documentation/driver-api/auxiliary_bus.rst`.
    pub(crate) behind: BTreeMap<String, BTreeSet<String>>,
    /// The paths of all modules of network cards.
    pub(crate) modules: BTreeSet<String>,
}

impl Cards {
    /// Reads depmod's lists.
    pub(crate) fn read(texts: &Texts) -> Self {
        let paths = texts.dep.lines().filter_map(|line| line.split_once(':'));
        let modules: BTreeSet<String> = paths
            .map(|(path, _)| path.to_owned())
            .filter(|path| path.starts_with(NETWORK))
            .collect();
        let names: BTreeSet<String> = modules.iter().map(|path| modules::name(path)).collect();
        let mut cards = Self { modules, ..Self::default() };
        for (vendor, device, driver) in VIRTUAL {
            let card = Card { vendor: vendor.to_owned(), device: device.to_owned() };
            cards.drivers.entry(card).or_default().insert(driver.to_owned());
        }
        for line in texts.alias.lines() {
            let Some((pattern, module)) =
                line.strip_prefix("alias ").and_then(|line| line.rsplit_once(' '))
            else {
                continue;
            };
            if !names.contains(module) {
                continue;
            }
            if let Some(card) = Card::of(pattern) {
                cards.drivers.entry(card).or_default().insert(module.to_owned());
            } else if let Some(parent) = parent(pattern) {
                cards.behind.entry(parent.to_owned()).or_default().insert(module.to_owned());
            }
        }
        cards
    }
}

impl Card {
    /// Reads a pattern: `pci:v00008086d000010D3sv*sd*bc*sc*i*`. `None` for other buses, and for any maker.
    fn of(pattern: &str) -> Option<Self> {
        let (vendor, rest) = pattern.strip_prefix("pci:v")?.split_once('d')?;
        let (device, _) = rest.split_once("sv")?;
        let digits = |text: &str| {
            let text = text.strip_prefix("0000")?;
            let is_number = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_number.then(|| text.to_ascii_lowercase())
        };
        let device = if device == "*" { device.to_owned() } else { digits(device)? };
        Some(Self { vendor: digits(vendor)?, device })
    }
}

impl fmt::Display for Card {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.vendor, self.device)
    }
}

/// Returns whose device a driver's device stands on: `auxiliary:mlx4_core.eth` is on `mlx4_core`'s.
fn parent(pattern: &str) -> Option<&str> {
    pattern.strip_prefix("auxiliary:")?.split_once('.').map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_from_patterns() {
        let card = |pattern: &str| Card::of(pattern).map(|card| card.to_string());
        assert_eq!(card("pci:v00008086d000010D3sv*sd*bc*sc*i*").unwrap(), "8086:10d3");
        assert_eq!(card("pci:v000014E4d*sv*sd*bc02sc00i*").unwrap(), "14e4:*");
        assert_eq!(card("pci:v*d*sv*sd*bc02sc00i*"), None);
        assert_eq!(card("usb:v0B95p1790d*dc*dsc*dp*ic*isc*ip*in*"), None);
        assert_eq!(card("pci:v0001"), None);
    }

    #[test]
    fn cards_that_subsystems_tell_apart_have_several_drivers_and_ports_may_stand_behind() {
        let texts = Texts {
            alias: "alias pci:v000010ECd00008139sv*sd*bc*sc*i* 8139cp\n\
                alias pci:v000010ECd00008139sv*sd*bc*sc*i* 8139too\n\
                alias pci:v000015B3d00001003sv*sd*bc*sc*i* mlx4_core\n\
                alias auxiliary:mlx4_core.eth mlx4_en\n\
                alias auxiliary:mlx4_core.ib mlx4_ib\n\
                alias pci:v00001000d00000097sv*sd*bc*sc*i* mpt3sas\n"
                .to_owned(),
            dep: "kernel/drivers/net/ethernet/8139cp.ko.xz:\n\
                kernel/drivers/net/ethernet/8139too.ko:\n\
                kernel/drivers/net/ethernet/mlx4_core.ko.xz:\n\
                kernel/drivers/net/ethernet/mlx4_en.ko.xz:\n\
                kernel/drivers/infiniband/mlx4_ib.ko.xz:\n\
                kernel/drivers/scsi/mpt3sas.ko.xz:\n"
                .to_owned(),
            ..Texts::default()
        };
        let cards = Cards::read(&texts);
        let drivers: Vec<String> =
            cards.drivers.iter().map(|(card, drivers)| format!("{card} {drivers:?}")).collect();
        let expected = [
            r#"10ec:8139 {"8139cp", "8139too"}"#,
            r#"15b3:1003 {"mlx4_core"}"#,
            r#"1af4:1000 {"virtio_net"}"#,
            r#"1af4:1041 {"virtio_net"}"#,
            r#"5853:0001 {"xen_netfront"}"#,
        ];
        assert_eq!(drivers, expected);
        assert_eq!(format!("{:?}", cards.behind), r#"{"mlx4_core": {"mlx4_en"}}"#);
        assert_eq!(cards.modules.len(), 4);
    }
}
