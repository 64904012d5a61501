//! Variables and connections for DAG files while they are read: by the processor, and by the process that forks tries.
//! Nobody's try runs there, so there are no frames; a socket in a folder of this process' own takes a question a line.
use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dagbok_runlog::Signals;
use dagbok_runtime::Shutdown;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::SecretsClient;

/// What names the socket to the processes that read files.
pub const LOOKUP_VARIABLE: &str = "DAGBOK_LOOKUP";
/// How long is asked again where nobody answers: the reading of the file waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest question, in bytes.
const QUESTION_BYTES: u64 = 4 << 10;

/// The socket, for as long as this is kept.
#[derive(Debug)]
pub struct Lookup {
    folder: tempfile::TempDir,
}

impl Lookup {
    /// Answers in the name of `by` until `shutdown` starts.
    pub fn start(signals: Arc<dyn Signals>, by: &str, shutdown: Shutdown) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dagbok-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))?;
        let it = Self { folder };
        let listener = UnixListener::bind(it.socket())?;
        let by = by.to_owned();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    taken = listener.accept() => match taken {
                        Ok((stream, _)) => stream,
                        Err(_) => continue,
                    },
                    () = shutdown.started() => return,
                };
                let client = SecretsClient::new(Arc::clone(&signals), by.clone(), 0, PATIENCE);
                tokio::spawn(serve(stream, client));
            }
        });
        Ok(it)
    }

    /// Where it is.
    pub fn socket(&self) -> PathBuf {
        Path::new(self.folder.path()).join("lookup")
    }
}

/// Answers one process' questions until it closes.
async fn serve(stream: UnixStream, mut client: SecretsClient) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let taken = (&mut read).take(QUESTION_BYTES).read_until(b'\n', &mut line).await;
        if !matches!(taken, Ok(1..)) {
            return;
        }
        let answer = match answer(&mut client, &line).await {
            Ok(answer) => json!({ "answer": answer }),
            Err((code, detail)) => json!({ "error": code, "detail": detail }),
        };
        let sent = write.write_all(format!("{answer}\n").as_bytes()).await;
        if sent.is_err() {
            return;
        }
    }
}

async fn answer(client: &mut SecretsClient, line: &[u8]) -> crate::SecretReply {
    let unknown = || ("GENERIC_ERROR", "this can't be asked while a file is read".to_owned());
    let Ok(Value::Object(body)) = serde_json::from_slice(line) else { return Err(unknown()) };
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !matches!(kind.as_str(), "GetVariable" | "GetConnection") {
        return Err(unknown());
    }
    client.answer(&kind, &body).await.unwrap_or_else(|| Err(unknown()))
}
