//! The set-ups that people break, as entries; and what is said of them.

use protocol::{Event, EventKind, Level, MacAddress};

use super::*;
use crate::journal::{ClientFamily, FileProtocol, Silence, Unfit, Unserved, What};

const BEGAN: i64 = 1_795_228_009_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
const PROGRAM: &str = "boot/52-54-00-00-00-01/snponly.efi";
const URL: &str = "http://10.0.0.2:7480/boot.ipxe";

fn context(mode: Mode, now: i64) -> Context {
    let network = Network {
        interface: "eth0".to_owned(),
        address: SERVER,
        mode,
        http_port: 7480,
        tls_port: 7443,
    };
    Context {
        subject: MAC.to_string(),
        machine: None,
        has_record: false,
        networks: vec![network],
        now_unix_milliseconds: BEGAN + now,
    }
}

/// Explains what happened at these milliseconds, a minute later.
fn explained(mode: Mode, story: &[(i64, What)]) -> Explanation {
    let entries: Vec<Entry> = story
        .iter()
        .map(|(after, what)| Entry {
            unix_milliseconds: BEGAN + after,
            mac: Some(MAC),
            address: None,
            machine: None,
            what: what.clone(),
        })
        .collect();
    let last = story.last().map_or(0, |(after, _)| *after);
    explain(&entries, &context(mode, last + 100_000))
}

fn asks(message: &str, family: ClientFamily, port: u16, chosen_server: Option<Ipv4Addr>) -> What {
    let interface = Some("eth0".to_owned());
    let architecture = (family == ClientFamily::UefiPxe).then_some(7);
    What::DhcpRequest {
        message: message.to_owned(),
        family,
        architecture,
        port,
        chosen_server,
        interface,
    }
}

fn discovers(family: ClientFamily) -> What {
    asks("DISCOVER", family, 67, None)
}

fn answers(message: &str, address: Option<Ipv4Addr>, file: &str) -> What {
    What::DhcpReply { message: message.to_owned(), address, file: Some(file.to_owned()) }
}

fn router_offers(has_server_identifier: bool) -> What {
    What::ForeignOffer { server: ROUTER, has_server_identifier, file: None }
}

fn requested(protocol: FileProtocol, path: &str) -> What {
    What::FileRequest { protocol, path: path.to_owned() }
}

fn sent(protocol: FileProtocol, path: &str, size_bytes: u64) -> What {
    What::FileSent { protocol, path: path.to_owned(), size_bytes }
}

/// DISCOVER, both offers, REQUEST to the router.
fn address_taken(family: ClientFamily) -> Vec<(i64, What)> {
    vec![
        (0, discovers(family)),
        (1, answers("OFFER", None, PROGRAM)),
        (2, router_offers(true)),
        (4_000, asks("REQUEST", family, 67, Some(ROUTER))),
        (4_000, What::DhcpSilence(Silence::OtherServer { server: ROUTER })),
    ]
}

/// The boot of a UEFI machine beside a router, up to the program.
fn program_loaded() -> Vec<(i64, What)> {
    let mut story = address_taken(ClientFamily::UefiPxe);
    story.extend([
        (4_050, asks("REQUEST", ClientFamily::UefiPxe, 4011, None)),
        (4_051, answers("ACK", None, PROGRAM)),
        (5_100, requested(FileProtocol::Tftp, PROGRAM)),
        (5_300, sent(FileProtocol::Tftp, PROGRAM, 262_144)),
    ]);
    story
}

/// The same, up to a running kernel.
fn kernel_loaded() -> Vec<(i64, What)> {
    let mut story = program_loaded();
    story.extend([
        (6_000, requested(FileProtocol::Tftp, "boot/52-54-00-00-00-01/autoexec.ipxe")),
        (6_001, sent(FileProtocol::Tftp, "boot/52-54-00-00-00-01/autoexec.ipxe", 200)),
        (7_000, What::Script { boots: "sunshine".to_owned() }),
        (7_100, requested(FileProtocol::Http, "image/sunshineos-x86_64.vmlinuz")),
        (8_000, sent(FileProtocol::Http, "image/sunshineos-x86_64.vmlinuz", 12_100_000)),
        (8_100, requested(FileProtocol::Http, "image/sunshineos-x86_64.initrd")),
        (9_500, sent(FileProtocol::Http, "image/sunshineos-x86_64.initrd", 15_800_000)),
    ]);
    story
}

