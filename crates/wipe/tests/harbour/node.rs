//! Nodes as their makers leave them: a line per file, `+` for what goes and `-` for what stays.
//!
//! The paths are those of the projects' own documents and sources: Kubernetes ("Local files and paths used by the
//! kubelet"), kubeadm, containerd (docs/ops.md), CRI-O (crio.8), docker, k3s, RKE2, `MicroK8s`, k0s and Talos
//! (pkg/machinery/constants).

use std::{collections::BTreeMap, fs, path::Path};

use wipe::harbour::{
    List, Mode,
    list::{HOMES, KEPT},
};

use crate::{
    tree::{files, folders, harbour, put, walk},
    watch::Patience,
};

/// Debian with kubeadm and containerd.
const KUBEADM: &str = "
- /etc/os-release
- /etc/fstab
- /etc/kubernetes/admin.conf
- /etc/kubernetes/manifests/etcd.yaml
- /etc/kubernetes/pki/ca.key
- /etc/kubernetes/pki/etcd/ca.key
- /etc/cni/net.d/10-calico.conflist
- /etc/containerd/config.toml
- /opt/cni/bin/host-local
- /opt/local-path-provisioner/pvc-1/data
- /home/ann/notes.1
- /root/.kube/config
- /srv/www/index.html
- /mnt/disks/ssd1/data
- /data/pv1/file
- /usr/bin/kubelet
- /boot/vmlinuz-6.12.old
+ /tmp/a
+ /tmp/.hidden
+ /tmp/.X11-unix/X0
+ /tmp/systemd-private-1-ntp.service-x/tmp/f
+ /tmp/dir/with/more/files
- /tmp/hostpath-provisioner/default/claim/data
- /tmp/hostpath_pv/1/data
- /tmp/kafka-logs/topic-0/00000000000000000000.log
- /tmp/zookeeper/version-2/log.1
- /tmp/hadoop-root/dfs/data/current/VERSION
- /var/log/journal/remote/remote-a@0123456789abcdef0123456789abcdef-0000000000000001-0005f1e2d3c4b5a6.journal
- /tmp/lost+found/#12
- /tmp/aquota.user
+ /var/tmp/container_images_storage1/blob
- /var/tmp/lost+found/#1
+ /run/stale.pid
+ /run/containerd/io.containerd.runtime.v2.task/k8s.io/1/config.json
- /var/cache/apt/archives/curl.deb
- /var/crash/linux-image.crash
- /var/backups/dpkg.status.1.gz
- /var/mail/root
- /var/spool/cron/crontabs/root
- /var/www/html/index.1
- /var/local/things
+ /var/lib/systemd/coredump/core.sh.0.abc.1.zst
- /var/lib/systemd/coredump/README
- /var/lib/systemd/random-seed
- /var/lib/cloud/instance/user-data.txt
- /var/lib/mysql/ibdata1
- /var/lib/postgresql/17/main/PG_VERSION
- /var/log/syslog
+ /var/log/syslog.1
+ /var/log/syslog.2.gz
+ /var/log/dmesg.0
+ /var/log/apt/history.log.1.gz
- /var/log/apt/history.log
+ /var/log/nginx/access.log-20260131.gz
- /var/log/mysql/mysql-bin.000001
- /var/log/mysql/mysql-bin.index
- /var/log/wtmp
+ /var/log/wtmp.1
- /var/log/audit/audit.log
- /var/log/audit/audit.log.1
- /var/log/kubernetes/audit/audit.log.1
- /var/log/installer/syslog.1
- /var/log/installer/initial-status.gz
- /var/log/journal/0123456789abcdef0123456789abcdef/system.journal
- /var/log/journal/0123456789abcdef0123456789abcdef/user-1000.journal
+ /var/log/journal/0123456789abcdef0123456789abcdef/system@0123456789abcdef0123456789abcdef-0000000000000001-0005f1e2d3c4b5a6.journal
+ /var/log/journal/0123456789abcdef0123456789abcdef/system@0005f1e2d3c4b5a6-0a1b2c3d4e5f6071.journal~
+ /var/log/pods/kube-system_etcd-a_1/etcd/0.log
+ /var/log/pods/kube-system_etcd-a_1/etcd/0.log.20260131-010203.gz
+ /var/log/containers/etcd-a_kube-system_etcd-1.log
+ /var/lib/dockershim/sandbox/1
- /var/lib/etcd/member/snap/db
- /var/lib/etcd/member/wal/0.wal
- /var/lib/kubelet/config.yaml
- /var/lib/kubelet/kubeadm-flags.env
- /var/lib/kubelet/instance-config.yaml
- /var/lib/kubelet/pki/kubelet-client-current.pem
- /var/lib/kubelet/seccomp/profile.json
- /var/lib/kubelet/checkpoints/checkpoint-pod.tar
+ /var/lib/kubelet/cpu_manager_state
+ /var/lib/kubelet/memory_manager_state
+ /var/lib/kubelet/dra_manager_state
+ /var/lib/kubelet/allocated_pods_state
+ /var/lib/kubelet/actuated_pods_state
+ /var/lib/kubelet/device-plugins/kubelet.sock
+ /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
- /var/lib/kubelet/device-plugins/DEPRECATION
+ /var/lib/kubelet/plugins_registry/ebs.csi.aws.com-reg.sock
+ /var/lib/kubelet/pod-resources/kubelet.sock
- /var/lib/kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com/1/globalmount/data
- /var/lib/kubelet/plugins/ebs.csi.aws.com/csi.sock
+ /var/lib/kubelet/pods/1-2/etc-hosts
+ /var/lib/kubelet/pods/1-2/containers/etcd/0abc
- /var/lib/kubelet/pods/1-2/volumes/kubernetes.io~empty-dir/scratch/file
- /var/lib/kubelet/pods/1-2/volumes/kubernetes.io~local-volume/pv/data
- /var/lib/kubelet/pods/1-2/volumes/kubernetes.io~projected/token/token
- /var/lib/kubelet/pods/1-2/volume-subpaths/pv/etcd/0/data
- /var/lib/kubelet/pods/1-2/volumeDevices/kubernetes.io~local-volume/pv
- /var/lib/kubelet/pods/1-2/plugins/kubernetes.io~empty-dir/scratch/ready
- /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/00
+ /var/lib/containerd/io.containerd.content.v1.content/ingest/1/data
+ /var/lib/containerd/io.containerd.content.v1.content/ingest/1/ref
- /var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db
- /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/metadata.db
- /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/etc/passwd
- /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/9/fs/data/written
- /var/lib/containerd/io.containerd.grpc.v1.cri/containers/1/status
- /var/lib/containerd/io.containerd.grpc.v1.cri/containers/1/volumes/2/data
- /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/1/hostname
+ /var/lib/containerd/io.containerd.runtime.v2.task/k8s.io/1/log
+ /var/lib/containerd/tmpmounts/containerd-mount1/left
- /var/lib/calico/nodename
+ /var/lib/cni/networks/cbr0/10.244.0.2
+ /var/lib/cni/networks/cbr0/last_reserved_ip.0
+ /var/lib/cni/results/cbr0-1-eth0
+ /var/lib/cni/cache/results/cbr0-1-eth0
+ /var/lib/cni/multus/1
- /var/lib/cni/bin/bridge
- /var/lib/longhorn/replicas/pvc-1/volume.img
- /var/lib/rook/mon-a/data/store.db
- /var/openebs/local/pvc-1/data
";

