//! The real server, and what it says of machines: through its command and its files, as a person would ask.

mod explained;
mod known;
mod orders;

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

pub(crate) use self::{
    explained::in_words,
    known::{Known, is_name_of},
    orders::Ordered,
};
use crate::{
    checkout,
    lab::{Lab, Station},
    machine::Booted,
    process::{Process, run},
    router::ROUTER,
    wait,
};

/// Where the server lives in every lab.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Its plain HTTP port.
pub(crate) const HTTP_PORT: u16 = 7480;

/// The agents' door.
pub(crate) const TLS_PORT: u16 = 7443;

/// How its command ends when the server refuses.
const REFUSED: i32 = 4;

/// How it shares the network with a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It owns DHCP: there is no router.
    Authoritative,
    /// It answers beside the router.
    Proxy,
    /// It leaves DHCP alone: the router names it.
    Off,
}

/// A server; stopped in `Drop`.
#[derive(Debug)]
pub(crate) struct Server {
    station: Station,
    process: Process,
    state: PathBuf,
    hardware: PathBuf,
    config: PathBuf,
    assets: PathBuf,
    log: PathBuf,
    clock: ClockIs,
}

/// Whether somebody vouches for the server's clock: without a time service nothing is installed otherwise (SAFETY.md 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClockIs {
    TakenAsItIs,
    Trusted,
}

impl Server {
    /// Starts a server with nothing in its configuration but the network.
    pub(crate) fn start(lab: &Lab, mode: Mode) -> Result<Server> {
        Server::configured(lab, mode, "")
    }

    /// Starts a server with these lines below `spec.network.discovery`.
    pub(crate) fn configured(lab: &Lab, mode: Mode, discovery: &str) -> Result<Server> {
        Server::serving(lab, mode, discovery, checkout::image()?)
    }

    /// Starts a server whose clock a person vouches for: it may install.
    pub(crate) fn trusting_its_clock(lab: &Lab, mode: Mode) -> Result<Server> {
        Server::launched(lab, configuration(mode, ""), checkout::image()?, ClockIs::Trusted)
    }

    /// Starts one that may install, and from which installed systems may hear who they are.
    pub(crate) fn serving_metadata(lab: &Lab, mode: Mode) -> Result<Server> {
        let configuration =
            configuration(mode, "") + "  server:\n    metadata:\n      enabled: true\n";
        Server::launched(lab, configuration, checkout::image()?, ClockIs::Trusted)
    }

    /// Starts a server that serves these images, and says by `spec.server.httpBoot` what firmware gets that boots by HTTP;
    /// it may wipe.
    pub(crate) fn booting_by_http(
        lab: &Lab,
        mode: Mode,
        http_boot: &str,
        assets: PathBuf,
    ) -> Result<Server> {
        Server::set_up(lab, mode, &format!("httpBoot: {http_boot}"), assets)
    }

    /// Starts a server with this line below `spec.server` in its configuration.
    pub(crate) fn set_up(lab: &Lab, mode: Mode, line: &str, assets: PathBuf) -> Result<Server> {
        let configuration = configuration(mode, "") + &format!("  server:\n    {line}\n");
        Server::launched(lab, configuration, assets, ClockIs::Trusted)
    }

    /// Starts a server that serves these boot programs and images.
    pub(crate) fn serving(
        lab: &Lab,
        mode: Mode,
        discovery: &str,
        assets: PathBuf,
    ) -> Result<Server> {
        Server::launched(lab, configuration(mode, discovery), assets, ClockIs::TakenAsItIs)
    }

    fn launched(
        lab: &Lab,
        configuration: String,
        assets: PathBuf,
        clock: ClockIs,
    ) -> Result<Server> {
        let station = lab.station("server", SERVER)?;
        let config = lab.log("drydock.yaml");
        fs::write(&config, configuration).context("writing the configuration")?;
        let (state, hardware) = (lab.scratch("state"), lab.log("hardware"));
        let log = lab.log("server.log");
        let process = Server::launch(&station, &config, &state, &hardware, &assets, &log, clock)?;
        let mut server = Server { station, process, state, hardware, config, assets, log, clock };
        server.answers()?;
        Ok(server)
    }

    /// Fails, with its words, when it has ended by itself.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }

