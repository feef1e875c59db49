//! A network for one case: a switch and stations in network namespaces of their own, with no way out.

mod announcer;
mod leftovers;
mod privilege;

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

use self::announcer::Announcer;

pub(crate) use self::{leftovers::clean as clean_leftovers, privilege::acquire as acquire_root};
use crate::process::run;

/// Every namespace of the harness begins with this, then the harness's process id.
const PREFIX: &str = "drydock-lab";

/// Distinguishes the labs of one run.
static NEXT_LAB: AtomicU32 = AtomicU32::new(0);

/// One switch, the stations and machines on it, and the files of the case. Undone when the last user drops it.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    ground: Arc<Ground>,
}

#[derive(Debug)]
struct Ground {
    name: String,
    /// Logs of the case, kept after it.
    logs: PathBuf,
    /// Disks, sockets, state directories: gone with the lab.
    scratch: TempDir,
    show_serial: bool,
    stations: Mutex<Vec<String>>,
    next_port: AtomicU32,
    announcer: Mutex<Option<Announcer>>,
}

/// A network namespace of a lab.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    name: String,
    // Keeps the lab while somebody may still run in it.
    _ground: Arc<Ground>,
}

/// A computer on the lab's switch that is a namespace of this machine: its only port is called `lan`.
#[derive(Debug, Clone)]
pub(crate) struct Station {
    /// How the lab calls it.
    pub(crate) name: String,
    /// Where its programs run.
    pub(crate) namespace: Namespace,
    /// Its address, in a /24.
    pub(crate) address: Ipv4Addr,
}

impl Lab {
    /// Makes a switch with nothing on it; logs go to a fresh directory `logs`.
    pub(crate) fn new(logs: &Path, show_serial: bool) -> Result<Lab> {
        if logs.exists() {
            fs::remove_dir_all(logs).with_context(|| format!("emptying {}", logs.display()))?;
        }
        fs::create_dir_all(logs).with_context(|| format!("making {}", logs.display()))?;
        let number = NEXT_LAB.fetch_add(1, Ordering::Relaxed);
        let ground = Ground {
            name: format!("{PREFIX}-{}-{number}", std::process::id()),
            logs: logs.to_owned(),
            scratch: TempDir::with_prefix(format!("{PREFIX}-{}-", std::process::id()))
                .context("making a scratch directory")?,
            show_serial,
            stations: Mutex::new(Vec::new()),
            next_port: AtomicU32::new(0),
            announcer: Mutex::new(None),
        };
        let lab = Lab { ground: Arc::new(ground) };
        let switch = lab.namespace("switch")?;
        switch.ip("link add lan type bridge forward_delay 0 mcast_snooping 0")?;
        switch.ip("link set lan addrgenmode none up")?;
        *lab.announcer() = Some(Announcer::start(&switch)?);
        Ok(lab)
    }

    /// Has nobody say any more that there is nothing over IPv6: everybody who wants it waits in vain.
    pub(crate) fn without_ipv6_router(&self) {
        *self.announcer() = None;
    }

    /// Puts a computer with a fixed address in a /24 on the switch. It has no route beyond.
    pub(crate) fn station(&self, name: &str, address: Ipv4Addr) -> Result<Station> {
        let port = self.next_port_name("port");
        let switch = self.switch();
        let namespace = self.namespace(name)?;
        namespace.ip("link set lo up")?;
        namespace.ip(&format!("link add lan type veth peer name {port} netns {}", switch.name))?;
        switch.ip(&format!("link set {port} master lan addrgenmode none up"))?;
        namespace.ip(&format!("addr add {address}/24 broadcast + dev lan"))?;
        namespace.ip("link set lan up")?;
        // 255.255.255.255 needs a way out even where there is no default route.
        namespace.ip("route add 255.255.255.255/32 dev lan")?;
        Ok(Station { name: name.to_owned(), namespace, address })
    }

    /// Adds a tap device to the switch for one port of a machine, and returns its name.
    pub(crate) fn tap(&self) -> Result<String> {
        let tap = self.next_port_name("tap");
        let switch = self.switch();
        switch.ip(&format!("tuntap add {tap} mode tap"))?;
        switch.ip(&format!("link set {tap} master lan addrgenmode none up"))?;
        Ok(tap)
    }

