//! Get Log Page (Base, section 5.16).

use super::{Controller, status};
use crate::layout::{answer, bits, index, put};

impl Controller {
    pub(super) fn get_log_page(
        &self,
        _nsid: u32,
        dwords: [u32; 6],
        data: &mut [u8],
    ) -> Result<u32, u16> {
        // NUMDL and NUMDU: dwords to return, less one; LPOL and LPOU: the offset in bytes.
        let dword_count =
            u64::from(bits(dwords[0], 16, 31)) | u64::from(bits(dwords[1], 0, 15)) << 16;
        let offset = u64::from(dwords[2]) | u64::from(dwords[3]) << 32;
        let page = match bits(dwords[0], 0, 7) {
            0x02 => self.smart(),
            0x81 if self.config.sanitize.is_some() => self.sanitize_status(),
            _ => return Err(status::INVALID_LOG_PAGE),
        };
        if offset % 4 != 0 || index(offset) > page.len() {
            return Err(status::INVALID_FIELD);
        }
        let wanted = index((dword_count + 1) * 4).min(data.len());
        answer(&mut data[..wanted], &page[index(offset)..]);
        Ok(0)
    }

    /// SMART / Health Information (section 5.16.1.3).
    fn smart(&self) -> Vec<u8> {
        let mut page = vec![0; 512];
        put(&mut page, 1, &310_u16.to_le_bytes()); // composite temperature, kelvin
        page[3] = 100; // available spare, percent
        page[4] = 10; // its threshold
        page[5] = 3; // percentage used
        put(&mut page, 128, &(1000 + self.now.as_secs() / 3600).to_le_bytes()); // power-on hours
        put(&mut page, 144, &self.unsafe_shutdowns.to_le_bytes());
        page
    }
}
