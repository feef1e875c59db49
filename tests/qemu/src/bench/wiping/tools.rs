//! The programs that are compared, and how each is called.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::throttle::Throttle;
use crate::{
    bench::{ground::Disk, installed},
    checkout, interrupt,
    process::tail,
    story::Clock,
};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Zeros,
    Stream,
    Verify,
    Offload,
    FioWrite,
    FioRead,
    Nwipe,
    Shred,
    Dd,
    DdDirect,
}

impl Task {
    /// Holds where the disk is zeros afterwards because of it.
    pub(super) fn makes_zeros(self) -> bool {
        !matches!(self, Self::Stream | Self::Verify | Self::FioRead)
    }

    /// Holds where its program is installed.
    pub(super) fn is_there(self) -> bool {
        self.is_ours() || installed(self.program()).is_some()
    }

    fn is_ours(self) -> bool {
        self.program() == "overwrite"
    }

    fn program(self) -> &'static str {
        match self {
            Self::Zeros | Self::Stream | Self::Verify | Self::Offload => "overwrite",
            Self::FioWrite | Self::FioRead => "fio",
            Self::Nwipe => "nwipe",
            Self::Shred => "shred",
            Self::Dd | Self::DdDirect => "dd",
        }
    }

    fn arguments(self) -> &'static str {
        match self {
            Self::Zeros => "zeros",
            Self::Stream => "stream",
            Self::Verify => "verify",
            Self::Offload => "offload",
            Self::FioWrite => {
                "--name=write --rw=write --end_fsync=1 --zero_buffers --bs=1M --iodepth=32 --ioengine=libaio --direct=1 \
                 --output-format=json --filename=DISK"
            }
            Self::FioRead => {
                "--name=read --rw=read --bs=1M --iodepth=32 --ioengine=libaio --direct=1 --output-format=json --filename=DISK"
            }
            Self::Nwipe => {
                "--autonuke --nogui --nowait --nousb --method=zero --rounds=1 --noblank --verify=off --logfile=/dev/null DISK"
            }
            Self::Shred => "--iterations=0 --zero DISK",
            Self::Dd => "if=/dev/zero of=DISK bs=4M count=BYTES iflag=count_bytes conv=fsync",
            Self::DdDirect => {
                "if=/dev/zero of=DISK bs=4M count=BYTES iflag=count_bytes oflag=direct conv=fsync"
            }
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Tools {
    ours: PathBuf,
}

impl Tools {
    /// Looks for them, and says what is missing.
    pub(super) fn find(clock: &Clock) -> Result<Self> {
        let ours = checkout::root().join("target/release/examples/overwrite");
        ensure!(ours.exists(), "{} is missing: `make bench` builds it", ours.display());
        for program in ["fio", "nwipe", "shred", "dd"] {
            if installed(program).is_none() {
                clock.say(&format!("{program} is not there: `make deps-bench` installs it"));
            }
        }
        Ok(Self { ours })
    }

    /// Returns how much of the stream one core makes in a second.
    pub(super) fn stream_bytes_per_second(&self) -> Result<f64> {
        let mut command = Command::new(&self.ours);
        let (words, _) = run("the stream alone", command.arg("speed"))?;
        words.trim().parse().with_context(|| format!("reading {words:?}"))
    }

    /// Runs a task to its end, and returns the seconds that it took: by its own clock where it has one, without the
    /// time in which it started.
    pub(super) fn run(
        &self,
        task: Task,
        disks: &[&Disk],
        throttle: Option<&Throttle>,
    ) -> Result<f64> {
        for disk in disks {
            // What is called here writes over whatever it is told.
            ensure!(disk.device().starts_with("/dev/loop"), "{} is not ours", disk.device());
        }
        let first = disks.first().context("no disk")?;
        let one = first.device();
        let is_ours = task.is_ours();
        let program = if is_ours { self.ours.clone() } else { PathBuf::from(task.program()) };
        let mut command = Command::new("bash");
        let script = match task {
            Task::Nwipe => ALONE,
            _ => "[ -z \"$0\" ] || echo $$ >\"$0\"; exec \"$@\"",
        };
        let group = throttle.map(Throttle::processes).unwrap_or_default();
        let bytes = std::fs::metadata(first.file()).context("looking at the disk's file")?.len();
        let said = |word: &str| word.replace("DISK", one).replace("BYTES", &bytes.to_string());
        let words = task.arguments().split_whitespace().map(said);
        command.args(["-c", script]);
        command.arg(if task == Task::Nwipe { PathBuf::from(one) } else { group });
        command.arg(program).args(words);
        if is_ours {
            command.args(disks.iter().map(|disk| disk.device()));
        }
        if task == Task::Nwipe {
            let mut apart = Command::new("unshare");
            apart.args(["--mount", "--propagation=private"]);
            apart.arg(command.get_program()).args(command.get_args());
            command = apart;
        }
        let (words, seconds) = run(task.program(), &mut command)?;
        let own = match task {
            Task::FioWrite => Some(fio(&words, "write")?),
            Task::FioRead => Some(fio(&words, "read")?),
            _ if is_ours => Some(words.trim().parse().with_context(|| format!("in {words:?}"))?),
            _ => None,
        };
        Ok(own.unwrap_or(seconds))
    }
}

/// nwipe looks at every disk: it gets a /dev in which there is no other than the one.
const ALONE: &str = "set -e; place=$(mktemp -d); mount -t tmpfs dev \"$place\"; \
    cp -a \"$0\" /dev/null /dev/zero /dev/random /dev/urandom \"$place\"; \
    mount --move \"$place\" /dev; rmdir \"$place\"; exec \"$@\"";

/// Returns the seconds that fio was writing or reading.
fn fio(words: &str, what: &str) -> Result<f64> {
    // Some versions say things before.
    let json = words.find('{').map_or(words, |start| &words[start..]);
    let report: serde_json::Value = serde_json::from_str(json).context("reading fio's report")?;
    let job = report.pointer("/jobs/0").context("fio reports no job")?;
    ensure!(job.pointer("/error").and_then(serde_json::Value::as_i64) == Some(0), "fio: {job}");
    let milliseconds = job.pointer(&format!("/{what}/runtime")).and_then(serde_json::Value::as_f64);
    Ok(milliseconds.context("fio reports no time")? / 1000.0)
}

fn run(name: &str, command: &mut Command) -> Result<(String, f64)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = interrupt::unmasked(|| command.spawn())?;
    let output = child.and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("running {name}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}: {}", output.status, tail(&complaint, 15));
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), seconds))
}
