//! Identify (Base, section 5.17; NVM Command Set, section 4.1.5).

use super::{ALL_NAMESPACES, CONTROLLER, Controller, Deallocated, FORMATS, Namespace, status};
use crate::layout::{answer, bits, bytes, count, put, put_text};

/// How many namespaces the controller can have (`NN`).
const NAMESPACES_LIMIT: u32 = 32;

impl Controller {
    pub(super) fn identify(
        &self,
        nsid: u32,
        dwords: [u32; 6],
        data: &mut [u8],
    ) -> Result<u32, u16> {
        let list = |after: u32, is_listed: fn(&Namespace) -> bool| {
            let mut page = vec![0; 4096];
            let listed =
                self.namespaces.iter().filter(|(id, found)| **id > after && is_listed(found));
            for (number, (id, _)) in listed.take(1024).enumerate() {
                put(&mut page, number * 4, &id.to_le_bytes());
            }
            page
        };
        let is_valid = (1..=NAMESPACES_LIMIT).contains(&nsid);
        let page = match bits(dwords[0], 0, 7) {
            0x00 if nsid == ALL_NAMESPACES && self.config.manages_namespaces => {
                self.namespace_page(None)
            }
            // An inactive namespace is all zeros (NVM Command Set, section 4.1.5.1).
            0x00 if is_valid => self
                .namespaces
                .get(&nsid)
                .filter(|namespace| namespace.is_attached)
                .map_or(vec![0; 4096], |namespace| self.namespace_page(Some(namespace))),
            0x01 => self.controller_page(),
            0x02 if nsid < 0xffff_fffe => list(nsid, |namespace| namespace.is_attached),
            0x03 => descriptors(self.attached(nsid)?),
            // I/O Command Set specific Identify Controller, NVM Command Set: WZSL is byte 1 (section 4.1.5.4).
            0x06 if bits(dwords[1], 24, 31) == 0 => {
                let mut page = vec![0; 4096];
                page[1] = self.config.write_zeroes_limit;
                page
            }
            0x10 if self.config.manages_namespaces && nsid < 0xffff_fffe => list(nsid, |_| true),
            0x11 if self.config.manages_namespaces && is_valid => self
                .namespaces
                .get(&nsid)
                .map_or(vec![0; 4096], |namespace| self.namespace_page(Some(namespace))),
            0x12 if self.config.manages_namespaces && is_valid => controllers(
                self.namespaces.get(&nsid).is_some_and(|namespace| namespace.is_attached),
            ),
            0x13 if self.config.manages_namespaces => controllers(true),
            0x00 | 0x11 | 0x12 => return Err(status::INVALID_NAMESPACE),
            _ => return Err(status::INVALID_FIELD),
        };
        answer(data, &page);
        Ok(0)
    }

    pub(super) fn attached(&self, nsid: u32) -> Result<&Namespace, u16> {
        let namespace = self.namespaces.get(&nsid).filter(|namespace| namespace.is_attached);
        namespace.ok_or(status::INVALID_NAMESPACE)
    }

    pub(super) fn unallocated_bytes(&self) -> u64 {
        let allocated: u64 = self.namespaces.values().map(|namespace| namespace.bytes).sum();
        self.config.capacity_bytes - allocated
    }

