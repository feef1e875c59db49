//! The life of PID 1, from the first mount to the restart.

mod race;
mod talk;

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::{EventKind, Level, Pin};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{debug, error, info, warn};

#[cfg(feature = "offline")]
pub(crate) use self::talk::Talk;
use self::talk::Talker;
#[cfg(feature = "offline")]
use crate::offline::{self, Topic};
use crate::{
    boot, console, devices,
    engine::Engine,
    farewell,
    finding::{self, Offer, Offers, Source},
    kexec,
    machine::{Painter, Phases},
    manifest, network, panel,
    session::{ClientError, End, Said, Session},
    settings,
    settings::{Settings, SettingsError},
    signals::{Request, Signals},
    watchdog,
    work::Worker,
};

/// Says why PID 1 cannot go on.
#[derive(Debug, thiserror::Error)]
enum LifeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Contradiction(#[from] settings::Contradiction),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("reading {path}")]
    Read { path: &'static str, source: io::Error },
    #[error("starting {what}")]
    Start { what: &'static str, source: io::Error },
    #[error("{0}")]
    Failed(String),
}

/// How long a boot that must stop waits for somebody to tell: slow switches take 30 s to forward.
const NETWORK_PATIENCE: Duration = Duration::from_mins(1);

/// The session, where the farewell finds it.
static SESSION: OnceLock<Session> = OnceLock::new();

/// Returns the session with the server, once there is one.
pub(crate) fn session() -> Option<&'static Session> {
    SESSION.get()
}

/// What one of the two programs can do beyond waiting.
#[derive(Debug, Clone, Copy)]
pub struct Craft {
    /// What it does for the server.
    pub worker: Worker,
    #[cfg(feature = "offline")]
    /// What it does for a person at the console of a machine that started from a medium.
    pub topic: Option<Topic>,
}

/// Is PID 1 until the machine restarts. To be called after [`boot::check`].
pub fn run(name: &'static str, version: &'static str, craft: Craft) -> ! {
    gather_chance();
    let failures = boot::prepare();
    console::open();
    farewell::catch_panics();
    info!("{name} {version}");
    for failure in failures {
        error!("{failure}");
    }
    let end = match catch_unwind(AssertUnwindSafe(|| live(name, version, craft))) {
        Ok(Ok(end)) => end,
        Ok(Err(error)) => fail(&chain(&error)),
        Err(payload) => {
            let words = inventory::guard::words(payload.as_ref()).to_owned();
            fail(&farewell::last_failure().unwrap_or(words))
        }
    };
    match end {
        // The watchdogs stay armed: a restart that hangs ends in a reset.
        End::Restart | End::SwitchOff => watchdog::feed_last(),
        End::Kexec => kexec::prepare(),
    }
    go_down(end)
}

/// Has the kernel begin to gather randomness at once: without a source in hardware it takes a second
/// from the first time that somebody asks, and the key of this boot waits for it.
fn gather_chance() {
    let gather = || {
        crate::session::random();
    };
    // Without the thread the key asks first, and the boot takes a second longer.
    let _later = std::thread::Builder::new().name("chance".to_owned()).spawn(gather);
}

fn fail(reason: &str) -> End {
    let said = catch_unwind(|| farewell::perform(SESSION.get(), reason));
    if said.is_err() {
        error!("the farewell failed too");
    }
    End::Restart
}

fn go_down(end: End) -> ! {
    loop {
        info!(?end, "going down");
        console::drain();
        let error = match end {
            End::Restart => linux::power::restart(),
            End::SwitchOff => linux::power::switch_off(),
            End::Kexec => {
                let refused = linux::kexec::start();
                error!(error = %refused, "the loaded kernel does not start: restarting");
                linux::power::restart()
            }
        };
        error!(%error, ?end, "the kernel refuses");
        std::thread::park_timeout(Duration::from_secs(10));
    }
}

fn live(system: &'static str, version: &'static str, craft: Craft) -> Result<End, LifeError> {
    let phases = Phases::default();
    phases.end("kernel");
    if let Err(error) = linux::power::catch_ctrl_alt_del() {
        warn!(%error, "Ctrl-Alt-Del restarts without a word");
    }
    let settings = read_settings()?;
    let findings = devices::Findings::default();
    let (tell_news, news) = mpsc::unbounded_channel();
    let announced = Arc::new(AtomicBool::new(false));
    let told = devices::Told { network_storage: settings.network_storage, medium: settings.medium };
    let started = devices::start(findings.clone(), tell_news, announced.clone(), told);
    started.map_err(|source| LifeError::Start { what: "the devices' thread", source })?;
    // Beside the first drivers, and long before anything is announced.
    manifest::check(&findings);
    let (boot_port, from_medium) = (settings.port, settings.medium);
    let painter = Painter { system, version, boot_port, from_medium, findings, phases };
    let engine =
        Engine::start().map_err(|source| LifeError::Start { what: "the runtime", source })?;
    engine.block_on(converse(settings, painter, news, &announced, craft))
}

fn read_settings() -> Result<Settings, LifeError> {
    let path = "/proc/cmdline";
    let line = fs::read_to_string(path).map_err(|source| LifeError::Read { path, source })?;
    let settings = settings::read(&line, carried(settings::IMAGE_PINS)?.as_deref())?;
    let server = carried(settings::IMAGE_SERVER)?.map(|server| server.trim().to_owned());
    Ok(Settings { server: server.or(settings.server), ..settings })
}

/// Reads a file that an image may carry.
fn carried(path: &'static str) -> Result<Option<String>, LifeError> {
    match fs::read_to_string(Path::new(path)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LifeError::Read { path, source }),
    }
}

