//! REPORT SUPPORTED OPERATION CODES (SPC-5).

use super::Disk;
use crate::{answer::Sense, layout::answer};

/// A command: operation code, service action, length of its descriptor block.
type Command = (u8, Option<u16>, u16);

impl Disk {
    fn commands(&self) -> Vec<Command> {
        let mut commands = vec![
            (0x00, None, 6),
            (0x03, None, 6),
            (0x12, None, 6),
            (0x15, None, 6),
            (0x1a, None, 6),
            (0x25, None, 10),
            (0x28, None, 10),
            (0x2a, None, 10),
            (0x35, None, 10),
            (0x41, None, 10),
            (0x55, None, 10),
            (0x5a, None, 10),
            (0x88, None, 16),
            (0x8a, None, 16),
            (0x91, None, 16),
            (0x93, None, 16),
            (0x9e, Some(0x10), 16),
            (0xa0, None, 12),
            (0xa3, Some(0x0c), 12),
        ];
        if self.config.formats {
            commands.push((0x04, None, 6));
        }
        if self.config.provisioning.is_some_and(|can| can.unmaps) {
            commands.push((0x42, None, 10));
        }
        if let Some(can) = self.config.sanitize {
            let actions = [
                (can.overwrite, 1),
                (can.block_erase, 2),
                (can.cryptographic_erase, 3),
                (true, 0x1f),
            ];
            let known = actions.into_iter().filter(|(is_known, _)| *is_known);
            commands.extend(known.map(|(_, action)| (0x48, Some(action), 10)));
        }
        commands
    }

    pub(super) fn report_operation_codes(
        &self,
        cdb: &[u8; 16],
        data: &mut [u8],
    ) -> Result<usize, Sense> {
        let commands = self.commands();
        let (option, opcode) = (cdb[2] & 7, cdb[3]);
        let action = u16::from_be_bytes([cdb[4], cdb[5]]);
        let has_actions = commands.iter().any(|found| found.0 == opcode && found.1.is_some());
        let is_known = commands.iter().any(|found| found.0 == opcode);
        let asked = match option {
            0 => return Ok(answer(data, &all(&commands))),
            // A command by its code alone; by code and service action; by code, and action where it has some.
            1 if has_actions => return Err(Sense::INVALID_FIELD),
            2 if is_known && !has_actions => return Err(Sense::INVALID_FIELD),
            1 => (opcode, None),
            2 => (opcode, Some(action)),
            3 => (opcode, Some(action).filter(|_| has_actions)),
            _ => return Err(Sense::INVALID_FIELD),
        };
        let found = commands.iter().find(|found| (found.0, found.1) == asked);
        // SUPPORT: 1 is not supported, 3 is supported as a standard has it. Then the bits of the command that are used.
        let page = match found {
            None => vec![0, 1, 0, 0],
            Some((code, _, length)) => {
                let mut usage = vec![0xff; usize::from(*length)];
                usage[0] = *code;
                [&[0, 3][..], &length.to_be_bytes(), &usage].concat()
            }
        };
        Ok(answer(data, &page))
    }
}

/// All commands, without timeouts.
fn all(commands: &[Command]) -> Vec<u8> {
    let length = u32::try_from(commands.len() * 8).expect("a few commands");
    let mut page = length.to_be_bytes().to_vec();
    for (code, action, length) in commands {
        let [high, low] = action.unwrap_or_default().to_be_bytes();
        page.extend([*code, 0, high, low, 0, u8::from(action.is_some())]);
        page.extend(length.to_be_bytes());
    }
    page
}
