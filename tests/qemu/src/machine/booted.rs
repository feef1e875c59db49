//! A machine that is switched on.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    Disk, Files, Machine, arm,
    frozen::{self, Security},
    qmp::Qmp,
    timer::TimerWatch,
    watchdog,
};
use crate::{
    lab::{Lab, START_PATIENCE},
    process::{Process, run},
    wait,
};

/// A machine that is switched on; switched off in `Drop`.
#[derive(Debug)]
pub(crate) struct Booted {
    /// What was switched on.
    pub(crate) machine: Machine,
    files: Files,
    // Dropped in this order: the conversations, the machine, its cables.
    _timer: Option<TimerWatch>,
    qmp: Qmp,
    process: Process,
    _show: Option<Show>,
    taps: Vec<String>,
    lab: Lab,
}

impl Booted {
    pub(super) fn switch_on(machine: Machine, lab: &Lab) -> Result<Booted> {
        let taps: Vec<String> = machine.ports.iter().map(|_| lab.tap()).collect::<Result<_>>()?;
        let name = &boot_name(&machine.name, lab);
        let files = Files {
            serial: lab.log(&format!("{name}.serial.log")),
            beacon: lab.scratch(&format!("{name}.beacon")),
            control: lab.scratch(&format!("{name}.qmp")),
        };
        let arguments: Vec<OsString> = machine.arguments(lab, &taps, &files)?;
        let qemu = Path::new(if machine.is_arm { arm::PROGRAM } else { "qemu-system-x86_64" });
        let log = lab.log(&format!("{name}.qemu.log"));
        let show = lab.shows_serial().then(|| Show::start(name, &files.serial));
        let mut process = Process::start(&lab.switch(), name, qemu, &arguments, &log)?;
        let qmp = wait::until("QEMU's control socket", START_PATIENCE, || {
            process.must_run()?;
            Qmp::connect(&files.control)
        })?;
        let timer = (!machine.is_arm)
            .then(|| TimerWatch::start(name, &files.serial, files.second_control()));
        let lab = lab.clone();
        Ok(Booted { machine, files, _timer: timer, qmp, process, _show: show, taps, lab })
    }

