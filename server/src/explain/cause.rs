//! What came of a boot: from what was reached back to what was not.

use serde::{Deserialize, Serialize};

use super::{
    sentence::{is_image, is_script},
    traces::Traces,
};
use crate::{journal::ClientFamily, machine::awaited::lacks_initramfs};

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
    /// The agent runs, and drivers are on their way to it.
    DriversAwaited,
    /// The agent runs, and drivers did not come within ten minutes.
    DriversMissing,
    /// The agent runs, and the initramfs did not come to it as a whole.
    InitramfsCut,
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
    /// The agent's report was refused.
    ReportRefused,
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
    /// The boot program was asked for and did not arrive whole.
    ProgramInterrupted,
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
    /// DHCP is the router's, it gave an address, and the machine asked nothing of us.
    NotSentToUs,
    /// We chose not to answer.
    Silenced,
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
    if traces.unfit().is_some() {
        return Some(Cause::ReportRefused);
    }
    if traces.agent_failure().is_some() {
        return Some(Cause::AgentFailed);
    }
    if traces.announced().is_some() && traces.held().is_some() {
        return Some(Cause::Held);
    }
    let awaited = traces.awaited().filter(|_| !matches!(traces.record(), Some(Err(_))));
    if awaited.is_some_and(|(modules, _)| lacks_initramfs(modules)) {
        return Some(Cause::InitramfsCut);
    }
    if let Some((_, is_overdue)) = awaited {
        return Some(if is_overdue { Cause::DriversMissing } else { Cause::DriversAwaited });
    }
    match traces.record() {
        Some(Ok(_)) => return Some(Cause::Recorded),
        Some(Err(_)) => return Some(Cause::RecordFailed),
        None => {}
    }
    match traces.announced() {
        Some(true) if traces.has_record => Some(Cause::Recorded),
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
    if let Some((_, why)) = traces.unfinished_program() {
        // Over TFTP a request without an end is one whose answers get lost.
        let is_lost = why.is_none() && !traces.has_http();
        let cause = if is_lost { Cause::TftpBlocked } else { Cause::ProgramInterrupted };
        return (cause, STEP_MILLISECONDS);
    }
    before_the_program(traces)
}

fn before_the_program(traces: &Traces<'_>) -> (Cause, i64) {
    if traces.has_http() {
        // Looked at and not fetched.
        return (Cause::ProgramInterrupted, STEP_MILLISECONDS);
    }
    if traces.has_tftp() {
        // Asked for, and neither sent nor timed out.
        return (Cause::TftpBlocked, STEP_MILLISECONDS);
    }
    if traces.is_off() && traces.has_requested() {
        return where_the_router_sends(traces);
    }
    if !traces.has_offered() {
        return (Cause::Silenced, 0);
    }
    let is_uefi = traces.firmware() == Some(ClientFamily::UefiPxe);
    let is_repeating = traces.discovers() > 1;
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

/// Returns what is missing where the router says what to boot, has given an address, and nothing was asked of us.
fn where_the_router_sends(traces: &Traces<'_>) -> (Cause, i64) {
    let cause = match traces.foreign_boot_server() {
        // Its offer was not heard, or named nothing.
        None => Cause::NotSentToUs,
        Some((_, file)) if file.starts_with("http://") => Cause::HttpBlocked,
        Some((_, file)) if is_ours(file) => Cause::TftpBlocked,
        Some(_) => Cause::OtherBootServer,
    };
    (cause, STEP_MILLISECONDS)
}

/// Holds for the names in `drydock router`'s recipes.
fn is_ours(file: &str) -> bool {
    file.starts_with("boot/")
}
