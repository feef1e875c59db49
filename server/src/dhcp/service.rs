//! DHCP on one interface, at work: sockets, clocks and the disk around the pure parts.

use std::{
    fmt, io,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::MacAddress;
use redb::Database;
use tokio::time;

use super::{
    caller::{PROXY_PORT, SERVER_PORT},
    conflict::Conflicts,
    lease::{
        Lease, Leases,
        store::{Store, StoreError, Written},
    },
    lookout::{Heard, Lookout, Sight, chosen_server},
    pace::Pace,
    settings::{Mode, Settings},
    watch::Watch,
    wire::{
        Port,
        interface::{self, Interface},
    },
};
use crate::{
    boot::Board,
    decision::{Boot, Traveller},
    journal::{Entry, Silence, Unserved},
};

mod work;

/// How long until a lost interface is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Why DHCP cannot start on an interface.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The interface is not there.
    #[error("no network interface {interface}")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The interface does not have the server's address.
    #[error("interface {interface} does not have the address {address}")]
    NoAddress {
        /// Its name.
        interface: String,
        /// The server's address.
        address: Ipv4Addr,
    },
    /// The kernel does not tell of interfaces.
    #[error("reading the state of interface {interface}")]
    Interface {
        /// Its name.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// A port is taken, or not ours to take.
    #[error("binding UDP port {port} on {interface}")]
    Port {
        /// The port.
        port: u16,
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// No packet sockets: `CAP_NET_RAW` is missing.
    #[error("opening a packet socket on {interface}")]
    Packets {
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// Another server lends addresses.
    #[error(
        "another DHCP server answers on {interface}: {server}; use proxy mode beside it, or turn it off"
    )]
    AnotherServer {
        /// The interface.
        interface: String,
        /// The server.
        server: Ipv4Addr,
    },
    /// The stored leases cannot be read.
    #[error("opening the leases of {interface}")]
    Leases {
        /// The interface.
        interface: String,
        /// Why.
        source: StoreError,
    },
}

/// What the other parts do for DHCP. None of it may block: answers wait for it.
#[derive(Clone)]
pub struct Seams {
    decide: Arc<dyn Fn(&Traveller) -> Boot + Send + Sync>,
    note_address: Arc<dyn Fn(MacAddress, Ipv4Addr) + Send + Sync>,
    journal: Arc<dyn Fn(Entry) + Send + Sync>,
    see_board: Arc<SeeBoard>,
}

/// Is told of a Raspberry Pi and of what it is to boot, and says why it cannot; nothing where it can.
type SeeBoard = dyn Fn(MacAddress, Board, &Boot) -> Option<Silence> + Send + Sync;

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams").finish_non_exhaustive()
    }
}

impl Seams {
    /// Names who decides what a machine boots, who is told which port has which address, and who keeps the story.
    pub fn new(
        decide: impl Fn(&Traveller) -> Boot + Send + Sync + 'static,
        note_address: impl Fn(MacAddress, Ipv4Addr) + Send + Sync + 'static,
        journal: impl Fn(Entry) + Send + Sync + 'static,
    ) -> Self {
        Self {
            decide: Arc::new(decide),
            note_address: Arc::new(note_address),
            journal: Arc::new(journal),
            see_board: Arc::new(|_, board, boot| match boot {
                Boot::System(_) => {
                    let model = board.model.name().to_owned();
                    Some(Silence::RaspberryPi { model, because: Unserved::NoFiles })
                }
                Boot::OwnDisk | Boot::Silence(_) => None,
            }),
        }
    }

    /// Names who is told of each Raspberry Pi and of what it is to boot, and says why it cannot. Without it none boots a system.
    #[must_use]
    pub fn with_boards(
        self,
        see_board: impl Fn(MacAddress, Board, &Boot) -> Option<Silence> + Send + Sync + 'static,
    ) -> Self {
        Self { see_board: Arc::new(see_board), ..self }
    }
}

/// DHCP on one interface with its ports open, ready to run.
#[derive(Debug)]
pub struct Bound {
    core: Arc<Core>,
    open: Open,
}

/// A door for the other parts to one interface's DHCP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Core>);

