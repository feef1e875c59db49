//! Looking for a server where real peers have one: Debian's zeroconf, which announces it, and dnsmasq, whose domain has
//! records of it.
//!
//! Needs root, and what stands in `TOOLS`. Where they are not it says so, and fails where `CI=true`.
#![expect(clippy::disallowed_methods, reason = "the peers are programs, and are waited for")]
#![expect(clippy::print_stderr, reason = "what was skipped")]

use std::{
    env, fs,
    net::Ipv4Addr,
    process::{Child, Command},
    time::{Duration, Instant},
};

use agent::finding::{Offer, Source, dns};

/// Programs and what they read.
const TOOLS: [&str; 5] =
    ["ip", "unshare", "nsenter", "dnsmasq", "/usr/lib/python3/dist-packages/zeroconf"];

const INSIDE: &str = "DRYDOCK_TEST_NETWORK";

/// How long the peers may take to start.
const LIMIT: Duration = Duration::from_secs(20);

/// Announces a server on the interface with the address that is said.
const ANNOUNCER: &str = r#"
import socket, sys, threading
from zeroconf import IPVersion, ServiceInfo, Zeroconf

zeroconf = Zeroconf(interfaces=[sys.argv[1]], ip_version=IPVersion.V4Only)
addresses = [socket.inet_aton(sys.argv[1])]
zeroconf.register_service(ServiceInfo("_drydock._tcp.local.", "harbour._drydock._tcp.local.", 8443, addresses=addresses, server="harbour.local."))
threading.Event().wait()
"#;

/// The host of the peers, and who keeps it.
struct Peers(Vec<Child>);

impl Peers {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0[0].id().to_string(), program]);
        command
    }

    fn start(&mut self, program: &str, words: &[&str]) {
        let child = self.command(program).args(words).spawn().expect("it was just seen");
        self.0.push(child);
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

fn run(command: &mut Command, words: &str) {
    let status = command.args(words.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "{words}");
}

#[test]
fn a_server_is_found_that_zeroconf_announces_and_one_that_dnsmasq_knows() {
    let test = "finding::a_server_is_found_that_zeroconf_announces_and_one_that_dnsmasq_knows";
    if env::var_os(INSIDE).is_some() {
        look();
        return;
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    let is_missing = |tool: &&&str| {
        let mut places = env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
        !places.any(|place| place.join(tool).exists())
    };
    let is_root = nix::unistd::geteuid().is_root();
    if let Some(missing) = TOOLS.iter().find(is_missing).or((!is_root).then_some(&"root")) {
        assert!(env::var_os("CI").is_none_or(|it| it != "true"), "cannot be left out: {missing}");
        eprintln!("{test} skipped: no {missing}");
        return;
    }
    let myself = env::current_exe().expect("a test has a path");
    let mut command = Command::new("unshare");
    command.arg("--net").arg(myself).env(INSIDE, "1");
    run(&mut command, &format!("--exact {test} --nocapture"));
}

fn look() {
    let keeper = Command::new("unshare").args(["--net", "sleep", "600"]).spawn();
    let mut peers = Peers(vec![keeper.expect("unshare was just seen")]);
    let id = peers.0[0].id();
    let own = fs::read_link("/proc/self/ns/net").expect("procfs");
    let start = Instant::now();
    while fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|its| its == own) {
        assert!(start.elapsed() < LIMIT, "waited for a namespace");
        std::thread::sleep(Duration::from_millis(10));
    }
    for words in [
        "link set lo up",
        "link add v0 type veth peer name v1",
        &format!("link set v1 netns {id}"),
        "address add 10.78.0.1/24 dev v0",
        "link set v0 up",
    ] {
        run(&mut Command::new("ip"), words);
    }
    for words in ["link set lo up", "address add 10.78.0.2/24 dev v1", "link set v1 up"] {
        run(&mut peers.command("ip"), words);
    }
    peers.start("/usr/bin/python3", &["-c", ANNOUNCER, "10.78.0.2"]);
    peers.start(
        "dnsmasq",
        &[
            "--no-daemon",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--interface=v1",
            "--bind-interfaces",
            "--local=/lab.example/",
            "--ptr-record=_drydock._tcp.lab.example,harbour._drydock._tcp.lab.example",
            "--srv-host=harbour._drydock._tcp.lab.example,harbour.lab.example,7443",
            "--host-record=harbour.lab.example,10.78.0.3",
        ],
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let expected = [
        Offer { server: "https://10.78.0.3:7443".to_owned(), source: Source::Dns },
        Offer { server: "https://10.78.0.2:8443".to_owned(), source: Source::Multicast },
    ];
    let start = Instant::now();
    loop {
        let server = Ipv4Addr::new(10, 78, 0, 2);
        let found = runtime.block_on(dns::look("v0", Some("lab.example"), &[server]));
        if found == expected {
            break;
        }
        assert!(start.elapsed() < LIMIT, "found {found:?}");
    }
}
