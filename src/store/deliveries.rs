//! Deliveries: events on their way to subscriptions. All times are the database's.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Result;
use super::subscriptions::interval;

/// A pack of events.
#[derive(Debug)]
pub struct Pack {
    /// Its id.
    pub id: i64,
    /// A JSON array.
    pub events: String,
    /// When it happened.
    pub created_at: OffsetDateTime,
}

/// Accounts that have packs to spread.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn accounts_to_spread(conn: &mut PgConnection) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        "-- deliveries.accounts_to_spread
        select a.id from accounts a where exists (select from subscriptions s where s.account_id = a.id)
            and exists (select from outbox o where o.account_id = a.id and o.spread_at is null)",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// True if packs of an account are to be spread now: an enabled subscription has less to do than that, or there is none.
/// Else they wait as they are, packed, so that importing is not slowed down by what nobody can deliver yet.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn is_hungry(conn: &mut PgConnection, account_id: i64, enough: i64) -> Result<bool> {
    let hungry = sqlx::query_scalar!(
        "-- deliveries.is_hungry
        select coalesce(bool_or((select count(*) from (select from deliveries d where d.account_id = s.account_id
            and d.subscription_id = s.id and d.next_at <= now() limit $2) d) < $2), true) as \"hungry!\"
        from subscriptions s where s.account_id = $1 and s.enabled",
        account_id,
        enough,
    )
    .fetch_one(conn)
    .await?;
    Ok(hungry)
}

/// The next packs of an account that wait to be spread: at most so many, and of so many bytes, or one.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn waiting_packs(conn: &mut PgConnection, account_id: i64, limit: i64, max_bytes: i64) -> Result<Vec<Pack>> {
    let rows = sqlx::query_as!(
        Pack,
        "-- deliveries.waiting_packs
        select id, events, created_at from (
            select id, events, created_at, sum(octet_length(events)) over (order by id) - octet_length(events) as before
            from (select id, events, created_at from outbox where account_id = $1 and spread_at is null
                order by id limit $2) o) o
        where before < $3 order by id",
        account_id,
        limit,
        max_bytes,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The profile ids of profiles, by their internal ids.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn profile_ids(conn: &mut PgConnection, account_id: i64, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(
        "-- deliveries.profile_ids
        select id, profile_id from profiles where account_id = $1 and id = any($2)",
        account_id,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.profile_id)).collect())
}

/// A delivery that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// To whom.
    pub subscription_id: i64,
    /// The event's pack.
    pub pack_id: i64,
    /// The event's place in it, from 0.
    pub place: i32,
    /// The order that it is about.
    pub order_id: i64,
    /// The event.
    pub event: String,
    /// When it happened.
    pub created_at: OffsetDateTime,
    /// No delivery of the same order and subscription stands before it in the same list.
    pub is_first: bool,
}

