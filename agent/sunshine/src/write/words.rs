//! What a person typed after `sunshine write`.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use disk::LoopDevice;

/// What `sunshine write --help` says.
pub(super) const HELP: &str = "\
Writes an image to a disk of this machine, or to a file. The disk does not boot before all of it is there.

sunshine write --image FILE|URL --disk NAME|PATH [options]

  --image FILE|URL  an image, bare or packed with gzip, xz, bzip2, zstd, lz4, tar; an http, https or oci URL of
                    one; or an image of a Drydock store: its directory, its `manifest`, or the URL of that
  --image -         an image from standard input: packed, or with --sha256, since a bare one does not say where it ends
  --disk NAME       the disk's serial number, WWN, EUI-64 or NGUID; never a name such as /dev/sda
  --disk PATH       a plain file, as ./disk.img: with a slash; it is made, or grown.
                    Or a loop device, as /dev/loop0: the only names below /dev that are taken
  --sha256 DIGEST   SHA-256 of the image file, or of the manifest: 64 digits
  --key DIGEST      for a manifest: the server's pin, of the key that must have signed it
  --bmap FILE       a map of the image (bmap, version 2), compared while the image is written
  --overwrite       what is on the disk, or in the file, may be destroyed
  --dry-run         says what would be done, and touches nothing
  -o, --output HOW  text (unless said otherwise) or json
  -h, --help        this

Exit code 0: the image is there. 1: it is not; the message says whether the disk was touched.
2: not understood. 4: refused, nothing was touched.
";

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) image: OsString,
    pub(super) target: Target,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) key: Option<[u8; 32]>,
    pub(super) bmap: Option<PathBuf>,
    pub(super) overwrite: bool,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

/// Where the image goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// What stands on a disk's label.
    Disk(String),
    /// A loop device, by its name: a file that the kernel shows as a disk.
    Loop(PathBuf),
    /// Anything else with a slash.
    File(PathBuf),
}

/// What the words come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Help,
    Write(Box<Request>),
}

/// Reads the words; says what is wrong with them.
pub(super) fn read(words: Vec<OsString>) -> Result<Wanted, String> {
    let (mut image, mut disk, mut bmap) = (None, None, None);
    let (mut sha256, mut key, mut output) = (None, None, None);
    let (mut overwrite, mut dry_run) = (false, false);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let shown = word.to_string_lossy().into_owned();
        let (option, value) = match word.to_str().and_then(|word| word.split_once('=')) {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ => (shown.as_str(), None),
        };
        let flag = |is_set: &mut bool| match value {
            None => {
                *is_set = true;
                Ok(())
            }
            Some(_) => Err(format!("{option} takes no value")),
        };
        let place = match option {
            "-h" | "--help" => return Ok(Wanted::Help),
            "--overwrite" => {
                flag(&mut overwrite)?;
                continue;
            }
            "--dry-run" => {
                flag(&mut dry_run)?;
                continue;
            }
            "--image" => &mut image,
            "--disk" => &mut disk,
            "--bmap" => &mut bmap,
            "--sha256" => &mut sha256,
            "--key" => &mut key,
            "-o" | "--output" => &mut output,
            _ => return Err(format!("there is no option {shown}")),
        };
        let value = value.map(OsString::from).or_else(|| words.next());
        let value = value.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("{option} needs a value"))?;
        if place.replace(value).is_some() {
            return Err(format!("{option} is said twice"));
        }
    }
    let json = match output.as_deref().map(OsStr::to_str) {
        None | Some(Some("text")) => false,
        Some(Some("json")) => true,
        Some(_) => return Err("--output is text or json".to_owned()),
    };
    Ok(Wanted::Write(Box::new(Request {
        image: image.ok_or("--image is missing: which image?")?,
        target: target(disk.ok_or("--disk is missing: where to?")?)?,
        sha256: sha256.map(|text| digest("--sha256", &text)).transpose()?,
        key: key.map(|text| digest("--key", &text)).transpose()?,
        bmap: bmap.map(PathBuf::from),
        overwrite,
        dry_run,
        json,
    })))
}

fn target(word: OsString) -> Result<Target, String> {
    if word.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(word);
        let is_loop = LoopDevice::is_name(&path);
        return Ok(if is_loop { Target::Loop(path) } else { Target::File(path) });
    }
    let name = word.into_string().map_err(|_| "--disk: no disk has such a name".to_owned())?;
    Ok(Target::Disk(name))
}

fn digest(option: &str, text: &OsStr) -> Result<[u8; 32], String> {
    let wrong = || format!("{option} takes 64 hexadecimal digits");
    let text = text.to_str().map(|text| text.trim_start_matches("sha256:")).ok_or_else(wrong)?;
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..][..2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// Holds for the name of a device: another disk's tomorrow.
pub(super) fn is_device_name(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Wanted, String> {
        read(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn a_name_without_a_slash_is_a_disk_and_one_with_it_a_file() {
        let target = |line: &str| match words(line) {
            Ok(Wanted::Write(request)) => request.target,
            other => panic!("{other:?}"),
        };
        assert_eq!(target("--image a --disk S3Z1NB0K"), Target::Disk("S3Z1NB0K".to_owned()));
        assert_eq!(target("--disk=./a --image=b"), Target::File(PathBuf::from("./a")));
        assert_eq!(target("--disk /dev/loop7 --image b"), Target::Loop("/dev/loop7".into()));
        assert_eq!(target("--disk /dev/loop7p1 --image b"), Target::File("/dev/loop7p1".into()));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, reason) in [
            ("--disk a", "--image is missing: which image?"),
            ("--image a", "--disk is missing: where to?"),
            ("--image a --disk", "--disk needs a value"),
            ("--image= --disk a", "--image needs a value"),
            ("--image a --image b --disk c", "--image is said twice"),
            ("--image a --disk b --force", "there is no option --force"),
            ("--image a --disk b c", "there is no option c"),
            ("--image a --disk b --overwrite=no", "--overwrite takes no value"),
            ("--image a --disk b -o xml", "--output is text or json"),
            ("--image a --disk b --sha256 12", "--sha256 takes 64 hexadecimal digits"),
        ] {
            assert_eq!(words(line), Err(reason.to_owned()), "{line}");
        }
        assert_eq!(words("--disk a --help"), Ok(Wanted::Help));
    }
}
