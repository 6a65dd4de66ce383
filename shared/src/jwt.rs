//! JSON Web Tokens, from untrusted text to verified claims.
//!
//! The envelope is jwt-compact's; the signature is checked outside (aws-lc-rs at the origin,
//! WebCrypto at the edge), because the two halves have different engines and the edge's is
//! asynchronous. Claims can be reached only through [`UntrustedJwt::accept`], which wants the
//! engine's verdict and the key it was reached with.

use std::borrow::Cow;

use jwt_compact::{Algorithm, AlgorithmExt as _, AlgorithmSignature, UntrustedToken};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::jwk::{Alg, PublicJwk};
use crate::limits::{CLOCK_SKEW, JWT_LEN, STATUS_LIST_JWT_LEN};
use crate::secret::base64url_decode;
use crate::time::UnixTime;

/// The `typ` that a reader expects.
///
/// Source: RFC 8725 §3.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typ {
    /// `at+jwt`, an access token (RFC 9068 §2.1).
    AccessToken,
    /// `JWT` or absent, an ID token.
    IdToken,
    /// `statuslist+jwt`, a status list (draft-ietf-oauth-status-list §5.1).
    StatusList,
    /// `logout+jwt`, a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
    LogoutToken,
}

impl Typ {
    /// Returns the value that is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::IdToken => "JWT",
            Self::StatusList => "statuslist+jwt",
            Self::LogoutToken => "logout+jwt",
        }
    }

    /// Returns how long a JWT of this type may be, bytes.
    const fn longest(self) -> usize {
        match self {
            Self::AccessToken | Self::IdToken | Self::LogoutToken => JWT_LEN,
            Self::StatusList => STATUS_LIST_JWT_LEN,
        }
    }

    /// Compares with a header's `typ`: media types ignore case and may carry `application/`.
    fn matches(self, typ: Option<&str>) -> bool {
        let Some(typ) = typ else { return self == Self::IdToken };
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ) == self.as_str().to_ascii_lowercase()
    }
}

/// Why a JWT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtRefused {
    /// Longer than one of its type may be.
    TooLong,
    /// Not three base64url parts with a JSON header and JSON claims of the expected shape.
    Malformed,
    /// Another kind of token.
    Typ,
    /// An algorithm that is not used here (also `none`).
    Alg,
    /// A header that changes the meaning of the rest: `crit`, `b64`, `zip`, `cty`.
    Critical,
    /// No key identifier.
    Kid,
    /// The signature is not good, or was checked with another key.
    Signature,
}

/// Header members that change the meaning of a token. None is understood here, so any is refused
/// (RFC 7515 §4.1.11, RFC 7797 §6).
#[derive(Clone, Debug, Deserialize)]
struct Rest {
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
    #[serde(default, deserialize_with = "present")]
    zip: bool,
}

/// Tells that a member is there, whatever its value, `null` included.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A JWT whose header is acceptable. Its claims are out of reach until its signature is checked.
pub struct UntrustedJwt<'a> {
    token: UntrustedToken<'a, Rest>,
    signing_input: &'a [u8],
    alg: Alg,
    kid: String,
}

/// What an engine said about a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the key's signature of the message.
    Good,
    /// It is not.
    Bad,
}

/// Claims behind a good signature.
///
/// Nothing is known yet about issuer, audience and time: see [`crate::claims`].
#[derive(Clone, Debug)]
pub struct Verified<T> {
    /// The claims but for the three times.
    pub claims: T,
    /// `exp`.
    pub expires_at: Option<UnixTime>,
    /// `nbf`.
    pub not_before: Option<UnixTime>,
    /// `iat`.
    pub issued_at: Option<UnixTime>,
}

