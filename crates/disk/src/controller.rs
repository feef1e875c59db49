//! An NVMe controller, for commands that touch everything it has: it can be had only together with every disk of its
//! subsystem (SAFETY.md 8 and 10).

mod topology;

use std::{collections::BTreeSet, fs::File, io, time::Duration};

use inventory::Root;
use linux::{block::Number, nvme::opcode};

pub(crate) use self::topology::Subsystem;
use crate::{
    Held,
    command::{Data, NvmeCommand, NvmeController, NvmeFailure},
    door::OpalDoor,
    handle::Handled as _,
    nvme::{self, Devices, Identity, Live},
};

/// A controller whose every namespace is held. Sanitize, Format and Security commands go through its own device; before
/// each that destroys, it is asked once more who it is and what it has.
///
/// It borrows the disks, so that none of them can be let go while it exists:
///
/// ```compile_fail,E0505
/// fn let_go(held: disk::Held) {
///     let all = [&held];
///     let controller = disk::Controller::of(&all);
///     held.release().ok();
///     drop(controller);
/// }
/// ```
///
/// ```compile_fail,E0515
/// fn alone(held: disk::Held) -> disk::Controller<'static> {
///     disk::Controller::of(&[&held]).unwrap()
/// }
/// ```
///
/// Nobody else can make one, or open a controller by its name:
///
/// ```compile_fail,E0451
/// fn made<'h>(file: std::fs::File) -> disk::Controller<'h> {
///     disk::Controller { held: &[], file, ways: loop {}, identity: loop {}, devices: loop {} }
/// }
/// ```
///
/// ```compile_fail,E0308
/// let controller = disk::Controller::of("/dev/nvme0");
/// ```
#[derive(Debug)]
pub struct Controller<'h> {
    held: &'h [&'h Held],
    file: File,
    /// The numbers of the subsystem's controllers that this machine has.
    ways: BTreeSet<u16>,
    identity: Identity,
    devices: &'h dyn Devices,
}

/// Says why a controller cannot be had. Nothing was sent to it that changes anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// No disk was brought.
    #[error("no disk is held")]
    NoDisk,
    /// It is no NVMe disk, or the kernel's tree does not say whose it is.
    #[error("whose namespace {disk} is cannot be found out")]
    NoNvme {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// The disks that are held are of several subsystems.
    #[error("{disk} is a disk of another controller")]
    OtherSubsystem {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// It has namespaces that are not held.
    #[error(
        "the controller {controller} has other namespaces ({others}): order all of them, or take those away first"
    )]
    NotAll {
        /// The kernel's name of the controller.
        controller: String,
        /// Namespaces that are not held.
        others: String,
    },
    /// Other machines may have a way to it.
    #[error("{controller} is not the only controller of its disk: another machine may be using it")]
    Shared {
        /// The kernel's name of the controller.
        controller: String,
    },
    /// What answers is not what the kernel's tree says, or not what the disks' own descriptors lead to.
    #[error("{controller} is not the controller of the held disks ({how})")]
    Exchanged {
        /// The kernel's name of the controller.
        controller: String,
        /// What differs.
        how: &'static str,
    },
    /// Its device cannot be opened.
    #[error("opening {controller}")]
    Open {
        /// The kernel's name of the controller.
        controller: String,
        /// Why not.
        source: io::Error,
    },
    /// A held disk does not answer the kernel any more.
    #[error("asking {disk} for its number")]
    Disk {
        /// The kernel's name of the disk.
        disk: String,
        /// Why not.
        source: io::Error,
    },
    /// It does not say what it is or has.
    #[error("asking {controller} for its {what}")]
    Unanswered {
        /// The kernel's name of the controller.
        controller: String,
        /// What it was asked for.
        what: &'static str,
        /// Why not.
        source: NvmeFailure,
    },
}

