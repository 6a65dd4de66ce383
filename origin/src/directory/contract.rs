//! What every [`Directory`] must do, as plain functions over one: each back end runs them all,
//! on a directory of its own each time.

use std::sync::Arc;

use shared::client::{AuthMethod, Client, ClientId, GrantType, PkceRule};
use shared::jwk::Alg;
use shared::redirect_uri::RedirectUri;
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use tokio::task::JoinSet;

use super::{ClientRecord, ConsentRecord, Directory, FormerSecret, KeyRecord, UserRecord};
use crate::store::UserId;

/// Runs a macro with the name of every function of the contract.
macro_rules! for_each_promise {
    ($macro:ident) => {
        $macro! {
            client_is_put_found_listed_and_replaced
            user_is_put_found_listed_and_replaced
            username_belongs_to_one_user
            nobody_is_called_nul
            what_has_changed_meanwhile_is_not_replaced
            order_is_that_of_the_bytes
            consent_grows_and_is_forgotten
            consents_of_a_user_are_listed
            logins_that_were_ended_stay_so
            key_is_added_expired_and_removed
            keys_that_changed_meanwhile_are_not_changed
            directory_answers
            race_of_consents_keeps_all
            race_of_key_rotations_has_one_winner
            race_for_a_username_has_one_winner
            race_of_registrations_has_one_winner
            race_of_an_update_and_the_end_of_logins_revives_none
            race_of_a_consent_and_its_removal_leaves_a_whole_one_or_none
        }
    };
}
pub(crate) use for_each_promise;

/// A directory that tasks can share.
pub type AnyDirectory = Arc<dyn Directory>;

const NOW: UnixTime = UnixTime::from_secs(2_000_000_000);

pub async fn client_is_put_found_listed_and_replaced(directory: &AnyDirectory) {
    assert_eq!(directory.list_clients().await.unwrap(), []);
    let (web, spa) = (client("web"), client("spa"));
    directory.put_client(&web).await.unwrap();
    directory.put_client(&spa).await.unwrap();
    assert_eq!(directory.list_clients().await.unwrap(), [spa, web.clone()]);
    let found = directory.find_client(&web.client.client_id).await.unwrap();
    assert_eq!(found, Some(web.clone()));

    let replaced = ClientRecord {
        client: Client { client_name: "Renamed \"\u{1F600}\"".to_owned(), ..web.client },
        secret_digest: None,
        former_secret: None,
        disabled_at: Some(NOW),
    };
    directory.put_client(&replaced).await.unwrap();
    let found = directory.find_client(&replaced.client.client_id).await.unwrap();
    assert_eq!(found, Some(replaced));
    assert_eq!(directory.list_clients().await.unwrap().len(), 2);
    assert_eq!(directory.find_client(&client_id("unknown")).await.unwrap(), None);
    assert_eq!(directory.find_client(&client_id("WEB")).await.unwrap(), None);
}

pub async fn user_is_put_found_listed_and_replaced(directory: &AnyDirectory) {
    assert_eq!(directory.list_users().await.unwrap(), []);
    let (bob, alice) = (user("1", "bob"), user("2", "alice"));
    directory.put_user(&bob).await.unwrap();
    directory.put_user(&alice).await.unwrap();
    assert_eq!(directory.list_users().await.unwrap(), [alice, bob.clone()]);
    assert_eq!(directory.find_user(&bob.user_id).await.unwrap(), Some(bob.clone()));
    assert_eq!(directory.find_username("bob").await.unwrap(), Some(bob.clone()));

    let renamed = UserRecord {
        username: "robert".to_owned(),
        email: None,
        name: None,
        password_hash: "another".to_owned(),
        valid_from: NOW,
        disabled_at: Some(NOW),
        ..bob
    };
    directory.put_user(&renamed).await.unwrap();
    assert_eq!(directory.find_user(&renamed.user_id).await.unwrap(), Some(renamed.clone()));
    assert_eq!(directory.find_username("robert").await.unwrap(), Some(renamed));
    assert_eq!(directory.find_username("bob").await.unwrap(), None);
    assert_eq!(directory.find_user(&UserId("3".to_owned())).await.unwrap(), None);
}

pub async fn username_belongs_to_one_user(directory: &AnyDirectory) {
    directory.put_user(&user("1", "alice")).await.unwrap();
    directory.put_user(&user("2", "bob")).await.unwrap();
    let error = directory.put_user(&user("3", "alice")).await.unwrap_err();
    assert!(error.to_string().contains("another user has this username"), "{error}");
    directory.put_user(&user("2", "alice")).await.unwrap_err();
    let owner = directory.find_username("alice").await.unwrap().unwrap();
    assert_eq!(owner.user_id, UserId("1".to_owned()));
    assert_eq!(directory.list_users().await.unwrap().len(), 2);
}

