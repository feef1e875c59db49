//! ATA passwords that wipes left on disks: kept by disk, whatever becomes of the order, its machine or the name of that.
//!
//! ```text
//! step journaled ─► kept with the machine ─► forgotten machine: kept with its name
//!                         │ every later order for a disk that may be that one, in whatever machine, carries them
//!                         └─► gone once the server judges by a report that the disk is erased, or erased with exceptions by
//!                             an erasure with which the password went; and which disk it is, is sure
//! ```

use protocol::{
    OrderId,
    order::DiskIdentity,
    wipe::{WipeStep, WipeStepKind},
};
use serde::{Deserialize, Serialize};

use crate::machine::{
    Machine,
    disk_order::OrderState,
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

/// How sure it is that two descriptions are of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::machine) enum Fit {
    /// They are of two.
    Not,
    /// They show one serial number, and one of them shows nothing else: makers give the same numbers.
    Perhaps,
    /// They show one serial number and one model, and no name that no other disk has.
    Likely,
    /// They show one world wide name.
    Sure,
}

impl LeftPassword {
    /// Says whether it may lock this disk.
    pub(in crate::machine) fn fit(&self, disk: &ChosenDisk) -> Fit {
        fit(&self.named, &disk.named)
    }

    /// Returns the step that a later order's journal begins with.
    fn step(&self, disk: u32) -> WipeStep {
        WipeStep { disk, kind: WipeStepKind::AtaPassword { password: self.password.clone() } }
    }
}

/// Returns the steps that an order's journal begins with: every password that may lock its disks. An agent tries those that
/// come last first, and a disk allows few attempts: so the newest stand last, behind all that only may be the disk's.
///
/// A world wide name makes none likelier than serial number and model do: which adapter the disk was behind says nothing of
/// when, and old ones of disks that were never judged to be erased would stand before the one that locks it.
pub(in crate::machine) fn inherited(
    all: &[&LeftPassword],
    disk: &ChosenDisk,
    number: u32,
) -> Vec<WipeStep> {
    let fitting = all.iter().map(|left| (left.fit(disk), left));
    let mut fitting: Vec<_> = fitting.filter(|(fit, _)| *fit > Fit::Not).collect();
    fitting.sort_by_key(|(fit, left)| (*fit > Fit::Perhaps, left.at));
    fitting.into_iter().map(|(_, left)| left.step(number)).collect()
}

/// Returns the passwords that a disk has no more which was erased at a moment. Where several disks may be meant, none: one too
/// many costs an attempt, one too few a disk.
pub(in crate::machine) fn released(
    all: &[&LeftPassword],
    disk: &ChosenDisk,
    until: i64,
) -> Vec<LeftPassword> {
    let fitting: Vec<&LeftPassword> =
        all.iter().copied().filter(|left| left.fit(disk) > Fit::Not).collect();
    let of_one =
        |left: &LeftPassword| fitting.iter().all(|other| fit(&left.named, &other.named) > Fit::Not);
    let is_its = |left: &&&LeftPassword| match left.fit(disk) {
        Fit::Not | Fit::Perhaps => false,
        Fit::Likely => of_one(left),
        Fit::Sure => true,
    };
    // One that was set since is another wipe's.
    fitting
        .iter()
        .filter(is_its)
        .filter(|left| left.at <= until)
        .map(|left| (*left).clone())
        .collect()
}

