//! Which namespaces and controllers belong together: by where they stand in the kernel's tree, never by their names.
//! `nvme0` need not be the controller of `nvme0n1`.

use std::path::{Path, PathBuf};

use inventory::Root;
use linux::block::Number;

const CLASS: &str = "sys/class/nvme-subsystem";

/// An NVMe subsystem as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subsystem {
    /// Its controllers on this machine; never empty.
    pub(crate) controllers: Vec<Way>,
    /// Its namespaces that this machine sees.
    pub(crate) namespaces: Vec<Node>,
}

/// A controller on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    /// The kernel's name of it, which its device has too.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) directory: PathBuf,
}

/// A namespace that this machine sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// The kernel's name of it.
    pub(crate) name: String,
    /// Its device number, as `dev` spells it; absent where the kernel made no disk of it.
    pub(crate) number: Option<String>,
}

impl Subsystem {
    /// Returns the subsystem that the NVMe disk of a number belongs to; `None` where it is none, or where the tree
    /// cannot be read.
    pub(crate) fn of(root: &Root, disk: Number) -> Option<Self> {
        let above = root.real(format!("sys/dev/block/{disk}/device")).ok()??;
        let name = above.file_name()?.to_str()?;
        let directory = if is_numbered(name, "nvme-subsys") {
            above
        } else if !is_numbered(name, "nvme") {
            return None;
        } else if root.entries(CLASS).ok()?.is_empty() {
            // Kernels before 4.15 know no subsystems: the controller is by itself.
            let way = Way { name: name.to_owned(), directory: above };
            return Self::read(root, None, vec![way]);
        } else {
            subsystem_of(root, name)?
        };
        let mut controllers = Vec::new();
        for name in root.entries(&directory).ok()? {
            if is_numbered(&name, "nvme") {
                let place = root.real(directory.join(&name)).ok()??;
                controllers.push(Way { name, directory: place });
            }
        }
        Self::read(root, Some(&directory), controllers)
    }

    fn read(root: &Root, own: Option<&Path>, controllers: Vec<Way>) -> Option<Self> {
        if controllers.is_empty() {
            return None;
        }
        let mut namespaces = Vec::new();
        for directory in
            own.into_iter().chain(controllers.iter().map(|way| way.directory.as_path()))
        {
            for name in root.entries(directory).ok()? {
                if is_namespace(&name) {
                    let number = root.text(directory.join(&name).join("dev")).ok()?;
                    namespaces.push(Node { name, number });
                }
            }
        }
        Some(Self { controllers, namespaces })
    }

    /// Returns the namespaces that none of some disks is.
    pub(crate) fn without<'s>(&'s self, disks: &[Number]) -> Vec<&'s Node> {
        let is_one = |number: &String| disks.iter().any(|disk| disk.to_string() == *number);
        self.namespaces.iter().filter(|node| !node.number.as_ref().is_some_and(is_one)).collect()
    }
}

/// Finds the subsystem that has a controller.
fn subsystem_of(root: &Root, controller: &str) -> Option<PathBuf> {
    let class = Path::new(CLASS);
    let all = root.entries(class).ok()?;
    let directory = all.iter().find(|name| root.exists(class.join(name).join(controller)))?;
    root.real(class.join(directory)).ok()?
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(is_number)
}

/// Holds for `nvme0n1`, and not for `nvme0c1n1`: that is one of several ways to the namespace `nvme0n1`.
fn is_namespace(name: &str) -> bool {
    let parts = name.strip_prefix("nvme").and_then(|rest| rest.split_once('n'));
    parts.is_some_and(|(controller, namespace)| is_number(controller) && is_number(namespace))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const NUMBER: Number = Number { major: 259, minor: 3 };

    fn tree(files: &[(&str, &str)], links: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let place = |path: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for (path, text) in files {
            fs::write(place(path), text).unwrap();
        }
        for (path, target) in links {
            symlink(target, place(path)).unwrap();
        }
        let root = Root::captured(directory.path());
        (directory, root)
    }

    #[test]
    fn a_namespace_belongs_where_it_stands_and_not_where_its_name_says() {
        // `nvme1n1` and `nvme1n2` stand below the controller `nvme0`.
        let (_directory, root) = tree(
            &[
                ("sys/devices/pci0/nvme/nvme0/nvme1n1/dev", "259:3\n"),
                ("sys/devices/pci0/nvme/nvme0/nvme1n2/dev", "259:4\n"),
                ("sys/devices/pci1/nvme/nvme1/nvme0n1/dev", "259:5\n"),
                ("sys/devices/virtual/nvme-subsystem/nvme-subsys1/model", "M\n"),
                ("sys/devices/virtual/nvme-subsystem/nvme-subsys0/model", "M\n"),
            ],
            &[
                ("sys/devices/pci0/nvme/nvme0/nvme1n1/device", "../../nvme0"),
                ("sys/dev/block/259:3", "../../devices/pci0/nvme/nvme0/nvme1n1"),
                (
                    "sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme0",
                    "../../../pci0/nvme/nvme0",
                ),
                (
                    "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1",
                    "../../../pci1/nvme/nvme1",
                ),
                (
                    "sys/class/nvme-subsystem/nvme-subsys1",
                    "../../devices/virtual/nvme-subsystem/nvme-subsys1",
                ),
                (
                    "sys/class/nvme-subsystem/nvme-subsys0",
                    "../../devices/virtual/nvme-subsystem/nvme-subsys0",
                ),
            ],
        );
        let subsystem = Subsystem::of(&root, NUMBER).unwrap();
        let names: Vec<&str> = subsystem.controllers.iter().map(|way| way.name.as_str()).collect();
        assert_eq!(names, ["nvme0"]);
        let left = subsystem.without(&[NUMBER]);
        assert_eq!(left.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["nvme1n2"]);
        assert!(subsystem.without(&[NUMBER, Number { minor: 4, ..NUMBER }]).is_empty());
    }

    #[test]
    fn a_namespace_with_several_ways_to_it_has_several_controllers() {
        let subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
        let own = |name: &str| format!("{subsystem}/{name}");
        let (_directory, root) = tree(
            &[
                (&own("nvme0n1/dev"), "259:3\n"),
                ("sys/devices/pci0/nvme/nvme0/nvme0c0n1/dev", "259:9\n"),
                ("sys/devices/pci1/nvme/nvme1/nvme0c1n1/hidden", "1\n"),
            ],
            &[
                (&own("nvme0n1/device"), "../../nvme-subsys0"),
                (&own("nvme0"), "../../../pci0/nvme/nvme0"),
                (&own("nvme1"), "../../../pci1/nvme/nvme1"),
                (
                    "sys/dev/block/259:3",
                    "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
                ),
            ],
        );
        let subsystem = Subsystem::of(&root, NUMBER).unwrap();
        assert_eq!(subsystem.controllers.len(), 2);
        assert!(subsystem.without(&[NUMBER]).is_empty(), "its ways are no namespaces");
    }

    #[test]
    fn what_is_no_namespace_has_no_subsystem() {
        let (_directory, root) = tree(
            &[("sys/devices/pci0/host0/0:0:0:0/block/sda/dev", "259:3\n")],
            &[
                ("sys/devices/pci0/host0/0:0:0:0/block/sda/device", "../../../0:0:0:0"),
                ("sys/dev/block/259:3", "../../devices/pci0/host0/0:0:0:0/block/sda"),
            ],
        );
        assert_eq!(Subsystem::of(&root, NUMBER), None);
        assert_eq!(Subsystem::of(&root, Number { minor: 7, ..NUMBER }), None);
    }
}
