//! The operators' routes for certificates: list, read, whose key; and which disks have none.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use protocol::{Pin, order::DiskIdentity};
use serde::{Deserialize, Serialize};

use super::operators::{Bridge, refuse};
use crate::{
    certificate::Listed,
    machine::{Overview, SeenDisk},
    text::chain,
};

/// Whose certificates these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signer {
    /// The fingerprint of the key that signs.
    pub key: Pin,
}

/// A disk that was ever seen, and what proves that it was wiped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accounted {
    /// How the server calls it.
    pub identity: String,
    /// Everything that tells it from others.
    pub named: DiskIdentity,
    /// The machine that it is in, or was last seen in.
    pub machine: String,
    /// Whether that machine showed it in its last complete report.
    pub is_there: bool,
    /// When it was last seen: milliseconds since 1970; absent where only a certificate knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
    /// When something was last recognised on it, or nobody could look: milliseconds since 1970; absent where never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_data: Option<i64>,
    /// Its newest certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Listed>,
    /// Whether it went away and no certificate says that it was erased (clear at least) after it last held data.
    pub is_gone_without_proof: bool,
}

/// Returns the routes.
pub(super) fn routes() -> Router<Bridge> {
    Router::new()
        .route("/v1/certificates", get(list))
        .route("/v1/certificates/key", get(key))
        .route("/v1/certificates/files", get(files))
        .route("/v1/certificates/report", get(report))
        .route("/v1/certificates/{serial}", get(show))
}

async fn list(State(bridge): State<Bridge>) -> Response {
    told(move || bridge.certificates.list()).await
}

/// Answers with what has to wait until certificates that are being made are on disk, and keeps nobody else waiting.
async fn told<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(told) => Json(told).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn key(State(bridge): State<Bridge>) -> Json<Signer> {
    Json(Signer { key: bridge.certificates.fingerprint() })
}

