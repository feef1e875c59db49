//! The server: everything is checked and bound first, then started together, then stopped together.
//!
//! ```text
//! configuration ─► plan ─► ports ─► state directory ─► run ─► stop: doors first, then what they wrote to disk
//! ```

mod network;
pub mod state;
mod storage;

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use protocol::{MacAddress, Pin};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tracing::{error, info, warn};

use self::{
    network::{Ports, Routes, Taken},
    state::{State, StateError, key_path},
};
use crate::{
    api::{
        agents,
        key::KeyError,
        operators::{self, Bridge},
        socket::{Socket, SocketError},
    },
    boot::{self, AssetError, Assets},
    certificate::{CertificateError, Certificates},
    clock::{Clock, Standing, Trust},
    config::{self, Config, ConfigError, Network, Plan, PlanError, interface},
    dhcp, explain,
    hardware::{Keeper, RecordSettings, Reservation, keep},
    image::{ImageError, Images},
    journal::{Entry, Journal, JournalError, What},
    machine::{self, Past, Registry, Witness},
    metadata::{self, Metadata},
    moment, tftp,
};

/// Where packages put boot programs and images.
pub const ASSETS: &str = "/usr/share/drydock";

/// How long the parts may take to stop.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long what is not yet on disk may take to be written when the server stops.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// How often is looked for orders whose time is over; none is handed out late because of that.
const EXPIRY: Duration = Duration::from_secs(10);
/// How long a lease of a reserved address lasts, in records (SAFETY.md 17).
const RESERVED_LEASE_SECONDS: u32 = 86_400;

/// What a person said on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration.
    pub config: Option<PathBuf>,
    /// The state directory.
    pub state: PathBuf,
    /// Where records are written.
    pub hardware: PathBuf,
    /// Where boot programs and images are.
    pub assets: PathBuf,
    /// Where is noted, outside of the state directory, how far that is; a place of our own choice where absent.
    pub runtime: Option<PathBuf>,
    /// The interface, where no configuration names one.
    pub interface: Option<String>,
    /// Whether the clock may be behind the journal or kept by nobody.
    pub trust: Trust,
}

