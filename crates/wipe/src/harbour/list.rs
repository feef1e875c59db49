//! What `harbour` removes, and what it never enters: data, not code. docs/wiping.md shows the same tables.
//!
//! A path is that of the installed system. `*` stands for one name or a part of one; `{kubelet}` and `{containerd}` for
//! each place where distributions keep them ([`HOMES`]). The directories that a rule names stay; only what is in them
//! goes. What [`KEPT`] names wins over every rule.
//!
//! The runtimes' image stores stay: containerd's content, snapshots and index belong together, and half of them removed
//! is a broken node. A container's writable layer and the volumes of its image are among them, and may hold what
//! somebody wrote.

use super::pattern::fits;

/// A line of the allow-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Where: an absolute path with wildcards.
    pub path: &'static str,
    /// What of it is removed.
    pub takes: Takes,
    /// Whose it is.
    pub owner: &'static str,
    /// What it is, and why nobody misses it.
    pub what: &'static str,
}

/// What of a directory is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Everything in it, at any depth; the directory itself stays.
    Contents,
    /// Files directly in it, by name: regular ones and sockets.
    Files(Names),
    /// Regular files in it at any depth, by name. All directories stay.
    FilesBelow(Names),
}

/// Names of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// These, in which `*` stands for anything.
    Like(&'static [&'static str]),
    /// What logrotate makes of a log: `.1`, `.2.gz`, `-20260131`, `-20260131.xz`, `.old` (logrotate(8), `dateext`).
    Rotated,
    /// What journald no longer writes to: `system@….journal`, `….journal~` (systemd-journald.service(8), "FILES").
    ArchivedJournals,
    /// What the Go programs' own rotation leaves: `kubelet-2026-01-31T01-02-03.456.log`, `.log.gz` (lumberjack).
    Stamped,
}

/// A line of what is never entered nor removed, with everything below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Where: an absolute path with wildcards.
    pub path: &'static str,
    /// What it is.
    pub what: &'static str,
}

/// Where distributions keep what the tables name once.
pub const HOMES: [(&str, &[&str]); 2] = [
    (
        "{kubelet}",
        &["/var/lib/kubelet", "/var/lib/k0s/kubelet", "/var/snap/microk8s/common/var/lib/kubelet"],
    ),
    (
        "{containerd}",
        &[
            "/var/lib/containerd",
            "/var/lib/rancher/k3s/agent/containerd",
            "/var/lib/rancher/rke2/agent/containerd",
            "/var/lib/k0s/containerd",
            "/var/snap/microk8s/common/var/lib/containerd",
        ],
    ),
];

const fn rule(path: &'static str, takes: Takes, owner: &'static str, what: &'static str) -> Rule {
    Rule { path, takes, owner, what }
}

