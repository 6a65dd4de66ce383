//! Login sessions as their users see them: which there are, and what was begun under each.

use shared::claims::SessionId;
use shared::client::ClientId;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::GrantId;

use super::{CodeRecord, LogoutNotice, SessionRecord, UserId};

/// Sessions of one user that are listed at most. The oldest give way, so that nobody who signs in
/// again and again makes a list that takes long to read. They stay usable until they end, but the
/// account page does not show them. Signing out everywhere makes them worth nothing all the same,
/// because it moves the user's `valid_from`.
pub(super) const LISTED_AT_MOST: i64 = 1_000;

/// A grant, as the login session under which it was begun knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionGrant {
    /// The grant.
    pub grant_id: GrantId,
    /// What its client is told when the session ends: `sid` names the session under which the grant
    /// was begun, also when it went over to another. `None` for a grant of before an update, whose
    /// client has never heard of its session.
    pub notice: Option<LogoutNotice>,
}

impl SessionGrant {
    /// Makes what a session knows of a code, and of the grant that it begins.
    #[must_use]
    pub fn of(code: &CodeRecord) -> Self {
        let CodeRecord { grant_id, client_id, user_id, session, .. } = code;
        let (client_id, user_id) = (client_id.clone(), user_id.clone());
        let notice = LogoutNotice { client_id, user_id, sid: SessionId::of_session(session) };
        Self { grant_id: *grant_id, notice: Some(notice) }
    }

    /// Writes the form that [`Self::parse`] reads. The user comes last, because only there a space
    /// would do no harm.
    pub(super) fn to_text(&self) -> String {
        let Self { grant_id, notice } = self;
        match notice {
            Some(LogoutNotice { client_id, user_id, sid }) => {
                format!("{grant_id} {client_id} {} {user_id}", sid.as_str())
            }
            None => grant_id.to_string(),
        }
    }

    /// Reads what [`Self::to_text`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let grant_id = GrantId::parse(parts.next()?)?;
        let notice = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => None,
            (Some(client_id), Some(sid), Some(user_id)) => Some(LogoutNotice {
                client_id: ClientId::parse(client_id).ok()?,
                user_id: UserId(user_id.to_owned()),
                sid: SessionId::parse(sid)?,
            }),
            _ => return None,
        };
        Some(Self { grant_id, notice })
    }
}

/// One of a user's live sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSession {
    /// The session.
    pub record: SessionRecord,
    /// When it was last used.
    pub used_at: UnixTime,
}

impl UserSession {
    /// Returns the name by which its user, and clients, know it.
    #[must_use]
    pub fn sid(&self) -> SessionId {
        SessionId::of_session(&self.digest())
    }

    /// Returns the digest of its cookie.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.record.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let grant_id = GrantId::from_bytes([3; 16]);
        let notice = LogoutNotice {
            client_id: ClientId::parse("web").unwrap(),
            user_id: UserId("a user of elsewhere".to_owned()),
            sid: SessionId::of_session(&Sha256Digest::of(b"a session")),
        };
        for notice in [None, Some(notice)] {
            let grant = SessionGrant { grant_id, notice };
            assert_eq!(SessionGrant::parse(&grant.to_text()), Some(grant));
        }
        let id = grant_id.to_string();
        for bad in ["", "x", &format!("{id} web"), &format!("{id} web x"), &format!("{id} ? x u")] {
            assert_eq!(SessionGrant::parse(bad), None, "{bad}");
        }
    }
}
