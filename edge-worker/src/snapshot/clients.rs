//! The registered clients.

use std::cell::RefCell;
use std::collections::HashMap;
use std::thread::LocalKey;

use shared::client::{Client, ClientId};
use shared::endpoint;

use super::slot::Bounds;
use super::{Kept, Slots, Unreadable, Written};
use crate::Edge;

/// The registered clients.
pub(crate) struct Clients {
    clients: HashMap<ClientId, Client>,
    written: Written,
}

impl Clients {
    /// Finds a client.
    pub(crate) fn find(&self, id: &ClientId) -> Option<&Client> {
        self.clients.get(id)
    }

    /// Returns all of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }
}

impl Kept for Clients {
    type Key = ();

    /// A change is seen within 10 seconds. While the origin is away, nothing can be issued anyway;
    /// an hour lets sign-ins begin, and requests be refused, and told so, by what was last known.
    const BOUNDS: Bounds = Bounds { fresh: 5_000, renewed_behind: 10_000, stale: 3_600_000 };

    fn slots() -> &'static LocalKey<RefCell<Slots<Self>>> {
        thread_local!(static SLOTS: RefCell<Slots<Clients>> = RefCell::default());
        &SLOTS
    }

    fn path((): &()) -> String {
        endpoint::CLIENTS.to_owned()
    }

    async fn read(_: &Edge, (): &(), written: &Written) -> Result<Self, Unreadable> {
        #[derive(serde::Deserialize)]
        struct Snapshot {
            clients: Vec<Client>,
        }
        let Written::Text { text, .. } = written else {
            return Err(Unreadable::Malformed("there is none".to_owned()));
        };
        let Snapshot { clients } = serde_json::from_str(text)?;
        let clients = clients.into_iter().map(|client| (client.client_id.clone(), client));
        Ok(Self { clients: clients.collect(), written: written.clone() })
    }

    fn written(&self) -> &Written {
        &self.written
    }
}
