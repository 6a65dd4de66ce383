//! `GET, POST /account`: where somebody is signed in and what apps may do, and taking it back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use shared::claims::SessionId;
use shared::client::ClientId;
use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use shared::form::Params;
use shared::page::{
    AccountPage, BackLink, ConsentItem, ErrorKind, ErrorPage, SessionItem, SignedOutPage,
};
use shared::secret::{Sha256Digest, base64url, same_bytes};
use shared::sign_in::SESSION_COOKIE;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::sign_in;
use crate::account;
use crate::app::App;
use crate::clock;
use crate::directory::{ConsentRecord, UserRecord, older_logins_end};
use crate::logout::{self, Outliving};
use crate::store::{SessionRecord, UserSession};

/// Sessions that the page shows; it tells how many more there are.
const SESSIONS_SHOWN: usize = 50;

/// Shows the page, or does what one of its forms asks for and shows it again.
///
/// Somebody who is not logged in is sent to the login page first, and comes back.
pub async fn account(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let answered = if incoming.method == Method::POST {
        submitted(&app, &incoming).await
    } else {
        shown(&app, &incoming).await
    };
    answered.unwrap_or_else(|error| error.on_page(&incoming.request_id))
}

async fn shown(app: &App, incoming: &Incoming) -> Result<Response, HttpError> {
    let query = incoming.query()?;
    if query.has("error") {
        // Not to the login page again: it may come back with the same error for ever.
        return Ok(not_signed_in(app, incoming, &query));
    }
    if query.has("code") {
        // It says that the login is done, and is worth nothing else.
        return Ok(answer::redirect(Endpoint::Account.path()));
    }
    match Account::of(app, incoming).await? {
        Some(account) => account.page(app, incoming).await,
        None => Ok(log_in(app)),
    }
}

/// Does what a form asks for.
///
/// Checks, in order: that a page of this issuer has sent it, a login session, that the form was
/// made for it.
async fn submitted(app: &App, incoming: &Incoming) -> Result<Response, HttpError> {
    let form = incoming.form()?;
    incoming.check_same_origin(&app.issuer)?;
    let Some(account) = Account::of(app, incoming).await? else { return Ok(log_in(app)) };
    let csrf = form.one("csrf").map_err(OAuthError::from)?.unwrap_or_default();
    if !same_bytes(csrf.as_bytes(), csrf_of(app, &account.session.digest).as_bytes()) {
        return Err(OAuthError::new(
            ErrorCode::AccessDenied,
            "the form does not belong to this session",
        )
        .into());
    }
    let again = || Ok(answer::redirect(Endpoint::Account.path()));
    match form.one("action").map_err(OAuthError::from)? {
        Some("end_session") => match account.end_session(app, incoming, &sid(&form)?).await? {
            Ended::Own => Ok(signed_out(app)),
            Ended::Other => again(),
        },
        Some("revoke_consent") => {
            account.revoke_consent(app, incoming, &client_id(&form)?).await?;
            again()
        }
        Some("sign_out_everywhere") => {
            account.sign_out_everywhere(app, incoming).await?;
            Ok(signed_out(app))
        }
        _ => Err(OAuthError::invalid_request("there is no such action").into()),
    }
}

fn sid(form: &Params) -> Result<SessionId, OAuthError> {
    let sid = form.one("sid")?.and_then(SessionId::parse);
    sid.ok_or(OAuthError::invalid_request("sid is missing or malformed"))
}

fn client_id(form: &Params) -> Result<ClientId, OAuthError> {
    let id = form.one("client_id")?.and_then(|id| ClientId::parse(id).ok());
    id.ok_or(OAuthError::invalid_request("client_id is missing or malformed"))
}

/// Which session has ended.
enum Ended {
    /// The one of this browser.
    Own,
    /// Another one, or none: it may have ended before.
    Other,
}

/// Somebody who is logged in.
struct Account {
    session: SessionRecord,
    user: Arc<UserRecord>,
}

impl Account {
    async fn of(app: &App, incoming: &Incoming) -> Result<Option<Self>, HttpError> {
        let Some(session) = sign_in::session(app, incoming).await? else { return Ok(None) };
        let user = app.known.user(&session.user_id, session.auth_time).await?;
        Ok(user.map(|user| Self { session, user }))
    }

