//! Format NVM (Base, section 5.14).

use super::{ALL_NAMESPACES, Controller, FORMATS, Failure, status};
use crate::{
    Course,
    course::{Effect, Erasure},
    layout::bits,
};

/// Secure Erase Settings (Base, section 5.14).
const USER_DATA_ERASE: u32 = 1;
const CRYPTOGRAPHIC_ERASE: u32 = 2;

impl Controller {
    /// The command completes when the format has: it takes the time that it takes.
    pub(super) fn format(&mut self, nsid: u32, dwords: [u32; 6]) -> Result<u32, Failure> {
        let fail = |code: u16| Err(Failure::Status(code));
        let Some(attributes) = self.config.format else { return fail(status::INVALID_OPCODE) };
        let erase = bits(dwords[0], 9, 11);
        // LBAFL bits 3:0, LBAFU bits 13:12.
        let format = bits(dwords[0], 0, 3) | bits(dwords[0], 12, 13) << 4;
        let has_metadata_or_protection = bits(dwords[0], 4, 8) != 0;
        if nsid == ALL_NAMESPACES && attributes.broadcast_forbidden {
            return fail(status::INVALID_FIELD);
        }
        if nsid != ALL_NAMESPACES {
            self.attached(nsid).map_err(Failure::Status)?;
        }
        match erase {
            0 | USER_DATA_ERASE => {}
            CRYPTOGRAPHIC_ERASE if attributes.crypto_erase => {}
            _ => return fail(status::INVALID_FIELD),
        }
        let format = u8::try_from(format).expect("six bits");
        if usize::from(format) >= FORMATS.len() || has_metadata_or_protection {
            return fail(status::INVALID_FORMAT);
        }
        let every = || self.namespaces.keys().copied().collect::<Vec<u32>>();
        let those = match nsid {
            ALL_NAMESPACES => self
                .namespaces
                .iter()
                .filter(|(_, found)| found.is_attached)
                .map(|(id, _)| *id)
                .collect(),
            one => vec![one],
        };
        let formatted = if attributes.formats_all { every() } else { those };
        let erased = match erase {
            0 => Vec::new(),
            _ if attributes.erases_all => every(),
            _ => formatted.clone(),
        };
        if formatted.iter().chain(&erased).any(|id| self.namespaces[id].is_write_protected) {
            return fail(status::WRITE_PROTECTED);
        }
        if erase != 0 {
            self.erase(erase, &erased)?;
        }
        let lies = self.config.format_course == Course::Lies;
        for id in formatted.iter().chain(&erased).filter(|_| !lies) {
            self.medium.unmap_space(*id);
        }
        for id in formatted {
            self.namespaces.entry(id).and_modify(|namespace| namespace.format = format);
        }
        Ok(0)
    }

    /// Erases all that a namespace has ever written, whether it still sees it or not.
    fn erase(&mut self, setting: u32, namespaces: &[u32]) -> Result<(), Failure> {
        let effect = match setting {
            CRYPTOGRAPHIC_ERASE => Effect::KeysOf(namespaces.to_vec()),
            _ => Effect::Erase(namespaces.iter().flat_map(|id| self.medium.owned(*id)).collect()),
        };
        let time = self.config.format_time;
        let course = match self.cut_at.take() {
            Some(at) => {
                Erasure::new(effect, Course::SticksAt(at), time).advance(time, &mut self.medium);
                self.now += time * u32::from(at) / 0x1_0000;
                self.power_cut();
                return Err(Failure::NoAnswer);
            }
            None => self.config.format_course,
        };
        Erasure::new(effect, course, time).advance(time, &mut self.medium);
        self.now += time;
        self.took = time;
        match course {
            Course::Finishes | Course::Lies => Ok(()),
            Course::FailsAt(_) => Err(Failure::Status(status::INTERNAL_ERROR)),
            Course::SticksAt(_) => {
                self.is_silent = true;
                Err(Failure::NoAnswer)
            }
        }
    }
}