async fn files(State(bridge): State<Bridge>) -> Response {
    match tokio::task::spawn_blocking(move || bridge.certificates.inventoried()).await {
        Ok(Ok(files)) => Json(files).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn report(State(bridge): State<Bridge>) -> Response {
    told(move || account(&bridge.registry.list(), &bridge.certificates.list())).await
}

async fn show(State(bridge): State<Bridge>, Path(serial): Path<u64>) -> Response {
    let certificates = bridge.certificates;
    let absent = certificates.clone();
    match tokio::task::spawn_blocking(move || certificates.read(serial)).await {
        // Byte for byte: it is signed.
        Ok(Ok(Some(bytes))) => {
            ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
        }
        Ok(Ok(None)) => refuse(StatusCode::NOT_FOUND, &absent.say_absent(serial)),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

/// Lists every disk that was ever seen, by name.
fn account(machines: &[Overview], certificates: &[Listed]) -> Vec<Accounted> {
    let mut disks: BTreeMap<String, Accounted> = BTreeMap::new();
    for machine in machines.iter().map(|overview| &overview.machine) {
        for SeenDisk { identity, named, first: _, last, last_data } in &machine.seen_disks {
            let is_there = machine.disks.iter().any(|disk| disk.identity == *identity);
            let one = Accounted {
                identity: identity.clone(),
                named: named.clone(),
                machine: machine.name.clone(),
                is_there,
                last_seen: Some(*last),
                last_data: *last_data,
                certificate: None,
                is_gone_without_proof: false,
            };
            // It moves from machine to machine: where it was seen last, it is.
            let known = disks.entry(identity.clone()).or_insert_with(|| one.clone());
            let last_data = known.last_data.max(one.last_data);
            if (known.is_there, known.last_seen) < (one.is_there, one.last_seen) {
                *known = one;
            }
            known.last_data = last_data;
        }
    }
    for certificate in certificates {
        let (Some(identity), Some(named)) = (&certificate.disk, &certificate.named) else {
            continue;
        };
        let known = disks.entry(identity.clone()).or_insert_with(|| Accounted {
            identity: identity.clone(),
            named: named.clone(),
            machine: certificate.machine.clone(),
            is_there: false,
            last_seen: None,
            last_data: None,
            certificate: None,
            is_gone_without_proof: false,
        });
        known.certificate = Some(certificate.clone());
    }
    let mut disks: Vec<Accounted> = disks.into_values().collect();
    for disk in &mut disks {
        let is_proven = disk.certificate.as_ref().is_some_and(|certificate| {
            let is_empty_since = disk.last_data.is_none_or(|seen| seen <= certificate.at);
            certificate.proves_erasure() && is_empty_since
        });
        disk.is_gone_without_proof = !disk.is_there && !is_proven;
    }
    disks
}

#[cfg(test)]
mod tests {
    use protocol::{Bytes, wipe::Verdict};

    use super::*;
    use crate::{
        certificate::tests::listed,
        machine::{DiskState, KnownDisk, Machine, Strength},
    };

    /// A machine that showed disks, each at a moment, and shows some of them still.
    fn machine(name: &str, seen: &[(&str, i64)], there: &[&str]) -> Overview {
        let seen = seen.iter().map(|(identity, last)| SeenDisk {
            identity: (*identity).to_owned(),
            named: DiskIdentity::default(),
            first: 0,
            last: *last,
            last_data: None,
        });
        let there = there.iter().map(|identity| KnownDisk {
            identity: (*identity).to_owned(),
            size_bytes: Bytes(1),
            portable: false,
            read_only: false,
            network: false,
            state: DiskState::Blank,
        });
        let machine = Machine {
            name: name.to_owned(),
            seen_disks: seen.collect(),
            disks: there.collect(),
            ..Machine::default()
        };
        Overview { machine, online: false, strength: Strength::Weak }
    }

    #[test]
    fn a_disk_that_only_reads_as_nothing_or_held_data_since_is_not_proven() {
        use protocol::wipe::Outcome;

        let is_gone = |reached, last_data| {
            let mut one = machine("one", &[("a", 1)], &[]);
            let mut two = machine("two", &[("a", 5)], &[]);
            // Of two machines the one that it was seen in last does not hide what the other saw.
            one.machine.seen_disks[0].last_data = last_data;
            two.machine.seen_disks[0].last_data = None;
            let certificate = Listed { reached, at: 10, ..listed(1, "a", Verdict::Erased) };
            account(&[one, two], &[certificate])[0].is_gone_without_proof
        };
        for reached in [Outcome::None, Outcome::Signatures, Outcome::Logical] {
            assert!(is_gone(reached, None), "{reached:?}");
        }
        for reached in [Outcome::Clear, Outcome::Purge] {
            assert!(!is_gone(reached, None) && !is_gone(reached, Some(10)), "{reached:?}");
            assert!(is_gone(reached, Some(11)), "{reached:?}");
        }
    }

    #[test]
    fn every_disk_is_there_or_proven_or_gone_without_proof() {
        let machines = [
            machine("one", &[("a", 1), ("b", 1), ("c", 1), ("d", 1)], &["a"]),
            machine("two", &[("b", 2)], &["b"]),
        ];
        let certificates = [
            listed(1, "c", Verdict::Erased),
            listed(2, "d", Verdict::Erased),
            listed(3, "d", Verdict::NotErased),
            listed(4, "e", Verdict::ErasedWithExceptions),
        ];
        let all = account(&machines, &certificates);
        let shown: Vec<(&str, &str, bool, Option<u64>, bool)> = all
            .iter()
            .map(|one| {
                let certificate = one.certificate.as_ref().map(|listed| listed.serial);
                let (name, machine) = (one.identity.as_str(), one.machine.as_str());
                (name, machine, one.is_there, certificate, one.is_gone_without_proof)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "one", true, None, false),
                ("b", "two", true, None, false),
                ("c", "one", false, Some(1), false),
                ("d", "one", false, Some(3), true),
                ("e", "one", false, Some(4), false),
            ]
        );
    }
}
