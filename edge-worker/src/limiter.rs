//! The platform's rate limiters, where the settings bind them: coarse, and next to whoever floods.
//! The origin's counters stay the truth, so a limiter that does not answer lets everybody through.

use core::net::IpAddr;

use js_sys::{Function, Object, Promise, Reflect};
use shared::error::OAuthError;
use shared::network::network;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::answer::Refusal;
use crate::platform;

/// The longest period that the platform's limiters count in, seconds: after it anybody may try
/// again.
pub(crate) const PERIOD_IN: &str = "60";

/// A rate limiter of the platform.
#[derive(Clone)]
pub(crate) struct Limiter(Object);

/// The rate limiters that the settings bind.
#[derive(Clone, Default)]
pub(crate) struct Limiters {
    /// `LOGIN_LIMIT`: login forms.
    pub(crate) login: Option<Limiter>,
    /// `TOKEN_LIMIT`: token requests.
    pub(crate) token: Option<Limiter>,
}

impl Limiters {
    /// Finds the bindings.
    pub(crate) fn of(env: &Env) -> Self {
        let limiter = |name: &str| {
            let binding = Reflect::get(env, &name.into()).ok()?;
            if !binding.is_undefined() && !binding.is_object() {
                platform::log(&format!("the binding {name} is no rate limiter"));
            }
            binding.dyn_into::<Object>().ok().map(Limiter)
        };
        Self { login: limiter("LOGIN_LIMIT"), token: limiter("TOKEN_LIMIT") }
    }
}

/// Counts a request of a network (an IPv4 address, or an IPv6 /64) with `client_id`.
///
/// # Errors
/// Status 429 when there were too many lately.
pub(crate) async fn check(
    limiter: Option<&Limiter>,
    address: Option<IpAddr>,
    client_id: &str,
) -> Result<(), Refusal> {
    let (Some(limiter), Some(address)) = (limiter, address) else { return Ok(()) };
    match limiter.limit(&format!("{} {client_id}", network(address))).await {
        Ok(outcome) if outcome == JsValue::FALSE => {
            Err(Refusal::from(OAuthError::too_many_attempts()))
        }
        _ => Ok(()),
    }
}

impl Limiter {
    async fn limit(&self, key: &str) -> Result<JsValue, JsValue> {
        let options = Object::new();
        Reflect::set(&options, &"key".into(), &key.into())?;
        let limit: Function = Reflect::get(&self.0, &"limit".into())?.dyn_into()?;
        let outcome: Promise = limit.call1(&self.0, &options)?.dyn_into()?;
        Reflect::get(&JsFuture::from(outcome).await?, &"success".into())
    }
}
