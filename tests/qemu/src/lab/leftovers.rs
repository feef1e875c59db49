//! What runs that died without their `Drop`s have left behind.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::PREFIX;
use crate::process::run;

/// Ends the programs and removes the namespaces and scratch directories of harness processes that are no more.
/// Those of running ones are left alone.
pub(crate) fn clean() -> Result<()> {
    let namespaces = Path::new("/run/netns");
    for namespace in ours(namespaces)? {
        let removed = remove(&namespace);
        is_gone(removed, &namespaces.join(&namespace))?;
    }
    let scratch = std::env::temp_dir();
    for directory in ours(&scratch)? {
        let path = scratch.join(directory);
        let removed = fs::remove_dir_all(&path);
        is_gone(removed.with_context(|| format!("removing {}", path.display())), &path)?;
    }
    Ok(())
}

fn remove(namespace: &str) -> Result<()> {
    // Nobody else's: they run in a namespace that only that harness knew.
    for process in run("ip", &["netns", "pids", namespace])?.lines() {
        let process: i32 = process.trim().parse().context("reading `ip netns pids`")?;
        match kill(Pid::from_raw(process), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {} // It may have ended by itself meanwhile.
            Err(error) => return Err(error).context("ending a program of a dead run"),
        }
    }
    run("ip", &["netns", "del", namespace]).map(drop)
}

/// Holds also where another harness that begins was faster.
fn is_gone(removed: Result<()>, path: &Path) -> Result<()> {
    removed.or_else(|error| if path.exists() { Err(error) } else { Ok(()) })
}

/// Returns the names in a directory that belong to dead harnesses.
fn ours(directory: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(Vec::new()); // No namespace was ever named on this machine.
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("reading {}", directory.display()))?.file_name();
        let Ok(name) = name.into_string() else { continue };
        if owner(&name).is_some_and(|process| !is_harness(process)) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Reads the process id out of the name of a namespace or scratch directory; absent when it is none of ours.
fn owner(namespace: &str) -> Option<u32> {
    namespace.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

/// Returns whether that process is a harness like this one; another program may have got its number since.
fn is_harness(process: u32) -> bool {
    let program = |process: &str| {
        let link = fs::read_link(Path::new("/proc").join(process).join("exe")).ok()?;
        // A rebuilt program's link says "qemu (deleted)".
        Some(link.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
    };
    program(&process.to_string()).is_some_and(|theirs| program("self") == Some(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_of_somebody_else_has_no_owner() {
        assert_eq!(owner("blue"), None);
        assert_eq!(owner("drydock-lab"), None);
        assert_eq!(owner("drydock-lab-x-0-switch"), None);
        assert_eq!(owner("drydock-labs-77-0-switch"), None);
        assert_eq!(owner("drydock-lab-77-0-switch"), Some(77));
    }

    #[test]
    fn this_process_is_a_harness_and_the_first_process_is_not() {
        assert!(is_harness(std::process::id()));
        assert!(!is_harness(1));
    }
}
