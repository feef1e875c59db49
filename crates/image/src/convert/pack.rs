//! One chunk, made a frame.

use zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

use super::{ConvertError, Packed};
use crate::{chunk::digest, manifest::Chunk};

/// Packs chunks, with memory that it keeps from one to the next.
pub(super) struct Packer {
    context: CCtx<'static>,
    /// The frame of a chunk of zeros, which most images have many of.
    zeros: Option<(usize, Vec<u8>)>,
    room: Vec<u8>,
}

impl Packer {
    pub(super) fn new(level: i32, chunk_bytes: usize) -> Result<Self, ConvertError> {
        let refused = |code| ConvertError::Compress { detail: get_error_name(code) };
        let mut context =
            CCtx::try_create().ok_or(ConvertError::Compress { detail: "there is no memory" })?;
        for parameter in [
            CParameter::CompressionLevel(level),
            // Two digests guard every frame already, and agents have to check each of them.
            CParameter::ChecksumFlag(false),
            CParameter::ContentSizeFlag(true),
        ] {
            context.set_parameter(parameter).map_err(refused)?;
        }
        Ok(Self { context, zeros: None, room: vec![0; compress_bound(chunk_bytes)] })
    }

    pub(super) fn pack(&mut self, buffer: Vec<u8>) -> Result<Packed, ConvertError> {
        if is_zeros(&buffer) {
            let frame = match &self.zeros {
                Some((length, frame)) if *length == buffer.len() => frame.clone(),
                _ => {
                    let frame = self.compress(&buffer)?;
                    self.zeros = Some((buffer.len(), frame.clone()));
                    frame
                }
            };
            return Ok(Packed { chunk: Chunk::Zeros, frame, buffer });
        }
        let frame = self.compress(&buffer)?;
        Ok(Packed { chunk: Chunk::Data { digest: digest(&buffer) }, frame, buffer })
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<Vec<u8>, ConvertError> {
        let length = self
            .context
            .compress2(self.room.as_mut_slice(), bytes)
            .map_err(|code| ConvertError::Compress { detail: get_error_name(code) })?;
        Ok(self.room[..length].to_vec())
    }
}

/// Holds for nothing but zeros. Compares words, which is as fast as memory.
fn is_zeros(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| *block == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
