//! Orphans, which end up as children of PID 1.

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};

/// Takes leave of every child that has ended, and returns how many there were (`waitpid`).
pub fn reap() -> usize {
    let mut ended = 0;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return ended,
            Ok(_) => ended += 1,
            Err(Errno::EINTR) => {}
            Err(_no_children) => return ended,
        }
    }
}
