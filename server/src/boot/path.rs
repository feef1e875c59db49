//! What a path means, over TFTP and HTTP alike: a pure function from bytes to a thing we have.

use protocol::MacAddress;

use super::{
    asset::{Architecture, Asset, Image, Program},
    assets::BuildName,
    pack::Pack,
    raspberry::{Serial, Wish},
    unified::Unified,
};

/// The longest path that is looked at. The longest of ours has 73 bytes.
const PATH_LIMIT: usize = 256;

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The machine that the path names.
    pub mac: Option<MacAddress>,
    /// The Raspberry Pi that the path names.
    pub serial: Option<Serial>,
    /// The build of the images that the path names. Absent: the one that is served at the moment.
    pub build: Option<BuildName>,
    /// What is asked for.
    pub wanted: Wanted,
    /// The path as it is shown to people: with `/`, without what firmware adds, never longer than 256 characters.
    pub shown: String,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A file.
    Asset(Asset),
    /// The first script, found by iPXE beside its own program: it has no lease yet.
    AutoexecScript,
    /// The first script, named to iPXE by DHCP.
    FirstScript,
    /// The script for one machine, which says in the query who it is. HTTP only.
    MachineScript,
    /// The same for GRUB, which has no queries: who asks is known by its address.
    GrubScript,
    /// A file for a Raspberry Pi. TFTP only.
    Board(Wish),
    /// The file that is never there, so that firmware goes on to the machine's own disk.
    OwnDisk,
    /// None of ours.
    NotFound,
    /// A path that climbs (`..`) or has bytes that no path of ours has: an error, or somebody who tries.
    Refused,
}

/// Says what a path means.
///
/// Firmware writes paths in many ways: with a leading `/` or without, with `\`, with doubled separators,
/// and with rubbish of bytes from 0x80 up behind the name where DHCP's option 67 did not end in a NUL.
/// All of them are one path here, so that nothing has to be redirected.
pub fn resolve(path: &[u8]) -> Resolved {
    let end = path.iter().rposition(|byte| *byte < 0x80).map_or(0, |last| last + 1);
    let path = &path[..end];
    let shown = path.iter().take(PATH_LIMIT).map(|byte| show(*byte)).collect();
    let refused =
        |shown| Resolved { mac: None, serial: None, build: None, wanted: Wanted::Refused, shown };
    if path.len() > PATH_LIMIT || !path.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return refused(shown);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in shown.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => return refused(shown),
            part => parts.push(part),
        }
    }
    let shown = parts.join("/");
    let (mac, build, wanted) = match *parts {
        ["build", name, ref rest @ ..] => of_build(name, rest),
        ref parts => {
            let (mac, wanted) = meaning(parts);
            (mac, None, wanted)
        }
    };
    if wanted == Wanted::NotFound
        && let Some(of_board) = of_board(&parts)
    {
        return Resolved { shown, ..of_board };
    }
    Resolved { mac, serial: None, build, wanted, shown }
}

/// Reads a path as a Raspberry Pi's firmware makes them: in a directory named by its serial number, or by its MAC address where
/// its settings say so (`TFTP_PREFIX=2`), and without one where that has nothing for it.
fn of_board(parts: &[&str]) -> Option<Resolved> {
    let (first, rest) = parts.split_first()?;
    let serial = Serial::read(first);
    // With hyphens: the name of a build has twelve digits, too.
    let mac = first.parse::<MacAddress>().ok().filter(|mac| mac.hyphenated() == *first);
    let mac = mac.filter(|mac| mac.is_usable());
    let (build, wish) = if serial.is_some() || mac.is_some() {
        Wish::in_its_directory(rest)
    } else {
        Wish::at_the_root(parts)?
    };
    Some(Resolved { mac, serial, build, wanted: Wanted::Board(wish), shown: String::new() })
}

fn show(byte: u8) -> char {
    if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '?' }
}

