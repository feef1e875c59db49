//! Who gets an image, and what of it.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use protocol::{
    Announce, BootReport, EventKind, Inventory, MacAddress, OrderId, Verb,
    inventory::{Content, Disk, Port},
};

use super::*;
use crate::{
    api::{
        agents,
        door::tests::{Agent, Harbour},
    },
    clock::tests::synchronised,
    image::{Arrival, Stored},
    journal::Journal,
    machine::{Settings, install::InstallRequest},
};

struct Quayside {
    harbour: Harbour,
    registry: Registry,
    images: Images,
    image: Stored,
}

impl Quayside {
    async fn open() -> Self {
        let registry = Registry::in_memory(Settings::default(), Arc::new(|_| {})).unwrap();
        let images = crate::image::tests::empty();
        let disk: Vec<u8> = (0..1_u32 << 20).flat_map(u32::to_le_bytes).collect();
        let arrival = Arrival {
            name: "debian".to_owned(),
            source: String::new(),
            sha256: None,
            by: "uid 0".to_owned(),
        };
        let adding = images.clone();
        let image = tokio::task::spawn_blocking(move || adding.add(&arrival, disk.as_slice()))
            .await
            .unwrap()
            .unwrap();
        let journal = Journal::in_memory();
        let routes = agents::routes(
            registry.clone(),
            images.clone(),
            crate::boot::test_assets(tempfile::tempdir().unwrap().path()),
            journal.clone(),
            synchronised(),
            crate::certificate::tests::in_a_directory(),
        );
        let harbour = Harbour::open(routes, journal).await;
        Self { harbour, registry, images, image }
    }

    /// A machine of this number, approved.
    fn machine(&self, number: u8, agent: &Agent) -> String {
        let mac = MacAddress([0x3c, 0xec, 0xef, 0, 0, number]);
        let mut inventory = Inventory::default();
        inventory.system.serial = Some(format!("SN00001{number}"));
        inventory.ports = vec![Port { permanent_mac: Some(mac), ..Port::default() }];
        inventory.disks = vec![Disk {
            wwn: Some(format!("0x5002538e40a1b2{number:02x}")),
            size_bytes: protocol::Bytes(1 << 30),
            content: Some(Content { blank: true, ..Content::default() }),
            ..Disk::default()
        }];
        let announce = Announce {
            system: None,
            agent_version: "0.1.0".to_owned(),
            kernel_release: None,
            boot: BootReport { mac: Some(mac), ..BootReport::default() },
            inventory,
            complete: true,
        };
        let address = Ipv4Addr::LOCALHOST.into();
        let name = self.registry.announce(agent.session, address, &announce).unwrap().machine;
        self.registry.approve(&name, "uid 0").unwrap();
        name
    }

    fn order(&self, machine: &str) -> OrderId {
        let request: InstallRequest = serde_json::from_value(serde_json::json!({
            "image": "debian", "disk": "only", "withinSeconds": 60, "finish": "reboot",
        }))
        .unwrap();
        let take =
            |facts: &_| self.registry.install(machine, &request, facts, "uid 0", &synchronised());
        self.images.with("debian", take).unwrap().unwrap().1.unwrap().order.id
    }

    async fn ask(&self, agent: &Agent, what: &str, range: &str) -> (StatusCode, HeaderMap, Bytes) {
        let path = format!("/v1/images/{}/{what}", self.image.manifest);
        agent.ask_with(self.harbour.address, "GET", &path, &[("range", range)]).await.unwrap()
    }
}

