//! The announcement beside real peers: Debian's zeroconf, as one that speaks multicast DNS and as one that only asks.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use drydock::announce::{Place, name, run};
use protocol::Pin;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

use crate::network::{Host, Network, SERVER, inside, ip, until};

const PIN: Pin = Pin([0xab; 32]);
const SERVICE: &str = "_drydock._tcp.local.";

/// Browses for a service on the interface with the address that is said, and prints what it finds and loses. As one that
/// only asks it has another port than 5353.
const BROWSER: &str = r#"
import sys, threading
from zeroconf import IPVersion, ServiceBrowser, ServiceListener, Zeroconf

class Listener(ServiceListener):
    def add_service(self, zeroconf, kind, name):
        found = zeroconf.get_service_info(kind, name)
        print("found", name, found.server, found.port, found.parsed_addresses(), flush=True)
    def update_service(self, zeroconf, kind, name):
        pass
    def remove_service(self, zeroconf, kind, name):
        print("lost", name, flush=True)

own, service, port = sys.argv[1:]
zeroconf = Zeroconf(interfaces=[own], ip_version=IPVersion.V4Only, unicast=port != "5353")
browser = ServiceBrowser(zeroconf, service, Listener())
print("ready", flush=True)
threading.Event().wait()
"#;

/// Announces another host of the address that is said, on port 5353 of this host too.
const NEIGHBOUR: &str = r#"
import socket, sys, threading
from zeroconf import IPVersion, ServiceInfo, Zeroconf

zeroconf = Zeroconf(interfaces=[sys.argv[1]], ip_version=IPVersion.V4Only)
addresses = [socket.inet_aton(sys.argv[1])]
zeroconf.register_service(ServiceInfo("_http._tcp.local.", "neighbour._http._tcp.local.", 80, addresses=addresses, server="neighbour.local."))
print("ready", flush=True)
threading.Event().wait()
"#;

/// Our side, on `s0`.
struct Announcer {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Announcer {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (stop, stopped) = oneshot::channel();
        let place = Place { interface: "s0".to_owned(), address: SERVER, port: 7443 };
        let task = runtime.spawn(run(place, PIN, async {
            let _dropped = stopped.await;
        }));
        Self { runtime, stop, task }
    }

    fn stop(self) {
        let Self { runtime, stop, task } = self;
        drop(stop);
        runtime.block_on(task).expect("it ends in order");
    }
}

/// Starts one of the programs above, on a host or here, and returns what reads its words.
fn python(
    network: &mut Network,
    host: Option<&Host>,
    text: &str,
    words: &[&str],
) -> impl Fn() -> String + use<> {
    let directory = network.directory.path();
    let number = fs::read_dir(directory).expect("a directory").count();
    let said = directory.join(format!("python-{number}"));
    let mut command = match host {
        Some(host) => host.command("/usr/bin/python3"),
        None => Command::new("/usr/bin/python3"),
    };
    command.args(["-c", text]).args(words);
    network.start_saying(command, &said);
    move || fs::read_to_string(&said).unwrap_or_default()
}

/// A host on the same switch that may speak to groups.
fn peer(network: &mut Network, address: &str) -> Host {
    let host = network.host("p");
    host.run("ip", &format!("address add {address}/24 dev p0"));
    host.run("ip", "route add default dev p0");
    host
}

#[test]
fn real_peers_find_the_server_beside_a_neighbour_and_lose_it_at_its_end() {
    inside(
        "announce::real_peers_find_the_server_beside_a_neighbour_and_lose_it_at_its_end",
        |network| {
            let host = name(PIN);
            assert_eq!(host, "drydock-abababab");
            let (own, address) = (SERVER.to_string(), "10.77.0.20");
            let peer = peer(network, address);
            let mut browses = |service: &str, port: &str| {
                python(network, Some(&peer), BROWSER, &[address, service, port])
            };
            let early = browses(SERVICE, "5353");
            let other = browses("_http._tcp.local.", "5353");
            let neighbour = python(network, None, NEIGHBOUR, &[&own]);
            until("the peers", || early().contains("ready") && neighbour().contains("ready"));

            let announcer = Announcer::start();
            let found = format!("found {host}.{SERVICE} {host}.local. 7443 ['{SERVER}']\n");
            until("who listens", || early().contains(&found));
            let mut browses =
                |port| python(network, Some(&peer), BROWSER, &[address, SERVICE, port]);
            let (late, asks) = (browses("5353"), browses("another"));
            until("who asks all", || late().contains(&found));
            until("who only asks", || asks().contains(&found));
            // On the same port of the same host.
            until("the neighbour", || other().contains("found neighbour."));

            // Another card under the same name.
            ip("link del s0");
            ip("link add s0 type veth peer name s1");
            ip("link set s1 master br0 up");
            ip("link set s0 up");
            ip(&format!("address add {SERVER}/24 dev s0"));
            let asks = browses("another");
            until("the new card", || asks().contains(&found));

            assert!(!early().contains("lost"), "{}", early());
            announcer.stop();
            let lost = format!("lost {host}.{SERVICE}\n");
            until("the farewell", || early().contains(&lost) && late().contains(&lost));
        },
    );
}

#[test]
fn a_port_that_somebody_holds_alone_ends_nothing() {
    inside("announce::a_port_that_somebody_holds_alone_ends_nothing", |_| {
        let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353)).expect("nobody else is here");
        let announcer = Announcer::start();
        let start = Instant::now();
        until("a second", || start.elapsed() > Duration::from_secs(1));
        assert!(!announcer.task.is_finished());
        announcer.stop();
        drop(holder);
    });
}
