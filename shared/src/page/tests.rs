use super::*;

/// Breaks out of text, attributes of either quote, the title and the style, where unescaped.
const HOSTILE: &str = "\"'></title></style><script>alert(1)</script><p style=\"x\">&amp;";

fn hostile_pages() -> Vec<Page> {
    let targets = [FormTarget::parse("https://app.example/cb").unwrap()];
    let back = BackLink::parse(HOSTILE, "https://app.example/?a=\"><script>");
    let login = LoginPage {
        client_name: HOSTILE,
        tx: HOSTILE,
        csrf: HOSTILE,
        username: HOSTILE,
        problem: None,
        form_targets: &targets,
    };
    let consent = ConsentPage {
        client_name: HOSTILE,
        user: HOSTILE,
        redirect_host: HOSTILE,
        scopes: &[ScopeItem { scope: HOSTILE, already_granted: true }],
        tx: HOSTILE,
        csrf: HOSTILE,
        form_targets: &targets,
    };
    let error = ErrorPage {
        kind: ErrorKind::BadRequest,
        sentence: HOSTILE,
        code: HOSTILE,
        request_id: HOSTILE,
        back: back.ok(),
    };
    let logout = LogoutPage {
        client_name: Some(HOSTILE),
        csrf: HOSTILE,
        id_token_hint: Some(HOSTILE),
        post_logout_redirect_uri: Some(HOSTILE),
        state: Some(HOSTILE),
        client_id: Some(HOSTILE),
        form_targets: &targets,
    };
    let mut pages: Vec<Page> =
        problems().map(|problem| LoginPage { problem, ..login }.render()).collect();
    pages.extend([
        consent.render(),
        error.render(),
        logout.render(),
        SignedOutPage { back: back.ok() }.render(),
    ]);
    pages
}

fn problems() -> impl Iterator<Item = Option<LoginProblem>> {
    let missing = |username, password| LoginProblem::Missing { username, password };
    [
        None,
        Some(LoginProblem::WrongCredentials),
        Some(LoginProblem::Throttled { retry_in: 300 }),
        Some(missing(true, false)),
        Some(missing(false, true)),
        Some(missing(true, true)),
        Some(LoginProblem::Unavailable),
    ]
    .into_iter()
}

fn login(username: &str, problem: Option<LoginProblem>) -> String {
    let page = LoginPage {
        client_name: "Harbor",
        tx: "tx-1",
        csrf: "csrf-1",
        username,
        problem,
        form_targets: &[],
    };
    page.render().html
}

/// Returns the start tags of `html` as name and attributes.
fn start_tags(html: &str) -> Vec<(&str, &str)> {
    html.split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(tag, _)| tag.split_once([' ', '\n']).unwrap_or((tag, "")))
        .filter(|(name, _)| !name.starts_with(['/', '!']))
        .collect()
}

/// Returns an attribute's value.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let attributes = attributes
        .strip_prefix(&format!("{name}=\""))
        .or_else(|| attributes.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest))?;
    attributes.split_once('"').map(|(value, _)| value)
}

fn field<'a>(html: &'a str, id: &str) -> &'a str {
    let is_it = |(name, attributes): &(&str, &str)| {
        *name == "input" && attribute(attributes, "id") == Some(id)
    };
    start_tags(html).into_iter().find(is_it).unwrap().1
}

#[test]
fn hostile_values_stay_text_in_every_field() {
    let escaped =
        "&#34;&#39;&#62;&#60;/title&#62;&#60;/style&#62;&#60;script&#62;alert(1)&#60;/script";
    for (Page { html, .. }, times) in hostile_pages().iter().zip([5, 5, 5, 5, 5, 5, 5, 8, 4, 6, 1])
    {
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("style=\""), "{html}");
        assert_eq!(html.matches("</title>").count(), 1);
        assert_eq!(html.matches("</style>").count(), 1);
        assert_eq!(html.matches(escaped).count(), times, "{html}");
    }
}

#[test]
fn pages_load_nothing_and_run_nothing() {
    for Page { html, .. } in hostile_pages() {
        for (name, attributes) in start_tags(&html) {
            assert!(
                !["script", "img", "link", "iframe", "object", "embed", "base", "use"]
                    .contains(&name),
                "{name}"
            );
            for banned in ["style", "src", "srcset", "onclick", "onload", "onfocus"] {
                assert_eq!(attribute(attributes, banned), None, "{name} {attributes}");
            }
        }
        for part in ["url(", "@import", "javascript:"] {
            assert!(!html.contains(part), "{part}");
        }
    }
}

