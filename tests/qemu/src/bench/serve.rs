//! Fifty machines that fetch one image from one server at once, over TLS and one slow link: who gets how much, and what
//! it costs the server.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use super::{Figure, bytes_as_float, fleet, memory::resident};
use crate::{
    checkout,
    lab::{Lab, Station},
    process::run,
    server::{Mode, Server},
    story::{Clock, say},
};

const MACHINES: u16 = 50;
const IMAGE: &str = "incompressible";
/// Of the link that the clients must have together. The rest is what Ethernet, IP, TCP and TLS write around the image.
const SHARE: f64 = 0.9;
/// The slowest may take so many times as long as all take in the mean.
const SPREAD: f64 = 1.3;
/// The same two where images are so short that fifty handshakes count, on a machine that may have other work: what one
/// client waits for another's end, or a server that sends to one at a time, would still be seen.
const SHARE_BRIEFLY: f64 = 0.6;
const SPREAD_BRIEFLY: f64 = 1.5;
/// So much more the server may hold while it serves them all than just before, in MiB, however long the image is:
/// half of one for each client, of which two pieces on their way are half.
const GROWTH_MIB: f64 = 25.0;
const LOOK: Duration = Duration::from_millis(50);
/// So many persons give the orders: one alone would take longer than the measurement.
const PERSONS: usize = 8;
/// What a client reads at once.
const PIECE_BYTES: usize = 64 << 10;

/// What was seen.
#[derive(Debug)]
struct Seen {
    /// All bytes of the image over the time until the last had them, as a share of the link.
    share: f64,
    seconds: f64,
    least_seconds: f64,
    /// The slowest client's time over the mean.
    spread: f64,
    before_mib: f64,
    most_mib: f64,
}

/// Measures with images long enough that beginnings do not count.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let clock = Clock::start();
    let lab = Lab::new(&checkout::root().join("target/bench/serve"), false)?;
    let seen = serve(&lab, 16 << 20, 50_000_000)?;
    clock.say(&format!("{seen:.2?}"));
    let Seen { seconds, least_seconds, spread, before_mib, most_mib, .. } = seen;
    let figure = |case, unit, ours, peer, theirs, wanted| Figure {
        case,
        unit,
        ours,
        peer,
        theirs: Some(theirs),
        wanted,
    };
    Ok(vec![
        figure(
            "50 clients, 16 MiB each",
            "s",
            seconds,
            "what the link gives",
            least_seconds,
            Some(SHARE),
        ),
        figure("slowest of 50 clients over the mean", "x", spread, "limit", SPREAD, None),
        figure(
            "server grows meanwhile by",
            "MiB",
            most_mib - before_mib,
            "limit",
            GROWTH_MIB,
            None,
        ),
    ])
}

/// Fifty machines at once share the link evenly, fill it, and the server's memory stays what it was.
pub(crate) fn crowd(lab: &Lab) -> Result<()> {
    let seen = serve(lab, 1 << 20, 15_000_000)?;
    say(&format!("{seen:.2?}"));
    ensure!(seen.share >= SHARE_BRIEFLY, "the link is not used: {seen:?}");
    ensure!(seen.spread <= SPREAD_BRIEFLY, "some wait for others: {seen:?}");
    ensure!(seen.most_mib <= seen.before_mib + GROWTH_MIB, "memory: {seen:?}");
    Ok(())
}

