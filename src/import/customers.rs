//! Finds each order's profile, in the order in which the orders were sent (contract, section 5).

use std::collections::HashMap;

use crate::domain::matching::{Customer, Identity, IdentityKind};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection};
use crate::store::profiles::{NewProfile, Scoped};

/// The profiles that are known so far, in the database and in this request.
pub(super) struct Customers {
    known: HashMap<Scoped, i64>,
    /// Ids and profile ids for new profiles, the next one last.
    spare: Vec<(i64, String)>,
    /// Unknown customers are refused.
    reject_unknown: bool,
    /// Profiles that this request makes.
    pub new_profiles: Vec<NewProfile>,
    /// Identities that this request makes.
    pub new_identities: Vec<(Scoped, i64)>,
}

/// The profile of an order, before the order is accepted.
pub(super) struct Found {
    /// Its internal id.
    pub profile: i64,
    new: bool,
    database: i64,
    adds: Vec<Identity>,
}

impl Customers {
    pub(super) fn new(known: HashMap<Scoped, i64>, mut spare: Vec<(i64, String)>, reject_unknown: bool) -> Self {
        spare.reverse();
        Customers { known, spare, reject_unknown, new_profiles: Vec::new(), new_identities: Vec::new() }
    }

    /// Finds a customer's profile, or picks a new one; nothing changes before [`Customers::keep`].
    pub(super) fn find(&self, index: usize, database: i64, customer: &Customer) -> Result<Found, Rejection> {
        let hit = |identities: &[Identity]| {
            identities.iter().filter_map(|identity| self.known.get(&(database, identity.clone()))).min().copied()
        };
        if let Some(profile) = customer.iter().find_map(|key| hit(&key.looks_among)) {
            // A free second key is added, a taken one stays where it is.
            let free = customer.iter().filter(|key| hit(&key.looks_among).is_none());
            let adds = free.filter_map(|key| key.creates.clone()).collect();
            return Ok(Found { profile, new: false, database, adds });
        }
        let adds: Vec<Identity> = customer.iter().filter_map(|key| key.creates.clone()).collect();
        match self.spare.last() {
            Some((profile, _)) if !self.reject_unknown && !adds.is_empty() => {
                Ok(Found { profile: *profile, new: true, database, adds })
            }
            _ => {
                let key = customer.first();
                let field = key.map_or(&["email"][..], |key| key.field);
                let place = field.iter().fold(Place::order(index), |place, field| place.field(field));
                Err(Rejection::new(place, Problem::unknown("profile", key.map_or("", |key| key.value()))))
            }
        }
    }

    /// Keeps what was found, since its order is accepted.
    pub(super) fn keep(&mut self, found: Found) {
        let Found { profile, new, database, adds } = found;
        let mut identities = adds;
        if new && let Some((id, profile_id)) = self.spare.pop() {
            identities.push(Identity { kind: IdentityKind::ProfileId, name: String::new(), value: profile_id.clone() });
            self.new_profiles.push(NewProfile { id, database, profile_id });
        }
        for identity in identities {
            self.known.insert((database, identity.clone()), profile);
            self.new_identities.push(((database, identity), profile));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::matching::Key;

    fn email(value: &str) -> Key {
        Key::new(&["email"], &[IdentityKind::EmailProfile, IdentityKind::EmailSub], "", value)
    }

    fn phone(value: &str) -> Key {
        Key::new(&["phone"], &[IdentityKind::PhoneProfile, IdentityKind::PhoneSub], "", value)
    }

    fn import(customers: &mut Customers, customer: &Customer) -> i64 {
        let found = customers.find(0, 1, customer).expect("a profile");
        let profile = found.profile;
        customers.keep(found);
        profile
    }

    #[test]
    fn a_second_key_is_added_if_it_is_free() {
        let spare = (10..20).map(|id| (id, format!("{id:024x}"))).collect();
        let mut customers = Customers::new(HashMap::new(), spare, false);
        assert_eq!(import(&mut customers, &vec![email("a")]), 10);
        assert_eq!(import(&mut customers, &vec![email("a"), phone("1")]), 10);
        assert_eq!(import(&mut customers, &vec![phone("1")]), 10);
        assert_eq!(import(&mut customers, &vec![email("b")]), 11);
        assert_eq!(import(&mut customers, &vec![email("b"), phone("1")]), 11, "the e-mail comes first");
        assert_eq!(import(&mut customers, &vec![phone("1")]), 10, "a taken key stays where it is");
        assert_eq!(import(&mut customers, &vec![email("c"), phone("1")]), 10);
        assert_eq!(import(&mut customers, &vec![email("c")]), 10);
        assert_eq!(customers.new_profiles.len(), 2);
    }

    #[test]
    fn several_hits_mean_the_oldest() {
        let identity = |kind| (1, Identity { kind, name: String::new(), value: "a".to_owned() });
        let known = HashMap::from([(identity(IdentityKind::EmailProfile), 7), (identity(IdentityKind::EmailSub), 5)]);
        let customers = Customers::new(known, Vec::new(), true);
        assert_eq!(customers.find(0, 1, &vec![email("a")]).map(|found| found.profile).ok(), Some(5));
        assert!(customers.find(0, 2, &vec![email("a")]).is_err(), "another profile database");
    }
}