/// An address that a machine keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub address: Ipv4Addr,
    /// The subnet mask.
    pub mask: Ipv4Addr,
    /// The first router, where one is configured.
    pub router: Option<Ipv4Addr>,
    /// Name servers, best first. May be empty.
    pub name_servers: Vec<Ipv4Addr>,
}

#[derive(Debug)]
struct Core {
    settings: Settings,
    state: Mutex<State>,
    /// Absent unless authoritative.
    store: Option<Store>,
}

#[derive(Debug)]
struct State {
    leases: Leases,
    pace: Pace,
    watch: Watch,
    /// The foreign server that was told of last, and when.
    told: Option<(Ipv4Addr, Instant)>,
}

/// Everything that is open on an interface, and must be opened anew when its device is replaced.
#[derive(Debug)]
struct Open {
    interface: Interface,
    ports: Vec<Arc<Port>>,
    conflicts: Option<Arc<Conflicts>>,
    lookout: Option<Lookout>,
}

/// DHCP on one interface with its ports open, without its leases.
#[derive(Debug)]
pub struct Opened {
    settings: Settings,
    open: Open,
    watch: Watch,
}

/// Opens what DHCP needs on an interface; in authoritative mode only where no other server answers,
/// which takes 4.5 s to find out. Nothing is answered before [`Bound::run`].
pub async fn open(settings: Settings) -> Result<Opened, BindError> {
    let mut open = Open::all(&settings)?;
    let mut watch = Watch::Serving;
    if let Mode::Authoritative { force, .. } = settings.mode() {
        let interface = settings.interface().to_owned();
        if !open.interface.is_running && !force {
            // Nobody can answer a probe through a pulled cable: it comes when the cable does.
            watch = Watch::Astray;
        } else if let Some(server) = open.find_server(&settings).await? {
            if !force {
                return Err(BindError::AnotherServer { interface, server });
            }
            tracing::warn!(%interface, %server, "another DHCP server answers: forced to go on");
        }
    }
    Ok(Opened { settings, open, watch })
}

impl Opened {
    /// Adds the leases. `database` holds them, in a table of its own; `directory` is where it lies, for the room there.
    pub fn with_leases(
        self,
        database: &Arc<Database>,
        directory: &Path,
    ) -> Result<Bound, BindError> {
        let Self { settings, open, watch } = self;
        let mut store = None;
        let mut leases = Leases::default();
        if let Mode::Authoritative { subnets, .. } = settings.mode() {
            let (opened, stored) =
                Store::open(Arc::clone(database), directory).map_err(|source| {
                    BindError::Leases { interface: settings.interface().to_owned(), source }
                })?;
            store = Some(opened);
            leases = Leases::restore(stored, subnets);
        }
        let now = Instant::now();
        let state = State { leases, pace: Pace::new(now), watch, told: None };
        let core = Core { settings, state: Mutex::new(state), store };
        Ok(Bound { core: Arc::new(core), open })
    }
}