#[test]
fn nobody_answers_on_4011_when_the_question_never_arrives() {
    let explanation = explained(Mode::Proxy, &address_taken(ClientFamily::UefiPxe));
    assert_eq!(explanation.cause, Cause::Port4011Blocked);
    insta::assert_snapshot!(explanation);
}

#[test]
fn nobody_answers_on_4011_when_our_answer_never_arrives() {
    let mut story = address_taken(ClientFamily::UefiPxe);
    for after in [4_050, 5_050, 7_050, 10_050] {
        story.push((after, asks("REQUEST", ClientFamily::UefiPxe, 4011, None)));
        story.push((after + 1, answers("ACK", None, PROGRAM)));
    }
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::Port4011Blocked);
    insta::assert_snapshot!(explanation);
}

#[test]
fn option_54_is_missing_from_the_routers_offer() {
    let mut story = Vec::new();
    for after in [0, 4_000, 12_000, 28_000] {
        story.push((after, discovers(ClientFamily::UefiPxe)));
        story.push((after + 1, answers("OFFER", None, PROGRAM)));
        story.push((after + 3, router_offers(false)));
    }
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::RouterWithoutServerIdentifier);
    insta::assert_snapshot!(explanation);
}

#[test]
fn tftp_is_blocked_and_no_read_request_arrives() {
    let mut story = address_taken(ClientFamily::UefiPxe);
    story.push((4_050, asks("REQUEST", ClientFamily::UefiPxe, 4011, None)));
    story.push((4_051, answers("ACK", None, PROGRAM)));
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::TftpBlocked);
    insta::assert_snapshot!(explanation);
    let bios = explained(Mode::Proxy, &address_taken(ClientFamily::BiosPxe));
    assert_eq!(bios.cause, Cause::TftpBlocked, "BIOS firmware asks nothing on 4011");
}

#[test]
fn tftp_is_blocked_and_our_first_block_is_never_acknowledged() {
    let address = Some(Ipv4Addr::new(10, 0, 0, 77));
    let what = What::FileFailed {
        protocol: FileProtocol::Tftp,
        path: PROGRAM.to_owned(),
        reason: "timed out at block 0".to_owned(),
    };
    let explanation = explained(
        Mode::Authoritative,
        &[
            (0, discovers(ClientFamily::BiosPxe)),
            (1, answers("OFFER", address, PROGRAM)),
            (1_000, asks("REQUEST", ClientFamily::BiosPxe, 67, Some(SERVER))),
            (1_001, answers("ACK", address, PROGRAM)),
            (1_100, requested(FileProtocol::Tftp, PROGRAM)),
            (3_100, requested(FileProtocol::Tftp, PROGRAM)),
            (16_100, what),
        ],
    );
    assert_eq!(explanation.cause, Cause::TftpBlocked);
    insta::assert_snapshot!(explanation);
}

#[test]
fn the_http_port_is_closed_to_ipxe_that_asked_dhcp_again() {
    let mut story = program_loaded();
    story.extend([
        (7_000, discovers(ClientFamily::Ipxe)),
        (7_001, answers("OFFER", None, URL)),
        (7_002, router_offers(true)),
        (9_000, asks("REQUEST", ClientFamily::Ipxe, 67, Some(ROUTER))),
    ]);
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::HttpBlocked);
    insta::assert_snapshot!(explanation);
}

#[test]
fn the_http_port_is_closed_to_ipxe_that_took_its_script_over_tftp_and_to_http_boot() {
    let mut story = program_loaded();
    story.extend([
        (6_000, requested(FileProtocol::Tftp, "boot/52-54-00-00-00-01/autoexec.ipxe")),
        (6_001, sent(FileProtocol::Tftp, "boot/52-54-00-00-00-01/autoexec.ipxe", 200)),
    ]);
    assert_eq!(explained(Mode::Proxy, &story).cause, Cause::HttpBlocked);
    let firmware = [
        (0, discovers(ClientFamily::UefiHttp)),
        (1, answers("OFFER", None, "http://10.0.0.2:7480/boot/x/snponly.efi")),
        (4_000, asks("REQUEST", ClientFamily::UefiHttp, 67, Some(ROUTER))),
    ];
    assert_eq!(explained(Mode::Proxy, &firmware).cause, Cause::HttpBlocked);
}