#[test]
fn the_policy_allows_the_style_that_is_sent_and_nothing_else() {
    for Page { html, content_security_policy } in hostile_pages() {
        let sent = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = STANDARD.encode(Sha256::digest(sent));
        let form_action =
            if html.contains("<form") { "'self' https://app.example" } else { "'none'" };
        assert_eq!(
            content_security_policy,
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; form-action {form_action}; \
                 base-uri 'none'; frame-ancestors 'none'"
            )
        );
    }
}

#[test]
fn equal_form_targets_are_named_once() {
    let target = |uri| FormTarget::parse(uri).unwrap();
    let targets = [
        target("https://app.example/a"),
        target("https://app.example/b"),
        target("com.example.app:/cb"),
    ];
    let policy = policy(Some(&targets));
    assert!(policy.contains("form-action 'self' https://app.example com.example.app:;"));
}

#[test]
fn every_visible_field_has_a_label_and_every_description_exists() {
    for Page { html, .. } in hostile_pages() {
        let tags = start_tags(&html);
        let ids: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag.1, "id")).collect();
        for (position, id) in ids.iter().enumerate() {
            assert!(!ids[..position].contains(id), "{id} stands twice");
        }
        let labels: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag.1, "for")).collect();
        for (_, input) in tags.iter().filter(|(name, attributes)| {
            *name == "input" && attribute(attributes, "type") != Some("hidden")
        }) {
            assert!(labels.contains(&attribute(input, "id").unwrap()), "{input}");
        }
        for name in ["aria-describedby", "aria-labelledby", "for"] {
            for reference in tags.iter().filter_map(|tag| attribute(tag.1, name)) {
                assert!(ids.contains(&reference), "{reference}");
            }
        }
    }
}