    /// Kills it without a word, as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again, on what is on its disk.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let Server { station, config, state, hardware, assets, log, clock, .. } = &*self;
        self.process = Server::launch(station, config, state, hardware, assets, log, *clock)?;
        self.answers()
    }

    /// Drops what comes for a port on its way in, as a firewall does.
    pub(crate) fn firewall(&self, protocol: &str, port: u16) -> Result<()> {
        self.station.drop_incoming(protocol, port)
    }

    /// Runs one of its verbs beside it and returns what it printed.
    pub(crate) fn command(&self, words: &[&str]) -> Result<String> {
        let output = self.output_of(words)?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("drydock {}: {}: {}", words.join(" "), output.status, complaint.trim());
        }
        String::from_utf8(output.stdout).with_context(|| format!("reading what {words:?} printed"))
    }

    /// Runs one of its verbs, which it must refuse, and returns the sentence that says why.
    pub(crate) fn refuses(&self, words: &[&str]) -> Result<String> {
        let output = self.output_of(words)?;
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let code = output.status.code();
        if code != Some(REFUSED) {
            bail!("drydock {} was not refused: {code:?}: {complaint}", words.join(" "));
        }
        Ok(complaint)
    }

    fn output_of(&self, words: &[&str]) -> Result<Output> {
        let program = checkout::drydock()?;
        Command::new(&program)
            .args(words)
            .arg("--state")
            .arg(&self.state)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running drydock {}", words.join(" ")))
    }

    /// Returns the computer that it runs on.
    pub(crate) fn station(&self) -> &Station {
        &self.station
    }

    /// Returns what its command prints for the owner of a router of this kind.
    pub(crate) fn recipe(&self, router: &str) -> Result<String> {
        // On the server itself: it looks at the interfaces.
        let program = checkout::drydock()?;
        let paths = [&program, &self.config, &self.state, &self.assets].map(|path| path.to_str());
        let [Some(program), Some(config), Some(state), Some(assets)] = paths else {
            bail!("the checkout's path is no UTF-8");
        };
        let inside = ["netns", "exec", self.station.namespace.name(), program, "router", router];
        let options = ["--config", config, "--state", state, "--assets", assets];
        run("ip", &[&inside[..], &options[..]].concat())
    }

    /// Runs one of its verbs and reads the JSON that it printed.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Value> {
        let text = self.command(&[words, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("reading {words:?} as JSON: {text}"))
    }

    /// Returns all machines that it knows.
    pub(crate) fn machines(&self) -> Result<Vec<Value>> {
        let list = self.ask(&["machines", "list"])?;
        match list {
            Value::Array(machines) => Ok(machines),
            other => bail!("`machines list -o json` is no list: {other}"),
        }
    }

    /// Returns all records: file name without extension, and content.
    pub(crate) fn records(&self) -> Result<Vec<(String, Value)>> {
        let directory = &self.hardware;
        let mut records = Vec::new();
        let Ok(entries) = fs::read_dir(directory) else { return Ok(records) };
        for entry in entries {
            let path = entry.context("reading the hardware directory")?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                let record = serde_saphyr::from_str(&text)
                    .with_context(|| format!("reading {} as YAML", path.display()))?;
                let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
                records.push((name.unwrap_or_default(), record));
            }
        }
        Ok(records)
    }

    /// Waits until the machine has a record that describes it and keeps others away, and returns what is known of it.
    pub(crate) fn waits_for(&mut self, booted: &Booted) -> Result<Known> {
        let machine = &booted.machine;
        let what = format!("the record of {} ({})", machine.name, machine.mac());
        wait::until(&what, crate::cases::BOOT_PATIENCE, || {
            self.process.must_run()?;
            Ok(Known::with_port(&self.records()?, machine.mac()).map(drop))
        })?;
        // An agent may speak before it has seen every disk.
        self.records_of(machine.mac(), |known| {
            known.describes(machine)?;
            known.is_held("approval", "pending")
        })
    }

    /// Gets a file from its plain HTTP port, as a machine on the network would.
    pub(crate) fn fetch(&self, path: &str) -> Result<String> {
        self.station.http_get(HTTP_PORT, path)
    }

    /// Returns its key's pin, as it stands on the command line of every kernel that it boots.
    pub(crate) fn pin(&self) -> Result<String> {
        let script =
            self.fetch("/script.ipxe?mac=02:00:00:00:00:01&arch=x86_64&platform=pcbios")?;
        let pin = script.split_whitespace().find_map(|word| word.strip_prefix("drydock.pin="));
        Ok(pin.with_context(|| format!("no pin in the script:\n{script}"))?.to_owned())
    }

    /// Returns a place for a file that ends with it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.state.with_file_name(name)
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    fn launch(
        station: &Station,
        config: &Path,
        state: &Path,
        hardware: &Path,
        assets: &Path,
        log: &Path,
        clock: ClockIs,
    ) -> Result<Process> {
        let program = checkout::drydock()?;
        let mut arguments: Vec<OsString> = vec!["serve".into()];
        if clock == ClockIs::Trusted {
            arguments.push("--trust-clock".into());
        }
        let runtime = state.with_extension("run");
        let named = [
            ("--config", config),
            ("--state", state),
            ("--runtime", &runtime),
            ("--hardware", hardware),
            ("--assets", assets),
        ];
        for (option, path) in named {
            arguments.push(option.into());
            arguments.push(path.into());
        }
        Process::start(&station.namespace, "drydock", &program, &arguments, log)
    }

    /// Waits until its operators' door answers.
    fn answers(&mut self) -> Result<()> {
        let mut refusal = String::new();
        // Before it becomes authoritative it listens for other servers.
        wait::until("the server's operators' door", Duration::from_mins(1), || {
            self.process.must_run()?;
            let machines = self.machines().inspect_err(|error| refusal = format!("{error:#}"));
            Ok(machines.ok().map(drop))
        })
        .with_context(|| format!("at last: {refusal}"))
    }
}

/// Returns a configuration file as a person would write it.
fn configuration(mode: Mode, discovery: &str) -> String {
    let dhcp = match mode {
        Mode::Authoritative => format!(
            "        staticIP:\n          address: {SERVER}\n          gateway: {ROUTER}\n          \
             nameservers: [{ROUTER}]\n        dhcp:\n          drydockManagesDHCP: true\n          \
             rangeStart: {}\n          rangeEnd: {}\n          reserveIPsForDiscoveredNodes: true\n",
            known::LENT.start(),
            known::LENT.end(),
        ),
        Mode::Proxy => "        dhcp:\n          drydockManagesDHCP: false\n".to_owned(),
        Mode::Off => String::new(),
    };
    let discovery = match discovery {
        "" => String::new(),
        lines => format!("    discovery:\n{lines}"),
    };
    format!(
        "apiVersion: drydock.evoteum.com/v1alpha1\nkind: BootstrapConfig\nspec:\n  network:\n    vlans:\n      \
         - name: lab\n        cidr: 10.77.0.0/24\n{dhcp}{discovery}"
    )
}
