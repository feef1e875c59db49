//! `drydock image`: what the server can install.

use std::{io, io::Read, path::Path};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Subcommand;
use protocol::Bytes as Amount;
use tokio::sync::mpsc;

use super::{
    Server,
    line::Line,
    output::{self, Format},
};
use crate::{
    api::client::{self, Pieces, segment},
    image::{Stored, Verdict},
    moment,
    serve::state::socket_path,
};

mod download;
mod registry;

/// How much is read and sent at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces on their way.
const PIECES: usize = 4;

/// `drydock image`.
#[derive(Debug, clap::Args)]
pub(super) struct Images {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// How images are printed.
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Adds an image: raw or qcow2, bare or packed with gzip, xz, bzip2, zstd, lz4 or tar. What it is, is seen from its content.
    Add {
        /// A file, an http or https URL, an oci URL with a digest, or - for what comes on stdin.
        source: String,
        /// What it is to be called. Without it: the file's name without its endings.
        #[arg(long)]
        name: Option<String>,
        /// SHA-256 of the file as it is; another one is refused.
        #[arg(long, value_name = "DIGEST")]
        sha256: Option<String>,
    },
    /// Lists the images.
    List,
    /// Shows one image.
    Show {
        /// Its name.
        name: String,
    },
    /// Reads an image whole and compares it with its signed manifest.
    Verify {
        /// Its name.
        name: String,
    },
    /// Removes an image that no open order names.
    Remove {
        /// Its name.
        name: String,
    },
}

impl Images {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { verb, output, server } = self;
        let path = |name: &str| format!("/v1/images/{}", segment(name));
        match verb.unwrap_or(Verb::List) {
            Verb::Add { source, name, sha256 } => {
                let image = add(&server, &source, name, sha256.as_deref())?;
                output::show(output, &image, page)
            }
            Verb::List => {
                let images: Vec<Stored> = server.ask("GET", "/v1/images")?;
                output::show(output, &images, |images| table(images, moment::now()))
            }
            Verb::Show { name } => {
                let image: Stored = server.ask("GET", &path(&name))?;
                output::show(output, &image, page)
            }
            Verb::Verify { name } => {
                let verdict: Verdict =
                    send(&server, &format!("{}/verify", path(&name)), nothing())?;
                output::show(output, &verdict, |verdict| {
                    let rows = verdict.problems.iter().map(|problem| vec![problem.clone()]);
                    output::align(&rows.collect::<Vec<_>>())
                })?;
                if verdict.problems.is_empty() {
                    output::say(&format!("{name}: {} chunks, all right", verdict.chunks));
                    return Ok(());
                }
                bail!("{name} is damaged: remove it and add it again")
            }
            Verb::Remove { name } => {
                let image: Stored = server.ask("DELETE", &path(&name))?;
                output::say(&format!("{name}: removed"));
                match output {
                    Format::Table => Ok(()),
                    format => output::show(format, &image, |_| String::new()),
                }
            }
        }
    }
}

fn nothing() -> Pieces {
    Pieces::new(1).1
}

/// Sends pieces and waits for the answer as long as it takes.
fn send<T: serde::de::DeserializeOwned>(
    server: &Server,
    path: &str,
    pieces: Pieces,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = socket_path(&server.state);
    Ok(runtime.block_on(client::send(&socket, "POST", path, pieces))?)
}

fn add(
    server: &Server,
    source: &str,
    name: Option<String>,
    sha256: Option<&str>,
) -> anyhow::Result<Stored> {
    let shown = source.split(['?', '#']).next().unwrap_or_default();
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    // Before anything is sent: what is not there is no image that broke off.
    let is_artefact = source.starts_with("oci://") || source.starts_with("oci+http://");
    let artefact = if is_artefact { Some(registry::open(source, sha256)?) } else { None };
    let Some(name) = name.or_else(|| name_of(registry::without_digest(shown))) else {
        bail!("say with --name what the image is to be called");
    };
    let mut query = format!("source={}", segment(if is_url { shown } else { source }));
    let sha256 = sha256.map(str::to_owned);
    let sha256 = sha256.or_else(|| artefact.as_ref().and_then(fetch::Image::sha256_digits));
    if let Some(sha256) = &sha256 {
        query = format!("{query}&sha256={}", segment(sha256));
    }
    let path = format!("/v1/images/{}?{query}", segment(&name));
    let (sender, pieces) = Pieces::new(PIECES);
    let url = is_url.then(|| source.to_owned());
    let file = source.to_owned();
    let is_file = !is_url && artefact.is_none();
    let reader = if is_file { Some(open(&file)?) } else { None };
    let giving = std::thread::spawn(move || match (artefact, url, reader) {
        (Some(image), ..) => registry::give(&image, &sender),
        (None, Some(url), _) => download::give(&url, &sender),
        (None, None, Some((reader, size))) => read(reader, size, &sender),
        (None, None, None) => Ok(()),
    });
    let answer = send(server, &path, pieces);
    let given =
        giving.join().unwrap_or_else(|_| Err(io::Error::other("reading the image panicked")));
    match (answer, given) {
        (Ok(image), _) => Ok(image),
        // What could not be read is why the server heard only half of it.
        (Err(_), Err(error)) if !is_gone(&error) => {
            Err(error).with_context(|| format!("reading {shown}"))
        }
        (Err(error), _) => Err(error),
    }
}

