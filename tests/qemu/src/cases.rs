//! Every case by its name.

mod harness;

use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;

/// One story of machines and a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// How it is called on the command line.
    pub(crate) name: &'static str,
    /// What it shows, as a claim.
    pub(crate) claim: &'static str,
    /// How many machines run at once at most: two may, on all cases together.
    pub(crate) machines: usize,
    /// Whether `make test` tells it; `make soak` tells all.
    pub(crate) when: When,
    /// Tells the story; fails where it goes another way.
    pub(crate) run: fn(&Lab) -> Result<()>,
}

/// When a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// In every run.
    Test,
    /// By hand.
    Soak,
}

/// How long a boot may take from power-on to what is waited for: 25 s under TCG on an idle machine.
pub(crate) const BOOT_PATIENCE: Duration = Duration::from_mins(5);

/// All cases, the long ones first, so that no processor waits for them in the end.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "harness_bios",
        claim: "a BIOS machine boots from a router that boots it, without Drydock",
        machines: 1,
        when: When::Test,
        run: harness::bios_boots_from_network,
    },
    Case {
        name: "harness_uefi",
        claim: "a UEFI machine boots with its firmware's own network stack from a router that boots it",
        machines: 1,
        when: When::Test,
        run: harness::uefi_boots_from_network,
    },
    Case {
        name: "harness_disks",
        claim: "a machine whose network offers nothing starts its own disk",
        machines: 1,
        when: When::Test,
        run: harness::own_disk_where_nothing_boots,
    },
    Case {
        name: "harness_firewall",
        claim: "a machine whose boot program cannot be loaded through a firewall starts its own disk",
        machines: 1,
        when: When::Test,
        run: harness::a_firewall_is_tight,
    },
    Case {
        name: "harness_cards",
        claim: "every network card of the harness boots under the firmware that can",
        machines: 1,
        when: When::Soak,
        run: harness::cards_boot_from_network,
    },
    Case {
        name: "harness_uefi_disks",
        claim: "a UEFI machine whose network offers nothing starts its own disk, after four minutes of its own patience",
        machines: 1,
        when: When::Soak,
        run: harness::uefi_own_disk_where_nothing_boots,
    },
];
