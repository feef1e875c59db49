//! System, firmware and boot mode from what is not SMBIOS.

use protocol::inventory::BootMode;

use crate::tree::Tree;

const SECURE_BOOT: &str =
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

#[test]
fn boot_mode_is_said_only_where_it_is_sure() {
    let mode = |lines: &str| Tree::new(lines).collect().firmware.boot_mode;
    assert_eq!(
        mode("proc/sys/kernel/arch = x86_64\nsys/firmware/memmap/0/end = 0"),
        Some(BootMode::Bios)
    );
    assert_eq!(
        mode("proc/sys/kernel/arch = x86_64\nsys/firmware/efi/fw_platform_size = 64"),
        Some(BootMode::Uefi)
    );
    assert_eq!(mode("sys/firmware/efi/fw_platform_size = 64"), Some(BootMode::Uefi));
    // A board with a device tree has neither; a capture without `sys/firmware` does not tell.
    assert_eq!(
        mode("proc/sys/kernel/arch = aarch64\nsys/firmware/devicetree/base/model = Pi"),
        None
    );
    assert_eq!(mode("proc/sys/kernel/arch = x86_64"), None);
}

#[test]
fn secure_boot_is_read_from_its_variable() {
    let with = |bytes: &str| Tree::new(&format!("{SECURE_BOOT} = {bytes}")).collect();
    assert_eq!(with(r"\x16\x00\x00\x00\x01").firmware.secure_boot, Some(true));
    assert_eq!(with(r"\x06\x00\x00\x00\x00").firmware.secure_boot, Some(false));
    let damaged = with(r"\x06\x00");
    assert_eq!(damaged.firmware.secure_boot, None);
    assert_eq!(damaged.gaps[0].what, "firmware/secureBoot");
    assert_eq!(Tree::empty().collect().firmware.secure_boot, None);
}

#[test]
fn a_board_without_smbios_tells_by_its_device_tree() {
    let inventory = Tree::new(
        r"sys/firmware/devicetree/base/model = Raspberry Pi 4 Model B Rev 1.4\x00
          sys/firmware/devicetree/base/compatible = raspberrypi,4-model-b\x00brcm,bcm2711\x00
          sys/firmware/devicetree/base/serial-number = 10000000abcdef01\x00
          proc/sys/kernel/arch = aarch64",
    )
    .collect();
    assert_eq!(inventory.system.manufacturer.as_deref(), Some("raspberrypi"));
    assert_eq!(inventory.system.product.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
    assert_eq!(inventory.system.serial.as_deref(), Some("10000000abcdef01"));
    assert_eq!(inventory.architecture.as_deref(), Some("aarch64"));
    assert_eq!(inventory.gaps, []);
}

#[test]
fn without_the_tables_the_kernel_s_own_view_counts() {
    let inventory = Tree::new(
        "sys/class/dmi/id/sys_vendor = ACME
         sys/class/dmi/id/product_name = Rocket
         sys/class/dmi/id/product_uuid = 00112233-4455-6677-8899-AABBCCDDEEFF
         sys/class/dmi/id/board_name = R2
         sys/class/dmi/id/chassis_type = 23
         sys/class/dmi/id/bios_version = 1.2",
    )
    .collect();
    assert_eq!(inventory.system.manufacturer.as_deref(), Some("ACME"));
    assert_eq!(inventory.system.uuid.as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
    assert_eq!(inventory.board.product.as_deref(), Some("R2"));
    assert_eq!(inventory.chassis.kind.as_deref(), Some("Rack Mount Chassis"));
    assert_eq!(inventory.firmware.version.as_deref(), Some("1.2"));
}

#[test]
fn memory_that_does_not_tell_its_size_is_a_gap() {
    let inventory = Tree::new("proc/meminfo = MemTotal: lots").collect();
    assert_eq!(inventory.memory.usable_bytes, None);
    assert_eq!(inventory.gaps[0].what, "memory/usableBytes");
}

#[test]
fn what_an_image_was_made_of_is_told_by_its_own_list() {
    let tree = Tree::empty();
    tree.add(r"etc/drydock-versions = sunshineos=0a1b2c3d4e5f\nlinux-image-6.12=6.12-1\n");
    let software = tree.collect().software;
    assert_eq!(software, ["sunshineos=0a1b2c3d4e5f", "linux-image-6.12=6.12-1"]);
    assert_eq!(Tree::empty().collect().software, [] as [&str; 0], "no system of ours");
}
