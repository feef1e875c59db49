//! The client's side of DHCP on one port: pure; sockets, clocks and chance live outside. RFC 2131 clause 4.4.
//!
//! ```text
//!             ┌──────────────────────── NAK, lease over ─────────────────────────┐
//!             ▼                                                                  │
//!  no link ─► discovering ─ offer ─► requesting ─ ACK ─► bound ─ T1 ─► renewing ─┤
//!     │           ▲                      │                 ▲              │ T2   │
//!     │           └────── no answer ─────┤                 ├─── ACK ──────┤      │
//!     │           │                      │                 │              ▼      │
//!     └─────► confirming ────────────────┴───── ACK ───────┴─────────  rebinding ┘
//!        (an address is held)
//! ```
//!
//! A server that offers and then does not confirm is passed over as long as another one offers.
//! It never gives up. Messages ask for broadcast answers until the port has an address, so that a plain UDP socket
//! hears them. An address that is held is used until its lease is over or a server takes it back.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use dhcp::{Message, MessageType, Operation, code};
use protocol::MacAddress;

/// What the agent calls itself in option 60.
const VENDOR_CLASS: &str = "drydock-agent";

/// The largest answer that is read, with IP and UDP headers.
const MAXIMUM_SIZE: u16 = 1500;

/// Asks for broadcast answers.
const BROADCAST: u16 = 0x8000;

/// Options that are asked for.
const PARAMETERS: [u8; 8] = [
    code::SUBNET_MASK,
    code::ROUTERS,
    code::NAME_SERVERS,
    code::DOMAIN_NAME,
    code::LEASE_TIME,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::DRYDOCK_SERVER,
];

/// The first wait for an answer; it doubles up to [`LONGEST_WAIT`]. RFC 2131 clause 4.1.
const SHORTEST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(64);

/// How many requests without an answer lead back to looking for servers.
const REQUEST_LIMIT: u32 = 4;

/// The shortest time between two attempts to renew. RFC 2131 clause 4.4.5.
const RENEWAL_WAIT: Duration = Duration::from_mins(1);

/// The shortest lease that is believed.
const SHORTEST_LEASE: Duration = Duration::from_mins(1);

/// The shortest time from a lease to its renewal that is believed: less would be asking in a circle.
const SHORTEST_RENEWAL: Duration = Duration::from_secs(30);

/// After a server took an address back: one that does so again and again is not asked in a circle.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// How many servers that did not keep their offers are remembered.
const MOST_FICKLE: usize = 16;

/// "For ever", as option 51 has it.
const FOR_EVER: u32 = u32::MAX;

/// What a server lent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The port's address.
    pub address: Ipv4Addr,
    /// How many bits of it name the network.
    pub prefix_bits: u8,
    /// The way out, where there is one.
    pub gateway: Option<Ipv4Addr>,
    /// Best first.
    pub name_servers: Vec<Ipv4Addr>,
    /// The network's domain, as the server wrote it.
    pub domain: Option<String>,
    /// The server that lent it.
    pub server: Ipv4Addr,
    /// How long it is lent for; absent for ever.
    pub duration: Option<Duration>,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to everybody.
    Broadcast(Box<Message>),
    /// Send to one server.
    Unicast(Box<Message>, Ipv4Addr),
    /// Use this lease, and no other address.
    Use(Lease),
    /// Somebody says that our server is there. Nobody vouches for it: what counts is the server's key.
    Hear(String),
    /// Stop using this address.
    GiveUp(Ipv4Addr),
}

/// A client on one port.
#[derive(Debug, Clone)]
pub struct Client {
    mac: MacAddress,
    phase: Phase,
    held: Option<Held>,
    /// The transaction.
    xid: u32,
    /// When the transaction began.
    began: Instant,
    /// How often was asked without an answer.
    attempts: u32,
    /// When something is to be done unless an answer comes.
    due: Option<Instant>,
    /// Servers that did not confirm what they had offered; the latest last.
    fickle: Vec<Ipv4Addr>,
    /// What one of those offered again, address and server: better than nothing.
    reserve: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The transaction in which is only asked where our server is.
    inquiry: Option<u32>,
}

/// An address that the port uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    address: Ipv4Addr,
    /// Absent where nobody said.
    over: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    NoLink,
    Discovering,
    Requesting { address: Ipv4Addr, server: Ipv4Addr },
    Confirming,
    Bound { server: Ipv4Addr, rebind: Instant },
    Renewing { server: Ipv4Addr, rebind: Instant },
    Rebinding,
}

