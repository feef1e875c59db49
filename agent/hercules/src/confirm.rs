//! What a person has to type before anything is destroyed: what stands on each disk's label.

use std::{
    fmt::Write as _,
    io::{self, BufRead, Read as _, Write},
};

use disk::permit::{self, Holder};
use protocol::{
    inventory::Disk,
    order::DiskIdentity,
    wipe::{Extra, PowerLevel},
};

/// No serial number is as long, and who types more types something else.
const LONGEST_LINE: usize = 256;

/// A disk that somebody is asked about.
#[derive(Debug)]
pub(crate) struct Asked<'d> {
    /// Which, with what is on it.
    pub(crate) disk: &'d Disk,
    /// What the kernel has built on it, which is taken down first.
    pub(crate) built: Vec<Holder>,
}

/// Shows each disk, and asks for its serial number or another name of it; before that, what is to be done beside the
/// disks. Returns what was typed, one for each disk; says why not where anything else was typed for one of them.
pub(crate) fn ask(
    disks: &[Asked<'_>],
    level: PowerLevel,
    extras: &[Extra],
    answers: &mut impl BufRead,
    words: &mut impl Write,
) -> Result<Vec<String>, String> {
    let mut typed = Vec::new();
    let mut before = beside(extras);
    for asked in disks {
        let identity = DiskIdentity::of(asked.disk);
        let Some(name) = best_name(&identity) else {
            return Err(format!("{} has no name that could be typed", asked.disk.name));
        };
        before.push_str(&shown(asked));
        let question = format!(
            "{before}This cannot be undone. To have it wiped at {level}, type its {name}: "
        );
        before.clear();
        before.push('\n');
        let failed = |error: io::Error| format!("asking for it: {error}");
        words.write_all(question.as_bytes()).map_err(failed)?;
        words.flush().map_err(failed)?;
        let line = line(answers).inspect_err(|_| {
            // Nobody has ended the line that the question is in.
            let _nobody_reads = writeln!(words);
        })?;
        if !permit::names(&line, &identity) {
            return Err(format!("{line:?} is not what {} is called", asked.disk.name));
        }
        typed.push(line);
    }
    Ok(typed)
}

/// Reads what was typed, without blanks around it.
fn line(answers: &mut impl BufRead) -> Result<String, String> {
    let mut bytes = Vec::new();
    let failed = |error: io::Error| format!("reading what was typed: {error}");
    let most = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
    answers.take(most).read_until(b'\n', &mut bytes).map_err(failed)?;
    let is_whole = bytes.len() < LONGEST_LINE || bytes.ends_with(b"\n");
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Err("nothing was typed".to_owned()),
        // What was cut off could be the name of another disk.
        _ if !is_whole => Err("what was typed is too long for a name".to_owned()),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => Err("what was typed is no text".to_owned()),
    }
}

/// Names what stands on a disk's label and what a person can type.
pub(crate) fn best_name(disk: &DiskIdentity) -> Option<&'static str> {
    let names = [
        (&disk.serial, "serial number"),
        (&disk.wwn, "WWN"),
        (&disk.eui64, "EUI-64"),
        (&disk.nguid, "NGUID"),
    ];
    let is_there = |name: &Option<String>| name.as_deref().is_some_and(|it| !it.trim().is_empty());
    names.into_iter().find_map(|(name, word)| is_there(name).then_some(word))
}

fn beside(extras: &[Extra]) -> String {
    let mut text = String::new();
    for extra in extras {
        let words = match extra {
            Extra::StaleBootEntries => "stale UEFI boot entries are removed",
            Extra::Pstore => "pstore is emptied",
            Extra::Tpm => {
                "THE TPM IS CLEARED: what it holds the key of, here or elsewhere, is lost"
            }
        };
        let _infallible = writeln!(text, "Once the disks are erased, {words}.");
    }
    text
}

pub(crate) fn shown(asked: &Asked<'_>) -> String {
    let disk = asked.disk;
    let model = disk.model.as_deref().unwrap_or("no model");
    // Some models begin with it.
    let vendor = disk.vendor.as_deref().filter(|vendor| !model.starts_with(vendor));
    let model = printable(&vendor.map_or_else(|| model.to_owned(), |it| format!("{it} {model}")));
    let mut text = format!("{}: {model}, {}\n", disk.name, disk.size_bytes);
    let _infallible = writeln!(text, "  holds: {}", printable(&holds(disk)));
    if !asked.built.is_empty() {
        let built: Vec<String> = asked.built.iter().map(Holder::to_string).collect();
        let _infallible = writeln!(text, "  taken down first: {}", printable(&built.join(", ")));
    }
    text
}

fn holds(disk: &Disk) -> String {
    let Some(content) = &disk.content else { return "something that cannot be read".to_owned() };
    if content.blank {
        return "nothing".to_owned();
    }
    let inside = content.partitions.iter().flat_map(|partition| &partition.signatures);
    let kinds: Vec<&str> =
        content.signatures.iter().chain(inside).map(|found| found.kind.as_str()).collect();
    if kinds.is_empty() { "something that is not recognised".to_owned() } else { kinds.join(", ") }
}

