//! Where big things lie, and what Airflow's settings of remote logging say of that.
use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::{ConfigError, Period, Place, Secret, Size};

/// Where big things lie: XComs that are too large for a record, logs of tasks, checkpoints, code. Where no `url` is
/// said, all of them in the log's own store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Blobs {
    /// The object store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or a folder that all
    /// services share, `file:///folder`. Each namespace has a folder of its own there.
    pub url: Option<String>,
    /// Where the store is served, where that is not its maker's own address: `https://s3.example:9000`.
    pub endpoint: Option<String>,
    /// The region, of S3. `AWS_REGION` stands for it.
    pub region: Option<String>,
    /// Who one is there, as one of Airflow's connections: the environment variable `AIRFLOW_CONN_…` of this id. Where not
    /// said, the environment's own variables (`AWS_…`, `GOOGLE_…`, `AZURE_…`) or the machine's role hold.
    pub conn_id: Option<String>,
    /// Who vouches for the store beside whom this machine trusts, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Further settings of the store, by their names: `aws_access_key_id`, `google_service_account`,
    /// `azure_storage_account_name`.
    pub options: BTreeMap<String, Secret>,
    /// What has so many bytes goes to the object store at once.
    pub direct_from: Size,
    /// What is smaller goes there once it is so old; `0s` for never.
    pub move_after: Period,
    /// How long one request may take; from `100ms` on.
    #[schemars(extend("minimum" = 0.1))]
    pub timeout: Period,
}

impl Default for Blobs {
    fn default() -> Self {
        Self {
            url: None,
            endpoint: None,
            region: None,
            conn_id: None,
            ca_file: None,
            options: BTreeMap::new(),
            direct_from: Size(256 << 10),
            move_after: Period::secs(3_600),
            timeout: Period::secs(30),
        }
    }
}

/// Airflow's settings of remote logging, by Airflow's names, for who has them already: they say where big things lie
/// where `blobs.url` does not. `AIRFLOW__LOGGING__…` stands for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// Whether the others hold.
    pub remote_logging: bool,
    /// As `blobs.url`.
    pub remote_base_log_folder: Option<String>,
    /// As `blobs.conn_id`.
    pub remote_log_conn_id: Option<String>,
    /// Whether logs go to the object store at the next look for what is to go, in the place of `blobs.move_after`.
    pub delete_local_logs: bool,
    /// Whether S3 keeps what is put there encrypted by a key of its own: `aws_server_side_encryption = "AES256"` of
    /// `blobs.options`.
    pub encrypt_s3_logs: bool,
    /// The file with Google's key, as `google_service_account` of `blobs.options`.
    pub google_key_path: Option<String>,
    /// Not kept: what it would change is said by `blobs.options`. Refused where it says anything.
    pub remote_task_handler_kwargs: Option<String>,
}

impl Blobs {
    /// These, with what Airflow's settings say where these say nothing. What contradicts is said, with the key to mend.
    pub fn with(&self, logging: &Logging) -> Result<Self, (&'static str, String)> {
        let mut blobs = self.clone();
        if !logging.remote_logging {
            return Ok(blobs);
        }
        match (&blobs.url, &logging.remote_base_log_folder) {
            (None, None) => {
                let why = "it is on, and `logging.remote_base_log_folder` does not say where";
                return Err(("logging.remote_logging", why.to_owned()));
            }
            (Some(ours), Some(theirs))
                if ours.trim_end_matches('/') != theirs.trim_end_matches('/') =>
            {
                let why =
                    "it and `blobs.url` name two places, and big things have one: leave one out";
                return Err(("logging.remote_base_log_folder", why.to_owned()));
            }
            _ => {}
        }
        let kwargs = logging.remote_task_handler_kwargs.as_deref().unwrap_or_default().trim();
        if !matches!(kwargs, "" | "{}") {
            let why = "it is not kept here: say what it would change in `[blobs]` or `[blobs.options]`, and leave it out";
            return Err(("logging.remote_task_handler_kwargs", why.to_owned()));
        }
        blobs.url = blobs.url.or_else(|| logging.remote_base_log_folder.clone());
        let conn_id = logging.remote_log_conn_id.clone().filter(|id| !id.is_empty());
        blobs.conn_id = blobs.conn_id.or(conn_id);
        if logging.delete_local_logs {
            blobs.move_after = Period::millis(1);
        }
        let is_of = |scheme: &str| blobs.url.as_ref().is_some_and(|url| url.starts_with(scheme));
        let encrypted = ("aws_server_side_encryption", "AES256".to_owned());
        let encrypted = Some(encrypted).filter(|_| logging.encrypt_s3_logs && is_of("s3"));
        let key = logging.google_key_path.clone().filter(|path| !path.is_empty() && is_of("gs"));
        let key = key.map(|path| ("google_service_account", path));
        for (option, value) in encrypted.into_iter().chain(key) {
            blobs.options.entry(option.to_owned()).or_insert_with(|| Secret::new(value));
        }
        Ok(blobs)
    }
}

