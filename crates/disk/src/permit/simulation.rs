//! Machines that are not there: a tree of files as the kernel shows it, and files in the place of disks.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use inventory::Root;
use linux::block::{Access, Number};
use protocol::{
    Inventory, InventoryDigest, Order, OrderId,
    inventory::Transport,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
};

use super::{
    Machine,
    kernel::{Facts, Kernel},
};
use crate::Held;

/// What a machine is to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) uuid: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) board: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) disks: Vec<DiskSpec>,
    /// Lines of `/proc/self/mountinfo` and `/proc/swaps`.
    pub(crate) mounts: String,
    pub(crate) swaps: String,
    pub(crate) tricks: Vec<Trick>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    Ata,
    Sas,
    Nvme,
    Virtio,
    Usb,
    Iscsi,
    /// An NVMe disk with two controllers.
    TwoWays,
    /// Made by software, under the name of a disk.
    Software,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DiskSpec {
    pub(crate) bus: Bus,
    pub(crate) model: String,
    pub(crate) serial: Option<String>,
    /// 16 digits: the NAA name of SCSI and ATA disks, the EUI-64 of NVMe ones.
    pub(crate) wide: Option<String>,
    pub(crate) sectors: u64,
    pub(crate) sector_bytes: u32,
    pub(crate) removable: bool,
    pub(crate) sequence: u64,
    /// Bytes at offsets.
    pub(crate) content: Vec<(u64, Vec<u8>)>,
    pub(crate) holder: Option<&'static str>,
    pub(crate) keys: u64,
    /// What it was before the belt; `None` where there is no belt.
    pub(crate) before: Option<Access>,
    /// Whether it is a second namespace of the NVMe disk before it, or a second unit of the SCSI disk before it.
    pub(crate) sibling: bool,
    /// Whether it refuses to become writable.
    pub(crate) is_protected: bool,
}

/// What goes wrong behind the checks' back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The name leads to the disk of that index when it is opened.
    OpensOther(usize),
    /// From this call on, the descriptor has another sequence number.
    SequenceChanges(usize),
    /// From this call on, it has one sector less.
    Shrinks(usize),
    /// From this call on, it has one sector more.
    Grows(usize),
    /// From this call on, it is gone.
    Vanishes(usize),
    /// Somebody has claimed it without a trace.
    Claimed,
    /// Another disk of the same size took its place, and the kernel did not hear of it.
    Swapped,
}

/// A machine made of files, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Simulated {
    directory: tempfile::TempDir,
    pub(crate) kernel: Arc<Imitation>,
}

/// The kernel's side of it.
#[derive(Debug)]
pub(crate) struct Imitation {
    directory: PathBuf,
    names: Vec<String>,
    tricks: Vec<Trick>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By inode.
    devices: BTreeMap<u64, Device>,
    facts_asked: usize,
}

#[derive(Debug, Clone)]
struct Device {
    facts: Facts,
    access: Access,
    spec: DiskSpec,
}

impl DiskSpec {
    pub(crate) fn new(bus: Bus, number: u64) -> Self {
        Self {
            bus,
            model: "MODEL 9000".to_owned(),
            serial: Some(format!("S{number}WX7Q{}", number * 37 + 1000)),
            wide: Some(format!("5000c500{:08x}", 0x1357_9bdf_u64 ^ (number * 7919))),
            sectors: 6144 + 8 * number,
            sector_bytes: 512,
            removable: false,
            sequence: 100 + number,
            content: Vec::new(),
            holder: None,
            keys: 0,
            before: Some(Access::Writable),
            sibling: false,
            is_protected: false,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.sectors * 512
    }
}

impl Spec {
    pub(crate) fn new(disks: Vec<DiskSpec>) -> Self {
        Self {
            uuid: Some("4c4c4544-0042-3510-8052-b9c04f4e3732".to_owned()),
            serial: Some("B5R9N72".to_owned()),
            board: Some("CN7220069U00J5".to_owned()),
            mac: Some("52:54:00:12:34:56".to_owned()),
            disks,
            mounts: "22 27 0:21 / /proc rw,relatime - proc proc rw\n".to_owned(),
            swaps: "Filename\tType\n".to_owned(),
            tricks: Vec::new(),
        }
    }