/// Returns the passwords that stand in the journals of a machine's orders, and not with the machine: older servers kept them
/// there only. Where the server judged since that a disk is erased, it has none of those before.
pub(in crate::machine) fn journaled(machine: &Machine) -> Vec<LeftPassword> {
    let mut found: Vec<LeftPassword> = Vec::new();
    for order in &machine.orders {
        let Some(wipe) = order.wipe() else { continue };
        for (index, step) in wipe.inherited.iter().chain(&wipe.journal).enumerate() {
            let WipeStepKind::AtaPassword { password } = &step.kind else { continue };
            let disk = usize::try_from(step.disk).ok().and_then(|number| wipe.disks.get(number));
            let Some(disk) = disk else { continue };
            let is_it = |left: &LeftPassword| left.password == *password;
            if !machine.passwords.iter().chain(&found).any(is_it) {
                found.push(LeftPassword {
                    disk: disk.identity.clone(),
                    named: disk.named.clone(),
                    password: password.clone(),
                    machine: machine.name.clone(),
                    order: order.id,
                    // When each was set the journal does not say, but in which order.
                    at: wipe
                        .begun
                        .unwrap_or(order.at)
                        .saturating_add(i64::try_from(index).unwrap_or(0)),
                });
            }
        }
        let OrderState::Wiped { result, .. } = &order.state else { continue };
        for (disk, judged) in wipe.disks.iter().zip(&result.disks) {
            if judged.has_no_password() {
                let gone = released(&found.iter().collect::<Vec<_>>(), disk, i64::MAX);
                found.retain(|left| !gone.contains(left));
            }
        }
    }
    found
}

