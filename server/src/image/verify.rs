//! Reads an image of the store whole and compares it with its manifest.

use std::{ops::Range, os::unix::fs::FileExt};

use image::{Chunk, Manifest, Unpacker};
use serde::{Deserialize, Serialize};

use super::{ImageError, Images, Part, digits};

/// What a look at a whole image shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The image.
    pub name: String,
    /// How many chunks it has that are not all zeros.
    pub chunks: u64,
    /// What is wrong, in sentences; nothing when all is right.
    pub problems: Vec<String>,
}

/// So many problems are listed.
const PROBLEMS: usize = 20;

impl Images {
    /// Reads all of an image and compares it with its manifest, and that with the server's key. Takes its time.
    pub fn verify(&self, name: &str) -> Result<Verdict, ImageError> {
        let image = self.show(name).ok_or_else(|| ImageError::NoImage(name.to_owned()))?;
        let manifest = self.manifest(&image.manifest, name)?;
        let mut problems = Vec::new();
        if digits(&manifest.sha256()) != image.manifest {
            problems.push("the manifest is not the one that was stored".to_owned());
        }
        let pin = self.0.key.pin();
        manifest
            .verify(&[pin.0])
            .map_err(|source| ImageError::Signature { name: name.to_owned(), source })?;
        let frames = self.file(&image.manifest, Part::Frames)?;
        let mut unpacker = Unpacker::new();
        let (mut frame, mut bytes) = (Vec::new(), Vec::new());
        let mut chunks = 0;
        for entry in manifest.chunks() {
            let Chunk::Data { digest } = entry.chunk else { continue };
            chunks += 1;
            frame.resize(length(&entry.frame), 0);
            bytes.resize(length(&entry.bytes), 0);
            let outcome = match frames.read_exact_at(&mut frame, entry.frame.start) {
                Ok(()) => unpacker.unpack(&frame, &digest, &mut bytes).map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(problem) = outcome
                && problems.len() < PROBLEMS
            {
                problems.push(format!("at byte {}: {problem}", entry.bytes.start));
            }
        }
        Ok(Verdict { name: name.to_owned(), chunks, problems })
    }

    /// Reads the manifest of an image.
    pub(super) fn manifest(&self, manifest: &str, name: &str) -> Result<Manifest, ImageError> {
        use std::io::Read;

        let mut bytes = Vec::new();
        let limit = u64::try_from(Manifest::LIMIT_BYTES).unwrap_or(u64::MAX);
        self.file(manifest, Part::Manifest)?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(super::at("reading the manifest of", name.as_ref()))?;
        Manifest::parse(bytes)
            .map_err(|source| ImageError::Manifest { name: name.to_owned(), source })
    }
}

/// How long a chunk or a frame is: both fit in memory, or the manifest would not have been read.
fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)
}
