//! The object store for big things, where one is configured, put beside the log's own blobs; and that it is this
//! installation's.
use std::{
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dagbok_config::{Blobs, Config};
use dagbok_objects::{
    Objects, Part, Place, Placeless, Standing, TierSettings, Tiers, Title,
    owner::{Claim, Claims, InFile, InState},
    refuse_placeless,
};
use dagbok_protocol::names::BLOBS_PLACE;
use dagbok_runlog::{PortError, PortResult, Ports};
use dagbok_runtime::fresh_id;
use futures::future::BoxFuture;
use tokio::time::timeout;

use crate::{codes::Code, failure::Failure};

/// The file of a home that says where its big things lie. It is in no backup: what is put back elsewhere is another
/// installation.
const CLAIM: &str = "blobs.place";
/// How long a start waits for the store to say whose it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often who claims the place looks again: while it is not claimed, and after that.
const LOOK_SOON: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What a process has to do with whose the place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It claims a place that is nobody's, and refuses to start on another's; on purpose it takes over one that another
    /// copy of its log had.
    Claims {
        /// On purpose.
        takes_over: bool,
    },
    /// It reads the log, and refuses to start where the place is another's.
    Checks,
    /// It can't read the log, and goes by what is written down.
    Believes,
    /// It only reads: whatever the place is, what is near can be read.
    Reads,
}

/// Where the claim of the installation in `home` is kept.
pub(crate) fn claim_in(home: &Path) -> Arc<dyn Claims> {
    Arc::new(InFile(home.join(CLAIM)))
}

/// Where the claim of an installation on a broker is kept.
pub(crate) fn claim_on(ports: &Ports) -> Arc<dyn Claims> {
    Arc::new(InState(Arc::clone(&ports.state), BLOBS_PLACE))
}

/// What an installation on a broker has claimed, where it has.
pub(crate) async fn claimed_on(ports: &Ports) -> PortResult<Option<Claim>> {
    Ok(claim_on(ports).read().await?.filter(|claim| claim.is_made))
}

/// What is configured, Airflow's settings too; `None` where big things stay in the log's own store.
fn configured(config: &Config) -> Result<Option<Blobs>, Failure> {
    let blobs = config.blobs.with(&config.logging);
    let blobs =
        blobs.map_err(|(key, why)| Failure::new(Code::Config, format!("`{key}`: {why}")))?;
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
    let text = |it: std::ffi::OsString| it.into_string().ok();
    let environment: Vec<(String, String)> =
        std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    let opened = place.open(&environment);
    opened.map(Some).map_err(|error| {
        Failure::from_error(Code::Config, &error).next(
            "mend `[blobs]` (or `[logging]`) in dagbok.toml; `dagbok doctor` asks the store itself",
        )
    })
}

/// The store as alerting looks at it; `None` where there is none.
pub(crate) fn big_things(
    config: &Config,
) -> Result<Option<Arc<dyn dagbok_alerting::BigThings>>, Failure> {
    let watched = |objects| -> Arc<dyn dagbok_alerting::BigThings> {
        Arc::new(Watched { objects, wrote: AtomicBool::new(false) })
    };
    Ok(objects(config)?.map(watched))
}

#[derive(Debug)]
struct Watched {
    objects: Objects,
    /// Whether something could be written: alerting may have been given the right to read alone.
    wrote: AtomicBool,
}

impl dagbok_alerting::BigThings for Watched {
    fn place(&self) -> String {
        self.objects.place().to_owned()
    }

    fn look(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let said = |error: PortError| error.to_string();
            // It reads as well.
            match self.objects.look(true).await {
                Ok(_) => self.wrote.store(true, Ordering::Relaxed),
                Err(error) if self.wrote.load(Ordering::Relaxed) => return Err(said(error)),
                Err(_) => drop(self.objects.look(false).await.map_err(said)?),
            }
            Ok(())
        })
    }
}

