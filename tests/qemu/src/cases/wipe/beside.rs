//! What is done beside the disks, and what happens to a machine while it wipes.

mod cuts;
mod sleep;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{BOOT_PATIENCE, SMALL, WIPE_PATIENCE, came_to, starts_with_nothing, waits_approved};
use crate::{
    cases::{Case, When},
    lab::Lab,
    machine::{
        Bus, Content, Disk, Kernel, Machine,
        tpm::{Interface, Tpm},
        variables::{CRASHES, GLOBAL},
    },
    server::{Mode, Server},
};

/// The cases of all this; see [`super::super::CASES`].
pub(in crate::cases) const CASES: &[Case] = &[
    Case {
        name: "wipe_extras",
        claim: "a UEFI machine that was told so loses the boot entries that lead nowhere, the records of crashes and what its TPM sealed, and nothing else",
        machines: 1,
        when: When::Test,
        run: extras,
    },
    Case {
        name: "wipe_crashed",
        claim: "a machine that crashed loses what the platform kept of that, and a TPM that no system may clear is cleared by the firmware at the next start, and not said to be cleared before",
        machines: 1,
        when: When::Soak,
        run: crashed,
    },
    Case {
        name: "wipe_cut_in_second_pass",
        claim: "a machine whose power is cut in the second pass of redline goes on in that pass at its next start",
        machines: 1,
        when: When::Soak,
        run: cuts::in_the_second_pass,
    },
    Case {
        name: "wipe_cuts",
        claim: "a machine whose power is cut at harbour, at working and while redline reads back goes on at its next start, and the other disks keep every byte",
        machines: 1,
        when: When::Soak,
        run: cuts::at_every_level,
    },
    Case {
        name: "wipe_other_machine",
        claim: "disks whose wipe was cut short are not touched in another machine, and the wipe goes on once they are back",
        machines: 1,
        when: When::Soak,
        run: cuts::other_machine,
    },
    Case {
        name: "wipe_unfreeze",
        claim: "a machine sleeps to unfreeze a disk, without its watchdog, wakes by its alarm and goes on with its order; one whose alarm does not ring stays awake, and says so",
        machines: 1,
        when: When::Soak,
        run: sleep::unfreezes,
    },
];

/// What stands in a crash record, and must not anywhere afterwards.
const SECRET: &str = "Oops: the password of the database is tugboat";

