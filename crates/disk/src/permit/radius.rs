//! What a wipe destroys beside the disks that are ordered (SAFETY.md 8): what one device holds, and what one TPM keeps
//! the keys of.

use protocol::{
    Inventory,
    inventory::{Disk, Transport},
    order::DiskIdentity,
    wipe::{Extra, Wipe},
};

use super::{
    Machine,
    claim::Claim,
    purpose::{Purpose as _, erases_devices},
    refusal::{Refusal, label},
};
use crate::{
    controller::Subsystem,
    target::{self, Unit},
};

/// What is usually sealed to a TPM, and what may have such a thing inside, where it does not show. Whether a key really
/// is in the TPM does not show either.
const SEALED: [&str; 9] =
    ["luks1", "luks2", "bitlocker", "lvm2", "md", "bcache", "stratis", "imsm", "ddf"];

/// Refuses disks that one device holds together with others that are not ordered, where the device itself is to erase:
/// NVMe namespaces of one subsystem, logical units of one SCSI target, such as the two of a disk with two actuators.
pub(super) fn whole_devices(
    machine: &Machine,
    wipe: &Wipe,
    claims: &[Claim],
) -> Result<(), Refusal> {
    if !erases_devices(wipe.level) {
        return Ok(());
    }
    let numbers: Vec<_> = claims.iter().map(|claim| claim.facts.number).collect();
    for claim in claims {
        let disk = claim.label();
        let others = match claim.transport {
            Some(Transport::Nvme) => {
                let unknown = || Refusal::UseUnknown {
                    disk: disk.clone(),
                    what: "/sys/class/nvme-subsystem".to_owned(),
                };
                let subsystem =
                    Subsystem::of(&machine.root, claim.facts.number).ok_or_else(unknown)?;
                subsystem.without(&numbers).iter().map(|node| node.name.clone()).collect()
            }
            Some(Transport::Scsi) => units(machine, claim, claims).ok_or_else(|| {
                Refusal::UseUnknown { disk: disk.clone(), what: "its target".to_owned() }
            })?,
            // An ATA disk is one, and so is a card; RAID volumes and virtual disks do not erase by themselves.
            _ => Vec::new(),
        };
        if !others.is_empty() {
            return Err(Refusal::Sibling { disk, others: others.join(", ") });
        }
    }
    Ok(())
}

/// Returns the other logical units of a SCSI disk's target that are disks and not ordered; `None` where the tree cannot
/// be read.
fn units(machine: &Machine, claim: &Claim, claims: &[Claim]) -> Option<Vec<String>> {
    let is_ordered = |unit: &Unit| {
        let directory = unit.directory.as_ref();
        directory.is_some_and(|place| claims.iter().any(|claim| claim.directory == *place))
    };
    let others = target::others(&machine.root, &claim.directory)?;
    Some(others.into_iter().filter(|unit| !is_ordered(unit)).map(|unit| unit.name).collect())
}

/// Refuses to clear the TPM where a disk is kept that it may hold the key of. `inventory` says what is on the disks. One
/// that the order names as missing is to be destroyed physically, so that its key may go, too, even where it still
/// answers; but not at a level that destroys nothing.
pub(super) fn sealed(wipe: &Wipe, inventory: &Inventory, claims: &[Claim]) -> Result<(), Refusal> {
    if !clears_tpm(wipe) {
        return Ok(());
    }
    let is_erased = |disk: &Disk| {
        let identity = DiskIdentity::of(disk);
        let is_ordered = claims.iter().any(|claim| claim.ordered.identity == identity);
        wipe.level.destroys() && (is_ordered || wipe.is_missing(&identity))
    };
    let kept = inventory.disks.iter().filter(|disk| may_hold_data(disk) && !is_erased(disk));
    let others: Vec<String> = kept
        .filter_map(|disk| {
            let words = label(Some(&disk.name), &DiskIdentity::of(disk));
            let content = disk.content.as_ref().filter(|_| disk.size_bytes.0 != 0);
            let Some(content) = content else { return Some(format!("{words}: unreadable")) };
            let inner = content.partitions.iter().flat_map(|partition| &partition.signatures);
            let mut kinds = content.signatures.iter().chain(inner).map(|found| found.kind.as_str());
            kinds.find(|kind| SEALED.contains(kind)).map(|kind| format!("{words}: {kind}"))
        })
        .collect();
    if others.is_empty() { Ok(()) } else { Err(Refusal::Sealed { others: others.join("; ") }) }
}

/// Holds unless there is no medium that could be read. A fixed disk without size has one: its sectors are none that Linux
/// addresses (520 bytes, say), or it is dying.
pub(super) fn may_hold_data(disk: &Disk) -> bool {
    let is_fixed = disk.removable != Some(true)
        && matches!(
            disk.transport,
            Some(Transport::Nvme | Transport::Ata | Transport::Scsi | Transport::Raid)
        );
    disk.size_bytes.0 != 0 || is_fixed
}

/// Holds when the keys that the TPM keeps go.
pub(super) fn clears_tpm(wipe: &Wipe) -> bool {
    wipe.extras.contains(&Extra::Tpm)
}
