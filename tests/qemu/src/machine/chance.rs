//! Identities that no other run has had, so that a record proves that it came from this one.

use std::fs;

/// Returns 32 random bits from the kernel.
pub(crate) fn number() -> u32 {
    let digits: String = uuid().chars().filter(char::is_ascii_hexdigit).take(8).collect();
    u32::from_str_radix(&digits, 16).expect("eight hexadecimal digits")
}

/// Returns a random UUID, version 4.
pub(crate) fn uuid() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid");
    text.expect("every Linux makes UUIDs").trim().to_owned()
}

/// Returns random upper-case hexadecimal digits, at most 8.
pub(crate) fn digits(count: usize) -> String {
    format!("{:08X}", number())[..count].to_owned()
}

/// Returns a MAC address of the vendor `00:16:3e`: universally administered, as a real card's is.
pub(crate) fn mac() -> String {
    let [a, b, c, _] = number().to_be_bytes();
    format!("00:16:3e:{a:02x}:{b:02x}:{c:02x}")
}
