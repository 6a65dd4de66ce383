//! Token Status Lists: one bit per access token, published for whoever checks tokens without
//! asking their issuer.
//!
//! A token names its list and its place in it; the list is one signed JWT for many tokens. Whoever
//! has fetched the list once can tell for all of them whether they were revoked.
//!
//! Source: draft-ietf-oauth-status-list.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::issuer::Issuer;
use crate::jwt::Verified;
use crate::limits::{CLOCK_SKEW, STATUS_LIST_LEN};
use crate::secret::{base64url, base64url_decode};
use crate::time::UnixTime;

/// The media type of a signed list.
pub const MEDIA_TYPE: &str = "application/statuslist+jwt";

/// The status of a token that was not revoked (§7.1, `VALID`).
pub const VALID: u8 = 0;

/// The status of a token that was revoked (§7.1, `INVALID`).
pub const INVALID: u8 = 1;

const PATH: &str = "/oauth2/status/";

/// The identifier of a list: 16 random bytes, written as 22 base64url characters.
///
/// Random, so that a store that has forgotten its lists never gives a new list the place of an old
/// one: the tokens of a forgotten list are refused, not revived.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusListId([u8; 16]);

impl StatusListId {
    /// Takes 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 22 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        base64url_decode(text)?.try_into().ok().map(Self)
    }

    /// Reads the path of a list.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        path.strip_prefix(PATH).and_then(Self::parse)
    }

    /// Returns the path of the list.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{PATH}{self}")
    }

    /// Returns the URI of the list.
    #[must_use]
    pub fn uri(&self, issuer: &Issuer) -> String {
        issuer.url(&self.path())
    }
}

impl fmt::Display for StatusListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

impl fmt::Debug for StatusListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusListId({self})")
    }
}

/// The place of one token in one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusIndex {
    /// The list.
    pub list: StatusListId,
    /// The index, counted from 0.
    pub idx: u32,
}

/// The `status` claim of a token (§6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    status_list: Reference,
}

/// The `status_list` member of a token's `status` (§6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reference {
    idx: u32,
    uri: String,
}

impl Status {
    /// Writes the claim.
    #[must_use]
    pub fn new(issuer: &Issuer, index: &StatusIndex) -> Self {
        Self { status_list: Reference { idx: index.idx, uri: index.list.uri(issuer) } }
    }

    /// Reads the claim; `None` when it names a list that is not this issuer's.
    #[must_use]
    pub fn index(&self, issuer: &Issuer) -> Option<StatusIndex> {
        let Reference { idx, uri } = &self.status_list;
        let list = StatusListId::of_path(uri.strip_prefix(issuer.as_str())?)?;
        Some(StatusIndex { list, idx: *idx })
    }
}

/// How many bits one status has (`bits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Bits {
    /// Valid or not: what this server publishes.
    One = 1,
    /// Four statuses.
    Two = 2,
    /// Sixteen.
    Four = 4,
    /// 256.
    Eight = 8,
}

impl TryFrom<u8> for Bits {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        match bits {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            _ => Err("a status has 1, 2, 4 or 8 bits"),
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits as Self
    }
}

/// The statuses of a list, packed: the first one in the lowest bits of the first byte (§4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: Bits,
    bytes: Vec<u8>,
}

/// A text is not a compressed list, or one of more than 128 KB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAStatusList;

/// Longest list that is unpacked, bytes: as many statuses as this server's lists have, of 8 bits.
const LIST_LEN: usize = STATUS_LIST_LEN as usize;

impl StatusList {
    /// Takes packed statuses.
    #[must_use]
    pub const fn new(bits: Bits, bytes: Vec<u8>) -> Self {
        Self { bits, bytes }
    }

    /// Returns the status at `idx`; `None` beyond the end of the list.
    #[must_use]
    pub fn status(&self, idx: u32) -> Option<u8> {
        let bits = u32::from(u8::from(self.bits));
        let per_byte = 8 / bits;
        let byte = self.bytes.get(usize::try_from(idx / per_byte).ok()?)?;
        let mask = u8::MAX >> (8 - bits);
        Some((byte >> (idx % per_byte * bits)) & mask)
    }

