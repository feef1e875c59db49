//! `/etc/fstab` (fstab(5)): what an installed system mounts where. Read to know where things are, never followed.

use super::system::Candidate;

/// How much of the file is read.
pub(super) const LIMIT_BYTES: u64 = 256 << 10;

/// One line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) what: What,
    /// Where, without a slash at the end; nothing for swap.
    pub(super) at: Option<Vec<u8>>,
    /// `subvol=`, without the slash that it may begin with.
    pub(super) subvolume: Option<String>,
}

/// What is mounted, in the words of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The filesystem's own.
    Uuid(String),
    /// The filesystem's own.
    Label(String),
    /// The partition's.
    PartitionUuid(String),
    /// The partition's.
    PartitionName(String),
    /// A logical volume: `group/volume`.
    Logical(String),
    /// A logical volume by its identity.
    LogicalId(String),
    /// A name that the kernel gave to a device, which says nothing in another boot, or anything else.
    Unknown,
    /// Nothing on a disk: `tmpfs`, `proc`.
    Virtual,
    /// A file or directory of the system itself: bound elsewhere, a swap file, an image.
    Path(Vec<u8>),
}

/// Reads all lines that make sense.
pub(super) fn read(text: &[u8]) -> Vec<Line> {
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Line> {
    let mut fields =
        line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).map(unescaped);
    let (source, at) = (fields.next().filter(|first| first[0] != b'#')?, fields.next()?);
    let (kind, options) = (fields.next()?, fields.next().unwrap_or_default());
    let options = String::from_utf8_lossy(&options).into_owned();
    let subvolume = options.split(',').find_map(|option| option.strip_prefix("subvol="));
    Some(Line {
        what: what(&source, &kind),
        at: at.starts_with(b"/").then(|| without_end(&at)),
        subvolume: subvolume.map(|name| name.trim_matches('/').to_owned()),
    })
}

fn without_end(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte != b'/');
    end.map_or_else(|| b"/".to_vec(), |end| path[..=end].to_vec())
}

/// Spaces and such are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, more)) = rest.split_first() {
        let octal = more
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (byte, after) = octal.map_or((*first, more), |byte| (byte, &more[3..]));
        plain.push(byte);
        rest = after;
    }
    plain
}

fn what(source: &[u8], kind: &[u8]) -> What {
    let text = String::from_utf8_lossy(source);
    let text = text.as_ref();
    let after = |tag: &str, directory: &str| {
        let rest = text.strip_prefix(tag).or_else(|| text.strip_prefix(directory))?;
        Some(rest.trim_matches('"').to_owned())
    };
    if let Some(uuid) = after("UUID=", "/dev/disk/by-uuid/") {
        return What::Uuid(uuid);
    }
    if let Some(label) = after("LABEL=", "/dev/disk/by-label/") {
        return What::Label(label);
    }
    if let Some(uuid) = after("PARTUUID=", "/dev/disk/by-partuuid/") {
        return What::PartitionUuid(uuid);
    }
    if let Some(name) = after("PARTLABEL=", "/dev/disk/by-partlabel/") {
        return What::PartitionName(name);
    }
    if let Some(id) = text.strip_prefix("/dev/disk/by-id/dm-uuid-LVM-") {
        return What::LogicalId(id.to_owned());
    }
    let mapper = ["/dev/mapper/", "/dev/disk/by-id/dm-name-"];
    if let Some(name) = mapper.iter().find_map(|start| text.strip_prefix(start)) {
        return mapped(name).map_or(What::Unknown, What::Logical);
    }
    if let Some(name) = text.strip_prefix("/dev/") {
        let is_pair = name.split('/').count() == 2 && !name.starts_with("disk/");
        return if is_pair { What::Logical(name.to_owned()) } else { What::Unknown };
    }
    if source.starts_with(b"/") {
        return What::Path(without_end(source));
    }
    // `server:/path` and `//server/share` are on no disk of this machine either, but something is mounted there.
    let is_virtual =
        [&b"tmpfs"[..], b"proc", b"sysfs", b"devpts", b"devtmpfs", b"cgroup2", b"none"];
    if is_virtual.contains(&kind) { What::Virtual } else { What::Unknown }
}

/// The device mapper writes `group-volume`, and a hyphen within either as two.
fn mapped(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let is_single = |at: usize| {
        bytes[at] == b'-'
            && bytes.get(at + 1) != Some(&b'-')
            && at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'-')
    };
    let at = (0..bytes.len()).find(|at| is_single(*at))?;
    let (group, volume) = (name.get(..at)?, name.get(at + 1..)?);
    let plain = |part: &str| part.replace("--", "-");
    (!group.is_empty() && !volume.is_empty()).then(|| format!("{}/{}", plain(group), plain(volume)))
}

