//! Numbers by chance, for samples and pauses; nothing here is secret.

/// A generator (Steele's splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns so many of the things, each as likely as any other (Knuth's selection sampling), in their order.
    pub(crate) fn sample<T: Copy>(&mut self, things: &[T], count: usize) -> Vec<T> {
        let mut wanted = count.min(things.len());
        let mut chosen = Vec::with_capacity(wanted);
        for (index, thing) in things.iter().enumerate() {
            let left = u64::try_from(things.len() - index).unwrap_or(u64::MAX);
            if self.next() % left < u64::try_from(wanted).unwrap_or(u64::MAX) {
                chosen.push(*thing);
                wanted -= 1;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_size_asked_for_and_everything_is_chosen_now_and_then() {
        let things: Vec<usize> = (0..20).collect();
        let mut chance = Chance(1);
        let mut seen = [0; 20];
        for _ in 0..1000 {
            let sample = chance.sample(&things, 5);
            assert_eq!(sample.len(), 5);
            for thing in sample {
                seen[thing] += 1;
            }
        }
        assert!(seen.iter().all(|times| (150..350).contains(times)), "{seen:?}");
        assert_eq!(chance.sample(&things, 30), things);
    }
}
