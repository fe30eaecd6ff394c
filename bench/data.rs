//! Orders of a shop, made from a fixed seed: the same place always gives the same order.

/// Every number of the data comes from it.
const SEED: u64 = 0x6f72_6465_7267_6174;
const STATUSES: [&str; 4] = ["new", "paid", "delivered", "canceled"];
const CURRENCIES: [&str; 3] = ["USD", "EUR", "RUB"];
const TAGS: [&str; 12] = [
    "web",
    "app",
    "gift",
    "express",
    "pickup",
    "loyalty",
    "first_order",
    "promo_spring",
    "newsletter",
    "partner",
    "preorder",
    "b2b",
];

/// Whose orders they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Customers {
    /// So many, who have all ordered before.
    Known(u64),
    /// Everybody orders for the first time.
    New,
}

/// How the external ids of the orders follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Each is above all that are stored.
    Ascending,
    /// They fall between so many stored ones.
    Random(u64),
}

/// A shop: what its orders have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shop {
    pub(crate) customers: Customers,
    /// Products in the catalogue, each with one SKU.
    pub(crate) products: u64,
    pub(crate) ids: Ids,
}

/// An order with three lines. Amounts are in cents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) id: Id,
    pub(crate) customer: u64,
    pub(crate) status: &'static str,
    pub(crate) total: u64,
    pub(crate) delivery: u64,
    pub(crate) currency: &'static str,
    /// Month, day, hour, minute, second of 2025.
    pub(crate) created: [u64; 5],
    pub(crate) updated: [u64; 5],
    pub(crate) tags: [&'static str; 2],
    pub(crate) lines: [Line; 3],
}

/// An external id: a letter, nine digits, and for an order between two others a place behind the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id {
    pub(crate) number: u64,
    pub(crate) between: Option<u64>,
}

/// A line of an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) product: u64,
    pub(crate) base: u64,
    pub(crate) min: u64,
    pub(crate) last: u64,
    pub(crate) count: u64,
}

impl Shop {
    /// The order at a place.
    pub(crate) fn order(self, place: u64) -> Order {
        let mut random = Random::of(place);
        let lines = [(); 3].map(|()| self.line(&mut random));
        let delivery = random.below(2_000);
        let created =
            [1 + random.below(12), 1 + random.below(28), random.below(12), random.below(60), random.below(60)];
        let mut updated = created;
        updated[2] += 1 + random.below(11);
        let first_tag = random.below(TAGS.len() as u64);
        let second_tag = first_tag + 1 + random.below(TAGS.len() as u64 - 1);
        Order {
            customer: match self.customers {
                Customers::Known(count) => random.below(count),
                Customers::New => place,
            },
            id: match self.ids {
                Ids::Ascending => Id { number: place, between: None },
                Ids::Random(stored) => Id { number: random.below(stored), between: Some(place) },
            },
            status: pick(&STATUSES, random.below(4)),
            total: delivery + lines.iter().map(|line| line.last * line.count).sum::<u64>(),
            delivery,
            currency: pick(&CURRENCIES, random.below(3)),
            created,
            updated,
            tags: [pick(&TAGS, first_tag), pick(&TAGS, second_tag)],
            lines,
        }
    }

    /// The order by which a customer becomes known; all of them together have all products.
    pub(crate) fn first_order(self, customer: u64) -> Order {
        let mut order = self.order(customer);
        order.customer = customer;
        for (line, place) in order.lines.iter_mut().zip(0..) {
            line.product = (customer * 3 + place) % self.products;
        }
        order
    }

    fn line(self, random: &mut Random) -> Line {
        let base = 500 + random.below(50_000);
        let last = base - base * random.below(30) / 100;
        Line { product: random.below(self.products), base, min: last - last / 10, last, count: 1 + random.below(4) }
    }
}

impl Order {
    /// The same order with another status and price. Each version differs from the others.
    pub(crate) fn changed(mut self, version: u64) -> Self {
        let status = STATUSES.iter().position(|status| *status == self.status).unwrap_or(0) as u64;
        self.status = pick(&STATUSES, status + version);
        self.total += version;
        self
    }
}

fn pick<'s>(from: &[&'s str], place: u64) -> &'s str {
    from[usize::try_from(place).unwrap_or(0) % from.len()]
}

/// `SplitMix64`: every start gives a good sequence of its own.
struct Random(u64);

impl Random {
    fn of(place: u64) -> Self {
        Random(SEED ^ place.wrapping_mul(0xd605_1b1d_4a3f_9c2b))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
