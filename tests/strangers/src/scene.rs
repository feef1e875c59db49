//! What the targets share: a server's context without sockets, and requests as real clients send them.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, OnceLock},
};

use dhcp::{Message, MessageType, code};
use drydock::{
    boot::{Assets, Boards, Context, Settings, SettingsAsWritten},
    decision::{Boot, System, Traveller},
    journal::{Entry, Silence, What},
};
use protocol::{MacAddress, Pin};

/// The machine of all samples.
pub(crate) const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
/// The only address whose MAC address is known.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

/// What stands in the scripts.
pub(crate) fn settings() -> Settings {
    let written = SettingsAsWritten::usual(Ipv4Addr::new(10, 0, 0, 1), vec![Pin([1; 32])]);
    Settings::check(written).expect("the usual settings are sound")
}

/// The directory of boot files. Nothing beside it may ever be served.
pub(crate) fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data"))
}

/// A server's context. By the last byte of its MAC address a machine boots this or that, or hears nothing.
pub(crate) fn context() -> Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(make).clone()
}

fn make() -> Context {
    Context {
        assets: Assets::open(directory()).expect("the tests' own boot files"),
        decide: Arc::new(decide),
        has_network_storage: Arc::new(|_, _| false),
        mac_of: Arc::new(|address| (address == ADDRESS).then_some(MAC)),
        note_address: Arc::new(|mac, address| {
            assert!(mac.is_usable() && !address.is_unspecified(), "{mac} {address}");
        }),
        journal: Arc::new(hear),
        boards: Boards::default(),
        settings: Arc::new(settings()),
    }
}

fn decide(traveller: &Traveller) -> Boot {
    match traveller.mac.map(|MacAddress([.., last])| last % 4) {
        Some(0) => Boot::OwnDisk,
        Some(1) => Boot::Silence(Silence::Ignored),
        Some(3) => Boot::System(System::Hercules),
        _ => Boot::System(System::Sunshine),
    }
}

/// Whatever is told of a stranger can be shown on a terminal.
fn hear(entry: Entry) {
    let texts = match entry.what {
        What::FileRequest { path, .. }
        | What::FileProbed { path, .. }
        | What::FileSent { path, .. } => vec![path],
        What::FileFailed { path, reason, .. } => vec![path, reason],
        What::Script { boots } => vec![boots],
        other => panic!("no story of a file: {other:?}"),
    };
    for text in texts {
        assert!(text.len() <= 512 && !text.chars().any(char::is_control), "{text:?}");
    }
}

/// DISCOVERs of UEFI PXE, UEFI HTTP Boot, BIOS, iPXE, our agent and some operating system, as they were seen on the wire.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    let firmware = |class: &str, architecture: u16| {
        request(MessageType::Discover, |message| {
            message.set_broadcast();
            message.options.set_maximum_size(0x05c0);
            message.options.set(code::PARAMETER_REQUEST_LIST, [1, 3, 6, 43, 54, 60, 66, 67, 97]);
            message.options.set_uuid("11223344-5566-7788-99aa-bbccddeeff00");
            message.options.set(code::NETWORK_INTERFACE, [1, 3, 0]);
            message.options.set_architectures(&[architecture]);
            message.options.set_text(code::VENDOR_CLASS, class);
        })
    };
    let ipxe = request(MessageType::Discover, |message| {
        message.options.set_architectures(&[7]);
        message.options.set_text(code::VENDOR_CLASS, "PXEClient:Arch:00007:UNDI:003010");
        message.options.set_text(code::USER_CLASS, "iPXE");
        message.options.set(code::IPXE, [0xb1, 5, 1, 0x80, 0x86, 0x10, 0xd3, 0x18, 1, 1]);
        message.options.set(code::CLIENT_IDENTIFIER, [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    });
    let agent = request(MessageType::Discover, |message| {
        message.options.set_maximum_size(1500);
        message.options.set_text(code::VENDOR_CLASS, "drydock-agent");
    });
    vec![
        firmware("PXEClient:Arch:00007:UNDI:003000", 7),
        firmware("HTTPClient:Arch:00016:UNDI:003000", 16),
        firmware("PXEClient:Arch:00000:UNDI:002001", 0),
        ipxe,
        agent,
        request(MessageType::Discover, |_| {}),
    ]
}

/// One message of the machine.
pub(crate) fn request(kind: MessageType, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::request(MAC, 0xdead_beef);
    message.options.set_message_type(kind);
    change(&mut message);
    message.encode(1500)
}
