//! The slot of a key in Redis Cluster.

/// How many slots there are.
pub(super) const SLOTS: u16 = 16_384;

/// Returns the slot of a key: the checksum of its hash tag, which is what stands between the first
/// brace and the next closing one, unless that is nothing; else of all of it.
///
/// Source: the Redis Cluster specification, "Hash tags" and Appendix A (CRC-16/XMODEM).
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|byte| *byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        // `CLUSTER KEYSLOT` of redis-server 7.0.15.
        for (key, expected) in [("foo", 12_182), ("", 0), ("foo{}{bar}", 8_363)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn keys_with_one_hash_tag_lie_in_one_slot() {
        let of = |key: &str| slot(key.as_bytes());
        assert_eq!(of("cadence:grant:{user1000}"), of("cadence:jti:{user1000}:7"));
        assert_eq!(of("cadence:grant:{user1000}"), of("user1000"));
        assert_eq!(of("foo{{bar}}zap"), of("{bar"));
        assert_eq!(of("foo{bar}{zap}"), of("bar"));
    }
}
