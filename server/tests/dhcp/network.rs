//! A network of its own for each test: a bridge with the server, a client made of frames, and a router in a namespace.
//!
//! Needs root, and what stands in `TOOLS`. A test that cannot have them says so, and fails where `CI=true`.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use dhcp::{Message, MessageType, code};
use drydock::{
    boot::Model,
    decision::{Boot, System},
    dhcp::{
        BindError, Handle, ModeAsWritten, Seams, Settings, SubnetAsWritten, open,
        wire::{
            frame::{read_datagram, write_discover},
            interface,
        },
    },
    journal::{Entry, Silence, Unserved, What},
};
use nix::unistd::Pid;
use protocol::MacAddress;
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot};

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// How long anything may take that is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(8);

/// Programs and what they read.
const TOOLS: [&str; 6] =
    ["ip", "unshare", "nsenter", "dnsmasq", "busybox", "/usr/lib/python3/dist-packages/zeroconf"];

const INSIDE: &str = "DRYDOCK_TEST_NETWORK";

/// Runs the story in a network of its own, by starting this very test again inside it.
pub(crate) fn inside(test: &str, story: impl FnOnce(&mut Network)) {
    if env::var_os(INSIDE).is_some() {
        story(&mut Network::build());
        return;
    }
    let missing = TOOLS.iter().find(|tool| {
        let paths = env::var_os("PATH").unwrap_or_default();
        let mut places = env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
        !places.any(|place| place.join(tool).exists())
    });
    let reason = match missing {
        Some(tool) => Some(format!("{tool} is not there")),
        None if !nix::unistd::geteuid().is_root() => Some("not root".to_owned()),
        None => None,
    };
    if let Some(reason) = reason {
        assert!(env::var_os("CI").is_none_or(|it| it != "true"), "cannot be left out: {reason}");
        eprintln!("{test} skipped: {reason}");
        return;
    }
    let myself = env::current_exe().expect("a test has a path");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "sh", "-c"])
        .args([r#"mount -t sysfs sysfs /sys && exec "$@""#, "sh"])
        .arg(myself)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare was just seen");
    assert!(status.success(), "{test} failed in its network");
}

/// The bridge and its ports; the server's port is `s0`, the frame client's `c0`.
#[derive(Debug)]
pub(crate) struct Network {
    children: Vec<Child>,
    pub(crate) directory: TempDir,
}

impl Network {
    fn build() -> Self {
        let network = Self {
            children: Vec::new(),
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        // Else the bridge answers ARP for the server's address too, and unicast comes in there.
        std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").expect("root");
        ip("link set lo up");
        ip("link add br0 type bridge");
        for end in ["s", "c"] {
            ip(&format!("link add {end}0 type veth peer name {end}1"));
            ip(&format!("link set {end}1 master br0 up"));
            ip(&format!("link set {end}0 up"));
        }
        ip("link set br0 up");
        ip(&format!("address add {SERVER}/24 dev s0"));
        network
    }

    /// Plugs a port into the bridge whose other end is in a namespace of its own, and returns that.
    pub(crate) fn host(&mut self, name: &str) -> Host {
        let keeper = Command::new("unshare").args(["--net", "sleep", "600"]).spawn();
        let keeper = keeper.expect("unshare was just seen");
        let id = keeper.id();
        self.children.push(keeper);
        let own = std::fs::read_link("/proc/self/ns/net").expect("procfs");
        until("a namespace of its own", || {
            std::fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|its| its != own)
        });
        ip(&format!("link add {name}0 type veth peer name {name}1"));
        ip(&format!("link set {name}1 master br0 up"));
        ip(&format!("link set {name}0 netns {id}"));
        let host = Host { id };
        host.run("ip", &format!("link set {name}0 up"));
        host
    }

    /// Starts a program on a host that ends with the network, at the latest; returns its process.
    pub(crate) fn start(&mut self, mut command: Command) -> Pid {
        let child = command.spawn().expect("the program was just seen");
        let id = i32::try_from(child.id()).expect("a process id");
        self.children.push(child);
        Pid::from_raw(id)
    }

    /// Starts one whose words go to a file.
    pub(crate) fn start_saying(&mut self, mut command: Command, said: &Path) -> Pid {
        command.stdout(std::fs::File::create(said).expect("a directory of our own"));
        self.start(command)
    }

    /// Starts a router with real DHCP of its own: dnsmasq, lending .50 to .60.
    pub(crate) fn router(&mut self) {
        self.dnsmasq(&[]);
    }

    /// Starts one that answers nobody but one client.
    pub(crate) fn quiet_router(&mut self, client: MacAddress) {
        self.dnsmasq(&[format!("--dhcp-host={client}"), "--dhcp-ignore=tag:!known".to_owned()]);
    }

    fn dnsmasq(&mut self, more: &[String]) {
        let host = self.host("r");
        host.run("ip", &format!("address add {ROUTER}/24 dev r0"));
        let leases = self.directory.path().join("dnsmasq.leases");
        let mut dnsmasq = host.command("dnsmasq");
        dnsmasq
            .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"])
            .args(["--interface=r0", "--bind-dynamic", "--dhcp-range=10.77.0.50,10.77.0.60,1h"])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(more)
            .stderr(Stdio::null());
        self.start(dnsmasq);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

/// A namespace, kept open by a process.
#[derive(Debug)]
pub(crate) struct Host {
    id: u32,
}

impl Host {
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.id.to_string(), program]);
        command
    }

    pub(crate) fn run(&self, program: &str, arguments: &str) {
        let status = self.command(program).args(arguments.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "{program} {arguments}");
    }
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}