    /// Freezes it, between two of its instructions.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        self.qmp.command("stop", &json!({})).map(drop)
    }

    /// Lets it go on after [`Booted::freeze`].
    pub(crate) fn thaw(&mut self) -> Result<()> {
        self.qmp.command("cont", &json!({})).map(drop)
    }

    /// Pulls a disk out, counted from 0. SCSI only: others ask their system first.
    pub(crate) fn unplug(&mut self, disk: usize) -> Result<()> {
        self.qmp.command("device_del", &json!({ "id": format!("disk{disk}") })).map(drop)
    }

    /// Puts a disk in the place of another one, counted from 0. SCSI only, as [`Booted::unplug`]. Its number is a new one.
    pub(crate) fn exchange(&mut self, old: usize, disk: Disk) -> Result<()> {
        self.unplug(old)?;
        let number = self.machine.disks.len();
        let file = self.machine.disk_file(&self.lab, number);
        disk.create(&file)?;
        self.monitor(&format!("drive_add 0 {}", disk.medium(number, &file)))?;
        self.monitor(&format!("device_add {}", disk.device(number, number)))?;
        self.machine.disks.push(disk);
        Ok(())
    }

    /// Has a disk, counted from 0, take no more of what is written to it: never, as far as a test goes.
    pub(crate) fn hang(&mut self, disk: usize) -> Result<()> {
        let limits = json!({
            "device": format!("medium{disk}"),
            "bps": 0, "bps_rd": 0, "bps_wr": 1, "iops": 0, "iops_rd": 0, "iops_wr": 0,
        });
        self.qmp.command("block_set_io_throttle", &limits).map(drop)
    }

    /// Has QEMU do what only its monitor for people takes; that says something only where it is refused.
    fn monitor(&mut self, line: &str) -> Result<()> {
        let answer = self.qmp.command("human-monitor-command", &json!({ "command-line": line }))?;
        let words = answer.as_str().unwrap_or_default().trim();
        ensure!(matches!(words, "" | "OK"), "{line}: {words}");
        Ok(())
    }

    /// Returns whether its watchdog would reset it if nobody fed it: what stands in the device itself.
    pub(crate) fn has_armed_watchdog(&mut self) -> Result<bool> {
        watchdog::is_armed(&mut self.qmp)
    }

    /// Has a SATA disk, counted from 0, say this of its security from now on.
    pub(crate) fn set_security(&self, disk: usize, security: Security) -> Result<()> {
        frozen::set(self.process.id(), &self.machine.disks[disk].serial, security)
    }

    /// Returns how often it was suspended to memory, and how often it woke.
    pub(crate) fn sleeps(&self) -> (usize, usize) {
        (self.qmp.count("SUSPEND"), self.qmp.count("WAKEUP"))
    }

    /// Waits until it is suspended to memory for the first time.
    pub(crate) fn falls_asleep(&mut self, limit: Duration) -> Result<()> {
        wait::until(&format!("{} to fall asleep", self.machine.name), limit, || {
            self.process.must_run()?;
            Ok((self.qmp.count("SUSPEND") > 0).then_some(()))
        })
    }

    /// Cuts its power (SIGKILL of QEMU).
    pub(crate) fn cut_power(mut self) -> Result<Machine> {
        self.process.kill()?;
        Ok(self.machine.clone())
    }

    /// Presses its reset button.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.qmp.command("system_reset", &json!({})).map(drop)
    }

    /// Presses keys of its keyboard together, by QEMU's names.
    pub(crate) fn press(&mut self, keys: &[&str]) -> Result<()> {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.qmp.command("send-key", &json!({ "keys": keys })).map(drop)
    }

    /// Pulls the cable of a port, counted from 0.
    pub(crate) fn pull_cable(&mut self, port: usize) -> Result<()> {
        self.set_link(port, false)
    }

    /// Puts the cable of a port back.
    pub(crate) fn put_cable_back(&mut self, port: usize) -> Result<()> {
        self.set_link(port, true)
    }

    /// Has so much at most come through the cable of a port in a second, counted from 0.
    pub(crate) fn slow_cable(&self, port: usize, bytes_per_second: u64) -> Result<()> {
        let switch = self.lab.switch();
        let rate = format!("{}bit", bytes_per_second * 8);
        let queue = ["-n", switch.name(), "qdisc", "add", "dev", &self.taps[port], "root"];
        let pace = ["tbf", "rate", &rate, "burst", "128kb", "latency", "100ms"];
        run("tc", &[&queue[..], &pace[..]].concat()).map(drop)
    }

    /// Returns how many bytes have come through the cable of a port, counted from 0, since the machine was switched on, the
    /// heads of all packets included.
    pub(crate) fn received_bytes(&self, port: usize) -> Result<u64> {
        let switch = self.lab.switch();
        let words = ["-json", "-statistics", "-n", switch.name(), "link", "show", &self.taps[port]];
        let text = run("ip", &words)?;
        let links: Value =
            serde_json::from_str(&text).with_context(|| format!("reading {text}"))?;
        let bytes = links.pointer("/0/stats64/tx/bytes").and_then(Value::as_u64);
        bytes.with_context(|| format!("no count of bytes in {text}"))
    }

    /// Returns how often the machine restarted of itself since it was switched on; the reset button does not count.
    pub(crate) fn restarts(&self) -> usize {
        self.qmp.restarts()
    }

    /// Returns the lines that boot programs of the harness have said through the debug port.
    pub(crate) fn beacon(&self) -> Result<Vec<String>> {
        let bytes = fs::read(&self.files.beacon).context("reading the beacon")?;
        let text = String::from_utf8_lossy(&bytes);
        // A line counts once it is whole.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect())
    }

    /// Returns how often the machine started its own disk since it was switched on.
    pub(crate) fn own_disk_starts(&self) -> Result<usize> {
        Ok(self.beacon()?.iter().filter(|line| *line == super::OWN_DISK).count())
    }

    /// Waits until the machine has started its own disk that often, and returns when it was seen to.
    pub(crate) fn starts_own_disk(&mut self, times: usize, limit: Duration) -> Result<Instant> {
        let what = format!("{} to start its own disk", self.machine.name);
        wait::until(&what, limit, || {
            self.process.must_run()?;
            Ok((self.own_disk_starts()? >= times).then(Instant::now))
        })
    }

    /// Waits until the machine has switched itself off.
    pub(crate) fn switches_off(&mut self, limit: Duration) -> Result<()> {
        let what = format!("{} to switch itself off", self.machine.name);
        wait::until(&what, limit, || Ok(self.process.ended()?.map(drop)))
    }

    /// Returns where its serial console is written.
    pub(crate) fn serial_log(&self) -> &Path {
        &self.files.serial
    }

    /// Returns what its serial console said, since it was switched on.
    pub(crate) fn console(&self) -> Result<String> {
        let bytes = fs::read(&self.files.serial).context("reading the serial console")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until its serial console has said what is wanted, since it was switched on.
    pub(crate) fn says(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        wait::until(&format!("{} to say {what}", self.machine.name), limit, || {
            self.process.must_run()?;
            Ok(wanted(&self.console()?).then_some(()))
        })
    }

    fn set_link(&mut self, port: usize, up: bool) -> Result<()> {
        let arguments = json!({ "name": format!("port{port}"), "up": up });
        self.qmp.command("set_link", &arguments).map(drop)
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        drop(self.process.kill());
        for tap in &self.taps {
            // Goes with its namespace otherwise.
            drop(self.lab.remove_tap(tap));
        }
    }
}

/// Shows a serial console on standard error while it is written.
#[derive(Debug)]
struct Show {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Show {
    fn start(name: &str, log: &Path) -> Show {
        let ends = Arc::new(AtomicBool::new(false));
        let (name, log, ending) = (name.to_owned(), log.to_owned(), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut file: Option<File> = None;
            let mut line = Vec::new();
            loop {
                // Asked first, so that what was written before the end is still shown.
                let last = ending.load(Ordering::Relaxed);
                file = file.or_else(|| File::open(&log).ok());
                let mut bytes = Vec::new();
                if let Some(file) = &mut file {
                    drop(file.read_to_end(&mut bytes));
                }
                line.extend(bytes);
                while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                    let text: Vec<u8> = line.drain(..=end).collect();
                    let mut terminal = std::io::stderr().lock();
                    drop(write!(terminal, "{name}| "));
                    drop(terminal.write_all(&text));
                }
                if last {
                    break;
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        Show { ends, thread: Some(thread) }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Returns how logs call this boot: the machine's name, from the second boot on with a number.
fn boot_name(machine: &str, lab: &Lab) -> String {
    let mut name = machine.to_owned();
    let mut number = 1;
    while lab.log(&format!("{name}.serial.log")).exists() {
        number += 1;
        name = format!("{machine}-{number}");
    }
    name
}