    /// Takes a tap device off the switch.
    pub(crate) fn remove_tap(&self, tap: &str) -> Result<()> {
        self.switch().ip(&format!("link del {tap}"))
    }

    /// Returns the namespace in which the switch is and machines run.
    pub(crate) fn switch(&self) -> Namespace {
        self.as_namespace("switch")
    }

    /// Returns a path for a file that vanishes with the lab.
    pub(crate) fn scratch(&self, file: &str) -> PathBuf {
        self.ground.scratch.path().join(file)
    }

    /// Returns a path for a file that is kept after the case.
    pub(crate) fn log(&self, file: &str) -> PathBuf {
        self.ground.logs.join(file)
    }

    /// Returns whether serial consoles are shown while they talk.
    pub(crate) fn shows_serial(&self) -> bool {
        self.ground.show_serial
    }

    fn namespace(&self, station: &str) -> Result<Namespace> {
        let namespace = self.as_namespace(station);
        run("ip", &["netns", "add", &namespace.name])?;
        self.ground
            .stations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(namespace.name.clone());
        Ok(namespace)
    }

    fn as_namespace(&self, station: &str) -> Namespace {
        Namespace {
            name: format!("{}-{station}", self.ground.name),
            _ground: Arc::clone(&self.ground),
        }
    }

    fn announcer(&self) -> MutexGuard<'_, Option<Announcer>> {
        self.ground.announcer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_port_name(&self, kind: &str) -> String {
        format!("{kind}{}", self.ground.next_port.fetch_add(1, Ordering::Relaxed))
    }
}

impl Station {
    /// Drops what comes from the switch for a port, as a firewall does: silently.
    pub(crate) fn drop_incoming(&self, protocol: &str, port: u16) -> Result<()> {
        // Routing rules, because they need no program and no kernel module beyond `ip`'s. The kernel looks up
        // addresses of this machine by the rule with preference 0: it has to come after ours.
        self.namespace.ip("rule add pref 100 lookup local")?;
        self.namespace.ip("rule del pref 0")?;
        self.namespace
            .ip(&format!("rule add pref 10 iif lan ipproto {protocol} dport {port} blackhole"))
    }

    /// Gets a file by plain HTTP from a program on the station, through its own address; fails unless it answers 200.
    pub(crate) fn http_get(&self, port: u16, path: &str) -> Result<String> {
        let (status, body) = self.http_ask(self.address, port, path)?;
        ensure!(status == 200, "{path}: {status}");
        Ok(body)
    }

    /// Asks a computer of the lab for a file by plain HTTP, and returns its status and what it sent.
    pub(crate) fn http_ask(&self, of: Ipv4Addr, port: u16, path: &str) -> Result<(u16, String)> {
        let stream = self.namespace.inside(|| {
            TcpStream::connect((of, port)).with_context(|| format!("connecting to {of}:{port}"))
        })?;
        let asking = || -> io::Result<String> {
            let mut answer = Vec::new();
            stream.set_read_timeout(Some(START_PATIENCE))?;
            write!(&stream, "GET {path} HTTP/1.1\r\nHost: {of}\r\nConnection: close\r\n\r\n")?;
            (&stream).read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = asking().with_context(|| format!("getting {path}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.with_context(|| format!("{path}: {head}"))?, body.to_owned()))
    }
}

impl Namespace {
    /// Returns its name, as `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on the namespace, with words separated by blanks.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
        let mut arguments = vec!["-n", self.name.as_str()];
        arguments.extend(words.split(' '));
        run("ip", &arguments).map(drop)
    }

    /// Does something on a thread inside the namespace: sockets made there stay there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = Path::new("/run/netns").join(&self.name);
        let enter = move || {
            let door = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            setns(door, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
            work()
        };
        thread::scope(|scope| {
            scope.spawn(enter).join().map_err(|_| anyhow!("a thread in {} panicked", self.name))?
        })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let stations = self.stations.get_mut().unwrap_or_else(PoisonError::into_inner);
        for station in stations.drain(..) {
            if let Err(error) = run("ip", &["netns", "del", &station]) {
                crate::story::warn(&format!("{error:#}"));
            }
        }
    }
}

/// How long anything that takes part in a lab may take to start: generous, for a busy machine.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(30);
