//! Every case by its name.

mod arm;
mod boot;
mod decision;
mod explain;
mod foreign;
mod found;
mod harness;
mod install;
mod life;
mod medium;
mod memory;
mod neighbour;
mod offline;
mod release;
mod signed_medium;
mod store;
mod truncated;
mod unified;
mod wipe;

use std::time::Duration;

use anyhow::Result;

use crate::{
    lab::Lab,
    machine::{Bus, Firmware},
};

/// One story of machines and a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// How it is called on the command line.
    pub(crate) name: &'static str,
    /// What it shows, as a claim.
    pub(crate) claim: &'static str,
    /// How many machines run at once at most: two may, on all cases together. None where only programs of this machine do.
    pub(crate) machines: usize,
    /// Whether `make test` tells it; `make soak` tells all.
    pub(crate) when: When,
    /// Tells the story; fails where it goes another way.
    pub(crate) run: fn(&Lab) -> Result<()>,
}

/// When a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// In every run.
    Test,
    /// By hand.
    Soak,
}

/// How long a boot may take from power-on to what is waited for: 25 s under TCG on an idle machine.
pub(crate) const BOOT_PATIENCE: Duration = Duration::from_mins(5);

/// Returns all cases.
pub(crate) fn all() -> Vec<Case> {
    [
        CASES,
        wipe::beside::CASES,
        unified::CASES,
        arm::CASES,
        medium::CASES,
        signed_medium::CASES,
        release::CASES,
        memory::CASES,
        offline::CASES,
        found::CASES,
        truncated::CASES,
    ]
    .concat()
}

