//! What an import answers: one item for each order, in order.

use std::borrow::Cow;
use std::time::Duration;

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
    Failed(Box<Rejection>),
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
    /// A key of the customer that was left out.
    pub warning: Option<Box<Rejection>>,
}

impl Item<'_> {
    /// The same, on its own.
    pub(super) fn into_owned(self) -> Item<'static> {
        Item { external_id: Cow::Owned(self.external_id.into_owned()), ..self }
    }
}

/// The answer to a batch.
#[derive(Debug)]
pub struct Report<'a> {
    /// One item for each order, in order.
    pub items: Vec<Item<'a>>,
    /// The orders that ask for no events.
    pub silent: Vec<usize>,
    /// The first bad order, if it stopped the request.
    pub stopped_by: Option<usize>,
    /// How long its phases took.
    pub spent: Spent,
    /// How often the whole was run again.
    pub retries: u32,
}

/// How many orders had which outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// They are new.
    pub created: usize,
    /// They changed.
    pub updated: usize,
    /// They were as they were sent.
    pub unchanged: usize,
    /// They were refused, or stopped by one that was.
    pub failed: usize,
    /// They were accepted with a warning.
    pub warned: usize,
}

impl Tally {
    /// Counts outcomes.
    #[must_use]
    pub fn of(items: &[Item<'_>]) -> Self {
        let mut tally = Tally::default();
        for item in items {
            let is_accepted = !matches!(item.outcome, Outcome::Failed(_) | Outcome::Aborted(_));
            tally.warned += usize::from(is_accepted && item.warning.is_some());
            *match item.outcome {
                Outcome::Created => &mut tally.created,
                Outcome::Updated => &mut tally.updated,
                Outcome::Unchanged => &mut tally.unchanged,
                Outcome::Failed(_) | Outcome::Aborted(_) => &mut tally.failed,
            } += 1;
        }
        tally
    }
}

/// How long the phases of an import took, all tries together.
#[derive(Debug, Default, Clone, Copy)]
pub struct Spent {
    /// Decoding orders; beside the database where there are many.
    pub decode: Duration,
    /// Deciding what to write.
    pub plan: Duration,
    /// Both, as far as the database was not waited for meanwhile.
    pub busy: Duration,
    /// The orders are few: no other task has to make place for them.
    pub few: bool,
}

/// The answers of a request, while they are found.
#[derive(Default)]
pub(super) struct Answers<'a> {
    items: Vec<Item<'a>>,
    /// The orders that ask for no events.
    silent: Vec<usize>,
}

impl<'a> Answers<'a> {
    /// Answers to so many orders, none of them given yet.
    pub(super) fn of(orders: usize) -> Self {
        Answers { items: Vec::with_capacity(orders), silent: Vec::new() }
    }

    /// Answers to the next order; every order gets its outcome: its refusal, or what is decided later.
    pub(super) fn push(&mut self, external_id: Cow<'a, str>, outcome: Outcome, id: Option<i64>) {
        self.items.push(Item { external_id, outcome, id, warning: None });
    }

    /// Warns of the order that was answered last.
    pub(super) fn warn(&mut self, warning: Option<Box<Rejection>>) {
        if let (Some(item), Some(_)) = (self.items.last_mut(), &warning) {
            item.warning = warning;
        }
    }

    /// Notes what became of orders, by their slots.
    pub(super) fn note(&mut self, outcomes: impl IntoIterator<Item = (usize, Outcome)>) {
        for (slot, outcome) in outcomes {
            self.items[slot].outcome = outcome;
        }
    }

    /// Notes the internal id of orders that were accepted.
    pub(super) fn note_id(&mut self, id: Option<i64>, slots: impl Iterator<Item = usize>) {
        for slot in slots {
            self.items[slot].id = id;
        }
    }

    /// The next order asks for no events.
    pub(super) fn silence(&mut self) {
        self.silent.push(self.items.len());
    }

    /// The orders that ask for no events, and what was answered to all.
    pub(super) fn silent(&self) -> (&[usize], &[Item<'a>]) {
        (&self.silent, &self.items)
    }

    /// How many orders were answered.
    pub(super) fn len(&self) -> usize {
        self.items.len()
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
        Report { items: self.items, silent: self.silent, stopped_by, spent: Spent::default(), retries: 0 }
    }
}
