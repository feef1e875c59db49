//! KVM where it really runs machines, TCG elsewhere.

use std::{
    fs,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// A boot sector that ends QEMU through its debug exit device, with status 2 * 0x10 + 1.
const ENDS_AT_ONCE: [u8; 5] = [0xb0, 0x10, 0xe6, 0xf4, 0xf4];
const STATUS: i32 = 0x21;
/// The firmware needs less than a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns QEMU's `-accel` and `-cpu` values for this machine. Tried once: `/dev/kvm` may exist and still run nothing.
pub(super) fn arguments() -> [&'static str; 4] {
    static WORKS: OnceLock<bool> = OnceLock::new();
    if *WORKS.get_or_init(kvm_works) {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg", "-cpu", "qemu64,+rdrand"]
    }
}

/// Returns whether a machine under KVM starts a boot sector.
fn kvm_works() -> bool {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let virtualises = processors.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let Ok(directory) = tempfile::tempdir() else { return false };
    let disk = directory.path().join("disk");
    let mut sector = ENDS_AT_ONCE.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    if !virtualises || fs::write(&disk, sector).is_err() {
        return false;
    }
    let machine = Command::new("qemu-system-x86_64")
        .args(["-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none", "-m", "32"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive"])
        .arg(format!("file={},format=raw,if=ide", disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut machine) = machine else { return false };
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Ok(Some(status)) = machine.try_wait() {
            return status.code() == Some(STATUS);
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(machine.kill());
    drop(machine.wait());
    false
}