impl Bound {
    /// The door for the other parts.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.core))
    }

    /// Answers until `shutdown` is done. Goes on through a device that is unplugged and comes back.
    pub async fn run(self, seams: Seams, shutdown: impl Future<Output = ()>) {
        let Self { core, mut open } = self;
        let work = async {
            loop {
                work::until_replaced(&core, &seams, &mut open).await;
                let interface = core.settings.interface();
                tracing::warn!(interface, "the network interface is gone: waiting for it");
                drop(open);
                open = loop {
                    time::sleep(RETRY).await;
                    match Open::all(&core.settings) {
                        Ok(open) => break open,
                        Err(error) => tracing::debug!(interface, %error, "not yet back"),
                    }
                };
                tracing::info!(interface, "the network interface is back");
                if let Mode::Authoritative { force: false, .. } = core.settings.mode() {
                    core.state().watch = Watch::Astray;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown => {}
        }
    }
}

impl Handle {
    /// The address that a port has, or had last, where we lend addresses.
    pub fn address_of(&self, mac: MacAddress) -> Option<Ipv4Addr> {
        let state = self.0.state();
        let subnets = self.0.settings.subnets();
        subnets.iter().find_map(|subnet| state.leases.address_of(mac, subnet))
    }

    /// Keeps a port's address for good, and says what to write into its record. Absent where it has none of ours.
    pub async fn reserve(&self, mac: MacAddress) -> Option<Reservation> {
        let (subnet, address, lease) = {
            let mut state = self.0.state();
            let subnets = self.0.settings.subnets();
            subnets.iter().find_map(|subnet| {
                let (address, lease) = state.leases.reserve(mac, subnet)?;
                Some((subnet, address, lease))
            })?
        };
        self.0.write(address, lease).await;
        Some(Reservation {
            address,
            mask: subnet.mask(),
            router: subnet.routers().first().copied(),
            name_servers: subnet.name_servers().to_vec(),
        })
    }

    /// Lets a port's address go back to the pool when its lease lapses.
    pub async fn unreserve(&self, mac: MacAddress) {
        let changed = self.0.state().leases.unreserve(mac);
        for (address, lease) in changed {
            self.0.write(address, lease).await;
        }
    }

    /// Says that the machine reached one of our systems, so its boots so far were no loop.
    pub fn reached_system(&self, mac: MacAddress) {
        self.0.state().pace.reached_system(mac);
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, address: Ipv4Addr, lease: Lease) {
        if let Some(store) = &self.store
            && store.write(address, lease).await == Written::Later
        {
            tracing::debug!(%address, "answering before the lease is stored");
        }
    }
}

impl Open {
    fn all(settings: &Settings) -> Result<Self, BindError> {
        let name = settings.interface();
        let address = settings.server_address();
        let interface = interface::read(name)
            .map_err(|source| BindError::Interface { interface: name.to_owned(), source })?
            .ok_or_else(|| BindError::NoInterface { interface: name.to_owned() })?;
        if !interface.addresses.contains(&address) {
            return Err(BindError::NoAddress { interface: name.to_owned(), address });
        }
        let numbers: &[u16] = match settings.mode() {
            Mode::Authoritative { .. } | Mode::Proxy => &[SERVER_PORT, PROXY_PORT],
            Mode::Off => &[],
        };
        let mut ports = Vec::new();
        for &port in numbers {
            let interface = || name.to_owned();
            let bound = Port::bind(name, port).map_err(|source| BindError::Port {
                port,
                interface: interface(),
                source,
            })?;
            ports.push(Arc::new(bound));
        }
        let packets = |source| BindError::Packets { interface: name.to_owned(), source };
        let is_authoritative = matches!(settings.mode(), Mode::Authoritative { .. });
        let conflicts = if is_authoritative {
            Some(Arc::new(Conflicts::open(&interface, address).map_err(packets)?))
        } else {
            None
        };
        let lookout = match Lookout::open(&interface, address).map_err(packets) {
            Ok(lookout) => Some(lookout),
            Err(error) if is_authoritative => return Err(error),
            Err(error) => {
                tracing::warn!(%error, interface = name, "other DHCP servers will not be seen");
                None
            }
        };
        Ok(Self { interface, ports, conflicts, lookout })
    }

    /// Probes once, and once more as a client that names another server meanwhile.
    async fn find_server(&mut self, settings: &Settings) -> Result<Option<Ipv4Addr>, BindError> {
        let Some(lookout) = &mut self.lookout else { return Ok(None) };
        lookout.begin_probe(None, Instant::now());
        let mut is_named = false;
        loop {
            let sight = lookout.watch().await.map_err(|source| BindError::Packets {
                interface: settings.interface().to_owned(),
                source,
            })?;
            match sight {
                Sight::ProbeEnded => return Ok(None),
                Sight::Heard(heard) => match *heard {
                    Heard::Server(reply) if reply.lends_addresses() => {
                        lookout.end_probe();
                        return Ok(Some(reply.server));
                    }
                    Heard::Client(message)
                        if !is_named
                            && chosen_server(&message, settings.server_address()).is_some() =>
                    {
                        is_named = true;
                        lookout.begin_probe(Some(message.chaddr), Instant::now());
                    }
                    Heard::Server(_) | Heard::Client(_) => {}
                },
            }
        }
    }
}
