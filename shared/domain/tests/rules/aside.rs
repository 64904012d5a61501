//! What fits into no record is left out of the plan, and nothing waits behind it.
use dagbok_domain::namespace::Proposal;

use super::support::*;

#[test]
fn a_run_that_can_t_be_timed_out_holds_nothing_else_up() {
    let mut slow = dag("slow").task("a", &[]);
    slow.dagrun_timeout = Some(secs(60));
    let mut world = World::with([slow, dag("other").task("b", &[])]);
    world.trigger("slow");
    world.settle();
    let key = world.offered()[0].clone();
    world.now = world.now.plus(secs(61));
    world.trigger("other");
    let is_timeout = |it: &Proposal| matches!(it, Proposal::TimeOutRun(_));
    let planned = world.namespace.plan(world.now);
    assert!(planned.iter().all(is_timeout) && planned.len() == 1, "{planned:?}");
    world.namespace.set_aside(&planned[0]);
    let planned = world.namespace.plan(world.now);
    assert!(!planned.is_empty() && !planned.iter().any(is_timeout), "{planned:?}");
    // What the log says of the run may have made it short enough.
    world.start("e1", &key);
    let planned = world.namespace.plan(world.now);
    assert!(planned.iter().all(is_timeout) && planned.len() == 1, "{planned:?}");
}