/// The allow-list.
pub const RULES: &[Rule] = &[
    // systemd: tmpfiles.d/tmp.conf ages both; FHS 3.0 §3.18, §5.15 and §3.15.
    rule("/tmp", Takes::Contents, "system", "temporary files, that no restart has to keep"),
    rule(
        "/var/tmp",
        Takes::Contents,
        "system",
        "temporary files, that systemd removes after 30 days",
    ),
    rule(
        "/run",
        Takes::Contents,
        "system",
        "what lay below the tmpfs that every boot mounts there",
    ),
    rule(
        "/var/lib/systemd/coredump",
        Takes::Files(Names::Like(&["core.*"])),
        "systemd",
        "memory of crashed programs, that systemd removes after two weeks",
    ),
    rule(
        "/var/log/journal/*",
        Takes::Files(Names::ArchivedJournals),
        "journald",
        "archived journals; those being written stay",
    ),
    rule(
        "/var/log",
        Takes::FilesBelow(Names::Rotated),
        "logrotate",
        "rotated logs; those being written stay",
    ),
    // Kubernetes: pkg/kubelet/kuberuntime, legacy links and pod logs.
    rule(
        "/var/log/pods",
        Takes::Contents,
        "kubelet",
        "output of containers, removed with their pods",
    ),
    rule("/var/log/containers", Takes::Contents, "kubelet", "links to the output of containers"),
    rule(
        "/var/log/crio/pods",
        Takes::Contents,
        "CRI-O",
        "output of containers, where old releases kept it",
    ),
    // Kubernetes: "Node: local files and paths used by the kubelet".
    rule(
        "{kubelet}",
        Takes::Files(Names::Like(&[
            "cpu_manager_state",
            "memory_manager_state",
            "dra_manager_state",
            "allocated_pods_state",
            "actuated_pods_state",
            "pod_status_manager_state",
        ])),
        "kubelet",
        "which pod had which processors, memory and devices",
    ),
    rule(
        "{kubelet}/device-plugins",
        Takes::Files(Names::Like(&["*.sock", "kubelet_internal_checkpoint"])),
        "kubelet",
        "sockets of device plugins, and which pod had which device",
    ),
    rule(
        "{kubelet}/plugins_registry",
        Takes::Files(Names::Like(&["*.sock"])),
        "kubelet",
        "sockets through which plugins were found",
    ),
    rule(
        "{kubelet}/pod-resources",
        Takes::Files(Names::Like(&["*.sock"])),
        "kubelet",
        "the socket that monitoring asks",
    ),
    rule(
        "{kubelet}/pods/*/containers",
        Takes::Contents,
        "kubelet",
        "last words of containers (termination logs)",
    ),
    rule(
        "{kubelet}/pods/*",
        Takes::Files(Names::Like(&["etc-hosts"])),
        "kubelet",
        "made anew for each start of a pod",
    ),
    // Kubernetes up to 1.23.
    rule("/var/lib/dockershim/sandbox", Takes::Contents, "kubelet", "which pods docker ran"),
    // containerd: plugins/content/local; cmd/containerd/server, `CleanupTempMounts`; runtime/v2, work directories that
    // no task belongs to after a restart.
    rule(
        "{containerd}/io.containerd.content.v1.content/ingest",
        Takes::Contents,
        "containerd",
        "unfinished downloads",
    ),
    rule(
        "{containerd}/tmpmounts",
        Takes::Contents,
        "containerd",
        "places of mounts while images were unpacked",
    ),
    rule(
        "{containerd}/io.containerd.runtime.v2.task/*",
        Takes::Contents,
        "containerd",
        "working directories of tasks that ended with the system",
    ),
    rule(
        "{containerd}",
        Takes::Files(Names::Stamped),
        "k3s, rke2",
        "rotated logs of their containerd",
    ),
    rule(
        "/var/lib/rancher/rke2/agent/logs",
        Takes::Files(Names::Stamped),
        "rke2",
        "rotated logs of its kubelet",
    ),
    rule(
        "/var/lib/docker/tmp",
        Takes::Contents,
        "docker",
        "unfinished downloads and builds' contexts",
    ),
    rule(
        "/var/lib/docker/containers/*",
        Takes::Files(Names::Like(&["*-json.log.*"])),
        "docker",
        "rotated output of containers; that being written stays",
    ),
    // CNI: plugins/ipam/host-local/backend/disk; libcni, `CacheDir`.
    rule("/var/lib/cni/networks", Takes::Contents, "CNI", "addresses of pods that are gone"),
    rule("/var/lib/cni/results", Takes::Contents, "CNI", "what plugins once answered"),
    rule("/var/lib/cni/cache", Takes::Contents, "CNI", "what plugins once answered"),
    rule("/var/lib/cni/multus", Takes::Contents, "CNI", "what Multus asked other plugins for"),
];

const fn kept(path: &'static str, what: &'static str) -> Kept {
    Kept { path, what }
}