    /// Names the disks as the kernel does: by kind, in the order in which they are found.
    pub(crate) fn names(&self) -> Vec<String> {
        let (mut scsi, mut virtio, mut nvme) = (b'a'..=b'z', b'a'..=b'z', 0..9);
        let mut namespaces = (0, 1);
        let mut give = |disk: &DiskSpec| match disk.bus {
            Bus::Nvme if disk.sibling => {
                namespaces.1 += 1;
                format!("nvme{}n{}", namespaces.0, namespaces.1)
            }
            Bus::Nvme | Bus::TwoWays => {
                namespaces = (nvme.next().unwrap(), 1);
                format!("nvme{}n1", namespaces.0)
            }
            Bus::Virtio => format!("vd{}", char::from(virtio.next().unwrap())),
            _ => format!("sd{}", char::from(scsi.next().unwrap())),
        };
        self.disks.iter().map(&mut give).collect()
    }
}

impl Simulated {
    pub(crate) fn new(spec: &Spec) -> Self {
        let directory = scratch();
        let tree = Tree(directory.path());
        tree.machine(spec);
        let names = spec.names();
        let mut devices = BTreeMap::new();
        let mut slot = 0;
        for (minor, (name, disk)) in (0_u64..).zip(names.iter().zip(&spec.disks)) {
            slot = if disk.sibling { slot } else { minor };
            tree.disk(name, disk, minor * 16, slot);
            let mut file = tree.create(&format!("dev/{name}"));
            file.set_len(disk.size()).unwrap();
            for (offset, bytes) in &disk.content {
                io::Seek::seek(&mut file, io::SeekFrom::Start(*offset)).unwrap();
                file.write_all(bytes).unwrap();
            }
            let facts = Facts {
                number: Number { major: 8, minor: minor * 16 },
                sequence: disk.sequence,
                size_bytes: disk.size(),
                sector_bytes: disk.sector_bytes,
            };
            let access = if disk.before.is_some() { Access::ReadOnly } else { Access::Writable };
            let device = Device { facts, access, spec: disk.clone() };
            devices.insert(file.metadata().unwrap().ino(), device);
        }
        let kernel = Imitation {
            directory: directory.path().to_owned(),
            names,
            tricks: spec.tricks.clone(),
            state: Mutex::new(State { devices, facts_asked: 0 }),
        };
        Self { directory, kernel: Arc::new(kernel) }
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine { root: Root::captured(self.directory.path()), kernel: self.kernel.clone() }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn inventory(&self) -> Inventory {
        inventory::collect_fast(&self.machine().root)
    }

    /// Makes the order that a server makes from this machine's report, for disks by their index.
    pub(crate) fn order(&self, disks: &[usize], overwrite: bool) -> Order {
        let inventory = self.inventory();
        let of = |index: &usize| {
            let name = &self.kernel.names[*index];
            let disk = inventory.disks.iter().find(|disk| disk.name == *name);
            OrderedDisk { identity: DiskIdentity::of(disk.expect("it is listed")), overwrite }
        };
        Order {
            id: OrderId([7; 16]),
            by: "a test".to_owned(),
            machine: MachineEvidence::of(&inventory),
            disks: disks.iter().map(of).collect(),
            deadline_unix_milliseconds: 3_600_000,
            inventory: InventoryDigest::of(&inventory),
        }
    }

    /// Takes disks by their index, past all checks.
    pub(crate) fn held(&self, disks: &[usize]) -> Vec<Held> {
        let take = |index: &usize| {
            let name = self.kernel.names[*index].clone();
            let file = self.kernel.claim(&name).unwrap();
            let facts = self.kernel.facts(&file).unwrap();
            Held::take(file, facts, name, self.kernel.clone()).unwrap()
        };
        disks.iter().map(take).collect()
    }

    /// Holds when some disk may be written.
    pub(crate) fn is_any_writable(&self) -> bool {
        let state = self.kernel.state.lock().unwrap();
        state.devices.values().any(|device| device.access == Access::Writable)
    }
}

impl Imitation {
    fn is_held(&self, name: &str) -> bool {
        let holders = self.directory.join("sys/class/block").join(name).join("holders");
        fs::read_dir(holders).is_ok_and(|mut holders| holders.next().is_some())
    }

