//! ATA passwords that wipes left on disks: kept by disk, whatever becomes of the order, its machine or the name of that.
//!
//! ```text
//! step journaled ─► kept with the machine ─► forgotten machine: kept with its name
//!                         │ every later order for that disk, in whatever machine, carries them
//!                         └─► gone once a boot says that the disk is erased
//! ```

use protocol::{
    OrderId,
    order::DiskIdentity,
    wipe::{Verdict, WipeStep, WipeStepKind},
};
use serde::{Deserialize, Serialize};

use crate::machine::{
    evidence::garbage::{is_garbage_serial, is_garbage_wide_name, normalised},
    install::ChosenDisk,
};

/// A password that may still lock a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftPassword {
    /// How the server calls the disk.
    pub disk: String,
    /// Everything that tells the disk from others.
    pub named: DiskIdentity,
    /// The 32 bytes as hexadecimal digits.
    pub password: String,
    /// The machine that it was set in.
    pub machine: String,
    /// By which order.
    pub order: OrderId,
    /// When it was journaled: milliseconds since 1970.
    pub at: i64,
}

impl LeftPassword {
    /// Holds where it may lock this disk. Passwords are tried, five times at most, so another disk's would do harm.
    pub(in crate::machine) fn is_of(&self, disk: &ChosenDisk) -> bool {
        self.disk == disk.identity || is_same(&self.named, &disk.named)
    }

    /// Returns the step that a later order's journal begins with.
    pub(in crate::machine) fn step(&self, disk: u32) -> WipeStep {
        WipeStep { disk, kind: WipeStepKind::AtaPassword { password: self.password.clone() } }
    }
}

/// Holds for a step after which a disk has no password of ours. An exception may be that one did not come off.
pub(in crate::machine) fn ends(kind: &WipeStepKind) -> bool {
    matches!(kind, WipeStepKind::Over { verdict: Verdict::Erased })
}

/// Holds for one disk, also where it hangs on another adapter, which may keep some of its names back.
fn is_same(one: &DiskIdentity, other: &DiskIdentity) -> bool {
    let digits = |text: &str| text.trim().trim_start_matches("0x").to_lowercase();
    let wide = [(&one.wwn, &other.wwn), (&one.eui64, &other.eui64), (&one.nguid, &other.nguid)];
    let mut both = wide.into_iter().filter_map(|(one, other)| {
        let (one, other) = (digits(one.as_deref()?), digits(other.as_deref()?));
        (!is_garbage_wide_name(&one) && !is_garbage_wide_name(&other)).then(|| one == other)
    });
    if let Some(is_same) = both.next() {
        return is_same;
    }
    let (Some(serial), Some(its)) = (&one.serial, &other.serial) else { return false };
    let model = |disk: &DiskIdentity| disk.model.as_deref().map(normalised);
    let is_same_model = model(one).zip(model(other)).is_none_or(|(one, other)| one == other);
    !is_garbage_serial(serial) && normalised(serial) == normalised(its) && is_same_model
}

#[cfg(test)]
mod tests {
    use protocol::Bytes;

    use super::*;

    fn named(wwn: Option<&str>, serial: Option<&str>, model: Option<&str>) -> DiskIdentity {
        DiskIdentity {
            wwn: wwn.map(str::to_owned),
            serial: serial.map(str::to_owned),
            model: model.map(str::to_owned),
            size_bytes: Bytes(1 << 40),
            ..DiskIdentity::default()
        }
    }

    #[test]
    fn a_disk_is_known_behind_another_adapter_and_no_other_is() {
        let (wwn, serial, model) = ("0x5002538e40a1b2c3", "S3Z1NB0K-7", "PM883");
        let disk = named(Some(wwn), Some(serial), Some(model));
        for same in [
            named(Some("5002538E40A1B2C3"), None, None),
            named(None, Some("s3z1nb0k-7 "), Some("pm883")),
            named(None, Some(serial), None),
            DiskIdentity { size_bytes: Bytes(1), ..disk.clone() },
        ] {
            assert!(is_same(&disk, &same), "{same:?}");
        }
        for other in [
            named(Some("5002538e40a1b2c4"), Some(serial), Some(model)),
            named(None, Some("S3Z1NB0K-8"), Some(model)),
            named(None, Some(serial), Some("PM893")),
            named(None, None, Some(model)),
        ] {
            assert!(!is_same(&disk, &other), "{other:?}");
        }
        let garbage = named(None, Some("0000000000"), None);
        assert!(!is_same(&garbage, &garbage), "nobody knows which it is");
    }
}
