use std::net::Ipv4Addr;

use super::*;
use crate::{
    boot::{
        Program,
        test_context::{self, MAC},
    },
    decision::{Boot, System},
    journal::{Silence, What},
};

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 77), 2070);

/// A desk whose journal can be read.
struct Scene {
    desk: Desk,
    told: test_context::Told,
    now: Instant,
    _directory: tempfile::TempDir,
}

fn scene(boot: Boot) -> Scene {
    let (context, told, directory) = test_context::context(boot);
    let limits = Limits { transfers: 6, transfers_per_address: 4 };
    Scene { desk: Desk::new(context, limits), told, now: Instant::now(), _directory: directory }
}

fn sunshine() -> Boot {
    Boot::System(System::Sunshine)
}

impl Scene {
    fn receive(&mut self, client: SocketAddrV4, packet: &[u8]) -> Vec<Action> {
        self.desk.receive(client, packet, self.now)
    }

    fn request(&mut self, client: SocketAddrV4, path: &str) -> Vec<Action> {
        let packet = [b"\0\x01", path.as_bytes(), b"\0octet\0"].concat();
        self.receive(client, &packet)
    }

    /// Takes what was told since the last time, shortened.
    fn told(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        told.into_iter()
            .map(|(mac, what)| {
                let whose = mac.map_or_else(|| "?".to_owned(), |mac| mac.to_string());
                match what {
                    What::FileRequest { path, .. } => format!("{whose} wants {path}"),
                    What::FileSent { path, size_bytes, .. } => {
                        format!("{whose} has {size_bytes} of {path}")
                    }
                    What::FileFailed { reason, .. } => format!("{whose} fails: {reason}"),
                    other => format!("{whose}: {other:?}"),
                }
            })
            .collect()
    }
}