    fn device<T>(&self, disk: &File, with: impl FnOnce(&mut Device) -> T) -> io::Result<T> {
        let inode = disk.metadata()?.ino();
        let mut state = self.state.lock().unwrap();
        Ok(with(state.devices.get_mut(&inode).expect("it is one of ours")))
    }
}

impl Kernel for Imitation {
    fn claim(&self, name: &str) -> io::Result<File> {
        let mut name = name;
        for trick in &self.tricks {
            match trick {
                Trick::OpensOther(index) => name = &self.names[*index],
                Trick::Claimed => return Err(io::Error::from_raw_os_error(16)),
                _ => {}
            }
        }
        let file = self.look(name)?;
        // A lock for a claim: it goes with the descriptor, too. What is built on a disk has claimed it.
        let is_held = self.is_held(name);
        file.try_lock().ok().filter(|()| !is_held).ok_or(io::Error::from_raw_os_error(16))?;
        Ok(file)
    }

    fn look(&self, name: &str) -> io::Result<File> {
        let path = self.directory.join("dev").join(name);
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn is_claimed(&self, name: &str) -> io::Result<bool> {
        let is_claimed = self.tricks.contains(&Trick::Claimed);
        Ok(is_claimed || self.look(name)?.try_lock().is_err() || self.is_held(name))
    }

    fn behind_loop(&self, name: &str) -> io::Result<Option<Number>> {
        let number = fs::read_to_string(self.directory.join("dev").join(name))?;
        let parsed = |text: &str| text.parse().unwrap();
        Ok(number.split_once(':').map(|(a, b)| Number { major: parsed(a), minor: parsed(b) }))
    }

    fn facts(&self, disk: &File) -> io::Result<Facts> {
        let asked = {
            let mut state = self.state.lock().unwrap();
            state.facts_asked += 1;
            state.facts_asked
        };
        let mut facts = self.device(disk, |device| device.facts)?;
        for trick in &self.tricks {
            match trick {
                Trick::SequenceChanges(from) if asked >= *from => facts.sequence += 1000,
                Trick::Shrinks(from) if asked >= *from => facts.size_bytes -= 512,
                Trick::Grows(from) if asked >= *from => facts.size_bytes += 512,
                Trick::Vanishes(from) if asked >= *from => {
                    return Err(io::Error::from_raw_os_error(6));
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    fn access(&self, disk: &File) -> io::Result<Access> {
        self.device(disk, |device| device.access)
    }

    fn before_belt(&self, disk: &File) -> io::Result<Option<Access>> {
        self.device(disk, |device| device.spec.before)
    }

    fn take_belt_off(&self, disk: &File) -> io::Result<()> {
        let erofs = || io::Error::from_raw_os_error(30);
        self.device(disk, |device| {
            if device.spec.is_protected {
                return Err(erofs());
            }
            device.access = Access::Writable;
            Ok(())
        })?
    }

    fn put_belt_on(&self, disk: &File) -> io::Result<()> {
        self.device(disk, |device| device.access = Access::ReadOnly)
    }

    fn serial_page(&self, disk: &File, length: u8) -> io::Result<Vec<u8>> {
        let serial = self.device(disk, |device| device.spec.serial.clone())?.unwrap_or_default();
        let is_swapped = self.tricks.contains(&Trick::Swapped);
        let mut page = serial_page(if is_swapped { "OTHER0815" } else { &serial });
        page.truncate(usize::from(length));
        Ok(page)
    }

    fn registered_keys(&self, disk: &File, _: Option<Transport>) -> io::Result<u64> {
        self.device(disk, |device| device.spec.keys)
    }
}

/// The page on which a SCSI disk has its serial number.
pub(crate) fn serial_page(serial: &str) -> Vec<u8> {
    let length = u8::try_from(serial.len()).unwrap();
    [&[0, 0x80, 0, length], serial.as_bytes()].concat()
}

/// Makes a directory in memory where there is such a place: a machine is many small files.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The files of a machine.
struct Tree<'d>(&'d Path);

impl Tree<'_> {
    fn place(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        let parent = path.parent().unwrap();
        if !parent.is_dir() {
            fs::create_dir_all(parent).unwrap();
        }
        path
    }

    fn create(&self, path: &str) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(self.place(path)).unwrap()
    }

    fn file(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.place(path), bytes).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.place(path)).unwrap();
    }

