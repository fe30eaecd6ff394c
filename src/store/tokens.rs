//! Tokens, by their hashes.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Result;

/// A token that is good now.
#[derive(Debug)]
pub struct TokenRow {
    /// The internal id.
    pub id: i64,
    /// Whose it is.
    pub account_id: i64,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// The version of the account's tokens.
    pub tokens_version: i64,
}

/// A token as it is listed.
#[derive(Debug)]
pub struct ListedToken {
    /// The internal id.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was ended.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, a minute late at most.
    pub last_used_at: Option<OffsetDateTime>,
}

/// The token of that hash, unless it was revoked or has expired.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn find(conn: &mut PgConnection, hash: &[u8], now: OffsetDateTime) -> Result<Option<TokenRow>> {
    let row = sqlx::query_as!(
        TokenRow,
        "-- tokens.find
        select t.id, t.account_id, t.roles, t.expires_at, a.tokens_version
        from tokens t join accounts a on a.id = t.account_id
        where t.hash = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > $2)",
        hash,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Stores a token. `None` if one with this hash is there already.
///
/// # Errors
/// See [`find`].
pub async fn create(
    conn: &mut PgConnection,
    account_id: i64,
    hash: &[u8],
    name: &str,
    roles: &[String],
    expires_at: Option<OffsetDateTime>,
) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        "-- tokens.create
        insert into tokens (account_id, hash, name, roles, expires_at) values ($1, $2, $3, $4, $5)
        on conflict (hash) do nothing returning id",
        account_id,
        hash,
        name,
        roles,
        expires_at,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// The tokens of an account, oldest first.
///
/// # Errors
/// See [`find`].
pub async fn list(conn: &mut PgConnection, account_id: i64) -> Result<Vec<ListedToken>> {
    let rows = sqlx::query_as!(
        ListedToken,
        "-- tokens.list
        select id, name, roles, created_at, expires_at, revoked_at, last_used_at
        from tokens where account_id = $1 order by id",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Ends a token at once. False if the account has no such token that still lives.
///
/// # Errors
/// See [`find`].
pub async fn revoke(conn: &mut PgConnection, account_id: i64, id: i64, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "-- tokens.revoke
        update tokens set revoked_at = $3 where account_id = $1 and id = $2 and revoked_at is null",
        account_id,
        id,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes down when tokens were last used.
///
/// # Errors
/// See [`find`].
pub async fn note_uses(conn: &mut PgConnection, ids: &[i64], times: &[OffsetDateTime]) -> Result<()> {
    sqlx::query!(
        "-- tokens.note_uses
        update tokens t set last_used_at = greatest(t.last_used_at, used.at)
        from unnest($1::bigint[], $2::timestamptz[]) as used (id, at) where t.id = used.id",
        ids,
        times,
    )
    .execute(conn)
    .await?;
    Ok(())
}
