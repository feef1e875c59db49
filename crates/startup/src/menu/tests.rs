use proptest::prelude::*;

use super::*;
use crate::sample::{self, Memory};

fn disk(partitions: &[([u8; 16], &[u8])]) -> Disk {
    Disk::open(Memory::new(sample::gpt(partitions)))
}

fn on_system_partition(files: &[(&str, &[u8])]) -> Result<Start, MenuError> {
    find(&disk(&[(sample::SYSTEM, &sample::fat(files))]), Firmware::Uefi)
}

fn paths(start: &Start) -> Vec<&str> {
    [&start.kernel].into_iter().chain(&start.initrds).map(|part| part.path.as_str()).collect()
}

/// Linux filesystem data, as stored.
const DATA: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];

/// An ext4 filesystem of Debian's kind: a link to the kernel, GRUB's menu, extents, checksums.
fn ext4() -> Vec<u8> {
    let packed = include_bytes!("../../tests/fixtures/boot.ext4.gz");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut bytes).unwrap();
    bytes
}

#[test]
fn the_default_of_systemd_boot_is_taken() {
    let old: &[u8] = b"linux /old\noptions root=old\n";
    let new: &[u8] = b"linux /new\ninitrd /a.img\ninitrd /b.img\noptions root=new ro\n";
    let files: &[(&str, &[u8])] =
        &[("/loader/entries/d-1.conf", old), ("/loader/entries/d-2.conf", new)];
    let start = on_system_partition(files).unwrap();
    assert_eq!(paths(&start), ["/new", "/a.img", "/b.img"]);
    assert_eq!(start.command_line, "root=new ro");
    assert_eq!(start.from, "/loader/entries/d-2.conf of partition 1");
    let files = [files, &[("/loader/loader.conf", b"timeout 0\ndefault d-1*\n")]].concat();
    assert_eq!(on_system_partition(&files).unwrap().command_line, "root=old");
}

#[test]
fn a_unified_kernel_image_is_taken_apart() {
    let image = unified::sample(&[
        (b".osrel", b"ID=arch\nVERSION_ID=7\n"),
        (b".cmdline", b"root=UUID=aa rw\n\0"),
        (b".initrd", &[7; 1000]),
        (b".linux", &[9; 2000]),
    ]);
    for path in ["/EFI/Linux/arch-linux.efi", "/EFI/BOOT/BOOTX64.EFI"] {
        let disk = disk(&[(sample::SYSTEM, &sample::fat(&[(path, &image)]))]);
        if path.contains("BOOTX64") && loader::suffix() != "x64" {
            continue;
        }
        let start = find(&disk, Firmware::Uefi).unwrap();
        assert_eq!(start.command_line, "root=UUID=aa rw");
        let mut kernel = Vec::new();
        assert_eq!(disk.copy(&start.kernel, &mut kernel).unwrap(), 2000);
        assert_eq!(kernel, [9; 2000]);
        let mut initrd = Vec::new();
        disk.copy(&start.initrds[0], &mut initrd).unwrap();
        assert_eq!(initrd, [7; 1000]);
    }
}

#[test]
fn grub_is_followed_from_a_boot_partition_to_the_root_filesystem() {
    // As Debian's cloud images have it, with the menu beside the kernel.
    let (system, root) = (sample::fat(&[("/EFI/BOOT/BOOTX64.EFI", b"MZ")]), ext4());
    let disk = disk(&[(sample::SYSTEM, &system), (DATA, &root)]);
    let start = find(&disk, Firmware::Uefi).unwrap();
    assert_eq!(paths(&start), ["/boot/vmlinuz-6.12", "/boot/initrd.img-6.12"]);
    assert_eq!(start.command_line, "root=PARTUUID=02020202-0202 ro console=ttyS0");
    assert_eq!(start.from, "entry \"Debian GNU/Linux\" of /boot/grub/grub.cfg of partition 2");
    let mut kernel = Vec::new();
    disk.copy(&start.kernel, &mut kernel).unwrap();
    assert_eq!(kernel, vec![b'k'; 70_000]);
    let link = Part { path: "/vmlinuz".to_owned(), ..start.kernel };
    let mut again = Vec::new();
    disk.copy(&link, &mut again).unwrap();
    assert_eq!(again, kernel);
}