impl<T> Verified<T> {
    /// Returns `exp` and `iat` when both are there and the token is good at `now`.
    ///
    /// Checks, in order: both present, `exp` not past (with [`CLOCK_SKEW`]), `iat` and `nbf` not in the
    /// future (with the same).
    ///
    /// Source: RFC 7519 §4.1.4–4.1.6.
    #[must_use]
    pub fn in_time(&self, now: UnixTime) -> Option<(UnixTime, UnixTime)> {
        let (expires_at, issued_at) = self.expires_at.zip(self.issued_at)?;
        let has_begun = |at: UnixTime| at.since(now) <= CLOCK_SKEW;
        let holds = now < expires_at.plus(CLOCK_SKEW)
            && has_begun(issued_at)
            && self.not_before.is_none_or(has_begun);
        holds.then_some((expires_at, issued_at))
    }
}

impl<'a> UntrustedJwt<'a> {
    /// Reads a compact JWS.
    ///
    /// Checks, in order: length, structure, `typ`, `alg`, members that change the meaning, `kid`.
    /// **Does NOT** look at `jwk`, `jku`, `x5u` or `x5c`: keys come from the issuer alone.
    ///
    /// # Errors
    /// [`JwtRefused`].
    ///
    /// Source: RFC 7515 §5.2, RFC 8725 §3.
    pub fn parse(text: &'a str, typ: Typ) -> Result<Self, JwtRefused> {
        if text.len() > typ.longest() {
            return Err(JwtRefused::TooLong);
        }
        let token: UntrustedToken<'a, Rest> = text.try_into().map_err(|_| JwtRefused::Malformed)?;
        if !typ.matches(token.header().token_type.as_deref()) {
            return Err(JwtRefused::Typ);
        }
        let alg = Alg::parse(token.algorithm()).ok_or(JwtRefused::Alg)?;
        let rest = &token.header().other_fields;
        if rest.crit || rest.b64 || rest.zip {
            return Err(JwtRefused::Critical);
        }
        let kid = token.header().key_id.clone().ok_or(JwtRefused::Kid)?;
        let end = text.rfind('.').ok_or(JwtRefused::Malformed)?;
        Ok(Self { token, signing_input: &text.as_bytes()[..end], alg, kid })
    }

    /// Returns the header's `kid`: choose the key with it, and with [`Self::alg`].
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the header's `alg`.
    #[must_use]
    pub const fn alg(&self) -> Alg {
        self.alg
    }

    /// Returns the bytes that are signed.
    #[must_use]
    pub const fn signing_input(&self) -> &[u8] {
        self.signing_input
    }

    /// Returns the signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.token.signature_bytes()
    }

    /// Hands out the claims when `verdict`, reached with `key`, is good.
    ///
    /// # Errors
    /// [`JwtRefused::Signature`] for a bad verdict and for a key of another `kid` or algorithm,
    /// [`JwtRefused::Malformed`] for claims of another shape, and for times that are no whole
    /// seconds.
    pub fn accept<T: DeserializeOwned>(
        &self,
        key: &PublicJwk,
        verdict: Verdict,
    ) -> Result<Verified<T>, JwtRefused> {
        if key.kid != self.kid || key.alg != self.alg {
            return Err(JwtRefused::Signature);
        }
        let token =
            Attested(self.alg).validator::<T>(&verdict).validate(&self.token).map_err(|error| {
                match error {
                    jwt_compact::ValidationError::MalformedClaims(_) => JwtRefused::Malformed,
                    _ => JwtRefused::Signature,
                }
            })?;
        let (_, claims) = token.into_parts();
        self.check_times()?;
        let time = |time: Option<i64>| {
            time.map(u64::try_from)
                .transpose()
                .map(|secs| secs.map(UnixTime::from_secs))
                .map_err(|_| JwtRefused::Malformed)
        };
        Ok(Verified {
            expires_at: time(claims.expiration.map(|time| time.timestamp()))?,
            not_before: time(claims.not_before.map(|time| time.timestamp()))?,
            issued_at: time(claims.issued_at.map(|time| time.timestamp()))?,
            claims: claims.custom,
        })
    }

    /// Checks that the times are whole seconds: others would be cut down, and differ from what
    /// another reader takes them for.
    fn check_times(&self) -> Result<(), JwtRefused> {
        #[derive(Deserialize)]
        struct Times {
            #[serde(rename = "exp")]
            _exp: Option<i64>,
            #[serde(rename = "nbf")]
            _nbf: Option<i64>,
            #[serde(rename = "iat")]
            _iat: Option<i64>,
        }
        let claims = self.signing_input.split(|byte| *byte == b'.').nth(1);
        let claims = claims.and_then(|claims| core::str::from_utf8(claims).ok());
        let claims = claims.and_then(base64url_decode).ok_or(JwtRefused::Malformed)?;
        serde_json::from_slice::<Times>(&claims).map_err(|_| JwtRefused::Malformed).map(drop)
    }
}

