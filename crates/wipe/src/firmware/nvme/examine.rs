//! What an NVMe controller and a namespace say that they can.

use disk::command::{NvmeController, NvmeFailure};
use protocol::wipe::{Expected, Technique};

use super::super::tape::Tape;
use super::super::{Examined, FirmwareError, Obstacle, Reach, Running};
use super::Port;
use super::command::{Action, IDENTIFY_BYTES, Identify};
use super::identify::{self, Controller, Namespace, Operation, SanitizeLog};

/// Asks a controller and a namespace what they can.
pub(in super::super) fn examine(
    controller: &dyn NvmeController,
    nsid: u32,
) -> Result<Examined, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { controller, tape: &mut tape };
    let identity = port.controller().map_err(|failure| refusal("IDENTIFY CONTROLLER", failure))?;
    let namespace =
        port.namespace(nsid).map_err(|failure| refusal("IDENTIFY NAMESPACE", failure))?;
    let mut examined = Examined {
        model: identity.model.clone(),
        serial: identity.serial.clone(),
        firmware: identity.firmware.clone(),
        native_bytes: u64::try_from(identity.total_bytes).ok().filter(|bytes| *bytes != 0),
        discarded_reads: namespace.deallocated(),
        ..Examined::default()
    };
    capabilities(&identity, &namespace, &mut examined);
    // A controller without sanitize has no such log.
    let log = if identity.can_sanitize(Action::ExitFailure) {
        let log = port.sanitize_log().map_err(|failure| refusal("GET LOG PAGE 81h", failure))?;
        examined.says("SPROG", log.progress, 4);
        examined.says("SSTAT", log.status, 4);
        examined.says("SCDW10", log.dword, 8);
        Some(log)
    } else {
        None
    };
    match log.as_ref().map(SanitizeLog::operation) {
        Some(Operation::Running) => {
            let technique = log.as_ref().and_then(SanitizeLog::technique);
            let progress = log.as_ref().map(|log| log.progress);
            examined.running = Some(Running { technique, progress });
        }
        Some(Operation::Failed) => examined.is_sanitize_failed = true,
        Some(Operation::Unclear) => examined.is_standing_unknown = true,
        _ => {}
    }
    if let (None, Some(progress)) = (&examined.running, namespace.format_progress()) {
        examined.running = Some(Running { technique: None, progress: Some(progress) });
    }
    offers(&identity, &namespace, log.as_ref(), &mut examined);
    obstacles(&mut port, nsid, &identity, &namespace, &mut examined);
    if identity.rpmbs & 7 != 0 {
        examined.out_of_scope.push("replay protected memory blocks".to_owned());
    }
    examined.out_of_scope.push("boot partitions and controller memory, if any".to_owned());
    Ok(examined)
}

fn capabilities(identity: &Controller, namespace: &Namespace, examined: &mut Examined) {
    examined.says("CMIC", identity.cmic, 2);
    examined.says("OACS", identity.oacs, 4);
    examined.says("ONCS", identity.oncs, 4);
    examined.says("FNA", identity.fna, 2);
    examined.says("VWC", identity.vwc, 2);
    examined.says("SANICAP", identity.sanicap, 8);
    examined.says("TNVMCAP", identity.total_bytes, 1);
    examined.says("UNVMCAP", identity.unallocated_bytes, 1);
    examined.says("NSZE", namespace.sectors, 1);
    examined.says("FLBAS", namespace.flbas, 2);
    examined.says("DPS", namespace.dps, 2);
    examined.says("NMIC", namespace.nmic, 2);
    examined.says("DLFEAT", namespace.dlfeat, 2);
    examined.says("NSATTR", namespace.nsattr, 2);
}

fn offers(
    identity: &Controller,
    namespace: &Namespace,
    log: Option<&SanitizeLog>,
    examined: &mut Examined,
) {
    let deallocated = namespace.deallocated().unwrap_or(Expected::NoCanary);
    if identity.can_sanitize(Action::Block) {
        let estimate = log.and_then(|log| log.block);
        examined.offers(Technique::NvmeSanitizeBlock, estimate, Reach::Everything, deallocated);
    }
    if identity.can_sanitize(Action::Crypto) {
        let estimate = log.and_then(|log| log.crypto);
        let expected = Expected::NoCanary;
        examined.offers(Technique::NvmeSanitizeCrypto, estimate, Reach::Everything, expected);
    }
    if identity.can_sanitize(Action::Overwrite) {
        let estimate = log.and_then(|log| log.overwrite);
        examined.offers(Technique::NvmeSanitizeOverwrite, estimate, Reach::Everything, deallocated);
    }
    let reach = if identity.formats_all() { Reach::Everything } else { Reach::Addressed };
    if identity.can_format_crypto() {
        examined.offers(Technique::NvmeFormatCrypto, None, reach, Expected::NoCanary);
    }
    if identity.can_format() {
        examined.offers(Technique::NvmeFormatErase, None, reach, deallocated);
    }
}

fn obstacles(
    port: &mut Port<'_>,
    nsid: u32,
    identity: &Controller,
    namespace: &Namespace,
    examined: &mut Examined,
) {
    let mut nsids = Vec::new();
    let mut add = |list: Result<[u8; IDENTIFY_BYTES], NvmeFailure>| {
        // Controllers of specification 1.0 have no lists, and one namespace as a rule.
        nsids.extend(list.iter().flat_map(|list| identify::namespaces(list)));
    };
    add(port.identify(Identify::ActiveNamespaces));
    if identity.manages_namespaces() {
        add(port.identify(Identify::AllocatedNamespaces));
    }
    nsids.retain(|beside| *beside != nsid);
    nsids.sort_unstable();
    nsids.dedup();
    if !nsids.is_empty() {
        examined.obstacles.push(Obstacle::NamespacesBeside { nsids });
    }
    if identity.unallocated_bytes != 0 {
        let bytes = u64::try_from(identity.unallocated_bytes).unwrap_or(u64::MAX);
        examined.obstacles.push(Obstacle::Unallocated { bytes });
    }
    let is_protected = namespace.formatting.protection != 0;
    let is_usual = matches!(namespace.sector_bytes, 512 | 4096);
    if is_protected || namespace.metadata_bytes != 0 || !is_usual {
        examined.obstacles.push(Obstacle::Sectors {
            data_bytes: namespace.sector_bytes,
            metadata_bytes: namespace.metadata_bytes,
            is_protected,
        });
    }
    if namespace.nsattr & 1 != 0 {
        examined.obstacles.push(Obstacle::WriteProtected);
    }
}

fn refusal(name: &'static str, failure: NvmeFailure) -> FirmwareError {
    match failure {
        NvmeFailure::Status(status) => {
            FirmwareError::Refused { name, completion: format!("{status:04x}") }
        }
        NvmeFailure::NoAnswer(source) => FirmwareError::NoAnswer { name, source },
    }
}
