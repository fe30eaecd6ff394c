//! Packs of events become deliveries: which event is for which subscription. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value as Json};

use crate::domain::events;
use crate::store::deliveries::{NewDelivery, Pack};
use crate::store::subscriptions::Subscription;

/// An event in its pack.
pub(super) struct Event {
    order_id: i64,
    fields: Map<String, Json>,
}

/// The events of a pack.
///
/// # Errors
/// The pack is no JSON array of events.
pub(super) fn events(pack: &Pack) -> Result<Vec<Event>, serde_json::Error> {
    let events: Vec<Map<String, Json>> = serde_json::from_str(&pack.events)?;
    let event = |fields: Map<String, Json>| Event {
        order_id: fields.get("order_id").and_then(Json::as_i64).unwrap_or_default(),
        fields,
    };
    Ok(events.into_iter().map(event).collect())
}

impl Event {
    fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Json::as_str).unwrap_or_default()
    }

    /// The internal ids of the profiles that it names.
    pub(super) fn profiles(&self) -> impl Iterator<Item = i64> {
        let change = self.fields.get("changes").and_then(|changes| changes.get("profile"));
        let side = move |side| change.and_then(|change| change.get(side)).and_then(Json::as_i64);
        ["from", "to"].into_iter().filter_map(side)
    }

    /// Names profiles by what the world knows them by.
    pub(super) fn publish(&mut self, profile_ids: &HashMap<i64, String>) {
        let Some(Json::Object(change)) = self.fields.get_mut("changes").and_then(|changes| changes.get_mut("profile"))
        else {
            return;
        };
        for value in change.values_mut() {
            let known = value.as_i64().and_then(|id| profile_ids.get(&id));
            *value = known.map_or(Json::Null, |id| Json::String(id.clone()));
        }
    }

    /// True if a subscription is to be told.
    fn is_for(&self, pack_id: i64, subscription: &Subscription) -> bool {
        let Subscription { enabled, events: kinds, touchpoints, first_pack, .. } = subscription;
        *enabled
            && pack_id >= *first_pack
            && kinds.iter().any(|kind| kind == events::ANY || kind == self.text("type"))
            && (touchpoints.is_empty() || touchpoints.iter().any(|id| id == self.text("endpoint")))
    }
}

/// The deliveries of events, which stand by their packs, in order.
pub(super) fn deliveries(packs: &[(Pack, Vec<Event>)], subscriptions: &[Subscription]) -> Vec<NewDelivery> {
    let mut new = Vec::new();
    let mut seen = HashSet::new();
    for (pack, events) in packs {
        for (place, event) in (0..).zip(events) {
            for subscription in subscriptions.iter().filter(|subscription| event.is_for(pack.id, subscription)) {
                new.push(NewDelivery {
                    subscription_id: subscription.id,
                    pack_id: pack.id,
                    place,
                    order_id: event.order_id,
                    event: Json::Object(event.fields.clone()).to_string(),
                    created_at: pack.created_at,
                    is_first: seen.insert((subscription.id, event.order_id)),
                });
            }
        }
    }
    new
}

/// The profiles that some events name.
pub(super) fn profiles(packs: &[(Pack, Vec<Event>)]) -> Vec<i64> {
    let events = packs.iter().flat_map(|(_, events)| events);
    events.flat_map(Event::profiles).collect::<BTreeSet<_>>().into_iter().collect()
}
