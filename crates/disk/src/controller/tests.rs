use std::{os::unix::fs::MetadataExt, sync::Mutex};

use super::*;
use crate::{
    OpalDoor,
    command::OpalDevice as _,
    door::NamespaceDoor,
    permit::simulation::{Bus, DiskSpec, Simulated, Spec},
};

/// A controller that answers Identify, and notes what else it is sent.
#[derive(Debug, Clone)]
struct Answers {
    serial: &'static str,
    /// What it says of itself in other bytes.
    bytes: Vec<(usize, u8)>,
    active: Vec<u32>,
    allocated: Vec<u32>,
    controllers: Vec<u16>,
}

/// The kernel's side: which descriptor leads to which controller.
#[derive(Debug)]
struct Imitation {
    path: std::path::PathBuf,
    number: &'static str,
    /// What answers on the controller's own device, and on the disks'.
    own: Mutex<Answers>,
    theirs: Answers,
    /// Namespaces by inode of their file.
    namespaces: Vec<(u64, u32)>,
    sent: Mutex<Vec<u8>>,
}

impl Devices for Imitation {
    fn open_controller(&self, name: &str) -> io::Result<(File, Number)> {
        assert_eq!(name, "nvme0");
        let (major, minor) = self.number.split_once(':').unwrap();
        let number = Number { major: major.parse().unwrap(), minor: minor.parse().unwrap() };
        Ok((File::open(&self.path)?, number))
    }

    fn namespace(&self, disk: &File) -> io::Result<u32> {
        let inode = disk.metadata()?.ino();
        let own = self.namespaces.iter().find(|(one, _)| *one == inode);
        own.map(|(_, number)| *number).ok_or_else(|| io::Error::from_raw_os_error(25))
    }

    fn admin(
        &self,
        device: &File,
        command: &NvmeCommand,
        data: Data<'_>,
        _: Duration,
    ) -> Result<u32, NvmeFailure> {
        if command.opcode != opcode::IDENTIFY {
            self.sent.lock().unwrap().push(command.opcode);
            return Ok(7);
        }
        let answers = match self.namespace(device) {
            Ok(_) => self.theirs.clone(),
            Err(_) => self.own.lock().unwrap().clone(),
        };
        let Data::In(page) = data else { panic!("Identify answers") };
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        let behind = |all: &[u32]| {
            all.iter().filter(|one| **one > command.nsid).copied().take(1024).collect::<Vec<_>>()
        };
        let list = match command.dwords[0] {
            0x01 => {
                put(4, format!("{:20}", answers.serial).as_bytes());
                put(24, format!("{:40}", "MODEL 9000").as_bytes());
                put(768, b"nqn.2019-08.org.example:one");
                for (at, byte) in answers.bytes {
                    put(at, &[byte]);
                }
                return Ok(0);
            }
            0x02 => behind(&answers.active),
            0x10 => behind(&answers.allocated),
            0x13 => {
                put(0, &u16::try_from(answers.controllers.len()).unwrap().to_le_bytes());
                for (index, one) in answers.controllers.iter().enumerate() {
                    put(2 + 2 * index, &one.to_le_bytes());
                }
                return Ok(0);
            }
            _ => return Err(NvmeFailure::Status(0x002)),
        };
        for (index, one) in list.iter().enumerate() {
            put(4 * index, &one.to_le_bytes());
        }
        Ok(0)
    }

