//! Entries of the Boot Loader Specification, type 1: small text files in `loader/entries`.

use std::cmp::Ordering;

use crate::version;

/// An entry that can be started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// The file's name without what counts attempts and without `.conf`.
    pub(crate) name: String,
    pub(crate) sort_key: Option<String>,
    pub(crate) machine: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) linux: Option<String>,
    pub(crate) initrds: Vec<String>,
    pub(crate) options: String,
    /// It was tried as often as it may be, and never worked.
    pub(crate) is_bad: bool,
    /// What it needs that cannot be given here.
    pub(crate) needs: Option<&'static str>,
}

/// The name of this architecture in entries. Boot Loader Specification, `architecture`.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "aa64" } else { "x64" };

impl Entry {
    /// Reads an entry. Nothing where the file's name says that it is none, or it is for another architecture.
    pub(crate) fn parse(file: &str, text: &str) -> Option<Self> {
        let (name, is_bad) = count(strip_suffix(file, ".conf")?);
        let mut entry = Self { name: name.to_owned(), is_bad, ..Self::default() };
        let mut options: Vec<&str> = Vec::new();
        for (key, value) in lines(text) {
            match key {
                "sort-key" => entry.sort_key = Some(value.to_owned()),
                "machine-id" => entry.machine = Some(value.to_owned()),
                "version" => entry.version = Some(value.to_owned()),
                "linux" => entry.linux = Some(value.to_owned()),
                // GRUB's own reader takes several on one line.
                "initrd" => entry.initrds.extend(value.split_whitespace().map(str::to_owned)),
                "options" => options.push(value),
                "efi" | "uki" => entry.needs = Some("an EFI program"),
                "devicetree" | "devicetree-overlay" => entry.needs = Some("a device tree"),
                "architecture" if !value.eq_ignore_ascii_case(ARCHITECTURE) => return None,
                _ => {}
            }
        }
        entry.options = options.join(" ");
        Some(entry)
    }

    /// Says which of two entries stands above the other in a menu: `Less` is above.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let keys = match (&self.sort_key, &other.sort_key) {
            (Some(one), Some(two)) => one
                .cmp(two)
                .then_with(|| self.machine.cmp(&other.machine))
                .then_with(|| newer(self.version.as_deref(), other.version.as_deref())),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        let names = || version::compare(&other.name, &self.name);
        self.is_bad.cmp(&other.is_bad).then(keys).then_with(names)
    }
}

fn newer(one: Option<&str>, other: Option<&str>) -> Ordering {
    version::compare(other.unwrap_or_default(), one.unwrap_or_default())
}

/// Returns the pattern of the default entry in `loader.conf`.
pub(crate) fn default(text: &str) -> Option<&str> {
    let found = lines(text).filter(|(key, _)| *key == "default").last()?.1;
    // Saved choices of people are kept in EFI variables, and a system that was just installed has none.
    (!found.starts_with('@')).then_some(found)
}

/// Holds when a name matches a pattern with `*` and `?`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), name.to_lowercase().chars().collect());
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(found) if *found == '?' || *found == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    at = back + 1;
                    in_name = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// Cuts off a file name's end, whatever its case: FAT has none.
pub(crate) fn strip_suffix<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    let (start, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(start)
}

