//! Connections, bounded: however many are opened, descriptors stay for the rest of the process, and who
//! asks gets in. Where there are too many, the one that has been silent for longest is closed.
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use dagbok_runtime::Shutdown;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::Instant,
};
use tower::ServiceExt as _;

/// How long a request's head may take, and how long a connection may stay without one.
const HEAD: Duration = Duration::from_secs(30);
/// How long nothing at all may pass: more than any answer that says nothing takes.
const SILENCE: Duration = Duration::from_mins(2);
/// The pause after a connection could not be taken, for want of a descriptor say.
const PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end before they are cut.
const GOODBYE: Duration = Duration::from_secs(3);

/// Takes connections until `shutdown` starts and those there are have ended, or had their time to.
pub(super) async fn take(listener: TcpListener, app: Router, most: usize, shutdown: Shutdown) {
    let open = Arc::new(Open { begun: Instant::now(), most, all: Mutex::default() });
    let mut tasks = JoinSet::new();
    let mut number = 0;
    loop {
        let taken = tokio::select! {
            () = shutdown.started() => break,
            taken = listener.accept() => taken,
            Some(_) = tasks.join_next() => continue,
        };
        match taken {
            Ok((stream, peer)) => {
                number += 1;
                let place = open.enter(number);
                tasks.spawn(serve(stream, peer, place, app.clone(), shutdown.clone()));
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(GOODBYE, all).await.is_err() {
        tracing::warn!(open = tasks.len(), "connections that did not end in time were cut");
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset
    )
}

async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, app: Router, shutdown: Shutdown) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let seen = Arc::clone(&place.seen);
    let io = TokioIo::new(Watched { stream, seen: Arc::clone(&seen) });
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.oneshot(request).await.unwrap_or_else(|no| match no {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection = pin!(http.serve_connection(io, answer));
    let mut ending = false;
    loop {
        tokio::select! {
            // How a connection broke is its peer's concern.
            _ = connection.as_mut() => return,
            () = seen.closed.notified() => return,
            () = seen.silent() => return,
            () = shutdown.started(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The connections that are open.
#[derive(Debug)]
struct Open {
    begun: Instant,
    most: usize,
    all: Mutex<BTreeMap<u64, Arc<Seen>>>,
}

impl Open {
    /// Makes room for one more, and keeps it until it is dropped.
    fn enter(self: &Arc<Self>, number: u64) -> Place {
        let seen = Arc::new(Seen {
            begun: self.begun,
            last: AtomicU64::new(since(self.begun)),
            closed: Notify::new(),
        });
        let mut all = self.all.lock();
        if all.len() >= self.most {
            let last = |seen: &Arc<Seen>| seen.last.load(Ordering::Relaxed);
            let oldest = all.iter().min_by_key(|(_, seen)| last(seen)).map(|(number, _)| *number);
            if let Some(silent) = oldest.and_then(|oldest| all.remove(&oldest)) {
                silent.closed.notify_one();
            }
        }
        all.insert(number, Arc::clone(&seen));
        Place { open: Arc::clone(self), number, seen }
    }
}

/// A connection's place among those that are open.
#[derive(Debug)]
struct Place {
    open: Arc<Open>,
    number: u64,
    seen: Arc<Seen>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.all.lock().remove(&self.number);
    }
}

/// When something last passed over a connection.
#[derive(Debug)]
struct Seen {
    begun: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
    closed: Notify,
}

fn since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Seen {
    fn now(&self) {
        self.last.store(since(self.begun), Ordering::Relaxed);
    }

    /// Returns once nothing has passed for [`SILENCE`].
    async fn silent(&self) {
        loop {
            let last = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed));
            let until = last + SILENCE;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A stream that notes when something passes.
#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    seen: Arc<Seen>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.seen.now();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.seen.now();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
