//! The embedded database on a disk that is full, and the secret that opens its keys.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::apart;
use crate::command_line::cadence;
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, WEB, is_alive, own_tokens};
use crate::outage::{is_unavailable, refreshes_at_last};
use crate::server::Server;

/// Makes a program that is `cadence` with its data directory on a small file system of memory.
fn on_a_small_disk(folder: &Path) -> PathBuf {
    let mount = "mkdir -p \"$CADENCE_DATA_DIR\" && \
                 mount -t tmpfs -o size=8m,mode=0700 tmpfs \"$CADENCE_DATA_DIR\"";
    apart::program(folder, &stack::artifacts().cadence, mount)
}

/// Fills a disk to the last byte; returns the file that does.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("fill");
    let mut file = File::create(&path).unwrap();
    for piece in [&[0; 8_192][..], &[0; 512], &[0]] {
        while file.write_all(piece).is_ok() {}
    }
    path
}

/// F18: a full disk stops what must be written, and nothing else; with room again, all that was
/// acknowledged is there.
#[test]
fn a_full_disk_stops_writes_alone_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = on_a_small_disk(folder.path());
    let server = Server::start_embedded_tuned(|origin| origin.run_by(&program));
    let _log = server.log_on_failure();
    let data = format!("/proc/{}/root{}", server.origin.pid(), server.origin.data_dir().display());
    let data = Path::new(&data);
    assert!(data.join("directory.db").exists(), "the data directory is on the small disk");
    let tokens = WEB.tokens(&server, "openid");
    is_alive(&server, &tokens.access);
    let mut newest = WEB.tokens(&server, "openid");

    let filled = fill(data);
    let mut refused = 0;
    for _ in 0..2_000 {
        let answer = WEB.refresh(&server, &newest.refresh);
        if answer.status == 200 {
            newest = Tokens::of(&answer);
            continue;
        }
        is_unavailable(&answer);
        refused += 1;
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk is full");
    is_unavailable(&WEB.revoke(&server, &tokens.refresh));
    is_unavailable(&own_tokens(&server, ALICE, ALICES_PASSWORD));
    for path in ["/oauth2/jwks", "/.well-known/openid-configuration", "/healthz"] {
        server.get(path).send().expect(200);
    }
    // Also one that was never seen before, which would be written down.
    is_alive(&server, &newest.access);
    is_alive(&server, &tokens.access);
    let told = WEB.introspect(&server, &tokens.access).expect(200).json();
    assert_eq!(told["active"], true, "reads go on");
    let registers = server.try_cadence(&["user", "create", "late"]);
    assert!(!registers.status.success(), "{registers:?}");

    fs::remove_file(filled).unwrap();
    newest = refreshes_at_last(&server, &newest.refresh);
    is_alive(&server, &newest.access);
    WEB.revoke(&server, &tokens.refresh).expect(200);
    crate::oauth::grant_is_dead(&server, &WEB, &tokens);
    server.cadence(&["user", "create", "late"]);

    // The files as they are now, as a crash would leave them, open elsewhere.
    let copy = tempfile::tempdir().unwrap();
    fs::set_permissions(copy.path(), Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(data).unwrap().flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let users = cadence(copy.path(), &[], &["user", "list"]);
    let users = String::from_utf8(users.stdout).unwrap();
    assert!(users.contains("late") && users.contains(ALICE), "{users}");
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} are not in {told}");
    assert!(!told.contains("panicked"), "{told}");
}

/// F20: without the secret that opens its keys the server does not start, and makes no other keys; with
/// it, the keys are the same as ever.
#[test]
fn without_its_secret_the_server_does_not_start_and_makes_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let keys = |arguments: &[&str]| {
        let output = cadence(data, &[], arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let made = keys(&["key", "rotate"]);
    let file = data.join("secret.key");
    let secret = fs::read(&file).unwrap();
    let mut altered = secret.clone();
    altered[7] ^= 1;
    let write = |bytes: &[u8], mode| {
        let _ = fs::remove_file(&file);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    };
    // What listens there in earnest would not get that far.
    let ports = ("CADENCE_LISTEN", "127.0.0.1:1");
    let both = |settings: &[(&str, &str)], words: &[&str]| {
        let settings = [settings, &[ports]].concat();
        refused(&cadence(data, &settings, &["serve"]), words);
        refused(&cadence(data, &settings, &["key", "rotate"]), words);
        assert_eq!(keys(&["key", "list"]), made, "{words:?}");
    };

    fs::remove_file(&file).unwrap();
    both(&[], &["secret.key is missing", "restore it"]);
    assert!(!file.exists(), "none is made in its place");
    for (bytes, mode, words) in [
        (&b""[..], 0o600, &["secret.key", "damaged"][..]),
        (&secret[..20], 0o600, &["secret.key", "damaged"]),
        (&secret, 0o644, &["secret.key", "read by others", "644"]),
        (&secret, 0o620, &["secret.key", "by others"]),
    ] {
        write(bytes, mode);
        both(&[], words);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o700)).unwrap();
    both(&[], &["secret.key", "cannot be read"]);
    fs::remove_dir(&file).unwrap();

    write(&altered, 0o600);
    both(&[], &["cannot be decrypted"]);
    both(&[("CADENCE_SECRET", "another-secret-of-the-tests-0123")], &["cannot be decrypted"]);
    let empty = data.join("empty");
    fs::write(&empty, "\n").unwrap();
    for path in ["/nowhere/secret", empty.to_str().unwrap()] {
        both(&[("CADENCE_SECRET_FILE", path)], &["CADENCE_SECRET_FILE"]);
    }
    assert_eq!(keys(&["key", "list"]), made);

    write(&secret, 0o600);
    let rotated = keys(&["key", "rotate"]);
    let kept = |list: &str| -> Vec<String> {
        list.lines().skip(1).map(|row| row.split(' ').next().unwrap().to_owned()).collect()
    };
    assert!(kept(&made).iter().all(|kid| kept(&rotated).contains(kid)), "{rotated}");
}
