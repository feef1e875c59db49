//! Real requests over loopback: each machine has an address of its own there, and a port that the "kernel" has seen.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use protocol::{
    Announce, BootReport, Bytes, Inventory, Verb,
    install::{Finish, Secret, Step},
    inventory::{Content, Disk, Port},
};
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, sync::oneshot};

use super::*;
use crate::{
    boot::{Limits, serve},
    clock::tests::synchronised,
    journal::What,
    machine::{
        Session, Settings,
        disk_order::tests::installed,
        install::{InstallRefusal, InstallRequest},
    },
    seed::{Format, Seed, tests::KEY},
};

const BASE: &str = "http://10.0.0.1:7480";
const USER_DATA: &str = "#cloud-config\npassword: hidden\n";

fn port(number: u8) -> MacAddress {
    MacAddress([0x3c, 0xec, 0xef, 0, 0, number])
}

/// Where machine `number` asks from.
fn home(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

fn session(number: u8) -> Session {
    Session([number; 32])
}

fn name(number: u8) -> String {
    format!("sn{number:06}x")
}

fn announce(number: u8) -> Announce {
    let mac = Some(port(number));
    let mut inventory = Inventory::default();
    inventory.system.serial = Some(name(number).to_uppercase());
    inventory.ports.push(Port { permanent_mac: mac, ..Port::default() });
    // A dock that everybody plugs in.
    let dock = Some(port(99));
    inventory.ports.push(Port { permanent_mac: dock, removable: true, ..Port::default() });
    inventory.disks.push(Disk {
        serial: Some(format!("S3Z1NB0K{number:06}")),
        size_bytes: Bytes(1 << 30),
        content: Some(Content { blank: true, ..Content::default() }),
        ..Disk::default()
    });
    Announce {
        system: None,
        agent_version: "0.1.0".to_owned(),
        kernel_release: None,
        boot: BootReport { mac, ..BootReport::default() },
        inventory,
        complete: true,
    }
}

fn request(seed: Seed) -> InstallRequest {
    InstallRequest {
        image: "https://images.example/debian.raw".to_owned(),
        mirrors: vec![],
        sha256: None,
        token: None,
        map: None,
        disk: "only".parse().unwrap(),
        overwrite: true,
        within_seconds: 3600,
        steps: vec![],
        seed,
        finish: Finish::Reboot,
        dry_run: false,
    }
}

fn served() -> Seed {
    Seed {
        hostname: Some("db1".to_owned()),
        ssh_keys: vec![KEY.to_owned()],
        user_data: Some(Secret(USER_DATA.to_owned())),
        phone_home: true,
        serve_seconds: Some(3600),
        ..Seed::default()
    }
}

struct Scene {
    address: SocketAddr,
    registry: Registry,
    told: Arc<Mutex<Vec<What>>>,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

async fn scene() -> Scene {
    let told: Arc<Mutex<Vec<What>>> = Arc::default();
    let heard = Arc::clone(&told);
    let settings = Settings { metadata: Some(BASE.to_owned()), ..Settings::default() };
    let tell = Arc::new(move |entry: crate::journal::Entry| heard.lock().unwrap().push(entry.what));
    let registry = Registry::in_memory(settings, tell).unwrap();
    let neighbour = |address: Ipv4Addr| Some(port(address.octets()[3])).filter(|p| p.0[5] != 1);
    let metadata = Metadata::new(registry.clone(), Arc::new(neighbour));
    let others = Router::new().fallback(async || "another's");
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()).into();
    let (stop, stopped) = oneshot::channel();
    let until = async move { drop(stopped.await) };
    let server = tokio::spawn(serve(listener, metadata.before(others), Limits::default(), until));
    Scene { address, registry, told, stop, server }
}

/// Sends bytes from the address of a machine, and reads all that comes.
fn exchange(server: SocketAddr, from: u8, bytes: &[u8]) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((home(from), 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A server that closes early resets the connection: what came before counts.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

impl Scene {
    async fn send(&self, from: u8, request: String) -> (u16, String) {
        let server = self.address;
        let answer =
            tokio::task::spawn_blocking(move || exchange(server, from, request.as_bytes()));
        let answer = answer.await.unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status, body.unwrap_or_default())
    }

    async fn get(&self, from: u8, path: &str) -> (u16, String) {
        self.send(from, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            .await
    }

    async fn post(&self, from: u8, path: &str, body: &str) -> u16 {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        self.send(from, head + body).await.0
    }

    /// A machine stands ready and was told to install; returns the steps and its order.
    async fn ordered(&self, number: u8, seed: Seed) -> (protocol::OrderId, Vec<Step>) {
        let registry = &self.registry;
        let (session, name) = (session(number), name(number));
        let from = IpAddr::V4(home(number));
        let welcome = registry.announce(session, from, &announce(number)).unwrap();
        registry.approve(&name, "uid 0").unwrap();
        let request = request(seed);
        let image = request.foreign().unwrap();
        registry.install(&name, &request, &image, "uid 0", &synchronised()).unwrap();
        let (after, clock) = (welcome.sequence, synchronised());
        let next = registry.wait_for_instruction(session, after, Duration::ZERO, &clock).await;
        let Verb::Install(install) = next.unwrap().unwrap().verb else { panic!("not told") };
        (install.order.id, install.steps)
    }

    fn is_installed(&self, number: u8, id: protocol::OrderId) {
        let mut report = installed(1);
        if let protocol::EventKind::Installed { order, .. } = &mut report {
            *order = id;
        }
        self.registry.agent_says(session(number), &report);
    }

    fn told(&self, wanted: impl Fn(&What) -> bool) -> usize {
        self.told.lock().unwrap().iter().filter(|what| wanted(what)).count()
    }

    async fn stop(self) {
        drop(self.stop);
        self.server.await.unwrap();
        self.registry.close();
    }
}

/// Where an installed system says back, as it stands in its seed.
fn phone_home_path(steps: &[Step]) -> String {
    let [Step::Seed { vendor_data: Some(text), .. }] = steps else { panic!("{steps:?}") };
    let (_, url) = text.0.split_once(BASE).unwrap();
    url.split('"').next().unwrap().to_owned()
}

const PATHS: [&str; 12] = [
    "/nocloud/meta-data",
    "/nocloud/user-data",
    "/nocloud/vendor-data",
    "/latest/",
    "/latest/user-data",
    "/latest/meta-data/",
    "/2009-04-04/user-data",
    "/2009-04-04/meta-data/instance-id",
    "/2009-04-04/meta-data/local-hostname",
    "/2009-04-04/meta-data/local-ipv4",
    "/2009-04-04/meta-data/public-keys/",
    "/2009-04-04/meta-data/public-keys/0/openssh-key",
];

#[tokio::test]
async fn an_installed_system_reads_its_own_and_says_back() {
    let scene = scene().await;
    let (id, steps) = scene.ordered(7, served()).await;
    for path in PATHS {
        assert_eq!(scene.get(7, path).await.0, 404, "before the image is on the disk: {path}");
    }
    scene.is_installed(7, id);
    let get = async |path: &str| {
        let (status, body) = scene.get(7, path).await;
        assert_eq!(status, 200, "{path}");
        body
    };
    let meta_data = get("/nocloud/meta-data").await;
    assert!(meta_data.contains("\"local-hostname\": \"db1\""), "{meta_data}");
    assert_eq!(get("//nocloud/user-data").await, USER_DATA);
    assert!(get("/nocloud/vendor-data").await.contains("phone_home"));
    assert_eq!(scene.get(7, "/nocloud/network-config").await.0, 404, "there is none");
    assert_eq!(get("/latest/user-data").await, USER_DATA);
    assert_eq!(get("/latest/").await, "meta-data/\nuser-data");
    let values = get("/2009-04-04/meta-data/").await;
    assert_eq!(values, "hostname\ninstance-id\nlocal-hostname\nlocal-ipv4\npublic-keys/");
    assert_eq!(get("/2009-04-04/meta-data/hostname").await, "db1");
    assert_eq!(get("/2009-04-04/meta-data/local-ipv4").await, "127.0.0.7");
    assert!(get("/2009-04-04/meta-data/instance-id").await.starts_with("sn000007x-"));
    assert_eq!(get("/2009-04-04/meta-data/public-keys/").await, "0=key-0");
    assert_eq!(get("/2009-04-04/meta-data/public-keys/0/").await, "openssh-key");
    assert_eq!(get("/2009-04-04/meta-data/public-keys/0/openssh-key").await, KEY);
    assert_eq!(scene.get(7, "/2009-04-04/meta-data/public-keys/1/openssh-key").await.0, 404);
    assert_eq!(get("/boot/ipxe.efi").await, "another's");
    let fetched = |what: &What| matches!(what, What::MetadataServed { .. });
    assert_eq!(scene.told(fetched), 4, "each once, also what there was not");

    let path = phone_home_path(&steps);
    let said = "instance_id=sn000007x-1&hostname=db1&fqdn=db1.example.org";
    assert_eq!(scene.post(7, &path, said).await, 200);
    assert_eq!(scene.post(7, &path, "hostname=other").await, 200, "the answer may have been lost");
    let order = scene.registry.show_order(id).unwrap().order;
    let home = order.install().unwrap().phoned_home.clone().unwrap();
    assert_eq!(home.hostname.as_deref(), Some("db1.example.org"));
    assert_eq!(scene.told(|what| matches!(what, What::PhonedHome { .. })), 1);
    let shown =
        format!("{:?}{}", scene.told, serde_json::to_string(&scene.registry.list()).unwrap());
    let token = path.split('/').nth(2).unwrap();
    assert!(!shown.contains("hidden") && !shown.contains(token), "{shown}");
    scene.stop().await;
}

#[tokio::test]
async fn nobody_reads_or_says_what_is_another_machines() {
    let scene = scene().await;
    let (id, steps) = scene.ordered(7, served()).await;
    scene.is_installed(7, id);
    let mine = phone_home_path(&steps);
    // Installed without any of it; approved and not installed; not approved; with a dock; seen behind no port.
    let (other, _) = scene.ordered(8, Seed::default()).await;
    scene.is_installed(8, other);
    scene.ordered(9, served()).await;
    scene.registry.announce(session(10), IpAddr::V4(home(10)), &announce(10)).unwrap();
    for from in [8, 9, 10, 11, 99, 1] {
        for path in PATHS {
            let (status, body) = scene.get(from, path).await;
            assert_eq!((status, body.as_str()), (404, "not found\n"), "{from} {path}");
        }
        assert_eq!(scene.post(from, &mine, "hostname=evil").await, 404, "{from}");
    }
    let guess = format!("/metadata/{}/phone-home", "0".repeat(32));
    assert_eq!(scene.post(7, &guess, "hostname=evil").await, 404);
    assert_eq!(scene.registry.show_order(id).unwrap().order.install().unwrap().phoned_home, None);
    // What a request says of itself changes nothing.
    let forged = "GET /latest/user-data?mac=3c:ec:ef:00:00:07 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.7\r\nForwarded: for=127.0.0.7\r\nConnection: close\r\n\r\n";
    assert_eq!(scene.send(8, forged.to_owned()).await.0, 404);
    scene.registry.note_address(port(7), home(8));
    assert_eq!(scene.get(8, "/latest/user-data").await.0, 404);
    assert_eq!(scene.get(7, "/latest/user-data").await.0, 200);
    scene.stop().await;
}

#[tokio::test]
async fn it_ends_with_the_approval_the_next_order_and_a_port_that_two_show() {
    let scene = scene().await;
    let registry = &scene.registry;
    let ends: [&dyn Fn(u8); 3] = [
        &|number| registry.forget(&name(number), "uid 0").unwrap(),
        &|number| {
            // Another board: it waits for a person again.
            let mut other = announce(number);
            other.inventory.disks[0].serial = Some("S3Z1NB0K999999".to_owned());
            registry.announce(session(number), IpAddr::V4(home(number)), &other).unwrap();
        },
        &|number| {
            let mut other = announce(number + 100);
            other.inventory.ports[0].permanent_mac = Some(port(number));
            other.boot.mac = Some(port(number));
            registry.announce(session(number + 100), IpAddr::V4(home(2)), &other).unwrap();
        },
    ];
    for (number, end) in (20..).zip(ends) {
        let (id, _) = scene.ordered(number, served()).await;
        scene.is_installed(number, id);
        assert_eq!(scene.get(number, "/latest/user-data").await.0, 200);
        end(number);
        assert_eq!(scene.get(number, "/latest/user-data").await.0, 404, "{number}");
    }
    let (id, _) = scene.ordered(30, served()).await;
    scene.is_installed(30, id);
    assert_eq!(scene.get(30, "/latest/user-data").await.0, 200);
    let again = request(Seed::default());
    let image = again.foreign().unwrap();
    registry.install(&name(30), &again, &image, "uid 0", &synchronised()).unwrap();
    assert_eq!(scene.get(30, "/latest/user-data").await.0, 404);
    scene.stop().await;
}

#[tokio::test]
async fn hostile_requests_are_answered_shortly_and_floods_are_slowed() {
    let scene = scene().await;
    let (id, steps) = scene.ordered(7, served()).await;
    scene.is_installed(7, id);
    let path = phone_home_path(&steps);
    let long = "a".repeat(SAID_BYTES + 1);
    assert_eq!(scene.post(7, &path, &long).await, 413);
    assert_eq!(scene.registry.show_order(id).unwrap().order.install().unwrap().phoned_home, None);
    for (request, status) in [
        ("DELETE /latest/user-data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 405),
        (format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405),
        ("PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(), 404),
        ("GET /latest/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("GET /latest/%2e%2e/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
        (format!("GET /metadata/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a".repeat(30_000)), 404),
    ] {
        assert_eq!(scene.send(7, request.clone()).await.0, status, "{request:.80}");
    }
    let evil = "hostname=%1b%5b2Jevil%0aroot";
    assert_eq!(scene.post(7, &path, evil).await, 200);
    let home = scene
        .registry
        .show_order(id)
        .unwrap()
        .order
        .install()
        .unwrap()
        .phoned_home
        .clone()
        .unwrap();
    assert_eq!(home.hostname.as_deref(), Some("\u{fffd}[2Jevil\u{fffd}root"));
    // From one address, on one connection.
    let flood = "GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n".repeat(400)
        + "GET /latest/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let server = scene.address;
    let flooded = tokio::task::spawn_blocking(move || exchange(server, 8, flood.as_bytes()));
    let answers = flooded.await.unwrap();
    let count = |status: &str| answers.matches(&format!("HTTP/1.1 {status}")).count();
    assert_eq!(count("404") + count("429"), 401);
    assert!(count("429") >= 200, "{} were slowed", count("429"));
    assert_eq!(scene.get(7, "/latest/user-data").await.0, 200, "others are not held up");
    let fetched = |what: &What| matches!(what, What::MetadataServed { .. });
    assert!(scene.told(fetched) <= 4, "the journal is not flooded");
    scene.stop().await;
}

#[tokio::test]
async fn a_server_that_serves_nothing_takes_no_such_order() {
    let registry = Registry::in_memory(Settings::default(), Arc::new(|_| {})).unwrap();
    registry.announce(session(7), IpAddr::V4(home(7)), &announce(7)).unwrap();
    registry.approve(&name(7), "uid 0").unwrap();
    let only_served = Seed { format: Format::Nothing, serve_seconds: Some(60), ..Seed::default() };
    for seed in [only_served, Seed { phone_home: true, ..Seed::default() }] {
        let request = request(seed);
        let image = request.foreign().unwrap();
        let refused = registry.install(&name(7), &request, &image, "uid 0", &synchronised());
        assert_eq!(refused.unwrap_err(), InstallRefusal::NotServed);
    }
    registry.close();
}
