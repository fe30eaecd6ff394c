//! Files of other charsets become UTF-8 on the way.

use std::io::{self, Read};

use anyhow::Context as _;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::wire::charset::{labelled, xml_declaration};

/// A byte that UTF-8 never has: it stands where the bytes of a file do not fit its charset, so that the record is refused.
const MISFIT: u8 = 0xff;
/// So many bytes are decoded at once.
const CHUNK: usize = 64 * 1024;

/// The charset that an operator names.
pub(super) fn named(label: &str) -> anyhow::Result<&'static Encoding> {
    labelled(label).with_context(|| format!("encoding: expected a charset like windows-1251, found {label:?}"))
}

/// The charset of a file, by its first bytes, and how long its mark is.
pub(super) fn of(
    head: &[u8],
    named: Option<&'static Encoding>,
    is_xml: bool,
) -> anyhow::Result<(&'static Encoding, usize)> {
    if let Some(marked) = Encoding::for_bom(head) {
        return Ok(marked);
    }
    if let Some(named) = named {
        return Ok((named, 0));
    }
    let Some(label) = xml_declaration(head).filter(|_| is_xml) else { return Ok((UTF_8, 0)) };
    let declared = labelled(label)
        .with_context(|| format!("line 1: encoding: expected a charset like windows-1251, found {label:?}"))?;
    // A declaration that can be read byte by byte is not in UTF-16.
    Ok((if [UTF_16LE, UTF_16BE].contains(&declared) { UTF_8 } else { declared }, 0))
}

/// A source as UTF-8.
pub(super) struct Transcoder<R> {
    source: R,
    decoder: Decoder,
    read: Vec<u8>,
    at: usize,
    is_read: bool,
    text: Vec<u8>,
    text_at: usize,
}

impl<R: Read> Transcoder<R> {
    pub(super) fn new(source: R, charset: &'static Encoding) -> Self {
        let decoder = charset.new_decoder_without_bom_handling();
        Transcoder { source, decoder, read: Vec::new(), at: 0, is_read: false, text: Vec::new(), text_at: 0 }
    }

    /// Decodes something; nothing is left to decode if there is no text then.
    fn decode(&mut self) -> io::Result<()> {
        self.text.clear();
        self.text_at = 0;
        while self.text.is_empty() {
            if self.at == self.read.len() {
                if self.is_read {
                    return Ok(());
                }
                self.read.resize(CHUNK, 0);
                let count = self.source.read(&mut self.read);
                self.read.truncate(*count.as_ref().unwrap_or(&0));
                self.at = 0;
                self.is_read = count? == 0;
            }
            // At most three bytes for one, and room for one character more.
            self.text.resize(3 * CHUNK + 16, 0);
            let rest = &self.read[self.at..];
            let (result, used, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, &mut self.text, self.is_read);
            self.text.truncate(written);
            self.at += used;
            if let DecoderResult::Malformed(..) = result {
                self.text.push(MISFIT);
            } else if self.is_read {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.text_at == self.text.len() {
            self.decode()?;
        }
        let ready = &self.text[self.text_at..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.text_at += count;
        Ok(count)
    }
}
