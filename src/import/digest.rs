//! By what an order that is sent again is known.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};

use crate::config::Limits;
use crate::domain::batch::Sent;
use crate::domain::orders::Order;
use crate::store::orders::Digest;

/// Changes whenever an order, a product or a SKU that reads the same comes to mean something else: with a new field, say.
const MEANING: u32 = 2;

/// The digest of an order and of all that its answer depends on, `update_time` and `skip_triggers` aside: neither is ever a change
/// by itself. Only equality counts: an order whose digest differs is looked at in full.
pub(super) fn of_order(order: &Order<'_>, setup_version: i64, limits: &Limits) -> Digest {
    let Order {
        external_id,
        customer,
        endpoint,
        status,
        total_price,
        currency,
        lines,
        lines_mode,
        delivery_cost,
        create_time,
        update_time: _,
        tags,
        region,
        custom_fields,
        skip_triggers: _,
        warning: _,
    } = order;
    let mut hasher = Bytes(Vec::with_capacity(1024));
    (MEANING, setup_version, limits.max_lines, limits.max_custom_values).hash(&mut hasher);
    (external_id, customer, endpoint, status, total_price, currency, lines, lines_mode).hash(&mut hasher);
    (delivery_cost, create_time, tags, region, custom_fields).hash(&mut hasher);
    cut(Sha256::new().chain_update(hasher.0))
}

/// The digest of an order's text and of all that its answer depends on: the same text is the same order. One that was taken
/// may be refused where the request is `strict`.
pub(super) fn of_text(sent: &Sent<'_>, setup_version: i64, limits: &Limits, strict: bool) -> Digest {
    let mut head = Bytes(Vec::with_capacity(128));
    (MEANING, setup_version, limits).hash(&mut head);
    if strict {
        "strict".hash(&mut head);
    }
    cut(Sha256::new().chain_update(head.0).chain_update(sent.root).chain_update(sent.text))
}

/// 128 bits of a hash.
fn cut(hash: Sha256) -> Digest {
    let hash = hash.finalize();
    let (digest, _) = hash.split_first_chunk().expect("SHA-256 has 32 bytes");
    *digest
}

/// What `Hash` writes: every field, with lengths and variants, so that no two orders write the same bytes.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("64 bits are too few")
    }
}