#[test]
fn syslinux_is_followed_with_paths_relative_to_its_menu() {
    let menu: &[u8] = b"DEFAULT a\nLABEL a\nLINUX vmlinuz\nINITRD /initrd\nAPPEND quiet\n";
    let start = on_system_partition(&[("/syslinux/syslinux.cfg", menu)]).unwrap();
    assert_eq!(paths(&start), ["/syslinux/vmlinuz", "/initrd"]);
}

#[test]
fn what_cannot_be_started_is_refused_with_its_reason() {
    let refused = |files: &[(&str, &[u8])], reason: &str| {
        let error = on_system_partition(files).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", cause.unwrap_or_default());
        assert!(text.contains(reason), "{text}");
    };
    refused(&[], "no boot loader's menu");
    refused(
        &[("/grub/grub.cfg", b"source /x\n")],
        "/grub/grub.cfg of partition 1: menu is not plain",
    );
    refused(&[("/loader/entries/a.conf", b"efi /shell.efi\n")], "it needs an EFI program");
    refused(&[("/loader/entries/a.conf", b"linux /a\noptions a\x1bb\n")], "control characters");
    refused(&[("/syslinux.cfg", b"INCLUDE x\n")], "goes on");
    let xfs = [b"XFSB".to_vec(), vec![0; 1 << 20]].concat();
    let error = find(&disk(&[(DATA, &xfs)]), Firmware::Bios).unwrap_err().to_string();
    assert!(error.contains("no boot loader's menu"), "{error}");
}

#[test]
fn a_part_that_is_not_there_is_said() {
    let disk = disk(&[(sample::SYSTEM, &sample::fat(&[("/a", b"abc")]))]);
    let copy = |path: &str, range| {
        let part = Part { partition: 1, path: path.to_owned(), range };
        disk.copy(&part, &mut Vec::new())
    };
    assert_eq!(copy("/a", None).unwrap(), 3);
    assert_eq!(copy("/a", Some((1, 2))).unwrap(), 2);
    assert!(copy("/a", Some((1, 3))).is_err());
    assert!(copy("/b", None).is_err());
    assert!(copy("/a/b", None).is_err());
}

#[test]
fn a_chain_of_clusters_that_leads_before_the_first_is_an_error() {
    let mut system =
        sample::fat(&[("/loader/entries/a.conf", b"linux /linux\n"), ("/linux", &[1; 9000])]);
    // An entry of the first FAT: the next cluster is number 1, and there is none before 2 (fatgen103, "FAT data structure").
    system[519] = 16;
    let disk = Disk::open(Memory::new(sample::gpt(&[(sample::SYSTEM, &system)])));
    let start = find(&disk, Firmware::Uefi).unwrap();
    let error = disk.copy(&start.kernel, &mut std::io::sink()).unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
}

/// Runs the whole search on a disk that somebody broke, and says nothing of what it finds.
fn survive(bytes: Vec<u8>) {
    let disk = Disk::open(Memory::new(bytes));
    if let Ok(start) = find(&disk, Firmware::Uefi) {
        disk.copy(&start.kernel, &mut std::io::sink()).ok();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_broken_fat_filesystem_is_an_error_at_worst(
        changes in prop::collection::vec((0_usize..20_000, any::<u8>()), 1..30),
        cut in prop::option::of(1_usize..(1 << 20)),
    ) {
        let mut system = sample::fat(&[
            ("/loader/entries/a.conf", b"linux /linux\n"), ("/linux", &[1; 9000]),
        ]);
        for (place, byte) in changes {
            system[place] = byte;
        }
        system.truncate(cut.unwrap_or(system.len()));
        survive(sample::gpt(&[(sample::SYSTEM, &system)]));
    }

    #[test]
    fn a_broken_ext4_filesystem_is_an_error_at_worst(
        changes in prop::collection::vec((0_usize..400_000, any::<u8>()), 1..60),
    ) {
        let mut root = ext4();
        for (place, byte) in changes {
            if let Some(found) = root.get_mut(place) {
                *found = byte;
            }
        }
        survive(sample::gpt(&[(DATA, &root)]));
    }
}
