//! The hashes of the rules. Their values are stored and drawn from, so they stay the same from release to release.

/// The FNV-1a hash of no bytes, 64 bits.
pub const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with an FNV-1a hash over `bytes`.
pub fn fnv(start: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Spreads a number over all bits, so that neighbours share no pattern: the finaliser of SplitMix64.
pub fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An even 64-bit hash of `bytes`: FNV-1a, then [`mixed`], which spreads short inputs over all bits.
/// It is fast and stable, and no defence against somebody who looks for collisions.
pub fn even(bytes: impl IntoIterator<Item = u8>) -> u64 {
    mixed(fnv(FNV_START, bytes))
}
