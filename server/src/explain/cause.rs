//! What came of a boot, and what to try: from what was reached back to what was not.

use serde::{Deserialize, Serialize};

use super::{
    sentence::{self, is_image, is_script},
    traces::Traces,
};
use crate::journal::{ClientFamily, Silence};

/// Firmware and iPXE take the next step within this time.
const STEP_MILLISECONDS: i64 = 10_000;
/// A boot program starts and speaks within this time: slow firmware unpacks and checks it first.
const PROGRAM_MILLISECONDS: i64 = 20_000;
/// A kernel starts and our agent announces itself within this time.
const KERNEL_MILLISECONDS: i64 = 90_000;

/// What came of a boot, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Nothing of this port was ever seen.
    NothingSeen,
    /// The boot goes on; its next step is not overdue.
    UnderWay,
    /// All went well: the record is written.
    Recorded,
    /// All went well: the machine boots its own disk.
    OwnDisk,
    /// The machine's identity is in doubt: a person must look.
    Held,
    /// The record could not be written.
    RecordFailed,
    /// The agent announced itself, and no record followed.
    RecordMissing,
    /// The machine refuses the server's key.
    PinMismatch,
    /// The conversation over TLS failed for another reason.
    TlsFailed,
    /// The agent failed.
    AgentFailed,
    /// Kernel and initramfs were loaded, and no agent spoke.
    AgentSilent,
    /// Kernel or initramfs did not arrive whole.
    ImageInterrupted,
    /// The script was loaded, and no kernel asked for.
    KernelNotAskedFor,
    /// The machine comes back again and again.
    BootLoop,
    /// iPXE or firmware has our URL, and no HTTP request arrives.
    HttpBlocked,
    /// The boot program was loaded and does not speak.
    ProgramSilent,
    /// The client has our boot file's name and an address, and TFTP does not get through.
    TftpBlocked,
    /// UEFI firmware has an address and our offer, and its question on port 4011 is not answered.
    Port4011Blocked,
    /// The other DHCP server's offer has no option 54, so firmware drops it.
    RouterWithoutServerIdentifier,
    /// Another server named a boot file, and the client went there.
    OtherBootServer,
    /// Nobody gives the machine an address.
    NoAddress,
    /// The client does not take up our offer.
    OfferIgnored,
    /// We chose not to answer.
    Silenced,
}

/// A cause in words.
pub(super) struct Verdict {
    pub(super) summary: String,
    pub(super) expected: Option<String>,
    pub(super) advice: Vec<String>,
}

/// Finds what came of a boot.
pub(super) fn find(traces: &Traces<'_>) -> Cause {
    if traces.entries.is_empty() {
        return Cause::NothingSeen;
    }
    if let Some(cause) = after_the_kernel(traces) {
        return cause;
    }
    if traces.loops().is_some() {
        return Cause::BootLoop;
    }
    if traces.sent_to_own_disk() {
        return Cause::OwnDisk;
    }
    let (cause, patience) = before_the_kernel(traces);
    if traces.quiet_milliseconds < patience { Cause::UnderWay } else { cause }
}

fn after_the_kernel(traces: &Traces<'_>) -> Option<Cause> {
    if let Some(failure) = traces.tls_failure() {
        return Some(if failure.pin_refused { Cause::PinMismatch } else { Cause::TlsFailed });
    }
    if traces.agent_failure().is_some() {
        return Some(Cause::AgentFailed);
    }
    if traces.announced().is_some() && traces.held().is_some() {
        return Some(Cause::Held);
    }
    match traces.record() {
        Some(Ok(_)) => return Some(Cause::Recorded),
        Some(Err(_)) => return Some(Cause::RecordFailed),
        None => {}
    }
    match traces.announced() {
        Some(_) if traces.quiet_milliseconds >= STEP_MILLISECONDS => Some(Cause::RecordMissing),
        Some(_) => Some(Cause::UnderWay),
        None => None,
    }
}

