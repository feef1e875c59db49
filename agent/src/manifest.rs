//! Whether the initramfs was unpacked whole.
//!
//! Boot programs cut it off, transfers damage it, memory is too small for it: the kernel unpacks what it can, says so in
//! one line, and goes on. So the agent comes first in it, with a list of what follows.

use std::{fs, os::unix::fs::MetadataExt as _};

use protocol::inventory::Gap;
use tracing::error;

use crate::devices::Findings;

/// The list: for each file its length in bytes, a blank and its path (`image/pack-system`).
const MANIFEST: &str = "/etc/drydock-manifest";

/// How the kernel begins its one line. Linux, `init/initramfs.c`, `do_populate_rootfs`.
const KERNEL_WORDS: &str = "Initramfs unpacking failed";

/// What it is called among the gaps, and where a driver that did not come would be named.
const NAME: &str = "initramfs";

/// Compares what is there with the list. What is missing is a gap, and no order is begun in this boot.
pub(crate) fn check(findings: &Findings) {
    let lack = match fs::read_to_string(MANIFEST) {
        Ok(list) => lacks(&list, kept),
        Err(error) => Some(format!("{MANIFEST} cannot be read: {error}")),
    };
    // Without it nothing may be known of damage that left every file its length, nor of what was to come behind them.
    let log = linux::kernel_log::tail(usize::MAX).unwrap_or_default();
    let Some(reason) = reason(lack, &log) else { return };
    error!(
        reason,
        "the initramfs is not whole, and no order is carried out: start the machine again. Usual causes: a boot program that \
         loads only so much, a transfer that breaks off, too little memory"
    );
    note(findings, reason);
}

/// Notes the gap, and what keeps orders away: nobody knows what would be seen with the rest.
fn note(findings: &Findings, reason: String) {
    let (what, source) = (NAME.to_owned(), MANIFEST.to_owned());
    findings.add_quietly(Gap { what, source, reason, after_milliseconds: None });
    // In this order: whatever stops waiting between the two finds it given up.
    findings.give_up_driver(NAME.to_owned());
    findings.await_driver(NAME.to_owned());
}

/// Joins what is missing and what the kernel said of it in its log; nothing where neither is. Lines begin with their time in
/// brackets; what a device or the command line says may stand further behind.
fn reason(lack: Option<String>, log: &str) -> Option<String> {
    let words = |line| Some(str::split_once(line, "] ")?.1);
    let said = log.lines().filter_map(words).find(|words| words.starts_with(KERNEL_WORDS));
    match (lack, said) {
        (Some(lack), Some(said)) => Some(format!("{lack}; {said}")),
        (lack, said) => lack.or_else(|| said.map(str::to_owned)),
    }
}

/// Says what is missing of what a list names, where `kept` says how many bytes there are of a file; nothing where all is there.
/// A longer file was replaced by who put an archive of their own behind ours.
fn lacks(list: &str, kept: impl Fn(&str) -> u64) -> Option<String> {
    let (mut all, mut fewer, mut first) = (0, 0, "");
    for line in list.lines() {
        let (length, path) = line.split_once(' ').unwrap_or(("", line));
        all += 1;
        // A length that is none is not reached.
        if kept(path) < length.parse().unwrap_or(u64::MAX) {
            fewer += 1;
            if fewer == 1 {
                first = path;
            }
        }
    }
    match (all, fewer) {
        (0, _) => Some(format!("{MANIFEST} is empty")),
        (_, 0) => None,
        _ => Some(format!("{fewer} of {all} files are missing or cut off, first {first}")),
    }
}

/// Returns how many bytes of a file were written. The kernel gives a file its length before it writes: what is missing
/// of it is a hole.
fn kept(path: &str) -> u64 {
    let found = fs::symlink_metadata(path);
    found.map_or(0, |found| found.len().min(found.blocks() * 512))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use proptest::prelude::*;
    use protocol::Inventory;

    use super::*;

    const LIST: &str = "5 /lib/a.ko\n4096 /lib/modules.dep\n7 /lib/b.ko\n";

    fn check(list: &str, kept: impl Fn(&str) -> u64, expected: Option<&str>) {
        assert_eq!(lacks(list, kept).as_deref(), expected, "{list:?}");
    }

    #[test]
    fn an_image_that_is_whole_lacks_nothing() {
        check(LIST, |_| 4096, None);
        assert_eq!(reason(None, "[    0.000000] Linux version 6.12\n"), None);
    }

    #[test]
    fn what_is_missing_or_short_is_counted_and_the_first_named() {
        let short = |path: &str| if path == "/lib/b.ko" { 6 } else { 4096 };
        check(LIST, short, Some("1 of 3 files are missing or cut off, first /lib/b.ko"));
        check(LIST, |_| 6, Some("2 of 3 files are missing or cut off, first /lib/modules.dep"));
    }

    #[test]
    fn a_list_that_is_none_or_is_cut_off_is_said() {
        check("", |_| 7, Some("/etc/drydock-manifest is empty"));
        let there = |path: &str| if LIST.contains(&format!(" {path}\n")) { 4096 } else { 0 };
        for end in 1..LIST.len() {
            let is_whole_line = LIST[..end].ends_with('\n') || LIST[end..].starts_with('\n');
            assert_eq!(lacks(&LIST[..end], there).is_none(), is_whole_line, "{}", &LIST[..end]);
        }
    }

    #[test]
    fn the_kernel_is_heard_even_where_every_file_is_as_long_as_it_should_be() {
        let log = "[    0.1] a\n[    0.2] Initramfs unpacking failed: write error\n[    0.3] b\n";
        let said = "Initramfs unpacking failed: write error";
        assert_eq!(reason(None, log).as_deref(), Some(said));
        assert_eq!(reason(Some("x".to_owned()), log).unwrap(), format!("x; {said}"));
        assert_eq!(reason(Some("x".to_owned()), "").as_deref(), Some("x"));
        let device = format!("[    9.1] usb 1-1: Product: {said}\n[    9.2] a] {said}\n");
        assert_eq!(reason(None, &device), None);
    }

    #[test]
    fn what_is_noted_is_a_gap_and_keeps_orders_away() {
        let findings = Findings::default();
        note(&findings, "1 of 3 files".to_owned());
        let mut inventory = Inventory::default();
        findings.complete(&mut inventory);
        assert_eq!(inventory.awaited, ["initramfs"]);
        assert_eq!(inventory.gaps[0].what, "initramfs");
        assert_eq!(inventory.gaps[0].reason, "1 of 3 files");
        let refused = findings.wait_for_drivers(Duration::from_mins(5)).unwrap_err();
        assert_eq!(refused, ["initramfs"]);
        assert!(!findings.end_wait() && findings.wait_for_drivers(Duration::ZERO).is_err());
    }

    #[test]
    fn a_hole_is_no_content_whatever_length_its_file_has() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        file.write_all(b"12345").unwrap();
        file.as_file().sync_all().unwrap();
        assert_eq!(kept(&path), 5);
        file.as_file().set_len(0).unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        assert!(kept(&path) < 1 << 20);
        assert_eq!(kept("/nowhere/at/all"), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>, log: Vec<u8>, length: u64) {
            let lack = lacks(&String::from_utf8_lossy(&bytes), |_| length);
            let _said = reason(lack, &String::from_utf8_lossy(&log));
        }
    }
}
