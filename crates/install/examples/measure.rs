//! Measures an install onto a plain file: seconds, bytes of image a second, and the most memory that was resident.
//!
//! ```sh
//! cargo build --release --package install --example measure
//! measure make DIRECTORY 4096 /usr    # an image of 4096 MiB, 57 of 100 chunks zeros, the rest from files
//! measure convert IMAGE DIRECTORY     # the same of an image that is there
//! measure run DIRECTORY               # in a process of its own: put on DIRECTORY/disk
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use disk::{Medium, PlainFile};
use image::{Manifest, convert};
use install::{Compare, FetchError, Options, Plan, Source, Verify, install};
use protocol::OrderId;

const MIB: u64 = 1 << 20;
const CHUNK_BYTES: u32 = 4 << 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", directory, mebibytes, from] => {
            make(Path::new(directory), mebibytes.parse()?, Path::new(from))
        }
        ["convert", image, directory] => store(Path::new(directory), File::open(image)?),
        ["run", directory] => run(Path::new(directory), Compare::Never),
        ["again", directory] => run(Path::new(directory), Compare::Always),
        _ => {
            let words =
                "make DIRECTORY MEBIBYTES FROM | convert IMAGE DIRECTORY | run|again DIRECTORY";
            Err(format!("measure {words}").into())
        }
    }
}

fn make(directory: &Path, mebibytes: u64, from: &Path) -> Outcome<()> {
    store(directory, Sparse { files: Files::below(from)?, position: 0, end: mebibytes * MIB })
}

/// Makes frames and manifest in a directory.
fn store(directory: &Path, image: impl Read + Send) -> Outcome<()> {
    let how = convert::Options {
        name: "measured".to_owned(),
        origin: vec!["raw".to_owned()],
        chunk_bytes: CHUNK_BYTES,
        level: 3,
        threads: thread::available_parallelism()?,
    };
    let frames = io::BufWriter::new(File::create(directory.join("frames"))?);
    let draft = convert::convert(image, frames, &how)?;
    let manifest = draft.sign(b"nobody", |_| Ok::<_, std::fmt::Error>(vec![0; 64]))?;
    fs::write(directory.join("manifest"), manifest.encode())?;
    Ok(())
}

/// An image: of every hundred chunks 43 hold the bytes of files, the others zeros.
struct Sparse {
    files: Files,
    position: u64,
    end: u64,
}

impl Read for Sparse {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let chunk_bytes = u64::from(CHUNK_BYTES);
        let chunk = self.position / chunk_bytes;
        let left = ((chunk + 1) * chunk_bytes).min(self.end) - self.position;
        let length = into.len().min(usize::try_from(left).map_err(io::Error::other)?);
        let into = &mut into[..length];
        if chunk * 43 % 100 < 43 {
            self.files.read_exact(into)?;
        } else {
            into.fill(0);
        }
        self.position += u64::try_from(length).map_err(io::Error::other)?;
        Ok(length)
    }
}

/// The bytes of all files below a directory, one after the other, again and again.
struct Files {
    paths: Vec<PathBuf>,
    next: usize,
    current: Option<File>,
}

impl Files {
    fn below(directory: &Path) -> Outcome<Self> {
        let (mut paths, mut directories) = (Vec::new(), vec![directory.to_owned()]);
        while let Some(directory) = directories.pop() {
            let mut entries: Vec<_> = fs::read_dir(directory)?.filter_map(Result::ok).collect();
            entries.sort_by_key(fs::DirEntry::path);
            for entry in entries {
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() && entry.metadata()?.len() > 0 {
                    paths.push(entry.path());
                }
            }
        }
        if paths.is_empty() {
            Err("no files".into())
        } else {
            Ok(Self { paths, next: 0, current: None })
        }
    }
}

impl Read for Files {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                match file.read(into)? {
                    0 => self.current = None,
                    length => return Ok(length),
                }
            }
            let path = &self.paths[self.next % self.paths.len()];
            self.next += 1;
            self.current = File::open(path).ok();
        }
    }
}

/// Puts the image on a file, and prints what it took.
fn run(directory: &Path, compare: Compare) -> Outcome<()> {
    let manifest = Manifest::parse(fs::read(directory.join("manifest"))?)?;
    let plan = Plan::from(&manifest);
    drop(manifest);
    let image_bytes = plan.image_bytes;
    let disk = PlainFile::open(&directory.join("disk"), image_bytes, 512)?;
    let source = Frames(directory.join("frames"));
    let mut options = Options::new(OrderId([0; 16]), 1);
    options.compare = compare;
    options.verify = Verify::Sample { detects_per_thousand: 50 };
    let begun = Instant::now();
    let report = install(&disk, &plan, &[&source], &options, &|_| {})?;
    let seconds = begun.elapsed().as_secs_f64();
    let mebibytes = u32::try_from(image_bytes / MIB).map(f64::from)?;
    let megabytes_per_second = mebibytes * 1.048_576 / seconds;
    let progress = report.progress;
    let line = format!(
        "{seconds:.2} s, {megabytes_per_second:.0} MB/s of image, {} MiB fetched, {} written, {} zeroed, \
         {} unchanged; resident at most {} of {} MiB of disk",
        progress.fetched_bytes.0 / MIB,
        progress.written_bytes.0 / MIB,
        progress.zeroed_bytes.0 / MIB,
        progress.unchanged_bytes.0 / MIB,
        resident()?,
        disk.size_bytes() / MIB,
    );
    println!("{line}");
    io::stdout().flush()?;
    Ok(())
}

/// Returns what the kernel says of the most memory that was resident (`VmHWM` of `/proc/self/status`).
fn resident() -> Outcome<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("the kernel does not say")?.trim().to_owned())
}

/// A file of frames.
#[derive(Debug)]
struct Frames(PathBuf);

impl Source for Frames {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let failed = |error: io::Error| FetchError::Never { reason: error.to_string() };
        let mut file = File::open(&self.0).map_err(failed)?;
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        Ok(Box::new(file.take(range.end - range.start)))
    }
}
