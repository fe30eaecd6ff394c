//! Products and SKUs in full. The two tables read alike, so that one statement serves both: `kind` chooses the table.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::Json;
use tokio::task::block_in_place;

use super::copy;
use super::item_content::{Content, state};
use super::orders::Digest;
use super::{Result, SET};
use crate::domain::catalogue::{ItemState, ItemType, ListedItem, StoredItem};

/// A row as it is read.
pub(super) struct Row {
    pub id: i64,
    pub revision: i64,
    pub external_id: String,
    pub stub: bool,
    pub name: Option<String>,
    pub product: Option<String>,
    pub content: String,
}

impl Row {
    fn stored(self) -> Result<(String, StoredItem)> {
        let Row { id, revision, external_id, stub, name, product, content } = self;
        let state = if stub { None } else { Some(state(name, product.clone(), &content)?) };
        Ok((external_id, StoredItem { id, revision, state, product }))
    }

    /// About how many bytes it has when it is listed.
    pub(super) fn bytes(&self) -> usize {
        100 + self.external_id.len() + self.content.len()
    }

    pub(super) fn listed(self) -> Result<ListedItem> {
        let Row { id, external_id, name, product, content, .. } = self;
        Ok(ListedItem { id, external_id, state: state(name, product, &content)?, skus: Vec::new() })
    }
}

fn gather(rows: Vec<Row>, items: &mut HashMap<String, StoredItem>) -> Result<()> {
    for row in rows {
        let (external_id, item) = row.stored()?;
        items.insert(external_id, item);
    }
    Ok(())
}

/// A stored product or SKU, as far as it is known without its content.
#[derive(Debug)]
pub struct Found {
    /// The internal id.
    pub id: i64,
    /// By what its text is known, if it is.
    pub sent_digest: Option<Digest>,
}

/// Fewer are looked for one by one: that is one statement, whatever is found.
const MIN_KEYS: usize = 100;

/// The products or SKUs between the first and the last of these keys, which are sorted, by external id; `None` if the keys are
/// few, or what lies between them is far more. Where the keys are neighbours this is several times as fast as a look for each, above all for new ones.
async fn between(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    external_ids: &[&str],
) -> Result<Option<HashMap<String, Found>>> {
    let (Some(first), Some(last)) = (external_ids.first(), external_ids.last()) else { return Ok(None) };
    if external_ids.len() < MIN_KEYS {
        return Ok(None);
    }
    let limit = 2 * external_ids.len();
    let rows = sqlx::query!(
        "-- items.between
        select external_id as \"external_id!\", id as \"id!\", sent_digest as \"sent_digest: Digest\" from (
            (select external_id, id, sent_digest from products
            where $2 and account_id = $1 and external_id between $3 and $4 order by external_id limit $5)
            union all
            (select external_id, id, sent_digest from skus
            where not $2 and account_id = $1 and external_id between $3 and $4 order by external_id limit $5)
        ) i",
        account_id,
        kind == ItemType::Product,
        first,
        last,
        i64::try_from(limit + 1).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().map(|row| (row.external_id, Found { id: row.id, sent_digest: row.sent_digest }));
    Ok((found.len() <= limit).then(|| found.collect()))
}

