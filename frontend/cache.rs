//! A bounded map, for caches of the whole process.

use runtime::events::{self, Event};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

/// A map that holds at most so many entries; beyond that the oldest goes, which is counted.
pub(crate) struct Bounded<K, V> {
    name: &'static str,
    capacity: usize,
    inner: RwLock<Inner<K, V>>,
}

struct Inner<K, V> {
    map: FxHashMap<Arc<K>, V>,
    order: VecDeque<Arc<K>>,
}

impl<K: Hash + Eq + Display, V: Clone> Bounded<K, V> {
    pub fn new(name: &'static str, capacity: usize) -> Bounded<K, V> {
        Bounded { name, capacity, inner: RwLock::new(Inner { map: FxHashMap::default(), order: VecDeque::new() }) }
    }

    /// The value of a key; whether there is one is counted.
    pub fn get(&self, key: &K) -> Option<V> {
        let found = self.inner.read().unwrap_or_else(|e| e.into_inner()).map.get(key).cloned();
        match found {
            Some(_) => events::count(Event::CacheHit),
            None => events::record(Event::CacheMiss, format_args!("{}: {key}", self.name)),
        }
        found
    }

    pub fn insert(&self, key: K, value: V) {
        let mut inner = self.inner.write().unwrap_or_else(|e| e.into_inner());
        if inner.order.len() >= self.capacity
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.map.remove(&oldest);
            events::record(Event::Eviction, format_args!("{}: {} entries are kept", self.name, self.capacity));
        }
        let key = Arc::new(key);
        // Another thread may have been quicker.
        if inner.map.insert(key.clone(), value).is_none() {
            inner.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_goes_and_is_counted() {
        let cache = Bounded::new("test", 2);
        let ((), counts) = events::Counters::of(|| {
            (0..3).for_each(|i| cache.insert(i, i));
            assert_eq!((cache.get(&0), cache.get(&1), cache.get(&2)), (None, Some(1), Some(2)));
        });
        assert_eq!((counts[Event::Eviction], counts[Event::CacheHit], counts[Event::CacheMiss]), (1, 2, 1));
    }
}