/// What is never entered nor removed. Most of it no rule reaches; it is named all the same, so that no later rule can.
pub const KEPT: &[Kept] = &[
    kept("/boot", "what the machine boots"),
    kept("/efi", "what the machine boots"),
    kept("/etc", "settings"),
    kept("/home", "people's files"),
    kept("/root", "people's files"),
    kept("/srv", "what the machine serves"),
    kept("/mnt", "other filesystems"),
    kept("/media", "other filesystems"),
    kept("/opt", "software, and local-path-provisioner's volumes"),
    kept("/usr", "software"),
    kept("/data", "data"),
    kept("/var/local", "local data"),
    kept("/var/mnt", "Talos' user volumes"),
    kept("/var/system", "Talos' overlays of settings"),
    kept("/var/openebs", "OpenEBS' volumes"),
    kept("/var/local-path-provisioner", "volumes"),
    kept("/var/lib/longhorn", "Longhorn's volumes"),
    kept("/var/lib/rook", "Rook's and Ceph's state"),
    kept("/var/lib/ceph", "Ceph's state"),
    kept("/var/lib/csi-hostpath-data", "volumes"),
    kept("/tmp/hostpath-provisioner", "minikube's volumes"),
    kept("/tmp/hostpath_pv", "volumes of Kubernetes' own host path provisioner"),
    kept("/tmp/kafka-logs", "Kafka's data, where nobody chose another place"),
    kept("/tmp/kraft-combined-logs", "Kafka's data, where nobody chose another place"),
    kept("/tmp/zookeeper", "ZooKeeper's data, where nobody chose another place"),
    kept("/tmp/hadoop*", "Hadoop's data, where nobody chose another place"),
    kept("/tmp/hbase*", "HBase's data, where nobody chose another place"),
    kept("/tmp/lost+found", "the filesystem's own"),
    kept("/tmp/aquota.*", "the filesystem's own"),
    kept("/var/tmp/lost+found", "the filesystem's own"),
    kept("/var/tmp/aquota.*", "the filesystem's own"),
    kept("/var/log/lost+found", "the filesystem's own"),
    kept("/var/log/audit", "evidence"),
    kept("/var/log/journal/remote", "journals of other machines"),
    kept("/var/log/kubernetes/audit", "evidence"),
    kept("/var/log/installer", "how the system was installed"),
    kept("/var/lib/etcd", "the cluster's data"),
    kept("{kubelet}/pki", "who the node is"),
    kept("{kubelet}/pods/*/volumes", "volumes of pods, emptyDir among them"),
    kept("{kubelet}/pods/*/volume-subpaths", "volumes of pods"),
    kept("{kubelet}/pods/*/volumeDevices", "volumes of pods"),
    kept("{kubelet}/plugins", "volumes as drivers mount them, and drivers' own state"),
    kept("{kubelet}/checkpoints", "containers that somebody froze"),
    kept("{containerd}/io.containerd.content.v1.content/blobs", "images"),
    kept("{containerd}/io.containerd.metadata.v1.bolt", "the index of images and containers"),
    kept(
        "{containerd}/io.containerd.snapshotter.v1.*",
        "layers of images, and what containers wrote",
    ),
    kept(
        "{containerd}/io.containerd.grpc.v1.cri",
        "containers, and volumes that their images ask for",
    ),
    kept("{containerd}/io.containerd.sandbox.*", "pods"),
    kept("/var/lib/containers/storage", "CRI-O's and Podman's images, containers and volumes"),
    kept("/var/lib/docker/volumes", "volumes"),
    kept("/var/lib/docker/image", "images"),
    kept("/var/lib/docker/overlay2", "layers of images, and what containers wrote"),
    kept("/var/lib/docker/btrfs", "layers of images, and what containers wrote"),
    kept("/var/lib/docker/buildkit", "builds"),
    kept("/var/lib/docker/swarm", "the cluster's data"),
    kept("/var/lib/rancher/k3s/storage", "k3s' local volumes"),
    kept("/var/lib/rancher/k3s/server", "the cluster's data, and its keys"),
    kept("/var/lib/rancher/rke2/server", "the cluster's data, and its keys"),
    kept("/var/lib/k0s/etcd", "the cluster's data"),
    kept("/var/lib/k0s/db", "the cluster's data"),
    kept("/var/lib/k0s/pki", "the cluster's keys"),
    kept("/var/snap/microk8s/common/default-storage", "MicroK8s' volumes"),
    kept("/var/snap/microk8s/*/var/kubernetes", "the cluster's data"),
];

impl Names {
    /// Holds when a file of this name is meant.
    pub fn holds(self, name: &[u8]) -> bool {
        match self {
            Self::Like(patterns) => patterns.iter().any(|pattern| fits(pattern.as_bytes(), name)),
            Self::Rotated => is_rotated(name),
            Self::ArchivedJournals => is_archived_journal(name),
            Self::Stamped => is_stamped(name),
        }
    }

