//! One chunk of an image: its frame, unpacked and compared with its digest.

use zstd_safe::DCtx;

/// Returns what a manifest says of a chunk's bytes: BLAKE3.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// Why a frame does not give its chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Cut, damaged, or something else.
    #[error("the frame is damaged: {detail}")]
    Damaged {
        /// What the library says.
        detail: &'static str,
    },
    /// A sound frame of something else.
    #[error("the frame holds {found_bytes} bytes instead of {expected_bytes}")]
    Length {
        /// What is in it.
        found_bytes: usize,
        /// What should be.
        expected_bytes: usize,
    },
    /// A sound frame of the right length with other bytes.
    #[error("the frame holds other bytes than the manifest says")]
    Digest,
}

/// Unpacks frames, with memory that it keeps from one to the next. One for each thread.
pub struct Unpacker(DCtx<'static>);

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unpacker {
    /// Makes one. It holds about 150 KiB, and never more.
    pub fn new() -> Self {
        Self(DCtx::create())
    }

    /// Unpacks one frame into exactly the bytes of its chunk, and compares their BLAKE3.
    ///
    /// After an error `into` holds anything.
    pub fn unpack(
        &mut self,
        frame: &[u8],
        expected: &[u8; 32],
        into: &mut [u8],
    ) -> Result<(), ChunkError> {
        let damaged = |code| ChunkError::Damaged { detail: zstd_safe::get_error_name(code) };
        let length = self.0.decompress(into, frame).map_err(damaged)?;
        if length != into.len() {
            return Err(ChunkError::Length { found_bytes: length, expected_bytes: into.len() });
        }
        if digest(into) != *expected {
            return Err(ChunkError::Digest);
        }
        Ok(())
    }
}
