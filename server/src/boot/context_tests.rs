//! A context for tests: real files, one decision for all, a journal that can be read.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use protocol::{MacAddress, Pin};

use super::{Assets, Boards, Context, Settings, SettingsAsWritten, test_assets};
use crate::{decision::Boot, journal::What};

/// The machine that has [`ADDRESS`].
pub(crate) const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
/// The only address whose MAC address is known. Not loopback, where the tests' clients live.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

/// What was told to the journal, and about whom.
pub(crate) type Told = Arc<Mutex<Vec<(Option<MacAddress>, What)>>>;

/// Makes a context in which every machine that is known by a MAC address boots the same.
pub(crate) fn context(boot: Boot) -> (Context, Told, tempfile::TempDir) {
    let directory = test_assets::directory();
    let told = Told::default();
    let journal = Arc::clone(&told);
    let written = SettingsAsWritten::usual(Ipv4Addr::new(10, 0, 0, 1), vec![Pin([1; 32])]);
    let context = Context {
        assets: Assets::open(directory.path()).unwrap(),
        decide: Arc::new(move |_| boot.clone()),
        has_network_storage: Arc::new(|_, _| false),
        mac_of: Arc::new(|address| (address == ADDRESS).then_some(MAC)),
        note_address: Arc::new(|_, _| {}),
        journal: Arc::new(move |entry| journal.lock().unwrap().push((entry.mac, entry.what))),
        boards: Boards::default(),
        settings: Arc::new(Settings::check(written).unwrap()),
    };
    (context, told, directory)
}