    /// Finds the user's live sessions, this one first, then those that were used last.
    async fn sessions(
        &self,
        app: &App,
        incoming: &Incoming,
    ) -> Result<Vec<UserSession>, HttpError> {
        let mut sessions = app.store.find_user_sessions(&self.user.user_id, incoming.now).await?;
        // What a new password has ended is dead already.
        sessions.retain(|session| session.record.auth_time >= self.user.valid_from);
        if sessions.iter().all(|session| session.digest() != self.session.digest) {
            // One of before an update is not listed, but it is here.
            let used_at = incoming.now;
            sessions.push(UserSession { record: self.session.clone(), used_at });
        }
        sessions.sort_by_key(|session| {
            let is_own = session.digest() == self.session.digest;
            (!is_own, std::cmp::Reverse(session.used_at))
        });
        Ok(sessions)
    }

    async fn page(&self, app: &App, incoming: &Incoming) -> Result<Response, HttpError> {
        let sessions = self.sessions(app, incoming).await?;
        let more_sessions = sessions.len().saturating_sub(SESSIONS_SHOWN);
        let mut rows = Vec::new();
        for session in sessions.iter().take(SESSIONS_SHOWN) {
            rows.push(SessionRow::of(app, session).await?);
        }
        let consents = app.known.directory().list_consents(&self.user.user_id).await?;
        let mut allowed = Vec::new();
        for consent in &consents {
            allowed
                .push(ConsentRow { consent, client_name: name_of(app, &consent.client_id).await? });
        }
        let apps: Vec<Vec<&str>> =
            rows.iter().map(|row| row.apps.iter().map(String::as_str).collect()).collect();
        let session_items: Vec<SessionItem<'_>> = rows
            .iter()
            .zip(&apps)
            .map(|(row, apps)| row.item(apps, &self.session.digest))
            .collect();
        let scopes: Vec<Vec<&str>> =
            allowed.iter().map(|row| row.consent.scope.tokens().collect()).collect();
        let consent_items: Vec<ConsentItem<'_>> = allowed
            .iter()
            .zip(&scopes)
            .map(|(row, scopes)| ConsentItem {
                client_id: row.consent.client_id.as_str(),
                client_name: &row.client_name,
                scopes,
                since: row.consent.since,
            })
            .collect();
        let page = AccountPage {
            username: &self.user.username,
            name: self.user.name.as_deref(),
            // Once is enough.
            email: self.user.email.as_deref().filter(|email| *email != self.user.username),
            sessions: &session_items,
            more_sessions,
            consents: &consent_items,
            csrf: &csrf_of(app, &self.session.digest),
            now: incoming.now,
        };
        Ok(answer::page(StatusCode::OK, page.render()))
    }

    /// Ends one of the user's own sessions, with everything that was begun under it. A session of
    /// anybody else is not found.
    async fn end_session(
        &self,
        app: &App,
        incoming: &Incoming,
        sid: &SessionId,
    ) -> Result<Ended, HttpError> {
        let sessions = self.sessions(app, incoming).await?;
        let Some(session) = sessions.iter().find(|session| session.sid() == *sid) else {
            return Ok(Ended::Other);
        };
        self.end(app, incoming, &session.digest()).await?;
        let is_own = session.digest() == self.session.digest;
        Ok(if is_own { Ended::Own } else { Ended::Other })
    }

    /// Ends a session of the user. What another user began under it stays: in one browser, one may
    /// have followed the other.
    async fn end(
        &self,
        app: &App,
        incoming: &Incoming,
        session: &Sha256Digest,
    ) -> Result<(), HttpError> {
        let user = Some(self.user.user_id.0.as_str());
        Ok(logout::end(app, session, user, Outliving::Nothing, incoming.now).await?)
    }

    /// Forgets what the user has allowed a client, and revokes what it has got under the user's
    /// sessions. Its other grants end at their next refresh, which asks for the consent.
    ///
    /// The consent goes when the grants are gone: as long as it is shown, this can be repeated. What
    /// was begun in between is found by looking again.
    async fn revoke_consent(
        &self,
        app: &App,
        incoming: &Incoming,
        client_id: &ClientId,
    ) -> Result<(), HttpError> {
        self.revoke_grants(app, incoming, client_id).await?;
        app.known.directory().remove_consent(&self.user.user_id, client_id).await?;
        self.revoke_grants(app, incoming, client_id).await
    }

    async fn revoke_grants(
        &self,
        app: &App,
        incoming: &Incoming,
        client_id: &ClientId,
    ) -> Result<(), HttpError> {
        for session in self.sessions(app, incoming).await? {
            let mut grants = app.store.find_session_grants(&session.digest()).await?;
            grants.retain(|grant| {
                grant.notice.as_ref().is_some_and(|notice| {
                    notice.client_id == *client_id && notice.user_id == self.user.user_id
                })
            });
            logout::revoke(app, &grants, None, Outliving::Nothing, incoming.now).await?;
        }
        Ok(())
    }

