//! Sequences against sorted maps, and what they share.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Keys with what becomes of them.
type Batch = Vec<(u16, Option<u8>)>;

/// After each batch, the sequence has what a sorted map has, and keeps its laws.
fn check(batches: impl IntoIterator<Item = Batch>) -> Result<(), TestCaseError> {
    let mut seq = Seq::default();
    let mut map = BTreeMap::new();
    for batch in batches {
        for (key, value) in &batch {
            match value {
                Some(value) => map.insert(*key, *value),
                None => map.remove(key),
            };
        }
        let before = seq;
        seq = before.edited(batch.into_iter().map(|(key, value)| (key, value.map(Arc::new))));
        let pages = seq.pages();
        let pairs = |lens: Vec<usize>, max: usize| {
            lens.iter().all(|len| (1..=max).contains(len)) && lens.windows(2).all(|pair| pair[0] + pair[1] > max / 2)
        };
        prop_assert!(pairs(pages.iter().map(|page| page.len()).collect(), CHUNKS));
        prop_assert!(
            pages.iter().all(|page| pairs(page.iter().map(|chunk| chunk.len()).collect(), ENTRIES)),
            "two small chunks lie side by side"
        );
        prop_assert_eq!(seq.len(), map.len());
        prop_assert!(seq.iter().map(|(k, v)| (*k, **v)).eq(map.iter().map(|(k, v)| (*k, *v))));
        let fresh: Seq<u16, u8> = map.iter().map(|(k, v)| (*k, Arc::new(*v))).collect();
        prop_assert!(seq == fresh, "the chunking counts");
        prop_assert_eq!(before == seq, before.iter().map(|(k, v)| (*k, **v)).eq(map.iter().map(|(k, v)| (*k, *v))));
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_sequence_equals_a_sorted_map_after_any_edits(
        batches in prop::collection::vec(prop::collection::vec((0_u16..400, prop::option::of(0_u8..9)), 0..90), 0..12)
    ) {
        check(batches)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn so_does_one_of_many_pages(
        ranges in prop::collection::vec((0_u16..20_000, 0_usize..9_000, 1_usize..50, prop::option::of(0_u8..9)), 1..8)
    ) {
        let all = (0..20_000).map(|key| (key, Some(0))).collect();
        let some = ranges.into_iter().map(|(from, len, step, value)| {
            (from..20_000).take(len).step_by(step).map(|key| (key, value)).collect()
        });
        check(std::iter::once(all).chain(some))?;
    }
}

#[test]
fn one_edit_shares_every_other_chunk() {
    let before: Seq<u32, u32> = (0..10_000).map(|n| (n, Arc::new(n))).collect();
    let after = before.edited([(5_000, Some(Arc::new(0)))]);
    let shared = before.chunks().filter(|a| after.chunks().any(|b| Arc::ptr_eq(a, b))).count();
    assert_eq!(shared, before.chunks().count() - 1);
    let shared = before.pages().iter().zip(after.pages()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert!(before.pages().len() > 2 && shared == before.pages().len() - 1, "{shared} of {}", before.pages().len());
}

#[test]
fn what_is_left_of_many_entries_lies_in_few_chunks() {
    let before: Seq<u32, u32> = (0..10_000).map(|n| (n, Arc::new(n))).collect();
    // One by one, as they would go in a cluster, and from everywhere.
    let gone = (0..10_000_u32).map(|n| n * 7_919 % 10_000).filter(|n| n % 50 != 0);
    let after = gone.fold(before, |seq, n| seq.edited([(n, None)]));
    assert_eq!(after.len(), 200);
    let chunks = after.chunks().count();
    assert!(chunks <= 200 / (ENTRIES / 4) + 1, "{chunks} chunks");
    let pages = after.pages().len();
    assert!(pages <= chunks / (CHUNKS / 4) + 1, "{pages} pages of {chunks} chunks");
}
