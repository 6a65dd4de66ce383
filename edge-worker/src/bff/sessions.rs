//! Sessions: found in the isolate's memory, else at the origin.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use shared::bff::{COOKIE, OPEN, OpenSession, OpenedSession, SessionHandle};
use shared::limits::BFF_RENEWED_BEFORE_IN;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use crate::Edge;
use crate::answer::Refusal;
use crate::bearer;
use crate::incoming::Incoming;
use crate::origin::{self, Ask};

/// How many sessions one generation remembers; there are two.
const REMEMBERED: usize = 2_048;

/// What became of a request's session.
pub(super) enum Found {
    /// It is alive; its access token was active a moment ago.
    Alive {
        /// The browser's handle.
        handle: SessionHandle,
        /// The session.
        session: Rc<OpenedSession>,
    },
    /// There is none: the browser has no handle, or one that is over, or was never issued.
    None,
}

/// Returns the handle that the browser has, if one of ours was ever issued with it.
pub(super) fn handle(edge: &Edge, incoming: &Incoming) -> Option<SessionHandle> {
    let cookies = incoming.header("Cookie");
    let cookie = edge.config.cookies().policy.find(cookies.as_deref(), COOKIE)?;
    SessionHandle::parse(&edge.config.keys.bff_handles, cookie)
}

/// Finds the session of a request.
///
/// What is remembered is used as long as its access token is not about to end and its status says
/// that it is active; only then is the origin asked, which renews the token. When the origin is away,
/// what is left of the access token's life is used up first.
///
/// # Errors
/// Unavailable, when nobody can tell: the session stays.
pub(super) async fn find(edge: &Edge, incoming: &Incoming) -> Result<Found, Refusal> {
    let Some(handle) = handle(edge, incoming) else { return Ok(Found::None) };
    let digest = handle.digest();
    let mut left_over = None;
    if let Some(session) = SESSIONS.with_borrow(|sessions| sessions.find(&digest, incoming.now))
        && bearer::is_active(edge, &session.access_token, incoming.now).await?
    {
        if incoming.now.plus(BFF_RENEWED_BEFORE_IN) < session.access_expires_at {
            return Ok(Found::Alive { handle, session });
        }
        left_over = Some(session);
    }
    let open = OpenSession { handle: handle.as_str().to_owned() };
    let told = match origin::ask(edge, incoming, &Ask::json(OPEN, &open)).await {
        Ok(told) => told,
        Err(refusal) => {
            let session = left_over.ok_or(refusal)?;
            return Ok(Found::Alive { handle, session });
        }
    };
    match (told.status, serde_json::from_str(&told.text)) {
        (200, Ok(opened)) => {
            let session = remember(&handle, opened);
            Ok(Found::Alive { handle, session })
        }
        (404, _) => {
            forget(&handle);
            Ok(Found::None)
        }
        _ => Err(Refusal::Unavailable),
    }
}

/// Remembers a session, as the origin told it.
pub(super) fn remember(handle: &SessionHandle, opened: OpenedSession) -> Rc<OpenedSession> {
    let session = Rc::new(opened);
    SESSIONS.with_borrow_mut(|sessions| sessions.put(&handle.digest(), Rc::clone(&session)));
    session
}

/// Forgets a session: the next request asks the origin.
pub(super) fn forget(handle: &SessionHandle) {
    SESSIONS.with_borrow_mut(|sessions| sessions.remove(&handle.digest()));
}

/// Sessions by the digest of the handle. Only those that the origin has told enter. When the young
/// generation is full, it becomes the old one.
#[derive(Default)]
struct Sessions {
    young: HashMap<[u8; 32], Rc<OpenedSession>>,
    old: HashMap<[u8; 32], Rc<OpenedSession>>,
}

thread_local! {
    static SESSIONS: RefCell<Sessions> = RefCell::new(Sessions::default());
}

impl Sessions {
    fn find(&self, digest: &Sha256Digest, now: UnixTime) -> Option<Rc<OpenedSession>> {
        let key = digest.as_bytes();
        let session = self.young.get(key).or_else(|| self.old.get(key))?;
        let end = session.access_expires_at.min(session.expires_at).min(session.idle_expires_at);
        (now < end).then(|| Rc::clone(session))
    }

    fn put(&mut self, digest: &Sha256Digest, session: Rc<OpenedSession>) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(*digest.as_bytes(), session);
    }

    fn remove(&mut self, digest: &Sha256Digest) {
        self.young.remove(digest.as_bytes());
        self.old.remove(digest.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn session(access_expires_at: u64) -> Rc<OpenedSession> {
        Rc::new(OpenedSession {
            access_token: "t".to_owned(),
            access_expires_at: UnixTime::from_secs(access_expires_at),
            claims: Map::new(),
            auth_time: UnixTime::from_secs(0),
            expires_at: UnixTime::from_secs(200),
            idle_expires_at: UnixTime::from_secs(150),
        })
    }

    fn digest(number: usize) -> Sha256Digest {
        Sha256Digest::of(number.to_string().as_bytes())
    }

    #[test]
    fn a_session_is_remembered_until_the_first_of_its_ends() {
        let mut sessions = Sessions::default();
        sessions.put(&digest(1), session(100));
        sessions.put(&digest(2), session(300));
        let found =
            |number, now| sessions.find(&digest(number), UnixTime::from_secs(now)).is_some();
        assert!(found(1, 99) && !found(1, 100));
        assert!(found(2, 149) && !found(2, 150));
        assert!(!found(3, 0));
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_forgotten_is_gone() {
        let mut sessions = Sessions::default();
        for number in 0..=2 * REMEMBERED {
            sessions.put(&digest(number), session(100));
        }
        assert_eq!(sessions.young.len() + sessions.old.len(), REMEMBERED + 1);
        for number in [REMEMBERED, 2 * REMEMBERED] {
            assert!(sessions.find(&digest(number), UnixTime::from_secs(0)).is_some());
            sessions.remove(&digest(number));
            assert!(sessions.find(&digest(number), UnixTime::from_secs(0)).is_none());
        }
    }
}
