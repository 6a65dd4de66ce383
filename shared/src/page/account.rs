//! The account page: where somebody is signed in, and which apps may use the account.

use std::borrow::Cow;

use askama::Template;

use super::{Page, STYLE, device, moment, page, scope_sentence};
use crate::time::UnixTime;

/// Tells people who they are here, where they are signed in and what they have allowed, and lets
/// them take it back. Each form posts `csrf`, `action` and what the action is about to `/account`.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "account.html")]
pub struct AccountPage<'a> {
    /// What is typed at login.
    pub username: &'a str,
    /// The person's name.
    pub name: Option<&'a str>,
    /// The e-mail address.
    pub email: Option<&'a str>,
    /// The live sessions, this browser's first.
    pub sessions: &'a [SessionItem<'a>],
    /// How many further sessions there are.
    pub more_sessions: usize,
    /// The apps that the person has allowed something.
    pub consents: &'a [ConsentItem<'a>],
    /// The value that ties the forms to the session, posted back as it is.
    pub csrf: &'a str,
    /// When the page is shown.
    pub now: UnixTime,
}

/// A login session.
#[derive(Clone, Copy, Debug)]
pub struct SessionItem<'a> {
    /// Names it, posted back as it is.
    pub sid: &'a str,
    /// It is the one in which the page is shown.
    pub is_current: bool,
    /// The browser, as it calls itself.
    pub user_agent: Option<&'a str>,
    /// The address at the login.
    pub address: Option<&'a str>,
    /// When the password was checked.
    pub auth_time: UnixTime,
    /// When it was last used.
    pub used_at: UnixTime,
    /// The names of the apps that were signed in to under it.
    pub apps: &'a [&'a str],
}

/// An app that may use the account.
#[derive(Clone, Copy, Debug)]
pub struct ConsentItem<'a> {
    /// The client, posted back as it is.
    pub client_id: &'a str,
    /// Its name.
    pub client_name: &'a str,
    /// What it was allowed, token by token.
    pub scopes: &'a [&'a str],
    /// When it was allowed for the first time.
    pub since: UnixTime,
}

impl AccountPage<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> Page {
        page(self, Some(&[]))
    }

    fn last_used(&self, item: &SessionItem<'_>) -> String {
        moment::ago(item.used_at, self.now)
    }
}

impl SessionItem<'_> {
    fn device(&self) -> String {
        device::device(self.user_agent)
    }

    /// Returns what the browser calls itself, where that says more than its name here.
    fn unknown(&self) -> Option<&str> {
        self.user_agent.filter(|user_agent| !device::is_known(user_agent))
    }

    fn signed_in(&self) -> String {
        moment::day_and_time(self.auth_time)
    }

    fn signed_in_for_machines(&self) -> String {
        moment::rfc3339(self.auth_time)
    }
}

impl ConsentItem<'_> {
    fn sentences(&self) -> impl Iterator<Item = Cow<'static, str>> {
        self.scopes.iter().map(|scope| scope_sentence(scope))
    }

    fn since(&self) -> String {
        moment::day(self.since)
    }

    fn since_for_machines(&self) -> String {
        moment::rfc3339(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn session() -> SessionItem<'static> {
        SessionItem {
            sid: "AwMDAwMDAwMDAwMDAwMDAw",
            is_current: true,
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko Firefox/138.0"),
            address: Some("192.0.2.7"),
            auth_time: NOW.minus(86_400),
            used_at: NOW.minus(300),
            apps: &["Harbor Notes", "Ledger"],
        }
    }

    fn consent() -> ConsentItem<'static> {
        ConsentItem {
            client_id: "harbor",
            client_name: "Harbor Notes",
            scopes: &["openid", "email"],
            since: NOW.minus(864_000),
        }
    }

    fn render(sessions: &[SessionItem<'_>], consents: &[ConsentItem<'_>]) -> String {
        let page = AccountPage {
            username: "alice",
            name: Some("Alice"),
            email: Some("alice@example.test"),
            sessions,
            more_sessions: 0,
            consents,
            csrf: "csrf-1",
            now: NOW,
        };
        page.render().html
    }

    #[test]
    fn it_says_where_somebody_is_signed_in() {
        let other = SessionItem { sid: "other", is_current: false, apps: &[], ..session() };
        let html = render(&[session(), other], &[]);
        for part in [
            "Firefox on Linux",
            "192.0.2.7",
            "14 January 2027, 08:00 UTC",
            "5 minutes ago",
            "Harbor Notes",
            "Ledger",
            r#"name="sid" value="other""#,
            "No app is signed in from here.",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert_eq!(html.matches("This browser").count(), 1);
        assert!(!html.contains("Mozilla"), "a known browser has a name");
        assert_eq!(html.matches(r#"<form method="post" action="/account">"#).count(), 3);
        assert_eq!(html.matches(r#"name="csrf" value="csrf-1""#).count(), 3);
    }

    #[test]
    fn it_says_what_was_allowed() {
        let html = render(&[], &[consent()]);
        for part in [
            "Harbor Notes",
            "Know that it is you",
            "See your email address",
            "5 January 2027",
            r#"name="client_id" value="harbor""#,
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(render(&[], &[]).contains("You have not allowed any app"));
    }

    #[test]
    fn hostile_values_stay_text() {
        const HOSTILE: &str = "\"'></title><script>alert(1)</script><p style=\"x\">";
        let session = SessionItem {
            sid: HOSTILE,
            user_agent: Some(HOSTILE),
            address: Some(HOSTILE),
            apps: &[HOSTILE],
            ..session()
        };
        let consent = ConsentItem {
            client_id: HOSTILE,
            client_name: HOSTILE,
            scopes: &[HOSTILE],
            ..consent()
        };
        let page = AccountPage {
            username: HOSTILE,
            name: Some(HOSTILE),
            email: Some(HOSTILE),
            sessions: &[session],
            more_sessions: 3,
            consents: &[consent],
            csrf: HOSTILE,
            now: NOW,
        };
        let Page { html, content_security_policy } = page.render();
        assert!(!html.contains("<script") && !html.contains("style=\""), "{html}");
        assert_eq!(html.matches("</title>").count(), 1);
        assert!(html.matches("&#60;script&#62;alert(1)").count() >= 10, "{html}");
        assert!(content_security_policy.contains("form-action 'self';"));
        assert_eq!(html.matches("<h1").count(), 1);
    }

    #[test]
    fn ids_are_unique_and_every_description_exists() {
        let html = render(&[session(), session()], &[consent(), consent()]);
        let ids: Vec<&str> =
            html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for (position, id) in ids.iter().enumerate() {
            assert!(!ids[..position].contains(id), "{id} stands twice");
        }
        for name in [" aria-labelledby=\"", " aria-describedby=\""] {
            let values = html.split(name).skip(1).filter_map(|rest| rest.split('"').next());
            for reference in values.flat_map(|value| value.split(' ')) {
                assert!(ids.contains(&reference), "{reference}");
            }
        }
    }
}
