//! The door: opens envelopes, asks `shared`, forwards to the origin.
//!
//! It answers by itself what needs no state of its own, and changes none: sign-ins begin here, and
//! what proves nothing ends here. Codes, tokens and sessions are the origin's alone to give, and it
//! checks again whatever is let through to it. Only requests to upstreams are admitted here, by a
//! signature and a published status.
//!
//! `route`, and the decisions in the other rooms, are pure. `origin` and `gateway` alone speak to
//! the outside, `platform` alone reads clock and randomness, `config` alone the settings. Nothing
//! panics: a panic ends every request in the isolate. No `RefCell` is borrowed across an `await`.

mod answer;
mod authorize;
mod bearer;
mod bff;
mod clients;
mod config;
mod gateway;
mod incoming;
mod limiter;
mod login;
mod origin;
mod platform;
mod route;
mod snapshot;
mod token;
mod webcrypto;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll, Waker};

use shared::cors::{self, CorsRule, WebOrigin};
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::limits::{JWKS_FRESH_IN, STATUS_LIST_TTL_IN, URL_LEN};
use shared::status_list::{self, StatusListId};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::future_to_promise;
use web_sys::{Request, Response};
use worker::{Context, Env, worker_sys};

use crate::answer::{Answer, Body, Refusal};
use crate::config::{BadSetting, Config};
use crate::incoming::Incoming;
use crate::route::Route;
use crate::snapshot::{Clients, Keys, PublishedList};
pub use crate::webcrypto::verify_signature;

/// What every request is answered with.
#[derive(Clone)]
pub(crate) struct Edge {
    /// The settings.
    pub(crate) config: Rc<Config>,
    /// The platform's handle on the request's life.
    pub(crate) context: Rc<Context>,
    /// The platform's bindings, for what `config` does not read.
    pub(crate) env: Env,
    /// When the request was there in full, milliseconds since the epoch.
    begun_at_ms: u64,
}

impl Edge {
    /// Returns what is left of a deadline that began with the request, milliseconds.
    pub(crate) fn left_of(&self, deadline_ms: u32) -> u32 {
        let spent = platform::now_ms().saturating_sub(self.begun_at_ms);
        deadline_ms.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }
}

/// Answers a request: with a response, or with the promise of one.
///
/// Most answers wait for nothing. Those are there at once: they cost no promise and no turn of the
/// event loop, which take the platform longer than the answer itself.
///
/// # Errors
/// What the platform says of a response that it does not take.
#[wasm_bindgen]
pub fn fetch(request: Request, env: Env, context: worker_sys::Context) -> Result<JsValue, JsValue> {
    let mut answering =
        Box::pin(
            async move { respond(request, env, Context::new(context)).await.map(JsValue::from) },
        );
    // Whoever waits is asked again by the promise, with a waker of its own.
    match Pin::as_mut(&mut answering).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => response,
        Poll::Pending => Ok(future_to_promise(answering).into()),
    }
}

