//! A router's word that there is nothing to be had over IPv6.
//!
//! iPXE waits 16 s for such a word in every boot, after it has its address over IPv4.

use std::{
    io::Read as _,
    net::{Ipv6Addr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Namespace;

/// How often it looks whether its time is over.
const INTERVAL: Duration = Duration::from_millis(200);
/// RFC 4291 §2.7.1.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// RFC 4861 §4.1.
const SOLICITATION: u8 = 133;
/// RFC 4861 §4.2: hop limit 64, no DHCP for IPv6, not a default router, no prefix. The kernel fills in the checksum.
const ADVERTISEMENT: [u8; 16] = [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Answers everybody who asks for a router; stops in `Drop`.
#[derive(Debug)]
pub(super) struct Announcer {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    /// Starts to answer on the port `lan` of a namespace.
    pub(super) fn start(namespace: &Namespace) -> Result<Announcer> {
        namespace.ip("addr add fe80::1/64 dev lan nodad")?;
        let (socket, everybody) = namespace.inside(|| {
            let lan = if_nametoindex("lan").context("finding lan")?;
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))
                .context("opening a socket for ICMPv6")?;
            socket.set_multicast_if_v6(lan).context("choosing lan")?;
            // RFC 4861 §6.1.2: anything else comes from another network.
            socket.set_multicast_hops_v6(255).context("setting the hop limit")?;
            socket.join_multicast_v6(&ALL_ROUTERS, lan).context("joining the routers")?;
            socket.set_read_timeout(Some(INTERVAL)).context("setting a time limit")?;
            Ok((socket, SockAddr::from(SocketAddrV6::new(ALL_NODES, 0, 0, lan))))
        })?;
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                let mut kind = [0];
                // A message longer than the buffer is cut, which is no error.
                let heard = (&socket).read(&mut kind);
                let is_question = heard.is_ok() && kind == [SOLICITATION];
                if is_question {
                    drop(socket.send_to(&ADVERTISEMENT, &everybody));
                }
            }
        });
        Ok(Announcer { ends, thread: Some(thread) })
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