#[test]
fn the_pin_does_not_match() {
    let mut story = kernel_loaded();
    for after in [13_000, 14_000, 16_000] {
        let reason = "the client said UnknownCA".to_owned();
        story.push((after, What::TlsFailed { reason, pin_refused: true }));
    }
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::PinMismatch);
    insta::assert_snapshot!(explanation);
    insta::assert_json_snapshot!(explanation);
}

#[test]
fn a_good_boot_is_called_good() {
    let mut story = kernel_loaded();
    story.extend([
        (13_000, What::Announced { agent_version: "0.1.0".to_owned(), complete: true }),
        (13_020, What::RecordWritten { name: "m-525400000001".to_owned() }),
    ]);
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::Recorded);
    insta::assert_snapshot!(explanation);
}

#[test]
fn a_record_that_was_right_already_is_no_failure() {
    let announced = What::Announced { agent_version: "0.1.0".to_owned(), complete: true };
    let entries = [Entry {
        unix_milliseconds: BEGAN,
        mac: Some(MAC),
        address: None,
        machine: None,
        what: announced,
    }];
    let mut context = context(Mode::Proxy, 60_000);
    assert_eq!(explain(&entries, &context).cause, Cause::RecordMissing);
    context.has_record = true;
    assert_eq!(explain(&entries, &context).cause, Cause::Recorded);
}

#[test]
fn a_machine_with_data_goes_to_its_own_disk() {
    let story = [
        (0, discovers(ClientFamily::BiosPxe)),
        (1, answers("OFFER", None, "boot/52-54-00-00-00-01/own-disk")),
    ];
    assert_eq!(explained(Mode::Proxy, &story).cause, Cause::OwnDisk);
}

#[test]
fn only_the_last_boot_is_told_and_repeats_are_counted() {
    let mut story = kernel_loaded();
    story.push((13_000, What::Announced { agent_version: "0.1.0".to_owned(), complete: true }));
    story.push((60_000, discovers(ClientFamily::UefiPxe)));
    for after in 0..3 {
        story.push((60_001 + after, What::DhcpSilence(Silence::Ignored)));
    }
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.began_unix_milliseconds, Some(BEGAN + 60_000));
    assert_eq!(explanation.timeline.len(), 2);
    assert_eq!(explanation.timeline[1].times, 3);
    assert_eq!(explanation.cause, Cause::Silenced);
}

#[test]
fn a_card_that_carries_ipxe_begins_its_boots_with_it() {
    let address = Some(Ipv4Addr::new(10, 0, 0, 77));
    let mut story = vec![
        (0, discovers(ClientFamily::Ipxe)),
        (1, answers("OFFER", address, URL)),
        (1_000, asks("REQUEST", ClientFamily::Ipxe, 67, Some(SERVER))),
        (1_001, answers("ACK", address, URL)),
        (2_000, What::Script { boots: "sunshine".to_owned() }),
    ];
    let again = story.clone().into_iter().take(4).map(|(after, what)| (after + 30_000, what));
    story.extend(again);
    let explanation = explained(Mode::Authoritative, &story);
    assert_eq!(explanation.began_unix_milliseconds, Some(BEGAN + 30_000));
    assert_eq!(explanation.timeline.len(), 4);
    assert_eq!(explanation.cause, Cause::HttpBlocked);
}

#[test]
fn what_is_not_overdue_is_under_way() {
    let mut story = address_taken(ClientFamily::UefiPxe);
    story.truncate(3);
    let entries: Vec<Entry> = story
        .into_iter()
        .map(|(after, what)| Entry {
            unix_milliseconds: BEGAN + after,
            mac: Some(MAC),
            address: None,
            machine: None,
            what,
        })
        .collect();
    assert_eq!(explain(&entries, &context(Mode::Proxy, 3_000)).cause, Cause::UnderWay);
    assert_eq!(explain(&entries, &context(Mode::Proxy, 60_000)).cause, Cause::OfferIgnored);
}

#[test]
fn each_stage_that_nothing_follows_has_its_cause() {
    let until = |length: usize| {
        let mut story = kernel_loaded();
        story.truncate(length);
        explained(Mode::Proxy, &story).cause
    };
    let causes: Vec<Cause> = (0..=kernel_loaded().len()).map(until).collect();
    insta::assert_json_snapshot!(causes);
}

