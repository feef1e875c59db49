//! Every entry in words, and the reason for every silence in a sentence.

use protocol::{
    Bytes, EventKind,
    wipe::{WipeStep, WipeStepKind},
};

use super::Stage;
use crate::{
    boot::{Image, Unified},
    certificate::policy::technique_words,
    journal::{ClientFamily, FileProtocol, Silence, Unfit, Unserved, What},
    machine::{
        awaited::{lacks_initramfs, words},
        wipe::{progress_words, verdict_words},
    },
};

/// Says what happened, and how far the boot was.
pub(super) fn of(what: &What) -> (Stage, String) {
    match what {
        What::DhcpRequest { message, family, architecture, port, chosen_server, interface: _ } => {
            let parts = [
                Some(format!("{message} from {}", speaker(*family))),
                architecture.map(|architecture| format!("architecture {architecture}")),
                (*port != 67).then(|| format!("on port {port}")),
                chosen_server.map(|server| format!("choosing {server}")),
            ];
            (Stage::Dhcp, list(parts))
        }
        What::DhcpReply { message, address, file } => {
            let parts = [
                Some(format!("{message} sent")),
                address.map(|address| format!("address {address}")),
                file.as_ref().map(|file| format!("boot file {file}")),
            ];
            (Stage::Dhcp, list(parts))
        }
        What::DhcpSilence(silence) => (Stage::Dhcp, format!("not answered: {}", reason(silence))),
        What::ForeignOffer { server, has_server_identifier, file } => {
            let parts = [
                Some(format!("OFFER seen of another server, {server}")),
                (!has_server_identifier).then(|| "without option 54".to_owned()),
                file.as_ref().map(|file| format!("boot file {file}")),
            ];
            (Stage::Dhcp, list(parts))
        }
        What::FileRequest { protocol, path } => {
            (file_stage(path), format!("asked for {path} over {}", name(*protocol)))
        }
        What::FileProbed { protocol, path } => {
            (file_stage(path), format!("told the state of {path} over {}", name(*protocol)))
        }
        What::FileSent { protocol, path, size_bytes } => {
            let size = Bytes(*size_bytes);
            (file_stage(path), format!("{path} sent over {}, {size}", name(*protocol)))
        }
        What::FileFailed { protocol, path, reason } => {
            (file_stage(path), format!("{path} not sent over {}: {reason}", name(*protocol)))
        }
        What::Script { boots } => (Stage::Script, format!("script sent, boots {boots}")),
        What::BootLoop { rounds } => {
            (Stage::Script, format!("came back {rounds} times without reaching a system"))
        }
        What::TlsFailed { reason, pin_refused: true } => {
            (Stage::Agent, format!("refused the server's key: {reason}"))
        }
        What::TlsFailed { reason, pin_refused: false } => {
            (Stage::Agent, format!("TLS failed: {reason}"))
        }
        What::AnnounceRefused(unfit) => {
            (Stage::Agent, format!("its report was refused: {}", unfitness(unfit)))
        }
        What::Announced { agent_version, complete } => {
            let picture = if *complete { "complete" } else { "still probing" };
            (Stage::Agent, format!("announced itself, agent {agent_version}, {picture}"))
        }
        What::DriversAwaited { modules, overdue } if lacks_initramfs(modules) => {
            let rest = if *overdue { ", and nothing more comes in this boot" } else { "" };
            (Stage::Agent, format!("its initramfs did not come as a whole{rest}"))
        }
        What::DriversAwaited { modules, overdue: false } => {
            (Stage::Agent, format!("drivers are on their way to it: {}", words(modules)))
        }
        What::DriversAwaited { modules, overdue: true } => {
            (Stage::Agent, format!("drivers were not there after ten minutes: {}", words(modules)))
        }
        What::RecordWritten { name } => (Stage::Record, format!("record {name} written")),
        What::RecordFailed { reason } => (Stage::Record, format!("record not written: {reason}")),
        What::Instructed { verb, sequence } => {
            (Stage::Order, format!("told to {verb}, instruction {sequence}"))
        }
        What::Ordered { order, by } => (Stage::Order, format!("{by} ordered: {order}")),
        What::Order { order, became } => (Stage::Order, format!("order {order}: {became}")),
        What::MetadataServed { order, name } => {
            (Stage::Order, format!("the system of order {order} fetched its {name}"))
        }
        What::PhonedHome { order, hostname, .. } => {
            let host = hostname.as_deref().unwrap_or("the system");
            (Stage::Order, format!("{host} says that it is installed, order {order}"))
        }
        What::Held { reason } => (Stage::Order, format!("held: {reason}")),
        What::Agent(event) => (Stage::Agent, event_text(&event.kind)),
    }
}

fn list<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

/// Says why nothing was answered.
pub(super) fn reason(silence: &Silence) -> String {
    match silence {
        Silence::Ignored => "the machine is on the ignore list".to_owned(),
        Silence::NotListed => {
            "only listed machines are answered, and this one is not listed".to_owned()
        }
        Silence::ClaimedByOther { owner } => format!("the machine belongs to {owner}"),
        Silence::NotNetworkBoot => {
            "no network boot, so the business of the network's own DHCP server".to_owned()
        }
        Silence::OtherServer { server } => format!("meant for another server, {server}"),
        Silence::UnknownArchitecture { architecture } => {
            format!("there is no boot program for architecture {architecture}")
        }
        Silence::PoolExhausted => "the range has no free address".to_owned(),
        Silence::UnknownSubnet { relay } => format!("no subnet of ours lies behind relay {relay}"),
        Silence::Malformed { problem } => format!("the request made no sense: {problem}"),
        Silence::RateLimited => "too many requests in a short time".to_owned(),
        Silence::Suspended { server } if server.is_unspecified() => {
            "our DHCP holds still until it has seen that no other server answers".to_owned()
        }
        Silence::Suspended { server } => {
            format!("another DHCP server, {server}, was seen, so ours holds still")
        }
        Silence::Off => "DHCP is off on this interface".to_owned(),
        Silence::RaspberryPi { model, because } => match because {
            Unserved::NoFiles => format!("the images have no files for a {model}"),
            Unserved::NoDriver => {
                format!("the kernel of the images does not know a {model}")
            }
            Unserved::TooOld => format!("a {model} is not served"),
            Unserved::Loop => {
                format!("this {model} came back again and again without reaching a system")
            }
        },
    }
}

