//! ATA PASS-THROUGH (SAT-4) and what comes back.

use super::{Abort, Bridge, Disk, Output, SECTOR};
use crate::{
    Answer, NoAnswer,
    answer::Sense,
    layout::{put, put_text},
};

/// A command as the registers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Task {
    pub(super) command: u8,
    pub(super) features: u16,
    pub(super) count: u16,
    pub(super) lba: u64,
    pub(super) device: u8,
    pub(super) is_extended: bool,
}

/// How data goes (SAT-4, ATA PASS-THROUGH, PROTOCOL field).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    None,
    In,
    Out,
}

/// What is to be done with the data and the answer.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    protocol: u8,
    asks_for_registers: bool,
    is_in: bool,
    bytes: Option<usize>,
}

/// Which way the data of a command goes (ACS-4, normal inputs of each command), and whether by PIO.
fn direction(task: Task) -> (Protocol, bool) {
    match (task.command, task.features & 0xff) {
        (0xec | 0x24, _) | (0xb1, 0xc2) => (Protocol::In, true),
        (0xf1 | 0xf2 | 0xf4 | 0xf6 | 0x34, _) | (0xb1, 0xc3) => (Protocol::Out, true),
        (0x25, _) => (Protocol::In, false),
        (0x35 | 0x06, _) => (Protocol::Out, false),
        _ => (Protocol::None, false),
    }
}

impl Transfer {
    /// Whether protocol, direction and the length fit the command and the data.
    fn fits(&self, task: Task, data: &[u8]) -> bool {
        let (wanted, is_pio) = direction(task);
        // 3: non-data, 4: PIO in, 5: PIO out, 6: DMA, 10 and 11: UDMA in and out.
        let protocol = match wanted {
            Protocol::None => return self.protocol == 3 && self.bytes.is_none(),
            Protocol::In => {
                self.is_in
                    && if is_pio { self.protocol == 4 } else { matches!(self.protocol, 6 | 10) }
            }
            Protocol::Out => {
                !self.is_in
                    && if is_pio { self.protocol == 5 } else { matches!(self.protocol, 6 | 11) }
            }
        };
        protocol && self.bytes == Some(data.len()) && data.len() >= SECTOR
    }
}

fn decode(cdb: &[u8]) -> Option<(Task, Transfer)> {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let task = match *cdb {
        [0x85, ref flags, _, f1, f0, c1, c0, l3, l0, l4, l1, l5, l2, device, command, _] => {
            let is_extended = flags & 1 == 1;
            // Without EXTEND the previous registers are not there.
            let high = |byte: u8| if is_extended { byte } else { 0 };
            Task {
                command,
                features: word(high(f1), f0),
                count: word(high(c1), c0),
                lba: u64::from_be_bytes([0, 0, high(l5), high(l4), high(l3), l2, l1, l0]),
                device,
                is_extended,
            }
        }
        [0xa1, _, _, features, count, l0, l1, l2, device, command, _, _] => Task {
            command,
            features: u16::from(features),
            count: u16::from(count),
            lba: u64::from_be_bytes([0, 0, 0, 0, 0, l2, l1, l0]),
            device,
            is_extended: false,
        },
        _ => return None,
    };
    let [protocol, flags] = [(cdb[1] >> 1) & 0xf, cdb[2]];
    // T_LENGTH: in which register the length is; BYT_BLOK: whether it is in blocks of 512 bytes.
    let length = match flags & 3 {
        0 => None,
        1 => Some(usize::from(task.features)),
        2 => Some(usize::from(task.count)),
        _ => Some(0),
    };
    let unit = if flags & 4 == 0 { 1 } else { SECTOR };
    let transfer = Transfer {
        protocol,
        asks_for_registers: flags & 0x20 != 0,
        is_in: flags & 8 != 0,
        bytes: length.map(|length| length * unit),
    };
    Some((task, transfer))
}

/// The ATA Status Return descriptor (SAT-4).
fn registers(task: Task, result: Result<Output, Abort>) -> Vec<u8> {
    let (error, count, lba) = match result {
        Ok(output) => (0, output.count, output.lba),
        Err(abort) => (abort.error, 0, abort.lba),
    };
    let [_, _, l5, l4, l3, l2, l1, l0] = lba.to_be_bytes();
    let [c1, c0] = count.to_be_bytes();
    let high = |byte: u8| if task.is_extended { byte } else { 0 };
    // Status: ready, and ERR where there was one (ACS-4, STATUS field). Without EXTEND, bits 27:24 are in the device.
    let status = 0x50 | u8::from(error != 0);
    let device = if task.is_extended { task.device } else { task.device & 0xf0 | l3 & 0x0f };
    vec![
        0x09,
        0x0c,
        u8::from(task.is_extended),
        error,
        high(c1),
        c0,
        high(l3),
        l0,
        high(l4),
        l1,
        high(l5),
        l2,
        device,
        status,
    ]
}

