//! Programs inside a lab's network namespaces, ended with the harness whatever happens to it.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{interrupt, lab::Namespace};

/// A running program. Killed and waited for in `Drop`.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program inside a namespace; its words go to the end of `log`.
    ///
    /// The kernel kills it when the thread that called this ends, so that not even SIGKILL of the harness leaves it running.
    pub(crate) fn start(
        namespace: &Namespace,
        name: &str,
        program: &Path,
        arguments: &[OsString],
        log: &Path,
    ) -> Result<Process> {
        let words = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace.name()])
            .args(["setpriv", "--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(words.try_clone().context("sharing the log")?)
            .stderr(words);
        let child =
            interrupt::unmasked(|| command.spawn())?.with_context(|| format!("starting {name}"))?;
        Ok(Process { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Returns how the program ended; absent while it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking whether {} ended", self.name))
    }

    /// Fails, with the program's words, when it has ended by itself.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            let words = std::fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{} ended with {status}: {}", self.name, tail(&words, 15));
        }
        Ok(())
    }

    /// Ends the program at once, as a power cut would (SIGKILL).
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// Returns the program's process id: `ip` and `setpriv` have become the program itself.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program of this machine to its end and returns what it printed; fails with its complaint.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