/// Waits for a condition, with a limit.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn authoritative(force: bool) -> ModeAsWritten {
    let subnet = SubnetAsWritten {
        key: "spec.network.vlans[0]".to_owned(),
        network: Ipv4Addr::new(10, 77, 0, 0),
        prefix_length: 24,
        range_start: Ipv4Addr::new(10, 77, 0, 100),
        range_end: Ipv4Addr::new(10, 77, 0, 250),
        routers: vec![SERVER],
        name_servers: Vec::new(),
        domain_name: None,
    };
    ModeAsWritten::Authoritative { subnets: vec![subnet], force }
}

/// The real server on `s0`, with its journal.
#[derive(Debug)]
pub(crate) struct Server {
    runtime: Runtime,
    entries: mpsc::Receiver<Entry>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<()>>,
    pub(crate) handle: Handle,
}

impl Server {
    pub(crate) fn start(mode: ModeAsWritten, directory: &Path) -> Self {
        Self::try_start(mode, directory).expect("the server starts")
    }

    pub(crate) fn try_start(mode: ModeAsWritten, directory: &Path) -> Result<Self, BindError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let settings = Settings::check("s0", SERVER, 7480, mode).expect("sound settings");
        let database = redb::Database::create(directory.join("drydock.redb")).expect("a database");
        let bound =
            runtime.block_on(open(settings))?.with_leases(&Arc::new(database), directory)?;
        let (sender, entries) = mpsc::channel();
        let seams = Seams::new(
            |_| Boot::System(System::Sunshine),
            |_, _| {},
            move |entry| {
                let _closed = sender.send(entry);
            },
        )
        .with_boards(|_, board, _| {
            let model = board.model.name().to_owned();
            let because = Unserved::NoDriver;
            (board.model == Model::Five).then_some(Silence::RaspberryPi { model, because })
        });
        let (stop, stopped) = oneshot::channel();
        let handle = bound.handle();
        let task = runtime.spawn(bound.run(seams, async {
            let _dropped = stopped.await;
        }));
        Ok(Self { runtime, entries, stop: Some(stop), task: Some(task), handle })
    }

    /// Waits for an entry of the journal.
    pub(crate) fn waits_for(&self, what: &str, mut matches: impl FnMut(&What) -> bool) -> Entry {
        let end = Instant::now() + LIMIT;
        let mut seen = Vec::new();
        while let Ok(entry) =
            self.entries.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if matches(&entry.what) {
                return entry;
            }
            seen.push(entry.what);
        }
        panic!("waited for {what}, saw {seen:#?}");
    }

    /// Stops the server; its database is closed then.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            self.runtime.block_on(task).expect("the server ends in order");
        }
    }
}

