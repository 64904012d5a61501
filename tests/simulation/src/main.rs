//! The long round: as many seeds as you have patience for.
use std::time::Instant;

use clap::Parser;
use dagbok_simulation::run_seeds;

/// Plays the whole orchestrator under virtual time, seed after seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

#[expect(clippy::print_stdout, reason = "the result is for whoever started it")]
fn main() -> anyhow::Result<()> {
    let Arguments { seeds, from } = Arguments::parse();
    let started = Instant::now();
    let seen = run_seeds(from, seeds)?;
    for (what, times) in &seen {
        println!("{times:>12}  {what}");
    }
    println!(
        "{seeds} seeds from {from} in {:.1} s, and all of them hold",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
