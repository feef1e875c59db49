//! Routers that no dnsmasq can be: one answers without option 54, one has every boot begin with the same program.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::ROUTER;
use crate::lab::Lab;

/// What every machine on its network gets: there is only one.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 150);
/// RFC 2131 §2: where the options begin, after the magic cookie.
const OPTIONS: usize = 240;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const MESSAGE_TYPE: u8 = 53;
const ACK: u8 = 5;
/// RFC 2131 §2: where the boot server's address is, and the boot file's name.
const SERVER_ADDRESS: Range<usize> = 20..24;
const FILE: Range<usize> = 108..236;

/// The router; stopped in `Drop`.
#[derive(Debug)]
pub(crate) struct CarelessRouter {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CarelessRouter {
    /// Starts to answer without option 54, the server identifier.
    pub(crate) fn start(lab: &Lab) -> Result<CarelessRouter> {
        CarelessRouter::answering(lab, answer)
    }

    /// Starts to name this boot file of a TFTP server to who asks first, and from then on this other one.
    pub(crate) fn naming(
        lab: &Lab,
        server: Ipv4Addr,
        first: &'static str,
        then: String,
    ) -> Result<CarelessRouter> {
        let mut acknowledged = 0;
        CarelessRouter::answering(lab, move |request| {
            let mut answer = answer(request)?;
            let file = if acknowledged == 0 { first } else { &then };
            answer[SERVER_ADDRESS].copy_from_slice(&server.octets());
            answer[FILE][..file.len()].copy_from_slice(file.as_bytes());
            // Over the end of options, which moves.
            let end = OPTIONS + answer[OPTIONS..].iter().rposition(|byte| *byte == 255)?;
            answer.splice(end..=end, [&[54, 4][..], &ROUTER.octets(), &[255]].concat());
            if option(&answer, MESSAGE_TYPE) == Some(&[ACK]) {
                acknowledged += 1;
            }
            Some(answer)
        })
    }

    fn answering(
        lab: &Lab,
        mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<CarelessRouter> {
        let station = lab.station("router", ROUTER)?;
        let socket = station.namespace.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:67").context("binding port 67")?;
            socket.set_broadcast(true).context("asking to broadcast")?;
            socket.set_read_timeout(Some(Duration::from_millis(200))).context("a time limit")?;
            Ok(socket)
        })?;
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let everybody = SocketAddr::from((Ipv4Addr::BROADCAST, 68));
            let mut buffer = [0; 1500];
            while !ending.load(Ordering::Relaxed) {
                let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = answer(&buffer[..length]) {
                    drop(socket.send_to(&answer, everybody));
                }
            }
        });
        Ok(CarelessRouter { ends, thread: Some(thread) })
    }
}

impl Drop for CarelessRouter {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// OFFER to a DISCOVER, ACK to a REQUEST, nothing to anything else.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    if request.first() != Some(&1) || request.get(236..OPTIONS)? != MAGIC {
        return None;
    }
    let kind = match option(request, MESSAGE_TYPE)?.first()? {
        1 => 2,
        3 => ACK,
        _ => return None,
    };
    let mut answer = request[..OPTIONS].to_vec();
    answer[0] = 2;
    answer[16..20].copy_from_slice(&ADDRESS.octets());
    answer.extend([MESSAGE_TYPE, 1, kind]);
    answer.extend([1, 4, 255, 255, 255, 0]);
    answer.extend([51, 4, 0, 0, 14, 16]);
    answer.extend([3, 4]);
    answer.extend(ROUTER.octets());
    answer.push(255);
    answer.resize(300, 0);
    Some(answer)
}

/// Finds an option's value; RFC 2132 §2.
fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = message.get(OPTIONS..)?;
    while let [code, after @ ..] = rest {
        match code {
            0 => rest = after,
            255 => return None,
            _ => {
                let [length, after @ ..] = after else { return None };
                let (value, after) = after.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                rest = after;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discover() -> Vec<u8> {
        let mut message = vec![0; 236];
        message[0] = 1;
        message.extend(MAGIC);
        message.extend([0, MESSAGE_TYPE, 1, 1, 255]);
        message
    }

    #[test]
    fn its_offer_has_an_address_and_no_server_identifier() {
        let offer = answer(&discover()).unwrap();
        assert_eq!(option(&offer, MESSAGE_TYPE), Some(&[2][..]));
        assert_eq!(offer[16..20], ADDRESS.octets());
        assert_eq!(option(&offer, 54), None);
    }

    #[test]
    fn a_truncated_request_is_not_answered() {
        let message = discover();
        for length in 0..message.len() - 2 {
            assert_eq!(answer(&message[..length]), None);
        }
    }
}