    /// Compresses the list: base64url of its bytes in DEFLATE, in the ZLIB format (§4.1, §4.2).
    #[must_use]
    pub fn compress(&self) -> CompressedStatusList {
        // The level at which zlib stops looking for more: the lists are long runs of zeros.
        const LEVEL: u8 = 6;
        let lst = base64url(&miniz_oxide::deflate::compress_to_vec_zlib(&self.bytes, LEVEL));
        CompressedStatusList { bits: self.bits, lst }
    }
}

impl fmt::Debug for StatusList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusList {{ bits: {:?}, {} bytes }}", self.bits, self.bytes.len())
    }
}

/// The `status_list` claim of a list's JWT (§4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompressedStatusList {
    bits: Bits,
    lst: String,
}

impl CompressedStatusList {
    /// Unpacks the list.
    ///
    /// # Errors
    /// [`NotAStatusList`].
    pub fn decompress(&self) -> Result<StatusList, NotAStatusList> {
        let compressed = base64url_decode(&self.lst).ok_or(NotAStatusList)?;
        let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&compressed, LIST_LEN)
            .map_err(|_| NotAStatusList)?;
        Ok(StatusList { bits: self.bits, bytes })
    }
}

/// The claims of a list's JWT but for `iat` and `exp` (§5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaims {
    /// The URI of the list: the same as in its tokens.
    pub sub: String,
    /// How long the list may be used before it is fetched again, seconds.
    pub ttl: u64,
    /// The statuses.
    pub status_list: CompressedStatusList,
}

impl StatusListClaims {
    /// Validates verified claims and unpacks the list.
    ///
    /// Checks, in order: `sub`, `exp` and `iat` present, `exp` (with [`CLOCK_SKEW`]), `iat` not in
    /// the future, the list's own form.
    /// **Does NOT** check how old the list is: whoever keeps it does.
    ///
    /// # Errors
    /// [`NotAStatusList`].
    ///
    /// Source: §8.3.
    pub fn validate(
        verified: &Verified<Self>,
        issuer: &Issuer,
        list: &StatusListId,
        now: UnixTime,
    ) -> Result<StatusList, NotAStatusList> {
        let Verified { claims, expires_at, issued_at, .. } = verified;
        let (expires_at, issued_at) = expires_at.zip(*issued_at).ok_or(NotAStatusList)?;
        let holds = claims.sub == list.uri(issuer)
            && now < expires_at.plus(CLOCK_SKEW)
            && issued_at.since(now) <= CLOCK_SKEW;
        if !holds {
            return Err(NotAStatusList);
        }
        claims.status_list.decompress()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const LIST: StatusListId = StatusListId::from_bytes([3; 16]);

    fn issuer() -> Issuer {
        Issuer::parse("https://id.example").unwrap()
    }

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        section: String,
        bits: Bits,
        size: u32,
        lst: String,
        statuses: Vec<(u32, u8)>,
    }

    /// The draft's own lists: §4.1 and Appendix C, of 1, 2, 4 and 8 bits.
    #[test]
    fn the_lists_of_the_draft_are_read_and_written() {
        let text = include_str!("../tests/vectors/status_list.json");
        let vectors = serde_json::from_str::<Vectors>(text).unwrap().vectors;
        assert_eq!(vectors.len(), 6);
        for Vector { section, bits, size, lst, statuses } in vectors {
            let bytes = (size * u32::from(u8::from(bits))).div_ceil(8) as usize;
            // The longest lists of the draft are longer than any that is read here.
            let compressed = base64url_decode(&lst).unwrap();
            let unpacked = miniz_oxide::inflate::decompress_to_vec_zlib(&compressed).unwrap();
            assert_eq!(unpacked.len(), bytes, "{section}");
            let read = CompressedStatusList { bits, lst }.decompress();
            if bytes <= LIST_LEN {
                assert_eq!(read.unwrap().bytes, unpacked, "{section}");
            } else {
                assert_eq!(read, Err(NotAStatusList), "{section}");
            }

            let list = StatusList::new(bits, unpacked);
            let found: Vec<(u32, u8)> = (0..size)
                .map(|idx| (idx, list.status(idx).unwrap()))
                .filter(|(_, status)| *status != VALID)
                .collect();
            let mut expected = statuses.clone();
            expected.sort_unstable();
            assert_eq!(found, expected, "{section}");
            assert_eq!(list.status(size), None, "{section}");
            let again = list.compress();
            let again = base64url_decode(&again.lst).unwrap();
            let again = miniz_oxide::inflate::decompress_to_vec_zlib(&again).unwrap();
            assert_eq!(again, list.bytes, "{section}");
        }
    }

