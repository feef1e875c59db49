//! The same checks on true block devices: loop devices that a test makes, shown to the checks as a SATA disk.
//!
//! Loop devices themselves are refused, as all that software makes up: the way in is this module's own [`Kernel`],
//! which exists in tests only.
#![expect(clippy::disallowed_methods, reason = "tests may run programs: losetup, mkfs.ext4, mount")]
#![expect(clippy::print_stderr, reason = "what is left out is said")]

use std::{
    cell::RefCell,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use linux::{belt, block, block::Number, direct, loop_device::Attached};
use protocol::inventory::{Disk, Transport};

use super::*;
use crate::{
    AlignedBuffer, Fault, Zeroing, ZeroingProof,
    permit::{kernel::Facts, simulation::scratch},
};

const SIZE: u64 = 16 << 20;

/// A loop device over a file, gone when it is dropped.
struct Loop {
    path: PathBuf,
    directory: tempfile::TempDir,
    /// The machines that it was shown in: permits ask them again.
    machines: RefCell<Vec<Simulated>>,
}

impl Loop {
    /// Makes one; nothing where that is not possible, which continuous integration does not accept.
    fn new() -> Option<Self> {
        let directory = scratch();
        let file = directory.path().join("disk");
        File::create(&file).unwrap().set_len(SIZE).unwrap();
        let output =
            Command::new("losetup").args(["--find", "--show", "--partscan"]).arg(&file).output();
        let path = match output {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
            other => {
                let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
                assert!(!is_ci, "continuous integration has loop devices: {other:?}");
                eprintln!("LEFT OUT: no loop device can be made here: {other:?}");
                return None;
            }
        };
        let path = PathBuf::from(path.trim());
        let disk = Self { path, directory, machines: RefCell::default() };
        disk.make_writable();
        Some(disk)
    }

    /// A loop device keeps the kernel's flag for its next file.
    fn make_writable(&self) {
        block::set_access(File::open(&self.path).unwrap(), Access::Writable).unwrap();
    }

    fn name(&self) -> &str {
        self.path.file_name().unwrap().to_str().unwrap()
    }

    fn open(&self) -> File {
        let flags = 0o40_000 * i32::from(cfg!(target_arch = "x86_64"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags).open(&self.path).unwrap()
    }

    /// Makes a machine whose first disk is this device.
    fn machine(&self) -> (Simulated, Machine) {
        let device = self.open();
        let mut spec = spec();
        spec.disks[0].sequence = block::sequence(&device).unwrap();
        spec.disks[0].sectors = block::size(&device).unwrap() / 512;
        let simulated = Simulated::new(&spec);
        let numbers = simulated.directory().join("sys/dev/block");
        let target = fs::read_link(numbers.join("8:0")).unwrap();
        let number = block::number(&device).unwrap().to_string();
        symlink(target, numbers.join(&number)).unwrap();
        fs::write(simulated.directory().join("sys/class/block/sda/dev"), number).unwrap();
        for entry in fs::read_dir("/sys/block").unwrap() {
            let name = entry.unwrap().file_name();
            if name.to_string_lossy().starts_with("loop") {
                fs::create_dir_all(simulated.directory().join("sys/block").join(name)).unwrap();
            }
        }
        let root = Root::captured(simulated.directory());
        (simulated, Machine { root, kernel: Arc::new(Through(self.path.clone())) })
    }

    /// Shows a loop device in the machines that it was permitted in, as the kernel does once it has made one.
    fn shows(&self, name: &str) {
        for machine in self.machines.borrow().iter() {
            fs::create_dir_all(machine.directory().join("sys/block").join(name)).unwrap();
        }
    }

    fn check(&self) -> Result<Permit, Refusal> {
        let (simulated, machine) = self.machine();
        let setting = Setting::good();
        let circumstances = Circumstances {
            place: &setting.place,
            now_unix_milliseconds: setting.now,
            clock: setting.clock,
            used: &Used::kept_in(setting.directory.path()),
        };
        let permits = check_on(&machine, &simulated.order(&[0], true), &circumstances)?;
        self.machines.borrow_mut().push(simulated);
        Ok(permits.into_iter().next().unwrap())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let status = Command::new(program).args(arguments).arg(&self.path).output();
        status.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.make_writable();
        self.run("losetup", &["--detach"]);
    }
}

/// The running kernel, but for the names of disks.
#[derive(Debug)]
struct Through(PathBuf);

impl Kernel for Through {
    fn claim(&self, _: &str) -> io::Result<File> {
        direct::claim(&self.0)
    }

    fn look(&self, _: &str) -> io::Result<File> {
        direct::look(&self.0)
    }

    fn is_claimed(&self, _: &str) -> io::Result<bool> {
        direct::is_claimed(&self.0)
    }

    fn behind_loop(&self, name: &str) -> io::Result<Option<Number>> {
        Live.behind_loop(name)
    }

    fn facts(&self, disk: &File) -> io::Result<Facts> {
        Live.facts(disk)
    }

    fn access(&self, disk: &File) -> io::Result<Access> {
        Live.access(disk)
    }

    fn before_belt(&self, disk: &File) -> io::Result<Option<Access>> {
        Live.before_belt(disk)
    }

    fn take_belt_off(&self, disk: &File) -> io::Result<()> {
        Live.take_belt_off(disk)
    }

    fn put_belt_on(&self, disk: &File) -> io::Result<()> {
        Live.put_belt_on(disk)
    }

    fn serial_page(&self, _: &File, _: u8) -> io::Result<Vec<u8>> {
        Ok(simulation::serial_page(spec().disks[0].serial.as_deref().unwrap()))
    }

    fn registered_keys(&self, disk: &File, transport: Option<Transport>) -> io::Result<u64> {
        Live.registered_keys(disk, transport)
    }
}

fn filled(byte: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(1 << 20);
    buffer.fill(byte);
    buffer
}

#[test]
fn the_belt_is_off_from_the_permit_to_the_release_and_nobody_else_takes_it_off() {
    let Some(disk) = Loop::new() else { return };
    let other = disk.open();
    let is_refused = || {
        let written = other.write_at(&filled(9), 0).and_then(|_| other.sync_all());
        written.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    assert_eq!(belt::fasten(&other).unwrap(), Access::Writable);
    assert!(is_refused());
    let permit = disk.check().unwrap();
    assert!(is_refused(), "a permit alone takes nothing off");
    let held = permit.into_medium().unwrap();
    // The disk says that it changed, and the belt is to be fastened again.
    assert_eq!(belt::fasten(&other).unwrap(), Access::Writable);
    held.write(4 << 20, &filled(7)).unwrap();
    held.flush().unwrap();
    let mut back = filled(0);
    held.read(4 << 20, &mut back).unwrap();
    assert_eq!(back[..], filled(7)[..]);
    held.release().unwrap();
    assert!(is_refused());
    assert_eq!(block::access(&other).unwrap(), Access::ReadOnly);
    drop(disk.check().unwrap().into_medium().unwrap());
    assert!(is_refused(), "dropped is released");
}

#[test]
fn a_disk_zeroes_itself_and_it_is_true() {
    let Some(disk) = Loop::new() else { return };
    let held = disk.check().unwrap().into_medium().unwrap();
    assert!(!held.is_only_unit(), "it stands below no target");
    for start in 0..16 {
        held.write(start << 20, &filled(0xff)).unwrap();
    }
    held.flush().unwrap();
    // Read through the page cache, so that there is something in it to be out of date.
    let cached = File::open(&disk.path).unwrap();
    cached.read_exact_at(&mut filled(0), 2 << 20).unwrap();
    assert_eq!(held.zero(1 << 20, 4 << 20).unwrap(), Zeroing::Done);
    assert_eq!(held.zeroing(), ZeroingProof::Proven);
    for (start, expected) in [(0, 0xff), (1, 0), (2, 0), (4, 0), (5, 0xff), (15, 0xff)] {
        let mut back = filled(1);
        held.read(start << 20, &mut back).unwrap();
        assert_eq!(back[..], filled(expected)[..], "MiB {start}");
        cached.read_exact_at(&mut back, start << 20).unwrap();
        assert_eq!(back[..], filled(expected)[..], "MiB {start}, by the page cache");
    }
}

#[test]
fn what_somebody_has_claimed_is_refused_and_what_is_permitted_nobody_can_claim() {
    let Some(disk) = Loop::new() else { return };
    let claimed = direct::claim(&disk.path).unwrap();
    assert_eq!(disk.check().unwrap_err().code(), "in-use");
    drop(claimed);
    let permit = disk.check().unwrap();
    assert_eq!(direct::claim(&disk.path).unwrap_err().raw_os_error(), Some(16));
    drop(permit);
    if !disk.run("mkfs.ext4", &["-q", "-F"]) {
        eprintln!("LEFT OUT: mkfs.ext4 is not here");
        return;
    }
    let place = disk.directory.path().join("mounted");
    fs::create_dir(&place).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "ext4", "-o", "ro,noload"]).arg(&disk.path).arg(&place);
    assert!(mount.status().unwrap().success());
    // The made-up machine's table of mounts is empty: it is the kernel's own refusal.
    let refusal = disk.check().unwrap_err();
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    assert_eq!(refusal.code(), "in-use");
    let permit = disk.check().unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "ext4", "-o", "ro,noload"]).arg(&disk.path).arg(&place);
    assert!(!mount.output().unwrap().status.success(), "nothing mounts what is permitted");
    drop(permit);
}