#[test]
fn an_agent_that_fails_says_why() {
    let mut story = kernel_loaded();
    story.push((13_000, What::Announced { agent_version: "0.1.0".to_owned(), complete: false }));
    let kind = EventKind::Failed {
        reason: "index out of bounds".to_owned(),
        kernel_log: "[0] Linux".to_owned(),
    };
    let event = Event { uptime_milliseconds: 9, level: Level::Error, kind };
    story.push((14_000, What::Agent(event)));
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::AgentFailed);
    assert!(explanation.summary.contains("index out of bounds"));
    assert_eq!(explanation.kernel_log.as_deref(), Some("[0] Linux"));
}

#[test]
fn drivers_that_are_on_their_way_are_named_until_they_are_there() {
    let announced = |complete| What::Announced { agent_version: "0.1.0".to_owned(), complete };
    let awaited = |overdue| What::DriversAwaited { modules: vec!["mpt3sas".to_owned()], overdue };
    let mut story = kernel_loaded();
    story.push((13_000, announced(false)));
    story.push((13_000, awaited(false)));
    story.push((13_100, What::RecordWritten { name: "4q5hmp2".to_owned() }));
    let explanation = explained(Mode::Proxy, &story);
    assert_eq!(explanation.cause, Cause::DriversAwaited);
    assert!(explanation.summary.contains("mpt3sas"), "{}", explanation.summary);
    let mut too_long = story.clone();
    too_long.push((613_000, awaited(true)));
    let explanation = explained(Mode::Proxy, &too_long);
    assert_eq!(explanation.cause, Cause::DriversMissing);
    insta::assert_snapshot!(explanation);
    for mut story in [story, too_long] {
        story.push((700_000, announced(true)));
        assert_eq!(explained(Mode::Proxy, &story).cause, Cause::Recorded);
    }
}

#[test]
fn half_an_initramfs_is_called_that_and_no_driver() {
    let awaited = |overdue| What::DriversAwaited { modules: vec!["initramfs".to_owned()], overdue };
    for overdue in [false, true] {
        let mut story = kernel_loaded();
        story
            .push((13_000, What::Announced { agent_version: "0.1.0".to_owned(), complete: false }));
        story.push((13_000, awaited(overdue)));
        story.push((13_100, What::RecordWritten { name: "4q5hmp2".to_owned() }));
        let explanation = explained(Mode::Proxy, &story);
        assert_eq!(explanation.cause, Cause::InitramfsCut);
        let words = explanation.to_string();
        assert!(words.contains("initramfs did not come") && !words.contains("driver"), "{words}");
    }
}

fn unserved(because: Unserved) -> Silence {
    Silence::RaspberryPi { model: "Raspberry Pi 5".to_owned(), because }
}

#[test]
fn a_raspberry_pis_boot_is_told_by_the_files_that_it_loads() {
    let path = |name: &str| format!("b7f44626/0a1b2c3d4e5f/{name}");
    let tftp = FileProtocol::Tftp;
    let cause = |story: &[(i64, What)]| explained(Mode::Proxy, story).cause;
    let mut story = vec![
        (0, discovers(ClientFamily::RaspberryPi)),
        (1, What::DhcpReply { message: "OFFER".to_owned(), address: None, file: None }),
        (3_000, sent(tftp, "b7f44626/start4.elf", 2_256_800)),
    ];
    assert_eq!(cause(&story), Cause::ProgramSilent);
    story.push((4_000, What::Script { boots: "sunshine".to_owned() }));
    assert_eq!(cause(&story), Cause::KernelNotAskedFor);
    story.push((5_000, requested(tftp, &path("sunshineos-aarch64.initrd"))));
    assert_eq!(cause(&story), Cause::ImageInterrupted);
    story.push((6_000, sent(tftp, &path("sunshineos-aarch64.initrd"), 5_000_000)));
    assert_eq!(cause(&story), Cause::AgentSilent);
    let own_disk = answers("OFFER", None, "boot/d8-3a-dd-01-02-03/own-disk");
    assert_eq!(cause(&[story[0].clone(), (1, own_disk)]), Cause::OwnDisk);
}

