//! Signing keys: made, kept encrypted in the directory, published before they sign, retired after
//! their last token has expired.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RsaKeyPair,
    RsaPublicKeyComponents,
};
use jwt_compact::{Algorithm, AlgorithmExt as _, Claims, Header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::jwk::{Alg, JwkRefused, JwkSet, KeyParameters, PublicJwk, PublicKey};
use shared::jwt::{JwtRefused, SignatureBytes, Typ, UntrustedJwt, Verdict, Verified};
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, CLOCK_SKEW, ID_TOKEN_EXPIRES_IN, JWKS_FRESH_IN};
use shared::seal::SealKey;
use shared::secret::base64url;
use shared::time::UnixTime;

pub use revocation::revoke;

use crate::clock;
use crate::directory::{Directory, DirectoryError, KeyRecord};

mod revocation;

/// How long a key stays published after its successor signs, seconds: its last token has expired.
const RETIRES_IN: u64 = (if ACCESS_TOKEN_EXPIRES_IN > ID_TOKEN_EXPIRES_IN {
    ACCESS_TOKEN_EXPIRES_IN
} else {
    ID_TOKEN_EXPIRES_IN
}) + 2 * CLOCK_SKEW;

/// Why keys cannot be had.
#[derive(Debug)]
pub enum KeyError {
    /// The directory is away.
    Directory(DirectoryError),
    /// A key in the directory cannot be decrypted: the server's secret is not the one it was made
    /// under. A new key is never made in its place.
    Sealed {
        /// Its `kid`.
        kid: String,
    },
    /// A public key is not of the kind or the size that its algorithm wants.
    Refused(JwkRefused),
    /// The engine refused to make or read a key.
    Engine(&'static str),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Sealed { kid } => {
                write!(f, "the signing key {kid} cannot be decrypted with this secret")
            }
            Self::Refused(refused) => refused.fmt(f),
            Self::Engine(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<DirectoryError> for KeyError {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl From<JwkRefused> for KeyError {
    fn from(refused: JwkRefused) -> Self {
        Self::Refused(refused)
    }
}

/// The keys of the directory, ready for use.
pub struct KeyRing {
    keys: Vec<Key>,
}

struct Key {
    signer: Signer,
    verifier: ParsedPublicKey,
    jwk: PublicJwk,
    signs_at: UnixTime,
    expires_at: Option<UnixTime>,
}

enum Signer {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// There is no key of an algorithm, or the engine failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningFailed;

impl fmt::Display for SigningFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no signature could be made")
    }
}

impl std::error::Error for SigningFailed {}

impl KeyRing {
    /// Reads all keys; in an empty directory, makes the first ones before, one per algorithm.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn begin(
        directory: &dyn Directory,
        seal: &SealKey,
        now: UnixTime,
    ) -> Result<Self, KeyError> {
        if directory.list_keys().await?.is_empty() {
            let first = Alg::ALL
                .into_iter()
                .map(|alg| generate(alg, seal, now, now))
                .collect::<Result<Vec<_>, _>>()?;
            // When another origin was faster, its keys are there now and these are not.
            if directory.change_keys(&[], &first, &[], &[]).await? {
                tracing::info!("the directory had no signing keys: the first ones were made");
            }
        }
        Self::load(directory, seal).await
    }

    /// Reads all keys.
    ///
    /// Does NOT make any: a directory that has lost its keys must not change the issuer's under way.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn load(directory: &dyn Directory, seal: &SealKey) -> Result<Self, KeyError> {
        let records = directory.list_keys().await?;
        if records.is_empty() {
            return Err(KeyError::Engine("the directory has no signing keys"));
        }
        let keys = records.iter().map(|record| open(record, seal)).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Signs a token with the newest key of `alg` that is due. When none is, because the clock went
    /// back or the one that was has been revoked, the next one signs: it is published already.
    ///
    /// # Errors
    /// [`SigningFailed`].
    pub fn sign(
        &self,
        alg: Alg,
        typ: Typ,
        claims: &impl Serialize,
        now: UnixTime,
    ) -> Result<String, SigningFailed> {
        let keys = || self.published(now).filter(|key| key.jwk.alg == alg);
        let due = keys()
            .filter(|key| key.signs_at <= now)
            .max_by_key(|key| (key.signs_at, key.expires_at.is_none()));
        let key = due.or_else(|| keys().min_by_key(|key| key.signs_at)).ok_or(SigningFailed)?;
        let header = Header::empty().with_token_type(typ.as_str()).with_key_id(&*key.jwk.kid);
        let token = Engine(alg)
            .token(&header, &Claims::new(claims), &key.signer)
            .map_err(|_| SigningFailed)?;
        // The engine's failures arrive as an empty signature.
        if token.ends_with('.') { Err(SigningFailed) } else { Ok(token) }
    }

    /// Verifies a token's signature and returns its claims.
    ///
    /// Does NOT look at the claims.
    ///
    /// # Errors
    /// [`JwtRefused`]; [`JwtRefused::Kid`] when no published key has the `kid`.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        typ: Typ,
        now: UnixTime,
    ) -> Result<Verified<T>, JwtRefused> {
        self.verify_parsed(&UntrustedJwt::parse(token, typ)?, now)
    }

