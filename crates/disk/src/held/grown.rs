//! A disk that became larger under its permit, because what hid its end was lifted: the kernel is asked to look again.
//!
//! Linux keeps two sizes of an ATA disk: sd's, that is asked for again through `rescan`, and libata's, that sd is answered
//! with, and that is read only when the link was reset (`drivers/ata/libata-scsi.c`, `ata_scsi_user_scan`). After a reset
//! libata keeps a disk that has grown only where it knew its native size before and that did not change
//! (`drivers/ata/libata-core.c`, `ata_dev_revalidate`): where a host protected area hid sectors, and nothing else. Any other
//! disk it takes away and finds anew, and whoever holds it has lost it. Neither asks who has the disk open.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use inventory::Root;

use super::Held;

/// How long a disk may take to answer what its size is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// How long the kernel may take until it shows a larger size after a reset of the link: disks spin up in half a minute.
const RESET_PATIENCE: Duration = Duration::from_mins(1);

/// The time between two looks.
const GROW_PAUSE: Duration = Duration::from_millis(100);

/// How the kernel may be made to look at a disk's size again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// By asking for it, which changes nothing.
    Disk,
    /// Where that does not do, by a reset of the link too: only where a host protected area hid the end of the disk.
    Link,
}

/// A file that makes the kernel look, and what is written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    path: PathBuf,
    words: String,
    patience: Duration,
}

impl Held {
    /// Has the kernel look at the disk's size again, and takes the one that it addresses from then on. Returns that, in
    /// bytes: less than `bytes` where the kernel does not see so much.
    pub fn grow(&self, bytes: u64, asking: Asking) -> io::Result<u64> {
        let root = Root::live();
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let directory = self.directory(&root).ok_or_else(gone)?;
        for Request { path, words, patience } in requests(&root, &directory, asking) {
            let mut file = OpenOptions::new().write(true).open(Path::new("/").join(path))?;
            file.write_all(words.as_bytes())?;
            let begun = Instant::now();
            while self.see_size()? < bytes && begun.elapsed() < patience {
                thread::park_timeout(GROW_PAUSE);
            }
            if self.see_size()? >= bytes {
                break;
            }
        }
        self.see_size()
    }

    /// Takes the size that the kernel addresses (`BLKGETSIZE64`), if it is still the same disk and no smaller one.
    fn see_size(&self) -> io::Result<u64> {
        let facts = self.kernel.facts(self.handle.file())?;
        let other = |words: &str| Err(io::Error::other(words));
        if (facts.number, facts.sequence) != (self.facts.number, self.facts.sequence) {
            return other("it is another disk");
        }
        if facts.sector_bytes != self.facts.sector_bytes {
            return other("its sectors have another size");
        }
        if facts.size_bytes < self.handle.size() {
            return other("it became smaller");
        }
        self.handle.grow(facts.size_bytes);
        Ok(facts.size_bytes)
    }
}

/// Returns what makes the kernel look again, the gentlest first, `directory` being where the disk stands.
fn requests(root: &Root, directory: &Path, asking: Asking) -> Vec<Request> {
    // …/ata1/host0/target0:0:0/0:0:0:0/block/sda
    let Some(unit) = directory.parent().and_then(Path::parent) else { return Vec::new() };
    let path = unit.join("rescan");
    let mut requests = Vec::new();
    if root.exists(&path) {
        requests.push(Request { path, words: "1".to_owned(), patience: ANSWER_PATIENCE });
    }
    if asking == Asking::Link {
        requests.extend(reset(root, unit));
    }
    requests
}

/// Returns what resets the link of an ATA disk; nothing where libata does not drive it, or another disk hangs there too.
fn reset(root: &Root, unit: &Path) -> Option<Request> {
    let host = unit.parent()?.parent()?;
    let port = host.parent()?.file_name()?.to_str()?.strip_prefix("ata")?;
    let is_port = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let names = root.entries(host).ok()?;
    let is_alone = names.iter().filter(|name| name.starts_with("target")).count() == 1;
    let (_, address) = unit.file_name()?.to_str()?.split_once(':')?;
    let (words, patience) = (address.replace(':', " "), RESET_PATIENCE);
    let path = host.join("scsi_host").join(host.file_name()?).join("scan");
    (is_port && is_alone && root.exists(&path)).then_some(Request { path, words, patience })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        Medium as _,
        permit::simulation::{Bus, DiskSpec, Simulated, Spec, Trick},
    };

    const RESCAN: &str = "ata1/host0/target0:0:0/0:0:0:0/rescan";
    const SCAN: &str = "ata1/host0/scsi_host/host0/scan";

    fn check(asking: Asking, port: &str, files: &[&str]) -> Vec<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        let above = Path::new("sys/devices/pci0");
        for path in files {
            let path = directory.path().join(above).join(path.replace("ata1", port));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let disk = above.join(port).join("host0/target0:0:0/0:0:0:0/block/sda");
        let found = requests(&Root::captured(directory.path()), &disk, asking);
        let told = |request: Request| {
            let path = request.path.strip_prefix(above).unwrap().to_str().unwrap().to_owned();
            (path, request.words)
        };
        found.into_iter().map(told).collect()
    }

    #[test]
    fn a_link_is_reset_only_where_that_was_said_and_the_disk_is_alone_on_it() {
        let all = [(RESCAN.to_owned(), "1".to_owned()), (SCAN.to_owned(), "0 0 0".to_owned())];
        assert_eq!(check(Asking::Disk, "ata1", &[RESCAN, SCAN]), all[..1]);
        assert_eq!(check(Asking::Link, "ata1", &[RESCAN, SCAN]), all);
        let beside = "ata1/host0/target0:0:1/0:0:1:0/rescan";
        assert_eq!(check(Asking::Link, "ata1", &[RESCAN, SCAN, beside]), all[..1]);
        // Another driver's host: resetting it is another matter.
        for port in ["end_device-0:0", "ata", "atax", "session1"] {
            assert_eq!(check(Asking::Link, port, &[RESCAN, SCAN]).len(), 1, "{port}");
        }
        assert_eq!(check(Asking::Link, "ata1", &[]), []);
    }

    #[test]
    fn a_disk_that_grew_is_addressed_to_its_new_end_and_one_that_is_another_or_smaller_is_not() {
        let held = |trick: Option<Trick>| {
            let mut spec = Spec::new(vec![DiskSpec::new(Bus::Ata, 1)]);
            spec.tricks.extend(trick);
            let machine = Simulated::new(&spec);
            let held = machine.held(&[0]).remove(0);
            (machine, held)
        };
        let (_machine, disk) = held(Some(Trick::Grows(2)));
        let before = disk.size_bytes();
        let end = |disk: &Held| disk.read(before, &mut [0; 512]).map_err(|error| error.kind());
        assert_eq!(end(&disk), Err(io::ErrorKind::InvalidInput), "beyond the end");
        assert_eq!(disk.see_size().unwrap(), before + 512);
        assert_eq!(disk.size_bytes(), before + 512);
        // It is read now; the file below is no longer than it was.
        assert_eq!(end(&disk), Err(io::ErrorKind::UnexpectedEof));
        for trick in [Trick::Shrinks(2), Trick::SequenceChanges(2), Trick::Vanishes(2)] {
            let (_machine, disk) = held(Some(trick));
            assert!(disk.see_size().is_err(), "{trick:?}");
            assert_eq!(disk.size_bytes(), before);
        }
        let (_machine, disk) = held(None);
        assert_eq!(disk.see_size().unwrap(), before);
    }
}
