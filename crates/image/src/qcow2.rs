//! QEMU's disk images, versions 2 and 3, read from start to end as the guest sees them:
//! <https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.rst>.
//!
//! The file is a stranger's. An image that names other files (a backing file, external data) is refused: its author
//! would choose which of the server's files go into it. Nothing outside of the file is read, nothing is kept but one
//! table and one cluster, of at most 2 MiB each.

mod cluster;
mod header;

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use self::{
    cluster::{Inflater, Place},
    header::Header,
};

/// Why a qcow2 image is not read.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// The file cannot be read.
    #[error("reading the qcow2 image")]
    Read(#[source] io::Error),
    /// It begins as something else.
    #[error("this is no qcow2 image")]
    Magic,
    /// Neither 2 nor 3.
    #[error("qcow2 images of version {version} are not understood")]
    Version {
        /// Which.
        version: u32,
    },
    /// It is the difference to another file.
    #[error("the qcow2 image needs a backing file: convert it with `qemu-img convert -O qcow2`")]
    BackingFile,
    /// Its data are in another file.
    #[error(
        "the qcow2 image keeps its data in another file: convert it with `qemu-img convert -O qcow2`"
    )]
    ExternalData,
    /// Nobody here has the key.
    #[error("the qcow2 image is encrypted")]
    Encrypted,
    /// QEMU said so.
    #[error("the qcow2 image is marked as corrupt: repair it with `qemu-img check -r all`")]
    MarkedCorrupt,
    /// Made with options that are seldom used.
    #[error(
        "the qcow2 image has the feature {feature:?}, which is not understood: convert it with `qemu-img convert -O qcow2`"
    )]
    Feature {
        /// Which.
        feature: &'static str,
    },
    /// What the header says cannot be.
    #[error("the qcow2 image's header is damaged: {detail}")]
    Header {
        /// What cannot be.
        detail: &'static str,
    },
    /// What a table says cannot be, or a cluster does not unpack.
    #[error("the qcow2 image is damaged at byte {guest_offset} of the disk: {detail}")]
    Damaged {
        /// Where on the disk.
        guest_offset: u64,
        /// What cannot be.
        detail: &'static str,
    },
    /// A part that is referred to is behind the file's end.
    #[error("the qcow2 image was cut: what stands at byte {guest_offset} of the disk is missing")]
    Cut {
        /// Where on the disk.
        guest_offset: u64,
    },
}

impl Qcow2Error {
    /// Returns the reason in an error of [`Read`]; nothing if the file itself failed.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Qcow2Error> for io::Error {
    fn from(error: Qcow2Error) -> Self {
        match error {
            Qcow2Error::Read(error) => error,
            error => Self::new(ErrorKind::InvalidData, error),
        }
    }
}

/// A qcow2 image, read as the disk that a guest sees. After an error it is of no use.
#[derive(Debug)]
pub struct Image<F> {
    file: F,
    file_bytes: u64,
    header: Header,
    position: u64,
    /// The table of level 2 that was read last, and which entry of level 1 named it.
    table: Vec<u8>,
    table_index: Option<u64>,
    /// The compressed cluster that was read last, unpacked, and where it begins on the disk.
    cluster: Vec<u8>,
    cluster_at: Option<u64>,
    inflater: Inflater,
}

impl<F: Read + Seek> Image<F> {
    /// Reads the header.
    pub fn open(mut file: F) -> Result<Self, Qcow2Error> {
        let file_bytes = file.seek(SeekFrom::End(0)).map_err(Qcow2Error::Read)?;
        file.seek(SeekFrom::Start(0)).map_err(Qcow2Error::Read)?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(header::LENGTH).expect("it is small");
        (&mut file).take(limit).read_to_end(&mut bytes).map_err(Qcow2Error::Read)?;
        let header = Header::parse(&bytes)?;
        let inflater = Inflater::new(header.compression);
        Ok(Self {
            file,
            file_bytes,
            header,
            position: 0,
            table: Vec::new(),
            table_index: None,
            cluster: Vec::new(),
            cluster_at: None,
            inflater,
        })
    }

    /// Returns the length of the disk.
    pub fn size_bytes(&self) -> u64 {
        self.header.size
    }

