//! What Redis answers, read.

use std::net::IpAddr;

use redis::RedisError;

use shared::client::ClientId;
use shared::scope::Scope;
use shared::time::UnixTime;

use super::link::was_not_asked;
use crate::store::{NotAsked, StoreError};

/// The fields of a reply, read one after the other.
pub(super) struct Reply(pub(super) std::vec::IntoIter<Option<String>>);

impl Reply {
    pub(super) fn optional(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.optional().ok_or_else(|| unreadable("row: a field is missing"))
    }

    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        self.text()?.parse().map_err(|_| unreadable("number"))
    }

    pub(super) fn time(&mut self) -> Result<UnixTime, StoreError> {
        self.number().map(UnixTime::from_secs)
    }

    pub(super) fn address(&mut self) -> Result<Option<IpAddr>, StoreError> {
        let address = self.optional().map(|text| text.parse());
        address.transpose().map_err(|_| unreadable("address"))
    }

    pub(super) fn scope(&mut self) -> Result<Scope, StoreError> {
        Scope::parse(&self.text()?).map_err(|_| unreadable("scope"))
    }
}

pub(super) fn read_client_id(text: &str) -> Result<ClientId, StoreError> {
    ClientId::parse(text).map_err(|_| unreadable("client_id"))
}

/// Does NOT repeat what was read.
pub(super) fn unreadable(what: &str) -> StoreError {
    StoreError(format!("Redis holds an unreadable {what}").into())
}

pub(super) fn failed(error: RedisError) -> StoreError {
    if was_not_asked(&error) {
        return StoreError(Box::new(NotAsked(error.into())));
    }
    StoreError(Box::new(error))
}
