//! What a person has to type before anything is destroyed: what stands on each disk's label.

use std::io::{BufRead, Write};

use disk::permit;
use protocol::{inventory::Disk, order::DiskIdentity, wipe::PowerLevel};

/// Shows each disk and asks for its serial number, or another name of it. Returns what was typed, one for each disk; says
/// why not where anything else was typed for one of them.
pub(super) fn ask(
    disks: &[&Disk],
    level: PowerLevel,
    answers: &mut impl BufRead,
    words: &mut impl Write,
) -> Result<Vec<String>, String> {
    let mut typed = Vec::new();
    for disk in disks {
        let identity = DiskIdentity::of(disk);
        let question = format!(
            "{}: {} {}, {}\n  holds: {}\nThis cannot be undone. To have it wiped at {level:?}, type its serial number: ",
            disk.name,
            disk.vendor.as_deref().unwrap_or_default(),
            disk.model.as_deref().unwrap_or("of no model"),
            disk.size_bytes,
            holds(disk),
        );
        words.write_all(printable(&question).as_bytes()).map_err(|error| error.to_string())?;
        words.flush().map_err(|error| error.to_string())?;
        let mut line = String::new();
        answers.read_line(&mut line).map_err(|error| format!("reading what was typed: {error}"))?;
        let line = line.trim().to_owned();
        if !permit::names(&line, &identity) {
            return Err(format!("{:?} is not what {} is called", line, disk.name));
        }
        typed.push(line);
    }
    Ok(typed)
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

/// What a disk says of itself cannot move the cursor.
fn printable(text: &str) -> String {
    let plain = |character: char| {
        if character.is_control() && character != '\n' { ' ' } else { character }
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
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

    fn asked(disks: &[&Disk], typed: &str) -> (Result<Vec<String>, String>, String) {
        let mut words = Vec::new();
        let answer = ask(disks, PowerLevel::Full, &mut typed.as_bytes(), &mut words);
        (answer, String::from_utf8(words).unwrap())
    }

    #[test]
    fn a_person_who_types_every_serial_number_is_believed() {
        let (one, two) = (disk("A1"), disk("B2"));
        let (answer, words) = asked(&[&one, &two], "A1\n B2 \n");
        assert_eq!(answer, Ok(vec!["A1".to_owned(), "B2".to_owned()]));
        assert!(
            words.contains("ext4") && words.contains("Full") && !words.contains('\x1b'),
            "{words}"
        );
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
        ] {
            assert!(asked(&[&one, &two], typed).0.is_err(), "{typed:?}");
        }
        let nameless = Disk { serial: None, ..disk("") };
        assert!(asked(&[&nameless], "\n").0.is_err());
    }
}