    #[test]
    fn a_status_names_a_list_of_its_issuer() {
        let index = StatusIndex { list: LIST, idx: 70_000 };
        let status = Status::new(&issuer(), &index);
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"status_list":{"idx":70000,"uri":"https://id.example/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw"}}"#
        );
        assert_eq!(status.index(&issuer()), Some(index));
        for elsewhere in [
            "https://id.example.evil/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw",
            "https://id.example/oauth2/status/../AwMDAwMDAwMDAwMDAwMDAw",
            "https://id.example/oauth2/status/",
            "http://id.example/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw",
            "",
        ] {
            let status = Status { status_list: Reference { idx: 1, uri: elsewhere.to_owned() } };
            assert_eq!(status.index(&issuer()), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_list_is_of_its_uri_and_time() {
        let list = StatusList::new(Bits::One, vec![0b1000_0010, 0]);
        let verified = || Verified {
            claims: StatusListClaims {
                sub: LIST.uri(&issuer()),
                ttl: 5,
                status_list: list.compress(),
            },
            expires_at: Some(NOW.plus(300)),
            not_before: None,
            issued_at: Some(NOW),
        };
        let validate = |verified, now| StatusListClaims::validate(&verified, &issuer(), &LIST, now);
        assert_eq!(validate(verified(), NOW), Ok(list.clone()));
        assert!(validate(verified(), NOW.plus(309)).is_ok());
        assert!(validate(verified(), NOW.plus(310)).is_err());
        assert!(validate(verified(), NOW.minus(11)).is_err());
        let other = StatusListId::from_bytes([4; 16]);
        assert!(StatusListClaims::validate(&verified(), &issuer(), &other, NOW).is_err());
        assert!(validate(Verified { expires_at: None, ..verified() }, NOW).is_err());
        assert!(validate(Verified { issued_at: None, ..verified() }, NOW).is_err());
        let statuses = [0, 1, 7, 8, 16].map(|idx| list.status(idx));
        assert_eq!(statuses, [Some(VALID), Some(INVALID), Some(INVALID), Some(VALID), None]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for lst in ["", "!", "AAAA", "eNrbuRgAAhcBXA", "eNrbuRgAAhc"] {
            let list = CompressedStatusList { bits: Bits::One, lst: lst.to_owned() };
            assert_eq!(list.decompress(), Err(NotAStatusList), "{lst}");
        }
        for bits in ["0", "3", "16", "-1", "\"1\""] {
            let json = format!(r#"{{"bits":{bits},"lst":"eNrbuRgAAhcBXQ"}}"#);
            assert!(serde_json::from_str::<CompressedStatusList>(&json).is_err(), "{bits}");
        }
    }

    #[test]
    fn a_small_text_that_unpacks_to_much_is_refused() {
        let bomb = StatusList::new(Bits::One, vec![0; 64 * LIST_LEN]).compress();
        assert!(bomb.lst.len() < 64 * 1024);
        assert_eq!(bomb.decompress(), Err(NotAStatusList));
    }

    proptest! {
        #[test]
        fn unpacking_undoes_packing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for bits in [Bits::One, Bits::Two, Bits::Four, Bits::Eight] {
                let list = StatusList::new(bits, bytes.clone());
                prop_assert_eq!(list.compress().decompress(), Ok(list));
            }
        }

        #[test]
        fn no_text_panics(lst in ".{0,60}", idx in any::<u32>()) {
            let list = CompressedStatusList { bits: Bits::Two, lst };
            let _ = list.decompress().map(|list| list.status(idx));
        }
    }
}
