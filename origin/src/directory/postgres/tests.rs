//! The contract, and what is PostgreSQL's own.

use std::sync::Arc;
use std::time::Instant;

use stack::{PATIENCE, Postgres as Server};
use tokio::task::JoinSet;

use super::super::contract::{self, AnyDirectory, for_each_promise};
use super::*;

/// All in one server, each in a database of its own: a server takes longer to start than a promise.
#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_the_contract_is_kept() {
    let server = Server::start();
    let mut databases = 0;
    macro_rules! promises {
        ($($promise:ident)*) => {$({
            println!("{}", stringify!($promise));
            databases += 1;
            let url = server.new_database(&format!("directory_{databases}"));
            let directory: AnyDirectory = Arc::new(connected(&url).await);
            contract::$promise(&directory).await;
        })*};
    }
    for_each_promise!(promises);
    assert!(databases > 10, "the contract has more promises than {databases}");
}

/// Opens a directory that is asked what it does, and not when: a machine that is busy makes no answer
/// late.
async fn patient(url: &str) -> Postgres {
    let ten = Duration::from_secs(10);
    Postgres::open_within(url, Deadlines { connection: ten, operation: ten }).await.unwrap()
}

/// Opens such a directory and all of its connections: a race is about what they do, not how fast they
/// are made.
async fn connected(url: &str) -> Postgres {
    let directory = patient(url).await;
    let mut links = Vec::new();
    for _ in 0..CONNECTIONS {
        links.push(directory.link().await.unwrap());
    }
    for link in links {
        link.done();
    }
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn several_open_and_write_one_new_database_at_once() {
    let server = Server::start();
    let mut openers = JoinSet::new();
    for number in 0..8 {
        let url = server.url();
        openers.spawn(async move {
            let directory = patient(&url).await;
            let user = UserId("alice".to_owned());
            let client = ClientId::parse("web").unwrap();
            let scope = Scope::parse(&format!("scope{number}")).unwrap();
            let now = UnixTime::from_secs(2_000_000_000);
            directory.add_consent(&user, &client, &scope, now).await.unwrap();
        });
    }
    openers.join_all().await;
    // Each migration once, and none left out.
    assert_eq!(server.sql("SELECT count(*) - max(version) FROM _sqlx_migrations"), "0");
    let directory = patient(&server.url()).await;
    let client = ClientId::parse("web").unwrap();
    let consent = directory.find_consent(&UserId("alice".to_owned()), &client).await.unwrap();
    assert_eq!(consent.unwrap().tokens().count(), 8);
}

#[tokio::test]
async fn a_schema_that_is_newer_is_refused() {
    let server = Server::start();
    let old = Postgres::schema(&server.url()).await.unwrap();
    assert_eq!((old.version, old.is_old()), (0, true));
    drop(Postgres::open(&server.url()).await.unwrap());
    assert!(!Postgres::schema(&server.url()).await.unwrap().is_old());
    let _ = server.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'of a newer program', true, '', 0)",
    );
    for refused in [
        Postgres::open(&server.url()).await.unwrap_err(),
        Postgres::schema(&server.url()).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("its schema has version 99"), "{refused}");
    }
}

/// One that hangs costs an operation its deadline, and no connection for longer than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_is_killed_is_given_up_in_time() {
    let mut server = Server::start();
    let directory = Arc::new(Postgres::open(&server.url()).await.unwrap());
    answers_again(&directory).await;
    let frozen = server.freeze();
    let watch = stack::Stopwatch::start();
    let mut operations = JoinSet::new();
    for _ in 0..3 * CONNECTIONS {
        let directory = directory.clone();
        operations.spawn(async move { directory.list_keys().await.is_err() });
    }
    assert!(operations.join_all().await.into_iter().all(|failed| failed));
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(frozen);
    answers_again(&directory).await;
    server.kill();
    directory.ping().await.unwrap_err();
    server.restart();
    answers_again(&directory).await;
}

async fn answers_again(directory: &Postgres) {
    let began = Instant::now();
    while let Err(error) = directory.ping().await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_standby_is_not_asked() {
    let server = Server::start();
    drop(Postgres::open(&server.url()).await.unwrap());
    let mut server = server;
    server.kill();
    std::fs::write(server.data_dir().join("standby.signal"), "").unwrap();
    server.own(&server.data_dir().join("standby.signal"));
    server.restart();
    let refused = Postgres::open(&server.url()).await.unwrap_err();
    assert!(refused.to_string().contains("standby"), "{refused}");
}

/// What goes over a network is encrypted, to a server whose certificate somebody vouches for, unless
/// the URL says otherwise.
#[test]
fn a_network_is_not_trusted() {
    let mode = |url: &str| options(url).unwrap().get_ssl_mode();
    for (url, is_verified) in [
        ("postgres://u:p@db.example/cadence", true),
        ("postgresql://u:p@192.0.2.1:5433/cadence", true),
        ("postgres://u:p@localhost/cadence?host=db.example", true),
        ("postgres://u:p@db.example/cadence?sslmode=require", false),
        ("postgres://u:p@db.example/cadence?sslmode=disable", false),
        ("postgres://u:p@localhost/cadence", false),
        ("postgres://u:p@127.0.0.1/cadence", false),
        ("postgres://u:p@localhost/cadence?host=/run/postgresql", false),
        ("postgres://u:p@%2Frun%2Fpostgresql/cadence", false),
    ] {
        assert_eq!(matches!(mode(url), PgSslMode::VerifyFull), is_verified, "{url}");
    }
    let refused = options("postgres://u:a-password@host:port/").unwrap_err().to_string();
    assert!(!refused.contains("a-password"), "{refused}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let server = Server::start();
    let url = server.url().replace(server.password(), "a-wrong-password");
    let refused = Postgres::open(&url).await.unwrap_err();
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
    assert!(!format!("{refused:?}").contains("a-wrong-password"), "{refused:?}");
}

/// TLS, with an authority of the operator's own.
#[tokio::test]
async fn tls_is_verified_by_the_authority_of_the_url() {
    let mut server = Server::start();
    let folder = server.data_dir();
    let path = |name: &str| folder.join(name).display().to_string();
    for (key, certificate, name) in
        [("server.key", "server.crt", "localhost"), ("other.key", "other.crt", "localhost")]
    {
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
            .args(["-addext", &format!("subjectAltName=DNS:{name},IP:127.0.0.1")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &path(key), "-out", &path(certificate)])
            .output()
            .expect("openssl is missing; `apt-get install openssl` brings it");
        assert!(made.status.success(), "{made:?}");
        server.own(&folder.join(key));
        server.own(&folder.join(certificate));
    }
    server.kill();
    std::fs::write(
        folder.join("pg_hba.conf"),
        "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    let settings = folder.join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}\nssl = on\n")).unwrap();
    server.restart();
    let url = |rest: &str| format!("{}?{rest}", server.tcp_url());
    let good = url(&format!("sslmode=verify-full&sslrootcert={}", path("server.crt")));
    let directory = patient(&good).await;
    directory.ping().await.unwrap();
    assert_eq!(
        server.sql(
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name = 'cadence'"
        ),
        "t"
    );
    let other = url(&format!("sslmode=verify-full&sslrootcert={}", path("other.crt")));
    for bad in [other, url("sslmode=verify-full"), url("sslmode=disable")] {
        Postgres::open(&bad).await.unwrap_err();
    }
}