fn meaning(parts: &[&str]) -> (Option<MacAddress>, Wanted) {
    match *parts {
        ["boot", mac, name] => match mac.parse::<MacAddress>() {
            Ok(mac) if mac.is_usable() => (Some(mac), beside_the_program(name)),
            _ => (None, Wanted::NotFound),
        },
        ["script.ipxe"] => (None, Wanted::MachineScript),
        // Where Debian's signed GRUB looks, on the server that it came from: it finds the first only on disks.
        ["grub", "x86_64-efi", "grub.cfg"] | ["grub", "grub.cfg"] => (None, Wanted::GrubScript),
        ["image", name] => (None, image(name)),
        ["pack", architecture, name] => (None, pack(architecture, name)),
        // iPXE from TFTP asks for `autoexec.ipxe` at the root; a router may name the program alone.
        ["boot", name] | [name] => (None, beside_the_program(name)),
        _ => (None, Wanted::NotFound),
    }
}

/// What boot scripts name, so that all of it is of one build. All else is asked for by names that stay.
fn of_build(name: &str, rest: &[&str]) -> (Option<MacAddress>, Option<BuildName>, Wanted) {
    let build = BuildName::read(name);
    let wanted = match (build, rest) {
        (Some(_), ["image" | "pack", ..]) => meaning(rest).1,
        _ => Wanted::NotFound,
    };
    (None, build, wanted)
}

fn beside_the_program(name: &str) -> Wanted {
    match name {
        "autoexec.ipxe" => Wanted::AutoexecScript,
        "boot.ipxe" => Wanted::FirstScript,
        "own-disk" => Wanted::OwnDisk,
        _ => Program::named(name)
            .map(Asset::Program)
            .or_else(|| Unified::named(name).map(Asset::Unified))
            .map_or(Wanted::NotFound, Wanted::Asset),
    }
}

fn image(name: &str) -> Wanted {
    Image::named(name)
        .map(Asset::Image)
        .or_else(|| Unified::named(name).map(Asset::Unified))
        .map_or(Wanted::NotFound, Wanted::Asset)
}

