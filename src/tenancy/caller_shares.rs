//! What callers make the server keep (one-time tokens, answers for repeated requests), bounded for each API key of a
//! tenant and for each caller with that key.
//!
//! Nobody is refused: where there is no more room, the oldest of the caller's own is given up, and where all callers of a
//! key together have too much, the oldest of the one that has most. So whoever makes very much loses their own, those who
//! share a key with them keep their part of it, and another key of the tenant, another tenant and the operator lose nothing.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::id::TenantId;
use super::key::KeyId;
use crate::timestamp::Timestamp;

/// What one call of [`CallerShares::surplus`] names at most. A change that removes all of it still fits into a batch of
/// the store ([`crate::store::MAX_BATCH_OPERATIONS`]).
const MAX_SURPLUS: usize = 16;

/// Who has made something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// None for the operator.
    pub key: Option<KeyId>,
    /// A keyed hash of the network that the holder of the key called from.
    pub network: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub items: usize,
    pub bytes: usize,
}

impl Amount {
    fn of_one(bytes: usize) -> Self {
        Self { items: 1, bytes }
    }

    fn add(&mut self, more: Self) {
        self.items = self.items.saturating_add(more.items);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    fn subtract(&mut self, less: Self) {
        self.items = self.items.saturating_sub(less.items);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }

    fn exceeds(self, limit: Self) -> bool {
        self.items > limit.items || self.bytes > limit.bytes
    }

    fn half(self) -> Self {
        Self { items: self.items / 2, bytes: self.bytes / 2 }
    }
}

/// Things of one kind, called `K`, that are kept.
#[derive(Debug)]
pub struct CallerShares<K> {
    /// Of one key; each caller with it has half of that at most. The operator has as much for each tenant.
    limit: Amount,
    shares: HashMap<(TenantId, Option<KeyId>), HoldingsByNetwork<K>>,
    owners: HashMap<K, (TenantId, Caller, Timestamp)>,
}

type HoldingsByNetwork<K> = HashMap<Option<String>, Holding<K>>;

/// What one caller has, the oldest first.
#[derive(Debug)]
struct Holding<K> {
    amount: Amount,
    items: BTreeMap<(Timestamp, K), Amount>,
}

/// A [`Holding`] of which some is to be given up.
struct Remaining<'a, K> {
    is_own: bool,
    amount: Amount,
    items: btree_map::Iter<'a, (Timestamp, K), Amount>,
}

impl<K: Clone + Ord + Hash> CallerShares<K> {
    pub fn new(limit: Amount) -> Self {
        Self { limit, shares: HashMap::new(), owners: HashMap::new() }
    }

    /// `name` is kept from now on; known already, it counts once.
    pub fn put(&mut self, tenant: TenantId, caller: Caller, name: K, at: Timestamp, bytes: usize) {
        self.remove(&name);
        let callers = self.shares.entry((tenant.clone(), caller.key.clone())).or_default();
        let nothing = || Holding { amount: Amount::default(), items: BTreeMap::new() };
        let holding = callers.entry(caller.network.clone()).or_insert_with(nothing);
        holding.amount.add(Amount::of_one(bytes));
        holding.items.insert((at, name.clone()), Amount::of_one(bytes));
        self.owners.insert(name, (tenant, caller, at));
    }

    pub fn remove(&mut self, name: &K) {
        let Some((tenant, caller, at)) = self.owners.remove(name) else { return };
        let share = (tenant, caller.key);
        let Some(callers) = self.shares.get_mut(&share) else { return };
        if let Some(holding) = callers.get_mut(&caller.network) {
            holding.amount.subtract(holding.items.remove(&(at, name.clone())).unwrap_or_default());
            if holding.items.is_empty() {
                callers.remove(&caller.network);
            }
        }
        if callers.is_empty() {
            self.shares.remove(&share);
        }
    }

    pub fn remove_tenant(&mut self, tenant: &TenantId) {
        self.shares.retain(|(owner, _), _| owner != tenant);
        self.owners.retain(|_, (owner, ..)| owner != tenant);
    }

