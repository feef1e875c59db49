use std::fs;

use super::*;
use crate::{
    boot::test_context::{self, MAC},
    decision::Boot,
};

const IMAGE: Unified =
    Unified { system: System::Sunshine, architecture: Architecture::X86_64, seal: Seal::Open };
const AT: usize = 0x600;

/// An image of two sections, the second a command line with room for so many bytes, and more behind it.
pub(crate) fn image(room: usize, size: usize) -> Vec<u8> {
    let mut image: Vec<u8> = (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect();
    image[..0x400].fill(0);
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x40;
    image[0x40..0x44].copy_from_slice(b"PE\0\0");
    image[0x46] = 2;
    image[0x54] = 240;
    image[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    let entry = 0x58 + 240;
    image[entry..entry + 5].copy_from_slice(b".text");
    let entry = entry + ENTRY_BYTES;
    image[entry..entry + 8].copy_from_slice(b".cmdline");
    for (at, number) in [(8, room), (16, room.next_multiple_of(512)), (20, AT)] {
        let number = u32::try_from(number).unwrap().to_le_bytes();
        image[entry + at..entry + at + 4].copy_from_slice(&number);
    }
    image[AT..AT + room].fill(b' ');
    image
}

fn signed(mut image: Vec<u8>) -> Vec<u8> {
    image[0x58 + 112 + 4 * 8 + 4] = 8;
    image
}

/// A server with these bytes as the image; what one machine gets of it.
fn served(bytes: &[u8]) -> Result<(Vec<u8>, String), AssetError> {
    let (context, _told, directory) = test_context::context(Boot::System(System::Sunshine));
    fs::write(directory.path().join(IMAGE.file_name()), bytes).unwrap();
    let opened = context.open(Asset::Unified(IMAGE), None, Some(MAC))?;
    let tag = opened.tag;
    Ok(match opened.content {
        Content::Memory(bytes) => (bytes.to_vec(), tag),
        Content::File(file) => {
            let mut whole = vec![0; usize::try_from(opened.size_bytes).unwrap()];
            // In pieces of odd sizes, as a connection takes them.
            for (number, piece) in whole.chunks_mut(1531).enumerate() {
                let at = u64::try_from(number * 1531).unwrap();
                file.read_exact_at(piece, at).unwrap();
                opened.overlay.as_ref().unwrap().lay(at, piece);
            }
            (whole, tag)
        }
    })
}

#[test]
fn an_open_image_says_to_its_machine_where_the_server_is_and_nothing_else_changes() {
    for size in [100_000, 3_000_000] {
        let image = image(2048, size);
        let (whole, tag) = served(&image).unwrap();
        let line = std::str::from_utf8(&whole[AT..AT + 2048]).unwrap();
        let parsed = CommandLine::parse(line).unwrap();
        assert_eq!(parsed.server.as_deref(), Some("https://10.0.0.1:7443"));
        assert_eq!(parsed.pins, [protocol::Pin([1; 32])]);
        assert_eq!(parsed.port, Some(MAC));
        assert!(line.contains("console=ttyS0,115200n8") && line.ends_with("  "), "{line}");
        assert!(whole[..AT] == image[..AT] && whole[AT + 2048..] == image[AT + 2048..]);
        let plain = hexadecimal(digest::digest(&digest::SHA256, &image).as_ref());
        assert_ne!(tag, plain, "a client could join pieces for two machines");
    }
}

#[test]
fn an_image_that_cannot_be_told_is_an_error_that_says_why() {
    let check = |bytes: &[u8], words: &str| {
        let error = served(bytes).unwrap_err();
        let said = format!("{:#}", anyhow::Error::new(error));
        assert!(said.contains(IMAGE.file_name().as_str()) && said.contains(words), "{said}");
    };
    check(&image(64, 100_000), "room for 64 bytes");
    check(&signed(image(2048, 100_000)), "signed");
    check(b"not a program", "no unified kernel image");
    let mut nameless = image(2048, 100_000);
    nameless[0x58 + 240 + ENTRY_BYTES] = b'x';
    check(&nameless, "no unified kernel image");
    let whole = image(2048, 100_000);
    for length in 0..AT + 2048 {
        let size_bytes = u64::try_from(length).unwrap();
        assert_eq!(place(&whole[..length], size_bytes), Err(UnifiedError::Headers), "{length}");
    }
}

#[test]
fn a_signed_image_is_sent_as_it_is() {
    let (context, _told, directory) = test_context::context(Boot::System(System::Sunshine));
    let image = Unified { seal: Seal::Signed, ..IMAGE };
    let bytes = signed(self::image(2048, 3_000_000));
    fs::write(directory.path().join(image.file_name()), &bytes).unwrap();
    let opened = context.open(Asset::Unified(image), None, Some(MAC)).unwrap();
    assert_eq!(opened.overlay, None);
    assert_eq!(opened.tag, hexadecimal(digest::digest(&digest::SHA256, &bytes).as_ref()));
}

#[test]
fn a_server_does_not_start_without_the_images_that_it_is_to_serve() {
    let (context, _told, directory) = test_context::context(Boot::System(System::Sunshine));
    let check = |boot: HttpBoot| boot.check(&context.assets, &context.settings);
    assert!(check(HttpBoot::Ipxe).is_ok());
    for boot in [HttpBoot::Unified, HttpBoot::Signed] {
        assert!(matches!(check(boot), Err(AssetError::Missing { .. })));
        for system in [System::Sunshine, System::Hercules] {
            let name = boot.image(system, 16).unwrap().file_name();
            fs::write(directory.path().join(name), image(2048, 100_000)).unwrap();
        }
        assert!(check(boot).is_ok());
    }
    let name = HttpBoot::Unified.image(System::Hercules, 16).unwrap().file_name();
    assert_eq!(name, "herculesos-x86_64-all.efi");
    fs::write(directory.path().join(name), image(64, 100_000)).unwrap();
    assert!(matches!(check(HttpBoot::Unified), Err(AssetError::Unfit { .. })));
}

#[test]
fn firmware_gets_the_one_for_its_processors_or_none() {
    let image = |number| HttpBoot::Unified.image(System::Sunshine, number);
    for (numbers, architecture) in
        [([7, 9, 16].as_slice(), Architecture::X86_64), (&[11, 19], Architecture::Aarch64)]
    {
        for number in numbers {
            assert_eq!(image(*number).map(|image| image.architecture), Some(architecture));
        }
    }
    for number in [0, 6, 15, 20] {
        assert_eq!(image(number), None, "{number}");
    }
}
