//! Measures what can be measured without Python, one figure a command, printed as JSON on one line.
//! `tests/bench/run.py` runs them all beside the ones that need the whole installation.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
mod alerts;
mod appender;
mod day;
mod decide;
mod history;
mod jetstream;
mod lists;
mod mapped;
mod minutely;
mod past;
mod replay;
mod runs;
mod scrape;
mod script;
mod shapes;
mod waiting;
mod year;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use shapes::Shape;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The figures of the core.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Alerting: its fold, what open alerts take up, its start, and how long a fact takes to reach somebody.
    Alerts {
        /// Records of the run log that are folded.
        #[arg(long, default_value_t = 200_000)]
        records: usize,
        /// Open alerts.
        #[arg(long, default_value_t = 10_000)]
        open: u64,
        /// Records of the alert log.
        #[arg(long, default_value_t = 1_000_000)]
        log: u64,
        /// Failures, one after the other.
        #[arg(long, default_value_t = 300)]
        pages: u32,
    },
    /// Decide and evolve one run of so many tasks in memory.
    Decide {
        /// Tasks of the run.
        #[arg(long, default_value_t = 1_000)]
        tasks: usize,
        /// How they hang together.
        #[arg(long, value_enum, default_value_t = Shape::Fan)]
        shape: Shape,
        /// Tasks that may be offered at a time (the DAG's `max_active_tasks`).
        #[arg(long, default_value_t = u32::MAX)]
        at_once: u32,
    },
    /// The longest single decisions on a run of so many tasks, in memory.
    Longest {
        /// Tasks of the run.
        #[arg(long, default_value_t = 10_000)]
        tasks: usize,
    },
    /// One decision while ever more tasks and runs wait, in memory.
    Waiting {
        /// Tasks that wait, from few to many; a tenth as many runs wait for their turn.
        #[arg(long, value_delimiter = ',', default_values_t = [0, 10_000, 100_000])]
        waiting: Vec<usize>,
    },
    /// A day's tries: by the rules alone, and at a day's pace on the embedded log.
    Day {
        /// Tries of a day.
        #[arg(long, default_value_t = 1_000_000)]
        tries: usize,
        /// How long the scheduler is watched.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// One run of ever more tasks, in memory: what each task costs.
    Sizes {
        /// Tasks of the run, from few to many.
        #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000, 20_000])]
        tasks: Vec<usize>,
        /// How they hang together.
        #[arg(long, value_enum, default_value_t = Shape::Fan)]
        shape: Shape,
    },
    /// DAGs with a minute schedule through virtual time, in memory.
    Minutely {
        /// How many, from few to many.
        #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
        dags: Vec<usize>,
        /// Minutes.
        #[arg(long, default_value_t = 90)]
        minutes: i64,
    },
    /// Write a history of so many records into a home, as real runs would have left it.
    Fill {
        /// The home.
        home: PathBuf,
        /// Records, at least.
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
        /// DAGs that the runs are of.
        #[arg(long, default_value_t = 100)]
        dags: usize,
    },
    /// Fold the whole log of a home.
    Replay {
        /// The home.
        home: PathBuf,
    },
    /// Lists over read models of ever more finished runs.
    Lists {
        /// Finished runs, from few to many.
        #[arg(long, value_delimiter = ',', default_values_t = [0, 10_000, 100_000, 1_000_000])]
        runs: Vec<u64>,
        /// DAGs that they are of.
        #[arg(long, default_value_t = 100)]
        dags: u64,
    },
    /// Commands about runs that are over, on logs of ever more of them.
    Past {
        /// Finished runs, from few to many; two records each.
        #[arg(long, value_delimiter = ',', default_values_t = [0, 50_000, 500_000])]
        runs: Vec<u64>,
    },
    /// One look at the figures of the log, with many DAGs.
    Scrape {
        /// DAGs.
        #[arg(long, default_value_t = 10_000)]
        dags: usize,
    },
    /// Runs of ever more copies of one task: how long they take, what they take up, what others feel of it.
    Mapped {
        /// Copies, from few to many.
        #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
        copies: Vec<u32>,
    },
    /// Write days of hourly DAGs into a home, with snapshots, an archive and runs that go, in virtual time.
    YearFill {
        /// The home.
        home: PathBuf,
        /// Hourly DAGs.
        #[arg(long, default_value_t = 1_000)]
        dags: u64,
        /// Days.
        #[arg(long, default_value_t = 365)]
        days: u64,
        /// Days that records stay in the log.
        #[arg(long, default_value_t = 30)]
        log_days: u64,
        /// Days that runs stay.
        #[arg(long, default_value_t = 365)]
        run_days: u64,
    },
    /// Start on such a home, and ask the lists.
    YearStart {
        /// The home.
        home: PathBuf,
    },
    /// The scheduler over a real nats-server, with an executor that does nothing.
    Jetstream {
        /// The server.
        #[arg(long)]
        nats: String,
        /// Tasks, over all runs.
        #[arg(long, default_value_t = 20_000)]
        tasks: usize,
        /// Tasks of one run, side by side.
        #[arg(long, default_value_t = 500)]
        width: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let figures = match Args::parse().what {
        What::Alerts { records, open, log, pages } => {
            alerts::measure(records, open, log, pages).await?
        }
        What::Decide { tasks, shape, at_once } => decide::measure(shape, tasks, at_once),
        What::Sizes { tasks, shape } => decide::sizes(shape, &tasks),
        What::Day { tries, seconds } => day::measure(tries, seconds).await?,
        What::Longest { tasks } => decide::longest(tasks),
        What::Waiting { waiting } => waiting::measure(&waiting),
        What::Minutely { dags, minutes } => minutely::measure(&dags, minutes)?,
        What::Fill { home, records, dags } => history::fill(&home, records, dags).await?,
        What::Replay { home } => replay::measure(&home).await?,
        What::YearFill { home, dags, days, log_days, run_days } => {
            year::fill(&home, (dags, days), (log_days, run_days)).await?
        }
        What::YearStart { home } => year::start(&home).await?,
        What::Lists { runs, dags } => lists::measure(&runs, dags).await?,
        What::Past { runs } => past::measure(&runs).await?,
        What::Scrape { dags } => scrape::measure(dags)?,
        What::Mapped { copies } => mapped::measure(&copies).await?,
        What::Jetstream { nats, tasks, width } => {
            Box::pin(jetstream::measure(&nats, tasks, width)).await?
        }
    };
    println!("{figures}");
    Ok(())
}
