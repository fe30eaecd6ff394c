//! Reads a body: in time, unpacked, and counted as its bytes arrive, not as they are declared.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use axum::body::Body;
use encoding_rs::{DecoderResult, Encoding as Charset};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::inflight::Hold;
use crate::error::{Code, Error};

/// A `Content-Encoding` that we unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not packed.
    Identity,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// How large and how slow a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes, packed and unpacked.
    pub max_bytes: usize,
    /// Longest wait for the next bytes.
    pub idle: Duration,
    /// Longest time for all of it.
    pub total: Duration,
}

/// The largest zstd window that is unpacked: what RFC 8878 asks a decoder to support.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// Enough for every zstd frame header.
const ZSTD_HEADER_BYTES: usize = 18;

/// A body that has brought so many bytes gets room for all that it declares: growing step by step would copy it, and keep
/// the copies for a while. Fewer would let anybody take address space by a header alone.
const EARNEST_BYTES: usize = 1 << 20;

/// The failure of a body that is larger than the limit; `sent` where it is known.
pub(super) fn too_large(max_bytes: usize, sent: Option<u64>) -> Error {
    let sent = sent.map(|sent| format!(", found {sent}")).unwrap_or_default();
    Error::new(Code::TooLarge, format!("body: expected at most {max_bytes} bytes (max_body_bytes){sent}"))
}

/// Reads all of a body; its bytes, and the decoder's own memory, are taken from `hold`.
pub(super) async fn read(
    body: &mut Body,
    encoding: Encoding,
    bounds: Bounds,
    hold: Hold,
) -> Result<(Vec<u8>, Hold), Error> {
    let deadline = Instant::now() + bounds.total;
    let mut unpacker =
        Unpacker::new(encoding, Sink { bytes: Vec::new(), max_bytes: bounds.max_bytes, hold, failure: None });
    let mut packed_bytes = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = match tokio::time::timeout(left.min(bounds.idle), body.frame()).await {
            Err(_) => return Err(too_slow(bounds, left)),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(Error::new(Code::BadRequest, "body: it stopped half-way").caused_by(error));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if let (Unpacker::Plain(sink), Some(rest)) = (&mut unpacker, body.size_hint().exact()) {
            sink.make_room(data.len(), rest);
        }
        packed_bytes += data.len();
        if packed_bytes > bounds.max_bytes {
            return Err(too_large(bounds.max_bytes, None));
        }
        if unpacker.is_plain() {
            unpacker.push(&data)?;
        } else {
            tokio::task::block_in_place(|| unpacker.push(&data))?;
        }
    }
    if unpacker.is_plain() { unpacker.finish() } else { tokio::task::block_in_place(|| unpacker.finish()) }
}

/// Bytes that do not fit their charset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Misfit {
    /// The first of them, counted from 1, behind a byte order mark.
    pub byte: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// Decodes a body into UTF-8, up to the first bytes that do not fit.
pub(super) fn decode(
    bytes: &[u8],
    charset: &'static Charset,
    max_bytes: usize,
    hold: Hold,
) -> Result<(Vec<u8>, Hold, Option<Misfit>), Error> {
    let mut sink = Sink { bytes: Vec::new(), max_bytes, hold, failure: None };
    let mut decoder = charset.new_decoder_without_bom_handling();
    let mut buffer = [0; 16 << 10];
    let mut at = 0;
    loop {
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(&bytes[at..], &mut buffer, true);
        at += read;
        sink.push(&buffer[..written])?;
        match result {
            DecoderResult::OutputFull => {}
            DecoderResult::InputEmpty => return Ok((sink.bytes, sink.hold, None)),
            DecoderResult::Malformed(len, behind) => {
                let byte = at - usize::from(len) - usize::from(behind) + 1;
                return Ok((sink.bytes, sink.hold, Some(Misfit { byte, expected: charset.name() })));
            }
        }
    }
}

fn too_slow(bounds: Bounds, left: Duration) -> Error {
    let text = if left < bounds.idle {
        format!("body: expected all of it within {} ms (body_timeout_ms)", bounds.total.as_millis())
    } else {
        format!("body: expected its next bytes within {} ms (body_idle_timeout_ms)", bounds.idle.as_millis())
    };
    Error::new(Code::Timeout, text)
}

/// Where unpacked bytes go.
struct Sink {
    bytes: Vec<u8>,
    max_bytes: usize,
    hold: Hold,
    /// Why the sink refused bytes.
    failure: Option<Error>,
}

