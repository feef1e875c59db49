//! What is on each disk, asked of all of them at once and waited for with a limit.

use std::{
    collections::VecDeque,
    io,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use protocol::{
    Bytes,
    inventory::{Content, Disk, Gap, Partition, Signature},
};

use crate::{Root, guard, root::RootError};

/// How many disks are read at once: each costs two MiB of memory, and a small machine has 256.
const AT_ONCE: usize = 8;

type Answer = Result<signature::Content, String>;

/// Fills in what is on each disk, and returns what could not be read.
///
/// Each disk is read on a thread of its own. One that does not answer within `patience` becomes a gap, and its
/// thread is left behind: a thread that waits for a dead disk in the kernel cannot be stopped.
pub(crate) fn fill(root: &Root, disks: &mut [Disk], patience: Duration) -> Vec<Gap> {
    fill_with(disks, patience, |disk| {
        let (root, disk) = (root.clone(), disk.clone());
        move || read(&root, &disk)
    })
}

/// A disk that is being read.
struct Running {
    index: usize,
    started: Instant,
}

fn fill_with<Probe>(
    disks: &mut [Disk],
    patience: Duration,
    probe: impl Fn(&Disk) -> Probe,
) -> Vec<Gap>
where
    Probe: FnOnce() -> Answer + Send + 'static,
{
    let mut gaps = Vec::new();
    let mut waiting: VecDeque<usize> = (0..disks.len()).collect();
    let mut running: Vec<Running> = Vec::new();
    let (sender, receiver) = mpsc::channel();
    loop {
        while running.len() < AT_ONCE
            && let Some(index) = waiting.pop_front()
        {
            let Some(disk) = disks.get(index) else { continue };
            let (sender, probe) = (sender.clone(), probe(disk));
            let thread =
                thread::Builder::new().name(format!("probe {}", disk.name)).spawn(move || {
                    let died = || Err("the probe panicked".to_owned());
                    let answer = guard::run(probe).unwrap_or_else(died);
                    // Nobody listens any more when the patience is over.
                    sender.send((index, answer)).ok();
                });
            match thread {
                Ok(_) => running.push(Running { index, started: Instant::now() }),
                Err(error) => gaps.push(gap(disk, error.to_string(), None)),
            }
        }
        let Some(oldest) = running.iter().map(|probe| probe.started).min() else { return gaps };
        let left = patience.saturating_sub(oldest.elapsed());
        if let Ok((index, answer)) = receiver.recv_timeout(left) {
            let known = running.len();
            running.retain(|probe| probe.index != index);
            // An answer after the limit is as good as none: the gap is noted already.
            if running.len() < known
                && let Some(disk) = disks.get_mut(index)
            {
                gaps.extend(keep(disk, answer));
            }
            continue;
        }
        let is_late = |probe: &mut Running| probe.started.elapsed() >= patience;
        for late in running.extract_if(.., is_late) {
            let Some(disk) = disks.get(late.index) else { continue };
            let reason = "the disk did not answer".to_owned();
            gaps.push(gap(disk, reason, Some(late.started.elapsed())));
        }
    }
}

/// Reads one disk's signatures.
fn read(root: &Root, disk: &Disk) -> Answer {
    // A slash in a device's name is an exclamation mark in sysfs.
    let path = format!("dev/{}", disk.name.replace('!', "/"));
    let mut file = match root.open(&path) {
        Ok(Some(file)) => file,
        Ok(None) if root.is_live() => return Err("there is no such device file".to_owned()),
        Ok(None) => return Err("the capture has no copy of it".to_owned()),
        Err(RootError::Read { source, .. }) => return Err(source.to_string()),
        Err(error) => return Err(error.to_string()),
    };
    let size = size(root, &file).map_err(|error| error.to_string())?;
    Ok(signature::probe(&mut file, size, disk.logical_sector_bytes.unwrap_or(512)))
}

fn size(root: &Root, file: &std::fs::File) -> io::Result<u64> {
    if root.is_live() { linux::block::size(file) } else { Ok(file.metadata()?.len()) }
}

/// Keeps what was recognised, also when a part of the disk could not be read; that alone shows that it is in use.
fn keep(disk: &mut Disk, answer: Answer) -> Vec<Gap> {
    let content = match answer {
        Ok(content) => content,
        Err(reason) => return vec![gap(disk, reason, None)],
    };
    let gaps = content
        .unreadable
        .iter()
        .map(|place| {
            let reason = format!("{} bytes at {}: {}", place.length, place.offset, place.reason);
            gap(disk, reason, None)
        })
        .collect();
    if content.unreadable.is_empty()
        || !content.signatures.is_empty()
        || !content.partitions.is_empty()
    {
        disk.content = Some(Content {
            blank: content.blank,
            signatures: content.signatures.into_iter().map(signature).collect(),
            partitions: content.partitions.into_iter().map(partition).collect(),
        });
    }
    gaps
}

fn gap(disk: &Disk, reason: String, after: Option<Duration>) -> Gap {
    Gap {
        what: format!("disks/{}/content", disk.name),
        source: format!("/dev/{}", disk.name.replace('!', "/")),
        reason,
        after_milliseconds: after.and_then(|after| u64::try_from(after.as_millis()).ok()),
    }
}

fn signature(found: signature::Signature) -> Signature {
    Signature {
        kind: found.kind.to_owned(),
        offset_bytes: Bytes(found.offset),
        label: found.label,
        uuid: found.uuid,
    }
}

fn partition(found: signature::Partition) -> Partition {
    Partition {
        number: found.number,
        start_bytes: Bytes(found.start),
        size_bytes: Bytes(found.size),
        kind: Some(found.kind),
        name: found.name,
        signatures: found.signatures.into_iter().map(signature).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(count: usize) -> Vec<Disk> {
        (0..count).map(|number| Disk { name: format!("sd{number}"), ..Disk::default() }).collect()
    }

    fn blank() -> signature::Content {
        signature::Content { blank: true, ..signature::Content::default() }
    }

    #[test]
    fn a_hung_disk_costs_itself_and_nothing_else() {
        let mut disks = disks(30);
        // The hung ones wait until the test is over.
        let (release, held) = mpsc::channel::<()>();
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        let gaps = fill_with(&mut disks, Duration::from_millis(300), |disk| {
            let held = held.clone();
            let hangs = matches!(disk.name.as_str(), "sd0" | "sd7" | "sd29");
            move || {
                if hangs {
                    held.lock().unwrap().recv().ok();
                }
                Ok(blank())
            }
        });
        drop(release);
        let mut missing: Vec<&str> = gaps.iter().map(|gap| gap.what.as_str()).collect();
        missing.sort_unstable();
        assert_eq!(missing, ["disks/sd0/content", "disks/sd29/content", "disks/sd7/content"]);
        assert!(
            gaps.iter().all(|gap| gap.after_milliseconds.is_some_and(|after| after >= 300)),
            "{gaps:?}"
        );
        assert_eq!(disks.iter().filter(|disk| disk.content.is_some()).count(), 27);
    }

    #[test]
    fn a_probe_that_fails_is_a_gap() {
        let mut disks = disks(2);
        let gaps = fill_with(&mut disks, Duration::from_secs(9), |disk| {
            let name = disk.name.clone();
            move || if name == "sd0" { Err("Permission denied".to_owned()) } else { Ok(blank()) }
        });
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].source, "/dev/sd0");
        assert_eq!(disks[0].content, None);
        assert!(disks[1].content.as_ref().unwrap().blank);
    }

    #[test]
    fn a_probe_that_dies_is_a_gap_at_once() {
        let mut disks = disks(1);
        let gaps = fill_with(&mut disks, Duration::from_secs(9), |_| || panic!("a probe dies"));
        assert_eq!(gaps[0].reason, "the probe panicked");
        assert_eq!(gaps.len(), 1);
        assert_eq!(disks[0].content, None);
    }

    #[test]
    fn a_disk_that_is_partly_unreadable_is_never_blank() {
        let unreadable =
            signature::Unreadable { offset: 5, length: 9, reason: "medium error".to_owned() };
        let mut disk = Disk { name: "sda".to_owned(), ..Disk::default() };
        let mut content =
            signature::Content { unreadable: vec![unreadable], ..signature::Content::default() };
        assert_eq!(keep(&mut disk, Ok(content.clone()))[0].reason, "9 bytes at 5: medium error");
        assert_eq!(disk.content, None);

        content
            .signatures
            .push(signature::Signature { kind: "xfs", ..signature::Signature::default() });
        assert_eq!(keep(&mut disk, Ok(content)).len(), 1);
        let content = disk.content.unwrap();
        assert!(!content.blank);
        assert_eq!(content.signatures[0].kind, "xfs");
    }
}
