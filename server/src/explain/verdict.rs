//! What came of a boot, in words: a sentence, what should have come next, what to try.

use super::{Cause, sentence, traces::Traces};
use crate::{
    journal::{Silence, Unfit, Unserved},
    machine::awaited::words,
};

/// A cause in words.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) summary: String,
    pub(super) expected: Option<String>,
    pub(super) advice: Vec<String>,
}

/// Puts a cause in words.
pub(super) fn of(cause: Cause, traces: &Traces<'_>) -> Verdict {
    match cause {
        Cause::NothingSeen => nothing_seen(),
        Cause::UnderWay => say("the boot goes on; nothing is overdue"),
        Cause::Recorded => recorded(traces),
        Cause::DriversAwaited => drivers_awaited(traces),
        Cause::InitramfsCut => initramfs_cut(),
        Cause::DriversMissing => drivers_missing(traces),
        Cause::OwnDisk => own_disk(),
        Cause::Held => held(traces),
        Cause::RecordFailed => record_failed(traces),
        Cause::RecordMissing => say("the agent announced itself, and no record was written")
            .next("a file in the directory of --hardware")
            .attempt("look into the server's log"),
        Cause::PinMismatch => pin_mismatch(traces),
        Cause::TlsFailed => tls_failed(traces),
        Cause::ReportRefused => report_refused(traces),
        Cause::AgentFailed => agent_failed(traces),
        Cause::AgentSilent => agent_silent(traces),
        Cause::ImageInterrupted => image_interrupted(traces),
        Cause::KernelNotAskedFor => kernel_not_asked_for(traces),
        Cause::BootLoop => boot_loop(traces),
        Cause::HttpBlocked => http_blocked(traces),
        Cause::ProgramInterrupted => program_interrupted(traces),
        Cause::ProgramSilent => program_silent(traces),
        Cause::TftpBlocked => tftp_blocked(traces),
        Cause::Port4011Blocked => port_4011_blocked(traces),
        Cause::RouterWithoutServerIdentifier => router_without_server_identifier(traces),
        Cause::OtherBootServer => other_boot_server(traces),
        Cause::NoAddress => no_address(),
        Cause::OfferIgnored => offer_ignored(),
        Cause::NotSentToUs => not_sent_to_us(traces),
        Cause::Silenced => silenced(traces),
    }
}

fn nothing_seen() -> Verdict {
    say("nothing of this port was ever seen")
        .next("a DISCOVER of its firmware")
        .attempt("check cable, link and VLAN: broadcasts of the machine must reach the server's interface")
        .attempt("set the firmware to boot from the network through this port, before its disks")
        .attempt("check the MAC address: a machine with several ports may boot through another one")
}

fn recorded(traces: &Traces<'_>) -> Verdict {
    match traces.record() {
        Some(Ok(name)) => {
            say(format!("all went well: the machine is known and its record {name} written"))
        }
        _ => say("all went well: the machine is known, and its record was right already"),
    }
}

fn drivers_awaited(traces: &Traces<'_>) -> Verdict {
    let modules = traces.awaited().map(|(modules, _)| words(modules)).unwrap_or_default();
    say(format!("the agent runs, and drivers are on their way to it: {modules}")).next(
        "a report of all devices; until then nothing is decided by what the machine does not show",
    )
}

fn drivers_missing(traces: &Traces<'_>) -> Verdict {
    let modules = traces.awaited().map(|(modules, _)| words(modules)).unwrap_or_default();
    say(format!("the agent runs, and drivers did not come within ten minutes: {modules}"))
        .next("a report of all devices; the machine gets no order before that")
        .attempt("look at the machine's console: the agent says there what it cannot fetch or load")
        .attempt("let server and image be of the same make: dist/store must hold what the image names (make image, --assets)")
        .attempt("restart the machine: drydock machines reboot MACHINE")
}

fn initramfs_cut() -> Verdict {
    say("the agent runs, and the initramfs did not come to it as a whole: disks may be missing from its report")
        .next(
            "the machine starts again, three boots in a row at most, unless it was told to wait, is held or started from a \
             medium; then one that may hide data boots its own disk, and one that is known to be empty, or has an order, waits",
        )
        .attempt("read what is missing: the gap initramfs of drydock machines show MACHINE -o json")
        .attempt("look at how much the boot program loads, at the link, and at the machine's memory")
        .attempt("afterwards, let it start SunshineOS again: drydock machines wait MACHINE, and restart it")
}

fn own_disk() -> Verdict {
    say("all went well: the machine has data on its disks, or nobody could see them in three boots, and no order, so it was sent to its own disk")
        .attempt("to keep it in SunshineOS at its next boot: drydock machines wait MACHINE")
}

