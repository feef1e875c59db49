//! Asks the network by DNS where a server is: by multicast through one port, and the name servers of its lease.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use dnssd::{Message, Name, Search};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};
use tracing::debug;

use super::{Offer, Source};
use crate::session::random;

/// How long an answer may take. Who answers by multicast waits up to a tenth of a second by chance (RFC 6762 §6).
const PATIENCE: Duration = Duration::from_secs(1);

/// Services, places, addresses, and one for an answer that was lost.
const STEPS: usize = 4;

/// The largest message that is read.
const DATAGRAM_SIZE: usize = 9000;

/// Asks once in all ways, and returns who was found. What fails leads nowhere, as no answer does.
pub async fn look(port: &str, domain: Option<&str>, name_servers: &[Ipv4Addr]) -> Vec<Offer> {
    let mut offers = Vec::new();
    let domain = domain.and_then(dnssd::domain);
    let name_server = name_servers.first().map(|server| SocketAddrV4::new(*server, dnssd::PORT));
    if let (Some(domain), Some(name_server)) = (domain, name_server) {
        offers.extend(ask(port, &domain, name_server, Source::Dns).await);
    }
    if let Some(local) = dnssd::domain("local") {
        let group = SocketAddrV4::new(dnssd::GROUP, dnssd::MULTICAST_PORT);
        offers.extend(ask(port, &local, group, Source::Multicast).await);
    }
    offers
}

async fn ask(port: &str, domain: &Name, whom: SocketAddrV4, source: Source) -> Vec<Offer> {
    let mut search = Search::new(domain);
    for _ in 0..STEPS {
        if let Err(error) = step(port, &mut search, whom, source).await {
            debug!(port, %whom, %error, "asking where a server is");
            break;
        }
        if !search.servers().is_empty() {
            break;
        }
    }
    let offer = |server: SocketAddr| Offer { server: format!("https://{server}"), source };
    search.servers().into_iter().map(offer).collect()
}

/// Asks the next questions, and hears the answers for a moment.
async fn step(
    port: &str,
    search: &mut Search,
    whom: SocketAddrV4,
    source: Source,
) -> io::Result<()> {
    let socket = UdpSocket::from_std(linux::port::udp(port, 0)?)?;
    socket.set_multicast_ttl_v4(dnssd::HOPS)?;
    let id = if source == Source::Dns { random().to_be_bytes() } else { [0; 4] };
    let id = u16::from_be_bytes([id[0], id[1]]);
    let mut questions = search.questions();
    if source == Source::Dns {
        // Name servers take one question at a time, and know nothing of how to answer.
        for question in &mut questions {
            question.by_unicast = false;
        }
    }
    for question in questions {
        let question = vec![question];
        let message = Message { id, questions: question, ..Message::default() };
        let message = match source {
            Source::Dns => Message { is_recursive: true, ..message },
            _ => message,
        };
        socket.send_to(&message.encode(), whom).await?;
    }
    let end = Instant::now() + PATIENCE;
    let mut datagram = vec![0; DATAGRAM_SIZE];
    let asked = search.questions();
    while let Ok(received) = timeout_at(end, socket.recv_from(&mut datagram)).await {
        let (length, from) = received?;
        let is_asked = source == Source::Multicast || from.ip() == IpAddr::V4(*whom.ip());
        match Message::parse(&datagram[..length]) {
            Some(answer) if is_asked && answer.id == id => search.hear(&answer),
            _ => debug!(port, %from, "no answer"),
        }
        if search.questions() != asked {
            // What is known leads on. Others' answers come in the next round.
            break;
        }
    }
    Ok(())
}