#[tokio::test]
async fn only_the_session_that_has_the_order_gets_the_image_and_only_while_it_has_it() {
    let port = Quayside::open().await;
    let (one, two) = (Agent::new(port.harbour.pin), Agent::new(port.harbour.pin));
    let name = port.machine(1, &one);
    port.machine(2, &two);
    let status = async |agent: &Agent| port.ask(agent, "manifest", "").await.0;
    assert_eq!(status(&one).await, StatusCode::FORBIDDEN, "no order");
    let id = port.order(&name);
    assert_eq!(status(&one).await, StatusCode::FORBIDDEN, "not yet handed out");
    let (code, body) =
        one.ask(port.harbour.address, "GET", "/v1/instruction?after=0&wait=5", "").await.unwrap();
    assert_eq!(code, StatusCode::OK);
    let instruction: protocol::Instruction = serde_json::from_slice(&body).unwrap();
    assert!(matches!(&instruction.verb, Verb::Install(install) if install.order.id == id));
    assert_eq!(status(&one).await, StatusCode::OK);
    assert_eq!(status(&two).await, StatusCode::FORBIDDEN, "another machine");
    let path = format!("/v1/images/{}/manifest", "a5".repeat(32));
    let other = one.ask(port.harbour.address, "GET", &path, "").await.unwrap();
    assert_eq!(other.0, StatusCode::FORBIDDEN, "another image");
    assert_eq!(port.ask(&one, "key", "").await.0, StatusCode::NOT_FOUND);
    let failed = EventKind::OrderFailed { order: id, reason: "no".to_owned(), touched: false };
    port.registry.agent_says(one.session, &failed);
    assert_eq!(status(&one).await, StatusCode::FORBIDDEN, "its order is over");
}

#[tokio::test]
async fn an_agent_whose_order_was_given_up_is_told_so_when_it_says_how_far_it_is() {
    let port = Quayside::open().await;
    let (agent, address) = (Agent::new(port.harbour.pin), port.harbour.address);
    let name = port.machine(1, &agent);
    let id = port.order(&name);
    let told = async || {
        let progress = crate::machine::disk_order::tests::progress(1);
        let progress = protocol::install::Progress { order: id, ..progress };
        let event = protocol::Event {
            uptime_milliseconds: 1,
            level: protocol::Level::Info,
            kind: EventKind::Progress(Box::new(progress)),
        };
        let body = serde_json::to_vec(&[event]).unwrap();
        agent.ask(address, "POST", "/v1/events", body).await.unwrap().0
    };
    assert_eq!(told().await, StatusCode::GONE, "it was never given it");
    agent.ask(address, "GET", "/v1/instruction?after=0&wait=5", "").await.unwrap();
    assert_eq!(told().await, StatusCode::NO_CONTENT);
    port.registry.cancel_order(id, "uid 0").unwrap();
    assert_eq!(told().await, StatusCode::GONE);
}

#[tokio::test]
async fn ranges_are_exact_and_the_tag_is_strong() {
    let port = Quayside::open().await;
    let agent = Agent::new(port.harbour.pin);
    let name = port.machine(1, &agent);
    port.order(&name);
    let address = port.harbour.address;
    agent.ask(address, "GET", "/v1/instruction?after=0&wait=5", "").await.unwrap();
    let (status, headers, whole) = port.ask(&agent, "frames", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["etag"].to_str().unwrap().starts_with('"'));
    assert_eq!(headers["content-length"], whole.len().to_string());
    let size = whole.len();
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=5-300004", 5..300_005.min(size)),
        ("bytes=100-", 100..size),
        ("bytes=-7", size - 7..size),
    ] {
        let (status, headers, body) = port.ask(&agent, "frames", range).await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT, "{range}");
        let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(headers["content-range"], said);
        assert_eq!(body, whole.slice(part), "{range}");
    }
    let (status, headers, _) = port.ask(&agent, "frames", &format!("bytes={size}-")).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], format!("bytes */{size}"));
    let (_, _, manifest) = port.ask(&agent, "manifest", "").await;
    let manifest = ::image::Manifest::parse(manifest.to_vec()).unwrap();
    assert_eq!(manifest.verify(&[port.harbour.pin.0]), Err(::image::SignatureError::Stranger));
    assert_eq!(manifest.frames_bytes(), u64::try_from(size).unwrap());
}