fn held(traces: &Traces<'_>) -> Verdict {
    say(format!("the machine is held until a person looks: {}", traces.held().unwrap_or_default()))
        .next("an approval")
        .attempt("compare drydock machines show MACHINE with the machine in front of you, then drydock machines approve MACHINE")
}

fn record_failed(traces: &Traces<'_>) -> Verdict {
    let reason = traces.record().and_then(Result::err).unwrap_or_default();
    say(format!("the machine announced itself, but its record could not be written: {reason}"))
        .next("a file in the directory of --hardware; it is tried again by itself")
        .attempt("make room, or make the directory writable for the user that runs drydock")
}

fn pin_mismatch(traces: &Traces<'_>) -> Verdict {
    let reason = traces.tls_failure().map(|failure| failure.reason).unwrap_or_default();
    say(format!("the agent refuses this server's key, because it is not the one pinned on its command line or in its image: {reason}"))
        .next("an announcement over TLS")
        .attempt("if the machine boots by another server's script, an exported tree or a router's copy: make it again with drydock export, the pin in it is old")
        .attempt("if the state directory was lost or replaced: restore the key with drydock state restore, or let every machine boot anew")
        .attempt("if neither is so, somebody may stand between machine and server: see docs/security.md")
}

fn tls_failed(traces: &Traces<'_>) -> Verdict {
    let tls = traces.network.map_or(7443, |network| network.tls_port);

    let reason = traces.tls_failure().map(|failure| failure.reason).unwrap_or_default();
    say(format!("a conversation on the agents' door failed: {reason}"))
        .next("an announcement over TLS")
        .attempt(format!("let nothing between machine and server touch TCP port {tls}"))
}

fn report_refused(traces: &Traces<'_>) -> Verdict {
    let Some(unfit) = traces.unfit() else { return say("the agent's report was refused") };
    let verdict = say(format!(
        "the agent runs, but its report on the machine was refused: {}",
        sentence::unfitness(unfit)
    ))
    .next("a report that the server takes; the agent tries again by itself");
    match unfit {
        Unfit::TooLarge { .. } | Unfit::TooManyParts => verdict
            .attempt("take out disks with thousands of partitions, or boot without them: on the machine's console the agent says what it found")
            .attempt("boot the newest SunshineOS, which shortens such reports: make image"),
        Unfit::Unreadable { .. } => verdict
            .attempt("let image and server be of the same version: make image drydock, or export the tree again")
            .attempt("if they are, report it, with the sentence above"),
        Unfit::NoRoom => verdict
            .attempt("approve the machines that belong here, and forget the others: drydock machines list")
            .attempt("if you do not know them, somebody on the network invents them: see docs/security.md"),
    }
}

fn agent_failed(traces: &Traces<'_>) -> Verdict {
    say(format!("the agent failed: {}", traces.agent_failure().unwrap_or_default()))
        .next("a restart of the machine by itself, and another announcement")
        .attempt("read the kernel log that it left: drydock explain MACHINE -o json")
        .attempt("report it, with that log")
}

fn agent_silent(traces: &Traces<'_>) -> Verdict {
    let address = server(traces);
    let tls = traces.network.map_or(7443, |network| network.tls_port);
    let verdict = say("kernel and initramfs were loaded, and no agent has announced itself")
        .next(format!("a TLS connection to {address}, TCP port {tls}"))
        .attempt("look at the machine's console: the agent says there what it waits for")
        .attempt(format!("open TCP port {tls} of the server's firewall: drydock listens there"))
        .attempt("give the machine 256 MiB of memory or more")
        .attempt("a network card that the kernel has no driver for cannot speak: try another port");
    if traces.sent(sentence::is_unified).is_none() {
        return verdict;
    }
    verdict.attempt("with Secure Boot firmware starts only what is signed with a key that it knows, and says so on its screen: see docs/security.md")
}

fn image_interrupted(traces: &Traces<'_>) -> Verdict {
    let (path, why) = traces.unfinished_image().unwrap_or(("the image", None));
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let make = if path.contains("-aarch64") { "make image ARCH=aarch64" } else { "make image" };
    say(format!("{path} was asked for and did not arrive whole{why}"))
        .next("the rest of it, then the kernel's start")
        .attempt(format!("{make}, or point --assets at dist/: the file must be there"))
        .attempt("a cable or switch that loses packets shows here first: try another one")
        .attempt("give the machine 256 MiB of memory or more")
}

fn kernel_not_asked_for(traces: &Traces<'_>) -> Verdict {
    let address = server(traces);
    let http = traces.network.map_or(7480, |network| network.http_port);
    say("the script was loaded, and no kernel asked for")
        .next(format!("an HTTP request for the kernel to {address}, port {http}"))
        .attempt("look at the machine's console: iPXE says there what it could not do")
}