#[track_caller]
fn only_packet(actions: Vec<Action>) -> (SocketAddrV4, Bytes) {
    match <[Action; 1]>::try_from(actions) {
        Ok([Action::Send(client, packet)]) => (client, packet),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn only_load(actions: Vec<Action>) -> (Ticket, Asset) {
    match <[Action; 1]>::try_from(actions) {
        Ok([Action::Load(ticket, asset, None)]) => (ticket, asset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_is_loaded_sent_and_told() {
    let mut scene = scene(sunshine());
    let path = format!("boot/{}/snponly.efi", MAC.hyphenated());
    let (ticket, program) = only_load(scene.request(CLIENT, &path));
    assert_eq!(program, Asset::Program(Program::SnponlyEfi));
    let actions = scene.desk.loaded(ticket, Ok(Bytes::from_static(b"MZ")), scene.now);
    let (client, packet) = only_packet(actions);
    assert_eq!((client, &packet[..]), (CLIENT, b"\0\x03\0\x01MZ".as_slice()));
    assert!(scene.receive(CLIENT, b"\0\x04\0\x01").is_empty());
    assert_eq!(scene.told(), [format!("{MAC} wants {path}"), format!("{MAC} has 2 of {path}")]);
    assert_eq!(scene.desk.deadline(), None);
}

#[test]
fn a_client_that_wanted_the_size_only_is_told_as_such() {
    let mut scene = scene(sunshine());
    let packet = b"\0\x01boot/snponly.efi\0octet\0tsize\x000\0blksize\x001468\0";
    let (ticket, _) = only_load(scene.receive(CLIENT, packet));
    only_packet(scene.desk.loaded(ticket, Ok(Bytes::from_static(b"MZ")), scene.now));
    assert!(scene.receive(CLIENT, b"\0\x05\0\x08User aborted the transfer\0").is_empty());
    let told: Vec<What> = scene.told.lock().unwrap().drain(..).map(|(_, what)| what).collect();
    let [What::FileRequest { .. }, What::FileProbed { path, .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(path, "boot/snponly.efi");
}

#[test]
fn a_request_that_comes_twice_is_one_request() {
    let mut scene = scene(sunshine());
    let (ticket, _) = only_load(scene.request(CLIENT, "boot/snponly.efi"));
    assert!(scene.request(CLIENT, "boot/snponly.efi").is_empty());
    let first = scene.desk.loaded(ticket, Ok(Bytes::from_static(b"MZ")), scene.now);
    let again = scene.request(CLIENT, "boot/snponly.efi");
    assert_eq!(only_packet(first), only_packet(again));
    assert_eq!(scene.told().len(), 1);
}

#[test]
fn a_client_that_asks_for_something_else_has_given_up_the_first() {
    let mut scene = scene(sunshine());
    let (old, _) = only_load(scene.request(CLIENT, "boot/snponly.efi"));
    let (new, _) = only_load(scene.request(CLIENT, "boot/undionly.kpxe"));
    assert!(scene.desk.loaded(old, Ok(Bytes::from_static(b"old")), scene.now).is_empty());
    let (_, packet) =
        only_packet(scene.desk.loaded(new, Ok(Bytes::from_static(b"new")), scene.now));
    assert!(packet.ends_with(b"new"));
}

#[test]
fn the_own_disk_is_not_found_at_once() {
    let mut scene = scene(Boot::OwnDisk);
    let path = format!("boot/{}/own-disk", MAC.hyphenated());
    let (_, packet) = only_packet(scene.request(CLIENT, &path));
    assert_eq!(packet[..4], [0, 5, 0, 1]);
    let told = scene.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("not found"), "{told:?}");
}

#[test]
fn a_machine_that_is_not_ours_to_boot_finds_nothing() {
    for boot in [Boot::OwnDisk, Boot::Silence(Silence::Ignored)] {
        let mut scene = scene(boot.clone());
        let path = format!("boot/{}/snponly.efi", MAC.hyphenated());
        let (_, packet) = only_packet(scene.request(CLIENT, &path));
        assert_eq!(packet[..4], [0, 5, 0, 1], "{boot:?}");
        // The same machine, known by its address alone.
        let known = SocketAddrV4::new(test_context::ADDRESS, 2070);
        let (_, packet) = only_packet(scene.request(known, "boot/snponly.efi"));
        assert_eq!(packet[..4], [0, 5, 0, 1], "{boot:?}");
    }
}

#[test]
fn ipxe_of_a_machine_that_boots_its_disk_gets_a_script_that_leaves() {
    let mut scene = scene(Boot::OwnDisk);
    let path = format!("boot/{}/autoexec.ipxe", MAC.hyphenated());
    let (_, packet) = only_packet(scene.request(CLIENT, &path));
    let text = str::from_utf8(&packet[4..]).unwrap();
    assert!(text.starts_with("#!ipxe\n") && text.contains("exit 1"), "{text}");
    assert!(scene.told().iter().any(|told| told.contains("own disk")));
}

#[test]
fn refusals_say_what_is_wrong() {
    let mut scene = scene(sunshine());
    for (packet, code, text) in [
        (b"\0\x02x\0octet\0".as_slice(), 2, "nothing is written here"),
        (b"\0\x01../../etc/passwd\0octet\0", 2, "no such path here"),
        (b"\0\x01boot/x.efi\xff\xff\0octet\0", 1, "not found: boot/x.efi"),
        (b"\0\x01boot/snponly.efi\0netascii\0", 0, "only octet mode"),
        (b"\0\x01image/sunshineos-x86_64.vmlinuz\0octet\0", 1, "images are served over HTTP only"),
    ] {
        let (_, answer) = only_packet(scene.receive(CLIENT, packet));
        assert_eq!(answer[..4], [0, 5, 0, code]);
        assert!(answer[4..].starts_with(text.as_bytes()), "{answer:?}");
    }
}

#[test]
fn nonsense_and_strays_are_not_answered() {
    let mut scene = scene(sunshine());
    for packet in [
        b"".as_slice(),
        b"\0\x04\0\x01",
        b"\0\x05\0\x01no\0",
        b"\0\x03\0\x01x",
        b"\0\x01x\0",
        b"\xff",
    ] {
        assert!(scene.receive(CLIENT, packet).is_empty(), "{packet:?}");
    }
    let nobody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 69);
    assert!(scene.request(nobody, "boot/snponly.efi").is_empty());
    assert!(scene.told().is_empty());
}

#[test]
fn one_machine_cannot_take_all_places_and_all_machines_cannot_take_more_than_there_are() {
    let mut scene = scene(sunshine());
    let mut taken = 0;
    for machine in 1..4 {
        for port in 1..=10 {
            let client = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, machine), port);
            match &scene.request(client, "boot/autoexec.ipxe")[..] {
                [Action::Send(_, packet)] if packet[..2] == [0, 5] => {}
                [Action::Send(_, _)] => {
                    taken += 1;
                    // It lives: it acknowledges its first block.
                    assert_eq!(scene.receive(client, b"\0\x04\0\x01").len(), 1);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(taken, 6);
}

#[test]
fn clients_that_never_answer_give_way_to_those_that_come_later() {
    let mut scene = scene(sunshine());
    scene.request(CLIENT, "boot/autoexec.ipxe");
    assert_eq!(scene.receive(CLIENT, b"\0\x04\0\x01").len(), 1);
    for machine in 1..=100 {
        let invented = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, machine), 1);
        only_load(scene.request(invented, "boot/snponly.efi"));
    }
    assert_eq!(scene.desk.conversations.len(), 6);
    // The one that lives goes on.
    assert!(scene.receive(CLIENT, b"\0\x04\0\x02").is_empty());
    assert!(scene.told().last().unwrap().ends_with("of boot/autoexec.ipxe"));
}

#[test]
fn a_client_that_falls_silent_is_sent_again_and_then_told_of() {
    let mut scene = scene(sunshine());
    let (ticket, _) = only_load(scene.request(CLIENT, "boot/snponly.efi"));
    scene.desk.loaded(ticket, Ok(Bytes::from_static(b"MZ")), scene.now);
    let mut repeated = 0;
    while let Some(deadline) = scene.desk.deadline() {
        scene.now = deadline;
        repeated += scene.desk.wake(deadline).len();
    }
    assert_eq!(repeated, 5);
    assert_eq!(scene.told().last().unwrap(), "? fails: timed out at block 1 of 1");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_for_the_client_and_a_reason_for_us() {
    let mut scene = scene(sunshine());
    let (ticket, _) = only_load(scene.request(CLIENT, "boot/snponly.efi"));
    let actions = scene.desk.loaded(ticket, Err("missing: x".to_owned()), scene.now);
    assert_eq!(only_packet(actions).1[..4], [0, 5, 0, 1]);
    assert_eq!(scene.told().last().unwrap(), "? fails: missing: x");
}
