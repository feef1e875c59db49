//! How fast an image comes from a server on loopback onto a loop device over tmpfs, beside what others take for it.
//!
//! ```text
//! files ─► HTTP on loopback ─► the tool ─► loop device ─► file on tmpfs ─► compared with the image
//! ```
//!
//! Each round runs every peer and, beside each of them, ours. After every run, ours and theirs, what stands behind the
//! loop device is compared with the image byte for byte; before every run it is zeros.

mod images;
mod server;
mod tools;

use anyhow::{Context as _, Result, ensure};

use self::{
    images::Image,
    server::Server,
    tools::{Tool, Tools},
};
use super::{
    Figure,
    ground::{self, Disk, Ground},
    load, median, number, text,
};
use crate::{interrupt, process::run, story::Clock};

const ROUNDS: usize = 7;
/// What 2 GB/s of image make of the image of 4 GiB.
const BYTES_PER_SECOND: f64 = 2e9;
/// How ours is read, for the pairs: as it stands in the server's store.
const STORE: &str = "store/manifest";

/// A peer beside ours: what each took in the rounds.
#[derive(Debug)]
struct Pair<'a> {
    peer: &'static str,
    /// The peer's command and the file it reads; absent where it is not installed.
    tool: Option<(&'a Tool, &'static str)>,
    /// The file ours reads.
    file: &'static str,
    wanted: Option<f64>,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

pub(super) fn measure() -> Result<Vec<Figure>> {
    let clock = Clock::start();
    let rounds = number("DRYDOCK_BENCH_ROUNDS", ROUNDS)?;
    let mebibytes = number("DRYDOCK_BENCH_MIB", images::WHOLE)?;
    ensure!(rounds > 0 && mebibytes >= 256, "at least one round and an image of 256 MiB");
    let tools = Tools::find(&clock)?;
    let ground = Ground::new("imaging")?;
    let mut figures = Vec::new();
    for make in [images::half_empty, images::dense] {
        clock.say(&format!("making an image; waiting for processors: {}", load()?));
        let image = make(&ground, &tools, mebibytes)?;
        clock.say(&format!("{}: {} % zeros; {}", image.case, image.zeros_percent, image.sizes()?));
        figures.extend(compare(&clock, &ground, &tools, &image, rounds)?);
        if image.is_for_tmpfs {
            figures.push(to_tmpfs(&clock, &tools, &image, rounds)?);
        }
        image.remove()?;
    }
    Ok(figures)
}

/// Runs all pairs, round for round.
fn compare(
    clock: &Clock,
    ground: &Ground,
    tools: &Tools,
    image: &Image,
    rounds: usize,
) -> Result<Vec<Figure>> {
    let server = Server::start(&image.directory)?;
    let disk = Disk::new(ground, "disk", image.bytes)?;
    clock.say(&format!("the disk is {}, direct I/O: {}", disk.device(), disk.is_direct()));
    let run = Run { clock, server: &server, disk: &disk, image };
    let mut pairs = pairs(&run, tools)?;
    for round in 1..=rounds {
        for pair in &mut pairs {
            let Some((tool, file)) = pair.tool else { continue };
            let ours = || run.once(&tools.ours, pair.file);
            let theirs = || run.once(tool, file);
            // Whoever comes second finds other caches than the first: each is second in every other round.
            let (ours, theirs) = if round % 2 == 1 {
                let ours = ours()?;
                (ours, theirs()?)
            } else {
                let theirs = theirs()?;
                (ours()?, theirs)
            };
            let peer = pair.peer;
            clock.say(&format!("round {round}: ours {ours:.2} s, {peer} {theirs:.2} s"));
            pair.ours.push(ours);
            pair.theirs.push(theirs);
        }
        clock.say(&format!("round {round} done; waiting for processors: {}", load()?));
    }
    let alone = if pairs.iter().all(|pair| pair.ours.is_empty()) {
        (0..rounds).map(|_| run.once(&tools.ours, STORE)).collect::<Result<_>>()?
    } else {
        pairs.iter().flat_map(|pair| pair.ours.clone()).collect()
    };
    let alone = median(alone);
    Ok(pairs
        .into_iter()
        .map(|Pair { peer, wanted, ours, theirs, .. }| {
            let theirs = (!theirs.is_empty()).then(|| median(theirs));
            let ours = if ours.is_empty() { alone } else { median(ours) };
            Figure { case: image.case, unit: "s", ours, peer, theirs, wanted }
        })
        .collect())
}