/// What the environment says of remote logging by Airflow's names.
pub(crate) fn of_environment(
    environment: &[(String, String)],
) -> Result<Vec<(&'static str, Value, Place)>, ConfigError> {
    const SECTION: &str = "AIRFLOW__LOGGING__";
    let mut all = Vec::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(SECTION) else { continue };
        let place = || Place::Variable(name.clone());
        let flag = |key: &'static str| match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok((key, Value::from(true), place())),
            "false" | "f" | "0" | "" => Ok((key, Value::from(false), place())),
            _ => {
                let why = "it is True or False".to_owned();
                Err(ConfigError::BadValue { place: place(), key: key.to_owned(), why })
            }
        };
        match rest {
            "REMOTE_LOGGING" => all.push(flag("logging.remote_logging")?),
            "DELETE_LOCAL_LOGS" => all.push(flag("logging.delete_local_logs")?),
            "ENCRYPT_S3_LOGS" => all.push(flag("logging.encrypt_s3_logs")?),
            "GOOGLE_KEY_PATH" if !text.is_empty() => {
                all.push(("logging.google_key_path", Value::from(text.as_str()), place()));
            }
            "REMOTE_TASK_HANDLER_KWARGS" if !text.is_empty() => {
                let key = "logging.remote_task_handler_kwargs";
                all.push((key, Value::from(text.as_str()), place()));
            }
            "REMOTE_BASE_LOG_FOLDER" if !text.is_empty() => {
                all.push(("logging.remote_base_log_folder", Value::from(text.as_str()), place()));
            }
            "REMOTE_LOG_CONN_ID" if !text.is_empty() => {
                all.push(("logging.remote_log_conn_id", Value::from(text.as_str()), place()));
            }
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(folder: Option<&str>) -> Logging {
        Logging {
            remote_logging: true,
            remote_base_log_folder: folder.map(str::to_owned),
            remote_log_conn_id: Some("my_s3".to_owned()),
            delete_local_logs: true,
            ..Logging::default()
        }
    }

    #[test]
    fn airflows_settings_say_where_ours_do_not() {
        let ours = Blobs::default();
        assert_eq!(ours.with(&Logging::default()), Ok(ours.clone()));
        let of = ours.with(&logging(Some("s3://logs/here"))).unwrap();
        assert_eq!(of.url.as_deref(), Some("s3://logs/here"));
        assert_eq!(of.conn_id.as_deref(), Some("my_s3"));
        assert!(of.move_after < ours.move_after && !of.move_after.0.is_zero());
        assert!(ours.with(&logging(None)).unwrap_err().1.contains("remote_base_log_folder"));
        let both = Blobs { url: Some("s3://big".to_owned()), ..ours };
        assert!(both.with(&logging(Some("s3://logs"))).unwrap_err().1.contains("two places"));
        assert_eq!(both.with(&logging(Some("s3://big/"))).unwrap().url, both.url);
        let off = Logging { remote_logging: false, ..logging(Some("s3://logs")) };
        assert_eq!(both.with(&off), Ok(both.clone()));
    }

    #[test]
    fn what_airflow_says_of_keys_and_encryption_is_an_option_or_refused_by_its_name() {
        let said = |folder| Logging {
            encrypt_s3_logs: true,
            google_key_path: Some("/key.json".to_owned()),
            remote_task_handler_kwargs: Some("{}".to_owned()),
            ..logging(Some(folder))
        };
        let option =
            |blobs: Blobs, name: &str| blobs.options.get(name).map(|it| it.reveal().to_owned());
        let on_s3 = Blobs::default().with(&said("s3://logs")).unwrap();
        assert_eq!(option(on_s3.clone(), "aws_server_side_encryption").as_deref(), Some("AES256"));
        assert_eq!(on_s3.options.len(), 1, "a key of Google's is nothing to S3");
        let on_google = Blobs::default().with(&said("gs://logs")).unwrap();
        assert_eq!(option(on_google, "google_service_account").as_deref(), Some("/key.json"));
        let kwargs = Some("{\"delete_local_copy\": true}".to_owned());
        let kwargs = Logging { remote_task_handler_kwargs: kwargs, ..said("s3://logs") };
        let (key, why) = Blobs::default().with(&kwargs).unwrap_err();
        assert_eq!(key, "logging.remote_task_handler_kwargs");
        assert!(why.contains("[blobs.options]"), "{why}");
    }

    #[test]
    fn airflows_variables_are_read() {
        let said = |name: &str, text: &str| of_environment(&[(name.to_owned(), text.to_owned())]);
        let all = said("AIRFLOW__LOGGING__REMOTE_LOGGING", "True").unwrap();
        assert_eq!((all[0].0, &all[0].1), ("logging.remote_logging", &Value::from(true)));
        let all = said("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", "s3://a/b").unwrap();
        assert_eq!(
            (all[0].0, &all[0].1),
            ("logging.remote_base_log_folder", &Value::from("s3://a/b"))
        );
        let all = said("AIRFLOW__LOGGING__ENCRYPT_S3_LOGS", "True").unwrap();
        assert_eq!((all[0].0, &all[0].1), ("logging.encrypt_s3_logs", &Value::from(true)));
        for (name, key) in [
            ("AIRFLOW__LOGGING__GOOGLE_KEY_PATH", "logging.google_key_path"),
            ("AIRFLOW__LOGGING__REMOTE_TASK_HANDLER_KWARGS", "logging.remote_task_handler_kwargs"),
        ] {
            assert_eq!(said(name, "some").unwrap()[0].0, key);
        }
        assert!(said("AIRFLOW__LOGGING__REMOTE_LOGGING", "maybe").is_err());
        assert!(said("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO").unwrap().is_empty());
    }
}