impl core::fmt::Debug for UntrustedJwt<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "UntrustedJwt {{ alg: {}, kid: {:?}, .. }}", self.alg, self.kid)
    }
}

/// An algorithm whose signatures were already checked elsewhere: its "key" is the verdict.
struct Attested(Alg);

/// A signature, as bytes of any length; nothing is known about it.
pub struct SignatureBytes(pub Vec<u8>);

impl AlgorithmSignature for SignatureBytes {
    fn try_from_slice(slice: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(slice.to_vec()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}

impl Algorithm for Attested {
    type SigningKey = core::convert::Infallible;
    type VerifyingKey = Verdict;
    type Signature = SignatureBytes;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.0.as_str())
    }

    fn sign(&self, signing_key: &Self::SigningKey, _: &[u8]) -> SignatureBytes {
        match *signing_key {}
    }

    fn verify_signature(&self, _: &SignatureBytes, verdict: &Verdict, _: &[u8]) -> bool {
        *verdict == Verdict::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::KeyParameters;
    use crate::limits::STATUS_LIST_LEN;
    use crate::secret::base64url;
    use crate::status_list::{Bits, StatusList, StatusListClaims};

    #[derive(Debug, Deserialize)]
    struct Claims {
        sub: String,
    }

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.AAAA", base64url(header.as_bytes()), base64url(claims.as_bytes()))
    }