/// Ubuntu with k3s, and beside it what RKE2, k0s and `MicroK8s` leave.
const K3S: &str = "
- /etc/os-release
- /etc/rancher/k3s/k3s.yaml
- /etc/rancher/node/password
- /var/lib/rancher/k3s/server/db/state.db
- /var/lib/rancher/k3s/server/db/etcd/member/snap/db
- /var/lib/rancher/k3s/server/db/snapshots/on-demand-1
- /var/lib/rancher/k3s/server/tls/server-ca.key
- /var/lib/rancher/k3s/server/token
- /var/lib/rancher/k3s/server/manifests/traefik.yaml
- /var/lib/rancher/k3s/storage/pvc-1_default_claim/data
- /var/lib/rancher/k3s/storage/pvc-1_default_claim/tmp/x.1
- /var/lib/rancher/k3s/data/abc/bin/k3s
- /var/lib/rancher/k3s/agent/client-kubelet.key
- /var/lib/rancher/k3s/agent/images/airgap.tar.zst
- /var/lib/rancher/k3s/agent/pod-manifests/static.yaml
- /var/lib/rancher/k3s/agent/etc/containerd/config.toml
- /var/lib/rancher/k3s/agent/containerd/containerd.log
+ /var/lib/rancher/k3s/agent/containerd/containerd-2026-01-31T01-02-03.456.log
+ /var/lib/rancher/k3s/agent/containerd/containerd-2026-01-30T01-02-03.456.log.gz
- /var/lib/rancher/k3s/agent/containerd/io.containerd.content.v1.content/blobs/sha256/00
+ /var/lib/rancher/k3s/agent/containerd/io.containerd.content.v1.content/ingest/1/data
- /var/lib/rancher/k3s/agent/containerd/io.containerd.metadata.v1.bolt/meta.db
- /var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/a
- /var/lib/rancher/k3s/agent/containerd/io.containerd.grpc.v1.cri/containers/1/volumes/2/data
+ /var/lib/rancher/k3s/agent/containerd/io.containerd.runtime.v2.task/k8s.io/1/x
+ /var/lib/rancher/k3s/agent/containerd/tmpmounts/containerd-mount2/x
- /var/lib/kubelet/pods/1/volumes/kubernetes.io~local-volume/pvc-1/data
+ /var/lib/kubelet/pods/1/containers/app/1
+ /var/lib/kubelet/cpu_manager_state
+ /var/lib/cni/networks/cbr0/10.42.0.2
+ /var/log/pods/default_app_1/app/0.log
+ /tmp/k3s-install
- /var/lib/rancher/rke2/server/db/etcd/member/snap/db
- /var/lib/rancher/rke2/agent/logs/kubelet.log
+ /var/lib/rancher/rke2/agent/logs/kubelet-2026-01-31T01-02-03.456.log.gz
+ /var/lib/rancher/rke2/agent/containerd/io.containerd.content.v1.content/ingest/1/data
- /var/lib/k0s/etcd/member/snap/db
- /var/lib/k0s/db/state.db
- /var/lib/k0s/pki/ca.key
- /var/lib/k0s/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v/data
+ /var/lib/k0s/kubelet/pods/1/etc-hosts
+ /var/lib/k0s/containerd/tmpmounts/1/x
- /var/snap/microk8s/common/default-storage/default-claim-pvc-1/data
- /var/snap/microk8s/current/var/kubernetes/backend/snapshot-1
- /var/snap/microk8s/common/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v/data
+ /var/snap/microk8s/common/var/lib/kubelet/pods/1/containers/c/1
+ /var/snap/microk8s/common/var/lib/containerd/io.containerd.content.v1.content/ingest/1/data
- /var/snap/microk8s/common/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db
";

