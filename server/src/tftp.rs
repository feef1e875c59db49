//! Read-only TFTP on one port, for firmware that speaks nothing else: boot programs, first scripts, and all
//! that a Raspberry Pi loads.
//!
//! Every answer comes from the port that was asked, so that it passes address translation and container networks
//! without help (RFC 1350 would have a port for each transfer); transfers are told apart by the client's address and port.

mod desk;
mod pace;
mod packet;
mod shelf;
mod terms;
mod transfer;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc, time};
use tracing::{debug, warn};

pub use self::desk::{Action, Desk, Ticket};
use self::shelf::Shelf;
use crate::boot::{Asset, Assets, Context};

/// Longer than any request; firmware sends at most 512 bytes (RFC 2347).
const PACKET_BYTES: usize = 2048;
/// Room for a cold start of many machines, in the kernel's queues.
const QUEUE_BYTES: usize = 1 << 20;
/// How long a socket that fails is left alone.
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);

/// What clients may take of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transfers at once.
    pub transfers: usize,
    /// Transfers at once with one address.
    pub transfers_per_address: usize,
}

impl Default for Limits {
    /// Some racks that are switched on together; a machine has one transfer at a time, and may have left one behind.
    fn default() -> Self {
        Self { transfers: 1024, transfers_per_address: 8 }
    }
}

/// A port that was taken, before anything is started.
#[derive(Debug)]
pub struct Bound {
    socket: std::net::UdpSocket,
    address: SocketAddrV4,
}

/// Says why the port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error("TFTP port in use: {0}/udp (another TFTP server, dnsmasq?)")]
    InUse(SocketAddrV4),
    /// The kernel gives low ports to root and to holders of `CAP_NET_BIND_SERVICE`.
    #[error("not allowed to take the TFTP port: {0}/udp needs root or CAP_NET_BIND_SERVICE")]
    NotAllowed(SocketAddrV4),
    /// Something else.
    #[error("taking the TFTP port {address}/udp")]
    Failed {
        /// What was to be taken.
        address: SocketAddrV4,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Takes a port of an interface's address. Port 0 takes any, for tests.
pub fn bind(address: Ipv4Addr, port: u16) -> Result<Bound, BindError> {
    let address = SocketAddrV4::new(address, port);
    let take = || {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let queues = socket2::SockRef::from(&socket);
        // The kernel caps them silently, and smaller ones only cost repetitions.
        queues.set_recv_buffer_size(QUEUE_BYTES)?;
        queues.set_send_buffer_size(QUEUE_BYTES)?;
        let SocketAddr::V4(address) = socket.local_addr()? else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        Ok(Bound { socket, address })
    };
    take().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
        _ => BindError::Failed { address, source },
    })
}

impl Bound {
    /// Returns the address and port that were taken.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Serves until `shutdown` ends. Fails only where the runtime does not take the socket.
    pub async fn run(
        self,
        context: Context,
        limits: Limits,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let socket = UdpSocket::from_std(self.socket)?;
        let assets = context.assets.clone();
        let large = Shelf::default();
        let mut desk = Desk::new(context, limits);
        let (bring, mut brought) = mpsc::unbounded_channel();
        let mut packet = vec![0; PACKET_BYTES];
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let actions = tokio::select! {
                () = &mut shutdown => return Ok(()),
                received = socket.recv_from(&mut packet) => match received {
                    Ok((length, SocketAddr::V4(client))) => {
                        desk.receive(client, &packet[..length], Instant::now())
                    }
                    Ok((_, SocketAddr::V6(_))) => Vec::new(),
                    Err(error) => {
                        warn!(%error, "receiving on the TFTP port");
                        time::sleep(AFTER_AN_ERROR).await;
                        Vec::new()
                    }
                },
                Some((ticket, read)) = brought.recv() => {
                    desk.loaded(ticket, read, Instant::now())
                }
                () = sleep_until(desk.deadline()) => desk.wake(Instant::now()),
            };
            for action in actions {
                match action {
                    Action::Send(client, bytes) => {
                        // A packet that cannot be sent is a packet lost: it is sent again.
                        if let Err(error) = socket.send_to(&bytes, client).await {
                            debug!(%client, %error, "sending from the TFTP port");
                        }
                    }
                    Action::Load(ticket, asset, build) => {
                        let assets = build.map_or_else(|| assets.clone(), |build| assets.of(build));
                        load(assets, large.clone(), asset, ticket, bring.clone());
                    }
                }
            }
        }
    }
}

/// Takes files that were read, or why they could not be.
type Bring = mpsc::UnboundedSender<(Ticket, Result<Bytes, String>)>;

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Reads a file where reading may block. As many at once as there are transfers at most.
fn load(assets: Assets, shelf: Shelf, asset: Asset, ticket: Ticket, bring: Bring) {
    // Not joined: it ends by itself, and with the server nobody waits for what it brings.
    tokio::task::spawn_blocking(move || {
        let content = match assets.read(asset) {
            Ok(opened) => shelf.take(opened, Instant::now()).map_err(|error| error.to_string()),
            Err(error) => Err(format!("{:#}", anyhow::Error::new(error))),
        };
        // An error says that the server has stopped.
        drop(bring.send((ticket, content)));
    });
}

#[cfg(test)]
mod tests;
