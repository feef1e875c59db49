//! What a network driver tells about its port (`SIOCETHTOOL`).

use std::{
    ffi::CStr,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixDatagram,
    },
};

use nix::libc;

/// A driver's own description (`ETHTOOL_GDRVINFO`). Each text is absent where the driver left it empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Driver {
    /// The driver's name.
    pub name: Option<String>,
    /// The firmware's version, as the driver shows it.
    pub firmware: Option<String>,
    /// The device's address on its bus, for PCI as `0000:00:03.0`.
    pub bus_address: Option<String>,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    expansion_rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_perm_addr` with room for the longest address (`MAX_ADDR_LEN`).
#[repr(C)]
struct PermanentAddress {
    command: u32,
    size: u32,
    data: [u8; 32],
}

const GET_DRIVER_INFO: u32 = 0x03;
const GET_PERMANENT_ADDRESS: u32 = 0x20;

mod raw {
    nix::ioctl_readwrite_bad!(ethtool, 0x8946, nix::libc::ifreq);
}

/// Opens a socket that the calls of this module can be made on; it is bound to nothing.
pub fn socket() -> io::Result<UnixDatagram> {
    UnixDatagram::unbound()
}

/// Returns the address burnt into a port (`ETHTOOL_GPERMADDR`); empty or zero when the driver knows none.
pub fn permanent_address(socket: impl AsFd, port: &str) -> io::Result<Vec<u8>> {
    let mut answer = PermanentAddress { command: GET_PERMANENT_ADDRESS, size: 32, data: [0; 32] };
    let mut request = request(port, (&raw mut answer).cast())?;
    // SAFETY: `ETHTOOL_GPERMADDR` writes `size` (32) bytes at most behind the header, `answer` has them;
    // it and `request` outlive the call.
    unsafe { raw::ethtool(socket.as_fd().as_raw_fd(), &raw mut request) }?;
    let length = usize::try_from(answer.size).unwrap_or(0).min(answer.data.len());
    Ok(answer.data[..length].to_vec())
}

/// Returns what a port's driver says of itself and of its device (`ETHTOOL_GDRVINFO`).
pub fn driver(socket: impl AsFd, port: &str) -> io::Result<Driver> {
    let mut answer = DriverInfo {
        command: GET_DRIVER_INFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        expansion_rom: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    let mut request = request(port, (&raw mut answer).cast())?;
    // SAFETY: `ETHTOOL_GDRVINFO` writes one `struct ethtool_drvinfo` of 196 bytes, `answer` has its layout;
    // it and `request` outlive the call.
    unsafe { raw::ethtool(socket.as_fd().as_raw_fd(), &raw mut request) }?;
    Ok(Driver {
        name: text(&answer.driver),
        firmware: text(&answer.firmware),
        bus_address: text(&answer.bus),
    })
}

/// Returns the request that hands `answer` to the driver of `port`.
fn request(port: &str, answer: *mut libc::c_char) -> io::Result<libc::ifreq> {
    let mut name = [0; libc::IFNAMSIZ];
    // The last byte stays zero: the kernel's names have 15 characters at most.
    if port.is_empty() || port.len() >= name.len() || port.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no name of a network port"));
    }
    for (to, from) in name.iter_mut().zip(port.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: answer } })
}

/// Returns the text before the first NUL byte, if there is any.
fn text(field: &[u8; 32]) -> Option<String> {
    let text = CStr::from_bytes_until_nul(field).ok()?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

const _: () = assert!(size_of::<DriverInfo>() == 196, "struct ethtool_drvinfo");
const _: () = assert!(size_of::<PermanentAddress>() == 40, "struct ethtool_perm_addr");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_port_answers_or_refuses_but_is_found() {
        let socket = socket().unwrap();
        // `lo` has an address of six zeros, and no driver information.
        assert_eq!(permanent_address(&socket, "lo").unwrap(), [0; 6]);
        assert_eq!(driver(&socket, "lo").unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    }

    #[test]
    fn names_that_no_port_can_have_are_refused_before_the_kernel_sees_them() {
        let socket = socket().unwrap();
        for name in ["", "a\0b", "sixteen-letters-"] {
            assert_eq!(
                permanent_address(&socket, name).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{name:?}"
            );
        }
        assert_eq!(
            permanent_address(&socket, "absent0").unwrap_err().raw_os_error(),
            Some(libc::ENODEV)
        );
    }
}
