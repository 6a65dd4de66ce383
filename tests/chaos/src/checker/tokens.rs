//! What is revoked, what is refused, and whose it is.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use stack::still_for;

use super::{
    ANSWERED_IN, REVOKED_AT_UPSTREAM_IN, REVOKED_IN_AN_OUTAGE_IN, Record, Violation, is_refused,
    short,
};
use crate::history::{Act, Answer, Event, Told};

/// Guesses at one user from one network.
const GUESSES: usize = 10;

/// How long a login is counted of which nobody has heard whether it was one: five seconds, and the one
/// that has begun.
const COUNTED_FOR: Duration = Duration::from_secs(6);

/// I2: what was acknowledged as revoked is accepted nowhere, and at an upstream only within the
/// published bounds.
#[must_use]
pub fn i2(record: &Record) -> Vec<Violation> {
    let mut revoked: HashMap<&str, Duration> = HashMap::new();
    for event in record.events.iter().filter(|event| event.status() == Some(200)) {
        let name = match &event.act {
            Act::RevokeGrant(token) => record.grant(token).unwrap_or(token),
            Act::RevokeAccess(token) => token,
            _ => continue,
        };
        let at = revoked.entry(name).or_insert(event.ended);
        *at = event.ended.min(*at);
    }
    let mut issued: HashMap<&str, Duration> = HashMap::new();
    for event in &record.events {
        if let Some(Told::Tokens { access, .. }) = event.told() {
            issued.entry(access).or_insert(event.ended);
        }
    }
    let accepted_later = |event: &Event| {
        let (token, is_upstream) = match (&event.act, event.told()?) {
            (Act::UserInfo(token), Told::Subject(_))
            | (Act::Introspect(token), Told::Active(Some(_)))
            | (Act::Refresh(token), Told::Tokens { .. }) => (token, false),
            (Act::Upstream(token), Told::Yes) => (token, true),
            _ => return None,
        };
        let of_grant = record.grant(token).and_then(|grant| revoked.get(grant));
        let revoked_at = *[of_grant, revoked.get(&**token)].into_iter().flatten().min()?;
        // A store that has lost a token's row cannot tell an upstream that the token is revoked.
        let issued_at = issued.get(&**token).copied().filter(|_| is_upstream);
        let since = issued_at.filter(|at| record.is_lost(*at)).unwrap_or(revoked_at);
        let bound = match is_upstream {
            true if record.is_disturbed(revoked_at, event.began) => REVOKED_IN_AN_OUTAGE_IN,
            true => REVOKED_AT_UPSTREAM_IN,
            false => Duration::ZERO,
        };
        if event.began <= revoked_at + bound {
            return None;
        }
        let what = format!(
            "{} is accepted ({}) {:.3} s after its revocation was answered",
            short(token),
            event.act.kind(),
            event.began.saturating_sub(revoked_at).as_secs_f64()
        );
        Some(Violation { since, ..Violation::new("I2", event.began, what) })
    };
    record.events.iter().filter_map(accepted_later).collect()
}

/// I4: every answer keeps the standing assertions and comes in time, and nothing is refused that
/// may be good.
#[must_use]
pub fn i4(record: &Record) -> Vec<Violation> {
    let mut found = Vec::new();
    for event in &record.events {
        let mut violation = |what: String| {
            let what = format!("{}: {what}", event.act.kind());
            found.push(Violation::new("I4", event.ended, what));
        };
        let stood_still = still_for(&record.stalls, event.began, event.ended);
        let took = event.ended.saturating_sub(event.began + stood_still);
        // What follows redirects is several requests.
        let is_one = !matches!(event.act, Act::Begin | Act::LogIn(_) | Act::Consent(_));
        if is_one && took > ANSWERED_IN {
            violation(format!("answered in {:.1} s", took.as_secs_f64()));
        }
        if let Answer::Came { broke: Some(rule), .. } = &event.answer {
            violation(rule.clone());
        }
        if event.status() == Some(429) && !is_rightly_throttled(record, event) {
            violation("is throttled".to_owned());
        }
        if is_refused(event)
            && let Some(what) = wrongly_refused(record, event)
        {
            violation(what);
        }
    }
    found
}

/// Tells whether so many logins of a user were cut off lately that the next one has to wait: nobody knows
/// whether they were guesses.
fn is_rightly_throttled(record: &Record, event: &Event) -> bool {
    let is_cut_off = |other: &&Event| {
        matches!(other.act, Act::LogIn(_))
            && other.user == event.user
            && other.is_unknown()
            && other.began + COUNTED_FOR >= event.began
            && other.began <= event.ended
    };
    let is_login = matches!(event.act, Act::LogIn(_));
    is_login && record.events.iter().filter(is_cut_off).count() >= GUESSES
}

/// Says what is wrong with a refusal; of refreshes, what I3 judges is left to it.
fn wrongly_refused(record: &Record, event: &Event) -> Option<String> {
    let error = match event.told() {
        Some(Told::Error(error)) => Some(&**error),
        _ => None,
    };
    let (token, says_dead) = match &event.act {
        Act::Redeem(token) => (token, error == Some("invalid_grant")),
        Act::Introspect(token) => (token, error.is_none()),
        Act::UserInfo(token) => (token, error == Some("invalid_token")),
        Act::Upstream(token) => (token, matches!(error, Some("invalid_token" | ""))),
        Act::Refresh(_) => {
            return (error != Some("invalid_grant")).then(|| format!("{:?}", event.answer));
        }
        Act::RevokeGrant(_) | Act::RevokeAccess(_) => return Some(format!("{:?}", event.answer)),
        // A form whose answer was lost may have been taken.
        Act::LogIn(fields) | Act::Consent(fields) => (&fields.tx, true),
        // A sign-in that was under way is lost with the store.
        Act::Begin | Act::Authorize => {
            return (!record.has_an_excuse(event)).then(|| format!("{:?}", event.answer));
        }
    };
    if !says_dead {
        return Some(format!("{:?}", event.answer));
    }
    (!record.is_explained(token, event))
        .then(|| format!("{} is refused without a reason", short(token)))
}

/// I5: nobody gets what is somebody else's: the subject of every answer is the token's own, and one
/// user has one subject.
#[must_use]
pub fn i5(record: &Record) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut subjects: HashMap<u32, String> = HashMap::new();
    for event in &record.events {
        let mut violation = |what: String| {
            found.push(Violation::new("I5", event.ended, what));
        };
        let told = match (&event.act, event.told()) {
            (Act::UserInfo(token), Some(Told::Subject(sub)))
            | (Act::Introspect(token), Some(Told::Active(Some(sub)))) => Some((token, sub)),
            _ => None,
        };
        if let Some((token, sub)) = told
            && subject(token).as_ref() != Some(sub)
        {
            violation(format!("{} of another: {sub} for {}", event.act.kind(), short(token)));
        }
        if let Some(Told::Tokens { access, .. }) = event.told() {
            let sub = subject(access).unwrap_or_default();
            let known = subjects.entry(event.user).or_insert_with(|| sub.clone());
            if *known != sub {
                violation(format!("user {} is given a token of {sub}", event.user));
            }
        }
    }
    let mut users: HashMap<&str, u32> = HashMap::new();
    for (user, sub) in &subjects {
        if let Some(other) = users.insert(sub, *user) {
            let what = format!("users {other} and {user} have one subject");
            found.push(Violation::new("I5", Duration::ZERO, what));
        }
    }
    found
}

/// Reads the `sub` of an access token, unverified.
fn subject(access_token: &str) -> Option<String> {
    let claims = access_token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(claims["sub"].as_str()?.to_owned())
}
