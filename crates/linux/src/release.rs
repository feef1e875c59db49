//! The running kernel.

use std::io;

/// Returns the kernel's release (`uname -r`), which names the directory of its modules.
pub fn kernel() -> io::Result<String> {
    let name = nix::sys::utsname::uname()?;
    Ok(name.release().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_one_that_proc_shows() {
        let shown = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(kernel().unwrap(), shown.trim());
    }
}
