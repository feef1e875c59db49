//! Which boot stub an image begins with: only one is taken whose ways with a foreign initramfs are known.
//!
//! A loader can offer an initramfs beside a signed image (`LoadFile2`). systemd's stub of version 257 then refuses to start,
//! which the case `secure_boot_foreign_initrd` shows. As 261's source has it, later ones join both, the foreign one before ours:
//! files of ours replace those of the same name, `/init` too, but what only the foreign one has stays, drivers and firmware
//! for one, and no signature covers it.

use anyhow::{Context as _, ensure};

/// What stands before the version in systemd's stub (`src/boot/stub.c`), and behind it.
const BEFORE: &[u8] = b"#### LoaderInfo: systemd-stub ";
const BEHIND: &[u8] = b" ####";

/// The major versions that were tried.
const TRIED: &[u32] = &[257];

/// Refuses a stub that is none of systemd's, or was not tried.
pub(crate) fn check(stub: &[u8]) -> anyhow::Result<()> {
    let version = version(stub).context("the stub does not say that it is systemd's, and which")?;
    let digits = version.split(|character: char| !character.is_ascii_digit()).next();
    let major = digits.and_then(|digits| digits.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| TRIED.contains(&major)),
        "the stub is systemd-stub {version}, and only {TRIED:?} were tried: what another one does with a foreign initramfs \
         beside a signed image is to be looked at first, by the case secure_boot_foreign_initrd (image/unify/src/stub.rs)"
    );
    Ok(())
}

fn version(stub: &[u8]) -> Option<String> {
    let at = stub.windows(BEFORE.len()).position(|bytes| bytes == BEFORE)? + BEFORE.len();
    let length = stub[at..].windows(BEHIND.len()).take(64).position(|bytes| bytes == BEHIND)?;
    String::from_utf8(stub[at..at + length].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stub(words: &str) -> Vec<u8> {
        [b"MZ\0\x90", words.as_bytes(), b"\0\0\xff"].concat()
    }

    #[test]
    fn a_stub_that_was_tried_is_taken_whatever_its_fixes() {
        for version in ["257", "257.13-1~deb13u1", "257-rc1"] {
            check(&stub(&format!("#### LoaderInfo: systemd-stub {version} ####"))).unwrap();
        }
    }

    #[test]
    fn another_version_is_refused_by_its_name() {
        for version in ["256.9", "258.2-1", "261~rc1", "2570", "", "x"] {
            let words = format!("#### LoaderInfo: systemd-stub {version} ####");
            let refused = check(&stub(&words)).unwrap_err().to_string();
            let expected = format!("the stub is systemd-stub {version}, and only [257]");
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }

    #[test]
    fn what_does_not_say_what_it_is_is_refused() {
        for words in
            ["", "#### LoaderInfo: systemd-boot 257 ####", "#### LoaderInfo: systemd-stub 257"]
        {
            let refused = check(&stub(words)).unwrap_err().to_string();
            assert!(refused.contains("does not say"), "{refused}");
        }
    }
}
