//! Status lists, verified.

use std::cell::RefCell;
use std::thread::LocalKey;

use shared::jwt::{Typ, UntrustedJwt};
use shared::limits::{STATUS_LIST_STALE_IN, STATUS_LIST_TTL_IN};
use shared::status_list::{StatusList, StatusListClaims, StatusListId};

use super::slot::Bounds;
use super::{Kept, NotVerified, Slots, Unreadable, Written, signed_by_issuer};
use crate::{Edge, platform};

/// A status list, or that there is none any more.
pub(crate) struct PublishedList {
    /// The statuses; `None` when the list is gone, and with it every token that is in it.
    pub(crate) list: Option<StatusList>,
    written: Written,
}

impl PublishedList {
    /// Returns the signed list and its `ETag`.
    pub(crate) fn jwt(&self) -> Option<(&str, Option<&str>)> {
        match &self.written {
            Written::Text { text, etag } => Some((text, etag.as_deref())),
            Written::Gone => None,
        }
    }
}

impl Kept for PublishedList {
    type Key = StatusListId;

    /// Renewed before it is older than it says it may be, and then first: a revocation is seen
    /// [`STATUS_LIST_TTL_IN`] seconds later at most. While the origin is away nobody can tell who
    /// was revoked, so it is not used for long.
    const BOUNDS: Bounds = Bounds {
        fresh: STATUS_LIST_TTL_IN * 1_000 - 2_000,
        renewed_behind: STATUS_LIST_TTL_IN * 1_000,
        stale: STATUS_LIST_STALE_IN * 1_000,
    };

    fn slots() -> &'static LocalKey<RefCell<Slots<Self>>> {
        thread_local!(static SLOTS: RefCell<Slots<PublishedList>> = RefCell::default());
        &SLOTS
    }

    fn path(list: &StatusListId) -> String {
        list.path()
    }

    async fn read(edge: &Edge, list: &StatusListId, written: &Written) -> Result<Self, Unreadable> {
        let Written::Text { text, .. } = written else {
            return Ok(Self { list: None, written: Written::Gone });
        };
        let malformed = |why: &str| Unreadable::Malformed(why.to_owned());
        let jwt = UntrustedJwt::parse(text, Typ::StatusList)
            .map_err(|refused| Unreadable::Malformed(format!("{refused:?}")))?;
        let verified = match signed_by_issuer::<StatusListClaims>(edge, &jwt).await {
            Ok(verified) => verified,
            Err(NotVerified::Refused) => return Err(malformed("the signature is not good")),
            Err(NotVerified::Unknown(_)) => return Err(Unreadable::Unavailable),
        };
        let issuer = &edge.config.issuer;
        let list = StatusListClaims::validate(&verified, issuer, list, platform::now())
            .map_err(|_| malformed("its claims are not good"))?;
        Ok(Self { list: Some(list), written: written.clone() })
    }

    fn written(&self) -> &Written {
        &self.written
    }
}
