//! Option numbers, named. RFC 2132, RFC 3004, RFC 3046, RFC 4578; 175 is iPXE's own, 224 ours.

/// Fills space; has no length and no value.
pub const PAD: u8 = 0;
/// The subnet mask.
pub const SUBNET_MASK: u8 = 1;
/// Routers, best first.
pub const ROUTERS: u8 = 3;
/// Name servers, best first.
pub const NAME_SERVERS: u8 = 6;
/// The client's name.
pub const HOST_NAME: u8 = 12;
/// The domain that the client resolves names in.
pub const DOMAIN_NAME: u8 = 15;
/// The subnet's broadcast address.
pub const BROADCAST_ADDRESS: u8 = 28;
/// Vendor-specific options, encapsulated; PXE's own where option 60 says `PXEClient`.
pub const VENDOR_INFORMATION: u8 = 43;
/// The address that the client asks for.
pub const REQUESTED_ADDRESS: u8 = 50;
/// Seconds that an address is lent for.
pub const LEASE_TIME: u8 = 51;
/// Says that `file` or `sname` hold options.
pub const OVERLOAD: u8 = 52;
/// What kind of message it is.
pub const MESSAGE_TYPE: u8 = 53;
/// The server that speaks, or that the client chose.
pub const SERVER_IDENTIFIER: u8 = 54;
/// The options that the client would like to have.
pub const PARAMETER_REQUEST_LIST: u8 = 55;
/// A sentence for a person.
pub const MESSAGE_TEXT: u8 = 56;
/// The largest message that the client takes, in bytes with IP and UDP headers.
pub const MAXIMUM_SIZE: u8 = 57;
/// Seconds until the client asks its own server to renew (T1).
pub const RENEWAL_TIME: u8 = 58;
/// Seconds until the client asks any server (T2).
pub const REBINDING_TIME: u8 = 59;
/// What the client is: `PXEClient:Arch:…`, `HTTPClient:Arch:…`.
pub const VENDOR_CLASS: u8 = 60;
/// The client's name for itself in leases.
pub const CLIENT_IDENTIFIER: u8 = 61;
/// The boot server's name.
pub const BOOT_SERVER: u8 = 66;
/// The boot file's name or URL.
pub const BOOT_FILE: u8 = 67;
/// The user class: `iPXE`.
pub const USER_CLASS: u8 = 77;
/// What a relay added.
pub const RELAY_INFORMATION: u8 = 82;
/// The firmware's architectures.
pub const ARCHITECTURES: u8 = 93;
/// The firmware's network interface version (UNDI).
pub const NETWORK_INTERFACE: u8 = 94;
/// The SMBIOS UUID, after a type byte.
pub const MACHINE_UUID: u8 = 97;
/// iPXE's encapsulated options.
pub const IPXE: u8 = 175;
/// Drydock's own, of those for private use: where our agent finds its server, `https://10.0.0.2:7443`.
pub const DRYDOCK_SERVER: u8 = 224;
/// Ends the options; has no length and no value.
pub const END: u8 = 255;

/// In option 43, PXE's discovery control. 8 means: use the boot file named here, look for no other server.
pub const PXE_DISCOVERY_CONTROL: u8 = 6;
/// Inside option 43: what there is to boot, each with a type, a length, and a text.
pub const PXE_BOOT_MENU: u8 = 9;
/// Inside option 43: for how many seconds the menu is offered, and with which words.
pub const PXE_MENU_PROMPT: u8 = 10;
/// In option 82: the subnet that the relay asks an address for. RFC 3527.
pub const RELAY_LINK_SELECTION: u8 = 5;
/// In option 175: 1 means that no proxy will answer, so that iPXE need not wait two seconds for one.
pub const IPXE_NO_PROXY: u8 = 176;
