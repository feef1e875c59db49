//! Asking by ARP whether somebody uses an address that is about to be offered. RFC 2131 clause 3.1.
//!
//! Not by ICMP: many hosts do not answer it, and ARP they must.

use std::{io, net::Ipv4Addr, time::Duration};

use protocol::MacAddress;
use tokio::{sync::broadcast, time};

use super::wire::{
    Frames, Hearing,
    frame::{Owner, read_arp, write_arp_question},
    interface::Interface,
};

/// When the question is asked. Twice: one frame may be lost.
const ASKED_AFTER: [Duration; 2] = [Duration::ZERO, Duration::from_millis(150)];

/// How long an answer is waited for. iPXE waits 2 s for offers, hosts answer within milliseconds.
const PATIENCE: Duration = Duration::from_millis(400);

/// How many ARP messages may wait for slow readers.
const QUEUE_LENGTH: usize = 256;

/// The interface's ARP traffic, for all who ask at once.
#[derive(Debug)]
pub struct Conflicts {
    frames: Frames,
    own: Owner,
    heard: broadcast::Sender<Owner>,
}

impl Conflicts {
    /// Begins to hear ARP.
    pub fn open(interface: &Interface, own_address: Ipv4Addr) -> io::Result<Self> {
        let frames = Frames::hear(interface, Hearing::Arp)?;
        let (heard, _nobody_yet) = broadcast::channel(QUEUE_LENGTH);
        let own = Owner { address: own_address, mac: interface.mac };
        Ok(Self { frames, own, heard })
    }

    /// Passes on what is heard, until the interface is gone.
    pub async fn run(&self) -> io::Error {
        loop {
            match self.frames.receive().await {
                Ok(frame) => {
                    if let Some(owner) = read_arp(&frame) {
                        // Mostly nobody asks.
                        let _readers = self.heard.send(owner);
                    }
                }
                Err(error) => return error,
            }
        }
    }

    /// Asks whether somebody other than `client` uses the address, and says who. Takes 0.4 s when nobody does.
    ///
    /// What cannot be asked counts as free: the interface is going away then.
    pub async fn owner(&self, address: Ipv4Addr, client: MacAddress) -> Option<MacAddress> {
        let mut heard = self.heard.subscribe();
        let answer = async {
            loop {
                match heard.recv().await {
                    Ok(owner) if owner.address == address && owner.mac != client => {
                        return owner.mac;
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let asking = async {
            let question = write_arp_question(self.own.mac, self.own.address, address);
            let start = time::Instant::now();
            for delay in ASKED_AFTER {
                time::sleep_until(start + delay).await;
                if let Err(error) = self.frames.send(&question) {
                    tracing::debug!(%address, %error, "an ARP question was not sent");
                }
            }
            time::sleep_until(start + PATIENCE).await;
        };
        tokio::select! {
            owner = answer => Some(owner),
            () = asking => None,
        }
    }
}
