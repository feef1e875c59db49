//! `sunshine write`: an image onto a disk of this machine, or into a file, by the code that PID 1 has.
//!
//! ```text
//! image ─► what is it? ─► permit, or plain file ─► install ─► report
//!                          │
//!                          refused: nothing was touched
//! ```

mod disk;
mod file;
mod progress;
mod rehearsal;
mod source;
mod stream;
mod words;

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use ::disk::{Held, LoopDevice, Medium, PlainFile};
use image::{Format, Manifest, bmap::Bmap};
use install::{Failure, Foreign, Options, Plan, Unfit};
use protocol::{
    Bytes, OrderId,
    install::{Guarantee, InstallReport, Progress, ReadBack},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use self::{
    file::{Growing, There},
    progress::Shown,
    source::{Mapped, Opened},
    words::{Request, Target, Wanted},
};

/// Sectors of a plain file, unless the image counts in others.
const SECTOR_BYTES: u32 = 512;

/// Why the image is not there.
struct Broken {
    /// A word for programs, where there is one.
    code: Option<&'static str>,
    reason: String,
    end: End,
}

/// What that means for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotUnderstood,
    Refused,
    Untouched,
    /// It may hold something else than before, and does not boot.
    Touched,
}

/// An image that was looked at.
enum Image {
    /// Of a store: every chunk has its digest.
    Store { manifest: Box<Manifest>, frames: Opened, guarantee: Guarantee },
    /// A file from anywhere.
    Foreign { file: Opened, kind: String, file_bytes: Option<u64> },
    /// A file with a map.
    Mapped { image: Mapped },
}