/// Compares two descriptions of disks. One may be from behind another adapter, which keeps some names back.
fn fit(one: &DiskIdentity, other: &DiskIdentity) -> Fit {
    let digits = |text: &str| text.trim().trim_start_matches("0x").to_lowercase();
    let wide = [(&one.wwn, &other.wwn), (&one.eui64, &other.eui64), (&one.nguid, &other.nguid)];
    let mut both = wide.into_iter().filter_map(|(one, other)| {
        let (one, other) = (digits(one.as_deref()?), digits(other.as_deref()?));
        (!is_garbage_wide_name(&one) && !is_garbage_wide_name(&other)).then(|| one == other)
    });
    if let Some(is_same) = both.next() {
        return if is_same { Fit::Sure } else { Fit::Not };
    }
    let (Some(serial), Some(its)) = (&one.serial, &other.serial) else { return Fit::Not };
    if is_garbage_serial(serial) || normalised(serial) != normalised(its) {
        return Fit::Not;
    }
    let model = |disk: &DiskIdentity| {
        let model = disk.model.as_deref().map(normalised);
        model.filter(|model| !model.is_empty())
    };
    match model(one).zip(model(other)) {
        Some((one, other)) if one == other => Fit::Likely,
        Some(_) => Fit::Not,
        None => Fit::Perhaps,
    }
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

    const WWN: Option<&str> = Some("0x5002538e40a1b2c3");
    const SERIAL: Option<&str> = Some("S3Z1NB0K-7");
    const MODEL: Option<&str> = Some("PM883");

    fn chosen(named: DiskIdentity) -> ChosenDisk {
        ChosenDisk { named, ..ChosenDisk::default() }
    }

    /// A password of a disk that was set at a moment, which is its digit too.
    fn left(named: DiskIdentity, at: i64) -> LeftPassword {
        LeftPassword {
            disk: String::new(),
            named,
            password: at.to_string().repeat(64),
            machine: "one".to_owned(),
            order: OrderId([1; 16]),
            at,
        }
    }

    #[test]
    fn a_disk_is_known_behind_another_adapter_and_no_other_is() {
        let disk = named(WWN, SERIAL, MODEL);
        for (other, expected) in [
            (named(Some("5002538E40A1B2C3"), None, None), Fit::Sure),
            (DiskIdentity { size_bytes: Bytes(1), ..disk.clone() }, Fit::Sure),
            (named(None, Some("s3z1nb0k-7 "), Some("pm883")), Fit::Likely),
            (named(None, SERIAL, None), Fit::Perhaps),
            (named(None, SERIAL, Some(" ")), Fit::Perhaps),
            (named(Some("5002538e40a1b2c4"), SERIAL, MODEL), Fit::Not),
            (named(None, Some("S3Z1NB0K-8"), MODEL), Fit::Not),
            (named(None, SERIAL, Some("PM893")), Fit::Not),
            (named(None, None, MODEL), Fit::Not),
        ] {
            assert_eq!(fit(&disk, &other), expected, "{other:?}");
            assert_eq!(fit(&other, &disk), expected, "{other:?}");
        }
        let garbage = named(None, Some("0000000000"), MODEL);
        assert_eq!(fit(&garbage, &garbage), Fit::Not, "nobody knows which it is");
    }

    #[test]
    fn a_serial_number_alone_is_offered_every_password_that_may_fit_and_releases_none() {
        let other_maker = left(named(None, SERIAL, Some("WD40EFRX")), 1);
        let its = left(named(None, SERIAL, MODEL), 2);
        let all = [&other_maker, &its];
        let bare = chosen(named(None, SERIAL, None));
        let offered = inherited(&all, &bare, 3);
        assert_eq!(offered, [other_maker.step(3), its.step(3)]);
        assert_eq!(released(&all, &bare, 9), []);
        let full = chosen(named(None, SERIAL, MODEL));
        assert_eq!(inherited(&all, &full, 3), [its.step(3)], "the other is another maker's");
        assert_eq!(released(&all, &full, 9), std::slice::from_ref(&its));
        assert_eq!(released(&all, &full, 1), [], "it was set after that");
    }

    #[test]
    fn the_newest_password_is_tried_first_but_those_that_only_may_be_its_come_after_them() {
        let perhaps = left(named(None, SERIAL, None), 4);
        let likely = [1, 3].map(|at| left(named(None, SERIAL, MODEL), at));
        let sure = left(named(WWN, None, None), 2);
        let all = [&likely[0], &sure, &likely[1], &perhaps];
        let disk = chosen(named(WWN, SERIAL, MODEL));
        // Four attempts are made: old ones under its WWN keep none that was set since behind an adapter from being tried.
        let expected = [&perhaps, &likely[0], &sure, &likely[1]].map(|left| left.step(0));
        assert_eq!(inherited(&all, &disk, 0), expected);
    }

    #[test]
    fn passwords_of_an_older_servers_journal_keep_their_order() {
        let mut order = crate::machine::wipe::tests::order(1);
        let digits = ["f0", "0f", "a5"].map(|pair| pair.repeat(32));
        let step = |number: &String| WipeStep {
            disk: 0,
            kind: WipeStepKind::AtaPassword { password: number.clone() },
        };
        let wipe = order.wipe_mut().unwrap();
        wipe.inherited = vec![step(&digits[0])];
        wipe.journal = digits[1..].iter().map(step).collect();
        wipe.begun = Some(1000);
        wipe.disks[0].named = named(None, SERIAL, MODEL);
        let disk = wipe.disks[0].clone();
        let machine = Machine { orders: vec![order], ..Machine::default() };
        let mut found = journaled(&machine);
        assert_eq!(found.iter().map(|left| left.at).collect::<Vec<_>>(), [1000, 1001, 1002]);
        // As a server lists them, whose machines stand in no order.
        found.sort_by_key(|left| (left.at, left.disk.clone(), left.password.clone()));
        let last = inherited(&found.iter().collect::<Vec<_>>(), &disk, 0).pop();
        assert_eq!(last, Some(step(&digits[2])), "the newest is tried first");
    }

    #[test]
    fn of_two_disks_with_one_serial_number_neither_password_is_released_by_it() {
        let twins = [WWN, Some("5002538e40a1b2c4")].map(|wwn| left(named(wwn, SERIAL, MODEL), 1));
        let all = [&twins[0], &twins[1]];
        let behind_an_adapter = chosen(named(None, SERIAL, MODEL));
        assert_eq!(inherited(&all, &behind_an_adapter, 0).len(), 2);
        assert_eq!(released(&all, &behind_an_adapter, 9), []);
        let itself = chosen(named(WWN, SERIAL, MODEL));
        assert_eq!(released(&all, &itself, 9), std::slice::from_ref(&twins[0]));
    }
}