    /// Verifies the signature of a token that is parsed already, as [`Self::verify`] does.
    ///
    /// # Errors
    /// [`JwtRefused`]; [`JwtRefused::Kid`] when no published key has the `kid`.
    pub fn verify_parsed<T: DeserializeOwned>(
        &self,
        jwt: &UntrustedJwt<'_>,
        now: UnixTime,
    ) -> Result<Verified<T>, JwtRefused> {
        let key = self
            .published(now)
            .find(|key| key.jwk.kid == jwt.kid() && key.jwk.alg == jwt.alg())
            .ok_or(JwtRefused::Kid)?;
        jwt.accept(&key.jwk, verdict(&key.verifier, jwt.signing_input(), jwt.signature()))
    }

    /// Tells whether a key of this name is published: what it has signed may still be good.
    #[must_use]
    pub fn publishes(&self, kid: &str, now: UnixTime) -> bool {
        self.published(now).any(|key| key.jwk.kid == kid)
    }

    /// Returns what is published.
    #[must_use]
    pub fn jwks(&self, now: UnixTime) -> JwkSet {
        JwkSet { keys: self.published(now).map(|key| key.jwk.clone()).collect() }
    }

    fn published(&self, now: UnixTime) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.expires_at.is_none_or(|end| now < end))
    }
}

/// How long a new key is published before it signs, seconds: every cached key set has been renewed.
pub const SIGNS_IN: u64 = JWKS_FRESH_IN + CLOCK_SKEW;

/// Adds a key per algorithm of `algs`. Each is published at once and signs from `signs_at`, usually
/// [`SIGNS_IN`] later; from then on its predecessors only verify, until they expire. Keys that have
/// expired are removed.
///
/// Does NOT refuse an earlier `signs_at`, which an emergency may want.
///
/// # Errors
/// [`KeyError`]; also when somebody else has changed the keys meanwhile, and when `seal` does not open
/// those that are there: no server could read the new ones.
pub async fn rotate(
    directory: &dyn Directory,
    seal: &SealKey,
    algs: &[Alg],
    signs_at: UnixTime,
    now: UnixTime,
) -> Result<Vec<KeyRecord>, KeyError> {
    let records = directory.list_keys().await?;
    records.iter().try_for_each(|record| open(record, seal).map(drop))?;
    // Later than every key before it, also when two rotations follow at once or a clock went back.
    let latest = records.iter().map(|key| key.signs_at.plus(1)).max().unwrap_or_default();
    let signs_at = signs_at.max(latest);
    let added = algs
        .iter()
        .map(|alg| generate(*alg, seal, now, signs_at))
        .collect::<Result<Vec<_>, _>>()?;
    let (expired, live): (Vec<_>, Vec<_>) = records
        .iter()
        .partition::<Vec<&KeyRecord>, _>(|key| key.expires_at.is_some_and(|end| end <= now));
    let retire: Vec<_> = live
        .iter()
        .filter(|key| algs.contains(&key.alg) && key.expires_at.is_none())
        .map(|key| (key.kid.clone(), signs_at.plus(RETIRES_IN)))
        .collect();
    let known: Vec<_> = records.iter().map(|key| key.kid.clone()).collect();
    let removed: Vec<_> = expired.iter().map(|key| key.kid.clone()).collect();
    if directory.change_keys(&known, &added, &retire, &removed).await? {
        Ok(added)
    } else {
        Err(KeyError::Engine("somebody else has changed the keys at this moment; try again"))
    }
}

