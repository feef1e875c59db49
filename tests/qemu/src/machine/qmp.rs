//! QEMU's control socket.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer; under TCG on a busy machine its main loop can lag.
const PATIENCE: Duration = Duration::from_mins(1);

/// A conversation with one QEMU.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
    events: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

impl Qmp {
    /// Greets the QEMU behind a socket; absent while the socket does not answer yet.
    pub(super) fn connect(socket: &Path) -> Result<Option<Qmp>> {
        let Ok(stream) = UnixStream::connect(socket) else { return Ok(None) };
        let reading = BufReader::new(stream.try_clone().context("sharing the control socket")?);
        let (sender, answers) = channel();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let reader = thread::spawn(move || {
            for line in reading.lines() {
                let Ok(line) = line else { break };
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if message.get("event").is_some() {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                } else if message.get("QMP").is_none() && sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut qmp = Qmp { stream, answers, events, reader: Some(reader) };
        qmp.command("qmp_capabilities", &json!({}))?;
        Ok(Some(qmp))
    }

    /// Carries out one command and returns what it returned.
    pub(super) fn command(&mut self, name: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": name, "arguments": arguments });
        writeln!(self.stream, "{request}").with_context(|| format!("asking QEMU to {name}"))?;
        let answer = self
            .answers
            .recv_timeout(PATIENCE)
            .with_context(|| format!("waiting for QEMU to {name}"))?;
        match answer.get("return") {
            Some(value) => Ok(value.clone()),
            None => bail!("QEMU refused to {name}: {answer}"),
        }
    }

    /// Counts how often something happened, by QEMU's name.
    pub(super) fn count(&self, name: &str) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| event["event"] == name).count()
    }

    /// Counts how often the machine restarted by itself, by its firmware or by its system. SeaBIOS makes two restarts of one.
    pub(super) fn restarts(&self) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events
            .iter()
            .filter(|event| event["event"] == "RESET" && event["data"]["guest"] == true)
            .count()
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        drop(self.stream.shutdown(std::net::Shutdown::Both));
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