/// Puts the store beside `ports`' own blobs, which is as `claims` knows. One that does not answer now is told of and used
/// once it does. What is put goes near alone where `all_near`.
pub(crate) async fn beside(
    ports: &mut Ports,
    config: &Config,
    (owner, claims): (Owner, Arc<dyn Claims>),
    all_near: bool,
) -> Result<(), Failure> {
    let (Some(blobs), Some(far)) = (configured(config)?, objects(config)?) else {
        return placeless(ports, owner, claims).await;
    };
    let move_after = blobs.move_after.0;
    let settings = TierSettings {
        direct_from: if all_near { u64::MAX } else { blobs.direct_from.0 },
        move_after: (!move_after.is_zero()).then_some(move_after),
        timeout: blobs.timeout.0,
    };
    let log = (owner != Owner::Believes).then(|| Arc::clone(&ports.log));
    let part = match owner {
        Owner::Claims { .. } => Part::Claims(fresh_id),
        _ => Part::Follows,
    };
    let title = Arc::new(Title::new(far.clone(), claims, log, part));
    // Answers that nobody waits for are found again by who looks next.
    let found = timeout(PATIENCE, async {
        if matches!(owner, Owner::Claims { takes_over: true }) {
            title.take_over().await?;
        }
        title.look().await
    });
    let found = found.await.unwrap_or_else(|_| {
        let why = format!("{} did not answer in {PATIENCE:?}", far.place());
        Err(PortError::unavailable("blobs", why))
    });
    match found {
        Ok(Standing::Ours) => {
            tracing::info!(place = far.place(), "big things go to the object store");
        }
        Ok(Standing::NotYet) => {}
        Err(error @ PortError::Refused { .. }) if owner != Owner::Reads => {
            return Err(refused(&error));
        }
        Err(error) if matches!(owner, Owner::Claims { takes_over: true }) => {
            // Who asks for it once would not see that it was not done.
            return Err(refused(&error));
        }
        Err(error) => {
            tracing::warn!(%error, "the object store can't be used: big things stay near until it can");
        }
    }
    if matches!(owner, Owner::Claims { .. }) {
        tokio::spawn(watch(Arc::downgrade(&title)));
    }
    ports.blobs = Arc::new(Tiers::new(Arc::clone(&ports.blobs), far, settings, title));
    Ok(())
}

/// No store is configured: refused where the installation has one, and else held to that.
async fn placeless(
    ports: &mut Ports,
    owner: Owner,
    claims: Arc<dyn Claims>,
) -> Result<(), Failure> {
    if owner == (Owner::Claims { takes_over: true }) {
        let given_up = claims.put(None).await;
        given_up.map_err(|error| Failure::from_error(Code::ObjectStore, &error))?;
    }
    let log = (owner != Owner::Believes).then_some(&*ports.log);
    match refuse_placeless(&*claims, log).await {
        Err(error @ PortError::Refused { .. }) if owner != Owner::Reads => {
            return Err(refused(&error));
        }
        Err(error) => {
            tracing::warn!(%error, "whether big things lie on an object store can't be told");
        }
        Ok(()) => {}
    }
    ports.blobs = Arc::new(Placeless::new(Arc::clone(&ports.blobs), claims));
    Ok(())
}

fn refused(error: &PortError) -> Failure {
    Failure::from_error(Code::ObjectStore, error).next(
        "`dagbok explain DBK0039` says which of the two to move, and how a place is taken over",
    )
}

/// Claims the place once the log has a name, and sees that it stays this installation's: what others go by is written
/// again where the state was lost. Ends with the blobs.
async fn watch(title: Weak<Title>) {
    loop {
        let found = match title.upgrade() {
            Some(title) => title.look().await,
            None => return,
        };
        let pause = match found {
            Ok(Standing::Ours) => LOOK_AGAIN,
            Ok(Standing::NotYet) => LOOK_SOON,
            Err(error @ PortError::Refused { .. }) => {
                tracing::error!(%error, code = "DBK0039", "big things stay near: the object store is another's, and the next start is refused");
                LOOK_AGAIN
            }
            Err(error) => {
                tracing::debug!(%error, "whose the object store is can't be told");
                LOOK_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}