/// Says why the server cannot start. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is wrong.
    #[error("configuration {path}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// The interfaces could not be read.
    #[error("reading the network interfaces")]
    Interfaces(#[source] io::Error),
    /// The configuration does not fit this machine.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What stands in the boot scripts makes no sense.
    #[error("spec.server")]
    Boot(#[from] boot::SettingsError),
    /// A boot program or image is missing.
    #[error("assets {path}")]
    Assets {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: AssetError,
    },
    /// Records cannot be written.
    #[error("hardware directory {path}")]
    Hardware {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be noted there how far the state directory is.
    #[error("runtime directory {path}")]
    Runtime {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The machines cannot be read.
    #[error(transparent)]
    Machines(#[from] machine::StoreError),
    /// A TCP port cannot be had.
    #[error("{what} on {interface}: taking {address}:{port}/tcp")]
    Tcp {
        /// What it is for.
        what: &'static str,
        /// The interface.
        interface: String,
        /// The address.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The TFTP port cannot be had.
    #[error("TFTP on {interface}")]
    Tftp {
        /// The interface.
        interface: String,
        /// Why.
        source: tftp::BindError,
    },
    /// DHCP cannot start.
    #[error("DHCP")]
    Dhcp(#[from] dhcp::BindError),
    /// The certificates cannot be had.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The images cannot be had.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// The operators' door cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Signals cannot be received.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
    /// A part ended by itself.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// A server with all its ports, ready to run.
#[derive(Debug)]
pub struct Bound {
    state: State,
    config: Config,
    plan: Plan,
    assets: Assets,
    hardware: PathBuf,
    journal: Journal,
    clock: Clock,
    registry: Registry,
    images: Images,
    certificates: Certificates,
    /// Filled before anything runs; the registry's teller needs it from the start.
    leases: Arc<OnceLock<Vec<dhcp::Handle>>>,
    socket: Socket,
    ports: Vec<Ports>,
}

/// Returns what stands in the boot scripts of a network.
pub fn boot_settings(
    config: &Config,
    network: &Network,
    pin: Pin,
) -> Result<boot::Settings, boot::SettingsError> {
    let usual = boot::SettingsAsWritten::usual(network.dhcp.server_address(), vec![pin]);
    let consoles =
        if config.consoles.is_empty() { usual.consoles } else { config.consoles.clone() };
    boot::Settings::check(boot::SettingsAsWritten {
        http_port: config.http_port,
        agents_port: config.tls_port,
        consoles,
        network_storage: config.network_storage,
        ..usual
    })
}

/// Checks and binds everything. Whatever fails, nothing was answered on any port.
pub async fn bind(options: Options) -> Result<Bound, ServeError> {
    let config = match &options.config {
        Some(path) => Config::read(path)
            .map_err(|source| ServeError::Config { path: path.clone(), source })?,
        None => Config::default(),
    };
    let interfaces = interface::read().map_err(ServeError::Interfaces)?;
    let plan = Plan::make(&config, &interfaces, options.interface.as_deref())?;
    // With any pin: whether it makes sense must be known before a key is made.
    for network in &plan.networks {
        boot_settings(&config, network, Pin([0; 32]))?;
    }
    let metadata = plan.metadata(&config)?;
    let assets = Assets::open(&options.assets)
        .map_err(|source| ServeError::Assets { path: options.assets.clone(), source })?;
    for network in &plan.networks {
        let settings = boot_settings(&config, network, Pin([0; 32]))?;
        let checked = config.http_boot.check(&assets, &settings);
        let checked = checked.and_then(|()| config.pxe_boot.check(&assets));
        checked.map_err(|source| ServeError::Assets { path: options.assets.clone(), source })?;
    }
    let (state, taken) = claim(&options.state, &plan, &config).await?;
    prepare_hardware(&options.hardware)
        .map_err(|source| ServeError::Hardware { path: options.hardware.clone(), source })?;
    let journal = Journal::open(Arc::clone(&state.database))?;
    if options.trust == Trust::Person {
        journal.begin_anew(moment::now())?;
    }
    let clock = Clock::new(journal.clone(), options.trust);
    let leases: Arc<OnceLock<Vec<dhcp::Handle>>> = Arc::default();
    let settings = machine::Settings {
        lists: config.lists.clone(),
        home: state.home(),
        past: past(&state, options.runtime.as_deref())?,
        metadata,
        ..machine::Settings::default()
    };
    let teller = teller(journal.clone(), Arc::clone(&leases));
    let registry = Registry::open(Arc::clone(&state.database), settings, Arc::new(teller))?;
    let (database, key) = (Arc::clone(&state.database), Arc::clone(&state.key));
    let images = Images::open(state.path(), database, key)?;
    let certificates = Certificates::open(state.path(), Arc::clone(&state.database))?;
    let socket = Socket::bind(&state.socket()).await?;
    let ports: Vec<Ports> =
        taken.into_iter().map(|taken| taken.with(&state)).collect::<Result<_, _>>()?;
    // Nothing was put there before.
    drop(leases.set(ports.iter().map(Ports::lease_handle).collect()));
    let hardware = options.hardware;
    Ok(Bound {
        state,
        config,
        plan,
        assets,
        hardware,
        journal,
        clock,
        registry,
        images,
        certificates,
        leases,
        socket,
        ports,
    })
}

/// Takes the ports, and opens the state directory.
///
/// One that is there is opened first: a server that runs on it is the better reason to refuse.
/// A new one is made last, with its key: whatever fails before leaves nothing behind.
async fn claim(
    directory: &Path,
    plan: &Plan,
    config: &Config,
) -> Result<(State, Vec<Taken>), ServeError> {
    let existing = match key_path(directory).try_exists() {
        Ok(false) => None,
        Ok(true) | Err(_) => Some(State::open(directory)?),
    };
    let mut taken = Vec::new();
    for network in &plan.networks {
        taken.push(Taken::take(network, config).await?);
    }
    let state = match existing {
        Some(state) => state,
        None => State::open(directory)?,
    };
    Ok((state, taken))
}

/// Takes what the registry tells: into the journal, and to DHCP where a machine has reached our system.
fn teller(
    journal: Journal,
    leases: Arc<OnceLock<Vec<dhcp::Handle>>>,
) -> impl Fn(Entry) + Send + Sync {
    move |entry: Entry| {
        if let (What::Announced { .. }, Some(mac)) = (&entry.what, entry.mac) {
            leases.get().into_iter().flatten().for_each(|handle| handle.reached_system(mac));
        }
        journal.record(entry);
    }
}

/// Finds the place that says how far the state directory is; says so where there is none.
fn past(state: &State, runtime: Option<&Path>) -> Result<Option<Past>, ServeError> {
    let directory = match runtime {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .map_err(|source| ServeError::Runtime { path: directory.to_owned(), source })?;
            Some(directory.to_owned())
        }
        None => state::runtime_directory(),
    };
    let Some(directory) = directory else {
        warn!(
            "nowhere to note how far the state directory is: if it goes back in time, that is not noticed; \
             name a directory outside of it with --runtime"
        );
        return Ok(None);
    };
    let witness = Witness::new(&directory, state.path(), state.key.pin());
    Ok(Some(Past { witness: Arc::new(witness), boot: state::boot_of_the_host() }))
}

fn prepare_hardware(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    let access = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    Ok(nix::unistd::access(path, access)?)
}

impl Bound {
    /// Serves until SIGTERM or SIGINT, or until a part fails.
    pub async fn run(self) -> Result<(), ServeError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        self.run_until(stop).await
    }

    /// Serves until `stop` is done, or until a part fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self {
            state,
            config,
            plan,
            assets,
            hardware,
            journal,
            clock,
            registry,
            images,
            certificates,
            leases,
            socket,
            ports,
        } = self;
        let networks: Vec<explain::Network> =
            plan.networks.iter().map(|network| network::shown(network, &config)).collect();
        say_clock(&clock);
        assets.say_what_is_missing();
        let (stopping, stopped) = watch::channel(());
        let mut parts: JoinSet<&'static str> = JoinSet::new();
        let agents = agents::routes(
            registry.clone(),
            images.clone(),
            assets.clone(),
            journal.clone(),
            clock.clone(),
            certificates.clone(),
        );
        for (port, network) in ports.into_iter().zip(&plan.networks) {
            let settings = boot_settings(&config, network, state.key.pin())?;
            let context = context(&registry, &journal, &assets, settings);
            let files = boot::router(context.clone());
            let plain = match config.metadata {
                config::Metadata::Off => files,
                config::Metadata::On { .. } => {
                    Metadata::new(registry.clone(), Arc::new(metadata::mac_of)).before(files)
                }
            };
            let routes = Routes { plain, agents: agents.clone() };
            port.start(&mut parts, context, routes, &journal, &registry, &stopped);
        }
        let bridge = Bridge {
            registry: registry.clone(),
            images,
            journal: journal.clone(),
            key: Arc::clone(&state.key),
            networks: networks.clone(),
            clock,
            assets: assets.clone(),
            certificates,
        };
        let until = network::done(&stopped);
        parts.spawn(async move {
            tokio::select! {
                () = socket.run(operators::routes(bridge)) => {}
                () = until => {}
            }
            "the operators' door"
        });
        let (expiring, until) = (registry.clone(), network::done(&stopped));
        parts.spawn(async move {
            tokio::select! {
                () = expire(expiring) => {}
                () = until => {}
            }
            "the end of orders"
        });
        let keeper = keeper(&registry, &journal, hardware, &plan, leases);
        let until = network::done(&stopped);
        parts.spawn(async move {
            tokio::select! {
                never = keep(keeper) => match never {},
                () = until => {}
            }
            "the keeper of records"
        });
        for network in &networks {
            let explain::Network { interface, address, mode, .. } = network;
            info!(interface, %address, ?mode, http = config.http_port, tls = config.tls_port, "serving");
        }
        info!(pin = %state.key.pin(), machines = registry.list().len(), "ready");
        let result = tokio::select! {
            () = stop => Ok(()),
            ended = parts.join_next() => Err(match ended {
                Some(Ok(part)) => ServeError::Ended(part),
                Some(Err(_)) | None => ServeError::Ended("a part of the server"),
            }),
        };
        info!("stopping");
        drop(stopped);
        drop(stopping);
        let all = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            parts.shutdown().await;
        }
        write_the_rest(&state, &registry, &journal).await;
        result
    }
}

/// Says once what is held of the clock; `drydock status` says it at any time.
fn say_clock(clock: &Clock) {
    match clock.standing() {
        Standing::Synchronised => {}
        Standing::Trusted => info!("the clock is trusted, because of --trust-clock"),
        Standing::Doubtful { reason } => warn!(
            reason,
            sets_agents_clocks = clock.unix_milliseconds().is_some(),
            "nothing that destroys is handed out while the clock is in doubt"
        ),
    }
}

/// Ends orders when their time is over, so that whoever follows one hears of it.
async fn expire(registry: Registry) {
    let mut clock = tokio::time::interval(EXPIRY);
    loop {
        clock.tick().await;
        registry.tidy();
    }
}

/// Writes what is only in memory; gives up where the disk stays full.
async fn write_the_rest(state: &State, registry: &Registry, journal: &Journal) {
    let (machines, entries) = (registry.clone(), journal.clone());
    let mut writing = tokio::task::spawn_blocking(move || {
        machines.close();
        entries.close();
    });
    if tokio::time::timeout(LAST_WRITES, &mut writing).await.is_err() {
        error!("the state directory cannot be written: what was not yet written is lost");
        state.give_up();
        drop(writing.await);
    }
}

fn context(
    registry: &Registry,
    journal: &Journal,
    assets: &Assets,
    settings: boot::Settings,
) -> boot::Context {
    let (decides, lists) = (registry.clone(), registry.clone());
    let (knows, notes) = (registry.clone(), registry.clone());
    let journal = journal.clone();
    boot::Context {
        assets: assets.clone(),
        decide: Arc::new(move |traveller| decides.decide(traveller)),
        has_network_storage: Arc::new(move |traveller, system| {
            lists.has_network_storage(traveller, system)
        }),
        mac_of: Arc::new(move |address| knows.mac_of(address)),
        note_address: Arc::new(move |mac, address| notes.note_address(mac, address)),
        journal: Arc::new(move |entry| journal.record(entry)),
        boards: boot::Boards::default(),
        settings: Arc::new(settings),
    }
}

fn keeper(
    registry: &Registry,
    journal: &Journal,
    directory: PathBuf,
    plan: &Plan,
    leases: Arc<OnceLock<Vec<dhcp::Handle>>>,
) -> Keeper {
    let reserving: Vec<bool> =
        plan.networks.iter().map(|network| network.reserve_for_discovered).collect();
    let runtime = tokio::runtime::Handle::current();
    let reservations = move |mac: MacAddress| {
        let handles = leases.get().into_iter().flatten().zip(&reserving);
        let reserving = handles.filter(|(_, reserving)| **reserving);
        // Called on a thread for disks: it may wait.
        let kept = reserving.map(|(handle, _)| runtime.block_on(handle.reserve(mac)));
        let kept = kept.flatten().next()?;
        Some(Reservation {
            address: kept.address,
            netmask: kept.mask,
            gateway: kept.router,
            name_servers: kept.name_servers,
            lease_seconds: RESERVED_LEASE_SECONDS,
        })
    };
    let journal = journal.clone();
    Keeper {
        registry: registry.clone(),
        directory,
        settings: RecordSettings::default(),
        reservations: Arc::new(reservations),
        tell: Arc::new(move |entry| journal.record(entry)),
    }
}

#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod tests;