#[test]
fn what_a_loop_device_lies_on_is_refused_although_nobody_has_claimed_it() {
    let Some(disk) = Loop::new() else { return };
    let above = Attached::attach(disk.open(), 1 << 20, 4 << 20, 512, Access::ReadOnly).unwrap();
    assert!(!direct::is_claimed(&disk.path).unwrap(), "no claim tells of it");
    let name = above.path().file_name().unwrap().to_str().unwrap();
    let Err(Refusal::InUse { uses, .. }) = disk.check() else { panic!("it was permitted") };
    assert_eq!(uses, format!("{name} is made of sda"));
    drop(above);
    // One that is made while the disk is claimed already.
    let permit = disk.check().unwrap();
    let above = Attached::attach(disk.open(), 1 << 20, 4 << 20, 512, Access::ReadOnly).unwrap();
    let name = above.path().file_name().unwrap().to_str().unwrap();
    disk.shows(name);
    let Err(Refusal::InUse { uses, .. }) = permit.into_medium() else {
        panic!("it was handed over")
    };
    assert_eq!(uses, format!("{name} is made of sda"));
    drop(above);
    disk.check().unwrap().into_medium().unwrap();
}

#[test]
fn a_disk_that_shrinks_is_refused_or_an_error_at_the_place() {
    let Some(disk) = Loop::new() else { return };
    let shrink = |size| {
        let file = OpenOptions::new().write(true).open(disk.directory.path().join("disk"));
        file.unwrap().set_len(size).unwrap();
        assert!(disk.run("losetup", &["--set-capacity"]));
    };
    let permit = disk.check().unwrap();
    shrink(SIZE - (1 << 20));
    assert_eq!(permit.into_medium().unwrap_err().code(), "other-size");
    let held = disk.check().unwrap().into_medium().unwrap();
    shrink(SIZE - (2 << 20));
    held.write(SIZE - (3 << 20), &filled(1)).unwrap();
    let error = held.write(SIZE - (2 << 20), &filled(1)).unwrap_err();
    let fault = Fault::of(&error).unwrap();
    assert_eq!((fault.offset, fault.is_gone), (SIZE - (2 << 20), false));
}

