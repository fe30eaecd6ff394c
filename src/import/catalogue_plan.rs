//! Decides what products and SKUs are to be written. Pure, but for reading what is stored.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;

use super::catalogue_check::{Checked, Values};
use super::merge;
use super::report::{Answers, Outcome};
use super::setup::Setup;
use crate::config::Limits;
use crate::domain::catalogue::{Item, ItemState, ItemType, StoredItem};
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};
use crate::store;

/// Products and SKUs as they are stored.
#[derive(Default)]
pub(super) struct Stored {
    products: HashMap<String, StoredItem>,
    skus: HashMap<String, StoredItem>,
    /// Products that were changed by others since they were first read, or whose SKUs were.
    moved: HashSet<String>,
    /// How many SKUs products have to which some come, once that is looked for.
    sku_counts: HashMap<String, usize>,
}

impl Stored {
    /// Those that the items of a request are about, without a lock: products first, so that their revisions are no newer than
    /// their SKUs.
    pub(super) async fn read(conn: &mut PgConnection, account_id: i64, checked: &[Checked<'_>]) -> store::Result<Self> {
        let items = checked.iter().map(|checked| &checked.item);
        let products: BTreeSet<&str> =
            items.map(|item| &**item.product.as_ref().unwrap_or(&item.external_id)).collect();
        let products: Vec<&str> = products.into_iter().collect();
        let products = store::items::read(conn, account_id, ItemType::Product, &products).await?;
        let mut stored = Stored { products, ..Stored::default() };
        stored.read_skus(conn, account_id, checked).await?;
        Ok(stored)
    }

    /// Reads the SKUs of a request, without a lock.
    pub(super) async fn read_skus(
        &mut self,
        conn: &mut PgConnection,
        account_id: i64,
        checked: &[Checked<'_>],
    ) -> store::Result<()> {
        let alone = checked.iter().map(|checked| &checked.item).filter(|item| item.product.is_some());
        let skus = checked.iter().flat_map(|checked| &checked.item.skus).chain(alone);
        let skus: BTreeSet<&str> = skus.map(|sku| &*sku.external_id).collect();
        let skus: Vec<&str> = skus.into_iter().collect();
        self.skus = store::items::read(conn, account_id, ItemType::Sku, &skus).await?;
        Ok(())
    }

    /// Counts the SKUs of products to which some come, without a lock; true if one of them may have too many on the way there.
    pub(super) async fn count_skus(
        &mut self,
        conn: &mut PgConnection,
        account_id: i64,
        plan: &Plan,
        limit: usize,
    ) -> store::Result<bool> {
        let products = plan.products_that_gain(self);
        if products.is_empty() {
            return Ok(false);
        }
        self.sku_counts = store::items::count_skus(conn, account_id, &products).await?;
        // Those that leave may leave later in the request.
        let most = |product: &str| {
            let (come, _) = plan.gains.get(product).copied().unwrap_or_default();
            come + self.sku_counts.get(product).copied().unwrap_or_default()
        };
        Ok(products.iter().any(|product| most(product) > limit))
    }

    /// Makes sure that no product has too many SKUs now that they are written: others may have brought some at the same time.
    pub(super) async fn confirm_skus(
        &self,
        conn: &mut PgConnection,
        account_id: i64,
        plan: &Plan,
        limit: usize,
    ) -> store::Result<()> {
        let products = plan.products_that_gain(self);
        if !products.is_empty()
            && store::items::count_skus(conn, account_id, &products).await?.values().any(|count| *count > limit)
        {
            return Err(store::Error::TryAgain("another request brought SKUs of the same product"));
        }
        Ok(())
    }

    pub(super) fn of(&self, kind: ItemType) -> &HashMap<String, StoredItem> {
        match kind {
            ItemType::Product => &self.products,
            ItemType::Sku => &self.skus,
        }
    }

    /// True for what its own text tells all of: not for a product that a SKU left or came to by itself, which is one of
    /// those to `forget`, nor for one that others have changed since it was first read, or one of its SKUs.
    pub(super) fn is_known_by_text(&self, kind: ItemType, id: &str, forget: &BTreeSet<String>) -> bool {
        kind == ItemType::Sku || !forget.contains(id) && !self.moved.contains(id)
    }

    /// True if others have changed a product since it was first read, or one of its SKUs.
    pub(super) fn any_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Locks the products that are to be changed, and reads them again; returns what is locked.
    pub(super) async fn lock_products(
        &mut self,
        conn: &mut PgConnection,
        account_id: i64,
        plan: &Plan,
        products_to_forget: &BTreeSet<String>,
    ) -> store::Result<HashSet<(ItemType, String)>> {
        let mut keys = plan.replaced(self, ItemType::Product);
        keys.extend(products_to_forget.iter().map(String::as_str));
        let keys: Vec<&str> = keys.into_iter().collect();
        let mut found = store::items::lock_and_read(conn, account_id, ItemType::Product, &keys).await?;
        for key in &keys {
            let revision = |item: &StoredItem| item.revision;
            let (before, now) = (self.products.remove(*key), found.remove(*key));
            if before.as_ref().map(revision) != now.as_ref().map(revision) {
                self.moved.insert((*key).to_owned());
            }
            self.products.extend(now.map(|now| ((*key).to_owned(), now)));
        }
        Ok(keys.into_iter().map(|key| (ItemType::Product, key.to_owned())).collect())
    }

    /// The same of the SKUs, after the products.
    pub(super) async fn lock_skus(
        &mut self,
        conn: &mut PgConnection,
        account_id: i64,
        plan: &Plan,
    ) -> store::Result<HashSet<(ItemType, String)>> {
        let keys: Vec<&str> = plan.replaced(self, ItemType::Sku).into_iter().collect();
        let found = store::items::lock_and_read(conn, account_id, ItemType::Sku, &keys).await?;
        for key in &keys {
            self.skus.remove(*key);
        }
        self.skus.extend(found);
        Ok(keys.into_iter().map(|key| (ItemType::Sku, key.to_owned())).collect())
    }
}

/// What is to be written, and what is to be answered.
#[derive(Default)]
pub(super) struct Plan {
    products: BTreeMap<String, ItemState>,
    skus: BTreeMap<String, ItemState>,
    /// Products that are not there, but SKUs name.
    pub stubs: BTreeSet<String>,
    /// What became of each item, by its slot.
    pub outcomes: Vec<(usize, Outcome)>,
    /// The internal id of each accepted item that has one, by its slot; and whether it is new.
    ids: Vec<(usize, i64, bool)>,
    /// The accepted items without an internal id.
    numberless: Vec<(usize, String)>,
    /// Products that share a SKU within the request.
    sharing: BTreeSet<String>,
    /// How many SKUs come to a product, and how many leave it.
    gains: BTreeMap<String, (usize, usize)>,
}

impl Plan {
    /// What is to be written.
    pub(super) fn after(&self, kind: ItemType) -> &BTreeMap<String, ItemState> {
        match kind {
            ItemType::Product => &self.products,
            ItemType::Sku => &self.skus,
        }
    }

    pub(super) fn changes_anything(&self) -> bool {
        !self.products.is_empty() || !self.skus.is_empty()
    }

    /// The slots of the items that were refused.
    pub(super) fn failed(&self) -> impl Iterator<Item = usize> {
        let failed = |(slot, outcome): &(usize, Outcome)| matches!(outcome, Outcome::Failed(_)).then_some(*slot);
        self.outcomes.iter().filter_map(failed)
    }

    pub(super) fn any_failed(&self) -> bool {
        self.failed().next().is_some()
    }

    /// The products that are no longer what their own text says, since a SKU of theirs changes, comes or goes by itself.
    /// In a request for products, those that still have their SKU were sent with it.
    pub(super) fn products_to_forget(&self, stored: &Stored, requested: ItemType) -> BTreeSet<String> {
        let mut products = self.sharing.clone();
        for (id, after) in &self.skus {
            let before = stored.skus.get(id).and_then(|sku| sku.product.as_ref());
            let leaves = before.filter(|before| Some(*before) != after.product.as_ref());
            products.extend(leaves.cloned());
            if requested == ItemType::Sku {
                products.extend(before.cloned());
                products.extend(after.product.clone());
            }
        }
        products
    }

    /// What is stored and is to be written, sorted.
    fn replaced(&self, stored: &Stored, kind: ItemType) -> BTreeSet<&str> {
        self.after(kind).keys().map(String::as_str).filter(|id| stored.of(kind).contains_key(*id)).collect()
    }

    /// True if all that is to be replaced is locked.
    pub(super) fn is_covered_by(&self, locked: &HashSet<(ItemType, String)>, stored: &Stored) -> bool {
        [ItemType::Product, ItemType::Sku]
            .into_iter()
            .all(|kind| self.replaced(stored, kind).into_iter().all(|id| locked.contains(&(kind, id.to_owned()))))
    }

    /// Notes the internal ids of items that were inserted.
    pub(super) fn number(&mut self, inserted: &HashMap<String, i64>) {
        let number = |(slot, id): (usize, String)| Some((slot, *inserted.get(&id)?, true));
        self.ids.extend(std::mem::take(&mut self.numberless).into_iter().filter_map(number));
    }

    /// Answers to the items; new ones have no id in a `dry_run`.
    pub(super) fn answer(self, answers: &mut Answers<'_>, dry_run: bool) {
        answers.note(self.outcomes);
        for (slot, id, is_new) in self.ids {
            answers.note_id(Some(id).filter(|_| !(dry_run && is_new)), std::iter::once(slot));
        }
    }

    /// The products to which SKUs come and that may have others, sorted.
    fn products_that_gain(&self, stored: &Stored) -> Vec<&str> {
        let gains = self.gains.iter().filter(|(_, (come, _))| *come > 0).map(|(product, _)| product.as_str());
        gains.filter(|product| stored.products.contains_key(*product) || self.stubs.contains(*product)).collect()
    }

    /// How many SKUs a product has afterwards.
    fn skus_of(&self, stored: &Stored, product: &str) -> usize {
        let (come, leave) = self.gains.get(product).copied().unwrap_or_default();
        (stored.sku_counts.get(product).copied().unwrap_or_default() + come).saturating_sub(leave)
    }

    /// Notes that SKUs come to a product, from the products that they leave.
    fn move_skus(&mut self, product: &str, from: Vec<Option<String>>) {
        if from.is_empty() {
            return;
        }
        self.gains.entry(product.to_owned()).or_default().0 += from.len();
        for left in from.into_iter().flatten() {
            self.gains.entry(left).or_default().1 += 1;
        }
    }

    /// True if a SKU came with two products.
    pub(super) fn shares_skus(&self) -> bool {
        !self.sharing.is_empty()
    }

    /// What reads like this before an item of the request is applied.
    fn before<'s>(&'s self, stored: &'s Stored, kind: ItemType, id: &str) -> Option<&'s ItemState> {
        self.after(kind).get(id).or_else(|| stored.of(kind).get(id)?.state.as_ref())
    }

    /// Notes what an item reads like afterwards.
    fn set(&mut self, stored: &Stored, kind: ItemType, id: &str, after: ItemState) {
        let is_stored = stored.of(kind).get(id).and_then(|item| item.state.as_ref()) == Some(&after);
        if is_stored {
            self.states(kind).remove(id);
        } else {
            self.note(kind, id, after);
        }
    }

    /// Notes that an item is to be written.
    fn note(&mut self, kind: ItemType, id: &str, after: ItemState) {
        self.states(kind).insert(id.to_owned(), after);
    }

    fn states(&mut self, kind: ItemType) -> &mut BTreeMap<String, ItemState> {
        match kind {
            ItemType::Product => &mut self.products,
            ItemType::Sku => &mut self.skus,
        }
    }
}

/// Decides each item as if they came one by one.
pub(super) fn plan(checked: &[Checked<'_>], stored: &Stored, setup: &Setup, limits: &Limits) -> Plan {
    let mut plan = Plan::default();
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for item in checked {
        let (id, kind) = (&*item.item.external_id, kind(&item.item));
        let outcome = apply(&mut plan, item, stored, setup, limits);
        if outcome.is_ok() {
            match stored.of(kind).get(id) {
                Some(stored) => plan.ids.push((item.slot, stored.id, false)),
                None => plan.numberless.push((item.slot, id.to_owned())),
            }
            for sku in &item.item.skus {
                if let Some(other) = owners.insert(&sku.external_id, id).filter(|other| *other != id) {
                    plan.sharing.extend([other.to_owned(), id.to_owned()]);
                }
            }
            if let Some(product) = &item.item.product
                && !stored.products.contains_key(&**product)
            {
                plan.stubs.insert(product.to_string());
            }
        }
        let outcome = outcome.unwrap_or_else(|rejection| Outcome::Failed(Box::new(rejection)));
        plan.outcomes.push((item.slot, outcome));
    }
    plan
}

fn kind(item: &Item<'_>) -> ItemType {
    if item.product.is_none() { ItemType::Product } else { ItemType::Sku }
}

/// Applies one item as if it came alone; nothing changes if it is refused.
fn apply(
    plan: &mut Plan,
    checked: &Checked<'_>,
    stored: &Stored,
    setup: &Setup,
    limits: &Limits,
) -> Result<Outcome, Rejection> {
    let data = Trail::Field(&Trail::Root, "data");
    let place = Trail::Item(&data, checked.slot);
    let list = Trail::Field(&place, "sku");
    let item = &checked.item;
    let before = plan.before(stored, kind(item), &item.external_id);
    let after = merged(item, &checked.values, before, setup, limits, &place)?;
    let is_new = before.is_none();
    let mut changes = before != Some(&after);
    let product = item.product.as_deref().unwrap_or(&item.external_id);
    // The products that SKUs leave for this one.
    let mut from = Vec::new();
    let mut note = |before: Option<&ItemState>| {
        let before = before.and_then(|before| before.product.as_ref());
        if before.is_none_or(|before| before != product) {
            from.push(before.cloned());
        }
    };
    if item.product.is_some() {
        note(before);
    }
    let mut skus = Vec::with_capacity(item.skus.len());
    for (number, (sku, values)) in item.skus.iter().zip(&checked.sku_values).enumerate() {
        let before = plan.before(stored, ItemType::Sku, &sku.external_id);
        let after = merged(sku, values, before, setup, limits, &Trail::Item(&list, number))?;
        changes |= before != Some(&after);
        note(before);
        skus.push((sku, after));
    }
    let count = plan.skus_of(stored, product) + from.len();
    if count > limits.max_lines && !from.is_empty() {
        let field = if item.product.is_some() { "product_external_id" } else { "sku" };
        let problem = Problem::TooMany { things: "SKUs of a product", limit: limits.max_lines, sent: Some(count) };
        return Err(Rejection::new(Trail::Field(&place, field).place(), problem));
    }
    let product = product.to_owned();
    plan.move_skus(&product, from);
    for (sku, after) in skus {
        plan.set(stored, ItemType::Sku, &sku.external_id, after);
    }
    if changes {
        // Its revision counts the changes of its SKUs, too.
        plan.note(kind(item), &item.external_id, after);
    }
    Ok(match (is_new, changes) {
        (true, _) => Outcome::Created,
        (_, true) => Outcome::Updated,
        _ => Outcome::Unchanged,
    })
}

/// What an item reads like after it was sent (contract, section 3, upsert rules).
fn merged(
    item: &Item<'_>,
    values: &Values<'_>,
    before: Option<&ItemState>,
    setup: &Setup,
    limits: &Limits,
    place: &Trail<'_>,
) -> Result<ItemState, Rejection> {
    let fields = if item.product.is_none() { &setup.fields.product } else { &setup.fields.sku };
    let custom = merge::values(&values.custom, before.map(|before| &before.custom_fields), fields, limits, place)?;
    let mut data = before.map(|before| before.data.clone()).unwrap_or_default();
    for (key, datum) in &item.data {
        match datum {
            Some(datum) => data.insert(*key, datum.clone()),
            None => data.remove(key),
        };
    }
    let stored_regions = || before.map(|before| before.regional_data.clone()).unwrap_or_default();
    Ok(ItemState {
        name: item.name.clone().into_owned(),
        product: item.product.as_ref().map(|product| product.clone().into_owned()),
        data,
        custom_fields: custom.into_iter().map(|(key, value)| (Cow::Owned(key.into_owned()), value)).collect(),
        regional_data: values.regional_data.clone().unwrap_or_else(stored_regions),
    })
}
