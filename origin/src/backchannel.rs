//! Telling clients that a login session has ended (OpenID Connect Back-Channel Logout 1.0). Besides
//! the store, the only place that speaks to the outside on its own.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use shared::backchannel_logout_uri::BackchannelLogoutUri;
use shared::form;
use tokio::task::JoinSet;

use crate::app::{App, Unavailable};
use crate::ending::Follow;
use crate::store::TakenNotice;
use crate::{clock, issue};

/// How long one attempt may take, from the connection to the head of the answer.
const ANSWER_IN: Duration = Duration::from_secs(5);

/// How long a notice is this process's alone, seconds: longer than an attempt and its report.
const LEASE_IN: u64 = 15;

/// How often the store is asked for notices; one of this process is sent at once.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// How long to wait when the store does not answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Notices that are sent at the same time.
const SENT_AT_ONCE: usize = 32;

/// The longest time between two attempts, seconds.
const LONGEST_PAUSE: u64 = 300;

/// What became of an attempt; the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The client has taken it (200, 204).
    Delivered,
    /// The client says that it is invalid (400); it is not sent again.
    Refused,
    /// Neither; it is sent again later.
    Failed,
    /// Neither, for a day; it is not sent again.
    GivenUp,
    /// The client is disabled, or does not want to be told any more.
    Withdrawn,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Judges what a client has answered.
    ///
    /// Source: OpenID Connect Back-Channel Logout 1.0 §2.8.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Self::Delivered,
            StatusCode::BAD_REQUEST => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// Sends notices until the process ends; those under way are finished first. What is not