fn boot_loop(traces: &Traces<'_>) -> Verdict {
    say(format!(
                "the machine came back {} times without reaching a system",
                traces.loops().unwrap_or_default()
            ))
        .next("a system that starts")
        .attempt("look at the machine's console after the script: the kernel may not start on this machine")
        .attempt("if it shall boot its own disk, put the disk behind the network in the firmware's boot order, not instead of it")
}

fn http_blocked(traces: &Traces<'_>) -> Verdict {
    let address = server(traces);
    let http = traces.network.map_or(7480, |network| network.http_port);
    say(format!("the machine has the script's address and its HTTP request never arrived: TCP port {http} is closed or filtered"))
        .next(format!("an HTTP request to {address}, port {http}"))
        .attempt(format!("open TCP port {http} of the server's firewall"))
        .attempt(format!("from another machine of the network: curl -I http://{}:{http}/boot.ipxe", host(traces)))
        .attempt("machines and server must reach each other: check VLAN and routes")
}

fn program_interrupted(traces: &Traces<'_>) -> Verdict {
    let Some((path, why)) = traces.unfinished_program() else {
        let http = traces.network.map_or(7480, |network| network.http_port);
        let file = traces.offered_file().unwrap_or("the boot file");
        return say(format!("the firmware looked at {file} over HTTP and did not fetch it"))
            .next("a GET for it")
            .attempt("look at the machine's console: firmware says there what it did not like")
            .attempt(format!(
                "let no proxy or filter touch TCP port {http} between machine and server"
            ));
    };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    say(format!("{path} was asked for and did not arrive whole{why}"))
        .next("the rest of it, then a request of iPXE")
        .attempt("point --assets at the files that make image writes: this one must be there")
        .attempt("a cable or switch that loses packets shows here first: try another one")
}

fn program_silent(traces: &Traces<'_>) -> Verdict {
    say(format!("{} was loaded and has not spoken since", traces.sent(|_| true).unwrap_or("the boot program")))
        .next("a DHCP request or a script request of iPXE")
        .attempt("Secure Boot refuses programs that it does not know: switch it off for this machine, or enrol a key (docs/security.md)")
        .attempt("look at the machine's console: firmware says there why it did not start the program")
}

fn tftp_blocked(traces: &Traces<'_>) -> Verdict {
    let address = server(traces);
    let file = traces.offered_file().unwrap_or("the boot file");

    let what = match traces.tftp_timed_out() {
        Some(path) => {
            format!("{path} was asked for over TFTP and the machine never acknowledged it")
        }
        None if traces.has_tftp() => "a file was asked for over TFTP and did not arrive".to_owned(),
        None => format!(
            "the machine has an address and the name of its boot file, {file}, and never asked for it over TFTP"
        ),
    };
    say(format!("{what}: UDP port 69 is blocked"))
        .next(format!("a TFTP read request to {address}, UDP port 69, and the file"))
        .attempt("open UDP port 69 of the server's firewall, in both directions: drydock answers from port 69 itself")
        .attempt("a firewall or switch between machine and server must let UDP port 69 pass")
        .attempt("no other TFTP server may answer for this address")
}

fn port_4011_blocked(traces: &Traces<'_>) -> Verdict {
    let address = server(traces);
    let router = router(traces);

    let what = if traces.requests_on_4011() == 0 {
        "its question on UDP port 4011 never reached us"
    } else if traces.answered_on_4011() {
        "it repeats its question on UDP port 4011, so our answers do not reach it"
    } else {
        "its question on UDP port 4011 was not answered"
    };
    say(format!("the machine took an address of {router} and has our offer, but {what} (firmware shows this as PXE-E16 or PXE-E55)"))
        .next(format!("a request to {address}, UDP port 4011, and our answer with the boot file"))
        .attempt("open UDP port 4011 of the server's firewall, in both directions")
        .attempt("a router or switch between machine and server must let UDP port 4011 pass")
        .attempt("no other program may hold UDP port 4011 on the server")
}

fn router_without_server_identifier(traces: &Traces<'_>) -> Verdict {
    let router = router(traces);
    say(format!("the offer of {router} carries no option 54 (server identifier): UEFI firmware drops it, gets no address and repeats its DISCOVER after 4, 8 and 16 s"))
        .next("a REQUEST that takes the router's address")
        .attempt("make the router send option 54: on most of them a firmware update does")
        .attempt("or let drydock give the addresses: drydockManagesDHCP: true, with the router's DHCP switched off")
}

fn other_boot_server(traces: &Traces<'_>) -> Verdict {
    let other = traces.foreign_boot_server().map_or_else(
                    || format!("the machine chose another DHCP server, {}", traces.chosen_server().map_or_else(String::new, |server| server.to_string())),
                    |(server, file)| format!("another server, {server}, names a boot file of its own, {file}, and the machine followed it"),
                );
    say(other)
        .next("a request to this server")
        .attempt("remove next-server and boot file (options 66 and 67) from that server, or give it the ones of drydock router")
        .attempt("two DHCP servers that both give addresses on one network do not work: switch one off")
}

