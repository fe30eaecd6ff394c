//! What an account's orders are checked by, kept in memory for as long as it counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;

use crate::domain::custom_fields::{Definition, EntityType};
use crate::domain::line_statuses::LineStatus;
use crate::store;
use crate::store::references::References;

/// What an operator set up in an account, and what its requests defined.
#[derive(Debug)]
pub(super) struct Setup {
    /// It counts together with this number only.
    pub version: i64,
    /// Policies, touchpoints, regions, currencies, order statuses.
    pub references: References,
    /// The fields of orders and lines.
    pub fields: Fields,
    /// The fields of products and SKUs.
    pub catalogue_fields: Vec<Definition>,
    /// Line statuses beside the built-in ones, by external id.
    pub line_statuses: HashMap<String, LineStatus>,
}

/// The definitions that orders and their lines are checked by.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Of orders.
    pub order: BTreeMap<String, Definition>,
    /// Of lines.
    pub line: BTreeMap<String, Definition>,
}

impl Setup {
    /// Reads an account's setup, whose version was read before.
    pub(super) async fn read(conn: &mut PgConnection, account_id: i64, version: i64) -> store::Result<Self> {
        let references = store::references::read(conn, account_id).await?;
        let line_statuses = store::definitions::read_line_statuses(conn, account_id).await?;
        let mut setup = Setup {
            version,
            references,
            fields: Fields::default(),
            catalogue_fields: Vec::new(),
            line_statuses: line_statuses.into_iter().map(|status| (status.external_id.clone(), status)).collect(),
        };
        for definition in store::definitions::read(conn, account_id).await? {
            let key = definition.external_id.clone();
            match definition.entity_type {
                EntityType::Order => drop(setup.fields.order.insert(key, definition)),
                EntityType::LineOrder => drop(setup.fields.line.insert(key, definition)),
                EntityType::Product | EntityType::Sku => setup.catalogue_fields.push(definition),
            }
        }
        Ok(setup)
    }

    /// All definitions.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.fields.order.values().chain(self.fields.line.values()).chain(&self.catalogue_fields)
    }
}

/// Accounts whose setup is kept; a server with more of them forgets all and begins again.
const MAX_ACCOUNTS: usize = 1_000;

/// The setups that were read last, by account.
#[derive(Debug, Default)]
pub struct Setups(Mutex<HashMap<i64, Arc<Setup>>>);

impl Setups {
    /// An account's setup of the version that this transaction sees. A version that the transaction itself made
    /// must not be asked for: it may be rolled back.
    pub(super) async fn of_version(
        &self,
        conn: &mut PgConnection,
        account_id: i64,
        version: i64,
    ) -> store::Result<Arc<Setup>> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(setup) = kept().get(&account_id).filter(|setup| setup.version == version) {
            return Ok(Arc::clone(setup));
        }
        // Read after its version: what changes in between shows under the older number, which then counts no longer.
        let setup = Arc::new(Setup::read(conn, account_id, version).await?);
        let mut kept = kept();
        if kept.len() >= MAX_ACCOUNTS {
            kept.clear();
        }
        kept.insert(account_id, Arc::clone(&setup));
        Ok(setup)
    }
}