/// Cuts off `+LEFT` or `+LEFT-DONE`, and says whether no attempt is left.
pub(crate) fn count(name: &str) -> (&str, bool) {
    let Some((start, counter)) = name.rsplit_once('+') else { return (name, false) };
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    match (left.parse::<u32>(), done.parse::<u32>()) {
        (Ok(left), Ok(_)) => (start, left == 0),
        _ => (name, false),
    }
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key, value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `bootctl install` and `kernel-install` write it on Debian 13.
    const DEBIAN: &str = "# Boot Loader Specification type#1 entry\n\
        # File created by /usr/lib/kernel/install.d/90-loaderentry.install (systemd 257.8-1~deb13u2)\n\
        title      Debian GNU/Linux 13 (trixie)\n\
        version    6.12.48+deb13-amd64\n\
        machine-id 4a7d6a3fe7a94ef9a8c5b8c2fe1d5c55\n\
        sort-key   debian\n\
        options    root=UUID=2c8b0a3e-7f2f-4b58-9d2c-6f2f4c9f7f11 ro quiet systemd.machine_id=4a7d6a3fe7a94ef9a8c5b8c2fe1d5c55\n\
        linux      /4a7d6a3fe7a94ef9a8c5b8c2fe1d5c55/6.12.48+deb13-amd64/linux\n\
        initrd     /4a7d6a3fe7a94ef9a8c5b8c2fe1d5c55/6.12.48+deb13-amd64/initrd.img-6.12.48+deb13-amd64\n";

    /// As Arch's manual has it.
    const ARCH: &str = "title   Arch Linux\nlinux   /vmlinuz-linux\ninitrd  /intel-ucode.img\n\
        initrd  /initramfs-linux.img\noptions root=UUID=aa rw\noptions quiet\n";

    /// As Fedora's `kernel-install` writes it for GRUB.
    const FEDORA: &str = "title Fedora Linux (6.11.4-301.fc41.x86_64) 41 (Cloud Edition)\n\
        version 6.11.4-301.fc41.x86_64\nlinux /vmlinuz-6.11.4-301.fc41.x86_64\n\
        initrd /initramfs-6.11.4-301.fc41.x86_64.img $tuned_initrd\n\
        options root=UUID=bb ro rootflags=subvol=root $kernelopts\ngrub_users $grub_users\n\
        grub_arg --unrestricted\ngrub_class fedora\n";

    #[test]
    fn a_debian_entry_is_read() {
        let entry = Entry::parse("4a7d-6.12.48+deb13-amd64.conf", DEBIAN).unwrap();
        assert_eq!(entry.name, "4a7d-6.12.48+deb13-amd64");
        assert_eq!(entry.sort_key.as_deref(), Some("debian"));
        assert!(entry.linux.unwrap().ends_with("/6.12.48+deb13-amd64/linux"));
        assert_eq!(entry.initrds.len(), 1);
        assert!(entry.options.starts_with("root=UUID=2c8b") && !entry.is_bad);
    }

    #[test]
    fn several_lines_of_one_key_are_joined() {
        let entry = Entry::parse("arch.conf", ARCH).unwrap();
        assert_eq!(entry.initrds, ["/intel-ucode.img", "/initramfs-linux.img"]);
        assert_eq!(entry.options, "root=UUID=aa rw quiet");
        let entry = Entry::parse("x-6.11.4-301.fc41.x86_64.conf", FEDORA).unwrap();
        assert_eq!(entry.initrds[1], "$tuned_initrd");
    }

    #[test]
    fn what_is_for_others_is_passed_over() {
        assert_eq!(Entry::parse("a.txt", ARCH), None);
        assert_eq!(Entry::parse("a.conf", "architecture ia32\nlinux /a\n"), None);
        assert!(Entry::parse("a.conf", "efi /shell.efi\n").unwrap().needs.is_some());
    }

    #[test]
    fn attempts_are_counted_in_the_name() {
        assert_eq!(count("debian+3"), ("debian", false));
        assert_eq!(count("debian+0-3"), ("debian", true));
        assert_eq!(count("6.12.48+deb13-amd64"), ("6.12.48+deb13-amd64", false));
    }

    fn order(entries: &[(&str, &str)]) -> Vec<String> {
        let mut entries: Vec<Entry> =
            entries.iter().map(|(file, text)| Entry::parse(file, text).unwrap()).collect();
        entries.sort_by(Entry::compare);
        entries.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn newer_entries_stand_above_older_ones_and_bad_ones_last() {
        let found = order(&[
            ("z-6.9.conf", ""),
            ("z-6.10.conf", ""),
            ("k1.conf", "sort-key debian\nversion 6.9\n"),
            ("k2.conf", "sort-key debian\nversion 6.10\n"),
            ("k3+0-3.conf", "sort-key debian\nversion 6.11\n"),
        ]);
        assert_eq!(found, ["k2", "k1", "z-6.10", "z-6.9", "k3"]);
    }

    #[test]
    fn the_default_is_a_pattern() {
        assert_eq!(default("timeout 3\n#default a\ndefault arch-*\n"), Some("arch-*"));
        assert_eq!(default("default @saved\n"), None);
        for (pattern, name) in
            [("*", ""), ("arch*", "Arch.conf"), ("a?c", "abc"), ("*-a*b", "x-a-b-b"), ("", "")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", ""), ("?", ""), ("a*c", "ab"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_or_changed_entry_is_no_reason_to_panic(cut in 0_usize..600, place in 0_usize..600, byte: u8) {
            for text in [DEBIAN, ARCH, FEDORA] {
                let mut bytes = text.as_bytes()[..cut.min(text.len())].to_vec();
                if let Some(found) = bytes.get_mut(place) {
                    *found = byte;
                }
                Entry::parse("a.conf", &String::from_utf8_lossy(&bytes));
            }
        }

        #[test]
        fn any_order_is_a_whole_one(names in prop::collection::vec("[a-c0-3.+~-]{0,8}", 0..12)) {
            let files: Vec<String> = names.iter().map(|name| format!("{name}.conf")).collect();
            let mut entries: Vec<Entry> =
                files.iter().filter_map(|file| Entry::parse(file, "")).collect();
            entries.sort_by(Entry::compare);
        }

        #[test]
        fn a_pattern_of_stars_ends(pattern in "[*a]{0,40}", name in "a{0,40}") {
            matches(&pattern, &name);
        }
    }
}
