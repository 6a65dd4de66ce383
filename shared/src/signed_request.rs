//! Requests that the edge signs and the origin believes.
//!
//! The edge is the only one who sees a client's address. It says so in one header, authenticated
//! together with the request it belongs to; without a good signature the origin believes nothing
//! but its own socket.

use core::net::IpAddr;

use crate::edge_keys::Overlapping;
use crate::limits::SIGNED_REQUEST_EXPIRES_IN;
use crate::secret::{MacKey, Sha256Digest, base64url, base64url_decode, same_bytes};
use crate::time::UnixTime;

/// The header that carries the signature.
pub const HEADER: &str = "cadence-edge";

/// What is signed of a request, beside what the edge says about it.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// Path and query as they stand in the request line.
    pub target: &'a str,
    /// Digest of the whole body; of nothing when there is none.
    pub body: Sha256Digest,
}

/// What the edge says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeStatement {
    /// When it was signed.
    pub signed_at: UnixTime,
    /// 16 random bytes: makes each signature unique, so that a replay can be told.
    pub nonce: [u8; 16],
    /// Who connected to the edge; `None` when the platform does not tell.
    pub client_address: Option<IpAddr>,
}

/// What a request's header claims that the edge says. Nothing of it is known to be true before
/// [`ClaimedStatement::verify`], which needs the whole request.
#[derive(Clone, Debug)]
pub struct ClaimedStatement {
    statement: EdgeStatement,
    tag: Vec<u8>,
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureRefused {
    /// The header is not one of ours.
    Malformed,
    /// Not made with this key, or for another request.
    Forged,
    /// Signed more than [`SIGNED_REQUEST_EXPIRES_IN`] seconds ago, or ahead.
    Expired,
}

impl EdgeStatement {
    /// Writes the header for a request.
    #[must_use]
    pub fn sign(&self, keys: &Overlapping<MacKey>, request: &RequestParts<'_>) -> String {
        format!("{};{}", self.fields(), base64url(&self.tag(keys.current(), request)))
    }

    fn fields(&self) -> String {
        let address = self.client_address.map_or("-".to_owned(), |address| address.to_string());
        format!("v1;{};{};{address}", self.signed_at.as_secs(), base64url(&self.nonce))
    }

    fn tag(&self, key: &MacKey, request: &RequestParts<'_>) -> [u8; 32] {
        let RequestParts { method, target, body } = request;
        key.tag(&[self.fields().as_bytes(), method.as_bytes(), target.as_bytes(), body.as_bytes()])
    }
}

impl ClaimedStatement {
    /// Reads the header of a request.
    ///
    /// Does NOT verify anything: whoever wrote the header may have made it up.
    ///
    /// # Errors
    /// [`SignatureRefused::Malformed`].
    pub fn parse(header: &str) -> Result<Self, SignatureRefused> {
        Self::read(header).ok_or(SignatureRefused::Malformed)
    }

    /// Verifies it against the request that it came with.
    ///
    /// Does NOT tell a replay within [`SIGNED_REQUEST_EXPIRES_IN`] seconds: whoever verifies
    /// remembers the nonces.
    ///
    /// # Errors
    /// [`SignatureRefused::Forged`], [`SignatureRefused::Expired`].
    pub fn verify(
        self,
        keys: &Overlapping<MacKey>,
        request: &RequestParts<'_>,
        now: UnixTime,
    ) -> Result<EdgeStatement, SignatureRefused> {
        let Self { statement, tag } = self;
        let made_by = |key: &MacKey| same_bytes(&statement.tag(key, request), &tag);
        if !keys.accepted().any(made_by) {
            return Err(SignatureRefused::Forged);
        }
        let apart = now.since(statement.signed_at).max(statement.signed_at.since(now));
        if apart > SIGNED_REQUEST_EXPIRES_IN {
            return Err(SignatureRefused::Expired);
        }
        Ok(statement)
    }

    fn read(header: &str) -> Option<Self> {
        let mut fields = header.split(';');
        if fields.next()? != "v1" {
            return None;
        }
        let signed_at = UnixTime::from_secs(fields.next()?.parse().ok()?);
        let nonce = base64url_decode(fields.next()?)?.try_into().ok()?;
        let client_address = match fields.next()? {
            "-" => None,
            address => Some(address.parse().ok()?),
        };
        let tag = base64url_decode(fields.next()?)?;
        let statement = EdgeStatement { signed_at, nonce, client_address };
        // One spelling only: what is read is written as it was.
        let written = format!("{};{}", statement.fields(), base64url(&tag));
        (written == header).then_some(Self { statement, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge_keys::EdgeKeys;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn keys(secret: &[u8]) -> Overlapping<MacKey> {
        EdgeKeys::derive(secret, None).requests
    }

    fn verify(
        keys: &Overlapping<MacKey>,
        header: &str,
        request: &RequestParts<'_>,
        now: UnixTime,
    ) -> Result<EdgeStatement, SignatureRefused> {
        ClaimedStatement::parse(header)?.verify(keys, request, now)
    }

    fn statement() -> EdgeStatement {
        EdgeStatement {
            signed_at: NOW,
            nonce: [9; 16],
            client_address: Some("2001:db8::1".parse().unwrap()),
        }
    }

    fn request() -> RequestParts<'static> {
        RequestParts { method: "POST", target: "/oauth2/token?a", body: Sha256Digest::of(b"body") }
    }

    #[test]
    fn a_signature_holds_for_its_request_and_half_a_minute() {
        let key = keys(b"secret");
        let header = statement().sign(&key, &request());
        let verify = |request: &RequestParts<'_>, now| verify(&key, &header, request, now);
        assert_eq!(verify(&request(), NOW.plus(30)), Ok(statement()));
        assert_eq!(verify(&request(), NOW.plus(31)), Err(SignatureRefused::Expired));
        assert_eq!(verify(&request(), NOW.minus(31)), Err(SignatureRefused::Expired));
        let others = [
            RequestParts { method: "GET", ..request() },
            RequestParts { target: "/oauth2/token", ..request() },
            RequestParts { body: Sha256Digest::of(b""), ..request() },
        ];
        for other in &others {
            assert_eq!(verify(other, NOW), Err(SignatureRefused::Forged), "{other:?}");
        }
    }

    #[test]
    fn the_statement_cannot_be_changed() {
        let key = keys(b"secret");
        let header = statement().sign(&key, &request());
        for (from, to) in
            [("2001:db8::1", "2001:db8::2"), ("2001:db8::1", "-"), ("1800000000", "1800000001")]
        {
            let changed = header.replace(from, to);
            let refused = verify(&key, &changed, &request(), NOW);
            assert_eq!(refused, Err(SignatureRefused::Forged), "{changed}");
        }
        let other = verify(&keys(b"other"), &header, &request(), NOW);
        assert_eq!(other, Err(SignatureRefused::Forged));
        let other_spellings = [
            (";1800000000", ";+1800000000"),
            (";1800000000", ";01800000000"),
            ("db8::1", "db8:0::1"),
        ]
        .map(|(from, to)| header.replace(from, to));
        let malformed = ["", "v1", "v2;1;AA;-;AA", "v1;x;AA;-;AA", &format!("{header};x")];
        for malformed in malformed.into_iter().chain(other_spellings.iter().map(String::as_str)) {
            let refused = verify(&key, malformed, &request(), NOW);
            assert_eq!(refused, Err(SignatureRefused::Malformed), "{malformed}");
        }
    }
}
