//! The object store for big things, where one is configured, put beside the log's own blobs.
use std::sync::Arc;

use dagbok_config::{Blobs, Config};
use dagbok_objects::{Objects, Place, TierSettings, Tiers};
use dagbok_runlog::{PortError, Ports};

use crate::{codes::Code, failure::Failure};

/// Whether this process sees to it that the store is the log's own: who may read the log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It does.
    Checked,
    /// Another does.
    Believed,
}

/// What is configured, Airflow's settings too; `None` where big things stay in the log's own store.
fn configured(config: &Config) -> Result<Option<Blobs>, Failure> {
    let blobs = config.blobs.with(&config.logging);
    let blobs = blobs.map_err(|why| Failure::new(Code::Config, why))?;
    Ok(blobs.url.is_some().then_some(blobs))
}

/// The store, unasked yet.
pub(crate) fn objects(config: &Config) -> Result<Option<Objects>, Failure> {
    let Some(blobs) = configured(config)? else { return Ok(None) };
    let options = blobs.options.iter();
    let place = Place {
        url: blobs.url.unwrap_or_default(),
        namespace: config.nats.namespace.clone(),
        endpoint: blobs.endpoint,
        region: blobs.region,
        conn_id: blobs.conn_id,
        ca_file: blobs.ca_file,
        options: options.map(|(key, value)| (key.clone(), value.reveal().to_owned())).collect(),
        timeout: blobs.timeout.0,
    };
    let opened = place.open(|name| std::env::var(name).ok());
    opened.map(Some).map_err(|error| {
        Failure::from_error(Code::Config, &error).next(
            "mend `[blobs]` (or `[logging]`) in dagbok.toml; `dagbok doctor` asks the store itself",
        )
    })
}

/// Puts the store beside `ports`' own blobs. One that does not answer now is told of and used once it does.
pub(crate) async fn beside(
    ports: &mut Ports,
    config: &Config,
    owner: Owner,
) -> Result<(), Failure> {
    let (Some(blobs), Some(far)) = (configured(config)?, objects(config)?) else { return Ok(()) };
    let move_after = blobs.move_after.0;
    let settings = TierSettings {
        direct_from: blobs.direct_from.0,
        move_after: (!move_after.is_zero()).then_some(move_after),
    };
    let log = (owner == Owner::Checked).then(|| Arc::clone(&ports.log));
    let place = far.place().to_owned();
    let tiers = Tiers::new(Arc::clone(&ports.blobs), far, settings, log);
    match tiers.claimed().await {
        Ok(_) if owner == Owner::Checked => {
            tracing::info!(place, "big things go to the object store")
        }
        Ok(_) => {}
        Err(error @ PortError::Refused { .. }) => {
            return Err(Failure::from_error(Code::ObjectStore, &error));
        }
        Err(error) => {
            tracing::warn!(%error, "the object store can't be used: big things stay near until it can");
        }
    }
    ports.blobs = Arc::new(tiers);
    Ok(())
}
