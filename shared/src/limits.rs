//! Every bound that Cadence promises, each with its reason. Seconds end in `_IN`, bytes in `_LEN`.

use core::ops::RangeInclusive;

/// Life of an authorization code, seconds. RFC 6749 §4.1.2 recommends at most ten minutes; a
/// client redeems at once, so a minute is generous.
pub const CODE_EXPIRES_IN: u64 = 60;

/// Life of an access token, seconds. Also the longest that an API which never asks again can
/// be behind a revocation.
pub const ACCESS_TOKEN_EXPIRES_IN: u64 = 300;

/// Access tokens of one grant that live at the same time, at most: revoking them all at once is one
/// step of the store, in which it does nothing else.
pub const ACCESS_TOKENS_OF_A_GRANT: u64 = 10_000;

/// Life of an ID token, seconds: it is read once, at the end of the sign-in.
pub const ID_TOKEN_EXPIRES_IN: u64 = 300;

/// Life of a logout token, seconds: each attempt to deliver one makes a new one (OpenID Connect
/// Back-Channel Logout 1.0 §2.4 prefers at most two minutes).
pub const LOGOUT_TOKEN_EXPIRES_IN: u64 = 120;

/// How long the refresh token of the previous generation still returns its successor, seconds:
/// time enough for a lost answer to be asked for again.
pub const REFRESH_GRACE_IN: u64 = 10;

/// How long a refresh token lives unused, seconds (14 days).
pub const REFRESH_IDLE_IN: u64 = 14 * 86_400;

/// How long a grant lives at most, seconds (90 days): no rotation extends it.
pub const GRANT_EXPIRES_IN: u64 = 90 * 86_400;

/// How long a login session lives unused, seconds (8 hours).
pub const LOGIN_SESSION_IDLE_IN: u64 = 8 * 3_600;

/// How long a login session lives at most, seconds (7 days).
pub const LOGIN_SESSION_EXPIRES_IN: u64 = 7 * 86_400;

/// How long a session at the backend-for-frontend lives unused, seconds (2 hours). It is moved when
/// the origin is asked, which the edge does once for each access token: up to
/// [`ACCESS_TOKEN_EXPIRES_IN`] seconds late.
pub const BFF_SESSION_IDLE_IN: u64 = 2 * 3_600;

/// How long a session at the backend-for-frontend lives at most, seconds (24 hours).
pub const BFF_SESSION_EXPIRES_IN: u64 = 86_400;

/// How long before its end an access token of the backend-for-frontend is renewed, seconds: whatever
/// it is sent with arrives while it is good.
pub const BFF_RENEWED_BEFORE_IN: u64 = 60;

/// How long one renewal of a session's tokens may take before another one may begin, seconds: more
/// than the origin lets a request take, less than [`REFRESH_GRACE_IN`].
pub const BFF_RENEWAL_IN: u64 = 4;
/// How long a client that does not answer is told of a logout again and again, seconds (24 hours):
/// longer than a night without anybody who could mend it.
pub const LOGOUT_NOTICE_EXPIRES_IN: u64 = 86_400;

/// Longest `User-Agent` that is kept with a login session, bytes: the rest of a longer one tells
/// nothing more.
pub const USER_AGENT_LEN: usize = 256;

/// How far two clocks may differ, seconds (FAPI 2.0 Security Profile §5.3.2.1 accepts 10).
pub const CLOCK_SKEW: u64 = 10;

/// How long a sign-in that was begun may take, seconds.
pub const TRANSACTION_EXPIRES_IN: u64 = 600;

/// How long the browser keeps a sign-in that was begun, seconds: longer than it may take, so that
/// who comes back too late can be led back to the beginning.
pub const TRANSACTION_KEPT_IN: u64 = 86_400;

/// How long a JWK Set is fresh, seconds: no key signs before it was published this long.
pub const JWKS_FRESH_IN: u64 = 300;

/// How long a JWK Set may be served when the origin is away, seconds (24 hours).
pub const JWKS_STALE_IN: u64 = 86_400;

/// How long a status list is used before it is fetched again, seconds: how far behind a revocation
/// whoever checks status lists may be (`ttl`).
pub const STATUS_LIST_TTL_IN: u64 = 5;

/// How long a status list is used while the origin is away, seconds: its [`STATUS_LIST_TTL_IN`] and
/// [`CLOCK_SKEW`]. Beyond it nobody can tell whether a token was revoked.
pub const STATUS_LIST_STALE_IN: u64 = STATUS_LIST_TTL_IN + CLOCK_SKEW;

/// How long a signed status list says that it is good, seconds: as long as an access token, so that
/// whoever has lost its source still has something to go by, if its own rules allow that.
pub const STATUS_LIST_EXPIRES_IN: u64 = ACCESS_TOKEN_EXPIRES_IN;

/// Statuses in one list: 16 KB of bits, most of them 0 as a rule, which compress to a few hundred
/// bytes; when many are revoked, to 16 KB at most.
pub const STATUS_LIST_LEN: u32 = 1 << 17;