    fn rescan(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

const SERIAL: &str = "S1WX7Q1037";

/// A machine with two namespaces of one controller, `nvme0n1` and `nvme0n2`, both held, and a disk of another one.
struct Bench {
    machine: Simulated,
    held: Vec<Held>,
    kernel: Imitation,
}

impl Bench {
    fn new() -> Self {
        let namespace = |number: u64| DiskSpec {
            serial: Some(SERIAL.to_owned()),
            ..DiskSpec::new(Bus::Nvme, number)
        };
        let second = DiskSpec { sibling: true, ..namespace(2) };
        let other = DiskSpec::new(Bus::Nvme, 3);
        let machine = Simulated::new(&Spec::new(vec![namespace(1), second, other]));
        let held = machine.held(&[0, 1, 2]);
        let inode = |held: &Held| held.handle().file().metadata().unwrap().ino();
        let answers = Answers {
            serial: SERIAL,
            bytes: vec![(256, 0x0a)],
            active: vec![1, 2],
            allocated: vec![1, 2],
            controllers: vec![0],
        };
        let kernel = Imitation {
            path: machine.directory().join("sys/class/dmi/id/product_uuid"),
            number: "240:0",
            own: Mutex::new(answers.clone()),
            theirs: answers,
            namespaces: vec![(inode(&held[0]), 1), (inode(&held[1]), 2)],
            sent: Mutex::new(Vec::new()),
        };
        Self { machine, held, kernel }
    }

    /// Returns the code of what becomes of a controller of some of the disks, and sends it a Sanitize.
    fn sanitize(&self, disks: &[usize]) -> Result<u32, String> {
        let held: Vec<&Held> = disks.iter().map(|index| &self.held[*index]).collect();
        let root = Root::captured(self.machine.directory());
        let words = |error: &ControllerError| error.to_string();
        let controller =
            Controller::of_on(&root, &self.kernel, &held).map_err(|error| words(&error))?;
        let sanitize = NvmeCommand { opcode: opcode::SANITIZE, ..NvmeCommand::default() };
        let answer = controller.admin(&sanitize, Data::None, Duration::from_secs(1));
        answer.map_err(|failure| failure.to_string())
    }

    fn own(&mut self, change: impl FnOnce(&mut Answers)) {
        change(self.kernel.own.get_mut().unwrap());
    }

    fn sent(&self) -> Vec<u8> {
        self.kernel.sent.lock().unwrap().clone()
    }
}

#[test]
fn a_controller_is_had_with_all_its_namespaces_and_not_with_one_of_two() {
    let bench = Bench::new();
    let refusal = bench.sanitize(&[0]).unwrap_err();
    assert!(refusal.contains("other namespaces (nvme0n2)"), "{refusal}");
    assert!(bench.sanitize(&[]).unwrap_err().contains("no disk"));
    let refusal = bench.sanitize(&[0, 1, 2]).unwrap_err();
    assert!(refusal.contains("another controller"), "{refusal}");
    assert!(bench.sent().is_empty());
    assert_eq!(bench.sanitize(&[1, 0]), Ok(7));
    assert_eq!(bench.sent(), [opcode::SANITIZE]);
}

#[test]
fn a_namespace_that_is_attached_nowhere_counts() {
    let mut bench = Bench::new();
    bench.own(|own| own.allocated.push(7));
    let refusal = bench.sanitize(&[0, 1]).unwrap_err();
    assert!(refusal.contains("namespace 7"), "{refusal}");
    // Also where there are more of them than a page holds.
    bench.own(|own| own.allocated = (1..=3000).collect());
    let refusal = bench.sanitize(&[0, 1]).unwrap_err();
    assert!(refusal.contains(" 3000)"), "{refusal}");
    assert!(bench.sent().is_empty());
}

#[test]
fn a_controller_that_another_machine_may_reach_is_refused() {
    let mut bench = Bench::new();
    bench.own(|own| {
        own.bytes.push((76, 2));
        own.controllers = vec![0, 1];
    });
    let refusal = bench.sanitize(&[0, 1]).unwrap_err();
    assert!(refusal.contains("another machine"), "{refusal}");
    assert!(bench.sent().is_empty());
    bench.own(|own| own.controllers = vec![0]);
    assert_eq!(bench.sanitize(&[0, 1]), Ok(7));
}

#[test]
fn what_answers_for_another_controller_is_not_believed() {
    let mut bench = Bench::new();
    bench.kernel.number = "240:1";
    assert!(bench.sanitize(&[0, 1]).unwrap_err().contains("another device's"));
    let mut bench = Bench::new();
    bench.own(|own| own.serial = "ANOTHER");
    assert!(bench.sanitize(&[0, 1]).unwrap_err().contains("another serial number"));
    // The disks' own descriptors lead elsewhere.
    let mut bench = Bench::new();
    bench.kernel.theirs.serial = "ANOTHER";
    assert!(bench.sanitize(&[0, 1]).unwrap_err().contains("a held disk is another"));
    assert!(bench.sent().is_empty());
}

#[test]
fn what_has_changed_since_is_noticed_before_each_command_that_destroys() {
    let bench = Bench::new();
    let held: Vec<&Held> = bench.held.iter().take(2).collect();
    let root = Root::captured(bench.machine.directory());
    let controller = Controller::of_on(&root, &bench.kernel, &held).unwrap();
    let send = |opcode| {
        let command = NvmeCommand { opcode, ..NvmeCommand::default() };
        controller.admin(&command, Data::None, Duration::from_secs(1))
    };
    assert_eq!(send(opcode::FORMAT).unwrap(), 7);
    bench.kernel.own.lock().unwrap().active.push(3);
    for destroys in [opcode::FORMAT, opcode::SANITIZE, opcode::NAMESPACE_MANAGEMENT] {
        let Err(NvmeFailure::NoAnswer(error)) = send(destroys) else { panic!("{destroys:#x}") };
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
    assert_eq!(send(opcode::GET_LOG_PAGE).unwrap(), 7, "to ask is no harm");
    assert_eq!(bench.sent(), [opcode::FORMAT, opcode::GET_LOG_PAGE]);
}

/// Sends a Format through the door of the first namespace.
fn format(bench: &Bench, nsid: u32, erasure: u32) -> Result<u32, io::ErrorKind> {
    let door = NamespaceDoor::new(bench.held[0].handle().file(), &bench.kernel);
    let dwords = [erasure << 9, 0, 0, 0, 0, 0];
    let command = NvmeCommand { opcode: opcode::FORMAT, nsid, dwords };
    door.admin(&command, Data::None, Duration::from_secs(1)).map_err(|failure| match failure {
        NvmeFailure::NoAnswer(error) => error.kind(),
        NvmeFailure::Status(status) => panic!("{status:#x}"),
    })
}

#[test]
fn a_namespaces_door_lets_nothing_through_to_another_one() {
    let refused = Err(io::ErrorKind::PermissionDenied);
    let mut bench = Bench::new();
    assert_eq!(format(&bench, 1, 2), Ok(7));
    assert_eq!(format(&bench, 2, 2), refused, "another namespace");
    assert_eq!(format(&bench, u32::MAX, 2), refused, "all of them");
    // FNA: an erasing Format touches all, another does not; then the other way round.
    bench.kernel.theirs.bytes.push((524, 0b10));
    assert_eq!((format(&bench, 1, 1), format(&bench, 1, 0)), (refused, Ok(7)));
    bench.kernel.theirs.bytes.push((524, 0b01));
    assert_eq!((format(&bench, 1, 1), format(&bench, 1, 0)), (Ok(7), refused));
    // The only one is all.
    bench.kernel.theirs.active = vec![1];
    bench.kernel.theirs.allocated = vec![1];
    assert_eq!(format(&bench, 1, 0), Ok(7));
    let door = NamespaceDoor::new(bench.held[0].handle().file(), &bench.kernel);
    assert_eq!(door.namespace().unwrap(), 1);
    for opcode in [
        opcode::SANITIZE,
        opcode::SECURITY_SEND,
        opcode::SET_FEATURES,
        opcode::NAMESPACE_ATTACHMENT,
    ] {
        let command = NvmeCommand { opcode, nsid: 1, ..NvmeCommand::default() };
        let sent = door.admin(&command, Data::None, Duration::from_secs(1));
        assert!(matches!(sent, Err(NvmeFailure::NoAnswer(_))), "{opcode:#x}");
    }
    assert!(bench.sent().iter().all(|opcode| *opcode == opcode::FORMAT));
}

#[test]
fn a_disk_of_many_namespaces_is_not_reverted_through_one_of_them() {
    let bench = Bench::new();
    let door = OpalDoor { disk: bench.held[0].handle().file(), may_revert: false };
    for failure in [door.revert_with_psid(&[b'A'; 32]), door.revert_with_sid(b"sid")] {
        let Err(crate::command::OpalFailure::NoAnswer(error)) = failure else { panic!("reverted") };
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
    // Nor one that stands below no target, so that nobody knows what else there is.
    let Err(crate::command::OpalFailure::NoAnswer(error)) =
        bench.held[2].opal().revert_with_sid(b"x")
    else {
        panic!("reverted")
    };
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn units_of_one_device_erase_it_together_or_not_at_all() {
    let mut disks: Vec<DiskSpec> = (1..4).map(|number| DiskSpec::new(Bus::Sas, number)).collect();
    disks[1].sibling = true;
    let machine = Simulated::new(&Spec::new(disks));
    let root = Root::captured(machine.directory());
    let held = machine.held(&[0, 1, 2]);
    assert!(!held[0].has_all_units(&root, &[]));
    assert!(!held[1].has_all_units(&root, &[&held[1], &held[2]]));
    assert!(held[0].has_all_units(&root, &[&held[1]]));
    assert!(held[1].has_all_units(&root, &[&held[2], &held[1], &held[0]]));
    assert!(held[2].has_all_units(&root, &[]), "it stands alone");
}
