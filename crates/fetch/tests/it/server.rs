//! A small web server that answers as it is told, right or wrong.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its path and query.
    pub(crate) path: String,
    head: String,
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The range that is asked for: its first byte and the one behind its last.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.field("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse::<usize>().ok()? + 1))
    }
}

/// What the server does next on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Sends one byte after the other, with pauses.
    Trickle(Vec<u8>, Duration),
    /// Leaves the connection open, saying nothing, until the server ends.
    Hang,
}

type Handler = dyn Fn(&Request, usize) -> Vec<Step> + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What a connection's thread needs.
struct Desk {
    tls: Option<Arc<ServerConfig>>,
    asked: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
    handler: Box<Handler>,
}

impl Server {
    /// Starts one. The handler is told how many requests came before.
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (asked, is_over) = (Arc::<Mutex<_>>::default(), Arc::<AtomicBool>::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let handler = Box::new(handler);
        let desk = Desk { tls, asked: Arc::clone(&asked), is_over: Arc::clone(&is_over), handler };
        let desk = Arc::new(desk);
        let accepting = thread::spawn(move || {
            let mut talks = Vec::new();
            for stream in listener.incoming().flatten() {
                if desk.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let desk = Arc::clone(&desk);
                talks.push(thread::spawn(move || desk.talk(stream)));
            }
            for talk in talks {
                talk.join().expect("no handler panics");
            }
        });
        Self { address, scheme, asked, is_over, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the one who accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let outcome = accepting.join();
            assert!(outcome.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Desk {
    fn talk(&self, mut socket: TcpStream) {
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a socket");
        match &self.tls {
            None => self.answer(&mut socket),
            Some(tls) => {
                let mut tls = ServerConnection::new(Arc::clone(tls)).expect("it is configured");
                self.answer(&mut rustls::Stream::new(&mut tls, &mut socket));
                tls.send_close_notify();
                drop(tls.write_tls(&mut socket));
            }
        }
    }

    /// Errors are the client's leaving, which is its right.
    fn answer(&self, stream: &mut dyn Stream) {
        let Some(request) = request(stream) else { return };
        let before = {
            let mut asked = self.asked.lock().expect("nobody panicked");
            asked.push(request.clone());
            asked.len() - 1
        };
        for step in (self.handler)(&request, before) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
                Step::Trickle(bytes, pause) => {
                    for byte in bytes {
                        if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() {
                            return;
                        }
                        wait(pause);
                    }
                }
                Step::Hang => {
                    while !self.is_over.load(Ordering::SeqCst) {
                        wait(Duration::from_millis(5));
                    }
                }
            }
        }
    }
}

fn wait(time: Duration) {
    let (_sender, nothing) = mpsc::channel::<()>();
    let _late = nothing.recv_timeout(time);
}

fn request(stream: &mut dyn Stream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    Some(Request { path, head })
}

/// An answer without a body but the one that is given.
pub(crate) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

/// A sound answer: the range, if that is asked for and the version is this one, else all of it.
pub(crate) fn sound(bytes: &[u8], version: &str, request: &Request) -> Vec<u8> {
    let all = bytes.len();
    let is_other = request.field("if-range").is_some_and(|asked| !version.contains(asked));
    match request.range().filter(|_| !is_other) {
        Some((start, end)) if start < all => {
            let end = end.min(all);
            let head = format!(
                "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{all}\r\n{version}",
                end - start,
                end - 1
            );
            answer(&head, &bytes[start..end])
        }
        Some(_) => answer(
            &format!(
                "416 Range Not Satisfiable\r\nContent-Length: 0\r\nContent-Range: bytes */{all}"
            ),
            b"",
        ),
        None => answer(&format!("200 OK\r\nContent-Length: {all}\r\n{version}"), bytes),
    }
}

/// As before, of a server that knows no ranges.
pub(crate) fn rangeless(bytes: &[u8], version: &str) -> Vec<u8> {
    answer(&format!("200 OK\r\nContent-Length: {}\r\n{version}", bytes.len()), bytes)
}