    /// Ends all sessions of the user and everything that was begun under them, and makes every
    /// login before this moment worth nothing: so what hangs on no session dies, too, at its next use.
    ///
    /// The own session is the last to go: until then, this can be repeated.
    async fn sign_out_everywhere(&self, app: &App, incoming: &Incoming) -> Result<(), HttpError> {
        for session in self.sessions(app, incoming).await? {
            if session.digest() != self.session.digest {
                self.end(app, incoming, &session.digest()).await?;
            }
        }
        let valid_from = older_logins_end(incoming.now).max(self.session.auth_time.plus(1));
        app.known.end_logins(&self.user.user_id, valid_from).await?;
        let sessions = app.store.find_user_sessions(&self.user.user_id, incoming.now).await?;
        for session in sessions {
            if session.record.auth_time < valid_from && session.digest() != self.session.digest {
                self.end(app, incoming, &session.digest()).await?;
            }
        }
        self.end(app, incoming, &self.session.digest).await
    }
}

/// What is shown of a session.
struct SessionRow<'a> {
    session: &'a UserSession,
    sid: SessionId,
    address: Option<String>,
    apps: Vec<String>,
}

impl<'a> SessionRow<'a> {
    async fn of(app: &App, session: &'a UserSession) -> Result<Self, HttpError> {
        let mut ids: Vec<ClientId> = Vec::new();
        for grant in app.store.find_session_grants(&session.digest()).await? {
            let notice = grant.notice.filter(|notice| notice.user_id == session.record.user_id);
            if let Some(id) = notice.map(|notice| notice.client_id)
                && id.as_str() != account::CLIENT_ID
                && !ids.contains(&id)
            {
                ids.push(id);
            }
        }
        let mut apps = Vec::new();
        for id in &ids {
            apps.push(name_of(app, id).await?);
        }
        apps.sort();
        let address = session.record.address.map(|address| address.to_canonical().to_string());
        Ok(Self { session, sid: session.sid(), address, apps })
    }

    fn item<'b>(&'b self, apps: &'b [&'b str], own: &Sha256Digest) -> SessionItem<'b> {
        SessionItem {
            sid: self.sid.as_str(),
            is_current: self.session.digest() == *own,
            user_agent: self.session.record.user_agent.as_deref(),
            address: self.address.as_deref(),
            auth_time: self.session.record.auth_time,
            used_at: self.session.used_at,
            apps,
        }
    }
}

/// What is shown of a consent.
struct ConsentRow<'a> {
    consent: &'a ConsentRecord,
    client_name: String,
}

/// Returns the name of a client; its identifier, if there is no such client any more.
async fn name_of(app: &App, id: &ClientId) -> Result<String, HttpError> {
    let record = app.known.client(id).await?;
    Ok(record.map_or_else(|| id.to_string(), |record| record.client.client_name.clone()))
}

fn log_in(app: &App) -> Response {
    let challenge = base64url(&clock::random::<32>());
    answer::redirect(&account::login_location(&app.issuer, &challenge))
}

/// Says that the login has not come about, and leads back to where it begins.
fn not_signed_in(app: &App, incoming: &Incoming, query: &Params) -> Response {
    let code = query.one("error").ok().flatten();
    let (kind, code) = match code {
        Some("temporarily_unavailable") => {
            (ErrorKind::Unavailable, ErrorCode::TemporarilyUnavailable)
        }
        _ => (ErrorKind::Expired, ErrorCode::InvalidRequest),
    };
    let page = app.issuer.url(Endpoint::Account.path());
    let error = ErrorPage {
        kind,
        sentence: "The sign-in did not come to its end. Try again.",
        code: code.as_str(),
        request_id: &incoming.request_id,
        back: BackLink::parse("your account", &page).ok(),
    };
    answer::page(StatusCode::BAD_REQUEST, error.render())
}

fn signed_out(app: &App) -> Response {
    let page = answer::page(StatusCode::OK, SignedOutPage { back: None }.render());
    answer::with_cookies(page, [app.cookies.remove(SESSION_COOKIE)])
}

fn csrf_of(app: &App, session: &Sha256Digest) -> String {
    base64url(&app.form_key.tag(&[b"account", session.as_bytes()]))
}