pub async fn nobody_is_called_nul(directory: &AnyDirectory) {
    directory.put_user(&user("1", "alice")).await.unwrap();
    for typed in ["\0", "alice\0", "\0alice"] {
        assert_eq!(directory.find_username(typed).await.unwrap(), None);
    }
}

pub async fn what_has_changed_meanwhile_is_not_replaced(directory: &AnyDirectory) {
    let web = client("web");
    let disabled = ClientRecord { disabled_at: Some(NOW), ..web.clone() };
    assert!(!directory.change_client(Some(&web), &disabled).await.unwrap(), "it is not there");
    assert!(directory.change_client(None, &web).await.unwrap());
    assert!(!directory.change_client(None, &disabled).await.unwrap(), "it is there");
    assert!(directory.change_client(Some(&web), &disabled).await.unwrap());
    assert!(!directory.change_client(Some(&web), &web).await.unwrap(), "it is another now");
    let found = directory.find_client(&web.client.client_id).await.unwrap();
    assert_eq!(found, Some(disabled));

    let alice = user("1", "alice");
    let renamed = UserRecord { name: None, ..alice.clone() };
    assert!(!directory.change_user(Some(&alice), &renamed).await.unwrap());
    assert!(directory.change_user(None, &alice).await.unwrap());
    assert!(!directory.change_user(None, &renamed).await.unwrap());
    directory.end_logins(&alice.user_id, NOW).await.unwrap();
    assert!(!directory.change_user(Some(&alice), &renamed).await.unwrap(), "logins have ended");
    let found = directory.find_user(&alice.user_id).await.unwrap();
    assert_eq!(found, Some(UserRecord { valid_from: NOW, ..alice }));
}

pub async fn order_is_that_of_the_bytes(directory: &AnyDirectory) {
    for id in ["b", "B", "a-b", "a_b", "ab", "A"] {
        directory.put_client(&client(id)).await.unwrap();
        directory.put_user(&user(id, id)).await.unwrap();
    }
    directory.put_user(&user("1", "\u{e9}")).await.unwrap();
    let clients = directory.list_clients().await.unwrap();
    let clients: Vec<_> = clients.iter().map(|it| it.client.client_id.as_str()).collect();
    assert_eq!(clients, ["A", "B", "a-b", "a_b", "ab", "b"]);
    let users = directory.list_users().await.unwrap();
    let users: Vec<_> = users.iter().map(|it| it.username.as_str()).collect();
    assert_eq!(users, ["A", "B", "a-b", "a_b", "ab", "b", "\u{e9}"]);
}

pub async fn consent_grows_and_is_forgotten(directory: &AnyDirectory) {
    let (alice, bob) = (user("1", "alice"), user("2", "bob"));
    let (web, spa) = (client_id("web"), client_id("spa"));
    directory.put_user(&alice).await.unwrap();
    directory.put_user(&bob).await.unwrap();
    directory.put_client(&client("web")).await.unwrap();
    directory.put_client(&client("spa")).await.unwrap();
    let find = async |user: &UserRecord, client| {
        directory.find_consent(&user.user_id, client).await.unwrap()
    };
    let add = async |text| {
        directory.add_consent(&alice.user_id, &web, &scope(text), NOW).await.unwrap();
    };
    assert_eq!(find(&alice, &web).await, None);
    add("openid email").await;
    add("profile openid").await;
    assert_eq!(find(&alice, &web).await, Some(scope("openid email profile")));
    assert_eq!(find(&alice, &spa).await, None);
    assert_eq!(find(&bob, &web).await, None);
    directory.put_user(&alice).await.unwrap();
    directory.put_client(&client("web")).await.unwrap();
    assert!(find(&alice, &web).await.is_some(), "replacing a user or client keeps consents");
    for _ in 0..2 {
        directory.remove_consent(&alice.user_id, &web).await.unwrap();
        assert_eq!(find(&alice, &web).await, None);
    }
}

