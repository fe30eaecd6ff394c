//! Finds each order's profile, in the order in which the orders were sent (contract, section 5).

use std::collections::HashSet;

use sqlx::PgConnection;

use super::check::Ready;
use super::setup::{Identities, Setup};
use crate::domain::hex;
use crate::domain::matching::{Identity, IdentityKind, IdentityKinds, Key};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection};
use crate::error::Error;
use crate::store;
use crate::store::profiles::{NewProfile, Scoped, Sought};

/// The profiles that are known so far, in the database and in this request.
pub(super) struct Customers<'s> {
    setup: &'s Setup,
    /// The kinds by which the database has customers at all.
    kinds: IdentityKinds,
    /// Those that this request makes.
    own: Identities,
    /// Those that were found for it.
    found: Identities,
    /// Profiles that this request makes: internal id and profile database.
    new_profiles: Vec<(i64, i64)>,
    /// The kinds of all identities that this request makes.
    pub made_kinds: IdentityKinds,
    /// Identities that this request makes.
    new_identities: Vec<(Scoped, i64)>,
}

/// The profile of an order, before the order is accepted.
pub(super) struct Found {
    /// Its internal id.
    pub profile: i64,
    new: bool,
    adds: Vec<Identity>,
}

/// What a request makes: profiles and identities.
pub(super) type Made = (Vec<NewProfile>, Vec<(Scoped, i64)>);

impl<'s> Customers<'s> {
    pub(super) fn new(setup: &'s Setup, kinds: IdentityKinds) -> Self {
        let (own, found, new_profiles, new_identities, made_kinds) = Default::default();
        Customers { setup, kinds, own, found, new_profiles, made_kinds, new_identities }
    }

    /// The identities by which some orders' customers may be found and that are not known yet, each once.
    pub(super) fn sought<'o, 'a: 'o>(&self, ready: impl Iterator<Item = &'o Ready<'a>>) -> Vec<Sought<'o>> {
        let keys = ready.flat_map(|ready| ready.order.customer.iter().map(|key| (ready.database, key)));
        let mut unknown = HashSet::new();
        for (database, key) in keys {
            let sought = |kind: &_| Sought { database, kind: *kind, name: &key.name, value: &key.value };
            unknown.extend(self.unsure(database, key).map(sought));
        }
        unknown.into_iter().collect()
    }

    /// The kinds by which a key may find a profile that is not known yet.
    fn unsure<'k>(&self, database: i64, key: &'k Key<'_>) -> impl Iterator<Item = &'k IdentityKind> {
        let (mut known, kinds) = (IdentityKinds::default(), self.kinds);
        self.profiles(database, key, |kind, _| known = known.and(kind.into()));
        key.kinds.iter().filter(move |kind| kinds.contains(**kind) && !known.contains(**kind))
    }

    /// Takes note of what was found of the identities that were sought.
    pub(super) fn learn(&mut self, sought: &[Sought<'_>], found: &[(usize, i64)]) {
        for (place, profile) in found {
            self.found.add(sought[*place], *profile);
        }
        self.setup.neighbours.keep_identities(found.iter().map(|(place, profile)| (sought[*place], *profile)));
    }

    /// Looks for the profiles that the customers of some orders may have, of so many in a statement's set.
    pub(super) async fn look<'o, 'a: 'o>(
        &mut self,
        conn: &mut PgConnection,
        account_id: i64,
        ready: impl Iterator<Item = &'o Ready<'a>>,
        orders: usize,
    ) -> store::Result<()> {
        let sought = self.sought(ready);
        if !sought.is_empty() {
            let found = store::profiles::find(conn, account_id, &sought, orders).await?;
            self.learn(&sought, &found);
        }
        Ok(())
    }

    /// Tells the profiles that a key finds, with the kind by which it finds each.
    fn profiles(&self, database: i64, key: &Key<'_>, mut each: impl FnMut(IdentityKind, i64)) {
        self.own.profiles(database, key, &mut each);
        self.found.profiles(database, key, &mut each);
        self.setup.neighbours.profiles(database, key, &mut each);
    }

    /// The oldest profile that a key finds.
    fn hit(&self, database: i64, key: &Key<'_>) -> Option<i64> {
        let mut oldest = None;
        self.profiles(database, key, |_, profile| oldest = Some(oldest.map_or(profile, |other| profile.min(other))));
        oldest
    }

    /// True if nothing has to be looked for to find an order's profile, and none to be made.
    pub(super) fn know(&self, ready: &Ready<'_>) -> bool {
        let is_sure = |key: &Key<'_>| self.unsure(ready.database, key).next().is_none();
        ready.order.customer.iter().all(is_sure) && !self.misses(ready)
    }

    /// True if none of an order's keys finds a profile.
    pub(super) fn misses(&self, ready: &Ready<'_>) -> bool {
        ready.order.customer.iter().all(|key| self.hit(ready.database, key).is_none())
    }