impl Disk {
    pub(super) fn pass_through(&mut self, cdb: &[u8], data: &mut [u8]) -> Result<Answer, NoAnswer> {
        let refuse = |sense: Sense| Ok(Answer::check(sense.descriptor(&[])));
        if let Some(0x12) = cdb.first() {
            return Ok(self.inquire(cdb, data));
        }
        if let [0x9e, 0x10, ..] = cdb {
            if !crate::layout::asks_for_whole_capacity(cdb, data.len()) {
                return refuse(Sense::INVALID_FIELD);
            }
            return Ok(Answer::good(self.read_capacity(data)));
        }
        let decoded = decode(cdb).filter(|_| self.config.bridge != Bridge::WithoutPassThrough);
        let Some((task, transfer)) = decoded else { return refuse(Sense::INVALID_OPCODE) };
        if self.config.bridge == Bridge::AbortsAll && task.command != 0xec {
            let registers = registers(task, Err(Abort::PLAIN));
            return Ok(Answer::check(Sense(0x0b, 0x00, 0x00).descriptor(&registers)));
        }
        if !transfer.fits(task, data) {
            return refuse(Sense::INVALID_FIELD);
        }
        let result = self.command(task, data)?;
        if self.config.bridge == Bridge::WithoutSense {
            return Ok(Answer::good(result.map_or(0, |output| output.transferred)));
        }
        Ok(match result {
            // ATA PASS THROUGH INFORMATION AVAILABLE.
            Ok(output) if transfer.asks_for_registers => Answer {
                transferred: output.transferred,
                ..Answer::check(Sense(0x01, 0x00, 0x1d).descriptor(&registers(task, result)))
            },
            Ok(output) => Answer::good(output.transferred),
            Err(abort) => {
                // Logical block address out of range; otherwise ABORTED COMMAND (SAT-4, error translation).
                let is_range = abort.error & super::NOT_FOUND != 0;
                let sense =
                    if is_range { Sense(0x05, 0x21, 0x00) } else { Sense(0x0b, 0x00, 0x00) };
                Answer::check(sense.descriptor(&registers(task, result)))
            }
        })
    }

    /// READ CAPACITY (16): the highest address and the length of a block.
    fn read_capacity(&self, data: &mut [u8]) -> usize {
        let more = u64::from(self.config.bridge == Bridge::OtherSize);
        let mut page = [0; 32];
        put(&mut page, 0, &(self.capacity.maximum + more).to_be_bytes());
        put(&mut page, 8, &[0, 0, 2, 0]);
        crate::layout::answer(data, &page)
    }

    /// INQUIRY as a translation layer answers it (SAT-4, INQUIRY), with ATA Information (VPD 0x89).
    fn inquire(&self, cdb: &[u8], data: &mut [u8]) -> Answer {
        let [_, flags, page_code, ..] = *cdb else {
            return Answer::check(Sense::INVALID_FIELD.descriptor(&[]));
        };
        let mut page = vec![0; 96];
        match (flags & 1, page_code) {
            (0, 0) => {
                page[2] = 6; // SPC-4
                page[4] = 91;
                put_text(&mut page, 16, 16, &self.config.model);
                put_text(&mut page, 8, 8, "ATA");
                put_text(&mut page, 32, 4, "1.0");
            }
            (1, 0x00) => page = vec![0, 0, 0, 3, 0x00, 0x80, 0x89],
            (1, 0x80) => {
                page = vec![0, 0x80, 0, 20];
                page.resize(24, 0);
                put_text(&mut page, 4, 20, &self.config.serial);
            }
            (1, 0x89) => {
                page.resize(572, 0);
                put(&mut page, 0, &[0, 0x89, 0x02, 0x38]);
                put_text(&mut page, 8, 8, "Bridge");
                put_text(&mut page, 16, 16, "SAT");
                page[56] = 0xec;
                put(&mut page, 60, &self.identify_page());
            }
            _ => return Answer::check(Sense::INVALID_FIELD.descriptor(&[])),
        }
        Answer::good(crate::layout::answer(data, &page))
    }
}