/// Fedora with CRI-O, Podman and docker.
const CRIO: &str = "
- /etc/crio/crio.conf
- /var/lib/crio/version
- /var/lib/crio/clean.shutdown
+ /var/log/crio/pods/1/0.log
- /var/log/crio/crio.log
- /var/lib/containers/storage/overlay/1/diff/etc/passwd
- /var/lib/containers/storage/overlay-images/images.json
- /var/lib/containers/storage/overlay-containers/1/userdata/config.json
- /var/lib/containers/storage/volumes/db/_data/table.1
- /var/lib/containers/cache/blob-info-cache-v1.sqlite
- /var/lib/docker/volumes/db/_data/table
- /var/lib/docker/volumes/db/_data/syslog.1
- /var/lib/docker/volumes/metadata.db
- /var/lib/docker/overlay2/1/diff/tmp/x
- /var/lib/docker/image/overlay2/repositories.json
- /var/lib/docker/buildkit/cache.db
- /var/lib/docker/swarm/state.json
- /var/lib/docker/containers/1/config.v2.json
- /var/lib/docker/containers/1/1-json.log
+ /var/lib/docker/containers/1/1-json.log.1
+ /var/lib/docker/containers/1/1-json.log.2.gz
+ /var/lib/docker/tmp/GetImageBlob1
+ /var/log/messages-20260131
+ /var/log/pods/a/b/0.log
";

