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
    /// Who has presented the previous one since, the first time included.
    pub asked: Asked,
}

/// Which presentations of the previous refresh token may have been told the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// None: the token is held.
    Nobody,
    /// This one alone, by its id.
    One(String),
    /// More than one, or it is not known.
    Others,
}

impl Asked {
    /// The presentation that has rotated the token, or is in its place.
    #[must_use]
    pub fn one(attempt: &AttemptId) -> Self {
        Self::One(attempt.to_base64url())
    }

    /// Reads what [`Self::as_str`] gave.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "" => Self::Nobody,
            "*" => Self::Others,
            id => Self::One(id.to_owned()),
        }
    }

    /// Returns how it is written down.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Nobody => "",
            Self::One(id) => id,
            Self::Others => "*",
        }
    }

    /// Tells whether somebody may have been told, when these were not.
    #[must_use]
    pub fn is_told(&self, untold: &[AttemptId]) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(id) => untold.iter().all(|attempt| attempt.to_base64url() != *id),
            Self::Others => true,
        }
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
        let is_forgiven =
            now.since(self.rotated_at) <= REFRESH_GRACE_IN || !self.asked.is_told(untold);
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