fn generate(
    alg: Alg,
    seal: &SealKey,
    now: UnixTime,
    signs_at: UnixTime,
) -> Result<KeyRecord, KeyError> {
    const FAILED: KeyError = KeyError::Engine("the engine could not make a key");
    let random = SystemRandom::new();
    let pkcs8 = match alg {
        Alg::ES256 => {
            EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map_err(|_| FAILED)?
                .as_ref()
                .to_vec()
        }
        Alg::EdDsa => {
            Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| FAILED)?.as_ref().to_vec()
        }
        Alg::RS256 => {
            use aws_lc_rs::encoding::AsDer as _;
            let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| FAILED)?;
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(|_| FAILED)?;
            der.as_ref().to_vec()
        }
    };
    let (_, jwk, _) = read(alg, &pkcs8)?;
    let sealed = seal
        .seal(clock::random(), jwk.kid.as_bytes(), &pkcs8)
        .ok_or(KeyError::Engine("a key could not be encrypted"))?;
    Ok(KeyRecord {
        kid: jwk.kid,
        alg,
        sealed_pkcs8: sealed.into_bytes(),
        created_at: now,
        signs_at,
        expires_at: None,
    })
}

fn open(record: &KeyRecord, seal: &SealKey) -> Result<Key, KeyError> {
    let sealed = || KeyError::Sealed { kid: record.kid.clone() };
    let text = std::str::from_utf8(&record.sealed_pkcs8).map_err(|_| sealed())?;
    let pkcs8 = seal.open(record.kid.as_bytes(), text).map_err(|_| sealed())?;
    let (signer, jwk, verifier) = read(record.alg, &pkcs8)?;
    let KeyRecord { signs_at, expires_at, .. } = *record;
    Ok(Key { signer, verifier, jwk, signs_at, expires_at })
}

fn read(alg: Alg, pkcs8: &[u8]) -> Result<(Signer, PublicJwk, ParsedPublicKey), KeyError> {
    const FAILED: KeyError = KeyError::Engine("a key in the directory cannot be read");
    let (signer, parameters) = match alg {
        Alg::ES256 => {
            let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(|_| FAILED)?;
            // An uncompressed point: 4, then 32 bytes each of x and y (SEC 1 §2.3.3).
            let public = key.public_key().as_ref();
            let (_, point) = public.split_first_chunk::<1>().ok_or(FAILED)?;
            let (x, y) = point.split_at_checked(32).ok_or(FAILED)?;
            let (x, y) = (base64url(x), base64url(y));
            (Signer::Es256(key), KeyParameters::Ec { crv: "P-256".into(), x, y })
        }
        Alg::EdDsa => {
            let key = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| FAILED)?;
            let x = base64url(key.public_key().as_ref());
            (Signer::EdDsa(key), KeyParameters::Okp { crv: "Ed25519".into(), x })
        }
        Alg::RS256 => {
            let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| FAILED)?;
            let n = base64url(key.public_key().modulus().big_endian_without_leading_zero());
            let e = base64url(key.public_key().exponent().big_endian_without_leading_zero());
            (Signer::Rs256(key), KeyParameters::Rsa { n, e })
        }
    };
    let kid = parameters.thumbprint();
    let jwk = PublicJwk::for_signatures(parameters, kid, alg);
    let verifier = verifier(&jwk)?;
    Ok((signer, jwk, verifier))
}

/// Makes the engine's key from a public one, for the one algorithm that it is used with.
///
/// Checks, in order: the parameters ([`PublicKey::parse`]), and that they are a key.
fn verifier(jwk: &PublicJwk) -> Result<ParsedPublicKey, KeyError> {
    match PublicKey::parse(jwk)? {
        PublicKey::Es256(point) => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point),
        PublicKey::EdDsa(point) => ParsedPublicKey::new(&signature::ED25519, point),
        PublicKey::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256),
    }
    .map_err(|_| KeyError::Engine("a public key cannot be read"))
}

/// Tells whether `signature` is the signature of `message` by a key.
///
/// **Does NOT** look at what the message says.
fn verdict(verifier: &ParsedPublicKey, message: &[u8], signature: &[u8]) -> Verdict {
    if verifier.verify_sig(message, signature).is_ok() { Verdict::Good } else { Verdict::Bad }
}

/// aws-lc-rs behind jwt-compact's `Algorithm`.
struct Engine(Alg);

