//! Where a cluster is, and what unpacks it.

use flate2::{Decompress, FlushDecompress};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::header::{Compression, Header};

/// Where a cluster of the disk is in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Zeros,
    /// As it is.
    Plain { offset: u64 },
    /// Compressed, in so many bytes at most.
    Compressed { offset: u64, length: u64 },
}

/// In an entry: where something is.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// In an entry of version 3: the cluster is zeros, wherever it is.
const ZEROS: u64 = 1;
const COMPRESSED: u64 = 1 << 62;
/// In an entry: nobody else refers to the cluster.
const UNSHARED: u64 = 1 << 63;

impl Place {
    /// Reads an entry of level 2; says what cannot be.
    pub(super) fn parse(entry: u64, header: &Header) -> Result<Self, &'static str> {
        if entry & COMPRESSED != 0 {
            let offset_bits = 62 - (header.cluster_bits - 8);
            let offset = entry & ((1 << offset_bits) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> offset_bits;
            // Counted from the sector that it begins in.
            let length = (sectors + 1) * 512 - offset % 512;
            return Ok(Self::Compressed { offset, length });
        }
        let zeros = header.version >= 3 && entry & ZEROS != 0;
        let rest = entry & !(OFFSET | UNSHARED | if zeros { ZEROS } else { 0 });
        if rest != 0 {
            return Err("an entry with bits that mean nothing");
        }
        match entry & OFFSET {
            _ if zeros => Ok(Self::Zeros),
            0 => Ok(Self::Zeros),
            offset if offset % header.cluster_length() != 0 => {
                Err("a cluster that does not begin where one can")
            }
            offset => Ok(Self::Plain { offset }),
        }
    }
}

/// Reads an entry of level 1: where its table is, nothing if there is none.
pub(super) fn table_place(entry: u64, header: &Header) -> Result<Option<u64>, &'static str> {
    if entry & !(OFFSET | UNSHARED) != 0 {
        return Err("an entry with bits that mean nothing");
    }
    match entry & OFFSET {
        0 => Ok(None),
        offset if offset % header.cluster_length() != 0 => {
            Err("a table that does not begin where one can")
        }
        offset => Ok(Some(offset)),
    }
}

/// Unpacks clusters.
pub(super) enum Inflater {
    Deflate(Box<Decompress>),
    Zstd(DCtx<'static>),
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::Deflate => Self::Deflate(Box::new(Decompress::new(false))),
            Compression::Zstd => Self::Zstd(DCtx::create()),
        }
    }

    /// Fills `cluster`; what follows in `packed` is of no interest.
    pub(super) fn inflate(
        &mut self,
        packed: &[u8],
        cluster: &mut [u8],
    ) -> Result<(), &'static str> {
        const SHORT: &str = "a compressed cluster that is too short";
        match self {
            Self::Deflate(context) => {
                context.reset(false);
                let length = u64::try_from(cluster.len()).expect("a slice's length fits");
                context
                    .decompress(packed, cluster, FlushDecompress::Finish)
                    .map_err(|_| "a compressed cluster that does not unpack")?;
                if context.total_out() == length { Ok(()) } else { Err(SHORT) }
            }
            Self::Zstd(context) => {
                let refused = |code| zstd_safe::get_error_name(code);
                context.reset(zstd_safe::ResetDirective::SessionOnly).map_err(refused)?;
                context.set_parameter(DParameter::WindowLogMax(25)).map_err(refused)?;
                let mut input = InBuffer::around(packed);
                let length = cluster.len();
                let mut output = OutBuffer::around(cluster);
                while output.pos() < length {
                    let before = (input.pos(), output.pos());
                    context.decompress_stream(&mut output, &mut input).map_err(refused)?;
                    if (input.pos(), output.pos()) == before {
                        return Err(SHORT);
                    }
                }
                Ok(())
            }
        }
    }
}
