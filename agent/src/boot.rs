//! The first steps of PID 1: is this our own initramfs, and the kernel's file systems in their places.

use std::{fs, io, path::Path};

use linux::{filesystem, mount, mount::Rights};

/// The file that our initramfs has and no other system does.
const MARK: &str = "/etc/drydock-initramfs";

/// The kernel's first PID namespace. Linux, `include/linux/proc_ns.h`, `PROC_PID_INIT_INO`.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Says why this process must not act as PID 1 of a machine.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// It is some process of a running system.
    #[error("this process is number {0}, not 1")]
    Process(u32),
    /// The root has not our mark.
    #[error("there is no {MARK}")]
    NoMark,
    /// The root is a disk, an overlay, something that was mounted.
    #[error("the root is no initramfs")]
    NotInMemory,
    /// It is PID 1 of a container only.
    #[error("this is the first process of a container, not of a machine")]
    Container,
    /// It cannot be found out.
    #[error("looking at {path}")]
    Unknown {
        /// What was looked at.
        path: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// One line of the table of mounts.
struct Mount {
    kind: &'static str,
    target: &'static str,
    rights: Rights,
    /// Where this is missing there is nothing to mount.
    needs: Option<&'static str>,
}

/// What PID 1 mounts, in order. Nothing else is mounted, but a filesystem of an image while ordered files are written into it.
const MOUNTS: [Mount; 6] = [
    Mount { kind: "proc", target: "/proc", rights: Rights::Files, needs: None },
    Mount { kind: "sysfs", target: "/sys", rights: Rights::Files, needs: None },
    Mount { kind: "devtmpfs", target: "/dev", rights: Rights::Devices, needs: None },
    Mount { kind: "tmpfs", target: "/run", rights: Rights::Files, needs: None },
    Mount { kind: "tmpfs", target: "/tmp", rights: Rights::Files, needs: None },
    EFI_VARIABLES,
];

/// Read-only: one wrong variable can keep a machine from ever starting again.
const EFI_VARIABLES: Mount = Mount {
    kind: "efivarfs",
    target: EFI_VARIABLES_PATH,
    rights: Rights::ReadOnly,
    needs: Some(EFI_VARIABLES_PATH),
};

/// Where the EFI variables are.
pub const EFI_VARIABLES_PATH: &str = "/sys/firmware/efi/efivars";

/// What the kernel is told before anything else.
const KERNEL_SETTINGS: [(&str, &str); 4] = [
    // A kernel that dies restarts the machine after this many seconds instead of standing still for ever.
    ("/proc/sys/kernel/panic", "30\n"),
    // Our own lines in its log are not counted and dropped.
    ("/proc/sys/kernel/printk_devkmsg", "on\n"),
    // With two ports on one network the one that still has its cable is used.
    ("/proc/sys/net/ipv4/conf/default/ignore_routes_with_linkdown", "1\n"),
    // Loading a module waits for every processor; asking them at once, as the kernel does until `/init` starts,
    // saves a tenth of a second for all of them together. Linux, `kernel/rcu/update.c`.
    ("/sys/kernel/rcu_expedited", "1\n"),
];

/// Checks that this process is the first of a machine that booted our own initramfs.
///
/// Mounts `/proc` where all else holds and it is not there yet.
pub fn check() -> Result<(), NotOurs> {
    let unknown = |path| move |source| NotOurs::Unknown { path, source };
    let process = std::process::id();
    if process != 1 {
        return Err(NotOurs::Process(process));
    }
    let (root, mark) = (Path::new("/"), Path::new(MARK));
    if !fs::symlink_metadata(mark).is_ok_and(|metadata| metadata.is_file()) {
        return Err(NotOurs::NoMark);
    }
    let in_memory = filesystem::is_in_memory(root).map_err(unknown("/"))?
        && filesystem::is_same(root, mark).map_err(unknown(MARK))?;
    if !in_memory {
        return Err(NotOurs::NotInMemory);
    }
    if !fs::exists("/proc/self").unwrap_or(false) {
        perform(&MOUNTS[0]).map_err(unknown("/proc"))?;
    }
    let namespace = fs::read_link("/proc/self/ns/pid").map_err(unknown("/proc/self/ns/pid"))?;
    if namespace != Path::new(FIRST_PID_NAMESPACE) {
        return Err(NotOurs::Container);
    }
    Ok(())
}

/// Mounts what is not mounted yet and tells the kernel its settings; returns what failed, for people to read.
pub fn prepare() -> Vec<String> {
    let mut failures = Vec::new();
    // `/proc` was mounted by the check.
    for mount in &MOUNTS[1..] {
        // Where efivarfs is a module, `devices` mounts it later.
        let missing = mount.needs.is_some_and(|path| !Path::new(path).exists());
        if missing {
            continue;
        }
        match perform(mount) {
            Err(error) if mount.needs.is_none() => {
                failures.push(format!("mounting {}: {error}", mount.target));
            }
            _ => {}
        }
    }
    for (name, value) in KERNEL_SETTINGS {
        if let Err(error) = fs::write(name, value) {
            failures.push(format!("setting {name}: {error}"));
        }
    }
    failures
}

/// Mounts the EFI variables, once the kernel has what it needs for that.
pub fn mount_efi_variables() -> io::Result<()> {
    perform(&EFI_VARIABLES)
}

/// Holds when the machine was started by UEFI.
pub fn is_efi() -> bool {
    Path::new("/sys/firmware/efi").exists()
}

fn perform(mount: &Mount) -> io::Result<()> {
    let target = Path::new(mount.target);
    if mount.needs.is_none() {
        fs::create_dir_all(target)?;
    }
    mount::virtual_filesystem(mount.kind, target, mount.rights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_process_is_not_pid_1() {
        assert!(matches!(check(), Err(NotOurs::Process(_))));
    }

    #[test]
    fn the_kernel_knows_all_that_it_is_told() {
        for (name, _) in KERNEL_SETTINGS {
            assert!(Path::new(name).exists(), "{name}");
        }
    }

    #[test]
    fn nothing_is_mounted_that_has_a_device() {
        for mount in &MOUNTS {
            assert!(
                ["proc", "sysfs", "devtmpfs", "tmpfs", "efivarfs"].contains(&mount.kind),
                "{}",
                mount.kind
            );
        }
    }
}
