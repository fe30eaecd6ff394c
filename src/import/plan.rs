//! What to write, what to announce, what to answer: the orders of a request, one after the other.

use std::borrow::Cow;
use std::collections::HashMap;

use super::changes::{self, Event};
use super::check::Ready;
use super::customers::Customers;
use super::merge::{Rules, merge};
use super::orders::Import;
use super::report::Outcome;
use crate::domain::orders::StoredOrder;
use crate::domain::rejection::Rejection;
use crate::store::orders::{Digests, Keyed};

/// All that a request says of one order.
pub(super) struct Group<'a> {
    /// Its external id.
    pub key: Cow<'a, str>,
    /// As it was stored before.
    pub stored: Option<StoredOrder<'a>>,
    /// As it is to be stored; `None` while it reads as before.
    pub after: Option<StoredOrder<'a>>,
    /// Of the order that was applied last.
    pub digests: Digests,
    /// The slot of the order that changed it last.
    pub slot: usize,
    /// What to announce.
    pub events: Vec<Event>,
    /// The orders of the request that were accepted, by their places in the list of ready ones.
    pub members: Vec<usize>,
    /// One was refused: that holds only for what was stored before.
    pub refused: bool,
    /// It has a higher revision than that under which it was inserted.
    pub raised: bool,
}

impl<'a> Group<'a> {
    fn new(key: Cow<'a, str>, stored: Option<StoredOrder<'a>>) -> Self {
        let (after, slot, events, members, refused, raised) = Default::default();
        Group { key, stored, after, digests: Digests::default(), slot, events, members, refused, raised }
    }

    /// Counts the changes of a new order from a higher revision.
    pub(super) fn raise(&mut self, by: i64) {
        self.raised |= by > 0;
        self.after.iter_mut().for_each(|order| order.revision += by);
        self.events.iter_mut().for_each(|event| event.revision += by);
    }

    /// The order as it is to be stored or, if it reads as before, as it is stored; on its way to the database.
    pub(super) fn keyed<'s>(&'s self, request: &Import<'s, '_>) -> Option<Keyed<'s, 'a>> {
        let order = self.after.as_ref().or(self.stored.as_ref())?;
        Some(Keyed { external_id: &self.key, order, digests: &self.digests, origin: request.origin(self.slot) })
    }

    /// Applies one order as if it came alone; nothing changes if it is refused.
    fn apply(&mut self, ready: &Ready<'a>, profile: i64, rules: &Rules<'_>) -> Result<Outcome, Rejection> {
        let before = self.after.as_ref().or(self.stored.as_ref());
        let state = merge(ready, profile, before.map(|order| &order.state), rules)?;
        self.digests = ready.digests;
        if before.is_some_and(|order| order.state == state) {
            return Ok(Outcome::Unchanged);
        }
        let (id, revision) = before.map_or((0, rules.first_revision), |order| (order.id, order.revision + 1));
        let outcome = if before.is_some() { Outcome::Updated } else { Outcome::Created };
        if ready.announce {
            self.events.extend(changes::events(before.map(|order| &order.state), &state, revision));
        }
        self.after = Some(StoredOrder { id, revision, state });
        self.slot = ready.slot;
        Ok(outcome)
    }

    /// Decides the group again from what is stored now, under its lock.
    ///
    /// # Errors
    /// Why the whole has to be run again: an order is refused now, or was refused for what is no longer stored.
    pub(super) fn decide_again(
        &mut self,
        stored: StoredOrder<'a>,
        ready: &[Ready<'a>],
        rules: &Rules<'_>,
    ) -> Result<Vec<(usize, Outcome)>, &'static str> {
        if self.refused && self.stored.as_ref() != Some(&stored) {
            return Err("an order that was refused in part was changed by another request");
        }
        let members = std::mem::take(&mut self.members);
        let mut outcomes = Vec::with_capacity(members.len());
        *self = Group::new(self.key.clone(), Some(stored));
        for member in members {
            let ready = &ready[member];
            let profile = ready.profile.expect("an accepted order has its profile");
            let outcome = self.apply(ready, profile, rules);
            outcomes.push((ready.slot, outcome.map_err(|_| "an order no longer fits what another request stored")?));
            self.members.push(member);
        }
        Ok(outcomes)
    }
}

/// What one pass over a request decided.
pub(super) struct Plan<'a> {
    /// One group for each external id, with those whose orders were all refused.
    pub groups: Vec<Group<'a>>,
    /// What became of each ready order, by its slot.
    pub outcomes: Vec<(usize, Outcome)>,
}

/// Decides each ready order in turn, as if they came one by one; the profile of each is noted in it, if it was
/// not found before.
pub(super) fn plan<'a>(
    ready: &mut [Ready<'a>],
    mut stored: HashMap<String, StoredOrder<'a>>,
    customers: &mut Customers<'_>,
    rules: &Rules<'_>,
) -> Plan<'a> {
    let mut by_key: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(ready.len());
    let mut groups: Vec<Group<'a>> = Vec::with_capacity(ready.len());
    let mut outcomes = Vec::with_capacity(ready.len());
    for (number, ready) in ready.iter_mut().enumerate() {
        let key = &ready.order.external_id;
        let at = *by_key.entry(key.clone()).or_insert_with(|| {
            groups.push(Group::new(key.clone(), stored.remove(&**key)));
            groups.len() - 1
        });
        let group = &mut groups[at];
        let outcome = match ready.profile {
            Some(profile) => group.apply(ready, profile, rules),
            None => customers.find(ready).and_then(|found| {
                let outcome = group.apply(ready, found.profile, rules)?;
                ready.profile = Some(found.profile);
                customers.keep(ready.database, found);
                Ok(outcome)
            }),
        };
        group.refused |= outcome.is_err();
        if outcome.is_ok() {
            group.members.push(number);
        }
        outcomes.push((ready.slot, outcome.unwrap_or_else(|rejection| Outcome::Failed(Box::new(rejection)))));
    }
    Plan { groups, outcomes }
}
