//! Where a program may destroy anything: in our own initramfs, or where a person started it and said which disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use linux::filesystem;
use protocol::order::DiskIdentity;

use super::holders::Holder;

/// The file that our initramfs has and no other system does.
const MARK: &str = "/etc/drydock-initramfs";

/// The kernel's first PID namespace. Linux, `include/linux/proc_ns.h`, `PROC_PID_INIT_INO`.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Where this program runs, proven or said by a person.
#[derive(Debug, Clone)]
pub struct Place(Kind);

#[derive(Debug, Clone)]
pub(super) enum Kind {
    OwnInitramfs,
    Person { typed: Vec<String>, shown: Vec<Holder>, is_ours: bool },
}

/// Says why this is not our own initramfs.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// The root has not our mark.
    #[error("there is no {MARK}: this is not our own system")]
    NoMark,
    /// The root is a disk, an overlay, something that was mounted.
    #[error("the root is no initramfs")]
    NotInMemory,
    /// It is a container only.
    #[error("this is a container, not a machine")]
    Container,
    /// It cannot be found out.
    #[error("looking at {path}", path = path.display())]
    Unknown {
        /// What was looked at.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Place {
    /// Finds out that this program runs in our own initramfs, on a machine and not in a container (SAFETY.md 11).
    pub fn own_initramfs() -> Result<Self, NotOurs> {
        let unknown = |path: &Path| {
            let path = path.to_owned();
            move |source| NotOurs::Unknown { path, source }
        };
        let (root, mark) = (Path::new("/"), Path::new(MARK));
        if !fs::symlink_metadata(mark).is_ok_and(|metadata| metadata.is_file()) {
            return Err(NotOurs::NoMark);
        }
        let in_memory = filesystem::is_in_memory(root).map_err(unknown(root))?
            && filesystem::is_same(root, mark).map_err(unknown(mark))?;
        if !in_memory {
            return Err(NotOurs::NotInMemory);
        }
        let namespace = Path::new("/proc/self/ns/pid");
        if fs::read_link(namespace).map_err(unknown(namespace))? != Path::new(FIRST_PID_NAMESPACE) {
            return Err(NotOurs::Container);
        }
        Ok(Self(Kind::OwnInitramfs))
    }

    /// Takes a person's word: the serial numbers or world wide names that they typed, one for each disk.
    ///
    /// Never fill this in for them from an inventory, an order or a file. Names below `/dev` name no disk here.
    pub fn person(typed: Vec<String>) -> Self {
        Self(Kind::Person { typed, shown: Vec::new(), is_ours: false })
    }

    /// Takes the word of a person at the console of our own system, which is as strict as where the server orders: every
    /// disk has to be typed, and what holds for an order of the server's holds for it too.
    pub fn at_console(typed: Vec<String>) -> Result<Self, NotOurs> {
        Self::own_initramfs()?;
        Ok(Self(Kind::Person { typed, shown: Vec::new(), is_ours: true }))
    }

    /// Adds what a person was shown as built on the disks before they typed: no more than that is taken down for them.
    /// Where this is not called, nothing is.
    #[must_use]
    pub fn having_shown(mut self, holders: Vec<Holder>) -> Self {
        if let Kind::Person { shown, .. } = &mut self.0 {
            *shown = holders;
        }
        self
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn simulated() -> Self {
        Self(Kind::OwnInitramfs)
    }

    #[cfg(test)]
    pub(super) fn simulated_console(typed: Vec<String>) -> Self {
        Self(Kind::Person { typed, shown: Vec::new(), is_ours: true })
    }
}

impl Kind {
    /// Holds where no other system than ours has touched the disks: its belts are on, and nothing is portable but by order.
    pub(super) fn is_ours(&self) -> bool {
        match self {
            Self::OwnInitramfs => true,
            Self::Person { is_ours, .. } => *is_ours,
        }
    }
}

/// Holds when what a person typed names this disk: its serial number, WWN, EUI-64 or NGUID, whole.
pub fn names(typed: &str, disk: &DiskIdentity) -> bool {
    let typed = typed.trim();
    let is = |name: Option<&String>| {
        name.is_some_and(|name| {
            let plain = |text: &str| text.trim().trim_start_matches("0x").to_ascii_lowercase();
            plain(name) == plain(typed)
        })
    };
    !typed.is_empty()
        && (disk.serial.as_deref().is_some_and(|serial| serial.trim() == typed)
            || is(disk.wwn.as_ref())
            || is(disk.eui64.as_ref())
            || is(disk.nguid.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_that_builds_this_is_no_initramfs_of_ours() {
        assert!(matches!(Place::own_initramfs(), Err(NotOurs::NoMark)));
        assert!(matches!(Place::at_console(vec!["A".to_owned()]), Err(NotOurs::NoMark)));
    }

    #[test]
    fn a_person_names_a_disk_by_what_stands_on_its_label() {
        let disk = DiskIdentity {
            serial: Some("S64DNE0R".to_owned()),
            wwn: Some("0x5000c50012345678".to_owned()),
            ..DiskIdentity::default()
        };
        for typed in ["S64DNE0R", "0x5000c50012345678", "5000C50012345678", " S64DNE0R "] {
            assert!(names(typed, &disk), "{typed}");
        }
        for typed in ["", " ", "/dev/sda", "sda", "S64", "s64dne0r", "0x"] {
            assert!(!names(typed, &disk), "{typed}");
        }
        assert!(!names("", &DiskIdentity { serial: Some(String::new()), ..disk }));
    }
}