/// The server wanted no more: why, it says itself.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

type Reader = Box<dyn Read + Send>;

fn open(source: &str) -> anyhow::Result<(Reader, Option<u64>)> {
    if source == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let context = || format!("opening {source}");
    let file = std::fs::File::open(source).with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    if metadata.is_dir() {
        bail!("a directory, not an image: {source}");
    }
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

/// Reads a file and gives it away piece by piece.
fn read(
    mut reader: Reader,
    size: Option<u64>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut given = Given::new(size);
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let count = match reader.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other,
        };
        match count {
            Ok(0) => return Ok(()),
            Ok(count) => {
                piece.truncate(count);
                sender.blocking_send(Ok(piece.into())).map_err(|_| gone())?;
                given.more(count);
            }
            Err(error) => {
                let kind = error.kind();
                // The conversation must not end as if that were all.
                drop(sender.blocking_send(Err(kind.into())));
                return Err(error);
            }
        }
    }
}

/// How much was given away, on the line.
struct Given {
    line: Line,
    bytes: u64,
    size: Option<u64>,
    since: std::time::Instant,
}

impl Given {
    fn new(size: Option<u64>) -> Self {
        Self { line: Line::new(), bytes: 0, size, since: std::time::Instant::now() }
    }

    fn more(&mut self, count: usize) {
        self.bytes += u64::try_from(count).unwrap_or(0);
        let elapsed = self.since.elapsed().as_millis().max(1);
        let rate = u128::from(self.bytes) * 1000 / elapsed;
        let rate = Amount(u64::try_from(rate).unwrap_or(u64::MAX));
        let bytes = Amount(self.bytes);
        match self.size.filter(|size| *size > 0) {
            Some(size) => {
                let percent = self.bytes.saturating_mul(100) / size;
                let size = Amount(size);
                self.line.say(&format!("adding, {percent} %, {bytes} of {size}, {rate}/s"));
            }
            None => self.line.say(&format!("adding, {bytes}, {rate}/s")),
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.line.end();
    }
}

/// Makes a name of a path: its last part without the endings that say how it is packed.
fn name_of(source: &str) -> Option<String> {
    const ENDINGS: [&str; 14] = [
        "gz", "tgz", "xz", "txz", "bz2", "zst", "lz4", "tar", "raw", "img", "qcow2", "iso", "bin",
        "disk",
    ];
    let file = Path::new(source).file_name()?.to_str()?;
    let mut name = file;
    while let Some((before, ending)) = name.rsplit_once('.')
        && ENDINGS.contains(&ending.to_ascii_lowercase().as_str())
        && !before.is_empty()
    {
        name = before;
    }
    (name != "-").then(|| name.to_owned())
}

/// All images, one in a line.
fn table(images: &[Stored], now: i64) -> String {
    let titles = ["NAME", "SIZE", "STORED", "WAS", "SECTORS", "ADDED", "BY"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(images.iter().map(|image| {
        vec![
            image.name.clone(),
            image.image_bytes.to_string(),
            image.stored_bytes.to_string(),
            image.origin.join(" "),
            image.sector_bytes.map_or("-".to_owned(), |bytes| bytes.to_string()),
            moment::show_ago(image.at, now),
            image.by.clone(),
        ]
    }));
    output::align(&rows)
}

/// One image.
fn page(image: &Stored) -> String {
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    output::align(&[
        row("image", image.name.clone()),
        row("size", image.image_bytes.to_string()),
        row("stored", image.stored_bytes.to_string()),
        row("smallest disk", image.smallest_disk_bytes.to_string()),
        row("sectors", image.sector_bytes.map_or("any".to_owned(), |bytes| bytes.to_string())),
        row("partitions", image.partitions.to_string()),
        row("was", image.origin.join(" ")),
        row("sha256", image.sha256.clone()),
        row("manifest", image.manifest.clone()),
        row("from", image.source.clone()),
        row("added", format!("{} by {}", moment::show(image.at), image.by)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_is_left_without_endings() {
        for (source, name) in [
            ("/srv/debian-13.qcow2", "debian-13"),
            ("talos-1.9.raw.xz", "talos-1.9"),
            ("https://a/b/image.tar.GZ", "image"),
            (".raw", ".raw"),
            ("plain", "plain"),
        ] {
            assert_eq!(name_of(source).as_deref(), Some(name), "{source}");
        }
        assert_eq!(name_of("-"), None);
        assert_eq!(name_of(".."), None);
    }

    #[test]
    fn images_read_well() {
        let image = Stored {
            name: "debian-13".to_owned(),
            manifest: "a5".repeat(32),
            sha256: "5a".repeat(32),
            origin: vec!["xz".to_owned(), "raw".to_owned()],
            image_bytes: Amount(4 << 30),
            stored_bytes: Amount(400 << 20),
            smallest_disk_bytes: Amount(4 << 30),
            sector_bytes: Some(512),
            partitions: 3,
            source: "debian-13.raw.xz".to_owned(),
            by: "alice (uid 1000)".to_owned(),
            at: 0,
        };
        let plain = Stored { sector_bytes: None, ..image.clone() };
        let text = [table(&[image.clone(), plain], 120_000), page(&image)].join("\n");
        insta::assert_snapshot!(text);
    }
}