fn pack(architecture: &str, name: &str) -> Wanted {
    Architecture::named(architecture)
        .and_then(|architecture| Pack::named(architecture, name))
        .map_or(Wanted::NotFound, |pack| Wanted::Asset(Asset::Pack(pack)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const SNPONLY: Wanted = Wanted::Asset(Asset::Program(Program::SnponlyEfi));

    #[track_caller]
    fn check(path: impl AsRef<[u8]>, mac: Option<MacAddress>, wanted: Wanted) {
        let resolved = resolve(path.as_ref());
        assert_eq!((resolved.mac, resolved.wanted), (mac, wanted), "{}", resolved.shown);
    }

    #[test]
    fn a_path_names_machine_and_file() {
        check("boot/52-54-00-12-34-56/snponly.efi", Some(MAC), SNPONLY);
        check("boot/52-54-00-12-34-56/autoexec.ipxe", Some(MAC), Wanted::AutoexecScript);
        check("boot/52-54-00-12-34-56/boot.ipxe", Some(MAC), Wanted::FirstScript);
        check("boot/52-54-00-12-34-56/own-disk", Some(MAC), Wanted::OwnDisk);
        check("boot/snponly.efi", None, SNPONLY);
        for image in Unified::all() {
            let (name, wanted) = (image.file_name(), Wanted::Asset(Asset::Unified(image)));
            check(format!("boot/52-54-00-12-34-56/{name}"), Some(MAC), wanted);
            check(format!("image/{name}"), None, wanted);
            check(name, None, wanted);
        }
        check("boot.ipxe", None, Wanted::FirstScript);
        check("autoexec.ipxe", None, Wanted::AutoexecScript);
        check("script.ipxe", None, Wanted::MachineScript);
        check("(http)/grub/x86_64-efi/grub.cfg", None, Wanted::NotFound);
        check("/grub/x86_64-efi/grub.cfg", None, Wanted::GrubScript);
        check("/grub/grub.cfg", None, Wanted::GrubScript);
        check(
            "image/sunshineos-x86_64.vmlinuz",
            None,
            Wanted::Asset(Asset::Image(Image::named("sunshineos-x86_64.vmlinuz").unwrap())),
        );
        let pack = Pack::named(Architecture::X86_64, "bnxt_en.cpio").unwrap();
        check("pack/x86_64/bnxt_en.cpio", None, Wanted::Asset(Asset::Pack(pack)));
        check(
            "build/0a1b2c3d4e5f/pack/x86_64/bnxt_en.cpio",
            None,
            Wanted::Asset(Asset::Pack(pack)),
        );
        let of_build = resolve(b"/build/0a1b2c3d4e5f/image/sunshineos-x86_64.vmlinuz");
        assert_eq!(of_build.build, BuildName::read("0a1b2c3d4e5f"));
        assert_eq!(resolve(b"image/sunshineos-x86_64.vmlinuz").build, None);
    }

    #[test]
    fn firmware_may_write_it_as_it_likes() {
        for path in [
            "/boot/52-54-00-12-34-56/snponly.efi",
            "//boot//52-54-00-12-34-56/./snponly.efi",
            "\\boot\\52-54-00-12-34-56\\snponly.efi",
            "boot/52:54:00:12:34:56/snponly.efi",
            "boot/52-54-00-AB-CD-EF/snponly.efi",
        ] {
            let resolved = resolve(path.as_bytes());
            assert!(resolved.mac.is_some(), "{path}");
            assert_eq!(resolved.wanted, SNPONLY, "{path}");
        }
        check(b"boot/52-54-00-12-34-56/snponly.efi\xff\xff", Some(MAC), SNPONLY);
        assert_eq!(resolve(b"\\boot\\\\x\xff").shown, "boot/x");
    }

    #[test]
    fn nothing_outside_can_be_named() {
        for path in [
            "../etc/passwd",
            "boot/../../etc/passwd",
            "..\\..\\boot.ini",
            "boot/..",
            "boot/52-54-00-12-34-56/../snponly.efi",
            "boot/snponly.efi\n",
        ] {
            check(path, None, Wanted::Refused);
        }
        check([b'a'; PATH_LIMIT + 1], None, Wanted::Refused);
        check(b"boot/\xc3\xa4/snponly.efi", None, Wanted::Refused);
        for path in [
            "",
            "/",
            "\u{0080}",
            "etc/passwd",
            "boot/00-00-00-00-00-00/snponly.efi",
            "boot/ff-ff-ff-ff-ff-ff/snponly.efi",
            "boot/x/snponly.efi",
            "image/SHA256SUMS",
            "ipxe/snponly.efi",
            "boot/sunshineos-x86_64.vmlinuz",
            "script.ipxe/x",
            "pack/x86_64/cards",
            "pack/x86_64/.cpio",
            "pack/x86_64/a.b.cpio",
            "pack/mips/ixgbe.cpio",
            "pack-x86_64/ixgbe.cpio",
            "store/00",
            "build/0A1B2C3D4E5F/image/sunshineos-x86_64.vmlinuz",
            "build/current/image/sunshineos-x86_64.vmlinuz",
            "build/0a1b2c3d4e5f/script.ipxe",
            "build/0a1b2c3d4e5f/boot/snponly.efi",
            "build/0a1b2c3d4e5f",
        ] {
            let wanted = resolve(path.as_bytes()).wanted;
            assert!(matches!(wanted, Wanted::NotFound | Wanted::Refused), "{path}: {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics_and_what_is_shown_is_printable(path in prop::collection::vec(any::<u8>(), 0..400)) {
            let resolved = resolve(&path);
            prop_assert!(resolved.shown.len() <= PATH_LIMIT);
            prop_assert!(resolved.shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
    }
}
