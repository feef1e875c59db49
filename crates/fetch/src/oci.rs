//! Images in registries: OCI distribution specification 1.1, image specification 1.1.
//!
//! ```text
//!  manifest, by its digest ─► its one layer ─► blob, by its digest
//!        ▲ 401: a token from where the registry says
//! ```

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    address::{Registry, digits, sha256},
    client::{Bearer, Client, refusal},
    error::FetchError,
    exchange::{Answer, Wanted},
    token::Token,
    url::Url,
};

/// "Pushing manifests": registries take up to 4 MiB.
const MANIFEST_BYTES: usize = 4 << 20;

/// The largest answer of a token service that is read.
const TOKEN_BYTES: usize = 64 << 10;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json";

/// The one layer of an artefact.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) url: Url,
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
    /// A token that the registry gave out.
    pub(crate) bearer: Option<Bearer>,
}

/// What of a manifest counts. Image specification 1.1, "OCI image manifest".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    /// That of an index.
    #[serde(default)]
    manifests: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
}

/// Finds the one layer of an artefact. Its manifest has the digest that was said, or it is not believed.
pub(crate) fn layer(
    client: &Client,
    registry: &Registry,
    bearer: Option<&Bearer>,
) -> Result<Layer, FetchError> {
    let path = |kind: &str, digest: &[u8]| {
        let path = format!("/v2/{}/{kind}/sha256:{}", registry.name, digits(digest));
        registry.base.with_path(&path)
    };
    let url = path("manifests", &registry.digest);
    let wanted = Wanted { accept: Some(ACCEPT), ..Wanted::default() };
    let answer = client.ask_any(&url, &wanted, bearer)?;
    let (mut answer, given) = match (answer.head.status, bearer) {
        (401, None) => {
            let given = Bearer::for_server(token(client, registry, answer)?, &url);
            (client.ask(&url, &wanted, Some(&given))?, Some(given))
        }
        (200, _) => (answer, None),
        _ => return Err(refusal(answer, bearer)),
    };
    let (bytes, is_more) = answer.body.beginning(MANIFEST_BYTES)?;
    let image = url.to_string();
    let wrong = |reason: String| FetchError::Manifest { image: image.clone(), reason };
    if is_more {
        return Err(wrong(format!("it has more than {MANIFEST_BYTES} bytes")));
    }
    let found: [u8; 32] = Sha256::digest(&bytes).into();
    if found != registry.digest {
        return Err(wrong(format!("what came has the SHA-256 {}", digits(&found))));
    }
    let (sha256, size) = only_layer(&bytes).map_err(wrong)?;
    Ok(Layer { url: path("blobs", &sha256), size, sha256, bearer: given })
}

/// Reads a manifest; returns the digest and the size of its only layer.
fn only_layer(bytes: &[u8]) -> Result<([u8; 32], u64), String> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if manifest.schema_version != 2 {
        return Err(format!("it is of version {}, not 2", manifest.schema_version));
    }
    if manifest.manifests.is_some() {
        return Err("it is an index of several: take the digest of one of them".to_owned());
    }
    let layers = manifest.layers.unwrap_or_default();
    let [layer] = layers.as_slice() else {
        let kind = manifest.media_type.unwrap_or_else(|| MANIFEST.to_owned());
        return Err(format!("a disk image has one layer, and this {kind} has {}", layers.len()));
    };
    let digest = sha256(&layer.digest).ok_or("its layer is not named by a SHA-256")?;
    Ok((digest, layer.size))
}

/// Gets a token where a registry says that everybody gets one: distribution's "Token authentication".
fn token(client: &Client, registry: &Registry, refused: Answer) -> Result<Token, FetchError> {
    let challenges: Vec<String> = refused.head.all("www-authenticate").map(str::to_owned).collect();
    let Some(challenge) = challenges.iter().find_map(|text| Challenge::parse(text)) else {
        return Err(refusal(refused, None));
    };
    let nowhere = || FetchError::Redirect { url: refused.url.to_string() };
    let mut realm = Url::parse(&challenge.realm).map_err(|_| nowhere())?;
    if registry.base.is_tls() && !realm.is_tls() {
        return Err(FetchError::Downgrade { url: refused.url.to_string() });
    }
    if let Some(service) = &challenge.service {
        realm = realm.with_value("service", service);
    }
    realm = realm.with_value("scope", &format!("repository:{}:pull", registry.name));
    let mut answer = client.ask(&realm, &Wanted::default(), None)?;
    let (bytes, is_more) = answer.body.beginning(TOKEN_BYTES)?;
    let given = if is_more { None } else { serde_json::from_slice::<Given>(&bytes).ok() };
    let text = given.and_then(|given| given.token.or(given.access_token));
    let token = text.and_then(|text| Token::new(&text).ok());
    token.ok_or_else(|| FetchError::Manifest {
        image: refused.url.to_string(),
        reason: format!("{realm} gives no token to read it with"),
    })
}

/// The answer of a token service.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// Where to get a token. RFC 6750 §3.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            let Some((name, value)) = rest.split_once('=') else { break };
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_at(value.find(',').unwrap_or(value.len())),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(Self { realm: realm?, service })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_disk_image_has_one_layer() {
        let digest = "a5".repeat(32);
        let layer = format!(r#"{{"mediaType":"x","digest":"sha256:{digest}","size":7}}"#);
        let of = |text: &str| only_layer(text.as_bytes());
        let one = format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[{layer}]}}"#);
        assert_eq!(of(&one), Ok(([0xa5; 32], 7)));
        for (text, reason) in [
            (format!(r#"{{"schemaVersion":2,"layers":[{layer},{layer}]}}"#), "has 2"),
            (r#"{"schemaVersion":2,"layers":[]}"#.to_owned(), "has 0"),
            (r#"{"schemaVersion":2,"manifests":[{}]}"#.to_owned(), "index"),
            (r#"{"schemaVersion":1}"#.to_owned(), "version 1"),
            (r#"{"schemaVersion":2,"layers":[{"digest":"md5:1","size":7}]}"#.to_owned(), "SHA-256"),
            ("[]".to_owned(), "cannot be read"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_challenge_says_where_to_get_a_token() {
        let text =
            r#"Bearer realm="https://auth.example/token",service="a, b",scope="x=y",error=z"#;
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.realm, "https://auth.example/token");
        assert_eq!(challenge.service.as_deref(), Some("a, b"));
        for text in ["", "Bearer", "Basic realm=\"x\"", "Bearer service=\"x\"", "Bearer realm=\"x"]
        {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_challenge_makes_it_panic(text in "(?i:bearer) (realm|=|\"|,| |é|a){0,20}") {
            Challenge::parse(&text);
        }
    }
}
