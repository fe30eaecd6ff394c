//! What an account's orders are checked by, kept in memory for as long as it counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sqlx::PgConnection;

use crate::domain::custom_fields::{Definition, EntityType};
use crate::domain::line_statuses::{BUILT_IN_LINE_STATUSES, BUILT_IN_ORDER_STATUSES, LineStatus};
use crate::domain::matching::{IdentityKind, IdentityKinds, Key};
use crate::domain::rejection::known;
use crate::store;
use crate::store::profiles::Sought;
use crate::store::references::{References, Versions};

/// What an operator set up in an account, and what its requests defined.
#[derive(Debug, Default)]
pub(super) struct Setup {
    /// It counts together with this number only.
    pub version: i64,
    /// Policies, touchpoints, regions, currencies, order statuses.
    pub references: References,
    /// The custom fields of orders and of all else.
    pub fields: Fields,
    /// Line statuses beside the built-in ones, by external id.
    pub line_statuses: HashMap<String, LineStatus>,
    /// What orders may name, for whoever names something else.
    pub names: Names,
    /// Neighbours of orders that were found or made.
    pub neighbours: Neighbours,
}

/// What an account has, as refusals name it.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub touchpoints: Arc<str>,
    pub order_statuses: Arc<str>,
    pub currencies: Arc<str>,
    pub regions: Arc<str>,
    pub line_statuses: Arc<str>,
}

impl Names {
    fn of(references: &References, line_statuses: &[LineStatus]) -> Self {
        let own = line_statuses.iter().map(|status| &status.external_id);
        Names {
            touchpoints: named(&[], references.endpoints.keys()),
            order_statuses: named(&BUILT_IN_ORDER_STATUSES, &references.order_statuses),
            currencies: named(&[], &references.currencies),
            regions: named(&[], &references.regions),
            line_statuses: named(&BUILT_IN_LINE_STATUSES, own),
        }
    }
}

/// The built-in ones as they are documented, then an account's own, sorted.
pub fn named<'n>(built_in: &[&'n str], own: impl IntoIterator<Item = &'n String>) -> Arc<str> {
    let own: BTreeSet<&str> = own.into_iter().map(String::as_str).collect();
    known(built_in.iter().copied().chain(own))
}

/// The definitions that custom values are checked by.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Of orders.
    pub order: BTreeMap<String, Definition>,
    /// Of lines.
    pub line: BTreeMap<String, Definition>,
    /// Of products.
    pub product: BTreeMap<String, Definition>,
    /// Of SKUs.
    pub sku: BTreeMap<String, Definition>,
}

impl Setup {
    /// Reads an account's setup, whose version was read before.
    pub(super) async fn read(conn: &mut PgConnection, account_id: i64, version: i64) -> store::Result<Self> {
        let references = store::references::read(conn, account_id).await?;
        let line_statuses = store::definitions::read_line_statuses(conn, account_id).await?;
        let mut setup = Setup {
            version,
            names: Names::of(&references, &line_statuses),
            references,
            fields: Fields::default(),
            line_statuses: line_statuses.into_iter().map(|status| (status.external_id.clone(), status)).collect(),
            neighbours: Neighbours::default(),
        };
        for definition in store::definitions::read(conn, account_id).await? {
            let key = definition.external_id.clone();
            let fields = match definition.entity_type {
                EntityType::Order => &mut setup.fields.order,
                EntityType::LineOrder => &mut setup.fields.line,
                EntityType::Product => &mut setup.fields.product,
                EntityType::Sku => &mut setup.fields.sku,
            };
            fields.insert(key, definition);
        }
        Ok(setup)
    }

    /// All definitions.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        let Fields { order, line, product, sku } = &self.fields;
        order.values().chain(line.values()).chain(product.values()).chain(sku.values())
    }
}

/// Most neighbours of a kind that are kept for an account.
const MAX_NEIGHBOURS: usize = 10_000;

/// Customers, products and SKUs that an account is known to have. None of them goes without the version counting
/// on, so they need not be looked for again. Only what is committed gets here.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    identities: RwLock<Identities>,
    /// By what the account's customers are known, as far as this server has seen.
    kinds: Mutex<IdentityKinds>,
    products: RwLock<HashSet<String>>,
    skus: RwLock<HashSet<String>>,
}