pub async fn consents_of_a_user_are_listed(directory: &AnyDirectory) {
    let (alice, bob) = (user("1", "alice"), user("2", "bob"));
    let add = async |user: &UserRecord, client: &str, text: &str, now| {
        let client = client_id(client);
        directory.add_consent(&user.user_id, &client, &scope(text), now).await.unwrap();
    };
    let list = async |user: &UserRecord| directory.list_consents(&user.user_id).await.unwrap();
    let consent = |client: &str, text: &str, since| ConsentRecord {
        client_id: client_id(client),
        scope: scope(text),
        since,
    };
    assert_eq!(list(&alice).await, []);
    add(&alice, "web", "openid", NOW).await;
    add(&alice, "spa", "openid", NOW.plus(5)).await;
    add(&bob, "web", "email", NOW).await;
    add(&alice, "web", "email", NOW.plus(9)).await;
    let expected = [consent("spa", "openid", NOW.plus(5)), consent("web", "openid email", NOW)];
    assert_eq!(list(&alice).await, expected);
    directory.remove_consent(&alice.user_id, &client_id("web")).await.unwrap();
    add(&alice, "web", "openid", NOW.plus(20)).await;
    let expected = [consent("spa", "openid", NOW.plus(5)), consent("web", "openid", NOW.plus(20))];
    assert_eq!(list(&alice).await, expected, "it begins anew");
    assert_eq!(list(&bob).await, [consent("web", "email", NOW)]);
}

pub async fn logins_that_were_ended_stay_so(directory: &AnyDirectory) {
    let (alice, bob) = (user("1", "alice"), user("2", "bob"));
    directory.put_user(&alice).await.unwrap();
    directory.put_user(&bob).await.unwrap();
    for (asked, expected) in [(5, 5), (3, 5), (9, 9)] {
        directory.end_logins(&alice.user_id, NOW.plus(asked)).await.unwrap();
        let found = directory.find_user(&alice.user_id).await.unwrap().unwrap();
        let expected = UserRecord { valid_from: NOW.plus(expected), ..alice.clone() };
        assert_eq!(found, expected);
    }
    assert_eq!(directory.find_user(&bob.user_id).await.unwrap(), Some(bob));
    directory.end_logins(&UserId("nobody".to_owned()), NOW).await.unwrap();
}

pub async fn key_is_added_expired_and_removed(directory: &AnyDirectory) {
    let (old, new) = (key("z", NOW), key("a", NOW.plus(10)));
    assert!(change(directory, &[], std::slice::from_ref(&old), &[], &[]).await);
    let end = NOW.plus(100);
    assert!(change(directory, &["z"], std::slice::from_ref(&new), &[("z", end)], &[]).await);
    let ended = KeyRecord { expires_at: Some(end), ..old };
    assert_eq!(directory.list_keys().await.unwrap(), [ended, new.clone()]);
    assert!(change(directory, &["a", "z"], &[], &[], &["z"]).await, "in any order");
    assert_eq!(directory.list_keys().await.unwrap(), [new]);
}

pub async fn keys_that_changed_meanwhile_are_not_changed(directory: &AnyDirectory) {
    let (old, new) = (key("old", NOW), key("new", NOW.plus(10)));
    assert!(change(directory, &[], std::slice::from_ref(&old), &[], &[]).await);
    for expected in [&[][..], &["other"], &["old", "other"]] {
        let add = std::slice::from_ref(&new);
        assert!(!change(directory, expected, add, &[("old", NOW)], &["old"]).await);
    }
    assert_eq!(directory.list_keys().await.unwrap(), std::slice::from_ref(&old));
    // The step fails as a whole: the key that is added twice takes the other with it.
    let twice = [new, old.clone()];
    let expected = ["old".to_owned()];
    directory.change_keys(&expected, &twice, &[], &[]).await.unwrap_err();
    assert_eq!(directory.list_keys().await.unwrap(), [old]);
}

pub async fn directory_answers(directory: &AnyDirectory) {
    directory.ping().await.unwrap();
}

pub async fn race_of_consents_keeps_all(directory: &AnyDirectory) {
    let (alice, web) = (user("1", "alice"), client_id("web"));
    directory.put_user(&alice).await.unwrap();
    directory.put_client(&client("web")).await.unwrap();
    let mut racers = JoinSet::new();
    for number in 0..50 {
        let (directory, user, web) = (directory.clone(), alice.user_id.clone(), web.clone());
        racers.spawn(async move {
            let scope = scope(&format!("scope{number}"));
            directory.add_consent(&user, &web, &scope, NOW).await.unwrap();
        });
    }
    racers.join_all().await;
    let consent = directory.find_consent(&alice.user_id, &web).await.unwrap().unwrap();
    assert_eq!(consent.tokens().count(), 50);
}

pub async fn race_of_key_rotations_has_one_winner(directory: &AnyDirectory) {
    assert!(change(directory, &[], &[key("old", NOW)], &[], &[]).await);
    let mut racers = JoinSet::new();
    for number in 0..20 {
        let directory = directory.clone();
        racers.spawn(async move {
            let new = key(&format!("new{number}"), NOW.plus(10));
            change(&directory, &["old"], &[new], &[("old", NOW.plus(100))], &[]).await
        });
    }
    let won = racers.join_all().await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(directory.list_keys().await.unwrap().len(), 2);
}