/// finished, this process or another takes again when the lease ends.
///
/// Nothing waits for it: a client that does not answer holds up other notices at most.
pub async fn run(app: Arc<App>, mut ending: Follow) {
    let http = match client() {
        Ok(http) => http,
        Err(error) => {
            tracing::warn!(error = said(&error), "no client can be told of a logout");
            return;
        }
    };
    let mut sending = JoinSet::new();
    loop {
        let pause = match send_due(&app, &http, &mut sending).await {
            Ok(()) => ASKED_EVERY,
            Err(error) => {
                tracing::warn!(%error, "clients cannot be told of logouts");
                PAUSE
            }
        };
        tokio::select! {
            () = ending.ends() => break,
            () = app.notices_put.notified() => {}
            // A free place may be needed by one that is due.
            _ = sending.join_next(), if sending.len() >= SENT_AT_ONCE => {}
            () = tokio::time::sleep(pause) => {}
        }
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

/// Takes what is due, and begins to send it.
async fn send_due(
    app: &Arc<App>,
    http: &Client,
    sending: &mut JoinSet<()>,
) -> Result<(), Unavailable> {
    let free = u32::try_from(SENT_AT_ONCE.saturating_sub(sending.len())).unwrap_or_default();
    if free == 0 {
        return Ok(());
    }
    let now = clock::now();
    for taken in app.store.take_due_notices(free, now.plus(LEASE_IN), now).await? {
        let (app, http) = (app.clone(), http.clone());
        sending.spawn(async move {
            if let Err(error) = send(&app, &http, &taken).await {
                tracing::warn!(%error, "what became of a logout notice cannot be written down");
            }
        });
    }
    Ok(())
}

/// Makes what sends requests: it follows no redirect, and uses no proxy that only the environment
/// names. Where the system has no certificates, no https URI can be reached, and the log says so.
fn client() -> reqwest::Result<Client> {
    let builder = || {
        Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(ANSWER_IN)
            .pool_max_idle_per_host(1)
            .user_agent("Cadence")
    };
    builder().build().or_else(|error| {
        let error = said(&error);
        tracing::warn!(error, "no client can be told of a logout at an https URI");
        builder().tls_certs_only([]).build()
    })
}

/// Sends one notice, and writes down what became of it.
async fn send(app: &App, http: &Client, taken: &TakenNotice) -> Result<(), Unavailable> {
    let attempted = attempt(app, http, taken).await;
    let now = clock::now();
    let due_at = now.plus(pause_after(taken.attempt));
    let (outcome, cause) = match attempted {
        Ok(outcome) => (outcome, None),
        Err(cause) => (Outcome::Failed, Some(cause)),
    };
    let outcome = match outcome {
        Outcome::Failed if due_at >= taken.expires_at => Outcome::GivenUp,
        outcome => outcome,
    };
    metrics::counter!("cadence_backchannel_logout_total", "outcome" => outcome.as_str())
        .increment(1);
    let (client_id, attempt) = (&taken.notice.client_id, taken.attempt);
    let cause = cause.unwrap_or_default();
    match outcome {
        Outcome::Delivered | Outcome::Withdrawn => {
            tracing::debug!(%client_id, attempt, outcome = outcome.as_str(), "a logout notice");
        }
        Outcome::Failed => {
            tracing::info!(%client_id, attempt, cause, "a client could not be told of a logout");
        }
        Outcome::Refused => {
            tracing::warn!(%client_id, attempt, "a client says that its logout token is invalid");
        }
        Outcome::GivenUp => {
            tracing::warn!(%client_id, attempt, cause, "a client was never told of a logout");
        }
    }
    if outcome == Outcome::Failed {
        app.store.put_off_notice(taken, due_at).await?;
    } else {
        app.store.finish_notice(taken).await?;
    }
    Ok(())
}

/// Makes a token for this attempt and sends it.
///
/// # Errors
/// Why there is no answer, for the log.
async fn attempt(app: &App, http: &Client, taken: &TakenNotice) -> Result<Outcome, String> {
    let record = app.known.client(&taken.notice.client_id).await;
    let record = record.map_err(|error| error.to_string())?;
    let Some(record) = record else { return Ok(Outcome::Withdrawn) };
    let Some(uri) = &record.client.backchannel_logout_uri else { return Ok(Outcome::Withdrawn) };
    let jti = clock::try_random().ok_or("the operating system has no random source")?;
    let now = clock::now();
    let (keys, client) = (app.keys.load(), &record.client);
    let logout_token = issue::logout_token(&keys, &app.issuer, client, &taken.notice, &jti, now)
        .map_err(|error| error.to_string())?;
    let status = post(http, uri, &logout_token).await?;
    match Outcome::of_status(status) {
        Outcome::Failed => Err(format!("the answer is {}", status.as_u16())),
        outcome => Ok(outcome),
    }
}

/// Posts a logout token; of the answer, only the status is read.
async fn post(
    http: &Client,
    uri: &BackchannelLogoutUri,
    logout_token: &str,
) -> Result<StatusCode, String> {
    let body = form::encode([("logout_token", logout_token)]);
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let request = http.post(uri.as_str()).header(CONTENT_TYPE, form).body(body);
    // The error's own text names the URI, which may hold a secret in its query.
    let answer = request.send().await.map_err(|error| said(&error.without_url()))?;
    Ok(answer.status())
}

/// Says what went wrong, with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns how long to wait after an attempt, seconds: 1, 2, 4, … [`LONGEST_PAUSE`].
fn pause_after(attempt: u32) -> u64 {
    let doubled = attempt.saturating_sub(1).min(16);
    (1_u64 << doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..=11).map(pause_after).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!((pause_after(0), pause_after(u32::MAX)), (1, 300));
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        for (status, outcome) in [
            (200, Outcome::Delivered),
            (204, Outcome::Delivered),
            (400, Outcome::Refused),
            (201, Outcome::Failed),
            (302, Outcome::Failed),
            (401, Outcome::Failed),
            (404, Outcome::Failed),
            (429, Outcome::Failed),
            (500, Outcome::Failed),
            (501, Outcome::Failed),
            (503, Outcome::Failed),
        ] {
            assert_eq!(
                Outcome::of_status(StatusCode::from_u16(status).unwrap()),
                outcome,
                "{status}"
            );
        }
    }
}