fn serve(lab: &Lab, image_bytes: u64, link_bytes_per_second: u64) -> Result<Seen> {
    let server = Server::trusting_its_clock(lab, Mode::Off)?;
    let manifest = image(lab, &server, image_bytes)?;
    let station = fleet::station(lab)?;
    let mut clients = Vec::new();
    for number in 0..MACHINES {
        let config = Arc::new(fleet::client()?);
        fleet::announce_as(&station, number, &config)
            .with_context(|| format!("machine {number}"))?;
        clients.push(config);
    }
    order_all(&server)?;
    for (number, config) in (0..).zip(&clients) {
        let stream = fleet::connection(&station, number)?;
        let answer = fleet::ask(Arc::clone(config), stream, "GET /v1/instruction?after=0&wait=5")?;
        ensure!(answer.contains(r#""kind":"install""#), "machine {number} was told: {answer}");
    }
    let rate = format!("{}bit", link_bytes_per_second * 8);
    let place = ["netns", "exec", server.station().namespace.name()];
    let throttle = ["tc", "qdisc", "add", "dev", "lan", "root", "tbf", "rate", &rate];
    run("ip", &[&place[..], &throttle[..], &["burst", "128kb", "latency", "200ms"]].concat())?;
    let before_mib = resident(server.id())?;
    let path = format!("/v1/images/{manifest}/frames");
    let (all, most_mib) = watched(server.id(), || fetch_all(&station, &clients, &path))?;
    let bytes: f64 = all.iter().map(|(bytes, _)| bytes_as_float(*bytes)).sum();
    let times: Vec<f64> = all.iter().map(|(_, time)| time.as_secs_f64()).collect();
    let seconds = times.iter().copied().fold(0.0, f64::max);
    let mean = times.iter().sum::<f64>() / f64::from(MACHINES);
    let least_seconds = bytes / bytes_as_float(link_bytes_per_second);
    Ok(Seen {
        share: least_seconds / seconds,
        seconds,
        least_seconds,
        spread: seconds / mean,
        before_mib,
        most_mib,
    })
}

/// Approves all machines, and orders the image for each.
fn order_all(server: &Server) -> Result<()> {
    let machines = server.machines()?;
    ensure!(machines.len() == usize::from(MACHINES), "{} machines", machines.len());
    let order = |machine: &Value| -> Result<()> {
        let name = machine["name"].as_str().context("a machine without a name")?;
        let number = name.strip_prefix("rack").context("another machine")?;
        server.approves(name)?;
        server.installs(name, IMAGE, &format!("S{number}D0"), &["--finish", "stay"]).map(drop)
    };
    thread::scope(|scope| {
        let persons = machines.chunks(machines.len().div_ceil(PERSONS));
        let persons: Vec<_> =
            persons.map(|some| scope.spawn(|| some.iter().try_for_each(order))).collect();
        persons
            .into_iter()
            .try_for_each(|person| person.join().map_err(|_| anyhow!("a person panicked"))?)
    })
}

/// Puts an image into the store that does not become smaller there; returns its manifest's digest.
fn image(lab: &Lab, server: &Server, bytes: u64) -> Result<String> {
    let path = lab.scratch("image.raw");
    let mut chance = File::open("/dev/urandom").context("opening /dev/urandom")?.take(bytes);
    let mut file = File::create(&path).context("making an image")?;
    std::io::copy(&mut chance, &mut file).context("filling the image")?;
    let stored = server.adds_image(&path, IMAGE)?;
    fs::remove_file(&path).context("removing the image")?;
    let manifest = stored["manifest"].as_str();
    Ok(manifest.with_context(|| format!("no manifest: {stored}"))?.to_owned())
}

/// Does something, and returns what a process held in memory meanwhile at most, in MiB.
fn watched<T>(process: u32, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<f64> {
            let mut most = 0.0_f64;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(resident(process)?);
                thread::park_timeout(LOOK);
            }
            Ok(most)
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let most = watcher.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok((done?, most))
    })
}

/// Has all machines fetch a file at the same moment; returns how much each got, and when it had all.
fn fetch_all(
    station: &Station,
    clients: &[Arc<ClientConfig>],
    path: &str,
) -> Result<Vec<(u64, Duration)>> {
    let mut lines = Vec::new();
    for (number, config) in (0..).zip(clients) {
        let stream = fleet::connection(station, number)?;
        let mut line = fleet::line(Arc::clone(config), stream)?;
        // The handshake is done before the time runs.
        line.conn.complete_io(&mut line.sock).context("shaking hands")?;
        lines.push(line);
    }
    let begin = Barrier::new(lines.len());
    thread::scope(|scope| {
        let begin = &begin;
        let fetching: Vec<_> = lines
            .into_iter()
            .map(|line| {
                scope.spawn(move || {
                    begin.wait();
                    let start = Instant::now();
                    fetch(line, path).map(|bytes| (bytes, start.elapsed()))
                })
            })
            .collect();
        let one = |thread: thread::ScopedJoinHandle<'_, Result<(u64, Duration)>>| {
            thread.join().map_err(|_| anyhow!("a client panicked"))?
        };
        fetching.into_iter().map(one).collect()
    })
}

/// Fetches a file over a line, and throws it away; returns its length, which must be what was promised.
fn fetch(mut line: StreamOwned<ClientConnection, TcpStream>, path: &str) -> Result<u64> {
    write!(line, "GET {path} HTTP/1.1\r\nHost: drydock\r\nConnection: close\r\n\r\n")
        .context("asking")?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut head = Vec::new();
    let (promised, mut bytes) = loop {
        let count = line.read(&mut piece).context("reading the answer's head")?;
        ensure!(count > 0, "no answer: {}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&piece[..count]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
            ensure!(text.starts_with("http/1.1 200"), "the server answers {text}");
            let promised = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let promised: u64 = promised.context("no length")?.parse().context("its length")?;
            break (promised, u64::try_from(head.len() - end - 4)?);
        }
    };
    while bytes < promised {
        match line.read(&mut piece).context("reading the file")? {
            0 => bail!("the file ends after {bytes} of {promised} bytes"),
            count => bytes += u64::try_from(count)?,
        }
    }
    Ok(bytes)
}