/// What others say cannot move the cursor, nor begin a line of its own.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use disk::permit::HolderKind;
    use protocol::{
        Bytes,
        inventory::{Content, Signature},
    };

    use super::*;

    fn disk(serial: &str) -> Disk {
        let signature = Signature { kind: "ext4".to_owned(), ..Signature::default() };
        Disk {
            name: "sda".to_owned(),
            model: Some("ST\x1b[2J4000".to_owned()),
            serial: Some(serial.to_owned()),
            size_bytes: Bytes(4_000_787_030_016),
            content: Some(Content {
                blank: false,
                signatures: vec![signature],
                partitions: vec![],
            }),
            ..Disk::default()
        }
    }

    fn asked(disks: &[&Disk], typed: &[u8]) -> (Result<Vec<String>, String>, String) {
        let disks: Vec<Asked<'_>> =
            disks.iter().map(|disk| Asked { disk, built: Vec::new() }).collect();
        let mut words = Vec::new();
        let answer = ask(&disks, PowerLevel::Full, &[], &mut { typed }, &mut words);
        (answer, String::from_utf8(words).unwrap())
    }

    #[test]
    fn a_person_who_types_every_serial_number_is_believed() {
        let (one, two) = (disk("A1"), disk("B2"));
        let (answer, words) = asked(&[&one, &two], b"A1\n B2 \r\n");
        assert_eq!(answer, Ok(vec!["A1".to_owned(), "B2".to_owned()]));
        assert!(words.contains("ext4") && words.contains("wiped at full"), "{words}");
        assert!(words.contains("type its serial number"), "{words}");
    }

    #[test]
    fn nothing_else_is_a_confirmation() {
        let (one, two) = (disk("A1"), disk("B2"));
        for typed in [
            "",
            "\n",
            "y\n",
            "yes\n",
            "sda\n",
            "/dev/sda\n",
            "B2\nA1\n",
            "A1\n",
            "A1\nA1\n",
            "a1\nB2\n",
            "A1 B2\n",
        ] {
            assert!(asked(&[&one, &two], typed.as_bytes()).0.is_err(), "{typed:?}");
        }
        let nameless = Disk { serial: None, ..disk("") };
        let (answer, words) = asked(&[&nameless], b"\n");
        assert!(answer.is_err() && words.is_empty());
    }

    #[test]
    fn whoever_hangs_up_confirms_nothing() {
        let (one, two) = (disk("A1"), disk("B2"));
        assert_eq!(asked(&[&one, &two], b"A1\n").0, Err("nothing was typed".to_owned()));
        // The last line of a file need not end.
        assert!(asked(&[&one], b"A1").0.is_ok());
    }

    #[test]
    fn a_line_without_end_is_no_name() {
        let one = disk("A1");
        let blanks = [vec![b' '; 500], b"A1\n".to_vec()].concat();
        for typed in [vec![b'A'; 100_000], blanks, vec![0xff, 0xfe, b'\n'], vec![0; 300]] {
            assert!(asked(&[&one], &typed).0.is_err());
        }
        let long = disk(&"L".repeat(255));
        assert!(asked(&[&long], &[vec![b'L'; 255], b"\n".to_vec()].concat()).0.is_ok());
    }

    #[test]
    fn what_a_disk_says_of_itself_moves_no_cursor() {
        let mut odd = disk("A1");
        odd.vendor = Some("V\r\x07\u{9b}31m".to_owned());
        odd.model = Some("M\nThis cannot be undone".to_owned());
        odd.content.as_mut().unwrap().signatures[0].kind = "\x1b]0;x\x07".to_owned();
        let (answer, words) = asked(&[&odd], b"\x1b[A1\n");
        assert!(words.chars().all(|one| one == '\n' || !one.is_control()), "{words:?}");
        assert_eq!(words.lines().count(), 3, "{words}");
        assert!(answer.unwrap_err().chars().all(|one| !one.is_control()));
    }

    #[test]
    fn what_goes_along_is_said_before_the_first_question() {
        let one = disk("A1");
        let kind = HolderKind::Mapped { name: "vg-root".to_owned() };
        let holder = Holder { name: "dm-0".to_owned(), kind, disks: vec!["sda".to_owned()] };
        let asked = [Asked { disk: &one, built: vec![holder] }];
        let mut words = Vec::new();
        let mut typed: &[u8] = b"A1\n";
        ask(&asked, PowerLevel::Redline, &[Extra::Tpm], &mut typed, &mut words).unwrap();
        let words = String::from_utf8(words).unwrap();
        assert!(words.starts_with("Once the disks are erased, THE TPM IS CLEARED"), "{words}");
        assert!(words.contains("  taken down first: volume vg-root (dm-0)\n"), "{words}");
    }

    #[test]
    fn a_disk_without_serial_number_is_named_by_what_it_has() {
        let wwn = Some("0x5000c50012345678".to_owned());
        let one = Disk { serial: None, wwn, ..disk("") };
        let (answer, words) = asked(&[&one], b"5000C50012345678\n");
        assert!(answer.is_ok() && words.contains("type its WWN"), "{words}");
    }
}
