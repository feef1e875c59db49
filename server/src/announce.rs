//! Says by multicast DNS where the agents' door is, on the link of one interface, so that a machine finds it that nobody
//! told: one that starts from a medium.
//!
//! ```text
//!  group 224.0.0.251, port 5353 ──► dnssd::Responder ──► the group, or who asked
//!       (dhcp::wire::Port)         what, to whom, when
//! ```
//!
//! Nothing rests on it: whatever goes wrong is said once, and tried again.

mod link;

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use dnssd::{Announcement, GROUP, MULTICAST_PORT, Network, Responder};
use protocol::Pin;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{self, sleep_until};
use tracing::{debug, info, warn};

use self::link::Link;
use crate::dhcp::wire::Port;

/// How often the interface is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long until what could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// How long an answer to all waits at least, and how much longer by chance at most. RFC 6762 §6.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const WAIT_SPREAD_MS: u64 = 100;
/// The largest message that is read. RFC 6762 §17.
const DATAGRAM_SIZE: usize = 9000;
/// As many digits of the server's key make its name: two servers of one link have the same once in four thousand million.
const NAME_DIGITS: usize = 8;
/// What stands in the record of texts: the version of the others, of which there are none. RFC 6763 §6.7.
const VERSION: &str = "txtvers=1";

/// What is said where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The interface.
    pub interface: String,
    /// The server's address on it.
    pub address: Ipv4Addr,
    /// The agents' door.
    pub port: u16,
}

/// What is open while there is somebody to speak to.
#[derive(Debug)]
struct Open {
    link: Link,
    port: Port,
    responder: Responder,
}

/// Returns the server's name on a link, below `local`: `drydock-0123abcd`.
///
/// Nobody else has it: it is made of the server's key, and no program names a machine so.
pub fn name(pin: Pin) -> String {
    let pin = pin.to_string();
    let digits = pin.strip_prefix("sha256:").unwrap_or(&pin);
    format!("drydock-{}", &digits[..NAME_DIGITS])
}

/// Says it until `shutdown` is done, and takes it back then. Follows the interface: it may go, and come back.
///
/// The pin makes the name, and is not said: nobody could believe it.
pub async fn run(place: Place, pin: Pin, shutdown: impl Future<Output = ()>) {
    let mut open: Option<Open> = None;
    let mut retry = Instant::now();
    // The last trouble that was told, and whether it was told that all is well.
    let (mut told, mut is_said) = (String::new(), false);
    let mut ticks = time::interval(TICK);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        let worked = tokio::select! {
            () = &mut shutdown => break,
            _ = ticks.tick() => follow(&place, pin, &mut open, &mut retry),
            said = next(&mut open) => match said {
                Ok((said, whom)) => {
                    let sent = say(open.as_ref(), &said, whom).await;
                    if sent.is_ok() && whom == group() && (!is_said || !told.is_empty()) {
                        let (interface, host) = (&place.interface, name(pin));
                        info!(interface, host = format!("{host}.local"), "announced by multicast DNS");
                        (is_said, told) = (true, String::new());
                    }
                    sent
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = worked {
            open = None;
            retry = Instant::now() + RETRY;
            // Once for each reason: an interface may be out of order for days.
            if told != error.to_string() {
                let interface = &place.interface;
                warn!(interface, %error, "the server is not announced by multicast DNS");
                told = error.to_string();
            }
        }
    }
    if let Some(farewell) = open.as_ref().and_then(|open| open.responder.farewell())
        && let Err(error) = say(open.as_ref(), &farewell, group()).await
    {
        debug!(interface = place.interface, %error, "taking back what was announced");
    }
}

/// Looks at the interface, and begins anew where it is another one, has another network, or its cable was plugged.
fn follow(place: &Place, pin: Pin, open: &mut Option<Open>, retry: &mut Instant) -> io::Result<()> {
    let Some(link) = link::read(&place.interface, place.address)? else {
        *open = None;
        *retry = Instant::now();
        return Ok(());
    };
    if open.as_ref().is_some_and(|open| open.link == link) {
        return Ok(());
    }
    if open.take().is_none() && *retry > Instant::now() {
        return Ok(());
    }
    let port = Port::join(&place.interface, GROUP, MULTICAST_PORT)?;
    let host = name(pin);
    let texts = vec![VERSION.to_owned()];
    let announcement = Announcement { host, port: place.port, texts };
    let network = Network { address: place.address, prefix_length: link.prefix_length };
    let responder = Responder::new(announcement, network, Instant::now());
    *open = Some(Open { link, port, responder });
    Ok(())
}

/// Waits until there is something to be said, and returns it and to whom. Cancelled, it loses nothing.
async fn next(open: &mut Option<Open>) -> io::Result<(Vec<u8>, SocketAddrV4)> {
    let Some(Open { port, responder, .. }) = open else { return std::future::pending().await };
    let mut datagram = [0; DATAGRAM_SIZE];
    loop {
        let due = responder.due();
        let time = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let (said, whom) = tokio::select! {
            () = time => (responder.speak(Instant::now()), group()),
            received = port.receive(&mut datagram) => {
                let (size, from) = received?;
                (responder.hear(&datagram[..size], from, Instant::now(), chance()), from)
            }
        };
        if let Some(said) = said {
            return Ok((said, whom));
        }
    }
}

async fn say(open: Option<&Open>, said: &[u8], whom: SocketAddrV4) -> io::Result<()> {
    let Some(Open { link, port, .. }) = open else { return Ok(()) };
    match port.send(said, link.address, whom).await {
        // Of one asker it may be his fault.
        Err(error) if whom != group() => debug!(%whom, %error, "answering by multicast DNS"),
        sent => sent?,
    }
    Ok(())
}

fn group() -> SocketAddrV4 {
    SocketAddrV4::new(GROUP, MULTICAST_PORT)
}

/// How long an answer to all waits, another time each time.
fn chance() -> Duration {
    let mut random = [0; 8];
    if SystemRandom::new().fill(&mut random).is_err() {
        return SHORTEST_WAIT;
    }
    SHORTEST_WAIT + Duration::from_millis(u64::from_ne_bytes(random) % (WAIT_SPREAD_MS + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_made_of_its_key() {
        assert_eq!(name(Pin([0xab; 32])), "drydock-abababab");
    }

    #[tokio::test]
    async fn what_is_not_there_is_waited_for_and_ends_nothing() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let interface = "nothing0".to_owned();
        let place = Place { interface, address, port: 7443 };
        let stop = time::sleep(3 * TICK / 2);
        let over = time::timeout(Duration::from_mins(1), run(place, Pin([0; 32]), stop));
        over.await.unwrap();
    }
}