    fn machine(&self, spec: &Spec) {
        for (name, value) in [
            ("product_uuid", &spec.uuid),
            ("product_serial", &spec.serial),
            ("board_serial", &spec.board),
        ] {
            if let Some(value) = value {
                self.file(&format!("sys/class/dmi/id/{name}"), value);
            }
        }
        if let Some(mac) = &spec.mac {
            let port = "sys/devices/pci0000:00/0000:00:03.0/net/eth0";
            for (name, text) in
                [("address", mac.as_str()), ("type", "1"), ("addr_assign_type", "0")]
            {
                self.file(&format!("{port}/{name}"), text);
            }
            self.link(&format!("{port}/device"), "../../../0000:00:03.0");
            self.link("sys/class/net/eth0", &format!("../../{}", &port[4..]));
        }
        self.file("proc/self/mountinfo", &spec.mounts);
        self.file("proc/swaps", &spec.swaps);
    }

    /// Siblings stand in one slot, each with its own number.
    fn disk(&self, name: &str, disk: &DiskSpec, minor: u64, slot: u64) {
        let pci = format!("sys/devices/pci0000:00/0000:00:{:02x}.0", 16 + slot);
        let (number, unit) = (slot, minor / 16 - slot);
        let scsi = |host: &str| {
            format!("{pci}/{host}host{number}/target{number}:0:0/{number}:0:0:{unit}/block/{name}")
        };
        let directory = match disk.bus {
            Bus::Ata => scsi("ata1/"),
            Bus::Sas => scsi(""),
            Bus::Usb => scsi("usb1/1-1/1-1:1.0/"),
            Bus::Iscsi => scsi("session1/"),
            Bus::Virtio => format!("{pci}/virtio{number}/block/{name}"),
            Bus::Nvme => format!("{pci}/nvme/{}/{name}", &name[..5]),
            Bus::TwoWays => {
                format!("sys/devices/virtual/nvme-subsystem/nvme-subsys{number}/{name}")
            }
            Bus::Software => format!("sys/devices/virtual/block/{name}"),
        };
        let own = |field: &str| format!("{directory}/{field}");
        self.file(&own("dev"), format!("8:{minor}\n"));
        self.file(&own("size"), disk.sectors.to_string());
        self.file(&own("diskseq"), disk.sequence.to_string());
        self.file(&own("removable"), if disk.removable { "1" } else { "0" });
        self.file(&own("ro"), "1");
        self.file(&own("queue/logical_block_size"), disk.sector_bytes.to_string());
        if let Some(holder) = disk.holder {
            self.file(&own(&format!("holders/{holder}/size")), "1");
        }
        self.link(&format!("sys/class/block/{name}"), &format!("../../{}", &directory[4..]));
        self.link(&format!("sys/dev/block/8:{minor}"), &format!("../../{}", &directory[4..]));
        let serial = disk.serial.as_deref().unwrap_or_default();
        match disk.bus {
            Bus::Nvme | Bus::TwoWays => {
                let device = Path::new(&directory).parent().unwrap().to_str().unwrap().to_owned();
                self.link(&own("device"), "..");
                self.file(&format!("{device}/model"), &disk.model);
                self.file(&format!("{device}/serial"), serial);
                self.file(&format!("{device}/transport"), "pcie");
                self.file(&format!("{device}/dev"), format!("240:{slot}"));
                if disk.bus == Bus::TwoWays {
                    for controller in ["nvme0", "nvme1"] {
                        self.file(&format!("{device}/{controller}/transport"), "pcie");
                    }
                }
                self.file(&own("eui"), disk.wide.as_deref().unwrap_or_default());
            }
            Bus::Virtio => self.file(&own("serial"), serial),
            _ => {
                let device = Path::new(&directory).ancestors().nth(2).unwrap().to_str().unwrap();
                self.link(&own("device"), "../..");
                let vendor = if disk.bus == Bus::Ata { "ATA" } else { "MAKER" };
                self.file(&format!("{device}/vendor"), vendor);
                self.file(&format!("{device}/model"), &disk.model);
                if !serial.is_empty() {
                    self.file(&format!("{device}/vpd_pg80"), serial_page(serial));
                }
                if let Some(wide) = &disk.wide {
                    let name = u64::from_str_radix(wide, 16).unwrap().to_be_bytes();
                    let page = [&[0, 0x83, 0, 12, 1, 3, 0, 8][..], &name].concat();
                    self.file(&format!("{device}/vpd_pg83"), page);
                }
            }
        }
    }
}