/// Boot entries, pstore and TPM of a UEFI machine: seen from outside before and after.
fn extras(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let small = |content| Disk { content, size_bytes: SMALL, ..Disk::blank(Bus::Sata) };
    let machine = Machine::uefi("tug")
        .disk(small(Content::Partitioned))
        .disk(small(Content::Partitioned))
        .disk(small(Content::Encrypted));
    let [wiped, kept, sealed] = [0, 1, 2].map(|number: usize| machine.disks[number].clone());
    machine.remember(
        lab,
        &[
            ("Boot0001", GLOBAL, entry("Wiped", &wiped.partition_guid())?),
            ("Boot0002", GLOBAL, entry("Kept", &kept.partition_guid())?),
            ("Boot0003", GLOBAL, entry("Gone", "00000000-1111-4222-8333-444444444444")?),
            ("BootOrder", GLOBAL, vec![1, 0, 3, 0, 2, 0]),
            ("BootNext", GLOBAL, vec![3, 0]),
            ("dump-type0-1-1-1700000000-D", CRASHES, format!("Panic#1 Part1\n{SECRET}").into()),
        ],
    )?;
    let tpm = Tpm::new(lab)?;
    let key = tpm.storage_key(lab)?;
    ensure!(tpm.storage_key(lab)? == key, "a key that does not follow from what the TPM keeps");
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let (machine, emulator) = tpm.powers(lab, machine.kernel(kernel), Interface::Crb)?;
    let mut booted = machine.boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;

    let beside = ["--boot-entries", "--pstore", "--tpm", "--overwrite"];
    let order = ["wipe", &known.name, "--level", "working", "--yes", &known.name];
    let refused = [&order[..], &["--disk", &wiped.serial], &beside].concat();
    let why = server.refuses(&refused)?;
    ensure!(why.contains("TPM"), "it does not say that a disk needs the TPM: {why}");
    machine.has_unchanged_disks(lab)?;

    let two = [wiped.serial.as_str(), &sealed.serial];
    let options = [&beside[..], &["--finish", "power-off"]].concat();
    let order = server.wipes(&known.name, "working", &two, &options)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    booted.switches_off(BOOT_PATIENCE)?;
    drop(booted);
    drop(emulator);
    came_to(&result, "erased", "signatures")?;
    starts_with_nothing(&machine.disk_file(lab, 0))?;
    starts_with_nothing(&machine.disk_file(lab, 2))?;
    machine.has_unchanged_disk(lab, 1)?;
    let variables = machine.variables(lab)?;
    let order = variables.boot_order()?;
    ensure!(order.first().is_some_and(|first| first == "Kept"), "the order is now {order:?}");
    let left = variables.boot_entries();
    ensure!(!left.iter().any(|name| name == "Wiped" || name == "Gone"), "there are still {left:?}");
    ensure!(!variables.has_next(), "the next start is from an entry that is gone");
    ensure!(variables.count("dump-type") == 0, "the firmware keeps records of crashes");
    ensure!(tpm.storage_key(lab)? != key, "the TPM has the key that others were sealed under");
    // Not the firmware: the machine says what it found and removed.
    let outcomes = outcomes(lab, &server)?;
    let removed = |extra: &str| outcomes[extra]["removed"].to_string();
    let entries = removed("staleBootEntries");
    ensure!(entries == r#"["Boot0001 Wiped","Boot0003 Gone"]"#, "it removed {entries}");
    let records = removed("pstore");
    ensure!(records.contains("dmesg-efi"), "of crashes it removed {records}");
    ensure!(outcomes.values().all(|outcome| outcome["failure"].is_null()), "{outcomes:?}");
    Ok(())
}

/// A machine that crashed keeps its last words where the platform has a place for them, and its TPM lets no system clear
/// it: that is left to the firmware, and said.
fn crashed(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let disk = Disk { size_bytes: SMALL, ..Disk::of_ones(Bus::Nvme) };
    let machine = Machine::uefi("tug").disk(disk);
    let tpm = Tpm::new(lab)?;
    let key = tpm.storage_key(lab)?;
    tpm.lock(lab)?;
    let mut kernel = Kernel::of_hercules(&server, &machine)?;
    kernel.command_line += " sysrq_always_enabled panic=1";
    let (machine, emulator) = tpm.powers(lab, machine.kernel(kernel), Interface::Tis)?;
    let records = lab.scratch("records");
    let place = format!("memory-backend-file,id=records,mem-path={},size=64K", records.display());
    let machine = machine
        .fitted("-object", format!("{place},share=on"))
        .fitted("-device", "acpi-erst,memdev=records".to_owned());
    let mut booted = machine.boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    ensure!(record_count(&records)? == 0, "there are records before anything crashed");
    booted.press(&["alt", "sysrq", "c"])?;
    server.hears_boot(&known.name, 2)?;
    ensure!(record_count(&records)? > 0, "a crash that left nothing");

    let options = ["--pstore", "--tpm", "--overwrite", "--finish", "reboot"];
    let disk = machine.disks[0].serial.clone();
    let order = server.wipes(&known.name, "working", &[&disk], &options)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    came_to(&result, "erased", "signatures")?;
    let is_done = result["isDone"] == true || result["isComplete"] == true;
    ensure!(!is_done, "the TPM is not cleared yet, and it is done: {result}");
    let outcomes = outcomes(lab, &server)?;
    let (crashes, tpms) = (&outcomes["pstore"], &outcomes["tpm"]);
    ensure!(crashes["failure"].is_null(), "pstore: {crashes}");
    ensure!(crashes["removed"].to_string().contains("dmesg-erst"), "pstore: {crashes}");
    let why = tpms["failure"].as_str().unwrap_or_default();
    let says = why.contains("the firmware was asked to clear it") && why.contains("confirms it");
    ensure!(says, "the TPM: {tpms}");
    // OVMF asks whoever sits there.
    booted.says("that a key clears the TPM", BOOT_PATIENCE, |console| {
        console.contains("Press F12")
    })?;
    booted.press(&["f12"])?;
    server.hears_boot(&known.name, 3)?;
    ensure!(record_count(&records)? == 0, "there are still records of crashes");
    server.orders(&known.name, "power-off")?;
    booted.switches_off(BOOT_PATIENCE)?;
    drop(booted);
    drop(emulator);
    ensure!(tpm.storage_key(lab)? != key, "the TPM has the key that others were sealed under");
    tpm.lock(lab).context("the firmware left the TPM's password where it was")
}

/// Returns how many records an ERST of QEMU's holds (`docs/specs/acpi_erst.rst`, "Backing Storage").
fn record_count(storage: &Path) -> Result<u32> {
    let bytes = fs::read(storage).context("reading records")?;
    let number = bytes.get(20..24).context("no header of records")?;
    Ok(u32::from_le_bytes(number.try_into().context("a count")?))
}

/// Returns what became of each thing beside the disks, by its name, as the newest certificate of an order tells.
fn outcomes(lab: &Lab, server: &Server) -> Result<BTreeMap<String, Value>> {
    let certificates = server.certificates(&lab.scratch(""))?;
    let told = certificates.iter().rev().find_map(|(_, one)| outcomes_in(one));
    let told = told.with_context(|| format!("no certificate tells of extras: {certificates:?}"))?;
    let named = |one: &Value| Some((one["extra"].as_str()?.to_owned(), one.clone()));
    Ok(told.iter().filter_map(named).collect())
}

/// Finds them wherever they stand.
fn outcomes_in(value: &Value) -> Option<&Vec<Value>> {
    match value {
        Value::Array(all) => {
            let is = all.iter().any(|one| one["extra"].is_string());
            if is { Some(all) } else { all.iter().find_map(outcomes_in) }
        }
        Value::Object(all) => all.values().find_map(outcomes_in),
        _ => None,
    }
}

/// A boot entry for a loader on a partition: UEFI 2.10 §3.1.3, §10.3.5.1 and §10.3.5.4.
fn entry(name: &str, guid: &str) -> Result<Vec<u8>> {
    let text = |text: &str| -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    };
    let mut identity = Vec::new();
    for (number, part) in guid.split('-').enumerate() {
        let value = u64::from_str_radix(part, 16).context("a GUID")?;
        let mut bytes = value.to_be_bytes()[8 - part.len() / 2..].to_vec();
        // The first three numbers are stored with their lowest byte first.
        if number < 3 {
            bytes.reverse();
        }
        identity.extend(bytes);
    }
    let file = text(r"\EFI\BOOT\BOOTX64.EFI");
    let mut path = vec![4, 1, 42, 0];
    path.extend(1_u32.to_le_bytes());
    path.extend(2048_u64.to_le_bytes());
    path.extend(6144_u64.to_le_bytes());
    path.extend(identity);
    path.extend([2, 2, 4, 4]);
    path.extend(u16::try_from(file.len() + 4).context("a path")?.to_le_bytes());
    path.extend(file);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut option = 1_u32.to_le_bytes().to_vec();
    option.extend(u16::try_from(path.len()).context("a path")?.to_le_bytes());
    option.extend(text(name));
    option.extend(path);
    Ok(option)
}
