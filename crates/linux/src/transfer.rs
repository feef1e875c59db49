//! What goes along with a command to a device.

/// Bytes that a command carries, and which way.
#[derive(Debug)]
pub enum Data<'d> {
    /// Nothing.
    None,
    /// What the device answers.
    In(&'d mut [u8]),
    /// What it is sent.
    Out(&'d [u8]),
}

impl Data<'_> {
    /// Returns how many bytes there are.
    pub fn length(&self) -> usize {
        match self {
            Self::None => 0,
            Self::In(bytes) => bytes.len(),
            Self::Out(bytes) => bytes.len(),
        }
    }
}
