//! The kernel's log, `/dev/kmsg`: reading its end, writing lines into it.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use nix::libc::O_NONBLOCK;

const PATH: &str = "/dev/kmsg";

/// The longest record that the kernel hands out (`PRINTK_MESSAGE_MAX`).
const RECORD_SIZE: usize = 8192;

/// The most records that are read: the kernel can write faster than a slow machine reads.
const RECORD_LIMIT: usize = 100_000;

/// Where lines are written into the kernel's log.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// Opens the log for writing; needs root.
    pub fn open() -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).open(PATH)?))
    }

    /// Writes one line, at the level that the kernel keeps but does not show on its consoles.
    pub fn write(&self, line: &str) -> io::Result<()> {
        // 1 is the facility "user", 7 the level "debug".
        (&self.0).write_all(format!("<{}>{line}\n", (1 << 3) | 7).as_bytes())
    }
}

/// Returns the end of the kernel's log, at most `limit` bytes of whole lines, oldest first.
pub fn tail(limit: usize) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(PATH)?;
    let mut lines = VecDeque::new();
    let mut size = 0;
    let mut record = [0; RECORD_SIZE];
    for _ in 0..RECORD_LIMIT {
        let length = match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Records that were overwritten while they were waited for: the next read goes on behind them.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => continue,
            Err(error) => return Err(error),
        };
        let Some(line) = line(&String::from_utf8_lossy(&record[..length])) else { continue };
        size += line.len() + 1;
        lines.push_back(line);
        while size > limit {
            let Some(oldest) = lines.pop_front() else { break };
            size -= oldest.len() + 1;
        }
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// Reads one record, `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, as `dmesg` would show it.
/// Linux, `Documentation/ABI/testing/dev-kmsg`.
fn line(record: &str) -> Option<String> {
    let (prefix, text) = record.split_once(';')?;
    let microseconds: u64 = prefix.split(',').nth(2)?.parse().ok()?;
    let text = text.lines().next()?;
    Some(format!("[{:5}.{:06}] {text}", microseconds / 1_000_000, microseconds % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_line_without_its_dictionary() {
        let record = "6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n";
        assert_eq!(
            line(record).as_deref(),
            Some("[    5.140900] NET: Registered protocol family 10")
        );
        for n in 0..record.len() {
            let _read = line(&record[..n]);
        }
    }
}