    /// Returns where the cluster at the position is in the file.
    fn place(&mut self) -> Result<Place, Qcow2Error> {
        let index = self.position >> self.header.cluster_bits;
        // A table of level 2 fills a cluster with entries of eight bytes.
        let table_bits = self.header.cluster_bits - 3;
        let table_index = index >> table_bits;
        if self.table_index != Some(table_index) {
            self.read_table(table_index)?;
        }
        if self.table.is_empty() {
            return Ok(Place::Zeros);
        }
        let entry = usize::try_from(index & ((1 << table_bits) - 1)).expect("a table is small");
        let entry = self.table[8 * entry..].first_chunk().expect("a table is full of entries");
        Place::parse(u64::from_be_bytes(*entry), &self.header)
            .map_err(|detail| Qcow2Error::Damaged { guest_offset: self.position, detail })
    }

    /// Reads a table of level 2; an empty one stands for nothing but zeros.
    fn read_table(&mut self, table_index: u64) -> Result<(), Qcow2Error> {
        self.table_index = None;
        if table_index >= u64::from(self.header.l1_entries) {
            return Err(self.damaged("its table of level 1 is too short"));
        }
        let mut entry = [0; 8];
        // The header was checked: this does not overflow.
        self.read_at(self.header.l1_offset + 8 * table_index, &mut entry)?;
        let place = cluster::table_place(u64::from_be_bytes(entry), &self.header)
            .map_err(|detail| self.damaged(detail))?;
        self.table.clear();
        if let Some(offset) = place {
            let mut table = std::mem::take(&mut self.table);
            table.resize(self.header.cluster_bytes(), 0);
            self.read_at(offset, &mut table)?;
            self.table = table;
        }
        self.table_index = Some(table_index);
        Ok(())
    }

    /// Reads from the file, nothing behind its end.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Qcow2Error> {
        let length = u64::try_from(buffer.len()).expect("a slice's length fits");
        if offset.checked_add(length).is_none_or(|end| end > self.file_bytes) {
            return Err(Qcow2Error::Cut { guest_offset: self.position });
        }
        self.file.seek(SeekFrom::Start(offset)).map_err(Qcow2Error::Read)?;
        self.file.read_exact(buffer).map_err(Qcow2Error::Read)
    }

    /// Unpacks the compressed cluster at the position.
    fn inflate(&mut self, offset: u64, length: u64) -> Result<(), Qcow2Error> {
        let start = self.cluster_start();
        if self.cluster_at == Some(start) {
            return Ok(());
        }
        self.cluster_at = None;
        // What is compressed is counted in sectors, of which the file's last one may be cut.
        let there = self.file_bytes.saturating_sub(offset).min(length);
        if there == 0 {
            return Err(Qcow2Error::Cut { guest_offset: self.position });
        }
        let mut packed = vec![0; usize::try_from(there).expect("a cluster is small")];
        self.read_at(offset, &mut packed)?;
        self.cluster.resize(self.header.cluster_bytes(), 0);
        self.inflater
            .inflate(&packed, &mut self.cluster)
            .map_err(|detail| Qcow2Error::Damaged { guest_offset: start, detail })?;
        self.cluster_at = Some(start);
        Ok(())
    }

    fn cluster_start(&self) -> u64 {
        self.position >> self.header.cluster_bits << self.header.cluster_bits
    }

    fn damaged(&self, detail: &'static str) -> Qcow2Error {
        Qcow2Error::Damaged { guest_offset: self.position, detail }
    }
}

impl<F: Read + Seek> Read for Image<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.header.size - self.position;
        if left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let within = self.position - self.cluster_start();
        let place = self.place()?;
        let count = left.min(self.header.cluster_length() - within);
        let count = usize::try_from(count).expect("a cluster is small").min(buffer.len());
        let buffer = &mut buffer[..count];
        match place {
            Place::Zeros => buffer.fill(0),
            Place::Plain { offset } => self.read_at(offset + within, buffer)?,
            Place::Compressed { offset, length } => {
                self.inflate(offset, length)?;
                let within = usize::try_from(within).expect("a cluster is small");
                buffer.copy_from_slice(&self.cluster[within..][..count]);
            }
        }
        self.position += u64::try_from(count).expect("a slice's length fits");
        Ok(count)
    }
}
