//! Disks of every kind that QEMU has, wiped to their end; and those that must not be touched.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{BOOT_PATIENCE, SMALL, WIPE_PATIENCE, is_zeros, starts_with_nothing, waits_approved};
use crate::{
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine, Make},
    server::{Known, Mode, Server},
};

/// What disks shall have come to: number, verdict, how far.
type Ends = [(usize, &'static str, &'static str)];

/// What happens to a machine that is off.
type Change = fn(&mut Machine, &Lab) -> Result<()>;

const EXCEPTIONS: &str = "erasedWithExceptions";

/// Two namespaces of one NVMe controller that has a third one attached nowhere, a SAS disk, one of flash with sectors of
/// 4,096 bytes, a logical drive of a RAID controller, and a disk that can only be read.
pub(in crate::cases) fn kinds(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let first = of_ones(Bus::Namespace);
    let of_same = |bus| Disk { serial: first.serial.clone(), ..of_ones(bus) };
    let machine = Machine::bios("tug")
        .disk(first.clone())
        .disk(of_same(Bus::Namespace))
        .disk(of_same(Bus::Detached))
        .disk(Disk { make: Some(Make::TURNS), ..of_ones(Bus::Sas) })
        .disk(Disk { make: Some(Make::FLASH), sector_bytes: 4096, ..of_ones(Bus::Scsi) })
        .disk(Disk { make: Some(Make::TURNS), ..of_ones(Bus::Raid) })
        .disk(Disk { is_read_only: true, ..of_ones(Bus::Virtio) });
    let kernel = Kernel::of_hercules(&server, &machine)?.believing_namespaces(lab)?;
    let mut booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let machine = booted.machine.clone();
    let keep = |disks: &[usize]| -> Result<()> {
        disks.iter().try_for_each(|disk| machine.has_unchanged_disk(lab, *disk))
    };

    // One namespace of two: only where nothing of the whole device is erased.
    for level in ["full", "redline"] {
        let why = refused(&server, &known, level, &machine.disks[0])?;
        ensure!(why.contains("namespace of the same NVMe subsystem"), "{level}: {why}");
    }
    let why = refused(&server, &known, "working", &machine.disks[6])?;
    ensure!(why.contains("can only be read"), "{why}");
    keep(&[0, 1, 2, 3, 4, 5, 6])?;
    let mut wipes = |level: &str, ends: &Ends, options: &[&str]| -> Result<Value> {
        let options = [&["--overwrite"][..], options].concat();
        let names: Vec<String> = ends.iter().map(|end| name(&machine.disks[end.0])).collect();
        let disks: Vec<&str> = names.iter().map(String::as_str).collect();
        let order = server.wipes(&known.name, level, &disks, &options)?;
        let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
        came_to(&machine, &result, ends).with_context(|| format!("{level}: {result}"))?;
        Ok(result)
    };
    wipes("working", &[(0, "erased", "signatures")], &[])?;
    starts_with_nothing(&machine.disk_file(lab, 0))?;
    keep(&[1, 2, 3, 4, 5, 6])?;

    // What is known for what it is, is erased; what lies behind a RAID controller nobody knows.
    let ends = [(3, "erased", "clear"), (4, "erased", "clear"), (5, EXCEPTIONS, "logical")];
    wipes("full", &ends, &[])?;
    for disk in [3, 4, 5] {
        is_zeros(&machine.disk_file(lab, disk))?;
    }
    keep(&[1, 2, 6])?;

    let ends = [
        (0, EXCEPTIONS, "logical"),
        (1, EXCEPTIONS, "logical"),
        (3, EXCEPTIONS, "clear"),
        (4, EXCEPTIONS, "clear"),
        (5, EXCEPTIONS, "logical"),
    ];
    let result = wipes("redline", &ends, &["--finish", "power-off"])?;
    booted.switches_off(BOOT_PATIENCE)?;
    for disk in [0, 1, 3, 4, 5] {
        is_zeros(&machine.disk_file(lab, disk))?;
    }
    keep(&[2, 6])?;
    let job = result["certificate"].as_u64().context("a result without certificate")?;
    certified(lab, &server, &machine, job)
}