#[test]
fn the_login_form_is_what_password_managers_and_the_endpoint_expect() {
    let html = login("alice@example.test", None);
    assert!(html.contains(r#"<form method="post" action="/oauth2/login">"#));
    assert!(html.contains(r#"<input type="hidden" name="tx" value="tx-1">"#));
    assert!(html.contains(r#"<input type="hidden" name="csrf" value="csrf-1">"#));
    let (username, password) = (field(&html, "username"), field(&html, "password"));
    assert_eq!(attribute(username, "name"), Some("username"));
    assert_eq!(attribute(username, "autocomplete"), Some("username"));
    assert_eq!(attribute(username, "value"), Some("alice@example.test"));
    assert_eq!(attribute(password, "name"), Some("password"));
    assert_eq!(attribute(password, "type"), Some("password"));
    assert_eq!(attribute(password, "autocomplete"), Some("current-password"));
    assert_eq!(attribute(password, "value"), None);
    assert!(html.contains("<title>Sign in to Harbor · Cadence</title>"));
    assert!(html.contains("<h1>Sign in to <bdi>Harbor</bdi></h1>"));
    assert!(!html.contains("role=\"alert\""));
}

#[test]
fn problems_come_first_and_the_focus_goes_to_the_first_field_in_error() {
    // Username prefilled or not, problem → described username, described password, focus.
    let missing = |username, password| Some(LoginProblem::Missing { username, password });
    let wrong = Some(LoginProblem::WrongCredentials);
    let throttled = Some(LoginProblem::Throttled { retry_in: 30 });
    for (prefill, problem, username, password, focus) in [
        ("", None, None, None, "username"),
        ("alice", None, None, None, "password"),
        ("alice", wrong, Some("problem"), Some("problem"), "username"),
        ("", missing(true, false), Some("username-problem"), None, "username"),
        ("alice", missing(false, true), None, Some("password-problem"), "password"),
        ("", missing(false, true), None, Some("password-problem"), "password"),
        ("", missing(true, true), Some("username-problem"), Some("password-problem"), "username"),
        ("alice", throttled, None, None, "password"),
        ("alice", Some(LoginProblem::Unavailable), None, None, "password"),
    ] {
        let html = login(prefill, problem);
        for (id, described_by) in [("username", username), ("password", password)] {
            let input = field(&html, id);
            assert_eq!(attribute(input, "aria-describedby"), described_by, "{problem:?}");
            let invalid = described_by.map(|_| "true");
            assert_eq!(attribute(input, "aria-invalid"), invalid, "{problem:?}");
            assert_eq!(input.ends_with(" autofocus"), id == focus, "{problem:?} {input}");
        }
        let Some(problem) = problem else { continue };
        assert!(html.contains(&format!("<title>{} · Sign in", problem.title())));
        assert!(html.contains("id=\"problem\" role=\"alert\""));
    }
}

#[test]
fn waiting_times_are_said_as_people_say_them() {
    for (secs, said) in [
        (0, "1 second"),
        (1, "1 second"),
        (30, "30 seconds"),
        (90, "90 seconds"),
        (91, "2 minutes"),
        (300, "5 minutes"),
        (301, "6 minutes"),
        (5401, "2 hours"),
        (u64::MAX, "5124095576030432 hours"),
    ] {
        assert_eq!(duration(secs), said);
    }
}

#[test]
fn denying_is_as_easy_as_allowing() {
    let page = ConsentPage {
        client_name: "Harbor",
        user: "alice@example.test",
        redirect_host: "app.example",
        scopes: &[
            ScopeItem { scope: "openid", already_granted: true },
            ScopeItem { scope: "reports:read", already_granted: false },
        ],
        tx: "tx-1",
        csrf: "csrf-1",
        form_targets: &[],
    };
    let html = page.render().html;
    assert!(html.contains(r#"<form method="post" action="/oauth2/consent/decision">"#));
    assert!(html.contains(r#"name="decision" value="deny">Deny</button>"#));
    assert!(html.contains(r#"name="decision" value="approve">Allow</button>"#));
    assert!(!html.contains("autofocus"));
    assert_eq!(html.matches("Already allowed").count(), 1);
    assert!(html.contains("Use what this service calls “reports:read”"));
    for shown in ["alice@example.test", "app.example", "<code>openid</code>"] {
        assert!(html.contains(shown), "{shown}");
    }
}

#[test]
fn logout_carries_over_what_it_was_given_and_no_more() {
    let page = LogoutPage {
        client_name: None,
        csrf: "csrf-1",
        id_token_hint: None,
        post_logout_redirect_uri: Some("https://app.example/bye"),
        state: Some("s"),
        client_id: None,
        form_targets: &[],
    };
    let html = page.render().html;
    assert!(html.contains(r#"<form method="post" action="/oauth2/logout">"#));
    let fields: Vec<_> = start_tags(&html)
        .into_iter()
        .filter(|(name, _)| *name == "input")
        .map(|(_, input)| (attribute(input, "name"), attribute(input, "value")))
        .collect();
    assert_eq!(
        fields,
        [
            (Some("csrf"), Some("csrf-1")),
            (Some("post_logout_redirect_uri"), Some("https://app.example/bye")),
            (Some("state"), Some("s")),
        ]
    );
}

#[test]
fn every_page_says_its_language_and_keeps_to_itself() {
    for Page { html, .. } in hostile_pages() {
        for part in [
            "<!doctype html>\n<html lang=\"en\">",
            r#"<meta name="referrer" content="no-referrer">"#,
            r#"<meta name="robots" content="noindex, nofollow">"#,
            r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#,
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert_eq!(html.matches("<h1").count(), 1);
    }
}

/// Reads the custom properties between `from` and the next closing brace.
fn palette(from: &str) -> impl Fn(&str) -> f64 {
    let block = STYLE.split_once(from).unwrap().1.split_once('}').unwrap().0;
    move |name| {
        let (_, value) = block.split_once(&format!("--{name}: #")).unwrap();
        let channel = |at| f64::from(u8::from_str_radix(&value[at..at + 2], 16).unwrap());
        let linear = |value: f64| match value / 255.0 {
            low if low <= 0.04045 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(channel(0)) + 0.7152 * linear(channel(2)) + 0.0722 * linear(channel(4))
    }
}

#[test]
fn text_has_a_contrast_of_4_5_and_controls_of_3() {
    for block in [":root {\n  color-scheme", "dark) {\n  :root {"] {
        let luminance = palette(block);
        for (front, back, least) in [
            ("ink", "paper", 7.0),
            ("ink", "field", 7.0),
            ("ink", "danger-paper", 7.0),
            ("muted", "paper", 4.5),
            ("accent", "paper", 4.5),
            ("accent", "field", 4.5),
            ("accent-strong", "field", 4.5),
            ("on-accent", "accent", 4.5),
            ("on-accent", "accent-strong", 4.5),
            ("danger", "paper", 4.5),
            ("danger", "danger-paper", 4.5),
            ("edge", "paper", 3.0),
            ("edge", "field", 3.0),
        ] {
            let (front_is, back_is) = (luminance(front), luminance(back));
            let contrast = (front_is.max(back_is) + 0.05) / (front_is.min(back_is) + 0.05);
            assert!(contrast >= least, "{block} {front} on {back}: {contrast:.2}");
        }
    }
}
