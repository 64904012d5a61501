//! What one of Airflow's connections says of an object store: the environment's `AIRFLOW_CONN_…`, as JSON or as a URI,
//! of the types that Airflow's own log handlers take for S3, Google Cloud Storage and Azure.
//!
//! What would change who one is or whom one trusts, and is not kept here, is refused by its name.
use serde_json::{Map, Value};
use url::form_urlencoded;

/// Settings of a store by the names that the store's own options have.
pub type Options = Vec<(&'static str, String)>;

/// The variable that holds the connection.
pub fn variable(conn_id: &str) -> String {
    format!("AIRFLOW_CONN_{}", conn_id.to_uppercase())
}

/// A connection's parts. Not to be shown: one of them is a password.
#[derive(Default)]
struct Parts {
    conn_type: String,
    login: String,
    password: String,
    host: String,
    extra: Map<String, Value>,
}

/// What the connection `text` says of the store that `scheme` (`s3`, `gs`, `az`) is of. What is wrong with it is said
/// without repeating any of it.
pub fn options(text: &str, scheme: &str) -> Result<Options, String> {
    let text = text.trim();
    let parts = if text.starts_with('{') { of_json(text)? } else { of_uri(text)? };
    let is = parts.conn_type.to_ascii_lowercase().replace('-', "_");
    match (scheme, is.as_str()) {
        ("s3", "aws" | "s3" | "" | "generic") => aws(&parts),
        ("gs", "google_cloud_platform" | "gcp" | "" | "generic") => google(&parts),
        ("az", "wasb" | "azure_data_lake_storage" | "adls" | "" | "generic") => azure(&parts),
        _ => Err(format!("a connection of type `{is}` is none for a store of `{scheme}://`")),
    }
}

fn of_json(text: &str) -> Result<Parts, String> {
    let wrong = |error: serde_json::Error| {
        format!("it is no JSON object (line {}, column {})", error.line(), error.column())
    };
    let all: Map<String, Value> = serde_json::from_str(text).map_err(wrong)?;
    let field = |name: &str| all.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let extra = match all.get("extra") {
        Some(Value::Object(extra)) => extra.clone(),
        Some(Value::String(text)) if !text.is_empty() => {
            serde_json::from_str(text).map_err(|_| "its `extra` is no JSON object".to_owned())?
        }
        _ => Map::new(),
    };
    let conn_type = field("conn_type");
    let extra = plain(extra);
    Ok(Parts {
        conn_type,
        login: field("login"),
        password: field("password"),
        host: field("host"),
        extra,
    })
}

/// Airflow writes a URI without a host where there is only who one is, which no parser of URLs takes.
fn of_uri(text: &str) -> Result<Parts, String> {
    let (conn_type, rest) = text.split_once("://").ok_or("it is neither JSON nor a URI")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (who, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (login, password) = who.split_once(':').unwrap_or((who, ""));
    let mut extra = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "__extra__" {
            let whole: Map<String, Value> = serde_json::from_str(&value)
                .map_err(|_| "its `__extra__` is no JSON object".to_owned())?;
            extra.extend(whole);
        } else {
            extra.insert(name.into_owned(), Value::from(value.into_owned()));
        }
    }
    let (conn_type, host) = (conn_type.to_owned(), decoded(host));
    let extra = plain(extra);
    Ok(Parts { conn_type, login: decoded(login), password: decoded(password), host, extra })
}

/// Percent signs resolved. A plus is one here, as in Airflow.
fn decoded(text: &str) -> String {
    let text = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or_else(String::new, |(all, _)| all.into_owned())
}

/// Names as they are without the prefix that they once had.
fn plain(extra: Map<String, Value>) -> Map<String, Value> {
    let short = |name: String| match name.strip_prefix("extra__").and_then(|it| it.split_once("__"))
    {
        Some((_, rest)) => rest.to_owned(),
        None => name,
    };
    extra.into_iter().map(|(name, value)| (short(name), value)).collect()
}

impl Parts {
    /// A text of `extra`, if it is there and not empty.
    fn text(&self, name: &str) -> Option<String> {
        self.extra.get(name).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned)
    }

    /// Refuses what is there and is not kept here.
    fn refuse(&self, names: &[&str], instead: &str) -> Result<(), String> {
        let is_said = |name: &&&str| {
            !matches!(self.extra.get(**name), None | Some(Value::Null | Value::Bool(true)))
        };
        match names.iter().find(is_said) {
            Some(name) => Err(format!("its `{name}` is not kept here: {instead}")),
            None => Ok(()),
        }
    }
}

fn pushed(options: &mut Options, name: &'static str, value: Option<String>) {
    options.extend(value.filter(|value| !value.is_empty()).map(|value| (name, value)));
}

fn aws(parts: &Parts) -> Result<Options, String> {
    parts.refuse(
        &["role_arn", "assume_role_method", "profile_name", "verify"],
        "give the service its role by its environment (`AWS_ROLE_ARN` with a web identity, a container's or a \
         machine's role), and who vouches for the store as `blobs.ca_file`",
    )?;
    let mut options = Options::new();
    let key = Some(parts.login.clone()).filter(|it| !it.is_empty());
    pushed(&mut options, "aws_access_key_id", key.or_else(|| parts.text("aws_access_key_id")));
    let secret = Some(parts.password.clone()).filter(|it| !it.is_empty());
    pushed(
        &mut options,
        "aws_secret_access_key",
        secret.or_else(|| parts.text("aws_secret_access_key")),
    );
    pushed(&mut options, "aws_session_token", parts.text("aws_session_token"));
    pushed(&mut options, "aws_region", parts.text("region_name"));
    let of_s3 =
        parts.extra.get("service_config").and_then(|all| all.get("s3")?.get("endpoint_url"));
    let of_s3 = of_s3.and_then(Value::as_str).map(str::to_owned);
    pushed(&mut options, "aws_endpoint", of_s3.or_else(|| parts.text("endpoint_url")));
    Ok(options)
}

