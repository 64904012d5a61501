//! Names of datasets by OpenLineage's rules, from assets' URIs: as the converters of Airflow's providers have them, where
//! there is one.
use serde::{Deserialize, Serialize};

/// A dataset by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dataset {
    /// Where it lies: `s3://bucket`, `postgres://host:5432`, `file`.
    pub namespace: String,
    /// What it is called there: a key, `db.schema.table`, a path.
    pub name: String,
}

/// The scheme as OpenLineage writes it, the port where none is said, and of how many parts a table's name is.
const TABLES: &[(&[&str], &str, Option<u16>, usize)] = &[
    (&["postgres", "postgresql"], "postgres", Some(5432), 3),
    (&["mysql", "mariadb"], "mysql", Some(3306), 2),
    (&["redshift"], "redshift", Some(5439), 3),
    (&["trino"], "trino", Some(8080), 3),
    (&["mssql"], "mssql", Some(1433), 3),
    (&["oracle"], "oracle", Some(1521), 3),
    (&["cassandra"], "cassandra", Some(9042), 2),
    (&["hive"], "hive", Some(10000), 2),
    (&["snowflake"], "snowflake", None, 3),
    (&["awsathena", "athena"], "awsathena", None, 3),
];
/// Stores of objects: the bucket is the namespace, the key the name.
const BUCKETS: &[(&[&str], &str)] = &[
    (&["s3", "s3a", "s3n"], "s3"),
    (&["gs", "gcs"], "gs"),
    (&["abfss", "abfs"], "abfss"),
    (&["wasbs", "wasb"], "wasbs"),
];

/// The dataset that an asset's URI names; one without a scheme is a name in the namespace `own`. Who logs in, what is
/// asked for (`?…`) and fragments are no part of a name.
pub fn dataset_of(uri: &str, own: &str) -> Dataset {
    let named = |namespace: &str, name: &str| Dataset {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let Some((scheme, rest)) = uri.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return named(own, uri);
    };
    let scheme = scheme.to_ascii_lowercase();
    let rest = rest.find(['?', '#']).map_or(rest, |end| &rest[..end]);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if let Some((_, scheme)) = BUCKETS.iter().find(|(all, _)| all.contains(&&*scheme)) {
        let key = path.trim_start_matches('/');
        // A container stands before the account's address.
        let bucket = if scheme.starts_with(['a', 'w']) { authority } else { host(authority) };
        return named(&format!("{scheme}://{bucket}"), if key.is_empty() { "/" } else { key });
    }
    let host = host(authority);
    if scheme == "file" {
        // `file://name` alone is a path, too.
        return match (host, path) {
            (name, "" | "/") if !name.is_empty() => named("file", &format!("/{name}")),
            ("", path) => named("file", path),
            (host, path) => named(&format!("file://{host}"), path),
        };
    }
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    if scheme == "bigquery" && parts.len() == 2 && !host.is_empty() {
        return named("bigquery", &format!("{host}.{}", parts.join(".")));
    }
    let table = TABLES.iter().find(|(all, ..)| all.contains(&&*scheme));
    if let Some((_, scheme, port, count)) = table
        && parts.len() == *count
    {
        let authority = match port {
            Some(port) if !has_port(host) => format!("{host}:{port}"),
            _ => host.to_owned(),
        };
        return named(&format!("{scheme}://{authority}"), &parts.join("."));
    }
    let path = path.trim_start_matches('/');
    named(&format!("{scheme}://{host}"), if path.is_empty() { "/" } else { path })
}

/// The address without who logs in there.
fn host(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn has_port(host: &str) -> bool {
    let port = host.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()))
}

fn is_scheme(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it))
        && text.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_have_the_names_that_airflows_converters_give() {
        for (uri, namespace, name) in [
            ("s3://bucket/a/b.csv", "s3://bucket", "a/b.csv"),
            ("s3://bucket", "s3://bucket", "/"),
            ("gs://b/k", "gs://b", "k"),
            ("file:///tmp/x.txt", "file", "/tmp/x.txt"),
            ("file://host/tmp/x", "file://host", "/tmp/x"),
            ("file://x.txt", "file", "/x.txt"),
            ("postgres://db:5433/shop/public/orders", "postgres://db:5433", "shop.public.orders"),
            ("postgresql://u:p@db/shop/public/orders", "postgres://db:5432", "shop.public.orders"),
            ("mysql://db/shop/orders", "mysql://db:3306", "shop.orders"),
            ("snowflake://acc/d/s/t", "snowflake://acc", "d.s.t"),
            ("bigquery://p/d/t", "bigquery", "p.d.t"),
            ("abfss://c@a.dfs.core.windows.net/x", "abfss://c@a.dfs.core.windows.net", "x"),
            // Not the parts of a table: the name as it stands, without who logs in.
            ("postgres://u:p@db/shop?sslmode=off", "postgres://db", "shop"),
            ("kafka://broker:9092/topic", "kafka://broker:9092", "topic"),
            ("x-model://churn", "x-model://churn", "/"),
            ("orders", "prod", "orders"),
            ("Weekly: orders", "prod", "Weekly: orders"),
            ("", "prod", ""),
        ] {
            let found = dataset_of(uri, "prod");
            assert_eq!((&*found.namespace, &*found.name), (namespace, name), "{uri}");
        }
    }
}