/// Returns what is missing, and after how long it is overdue.
fn before_the_kernel(traces: &Traces<'_>) -> (Cause, i64) {
    if traces.unfinished_image().is_some() {
        return (Cause::ImageInterrupted, STEP_MILLISECONDS);
    }
    if traces.sent(is_image).is_some() {
        return (Cause::AgentSilent, KERNEL_MILLISECONDS);
    }
    if traces.script().is_some() {
        return (Cause::KernelNotAskedFor, STEP_MILLISECONDS);
    }
    // Asking by DHCP again and taking `autoexec.ipxe` are the two ways of iPXE to our URL.
    let has_url = traces.offered_file().is_some_and(|file| file.starts_with("http://"));
    let has_script = traces.sent(is_script).is_some();
    if !traces.has_http()
        && (has_script || (has_url && (traces.has_ipxe() || traces.has_requested())))
    {
        return (Cause::HttpBlocked, STEP_MILLISECONDS);
    }
    if traces.tftp_timed_out().is_some() {
        return (Cause::TftpBlocked, 0);
    }
    if traces.sent(|_| true).is_some() {
        return (Cause::ProgramSilent, PROGRAM_MILLISECONDS);
    }
    before_the_program(traces)
}

fn before_the_program(traces: &Traces<'_>) -> (Cause, i64) {
    if !traces.has_offered() {
        return (Cause::Silenced, 0);
    }
    let is_uefi = traces.firmware() == Some(ClientFamily::UefiPxe);
    let is_repeating = traces.discovers() > 1;
    if traces.has_tftp() || traces.has_http() {
        // Asked for, and neither sent nor timed out.
        return (Cause::TftpBlocked, STEP_MILLISECONDS);
    }
    if traces.is_proxy() {
        if traces.requests_on_4011() > 0 {
            // A client that had our answer would not ask again.
            let is_lost = traces.requests_on_4011() > 1 || !traces.answered_on_4011();
            let cause = if is_lost { Cause::Port4011Blocked } else { Cause::TftpBlocked };
            return (cause, STEP_MILLISECONDS);
        }
        if traces.foreign_offer(false).is_some() && !traces.has_requested() {
            return (Cause::RouterWithoutServerIdentifier, STEP_MILLISECONDS);
        }
        if traces.has_requested() {
            if traces.foreign_boot_server().is_some() {
                return (Cause::OtherBootServer, STEP_MILLISECONDS);
            }
            let cause = if is_uefi { Cause::Port4011Blocked } else { Cause::TftpBlocked };
            return (cause, STEP_MILLISECONDS);
        }
        if traces.foreign_offer(true).is_none() {
            return (Cause::NoAddress, STEP_MILLISECONDS);
        }
        return (Cause::OfferIgnored, STEP_MILLISECONDS);
    }
    if traces.has_requested() {
        let server = traces.network.map(|network| network.address);
        let is_ours = traces.chosen_server().is_none() || traces.chosen_server() == server;
        let cause = if is_ours { Cause::TftpBlocked } else { Cause::OtherBootServer };
        return (cause, STEP_MILLISECONDS);
    }
    (Cause::OfferIgnored, if is_repeating { 0 } else { STEP_MILLISECONDS })
}

