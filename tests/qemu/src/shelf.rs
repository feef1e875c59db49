//! Somebody else's web server on the lab's network: one file, to whoever asks, and nothing that HTTP could do besides.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::lab::Station;

/// Where it listens.
const PORT: u16 = 8098;
/// How long a machine may neither ask nor take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Where the file is.
    pub(crate) url: String,
    given: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shelf {
    /// Begins to serve a file on a computer of the lab.
    pub(crate) fn with(station: &Station, file: &Path) -> Result<Shelf> {
        let address = station.address;
        let name = file.file_name().and_then(|name| name.to_str()).context("a file's name")?;
        let url = format!("http://{address}:{PORT}/{name}");
        let door = station.namespace.inside(|| {
            let door = TcpListener::bind((address, PORT)).context("listening")?;
            door.set_nonblocking(true).context("listening without waiting")?;
            Ok(door)
        })?;
        let (given, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, ending, file) = (Arc::clone(&given), Arc::clone(&ends), file.to_owned());
        let thread = thread::spawn(move || {
            thread::scope(|scope| {
                while !ending.load(Ordering::Relaxed) {
                    let Ok((stream, _)) = door.accept() else {
                        thread::sleep(Duration::from_millis(100));
                        continue;
                    };
                    let (counts, file) = (&counts, &file);
                    scope.spawn(move || {
                        // Whoever leaves early has not taken it.
                        if serve(&stream, file).is_ok() {
                            counts.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
        });
        Ok(Shelf { url, given, ends, thread: Some(thread) })
    }

    /// Returns how often somebody took all of it.
    pub(crate) fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Answers one request with the whole file, whatever part of it was asked for: RFC 9110 §14.2 allows that.
fn serve(mut stream: &TcpStream, file: &Path) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut file, &mut stream).map(drop)
}
