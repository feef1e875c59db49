//! Bytes behind a descriptor: whole transfers at offsets, zeroing that is proven once, faults that say where.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{AlignedBuffer, Fault, Medium, Operation, Zeroing, fault};

/// How much is zeroed in one call: short enough that a disk which sends zeros itself answers soon.
const ZERO_STEP: u64 = 256 << 20;

/// How much is written and read back at each place where zeroing is tried out.
const SAMPLE_BYTES: u64 = 4096;

/// How often after a failure, and how far apart, it is looked whether the disk goes: two seconds.
const GONE_LOOKS: usize = 20;
const GONE_PAUSE: Duration = Duration::from_millis(100);
/// Failures that are looked at for so long. A disk that fails everywhere stays, and must not take this time each time.
const PATIENT_FAILURES: usize = 8;

/// What is known of a device's zeroing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroingProof {
    /// It was not asked yet.
    Untried,
    /// Bytes that were not zero read as zeros after it was asked.
    Proven,
    /// It says that it cannot.
    Unsupported,
    /// It said that it had, and had not: it is not asked again, zeros are written instead.
    Untrue,
}

/// A disk or file that is read and written by its handle.
pub(crate) trait Handled: fmt::Debug + Send + Sync {
    fn handle(&self) -> &Handle;

    /// Does what is left to do when everything is on the medium.
    fn flushed(&self) {}
}

impl<T: Handled> Medium for T {
    fn size_bytes(&self) -> u64 {
        self.handle().size()
    }

    fn sector_bytes(&self) -> u32 {
        self.handle().sector
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.handle().read(offset, buffer)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.handle().write(offset, buffer)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.handle().zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.handle().flush()?;
        self.flushed();
        Ok(())
    }
}

/// An open disk or file of known size. Offsets, lengths and buffers are checked, not adjusted.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    size: AtomicU64,
    sector: u32,
    zeroing: Mutex<ZeroingProof>,
    /// How often a transfer has failed.
    failures: AtomicUsize,
}

