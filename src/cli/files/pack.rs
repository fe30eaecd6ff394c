//! Packs what is read of a file into batches, in a thread of its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::read::{Piece, Record};

/// Orders that are sent together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) fields: Vec<(String, String)>,
    pub(super) records: Vec<Record>,
    /// So much of the file was read for them.
    pub(super) bytes: u64,
}

/// Packs pieces into batches.
pub(super) struct Packer {
    max_items: usize,
    max_bytes: usize,
    /// So many items were acknowledged before.
    skip: u64,
    /// So many bytes of the file were read.
    count: Arc<AtomicU64>,
    batch: Batch,
    batch_bytes: usize,
    /// A batch was sent, now or before.
    has_passed: bool,
    /// The field of the call that stands behind items which were sent without it.
    pub(super) late: Option<String>,
    sender: mpsc::Sender<Batch>,
}

impl Packer {
    pub(super) fn new(
        max_items: usize,
        max_bytes: usize,
        skip: u64,
        count: Arc<AtomicU64>,
        sender: mpsc::Sender<Batch>,
    ) -> Self {
        let has_passed = skip > 0;
        let batch = Batch::default();
        Packer { max_items, max_bytes, skip, count, batch, batch_bytes: 0, has_passed, late: None, sender }
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, piece: Piece) -> ControlFlow<()> {
        let record = match piece {
            Piece::Start(_) => return ControlFlow::Continue(()),
            Piece::Field(name, _) if self.has_passed && self.skip == 0 => {
                self.late = Some(name);
                return ControlFlow::Break(());
            }
            Piece::Field(name, text) => {
                self.batch_bytes += text.len() + name.len() + 4;
                self.batch.fields.push((name, text));
                return ControlFlow::Continue(());
            }
            Piece::Record(_) if self.skip > 0 => {
                self.skip -= 1;
                return ControlFlow::Continue(());
            }
            Piece::Record(record) => record,
        };
        if self.batch.records.len() == self.max_items || self.batch_bytes + record.text.len() >= self.max_bytes {
            self.pass_on()?;
        }
        self.batch_bytes += record.text.len() + 1;
        self.batch.records.push(record);
        ControlFlow::Continue(())
    }

    /// Passes the batch on; nobody wants it any more after an error there.
    pub(super) fn pass_on(&mut self) -> ControlFlow<()> {
        if self.batch.records.is_empty() || self.late.is_some() {
            return ControlFlow::Continue(());
        }
        self.has_passed = true;
        let mut batch = std::mem::take(&mut self.batch);
        batch.bytes = self.count.load(Ordering::Relaxed);
        self.batch_bytes = 0;
        if self.sender.blocking_send(batch).is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
