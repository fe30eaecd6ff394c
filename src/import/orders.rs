//! Imports a batch of orders: all of it is written, or nothing, before the report is there.
//!
//! The quick way first: what did not change is known by its digest, what is new goes in while the next orders
//! are still being decoded. What it cannot decide alone runs by the careful way, as a whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::joint::{self, Joints};
use super::records::Records;
use super::report::{Report, Spent};
use super::setup::Setups;
use super::{careful, large, small};
use crate::config::Limits;
use crate::domain::batch::{Decoded, Head, Sent};
use crate::domain::orders::Origin;
use crate::domain::rejection::Rejection;
use crate::error::{Code, Error};
use crate::store;
use crate::store::references::Versions;

/// How often the whole is run when other transactions are in the way.
pub(super) const MAX_TRIES: u32 = 10;

/// Work on fewer orders is done where it comes up: to make place for it takes longer.
const FEW_ORDERS: usize = 20;

/// What all imports share.
#[derive(Debug)]
pub struct Imports {
    /// The database.
    pub pool: PgPool,
    /// What accounts have.
    pub setups: Setups,
    /// The records of imports, until they are written.
    pub records: Records,
    /// Requests of one order that wait for their turn.
    pub joints: Joints,
    /// Bounds on what is stored.
    pub limits: Limits,
    /// The database is on this machine, behind a Unix socket.
    pub is_local: bool,
    /// Imports may go the quick way.
    pub quick: bool,
}

/// A request to import orders.
pub struct Import<'r, 'a> {
    /// Whose orders.
    pub account_id: i64,
    /// The request itself.
    pub origin: Origin<'r>,
    /// The version of the account's tokens by which the caller may import.
    pub tokens_version: i64,
    /// Everything but the orders.
    pub head: &'r Head,
    /// The orders, not yet decoded.
    pub orders: &'r [Sent<'a>],
    /// How they came.
    pub posted: Posted<'r, 'a>,
    /// The one 'now' of the request.
    pub now: OffsetDateTime,
    /// The request's token, which no text repeats.
    pub secret: &'r str,
}

/// Decodes the text of an order, of that place in its request; one with a field that is not known is refused if the request is
/// strict.
pub type Decode = for<'t> fn(usize, &Sent<'t>, &Limits, bool) -> Decoded<'t>;

/// How orders came.
#[derive(Clone, Copy)]
pub enum Posted<'r, 'a> {
    /// In one request.
    Together {
        /// Decodes them.
        decode: Decode,
        /// Their events are written.
        announce: bool,
    },
    /// One, which is decoded already.
    Decoded {
        /// The order.
        order: &'r Decoded<'a>,
        /// Its events are written.
        announce: bool,
    },
    /// Each in a request of its own.
    Singly(&'r [Single<'r>]),
}

/// How an order came that was a request of its own.
#[derive(Debug, Clone, Copy)]
pub struct Single<'r> {
    /// Decodes it.
    pub decode: Decode,
    /// Its events are written.
    pub announce: bool,
    /// The request.
    pub origin: Origin<'r>,
}

impl<'r, 'a> Import<'r, 'a> {
    /// Decodes an order.
    pub(super) fn decode(&self, order: usize, limits: &Limits) -> Decoded<'a> {
        let sent = &self.orders[order];
        match self.posted {
            Posted::Together { decode, .. } => decode(order, sent, limits, self.head.strict),
            Posted::Decoded { order, .. } => order.clone(),
            Posted::Singly(each) => (each[order].decode)(0, sent, limits, self.head.strict),
        }
    }

    /// The place of an order in its request, and whether its events are written.
    pub(super) fn place(&self, order: usize) -> (usize, bool) {
        match self.posted {
            Posted::Together { announce, .. } | Posted::Decoded { announce, .. } => (order, announce),
            Posted::Singly(each) => (0, each[order].announce),
        }
    }

    /// The request in which an order came.
    pub(super) fn origin(&self, order: usize) -> Origin<'r> {
        match self.posted {
            Posted::Together { .. } | Posted::Decoded { .. } => self.origin,
            Posted::Singly(each) => each[order].origin,
        }
    }
}