    /// Finds an order's profile, or takes the new one that is spare for it; nothing changes before
    /// [`Customers::keep`].
    pub(super) fn find(&self, ready: &Ready<'_>) -> Result<Found, Rejection> {
        let Ready { order, database, .. } = ready;
        let customer = &order.customer;
        let hits: Vec<Option<i64>> = customer.iter().map(|key| self.hit(*database, key)).collect();
        if let Some(profile) = hits.iter().flatten().next() {
            // A free second key is added, a taken one stays where it is.
            let free = customer.iter().zip(&hits).filter(|(_, hit)| hit.is_none());
            let adds = free.filter_map(|(key, _)| key.creates()).collect();
            return Ok(Found { profile: *profile, new: false, adds });
        }
        let adds: Vec<Identity> = customer.iter().filter_map(Key::creates).collect();
        match ready.spare_profile {
            Some(profile) if !self.setup.references.reject_profiles && !adds.is_empty() => {
                Ok(Found { profile, new: true, adds })
            }
            _ => {
                let key = customer.first();
                let field = key.map_or(&["email"][..], |key| key.field);
                let place = field.iter().fold(Place::order(ready.index), |place, field| place.field(field));
                Err(Rejection::new(place, Problem::unknown("profile", key.map_or("", |key| &key.value))))
            }
        }
    }

    /// Keeps what was found, since its order is accepted.
    pub(super) fn keep(&mut self, database: i64, found: Found) {
        let Found { profile, new, adds } = found;
        if new {
            self.new_profiles.push((profile, database));
        }
        for identity in adds {
            let Identity { kind, name, value } = &identity;
            self.own.add(Sought { database, kind: *kind, name, value }, profile);
            self.new_identities.push(((database, identity), profile));
        }
    }

    /// How many keys wait to be made.
    pub(super) fn keys_to_make(&self) -> usize {
        self.new_identities.len()
    }

    /// What the request makes, since it was last asked; each new profile gets its profile id.
    pub(super) fn take_made(&mut self) -> Result<Made, Error> {
        let mut identities = std::mem::take(&mut self.new_identities);
        let mut profiles = Vec::with_capacity(self.new_profiles.len());
        for (id, database) in self.new_profiles.drain(..) {
            let mut profile_id = [0; 12];
            getrandom::fill(&mut profile_id).map_err(Error::internal)?;
            let profile_id = hex(&profile_id);
            let identity = Identity { kind: IdentityKind::ProfileId, name: String::new(), value: profile_id.clone() };
            identities.push(((database, identity), id));
            profiles.push(NewProfile { id, database, profile_id });
        }
        self.made_kinds = self.made_kinds.and(identities.iter().map(|((_, identity), _)| identity.kind).collect());
        Ok((profiles, identities))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use rust_decimal::Decimal;

    use super::*;
    use crate::domain::Patch;
    use crate::domain::matching::Customer;
    use crate::domain::orders::{LinesMode, Order};

    fn email(value: &str) -> Key<'_> {
        let kinds = &[IdentityKind::EmailProfile, IdentityKind::EmailSub];
        Key { field: &["email"], kinds, name: Cow::Borrowed(""), value: Cow::Borrowed(value) }
    }

    fn phone(value: &str) -> Key<'_> {
        let kinds = &[IdentityKind::PhoneProfile, IdentityKind::PhoneSub];
        Key { field: &["phone"], kinds, name: Cow::Borrowed(""), value: Cow::Borrowed(value) }
    }

    fn ready(customer: Customer<'_>, database: i64, spare_profile: Option<i64>) -> Ready<'_> {
        let order = Order {
            external_id: "1".into(),
            customer,
            endpoint: "website".into(),
            status: "new".into(),
            total_price: Decimal::ONE,
            currency: "EUR".into(),
            lines: Vec::new(),
            lines_mode: LinesMode::Replace,
            delivery_cost: Patch::Keep,
            create_time: None,
            update_time: None,
            tags: None,
            region: Patch::Keep,
            custom_fields: BTreeMap::new(),
            skip_triggers: false,
            warning: None,
        };
        let (slot, index, announce, digests, profile) = Default::default();
        let (custom, line_custom) = Default::default();
        Ready { slot, index, announce, order, digests, database, custom, line_custom, profile, spare_profile }
    }

    #[test]
    fn a_second_key_is_added_if_it_is_free() {
        let setup = Setup::default();
        let mut customers = Customers::new(&setup, IdentityKinds::ALL);
        let mut spare = 10;
        let mut import = |customer| {
            let ready = ready(customer, 1, Some(spare));
            let found = customers.find(&ready).expect("a profile");
            let profile = found.profile;
            customers.keep(1, found);
            spare = spare.max(profile + 1);
            profile
        };
        assert_eq!(import(vec![email("a")]), 10);
        assert_eq!(import(vec![email("a"), phone("1")]), 10);
        assert_eq!(import(vec![phone("1")]), 10);
        assert_eq!(import(vec![email("b")]), 11);
        assert_eq!(import(vec![email("b"), phone("1")]), 11, "the e-mail comes first");
        assert_eq!(import(vec![phone("1")]), 10, "a taken key stays where it is");
        assert_eq!(import(vec![email("c"), phone("1")]), 10);
        assert_eq!(import(vec![email("c")]), 10);
        let (profiles, identities) = customers.take_made().expect("random bytes");
        assert_eq!((profiles.len(), identities.len()), (2, 2 + 4), "two profiles with their ids, and four keys");
    }

    #[test]
    fn several_hits_mean_the_oldest() {
        let setup = Setup::default();
        let mut customers = Customers::new(&setup, IdentityKinds::ALL);
        let sought = [IdentityKind::EmailProfile, IdentityKind::EmailSub].map(|kind| Sought {
            database: 1,
            kind,
            name: "",
            value: "a",
        });
        customers.learn(&sought, &[(0, 7), (1, 5)]);
        let found = |database| customers.find(&ready(vec![email("a")], database, None)).map(|found| found.profile);
        assert_eq!(found(1), Ok(5));
        assert!(found(2).is_err(), "another profile database");
    }
}