impl Cause {
    /// Puts the cause in words.
    pub(super) fn verdict(self, traces: &Traces<'_>) -> Verdict {
        let address = traces.network.map_or_else(
            || "the server".to_owned(),
            |network| format!("{} ({})", network.address, network.interface),
        );
        let http = traces.network.map_or(7480, |network| network.http_port);
        let tls = traces.network.map_or(7443, |network| network.tls_port);
        let file = traces.offered_file().unwrap_or("the boot file");
        let router = traces
            .foreign_offer(true)
            .or_else(|| traces.foreign_offer(false))
            .or_else(|| traces.chosen_server())
            .map_or_else(|| "the router".to_owned(), |server| format!("the router, {server},"));
        match self {
            Self::NothingSeen => say("nothing of this port was ever seen")
                .next("a DISCOVER of its firmware")
                .attempt("check cable, link and VLAN: broadcasts of the machine must reach the server's interface")
                .attempt("set the firmware to boot from the network through this port, before its disks")
                .attempt("check the MAC address: a machine with several ports may boot through another one"),
            Self::UnderWay => say("the boot goes on; nothing is overdue"),
            Self::Recorded => match traces.record() {
                Some(Ok(name)) => say(format!("all went well: the machine is known and its record {name} written")),
                _ => say("all went well: the record is written"),
            },
            Self::OwnDisk => say("all went well: the machine has data on its disks and no order, so it was sent to its own disk")
                .attempt("to keep it in SunshineOS at its next boot: drydock machines wait MACHINE"),
            Self::Held => say(format!("the machine is held until a person looks: {}", traces.held().unwrap_or_default()))
                .next("an approval")
                .attempt("compare drydock machines show MACHINE with the machine in front of you, then drydock machines approve MACHINE"),
            Self::RecordFailed => {
                let reason = traces.record().and_then(Result::err).unwrap_or_default();
                say(format!("the machine announced itself, but its record could not be written: {reason}"))
                    .next("a file in the directory of --hardware; it is tried again by itself")
                    .attempt("make room, or make the directory writable for the user that runs drydock")
            }
            Self::RecordMissing => say("the agent announced itself, and no record was written")
                .next("a file in the directory of --hardware")
                .attempt("look into the server's log"),
            Self::PinMismatch => {
                let reason = traces.tls_failure().map(|failure| failure.reason).unwrap_or_default();
                say(format!("the agent refuses this server's key, because it is not the one pinned on its command line: {reason}"))
                    .next("an announcement over TLS")
                    .attempt("if the machine boots by another server's script, an exported tree or a router's copy: make it again with drydock export, the pin in it is old")
                    .attempt("if the state directory was lost or replaced: restore the key with drydock state restore, or let every machine boot anew")
                    .attempt("if neither is so, somebody may stand between machine and server: see docs/security.md")
            }
            Self::TlsFailed => {
                let reason = traces.tls_failure().map(|failure| failure.reason).unwrap_or_default();
                say(format!("a conversation on the agents' door failed: {reason}"))
                    .next("an announcement over TLS")
                    .attempt(format!("let nothing between machine and server touch TCP port {tls}"))
            }
            Self::AgentFailed => say(format!("the agent failed: {}", traces.agent_failure().unwrap_or_default()))
                .next("a restart of the machine by itself, and another announcement")
                .attempt("read the kernel log that it left: drydock explain MACHINE -o json")
                .attempt("report it, with that log"),
            Self::AgentSilent => say("kernel and initramfs were loaded, and no agent has announced itself")
                .next(format!("a TLS connection to {address}, TCP port {tls}"))
                .attempt("look at the machine's console: the agent says there what it waits for")
                .attempt(format!("open TCP port {tls} of the server's firewall: drydock listens there"))
                .attempt("give the machine 256 MiB of memory or more")
                .attempt("a network card that the kernel has no driver for cannot speak: try another port"),
            Self::ImageInterrupted => {
                let (path, why) = traces.unfinished_image().unwrap_or(("the image", None));
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                say(format!("{path} was asked for and did not arrive whole{why}"))
                    .next("the rest of it, then the kernel's start")
                    .attempt("make image, or point --assets at dist/: the file must be there")
                    .attempt("a cable or switch that loses packets shows here first: try another one")
                    .attempt("give the machine 256 MiB of memory or more")
            }
            Self::KernelNotAskedFor => say("the script was loaded, and no kernel asked for")
                .next(format!("an HTTP request for the kernel to {address}, port {http}"))
                .attempt("look at the machine's console: iPXE says there what it could not do"),
            Self::BootLoop => say(format!(
                "the machine came back {} times without reaching a system",
                traces.loops().unwrap_or_default()
            ))
            .next("a system that starts")
            .attempt("look at the machine's console after the script: the kernel may not start on this machine")
            .attempt("if it shall boot its own disk, put the disk behind the network in the firmware's boot order, not instead of it"),
            Self::HttpBlocked => say(format!("the machine has the script's address and its HTTP request never arrived: TCP port {http} is closed or filtered"))
                .next(format!("an HTTP request to {address}, port {http}"))
                .attempt(format!("open TCP port {http} of the server's firewall"))
                .attempt(format!("from another machine of the network: curl -I http://{}:{http}/boot.ipxe", host(traces)))
                .attempt("machines and server must reach each other: check VLAN and routes"),
            Self::ProgramSilent => say(format!("{} was loaded and has not spoken since", traces.sent(|_| true).unwrap_or("the boot program")))
                .next("a DHCP request or a script request of iPXE")
                .attempt("Secure Boot refuses programs that it does not know: switch it off for this machine, or enrol a key (docs/security.md)")
                .attempt("look at the machine's console: firmware says there why it did not start the program"),
            Self::TftpBlocked => {
                let what = match traces.tftp_timed_out() {
                    Some(path) => format!("{path} was asked for over TFTP and the machine never acknowledged it"),
                    None if traces.has_tftp() => "a file was asked for over TFTP and did not arrive".to_owned(),
                    None => format!("the machine has an address and the name of its boot file, {file}, and never asked for it over TFTP"),
                };
                say(format!("{what}: UDP port 69 is blocked"))
                    .next(format!("a TFTP read request to {address}, UDP port 69, and the file"))
                    .attempt("open UDP port 69 of the server's firewall, in both directions: drydock answers from port 69 itself")
                    .attempt("a firewall or switch between machine and server must let UDP port 69 pass")
                    .attempt("no other TFTP server may answer for this address")
            }
            Self::Port4011Blocked => {
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
            Self::RouterWithoutServerIdentifier => say(format!("the offer of {router} carries no option 54 (server identifier): UEFI firmware drops it, gets no address and repeats its DISCOVER after 4, 8 and 16 s"))
                .next("a REQUEST that takes the router's address")
                .attempt("make the router send option 54: on most of them a firmware update does")
                .attempt("or let drydock give the addresses: drydockManagesDHCP: true, with the router's DHCP switched off"),
            Self::OtherBootServer => {
                let other = traces.foreign_boot_server().map_or_else(
                    || format!("the machine chose another DHCP server, {}", traces.chosen_server().map_or_else(String::new, |server| server.to_string())),
                    |(server, file)| format!("another server, {server}, names a boot file of its own, {file}, and the machine followed it"),
                );
                say(other)
                    .next("a request to this server")
                    .attempt("remove next-server and boot file (options 66 and 67) from that server, or give it the ones of drydock router")
                    .attempt("two DHCP servers that both give addresses on one network do not work: switch one off")
            }
            Self::NoAddress => say("we said what to boot, but no other server was seen to offer an address, and in proxy mode the address is not ours to give")
                .next("an offer of the network's own DHCP server")
                .attempt("check that the router's DHCP is on for this VLAN and has free addresses")
                .attempt("or let drydock give the addresses: drydockManagesDHCP: true"),
            Self::OfferIgnored => say("our offer was sent and the machine did not take it up")
                .next("a REQUEST")
                .attempt("switches that guard DHCP (\"DHCP snooping\", \"DHCP guarding\") drop offers of servers they do not trust: trust the server's port")
                .attempt("wireless bridges and guest networks drop broadcasts: use a cable")
                .attempt("if another server offers a boot file too, remove it there"),
            Self::Silenced => silenced(traces),
        }
    }
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
        Silence::PoolExhausted => verdict.attempt("widen dhcp.rangeStart and dhcp.rangeEnd, or wait for leases to end"),
        Silence::UnknownSubnet { .. } => verdict.attempt("add the relay's subnet to spec.network.vlans"),
        Silence::Malformed { .. } => verdict.attempt("update the machine's firmware; report it, with a capture of the packet"),
        Silence::RateLimited => verdict.attempt("wait a minute: something on the network asks very often"),
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