#[test]
fn partitions_of_an_old_table_go_also_where_somebody_looks_at_one_for_a_moment() {
    let Some(disk) = Loop::new() else { return };
    let held = disk.check().unwrap().into_medium().unwrap();
    // Told to the kernel by hand: not every kernel that tests run on reads tables itself.
    let added = Command::new("addpart").arg(&disk.path).args(["1", "2048", "4096"]).output();
    assert!(added.unwrap().status.success());
    let name = format!("{}p1", disk.name());
    let partition = Path::new("/sys/class/block").join(&name);
    assert_eq!(fs::read_to_string(partition.join("size")).unwrap().trim(), "4096");
    held.write(0, &AlignedBuffer::zeroed(4096)).unwrap();
    held.flush().unwrap();
    held.drop_cache().unwrap();
    let looking = File::open(Path::new("/dev").join(&name)).unwrap();
    assert_eq!(block::reread_partitions(disk.open()).unwrap_err().raw_os_error(), Some(16));
    let looker = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        drop(looking);
    });
    held.reread_partitions().unwrap();
    assert!(!partition.exists());
    looker.join().unwrap();
}

#[test]
fn on_the_running_machine_a_loop_device_is_no_disk() {
    let Some(disk) = Loop::new() else { return };
    let machine = Machine { root: Root::live(), kernel: Arc::new(Through(disk.path.clone())) };
    let found = Disk { name: "a-name-that-leads-there".to_owned(), ..Disk::default() };
    let ordered = OrderedDisk { identity: DiskIdentity::default(), overwrite: true };
    let place = Place::simulated();
    let refusal = Claim::open(&machine, place.kind(), &Writing, (0, &ordered), &found).unwrap_err();
    assert_eq!(refusal.code(), "virtual");
}

#[test]
fn a_name_that_is_a_link_leads_nowhere() {
    let Some(disk) = Loop::new() else { return };
    let link = disk.directory.path().join("sda");
    symlink(&disk.path, &link).unwrap();
    // ELOOP
    assert_eq!(direct::claim(&link).unwrap_err().raw_os_error(), Some(40));
}
