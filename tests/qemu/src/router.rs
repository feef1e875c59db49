//! The network's router, as people have it: a real dnsmasq.

mod careless;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

pub(crate) use self::careless::CarelessRouter;
use crate::{
    lab::{Lab, START_PATIENCE, Station},
    machine,
    process::Process,
    wait,
};

/// Where the router lives in every lab.
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Where the one for IPv6 lives.
const ROUTER6: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

/// What the boot programs of [`Router::with_own_boot_server`] say.
pub(crate) const FROM_NETWORK: &str = "STARTED FROM THE NETWORK";

/// A router that gives addresses; stopped in `Drop`.
#[derive(Debug)]
pub(crate) struct Router {
    process: Process,
    station: Station,
    leases: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
}

impl Router {
    /// Starts a router that knows nothing of network boot.
    pub(crate) fn plain(lab: &Lab) -> Result<Router> {
        Router::configured(lab, "")
    }

    /// Starts a router whose owner has added these lines to its configuration.
    pub(crate) fn configured(lab: &Lab, lines: &str) -> Result<Router> {
        let station = lab.station("router", ROUTER)?;
        let range = "dhcp-authoritative\ndhcp-range=10.77.0.100,10.77.0.199,1h";
        Router::start(lab, station, &format!("{range}\n# What its owner added.\n{lines}"))
    }

    /// Starts a router that gives addresses over IPv6 only, and knows nothing of network boot.
    ///
    /// UEFI firmware tries HTTP Boot over IPv6 after IPv4, and gives up a minute sooner where it gets an address.
    pub(crate) fn ipv6_only(lab: &Lab) -> Result<Router> {
        // One is enough.
        lab.without_ipv6_router();
        let station = lab.station("router6", ROUTER6)?;
        station.namespace.ip("addr add fd77::1/64 dev lan nodad")?;
        Router::start(lab, station, "enable-ra\ndhcp-range=fd77::100,fd77::1ff,64,1h\n")
    }

    /// Starts a router that boots machines by itself, into programs that say [`FROM_NETWORK`]: without Drydock.
    pub(crate) fn with_own_boot_server(lab: &Lab) -> Result<Router> {
        let files = lab.scratch("tftp");
        fs::create_dir(&files).context("making the router's TFTP directory")?;
        machine::write_network_programs(&files, FROM_NETWORK)?;
        let lines = format!(
            "enable-tftp\ntftp-root={}\ndhcp-match=set:efi,option:client-arch,7\n\
             dhcp-boot=tag:efi,program.efi\ndhcp-boot=tag:!efi,program.bios\n",
            files.display()
        );
        Router::configured(lab, &lines)
    }

    fn start(lab: &Lab, station: Station, lines: &str) -> Result<Router> {
        let name = &station.name;
        let leases = lab.scratch(&format!("{name}.leases"));
        let file = lab.log(&format!("{name}.conf"));
        // It answers questions for names only where its owner gave it some.
        let names = if lines.contains("host-record=") { "" } else { "port=0\n" };
        let text = format!(
            "{names}interface=lan\nbind-interfaces\nlog-dhcp\ndhcp-leasefile={}\npid-file={}\n{lines}\n",
            leases.display(),
            lab.scratch(&format!("{name}.pid")).display(),
        );
        fs::write(&file, text).context("writing the router's configuration")?;
        let log = lab.log(&format!("{name}.log"));
        let process = Router::launch(&station, &file, &log)?;
        Ok(Router { process, station, leases, configuration: file, log })
    }

    fn launch(station: &Station, configuration: &Path, log: &Path) -> Result<Process> {
        let configuration = format!("--conf-file={}", configuration.display());
        // `--no-daemon` also leaves user and group alone: there may be only one in this user namespace.
        let arguments = ["--no-daemon", "--log-facility=-", &configuration].map(Into::into);
        let begins = fs::metadata(log).map_or(0, |log| log.len());
        let dnsmasq = Path::new("dnsmasq");
        let mut process = Process::start(&station.namespace, "dnsmasq", dnsmasq, &arguments, log)?;
        wait::until("the router", START_PATIENCE, || {
            process.must_run()?;
            let words = fs::read(log).context("reading the router's log")?;
            let words = words.get(usize::try_from(begins)?..).unwrap_or_default();
            Ok(String::from_utf8_lossy(words).contains(", IP range").then_some(()))
        })?;
        Ok(process)
    }

    /// Is unplugged.
    pub(crate) fn leaves(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Is plugged in again.
    pub(crate) fn comes_back(&mut self) -> Result<()> {
        self.process = Router::launch(&self.station, &self.configuration, &self.log)?;
        Ok(())
    }

    /// Drops what comes for a port of the router on its way in, as a firewall does.
    pub(crate) fn firewall(&self, protocol: &str, port: u16) -> Result<()> {
        self.station.drop_incoming(protocol, port)
    }

    /// Returns whether the router has given an address to this port.
    pub(crate) fn has_leased_to(&self, mac: &str) -> bool {
        let leases = fs::read_to_string(&self.leases).unwrap_or_default();
        leases.lines().any(|line| line.split(' ').nth(1) == Some(mac))
    }
}
