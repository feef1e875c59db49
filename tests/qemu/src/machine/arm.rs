//! Machines with 64-bit Arm processors: QEMU's `virt`, with Debian's build of EDK2 as firmware.

use super::{Card, Firmware, Machine, Port};

/// QEMU's `-machine`, `-accel` and `-cpu`: always emulated, since what this runs on is another kind of processor.
pub(super) const MACHINE: [&str; 6] =
    ["-machine", "virt,gic-version=3", "-accel", "tcg", "-cpu", "cortex-a57"];
/// The program that runs it.
pub(super) const PROGRAM: &str = "qemu-system-aarch64";
/// Debian's firmware and its empty memory; the same place on Debian 12 and 13.
pub(super) const CODE: &str = "/usr/share/AAVMF/AAVMF_CODE.fd";
pub(super) const VARIABLES: &str = "/usr/share/AAVMF/AAVMF_VARS.fd";
/// The empty one is formatted by the firmware itself. This one is already, and has keys that anybody has.
pub(super) const FORMATTED_VARIABLES: &str = "/usr/share/AAVMF/AAVMF_VARS.snakeoil.fd";

impl Machine {
    /// Describes a 64-bit Arm machine with one port that boots, no disk, and an identity of its own. It tries PXE, or HTTP
    /// Boot only.
    pub(crate) fn arm(name: &str, firmware: Firmware) -> Machine {
        Machine { is_arm: true, ..Machine::with(name, firmware, Port::new(Card::Plain)) }
    }

    /// Returns how `uname -m` names its processors.
    pub(crate) fn architecture(&self) -> &'static str {
        if self.is_arm { "aarch64" } else { "x86_64" }
    }
}