impl Sink {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + bytes.len() > self.max_bytes {
            return Err(too_large(self.max_bytes, None));
        }
        self.take(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for the next bytes and for so many more that are to follow them.
    fn make_room(&mut self, next: usize, rest: u64) {
        let held = self.bytes.len() + next;
        if held < EARNEST_BYTES || held <= self.bytes.capacity() {
            return;
        }
        let rest = usize::try_from(rest).unwrap_or(usize::MAX).min(self.max_bytes.saturating_sub(held));
        // Without it they grow step by step.
        let _ = self.bytes.try_reserve_exact(next + rest);
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        if self.hold.grow(bytes) {
            Ok(())
        } else {
            Err(Error::unavailable("too many bodies at once; send the same again"))
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("refused"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(what: &str, source: io::Error) -> Error {
    Error::new(Code::BadRequest, format!("body: expected whole and sound {what} data")).caused_by(source)
}

enum Unpacker {
    Plain(Sink),
    Gzip(Box<flate2::write::MultiGzDecoder<Sink>>),
    /// Before the first byte, which tells the window.
    BrotliStart(Sink),
    Brotli {
        decoder: Box<brotli::DecompressorWriter<Sink>>,
        window: usize,
    },
    /// Before the first frame's header, which tells the window.
    ZstdStart {
        sink: Sink,
        header: Vec<u8>,
    },
    Zstd(Box<ZstdStream>),
    /// After a failure.
    Gone,
}

struct ZstdStream {
    sink: Sink,
    decoder: ZstdDecoder<'static>,
    window: usize,
    /// The last frame is whole.
    at_end: bool,
}

impl Unpacker {
    fn new(encoding: Encoding, sink: Sink) -> Self {
        match encoding {
            Encoding::Identity => Unpacker::Plain(sink),
            Encoding::Gzip => Unpacker::Gzip(Box::new(flate2::write::MultiGzDecoder::new(sink))),
            Encoding::Brotli => Unpacker::BrotliStart(sink),
            Encoding::Zstd => Unpacker::ZstdStart { sink, header: Vec::new() },
        }
    }

    /// Bytes are only copied.
    fn is_plain(&self) -> bool {
        matches!(self, Unpacker::Plain(_))
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        match self {
            Unpacker::Plain(sink) => sink.push(data),
            Unpacker::Gzip(decoder) => decoder
                .write_all(data)
                .map_err(|error| decoder.get_mut().failure.take().unwrap_or_else(|| broken("gzip", error))),
            Unpacker::Brotli { decoder, .. } => decoder
                .write_all(data)
                .map_err(|error| decoder.get_mut().failure.take().unwrap_or_else(|| broken("br", error))),
            Unpacker::Zstd(stream) => stream.push(data),
            Unpacker::BrotliStart(_) => {
                self.start_brotli(data[0])?;
                self.push(data)
            }
            Unpacker::ZstdStart { header, .. } => {
                header.extend_from_slice(data);
                if header.len() < ZSTD_HEADER_BYTES { Ok(()) } else { self.start_zstd() }
            }
            Unpacker::Gone => Ok(()),
        }
    }

    fn start_brotli(&mut self, first: u8) -> Result<(), Error> {
        let Unpacker::BrotliStart(mut sink) = std::mem::replace(self, Unpacker::Gone) else { return Ok(()) };
        // RFC 7932, section 9.1; the pattern 0010001 announces the large-window extension.
        let window_log = match (first & 1, (first >> 1) & 7, (first >> 4) & 7) {
            (0, _, _) => 16,
            (_, 0, 0) => 17,
            (_, 0, 1) => {
                return Err(Error::new(
                    Code::TooLarge,
                    "body: expected a br window of at most 16 MiB, found the large-window extension",
                ));
            }
            (_, 0, n) => 8 + u32::from(n),
            (_, n, _) => 17 + u32::from(n),
        };
        let window = 1 << window_log;
        sink.take(window)?;
        *self = Unpacker::Brotli { decoder: Box::new(brotli::DecompressorWriter::new(sink, 4096)), window };
        Ok(())
    }

    fn start_zstd(&mut self) -> Result<(), Error> {
        let Unpacker::ZstdStart { mut sink, header } = std::mem::replace(self, Unpacker::Gone) else { return Ok(()) };
        let window = zstd_window(&header);
        let max = 1_u64 << MAX_ZSTD_WINDOW_LOG;
        if window > max {
            return Err(zstd_window_too_large(&format!(", found {window}")));
        }
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        sink.take(window)?;
        let failed = |error: io::Error| Error::internal(error);
        let mut decoder = ZstdDecoder::new().map_err(failed)?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG)).map_err(failed)?;
        *self = Unpacker::Zstd(Box::new(ZstdStream { sink, decoder, window, at_end: false }));
        self.push(&header)
    }

    fn finish(mut self) -> Result<(Vec<u8>, Hold), Error> {
        if matches!(&self, Unpacker::ZstdStart { header, .. } if !header.is_empty()) {
            self.start_zstd()?;
        }
        let cut = |what| broken(what, io::ErrorKind::UnexpectedEof.into());
        match self {
            Unpacker::Plain(sink) => Ok((sink.bytes, sink.hold)),
            Unpacker::Gzip(mut decoder) => {
                let finished = decoder.try_finish();
                finished.map_err(|error| decoder.get_mut().failure.take().unwrap_or_else(|| broken("gzip", error)))?;
                let sink = decoder.finish().map_err(|error| broken("gzip", error))?;
                Ok((sink.bytes, sink.hold))
            }
            Unpacker::Brotli { decoder, window } => {
                let mut sink = decoder.into_inner().map_err(|sink| sink.failure.unwrap_or_else(|| cut("br")))?;
                sink.hold.shrink(window);
                Ok((sink.bytes, sink.hold))
            }
            Unpacker::Zstd(mut stream) => {
                if !stream.at_end {
                    return Err(cut("zstd"));
                }
                stream.sink.hold.shrink(stream.window);
                Ok((stream.sink.bytes, stream.sink.hold))
            }
            Unpacker::BrotliStart(_) | Unpacker::Gone => Err(cut("br")),
            Unpacker::ZstdStart { .. } => Err(cut("zstd")),
        }
    }
}

fn zstd_window_too_large(found: &str) -> Error {
    let max = 1_u64 << MAX_ZSTD_WINDOW_LOG;
    Error::new(Code::TooLarge, format!("body: expected a zstd window of at most {max} bytes{found}"))
}

impl ZstdStream {
    /// A later frame may need the largest window: its header is not looked at.
    fn take_for_later_frames(&mut self) -> Result<(), Error> {
        let max = 1 << MAX_ZSTD_WINDOW_LOG;
        let more = max - self.window;
        self.window = max;
        if more > 0 { self.sink.take(more) } else { Ok(()) }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Error> {
        let mut input = InBuffer::around(data);
        let mut buffer = [0; 16 << 10];
        loop {
            if self.at_end && input.pos() < data.len() {
                self.take_for_later_frames()?;
            }
            let mut output = OutBuffer::around(&mut buffer[..]);
            let left = self.decoder.run(&mut input, &mut output).map_err(|error| {
                if error.to_string().contains("requires too much memory") {
                    return zstd_window_too_large("");
                }
                broken("zstd", error)
            })?;
            let written = output.pos();
            self.at_end = left == 0;
            self.sink.push(&buffer[..written])?;
            // A full buffer may hide more output, but not behind the end of a frame.
            if input.pos() == data.len() && (self.at_end || written < buffer.len()) {
                return Ok(());
            }
        }
    }
}

/// The window that a zstd frame's header asks for, in bytes; 0 where there is none to read.
fn zstd_window(header: &[u8]) -> u64 {
    let Some(([0x28, 0xb5, 0x2f, 0xfd], rest)) = header.split_at_checked(4) else { return 0 };
    let Some((descriptor, rest)) = rest.split_first() else { return 0 };
    if descriptor & 0x20 == 0 {
        let Some(window) = rest.first() else { return 0 };
        let base = 1_u64 << (10 + (window >> 3));
        return base + base / 8 * u64::from(window & 7);
    }
    // A single segment: the window is the content.
    let skip = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let len = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let Some(size) = rest.get(skip..skip + len) else { return 0 };
    let size = size.iter().rev().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    if len == 2 { size + 256 } else { size }
}

#[cfg(test)]
mod tests {
    use super::super::inflight::Inflight;
    use super::*;

    fn unpack(encoding: Encoding, data: &[u8], max_bytes: usize) -> Result<Vec<u8>, Error> {
        let hold = Inflight::new(64 << 20).hold(false);
        let mut unpacker = Unpacker::new(encoding, Sink { bytes: Vec::new(), max_bytes, hold, failure: None });
        for chunk in data.chunks(7) {
            unpacker.push(chunk)?;
        }
        unpacker.finish().map(|(bytes, _)| bytes)
    }

    fn pack(encoding: Encoding, data: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => data.to_vec(),
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(data).expect("memory");
                encoder.finish().expect("memory")
            }
            Encoding::Brotli => {
                let mut packed = Vec::new();
                brotli::CompressorWriter::new(&mut packed, 4096, 5, 22).write_all(data).expect("memory");
                packed
            }
            Encoding::Zstd => zstd::encode_all(data, 3).expect("memory"),
        }
    }

    #[test]
    fn every_encoding_is_unpacked_whole_or_refused() {
        let data = b"some bytes that repeat, some bytes that repeat".repeat(100);
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
            let packed = pack(encoding, &data);
            assert_eq!(unpack(encoding, &packed, 1 << 20).expect("sound"), data, "{encoding:?}");
            let error = unpack(encoding, &packed, data.len() - 1).expect_err("too large");
            assert_eq!(error.code, Code::TooLarge, "{encoding:?}");
            if encoding != Encoding::Identity {
                for cut in [0, 1, packed.len() / 2, packed.len() - 1] {
                    let error = unpack(encoding, &packed[..cut], 1 << 20).expect_err("cut");
                    assert_eq!(error.code, Code::BadRequest, "{encoding:?} {cut}");
                }
                let error = unpack(encoding, &[&packed[..], b"tail"].concat(), 1 << 20).expect_err("a tail");
                assert_eq!(error.code, Code::BadRequest, "{encoding:?}");
            }
        }
        let twice = |encoding| [pack(encoding, &data), pack(encoding, &data)].concat();
        assert_eq!(unpack(Encoding::Gzip, &twice(Encoding::Gzip), 1 << 20).expect("two members").len(), 2 * data.len());
        assert_eq!(unpack(Encoding::Zstd, &twice(Encoding::Zstd), 1 << 20).expect("two frames").len(), 2 * data.len());
    }

    /// Bytes that an encoder keeps as they are, of which it keeps one, and which it packs.
    fn bytes(kind: u8, len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        match kind {
            0 => (0..len).map(|_| next()).collect(),
            1 => vec![b'a'; len],
            _ => (0..len).map(|_| b'a' + next() % 4).collect(),
        }
    }

    /// The sizes of the buffers and blocks of all decoders: a body may end just there.
    const SIZES: [usize; 8] = [1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17, 3 << 16, 1 << 18];

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn any_length_in_any_pieces_comes_out_as_it_went_in(
            encoding in proptest::sample::select(vec![Encoding::Gzip, Encoding::Brotli, Encoding::Zstd]),
            parts in proptest::collection::vec((0_u8..3, 0..SIZES.len(), -3_isize..4), 1..4),
            pieces in proptest::collection::vec(1_usize..70_000, 1..8),
        ) {
            // A brotli stream is the only one in its body.
            let parts = if encoding == Encoding::Brotli { &parts[..1] } else { &parts };
            let parts = parts.iter().map(|(kind, size, more)| bytes(*kind, SIZES[*size].saturating_add_signed(*more)));
            let (mut data, mut packed) = (Vec::new(), Vec::new());
            for part in parts {
                packed.extend(pack(encoding, &part));
                data.extend(part);
            }
            let hold = Inflight::new(64 << 20).hold(false);
            let sink = Sink { bytes: Vec::new(), max_bytes: data.len(), hold, failure: None };
            let mut unpacker = Unpacker::new(encoding, sink);
            let (mut rest, mut pieces) = (&packed[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, others) = rest.split_at((*pieces.next().expect("a cycle")).min(rest.len()));
                unpacker.push(piece).expect("sound data");
                rest = others;
            }
            let (unpacked, _) = unpacker.finish().expect("whole data");
            proptest::prop_assert!(unpacked == data, "{:?}", encoding);
        }
    }

