//! `/oauth2/login`: the page is shown here, and forms that belong to no sign-in end here.

use shared::authorize::{self, AuthorizationRequest, UNKNOWN_CLIENT};
use shared::endpoint::Endpoint;
use shared::form::Params;
use shared::page::{LoginProblem, Page};
use shared::sign_in::{self, LoginForm, Opened, Over};

use crate::answer::{Answer, Refusal};
use crate::incoming::Incoming;
use crate::{Edge, clients, limiter, origin};

/// Shows the login page of a transaction; or forwards its form.
///
/// Checks of a form, in order: where it was sent from, the transaction, its `csrf` value, how often
/// the network has sent one, that nothing is missing.
/// **Does NOT** check the password, nor tell whether the transaction was completed: the origin
/// does.
///
/// # Errors
/// On a page; to the client when its request is not good any more.
pub(crate) async fn answer(edge: &Edge, incoming: &Incoming) -> Result<Answer, Refusal> {
    if incoming.method != "POST" {
        let params = Params::parse(incoming.query().unwrap_or_default().as_bytes())?;
        let opened = open(edge, incoming, &params).await?;
        return Ok(Answer::page(200, show(edge, &opened, Shown::First).await?));
    }
    let form = incoming.form()?;
    let header = |name| incoming.header(name).map(String::into_bytes);
    let (site, origin) = (header("Sec-Fetch-Site"), header("Origin"));
    sign_in::check_same_origin(&edge.config.issuer, site.as_deref(), origin.as_deref())?;
    let opened = open(edge, incoming, &form).await?;
    let LoginForm { username, password } = opened.login_form(&form)?;
    limiter::check(edge, limiter::LOGIN, incoming.client_address(), "").await?;
    match password {
        Ok(_) => origin::forward(edge, incoming, Endpoint::Login).await,
        Err(problem) => {
            let again = Shown::Again { username: &username, problem };
            Ok(Answer::page(400, show(edge, &opened, again).await?))
        }
    }
}

/// Opens the transaction that the parameters name.
async fn open(edge: &Edge, incoming: &Incoming, params: &Params) -> Result<Opened, Refusal> {
    let header = incoming.header("Cookie");
    let headers = header.as_deref();
    match edge.config.cookies().open(headers.as_slice(), params, incoming.now)? {
        Ok(opened) => Ok(opened),
        Err(over) => Err(lost(edge, incoming, params, &over).await),
    }
}

/// Says that a transaction is over, on a page that leads on where it can.
async fn lost(edge: &Edge, incoming: &Incoming, params: &Params, over: &Over) -> Refusal {
    let client = clients::find(edge, params.one("client_id").ok().flatten()).await;
    let page = over.page(client.as_ref(), &edge.config.issuer, &incoming.request_id);
    Refusal::Page(400, Box::new(page))
}

/// How the page is shown.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// With what the client has suggested.
    First,
    /// With what was typed, and what is wrong with it.
    Again { username: &'a str, problem: LoginProblem },
}

/// Renders the page of a transaction whose request is still good.
async fn show(edge: &Edge, opened: &Opened, shown: Shown<'_>) -> Result<Page, Refusal> {
    let query = Params::parse(opened.transaction.query.as_bytes())?;
    let id = authorize::client_id(&query)?;
    clients::check(edge, &id, |client| {
        let client = client.ok_or(UNKNOWN_CLIENT)?;
        let request = AuthorizationRequest::validate(&query, client)?;
        let (username, problem) = match shown {
            Shown::First => (request.login_hint.as_deref().unwrap_or_default(), None),
            Shown::Again { username, problem } => (username, Some(problem)),
        };
        Ok(opened.login_page(client, &request, username, problem))
    })
    .await
}