/// A client made of frames on `c0`: it needs no address.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    pub(crate) mac: MacAddress,
    xid: u32,
}

/// A reply as it was seen on the wire.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) message: Message,
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
}

impl Client {
    pub(crate) fn new(last: u8) -> Self {
        let ipv4 = Protocol::from(i32::from(0x0800_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(ipv4)).expect("root");
        let found = interface::read("c0").expect("getifaddrs").expect("c0 is there");
        nix::sys::socket::bind(socket.as_raw_fd(), &found.link).expect("root");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        Self { socket, mac: MacAddress([0x52, 0x54, 0, 0x77, 0, last]), xid: u32::from(last) << 8 }
    }

    /// Begins a message; each has its own transaction.
    pub(crate) fn message(&mut self, kind: MessageType) -> Message {
        self.xid += 1;
        let mut message = Message::request(self.mac, self.xid);
        message.set_broadcast();
        message.options.set_message_type(kind);
        message
    }

    /// Begins a message of UEFI firmware.
    pub(crate) fn uefi(&mut self, kind: MessageType) -> Message {
        let mut message = self.message(kind);
        message.options.set_text(code::VENDOR_CLASS, "PXEClient:Arch:00007:UNDI:003000");
        message.options.set_architectures(&[7]);
        message.options.set_uuid("11223344-5566-7788-99aa-bbccddeeff00");
        message
    }

    pub(crate) fn send(&self, message: &Message) {
        let frame = write_discover(self.mac, &message.encode(1500));
        self.send_frame(&frame);
    }

    pub(crate) fn send_frame(&self, frame: &[u8]) {
        let sent = (&self.socket).write(frame).expect("the bridge takes frames");
        assert_eq!(sent, frame.len());
    }

    /// Collects the replies to one request that come within a time.
    pub(crate) fn replies(&self, request: &Message, within: Duration) -> Vec<Seen> {
        let end = Instant::now() + within;
        let mut replies = Vec::new();
        while Instant::now() < end {
            replies.extend(self.next_reply(request));
        }
        replies
    }

    /// Sends, and waits for the server's first reply.
    pub(crate) fn ask(&self, request: &Message) -> Seen {
        self.send(request);
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(reply) = self.next_reply(request)
                && *reply.source.ip() == SERVER
            {
                return reply;
            }
        }
        panic!("no reply to {request:?}");
    }

    /// Goes through DISCOVER and REQUEST, and returns its address.
    pub(crate) fn obtain(&mut self) -> Ipv4Addr {
        let discover = self.message(MessageType::Discover);
        let offer = self.ask(&discover).message;
        let mut request = self.message(MessageType::Request);
        request.options.set_address(code::REQUESTED_ADDRESS, offer.yiaddr);
        request.options.set_address(code::SERVER_IDENTIFIER, SERVER);
        let ack = self.ask(&request).message;
        assert_eq!(ack.options.message_type(), Some(MessageType::Ack));
        ack.yiaddr
    }

    fn next_reply(&self, request: &Message) -> Option<Seen> {
        let mut buffer = [0; 2048];
        let size = (&self.socket).read(&mut buffer).ok()?;
        let datagram = read_datagram(&buffer[..size])?;
        let message = Message::parse(datagram.payload).ok()?;
        let is_reply = message.op == dhcp::Operation::Reply && message.xid == request.xid;
        let (source, destination) = (datagram.source, datagram.destination);
        is_reply.then_some(Seen { message, source, destination })
    }
}
