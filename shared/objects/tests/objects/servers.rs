//! Two S3 servers: one of ours in the test's own process, in front of which requests can be made to fail, and moto.
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dagbok_objects::{Objects, Place};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{Body, auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

/// The bucket of all tests.
pub(crate) const BUCKET: &str = "big";
/// Who the client is.
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What becomes of a request instead of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A status with one of S3's codes.
    Says(u16, &'static str),
    /// Nothing, ever.
    Hangs,
    /// A fault that is worth another try, after most of the time that a client waits.
    Late,
    /// The connection breaks.
    Breaks,
}

/// Which requests fail.
pub(crate) type Faults = Arc<dyn Fn(&Request<Incoming>) -> Option<Fault> + Send + Sync>;

/// No fault.
pub(crate) fn none() -> Faults {
    Arc::new(|_| None)
}

/// An S3 server on files.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    serving: JoinHandle<()>,
}

impl Server {
    /// Serves a folder of its own, but for what `faults` says.
    pub(crate) async fn start(faults: Faults) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        Self::serve(folder, faults, 0).await
    }

    async fn serve(folder: TempDir, faults: Faults, port: u16) -> Self {
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let s3 = builder.build();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (s3, faults) = (s3.clone(), Arc::clone(&faults));
                connections.spawn(async move {
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (s3, fault) = (s3.clone(), faults(&request));
                        async move {
                            match fault {
                                None => hyper::service::Service::call(&s3, request).await,
                                Some(Fault::Says(status, code)) => Ok(says(status, code)),
                                Some(Fault::Late) => {
                                    tokio::time::sleep(Duration::from_millis(400)).await;
                                    Ok(says(503, "InternalError"))
                                }
                                Some(Fault::Hangs) => std::future::pending().await,
                                Some(Fault::Breaks) => {
                                    let broken = std::io::Error::other("broken by the test");
                                    Err(s3s::HttpError::new(Box::new(broken)))
                                }
                            }
                        }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    drop(connection.serve_connection(TokioIo::new(socket), answer).await);
                });
            }
        });
        Self { folder, port, serving }
    }

    /// The server dies, and its port refuses.
    pub(crate) async fn stop(&mut self) {
        self.serving.abort();
        let ended = (&mut self.serving).await;
        assert!(ended.unwrap_err().is_cancelled());
    }

    /// One without faults comes up in the place of one that has died.
    pub(crate) async fn again(self) -> Self {
        Self::serve(self.folder, none(), self.port).await
    }

    /// A client of a bucket of it.
    pub(crate) fn bucket(&self, bucket: &str, timeout: Duration) -> Objects {
        objects(&format!("http://127.0.0.1:{}", self.port), bucket, "default", timeout)
    }

    /// A client.
    pub(crate) fn objects(&self) -> Objects {
        self.bucket(BUCKET, Duration::from_secs(10))
    }

    /// Where a blob lies on the server's disk.
    pub(crate) fn file(&self, digest: &str) -> PathBuf {
        let root = self.folder.path().join(BUCKET).join("some/where/default");
        root.join(&digest[..2]).join(digest)
    }
}

fn says(status: u16, code: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>it is a test</Message></Error>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A server that answers everything with `bytes`, a twentieth at a time, each after a pause; its port.
pub(crate) async fn trickling(bytes: Bytes, pause: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut asked = [0; 8192];
                let _ = socket.read(&mut asked).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"x\"\r\n\
                     Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
                    bytes.len()
                );
                let mut said = socket.write_all(head.as_bytes()).await;
                for piece in bytes.chunks(bytes.len() / 20) {
                    tokio::time::sleep(pause).await;
                    if said.is_ok() {
                        said = socket.write_all(piece).await;
                    }
                }
            });
        }
    });
    port
}

/// A client of the store at `endpoint`.
pub(crate) fn objects(endpoint: &str, bucket: &str, namespace: &str, timeout: Duration) -> Objects {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = [
        ("aws_access_key_id", KEY),
        ("aws_secret_access_key", SECRET),
        ("aws_region", "us-east-1"),
    ];
    let place = Place {
        url: format!("s3://{bucket}/some/where"),
        namespace: namespace.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        options: options
            .into_iter()
            .map(|(key, it)| (key.to_owned(), it.to_owned()))
            .collect::<BTreeMap<_, _>>(),
        timeout,
        ..Place::default()
    };
    place.open(&[]).unwrap()
}

/// A namespace that no other test has.
pub(crate) fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("ns-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

const MOTO: &str = r#"
import sys, boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="big")
print(url, flush=True)
sys.stdin.read()
server.stop()
"#;

/// The address of moto, started once for all tests of a binary; it ends with them, when its standard input does.
pub(crate) fn moto() -> &'static str {
    static MOTO_AT: OnceLock<(String, Child)> = OnceLock::new();
    let (url, _) = MOTO_AT.get_or_init(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
        let python = std::env::var_os("DAGBOK_PYTHON").map_or(own, PathBuf::from);
        let mut command = Command::new(python);
        command.args(["-c", MOTO]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().expect("the tests' Python environment is set up (`make test`)");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "moto said {line:?}");
        (line.trim().to_owned(), child)
    });
    url
}