#[test]
fn every_silence_has_a_reason_and_an_advice() {
    for silence in [
        Silence::Ignored,
        Silence::NotListed,
        Silence::ClaimedByOther { owner: "somebody".to_owned() },
        Silence::NotNetworkBoot,
        Silence::OtherServer { server: ROUTER },
        Silence::UnknownArchitecture { architecture: 27 },
        Silence::PoolExhausted,
        Silence::UnknownSubnet { relay: ROUTER },
        Silence::Malformed { problem: "no option 53".to_owned() },
        Silence::RateLimited,
        Silence::Suspended { server: ROUTER },
        Silence::Suspended { server: Ipv4Addr::UNSPECIFIED },
        Silence::Off,
        unserved(Unserved::NoFiles),
        unserved(Unserved::NoDriver),
        unserved(Unserved::TooOld),
        unserved(Unserved::Loop),
    ] {
        let story =
            [(0, discovers(ClientFamily::BiosPxe)), (1, What::DhcpSilence(silence.clone()))];
        let explanation = explained(Mode::Off, &story);
        assert_eq!(explanation.cause, Cause::Silenced, "{silence:?}");
        assert!(explanation.summary.contains("on purpose"), "{silence:?}");
        assert!(!explanation.to_string().contains("0.0.0.0"), "{silence:?}");
        assert!(!explanation.advice.is_empty(), "{silence:?}");
    }
}

#[test]
fn nothing_seen_says_where_to_look() {
    insta::assert_snapshot!(explained(Mode::Proxy, &[]));
}

fn probed(protocol: FileProtocol, path: &str) -> What {
    What::FileProbed { protocol, path: path.to_owned() }
}

#[test]
fn a_look_at_a_file_is_no_broken_transfer() {
    let kernel = "image/sunshineos-x86_64.vmlinuz";
    let looks = [
        (7_100, requested(FileProtocol::Http, kernel)),
        (7_101, probed(FileProtocol::Http, kernel)),
    ];
    let until_script =
        [program_loaded(), vec![(7_000, What::Script { boots: "sunshine".to_owned() })]].concat();
    let only_looked = explained(Mode::Proxy, &[&until_script[..], &looks[..]].concat());
    assert_eq!(only_looked.cause, Cause::KernelNotAskedFor);
    // A look at one file does not hide that another broke off.
    let broke = [(7_200, requested(FileProtocol::Http, kernel))];
    let broke_off = explained(Mode::Proxy, &[&until_script[..], &looks[..], &broke[..]].concat());
    assert_eq!(broke_off.cause, Cause::ImageInterrupted);
    let looked_again =
        explained(Mode::Proxy, &[&until_script[..], &broke[..], &looks[..]].concat());
    assert_eq!(looked_again.cause, Cause::ImageInterrupted);
}

#[test]
fn firmware_that_looks_over_http_and_fetches_nothing_is_no_blocked_tftp() {
    let url = "http://10.0.0.2:7480/boot/52-54-00-00-00-01/snponly.efi";
    let mut story = vec![
        (0, discovers(ClientFamily::UefiHttp)),
        (1, answers("OFFER", None, url)),
        (2, router_offers(true)),
        (4_000, asks("REQUEST", ClientFamily::UefiHttp, 67, Some(ROUTER))),
        (5_000, requested(FileProtocol::Http, PROGRAM)),
        (5_001, probed(FileProtocol::Http, PROGRAM)),
    ];
    let looked = explained(Mode::Proxy, &story);
    assert_eq!(looked.cause, Cause::ProgramInterrupted);
    assert!(looked.summary.contains("did not fetch it"), "{}", looked.summary);
    let reason = "not found: dist/ipxe/snponly.efi is missing on the server".to_owned();
    story.push((5_002, requested(FileProtocol::Http, PROGRAM)));
    let failed =
        What::FileFailed { protocol: FileProtocol::Http, path: PROGRAM.to_owned(), reason };
    story.push((5_003, failed));
    let missing = explained(Mode::Proxy, &story);
    assert_eq!(missing.cause, Cause::ProgramInterrupted);
    assert!(missing.summary.contains("is missing on the server"), "{}", missing.summary);
}

