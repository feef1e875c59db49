//! All transfers of one port, told apart by the client's address and port: packets in, actions out, no sockets.

use std::{collections::HashMap, fmt, net::SocketAddrV4, time::Instant};

use bytes::Bytes;
use tracing::debug;

use super::{
    Limits,
    pace::Pace,
    packet::{self, Code, Mode, Packet, Request},
    terms,
    transfer::{End, Event, Step, Transfer},
};
use crate::{
    boot::{Answer, Asset, BuildName, Context, Story, Wanted, resolve},
    journal::FileProtocol,
};

/// What is to be done outside.
#[derive(Debug)]
pub enum Action {
    /// Send a packet.
    Send(SocketAddrV4, Bytes),
    /// Read a file, of a build where one is named, and bring it with its ticket to [`Desk::loaded`].
    Load(Ticket, Asset, Option<BuildName>),
}

/// Whom a file is read for. The number tells a client's later request from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    client: SocketAddrV4,
    number: u64,
}

/// All transfers of one port, without its socket and its clock: what [`Bound::run`](super::Bound::run) works with.
pub struct Desk {
    context: Context,
    limits: Limits,
    conversations: HashMap<SocketAddrV4, Conversation>,
    pace: Pace,
    opened: u64,
}

struct Conversation {
    /// Counts up with each request.
    number: u64,
    request: Request,
    story: Story,
    state: State,
}

enum State {
    Loading,
    Transferring(Transfer),
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conversations = self.conversations.len();
        f.debug_struct("Desk").field("conversations", &conversations).finish_non_exhaustive()
    }
}

impl Desk {
    /// Begins without a transfer.
    pub fn new(context: Context, limits: Limits) -> Self {
        let (conversations, pace) = (HashMap::new(), Pace::default());
        Self { context, limits, conversations, pace, opened: 0 }
    }

