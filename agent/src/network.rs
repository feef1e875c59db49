//! The machine's network: every physical port set up, the lease that iPXE handed over used at once,
//! and a DHCP client of its own on each port that has a link.
//!
//! The kernel does one thing at a time with all links, and a driver that sets its port up slowly holds up everything
//! behind it. So whatever asks the kernel has a thread, and no task waits for it but the one of that port.

mod names;
mod port;

use std::{collections::BTreeMap, io, path::Path, thread, time::Duration};

use linux::link::{Address, Link, Links, Monitor, State};
use protocol::{HandedLease, MacAddress};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use tracing::{info, warn};

use self::port::Port;
use crate::{
    finding::{Offer, Offers},
    machine::Phases,
};

/// How long to wait where the kernel does not say what happens to links.
const BREATH: Duration = Duration::from_millis(100);

/// What happened to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It gained or lost its link.
    Link {
        /// The kernel's name of it.
        port: String,
        /// Whether it has a link.
        up: bool,
    },
}

/// Says that the machine gained an address or a link.
#[derive(Debug, Clone)]
pub struct Online {
    /// Counts up each time.
    pub times: watch::Sender<u64>,
    /// Where servers may be, as far as it was heard.
    pub servers: watch::Sender<Offers>,
    /// Whether servers are looked for: nobody said who it is.
    pub seeks: watch::Receiver<bool>,
    /// Where the first address is noted.
    pub phases: Phases,
}

impl Online {
    fn gained_link(&self) {
        self.times.send_modify(|times| *times += 1);
    }

    fn heard_of(&self, port: &str, offer: Offer) {
        let (server, source) = (offer.server.clone(), offer.source);
        if self.servers.send_if_modified(|known| known.hear(offer)) {
            info!(port, server, by = source.words(), "where a server is");
        }
    }

    fn gained_address(&self) {
        self.phases.end("network");
        self.gained_link();
    }
}

/// Sets ports up and keeps them so, for ever. Nothing waits for the kernel here: a thread does.
pub async fn run(
    handed: Option<HandedLease>,
    online: Online,
    happenings: mpsc::UnboundedSender<Happening>,
) -> io::Result<()> {
    // Before the first look: what comes in between is heard.
    let monitor = Monitor::open()?;
    let links = Links::open()?;
    let tasks = Handle::current();
    let network = Network { links, tasks, handed, online, happenings, ports: BTreeMap::new() };
    let (alive, ended) = oneshot::channel();
    let keep = move || {
        let _alive: oneshot::Sender<()> = alive;
        keep(&monitor, network);
    };
    thread::Builder::new().name("links".to_owned()).spawn(keep)?;
    // It never ends but by a fault of ours.
    let _fault = ended.await;
    Ok(())
}

/// Looks at all ports, then hears of links, for ever.
fn keep(monitor: &Monitor, mut network: Network) -> ! {
    network.look();
    loop {
        match monitor.changes() {
            Ok(links) => links.into_iter().for_each(|link| network.follow(link)),
            Err(error) => {
                warn!(%error, "events of links were lost, looking at all of them again");
                thread::park_timeout(BREATH);
                network.look();
            }
        }
    }
}

struct Network {
    links: Links,
    /// Where ports are served.
    tasks: Handle,
    handed: Option<HandedLease>,
    online: Online,
    happenings: mpsc::UnboundedSender<Happening>,
    /// By the kernel's number.
    ports: BTreeMap<u32, watch::Sender<bool>>,
}

impl Network {
    fn look(&mut self) {
        match self.links.all() {
            Ok(links) => links.into_iter().for_each(|link| self.follow(link)),
            Err(error) => warn!(%error, "links cannot be listed"),
        }
    }

    /// Follows what the kernel says of one link.
    fn follow(&mut self, link: Link) {
        if link.state == State::Gone {
            self.ports.remove(&link.index);
            return;
        }
        let Some(mac) = link.mac.map(MacAddress).filter(|_| is_physical(&link.name)) else {
            return;
        };
        if link.state == State::Down
            && let Err(error) = self.links.set_up(link.index)
        {
            warn!(port = link.name, %error, "port cannot be set up");
        }
        if !self.ports.contains_key(&link.index) {
            self.begin(&link, mac);
        }
        let has = link.state == State::Carrier;
        let changed =
            self.ports[&link.index].send_if_modified(|had| std::mem::replace(had, has) != has);
        if changed {
            info!(port = link.name, up = has, "link");
            let happening = Happening::Link { port: link.name, up: has };
            let _nobody_left = self.happenings.send(happening);
            self.online.gained_link();
        }
    }

    /// Begins to serve a port.
    fn begin(&mut self, link: &Link, mac: MacAddress) {
        let handed = self.handed.take_if(|lease| lease.mac == mac);
        // The way that led here is the way out.
        let metric = if handed.is_some() { link.index } else { 1000 + link.index };
        info!(port = link.name, %mac, "port");
        let used = handed.and_then(|lease| self.use_handed(link, &lease, metric));
        let (tell, carrier) = watch::channel(false);
        let (name, names) = (link.name.clone(), port::Names::default());
        let port = Port { index: link.index, name, mac, metric, used, names };
        self.tasks.spawn(port::serve(port, carrier, self.online.clone()));
        self.ports.insert(link.index, tell);
    }

    /// Uses the lease that iPXE had, on the port that it had it on; it is confirmed later.
    fn use_handed(&mut self, link: &Link, lease: &HandedLease, metric: u32) -> Option<Address> {
        let prefix_bits =
            u8::try_from(lease.netmask.to_bits().leading_ones()).expect("32 bits at most");
        let address = Address { address: lease.address, prefix_bits };
        names::write(lease.name_server.as_slice());
        let done = self
            .links
            .set_up(link.index)
            .and_then(|()| self.links.add_address(link.index, address));
        // A gateway that cannot be reached is no reason to lose sight of an address that is there.
        if let Some(gateway) = lease.gateway
            && let Err(error) = self.links.set_default_route(link.index, gateway, metric)
        {
            warn!(port = link.name, %gateway, %error, "gateway of the boot program cannot be used");
        }
        match done {
            Ok(()) => {
                info!(port = link.name, address = %lease.address, "address from the boot program");
                self.online.gained_address();
                Some(address)
            }
            Err(error) => {
                warn!(port = link.name, %error, "lease of the boot program cannot be used");
                None
            }
        }
    }
}

/// Holds for ports with hardware behind them.
fn is_physical(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("device").exists()
}