/// The certificates of the last job say how each disk is attached and what was not reached; none says that a disk erased
/// itself, since none declares that it can. QEMU's disks take FORMAT UNIT and do nothing, and its NVMe takes any Format.
fn certified(lab: &Lab, server: &Server, machine: &Machine, job: u64) -> Result<()> {
    let key = server.command(&["certificate", "key"])?;
    let certificates = server.certificates(&lab.scratch(""))?;
    // Three jobs, of one, three and five disks.
    ensure!(certificates.len() == 12, "{} certificates", certificates.len());
    for (path, _) in &certificates {
        let doubt = server.doubts(path, key.trim())?;
        ensure!(doubt.is_none(), "{}: {doubt:?}", path.display());
    }
    let of_job = |one: &&Value| one["certificate"]["subject"]["job"] == job;
    let last: Vec<&Value> = certificates.iter().map(|(_, one)| one).filter(of_job).collect();
    let not_whole = ("notWholeDevice", "namespace 3");
    let expected = [
        (0, "nvme", not_whole, "not classified: the medium is unknown"),
        (1, "nvme", not_whole, "not classified: the medium is unknown"),
        (3, "sas", ("purgeNotReached", "purge not reached"), "clear"),
        (4, "sas", ("purgeNotReached", "purge not reached"), "clear"),
        (5, "raid", ("logicalOnly", "RAID volume"), "not classified: the medium is unknown"),
    ];
    for (disk, transport, (code, words), policy) in expected {
        let of_disk =
            |one: &&&Value| is_of(&one["certificate"]["subject"]["identity"], machine, disk);
        let one = last.iter().find(of_disk).context("a disk without certificate")?;
        let (subject, policies) =
            (&one["certificate"]["subject"]["report"], &one["certificate"]["policy"]);
        let is_said = |one: &Value| {
            one["code"] == code && one["words"].as_str().is_some_and(|said| said.contains(words))
        };
        let exceptions = subject["exceptions"].as_array().context("no exceptions")?;
        ensure!(exceptions.iter().any(is_said), "not {code} with {words}: {subject}");
        ensure!(subject["transport"] == transport, "not {transport}: {subject}");
        ensure!(policies["nist80088"] == policy, "not {policy}: {policies}");
        let techniques = subject["techniques"].as_array().context("no techniques")?;
        let mut done = String::new();
        for technique in techniques {
            write!(done, "{} {}, ", technique["technique"], technique["ended"])?;
        }
        let passes = r#""keyedStream" "done", "keyedStream" "done", "zeros" "done", "#;
        ensure!(done == passes, "not three passes: {done}");
        let read = &subject["verification"];
        ensure!(read["bytesRead"] == SMALL && read["canaries"].as_u64() > Some(0), "{read}");
    }
    Ok(())
}

/// Has an order refused by the server, and returns why.
fn refused(server: &Server, known: &Known, level: &str, disk: &Disk) -> Result<String> {
    let (machine, disk) = (known.name.as_str(), name(disk));
    let order = ["wipe", machine, "--level", level, "--disk", &disk, "--overwrite", "--detach"];
    server.refuses(&[&order[..], &["--yes", machine]].concat())
}

/// The name by which a disk is ordered: all namespaces of a controller have one serial number.
fn name(disk: &Disk) -> String {
    match disk.bus {
        Bus::Namespace | Bus::Detached => format!("{:016x}", disk.wwn),
        _ => disk.serial.clone(),
    }
}

fn is_of(identity: &Value, machine: &Machine, disk: usize) -> bool {
    let wide = format!("{:016x}", machine.disks[disk].wwn);
    identity.as_str().is_some_and(|identity| identity.ends_with(&wide))
}

fn came_to(machine: &Machine, result: &Value, ends: &Ends) -> Result<()> {
    let disks = result["disks"].as_array().context("a result without disks")?;
    ensure!(disks.len() == ends.len(), "it reports {} disks", disks.len());
    for (disk, verdict, reached) in ends {
        let found = disks.iter().find(|found| is_of(&found["identity"], machine, *disk));
        let found = found.with_context(|| format!("nothing of disk {disk}"))?;
        let is = found["verdict"] == *verdict && found["reached"] == *reached;
        ensure!(is, "disk {disk} is not {verdict}, {reached}");
        ensure!(found.get("findings").is_none(), "the report contradicts itself");
    }
    Ok(())
}