/// Does what the words say.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let request = match words::read(words) {
        Ok(Wanted::Help) => {
            let _nobody_reads = io::stdout().write_all(words::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(Wanted::Write(request)) => request,
        Err(reason) => {
            let _nobody_reads =
                writeln!(io::stderr(), "sunshine write: {reason}\nsunshine write --help says more");
            return ExitCode::from(2);
        }
    };
    let (text, value, code) = match obey(&request) {
        Ok((text, value)) => (text, value, 0),
        Err(Broken { code, reason, end }) => {
            let after = match end {
                End::NotUnderstood => "",
                End::Refused | End::Untouched => "; nothing was touched",
                End::Touched => "; what was there is destroyed, and nothing boots from it",
            };
            let _nobody_reads = writeln!(io::stderr(), "sunshine write: {reason}{after}");
            let touched = end == End::Touched;
            let value = json!({ "failure": reason, "code": code, "touched": touched });
            let code = match end {
                End::NotUnderstood => 2,
                End::Refused => 4,
                End::Untouched | End::Touched => 1,
            };
            (String::new(), value, code)
        }
    };
    let text = if request.json { format!("{value:#}\n") } else { text };
    let _nobody_reads = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn obey(request: &Request) -> Result<(String, Value), Broken> {
    let image = look(request)?;
    let there = match &request.target {
        Target::Disk(_) | Target::Loop(_) => None,
        Target::File(path) => Some(file_allowed(path, request.overwrite)?),
    };
    let mut id = [0; 16];
    let mut seed = [0; 8];
    let random = SystemRandom::new();
    random
        .fill(&mut id)
        .and_then(|()| random.fill(&mut seed))
        .map_err(|_| untouched("the kernel has no random numbers"))?;
    let mut options = Options::new(OrderId(id), u64::from_ne_bytes(seed));
    if request.image == "-" {
        // Whoever fills a pipe may take its time, and cannot be asked again.
        options.patience.stall = stream::PATIENCE;
    }
    let name = match &request.target {
        Target::Disk(typed) => typed.clone(),
        Target::Loop(path) | Target::File(path) => path.display().to_string(),
    };
    if request.dry_run {
        match &request.target {
            Target::Disk(typed) => {
                let permit = allowed(typed, request.overwrite, options.order)?;
                fits(&image, permit.disk().identity.size_bytes.0)?;
            }
            Target::Loop(path) => {
                fits(&image, rehearsed(path, request.overwrite)?.size_bytes())?;
            }
            Target::File(_) => {}
        }
        let text = format!("would write {} to {name}\n", described(&image));
        return Ok((text, json!({ "dryRun": true, "image": shown(&image), "target": name })));
    }
    let report = match (&request.target, there) {
        (Target::Disk(typed), _) => {
            let permit = allowed(typed, request.overwrite, options.order)?;
            fits(&image, permit.disk().identity.size_bytes.0)?;
            let held =
                permit.into_medium().map_err(|refusal| refused(Some(refusal.code()), &refusal))?;
            let report = put(&image, &held, &options).map_err(|failure| failed(&failure))?;
            settle(held).map_err(|reason| broken(End::Touched, reason))?;
            report
        }
        (Target::Loop(path), _) => {
            let device = rehearsed(path, request.overwrite)?;
            fits(&image, device.size_bytes())?;
            let report = put(&image, &device, &options).map_err(|failure| failed(&failure))?;
            let unsettled = |error| format!("settling {name}: {error}");
            device.settle().map_err(|error| broken(End::Touched, unsettled(error)))?;
            report
        }
        (Target::File(path), there) => to_file(&image, path, there.unwrap_or(0), &options)?,
    };
    let text = told(&report, &name);
    Ok((text, json!({ "image": shown(&image), "target": name, "report": report })))
}

/// Opens the image, and says what it is.
fn look(request: &Request) -> Result<Image, Broken> {
    let untouched = |reason: String| untouched(reason);
    let what = request.image.to_str().ok_or_else(|| Broken {
        code: None,
        reason: "--image: a name that is no text".to_owned(),
        end: End::NotUnderstood,
    })?;
    if let Some((manifest, frames)) = source::store(what) {
        if request.bmap.is_some() {
            let reason = "a store's image needs no map: leave --bmap out".to_owned();
            return Err(broken(End::NotUnderstood, reason));
        }
        let manifest =
            source::manifest(&manifest, request.sha256, request.key).map_err(untouched)?;
        let frames = source::open(&frames, None).map_err(untouched)?;
        if frames.bytes != manifest.frames_bytes() {
            let expected = manifest.frames_bytes();
            let reason = format!("the frames are {} bytes instead of {expected}", frames.bytes);
            return Err(untouched(reason));
        }
        // Nobody vouches for a manifest whose key nobody named; its digests still find what is damaged.
        let guarantee = match request.key {
            Some(_) => Guarantee::SignedChunks,
            None => Guarantee::Ranges,
        };
        return Ok(Image::Store { manifest: Box::new(manifest), frames, guarantee });
    }
    if request.key.is_some() {
        let reason = "--key is for the manifest of a store's image".to_owned();
        return Err(broken(End::NotUnderstood, reason));
    }
    let (file, file_bytes) = if what == "-" {
        stream::standard_input(request.sha256).map_err(untouched)?
    } else {
        let file = source::open(what, request.sha256).map_err(untouched)?;
        let bytes = file.bytes;
        (file, Some(bytes))
    };
    if let Some(path) = &request.bmap {
        let shown = path.display();
        let map = read_map(path).map_err(|reason| untouched(format!("{shown}: {reason}")))?;
        return Ok(Image::Mapped { image: Mapped { file, map } });
    }
    // What it is shows in its first bytes: what is no image is said before anything is asked of a disk.
    let head = file.place.fetch(0..file.bytes).map_err(|error| untouched(error.to_string()))?;
    let opened = image::unpack(head, image::WINDOW_LIMIT);
    let unpacked = opened.map_err(|error| untouched(format!("{what}: {}", chain(&error))))?;
    let layers: Vec<String> = unpacked.layers().iter().map(Format::to_string).collect();
    drop(unpacked);
    let kind = if layers.is_empty() { "raw".to_owned() } else { layers.join(", ") };
    if layers.is_empty() && file_bytes.is_none() && file.sha256.is_none() {
        return Err(untouched(chain(&Unfit::Endless)));
    }
    Ok(Image::Foreign { file, kind, file_bytes })
}

fn read_map(path: &Path) -> Result<&'static Bmap, String> {
    let length = path.metadata().map_err(|error| error.to_string())?.len();
    if length > u64::try_from(image::bmap::LIMIT_BYTES).unwrap_or(u64::MAX) {
        return Err(chain(&image::bmap::BmapError::TooLong));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let map = Bmap::parse(&bytes).map_err(|error| chain(&error))?;
    Ok(Box::leak(Box::new(map)))
}

/// Refuses what is no plain file, or has something in it. Returns its length.
fn file_allowed(path: &Path, overwrite: bool) -> Result<u64, Broken> {
    match file::look(path).map_err(untouched)? {
        There::Other(reason) => Err(Broken { code: Some("not-typed"), reason, end: End::Refused }),
        There::File { is_blank: false, .. } if !overwrite => Err(Broken {
            code: Some("has-data"),
            reason: format!(
                "{} has something in it: look at it, then write again with --overwrite",
                path.display()
            ),
            end: End::Refused,
        }),
        There::File { bytes, .. } => Ok(bytes),
    }
}

fn allowed(typed: &str, overwrite: bool, id: OrderId) -> Result<::disk::Permit, Broken> {
    disk::permit(typed, overwrite, id).map_err(|error| refused(Some(error.code()), &error))
}

fn rehearsed(path: &Path, overwrite: bool) -> Result<LoopDevice, Broken> {
    rehearsal::open(path, overwrite).map_err(|error| refused(Some(error.code()), &error))
}

/// Refuses a disk on which the image does not fit, where that is known before.
fn fits(image: &Image, disk_bytes: u64) -> Result<(), Broken> {
    match image_bytes(image) {
        Some(image_bytes) if image_bytes > disk_bytes => {
            let unfit = Unfit::TooSmall { image_bytes, disk_bytes };
            Err(refused(Some("too-small"), &unfit))
        }
        _ => Ok(()),
    }
}

fn image_bytes(image: &Image) -> Option<u64> {
    match image {
        Image::Store { manifest, .. } => Some(manifest.description().smallest_disk_bytes),
        Image::Mapped { image } => Some(image.map.image_bytes()),
        Image::Foreign { kind, file_bytes, .. } if kind == "raw" => *file_bytes,
        Image::Foreign { .. } => None,
    }
}

/// Puts the image on a medium.
fn put(
    image: &Image,
    medium: &dyn Medium,
    options: &Options<'_>,
) -> Result<InstallReport, Failure> {
    let file_bytes = match image {
        Image::Store { .. } => None,
        Image::Foreign { file_bytes, .. } => *file_bytes,
        Image::Mapped { image } => Some(image.map.image_bytes()),
    };
    let bar = Shown::new(file_bytes);
    let tell = |progress: &Progress| bar.tell(progress);
    let written = match image {
        Image::Store { manifest, frames, guarantee } => {
            let plan = Plan::from(manifest.as_ref());
            let written = install::install(medium, &plan, &[&*frames.place], options, &tell);
            written.map(|report| InstallReport { guarantee: *guarantee, ..report })
        }
        Image::Foreign { file, file_bytes, .. } => {
            let foreign = Foreign { file_bytes: *file_bytes, sha256: file.sha256 };
            install::install_foreign(medium, &foreign, &[&*file.place], options, &tell)
        }
        Image::Mapped { image } => {
            let foreign = Foreign { file_bytes: Some(image.map.image_bytes()), sha256: None };
            let written = install::install_foreign(medium, &foreign, &[image], options, &tell);
            written.map(|report| InstallReport { guarantee: Guarantee::Ranges, ..report })
        }
    };
    bar.end();
    written
}

fn to_file(
    image: &Image,
    path: &Path,
    there: u64,
    options: &Options<'_>,
) -> Result<InstallReport, Broken> {
    let sector_bytes = match image {
        Image::Store { manifest, .. } => manifest.description().sector_bytes,
        _ => None,
    };
    let first = sector_bytes.unwrap_or(SECTOR_BYTES);
    match to_file_of(image, path, there, first, options) {
        // A file has the sectors that the image wants; nothing was written yet.
        Err(Written::Failed(Failure::Unfit(Unfit::SectorSize { image_bytes, .. }))) => {
            to_file_of(image, path, there, image_bytes, options)
        }
        other => other,
    }
    .map_err(|error| match error {
        Written::NotOpened(reason) => untouched(reason),
        Written::Failed(failure) => failed(&failure),
        Written::NotClosed(reason) => broken(End::Touched, reason),
    })
}

enum Written {
    NotOpened(String),
    Failed(Failure),
    NotClosed(String),
}

fn to_file_of(
    image: &Image,
    path: &Path,
    there: u64,
    sector_bytes: u32,
    options: &Options<'_>,
) -> Result<InstallReport, Written> {
    let shown = path.display();
    if let Some(bytes) = image_bytes(image) {
        let sector = u64::from(sector_bytes);
        let size = bytes.max(there).checked_next_multiple_of(sector).unwrap_or(u64::MAX);
        let file = PlainFile::open(path, size, sector_bytes)
            .map_err(|error| Written::NotOpened(chain(&error)))?;
        return put(image, &file, options).map_err(Written::Failed);
    }
    let not_opened = |error: io::Error| Written::NotOpened(format!("opening {shown}: {error}"));
    let file = Growing::open(path, sector_bytes).map_err(not_opened)?;
    let report = put(image, &file, options).map_err(Written::Failed)?;
    file.close(report.progress.unpacked_bytes.0)
        .map_err(|error| Written::NotClosed(format!("closing {shown}: {error}")))?;
    Ok(report)
}

/// Has the kernel see the new partitions, and lets the disk go.
fn settle(disk: Held) -> Result<(), String> {
    disk.drop_cache().map_err(|error| format!("dropping old pages of the disk: {error}"))?;
    disk.reread_partitions()
        .map_err(|error| format!("having the kernel read the new partition table: {error}"))?;
    disk.release().map_err(|error| format!("making the disk read-only again: {error}"))
}

fn described(image: &Image) -> String {
    match image {
        Image::Store { manifest, .. } => {
            let description = manifest.description();
            format!("image {} of {}", description.name, Bytes(description.image_bytes))
        }
        Image::Foreign { kind, file_bytes: Some(bytes), .. } => {
            format!("an image ({kind}) from a file of {}", Bytes(*bytes))
        }
        Image::Foreign { kind, .. } => format!("an image ({kind}) from standard input"),
        Image::Mapped { image } => {
            let parts = image.map.ranges().len();
            format!("an image of {} with a map of {parts} parts", Bytes(image.map.image_bytes()))
        }
    }
}

fn shown(image: &Image) -> Value {
    match image {
        Image::Store { manifest, .. } => json!({
            "kind": "store",
            "name": manifest.description().name,
            "manifest": source::digits(&manifest.sha256()),
            "imageBytes": manifest.description().image_bytes,
        }),
        Image::Foreign { kind, file_bytes, .. } => {
            json!({ "kind": "foreign", "packing": kind, "fileBytes": file_bytes })
        }
        Image::Mapped { image } => {
            json!({ "kind": "mapped", "imageBytes": image.map.image_bytes() })
        }
    }
}

fn told(report: &InstallReport, name: &str) -> String {
    let Progress { written_bytes, zeroed_bytes, unchanged_bytes, .. } = report.progress;
    let vouched = match report.guarantee {
        Guarantee::SignedChunks => "every chunk was vouched for by the named key",
        Guarantee::Ranges => "every part had the digest that its list says",
        Guarantee::Digest => "the whole had the digest that was named",
        Guarantee::Format => "only the packing's own checksums vouch for it",
        Guarantee::Length => "nothing vouches for it but its length",
    };
    let read_back = match &report.read_back {
        ReadBack::Whole {} => "all of it was read back".to_owned(),
        ReadBack::Sample { bytes, .. } => format!("a sample of {bytes} was read back"),
    };
    format!(
        "the image is on {name}: {written_bytes} written, {zeroed_bytes} zeroed, {unchanged_bytes} there already; {vouched}; {read_back}\n"
    )
}

fn failed(failure: &Failure) -> Broken {
    // Only what is seen before the first byte: an image of unknown length shows on the way that it is too long.
    let end = if matches!(
        failure,
        Failure::Unfit(
            Unfit::Plan { .. } | Unfit::TooMuch { .. } | Unfit::SectorSize { .. } | Unfit::Endless
        )
    ) {
        End::Untouched
    } else {
        End::Touched
    };
    broken(end, chain(failure))
}

fn refused(code: Option<&'static str>, error: &dyn Error) -> Broken {
    Broken { code, reason: chain(error), end: End::Refused }
}

fn untouched(reason: impl Into<String>) -> Broken {
    broken(End::Untouched, reason)
}

fn broken(end: End, reason: impl Into<String>) -> Broken {
    Broken { code: None, reason: reason.into(), end }
}

/// Shows an error with its causes.
fn chain(error: &(dyn Error + '_)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