#[test]
fn where_dhcp_is_off_a_machine_that_has_an_address_is_not_silenced() {
    let router_names = |file: Option<&str>| {
        let file = file.map(str::to_owned);
        vec![
            (0, discovers(ClientFamily::BiosPxe)),
            (0, What::DhcpSilence(Silence::Off)),
            (2, What::ForeignOffer { server: ROUTER, has_server_identifier: true, file }),
            (4_000, asks("REQUEST", ClientFamily::BiosPxe, 67, Some(ROUTER))),
            (4_000, What::DhcpSilence(Silence::Off)),
        ]
    };
    let cause = |file| explained(Mode::Off, &router_names(file)).cause;
    assert_eq!(cause(None), Cause::NotSentToUs);
    assert_eq!(cause(Some("boot/undionly.kpxe")), Cause::TftpBlocked);
    assert_eq!(cause(Some("http://10.0.0.2:7480/boot/snponly.efi")), Cause::HttpBlocked);
    assert_eq!(cause(Some("pxelinux.0")), Cause::OtherBootServer);
    let blocked = explained(Mode::Off, &router_names(Some("boot/undionly.kpxe")));
    assert!(blocked.summary.contains("boot/undionly.kpxe"), "{}", blocked.summary);
    let asked = (5_000, requested(FileProtocol::Tftp, "boot/undionly.kpxe"));
    let lost = [router_names(None), vec![asked]].concat();
    assert_eq!(explained(Mode::Off, &lost).cause, Cause::TftpBlocked);
}

#[test]
fn the_network_is_the_one_that_the_machine_asked_on() {
    let mut there = context(Mode::Proxy, 100_000);
    there.networks[0].interface = "eth1".to_owned();
    let second = Network {
        address: Ipv4Addr::new(10, 9, 0, 2),
        ..context(Mode::Proxy, 0).networks[0].clone()
    };
    there.networks.push(second);
    let entries: Vec<Entry> = address_taken(ClientFamily::UefiPxe)
        .into_iter()
        .map(|(after, what)| Entry {
            unix_milliseconds: BEGAN + after,
            ..Entry::about(Some(MAC), None, what)
        })
        .collect();
    let expected = explain(&entries, &there).expected.unwrap();
    assert!(expected.contains("10.9.0.2 (eth0)"), "{expected}");
}

#[test]
fn a_refused_report_says_why_until_one_is_taken() {
    for (unfit, said) in [
        (Unfit::TooLarge { limit_bytes: 4 << 20 }, "larger than 4 MiB"),
        (Unfit::TooManyParts, "more ports or disks"),
        (Unfit::Unreadable { problem: "missing field `inventory`".to_owned() }, "missing field"),
        (Unfit::NoRoom, "nobody approved"),
    ] {
        let mut story = kernel_loaded();
        story.push((13_000, What::AnnounceRefused(unfit)));
        let explanation = explained(Mode::Proxy, &story);
        assert_eq!(explanation.cause, Cause::ReportRefused);
        assert!(explanation.summary.contains(said), "{}", explanation.summary);
        assert!(!explanation.advice.is_empty());
        story.push((14_000, What::Announced { agent_version: "0.1.0".to_owned(), complete: true }));
        story.push((14_500, What::RecordWritten { name: "one".to_owned() }));
        assert_eq!(explained(Mode::Proxy, &story).cause, Cause::Recorded);
    }
}

#[test]
fn a_unified_image_that_firmware_does_not_start_is_a_silent_agent() {
    let path = "boot/52-54-00-00-00-01/sunshineos-x86_64-signed.efi";
    let mut story = vec![
        (0, discovers(ClientFamily::UefiHttp)),
        (1, answers("OFFER", None, &format!("http://10.0.0.2:7480/{path}"))),
        (4_000, asks("REQUEST", ClientFamily::UefiHttp, 67, None)),
        (5_000, requested(FileProtocol::Http, path)),
    ];
    assert_eq!(explained(Mode::Proxy, &story).cause, Cause::ImageInterrupted);
    story.push((9_000, sent(FileProtocol::Http, path, 28_000_000)));
    let silent = explained(Mode::Proxy, &story);
    assert_eq!(silent.cause, Cause::AgentSilent);
    assert!(silent.advice.iter().any(|words| words.contains("Secure Boot")), "{:?}", silent.advice);
}

#[test]
fn an_image_that_is_not_there_is_made_for_the_machines_own_architecture() {
    for (architecture, make) in
        [("x86_64", "make image, or"), ("aarch64", "make image ARCH=aarch64, or")]
    {
        let path = format!("image/sunshineos-{architecture}.vmlinuz");
        let mut story = program_loaded();
        story.push((7_000, What::Script { boots: "sunshine".to_owned() }));
        story.push((7_100, requested(FileProtocol::Http, &path)));
        let explanation = explained(Mode::Proxy, &story);
        assert_eq!(explanation.cause, Cause::ImageInterrupted);
        assert!(explanation.advice.iter().any(|words| words.starts_with(make)), "{make}");
    }
}