/// Talos' EPHEMERAL partition: mounted at /var.
const TALOS: &str = "
- /lib/etcd/member/snap/db
- /lib/kubelet/pki/kubelet-client-current.pem
+ /lib/kubelet/pods/1/containers/kube-apiserver/1
- /lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v/data
- /lib/containerd/io.containerd.content.v1.content/blobs/sha256/00
+ /lib/containerd/io.containerd.content.v1.content/ingest/1/data
+ /lib/cni/networks/cbr0/10.244.0.2
- /mnt/local-path-provisioner/pvc-1/data
- /mnt/u-storage/tmp/data.1
- /local-path-provisioner/pvc-1/data
- /openebs/local/pvc-1/data
- /system/overlays/etc-cni-diff/net.d/10-flannel.conflist
- /system/overlays/etc-kubernetes-diff/bootstrap-kubeconfig
- /log/audit/kube/kube-apiserver.log.1
+ /log/pods/kube-system_kube-apiserver-a_1/kube-apiserver/0.log
+ /log/containers/kube-apiserver.log
- /log/machined.log
- /log/kubelet.log
+ /log/kubelet.log.1
+ /tmp/x/y
- /tmp/lost+found/x
- /var/tmp/not-this
- /home/x
";

fn make(root: &Path, lines: &str) -> (Vec<String>, Vec<String>) {
    let (mut goes, mut stays) = (Vec::new(), Vec::new());
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let (mark, path) = line.split_once(' ').expect("a mark and a path");
        put(root, path);
        if mark == "+" { goes.push(path.to_owned()) } else { stays.push(path.to_owned()) }
    }
    (goes, stays)
}

fn check(lines: &str, at: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let (goes, stays) = make(root, lines);
    let before = files(root);
    assert_eq!(before.len(), goes.len() + stays.len(), "a path stands there twice");
    let (cleaned, _) = harbour(root, at);
    let mut expected = before;
    expected.retain(|path, _| stays.contains(path));
    assert_eq!(files(root), expected, "{lines}");
    let total = cleaned.total();
    assert_eq!(total.files, u64::try_from(goes.len()).expect("a few"));
    assert!(total.bytes > 0 && cleaned.stopped.is_none());
    // The directories that the rules name are still there.
    for rule in ["/tmp", "/var/tmp", "/var/log/pods", "/var/lib/cni/networks"] {
        let Some(rule) =
            rule.strip_prefix(at.trim_end_matches('/')).filter(|rule| !rule.is_empty())
        else {
            continue;
        };
        let had = goes.iter().any(|path| path.starts_with(&format!("{rule}/")));
        assert!(!had || folders(root).contains(rule), "{rule}");
    }
}

#[test]
fn a_kubeadm_node_loses_what_is_ephemeral_and_keeps_every_other_byte() {
    check(KUBEADM, "/");
}

#[test]
fn a_k3s_node_loses_what_is_ephemeral_and_keeps_every_other_byte() {
    check(K3S, "/");
}

#[test]
fn a_node_with_crio_and_docker_loses_what_is_ephemeral_and_keeps_every_other_byte() {
    check(CRIO, "/");
}