/// Those of some products or SKUs that are stored, by external id; without a lock. The keys are sorted.
///
/// # Errors
/// The database failed, or holds what cannot be; so for all functions here.
pub async fn read(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    external_ids: &[&str],
) -> Result<HashMap<String, StoredItem>> {
    let mut items = HashMap::new();
    for external_ids in external_ids.chunks(SET) {
        let there = match between(conn, account_id, kind, external_ids).await? {
            Some(found) => Cow::Owned(external_ids.iter().copied().filter(|id| found.contains_key(*id)).collect()),
            None => Cow::Borrowed(external_ids),
        };
        if there.is_empty() {
            continue;
        }
        let rows = sqlx::query_as!(
            Row,
            "-- items.read
            select i.id as \"id!\", i.revision as \"revision!\", i.external_id as \"external_id!\", i.stub as \"stub!\", i.name, i.product,
                i.content as \"content!\"
            from unnest($3::text[]) as k (external_id)
            join lateral (
                select id, revision, external_id, stub, name, null as product, content::text from products
                where $2 and account_id = $1 and external_id = k.external_id
                union all
                select id, revision, external_id, stub, name, product, content::text from skus
                where not $2 and account_id = $1 and external_id = k.external_id
                offset 0
            ) i on true",
            account_id,
            kind == ItemType::Product,
            &*there as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        gather(rows, &mut items)?;
    }
    Ok(items)
}

/// Locks those of some products or SKUs that are stored, in the order of their keys, which are sorted; and reads them.
///
/// # Errors
/// See [`read`].
pub async fn lock_and_read(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    external_ids: &[&str],
) -> Result<HashMap<String, StoredItem>> {
    let mut items = HashMap::with_capacity(external_ids.len());
    for external_ids in external_ids.chunks(SET) {
        let rows = sqlx::query_as!(
            Row,
            "-- items.lock_and_read
            select i.id as \"id!\", i.revision as \"revision!\", i.external_id as \"external_id!\", i.stub as \"stub!\", i.name, i.product,
                i.content as \"content!\"
            from unnest($3::text[]) with ordinality as k (external_id, place)
            join lateral (
                select p.* from (
                    select id, revision, external_id, stub, name, null as product, content::text from products
                    where $2 and account_id = $1 and external_id = k.external_id for no key update offset 0
                ) p
                union all
                select s.* from (
                    select id, revision, external_id, stub, name, product, content::text from skus
                    where not $2 and account_id = $1 and external_id = k.external_id for no key update offset 0
                ) s
                offset 0
            ) i on true
            order by k.place",
            account_id,
            kind == ItemType::Product,
            external_ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        gather(rows, &mut items)?;
    }
    Ok(items)
}

/// How many SKUs some products have, stubs aside; those that have none are left out.
///
/// # Errors
/// The database failed.
pub async fn count_skus(conn: &mut PgConnection, account_id: i64, products: &[&str]) -> Result<HashMap<String, usize>> {
    let mut counts = HashMap::new();
    for products in products.chunks(SET) {
        let rows = sqlx::query!(
            "-- skus.count
            select product as \"product!\", count(*) as \"count!\" from skus
            where account_id = $1 and product = any($2) and not stub group by product",
            account_id,
            products as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        counts.extend(rows.into_iter().map(|row| (row.product, usize::try_from(row.count).unwrap_or(usize::MAX))));
    }
    Ok(counts)
}

/// Those of some products or SKUs that are stored, by external id, and maybe others; without a lock. The keys are sorted.
///
/// # Errors
/// See [`read`].
pub async fn look(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    external_ids: &[&str],
) -> Result<HashMap<String, Found>> {
    let mut all = HashMap::new();
    for external_ids in external_ids.chunks(SET) {
        if let Some(found) = between(conn, account_id, kind, external_ids).await? {
            all.extend(found);
            continue;
        }
        let rows = sqlx::query!(
            "-- items.look
            select i.id as \"id!\", k.external_id as \"external_id!\", i.sent_digest as \"sent_digest: Digest\"
            from unnest($3::text[]) as k (external_id)
            join lateral (
                select id, sent_digest from products where $2 and account_id = $1 and external_id = k.external_id
                union all
                select id, sent_digest from skus where not $2 and account_id = $1 and external_id = k.external_id
                offset 0
            ) i on true",
            account_id,
            kind == ItemType::Product,
            external_ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        all.extend(rows.into_iter().map(|row| (row.external_id, Found { id: row.id, sent_digest: row.sent_digest })));
    }
    Ok(all)
}

/// A product or SKU on its way to the database.
#[derive(Debug, Clone, Copy)]
pub struct NewItem<'s> {
    /// The business key.
    pub external_id: &'s str,
    /// What can be read.
    pub state: &'s ItemState,
    /// By what its text is known, if it is.
    pub sent_digest: Option<&'s Digest>,
}

/// Products or SKUs, as columns.
#[derive(Default)]
struct Columns<'s> {
    external_ids: Vec<&'s str>,
    names: Vec<&'s str>,
    products: Vec<Option<&'s str>>,
    contents: Vec<Json<Content<'s>>>,
    sent_digests: Vec<Option<&'s [u8]>>,
}

impl<'s> Columns<'s> {
    fn of(items: &[NewItem<'s>]) -> Self {
        let mut columns = Columns::default();
        for NewItem { external_id, state, sent_digest } in items {
            columns.external_ids.push(external_id);
            columns.names.push(&state.name);
            columns.products.push(state.product.as_deref());
            columns.contents.push(Json(Content::of(state)));
            columns.sent_digests.push(sent_digest.map(Digest::as_slice));
        }
        columns
    }
}

/// Inserts products or SKUs that are not there, sorted by key, each key once; returns their internal ids. Many go by `copy` if
/// the database `is_local`: over TCP its pieces wait for each other.
///
/// # Errors
/// See [`read`]; another request may have made one of them first.
pub async fn insert(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    items: &[NewItem<'_>],
    is_local: bool,
) -> Result<HashMap<String, i64>> {
    if is_local && items.len() >= copy::MIN_ROWS {
        return copy_in(conn, account_id, kind, items).await;
    }
    let mut inserted = HashMap::with_capacity(items.len());
    for items in items.chunks(SET) {
        let columns = Columns::of(items);
        let rows = sqlx::query!(
            "-- items.insert
            with k as materialized (
                select * from unnest($3::text[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[])
                    with ordinality as k (external_id, name, product, content, sent_digest, place)
            ), p as (
                insert into products (account_id, external_id, stub, name, content, sent_digest)
                select $1, external_id, false, name, content, sent_digest from k where $2 order by place
                returning id, external_id
            ), s as (
                insert into skus (account_id, external_id, stub, name, product, content, sent_digest)
                select $1, external_id, false, name, product, content, sent_digest from k where not $2 order by place
                returning id, external_id
            )
            select id as \"id!\", external_id as \"external_id!\" from p union all select id, external_id from s",
            account_id,
            kind == ItemType::Product,
            &columns.external_ids as &[&str],
            &columns.names as &[&str],
            &columns.products as &[Option<&str>],
            &columns.contents as &[Json<Content<'_>>],
            &columns.sent_digests as &[Option<&[u8]>],
        )
        .fetch_all(&mut *conn)
        .await?;
        inserted.extend(rows.into_iter().map(|row| (row.external_id, row.id)));
    }
    Ok(inserted)
}

/// The same by `copy`.
async fn copy_in(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    items: &[NewItem<'_>],
) -> Result<HashMap<String, i64>> {
    let ids: Vec<&str> = items.iter().map(|item| item.external_id).collect();
    let numbers = match kind {
        ItemType::Product => reserve_numbers(conn, items.len()).await?,
        ItemType::Sku => Vec::new(),
    };
    let rows = block_in_place(|| match kind {
        ItemType::Product => {
            copy::products(account_id, &numbers.iter().copied().zip(items.iter().copied()).collect::<Vec<_>>())
        }
        ItemType::Sku => copy::skus(account_id, items),
    })?;
    copy::send_items(conn, kind, rows).await?.finish().await?;
    if kind == ItemType::Product {
        return Ok(ids.into_iter().map(str::to_owned).zip(numbers).collect());
    }
    let found = look(conn, account_id, kind, &ids).await?;
    Ok(found.into_iter().map(|(id, found)| (id, found.id)).collect())
}

/// Numbers for so many products, ascending.
///
/// # Errors
/// See [`read`].
pub async fn reserve_numbers(conn: &mut PgConnection, count: usize) -> Result<Vec<i64>> {
    let mut ids = sqlx::query_scalar!(
        "-- products.reserve_numbers
        select array(select nextval('products_id_seq') from generate_series(1, $1::bigint)) as \"ids!\"",
        i64::try_from(count).unwrap_or(i64::MAX),
    )
    .fetch_one(conn)
    .await?;
    ids.sort_unstable();
    Ok(ids)
}

/// Replaces products or SKUs that the transaction has locked.
///
/// # Errors
/// See [`read`].
pub async fn update(conn: &mut PgConnection, account_id: i64, kind: ItemType, items: &[NewItem<'_>]) -> Result<()> {
    for items in items.chunks(SET) {
        let columns = Columns::of(items);
        // Inserts that always meet their rows: no join that could be planned badly.
        sqlx::query!(
            "-- items.update
            with k as materialized (
                select * from unnest($3::text[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[])
                    as k (external_id, name, product, content, sent_digest)
            ), p as (
                insert into products (account_id, external_id, stub, name, content, sent_digest)
                select $1, external_id, false, name, content, sent_digest from k where $2
                on conflict (account_id, external_id) do update set stub = false, name = excluded.name,
                    content = excluded.content, sent_digest = excluded.sent_digest, revision = products.revision + 1
            )
            insert into skus (account_id, external_id, stub, name, product, content, sent_digest)
            select $1, external_id, false, name, product, content, sent_digest from k where not $2
            on conflict (account_id, external_id) do update set stub = false, name = excluded.name,
                product = excluded.product, content = excluded.content, sent_digest = excluded.sent_digest,
                revision = skus.revision + 1",
            account_id,
            kind == ItemType::Product,
            &columns.external_ids as &[&str],
            &columns.names as &[&str],
            &columns.products as &[Option<&str>],
            &columns.contents as &[Json<Content<'_>>],
            &columns.sent_digests as &[Option<&[u8]>],
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Renews the digests of products or SKUs that were found as they were sent, unless another request is at them or has
/// changed them since. It waits for no lock.
///
/// # Errors
/// See [`read`].
pub async fn renew_digests(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    texts: &[(&str, i64, Digest)],
) -> Result<()> {
    for texts in texts.chunks(SET) {
        let external_ids: Vec<&str> = texts.iter().map(|(id, ..)| *id).collect();
        let revisions: Vec<i64> = texts.iter().map(|(_, revision, _)| *revision).collect();
        let digests: Vec<&[u8]> = texts.iter().map(|(.., digest)| digest.as_slice()).collect();
        sqlx::query!(
            "-- items.renew_digests
            with p as (
                update products p set sent_digest = k.digest
                from (
                    select p.tid, k.digest from unnest($3::text[], $4::bytea[], $5::bigint[]) as k (external_id, digest, revision)
                    join lateral (select p.ctid as tid from products p where $2 and p.account_id = $1
                        and p.external_id = k.external_id and p.revision = k.revision and p.sent_digest is distinct from k.digest
                        for no key update skip locked offset 0) p on true
                    offset 0
                ) k
                where p.account_id = $1 and p.ctid = k.tid
            )
            update skus s set sent_digest = k.digest
            from (
                select s.tid, k.digest from unnest($3::text[], $4::bytea[], $5::bigint[]) as k (external_id, digest, revision)
                join lateral (select s.ctid as tid from skus s where not $2 and s.account_id = $1
                    and s.external_id = k.external_id and s.revision = k.revision and s.sent_digest is distinct from k.digest
                    for no key update skip locked offset 0) s on true
                offset 0
            ) k
            where s.account_id = $1 and s.ctid = k.tid",
            account_id,
            kind == ItemType::Product,
            &external_ids as &[&str],
            &digests as &[&[u8]],
            &revisions,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Forgets by what texts products are known which the transaction has locked.
///
/// # Errors
/// See [`read`].
pub async fn clear_digests(conn: &mut PgConnection, account_id: i64, products: &[&str]) -> Result<()> {
    for products in products.chunks(SET) {
        sqlx::query!(
            "-- products.clear_digests
            update products set sent_digest = null, revision = revision + 1 where account_id = $1 and external_id = any($2)",
            account_id,
            products as &[&str],
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Deletes products or SKUs by their ids, and the SKUs of products that go; returns how many of the kind went. The account's
/// row is locked, which keeps other deletions away.
///
/// # Errors
/// See [`read`].
pub async fn delete(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    ids: &[i64],
    external_ids: &[String],
) -> Result<u64> {
    // In the order in which imports lock them, too.
    let keys = sqlx::query_scalar!(
        "-- items.lock_to_delete
        select i.external_id as \"external_id!\" from (
            select p.external_id from (
                select external_id from products
                where $2 and account_id = $1 and (id = any($3) or external_id = any($4)) order by external_id for update
            ) p
            union all
            select s.external_id from (
                select external_id from skus
                where not $2 and account_id = $1 and (id = any($3) or external_id = any($4)) order by external_id for update
            ) s
        ) i",
        account_id,
        kind == ItemType::Product,
        ids,
        external_ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    if keys.is_empty() {
        return Ok(0);
    }
    if kind == ItemType::Product {
        sqlx::query!(
            "-- products.delete\ndelete from products where account_id = $1 and external_id = any($2)",
            account_id,
            &keys
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "-- skus.delete_of\ndelete from skus where account_id = $1 and product = any($2)",
            account_id,
            &keys
        )
        .execute(&mut *conn)
        .await?;
    } else {
        sqlx::query!(
            "-- skus.delete\ndelete from skus where account_id = $1 and external_id = any($2)",
            account_id,
            &keys
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(keys.len() as u64)
}