    /// Base, section 5.17.2.1; offsets also in `struct nvme_id_ctrl` of libnvme.
    fn controller_page(&self) -> Vec<u8> {
        let config = &self.config;
        let bit = |is_set: bool, place: u32| u32::from(is_set) << place;
        let byte_bit = |is_set: bool, place: u8| u8::from(is_set) << place;
        let mut page = vec![0; 4096];
        put(&mut page, 0, &0x1b36_u16.to_le_bytes()); // VID
        put_text(&mut page, 64, 8, "1.0");
        put_text(&mut page, 24, 40, &config.model);
        put_text(&mut page, 4, 20, &config.serial);
        page[77] = 5; // MDTS: 128 KiB
        put(&mut page, 78, &CONTROLLER.to_le_bytes());
        put(&mut page, 80, &0x0002_0000_u32.to_le_bytes()); // VER 2.0.0
        page[111] = 1; // CNTRLTYPE: I/O
        // OACS: format bit 1, namespace management bit 3.
        page[256] = byte_bit(config.format.is_some(), 1) | byte_bit(config.manages_namespaces, 3);
        if config.manages_namespaces {
            put(&mut page, 280, &config.capacity_bytes.to_le_bytes()); // TNVMCAP
            put(&mut page, 296, &self.unallocated_bytes().to_le_bytes()); // UNVMCAP
        }
        if let Some(can) = &config.sanitize {
            let sanicap = bit(can.crypto_erase, 0)
                | bit(can.block_erase, 1)
                | bit(can.overwrite, 2)
                | bit(can.no_deallocate_inhibited, 29)
                | u32::from(can.no_deallocate_modifies_media) << 30;
            put(&mut page, 328, &sanicap.to_le_bytes());
        }
        page[512] = 0x66; // SQES
        page[513] = 0x44; // CQES
        put(&mut page, 516, &NAMESPACES_LIMIT.to_le_bytes());
        // ONCS: dataset management bit 2, write zeroes bit 3.
        page[520] = byte_bit(config.deallocate, 2) | byte_bit(config.write_zeroes, 3);
        if let Some(format) = &config.format {
            page[524] = byte_bit(format.formats_all, 0)
                | byte_bit(format.erases_all, 1)
                | byte_bit(format.crypto_erase, 2)
                | byte_bit(format.broadcast_forbidden, 3);
        }
        page[531] = 1; // NWPC: write protect states
        put(&mut page, 768, format!("nqn.2026-11.test:{}", config.serial).as_bytes());
        page
    }

    /// NVM Command Set, section 4.1.5.1; offsets also in `struct nvme_id_ns` of libnvme. Without a namespace: what all have in
    /// common.
    fn namespace_page(&self, namespace: Option<&Namespace>) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[25] = u8::try_from(FORMATS.len() - 1).expect("a few formats"); // NLBAF
        page[33] = match self.config.deallocated {
            Deallocated::NotReported => 0,
            // Bit 3: Write Zeroes with the deallocate bit is followed.
            Deallocated::Zeros => 1 | 1 << 3,
            Deallocated::Ones => 2,
        };
        for (number, size) in FORMATS.iter().enumerate() {
            page[128 + number * 4 + 2] = *size; // LBADS
        }
        let Some(namespace) = namespace else { return page };
        let blocks = namespace.blocks().to_le_bytes();
        put(&mut page, 0, &blocks); // NSZE
        put(&mut page, 8, &blocks); // NCAP
        put(&mut page, 16, &blocks); // NUSE
        page[26] = namespace.format; // FLBAS
        if self.config.manages_namespaces {
            put(&mut page, 48, &namespace.bytes.to_le_bytes()); // NVMCAP
        }
        page[99] = u8::from(namespace.is_write_protected); // NSATTR
        put(&mut page, 104, &namespace.nguid);
        put(&mut page, 120, &namespace.eui64);
        page
    }
}

/// Namespace Identification Descriptors (Base, section 5.17.2.3).
fn descriptors(namespace: &Namespace) -> Vec<u8> {
    let mut page = Vec::new();
    page.extend([0x01, 8, 0, 0]);
    page.extend(namespace.eui64);
    page.extend([0x02, 16, 0, 0]);
    page.extend(namespace.nguid);
    page.resize(4096, 0);
    page
}

/// A controller list (Base, section 4.4.1).
fn controllers(has_this: bool) -> Vec<u8> {
    let mut page = vec![0; 4096];
    if has_this {
        put(&mut page, 0, &1_u16.to_le_bytes());
        put(&mut page, 2, &CONTROLLER.to_le_bytes());
    }
    page
}

/// Whether a controller list names this controller and no other.
pub(super) fn names_this_controller(data: &[u8]) -> bool {
    u16::from_le_bytes(bytes(data, 0)) == 1
        && u16::from_le_bytes(bytes(data, 2)) == CONTROLLER
        && count(data.len()) >= 4
}

/// The lowest identifier that no namespace has.
pub(super) fn free_identifier(controller: &Controller) -> Option<u32> {
    (1..=NAMESPACES_LIMIT).find(|id| !controller.namespaces.contains_key(id))
}
