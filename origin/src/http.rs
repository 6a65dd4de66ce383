//! HTTP: the router on one screen, and what happens around every request.

pub mod account;
pub mod admin;
pub mod answer;
pub mod arrival;
pub mod authorize;
pub mod bff;
pub mod client;
pub mod consent;
pub mod discovery;
pub mod health;
pub mod internal;
pub mod introspect;
pub mod listen;
pub mod login;
pub mod logout;
pub mod me;
pub mod openapi;
pub mod protected;
pub mod revoke;
pub mod sign_in;
pub mod socket;
pub mod status_list;
pub mod token;
pub mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use shared::bff::{BEGIN, END, END_ALL, OPEN};
use shared::endpoint::{self, Endpoint};

use crate::app::App;

/// The public routes. Methods are checked against [`Endpoint::methods`] before a route is reached.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(Endpoint::Authorize.path(), any(authorize::authorize))
        .route(Endpoint::Login.path(), any(login::login))
        .route(Endpoint::Consent.path(), any(consent::page))
        .route(Endpoint::ConsentContext.path(), any(consent::context))
        .route(Endpoint::ConsentDecision.path(), any(consent::decision))
        .route(Endpoint::Token.path(), any(token::token))
        .route(Endpoint::Userinfo.path(), any(userinfo::userinfo))
        .route(Endpoint::Revoke.path(), any(revoke::revoke))
        .route(Endpoint::Introspect.path(), any(introspect::introspect))
        .route(Endpoint::Logout.path(), any(logout::logout))
        .route(Endpoint::Account.path(), any(account::account))
        .route(Endpoint::OpenidConfiguration.path(), any(discovery::metadata))
        .route(Endpoint::OauthMetadata.path(), any(discovery::metadata))
        .route(Endpoint::Jwks.path(), any(discovery::jwks))
        .route(Endpoint::StatusList.path(), any(status_list::status_list))
        .route(Endpoint::Me.path(), any(me::me))
        .route(Endpoint::ApiLogout.path(), any(me::logout))
        .route(Endpoint::Openapi.path(), any(openapi::document))
        .route(Endpoint::Health.path(), any(health::live))
        .route(Endpoint::Ready.path(), any(health::ready))
        .route(endpoint::CLIENTS, get(internal::clients))
        .route(endpoint::LATE_CODES, post(internal::late_codes))
        .route(BEGIN, post(bff::begin))
        .route(OPEN, post(bff::open))
        .route(END, post(bff::end))
        .route(END_ALL, post(bff::end_all))
        .fallback(answer::not_found)
        .layer(from_fn_with_state(app.clone(), arrival::receive))
        .with_state(app)
}

#[cfg(test)]
mod tests;
