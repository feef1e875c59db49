//! A server of files on loopback, which can fall silent in the middle.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Serves a directory until the test ends.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    sent: Arc<AtomicU64>,
}

impl Server {
    /// Serves; falls silent once so many bytes were sent.
    pub(crate) fn start(directory: &Path, silent_after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let sent = Arc::new(AtomicU64::new(0));
        let (directory, count) = (directory.to_owned(), Arc::clone(&sent));
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (directory, count) = (directory.clone(), Arc::clone(&count));
                thread::spawn(move || serve(&connection, &directory, &count, silent_after));
            }
        });
        Self { address, sent }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn serve(
    connection: &TcpStream,
    directory: &Path,
    sent: &AtomicU64,
    silent_after: u64,
) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut out = connection;
    loop {
        let (mut path, mut range) = (String::new(), None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("GET /") {
                rest.split(' ').next()?.clone_into(&mut path);
            }
            if let Some(rest) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (first, last) = rest.split_once('-')?;
                range = Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()));
            }
            if line.is_empty() {
                break;
            }
        }
        let bytes = fs::read(directory.join(path)).ok()?;
        let (first, last) = range.unwrap_or((0, None));
        let last = last.unwrap_or(usize::MAX).min(bytes.len() - 1);
        let part = &bytes[first..=last];
        write!(
            out,
            "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
            part.len(),
            bytes.len(),
        )
        .ok()?;
        for piece in part.chunks(64 << 10) {
            while sent.load(Ordering::Relaxed) > silent_after {
                thread::park();
            }
            out.write_all(piece).ok()?;
            sent.fetch_add(u64::try_from(piece.len()).ok()?, Ordering::Relaxed);
        }
    }
}