impl Algorithm for Engine {
    type SigningKey = Signer;
    type VerifyingKey = ParsedPublicKey;
    type Signature = SignatureBytes;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.0.as_str())
    }

    fn sign(&self, key: &Signer, message: &[u8]) -> SignatureBytes {
        // Empty when the engine fails: `KeyRing::sign` looks for that.
        let random = SystemRandom::new();
        SignatureBytes(match key {
            Signer::Es256(key) => {
                key.sign(&random, message).map(|it| it.as_ref().to_vec()).unwrap_or_default()
            }
            Signer::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Signer::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
                    .unwrap_or_default()
            }
        })
    }

    fn verify_signature(
        &self,
        signature: &SignatureBytes,
        key: &ParsedPublicKey,
        message: &[u8],
    ) -> bool {
        verdict(key, message, &signature.0) == Verdict::Good
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::directory::sqlite::Sqlite;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    #[derive(serde::Deserialize)]
    struct Nothing {}

    /// Rotates at each of these moments, and checks at `then` that what is signed verifies.
    async fn check(rotated_at: &[UnixTime], then: UnixTime) {
        let folder = TempDir::new().unwrap();
        let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
        let seal = SealKey::derive(b"a secret of the tests", "keys");
        KeyRing::begin(&directory, &seal, NOW).await.unwrap();
        for now in rotated_at {
            rotate(&directory, &seal, &Alg::ALL, now.plus(SIGNS_IN), *now).await.unwrap();
        }
        let ring = KeyRing::load(&directory, &seal).await.unwrap();
        for alg in Alg::ALL {
            let token = ring.sign(alg, Typ::IdToken, &serde_json::json!({}), then).unwrap();
            assert!(ring.verify::<Nothing>(&token, Typ::IdToken, then).is_ok(), "{alg}");
        }
    }

    #[tokio::test]
    async fn a_key_that_signs_is_published() {
        check(&[], NOW).await;
        // F17: a clock that went back to before the first keys were made.
        check(&[], NOW.minus(120)).await;
        check(&[NOW], NOW.minus(120)).await;
        check(&[NOW], NOW.plus(1)).await;
        check(&[NOW], NOW.plus(311)).await;
        check(&[NOW], NOW.plus(86_400)).await;
    }

    #[tokio::test]
    async fn rotations_at_once_or_under_a_clock_that_went_back_leave_one_that_signs() {
        check(&[NOW, NOW], NOW.plus(86_400)).await;
        check(&[NOW, NOW.minus(120)], NOW.plus(86_400)).await;
        check(&[NOW, NOW.plus(1), NOW.plus(2)], NOW.plus(312)).await;
    }

    #[tokio::test]
    async fn a_new_key_is_published_before_it_signs() {
        let folder = TempDir::new().unwrap();
        let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
        let seal = SealKey::derive(b"a secret of the tests", "keys");
        KeyRing::begin(&directory, &seal, NOW).await.unwrap();
        let added =
            rotate(&directory, &seal, &[Alg::ES256], NOW.plus(SIGNS_IN), NOW).await.unwrap();
        let ring = KeyRing::load(&directory, &seal).await.unwrap();
        assert!(ring.jwks(NOW).has(&added[0].kid));
        let token = ring.sign(Alg::ES256, Typ::IdToken, &serde_json::json!({}), NOW).unwrap();
        let kid = UntrustedJwt::parse(&token, Typ::IdToken).unwrap().kid().to_owned();
        assert_ne!(kid, added[0].kid);
        let later = NOW.plus(JWKS_FRESH_IN + CLOCK_SKEW);
        let token = ring.sign(Alg::ES256, Typ::IdToken, &serde_json::json!({}), later).unwrap();
        let kid_later = UntrustedJwt::parse(&token, Typ::IdToken).unwrap().kid().to_owned();
        assert_eq!(kid_later, added[0].kid);
    }

    #[tokio::test]
    async fn another_secret_opens_no_key_and_makes_none() {
        let folder = TempDir::new().unwrap();
        let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
        let seal = SealKey::derive(b"a secret of the tests", "keys");
        KeyRing::begin(&directory, &seal, NOW).await.unwrap();
        let other = SealKey::derive(b"another secret", "keys");
        let refused = KeyRing::begin(&directory, &other, NOW).await;
        assert!(matches!(refused, Err(KeyError::Sealed { .. })));
        assert_eq!(directory.list_keys().await.unwrap().len(), 3);
    }

    /// F20: keys that are gone while the server runs are not made anew.
    #[tokio::test]
    async fn keys_are_made_at_the_start_alone() {
        let folder = TempDir::new().unwrap();
        let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
        let seal = SealKey::derive(b"a secret of the tests", "keys");
        assert!(matches!(KeyRing::load(&directory, &seal).await, Err(KeyError::Engine(_))));
        assert_eq!(directory.list_keys().await.unwrap(), []);
    }
}
