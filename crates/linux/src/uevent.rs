//! The kernel's announcements of devices that come, change and go (`NETLINK_KOBJECT_UEVENT`).

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg,
        setsockopt, socket, sockopt::RcvBufForce,
    },
};

/// The multicast group of the kernel's own events; group 2 is udev's.
const KERNEL_GROUP: u32 = 1;

/// Room for what a machine with a thousand disks says while it is busy with something else.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Larger than the kernel's largest event (`UEVENT_BUFFER_SIZE`, 2 KiB, and a path).
const MESSAGE_SIZE: usize = 16 << 10;

/// A socket that hears the kernel's events.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event: its texts, `ACTION@DEVPATH` first, then `KEY=VALUE`, as bytes with a NUL behind each.
    Event(Vec<u8>),
    /// Events were lost because nobody read them in time: look at all devices again.
    Lost,
    /// Nothing within the time.
    Silence,
}

impl Socket {
    /// Starts to listen. The receive buffer is enlarged where this may be done (`SO_RCVBUFFORCE`, `CAP_NET_ADMIN`).
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        let _smaller_then = setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self(socket))
    }

    /// Waits for the next event, at most `milliseconds`; for ever with none. What does not come from the kernel is ignored.
    pub fn hear(&self, milliseconds: Option<u16>) -> io::Result<Heard> {
        loop {
            match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(None) => continue,
                Ok(Some(heard)) => return Ok(heard),
                Err(error) => return Err(error),
            }
            let timeout = milliseconds.map_or(PollTimeout::NONE, PollTimeout::from);
            match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Ok(Heard::Silence),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads one message; `None` when it is nobody's business.
    fn receive(&self) -> io::Result<Option<Heard>> {
        let mut message = vec![0; MESSAGE_SIZE];
        let mut parts = [IoSliceMut::new(&mut message)];
        let received =
            recvmsg::<NetlinkAddr>(self.0.as_raw_fd(), &mut parts, None, MsgFlags::empty());
        let received = match received {
            Ok(received) => received,
            Err(Errno::ENOBUFS) => return Ok(Some(Heard::Lost)),
            Err(Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let from_kernel = received.address.is_some_and(|sender| sender.pid() == 0);
        let whole = !received.flags.contains(MsgFlags::MSG_TRUNC);
        let length = received.bytes;
        message.truncate(length);
        Ok((from_kernel && whole).then_some(Heard::Event(message)))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
