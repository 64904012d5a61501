//! Where the object store is and who one is there, from a URL, settings, the environment and one of Airflow's
//! connections; each goes before what is named after it but the URL, which says no more than where.
use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    local::LocalFileSystem,
    path::Path,
};
use thiserror::Error;
use url::Url;

use crate::{Objects, connection};

/// How often one request is sent again before its failure is told.
const RETRIES: usize = 3;

/// Variables of the environment, each with its name.
type Environment = [(String, String)];

/// Where big things lie.
#[derive(Clone, Default)]
pub struct Place {
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///folder`.
    pub url: String,
    /// The folder below it: one for each namespace.
    pub namespace: String,
    /// Where the store is served, where that is not its maker's own address.
    pub endpoint: Option<String>,
    /// The region, of S3.
    pub region: Option<String>,
    /// One of Airflow's connections, by its id.
    pub conn_id: Option<String>,
    /// Who vouches for the store beside whom this machine trusts, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Further settings by the names that the library has for them.
    pub options: BTreeMap<String, String>,
    /// How long one request may take, and how long a read may stand still.
    pub timeout: Duration,
}

impl fmt::Debug for Place {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("url", &shown(&self.url))
            .field("namespace", &self.namespace)
            .field("conn_id", &self.conn_id)
            .field("options", &self.options.keys())
            .finish_non_exhaustive()
    }
}

/// The settings name no store. None of these says anything of what is secret.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is none of a store.
    #[error("`{url}` is no object store: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What would do.
        why: &'static str,
    },
    /// The folder is not there.
    #[error("the folder `{folder}` can't be used for big things: {why}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The connection is not there, or says what is not kept.
    #[error("the connection `{id}` ({}): {why}", connection::variable(.id))]
    Connection {
        /// Its id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key of `options` that the store does not have.
    #[error("`{key}` is no option of this kind of object store")]
    Option {
        /// Which.
        key: String,
    },
    /// The certificate can't be read.
    #[error("the certificates `{}` can't be read: {why}", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What else the library does not take.
    #[error(
        "the object store can't be set up: {0}; see `blobs.url`, `blobs.endpoint` and who one is there"
    )]
    Setup(String),
}

