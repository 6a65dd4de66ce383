//! Which tokens of a grant are good, and when its parts end.

use shared::limits::REFRESH_GRACE_IN;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use super::AttemptId;

/// The part of a grant's row that decides over refresh tokens and access tokens. The embedded
/// store asks it; the scripts of the Redis store say the same, and the contract holds both to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    /// Generation of the current refresh token; 0 when the grant has none.
    pub generation: u32,
    /// Digest of the current refresh token.
    pub current: Option<Sha256Digest>,
    /// Digest of the one before, until the current one, or an access token of its generation,
    /// has been seen: the answer has arrived then, and nobody needs to ask for it again.
    pub previous: Option<Sha256Digest>,
    /// When the current one replaced the previous one; in the future while the previous one is
    /// held ([`super::Store::hold_refresh`]).
    pub rotated_at: UnixTime,
    /// Who has presented the previous one since, the rotation included, and may have been told.
    pub asked: Asked,
}

/// Presentations of one refresh token that are remembered at most.
pub const PRESENTATIONS: usize = 32;

/// Which presentations of the previous refresh token may have been told the current one: by their ids,
/// with a space between each two. None at all is said of a token that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked(Vec<String>);

impl Asked {
    /// Stands for more than are remembered, and for those of whom nothing is known.
    const MANY: &str = "*";

    /// The presentation that has rotated the token.
    #[must_use]
    pub fn one(attempt: &AttemptId) -> Self {
        Self(vec![attempt.to_base64url()])
    }

    /// Reads what [`Self::to_text`] gave.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Returns how they are written down.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.join(" ")
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns those that are left when it is known that nobody was told of some.
    #[must_use]
    pub fn without(&self, untold: &[AttemptId]) -> Self {
        let untold: Vec<String> = untold.iter().map(AttemptId::to_base64url).collect();
        Self(self.0.iter().filter(|attempt| !untold.contains(attempt)).cloned().collect())
    }

    /// Returns them with one more.
    #[must_use]
    pub fn and(mut self, attempt: &AttemptId) -> Self {
        self.0.push(attempt.to_base64url());
        if self.0.len() > PRESENTATIONS {
            self.0 = vec![Self::MANY.to_owned()];
        }
        self
    }
}

/// Which refresh token of its grant a presented one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// The live one.
    Current,
    /// The one before, and its successor may be handed out again.
    Previous,
    /// Neither: used up, so somebody holds a copy.
    Stale,
}

impl Generations {
    /// Tells which refresh token was presented.
    ///
    /// Source: RFC 9700 §4.14.2; the grace is Cadence's own: one generation, [`REFRESH_GRACE_IN`]
    /// seconds or until somebody is told (`untold` are those who were not), and only while the
    /// successor is unused.
    #[must_use]
    pub fn judge(
        &self,
        presented: &Sha256Digest,
        untold: &[AttemptId],
        now: UnixTime,
    ) -> Presented {
        if self.current.as_ref() == Some(presented) {
            return Presented::Current;
        }
        // One that is held was rotated in the future.
        let is_forgiven = now.since(self.rotated_at) <= REFRESH_GRACE_IN
            || (!self.asked.is_empty() && self.asked.without(untold).is_empty());
        if self.previous.as_ref() == Some(presented) && is_forgiven {
            return Presented::Previous;
        }
        Presented::Stale
    }

    /// Tells whether an access token of `generation` is still good: those of the current
    /// generation are, those of the one before for the grace, so that requests under way at the
    /// moment of a rotation are not cut off.
    #[must_use]
    pub fn covers(&self, generation: u32, now: UnixTime) -> bool {
        generation == self.generation
            || (generation.checked_add(1) == Some(self.generation)
                && now.since(self.rotated_at) <= REFRESH_GRACE_IN)
    }
}

/// When the parts of a grant that begins will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Absolute end of the grant.
    pub(super) grant: UnixTime,
    /// End of the grant if its refresh token is never used.
    pub(super) idle: UnixTime,
    /// End of the first access token.
    pub(super) access: UnixTime,
}

impl Ends {
    /// Computes them: no part outlives the grant, and a grant without a refresh token ends with
    /// its access token.
    pub(super) fn of(
        refresh: Option<&Sha256Digest>,
        access_expires_at: UnixTime,
        grant_expires_at: UnixTime,
        refresh_idle_in: u64,
        now: UnixTime,
    ) -> Self {
        let access = access_expires_at.min(grant_expires_at);
        if refresh.is_none() {
            return Self { grant: access, idle: access, access };
        }
        let idle = grant_expires_at.min(now.plus(refresh_idle_in));
        Self { grant: grant_expires_at, idle, access }
    }
}
