//! Pages of lists; products and SKUs as clients list them.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::Result;
use super::items::Row;
use crate::domain::catalogue::{ItemType, ListedItem};

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What stands on it.
    pub items: Vec<T>,
    /// The internal id of the last of them; `None` for the page behind the last one.
    pub last: Option<i64>,
}

/// Items that are read before it is known how large they are.
const FIRST_ITEMS: usize = 10;

/// A page that is being read: of so many items, and of so many bytes unless one item alone has more.
pub(super) struct Reading<T> {
    page: Page<T>,
    limit: usize,
    max_bytes: usize,
    bytes: usize,
}

impl<T> Reading<T> {
    pub(super) fn new(limit: i64, max_bytes: usize) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        Reading { page: Page { items: Vec::new(), last: None }, limit, max_bytes, bytes: 0 }
    }

    /// The page, as far as it was read.
    pub(super) fn page(self) -> Page<T> {
        self.page
    }

    /// How many items are to be read next, by the size of those that were read.
    pub(super) fn next(&self) -> usize {
        let left = self.limit.saturating_sub(self.page.items.len());
        match self.page.items.len() {
            0 => FIRST_ITEMS.min(left),
            // The next ones may be larger: not too many of them at once.
            read => (self.max_bytes.saturating_sub(self.bytes) / (self.bytes / read).max(1)).min(4 * read).min(left),
        }
    }

    /// Adds an item of so many bytes; false if the page has no place for it.
    pub(super) fn add(&mut self, id: i64, item: T, bytes: usize) -> bool {
        if !self.page.items.is_empty() && self.bytes + bytes > self.max_bytes {
            return false;
        }
        self.bytes += bytes;
        self.page.items.push(item);
        self.page.last = Some(id);
        true
    }
}

/// The imported products or SKUs of an account behind one, oldest first, at most `limit` and about `max_bytes` of them;
/// products with their SKUs. Stubs are left out.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn items(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    after: i64,
    (limit, max_bytes): (i64, usize),
) -> Result<Page<ListedItem>> {
    let mut reading = Reading::new(limit, max_bytes);
    loop {
        let next = reading.next();
        let rows = item_rows(conn, account_id, kind, reading.page.last.unwrap_or(after), next).await?;
        let is_last = rows.len() < next;
        let mut skus = HashMap::new();
        if kind == ItemType::Product {
            let products: Vec<&str> = rows.iter().map(|row| &*row.external_id).collect();
            skus = skus_of(conn, account_id, &products).await?;
        }
        for row in rows {
            let skus = skus.remove(&row.external_id).unwrap_or_default();
            let bytes = row.bytes() + skus.iter().map(Row::bytes).sum::<usize>();
            let skus = skus.into_iter().map(Row::listed).collect::<Result<_>>()?;
            if !reading.add(row.id, ListedItem { skus, ..row.listed()? }, bytes) {
                return Ok(reading.page());
            }
        }
        if is_last || reading.next() == 0 {
            return Ok(reading.page());
        }
    }
}

async fn item_rows(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    after: i64,
    limit: usize,
) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Row,
        "-- items.page
        select id as \"id!\", revision as \"revision!\", external_id as \"external_id!\", stub as \"stub!\", name, product, content as \"content!\" from (
            select * from (
                select id, revision, external_id, stub, name, null as product, content::text from products
                where $2 and account_id = $1 and id > $3 and not stub order by id limit $4
            ) p
            union all
            select * from (
                select id, revision, external_id, stub, name, product, content::text from skus
                where not $2 and account_id = $1 and id > $3 and not stub order by id limit $4
            ) s
        ) i order by id",
        account_id,
        kind == ItemType::Product,
        after,
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn skus_of(conn: &mut PgConnection, account_id: i64, products: &[&str]) -> Result<HashMap<String, Vec<Row>>> {
    let rows = sqlx::query_as!(
        Row,
        "-- skus.of_products
        select id, revision, external_id, stub, name, product, content::text as \"content!\" from skus
        where account_id = $1 and product = any($2) and not stub order by id",
        account_id,
        products as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut skus: HashMap<String, Vec<Row>> = HashMap::new();
    for row in rows {
        skus.entry(row.product.clone().unwrap_or_default()).or_default().push(row);
    }
    Ok(skus)
}
