//! The agents' route for the store: drivers and firmware by what is in them, for every machine that has announced itself.
//!
//! Nothing in the store is secret, and agents check what they get against their own image: only memory is to be kept.

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tracing::error;

use super::{
    agents::refuse,
    door::Peer,
    sending::{ANSWERS, Sending, Turns},
};
use crate::{
    boot::{Assets, StoreName},
    machine::{Registry, UnknownSession},
};

/// What the route needs.
#[derive(Debug, Clone)]
struct Shelf {
    registry: Registry,
    assets: Assets,
    turns: Turns,
}

/// Returns the route. Every request must carry a [`Peer`].
pub(super) fn routes(registry: Registry, assets: Assets) -> Router {
    let shelf = Shelf { registry, assets, turns: Turns::default() };
    Router::new().route("/v1/store/{sha256}", get(file)).with_state(shelf)
}

async fn file(
    State(shelf): State<Shelf>,
    Extension(peer): Extension<Peer>,
    method: Method,
    Path(name): Path<String>,
) -> Response {
    if shelf.registry.machine_of(peer.session).is_none() {
        return refuse(StatusCode::CONFLICT, &UnknownSession);
    }
    let Some(name) = StoreName::read(&name) else {
        return refuse(StatusCode::NOT_FOUND, &"a file of the store is named by its SHA-256");
    };
    let Some(turn) = shelf.turns.take(peer.session) else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, &format!("more than {ANSWERS} at once"));
    };
    let assets = shelf.assets;
    let (file, size_bytes) = match tokio::task::spawn_blocking(move || assets.stored(&name)).await {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None)) => {
            return refuse(StatusCode::NOT_FOUND, &"no such file in this server's store");
        }
        Ok(Err(problem)) => {
            error!(error = %problem, "a file of the store cannot be served");
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, &"the file cannot be read");
        }
        Err(_) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &"the server stops"),
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::new(Sending::new(file, 0..size_bytes, turn))
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size_bytes));
    response
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr, sync::Arc};

    use protocol::{Announce, Inventory};

    use super::*;
    use crate::{
        api::{
            agents,
            door::tests::{Agent, Harbour},
        },
        clock::tests::synchronised,
        journal::Journal,
        machine::Settings,
    };

    struct Quay {
        harbour: Harbour,
        registry: Registry,
        directory: tempfile::TempDir,
    }

    impl Quay {
        async fn open() -> Self {
            let registry = Registry::in_memory(Settings::default(), Arc::new(|_| {})).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let assets = crate::boot::test_assets(directory.path());
            fs::create_dir(directory.path().join("store")).unwrap();
            let journal = Journal::in_memory();
            let routes = agents::routes(
                registry.clone(),
                crate::image::tests::empty(),
                assets,
                journal.clone(),
                synchronised(),
                crate::certificate::tests::in_a_directory(),
            );
            Self { harbour: Harbour::open(routes, journal).await, registry, directory }
        }

        /// An agent that has announced itself.
        fn announced(&self) -> Agent {
            let agent = Agent::new(self.harbour.pin);
            let mut inventory = Inventory::default();
            inventory.system.serial = Some("SN-1".to_owned());
            let announce = Announce {
                system: None,
                agent_version: "0.1.0".to_owned(),
                kernel_release: None,
                boot: protocol::BootReport::default(),
                inventory,
                complete: false,
            };
            let address = Ipv4Addr::LOCALHOST.into();
            self.registry.announce(agent.session, address, &announce).unwrap();
            agent
        }

        async fn ask(
            &self,
            agent: &Agent,
            method: &str,
            name: &str,
        ) -> (StatusCode, axum::http::HeaderMap, bytes::Bytes) {
            let path = format!("/v1/store/{name}");
            agent.ask_with(self.harbour.address, method, &path, &[]).await.unwrap()
        }
    }

    #[tokio::test]
    async fn an_announced_machine_gets_a_file_whole_and_with_its_length() {
        let quay = Quay::open().await;
        let agent = quay.announced();
        let (large, empty) = ("a5".repeat(32), "00".repeat(32));
        // Three pieces, the last one short.
        let bytes: Vec<u8> = (0..70_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(quay.directory.path().join("store").join(&large), &bytes).unwrap();
        fs::write(quay.directory.path().join("store").join(&empty), "").unwrap();
        let (status, headers, body) = quay.ask(&agent, "GET", &large).await;
        assert!(status == StatusCode::OK && headers["content-length"] == "280000", "{headers:?}");
        assert!(body == bytes);
        let (status, headers, body) = quay.ask(&agent, "HEAD", &large).await;
        assert!(status == StatusCode::OK && headers["content-length"] == "280000", "{headers:?}");
        assert!(body.is_empty());
        let (status, headers, _) = quay.ask(&agent, "GET", &empty).await;
        assert!(status == StatusCode::OK && headers["content-length"] == "0", "{headers:?}");
    }

    #[tokio::test]
    async fn what_is_no_name_or_not_there_is_not_found() {
        let quay = Quay::open().await;
        let agent = quay.announced();
        fs::write(quay.directory.path().join("store/x"), "x").unwrap();
        fs::write(quay.directory.path().join("store").join("A5".repeat(32)), "x").unwrap();
        for name in
            ["x", "..", "%2e%2e%2fherculesos-x86_64.initrd", &"A5".repeat(32), &"a5".repeat(32)]
        {
            assert_eq!(quay.ask(&agent, "GET", name).await.0, StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[tokio::test]
    async fn who_has_not_announced_itself_is_told_to() {
        let quay = Quay::open().await;
        let name = "a5".repeat(32);
        fs::write(quay.directory.path().join("store").join(&name), "x").unwrap();
        let stranger = Agent::new(quay.harbour.pin);
        assert_eq!(quay.ask(&stranger, "GET", &name).await.0, StatusCode::CONFLICT);
    }
}