    /// Returns the names for a person.
    pub fn words(self) -> String {
        match self {
            Self::Like(patterns) => {
                patterns.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Rotated => "rotated ones".to_owned(),
            Self::ArchivedJournals => "archived journals".to_owned(),
            Self::Stamped => "`*-TIME.log`, `*-TIME.log.gz`".to_owned(),
        }
    }
}

impl Takes {
    /// Returns what is removed, for a person.
    pub fn words(self) -> String {
        match self {
            Self::Contents => "everything".to_owned(),
            Self::Files(names) => format!("files: {}", names.words()),
            Self::FilesBelow(names) => format!("files at any depth: {}", names.words()),
        }
    }
}

fn without_compression(name: &[u8]) -> &[u8] {
    let ends: [&[u8]; 4] = [b".gz", b".xz", b".zst", b".bz2"];
    ends.iter().find_map(|end| name.strip_suffix(*end)).unwrap_or(name)
}

/// Not a bare `.gz`: not everything that is compressed was rotated. Not six digits: those are databases' own logs.
fn is_rotated(name: &[u8]) -> bool {
    if name.strip_suffix(b".old").is_some_and(|stem| !stem.is_empty()) {
        return true;
    }
    let name = without_compression(name);
    let Some(at) = name.iter().rposition(|byte| !byte.is_ascii_digit()) else { return false };
    let (stem, digits) = (&name[..at], &name[at + 1..]);
    let is_number = match digits {
        [b'0'] => true,
        [b'1'..=b'9', more @ ..] => more.len() < 3,
        _ => false,
    };
    !stem.is_empty()
        && match name[at] {
            b'.' => is_number,
            b'-' => is_date(digits),
            _ => false,
        }
}

/// `YYYYMMDD`, also with two digits of the hour, of this century.
fn is_date(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| {
        digits.get(range).and_then(|two| std::str::from_utf8(two).ok()?.parse::<u8>().ok())
    };
    let hour = match digits.len() {
        8 => Some(0),
        10 => number(8..10),
        _ => return false,
    };
    digits.starts_with(b"20")
        && number(4..6).is_some_and(|month| (1..=12).contains(&month))
        && number(6..8).is_some_and(|day| (1..=31).contains(&day))
        && hour.is_some_and(|hour| hour < 24)
}

/// `NAME@ID-SEQUENCE-TIME.journal`, in hexadecimal digits of 32, 16 and 16; `….journal~` was not closed.
fn is_archived_journal(name: &[u8]) -> bool {
    if name.strip_suffix(b".journal~").is_some_and(|stem| !stem.is_empty()) {
        return true;
    }
    let Some(stem) = name.strip_suffix(b".journal") else { return false };
    let Some(at) = stem.iter().position(|byte| *byte == b'@') else { return false };
    let parts: Vec<&[u8]> = stem[at + 1..].split(|byte| *byte == b'-').collect();
    let is_hex =
        |part: &[u8], length| part.len() == length && part.iter().all(u8::is_ascii_hexdigit);
    at > 0
        && matches!(parts.as_slice(), [id, sequence, time]
            if is_hex(id, 32) && is_hex(sequence, 16) && is_hex(time, 16))
}

/// `NAME-YYYY-MM-DDTHH-MM-SS.mmm.log`, also compressed.
fn is_stamped(name: &[u8]) -> bool {
    const STAMP: &[u8] = b"-0000-00-00T00-00-00.000";
    let name = name.strip_suffix(b".gz").unwrap_or(name);
    let Some(stem) = name.strip_suffix(b".log") else { return false };
    let Some(at) = stem.len().checked_sub(STAMP.len()) else { return false };
    at > 0
        && stem[at..].iter().zip(STAMP).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: Names, held: &[&str], others: &[&str]) {
        for name in held {
            assert!(names.holds(name.as_bytes()), "{name}");
        }
        for name in others {
            assert!(!names.holds(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn rotated_logs_are_told_from_those_being_written_and_from_databases() {
        check(
            Names::Rotated,
            &[
                "syslog.1",
                "syslog.2.gz",
                "dmesg.0",
                "kern.log.14.xz",
                "messages-20260131",
                "secure-20260131.zst",
                "cron-2026013123.gz",
                "boot.log.old",
                "app.999.bz2",
            ],
            &[
                "syslog",
                "kern.log",
                ".1",
                ".old",
                "-20260131",
                "1",
                "",
                "mysql-bin.000001",
                "relay.01",
                "initial-status.gz",
                "app.1000",
                "app-19990101",
                "app-20261301",
                "app-20260132",
                "app-2026013124",
                "app-12345678",
                "release-20260131x",
                "lastlog",
                "data.tar.gz",
                "Xorg.0.log",
            ],
        );
    }

    #[test]
    fn journals_being_written_are_not_archived() {
        let id = "0".repeat(32);
        let archived = format!("system@{id}-00000000000a1b2c-0005f1e2d3c4b5a6.journal");
        let no_name = archived.replace("system", "");
        let short = archived.replace("a1b2c-", "a1b2-");
        let damaged = "user-1000@0005f1e2d3c4b5a6-0a1b2c3d4e5f6071.journal~";
        let written = ["system.journal", "user-1000.journal", "fss", "a@b.journal", ".journal~"];
        check(Names::ArchivedJournals, &[&archived, damaged], &written);
        check(Names::ArchivedJournals, &[], &[&no_name, &short]);
    }

    #[test]
    fn only_a_whole_stamp_makes_a_log_an_old_one() {
        check(
            Names::Stamped,
            &["containerd-2026-01-31T01-02-03.456.log", "kubelet-2026-01-31T01-02-03.456.log.gz"],
            &[
                "containerd.log",
                "kubelet.log",
                "-2026-01-31T01-02-03.456.log",
                "x-2026-01-31T01-02-03.log",
                "x-2026-01-31 01-02-03.456.log",
                "x-2026-01-31T01-02-03.456.txt",
            ],
        );
    }

    #[test]
    fn names_are_like_patterns_only_where_they_are() {
        let names = Names::Like(&["*.sock", "etc-hosts", "*-json.log.*"]);
        check(
            names,
            &["kubelet.sock", ".sock", "etc-hosts", "abc-json.log.1", "abc-json.log.2.gz"],
            &["kubelet.sock.bak", "etc-hosts2", "abc-json.log", "-json.lo"],
        );
    }
}
