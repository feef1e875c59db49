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

/// So soon after a reset firmware resets once more, and nothing else does.
const ECHO_SECONDS: u64 = 5;

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

    /// Counts how often the machine restarted by itself, by its firmware or by its system.
    pub(super) fn restarts(&self) -> usize {
        restarts(&self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// SeaBIOS resets the machine once more where it was reset, by its button too: that is no restart of its own.
fn restarts(events: &[Value]) -> usize {
    let mut last = None;
    let mut count = 0;
    for event in events.iter().filter(|event| event["event"] == "RESET") {
        let at = event["timestamp"]["seconds"].as_u64();
        let is_echo = at.zip(last).is_some_and(|(at, last)| at <= last + ECHO_SECONDS);
        count += usize::from(event["data"]["guest"] == true && !is_echo);
        last = at;
    }
    count
}

impl Drop for Qmp {
    fn drop(&mut self) {
        drop(self.stream.shutdown(std::net::Shutdown::Both));
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_counts_once_and_the_button_not() {
        let reset = |seconds: u64, guest: bool| json!({ "event": "RESET", "timestamp": { "seconds": seconds, "microseconds": 0 }, "data": { "guest": guest } });
        let stop = json!({ "event": "STOP", "timestamp": { "seconds": 21, "microseconds": 0 } });
        assert_eq!(restarts(&[]), 0);
        let button = [reset(10, false), reset(11, true)];
        assert_eq!(restarts(&button), 0);
        let restarted = [reset(20, true), stop, reset(22, true), reset(60, true)];
        assert_eq!(restarts(&restarted), 2);
        assert_eq!(restarts(&[&button[..], &restarted[..]].concat()), 2);
    }
}
