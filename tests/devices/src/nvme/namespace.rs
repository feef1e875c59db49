//! Namespace Management and Namespace Attachment (Base, sections 5.23 and 5.22).

use super::{
    ALL_NAMESPACES, Controller, FORMATS, Namespace,
    identify::{free_identifier, names_this_controller},
    status,
};
use crate::layout::{bits, bytes};

impl Controller {
    pub(super) fn manage_namespace(
        &mut self,
        nsid: u32,
        dwords: [u32; 6],
        data: &[u8],
    ) -> Result<u32, u16> {
        match bits(dwords[0], 0, 3) {
            0 => self.create(data),
            1 => self.delete(nsid),
            _ => Err(status::INVALID_FIELD),
        }
    }

    /// The fields of Identify Namespace that the host chooses (Base, section 5.23; offsets also in libnvme).
    fn create(&mut self, data: &[u8]) -> Result<u32, u16> {
        let size = u64::from_le_bytes(bytes(data, 0));
        let capacity = u64::from_le_bytes(bytes(data, 8));
        let [format] = bytes(data, 26);
        let [protection] = bytes(data, 29);
        if size != capacity {
            return Err(status::NO_THIN_PROVISIONING);
        }
        let Some(power) = FORMATS.get(usize::from(format)).filter(|_| protection == 0) else {
            return Err(status::INVALID_FORMAT);
        };
        if size == 0 {
            return Err(status::INVALID_FIELD);
        }
        let bytes = size.checked_mul(1 << power).ok_or(status::INSUFFICIENT_CAPACITY)?;
        if bytes > self.unallocated_bytes() {
            return Err(status::INSUFFICIENT_CAPACITY);
        }
        let nsid = free_identifier(self).ok_or(status::IDENTIFIER_UNAVAILABLE)?;
        let number = u8::try_from(nsid).expect("at most 32 namespaces");
        let namespace = Namespace { format, is_attached: false, ..Namespace::new(bytes, number) };
        self.namespaces.insert(nsid, namespace);
        Ok(nsid)
    }

    /// What it held stays on the medium.
    fn delete(&mut self, nsid: u32) -> Result<u32, u16> {
        let deleted: Vec<u32> = match nsid {
            ALL_NAMESPACES => self.namespaces.keys().copied().collect(),
            one => vec![one],
        };
        for id in &deleted {
            let namespace = self.namespaces.get(id).ok_or(status::INVALID_NAMESPACE)?;
            if namespace.is_write_protected {
                return Err(status::WRITE_PROTECTED);
            }
        }
        for id in deleted {
            self.medium.unmap_space(id);
            self.namespaces.remove(&id);
        }
        Ok(0)
    }

    pub(super) fn attach_namespace(
        &mut self,
        nsid: u32,
        dwords: [u32; 6],
        data: &[u8],
    ) -> Result<u32, u16> {
        let attaches = match bits(dwords[0], 0, 3) {
            0 => true,
            1 => false,
            _ => return Err(status::INVALID_FIELD),
        };
        let namespace = self.namespaces.get_mut(&nsid).ok_or(status::INVALID_NAMESPACE)?;
        if !names_this_controller(data) {
            return Err(status::INVALID_CONTROLLER_LIST);
        }
        match (attaches, namespace.is_attached) {
            (true, true) => Err(status::ALREADY_ATTACHED),
            (false, false) => Err(status::NOT_ATTACHED),
            _ => {
                namespace.is_attached = attaches;
                Ok(0)
            }
        }
    }
}