/// Runs everything that waits for others: signals, network, the picture, the session.
async fn converse(
    settings: Settings,
    painter: Painter,
    news: mpsc::UnboundedReceiver<devices::News>,
    announced: &AtomicBool,
    craft: Craft,
) -> Result<End, LifeError> {
    let mut signals =
        Signals::open().map_err(|source| LifeError::Start { what: "signals", source })?;
    let (tell_online, online) = watch::channel(0);
    let (tell_happening, mut happenings) = mpsc::unbounded_channel();
    let (show, picture) = watch::channel(None);
    let (ask, asked) = mpsc::unbounded_channel();
    let (say, mut said) = mpsc::unbounded_channel();

    let has_console = settings.medium && cfg!(feature = "offline");
    let way = finding::way(settings.server.as_deref(), &settings.pins, has_console);
    let mut known = Offers::default();
    if let (finding::Way::Ask, Some(server)) = (&way, settings.server.clone()) {
        known.hear(Offer { server, source: Source::Said });
    }
    let (tell_servers, heard) = watch::channel(known);
    let (seeks, is_sought) =
        watch::channel(matches!(way, finding::Way::Search(_) | finding::Way::Ask));
    let phases = painter.phases.clone();
    let tell_online =
        network::Online { times: tell_online, servers: tell_servers, seeks: is_sought, phases };
    let network = tokio::spawn(network::run(settings.lease, tell_online, tell_happening));
    let (phases, findings) = (painter.phases.clone(), painter.findings.clone());
    #[cfg(feature = "offline")]
    let system = painter.system;
    tokio::spawn(painter.run(news, asked, show));
    let worker = Some(craft.worker);
    let talker = Talker { worker, findings, heard, picture: picture.clone(), online, say, seeks };
    let talk = async {
        match settings.contradiction {
            Some(contradiction) => {
                let online = talker.online.clone();
                Err(stop(contradiction, settings.server, settings.pins, online).await)
            }
            #[cfg(feature = "offline")]
            None if has_console => {
                let (topic, picture, offers) =
                    (craft.topic, talker.picture.clone(), talker.heard.clone());
                let seat = offline::Seat { system, topic, way, picture, offers };
                offline::sit(seat, |way| talker.speak(way)).await
            }
            None => talker.speak(way).await,
        }
    };
    tokio::pin!(talk);
    tokio::pin!(network);
    let server = || SESSION.get().map(Session::server).unwrap_or_default();
    loop {
        tokio::select! {
            end = &mut talk => return end,
            reason = farewell::failure() => return Err(LifeError::Failed(reason)),
            ended = &mut network => return Err(match ended {
                Ok(Err(source)) => LifeError::Start { what: "the network", source },
                _ => LifeError::Failed("the network's task ended".to_owned()),
            }),
            request = signals.next() => {
                info!(?request, "asked to restart");
                if let (Some(session), Request::Restart) = (SESSION.get(), request) {
                    let leave = session.say_last(Level::Info, EventKind::Leaves { reason: "Ctrl-Alt-Del or SIGTERM".to_owned() });
                    // Whoever asks again does not want to wait for the server.
                    tokio::select! {
                        () = leave => {}
                        _ = signals.next() => {}
                    }
                }
                return Ok(End::Restart);
            }
            Some(words) = said.recv() => match words {
                Said::Welcome(welcome) => {
                    phases.end("announced");
                    announced.store(true, Ordering::Relaxed);
                    debug!(resident = resident(), "memory");
                    info!(machine = welcome.machine, "the server knows this machine");
                    if let Some(announce) = &*picture.borrow() {
                        console::show(&panel::draw(&announce.inventory, server(), &welcome));
                    }
                }
                Said::LookAgain => {
                    let _nobody_left = ask.send(());
                }
            },
            Some(happening) = happenings.recv() => {
                let network::Happening::Link { port, up } = happening;
                if let Some(session) = SESSION.get() {
                    session.note(Level::Info, EventKind::Link { port, up });
                }
            }
        }
    }
}

/// Makes ready to say why the boot stops, to whom the image trusts. A server with another key hears nothing
/// but that it is refused, and can tell that.
async fn stop(
    contradiction: settings::Contradiction,
    server: Option<String>,
    pins: Vec<Pin>,
    mut online: watch::Receiver<u64>,
) -> LifeError {
    let Some(server) = server else { return contradiction.into() };
    // The farewell speaks through it.
    let session = match Session::new(&server, pins) {
        Ok(session) => SESSION.get_or_init(|| session),
        Err(error) => {
            warn!(%error, "nobody is told why this boot stops");
            return contradiction.into();
        }
    };
    let way = async {
        let _address = online.changed().await;
        session.finds_way().await;
    };
    if timeout(NETWORK_PATIENCE, way).await.is_err() {
        warn!("nobody is told why this boot stops: no network");
    }
    contradiction.into()
}

/// Returns how much memory this program has at this moment, as the kernel writes it.
fn resident() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().to_owned())
}

/// Shows an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
