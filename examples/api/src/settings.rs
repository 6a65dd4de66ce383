//! Settings: the only reader of the environment.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `API_ISSUER`: whose tokens are taken; exactly their `iss`.
    pub(crate) issuer: String,
    /// `API_AUDIENCE`: the name of this API, which must be in the `aud` of a token.
    pub(crate) audience: String,
    /// `API_LISTEN`: where the API listens.
    pub(crate) listen: SocketAddr,
    /// `API_TRUST_GATEWAY`: whether the gateway has verified each token already. Only where
    /// nobody but the gateway can reach the API: else everybody can make up a token.
    pub(crate) trust_gateway: bool,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::parse(|name| {
            environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    /// Makes the settings from named values.
    ///
    /// # Errors
    /// One sentence that names the setting.
    fn parse(setting: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let text = |name| setting(name).filter(|value| !value.is_empty());
        let issuer = text("API_ISSUER").context("API_ISSUER is missing")?;
        let is_url = issuer.starts_with("https://") || issuer.starts_with("http://");
        ensure!(is_url && !issuer.ends_with('/'), "API_ISSUER takes https://host[:port]");
        let listen = text("API_LISTEN").unwrap_or_else(|| "127.0.0.1:9090".to_owned());
        Ok(Self {
            issuer,
            audience: text("API_AUDIENCE").context("API_AUDIENCE is missing")?,
            listen: listen.parse().context("API_LISTEN takes an IP address and a port")?,
            trust_gateway: match text("API_TRUST_GATEWAY").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => anyhow::bail!("API_TRUST_GATEWAY takes true or false"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(changes: &[(&str, &str)]) -> Result<Settings, String> {
        let good = [("API_ISSUER", "https://id.example"), ("API_AUDIENCE", "https://api.example")];
        let find = |name: &str| {
            let found = changes.iter().chain(&good).find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::parse(find).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_are_checked_unless_somebody_says_otherwise() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9090");
        assert!(!settings.trust_gateway);
        assert!(parse(&[("API_TRUST_GATEWAY", "true")]).unwrap().trust_gateway);
    }

    #[test]
    fn a_bad_setting_is_named() {
        for (name, value) in [
            ("API_ISSUER", ""),
            ("API_ISSUER", "id.example"),
            ("API_ISSUER", "https://id.example/"),
            ("API_AUDIENCE", ""),
            ("API_LISTEN", "9090"),
            ("API_TRUST_GATEWAY", "yes"),
        ] {
            let refused = parse(&[(name, value)]).unwrap_err();
            assert!(refused.starts_with(name), "{name}={value}: {refused}");
        }
    }
}
