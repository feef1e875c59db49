//! Serves files over HTTP on loopback: ranges and a strong validator, bytes sent by the kernel itself (`sendfile`).

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    net::{TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};

/// Serves a directory until the program ends.
#[derive(Debug)]
pub(super) struct Server {
    address: String,
}

impl Server {
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening on loopback")?;
        let address = format!("http://{}", listener.local_addr().context("asking for the port")?);
        let directory = directory.to_owned();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let directory = directory.clone();
                // Whoever goes away in the middle ends its own thread only.
                thread::spawn(move || serve(&connection, &directory).ok());
            }
        });
        Ok(Self { address })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// What a request asks for.
#[derive(Debug, Default)]
struct Request {
    path: PathBuf,
    is_head: bool,
    first: u64,
    last: Option<u64>,
    is_range: bool,
    /// Who says that waits for the end of the connection.
    is_last: bool,
}

fn serve(connection: &TcpStream, directory: &Path) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader)? {
        answer(connection, directory, &request)?;
        if request.is_last {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut request = Request::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(request));
        }
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some(verb @ ("GET" | "HEAD")), Some(path)) => {
                request.is_head = verb == "HEAD";
                // Only names below: `..` and roots are left out.
                let parts = Path::new(path).components();
                request.path = parts.filter(|part| matches!(part, Component::Normal(_))).collect();
            }
            (Some(header), Some(range)) if header.eq_ignore_ascii_case("range:") => {
                let range = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
                if let Some((first, last)) = range {
                    request.first = first.parse().unwrap_or_default();
                    request.last = last.parse().ok();
                    request.is_range = true;
                }
            }
            (Some(header), Some(what)) if header.eq_ignore_ascii_case("connection:") => {
                request.is_last = what.eq_ignore_ascii_case("close");
            }
            _ => {}
        }
    }
}

fn answer(mut out: &TcpStream, directory: &Path, request: &Request) -> io::Result<()> {
    let Ok(mut file) = File::open(directory.join(&request.path)) else {
        return out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let bytes = file.metadata()?.len();
    let end = request.last.map_or(bytes, |last| last.saturating_add(1).min(bytes));
    let first = request.first.min(end);
    let (status, range) = if request.is_range {
        let last = end.saturating_sub(1);
        ("206 Partial Content", format!("Content-Range: bytes {first}-{last}/{bytes}\r\n"))
    } else {
        ("200 OK", String::new())
    };
    let length = end - first;
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"{bytes}\"\r\nAccept-Ranges: bytes\r\nContent-Length: {length}\r\n{range}\r\n"
    );
    out.write_all(head.as_bytes())?;
    if !request.is_head {
        file.seek(SeekFrom::Start(first))?;
        io::copy(&mut file.take(length), &mut out)?;
    }
    Ok(())
}