    /// Returns when [`Desk::wake`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines =
            self.conversations.values().filter_map(|conversation| match &conversation.state {
                State::Loading => None,
                State::Transferring(transfer) => Some(transfer.deadline()),
            });
        deadlines.min()
    }

    /// Takes a packet. What is no packet, or belongs to no transfer, is not answered.
    pub fn receive(&mut self, client: SocketAddrV4, bytes: &[u8], now: Instant) -> Vec<Action> {
        if client.port() == 0 || client.ip().is_broadcast() || client.ip().is_multicast() {
            return Vec::new();
        }
        match packet::parse(bytes) {
            Some(Packet::Acknowledge(block)) => self.step(client, Event::Acknowledge(block), now),
            Some(Packet::Error { code, text }) => {
                self.step(client, Event::Error { code, text }, now)
            }
            Some(Packet::Write) if self.pace.allows(*client.ip(), now) => {
                refuse(client, Code::AccessViolation, "nothing is written here")
            }
            Some(Packet::Read(request)) => self.read(client, request, now),
            Some(Packet::Write) | None => Vec::new(),
        }
    }

    /// Takes a file that was read, or why it could not be.
    pub fn loaded(
        &mut self,
        ticket: Ticket,
        content: Result<Bytes, String>,
        now: Instant,
    ) -> Vec<Action> {
        let Ticket { client, number } = ticket;
        let Some(conversation) = self.conversations.get_mut(&client) else { return Vec::new() };
        if conversation.number != number || !matches!(conversation.state, State::Loading) {
            return Vec::new();
        }
        match content {
            Ok(content) => conversation.begin(client, content, now),
            Err(problem) => {
                conversation.story.failed(problem);
                self.conversations.remove(&client);
                refuse(client, Code::NotFound, "not found: missing on the server")
            }
        }
    }

    /// Sends again what was not acknowledged in time.
    pub fn wake(&mut self, now: Instant) -> Vec<Action> {
        let is_due = |conversation: &Conversation| match &conversation.state {
            State::Loading => false,
            State::Transferring(transfer) => transfer.deadline() <= now,
        };
        let due: Vec<SocketAddrV4> = self
            .conversations
            .iter()
            .filter(|(_, conversation)| is_due(conversation))
            .map(|(client, _)| *client)
            .collect();
        due.into_iter().flat_map(|client| self.step(client, Event::Nothing, now)).collect()
    }

    fn step(&mut self, client: SocketAddrV4, event: Event, now: Instant) -> Vec<Action> {
        let Some(conversation) = self.conversations.get_mut(&client) else { return Vec::new() };
        let State::Transferring(transfer) = &mut conversation.state else { return Vec::new() };
        match transfer.step(event, now) {
            Step::Send(packets) => send(client, packets),
            Step::End(end) => {
                let size_bytes = transfer.size_bytes();
                match end {
                    End::Sent => conversation.story.sent(size_bytes),
                    End::Probed => conversation.story.probed(),
                    End::Aborted { reason } => {
                        conversation.story.failed(format!("aborted by the client: {reason}"));
                    }
                    End::TimedOut { block: 0, .. } => {
                        conversation.story.failed("timed out: no answer to the options");
                    }
                    End::TimedOut { block, last } => {
                        conversation.story.failed(format!("timed out at block {block} of {last}"));
                    }
                }
                self.conversations.remove(&client);
                Vec::new()
            }
        }
    }

    fn read(&mut self, client: SocketAddrV4, request: Request, now: Instant) -> Vec<Action> {
        if let Some(conversation) = self.conversations.get(&client) {
            if conversation.request == request {
                return self.step(client, Event::AskedAgain, now);
            }
            conversation.story.failed("aborted by the client: it asks for something else");
            self.conversations.remove(&client);
        }
        let address = *client.ip();
        if !self.pace.allows(address, now) {
            debug!(%client, "too many requests");
            return Vec::new();
        }
        let resolved = resolve(&request.path);
        let by_address = (self.context.mac_of)(address);
        let (named, mac) = match (resolved.mac, resolved.serial) {
            (Some(mac), _) => (Some(mac), Some(mac)),
            (None, None) => (None, by_address),
            (None, Some(serial)) => {
                // Who has the address of a board is that board, whatever number it says.
                let boards = &self.context.boards;
                let is_board = by_address.filter(|mac| boards.of(*mac).is_some());
                let named = if is_board.is_some() { None } else { boards.mac_of(serial) };
                (named, is_board.or(named))
            }
        };
        if let Some(mac) = named {
            (self.context.note_address)(mac, address);
        }
        let answer = self.context.answer(&resolved, mac);
        if answer == Answer::Absent {
            // A Raspberry Pi looks for dozens of files that nobody has.
            debug!(%client, path = resolved.shown, "not found, as usual");
            return refuse(client, Code::NotFound, &format!("not found: {}", resolved.shown));
        }
        let story = Story::of_request(
            &self.context,
            FileProtocol::Tftp,
            &resolved.shown,
            mac,
            Some(address),
        );
        if request.mode == Mode::Netascii {
            story.failed("asked for as text (netascii): programs are sent as they are (octet)");
            return refuse(client, Code::Undefined, "only octet mode: the files here are programs");
        }
        match answer {
            Answer::Asset(asset @ Asset::Program(_)) | Answer::BoardFile(asset) => {
                match self.open(client, request, story) {
                    Ok(number) => {
                        vec![Action::Load(Ticket { client, number }, asset, resolved.build)]
                    }
                    Err(limit) => refuse(client, Code::Undefined, limit),
                }
            }
            Answer::Asset(_) => {
                let reason = "images are served over HTTP only";
                story.failed(reason);
                refuse(client, Code::NotFound, reason)
            }
            Answer::FirstScript(text) => self.send_text(client, request, story, text, now),
            Answer::MachineScript { text, boots } => {
                story.rendered(boots);
                self.send_text(client, request, story, text, now)
            }
            Answer::Absent => Vec::new(),
            Answer::Nothing(reason) => {
                story.failed(reason);
                match resolved.wanted {
                    Wanted::Refused => refuse(client, Code::AccessViolation, "no such path here"),
                    Wanted::OwnDisk => {
                        refuse(client, Code::NotFound, "not found: this machine boots its own disk")
                    }
                    _ => refuse(client, Code::NotFound, &format!("not found: {}", resolved.shown)),
                }
            }
        }
    }

    fn send_text(
        &mut self,
        client: SocketAddrV4,
        request: Request,
        story: Story,
        text: String,
        now: Instant,
    ) -> Vec<Action> {
        match self.open(client, request, story) {
            Ok(number) => self.loaded(Ticket { client, number }, Ok(Bytes::from(text)), now),
            Err(limit) => refuse(client, Code::Undefined, limit),
        }
    }

    /// Opens a conversation that waits for its content, and returns its number.
    fn open(
        &mut self,
        client: SocketAddrV4,
        request: Request,
        story: Story,
    ) -> Result<u64, &'static str> {
        if let Err(limit) = self.make_room(client) {
            story.failed(limit);
            return Err(limit);
        }
        self.opened += 1;
        let number = self.opened;
        let conversation = Conversation { number, request, story, state: State::Loading };
        self.conversations.insert(client, conversation);
        Ok(number)
    }

    /// Makes room for one more, or says why there is none.
    fn make_room(&mut self, client: SocketAddrV4) -> Result<(), &'static str> {
        let same = self.conversations.keys().filter(|other| other.ip() == client.ip()).count();
        if same >= self.limits.transfers_per_address {
            return Err("too many transfers of one machine at once");
        }
        if self.conversations.len() < self.limits.transfers {
            return Ok(());
        }
        // Invented clients never answer; a real one does so within a moment.
        let oldest = self
            .conversations
            .iter()
            .filter(|(_, conversation)| !conversation.has_begun())
            .min_by_key(|(_, conversation)| conversation.number)
            .map(|(client, _)| *client);
        let oldest = oldest.and_then(|client| self.conversations.remove(&client));
        oldest
            .map(|conversation| conversation.story.failed("no answer, and others wait"))
            .ok_or("too many transfers at once: try again")
    }
}

impl Conversation {
    fn has_begun(&self) -> bool {
        match &self.state {
            State::Loading => false,
            State::Transferring(transfer) => transfer.has_begun(),
        }
    }

    fn begin(&mut self, client: SocketAddrV4, content: Bytes, now: Instant) -> Vec<Action> {
        let terms = terms::settle(&self.request.options, content.len());
        let (transfer, packets) = Transfer::begin(content, terms, now);
        self.state = State::Transferring(transfer);
        send(client, packets)
    }
}

fn send(client: SocketAddrV4, packets: Vec<Bytes>) -> Vec<Action> {
    packets.into_iter().map(|packet| Action::Send(client, packet)).collect()
}

fn refuse(client: SocketAddrV4, code: Code, text: &str) -> Vec<Action> {
    vec![Action::Send(client, packet::error(code, text))]
}

#[cfg(test)]
mod tests;
