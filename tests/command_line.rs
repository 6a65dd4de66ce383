//! The `cadence` command line.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs `cadence` with a data directory of its own.
pub(crate) fn cadence(data: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(&stack::artifacts().cadence)
        .args(arguments)
        .env_clear()
        .env("CADENCE_DATA_DIR", data)
        .envs(environment.iter().copied())
        .current_dir(data)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = cadence(data, &[], &[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// Asserts that a command fails with one line that has these words in it.
#[track_caller]
fn fails(output: &Output, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    for word in words {
        assert!(told.contains(word), "{word:?} is not in {told:?}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn applying_a_file_again_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let demo = stack::root().join("examples/demo.toml").display().to_string();
    let first = json(data, &["apply", "-f", &demo]);
    let changes = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["change"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(changes(&first), ["created"; 5]);
    let before = (json(data, &["client", "list"]), json(data, &["user", "list"]));
    assert_eq!(changes(&json(data, &["apply", "-f", &demo])), ["unchanged"; 5]);
    assert_eq!((json(data, &["client", "list"]), json(data, &["user", "list"])), before);
    let told = String::from_utf8(cadence(data, &[], &["apply", "-f", &demo]).stdout).unwrap();
    for secret in ["demo-web-secret", "correct-horse-battery"] {
        assert!(!told.contains(secret), "{told}");
    }

    let other = data.join("other.toml");
    std::fs::write(
        &other,
        "[[clients]]\nclient_id = \"made\"\nclient_name = \"Made\"\n\
         token_endpoint_auth_method = \"client_secret_basic\"\n\
         grant_types = [\"authorization_code\"]\nredirect_uris = [\"https://made.example/cb\"]\n\
         scope = \"openid\"\n",
    )
    .unwrap();
    let file = other.display().to_string();
    let shown_once = json(data, &["apply", "-f", &file]);
    assert!(shown_once[0]["client_secret"].as_str().unwrap().len() >= 32);
    assert_eq!(json(data, &["apply", "-f", &file])[0]["client_secret"], Value::Null);
}

#[test]
fn what_cannot_be_applied_is_refused_as_a_whole() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let demo = stack::root().join("examples/demo.toml").display().to_string();
    let real = [("CADENCE_ISSUER", "https://id.example")];
    fails(&cadence(data, &real, &["apply", "-f", &demo]), &["development", "https://id.example"]);
    fails(&cadence(data, &[], &["apply", "-f", "nowhere.toml"]), &["nowhere.toml"]);
    let client = "[[clients]]\nclient_id = \"bad\"\nclient_name = \"Bad\"\n\
                  token_endpoint_auth_method = \"none\"\nscope = \"openid\"\n";
    for (rest, words) in [
        ("grant_types = [\"implicit\"]", &["bad"][..]),
        ("grant_types = [\"authorization_code\"]", &["bad", "redirect_uris"]),
        (
            "grant_types = [\"authorization_code\"]\nredirect_uris = [\"javascript:alert(1)\"]",
            &["bad"],
        ),
        (
            "grant_types = [\"authorization_code\"]\nredirect_uris = [\"http://app.example/cb\"]",
            &["bad", "http"],
        ),
        (
            "grant_types = [\"authorization_code\"]\nredirect_uris = [\"https://*.example/cb\"]",
            &["bad"],
        ),
        ("grant_types = [\"password\"]", &["bad", "password"]),
        (
            "grant_types = [\"authorization_code\"]\nredirect_uris = [\"https://a.example/cb\"]\n\
             pkce = \"optional\"",
            &["bad", "pkce"],
        ),
        (
            "grant_types = [\"authorization_code\"]\nredirect_uris = [\"https://a.example/cb\"]\n\
             cors_origins = [\"*\"]",
            &["bad"],
        ),
        (
            "grant_types = [\"authorization_code\"]\nredirect_uris = [\"https://a.example/cb\"]\n\
             client_secret = \"a-secret-of-a-public-client\"",
            &["bad", "secret"],
        ),
        ("grant_types = [\"refresh_token\"]\nredirect_uri = \"x\"", &["bad", "redirect_uri"]),
    ] {
        let file = data.join("bad.toml");
        std::fs::write(&file, format!("{client}{rest}\n")).unwrap();
        let file = file.display().to_string();
        fails(&cadence(data, &[], &["apply", "-f", &file]), words);
    }
    assert_eq!(json(data, &["client", "list"]), json!([]));
}

#[test]
fn clients_are_created_listed_shown_and_disabled() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let uri = ["--redirect-uri", "https://app.example/cb"];
    let made = json(data, &[&["client", "create", "app"][..], &uri].concat());
    let secret = made["client_secret"].as_str().unwrap();
    assert!(secret.len() >= 32, "{made}");
    assert_eq!(made["redirect_uris"], json!(["https://app.example/cb"]));
    let public = ["client", "create", "native", "--auth-method", "none"];
    let public = json(data, &[&public[..], &uri].concat());
    assert_eq!(public.get("client_secret"), None);

    fails(
        &cadence(data, &[], &[&["client", "create", "app"][..], &uri].concat()),
        &["app", "exists"],
    );
    fails(&cadence(data, &[], &["client", "create", "a b"]), &[]);
    fails(
        &cadence(data, &[], &["client", "create", "x", "--redirect-uri", "javascript:x"]),
        &["javascript:x"],
    );
    fails(&cadence(data, &[], &["client", "show", "nobody"]), &["nobody"]);
    fails(&cadence(data, &[], &["client", "disable", "nobody"]), &["nobody"]);

    let list = json(data, &["client", "list"]);
    let shown = json(data, &["client", "show", "app"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(shown["client_id"], "app");
    assert_eq!(shown["disabled_at"], Value::Null);
    for told in [&list, &shown] {
        assert!(!told.to_string().contains(secret), "the secret is shown once");
    }
    let rotated = json(data, &["client", "rotate-secret", "app"]);
    let next = rotated["client_secret"].as_str().unwrap();
    assert!(next.len() >= 32 && next != secret, "{rotated}");
    let end = &rotated["former_secret_until"];
    // A file that says nothing of the secret changes neither.
    let file = data.join("app.toml");
    let app = "[[clients]]\nclient_id = \"app\"\nclient_name = \"App\"\nscope = \"openid\"\n\
               token_endpoint_auth_method = \"client_secret_basic\"\n\
               grant_types = [\"authorization_code\"]\nredirect_uris = [\"https://app.example/cb\"]\n";
    std::fs::write(&file, app).unwrap();
    let applied = json(data, &["apply", "-f", &file.display().to_string()]);
    assert_eq!(applied[0]["client_secret"], Value::Null);
    let shown = json(data, &["client", "show", "app"]);
    assert!(end.is_u64() && shown["former_secret_until"] == *end, "{shown}");
    assert!(!shown.to_string().contains(next), "the secret is shown once");
    let ended = json(data, &["client", "rotate-secret", "app", "--overlap", "0"]);
    assert_eq!(ended.get("former_secret_until"), None);
    for (arguments, words) in [
        (&["native"][..], &["native", "public"][..]),
        (&["nobody"], &["nobody"]),
        (&["app", "--overlap", "7776001"], &["7776000"]),
        (&["app", "--overlap=-1"], &["overlap"]),
    ] {
        fails(&cadence(data, &[], &[&["client", "rotate-secret"][..], arguments].concat()), words);
    }
    json(data, &["client", "disable", "app"]);
    assert!(json(data, &["client", "show", "app"])["disabled_at"].is_u64());
    let text = String::from_utf8(cadence(data, &[], &["client", "list"]).stdout).unwrap();
    assert!(text.starts_with("client_id") && text.contains("native"), "{text}");
}

#[test]
fn users_are_created_listed_shown_and_disabled() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let made = json(data, &["user", "create", " Ann@Example.Test ", "--name", "Ann"]);
    assert_eq!(made["username"], "ann@example.test");
    let password = made["password"].as_str().unwrap();
    assert!(password.len() >= 16, "{made}");
    let shown = json(data, &["user", "show", "ann@example.test"]);
    assert_eq!((&shown["sub"], shown.get("password")), (&made["sub"], None));
    assert!(!made["sub"].as_str().unwrap().contains("ann"));
    let list = json(data, &["user", "list"]);
    assert!(!list.to_string().contains(password) && !list.to_string().contains("argon2"), "{list}");
    fails(&cadence(data, &[], &["user", "create", "ANN@example.test"]), &["exists"]);
    fails(&cadence(data, &[], &["user", "show", "nobody"]), &["nobody"]);
    fails(&cadence(data, &[], &["user", "create", ""]), &["username"]);
    json(data, &["user", "disable", "ann@example.test"]);
    assert!(json(data, &["user", "show", "ann@example.test"])["disabled_at"].is_u64());
}

#[test]
fn keys_are_listed_and_rotated_and_never_shown() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let rotated = json(data, &["key", "rotate"]);
    let before = rotated.as_array().unwrap().len();
    assert!(before >= 3, "one of each algorithm: {rotated}");
    let one = json(data, &["key", "rotate", "--alg", "ES256"]);
    let one = one.as_array().unwrap();
    assert_eq!(one.len(), before + 1);
    for key in one {
        assert!(key["kid"].is_string() && key["signs_at"].is_u64(), "{key}");
        assert!(key.get("pkcs8").is_none() && key.get("sealed_pkcs8").is_none(), "{key}");
    }
    // The new one is published before it signs: no cache of the old set may refuse its tokens.
    let newest = one.iter().max_by_key(|key| key["created_at"].as_u64()).unwrap();
    assert!(
        one.iter().any(|key| {
            key["alg"] == "ES256"
                && key["signs_at"].as_u64().unwrap() >= key["created_at"].as_u64().unwrap() + 300
        }),
        "{newest}"
    );
    fails(&cadence(data, &[], &["key", "rotate", "--alg", "HS256"]), &["ES256"]);
}

#[test]
fn serve_refuses_bad_settings_and_names_them() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    for (name, value, words) in [
        ("CADENCE_ISUER", "x", &["CADENCE_ISUER", "issuer"][..]),
        ("CADENCE_ISSUER", "http://id.example", &["CADENCE_ISSUER"]),
        ("CADENCE_ISSUER", "https://id.example/", &["CADENCE_ISSUER"]),
        ("CADENCE_ISSUER", "id.example", &["CADENCE_ISSUER"]),
        ("CADENCE_LISTEN", "8888", &["CADENCE_LISTEN"]),
        ("CADENCE_ADMIN_LISTEN", "localhost", &["CADENCE_ADMIN_LISTEN"]),
        ("CADENCE_REDIS_URL", "http://x", &["CADENCE_REDIS_URL"]),
        ("CADENCE_DATABASE_URL", "mysql://x", &["CADENCE_DATABASE_URL"]),
        ("CADENCE_EDGE_SECRET", "short", &["CADENCE_EDGE_SECRET"]),
        ("CADENCE_SECRET", "short", &["CADENCE_SECRET"]),
        ("CADENCE_SECRET_FILE", "/nowhere", &["CADENCE_SECRET_FILE", "/nowhere"]),
        ("CADENCE_CORS_ORIGINS", "*", &["CADENCE_CORS_ORIGINS", "*"]),
        ("CADENCE_CORS_ORIGINS", "https://a.example,null", &["CADENCE_CORS_ORIGINS", "null"]),
        ("CADENCE_LOG_FORMAT", "xml", &["CADENCE_LOG_FORMAT", "json"]),
        ("CADENCE_LOG", "a=b=c", &["log"]),
        ("CADENCE_CONFIG", "/nowhere.toml", &["/nowhere.toml"]),
    ] {
        let output = cadence(data, &[(name, value)], &["serve"]);
        fails(&output, words);
        if name.ends_with("SECRET") {
            assert!(!String::from_utf8_lossy(&output.stderr).contains(value), "{output:?}");
        }
    }
    let known = [
        ("CADENCE_EDGE_SECRET", "development-only-edge-secret"),
        ("CADENCE_ISSUER", "https://id.example"),
    ];
    fails(&cadence(data, &known, &["serve"]), &["CADENCE_EDGE_SECRET"]);
    std::fs::write(data.join("cadence.toml"), "lissten = \"127.0.0.1:1\"\n").unwrap();
    fails(&cadence(data, &[], &["serve"]), &["lissten", "listen"]);
    std::fs::write(data.join("cadence.toml"), "listen = [\n").unwrap();
    fails(&cadence(data, &[], &["serve"]), &["cadence.toml"]);
    fails(&cadence(data, &[], &["frobnicate"]), &["frobnicate"]);
}

/// A port that is taken, and a data directory that cannot be made.
#[test]
fn serve_says_what_keeps_it_from_starting() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = [("CADENCE_LISTEN", address.as_str()), ("CADENCE_ADMIN_LISTEN", &address)];
    fails(&cadence(data, &settings, &["serve"]), &[&address]);
    std::fs::write(data.join("file"), "").unwrap();
    let blocked = data.join("file/data").display().to_string();
    let settings = [("CADENCE_DATA_DIR", blocked.as_str())];
    fails(&cadence(data, &settings, &["serve"]), &["file/data"]);
}