impl Client {
    /// Begins without a link. `handed` is an address that the port has from its boot program: it is confirmed first.
    pub fn new(mac: MacAddress, handed: Option<Ipv4Addr>, now: Instant) -> Self {
        let held = handed.map(|address| Held { address, over: None });
        Self {
            mac,
            phase: Phase::NoLink,
            held,
            xid: 0,
            began: now,
            attempts: 0,
            due: None,
            fickle: Vec::new(),
            reserve: None,
            inquiry: None,
        }
    }

    /// Returns when [`Client::time`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let over = self.held.and_then(|held| held.over);
        [self.due, over].into_iter().flatten().min()
    }

    /// The port got a link.
    pub fn link_up(&mut self, now: Instant, random: u32) -> Vec<Action> {
        if self.phase != Phase::NoLink {
            return Vec::new();
        }
        let phase = if self.held.is_some() { Phase::Confirming } else { Phase::Discovering };
        self.begin(phase, now, random);
        self.ask(now, random)
    }

    /// The port lost its link. Its address stays: the link may be back in a moment.
    pub fn link_down(&mut self) {
        self.phase = Phase::NoLink;
        self.due = None;
    }

    /// The deadline has come.
    pub fn time(&mut self, now: Instant, random: u32) -> Vec<Action> {
        if let Some(held) = self.held
            && held.over.is_some_and(|over| over <= now)
        {
            self.held = None;
            let mut actions = vec![Action::GiveUp(held.address)];
            if self.phase != Phase::NoLink {
                self.begin(Phase::Discovering, now, random);
                actions.extend(self.ask(now, random));
            }
            return actions;
        }
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        match self.phase {
            Phase::NoLink => return Vec::new(),
            Phase::Discovering => {
                if let Some((address, server)) = self.reserve.take() {
                    self.phase = Phase::Requesting { address, server };
                    self.attempts = 0;
                }
            }
            Phase::Requesting { server, .. } if self.attempts >= REQUEST_LIMIT => {
                self.distrust(server);
                self.begin(Phase::Discovering, now, random);
            }
            Phase::Confirming if self.attempts >= REQUEST_LIMIT => {
                self.begin(Phase::Discovering, now, random);
            }
            Phase::Bound { server, rebind } => {
                self.begin(Phase::Renewing { server, rebind }, now, random);
            }
            Phase::Renewing { rebind, .. } if now >= rebind => {
                self.begin(Phase::Rebinding, now, random);
            }
            _ => {}
        }
        self.ask(now, random)
    }

    /// Asks where our server is, beside a lease that is held: whoever lent it may not know, and one that was down then
    /// says so only where somebody looks for servers. What is offered is not taken.
    pub fn inquire(&mut self, random: u32) -> Vec<Action> {
        if !matches!(self.phase, Phase::Bound { .. }) {
            // It is asked for with the lease.
            return Vec::new();
        }
        self.inquiry = Some(random);
        let message = self.message(random, MessageType::Discover);
        vec![Action::Broadcast(Box::new(message))]
    }

    /// A message came. What is not an answer to this client's last question is ignored.
    pub fn receive(&mut self, now: Instant, random: u32, message: &Message) -> Vec<Action> {
        let is_answer = message.op == Operation::Reply && message.chaddr == self.mac;
        let is_inquired = self.inquiry == Some(message.xid) && message.xid != self.xid;
        if !is_answer || !(is_inquired || message.xid == self.xid) {
            return Vec::new();
        }
        let server = message.options.address(code::SERVER_IDENTIFIER);
        // A proxy says it too, which offers nothing else, and may be later than the router.
        let heard = message.options.text(code::DRYDOCK_SERVER).filter(|door| is_door(door));
        let mut actions: Vec<Action> = heard.map(Action::Hear).into_iter().collect();
        if is_inquired {
            return actions;
        }
        actions.extend(self.follow(now, random, message, server));
        actions
    }

    /// Goes on with an answer to the last question.
    fn follow(
        &mut self,
        now: Instant,
        random: u32,
        message: &Message,
        server: Option<Ipv4Addr>,
    ) -> Vec<Action> {
        match (message.options.message_type(), self.phase, server) {
            (Some(MessageType::Offer), Phase::Discovering, Some(server)) => {
                if !is_usable(message.yiaddr) {
                    // A proxy offers boot programs, no addresses.
                    return Vec::new();
                }
                if self.fickle.contains(&server) {
                    self.reserve.get_or_insert((message.yiaddr, server));
                    return Vec::new();
                }
                self.phase = Phase::Requesting { address: message.yiaddr, server };
                self.attempts = 0;
                self.ask(now, random)
            }
            (Some(MessageType::Ack), phase, server) => {
                let Some(server) = self.accepts(phase, server, message.yiaddr) else {
                    return Vec::new();
                };
                self.bind(now, message, server)
            }
            (Some(MessageType::Nak), phase, server) => {
                let may_refuse = match phase {
                    Phase::Requesting { server: chosen, .. } => server == Some(chosen),
                    Phase::Confirming | Phase::Renewing { .. } | Phase::Rebinding => true,
                    Phase::NoLink | Phase::Discovering | Phase::Bound { .. } => false,
                };
                if !may_refuse {
                    return Vec::new();
                }
                if let Phase::Requesting { server, .. } = phase {
                    self.distrust(server);
                }
                self.start_anew(now, random)
            }
            _ => Vec::new(),
        }
    }

    /// Returns the server whose confirmation this is; nothing where it confirms something else.
    fn accepts(
        &self,
        phase: Phase,
        server: Option<Ipv4Addr>,
        address: Ipv4Addr,
    ) -> Option<Ipv4Addr> {
        let held = self.held.map(|held| held.address);
        match phase {
            Phase::Requesting { address: asked, server: chosen } => {
                let fits = server.is_none_or(|server| server == chosen) && address == asked;
                fits.then_some(chosen)
            }
            Phase::Renewing { server: lender, .. } => {
                (held == Some(address)).then_some(server.unwrap_or(lender))
            }
            Phase::Confirming | Phase::Rebinding => server.filter(|_| held == Some(address)),
            Phase::NoLink | Phase::Discovering | Phase::Bound { .. } => None,
        }
    }

    fn bind(&mut self, now: Instant, message: &Message, server: Ipv4Addr) -> Vec<Action> {
        let options = &message.options;
        let duration = match options.seconds(code::LEASE_TIME) {
            Some(seconds) if seconds != FOR_EVER => {
                Some(Duration::from_secs(u64::from(seconds)).max(SHORTEST_LEASE))
            }
            // Plain BOOTP servers say nothing and lend for ever.
            _ => None,
        };
        let mask = options.address(code::SUBNET_MASK);
        let lease = Lease {
            address: message.yiaddr,
            prefix_bits: mask.and_then(prefix_bits).unwrap_or(24),
            gateway: options.addresses(code::ROUTERS).first().copied().filter(|at| is_usable(*at)),
            name_servers: options.addresses(code::NAME_SERVERS),
            domain: options.text(code::DOMAIN_NAME),
            server,
            duration,
        };
        let before = self.held.replace(Held {
            address: lease.address,
            over: duration.map(|duration| now + duration),
        });
        let seconds = |code| Some(Duration::from_secs(u64::from(options.seconds(code)?)));
        let (renew, rebind) =
            times(duration, seconds(code::RENEWAL_TIME), seconds(code::REBINDING_TIME));
        self.attempts = 0;
        self.fickle.retain(|fickle| *fickle != server);
        self.due = duration.map(|_| now + renew);
        self.phase = Phase::Bound { server, rebind: now + rebind };
        let mut actions = Vec::new();
        let other = before.filter(|before| before.address != lease.address);
        actions.extend(other.map(|before| Action::GiveUp(before.address)));
        actions.push(Action::Use(lease));
        actions
    }

    /// Remembers a server that did not keep its offer.
    fn distrust(&mut self, server: Ipv4Addr) {
        self.fickle.retain(|known| *known != server);
        self.fickle.push(server);
        // Whoever invents servers pushes out his own.
        if self.fickle.len() > MOST_FICKLE {
            self.fickle.remove(0);
        }
    }

    /// A server refused: nothing that was known counts any more.
    fn start_anew(&mut self, now: Instant, random: u32) -> Vec<Action> {
        let held = self.held.take();
        self.begin(Phase::Discovering, now, random);
        self.due = Some(now + REFUSAL_WAIT);
        held.map(|held| Action::GiveUp(held.address)).into_iter().collect()
    }

    fn begin(&mut self, phase: Phase, now: Instant, random: u32) {
        self.phase = phase;
        self.reserve = None;
        self.xid = random;
        self.began = now;
        self.attempts = 0;
    }

    /// Sends the question of this phase, and sets the time to ask again.
    fn ask(&mut self, now: Instant, random: u32) -> Vec<Action> {
        let kind = match self.phase {
            Phase::Discovering => MessageType::Discover,
            _ => MessageType::Request,
        };
        let mut message = self.message(self.xid, kind);
        message.secs =
            u16::try_from(now.saturating_duration_since(self.began).as_secs()).unwrap_or(u16::MAX);
        let options = &mut message.options;
        match (self.phase, self.held) {
            (Phase::Requesting { address, server }, _) => {
                options.set_address(code::REQUESTED_ADDRESS, address);
                options.set_address(code::SERVER_IDENTIFIER, server);
            }
            (Phase::Confirming | Phase::Discovering, Some(held)) => {
                options.set_address(code::REQUESTED_ADDRESS, held.address);
            }
            (Phase::Renewing { .. } | Phase::Rebinding, Some(held)) => {
                message.ciaddr = held.address;
                message.flags = 0;
            }
            _ => {}
        }
        self.attempts += 1;
        self.due = Some(now + self.wait(now, random));
        vec![match self.phase {
            Phase::Renewing { server, .. } => Action::Unicast(Box::new(message), server),
            _ => Action::Broadcast(Box::new(message)),
        }]
    }

    /// Makes what every message of this client has, with an answer to everybody.
    fn message(&self, xid: u32, kind: MessageType) -> Message {
        let mut message = Message::request(self.mac, xid);
        message.flags = BROADCAST;
        let options = &mut message.options;
        options.set_message_type(kind);
        let mut identifier = vec![1];
        identifier.extend(self.mac.0);
        options.set(code::CLIENT_IDENTIFIER, identifier);
        options.set_maximum_size(MAXIMUM_SIZE);
        options.set_text(code::VENDOR_CLASS, VENDOR_CLASS);
        options.set(code::PARAMETER_REQUEST_LIST, PARAMETERS);
        message
    }

    /// Returns how long to wait for the answer to what was just asked.
    fn wait(&self, now: Instant, random: u32) -> Duration {
        match self.phase {
            // Half of what is left, at least a minute, but not past the next phase.
            Phase::Renewing { rebind, .. } => {
                let left = rebind.saturating_duration_since(now);
                (left / 2).max(RENEWAL_WAIT).min(left.max(Duration::from_secs(1)))
            }
            Phase::Rebinding => {
                let over = self.held.and_then(|held| held.over).unwrap_or(now);
                (over.saturating_duration_since(now) / 2).max(RENEWAL_WAIT)
            }
            _ => {
                let doublings = self.attempts.saturating_sub(1).min(4);
                let wait = SHORTEST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
                // Plus or minus one second by chance.
                let chance =
                    Duration::from_secs(2).mul_f64(f64::from(random) / f64::from(u32::MAX));
                (wait + chance).saturating_sub(Duration::from_secs(1))
            }
        }
    }
}

/// Returns when to renew and when to ask anybody, from the lease's begin: what the server says where it makes sense,
/// else half and seven eighths. RFC 2131 clause 4.4.5.
fn times(
    duration: Option<Duration>,
    renew: Option<Duration>,
    rebind: Option<Duration>,
) -> (Duration, Duration) {
    let Some(duration) = duration else { return (Duration::ZERO, Duration::ZERO) };
    let rebind =
        rebind.filter(|at| (SHORTEST_RENEWAL..duration).contains(at)).unwrap_or(duration / 8 * 7);
    let renew = renew
        .filter(|at| (SHORTEST_RENEWAL..=rebind).contains(at))
        .unwrap_or((duration / 2).min(rebind));
    (renew, rebind)
}

/// Counts the bits of a mask; nothing where it is none.
fn prefix_bits(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (ones > 0 && ones + bits.trailing_zeros().min(32 - ones) == 32)
        .then(|| u8::try_from(ones).ok())
        .flatten()
}

/// Holds for what can be the address of an agents' door.
fn is_door(text: &str) -> bool {
    text.strip_prefix("https://")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Holds for addresses that one machine can have.
fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_loopback())
}

#[cfg(test)]
mod tests;