/// Returns who is compared with what. Of tools that read several formats, each is tried once, and the fastest taken.
fn pairs<'a>(run: &Run<'_>, tools: &'a Tools) -> Result<Vec<Pair<'a>>> {
    let pair = |peer, tool: Option<(&'a Tool, &'static str)>, file, wanted| Pair {
        peer,
        tool,
        file,
        wanted,
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    let image2disk = tools.image2disk.as_ref().map(|tool| (tool, "image.gz"));
    let is_sparse = run.image.is_for_tmpfs;
    // What is wanted was set for the image with zeros; of the other, only that ours is not slower.
    let wanted = |ratio: f64| Some(if is_sparse { ratio } else { 1.0 });
    let gzip = tools.gzip.as_ref().map(|tool| (tool, "image.gz"));
    let xz = tools.xz.as_ref().map(|tool| (tool, "image.xz"));
    let zstd = tools.zstd.as_ref().map(|tool| (tool, "image.zst"));
    let formats = ["image", "image.zst", "image.gz"];
    let coreos = best(run, tools.coreos_installer.as_ref(), &formats)?;
    let bmaptool = best(run, tools.bmaptool.as_ref(), &formats)?;
    Ok(vec![
        pair("image2disk, gz", image2disk, STORE, wanted(5.0)),
        pair("curl | gzip -dc | dd", gzip, STORE, wanted(5.0)),
        pair("curl | xz -dc | dd", xz, STORE, wanted(8.0)),
        pair("curl | zstd -dc | dd", zstd, STORE, wanted(1.4)),
        pair("coreos-installer, its best format", coreos, STORE, wanted(1.0)),
        pair("bmaptool, its best format", bmaptool, STORE, wanted(1.0)),
        pair("image2disk, ours from the same gz", image2disk, "image.gz", None),
        pair("curl | zstd -dc | dd, ours from the same zst", zstd, "image.zst", None),
    ])
}

fn best<'a>(
    run: &Run<'_>,
    tool: Option<&'a Tool>,
    files: &[&'static str],
) -> Result<Option<(&'a Tool, &'static str)>> {
    let Some(tool) = tool else { return Ok(None) };
    let mut best: Option<(f64, &'static str)> = None;
    for file in files {
        let seconds = run.once(tool, file)?;
        run.clock.say(&format!("{} from {file}: {seconds:.2} s", tool.name));
        if best.is_none_or(|(fastest, _)| seconds < fastest) {
            best = Some((seconds, file));
        }
    }
    Ok(best.map(|(_, file)| (tool, file)))
}

/// What all runs have in common.
#[derive(Debug)]
struct Run<'a> {
    clock: &'a Clock,
    server: &'a Server,
    disk: &'a Disk,
    image: &'a Image,
}

impl Run<'_> {
    /// Runs a tool on a disk of zeros, and returns its seconds once the disk is the image.
    fn once(&self, tool: &Tool, file: &str) -> Result<f64> {
        interrupt::check()?;
        self.disk.clear()?;
        let address = format!("{}/{file}", self.server.address());
        let seconds = tool.run(&address, self.disk.device())?;
        self.disk
            .must_be(&self.image.raw())
            .with_context(|| format!("what {} wrote from {file}", tool.name))?;
        Ok(seconds.as_secs_f64())
    }
}

/// Measures the engine alone: frames and disk are files on tmpfs.
fn to_tmpfs(clock: &Clock, tools: &Tools, image: &Image, rounds: usize) -> Result<Figure> {
    let disk = image.directory.join("store/disk");
    let mut seconds = Vec::new();
    let once = || {
        interrupt::check()?;
        std::fs::remove_file(&disk).ok();
        run(text(&tools.measure)?, &["run", text(&image.directory.join("store"))?])
    };
    for round in 1..=rounds {
        // Not counted: where a hypervisor has taken free memory back, each page comes again when it is first touched.
        once()?;
        let words = once()?;
        clock.say(&format!("round {round}: to a file on tmpfs: {}", words.trim()));
        let first = words.split(' ').next().unwrap_or_default();
        seconds.push(first.parse().with_context(|| format!("reading {words:?}"))?);
        ground::compare(&disk, &image.raw())?;
    }
    std::fs::remove_file(&disk).context("removing the disk")?;
    let theirs = Some(super::bytes_as_float(image.bytes) / BYTES_PER_SECOND);
    let (case, peer) = ("the same to a file on tmpfs, no network", "2 GB/s of image");
    Ok(Figure { case, unit: "s", ours: median(seconds), peer, theirs, wanted: None })
}
