//! Certificates for servers of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// A certificate authority of one test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, in PEM files that live as long as their authority.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes one that nobody knows.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = params(&[], "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).expect("a certificate can be made");
        fs::write(folder.path().join("authority.pem"), own.pem()).expect("it can be written");
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// Returns the file of its own certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Certifies that a key belongs to `host`.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn certify(&self, host: &str) -> Certificate {
        self.sign(host, |_| ())
    }

    /// Certifies it, and the certificate has expired.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn certify_for_the_past(&self, host: &str) -> Certificate {
        self.sign(host, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn sign(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let folder = TempDir::new_in(self.folder.path()).expect("a folder can be made").keep();
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = params(&[host], host);
        change(&mut params);
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate can be made");
        let write = |name: &str, pem: String| {
            let file: PathBuf = Path::new(&folder).join(name);
            fs::write(&file, pem).expect("it can be written");
            file
        };
        Certificate {
            certificate: write("certificate.pem", signed.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}

/// Who is certified is named apart from who certifies, else it would seem to certify itself.
fn params(hosts: &[&str], name: &str) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("these are hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
