//! One chunk: unpacked from its frame, and compared with its digest.

/// Returns what a manifest says of a chunk: BLAKE3.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// Unpacks frames, with memory that it keeps from one to the next.
pub(crate) struct Unpacker(zstd_safe::DCtx<'static>);

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self(zstd_safe::DCtx::create())
    }

    /// Unpacks a frame into exactly the bytes of its chunk; says what is wrong with it.
    pub(crate) fn unpack(
        &mut self,
        frame: &[u8],
        expected: &[u8; 32],
        into: &mut [u8],
    ) -> Result<(), String> {
        let wrong = |code| zstd_safe::get_error_name(code).to_owned();
        let length = self.0.decompress(into, frame).map_err(wrong)?;
        if length != into.len() {
            return Err(format!("it holds {length} bytes instead of {}", into.len()));
        }
        if digest(into) != *expected {
            return Err("its content is another one".to_owned());
        }
        Ok(())
    }
}