#[test]
fn talos_ephemeral_partition_is_var_and_keeps_every_other_byte() {
    check(TALOS, "/var");
}

#[test]
fn partitions_of_their_own_are_cleaned_by_what_they_are_mounted_as() {
    check("+ /a\n+ /b/c\n- /lost+found/x\n- /hostpath_pv/1", "/tmp");
    check("+ /syslog.1\n- /syslog\n+ /pods/a/0.log\n- /audit/audit.log.1", "/var/log");
    check("+ /pods/1/etc-hosts\n- /pods/1/volumes/a/b\n- /pki/a", "/var/lib/kubelet");
}

#[test]
fn nothing_is_removed_of_what_holds_user_data_wherever_it_is_mounted() {
    let directory = tempfile::tempdir().expect("a directory");
    for line in (KUBEADM.to_owned() + K3S + CRIO + TALOS).lines().filter(|line| !line.is_empty()) {
        put(directory.path(), line.split_once(' ').expect("a path").1);
    }
    let before = files(directory.path());
    for at in [
        "/home",
        "/var/lib/etcd",
        "/var/lib/docker/volumes",
        "/var/lib/rancher/k3s/storage",
        "/var/lib/rancher/k3s/server/db",
        "/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v",
        "/var/lib/longhorn",
        "/var/mnt/u-data",
        "/opt",
        "/tmp/of-mine",
        "/var/log/audit",
        "/nowhere",
    ] {
        let (list, watch) = (List::default(), Patience::endless());
        let (cleaned, removed) = walk(directory.path(), at, &list, Mode::Remove, &watch);
        assert!(removed.is_empty() && cleaned.removed.is_empty(), "{at}: {removed:?}");
    }
    assert_eq!(files(directory.path()), before);
}

#[test]
fn whatever_lies_below_what_is_kept_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    for kept in KEPT {
        let home = HOMES.iter().find(|(home, _)| kept.path.starts_with(home));
        let (home, places) = home.map_or(("", &[""][..]), |(home, places)| (*home, *places));
        for place in places {
            let path = format!("{place}{}", kept.path.replace(home, "")).replace('*', "any");
            // As each rule could want it.
            for name in [
                "x",
                "syslog.1",
                "x.sock",
                "core.1",
                "etc-hosts",
                "cpu_manager_state",
                "x-json.log.1",
                "x@1.journal~",
                "x-2026-01-31T01-02-03.456.log",
                "tmp/x",
                "deep/er/messages-20260131",
            ] {
                put(directory.path(), &format!("{path}/{name}"));
            }
        }
    }
    let before = files(directory.path());
    assert!(before.len() > 800, "{}", before.len());
    let (cleaned, removed) = harbour(directory.path(), "/");
    assert!(removed.is_empty() && cleaned.removed.is_empty(), "{removed:?}");
    assert_eq!(files(directory.path()), before);
}

#[test]
fn the_report_says_how_much_of_what_by_rule() {
    let directory = tempfile::tempdir().expect("a directory");
    make(directory.path(), KUBEADM);
    fs::write(directory.path().join("tmp/big"), vec![1; 1 << 20]).expect("a file");
    let (cleaned, _) = harbour(directory.path(), "/");
    let by_rule: BTreeMap<_, _> =
        cleaned.by_rule().map(|(rule, count)| (rule.path, count)).collect();
    let tmp = by_rule["/tmp"];
    assert_eq!((tmp.files, tmp.folders, tmp.others), (6, 6, 0));
    assert!((1 << 20..2 << 20).contains(&tmp.bytes), "{tmp:?}");
    assert_eq!(by_rule["{kubelet}"].files, 5);
    let left: Vec<_> = cleaned.left.iter().map(|left| left.path.as_str()).collect();
    assert!(left.contains(&"/tmp/hostpath-provisioner"), "{left:?}");
    assert_eq!(cleaned.left_count, 9, "{left:?}");
}
