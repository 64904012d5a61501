//! What each command does; one module each.
mod agree;
mod alerts;
mod alone;
mod archive;
mod backfill;
mod connections;
mod dags;
mod events;
mod pools;
mod providers;
mod prune;
mod runs;
mod secrets;
mod service;
mod standalone;
mod tasks;
mod variables;
mod version;
mod why;
mod xcoms;

use crate::{
    cli::{ArchiveCommand, Cli, Command, DagsCommand, PoolsCommand, RunsCommand, TasksCommand},
    context::{Context, Flags},
    doctor,
    failure::Outcome,
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
        Command::Dags(DagsCommand::NextExecution(args)) => {
            dags::next_execution(&plain()?, &args).await
        }
        Command::Dags(DagsCommand::Reschedule(args)) => dags::reschedule(&plain()?, &args).await,
        Command::Dags(DagsCommand::Errors) => dags::errors(&plain()?).await,
        Command::Dags(DagsCommand::Trigger(args)) => dags::trigger(&plain()?, &args).await,
        Command::Runs(RunsCommand::List(args)) => runs::list(&plain()?, &args).await,
        Command::Runs(RunsCommand::Show(args)) => runs::show(&plain()?, &args).await,
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
        Command::Pools(PoolsCommand::List) => pools::list(&plain()?).await,
        Command::Pools(PoolsCommand::Get(args)) => pools::get(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Set(args)) => pools::set(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Delete(args)) => pools::delete(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Import(args)) => pools::import(&plain()?, &args).await,
        Command::Pools(PoolsCommand::Export(args)) => pools::export(&plain()?, &args).await,
        Command::Connections(command) => connections::run(&plain()?, &command).await,
        Command::Variables(command) => variables::run(&plain()?, &command).await,
        Command::Secrets(command) => secrets::run(&plain()?, &command).await,
        Command::Why(args) => why::why(&plain()?, &args).await,
        Command::Prune(args) => prune::run(&plain()?, &args).await,
        Command::Archive(ArchiveCommand::Verify(args)) => archive::verify(&global, &args).await,
        Command::Events(args) => events::run(&plain()?, &args).await,
        Command::Doctor(args) => doctor::run(&global, &args).await,
        Command::Version => version::run(&plain()?).await,
    }
}
