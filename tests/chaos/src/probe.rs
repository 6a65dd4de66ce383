//! The last look: every token that the load has left is presented once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checker::Record;
use crate::client::ask;
use crate::history::{Act, By, History, Told};
use crate::wire::Door;

/// Grants that are looked at side by side.
const AT_ONCE: usize = 16;

/// What a grant has left behind.
#[derive(Clone, Debug, Default)]
struct Left {
    user: u32,
    code: String,
    access: Vec<String>,
    refresh: Vec<String>,
    /// The refresh tokens that were exchanged.
    used: Vec<String>,
    /// How much there is to see: revocations, and requests of which nobody knows what came.
    interest: u32,
}

/// Looks at the tokens of `at_most` grants, those first that something has happened to.
pub async fn look(door: &Door, history: &Arc<History>, at_most: usize) {
    let record = Record::of(history.lines());
    let mut grants: Vec<Left> = left(&record).into_values().collect();
    // The newest ones come first among the others.
    grants.reverse();
    grants.sort_by_key(|grant| std::cmp::Reverse(grant.interest.min(1)));
    grants.truncate(at_most);
    let mut tasks = tokio::task::JoinSet::new();
    for grant in grants {
        while tasks.len() >= AT_ONCE {
            tasks.join_next().await;
        }
        let (door, history) = (door.clone(), history.clone());
        tasks.spawn(async move { look_at(&door, &history, grant).await });
    }
    while tasks.join_next().await.is_some() {}
}

/// Gathers what grants have left, in the order in which they began.
fn left(record: &Record) -> BTreeMap<usize, Left> {
    let mut grants: BTreeMap<usize, Left> = BTreeMap::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for event in &record.events {
        let name = match &event.act {
            Act::Redeem(code) => Some(&**code),
            Act::Refresh(token) | Act::RevokeGrant(token) | Act::RevokeAccess(token) => {
                record.grant(token)
            }
            _ => None,
        };
        let Some(name) = name else { continue };
        let next = numbers.len();
        let number = *numbers.entry(name.to_owned()).or_insert(next);
        let grant = grants.entry(number).or_default();
        grant.user = event.user;
        name.clone_into(&mut grant.code);
        if event.is_unknown() || matches!(event.act, Act::RevokeGrant(_) | Act::RevokeAccess(_)) {
            grant.interest += 1;
        }
        if let Some(Told::Tokens { access, refresh }) = event.told() {
            grant.access.push(access.clone());
            grant.refresh.push(refresh.clone());
            if let Act::Refresh(token) = &event.act {
                grant.used.push(token.clone());
            }
        }
    }
    grants
}

/// Presents what a grant has left: first what should be good, then what must not be.
async fn look_at(door: &Door, history: &History, grant: Left) {
    let user = grant.user;
    let ask = |by: By, act: Act| ask(door, history, by, user, act);
    if let Some(access) = grant.access.last() {
        ask(By::Probe, Act::UserInfo(access.clone())).await;
        ask(By::Probe, Act::Introspect(access.clone())).await;
        ask(By::Probe, Act::Upstream(access.clone())).await;
    }
    if let Some(leaf) = grant.refresh.iter().rfind(|token| !grant.used.contains(token)) {
        ask(By::Probe, Act::Refresh(leaf.clone())).await;
    }
    if let Some(old) = grant.used.first() {
        ask(By::Copy, Act::Refresh(old.clone())).await;
    }
    ask(By::Copy, Act::Redeem(grant.code.clone())).await;
}
