//! What each command does; one module each.
mod agree;
mod alerts;
mod alone;
mod archive;
mod backfill;
mod config;
mod connections;
mod dags;
mod events;
mod executors;
mod explain;
mod hitl;
mod init;
mod metrics;
mod pools;
mod providers;
mod prune;
mod runs;
mod secrets;
mod service;
mod standalone;
mod status;
mod tasks;
mod variables;
mod version;
mod why;
mod xcoms;

use clap::CommandFactory as _;

use crate::{
    cli::{
        ArchiveCommand, Cli, Command, Completion, DagsCommand, PoolsCommand, RunsCommand,
        TasksCommand,
    },
    context::{Context, Flags},
    doctor,
    exit::Exit,
    failure::Outcome,
    output::unwritable,
};

/// Does what the command line says.
pub(crate) async fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    let plain = || Context::new(&global, Flags::new());
    match command {
        Command::Standalone(args) => standalone::run(&global, &args).await,
        Command::Scheduler(args) => service::scheduler(&global, &args).await,
        Command::Executor(args) => service::executor(&global, &args).await,
        Command::Triggerer(args) => service::triggerer(&global, &args).await,
        Command::Processor(args) => service::processor(&global, &args).await,
        Command::Ui(args) => service::ui(&global, &args).await,
        Command::Alerting(args) => service::alerting(&global, &args).await,
        Command::Alerts(command) => alerts::run(&plain()?, &command).await,
        Command::Dags(DagsCommand::List(args)) => dags::list(&plain()?, &args).await,
        Command::Dags(DagsCommand::Show(args)) => dags::show(&plain()?, &args).await,
        Command::Dags(DagsCommand::Test(args)) => dags::test(&global, &args).await,
        Command::Dags(DagsCommand::Pause(args)) => dags::pause(&plain()?, &args.dag_id).await,
        Command::Dags(DagsCommand::Unpause(args)) => dags::unpause(&plain()?, &args).await,
        Command::Dags(DagsCommand::NextExecution(of)) => dags::next_execution(&plain()?, &of).await,
        Command::Dags(DagsCommand::Reschedule(args)) => dags::reschedule(&plain()?, &args).await,
        Command::Dags(DagsCommand::Errors) => dags::errors(&plain()?).await,
        Command::Dags(DagsCommand::Trigger(args)) => dags::trigger(&plain()?, &args).await,
        Command::Runs(RunsCommand::List(args)) => runs::list(&plain()?, &args).await,
        Command::Runs(RunsCommand::Show(args)) => runs::show(&plain()?, &args).await,
        Command::Status => status::run(&plain()?).await,
        Command::Init(args) => init::run(&plain()?, &args),
        Command::Config(command) => config::run(&plain()?, &command),
        Command::Explain(args) => explain::explain(&plain()?, &args),
        Command::Completion(args) => Ok(completion(&args)),
        Command::Runs(RunsCommand::Why(args)) => runs::why(&plain()?, &args).await,
        Command::Runs(RunsCommand::Logs(args)) => tasks::of_run(&plain()?, &args).await,
        Command::Runs(RunsCommand::Retry(args)) => runs::clear(&plain()?, &args.as_clear()).await,
        Command::Tasks(TasksCommand::List(args)) => tasks::list(&plain()?, &args).await,
        Command::Runs(RunsCommand::Wait(args)) => runs::wait(&plain()?, &args).await,
        Command::Runs(RunsCommand::Cancel(args)) => runs::cancel(&plain()?, &args).await,
        Command::Runs(RunsCommand::Mark(args)) => runs::mark(&plain()?, &args).await,
        Command::Runs(RunsCommand::Note(args)) => runs::note(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Mark(args)) => runs::mark_task(&plain()?, &args).await,
        Command::Runs(RunsCommand::Clear(args)) => runs::clear(&plain()?, &args).await,
        Command::Runs(RunsCommand::Callbacks(args)) => runs::callbacks(&plain()?, &args).await,
        Command::Runs(RunsCommand::Delete(args)) => runs::delete(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Note(args)) => runs::note_task(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Render(args)) => alone::render(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Test(args)) => alone::test(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Logs(args)) => tasks::logs(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Why(args)) => why::task(&plain()?, &args).await,
        Command::Tasks(TasksCommand::Xcoms(args)) => xcoms::show(&plain()?, &args).await,
        Command::Backfill(command) => backfill::run(&plain()?, &command).await,
        Command::Providers(command) => providers::run(&plain()?, &command).await,
        Command::Dags(DagsCommand::Check(args)) => dags::check(&plain()?, &args).await,
        Command::Executors(command) => executors::run(&plain()?, &command).await,
        Command::Metrics(command) => metrics::run(&plain()?, &command).await,
        Command::Pools(PoolsCommand::List) => pools::list(&plain()?).await,
        Command::Pools(PoolsCommand::Get(args)) => pools::get(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Set(args)) => pools::set(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Delete(args)) => pools::delete(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Import(args)) => pools::import(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Export(args)) => pools::export(&plain()?, &args).await,
        Command::Connections(command) => connections::run(&plain()?, &command).await,
        Command::Variables(command) => variables::run(&plain()?, &command).await,
        Command::Secrets(command) => secrets::run(&plain()?, &command).await,
        Command::Hitl(command) => hitl::run(&plain()?, &command).await,
        Command::Why(args) => why::why(&plain()?, &args).await,
        Command::Prune(args) => prune::run(&plain()?, &args).await,
        Command::Archive(ArchiveCommand::Verify(args)) => archive::verify(&global, &args).await,
        Command::Events(args) => events::run(&plain()?, &args).await,
        Command::Doctor(args) => doctor::run(&global, &args).await,
        Command::Version => version::run(&plain()?).await,
    }
}

/// Prints what has a shell complete our commands.
fn completion(args: &Completion) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dagbok", &mut script);
    if let Err(error) = std::io::Write::write_all(&mut std::io::stdout(), &script) {
        unwritable(&error);
    }
    Exit::Ok
}
