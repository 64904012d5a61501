//! `dagbok secrets …`, and what commands about variables and connections share: the key file, the tasks' Python, files.
use std::{
    io::Read as _, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, process::Stdio,
    time::Duration,
};

use dagbok_api::shapes::{RotateSecrets, RotatedSecrets, SealedEntries};
use dagbok_secrets::Ring;
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::{
    api::{Api, Sent},
    cli::SecretsCommand,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    python::Python,
    services::key_file,
};

/// How long reading a file, or trying a connection, may take.
const WITHIN: Duration = Duration::from_mins(2);

pub(crate) async fn run(context: &Context, command: &SecretsCommand) -> Outcome {
    let SecretsCommand::Rotate(args) = command;
    let body = RotateSecrets { forget_lost: args.forget_lost };
    let api = Api::of(context).await?;
    let sent = api.send(Method::POST, &["dagbok", "secrets", "rotate"], &body).await?;
    let done: RotatedSecrets = done(sent)?;
    if context.out.is_json() {
        context.out.document(&done);
        return Ok(Exit::Ok);
    }
    let RotatedSecrets { master, rewrapped, forgotten, old_keys_destroyed } = done;
    context.out.line(&format!("the master key is {master} now; {rewrapped} values go by it"));
    for name in forgotten {
        context.out.line(&format!("{name} is deleted: nobody could read it"));
    }
    if !old_keys_destroyed {
        context
            .out
            .note("take the older keys out of the key file: values that hold need them no more");
    }
    Ok(Exit::Ok)
}

/// The answer, or that it is on its way.
pub(crate) fn done<T>(sent: Sent<T>) -> Result<T, Failure> {
    match sent {
        Sent::Done(done) => Ok(done),
        Sent::Accepted(told) => {
            let why = told["message"].as_str().unwrap_or("it is done, and can't be shown yet");
            Err(Failure::new(Code::ApiFailed, why))
        }
    }
}

/// All that the log has, and the keys to open it by.
pub(crate) async fn sealed(context: &Context, api: &Api) -> Result<(SealedEntries, Ring), Failure> {
    let file = key_file(&context.config, &context.home()?);
    let ring = file.load().map_err(|error| {
        Failure::from_error(Code::SecretsKey, &error)
            .next("run this where the API runs, as its user, with the same --home or configuration")
    })?;
    Ok((api.get(&["dagbok", "secrets"], &[]).await?, ring))
}

/// What can't be opened.
pub(crate) fn unreadable(error: &dagbok_secrets::OpenError) -> Failure {
    Failure::from_error(Code::SecretsKey, error)
}

/// A value that is given, or that standard input has where `-` is.
pub(crate) fn given(value: &str) -> Result<String, Failure> {
    if value != "-" {
        return Ok(value.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| {
        Failure::new(Code::Usage, format!("standard input can't be read: {error}"))
    })?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.map_or(text.clone(), str::to_owned))
}

/// Has the tasks' Python do something; values go through pipes alone.
pub(crate) async fn python<T: DeserializeOwned>(
    context: &Context,
    arguments: &[&str],
    stdin: Option<&impl Serialize>,
) -> Result<T, Failure> {
    let text = python_text(context, arguments, stdin).await?;
    serde_json::from_slice(&text).map_err(|_| {
        Failure::new(Code::Bug, "the tasks' Python gave no sensible answer".to_owned())
    })
}

/// As [`python`], with its answer as it is.
pub(crate) async fn python_text(
    context: &Context,
    arguments: &[&str],
    stdin: Option<&impl Serialize>,
) -> Result<Vec<u8>, Failure> {
    let python = Python::find(&context.config).await?;
    let mut command = Command::new(&python.executable);
    command.args(["-P", "-m", "dagbok.models.portable"]).args(arguments).kill_on_drop(true);
    if let Some(path) = &python.package_path {
        command.env("PYTHONPATH", path);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let broke = |error: std::io::Error| {
        Failure::new(Code::NoPython, format!("the tasks' Python can't be run: {error}"))
    };
    let mut child = command.spawn().map_err(broke)?;
    let mut pipe = child.stdin.take().expect("it is piped");
    if let Some(body) = stdin {
        let text = serde_json::to_vec(body).expect("texts and numbers have a form");
        // It may end before it has read all: what it says then tells more.
        let _ = pipe.write_all(&text).await;
    }
    drop(pipe);
    let Ok(output) = timeout(WITHIN, child.wait_with_output()).await else {
        let what = format!("the tasks' Python gave no answer within {WITHIN:?}");
        return Err(Failure::new(Code::WaitedTooLong, what));
    };
    let output = output.map_err(broke)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it said nothing").to_owned();
    Err(Failure::new(Code::Usage, last))
}

/// Writes a file that its owner alone may read, or standard output where it is `-`.
pub(crate) fn write_secret(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let written = if path == Path::new("-") {
        std::io::stdout().write_all(text)
    } else {
        let open = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path);
        open.and_then(|mut file| file.write_all(text))
    };
    written.map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", path.display())))
}

/// A path as an argument can say it.
pub(crate) fn path_argument(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::new(Code::Usage, format!("the path `{}` is not UTF-8", path.display()))
    })
}
