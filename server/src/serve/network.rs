//! The ports of one network: taken together, served together.

use std::{net::Ipv4Addr, sync::Arc};

use axum::Router;
use protocol::Pin;
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::error;

use super::{ServeError, state::State};
use crate::{
    announce,
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

/// The ports of one network, taken before there is a state directory.
#[derive(Debug)]
pub(super) struct Taken {
    dhcp: dhcp::Opened,
    tftp: tftp::Bound,
    http: TcpListener,
    agents: TcpListener,
    address: Ipv4Addr,
    /// Where the agents' door is announced; nothing where a person does not want that.
    place: Option<announce::Place>,
}

/// The ports of one network, ready.
#[derive(Debug)]
pub(super) struct Ports {
    dhcp: dhcp::Bound,
    tftp: tftp::Bound,
    http: TcpListener,
    agents: TcpListener,
    tls: Arc<ServerConfig>,
    announced: Option<(announce::Place, Pin)>,
}

/// What is answered over HTTP.
#[derive(Debug)]
pub(super) struct Routes {
    /// On the plain port.
    pub(super) plain: Router,
    /// Behind the agents' door.
    pub(super) agents: Router,
}

impl Taken {
    /// Takes all ports of a network. Nothing is answered on them yet.
    pub(super) async fn take(network: &Network, config: &Config) -> Result<Self, ServeError> {
        let interface = network.dhcp.interface();
        let address = network.dhcp.server_address();
        let http = listen("plain HTTP", interface, address, config.http_port).await?;
        let agents = listen("the agents' door", interface, address, config.tls_port).await?;
        let tftp = tftp::bind(address, TFTP_PORT)
            .map_err(|source| ServeError::Tftp { interface: interface.to_owned(), source })?;
        // Last: where we give addresses, it takes seconds to see whether somebody else does.
        let dhcp = dhcp::open(network.dhcp.clone()).await?;
        let place = config.announce.then(|| announce::Place {
            interface: interface.to_owned(),
            address,
            port: config.tls_port,
        });
        Ok(Self { dhcp, tftp, http, agents, address, place })
    }

    /// Adds what is in the state directory: leases and key.
    pub(super) fn with(self, state: &State) -> Result<Ports, ServeError> {
        let Self { dhcp, tftp, http, agents, address, place } = self;
        let tls = Arc::new(state.key.tls(&[address.into()])?);
        let dhcp = dhcp.with_leases(&state.database, state.path())?;
        let announced = place.map(|place| (place, state.key.pin()));
        Ok(Ports { dhcp, tftp, http, agents, tls, announced })
    }
}

impl Ports {
    /// Returns the door to this network's leases.
    pub(super) fn lease_handle(&self) -> dhcp::Handle {
        self.dhcp.handle()
    }

    /// Starts to answer, until `stopped` closes.
    pub(super) fn start(
        self,
        parts: &mut JoinSet<&'static str>,
        context: boot::Context,
        routes: Routes,
        journal: &Journal,
        registry: &Registry,
        stopped: &watch::Receiver<()>,
    ) {
        let Self { dhcp, tftp, http, agents: listener, tls, announced } = self;
        let Routes { plain, agents } = routes;
        let (boards, assets) = (context.boards.clone(), context.assets.clone());
        let (decides, notes, tells) = (registry.clone(), registry.clone(), journal.clone());
        let seams = dhcp::Seams::new(
            move |traveller| decides.decide(traveller),
            move |mac, address| notes.note_address(mac, address),
            move |entry| tells.record(entry),
        )
        .with_boards(move |mac, board, boot| {
            boards.learn(mac, board);
            boot::raspberry::unserved(&assets, board.model, boot)
        });
        let until = done(stopped);
        parts.spawn(async move {
            dhcp.run(seams, until).await;
            "DHCP"
        });
        let until = done(stopped);
        parts.spawn(async move {
            if let Err(error) = tftp.run(context, tftp::Limits::default(), until).await {
                error!(%error, "TFTP cannot run");
            }
            "TFTP"
        });
        let until = done(stopped);
        parts.spawn(async move {
            boot::serve(http, plain, boot::Limits::default(), until).await;
            "plain HTTP"
        });
        if let Some((place, pin)) = announced {
            let until = done(stopped);
            parts.spawn(async move {
                announce::run(place, pin, until).await;
                "the announcement"
            });
        }
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
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_interface_and_purpose() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mode = dhcp::ModeAsWritten::Proxy;
        let settings = dhcp::Settings::check("lo", Ipv4Addr::LOCALHOST, port, mode).unwrap();
        let network = Network { dhcp: settings, reserve_for_discovered: false };
        let config = Config { http_port: port, ..Config::default() };
        let error = Taken::take(&network, &config).await.unwrap_err();
        let said = format!("{:#}", anyhow::Error::from(error)).replace(&port.to_string(), "PORT");
        insta::assert_snapshot!(said, @"plain HTTP on lo: taking 127.0.0.1:PORT/tcp: Address already in use (os error 98)");
    }
}