impl Neighbours {
    /// Tells the profiles that a key finds.
    pub(super) fn profiles(&self, database: i64, key: &Key<'_>, each: &mut impl FnMut(IdentityKind, i64)) {
        self.identities.read().unwrap_or_else(PoisonError::into_inner).profiles(database, key, each);
    }

    /// By what the account's customers are known, as far as this server has seen.
    pub(super) fn kinds(&self) -> IdentityKinds {
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps kinds of identities that are there.
    pub(super) fn keep_kinds(&self, kinds: IdentityKinds) {
        let mut kept = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = kept.and(kinds);
    }

    /// Keeps identities that were found.
    pub(super) fn keep_identities<'s>(&self, found: impl Iterator<Item = (Sought<'s>, i64)>) {
        let mut identities = self.identities.write().unwrap_or_else(PoisonError::into_inner);
        if identities.0.len() >= MAX_NEIGHBOURS {
            identities.0.clear();
        }
        found.for_each(|(sought, profile)| identities.add(sought, profile));
    }

    /// True for a product that is there.
    pub(super) fn has_product(&self, id: &str) -> bool {
        self.products.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// True for a SKU that is there.
    pub(super) fn has_sku(&self, id: &str) -> bool {
        self.skus.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Keeps products and SKUs that were made.
    pub(super) fn keep_catalogue<'i>(
        &self,
        products: impl Iterator<Item = &'i str>,
        skus: impl Iterator<Item = &'i str>,
    ) {
        let keep = |kept: &RwLock<HashSet<String>>, ids: &mut dyn Iterator<Item = &'i str>| {
            let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= MAX_NEIGHBOURS {
                kept.clear();
            }
            kept.extend(ids.map(str::to_owned));
        };
        keep(&self.products, &mut { products });
        keep(&self.skus, &mut { skus });
    }
}

/// Identities with their profiles, by value.
#[derive(Debug, Default)]
pub(super) struct Identities(HashMap<String, Vec<Known>>);

#[derive(Debug)]
struct Known {
    database: i64,
    kind: IdentityKind,
    name: String,
    profile: i64,
}

impl Identities {
    /// Tells the profiles that a key finds, with the kind by which it finds each.
    pub(super) fn profiles(&self, database: i64, key: &Key<'_>, each: &mut impl FnMut(IdentityKind, i64)) {
        for known in self.0.get(&*key.value).into_iter().flatten() {
            if known.database == database && key.kinds.contains(&known.kind) && known.name == key.name {
                each(known.kind, known.profile);
            }
        }
    }

    /// Adds an identity.
    pub(super) fn add(&mut self, found: Sought<'_>, profile: i64) {
        let known = Known { database: found.database, kind: found.kind, name: found.name.to_owned(), profile };
        match self.0.get_mut(found.value) {
            Some(others) => others.push(known),
            None => drop(self.0.insert(found.value.to_owned(), vec![known])),
        }
    }
}

/// Accounts whose setup is kept; a server with more of them forgets all and begins again.
const MAX_ACCOUNTS: usize = 100;

/// The setups that were read last, by account.
#[derive(Debug, Default)]
pub struct Setups(Mutex<HashMap<i64, Arc<Setup>>>);

impl Setups {
    /// An account's setup of some version, if one is kept.
    pub(super) fn kept(&self, account_id: i64) -> Option<Arc<Setup>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&account_id).cloned()
    }

    /// An account's setup of the versions that this transaction sees. A version that the transaction itself made
    /// must not be asked for: it may be rolled back.
    pub(super) async fn of_versions(
        &self,
        conn: &mut PgConnection,
        account_id: i64,
        versions: Versions,
    ) -> store::Result<Arc<Setup>> {
        let setup = self.of_version(conn, account_id, versions.setup).await?;
        setup.neighbours.keep_kinds(versions.kinds);
        Ok(setup)
    }

    async fn of_version(&self, conn: &mut PgConnection, account_id: i64, version: i64) -> store::Result<Arc<Setup>> {
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
