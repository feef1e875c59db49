//! What installed systems may ask for, for the part that answers them over HTTP.

use protocol::MacAddress;

use super::{Effects, Registry};
use crate::{machine::install::PhonedHome, seed::Documents};

impl Registry {
    /// Returns what is served to the installed system of the machine that has a port. Touches no disk.
    pub fn documents_for(&self, port: MacAddress, name: &str) -> Option<Documents> {
        let mut effects = Effects::default();
        let now = self.now();
        let documents = self.write().documents_for(port, name, now, &mut effects);
        self.follow(effects);
        documents
    }

    /// Takes what an installed system says back; false for everybody who is not to be heard. Touches no disk.
    pub fn phones_home(
        &self,
        port: MacAddress,
        token: &str,
        hostname: Option<String>,
        instance_id: Option<String>,
    ) -> bool {
        let mut effects = Effects::default();
        let now = self.now();
        let said = PhonedHome { at: now.unix_milliseconds, hostname, instance_id };
        let is_heard = self.write().phones_home(port, token, &said, now, &mut effects);
        self.follow(effects);
        is_heard
    }
}
