//! What each command does; one module each.
mod agree;
mod alerts;
mod alone;
mod archive;
mod backfill;
mod backup;
mod config;
mod connections;
mod dags;
mod events;
mod executors;
mod explain;
mod hints;
mod hitl;
mod init;
mod man;
mod metrics;
mod namespaces;
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
mod watch;
mod why;
mod xcoms;

pub(crate) use namespaces::there;

use clap::CommandFactory as _;

use crate::{
    cli::{
        AlertsCommand, ArchiveCommand, BackfillCommand, Cli, Command, Completion, ConfigCommand,
        ConnectionsCommand, DagsCommand, ExecutorArgs, ExecutorCommand, ExecutorsCommand, Global,
        HitlCommand, MetricsCommand, NamespacesCommand, PoolsCommand, RunsCommand, TasksCommand,
        VariablesCommand, XcomCommand,
    },
    codes::Code,
    conformance,
    context::{Context, Flags},
    doctor,
    exit::Exit,
    failure::{Failure, Outcome},
    output::unwritable,
};

/// Does what the command line says: once, or as long as it is watched.
pub(crate) async fn run(cli: Cli) -> Outcome {
    if cli.global.out().is_names() && !has_names(&cli.command) {
        let what =
            "-o name is of what has names: lists, shows, and what makes or changes something";
        return Err(Failure::new(Code::Usage, what).next("leave it out, or take -o json"));
    }
    match cli.global.watch {
        None => once(&cli).await,
        Some(every) if is_state(&cli.command) => watch::watch(cli, every).await,
        Some(_) => {
            let what = "--watch is of lists, shows and `status`";
            Err(Failure::new(Code::Usage, what).next("logs and events have --follow, runs `wait`"))
        }
    }
}

/// Whether it says how something is, so that it may be asked again and again.
const fn is_state(command: &Command) -> bool {
    matches!(
        command,
        Command::Status
            | Command::Why(_)
            | Command::Dags(DagsCommand::Show(_) | DagsCommand::NextExecution(_))
            | Command::Executors(ExecutorsCommand::Show { .. })
            | Command::Runs(RunsCommand::Callbacks(_))
            | Command::Tasks(TasksCommand::Why(_) | TasksCommand::Usage(_))
            | Command::Hitl(HitlCommand::Show(_))
            | Command::Backfill(BackfillCommand::Show(_))
            | Command::Alerts(AlertsCommand::Show(_))
    ) || is_list(command)
}

/// Whether it lists what has names, or shows one such thing.
const fn is_list(command: &Command) -> bool {
    matches!(
        command,
        Command::Dags(DagsCommand::List(_) | DagsCommand::Errors)
            | Command::Executors(ExecutorsCommand::List { .. })
            | Command::Runs(RunsCommand::List(_) | RunsCommand::Show(_))
            | Command::Tasks(TasksCommand::List(_) | TasksCommand::Xcoms(_))
            | Command::Xcom(XcomCommand::List(_))
            | Command::Hitl(HitlCommand::List(_))
            | Command::Backfill(BackfillCommand::List(_))
            | Command::Pools(PoolsCommand::List | PoolsCommand::Get(_))
            | Command::Connections(ConnectionsCommand::List)
            | Command::Variables(VariablesCommand::List)
            | Command::Alerts(AlertsCommand::List(_) | AlertsCommand::Silences)
            | Command::Namespaces(NamespacesCommand::List(_))
    )
}

/// Whether what it is about has names.
const fn has_names(command: &Command) -> bool {
    matches!(
        command,
        Command::Dags(
            DagsCommand::Trigger(_)
                | DagsCommand::Pause(_)
                | DagsCommand::Unpause(_)
                | DagsCommand::Delete(_)
        ) | Command::Runs(RunsCommand::Delete(_))
            | Command::Config(ConfigCommand::Show(_))
            | Command::Metrics(MetricsCommand::List)
            | Command::Explain(_)
    ) || is_list(command)
}

/// An executor of one kind or another, or a trial of one.
async fn executor(global: &Global, args: &ExecutorArgs) -> Outcome {
    match &args.command {
        Some(ExecutorCommand::Conformance(args)) => Box::pin(conformance::run(global, args)).await,
        Some(ExecutorCommand::Kubernetes(args)) => service::kubernetes(global, args).await,
        Some(ExecutorCommand::One(args)) => service::one(global, args).await,
        None => service::executor(global, args).await,
    }
}

