//! What a path gets, by who asks: the same over TFTP and HTTP.

use protocol::MacAddress;

use super::{
    Arrival, Context,
    asset::{Architecture, Asset},
    grub,
    path::{Resolved, Wanted},
    script::{self, Beginning, Cargo, Extras},
};
use crate::decision::{Boot, System, Traveller};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A file.
    Asset(Asset),
    /// A first script: it decides nothing.
    FirstScript(String),
    /// A machine's own script.
    MachineScript {
        /// The script.
        text: String,
        /// What it boots. Absent: the machine's own disk.
        boots: Option<System>,
    },
    /// A file for a Raspberry Pi, over TFTP only.
    BoardFile(Asset),
    /// "Not found", of what a Raspberry Pi looks for and nobody has: not worth a word.
    Absent,
    /// "Not found", and why, for the journal.
    Nothing(&'static str),
}

impl Context {
    /// Says what a path gets. A machine that is not to boot from us finds nothing here.
    ///
    /// The MAC address is the path's own, or the one last seen with the client's address.
    pub(crate) fn answer(&self, resolved: &Resolved, mac: Option<MacAddress>) -> Answer {
        if let Wanted::Board(wish) = resolved.wanted {
            return self.answer_board(resolved, wish, mac);
        }
        let boot =
            mac.map(|mac| (self.decide)(&Traveller { mac: Some(mac), ..Traveller::default() }));
        match (resolved.wanted, &boot) {
            (Wanted::Refused, _) => Answer::Nothing("a path that nobody has a reason to ask for"),
            (Wanted::NotFound | Wanted::MachineScript | Wanted::Board(_), _) => {
                Answer::Nothing("not found")
            }
            (Wanted::OwnDisk, _) => {
                Answer::Nothing("not found, so that firmware goes on to its own disk")
            }
            (_, Some(Boot::Silence(_))) => Answer::Nothing("not found: this machine is left alone"),
            (Wanted::Asset(_), Some(Boot::OwnDisk)) => {
                Answer::Nothing("not found: this machine boots its own disk")
            }
            // iPXE is running: only a script that says `exit 1` makes it leave at once.
            (Wanted::AutoexecScript | Wanted::FirstScript, Some(Boot::OwnDisk)) => {
                let arrival = Arrival {
                    traveller: Traveller { mac, ..Traveller::default() },
                    ..Arrival::default()
                };
                self.script_of(&Boot::OwnDisk, &arrival, Extras::default())
            }
            (Wanted::Asset(asset), Some(Boot::System(_)) | None) => Answer::Asset(asset),
            (Wanted::GrubScript, _) => self.grub_script(mac),
            (Wanted::AutoexecScript, _) => self.first_script(Beginning::Autoexec),
            (Wanted::FirstScript, _) => self.first_script(Beginning::Leased),
        }
    }

    /// Says what a machine gets that asks for its own script, and for which these files are meant.
    pub(crate) fn answer_arrival(&self, arrival: &Arrival, cargo: Cargo) -> Answer {
        let boot = (self.decide)(&arrival.traveller);
        let network_storage = self.looks_for_network_storage(&arrival.traveller, &boot);
        self.script_of(&boot, arrival, Extras { cargo, network_storage })
    }

    fn looks_for_network_storage(&self, traveller: &Traveller, boot: &Boot) -> bool {
        match boot {
            Boot::System(system) => (self.has_network_storage)(traveller, *system),
            Boot::OwnDisk | Boot::Silence(_) => false,
        }
    }

    fn first_script(&self, beginning: Beginning) -> Answer {
        Answer::FirstScript(script::first(&self.settings, beginning))
    }

    /// GRUB does not tell which card it came through: the pack is that with all drivers.
    fn grub_script(&self, mac: Option<MacAddress>) -> Answer {
        let traveller = Traveller { mac, ..Traveller::default() };
        let boot = (self.decide)(&traveller);
        let assets = self.assets.now();
        let pack = assets.network_pack(Architecture::X86_64);
        let extras = Extras {
            cargo: Cargo { build: assets.build(), pack },
            network_storage: self.looks_for_network_storage(&traveller, &boot),
        };
        match grub::machine(&boot, &self.settings, mac, extras) {
            Some((text, boots)) => Answer::MachineScript { text, boots },
            None => Answer::Nothing("not found: this machine is left alone"),
        }
    }

    fn script_of(&self, boot: &Boot, arrival: &Arrival, extras: Extras) -> Answer {
        let Arrival { traveller, architecture, platform, .. } = arrival;
        let boots = match boot {
            Boot::System(system) => Some(*system),
            Boot::OwnDisk | Boot::Silence(_) => None,
        };
        match script::machine(boot, &self.settings, traveller, *architecture, *platform, extras) {
            Some(text) => Answer::MachineScript { text, boots },
            None => Answer::Nothing("not found: this machine is left alone"),
        }
    }
}