    fn parse(header: &str) -> Option<JwtRefused> {
        UntrustedJwt::parse(&token(header, r#"{"sub":"u"}"#), Typ::AccessToken).err()
    }

    fn key(kid: &str, alg: Alg) -> PublicJwk {
        let parameters = KeyParameters::Okp { crv: "Ed25519".into(), x: String::new() };
        PublicJwk::for_signatures(parameters, kid.into(), alg)
    }

    #[test]
    fn headers_that_are_refused() {
        use JwtRefused::{Alg, Critical, Kid, Malformed, Typ};
        for (header, refused) in [
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, None),
            (r#"{"alg":"ES256","kid":"k","typ":"AT+JWT"}"#, None),
            (r#"{"alg":"ES256","kid":"k","typ":"application/at+jwt"}"#, None),
            (r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#, Some(Typ)),
            (r#"{"alg":"ES256","kid":"k"}"#, Some(Typ)),
            (r#"{"alg":"none","kid":"k","typ":"at+jwt"}"#, Some(Alg)),
            (r#"{"alg":"NONE","kid":"k","typ":"at+jwt"}"#, Some(Alg)),
            (r#"{"alg":"HS256","kid":"k","typ":"at+jwt"}"#, Some(Alg)),
            (r#"{"alg":"PS256","kid":"k","typ":"at+jwt"}"#, Some(Alg)),
            (r#"{"alg":"","kid":"k","typ":"at+jwt"}"#, Some(Alg)),
            (r#"{"alg":1,"kid":"k","typ":"at+jwt"}"#, Some(Malformed)),
            (r#"{"alg":["ES256"],"kid":"k","typ":"at+jwt"}"#, Some(Malformed)),
            (r#"{"kid":"k","typ":"at+jwt"}"#, Some(Malformed)),
            (r#"{"alg":"ES256","kid":"k","typ":["at+jwt"]}"#, Some(Malformed)),
            (r#"{"alg":"ES256","typ":"at+jwt"}"#, Some(Kid)),
            (r#"{"alg":"ES256","kid":1,"typ":"at+jwt"}"#, Some(Malformed)),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt","crit":["exp"]}"#, Some(Critical)),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt","crit":[]}"#, Some(Critical)),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt","crit":null}"#, Some(Critical)),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt","b64":false}"#, Some(Critical)),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt","zip":"DEF"}"#, Some(Critical)),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt","cty":"JWT"}"#, Some(Malformed)),
            ("[]", Some(Malformed)),
            ("", Some(Malformed)),
        ] {
            assert_eq!(parse(header), refused, "{header}");
        }
    }

    #[test]
    fn structures_that_are_refused() {
        let good = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, r#"{"sub":"u"}"#);
        for bad in ["", ".", "..", "a.b.c.d", &good.replace('.', ""), &format!("{good}.x")] {
            let refused = UntrustedJwt::parse(bad, Typ::AccessToken).err();
            assert_eq!(refused, Some(JwtRefused::Malformed), "{bad}");
        }
        let long = "a".repeat(JWT_LEN + 1);
        assert_eq!(UntrustedJwt::parse(&long, Typ::IdToken).err(), Some(JwtRefused::TooLong));
        assert_eq!(UntrustedJwt::parse(&long, Typ::AccessToken).err(), Some(JwtRefused::TooLong));
        let long = "a".repeat(STATUS_LIST_JWT_LEN + 1);
        assert_eq!(UntrustedJwt::parse(&long, Typ::StatusList).err(), Some(JwtRefused::TooLong));
    }

    /// A list of which every other token was revoked does not compress, and is read all the same.
    #[test]
    fn the_longest_status_list_is_read() {
        let mut state = 1_u64;
        let noise = core::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let list = StatusList::new(Bits::One, noise.take(STATUS_LIST_LEN as usize / 8).collect());
        let compressed = serde_json::to_string(&list.compress()).unwrap();
        let sub = format!("https://{}/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw", "h".repeat(253));
        let claims = format!(
            r#"{{"exp":1800000300,"iat":1800000000,"sub":"{sub}","ttl":5,"status_list":{compressed}}}"#
        );
        let header =
            format!(r#"{{"alg":"RS256","kid":"{}","typ":"statuslist+jwt"}}"#, "k".repeat(64));
        let text = token(&header, &claims);
        let text = format!("{}.{}", text.rsplit_once('.').unwrap().0, base64url(&[7; 512]));
        assert!(text.len() > 3 * JWT_LEN, "{}", text.len());
        let jwt = UntrustedJwt::parse(&text, Typ::StatusList).unwrap();
        let key = key(&"k".repeat(64), Alg::RS256);
        let claims = jwt.accept::<StatusListClaims>(&key, Verdict::Good).unwrap().claims;
        assert_eq!(claims.status_list.decompress(), Ok(list));
    }

    #[test]
    fn claims_need_a_good_verdict_of_the_right_key() {
        let text = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, r#"{"sub":"u","exp":5}"#);
        let jwt = UntrustedJwt::parse(&text, Typ::AccessToken).unwrap();
        let accept = |key: &PublicJwk, verdict| jwt.accept::<Claims>(key, verdict);
        let verified = accept(&key("k", Alg::ES256), Verdict::Good).unwrap();
        assert_eq!(verified.claims.sub, "u");
        assert_eq!(verified.expires_at, Some(UnixTime::from_secs(5)));
        let bad = [
            accept(&key("k", Alg::ES256), Verdict::Bad),
            accept(&key("other", Alg::ES256), Verdict::Good),
            accept(&key("k", Alg::RS256), Verdict::Good),
        ];
        for refused in bad {
            assert_eq!(refused.unwrap_err(), JwtRefused::Signature);
        }
    }

    #[test]
    fn the_three_times_are_numbers_from_the_epoch_on() {
        for claims in [r#"{"sub":"u","exp":"5"}"#, r#"{"sub":"u","exp":-1}"#, r#"{"exp":1}"#] {
            let text = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, claims);
            let jwt = UntrustedJwt::parse(&text, Typ::AccessToken).unwrap();
            let refused = jwt.accept::<Claims>(&key("k", Alg::ES256), Verdict::Good).unwrap_err();
            assert_eq!(refused, JwtRefused::Malformed, "{claims}");
        }
    }
}
