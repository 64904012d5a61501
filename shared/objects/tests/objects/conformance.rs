//! The suite of blobs on every kind of store that can be had here: memory, a folder, two S3 servers, and the two
//! places together.
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dagbok_objects::{Objects, Part, Place, TierSettings, Tiers, Title, owner::InState};
use dagbok_runlog::{
    Blobs, Draft, Ports, Seq,
    conformance::Fixture,
    memory::{self, MemoryBlobs},
};
use object_store::memory::InMemory;

use crate::servers::{BUCKET, Server, fresh, moto, none, objects};

/// Ports in memory whose blobs `open` opens anew each time; `_held` is what they stand on.
struct On<T> {
    open: Box<dyn Fn() -> Arc<dyn Blobs> + Send + Sync>,
    _held: T,
}

impl<T> On<T> {
    fn new<B: Blobs + 'static>(held: T, open: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self { open: Box::new(move || Arc::new(open())), _held: held }
    }
}

#[async_trait]
impl<T: Send + Sync> Fixture for On<T> {
    async fn ports(&self) -> Ports {
        Ports { blobs: (self.open)(), ..memory::ports() }
    }

    async fn reopen(&self, _: Ports) -> Ports {
        self.ports().await
    }

    async fn beside(&self, _: &Ports) -> Option<Ports> {
        Some(self.ports().await)
    }
}

fn in_memory() -> impl Fn() -> Objects + Send + Sync + 'static {
    let store = Arc::new(InMemory::new());
    move || Objects::new(Arc::clone(&store) as _, "some/where".into(), "memory")
}

mod in_this_process {
    use super::*;
    async fn fixture() -> On<()> {
        On::new((), in_memory())
    }
    dagbok_runlog::conformance_tests!(fixture, blobs);
}

mod in_a_folder {
    use super::*;
    async fn fixture() -> On<tempfile::TempDir> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let place = Place { url, namespace: "default".to_owned(), ..Place::default() };
        On::new(folder, move || place.open(&[]).unwrap())
    }
    dagbok_runlog::conformance_tests!(fixture, blobs);
}

mod on_s3s {
    use super::*;
    async fn fixture() -> On<Arc<Server>> {
        let server = Arc::new(Server::start(none()).await);
        let held = Arc::clone(&server);
        On::new(held, move || server.objects())
    }
    dagbok_runlog::conformance_tests!(fixture, blobs);
}

mod on_moto {
    use super::*;
    async fn fixture() -> On<()> {
        let url = tokio::task::spawn_blocking(moto).await.unwrap();
        let namespace = fresh();
        On::new((), move || objects(url, BUCKET, &namespace, Duration::from_secs(10)))
    }
    dagbok_runlog::conformance_tests!(fixture, blobs);
}

mod in_two_places {
    use super::*;
    async fn fixture() -> On<()> {
        let (near, far, ports) = (MemoryBlobs::default(), in_memory(), memory::ports());
        let draft = Draft { subject: "log.case".to_owned(), payload: "first".into() };
        ports.log.append(Seq::ZERO, vec![draft]).await.unwrap();
        let settings = TierSettings {
            direct_from: 10_000,
            move_after: Some(Duration::ZERO),
            timeout: Duration::from_secs(10),
        };
        On::new((), move || {
            let claims = Arc::new(InState(Arc::clone(&ports.state), "blobs/place"));
            let log = Some(Arc::clone(&ports.log));
            let title = Title::new(far(), claims, log, Part::Claims(fresh));
            Tiers::new(Arc::new(near.clone()), far(), settings, Arc::new(title))
        })
    }
    dagbok_runlog::conformance_tests!(fixture, blobs);
}
