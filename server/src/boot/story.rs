//! What becomes of one request, told to the journal.

use std::net::Ipv4Addr;

use protocol::MacAddress;

use super::Context;
use crate::{
    decision::System,
    journal::{Entry, FileProtocol, What},
};

/// One request: who asks, how, and for what.
#[derive(Clone)]
pub(crate) struct Story {
    context: Context,
    protocol: FileProtocol,
    path: String,
    mac: Option<MacAddress>,
    address: Option<Ipv4Addr>,
}

impl Story {
    /// Begins a story with the request.
    pub(crate) fn of_request(
        context: &Context,
        protocol: FileProtocol,
        path: &str,
        mac: Option<MacAddress>,
        address: Option<Ipv4Addr>,
    ) -> Self {
        let (context, path) = (context.clone(), path.to_owned());
        let story = Self { context, protocol, path, mac, address };
        story.tell(What::FileRequest { protocol, path: story.path.clone() });
        story
    }

    /// Tells that a script was rendered.
    pub(crate) fn rendered(&self, boots: Option<System>) {
        let boots = match boots {
            Some(System::Sunshine) => "sunshine",
            Some(System::Hercules) => "hercules",
            None => "own disk",
        };
        self.tell(What::Script { boots: boots.to_owned() });
    }

    /// Tells that the client wanted to know something of it, and not it.
    pub(crate) fn probed(&self) {
        self.tell(What::FileProbed { protocol: self.protocol, path: self.path.clone() });
    }

    /// Tells that all was sent.
    pub(crate) fn sent(&self, size_bytes: u64) {
        self.tell(What::FileSent { protocol: self.protocol, path: self.path.clone(), size_bytes });
    }

    /// Tells why it was not.
    pub(crate) fn failed(&self, reason: impl Into<String>) {
        let (path, reason) = (self.path.clone(), reason.into());
        self.tell(What::FileFailed { protocol: self.protocol, path, reason });
    }

    fn tell(&self, what: What) {
        (self.context.journal)(Entry::about(self.mac, self.address, what));
    }
}