/// Answers a request.
async fn respond(request: Request, env: Env, context: Context) -> Result<Response, JsValue> {
    let config = match Config::of(&env) {
        Ok(config) => config,
        Err(bad) => return misconfigured(bad),
    };
    let mut incoming = Incoming::of(request, config.trust_connecting_ip);
    let origin = incoming.header("Origin");
    let is_preflight = origin.is_some()
        && incoming.method == "OPTIONS"
        && incoming.header("Access-Control-Request-Method").is_some();
    let path = route::split(&incoming.target).0;
    let route = Route::find(&incoming.method, path, is_preflight, &config.upstreams);
    let arrived = arrive(&mut incoming, route).await;
    let edge = Edge {
        config: Rc::clone(&config),
        context: Rc::new(context),
        env,
        begun_at_ms: platform::now_ms(),
    };
    let answered = match arrived {
        Ok(()) => answer(&edge, &incoming, route).await,
        Err(refusal) => Err(refusal),
    };
    let answer = answered.unwrap_or_else(|refusal| {
        refusal.into_answer(route.is_page(), &config.issuer, &incoming.request_id)
    });
    let answer = if incoming.method == "HEAD" { answer.without_body() } else { answer };
    let answer = with_cors(&edge, answer, route.cors(), origin).await;
    let answer =
        answer.with("X-Request-Id", incoming.request_id).with("X-Content-Type-Options", "nosniff");
    let answer = if config.issuer.is_loopback_http() {
        answer
    } else {
        answer.with("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
    };
    answer.into_response()
}

/// Answers while a setting cannot be used.
fn misconfigured(bad: BadSetting) -> Result<Response, JsValue> {
    platform::log(&format!("the setting {} takes {}", bad.key, bad.takes));
    let error = OAuthError::temporarily_unavailable();
    Answer::json(error.status(), error.to_json())
        .with("X-Request-Id", platform::request_id())
        .with("X-Content-Type-Options", "nosniff")
        .into_response()
}

/// Checks what needs no endpoint, and reads the rest of the request.
async fn arrive(incoming: &mut Incoming, route: Route) -> Result<(), Refusal> {
    if incoming.target.len() > URL_LEN {
        return Err(OAuthError::invalid_request("the URL is too long").with_status(414).into());
    }
    if incoming.method == "POST" && !route.streams() {
        incoming.body = incoming::body(&incoming.request).await?;
        incoming.now = platform::now();
    }
    Ok(())
}

/// Answers a request by its route.
async fn answer(edge: &Edge, incoming: &Incoming, route: Route) -> Result<Answer, Refusal> {
    let endpoint = match route {
        Route::Endpoint(endpoint) => endpoint,
        Route::Preflight(endpoint) => {
            let allowed = (cors::ALLOW_METHODS, cors::ALLOW_HEADERS);
            return Ok(preflight(endpoint.cors(), allowed));
        }
        Route::UpstreamPreflight => {
            let allowed = (cors::ALLOW_UPSTREAM_METHODS, cors::ALLOW_UPSTREAM_HEADERS);
            return Ok(preflight(CorsRule::Registered, allowed));
        }
        Route::Upstream(number) => {
            let upstream = edge.config.upstreams.get(number).ok_or(OAuthError::not_found())?;
            return gateway::answer(edge, incoming, upstream).await;
        }
        Route::Bff(endpoint) => return bff::answer(edge, incoming, endpoint).await,
        Route::MethodNotAllowed(endpoint) => {
            return Ok(method_not_allowed(edge, incoming, route, endpoint.methods()));
        }
        Route::BffMethodNotAllowed(endpoint) => {
            return Ok(method_not_allowed(edge, incoming, route, endpoint.methods()));
        }
        Route::Nowhere => return Err(OAuthError::not_found().into()),
    };
    match endpoint {
        Endpoint::Authorize => authorize::answer(edge, incoming).await,
        Endpoint::Login => login::answer(edge, incoming).await,
        Endpoint::Token | Endpoint::Revoke | Endpoint::Introspect => {
            token::answer(edge, incoming, endpoint).await
        }
        Endpoint::Userinfo | Endpoint::Me | Endpoint::ApiLogout => {
            bearer::answer(edge, incoming, endpoint).await
        }
        Endpoint::OpenidConfiguration | Endpoint::OauthMetadata => {
            Ok(Answer::public_json(edge.config.metadata.clone(), JWKS_FRESH_IN))
        }
        Endpoint::Jwks => {
            let keys = snapshot::current::<Keys>(edge, &()).await?;
            // Whoever keeps the answer keeps it no longer than the edge itself would.
            let max_age = JWKS_FRESH_IN.saturating_sub(snapshot::age_in::<Keys>(&()));
            Ok(Answer::public_json(keys.json().to_owned(), max_age))
        }
        Endpoint::StatusList => status_list(edge, incoming).await,
        Endpoint::Health => Ok(Answer::json(200, r#"{"status":"ok"}"#.to_owned())),
        Endpoint::Consent
        | Endpoint::ConsentContext
        | Endpoint::ConsentDecision
        | Endpoint::Logout
        | Endpoint::Account
        | Endpoint::Openapi
        | Endpoint::Ready => origin::forward(edge, incoming, endpoint).await,
    }
}

/// Says which methods there are.
fn method_not_allowed(edge: &Edge, incoming: &Incoming, route: Route, methods: &[&str]) -> Answer {
    let refusal = Refusal::from(OAuthError::method_not_allowed());
    refusal
        .into_answer(route.is_page(), &edge.config.issuer, &incoming.request_id)
        .with("Allow", methods.join(", "))
}

/// Answers with a status list, for whoever checks tokens elsewhere.
async fn status_list(edge: &Edge, incoming: &Incoming) -> Result<Answer, Refusal> {
    let list = StatusListId::of_path(route::split(&incoming.target).0);
    let list = list.ok_or(OAuthError::not_found())?;
    // Anybody can make up names of lists, and each is a question to the origin's store.
    if !snapshot::holds::<PublishedList>(&list) {
        let address = incoming.client_address();
        limiter::check(edge, limiter::TOKEN, address, Endpoint::StatusList.path()).await?;
    }
    let published = snapshot::current::<PublishedList>(edge, &list).await?;
    let (jwt, etag) = published.jwt().ok_or(OAuthError::not_found())?;
    let is_known = etag.is_some() && incoming.header("If-None-Match").as_deref() == etag;
    let answer = if is_known {
        Answer::new(304, Body::Empty)
    } else {
        Answer::new(200, Body::Text(jwt.to_owned())).with("Content-Type", status_list::MEDIA_TYPE)
    };
    let max_age = STATUS_LIST_TTL_IN.saturating_sub(snapshot::age_in::<PublishedList>(&list));
    let answer = answer.with("Cache-Control", format!("public, max-age={max_age}"));
    Ok(match etag {
        Some(etag) => answer.with("ETag", etag.to_owned()),
        None => answer,
    })
}

/// Answers a preflight; who may go on is said by the `Allow-Origin` header alone.
fn preflight(rule: CorsRule, (methods, headers): (&'static str, &'static str)) -> Answer {
    let answer = Answer::empty(204);
    if rule == CorsRule::Never {
        return answer;
    }
    answer
        .with("Access-Control-Allow-Methods", methods)
        .with("Access-Control-Allow-Headers", headers)
        .with("Access-Control-Max-Age", cors::MAX_AGE.to_string())
}

/// Says which browser origin may read the answer.
///
/// When the clients are not known, because the origin is away, the origins of the settings are.
async fn with_cors(edge: &Edge, answer: Answer, rule: CorsRule, origin: Option<String>) -> Answer {
    let answer = match rule {
        CorsRule::Registered => answer.varies_by("Origin"),
        CorsRule::Anyone | CorsRule::Never => answer,
    };
    let clients = match rule {
        CorsRule::Registered if origin.is_some() => {
            snapshot::current::<Clients>(edge, &()).await.ok()
        }
        _ => None,
    };
    let of_clients = clients.iter().flat_map(|clients| clients.iter());
    let registered: Vec<&WebOrigin> = edge
        .config
        .cors_origins
        .iter()
        .chain(of_clients.flat_map(|client| client.cors_origins.iter()))
        .collect();
    let Some(allowed) = cors::allow_origin(rule, origin.as_deref(), registered) else {
        return answer;
    };
    answer
        .with("Access-Control-Allow-Origin", allowed.to_owned())
        .with("Access-Control-Expose-Headers", cors::EXPOSE_HEADERS)
}
