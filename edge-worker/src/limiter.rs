//! The platform's rate limiters, where the settings bind them: coarse, and next to whoever floods.
//! The origin's counters stay the truth, so a limiter that does not answer lets everybody through.

use core::net::IpAddr;

use js_sys::{Function, Object, Promise, Reflect};
use shared::error::OAuthError;
use shared::network::network;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::Edge;
use crate::answer::Refusal;
use crate::platform;

/// The longest period that the platform's limiters count in, seconds: after it anybody may try
/// again.
pub(crate) const PERIOD_IN: &str = "60";

/// The binding that counts login forms.
pub(crate) const LOGIN: &str = "LOGIN_LIMIT";
/// The binding that counts token requests, and questions for status lists that an isolate has not.
pub(crate) const TOKEN: &str = "TOKEN_LIMIT";

/// Counts a request of a network (an IPv4 address, or an IPv6 /64) with `subject` (a client, or a
/// path), by a limiter that the settings may bind.
///
/// # Errors
/// Status 429 when there were too many lately.
pub(crate) async fn check(
    edge: &Edge,
    limiter: &str,
    address: Option<IpAddr>,
    subject: &str,
) -> Result<(), Refusal> {
    let bound = Reflect::get(&edge.env, &limiter.into()).unwrap_or_default();
    if !bound.is_undefined() && !bound.is_object() {
        platform::log(&format!("the binding {limiter} is no rate limiter"));
    }
    let (Ok(limiter), Some(address)) = (bound.dyn_into::<Object>(), address) else {
        return Ok(());
    };
    match limit(&limiter, &format!("{} {subject}", network(address))).await {
        Ok(outcome) if outcome == JsValue::FALSE => {
            Err(Refusal::from(OAuthError::too_many_attempts()))
        }
        _ => Ok(()),
    }
}

async fn limit(limiter: &Object, key: &str) -> Result<JsValue, JsValue> {
    let options = Object::new();
    Reflect::set(&options, &"key".into(), &key.into())?;
    let limit: Function = Reflect::get(limiter, &"limit".into())?.dyn_into()?;
    let outcome: Promise = limit.call1(limiter, &options)?.dyn_into()?;
    Reflect::get(&JsFuture::from(outcome).await?, &"success".into())
}
