//! The one hash of the rules. Its values are stored and drawn from, so it stays the same from release to release.

/// An even 64-bit hash of `bytes`: FNV-1a, then the finaliser of SplitMix64, which spreads short inputs over all bits.
/// It is fast and stable, and no defence against somebody who looks for collisions.
pub fn even(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let fnv = bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
