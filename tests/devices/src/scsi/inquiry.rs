//! INQUIRY with its pages, READ CAPACITY (SPC-5, SBC-4).

use super::{Disk, Kind};
use crate::{
    answer::Sense,
    layout::{answer, put, put_text},
};

/// NAA descriptor of the logical unit: binary, association 0, designator type 3.
const NAA: [u8; 4] = [0x01, 0x03, 0, 8];

impl Disk {
    pub(super) fn inquire(&self, cdb: &[u8; 16], data: &mut [u8]) -> Result<usize, Sense> {
        let config = &self.config;
        let page = match (cdb[1] & 1, cdb[2]) {
            (0, 0) => {
                let mut page = vec![0; 96];
                page[2] = 7; // SPC-5
                page[3] = 0x02;
                page[4] = 91;
                page[7] = 0x02; // command queuing
                put_text(&mut page, 8, 8, &config.vendor);
                put_text(&mut page, 16, 16, &config.product);
                put_text(&mut page, 32, 4, "0001");
                page
            }
            (1, 0x00) => vital(0x00, &[0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]),
            (1, 0x80) => vital(0x80, config.serial.as_bytes()),
            (1, 0x83) => vital(0x83, &[&NAA[..], &config.wwn.to_be_bytes()].concat()),
            (1, 0xb0) => vital(0xb0, &self.block_limits()),
            (1, 0xb1) => {
                let mut rest = [0; 60];
                let rate: u16 = if config.kind == Kind::Flash { 1 } else { 7200 };
                put(&mut rest, 0, &rate.to_be_bytes());
                // WABEREQ bits 7:6, WACEREQ bits 5:4: 1 reads what there is, 3 is WRITE AFTER SANITIZE REQUIRED.
                rest[3] = if config.must_write_after_sanitize { 0xf0 } else { 0x50 };
                vital(0xb1, &rest)
            }
            (1, 0xb2) => {
                let flags = config.provisioning.map_or(0, |can| {
                    u8::from(can.unmaps) << 7
                        | u8::from(can.unmaps_with_write_same) << 6
                        | u8::from(can.reads_zeros) << 2
                });
                // Provisioning type 1: resource provisioned.
                vital(0xb2, &[0, flags, u8::from(config.provisioning.is_some()), 0])
            }
            _ => return Err(Sense::INVALID_FIELD),
        };
        Ok(answer(data, &page))
    }

    /// Block Limits: offsets less the four bytes of the header.
    fn block_limits(&self) -> [u8; 60] {
        let mut rest = [0; 60];
        if self.config.provisioning.is_some() {
            put(&mut rest, 16, &u32::MAX.to_be_bytes()); // blocks of one UNMAP
            put(&mut rest, 20, &16_u32.to_be_bytes()); // descriptors of one UNMAP
        }
        put(&mut rest, 32, &self.config.write_same_limit.to_be_bytes());
        rest
    }

    /// READ CAPACITY (10) and (16).
    pub(super) fn read_capacity(&self, opcode: u8, data: &mut [u8]) -> usize {
        let last = self.accessible - 1;
        let length = self.block_bytes.to_be_bytes();
        if opcode == 0x25 {
            let last = u32::try_from(last).unwrap_or(u32::MAX);
            return answer(data, &[last.to_be_bytes(), length].concat());
        }
        let mut page = [0; 32];
        put(&mut page, 0, &last.to_be_bytes());
        put(&mut page, 8, &length);
        if let Some(can) = self.config.provisioning {
            page[14] = 1 << 7 | u8::from(can.reads_zeros) << 6; // LBPME, LBPRZ
        }
        answer(data, &page)
    }
}

/// A vital product data page.
fn vital(code: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a small page").to_be_bytes();
    [&[0, code, length[0], length[1]], rest].concat()
}
