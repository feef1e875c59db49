//! One port: its DHCP client with a socket, a clock and the kernel.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use dhcp::Message;
use linux::link::{Address, Links};
use protocol::MacAddress;
use tokio::{
    net::UdpSocket,
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use super::Online;
use crate::{
    finding::{Offer, Source, dns},
    lease::{Action, Client, Lease},
    session::random,
};

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// The largest datagram that is read.
const DATAGRAM_SIZE: usize = 1500;

/// How long to wait before a socket that cannot be had is tried again.
const SOCKET_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is asked again where a server is, while none is known.
const SEEK_PERIOD: Duration = Duration::from_mins(1);

/// A port that is served.
#[derive(Debug)]
pub(super) struct Port {
    /// The kernel's number of it.
    pub(super) index: u32,
    /// The kernel's name of it.
    pub(super) name: String,
    /// Its address.
    pub(super) mac: MacAddress,
    /// Which port's way out is taken: the lowest.
    pub(super) metric: u32,
    /// The address that it has already.
    pub(super) used: Option<Address>,
    /// What DNS can be asked through: the domain and the name servers of its lease.
    pub(super) names: Names,
}

/// The domain and the name servers of a lease.
pub(super) type Names = (Option<String>, Vec<Ipv4Addr>);

/// Keeps a lease on the port, until the port is gone and nobody holds the other end of `carrier`.
pub(super) async fn serve(mut port: Port, mut carrier: watch::Receiver<bool>, online: Online) {
    let socket = loop {
        match open(&port.name) {
            Ok(socket) => break socket,
            Err(error) => {
                warn!(port = port.name, %error, "no socket for DHCP");
                tokio::select! {
                    () = sleep(SOCKET_PATIENCE) => {}
                    gone = carrier.wait_for(|_| false) => if gone.is_err() { return },
                }
            }
        }
    };
    let handed = port.used.map(|used| used.address);
    let mut client = Client::new(port.mac, handed, Instant::now());
    let mut datagram = [0; DATAGRAM_SIZE];
    carrier.mark_changed();
    let mut seek = interval(SEEK_PERIOD);
    seek.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let deadline = client.deadline();
        let time = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => pending().await,
            }
        };
        let actions = tokio::select! {
            changed = carrier.changed() => {
                if changed.is_err() {
                    return;
                }
                if *carrier.borrow_and_update() {
                    client.link_up(Instant::now(), random())
                } else {
                    client.link_down();
                    Vec::new()
                }
            }
            () = time => client.time(Instant::now(), random()),
            _ = seek.tick() => {
                if port.used.is_none() || !*online.seeks.borrow() {
                    continue;
                }
                look(&port, &online);
                client.inquire(random())
            }
            received = socket.recv_from(&mut datagram) => match received {
                Ok((length, _)) => match Message::parse(&datagram[..length]) {
                    Ok(message) => client.receive(Instant::now(), random(), &message),
                    Err(error) => {
                        debug!(port = port.name, %error, "no DHCP message");
                        Vec::new()
                    }
                },
                // A port that went down says so on its socket too.
                Err(error) => {
                    debug!(port = port.name, %error, "receiving");
                    Vec::new()
                }
            },
        };
        let is_leased = actions.iter().any(|action| matches!(action, Action::Use(_)));
        for action in actions {
            perform(&mut port, &socket, &online, action).await;
        }
        if is_leased && *online.seeks.borrow() {
            look(&port, &online);
        }
    }
}

/// Asks by DNS where a server is, beside everything else.
fn look(port: &Port, online: &Online) {
    let (name, online, (domain, servers)) = (port.name.clone(), online.clone(), port.names.clone());
    tokio::spawn(async move {
        for offer in dns::look(&name, domain.as_deref(), &servers).await {
            online.heard_of(&name, offer);
        }
    });
}

fn open(name: &str) -> io::Result<UdpSocket> {
    UdpSocket::from_std(linux::port::udp(name, CLIENT_PORT)?)
}

async fn perform(port: &mut Port, socket: &UdpSocket, online: &Online, action: Action) {
    match action {
        Action::Broadcast(message) => send(port, socket, &message, Ipv4Addr::BROADCAST).await,
        Action::Unicast(message, server) => send(port, socket, &message, server).await,
        Action::Use(lease) => {
            if use_lease(port, lease).await {
                online.gained_address();
            }
        }
        Action::Hear(server) => {
            online.heard_of(&port.name, Offer { server, source: Source::Dhcp });
        }
        Action::GiveUp(address) => {
            info!(port = port.name, %address, "address given up");
            if let Some(used) = port.used.take_if(|used| used.address == address) {
                let index = port.index;
                let given_up = spawn_blocking(move || Links::open()?.remove_address(index, used));
                if let Err(error) = given_up.await.unwrap_or_else(|fault| Err(fault.into())) {
                    warn!(port = port.name, %error, "address cannot be taken away");
                }
            }
        }
    }
}

async fn send(port: &Port, socket: &UdpSocket, message: &Message, to: Ipv4Addr) {
    let bytes = message.encode(dhcp::DEFAULT_LIMIT);
    debug!(port = port.name, kind = ?message.options.message_type(), %to, "DHCP");
    // What is lost on the way is asked again.
    if let Err(error) = socket.send_to(&bytes, SocketAddrV4::new(to, SERVER_PORT)).await {
        debug!(port = port.name, %error, "sending");
    }
}

/// Has the port use what was lent, and says whether it does.
async fn use_lease(port: &mut Port, lease: Lease) -> bool {
    let address = Address { address: lease.address, prefix_bits: lease.prefix_bits };
    let before = port.used;
    let (index, metric) = (port.index, port.metric);
    let gateway = lease.gateway;
    let set = spawn_blocking(move || set(index, metric, before, address, gateway));
    match set.await.unwrap_or_else(|fault| Err(fault.into())) {
        Err(error) => {
            warn!(port = port.name, %error, "lease cannot be used");
            return false;
        }
        // Without its gateway the address still serves the port's own network.
        Ok(Err(error)) => warn!(port = port.name, ?gateway, %error, "gateway cannot be used"),
        Ok(Ok(())) => {}
    }
    port.used = Some(address);
    if before == Some(address) {
        debug!(port = port.name, "lease renewed");
    } else {
        info!(
            port = port.name,
            address = %lease.address,
            server = %lease.server,
            seconds = lease.duration.map(|duration| duration.as_secs()),
            "lease"
        );
    }
    super::names::write(&lease.name_servers);
    port.names = (lease.domain, lease.name_servers);
    true
}

/// Gives the port its address, then the way out; says of each whether the kernel took it. Waits for other ports' drivers.
fn set(
    index: u32,
    metric: u32,
    before: Option<Address>,
    address: Address,
    gateway: Option<Ipv4Addr>,
) -> io::Result<io::Result<()>> {
    let links = Links::open()?;
    links.add_address(index, address)?;
    // The same address with another mask is another address to the kernel.
    if let Some(before) = before.filter(|before| *before != address) {
        let _gone_already = links.remove_address(index, before);
        links.add_address(index, address)?;
    }
    Ok(gateway.map_or(Ok(()), |gateway| links.set_default_route(index, gateway, metric)))
}