impl Place {
    /// Opens it: nothing is asked of the store yet.
    pub fn open(&self, environment: &[(String, String)]) -> Result<Objects, OpenError> {
        let wrong = |why| OpenError::Url { url: shown(&self.url), why };
        let url = Url::parse(&self.url).map_err(|_| {
            wrong("write `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or `file:///folder`")
        })?;
        let (kind, scheme) = match url.scheme() {
            "s3" | "s3a" => (Kind::S3, "s3"),
            "gs" => (Kind::Google, "gs"),
            "az" | "azure" | "abfs" | "abfss" => (Kind::Azure, "az"),
            "file" => return self.folder(&url),
            "wasb" | "wasbs" => {
                return Err(wrong("of Azure's addresses `az://container/prefix` is taken"));
            }
            "cloudwatch" => {
                return Err(wrong("logs go to S3, Google Cloud Storage, Azure or a folder"));
            }
            _ => return Err(wrong("it begins with s3://, gs://, az:// or file:///")),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("the bucket is missing"));
        }
        let options = self.options(scheme, environment)?;
        let root = Path::from_url_path(url.path()).map_err(|_| wrong("its path is none"))?;
        let root = root.join(self.namespace.as_str());
        let host = url.host_str().unwrap_or_default();
        // Of Azure's own addresses what stands before the `@` is the container.
        let container = Some(url.username()).filter(|it| scheme == "az" && !it.is_empty());
        let container = container.map(|it| format!("{it}@")).unwrap_or_default();
        let place = format!("{scheme}://{container}{host}/{root}");
        let client = |retries| {
            let retry = self.retry(retries);
            match kind {
                Kind::S3 => self.s3(&url, (&options, environment), retry),
                Kind::Google => self.google(&url, (&options, environment), retry),
                Kind::Azure => self.azure(&url, (&options, environment), retry),
            }
        };
        let objects = Objects::new(client(RETRIES)?, root, &place);
        Ok(objects.over_http(client(0)?, self.timeout))
    }

    /// What the connection and the settings say, the later ones last.
    fn options(
        &self,
        scheme: &str,
        environment: &Environment,
    ) -> Result<Vec<(String, String)>, OpenError> {
        let mut options: Vec<(String, String)> = Vec::new();
        if let Some(id) = &self.conn_id {
            let failed = |why: String| OpenError::Connection { id: id.clone(), why };
            let name = connection::variable(id);
            let text = environment.iter().find(|(it, _)| *it == name).ok_or_else(|| {
                failed("the environment has no such variable; connections that Dagbok keeps are for tasks alone".to_owned())
            })?;
            let said = connection::options(&text.1, scheme).map_err(failed)?;
            options.extend(said.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        options
            .extend(self.options.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
        Ok(options)
    }

    fn folder(&self, url: &Url) -> Result<Objects, OpenError> {
        let folder = url.to_file_path().map_err(|()| OpenError::Url {
            url: shown(&self.url),
            why: "a folder is written with three slashes: `file:///mnt/big`",
        })?;
        // A share that is not mounted must not be taken for an empty one: the folder is not made.
        let failed = |why: String| OpenError::Folder { folder: folder.clone(), why };
        let found = std::fs::metadata(&folder).map_err(|error| failed(error.to_string()))?;
        if !found.is_dir() {
            return Err(failed("it is no folder".to_owned()));
        }
        let store = LocalFileSystem::new_with_prefix(&folder);
        let store = store.map_err(|error| failed(error.to_string()))?.with_fsync(true);
        let place = format!("{}/{}", folder.display(), self.namespace);
        let objects = Objects::new(Arc::new(store), Path::from(self.namespace.as_str()), &place);
        Ok(objects.in_folder(folder.join(&self.namespace)))
    }

    fn client(&self) -> Result<ClientOptions, OpenError> {
        let mut client = ClientOptions::new()
            // For as long as something comes: the whole of a large object takes what it takes.
            .with_timeout_disabled()
            .with_read_timeout(self.timeout)
            .with_connect_timeout(self.timeout.min(Duration::from_secs(5)))
            // An address says itself whether it is to be spoken to in the open.
            .with_allow_http(true);
        if let Some(file) = &self.ca_file {
            let failed = |why: String| OpenError::Certificate { file: file.clone(), why };
            let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
            let all =
                Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
            if all.is_empty() {
                return Err(failed("it has none".to_owned()));
            }
            client = all.into_iter().fold(client, ClientOptions::with_root_certificate);
        }
        Ok(client)
    }

    /// Waits as everywhere here: they double from 25 ms to a second. What was not answered in time is not asked again:
    /// near is better than late.
    fn retry(&self, max_retries: usize) -> RetryConfig {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(25),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        };
        RetryConfig { backoff, max_retries, retry_timeout: self.timeout }
    }

    fn s3(
        &self,
        url: &Url,
        (options, environment): Said<'_>,
        retry: RetryConfig,
    ) -> Result<Arc<dyn ObjectStore>, OpenError> {
        let mut builder = AmazonS3Builder::new()
            // One object at a time is deleted, which every store that speaks S3 knows.
            .with_disable_bulk_delete(true)
            .with_url(format!("s3://{}", url.host_str().unwrap_or_default()))
            .with_client_options(self.client()?)
            .with_retry(retry);
        for (key, value) in said::<AmazonS3ConfigKey>("AWS_", environment) {
            builder = builder.with_config(key, value);
        }
        for (name, value) in options {
            builder = builder.with_config(key::<AmazonS3ConfigKey>(name)?, value);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        built(builder.build())
    }

    fn google(
        &self,
        url: &Url,
        (options, environment): Said<'_>,
        retry: RetryConfig,
    ) -> Result<Arc<dyn ObjectStore>, OpenError> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_url(format!("gs://{}", url.host_str().unwrap_or_default()))
            .with_client_options(self.client()?)
            .with_retry(retry);
        for (key, value) in said::<GoogleConfigKey>("GOOGLE_", environment) {
            builder = builder.with_config(key, value);
        }
        for (name, value) in options {
            builder = builder.with_config(key::<GoogleConfigKey>(name)?, value);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        built(builder.build())
    }

    fn azure(
        &self,
        url: &Url,
        (options, environment): Said<'_>,
        retry: RetryConfig,
    ) -> Result<Arc<dyn ObjectStore>, OpenError> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_url(url.to_string())
            .with_client_options(self.client()?)
            .with_retry(retry);
        for (key, value) in said::<AzureConfigKey>("AZURE_", environment) {
            builder = builder.with_config(key, value);
        }
        // So a machine's own identity is asked for in some of Azure's services.
        if let Some((_, at)) = environment.iter().find(|(name, _)| name == "IDENTITY_ENDPOINT") {
            builder = builder.with_msi_endpoint(at);
        }
        for (name, value) in options {
            builder = builder.with_config(key::<AzureConfigKey>(name)?, value);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        built(builder.build())
    }
}

/// What the settings say, and the environment.
type Said<'a> = (&'a [(String, String)], &'a Environment);

/// Whose store it is.
#[derive(Clone, Copy)]
enum Kind {
    S3,
    Google,
    Azure,
}

fn built<S: ObjectStore>(
    store: Result<S, object_store::Error>,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let store = store.map_err(|error| OpenError::Setup(plain(&error.to_string())))?;
    Ok(Arc::new(store))
}

/// The library's own words of an error: what follows them repeats what it was given, keys and addresses too.
fn plain(error: &str) -> String {
    let own = error.split_once("error: ").map_or(error, |(_, own)| own);
    let ends = own.find([':', '\'', '"', '`', '{']).unwrap_or(own.len());
    own[..ends].trim().to_owned()
}

/// What the environment says, by the names that the library has for it.
fn said<'a, K: FromStr>(
    prefix: &'a str,
    environment: &'a Environment,
) -> impl Iterator<Item = (K, &'a String)> {
    let of = environment.iter().filter(move |(name, _)| name.starts_with(prefix));
    of.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

fn key<K: FromStr>(name: &str) -> Result<K, OpenError> {
    name.parse().map_err(|_| OpenError::Option { key: name.to_owned() })
}

/// A URL without who logs in there.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, conn_id: Option<&str>) -> Result<Objects, String> {
        let options = BTreeMap::from([("aws_region".to_owned(), "eu-north-1".to_owned())]);
        let place = Place {
            url: url.to_owned(),
            namespace: "default".to_owned(),
            conn_id: conn_id.map(str::to_owned),
            options: if url.starts_with("s3") { options } else { BTreeMap::new() },
            timeout: Duration::from_secs(30),
            ..Place::default()
        };
        let variable = ("AIRFLOW_CONN_MY_S3".to_owned(), "aws://k:s@".to_owned());
        place.open(&[variable]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_says_which_store_it_is_and_a_wrong_one_what_would_do() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert_eq!(
            open("s3://big/some/where/", Some("my_s3")).unwrap().place(),
            "s3://big/some/where/default"
        );
        for (url, conn, word) in [
            ("big", None, "s3://bucket/prefix"),
            ("s3:///x", None, "bucket"),
            ("http://user:secret@big", None, "…@big"),
            ("wasb://logs", None, "az://"),
            ("cloudwatch://arn", None, "S3"),
            ("file://big", None, "three slashes"),
            ("file:///nowhere/at/all", None, "/nowhere/at/all"),
            ("s3://big", Some("other"), "AIRFLOW_CONN_OTHER"),
        ] {
            let why = open(url, conn).unwrap_err();
            assert!(why.contains(word) && !why.contains("secret"), "{url}: {why}");
        }
        let place = Place {
            url: "s3://big".to_owned(),
            options: BTreeMap::from([("aws_colour".to_owned(), String::new())]),
            ..Place::default()
        };
        assert!(place.open(&[]).unwrap_err().to_string().contains("aws_colour"));
    }

    #[test]
    fn google_and_azure_are_opened_by_what_the_environment_says() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = |url: &str, conn_id: Option<&str>| Place {
            url: url.to_owned(),
            namespace: "default".to_owned(),
            conn_id: conn_id.map(str::to_owned),
            timeout: Duration::from_secs(30),
            ..Place::default()
        };
        let key = r#"{"conn_type": "google_cloud_platform", "extra": {"keyfile_dict":
            {"disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}}"#;
        let environment: Vec<(String, String)> = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "us"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
            ("AIRFLOW_CONN_G", key),
            (
                "AIRFLOW_CONN_BROKEN",
                r#"{"conn_type": "gcp", "extra": {"keyfile_dict": {"private_key": "hush"}}}"#,
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (url, conn_id, want) in [
            ("az://box/some", None, "az://box/some/default"),
            (
                "abfss://box@us.dfs.core.windows.net/x",
                None,
                "az://box@us.dfs.core.windows.net/x/default",
            ),
            ("gs://big/some", Some("g"), "gs://big/some/default"),
        ] {
            assert_eq!(place(url, conn_id).open(&environment).unwrap().place(), want);
        }
        // No account is named, and what is wrong with a key is said without it.
        let why = place("az://box", None).open(&[]).unwrap_err().to_string();
        assert!(why.contains("Account must be specified"), "{why}");
        let why = place("gs://big", Some("broken")).open(&environment).unwrap_err().to_string();
        assert!(why.contains("can't be set up") && !why.contains("hush"), "{why}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let place = Place {
            url: "s3://user:hush@big".to_owned(),
            options: BTreeMap::from([("aws_secret_access_key".to_owned(), "hush".to_owned())]),
            ..Place::default()
        };
        let shown = format!("{place:?}");
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("hush"), "{shown}");
        for (said, want) in [
            (
                "Generic GCS error: Unable to decode service account file: invalid value `hush`",
                "Unable to decode service account file",
            ),
            (
                "Generic MicrosoftAzure error: Account must be specified",
                "Account must be specified",
            ),
        ] {
            assert_eq!(plain(said), want);
        }
    }
}