impl<'h> Controller<'h> {
    /// Opens the controller of some disks: all namespaces that its subsystem has, also those that are attached nowhere,
    /// must be among them, and no other machine may have a way to it. Sends nothing but questions.
    pub fn of(held: &'h [&'h Held]) -> Result<Self, ControllerError> {
        Self::of_on(&Root::live(), &Live, held)
    }

    pub(crate) fn of_on(
        root: &Root,
        devices: &'h dyn Devices,
        held: &'h [&'h Held],
    ) -> Result<Self, ControllerError> {
        let Some(first) = held.first() else { return Err(ControllerError::NoDisk) };
        let numbers: Vec<Number> =
            held.iter().map(|disk| number(disk)).collect::<Result<_, ControllerError>>()?;
        let of = |disk: &Held, number| {
            let none = || ControllerError::NoNvme { disk: disk.name().to_owned() };
            Subsystem::of(root, number).ok_or_else(none)
        };
        let subsystem = of(first, numbers[0])?;
        for (disk, number) in held.iter().zip(&numbers) {
            if of(disk, *number)? != subsystem {
                return Err(ControllerError::OtherSubsystem { disk: disk.name().to_owned() });
            }
        }
        let way = subsystem.controllers.first().ok_or(ControllerError::NoDisk)?;
        let controller = || way.name.clone();
        let left = subsystem.without(&numbers);
        if !left.is_empty() {
            let others: Vec<&str> = left.iter().map(|node| node.name.as_str()).collect();
            return Err(ControllerError::NotAll {
                controller: controller(),
                others: others.join(", "),
            });
        }
        let (file, number) = devices
            .open_controller(&way.name)
            .map_err(|source| ControllerError::Open { controller: controller(), source })?;
        let exchanged = |how| ControllerError::Exchanged { controller: controller(), how };
        let text = |name: &str| root.text(way.directory.join(name)).ok().flatten();
        if text("dev") != Some(number.to_string()) {
            return Err(exchanged("its name is another device's"));
        }
        let identity = Identity::ask(devices, &file).map_err(|source| {
            ControllerError::Unanswered { controller: controller(), what: "identity", source }
        })?;
        if text("serial").unwrap_or_default() != identity.serial
            || text("model").unwrap_or_default() != identity.model
        {
            return Err(exchanged("another serial number or model"));
        }
        // Absent before Linux 4.13, which is before anything with several controllers was driven as one.
        let numbers = subsystem.controllers.iter().map(|way| {
            let text = root.text(way.directory.join("cntlid")).ok().flatten();
            text.and_then(|text| text.parse::<u16>().ok())
        });
        let mut ways: BTreeSet<u16> = numbers.flatten().collect();
        ways.insert(identity.controller);
        let controller = Self { held, file, ways, identity, devices };
        controller.confirm(&way.name)?;
        Ok(controller)
    }

    /// Has the kernel look again which namespaces there are, and of what size: after a Format (`NVME_IOCTL_RESCAN`).
    pub fn rescan(&self) -> io::Result<()> {
        self.devices.rescan(&self.file)
    }

    /// Opens the door through which the disk is reverted, with all its namespaces.
    pub fn opal(&self) -> Option<OpalDoor<'_>> {
        // The kernel takes these calls on a namespace's device, not on the controller's.
        let first = self.held.first()?;
        Some(OpalDoor { disk: first.handle().file(), may_revert: true })
    }

    /// Asks once more, on the descriptors, who the controller is and what it has.
    fn confirm(&self, name: &str) -> Result<(), ControllerError> {
        let controller = || name.to_owned();
        let unanswered = |what| {
            move |source| ControllerError::Unanswered { controller: name.to_owned(), what, source }
        };
        let exchanged = |how| ControllerError::Exchanged { controller: controller(), how };
        let now = Identity::ask(self.devices, &self.file).map_err(unanswered("identity"))?;
        if now != self.identity {
            return Err(exchanged("another controller answers"));
        }
        let mut own = BTreeSet::new();
        for disk in self.held {
            let file = disk.handle().file();
            let number = self
                .devices
                .namespace(file)
                .map_err(|source| ControllerError::Disk { disk: disk.name().to_owned(), source })?;
            own.insert(number);
            let theirs = Identity::ask(self.devices, file).map_err(unanswered("identity"))?;
            if !theirs.is_of_same_subsystem(&self.identity) {
                return Err(exchanged("a held disk is another controller's"));
            }
        }
        let all = nvme::namespaces(self.devices, &self.file, &self.identity)
            .map_err(unanswered("namespaces"))?;
        let others: Vec<String> = all.difference(&own).map(u32::to_string).collect();
        if !others.is_empty() {
            let others = format!("namespace {}", others.join(", "));
            return Err(ControllerError::NotAll { controller: controller(), others });
        }
        if self.identity.may_be_shared() {
            let all = nvme::controllers(self.devices, &self.file)
                .map_err(unanswered("subsystem's controllers"))?;
            if !all.is_subset(&self.ways) {
                return Err(ControllerError::Shared { controller: controller() });
            }
        }
        Ok(())
    }
}

fn number(disk: &Held) -> Result<Number, ControllerError> {
    let facts = disk.kernel().facts(disk.handle().file());
    let name = || disk.name().to_owned();
    Ok(facts.map_err(|source| ControllerError::Disk { disk: name(), source })?.number)
}

impl NvmeController for Controller<'_> {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        let only_asks = matches!(
            command.opcode,
            opcode::IDENTIFY
                | opcode::GET_LOG_PAGE
                | opcode::GET_FEATURES
                | opcode::SECURITY_RECEIVE
        );
        if !only_asks {
            self.confirm("it").map_err(|error| {
                NvmeFailure::NoAnswer(io::Error::new(io::ErrorKind::PermissionDenied, error))
            })?;
        }
        self.devices.admin(&self.file, command, data, limit)
    }
}

#[cfg(test)]
mod tests;