/// A disk is exchanged between the order and its first byte: by a controller that tells it, and by one that does not.
pub(in crate::cases) fn exchanged(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug")
        .disk(of_ones(Bus::Silent))
        .disk(of_ones(Bus::Scsi))
        .disk(of_ones(Bus::Virtio));
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let mut booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    // Where it is told, the machine may say what it is made of before it looks at the order.
    let exchanges: [(usize, Bus, &[&str]); 2] = [
        (0, Bus::Silent, &["it says another serial number itself"]),
        (1, Bus::Scsi, &["is not in this machine", "its set of disks changed"]),
    ];
    for (disk, bus, whys) in exchanges {
        // It hears of both at the same moment.
        booted.freeze()?;
        let serial = booted.machine.disks[disk].serial.clone();
        let order = server.wipes(&known.name, "redline", &[&serial], &["--overwrite"])?;
        booted.exchange(disk, of_ones(bus))?;
        booted.thaw()?;
        let reason = server.ends_untouched(&order, WIPE_PATIENCE)?;
        ensure!(whys.iter().any(|why| reason.contains(why)), "{reason}");
        booted.machine.has_unchanged_disks(lab)?;
    }
    Ok(())
}

/// What a machine is made of changes while it is off, between the order and its next start.
pub(in crate::cases) fn changed(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug").disk(of_ones(Bus::Sas)).disk(of_ones(Bus::Virtio));
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let mut machine = booted.cut_power()?;
    let changes: [(&str, Change); 3] = [
        ("another disk", |machine, lab| machine.exchange(lab, 0, of_ones(Bus::Sas))),
        ("one disk more", |machine, _| {
            machine.disks.push(of_ones(Bus::Scsi));
            Ok(())
        }),
        ("one disk less", |machine, _| {
            machine.disks.pop();
            Ok(())
        }),
    ];
    for (what, change) in changes {
        let serial = machine.disks[0].serial.clone();
        let order = server.wipes(&known.name, "redline", &[&serial], &["--overwrite"])?;
        change(&mut machine, lab)?;
        let booted = machine.boot(lab)?;
        let reason = server.ends_untouched(&order, WIPE_PATIENCE).context(what)?;
        ensure!(reason.contains("its set of disks changed"), "{what}: {reason}");
        machine.has_unchanged_disks(lab).context(what)?;
        server.records_of(machine.mac(), |known| known.is_held("approval", "pending"))?;
        server.approves(&known.name)?;
        server.orders(&known.name, "wait")?;
        machine = booted.cut_power()?;
    }
    Ok(())
}

/// A disk hangs for ever in the middle of its wipe: the one beside it is done in its own time, and the report comes.
pub(in crate::cases) fn hangs(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let slow = Disk { bytes_per_second: Some(1 << 20), ..of_ones(Bus::Virtio) };
    let machine = Machine::bios("tug").disk(slow).disk(of_ones(Bus::Sas));
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let mut booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let serials: Vec<String> =
        booted.machine.disks.iter().map(|disk| disk.serial.clone()).collect();
    let both: Vec<&str> = serials.iter().map(String::as_str).collect();
    let order = server.wipes(&known.name, "full", &both, &["--overwrite"])?;
    server.is_erasing(&order, 2 << 20, WIPE_PATIENCE)?;
    booted.hang(0)?;
    let hung = Instant::now();
    let mut healthy = None;
    // The kernel waits for ever; it is given up after ten minutes without a word.
    let result = server.is_wiped(&order, 3 * WIPE_PATIENCE, |wiping| {
        let disks = wiping["disks"].as_array().map(Vec::as_slice).unwrap_or_default();
        if disks.iter().any(|disk| disk["phase"] == "over") {
            healthy.get_or_insert_with(|| hung.elapsed());
        }
        Ok(())
    })?;
    let healthy = healthy.context("the healthy disk was never over before the report")?;
    ensure!(healthy < Duration::from_mins(1), "the healthy disk took {healthy:?}");
    let disks = result["disks"].as_array().context("a result without disks")?;
    let of = |reached: &str, verdict: &str| {
        disks.iter().any(|disk| disk["reached"] == reached && disk["verdict"] == verdict)
    };
    let is = disks.len() == 2 && of("none", "notErased") && of("logical", EXCEPTIONS);
    ensure!(is, "a disk that hangs, and a healthy one: {result}");
    is_zeros(&booted.machine.disk_file(lab, 1))?;
    let certificates = server.certificates(&lab.scratch(""))?;
    let says = certificates.iter().any(|(_, one)| one.to_string().contains("\"hangs\""));
    ensure!(says, "no certificate says why: {certificates:?}");
    // It is still to be had.
    server.orders(&known.name, "reboot")?;
    let is_back = |console: &str| console.matches("HerculesOS ").count() > 1;
    booted.says("that it starts again", BOOT_PATIENCE, is_back)
}

fn of_ones(bus: Bus) -> Disk {
    Disk { size_bytes: SMALL, ..Disk::of_ones(bus) }
}