fn no_address() -> Verdict {
    say("we said what to boot, but no other server was seen to offer an address, and in proxy mode the address is not ours to give")
        .next("an offer of the network's own DHCP server")
        .attempt("check that the router's DHCP is on for this VLAN and has free addresses")
        .attempt("or let drydock give the addresses: drydockManagesDHCP: true")
}

fn offer_ignored() -> Verdict {
    say("our offer was sent and the machine did not take it up")
        .next("a REQUEST")
        .attempt("switches that guard DHCP (\"DHCP snooping\", \"DHCP guarding\") drop offers of servers they do not trust: trust the server's port")
        .attempt("wireless bridges and guest networks drop broadcasts: use a cable")
        .attempt("if another server offers a boot file too, remove it there")
}

/// The server as a person finds it.
fn server(traces: &Traces<'_>) -> String {
    traces.network.map_or_else(
        || "the server".to_owned(),
        |network| format!("{} ({})", network.address, network.interface),
    )
}

/// The other DHCP server, as far as it was seen.
fn router(traces: &Traces<'_>) -> String {
    traces
        .foreign_offer(true)
        .or_else(|| traces.foreign_offer(false))
        .or_else(|| traces.chosen_server())
        .map_or_else(|| "the router".to_owned(), |server| format!("the router, {server},"))
}

fn not_sent_to_us(traces: &Traces<'_>) -> Verdict {
    let (address, router) = (server(traces), router(traces));
    say(format!("DHCP is off here: the machine took an address of {router} and has asked nothing of this server"))
        .next(format!("a request to {address}: TFTP on UDP port 69, or HTTP"))
        .attempt("tell the router to send machines here: drydock router dnsmasq, or drydock router openwrt")
        .attempt("if it was told: open UDP port 69 of the server's firewall, in both directions")
        .attempt("or set drydockManagesDHCP: false (proxy) for this VLAN")
}

fn silenced(traces: &Traces<'_>) -> Verdict {
    let Some(silence) = traces.last_silence() else {
        return say("the machine asked and was not answered")
            .next("an offer")
            .attempt("look into the server's log");
    };
    let verdict =
        say(format!("the machine was not answered on purpose: {}", sentence::reason(silence)));
    match silence {
        Silence::Ignored => verdict.attempt("take it off spec.network.discovery.ignore"),
        Silence::NotListed => verdict.attempt("put it on spec.network.discovery.machines, or set spec.network.discovery.answer to all"),
        Silence::ClaimedByOther { .. } => verdict.attempt("boot it through its owner's server, or take the owner's label off its record"),
        Silence::NotNetworkBoot | Silence::OtherServer { .. } => verdict
        .next("a DISCOVER of its firmware (option 60 PXEClient or HTTPClient)")
        .attempt("set the firmware to boot from the network through this port, before its disks"),
        Silence::UnknownArchitecture { .. } => verdict.attempt("this firmware cannot be served: switch it between BIOS and UEFI, or start the machine from its disk"),
        Silence::RaspberryPi { because, .. } => verdict.attempt(match because {
            Unserved::NoFiles => "make image ARCH=aarch64, and serve what is in dist/ then",
            Unserved::NoDriver => "start it with UEFI firmware and a USB network adapter, or by another server: docs/arm.md says why",
            Unserved::TooOld => "start it from its card: the Raspberry Pi 4 is the first that is served",
            Unserved::Loop => "attach a screen or its serial port: the last lines there say what it lacks",
        }),
        Silence::PoolExhausted => verdict.attempt("widen dhcp.rangeStart and dhcp.rangeEnd, or wait for leases to end"),
        Silence::UnknownSubnet { .. } => verdict.attempt("add the relay's subnet to spec.network.vlans"),
        Silence::Malformed { .. } => verdict.attempt("update the machine's firmware; report it, with a capture of the packet"),
        Silence::RateLimited => verdict.attempt("wait a minute: something on the network asks very often"),
        Silence::Suspended { server } if server.is_unspecified() => {
            verdict.attempt("wait some seconds: the machine asks again")
        }
        Silence::Suspended { .. } => verdict.attempt("switch the other DHCP server off, or set drydockManagesDHCP: false"),
        Silence::Off => verdict.attempt("configure the router with drydock router, or set drydockManagesDHCP: false (proxy) for this VLAN"),
    }
}

fn host(traces: &Traces<'_>) -> String {
    traces.network.map_or_else(|| "SERVER".to_owned(), |network| network.address.to_string())
}

fn say(summary: impl Into<String>) -> Verdict {
    Verdict { summary: summary.into(), expected: None, advice: Vec::new() }
}

impl Verdict {
    fn next(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    fn attempt(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }
}