/// The failure of a request for something that it sends; `secret`, its token, never shows in it.
#[must_use]
pub fn refusal(rejection: &Rejection, secret: &str) -> Error {
    let code = if rejection.number() == 409 { Code::Conflict } else { Code::BadRequest };
    Error::new(code, rejection.text(secret))
}

/// Why one try ended without a report.
pub(super) enum Stopped {
    Store(store::Error),
    Request(Error),
    /// The quick way cannot decide this alone; why.
    Careful(&'static str),
    /// The caller has to be looked up again.
    TokensChanged,
}

impl From<store::Error> for Stopped {
    fn from(error: store::Error) -> Self {
        Stopped::Store(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Request(error)
    }
}

/// Imports a batch. `None` if tokens of the account changed since the caller was looked up.
///
/// # Errors
/// A definition is wrong (400, 409); the database is away, or others were in the way too often (503).
pub async fn import<'a>(imports: &Arc<Imports>, request: &Import<'_, 'a>) -> Result<Option<Report<'a>>, Error> {
    if imports.quick
        && request.head.is_plain()
        && let Some(report) = joint::import(imports, request).await
    {
        return Ok(Some(report));
    }
    let mut spent = Spent { few: request.orders.len() <= FEW_ORDERS, ..Spent::default() };
    let mut retries = 0;
    let mut quick = imports.quick;
    loop {
        let tried = if !quick {
            careful::try_once(imports, request, &mut spent).await
        } else if request.orders.len() <= small::MAX_ORDERS {
            small::try_once(imports, request, &mut spent).await
        } else {
            large::try_once(imports, request, &mut spent).await
        };
        match tried {
            Ok(report) => {
                imports.records.keep(request, &report);
                return Ok(Some(Report { spent, retries, ..report }));
            }
            Err(Stopped::TokensChanged) => return Ok(None),
            Err(Stopped::Careful(reason)) => tracing::debug!(reason, "the import goes on by the careful way"),
            Err(Stopped::Store(store::Error::TryAgain(_) | store::Error::LockTimeout(_))) if quick => {
                tracing::debug!("the import goes on by the careful way: another one was in the way");
            }
            Err(Stopped::Store(store::Error::TryAgain(reason))) if retries + 1 < MAX_TRIES => {
                tracing::debug!(reason, "the import is run again");
                retries += 1;
            }
            Err(Stopped::Store(error)) => return Err(error.into()),
            Err(Stopped::Request(error)) => return Err(error),
        }
        quick = false;
    }
}

/// The versions of what is kept of the account, as this transaction sees them.
pub(super) async fn versions(conn: &mut PgConnection, request: &Import<'_, '_>) -> Result<Versions, Stopped> {
    confirmed_versions(conn, request.account_id, request.tokens_version).await
}

/// The same, if the tokens are of the version by which the caller may import.
pub(super) async fn confirmed_versions(
    conn: &mut PgConnection,
    account_id: i64,
    tokens_version: i64,
) -> Result<Versions, Stopped> {
    let versions = store::references::versions(conn, account_id).await?;
    if versions.tokens == tokens_version { Ok(versions) } else { Err(Stopped::TokensChanged) }
}

impl Spent {
    /// Runs `work`, which is pure and may take long, without holding up other tasks; adds its time to a phase.
    pub(super) fn time<T>(&mut self, phase: fn(&mut Spent) -> &mut Duration, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = if self.few { work() } else { tokio::task::block_in_place(work) };
        *phase(self) += start.elapsed();
        self.busy += start.elapsed();
        done
    }

    /// Decides what to write.
    pub(super) fn plan<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.time(|spent| &mut spent.plan, work)
    }

    /// Decodes.
    pub(super) fn decode<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.time(|spent| &mut spent.decode, work)
    }
}
