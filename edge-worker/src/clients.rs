//! Questions about clients, answered from the snapshot.

use std::rc::Rc;

use shared::client::{Client, ClientId};

use crate::Edge;
use crate::answer::Refusal;
use crate::snapshot::{self, Clients};

/// The oldest snapshot, milliseconds, that a request is refused by.
const REFUSED_BY_MS: u64 = 1_000;

/// Holds a request against the client it names; `None` when nobody has registered that one.
///
/// Good requests pass at once: the origin checks them again. Before a request is refused, the
/// snapshot is renewed unless that has just been done, so that nobody is refused who was registered
/// a moment ago.
///
/// # Errors
/// What `judge` says; [`Refusal::Unavailable`] when there is no snapshot.
pub(crate) async fn check<T>(
    edge: &Edge,
    id: &ClientId,
    judge: impl Fn(Option<&Client>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let clients = snapshot::current::<Clients>(edge, &()).await?;
    let judged = judge(clients.find(id));
    if judged.is_ok() {
        return judged;
    }
    match snapshot::renew::<Clients>(edge, &(), REFUSED_BY_MS).await {
        Ok(renewed) if !Rc::ptr_eq(&renewed, &clients) => judge(renewed.find(id)),
        _ => judged,
    }
}

/// Finds a client, if the snapshot tells.
pub(crate) async fn find(edge: &Edge, id: Option<&str>) -> Option<Client> {
    let id = ClientId::parse(id?).ok()?;
    let clients = snapshot::current::<Clients>(edge, &()).await.ok()?;
    clients.find(&id).cloned()
}
