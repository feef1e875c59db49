//! Status codes (Base, section 3.3.3.2.1; also `enum nvme_status_field` of libnvme), `SCT << 8 | SC`.

/// Invalid Command Opcode.
pub const INVALID_OPCODE: u16 = 0x001;
/// Invalid Field in Command.
pub const INVALID_FIELD: u16 = 0x002;
/// Internal Error.
pub const INTERNAL_ERROR: u16 = 0x006;
/// Invalid Namespace or Format.
pub const INVALID_NAMESPACE: u16 = 0x00b;
/// Sanitize Failed: the last one did, and no recovery has been completed.
pub const SANITIZE_FAILED: u16 = 0x01c;
/// Sanitize In Progress.
pub const SANITIZE_IN_PROGRESS: u16 = 0x01d;
/// Namespace is Write Protected.
pub const WRITE_PROTECTED: u16 = 0x020;
/// LBA Out of Range.
pub const LBA_OUT_OF_RANGE: u16 = 0x080;
/// Invalid Log Page.
pub const INVALID_LOG_PAGE: u16 = 0x109;
/// Invalid Format.
pub const INVALID_FORMAT: u16 = 0x10a;
/// Namespace Insufficient Capacity.
pub const INSUFFICIENT_CAPACITY: u16 = 0x115;
/// Namespace Identifier Unavailable.
pub const IDENTIFIER_UNAVAILABLE: u16 = 0x116;
/// Namespace Already Attached.
pub const ALREADY_ATTACHED: u16 = 0x118;
/// Namespace Not Attached.
pub const NOT_ATTACHED: u16 = 0x11a;
/// Thin Provisioning Not Supported.
pub const NO_THIN_PROVISIONING: u16 = 0x11b;
/// Controller List Invalid.
pub const INVALID_CONTROLLER_LIST: u16 = 0x11c;