fn google(parts: &Parts) -> Result<Options, String> {
    parts.refuse(
        &["key_secret_name", "credential_config_file", "impersonation_chain", "is_anonymous"],
        "give `key_path` or `keyfile_dict`, or name a file as `GOOGLE_APPLICATION_CREDENTIALS`",
    )?;
    let mut options = Options::new();
    pushed(&mut options, "google_service_account", parts.text("key_path"));
    let key = parts.extra.get("keyfile_dict").map(|key| match key {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    pushed(&mut options, "google_service_account_key", key);
    Ok(options)
}

fn azure(parts: &Parts) -> Result<Options, String> {
    parts.refuse(
        &["managed_identity_client_id", "workload_identity_tenant_id"],
        "give the service its identity by its environment (`AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`)",
    )?;
    let mut options = Options::new();
    if let Some(text) = parts.text("connection_string") {
        for (name, value) in text.split(';').filter_map(|it| it.split_once('=')) {
            let option = match name {
                "AccountName" => "azure_storage_account_name",
                "AccountKey" => "azure_storage_account_key",
                "SharedAccessSignature" => "azure_storage_sas_key",
                "BlobEndpoint" => "azure_storage_endpoint",
                _ => continue,
            };
            pushed(&mut options, option, Some(value.to_owned()));
        }
        return Ok(options);
    }
    if let Some(tenant) = parts.text("tenant_id") {
        let account = parts.host.split("://").last().unwrap_or_default().split('.').next();
        pushed(&mut options, "azure_storage_account_name", account.map(str::to_owned));
        pushed(&mut options, "azure_storage_tenant_id", Some(tenant));
        pushed(&mut options, "azure_storage_client_id", Some(parts.login.clone()));
        pushed(&mut options, "azure_storage_client_secret", Some(parts.password.clone()));
        return Ok(options);
    }
    pushed(&mut options, "azure_storage_account_name", Some(parts.login.clone()));
    let key = Some(parts.password.clone()).filter(|it| !it.is_empty());
    pushed(
        &mut options,
        "azure_storage_account_key",
        key.or_else(|| parts.text("shared_access_key")),
    );
    pushed(&mut options, "azure_storage_sas_key", parts.text("sas_token"));
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, scheme: &str) -> Result<Vec<String>, String> {
        Ok(options(text, scheme)?
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect())
    }

    #[test]
    fn a_connection_is_read_as_airflow_writes_it() {
        let uri = "aws://AKIA:wJal%2Fr+Xy%3D@/?region_name=eu-north-1&endpoint_url=http%3A%2F%2Fs3%3A9000";
        let json = r#"{"conn_type": "aws", "login": "AKIA", "password": "wJal/r+Xy=",
            "extra": {"region_name": "eu-north-1", "endpoint_url": "http://s3:9000"}}"#;
        let want = [
            "aws_access_key_id=AKIA",
            "aws_secret_access_key=wJal/r+Xy=",
            "aws_region=eu-north-1",
            "aws_endpoint=http://s3:9000",
        ];
        for text in [uri, json] {
            assert_eq!(said(text, "s3").unwrap(), want);
        }
        assert_eq!(said("aws://", "s3").unwrap(), Vec::<String>::new());
        let inside = "aws://?__extra__=%7B%22service_config%22%3A%7B%22s3%22%3A%7B%22endpoint_url%22%3A%22http%3A%2F%2Fa%22%7D%7D%7D";
        assert_eq!(said(inside, "s3").unwrap(), ["aws_endpoint=http://a"]);
        let google = r#"{"conn_type": "google_cloud_platform", "extra": "{\"extra__google_cloud_platform__key_path\": \"/k\"}"}"#;
        assert_eq!(said(google, "gs").unwrap(), ["google_service_account=/k"]);
        let azure = r#"{"conn_type": "wasb", "extra": {"connection_string": "AccountName=a;AccountKey=b==;X=y"}}"#;
        assert_eq!(
            said(azure, "az").unwrap(),
            ["azure_storage_account_name=a", "azure_storage_account_key=b=="]
        );
        assert_eq!(
            said("wasb://a:k@", "az").unwrap(),
            ["azure_storage_account_name=a", "azure_storage_account_key=k"]
        );
    }

    #[test]
    fn what_is_not_kept_is_refused_and_nothing_secret_is_repeated() {
        for (text, scheme, word) in [
            ("aws://k:secret@/?role_arn=arn", "s3", "role_arn"),
            (
                r#"{"conn_type": "aws", "password": "secret", "extra": {"verify": false}}"#,
                "s3",
                "verify",
            ),
            (r#"{"conn_type": "postgres", "password": "secret"}"#, "s3", "postgres"),
            ("{\"password\": \"secret\", ", "s3", "line 1"),
            ("secret", "gs", "neither"),
        ] {
            let why = said(text, scheme).unwrap_err();
            assert!(why.contains(word) && !why.contains("secret"), "{why}");
        }
    }
}