/// Statuses that an origin reserves at once: enough that a reservation costs next to nothing,
/// few enough that what is left over when the origin ends does not matter.
pub const STATUS_BLOCK_LEN: u32 = 1 << 10;

/// How long an origin hands out the statuses of one reservation, seconds: a list is kept this much
/// longer than its tokens live.
pub const STATUS_BLOCK_USED_IN: u64 = 600;

/// How long a status list is kept after the last reservation in it, seconds: its last token has
/// expired then, whatever clock it is held against.
pub const STATUS_LIST_KEPT_IN: u64 =
    STATUS_BLOCK_USED_IN + ACCESS_TOKEN_EXPIRES_IN + 4 * CLOCK_SKEW;

/// How long after its signing time a signed request from edge to origin is accepted, seconds.
pub const SIGNED_REQUEST_EXPIRES_IN: u64 = 30;

/// Failed logins for one user from one address (IPv6: one /64) within [`LOGIN_WINDOW_IN`] before
/// further ones are refused unseen. The user can still log in from anywhere else.
pub const LOGIN_ATTEMPTS_PER_USER_AND_ADDRESS: u32 = 10;

/// Failed logins for one user from all addresses together within [`LOGIN_WINDOW_IN`]: five networks
/// that guess lock a user out, until the first of their guesses is as old as that (NIST SP 800-63B
/// §5.2.2 allows 100 in a row).
pub const LOGIN_ATTEMPTS_PER_USER: u32 = 50;

/// Failed logins from one address (IPv6: one /64) within [`LOGIN_WINDOW_IN`].
pub const LOGIN_ATTEMPTS_PER_ADDRESS: u32 = 100;

/// Failed authentications of one client from one network within [`LOGIN_WINDOW_IN`], in one process.
pub const CLIENT_FAILURES: u32 = 100;

/// How long a failed login is counted, seconds (15 minutes: the longest lock-out that somebody else's
/// guessing can cause, once it has ended).
pub const LOGIN_WINDOW_IN: u64 = 900;

/// Longest request line that is read: the platform of the edge refuses more than 16 KB.
pub const URL_LEN: usize = 16 * 1024;

/// Longest form body that is read, bytes: all real ones are below 8 KB.
pub const FORM_LEN: usize = 64 * 1024;

/// How much of a form that is too long is read, and thrown away, before it is refused, bytes: most
/// clients listen only when they have sent everything.
pub const FORM_PASSED_OVER: usize = 2 << 20;

/// Most parameters in a query or form; the longest real request has about twenty.
pub const PARAMETERS: usize = 64;

/// Longest `client_id`, bytes.
pub const CLIENT_ID_LEN: usize = 128;

/// Longest client secret, bytes.
pub const CLIENT_SECRET_LEN: usize = 256;

/// Longest redirect URI, bytes.
pub const REDIRECT_URI_LEN: usize = 1_024;

/// Longest `state`, bytes: it is echoed in full or refused, never cut.
pub const STATE_LEN: usize = 2_048;

/// Longest `nonce`, bytes.
pub const NONCE_LEN: usize = 512;

/// Longest `scope` value, bytes.
pub const SCOPE_LEN: usize = 1_024;

/// Most scope tokens in one request.
pub const SCOPE_TOKENS: usize = 64;

/// Longest `login_hint`, bytes: the rest of an over-long one is not worth a refusal.
pub const LOGIN_HINT_LEN: usize = 256;

/// Longest username, bytes before normalization.
pub const USERNAME_LEN: usize = 256;

/// Longest password, bytes: checked before any hashing.
pub const PASSWORD_LEN: usize = 1_024;

/// Longest JWT that is looked at, bytes.
pub const JWT_LEN: usize = 8 * 1024;

/// Longest signed status list, bytes: what [`STATUS_LIST_LEN`] statuses of one bit need when they
/// do not compress at all, in base64url twice (29 KB), and its header, claims and signature.
pub const STATUS_LIST_JWT_LEN: usize = 32 * 1024;

/// Sizes of RSA moduli that are taken, bits: fewer are too weak (RFC 7518 §3.3), and more keep a
/// verifier busy.
pub const RSA_MODULUS_BITS: RangeInclusive<usize> = 2_048..=8_192;

/// Longest opaque token or code that is looked at, bytes.
pub const OPAQUE_LEN: usize = 512;

/// Longest cookie (name, `=`, value), bytes: browsers promise no more than 4096 (RFC 6265 §6.1).
pub const COOKIE_LEN: usize = 4_000;

/// Sign-ins that one browser may have begun at the same time; the oldest give way.
pub const TRANSACTIONS: usize = 8;

/// Longest path (with query and fragment) that a sign-in of the backend-for-frontend leads back to,
/// bytes: it has to fit into a cookie.
pub const RETURN_TO_LEN: usize = 1_024;
