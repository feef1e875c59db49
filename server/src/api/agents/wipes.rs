//! What agents say of wipes: steps are on disk before they go on, reports are judged and certified before they are thanked.

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use protocol::{
    EventKind,
    wipe::{MOST_DISKS, WipeReport, WipeStepKind, canonical},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Harbour, refuse};
use crate::{
    api::door::{Peer, PeerKey},
    certificate::{CertificateError, HandedIn, verify_agent},
    machine::wipe::StepError,
    moment,
    text::chain,
};

/// A report as an agent hands it in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed<'a> {
    /// As it was read.
    pub(super) report: &'a WipeReport,
    /// The agent's signature.
    pub(super) signature: &'a str,
    /// The event that it was read from, as the agent wrote it.
    pub(super) event: &'a str,
}

/// What of such an event is signed.
#[derive(Deserialize)]
struct Signed {
    report: Value,
}

/// Says why a step is not taken: the agent must not take it either.
///
/// Never 410 or 503: the agent says such events again, and its report waits behind them.
pub(super) fn refuse_step(error: StepError) -> Response {
    let status = match error {
        StepError::NotItsOrder => StatusCode::UNPROCESSABLE_ENTITY,
        StepError::Nonsense => StatusCode::BAD_REQUEST,
        StepError::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
    };
    refuse(status, &error)
}

/// Holds for a step that only says how far a pass is: it stands in the order, and would fill the machine's story.
pub(super) fn is_watermark(kind: &EventKind) -> bool {
    let EventKind::WipeStep { step, .. } = kind else { return false };
    matches!(step.kind, WipeStepKind::Watermark { .. })
}

/// Judges and certifies a report; returns why not, if so. Whether that is on disk, is asked after it.
pub(super) async fn certify(
    harbour: &Harbour,
    peer: Peer,
    key: &PeerKey,
    told: Handed<'_>,
) -> Option<Response> {
    let (session, id) = (peer.session, told.report.order);
    let Some((machine, order)) = harbour.registry.reports(session, id) else {
        // The thanks for it were lost.
        let is_known = harbour.registry.has_reported(session, id);
        let problem = "no order to wipe that this boot was given";
        let refusal = || refuse(StatusCode::UNPROCESSABLE_ENTITY, &problem);
        return (!is_known).then(refusal);
    };
    let Some(wipe) = order.wipe() else {
        return Some(refuse(StatusCode::UNPROCESSABLE_ENTITY, &"the order is no wipe"));
    };
    // Until it is made, also where the agent has hung up meanwhile: it hands it in again.
    let alone = Arc::clone(&harbour.reports).acquire_owned().await;
    let raw = serde_json::from_str::<Signed>(told.event).map(|signed| signed.report);
    let raw = raw.unwrap_or_default();
    let is_signed = canonical(&raw).is_ok_and(|text| verify_agent(&key.0, &text, told.signature));
    if !is_signed {
        tracing::warn!(machine = machine.name, "the report of a wipe is not signed by its agent");
        let problem = "the signature is not this agent's over the report's canonical JSON";
        return Some(refuse(StatusCode::BAD_REQUEST, &problem));
    }
    if told.report.disks.len() > MOST_DISKS {
        let problem = format!("more than {MOST_DISKS} disks");
        return Some(refuse(StatusCode::PAYLOAD_TOO_LARGE, &problem));
    }
    let names: Vec<String> = wipe.disks.iter().map(|disk| disk.identity.clone()).collect();
    let (report, signature) = (told.report.clone(), told.signature.to_owned());
    let (certificates, clock) = (harbour.certificates.clone(), harbour.clock.clone());
    let public_key = key.clone();
    let issuing = tokio::task::spawn_blocking(move || {
        let _alone = alone;
        let judgement = order.wipe().ok_or(CertificateError::NoWipe)?.judge(id, &report);
        certificates.issue(&HandedIn {
            report: &report,
            raw: &raw,
            signature: &signature,
            public_key: &public_key.0,
            session,
            machine: &machine,
            order: &order,
            judgement: &judgement,
            clock: clock.standing(),
            at: moment::now(),
        })
    });
    let problem = match issuing.await {
        Ok(Ok(certificate)) => match certificate.result(&names) {
            Some(result) => {
                harbour.registry.take_report(session, id, result);
                return None;
            }
            None => "the certificate is not of a job".to_owned(),
        },
        Ok(Err(error @ CertificateError::Unsound(_))) => {
            // It never will be, and the boot shall not say it for ever.
            tracing::error!(problem = chain(&error), "a wipe is not certified");
            return Some(refuse(StatusCode::UNPROCESSABLE_ENTITY, &chain(&error)));
        }
        Ok(Err(error)) => chain(&error),
        Err(error) => chain(&error),
    };
    tracing::error!(problem, "a wipe is not certified; its agent hands the report in again");
    Some(refuse(StatusCode::SERVICE_UNAVAILABLE, &"not certified yet: say it again"))
}

#[cfg(test)]
mod tests;