/// Does it once.
pub(crate) async fn once(cli: &Cli) -> Outcome {
    let Cli { global, command } = cli;
    let plain = || Context::new(global, Flags::new());
    match command {
        Command::Standalone(args) => standalone::run(global, args).await,
        Command::Scheduler(args) => service::scheduler(global, args).await,
        Command::Executor(args) => executor(global, args).await,
        Command::Triggerer(args) => service::triggerer(global, args).await,
        Command::Processor(args) => service::processor(global, args).await,
        Command::Ui(args) => service::ui(global, args).await,
        Command::Alerting(args) => service::alerting(global, args).await,
        Command::Alerts(command) => alerts::run(&plain()?, command).await,
        Command::Dags(DagsCommand::List(args)) => dags::list(&plain()?, args).await,
        Command::Dags(DagsCommand::Show(args)) => dags::show(&plain()?, args).await,
        Command::Dags(DagsCommand::Test(args)) => dags::test(global, args).await,
        Command::Dags(DagsCommand::Pause(args)) => dags::pause(&plain()?, args).await,
        Command::Dags(DagsCommand::Unpause(args)) => dags::unpause(&plain()?, args).await,
        Command::Dags(DagsCommand::NextExecution(args)) => {
            dags::next_execution(&plain()?, args).await
        }
        Command::Dags(DagsCommand::Reschedule(args)) => dags::reschedule(&plain()?, args).await,
        Command::Dags(DagsCommand::Delete(args)) => dags::delete(&plain()?, args).await,
        Command::Dags(DagsCommand::Errors) => dags::errors(&plain()?).await,
        Command::Dags(DagsCommand::Trigger(args)) => dags::trigger(&plain()?, args).await,
        Command::Runs(RunsCommand::List(args)) => runs::list(&plain()?, args).await,
        Command::Runs(RunsCommand::Show(args)) => runs::show(&plain()?, args).await,
        Command::Status => status::run(&plain()?).await,
        Command::Init(args) => init::run(&plain()?, args),
        Command::Config(command) => config::run(&plain()?, command),
        Command::Explain(args) => explain::explain(&plain()?, args),
        Command::Completion(args) => Ok(completion(args)),
        Command::Runs(RunsCommand::Why(args)) => runs::why(&plain()?, args).await,
        Command::Runs(RunsCommand::Logs(args)) => tasks::of_run(&plain()?, args).await,
        Command::Runs(RunsCommand::Retry(args)) => runs::clear(&plain()?, &args.as_clear()).await,
        Command::Runs(RunsCommand::Wait(args)) => runs::wait(&plain()?, args).await,
        Command::Runs(RunsCommand::Cancel(args)) => runs::cancel(&plain()?, args).await,
        Command::Runs(RunsCommand::Mark(args)) => runs::mark(&plain()?, args).await,
        Command::Runs(RunsCommand::Note(args)) => runs::note(&plain()?, args).await,
        Command::Runs(RunsCommand::Clear(args)) => runs::clear(&plain()?, args).await,
        Command::Runs(RunsCommand::Callbacks(args)) => runs::callbacks(&plain()?, args).await,
        Command::Runs(RunsCommand::Delete(args)) => runs::delete(&plain()?, args).await,
        Command::Tasks(command) => of_tasks(&plain()?, command).await,
        Command::Xcom(command) => xcoms::show(&plain()?, &command.as_xcoms()).await,
        Command::Namespaces(command) => namespaces::run(global, command).await,
        Command::Man(args) => man::run(&plain()?, args),
        Command::Backfill(command) => backfill::run(&plain()?, command).await,
        Command::Providers(command) => providers::run(&plain()?, command).await,
        Command::Dags(DagsCommand::Check(args)) => dags::check(&plain()?, args).await,
        Command::Executors(command) => executors::run(&plain()?, command).await,
        Command::Metrics(command) => metrics::run(&plain()?, command).await,
        Command::Pools(command) => pools::run(&plain()?, command).await,
        Command::Connections(command) => connections::run(&plain()?, command).await,
        Command::Variables(command) => variables::run(&plain()?, command).await,
        Command::Secrets(command) => secrets::run(&plain()?, command).await,
        Command::Hitl(command) => hitl::run(&plain()?, command).await,
        Command::Why(args) => why::why(&plain()?, args).await,
        Command::Prune(args) => prune::run(&plain()?, args).await,
        Command::Backup(args) => backup::run(global, args).await,
        Command::Restore(args) => backup::restore(global, args).await,
        Command::Archive(ArchiveCommand::Verify(args)) => archive::verify(global, args).await,
        Command::Events(args) => events::run(&plain()?, args).await,
        Command::Doctor(args) => doctor::run(global, args).await,
        Command::Version => version::run(&plain()?).await,
    }
}

/// `dagbok tasks …`.
async fn of_tasks(context: &Context, command: &TasksCommand) -> Outcome {
    match command {
        TasksCommand::List(args) => tasks::list(context, args).await,
        TasksCommand::Mark(args) => runs::mark_task(context, args).await,
        TasksCommand::Note(args) => runs::note_task(context, args).await,
        TasksCommand::Render(args) => alone::render(context, args).await,
        TasksCommand::Test(args) => alone::test(context, args).await,
        TasksCommand::Logs(args) => tasks::logs(context, args).await,
        TasksCommand::Usage(args) => tasks::usage(context, args).await,
        TasksCommand::Why(args) => why::task(context, args).await,
        TasksCommand::Xcoms(args) => xcoms::show(context, args).await,
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