impl Handle {
    pub(crate) fn new(file: File, size: u64, sector: u32) -> Self {
        let zeroing = Mutex::new(ZeroingProof::Untried);
        let size = AtomicU64::new(size);
        Self { file, size, sector, zeroing, failures: AtomicUsize::new(0) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Takes a size that the kernel was seen to address, where it is a larger one.
    pub(crate) fn grow(&self, size: u64) {
        self.size.fetch_max(size, Ordering::Relaxed);
    }

    pub(crate) fn sector(&self) -> u32 {
        self.sector
    }

    pub(crate) fn zeroing(&self) -> ZeroingProof {
        *self.zeroing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check(Operation::Read, offset, length(buffer))?;
        let mut done = 0;
        while done < buffer.len() {
            let (at, rest) = (offset + length(&buffer[..done]), &mut buffer[done..]);
            match self.file.read_at(rest, at) {
                Ok(0) => {
                    let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(self.fault(Operation::Read, at, length(rest), source));
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(Operation::Read, at, length(rest), error)),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.check(Operation::Write, offset, length(buffer))?;
        let mut done = 0;
        while done < buffer.len() {
            let (at, rest) = (offset + length(&buffer[..done]), &buffer[done..]);
            match self.file.write_at(rest, at) {
                Ok(0) => {
                    let source = io::Error::from(io::ErrorKind::WriteZero);
                    return Err(self.fault(Operation::Write, at, length(rest), source));
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(Operation::Write, at, length(rest), error)),
            }
        }
        Ok(())
    }

    pub(crate) fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.check(Operation::Zero, offset, length)?;
        if length == 0 {
            return Ok(Zeroing::Done);
        }
        {
            // Held while it is tried out, so that nobody relies on what is not proven.
            let mut known = self.zeroing.lock().unwrap_or_else(PoisonError::into_inner);
            match *known {
                ZeroingProof::Proven => {}
                ZeroingProof::Unsupported | ZeroingProof::Untrue => {
                    return Ok(Zeroing::Unsupported);
                }
                ZeroingProof::Untried => {
                    *known = self.try_out(offset, length)?;
                    return Ok(match *known {
                        ZeroingProof::Proven => Zeroing::Done,
                        _ => Zeroing::Unsupported,
                    });
                }
            }
        }
        let zeroing = self.zero_in_steps(offset, length)?;
        if zeroing == Zeroing::Unsupported {
            // A device may find out late, from its own disk's answer, and the kernel with it.
            *self.zeroing.lock().unwrap_or_else(PoisonError::into_inner) =
                ZeroingProof::Unsupported;
        }
        Ok(zeroing)
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        loop {
            match self.file.sync_data() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(Operation::Flush, 0, self.size(), error)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Puts something else at the start, the middle and the end of a range that is to be zeroed, has it zeroed,
    /// and looks. That a range reads as zeros which read as zeros before would prove nothing.
    fn try_out(&self, offset: u64, length: u64) -> io::Result<ZeroingProof> {
        let sector = u64::from(self.sector);
        let sample = length.min(SAMPLE_BYTES.max(sector));
        let middle = (length - sample) / 2 / sector * sector;
        let places = [offset, offset + middle, offset + length - sample];
        let size = usize::try_from(sample).map_err(io::Error::other)?;
        let mut buffer = AlignedBuffer::zeroed(size);
        buffer.fill(0xa5);
        for place in places {
            self.write(place, &buffer)?;
        }
        self.flush()?;
        if self.zero_in_steps(offset, length)? == Zeroing::Unsupported {
            return Ok(ZeroingProof::Unsupported);
        }
        self.flush()?;
        linux::direct::forget(&self.file).ok();
        for place in places {
            buffer.fill(0x5a);
            self.read(place, &mut buffer)?;
            if buffer.iter().any(|byte| *byte != 0) {
                return Ok(ZeroingProof::Untrue);
            }
        }
        Ok(ZeroingProof::Proven)
    }

    fn zero_in_steps(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        let mut done = 0;
        while done < length {
            let step = (length - done).min(ZERO_STEP);
            match linux::direct::zero(&self.file, offset + done, step) {
                Ok(()) => done += step,
                // `EOPNOTSUPP`; `EREMOTEIO` is the disk's own refusal of a command that it claimed to know.
                Err(error) if matches!(error.raw_os_error(), Some(95 | 121)) => {
                    return Ok(Zeroing::Unsupported);
                }
                Err(error) => {
                    return Err(self.fault(Operation::Zero, offset + done, length - done, error));
                }
            }
        }
        Ok(Zeroing::Done)
    }

    /// Refuses what is not made of whole sectors, or lies beyond the end.
    fn check(&self, operation: Operation, offset: u64, length: u64) -> io::Result<()> {
        let sector = u64::from(self.sector);
        let is_whole = offset.is_multiple_of(sector) && length.is_multiple_of(sector);
        let reason = match offset.checked_add(length) {
            Some(end) if end <= self.size() && is_whole => return Ok(()),
            Some(end) if end <= self.size() => "not whole sectors",
            _ => "beyond the end",
        };
        let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
        Err(Fault { operation, offset, length, is_gone: false, source }.into())
    }

    /// Holds for a disk that is being taken out: its transfers end with any error, and a moment later the kernel says
    /// that it has no size.
    fn goes(&self) -> bool {
        let is_early = self.failures.fetch_add(1, Ordering::Relaxed) < PATIENT_FAILURES;
        for _ in 0..if is_early { GONE_LOOKS } else { 1 } {
            match linux::block::size(&self.file) {
                Ok(0) => return true,
                Ok(_) if is_early => thread::park_timeout(GONE_PAUSE),
                // It stays, or is no disk at all.
                Ok(_) | Err(_) => return false,
            }
        }
        false
    }

    fn fault(
        &self,
        operation: Operation,
        offset: u64,
        length: u64,
        source: io::Error,
    ) -> io::Error {
        let is_gone = fault::says_gone(&source) || self.goes();
        let source = if is_gone { fault::of_gone(source) } else { source };
        Fault { operation, offset, length, is_gone, source }.into()
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const SIZE: u64 = 8 << 20;

    fn filled() -> Handle {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0xff; 8 << 20]).unwrap();
        Handle::new(file, SIZE, 512)
    }

    #[test]
    fn what_is_written_is_read_back_at_its_offset() {
        let handle = filled();
        let mut buffer = AlignedBuffer::zeroed(4096);
        buffer.fill(7);
        handle.write(1 << 20, &buffer).unwrap();
        handle.flush().unwrap();
        let mut back = AlignedBuffer::zeroed(8192);
        handle.read((1 << 20) - 4096, &mut back).unwrap();
        assert!(back[..4096].iter().all(|byte| *byte == 0xff));
        assert_eq!(back[4096..], buffer[..]);
    }

    #[test]
    fn a_range_is_zeroed_to_its_ends_and_no_further() {
        for (offset, length) in [(512, 512), (4096, 1 << 20), (0, SIZE), (SIZE - 512, 512)] {
            let handle = filled();
            assert_eq!(handle.zeroing(), ZeroingProof::Untried);
            assert_eq!(handle.zero(offset, length).unwrap(), Zeroing::Done);
            assert_eq!(handle.zeroing(), ZeroingProof::Proven);
            let mut bytes = vec![1; 8 << 20];
            handle.read(0, &mut bytes).unwrap();
            for (index, byte) in (0_u64..).zip(&bytes) {
                let expected = if (offset..offset + length).contains(&index) { 0 } else { 0xff };
                assert_eq!(*byte, expected, "{index} of {offset}+{length}");
            }
        }
    }

    #[test]
    fn nothing_beyond_the_end_is_touched_and_the_error_says_where() {
        let handle = filled();
        let buffer = AlignedBuffer::zeroed(1024);
        for (offset, reason) in [
            (SIZE - 512, "beyond the end"),
            (SIZE, "beyond the end"),
            (u64::MAX - 511, "beyond the end"),
            (u64::MAX - 100, "beyond the end"),
            (100, "not whole sectors"),
        ] {
            let error = handle.write(offset, &buffer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("writing 1024 bytes at {offset}"));
            assert_eq!(Fault::of(&error).unwrap().source.to_string(), reason);
            assert!(handle.zero(offset, 1024).is_err());
        }
        let mut bytes = Vec::new();
        let mut file = handle.file();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, vec![0xff; 8 << 20]);
    }

    #[test]
    fn a_medium_that_became_shorter_is_an_error_at_the_place() {
        let handle = filled();
        handle.file().set_len(SIZE - 4096).unwrap();
        let error = handle.read(SIZE - 8192, &mut [0; 8192]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let fault = Fault::of(&error).unwrap();
        assert_eq!((fault.offset, fault.length, fault.is_gone), (SIZE - 4096, 4096, false));
    }
}
