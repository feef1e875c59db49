//! Certificates from a report to a stranger's desk.

use super::*;

/// Certificates that end with the process; the directory stays until then.
pub(crate) fn in_a_directory() -> Certificates {
    let directory = tempfile::tempdir().unwrap();
    Certificates::open(&directory.keep()).unwrap()
}

/// A disk's certificate in a list, of one machine.
pub(crate) fn listed(serial: u64, disk: &str, verdict: protocol::wipe::Verdict) -> Listed {
    Listed {
        serial,
        sha256: String::new(),
        at: 0,
        machine: "one".to_owned(),
        order: OrderId([1; 16]),
        session: Session([1; 32]),
        disk: Some(disk.to_owned()),
        named: Some(DiskIdentity::default()),
        verdict,
        reached: protocol::wipe::Outcome::Clear,
        is_complete: false,
        ticket: None,
    }
}
