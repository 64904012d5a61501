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
}

impl Blobs {
    /// These, with what Airflow's settings say where these say nothing. What contradicts is said.
    pub fn with(&self, logging: &Logging) -> Result<Self, String> {
        let mut blobs = self.clone();
        if !logging.remote_logging {
            return Ok(blobs);
        }
        match (&blobs.url, &logging.remote_base_log_folder) {
            (None, None) => {
                return Err("`logging.remote_logging` is on, and `logging.remote_base_log_folder` does not say where".to_owned());
            }
            (Some(ours), Some(theirs))
                if ours.trim_end_matches('/') != theirs.trim_end_matches('/') =>
            {
                return Err("`blobs.url` and `logging.remote_base_log_folder` name two places, and big things have one: leave one out".to_owned());
            }
            _ => {}
        }
        blobs.url = blobs.url.or_else(|| logging.remote_base_log_folder.clone());
        let conn_id = logging.remote_log_conn_id.clone().filter(|id| !id.is_empty());
        blobs.conn_id = blobs.conn_id.or(conn_id);
        if logging.delete_local_logs {
            blobs.move_after = Period::millis(1);
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
        assert!(ours.with(&logging(None)).unwrap_err().contains("remote_base_log_folder"));
        let both = Blobs { url: Some("s3://big".to_owned()), ..ours };
        assert!(both.with(&logging(Some("s3://logs"))).unwrap_err().contains("two places"));
        assert_eq!(both.with(&logging(Some("s3://big/"))).unwrap().url, both.url);
        let off = Logging { remote_logging: false, ..logging(Some("s3://logs")) };
        assert_eq!(both.with(&off), Ok(both.clone()));
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
        assert!(said("AIRFLOW__LOGGING__REMOTE_LOGGING", "maybe").is_err());
        assert!(said("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO").unwrap().is_empty());
    }
}
