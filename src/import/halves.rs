//! Work on many items by two threads, each with half of them: the database waits for it, and has nothing to do meanwhile.

/// Fewer items are better done by one thread: another takes longer to start.
pub(super) const MIN_ITEMS: usize = 200;

/// Does one thing in another thread, and one here.
pub(super) fn both<A, B: Send>(here: impl FnOnce() -> A, there: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let there = scope.spawn(there);
        let here = here();
        (here, there.join().expect("the work does not panic"))
    })
}

/// Does the same with each item; returns what came of them, in their order.
pub(super) fn each<T: Send, D: Send>(mut items: Vec<T>, work: impl Fn(T) -> D + Sync) -> Vec<D> {
    if items.len() < MIN_ITEMS {
        return items.into_iter().map(work).collect();
    }
    let second = items.split_off(items.len() / 2);
    let all = |items: Vec<T>| items.into_iter().map(&work).collect::<Vec<D>>();
    let (mut done, rest) = both(|| all(items), || all(second));
    done.extend(rest);
    done
}
