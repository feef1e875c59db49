//! Consoles: terminals that lines are written to, and that never hold anybody up.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

mod raw {
    nix::ioctl_read_bad!(waiting, nix::libc::TIOCOUTQ, nix::libc::c_int);
}

/// How long a full console is waited for, in milliseconds. What it does not take then is lost.
const PATIENCE_MILLISECONDS: u16 = 100;

/// Opens a console for reading lines, without making it anybody's terminal: nothing that is typed becomes a signal.
/// Reading waits until a line is typed.
pub fn keyboard(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(path)
}

/// A console of the kernel's.
#[derive(Debug)]
pub struct Console(File);

impl Console {
    /// Opens a console, for example `/dev/ttyS0`, without making it anybody's terminal.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        Ok(Self(options.open(path)?))
    }

    /// Writes text; gives up what the console does not take in time.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match (&self.0).write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = PollFd::new(self.0.as_fd(), PollFlags::POLLOUT);
                    if poll(&mut [ready], PollTimeout::from(PATIENCE_MILLISECONDS))? == 0 {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns how many bytes have not left for the screen or line yet (`TIOCOUTQ`).
    pub fn waiting_bytes(&self) -> io::Result<usize> {
        let mut bytes = 0;
        // SAFETY: `TIOCOUTQ` writes exactly one `int`, and `bytes` is one.
        unsafe { raw::waiting(self.0.as_raw_fd(), &raw mut bytes) }?;
        usize::try_from(bytes).map_err(io::Error::other)
    }
}