/// Says what is wrong with a report.
pub(super) fn unfitness(unfit: &Unfit) -> String {
    match unfit {
        Unfit::TooLarge { limit_bytes } => {
            format!("it is larger than {}", Bytes(*limit_bytes))
        }
        Unfit::TooManyParts => "it lists more ports or disks than any machine has".to_owned(),
        Unfit::Unreadable { problem } => format!("it cannot be read: {problem}"),
        Unfit::NoRoom => {
            "as many machines are remembered as there is room for that nobody approved".to_owned()
        }
    }
}

fn speaker(family: ClientFamily) -> &'static str {
    match family {
        ClientFamily::BiosPxe => "BIOS PXE firmware",
        ClientFamily::UefiPxe => "UEFI PXE firmware",
        ClientFamily::UefiHttp => "UEFI HTTP Boot firmware",
        ClientFamily::Ipxe => "iPXE",
        ClientFamily::RaspberryPi => "a Raspberry Pi",
        ClientFamily::Agent => "our agent",
        ClientFamily::Other => "an ordinary DHCP client",
    }
}

fn name(protocol: FileProtocol) -> &'static str {
    match protocol {
        FileProtocol::Tftp => "TFTP",
        FileProtocol::Http => "HTTP",
    }
}

fn file_stage(path: &str) -> Stage {
    if is_image(path) {
        Stage::Kernel
    } else if is_script(path) {
        Stage::Script
    } else {
        Stage::Program
    }
}

/// Holds for kernel, initramfs and packs, also where they are one file.
pub(super) fn is_image(path: &str) -> bool {
    let is_of_board = || last(path).is_some_and(|name| Image::named(name).is_some());
    path.contains("image/") || path.contains("pack/") || is_unified(path) || is_of_board()
}

/// Holds for kernel and initramfs in one file, which firmware starts.
pub(super) fn is_unified(path: &str) -> bool {
    last(path).is_some_and(|name| Unified::named(name).is_some())
}

fn last(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// Holds for iPXE scripts, static and rendered.
pub(super) fn is_script(path: &str) -> bool {
    path.split(['/', '?']).any(|part| part.rsplit_once('.').is_some_and(|name| name.1 == "ipxe"))
}

fn event_text(kind: &EventKind) -> String {
    match kind {
        EventKind::Obeys { sequence } => format!("carries out instruction {sequence}"),
        EventKind::Refused { sequence: Some(sequence), reason } => {
            format!("refused instruction {sequence}: {reason}")
        }
        EventKind::Refused { sequence: None, reason } => format!("refused: {reason}"),
        EventKind::Link { port, up: true } => format!("{port} has a link"),
        EventKind::Link { port, up: false } => format!("{port} has lost its link"),
        EventKind::Leaves { reason } => format!("goes down: {reason}"),
        EventKind::Failed { reason, .. } => format!("failed: {reason}"),
        EventKind::Progress(progress) => {
            let done = [progress.written_bytes, progress.zeroed_bytes, progress.unchanged_bytes];
            let done = Bytes(done.iter().fold(0, |sum, bytes| sum.saturating_add(bytes.0)));
            match progress.image_bytes {
                Some(size) => format!("installs: {done} of {size} on the disk"),
                None => format!("installs: {done} on the disk"),
            }
        }
        EventKind::Installed { .. } => "the image is on its disk".to_owned(),
        EventKind::OrderFailed { reason, touched: true, .. } => {
            format!("order failed, the disk is not what it was: {reason}")
        }
        EventKind::OrderFailed { reason, touched: false, .. } => {
            format!("order failed, nothing was changed: {reason}")
        }
        EventKind::WipeProgress(progress) => progress_words(Some(progress)),
        EventKind::WipeStep { step, .. } => step_text(step),
        EventKind::Wiped { .. } => "handed in the report of a wipe".to_owned(),
        EventKind::Other => "told something that this server does not know".to_owned(),
    }
}

fn step_text(step: &WipeStep) -> String {
    let disk = step.disk;
    match &step.kind {
        WipeStepKind::Canaries {} => format!("wipes: writes canaries to disk {disk}"),
        WipeStepKind::AtaPassword { .. } => format!("wipes: sets an ATA password on disk {disk}"),
        WipeStepKind::Begin { technique } => {
            format!("wipes: begins on disk {disk}: {}", technique_words(*technique))
        }
        WipeStepKind::Watermark { pass, bytes } => {
            format!("wipes: pass {pass} of disk {disk} is done up to {bytes}")
        }
        WipeStepKind::Verify {} => format!("wipes: reads disk {disk} back"),
        WipeStepKind::Over { verdict } => {
            format!("wipes: disk {disk} is over: {}", verdict_words(*verdict))
        }
        WipeStepKind::Other => {
            format!("wipes: does something to disk {disk} that this server does not know")
        }
    }
}
