//! The ports of one network: taken together, served together.

use std::{net::Ipv4Addr, sync::Arc};

use axum::Router;
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::error;

use super::{ServeError, state::State};
use crate::{
    api::door,
    boot,
    config::{Config, Network},
    dhcp, explain,
    journal::Journal,
    machine::Registry,
    tftp,
};

/// The port that firmware asks for files.
const TFTP_PORT: u16 = 69;

/// The ports of one network, taken.
#[derive(Debug)]
pub(super) struct Ports {
    dhcp: dhcp::Bound,
    tftp: tftp::Bound,
    http: TcpListener,
    agents: TcpListener,
    tls: Arc<ServerConfig>,
}

impl Ports {
    /// Takes all ports of a network. Nothing is answered on them yet.
    pub(super) async fn bind(
        network: &Network,
        config: &Config,
        state: &State,
    ) -> Result<Self, ServeError> {
        let interface = network.dhcp.interface();
        let address = network.dhcp.server_address();
        let http = listen("plain HTTP", interface, address, config.http_port).await?;
        let agents = listen("the agents' door", interface, address, config.tls_port).await?;
        let tftp = tftp::bind(address, TFTP_PORT)
            .map_err(|source| ServeError::Tftp { interface: interface.to_owned(), source })?;
        let tls = Arc::new(state.key.tls(&[address.into()])?);
        // Last: where we give addresses, it takes seconds to see whether somebody else does.
        let dhcp = dhcp::bind(network.dhcp.clone(), &state.database, state.path()).await?;
        Ok(Self { dhcp, tftp, http, agents, tls })
    }

    /// Returns the door to this network's leases.
    pub(super) fn lease_handle(&self) -> dhcp::Handle {
        self.dhcp.handle()
    }

    /// Starts to answer, until `stopped` closes.
    pub(super) fn start(
        self,
        parts: &mut JoinSet<&'static str>,
        context: boot::Context,
        agents: Router,
        journal: &Journal,
        registry: &Registry,
        stopped: &watch::Receiver<()>,
    ) {
        let Self { dhcp, tftp, http, agents: listener, tls } = self;
        let (decides, notes, tells) = (registry.clone(), registry.clone(), journal.clone());
        let seams = dhcp::Seams::new(
            move |traveller| decides.decide(traveller),
            move |mac, address| notes.note_address(mac, address),
            move |entry| tells.record(entry),
        );
        let until = done(stopped);
        parts.spawn(async move {
            dhcp.run(seams, until).await;
            "DHCP"
        });
        let (until, files) = (done(stopped), context.clone());
        parts.spawn(async move {
            if let Err(error) = tftp.run(files, tftp::Limits::default(), until).await {
                error!(%error, "TFTP cannot run");
            }
            "TFTP"
        });
        let until = done(stopped);
        parts.spawn(async move {
            boot::serve(http, boot::router(context), boot::Limits::default(), until).await;
            "plain HTTP"
        });
        let (until, journal) = (done(stopped), journal.clone());
        parts.spawn(async move {
            tokio::select! {
                () = door::run(listener, tls, agents, journal) => {}
                () = until => {}
            }
            "the agents' door"
        });
    }
}

/// Is done when the server stops.
pub(super) fn done(stopped: &watch::Receiver<()>) -> impl Future<Output = ()> + use<> {
    let mut stopped = stopped.clone();
    // The sender is dropped, and sends nothing: the error is the message.
    async move { drop(stopped.changed().await) }
}

/// Says what is done on a network, for people.
pub(super) fn shown(network: &Network, config: &Config) -> explain::Network {
    explain::Network {
        interface: network.dhcp.interface().to_owned(),
        address: network.dhcp.server_address(),
        mode: match network.dhcp.mode() {
            dhcp::Mode::Authoritative { .. } => explain::Mode::Authoritative,
            dhcp::Mode::Proxy => explain::Mode::Proxy,
            dhcp::Mode::Off => explain::Mode::Off,
        },
        http_port: config.http_port,
        tls_port: config.tls_port,
    }
}

async fn listen(
    what: &'static str,
    interface: &str,
    address: Ipv4Addr,
    port: u16,
) -> Result<TcpListener, ServeError> {
    TcpListener::bind((address, port)).await.map_err(|source| ServeError::Tcp {
        what,
        interface: interface.to_owned(),
        address,
        port,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_interface_and_purpose() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let state = State::open(directory.path()).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mode = dhcp::ModeAsWritten::Proxy;
        let settings = dhcp::Settings::check("lo", Ipv4Addr::LOCALHOST, port, mode).unwrap();
        let network = Network { dhcp: settings, reserve_for_discovered: false };
        let config = Config { http_port: port, ..Config::default() };
        let error = Ports::bind(&network, &config, &state).await.unwrap_err();
        let said = format!("{:#}", anyhow::Error::from(error)).replace(&port.to_string(), "PORT");
        insta::assert_snapshot!(said, @"plain HTTP on lo: taking 127.0.0.1:PORT/tcp: Address already in use (os error 98)");
    }
}