impl What {
    /// Holds when this names the filesystem.
    pub(super) fn names(&self, candidate: &Candidate) -> bool {
        let same = |one: &Option<String>, other: &str| {
            one.as_deref().is_some_and(|one| one.eq_ignore_ascii_case(other))
        };
        match self {
            Self::Uuid(uuid) => same(&candidate.uuid, uuid),
            Self::Label(label) => candidate.label.as_ref() == Some(label),
            Self::PartitionUuid(uuid) => same(&candidate.partition_uuid, uuid),
            Self::PartitionName(name) => candidate.partition_name.as_ref() == Some(name),
            Self::Logical(name) => candidate.logical.as_ref() == Some(name),
            Self::LogicalId(id) => candidate.logical_id.as_ref() == Some(id),
            Self::Unknown | Self::Virtual | Self::Path(_) => false,
        }
    }

    /// Holds when this says something that is the same in every boot.
    pub(super) fn is_stable(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Virtual | Self::Path(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, what: What, at: Option<&str>, subvolume: Option<&str>) {
        let line = Line {
            what,
            at: at.map(|at| at.as_bytes().to_vec()),
            subvolume: subvolume.map(str::to_owned),
        };
        assert_eq!(read(text.as_bytes()), [line], "{text}");
    }

    #[test]
    fn lines_are_read_as_mount_reads_them() {
        let owned = str::to_owned;
        check("UUID=ab-1 / ext4 errors=remount-ro 0 1", What::Uuid(owned("ab-1")), Some("/"), None);
        check("LABEL=var\t/var/ xfs", What::Label(owned("var")), Some("/var"), None);
        check(
            "PARTUUID=12-02 /boot vfat x",
            What::PartitionUuid(owned("12-02")),
            Some("/boot"),
            None,
        );
        check(
            "/dev/disk/by-partlabel/A\\040B /a\\040b ext4 defaults",
            What::PartitionName(owned("A B")),
            Some("/a b"),
            None,
        );
        check(
            "UUID=1 /home btrfs rw,subvol=/@home,x 0 0",
            What::Uuid(owned("1")),
            Some("/home"),
            Some("@home"),
        );
        check(
            "/dev/mapper/my--vg-var--log /var/log ext4 x",
            What::Logical(owned("my-vg/var-log")),
            Some("/var/log"),
            None,
        );
        check(
            "/dev/disk/by-id/dm-uuid-LVM-ab / ext4 x",
            What::LogicalId(owned("ab")),
            Some("/"),
            None,
        );
        check(
            "/dev/disk/by-id/dm-name-vg-a / ext4 x",
            What::Logical(owned("vg/a")),
            Some("/"),
            None,
        );
        check("/dev/vg/tmp /tmp ext4 x", What::Logical(owned("vg/tmp")), Some("/tmp"), None);
        check("/dev/sda2 /var ext4 x", What::Unknown, Some("/var"), None);
        check("/dev/mapper/luks /var ext4 x", What::Unknown, Some("/var"), None);
        check("tmpfs /tmp tmpfs size=1g", What::Virtual, Some("/tmp"), None);
        check("server:/srv /mnt nfs x", What::Unknown, Some("/mnt"), None);
        check(
            "/data/x /var/lib/docker none bind",
            What::Path(b"/data/x".to_vec()),
            Some("/var/lib/docker"),
            None,
        );
        check(
            "/var/tmp/swapfile none swap sw",
            What::Path(b"/var/tmp/swapfile".to_vec()),
            None,
            None,
        );
        check("UUID=2 none swap sw", What::Uuid(owned("2")), None, None);
    }

    #[test]
    fn comments_and_half_lines_say_nothing_and_no_bytes_panic() {
        for text in ["", "# UUID=1 / ext4 x", "  #x y z", "UUID=1 /", "\\", "\\9 \\08 \\777 \\"] {
            assert!(read(text.as_bytes()).len() <= 1, "{text}");
        }
        assert!(read(b"# a b c\n\n\xff\xfe\nUUID=1").is_empty());
        let text = b"UUID=1 /a\\040b btrfs subvol=@,x\n/dev/mapper/a--b-c- / x y\n/dev/ - - -";
        for end in 0..text.len() {
            read(&text[..end]);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_no_path_ends_in_a_slash(bytes: Vec<u8>, text in "[ \\\\0-9/=#a-z\t-]{0,60}") {
            for line in read(&bytes).into_iter().chain(read(text.as_bytes())) {
                let at = line.at.unwrap_or_else(|| b"/x".to_vec());
                assert!(at.starts_with(b"/") && (at == b"/" || !at.ends_with(b"/")));
            }
        }
    }
}