    /// What has to go so that `caller` can have one thing more of so many bytes.
    pub fn surplus(&self, tenant: &TenantId, caller: &Caller, bytes: usize) -> Vec<K> {
        let Some(callers) = self.shares.get(&(tenant.clone(), caller.key.clone())) else { return Vec::new() };
        let (mut own, mut total) = (Amount::of_one(bytes), Amount::of_one(bytes));
        let mut remaining: Vec<_> = Vec::with_capacity(callers.len());
        for (network, holding) in callers {
            let is_own = *network == caller.network;
            total.add(holding.amount);
            if is_own {
                own.add(holding.amount);
            }
            remaining.push(Remaining { is_own, amount: holding.amount, items: holding.items.iter() });
        }
        let own_limit = if caller.key.is_some() { self.limit.half() } else { self.limit };
        let mut surplus = Vec::new();
        while surplus.len() < MAX_SURPLUS {
            let (own_is_over, total_is_over) = (own.exceeds(own_limit), total.exceeds(self.limit));
            if !own_is_over && !total_is_over {
                break;
            }
            let by_items = total.items > self.limit.items;
            let weight = |held: &&mut Remaining<'_, K>| if by_items { held.amount.items } else { held.amount.bytes };
            let eligible = remaining.iter_mut().filter(|held| held.amount.items > 0 && (held.is_own || !own_is_over));
            let Some(most) = eligible.max_by_key(weight) else { break };
            let Some(((_, name), amount)) = most.items.next() else { break };
            surplus.push(name.clone());
            most.amount.subtract(*amount);
            total.subtract(*amount);
            if most.is_own {
                own.subtract(*amount);
            }
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const LIMIT: Amount = Amount { items: 10, bytes: 1000 };

    fn acme() -> TenantId {
        "acme".parse().unwrap()
    }

    fn caller(key: &str, network: &str) -> Caller {
        Caller { key: Some(KeyId(key.into())), network: Some(network.into()) }
    }

    /// Makes one thing after the other, each of so many bytes, and gives up what has to go.
    struct Kept {
        shares: CallerShares<u32>,
        made: u32,
    }

    impl Kept {
        fn new() -> Self {
            Self { shares: CallerShares::new(LIMIT), made: 0 }
        }

        fn make(&mut self, tenant: &TenantId, caller: &Caller, bytes: usize) -> u32 {
            for gone in self.shares.surplus(tenant, caller, bytes) {
                self.shares.remove(&gone);
            }
            self.made += 1;
            self.shares.put(tenant.clone(), caller.clone(), self.made, Timestamp(self.made.into()), bytes);
            self.made
        }

        fn of(&self, tenant: &TenantId, caller: &Caller) -> Vec<u32> {
            let callers = self.shares.shares.get(&(tenant.clone(), caller.key.clone()));
            let holding = callers.and_then(|callers| callers.get(&caller.network));
            holding.iter().flat_map(|holding| holding.items.keys()).map(|(_, name)| *name).collect()
        }
    }

    #[test]
    fn who_makes_too_much_loses_the_oldest_of_their_own_and_nobody_else_loses_anything() {
        let mut kept = Kept::new();
        let (flood, quiet, operator) = (caller("a", "1"), caller("a", "2"), Caller::default());
        let first = kept.make(&acme(), &quiet, 1);
        let others =
            [(acme(), caller("b", "1")), (acme(), operator.clone()), ("other".parse().unwrap(), flood.clone())];
        let theirs = others.each_ref().map(|(tenant, other)| kept.make(tenant, other, 1));
        for _ in 0..100 {
            kept.make(&acme(), &flood, 1);
        }
        assert_eq!(kept.of(&acme(), &flood), [100, 101, 102, 103, 104], "half of the key's, the newest");
        assert_eq!(kept.of(&acme(), &quiet), [first]);
        for ((tenant, other), its) in others.iter().zip(theirs) {
            assert_eq!(kept.of(tenant, other), [its]);
        }
        for _ in 0..20 {
            kept.make(&acme(), &operator, 1);
        }
        assert_eq!(kept.of(&acme(), &operator).len(), 10, "the operator has all of theirs from anywhere");
    }

    #[test]
    fn many_callers_of_one_key_have_equal_parts_of_it() {
        let mut kept = Kept::new();
        let quiet = caller("a", "quiet");
        let its = [kept.make(&acme(), &quiet, 1), kept.make(&acme(), &quiet, 1)];
        for network in 0..3 {
            for _ in 0..50 {
                kept.make(&acme(), &caller("a", &network.to_string()), 1);
            }
        }
        assert_eq!(kept.of(&acme(), &quiet), its);
        let all: usize = kept.shares.owners.len();
        assert_eq!(all, LIMIT.items);
    }

    #[test]
    fn bytes_count_as_well_as_numbers() {
        let mut kept = Kept::new();
        let (large, small) = (caller("a", "large"), caller("a", "small"));
        let its = kept.make(&acme(), &small, 10);
        for _ in 0..8 {
            kept.make(&acme(), &large, 200);
        }
        assert_eq!(kept.of(&acme(), &large), [8, 9], "no more than half of the bytes");
        assert_eq!(kept.of(&acme(), &small), [its]);
    }

    #[test]
    fn what_is_removed_counts_no_more_and_what_is_put_twice_counts_once() {
        let mut kept = Kept::new();
        let caller = caller("a", "1");
        for name in [1, 1, 2] {
            kept.shares.put(acme(), caller.clone(), name, Timestamp(1), 7);
        }
        kept.shares.remove(&1);
        kept.shares.remove(&1);
        assert_eq!(kept.of(&acme(), &caller), [2]);
        kept.shares.remove(&2);
        assert!(kept.shares.shares.is_empty() && kept.shares.owners.is_empty());
        kept.make(&acme(), &caller, 1);
        kept.shares.remove_tenant(&acme());
        assert!(kept.shares.shares.is_empty() && kept.shares.owners.is_empty());
    }
}
