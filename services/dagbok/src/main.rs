//! `dagbok`: every service and the command line, in one binary.
//!
//! This crate alone names concrete logs (in [`wire`]); everything else stands on ports. It holds no
//! rules: commands ask the API, services are run with what the configuration says.
mod api;
mod cli;
mod codes;
mod commands;
mod conformance;
mod context;
mod doctor;
mod environment;
mod exit;
mod failure;
mod folders;
mod handles;
mod live;
mod output;
mod python;
mod services;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use tokio::signal::unix::SignalKind;

use crate::{
    cli::{Cli, with_examples},
    codes::Code,
    exit::Exit,
    failure::Failure,
    output::{Format, Out},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One cryptography everywhere; reqwest and the exporters have none of their own.
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.expect("nothing ran before this line");
    // The allocator does without huge pages, which double an idle service's memory, by switching them off
    // for the process and all that it starts. Tasks may want them; an old kernel that can't say is none
    // of their concern.
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    raise_descriptors();
    // Signals that whoever started this blocked would be blocked in every thread, and SIGTERM unheard.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    let matches = with_examples(Cli::command()).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, wants_json()),
    };
    let out = cli.global.out();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(async {
                // Where whoever started this ignores SIGCHLD nobody hears how a child ended; a handler, which
                // stands from here on, ends that, and children get the default back.
                let _ = tokio::signal::unix::signal(SignalKind::child());
                Box::pin(commands::run(cli)).await
            });
            dagbok_telemetry::end_lines();
            // What still blocks, such as a name that is being looked up, must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::from_error(Code::ServiceFailed, &error)),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out.failure(&failure);
            failure.exit().into()
        }
    }
}

/// Takes as many descriptors as the machine lets it, up to what services with thousands of tries and
/// connections need: the usual soft limit is 1,024.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const WANTED: u64 = 65_536;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current.is_some_and(|current| current < most) {
        // Where it can't be had, the limits of connections still leave some for tries.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    }
}

/// Whether a command line that can't be read asks for JSON.
fn wants_json() -> bool {
    let args: Vec<_> = std::env::args_os().collect();
    let shape = |word: &std::ffi::OsString| word == "json" || word == "yaml";
    let said = |at: usize| {
        (args[at] == "-o" || args[at] == "--output") && args.get(at + 1).is_some_and(shape)
    };
    let whole = ["--json", "-ojson", "-oyaml", "-o=json", "--output=json", "--output=yaml"];
    (0..args.len()).any(|at| whole.iter().any(|it| args[at] == *it) || said(at))
}

/// Help and version go to stdout and are no error; anything else is bad usage, said by clap, or in its
/// words to programs.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !wanted {
        let text = error.to_string();
        let (what, usage) = text.split_once("\n\n").unwrap_or((&text, ""));
        let what = what.strip_prefix("error: ").unwrap_or(what).trim_end();
        let failure = Failure::new(Code::Usage, what);
        let usage = usage.lines().find(|line| line.starts_with("Usage:"));
        Out::new(Format::Json, None).failure(&failure.next(usage.unwrap_or("see `dagbok help`")));
    } else {
        match error.print() {
            Err(error) if wanted => output::unwritable(&error),
            // Nobody is left to tell where stderr is gone.
            Ok(()) | Err(_) => {}
        }
    }
    if wanted { Exit::Ok.into() } else { Exit::Usage.into() }
}
