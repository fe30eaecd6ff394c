//! What an import answers: one item for each order, in order.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::batch::Decoded;
use crate::domain::rejection::Rejection;

/// What became of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It was as it was sent.
    Unchanged,
    /// It was refused.
    Failed(Rejection),
    /// The order of this number stopped the request.
    Aborted(usize),
}

/// The answer to one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// The external id; empty if it was missing or unusable.
    pub external_id: Cow<'a, str>,
    /// What became of it.
    pub outcome: Outcome,
    /// The internal id, if the order is stored.
    pub id: Option<i64>,
}

/// The answer to a batch.
#[derive(Debug)]
pub struct Report<'a> {
    /// One item for each order, in order.
    pub items: Vec<Item<'a>>,
    /// The first bad order, if it stopped the request.
    pub stopped_by: Option<usize>,
    /// How long deciding took, all tries together.
    pub plan_time: Duration,
    /// How often the whole was run again.
    pub retries: u32,
}

/// The answers of a request, while they are found.
pub(super) struct Answers<'a> {
    items: Vec<Item<'a>>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(orders: &[Decoded<'a>]) -> Self {
        // Every order gets an outcome: its refusal, or what the plan decides.
        let item = |order: &Decoded<'a>| Item {
            external_id: order.external_id.clone(),
            outcome: Outcome::Unchanged,
            id: None,
        };
        Answers { items: orders.iter().map(item).collect() }
    }

    /// Notes what became of orders, by their places in the request.
    pub(super) fn note(&mut self, outcomes: impl IntoIterator<Item = (usize, Outcome)>) {
        for (index, outcome) in outcomes {
            self.items[index].outcome = outcome;
        }
    }

    /// Notes the internal id of orders that were accepted.
    pub(super) fn note_id(&mut self, id: Option<i64>, indexes: impl Iterator<Item = usize>) {
        for index in indexes {
            self.items[index].id = id;
        }
    }

    pub(super) fn any_failed(&self) -> bool {
        self.first_failed().is_some()
    }

    fn first_failed(&self) -> Option<usize> {
        self.items.iter().position(|item| matches!(item.outcome, Outcome::Failed(_)))
    }

    /// The report; `aborted` by the first bad order, or of what was done.
    pub(super) fn report(mut self, aborted: bool) -> Report<'a> {
        let stopped_by = self.first_failed().filter(|_| aborted);
        if let Some(first) = stopped_by {
            for item in &mut self.items {
                item.id = None;
                if !matches!(item.outcome, Outcome::Failed(_)) {
                    item.outcome = Outcome::Aborted(first);
                }
            }
        }
        Report { items: self.items, stopped_by, plan_time: Duration::ZERO, retries: 0 }
    }
}