pub async fn race_for_a_username_has_one_winner(directory: &AnyDirectory) {
    let mut racers = JoinSet::new();
    for number in 0..20 {
        let directory = directory.clone();
        let record = user(&number.to_string(), "alice");
        racers.spawn(async move { directory.put_user(&record).await.is_ok() });
    }
    let won = racers.join_all().await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(directory.list_users().await.unwrap().len(), 1);
}

pub async fn race_of_registrations_has_one_winner(directory: &AnyDirectory) {
    let mut racers = JoinSet::new();
    for number in 0..20_u8 {
        let directory = directory.clone();
        let record =
            ClientRecord { secret_digest: Some(Sha256Digest::of(&[number])), ..client("web") };
        racers.spawn(async move {
            directory.change_client(None, &record).await.unwrap().then_some(record)
        });
    }
    let won: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1, "each secret that is shown is good");
    assert_eq!(directory.list_clients().await.unwrap(), won);
}

pub async fn race_of_an_update_and_the_end_of_logins_revives_none(directory: &AnyDirectory) {
    let alice = user("1", "alice");
    directory.put_user(&alice).await.unwrap();
    for round in 1..=20 {
        let found = directory.find_user(&alice.user_id).await.unwrap().unwrap();
        let renamed = UserRecord { name: Some(round.to_string()), ..found.clone() };
        let valid_from = NOW.plus(round);
        let (changed, ended) = tokio::join!(
            directory.change_user(Some(&found), &renamed),
            directory.end_logins(&alice.user_id, valid_from)
        );
        ended.unwrap();
        let name = if changed.unwrap() { renamed.name } else { found.name.clone() };
        let now = directory.find_user(&alice.user_id).await.unwrap().unwrap();
        assert_eq!(now, UserRecord { name, valid_from, ..found });
    }
}

pub async fn race_of_a_consent_and_its_removal_leaves_a_whole_one_or_none(
    directory: &AnyDirectory,
) {
    let (alice, web) = (user("1", "alice"), client_id("web"));
    for round in 0..20 {
        directory.add_consent(&alice.user_id, &web, &scope("openid"), NOW).await.unwrap();
        let more = scope("email profile");
        let (added, removed) = tokio::join!(
            directory.add_consent(&alice.user_id, &web, &more, NOW.plus(round)),
            directory.remove_consent(&alice.user_id, &web)
        );
        added.unwrap();
        removed.unwrap();
        let left = directory.find_consent(&alice.user_id, &web).await.unwrap();
        assert!(left.is_none() || left == Some(more), "what was taken back stays so: {left:?}");
        directory.remove_consent(&alice.user_id, &web).await.unwrap();
    }
}

async fn change(
    directory: &AnyDirectory,
    expected: &[&str],
    add: &[KeyRecord],
    expire: &[(&str, UnixTime)],
    remove: &[&str],
) -> bool {
    let owned = |kids: &[&str]| kids.iter().map(|kid| (*kid).to_owned()).collect::<Vec<_>>();
    let expire: Vec<_> = expire.iter().map(|(kid, at)| ((*kid).to_owned(), *at)).collect();
    directory.change_keys(&owned(expected), add, &expire, &owned(remove)).await.unwrap()
}

fn client(id: &str) -> ClientRecord {
    ClientRecord {
        client: Client {
            client_id: client_id(id),
            client_name: "A client".to_owned(),
            token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            redirect_uris: vec![RedirectUri::parse("https://app.example/cb?a=%20").unwrap()],
            post_logout_redirect_uris: vec![],
            initiate_login_uri: None,
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            scope: scope("openid profile email"),
            pkce: PkceRule::Required,
            first_party: true,
            cors_origins: vec![],
            audience: vec!["https://api.example".to_owned()],
            id_token_signed_response_alg: Alg::RS256,
        },
        secret_digest: Some(Sha256Digest::of(b"a secret")),
        former_secret: Some(FormerSecret { digest: Sha256Digest::of(b"another"), until: NOW }),
        disabled_at: None,
    }
}

fn user(id: &str, username: &str) -> UserRecord {
    UserRecord {
        user_id: UserId(id.to_owned()),
        username: username.to_owned(),
        email: Some(format!("{username}@example.test")),
        name: Some("Ein Ünicode-Name".to_owned()),
        password_hash: "$argon2id$".to_owned(),
        valid_from: UnixTime::default(),
        disabled_at: None,
    }
}

pub(super) fn key(kid: &str, created_at: UnixTime) -> KeyRecord {
    KeyRecord {
        kid: kid.to_owned(),
        alg: Alg::EdDsa,
        sealed_pkcs8: vec![0, 255, 1],
        created_at,
        signs_at: created_at.plus(300),
        expires_at: None,
    }
}

fn client_id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}
