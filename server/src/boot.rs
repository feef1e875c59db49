//! What a machine loads before an agent runs: boot programs, iPXE scripts, kernel and initramfs, over plain HTTP and TFTP.
//!
//! ```text
//!  path ── resolve ──► Resolved ── Context::answer ──► Answer ──► HTTP response or TFTP transfer
//!         (pure, both          (who boots what:          │
//!          protocols)           a decision)              └─► journal
//! ```
//!
//! Nothing here is secret and nobody is authenticated: whoever is on the VLAN may read all of it.

mod accept;
mod answer;
mod asset;
mod assets;
mod export;
mod grub;
mod http;
mod pack;
mod path;
mod query;
pub(crate) mod raspberry;
mod recipe;
pub mod script;
mod settings;
mod story;
mod unified;

use std::{fmt, net::Ipv4Addr, sync::Arc};

use protocol::MacAddress;

pub(crate) use self::http::conditions;
pub use self::{
    accept::{Limits, serve},
    asset::{Architecture, Asset, Image, Part, Platform, Program},
    assets::{AssetError, Assets, BuildName, Content, Opened, StoreName, SystemVersions, Versions},
    export::{ExportError, WithoutServer, export},
    http::router,
    pack::{Pack, PackName},
    path::{Resolved, Wanted, resolve},
    query::Arrival,
    raspberry::{Board, BoardFile, Boards, Model, Serial, Wish},
    recipe::{UnknownRouter, recipe},
    settings::{Settings, SettingsAsWritten, SettingsError},
    unified::{HttpBoot, PxeBoot, Seal, Unified, UnifiedError},
};
pub(crate) use self::{answer::Answer, story::Story};
use crate::{
    decision::{Boot, System, Traveller},
    journal::Entry,
};

/// A directory with the images of both systems, in a directory of a test.
#[cfg(test)]
pub(crate) fn test_assets(directory: &std::path::Path) -> Assets {
    for asset in assets::tests::NEEDED {
        let path = directory.join(asset.location());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }
    for name in ["herculesos-x86_64.vmlinuz", "herculesos-x86_64.initrd"] {
        std::fs::write(directory.join(name), b"x").unwrap();
    }
    Assets::open(directory).unwrap()
}

/// Says who boots what. Reads memory only: it is called before every answer.
pub type Decide = Arc<dyn Fn(&Traveller) -> Boot + Send + Sync>;
/// Says whether a machine is to look for disks on a network in a system. Reads memory only.
pub type HasNetworkStorage = Arc<dyn Fn(&Traveller, System) -> bool + Send + Sync>;
/// Says which port was last seen with an address.
pub type MacOf = Arc<dyn Fn(Ipv4Addr) -> Option<MacAddress> + Send + Sync>;
/// Is told which port has which address.
pub type NoteAddress = Arc<dyn Fn(MacAddress, Ipv4Addr) + Send + Sync>;
/// Takes what happened. Never blocks.
pub type Record = Arc<dyn Fn(Entry) + Send + Sync>;

/// All that HTTP and TFTP need to know of the rest of the server. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The boot programs and images.
    pub assets: Assets,
    /// Who boots what.
    pub decide: Decide,
    /// Who looks for disks on a network.
    pub has_network_storage: HasNetworkStorage,
    /// Whose address it is, where a path does not say.
    pub mac_of: MacOf,
    /// Told of each machine that asks for its script.
    pub note_address: NoteAddress,
    /// Where every request is written down.
    pub journal: Record,
    /// Which Raspberry Pi has which port.
    pub boards: Boards,
    /// What stands in the scripts.
    pub settings: Arc<Settings>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) use self::assets::{test_builds, tests as test_assets};
#[cfg(test)]
#[path = "boot/context_tests.rs"]
pub(crate) mod test_context;
