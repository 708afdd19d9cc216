//! How a backup is compressed: told by the name of the file that is written, and by the first bytes of one that is read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Good enough at a speed that does not hold up the reading of the store.
const ZSTD_LEVEL: i32 = 1;
const GZIP_LEVEL: u32 = 4;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How a backup is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    #[default]
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Packing {
    /// What the name of a file asks for.
    pub fn of_name(file: &Path) -> Self {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// A writer that compresses what goes to `out`.
    pub fn pack<W: Write>(self, out: W) -> io::Result<Packer<W>> {
        Ok(match self {
            Self::Plain => Packer::Plain(out),
            Self::Gzip => Packer::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL))),
            Self::Zstd => Packer::Zstd(zstd::Encoder::new(out, ZSTD_LEVEL)?),
        })
    }
}

/// See [`Packing::pack`].
pub enum Packer<W: Write> {
    /// As it is.
    Plain(W),
    /// gzip.
    Gzip(GzEncoder<W>),
    /// Zstandard.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    /// Writes what is left. Without it the last bytes are missing.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(mut out) => out.flush().map(|()| out),
            Self::Gzip(out) => out.finish(),
            Self::Zstd(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Zstd(out) => out.flush(),
        }
    }
}

/// Undoes whatever compression the first bytes of `input` tell of.
pub(super) fn unpack<'a>(input: impl Read + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let mut input = BufReader::with_capacity(1 << 18, input);
    let start = input.fill_buf()?;
    Ok(if start.starts_with(GZIP_MAGIC) {
        Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(input)))
    } else if start.starts_with(ZSTD_MAGIC) {
        Box::new(BufReader::with_capacity(1 << 18, zstd::Decoder::with_buffer(input)?))
    } else {
        Box::new(input)
    })
}
