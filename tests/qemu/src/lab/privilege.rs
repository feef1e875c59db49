//! Network namespaces need root: the real one, or that of a user namespace.

use std::{env, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use nix::unistd::geteuid;

/// Where `ip netns` keeps names must be writable; what else is in `/run` is nobody's business here.
const ENTER: &str = r#"mount -t tmpfs tmpfs /run && exec "$0" "$@""#;

/// Returns at once for root. For anybody else, starts this program again as root of a user namespace of its own.
pub(crate) fn acquire() -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let program = env::current_exe().context("finding this program")?;
    let error = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--", "sh", "-c", ENTER])
        .arg(program)
        .args(env::args_os().skip(1))
        .exec();
    Err(error).context("starting again in a user namespace: run as root, or allow user namespaces")
}
