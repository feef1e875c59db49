//! What a Raspberry Pi's firmware gets: a machine that is not to boot from us finds nothing, and goes on by itself.

use protocol::MacAddress;

use super::{Wish, command_line, configuration, unserved};
use crate::{
    boot::{Answer, Asset, Context, path::Resolved},
    decision::{Boot, Traveller},
};

impl Context {
    /// Says what a file of the firmware's gets. Looks whether files are there.
    pub(in crate::boot) fn answer_board(
        &self,
        resolved: &Resolved,
        wish: Wish,
        mac: Option<MacAddress>,
    ) -> Answer {
        if wish == Wish::Absent {
            return Answer::Absent;
        }
        let Some(mac) = mac else {
            // It may be one that is to be left alone, or has a disk of its own.
            return Answer::Nothing(
                "not found: no machine that asked over DHCP has this serial number or address",
            );
        };
        let traveller = Traveller { mac: Some(mac), ..Traveller::default() };
        let system = match (self.decide)(&traveller) {
            Boot::System(system) => system,
            Boot::OwnDisk => return Answer::Nothing("not found: this machine boots its own disk"),
            Boot::Silence(_) => return Answer::Nothing("not found: this machine is left alone"),
        };
        let model = self.boards.model_of(mac);
        if unserved(&self.assets, model, &Boot::System(system)).is_some() {
            return Answer::Nothing("not found: this board cannot be served (drydock explain)");
        }
        match wish {
            Wish::Configuration => {
                let text = configuration(system, model, mac, self.assets.now().build());
                Answer::MachineScript { text, boots: Some(system) }
            }
            Wish::CommandLine => {
                let network_storage = (self.has_network_storage)(&traveller, system);
                let text = command_line(&self.settings, system, model, mac, network_storage);
                Answer::FirstScript(text)
            }
            // Another one was to be booted when the firmware read its configuration.
            Wish::Image(image) if image.system != system => {
                Answer::Nothing("not found: this machine is to boot another system by now")
            }
            Wish::Image(image) => self.board_asset(resolved, Asset::Image(image)),
            Wish::File(file) => self.board_asset(resolved, Asset::Board(file)),
            Wish::Absent => Answer::Absent,
        }
    }

    fn board_asset(&self, resolved: &Resolved, asset: Asset) -> Answer {
        let assets = match resolved.build {
            Some(build) => self.assets.of(build),
            None => self.assets.now(),
        };
        if assets.path(asset).is_file() {
            return Answer::BoardFile(asset);
        }
        match asset {
            // Of these the firmware tries several names.
            Asset::Board(file) if file.is_device_tree() => Answer::Absent,
            // Without the build it asks again.
            _ if resolved.build.is_some() => Answer::Absent,
            _ => Answer::Nothing("not found: this file is missing on the server"),
        }
    }
}
