//! What the texts of products and SKUs tell before they are decoded: which were sent like this before, which are new.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;

use super::catalogue::CatalogueImport;
use super::digest;
use super::report::Spent;
use crate::config::Limits;
use crate::domain::batch::Sent;
use crate::store;
use crate::store::orders::Digest;

/// The items of a request, looked for by their ids and texts.
pub(super) struct Looked<'a> {
    /// The internal id of each that was sent like this before, by its slot.
    known: Vec<Option<i64>>,
    /// By what the others will be known: those whose id is plain and comes once.
    digests: HashMap<&'a str, Digest>,
    /// None of the others is stored.
    pub others_are_new: bool,
}

impl<'a> Looked<'a> {
    /// Looks for all items of a request, without a lock; for none of them unless `by_text`.
    pub(super) async fn at(
        conn: &mut PgConnection,
        request: &CatalogueImport<'_, 'a>,
        version: i64,
        limits: &Limits,
        by_text: bool,
        spent: &mut Spent,
    ) -> store::Result<Self> {
        let CatalogueImport { account_id, kind, items, head, .. } = *request;
        let mut looked = Looked { known: vec![None; items.len()], digests: HashMap::new(), others_are_new: by_text };
        let plain = spent.plan(|| plain(items));
        looked.others_are_new &= plain.len() == items.len();
        for plain in plain.chunks(store::SET) {
            let ids: Vec<&str> = plain.iter().filter(|_| by_text).map(|(id, _)| *id).collect();
            // The second is done while the database is at work on the first.
            let (found, digests) = tokio::join!(store::items::look(conn, account_id, kind, &ids), async {
                let digest = |(_, slot): &(&str, usize)| digest::of_text(&items[*slot], version, limits, head.strict);
                spent.plan(|| plain.iter().map(digest).collect::<Vec<_>>())
            });
            let found = found?;
            for ((id, slot), digest) in plain.iter().zip(digests) {
                let found = found.get(*id);
                looked.known[*slot] = found.filter(|found| found.sent_digest == Some(digest)).map(|found| found.id);
                if looked.known[*slot].is_none() {
                    looked.others_are_new &= found.is_none();
                    looked.digests.insert(id, digest);
                }
            }
        }
        Ok(looked)
    }

    /// The internal id of an item that was sent like this before.
    pub(super) fn known(&self, slot: usize) -> Option<i64> {
        self.known[slot]
    }

    /// The slots of those that were not.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> {
        self.known.iter().enumerate().filter(|(_, known)| known.is_none()).map(|(slot, _)| slot)
    }

    /// By what one of the others will be known.
    pub(super) fn digest(&self, external_id: &str) -> Option<&Digest> {
        self.digests.get(external_id)
    }

    /// True if one of these was sent like this before.
    pub(super) fn knows_any(&self, external_ids: &BTreeSet<String>, items: &[Sent<'_>]) -> bool {
        let mut known = items.iter().zip(&self.known).filter(|(_, known)| known.is_some());
        known.any(|(sent, _)| sent.external_id.is_some_and(|id| external_ids.contains(id)))
    }
}

/// The items whose ids are plain and come once, with their slots, sorted; none if an id has escapes: it may be one of the others.
fn plain<'a>(items: &[Sent<'a>]) -> Vec<(&'a str, usize)> {
    let ids = items.iter().enumerate().map(|(slot, sent)| Some((sent.external_id?, slot)));
    let mut ids = ids.collect::<Option<Vec<_>>>().unwrap_or_default();
    ids.sort_unstable();
    ids.chunk_by(|(id, _), (next, _)| id == next)
        .filter_map(|same| <[_; 1]>::try_from(same).ok())
        .map(|[one]| one)
        .collect()
}