/// The cases, the long ones first, so that no processor waits for them in the end.
///
/// Above each stands by which mutation of the product, or of the harness where the case is about that, it was seen red.
const CASES: &[Case] = &[
    // Seen red: zeros are left over 16 MiB of the image, behind the agent's own check.
    Case {
        name: "install_uefi",
        claim: "a UEFI machine gets an image on an NVMe disk full of ones, starts it by a boot entry, which another install replaces, and the installed system says its name and key",
        machines: 1,
        when: When::Test,
        run: install::uefi,
    },
    // Seen red: the steps after the image are not done.
    Case {
        name: "install_bios",
        claim: "a BIOS machine whose clock is years off gets an image on a SATA disk and starts its kernel without the firmware; the installed system alone is told its name and key by the server, and says back",
        machines: 1,
        when: When::Test,
        run: install::bios,
    },
    // Seen red: the agent gives up at the first connection that breaks.
    Case {
        name: "install_faults",
        claim: "a server that is killed does not stop an install; a disk that fails, leaves or counts otherwise does, and is named",
        machines: 1,
        when: When::Test,
        run: install::faults,
    },
    // Seen red: the engine does not destroy what was bootable before it writes.
    Case {
        name: "install_power_cut",
        claim: "a machine whose power is cut while it is installed starts nothing of it, and another order finishes it",
        machines: 1,
        when: When::Test,
        run: install::power_cut,
    },
    // Seen red: the agent was built without what fetches from other servers.
    Case {
        name: "install_foreign",
        claim: "a machine of 256 MiB fetches a packed image from somebody else's web server by itself, with TLS and without; one that was exchanged leaves nothing that starts",
        machines: 1,
        when: When::Test,
        run: foreign::from_a_web_server,
    },
    Case {
        name: "install_disk_uefi_virtio",
        claim: "a UEFI machine gets an image on a virtio disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Uefi, Bus::Virtio),
    },
    Case {
        name: "install_disk_uefi_nvme",
        claim: "a UEFI machine gets an image on an NVMe disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Uefi, Bus::Nvme),
    },
    Case {
        name: "install_disk_uefi_sata",
        claim: "a UEFI machine gets an image on a SATA disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Uefi, Bus::Sata),
    },
    Case {
        name: "install_disk_uefi_scsi",
        claim: "a UEFI machine gets an image on a SCSI disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Uefi, Bus::Scsi),
    },
    Case {
        name: "install_disk_bios_virtio",
        claim: "a BIOS machine gets an image on a virtio disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Bios, Bus::Virtio),
    },
    Case {
        name: "install_disk_bios_nvme",
        claim: "a BIOS machine gets an image on an NVMe disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Bios, Bus::Nvme),
    },
    Case {
        name: "install_disk_bios_sata",
        claim: "a BIOS machine gets an image on a SATA disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Bios, Bus::Sata),
    },
    Case {
        name: "install_disk_bios_scsi",
        claim: "a BIOS machine gets an image on a SCSI disk, whatever was on it, and starts it by its firmware and without",
        machines: 1,
        when: When::Soak,
        run: |lab| install::on_disk(lab, Firmware::Bios, Bus::Scsi),
    },
    Case {
        name: "install_every_power_cut",
        claim: "at every point of an install a power cut leaves nothing that starts, under every firmware",
        machines: 1,
        when: When::Soak,
        run: install::every_power_cut,
    },
    Case {
        name: "wipe_four_disks",
        claim: "a machine with NVMe, SATA, SAS and virtio disks is discovered, goes over the network into HerculesOS, and has two of its four disks wiped at every level; the other two keep every byte, the certificates verify, and it switches off",
        machines: 1,
        when: When::Test,
        run: wipe::four_disks,
    },
    Case {
        name: "wipe_power_cut",
        claim: "a machine whose power is cut in the middle of a wipe goes on with it at its next start, and the certificate says so",
        machines: 1,
        when: When::Test,
        run: wipe::power_cut,
    },
    Case {
        name: "wipe_faults",
        claim: "a disk that cannot be written everywhere and one that is pulled out are named and delay no other; a server that is killed meanwhile has the report once it is back",
        machines: 1,
        when: When::Test,
        run: wipe::faults,
    },
    // Seen red: the disk in the place of the ordered one was wiped, before disks were asked for their serial numbers.
    Case {
        name: "wipe_exchanged",
        claim: "a disk that is exchanged between the order and its first byte is not touched, nor is the ordered one, also where the controller tells nobody",
        machines: 1,
        when: When::Test,
        run: wipe::devices::exchanged,
    },
    Case {
        name: "wipe_changed",
        claim: "an order to wipe is void where its machine comes back with another disk, one more or one less",
        machines: 1,
        when: When::Soak,
        run: wipe::devices::changed,
    },
    Case {
        name: "wipe_hangs",
        claim: "a disk that hangs for ever is given up; the one beside it is wiped in its own time, the report comes, and the machine can still be restarted",
        machines: 1,
        when: When::Soak,
        run: wipe::devices::hangs,
    },
    Case {
        name: "wipe_devices",
        claim: "of two namespaces of an NVMe controller one alone is not wiped as a whole, both are; disks that speak SAS, with sectors of 4,096 bytes and behind a RAID controller come to what each can; what is not attached or can only be read keeps every byte",
        machines: 1,
        when: When::Test,
        run: wipe::devices::kinds,
    },
    // Seen red: the machine boots SunshineOS.
    Case {
        name: "wipe_waits",
        claim: "a machine that boots HerculesOS says so, waits, and not a byte of its disks changes",
        machines: 1,
        when: When::Test,
        run: wipe::waits,
    },
    // Seen red: the server answers one session at a time.
    Case {
        name: "crowd",
        claim: "50 machines fetch an image at once: the link is full, none waits for others, the server's memory is flat",
        // None, and none beside it: what is measured is time.
        machines: 2,
        when: When::Test,
        run: crate::bench::crowd,
    },
    // Seen red: the server looks at no ignore list, under BIOS.
    Case {
        name: "uefi_ignored",
        claim: "a UEFI machine that is ignored hears nothing and starts its own disk",
        machines: 1,
        when: When::Soak,
        run: decision::uefi_ignored,
    },
    // Seen red: the server lives on, under BIOS.
    Case {
        name: "uefi_without_drydock",
        claim: "a UEFI machine whose Drydock is down starts its own disk",
        machines: 1,
        when: When::Soak,
        run: decision::uefi_without_drydock,
    },
    // Seen red: a machine with data is left without an answer instead of being sent to its disk.
    Case {
        name: "uefi_with_data",
        claim: "an unknown UEFI machine with data is discovered once, then starts its own disk at once, unless told to wait",
        machines: 1,
        when: When::Test,
        run: decision::uefi_with_data,
    },
    // Seen red: an unknown machine with data restarts after 20 s.
    Case {
        name: "bios_with_data",
        claim: "an unknown BIOS machine with data is discovered once, then starts its own disk at once, unless told to wait",
        machines: 1,
        when: When::Test,
        run: decision::bios_with_data,
    },
    // Seen red: the server looks at no ignore list.
    Case {
        name: "bios_ignored",
        claim: "a BIOS machine that is ignored hears nothing and starts its own disk",
        machines: 1,
        when: When::Test,
        run: decision::bios_ignored,
    },
    // Seen red: the server lives on.
    Case {
        name: "bios_without_drydock",
        claim: "a BIOS machine whose Drydock is down starts its own disk",
        machines: 1,
        when: When::Test,
        run: decision::bios_without_drydock,
    },
    // Seen red: nobody is answered on port 4011.
    Case {
        name: "proxy_beside_router",
        claim: "beside a router that owns DHCP, BIOS and UEFI machines have records and the router's addresses",
        machines: 2,
        when: When::Test,
        run: boot::proxy_beside_router,
    },
    // Seen red: the recipe has another number for UEFI.
    Case {
        name: "off_with_router_recipe",
        claim: "with the printed recipe in its configuration, a router boots machines from Drydock",
        machines: 1,
        when: When::Test,
        run: boot::off_with_router_recipe,
    },
    // Seen red: a changed set of disks changes nothing: the machine stays approved; the belt fails on `vda`;
    // Ctrl-Alt-Del restarts without a word to the server.
    Case {
        name: "second_port",
        claim: "a machine that boots through another port is the same machine, also with another disk, which puts it back to pending; all its disks are belted, and it leaves in order by Ctrl-Alt-Del",
        machines: 1,
        when: When::Test,
        run: life::second_port,
    },
    // Seen red: a USB card counts as evidence like any other.
    Case {
        name: "same_garbage_uuid_one_usb_card",
        claim: "two machines with one garbage UUID, booted in turn through one USB card, are two machines",
        machines: 1,
        when: When::Test,
        run: life::same_garbage_uuid_one_usb_card,
    },
    // Seen red: the server makes another key at every start.
    Case {
        name: "server_restarts_while_agent_waits",
        claim: "an agent outlives the death of its server, and obeys the next one",
        machines: 1,
        when: When::Test,
        run: life::server_restarts_while_agent_waits,
    },
    // Seen red: an order does not get a number of its own.
    Case {
        name: "cable_pulled_and_back",
        claim: "an agent outlives the loss of its cable, and obeys once it is back",
        machines: 1,
        when: When::Test,
        run: life::cable_pulled_and_back,
    },
    // Seen red: as many threads as it likes.
    Case {
        name: "agent_cannot_go_on",
        claim: "an agent that cannot start a thread says so on the console, and restarts its machine",
        machines: 1,
        when: When::Test,
        run: life::too_few_threads_restart,
    },
    Case {
        name: "agent_panics",
        claim: "an agent that panics says where on the console, and restarts its machine",
        machines: 1,
        when: When::Soak,
        run: life::panic_restarts,
    },
    // Seen red: an order to switch off is told as one to restart.
    Case {
        name: "reboot_of_a_known_machine",
        claim: "a machine that restarts on an order is the same machine, and switches off on another",
        machines: 1,
        when: When::Test,
        run: life::reboot_of_a_known_machine,
    },
    // Seen red: another server's offer suspends nothing; and, in another run, a probe that passes resumes nothing.
    Case {
        name: "another_dhcp_server",
        claim: "while another DHCP server is on the network ours is silent and says why, and does not start; once it left, ours lends again",
        machines: 0,
        when: When::Test,
        run: neighbour::another_dhcp_server,
    },
    // Seen red: whoever announces itself is the machine that is known already.
    Case {
        name: "two_machines_at_once",
        claim: "two machines switched on together have a record each",
        machines: 2,
        when: When::Test,
        run: boot::two_machines_at_once,
    },
    // Seen red: a record is complete without approval.
    Case {
        name: "bios_pxe",
        claim: "a blank BIOS machine with a wrong clock boots by PXE, has a record, and waits",
        machines: 1,
        when: When::Test,
        run: boot::bios_pxe,
    },
    // Seen red: the server does not know undionly.kpxe.
    Case {
        name: "bios_boot_program",
        claim: "a BIOS machine that is told our boot program by TFTP has a record",
        machines: 1,
        when: When::Test,
        run: boot::bios_boot_program,
    },
    // Seen red: UEFI firmware is told the boot program for BIOS.
    Case {
        name: "uefi_pxe",
        claim: "a blank UEFI machine boots by its firmware's own PXE, has a record, and waits",
        machines: 1,
        when: When::Test,
        run: boot::uefi_pxe,
    },
    // Seen red: an offer for HTTP Boot says that it is for PXE.
    Case {
        name: "uefi_http_boot",
        claim: "a blank UEFI machine boots by HTTP, has a record, and waits",
        machines: 1,
        when: When::Test,
        run: boot::uefi_http_boot,
    },
    // Seen red: iPXE is told the boot program for its architecture instead of its script.
    Case {
        name: "nic_with_ipxe",
        claim: "a blank machine whose card carries iPXE has a record, and waits",
        machines: 1,
        when: When::Test,
        run: boot::nic_with_ipxe,
    },
    // Seen red: the list of cards does not name the e1000e card, so that the machine loads the pack with all drivers.
    Case {
        name: "late_disks",
        claim: "machines whose disks stand behind controllers that only the server's store has drivers for have records that list them, and one loads 21 MB at most in all",
        machines: 1,
        when: When::Test,
        run: store::late_disks,
    },
    // Not yet seen red. To be: what comes is not compared with its SHA-256.
    Case {
        name: "altered_store",
        claim: "a machine whose server has other files in its store than the image was made with says so, and loads none",
        machines: 1,
        when: When::Test,
        run: store::altered_store,
    },
    // Not yet seen red. To be: the second `initrd` line is left out; the initramfs is not padded (UEFI with a ROM).
    Case {
        name: "pack_of_the_card",
        claim: "under BIOS, UEFI and an old iPXE a machine loads exactly the pack of its card behind the image, and one whose card is unknown that with all drivers",
        machines: 1,
        when: When::Test,
        run: explain::pack_of_the_card,
    },
    // Seen red: another reason stands where option 54 is missing.
    Case {
        name: "explain_option_54",
        claim: "a router's offer without option 54 is named as the reason",
        machines: 1,
        when: When::Test,
        run: explain::option_54_missing,
    },
    // Seen red: another reason stands where port 4011 is blocked.
    Case {
        name: "explain_4011",
        claim: "a firewall on port 4011 is named as the reason",
        machines: 1,
        when: When::Test,
        run: explain::no_answer_on_4011,
    },
    // Seen red: another reason stands where TFTP is blocked.
    Case {
        name: "explain_tftp",
        claim: "a firewall on TFTP is named as the reason",
        machines: 1,
        when: When::Test,
        run: explain::tftp_blocked,
    },
    // Seen red: another reason stands where HTTP is blocked.
    Case {
        name: "explain_http",
        claim: "a firewall on the server's HTTP port is named as the reason",
        machines: 1,
        when: When::Test,
        run: explain::http_blocked,
    },
    // Seen red: the agent finds no contradiction between the pins; and, in another run, its alert is not told apart.
    Case {
        name: "pin_in_image",
        claim: "a machine whose image carries another pin stops, and why is named; with the right pin it has a record",
        machines: 1,
        when: When::Test,
        run: explain::pin_in_image,
    },
    // Seen red: the alert of an agent that refuses the server's key is not told apart.
    Case {
        name: "explain_pin",
        claim: "a pin that is another key's is named as the reason",
        machines: 1,
        when: When::Test,
        run: explain::wrong_pin,
    },
    Case {
        name: "every_card_authoritative",
        claim: "every card under every firmware leads to a record, without a router",
        machines: 1,
        when: When::Soak,
        run: boot::every_card_authoritative,
    },
    Case {
        name: "every_card_proxy",
        claim: "every card under every firmware leads to a record, beside a router",
        machines: 1,
        when: When::Soak,
        run: boot::every_card_proxy,
    },
    Case {
        name: "every_card_off",
        claim: "every card under every firmware leads to a record, with the printed recipe in the router",
        machines: 1,
        when: When::Soak,
        run: boot::every_card_off,
    },
    // Seen red: the router's TFTP is off.
    Case {
        name: "harness_bios",
        claim: "a BIOS machine boots from a router that boots it, without Drydock",
        machines: 1,
        when: When::Test,
        run: harness::bios_boots_from_network,
    },
    // Seen red: the router's TFTP is off.
    Case {
        name: "harness_uefi",
        claim: "a UEFI machine boots with its firmware's own network stack from a router that boots it",
        machines: 1,
        when: When::Test,
        run: harness::uefi_boots_from_network,
    },
    // Seen red: the boot sector lacks its magic.
    Case {
        name: "harness_disks",
        claim: "a machine whose network offers nothing starts its own disk",
        machines: 1,
        when: When::Test,
        run: harness::own_disk_where_nothing_boots,
    },
    // Seen red: the firewall lets everything through.
    Case {
        name: "harness_firewall",
        claim: "a machine whose boot program cannot be loaded through a firewall starts its own disk",
        machines: 1,
        when: When::Test,
        run: harness::a_firewall_is_tight,
    },
    Case {
        name: "harness_cards",
        claim: "every network card of the harness boots under the firmware that can",
        machines: 1,
        when: When::Soak,
        run: harness::cards_boot_from_network,
    },
    Case {
        name: "harness_uefi_disks",
        claim: "a UEFI machine whose network offers nothing starts its own disk, after four minutes of its own patience",
        machines: 1,
        when: When::Soak,
        run: harness::uefi_own_disk_where_nothing_boots,
    },
];
