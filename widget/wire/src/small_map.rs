//! A map of a few entries.

use std::borrow::Borrow;

/// A map that compares its keys one by one. The standard library's maps are 1.5 KB of the phone's module for each pair of
/// types, and those of the phone have as many entries as there are calls or tabs.
#[derive(Clone, Debug)]
pub struct SmallMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V> SmallMap<K, V> {
    pub fn get<Q: PartialEq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.iter().find(|(own, _)| own.borrow() == key).map(|(_, value)| value)
    }

    /// In the place of the key's former value, if it has one.
    pub fn insert(&mut self, key: K, value: V) {
        match self.0.iter_mut().find(|(own, _)| *own == key) {
            Some((_, former)) => *former = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn remove<Q: PartialEq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.0.iter().position(|(own, _)| own.borrow() == key)?;
        Some(self.0.remove(place).1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K, V> IntoIterator for SmallMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_value_the_last_one() {
        let mut map = SmallMap::<String, u8>::default();
        map.insert("a".to_owned(), 1);
        map.insert("b".to_owned(), 2);
        map.insert("a".to_owned(), 3);
        assert_eq!(map.get("a"), Some(&3));
        assert_eq!(map.remove("a"), Some(3));
        assert_eq!((map.remove("a"), map.get("a"), map.is_empty()), (None, None, false));
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 2)]);
    }
}