    #[test]
    fn a_frame_may_end_where_a_buffer_is_full() {
        for kind in 0..3 {
            let data = bytes(kind, 20 << 20);
            for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
                let hold = Inflight::new(64 << 20).hold(false);
                let mut unpacker =
                    Unpacker::new(encoding, Sink { bytes: Vec::new(), max_bytes: data.len(), hold, failure: None });
                unpacker.push(&pack(encoding, &data)).expect("sound data");
                assert!(unpacker.finish().expect("whole data").0 == data, "{encoding:?} {kind}");
            }
        }
    }

    #[test]
    fn huge_windows_are_refused_by_their_headers() {
        let error = unpack(Encoding::Brotli, &[0x11, 0x1e, 0, 0], 1 << 20).expect_err("large window");
        assert_eq!(error.code, Code::TooLarge);
        // A window descriptor of 1 GiB.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 0, 0];
        assert_eq!(unpack(Encoding::Zstd, &frame, 1 << 20).expect_err("1 GiB").code, Code::TooLarge);
        let grown = [pack(Encoding::Zstd, b"small"), pack(Encoding::Zstd, &b"large ".repeat(100_000))].concat();
        assert_eq!(unpack(Encoding::Zstd, &grown, 1 << 20).expect("a larger window, later").len(), 5 + 600_000);
        let small_first = [&pack(Encoding::Zstd, b"small")[..], &frame].concat();
        assert_eq!(unpack(Encoding::Zstd, &small_first, 1 << 20).expect_err("1 GiB, later").code, Code::TooLarge);
    }
}
