//! Machines that boot by HTTP without iPXE, and what their agents are told.

use super::*;
use crate::boot::{HttpBoot, PxeBoot};

const DOOR: &str = "https://10.77.0.1:8443";

fn serving(mut server: Server, http_boot: HttpBoot) -> Server {
    server.settings = server.settings.booting(8443, http_boot, PxeBoot::Ipxe);
    server
}

fn file(server: &mut Server, caller: &Caller) -> String {
    server.reply(caller).message.boot_file().unwrap()
}

#[test]
fn firmware_that_boots_by_http_gets_what_the_configuration_says() {
    let http = http(MessageType::Discover);
    let path = "http://10.77.0.1:7480/boot/52-54-00-12-34-56";
    for (http_boot, sunshine, hercules) in [
        (HttpBoot::Ipxe, "snponly.efi", "snponly.efi"),
        (HttpBoot::Unified, "sunshineos-x86_64-all.efi", "herculesos-x86_64-all.efi"),
        (HttpBoot::Signed, "sunshineos-x86_64-signed.efi", "herculesos-x86_64-signed.efi"),
    ] {
        for server in [Server::proxy(), Server::authoritative()] {
            let mut server = serving(server, http_boot);
            assert_eq!(file(&mut server, &http), format!("{path}/{sunshine}"));
            server.course = Course::Decided(Boot::System(System::Hercules));
            assert_eq!(file(&mut server, &http), format!("{path}/{hercules}"));
            server.course = Course::Decided(Boot::OwnDisk);
            assert_eq!(file(&mut server, &http), format!("{path}/own-disk"));
            server.course = Course::OutOfLoop;
            assert_eq!(file(&mut server, &http), format!("{path}/own-disk"));
        }
    }
}

#[test]
fn firmware_of_arm_that_boots_by_http_gets_the_image_of_its_own_processors() {
    let arm = firmware(MessageType::Discover, "HTTPClient:Arch:00019:UNDI:003000", 19);
    let url = "http://10.77.0.1:7480/boot/52-54-00-12-34-56";
    for (http_boot, expected) in [
        (HttpBoot::Ipxe, "ipxe-arm64.efi"),
        (HttpBoot::Unified, "sunshineos-aarch64-all.efi"),
        (HttpBoot::Signed, "sunshineos-aarch64-signed.efi"),
    ] {
        let mut server = serving(Server::authoritative(), http_boot);
        assert_eq!(file(&mut server, &arm), format!("{url}/{expected}"));
    }
}

#[test]
fn all_other_firmware_gets_ipxe() {
    let mut server = serving(Server::proxy(), HttpBoot::Unified);
    let folder = "boot/52-54-00-12-34-56";
    assert_eq!(file(&mut server, &uefi(MessageType::Discover)), format!("{folder}/snponly.efi"));
    assert_eq!(file(&mut server, &bios(MessageType::Discover)), format!("{folder}/undionly.kpxe"));
    let url = format!("http://10.77.0.1:7480/{folder}");
    let arm = firmware(MessageType::Discover, "PXEClient:Arch:00011:UNDI:003000", 11);
    assert_eq!(file(&mut server, &arm), format!("{folder}/ipxe-arm64.efi"));
    assert_eq!(file(&mut server, &ipxe(MessageType::Discover)), format!("{url}/boot.ipxe"));
}

#[test]
fn an_agent_is_told_where_its_server_is_and_nobody_else() {
    let door = |reply: Reply| reply.message.options.text(code::DRYDOCK_SERVER);
    for server in [Server::proxy(), Server::authoritative()] {
        let mut server = serving(server, HttpBoot::Signed);
        let offer = server.reply(&agent(MessageType::Discover));
        let lends = !offer.message.yiaddr.is_unspecified();
        assert_eq!(lends, server.settings.subnets().len() == 1, "a proxy lends nothing");
        assert_eq!(offer.message.boot_file(), None);
        assert_eq!(door(offer).as_deref(), Some(DOOR));
        for firmware in [bios, uefi, http, ipxe] {
            assert_eq!(door(server.reply(&firmware(MessageType::Discover))), None);
        }
    }
    let mut server = serving(Server::authoritative(), HttpBoot::Signed);
    let address = server.lend(&agent);
    let ack = server.reply(&selecting(agent(MessageType::Request), address));
    assert_eq!(door(ack).as_deref(), Some(DOOR));
    assert_eq!(door(server.reply(&telephone(MessageType::Discover))), None);
}

#[test]
fn an_agent_that_is_to_hear_nothing_hears_nothing_of_a_proxy() {
    let course = Course::Decided(Boot::Silence(Silence::Ignored));
    let mut server = serving(Server::proxy(), HttpBoot::Signed).booting(course);
    assert_eq!(server.silence(&agent(MessageType::Discover)), Silence::Ignored);
    let mut server = Server::proxy();
    assert_eq!(server.silence(&agent(MessageType::Request)), Silence::NotNetworkBoot);
}

#[test]
fn firmware_that_trusts_microsoft_gets_shim_where_the_configuration_says_so() {
    let shim = "boot/52-54-00-12-34-56/shimx64.efi";
    let (pxe, by_http) = (uefi(MessageType::Discover), http(MessageType::Discover));
    for server in [Server::proxy(), Server::authoritative()] {
        let mut server = server;
        server.settings = server.settings.booting(8443, HttpBoot::Ipxe, PxeBoot::Shim);
        assert_eq!(file(&mut server, &pxe), shim);
        assert!(file(&mut server, &by_http).ends_with("/snponly.efi"), "that is another key");
        assert!(file(&mut server, &bios(MessageType::Discover)).ends_with("/undionly.kpxe"));
        assert!(file(&mut server, &ipxe(MessageType::Discover)).ends_with("/boot.ipxe"));
        server.settings = server.settings.booting(8443, HttpBoot::Shim, PxeBoot::Ipxe);
        assert_eq!(file(&mut server, &by_http), format!("http://10.77.0.1:7480/{shim}"));
        assert!(file(&mut server, &pxe).ends_with("/snponly.efi"));
        let arm = firmware(MessageType::Discover, "HTTPClient:Arch:00019:UNDI:003000", 19);
        assert!(file(&mut server, &arm).ends_with("/ipxe-arm64.efi"));
        server.course = Course::Decided(Boot::OwnDisk);
        assert!(file(&mut server, &by_http).ends_with("/own-disk"));
    }
}