/// Writes deliveries of an account, whose subscriptions are locked, in order.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn add(conn: &mut PgConnection, account_id: i64, new: &[NewDelivery]) -> Result<()> {
    for set in new.chunks(super::SET) {
        let subscriptions: Vec<i64> = set.iter().map(|new| new.subscription_id).collect();
        let pack_ids: Vec<i64> = set.iter().map(|new| new.pack_id).collect();
        let places: Vec<i32> = set.iter().map(|new| new.place).collect();
        let orders: Vec<i64> = set.iter().map(|new| new.order_id).collect();
        let events: Vec<&str> = set.iter().map(|new| new.event.as_str()).collect();
        let times: Vec<OffsetDateTime> = set.iter().map(|new| new.created_at).collect();
        let first: Vec<bool> = set.iter().map(|new| new.is_first).collect();
        sqlx::query!(
            "-- deliveries.add
            insert into deliveries (account_id, subscription_id, pack_id, place, order_id, event, created_at, next_at)
            select $1, n.subscription_id, n.pack_id, n.place, n.order_id, n.event, n.created_at,
                case when n.is_first and not exists (select from deliveries d where d.account_id = $1
                    and d.subscription_id = n.subscription_id and d.order_id = n.order_id) then now() end
            from unnest($2::bigint[], $3::bigint[], $4::int[], $5::bigint[], $6::text[], $7::timestamptz[], $8::boolean[])
                with ordinality as n (subscription_id, pack_id, place, order_id, event, created_at, is_first, number)
            order by n.number",
            account_id,
            &subscriptions,
            &pack_ids,
            &places,
            &orders,
            &events as &[&str],
            &times,
            &first,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Notes that packs were spread.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn mark_spread(conn: &mut PgConnection, account_id: i64, packs: &[i64]) -> Result<()> {
    sqlx::query!(
        "-- deliveries.mark_spread
        update outbox set spread_at = now() where account_id = $1 and id = any($2)",
        account_id,
        packs,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A subscription for which something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Due {
    /// The account.
    pub account_id: i64,
    /// Its subscription.
    pub subscription_id: i64,
}

/// The enabled subscriptions for which something is due, of all accounts.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn due(conn: &mut PgConnection) -> Result<Vec<Due>> {
    let rows = sqlx::query_as!(
        Due,
        "-- deliveries.due
        select s.account_id, s.id as subscription_id from subscriptions s where s.enabled and exists (
            select from deliveries d where d.account_id = s.account_id and d.subscription_id = s.id and d.next_at <= now())",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// How long until the next delivery is due, if any waits.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn next_in(conn: &mut PgConnection) -> Result<Option<Duration>> {
    let seconds = sqlx::query_scalar!(
        "-- deliveries.next_in
        select extract(epoch from min(d.next_at) - now())::float8 from subscriptions s cross join lateral (
            select d.next_at from deliveries d where d.account_id = s.account_id and d.subscription_id = s.id
                and d.next_at is not null order by d.next_at limit 1) d
        where s.enabled",
    )
    .fetch_one(conn)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
}

/// A delivery that is this worker's for a while.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub id: i64,
    /// The event's pack.
    pub pack_id: i64,
    /// The event's place in it.
    pub place: i32,
    /// The event.
    pub event: String,
    /// When it happened.
    pub created_at: OffsetDateTime,
    /// How often it was tried before.
    pub attempts: i32,
    /// Until when it is this worker's: by this it shows that it still is.
    pub lease: OffsetDateTime,
    /// Now, by the database's clock.
    pub now: OffsetDateTime,
}

/// Claims deliveries that are due, for as long as the lease.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn claim(conn: &mut PgConnection, due: Due, limit: i64, lease: Duration) -> Result<Vec<Claimed>> {
    let mut rows = sqlx::query_as!(
        Claimed,
        "-- deliveries.claim
        update deliveries d set next_at = clock_timestamp() + $4::interval
        from (select id from deliveries where account_id = $1 and subscription_id = $2 and next_at <= now()
            order by next_at limit $3 for update skip locked) c
        where d.account_id = $1 and d.id = c.id
        returning d.id, d.pack_id, d.place, d.event, d.created_at, d.attempts, d.next_at as \"lease!\",
            clock_timestamp() as \"now!\"",
        due.account_id,
        due.subscription_id,
        limit,
        interval(lease),
    )
    .fetch_all(conn)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Where a subscription's deliveries go, and what signs them.
#[derive(Debug, Clone)]
pub struct Target {
    /// The URL.
    pub url: String,
    /// The secrets that are good now, newest first.
    pub secrets: Vec<String>,
}

/// Where a subscription's deliveries go. `None` if it is gone or disabled.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn target(conn: &mut PgConnection, due: Due) -> Result<Option<Target>> {
    let row = sqlx::query_as!(
        Target,
        "-- deliveries.target
        select s.url, array(select c.secret from subscription_secrets c where c.account_id = s.account_id
            and c.subscription_id = s.id and (c.expires_at is null or c.expires_at > now())
            order by c.expires_at desc nulls first, c.secret) as \"secrets!\"
        from subscriptions s where s.account_id = $1 and s.id = $2 and s.enabled",
        due.account_id,
        due.subscription_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The delivery.
    pub id: i64,
    /// As it was claimed.
    pub lease: OffsetDateTime,
    /// The HTTP status, if there was an answer.
    pub status: Option<i32>,
    /// Why it was not delivered.
    pub error: Option<String>,
    /// When it is tried again; `None`: never, since it was delivered or given up.
    pub again_in: Option<Duration>,
}

/// Notes what became of attempts, of an account whose subscriptions are locked. What is done makes place for the next
/// event of its order. An attempt whose lease was lost counts for nothing: another worker has it.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn note(conn: &mut PgConnection, account_id: i64, attempts: &[Attempt]) -> Result<()> {
    let (again, done): (Vec<_>, Vec<_>) = attempts.iter().partition(|attempt| attempt.again_in.is_some());
    note_again(conn, account_id, &again).await?;
    note_done(conn, account_id, &done).await
}

// Where nothing is known of a table that was empty a moment ago, only a place (ctid) that was looked up row by row keeps
// the plans of these statements from comparing all with all.

async fn note_again(conn: &mut PgConnection, account_id: i64, again: &[&Attempt]) -> Result<()> {
    if again.is_empty() {
        return Ok(());
    }
    let (ids, leases, statuses, errors) = columns(again);
    let waits: Vec<_> = again.iter().map(|attempt| interval(attempt.again_in.unwrap_or_default())).collect();
    sqlx::query!(
        "-- deliveries.note_again
        with mine as materialized (
            select d.place, a.* from unnest($2::bigint[], $3::timestamptz[], $4::int[], $5::text[], $6::interval[])
                as a (id, lease, status, error, wait)
            join lateral (select ctid as place from deliveries d
                where d.account_id = $1 and d.id = a.id and d.next_at = a.lease offset 0) d on true
        )
        update deliveries d set next_at = now() + m.wait, attempts = d.attempts + 1, last_status = m.status,
            last_error = m.error
        from mine m where d.ctid = m.place",
        account_id,
        &ids,
        &leases,
        &statuses as &[Option<i32>],
        &errors as &[Option<&str>],
        &waits,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn note_done(conn: &mut PgConnection, account_id: i64, done: &[&Attempt]) -> Result<()> {
    if done.is_empty() {
        return Ok(());
    }
    let (ids, leases, statuses, errors) = columns(done);
    let rows = sqlx::query!(
        "-- deliveries.note_done
        with mine as materialized (
            select d.place, a.* from unnest($2::bigint[], $3::timestamptz[], $4::int[], $5::text[])
                as a (id, lease, status, error)
            join lateral (select ctid as place from deliveries d
                where d.account_id = $1 and d.id = a.id and d.next_at = a.lease offset 0) d on true
        ), done as (
            delete from deliveries d using mine m where d.ctid = m.place returning d.*, m.status, m.error
        )
        insert into deliveries_done (account_id, id, subscription_id, pack_id, place, order_id, event, created_at,
            attempts, outcome, last_status, last_error, done_at)
        select account_id, id, subscription_id, pack_id, place, order_id, event, created_at,
            attempts + 1, case when error is null then 'delivered' else 'dead' end, status, error, now()
        from done returning subscription_id, order_id",
        account_id,
        &ids,
        &leases,
        &statuses as &[Option<i32>],
        &errors as &[Option<&str>],
    )
    .fetch_all(&mut *conn)
    .await?;
    let (subscriptions, orders): (Vec<i64>, Vec<i64>) =
        rows.into_iter().map(|row| (row.subscription_id, row.order_id)).unzip();
    // A second statement: the first one still sees what it deletes.
    sqlx::query!(
        "-- deliveries.make_due
        update deliveries d set next_at = now()
        from unnest($2::bigint[], $3::bigint[]) as g (subscription_id, order_id), lateral (
            select n.id from deliveries n where n.account_id = $1 and n.subscription_id = g.subscription_id
                and n.order_id = g.order_id order by n.id limit 1) n
        where d.account_id = $1 and d.id = n.id and d.next_at is null",
        account_id,
        &subscriptions,
        &orders,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives back what was claimed and not sent, by its id and lease: it is due.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn give_back(conn: &mut PgConnection, account_id: i64, unsent: &[(i64, OffsetDateTime)]) -> Result<()> {
    if unsent.is_empty() {
        return Ok(());
    }
    let (ids, leases): (Vec<i64>, Vec<OffsetDateTime>) = unsent.iter().copied().unzip();
    sqlx::query!(
        "-- deliveries.give_back
        with mine as materialized (
            select d.place from unnest($2::bigint[], $3::timestamptz[]) as u (id, lease)
            join lateral (select ctid as place from deliveries d
                where d.account_id = $1 and d.id = u.id and d.next_at = u.lease offset 0) d on true
        )
        update deliveries d set next_at = now() from mine m where d.ctid = m.place",
        account_id,
        &ids,
        &leases,
    )
    .execute(conn)
    .await?;
    Ok(())
}

type Columns<'a> = (Vec<i64>, Vec<OffsetDateTime>, Vec<Option<i32>>, Vec<Option<&'a str>>);

fn columns<'a>(attempts: &[&'a Attempt]) -> Columns<'a> {
    (
        attempts.iter().map(|attempt| attempt.id).collect(),
        attempts.iter().map(|attempt| attempt.lease).collect(),
        attempts.iter().map(|attempt| attempt.status).collect(),
        attempts.iter().map(|attempt| attempt.error.as_deref()).collect(),
    )
}

/// How much waits in an account that has subscriptions.
#[derive(Debug)]
pub struct Waiting {
    /// The account's name.
    pub account: String,
    /// Deliveries that wait.
    pub deliveries: i64,
    /// How long ago the oldest of their events happened.
    pub oldest_seconds: Option<f64>,
    /// Packs that wait to be spread.
    pub packs: i64,
}

/// How much waits, in all accounts that have subscriptions.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn waiting(conn: &mut PgConnection) -> Result<Vec<Waiting>> {
    let rows = sqlx::query_as!(
        Waiting,
        "-- deliveries.waiting
        select a.name as account, coalesce(d.waiting, 0) as \"deliveries!\", d.oldest as oldest_seconds,
            (select count(*) from outbox o where o.account_id = a.id and o.spread_at is null) as \"packs!\"
        from accounts a left join (
            select account_id, count(*) as waiting, extract(epoch from now() - min(created_at))::float8 as oldest
            from deliveries group by account_id) d on d.account_id = a.id
        where exists (select from subscriptions s where s.account_id = a.id)",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Wakes the workers of all servers.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn wake(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!("-- deliveries.wake\nselect pg_notify($1, '') as \"told!: ()\"", CHANNEL).fetch_one(conn).await?;
    Ok(())
}

/// The channel on which workers are woken.
pub const CHANNEL: &str = "ordergate_events";

/// Deletes at most `limit` deliveries that were done longer ago; returns how many.
///
/// # Errors
/// See [`accounts_to_spread`].
pub async fn prune(conn: &mut PgConnection, max_age: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "-- deliveries.prune
        delete from deliveries_done where (account_id, id) in (
            select account_id, id from deliveries_done where done_at < now() - $1::interval order by done_at limit $2 for update skip locked)",
        interval(max_age),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
