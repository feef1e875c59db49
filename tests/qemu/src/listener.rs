//! Somebody on the lab's network to whom installed systems say what they are.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{lab::Station, wait};

/// Where it listens.
const PORT: u16 = 8099;
/// Longer than any word of an honest system.
const LONGEST: usize = 64 << 10;
/// How long one may take to say it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes JSON by HTTP POST, from anybody; leaves in `Drop`.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Where to post.
    pub(crate) url: String,
    said: Arc<Mutex<Vec<Value>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Begins to listen on a computer of the lab.
    pub(crate) fn on(station: &Station) -> Result<Listener> {
        let address = station.address;
        let door = station.namespace.inside(|| {
            let door = TcpListener::bind((address, PORT)).context("listening")?;
            door.set_nonblocking(true).context("listening without waiting")?;
            Ok(door)
        })?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (hears, ending) = (Arc::clone(&said), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                // Whoever says nothing that can be understood has said nothing.
                match door.accept() {
                    Ok((stream, _)) => {
                        if let Ok(word) = read(&stream) {
                            hears.lock().unwrap_or_else(PoisonError::into_inner).push(word);
                        }
                    }
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        Ok(Listener { url: format!("http://{address}:{PORT}/"), said, ends, thread: Some(thread) })
    }

    /// Waits for the next that is said.
    pub(crate) fn hears(&self, what: &str, limit: Duration) -> Result<Value> {
        wait::until(what, limit, || {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((!said.is_empty()).then(|| said.remove(0)))
        })
    }

    /// Returns whether anybody said anything that was not heard yet.
    pub(crate) fn has_heard(&self) -> bool {
        !self.said.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads one request and answers it.
fn read(mut stream: &TcpStream) -> io::Result<Value> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(u64::try_from(LONGEST).unwrap_or(u64::MAX)));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; LONGEST.min(length)];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    serde_json::from_slice(&body).map_err(io::Error::other)
}
