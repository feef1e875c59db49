//! Filesystems of which each mount, unmount and range that is opened is heard: a disk that takes long for them answers.

use std::io::{self, Read, Seek, SeekFrom};

use linux::{block::Access, rooted::Rooted};
use signature::Source;

use super::{
    mounting::{Filesystems, MountError, Mounted},
    system::Candidate,
};
use crate::Watch;

/// Filesystems that tell who watches of each answer, well or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'h> {
    pub(super) filesystems: &'h dyn Filesystems,
    pub(super) watch: &'h dyn Watch,
}

#[derive(Debug)]
struct HeardMount<'h> {
    mounted: Box<dyn Mounted + 'h>,
    watch: &'h dyn Watch,
}

struct HeardSource<'h> {
    source: Box<dyn Source + 'h>,
    watch: &'h dyn Watch,
}

impl Filesystems for Heard<'_> {
    fn mount<'f>(
        &'f self,
        candidate: &Candidate,
        subvolume: Option<&str>,
        access: Access,
    ) -> Result<Box<dyn Mounted + 'f>, MountError> {
        let mounted = self.filesystems.mount(candidate, subvolume, access);
        self.watch.heard();
        Ok(Box::new(HeardMount { mounted: mounted?, watch: self.watch }))
    }

    fn reader(&self, start: u64, size: u64) -> io::Result<Box<dyn Source + '_>> {
        let source = self.filesystems.reader(start, size)?;
        Ok(Box::new(HeardSource { source, watch: self.watch }))
    }
}

impl Mounted for HeardMount<'_> {
    fn root(&self) -> io::Result<Rooted> {
        let root = self.mounted.root();
        self.watch.heard();
        root
    }

    fn end(self: Box<Self>) -> io::Result<()> {
        // What was read meanwhile was an answer too.
        self.watch.heard();
        let ended = self.mounted.end();
        self.watch.heard();
        ended
    }
}

impl Read for HeardSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer);
        self.watch.heard();
        count
    }
}

impl Seek for HeardSource<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use protocol::wipe::WipeStepKind;
    use signature::{Content, Partition, Signature};

    use super::*;
    use crate::{
        Stopped,
        harbour::{self, Mode},
    };

    const SLOW: Duration = Duration::from_mins(3);

    /// A disk that takes long to say that it cannot be read. It watches over itself.
    #[derive(Debug, Default)]
    struct Slow {
        now: Mutex<Duration>,
        /// When it was heard of last, and the longest time in which it was not.
        heard: Mutex<(Duration, Duration)>,
    }

    impl Slow {
        fn answer(&self) -> io::Error {
            *self.now.lock().unwrap() += SLOW;
            io::Error::other("a bad sector")
        }
    }

    impl Filesystems for Slow {
        fn mount<'f>(
            &'f self,
            _: &Candidate,
            _: Option<&str>,
            _: Access,
        ) -> Result<Box<dyn Mounted + 'f>, MountError> {
            Err(MountError::Mount { driver: "ext4", source: self.answer() })
        }

        fn reader(&self, _: u64, _: u64) -> io::Result<Box<dyn Source + '_>> {
            Ok(Box::new(Range(self)))
        }
    }

    struct Range<'s>(&'s Slow);

    impl Read for Range<'_> {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.answer())
        }
    }

    impl Seek for Range<'_> {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }

    impl Watch for Slow {
        fn check(&self) -> Result<(), Stopped> {
            Ok(())
        }

        fn wait(&self, _: Duration) -> Result<(), Stopped> {
            Ok(())
        }

        fn elapsed(&self) -> Duration {
            *self.now.lock().unwrap()
        }

        fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
            Ok(())
        }

        fn note(&self, _: WipeStepKind) {}

        fn heard(&self) {
            let (now, mut heard) = (self.elapsed(), self.heard.lock().unwrap());
            *heard = (now, heard.1.max(now.saturating_sub(heard.0)));
        }

        fn progress(&self, _: u64, _: u64, _: u32) {}
    }

    #[test]
    fn a_disk_that_takes_long_for_each_mount_is_heard_after_each() {
        let partition = |number: u32, kind| Partition {
            number,
            start: u64::from(number) << 20,
            size: 1 << 20,
            signatures: vec![Signature { kind, offset: 0, label: None, uuid: None }],
            ..Partition::default()
        };
        let kinds = (1..).zip(["lvm2", "ext4", "xfs", "btrfs", "ext4", "lvm2"]);
        let partitions = kinds.map(|(number, kind)| partition(number, kind)).collect();
        let content = Content { partitions, ..Content::default() };
        let disk = Slow::default();
        let report = harbour::run(&content, 8 << 20, &disk, Mode::Look, &disk);
        assert!(report.notes.len() >= 6, "{report:#?}");
        assert!(disk.elapsed() >= 6 * SLOW);
        disk.heard();
        assert_eq!(disk.heard.lock().unwrap().1, SLOW);
    }
}
