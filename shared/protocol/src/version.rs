//! Which version of the protocol is spoken, and which others are understood.

/// The version that this build speaks: 1 knew no cordons, labels or versions. Raise it where an executor must do
/// something that one of the version before does not.
pub const PROTOCOL: u32 = 2;

/// The version of who says none.
pub const FIRST_PROTOCOL: u32 = 1;

/// How far apart two may be that work together.
const APART: u32 = 1;

/// Whether an executor of a version and a scheduler of another work together: the same, or apart by one. Else why not,
/// for people on both sides.
pub fn understands(executor: Option<u32>, scheduler: Option<u32>) -> Result<(), String> {
    let (executor, scheduler) =
        (executor.unwrap_or(FIRST_PROTOCOL), scheduler.unwrap_or(FIRST_PROTOCOL));
    if executor.abs_diff(scheduler) <= APART {
        return Ok(());
    }
    let older = if executor < scheduler { "executor" } else { "scheduler" };
    Err(format!(
        "the executor speaks version {executor} of the protocol and the scheduler version {scheduler}: they work \
         together where they are apart by one at most; put a newer Dagbok where the {older} runs"
    ))
}

#[cfg(test)]
mod tests {
    use super::understands;

    #[test]
    fn older_and_newer_by_one_work_and_further_is_refused_by_name() {
        for (executor, scheduler) in [(2, 2), (2, 3), (3, 2), (7, 8)] {
            assert_eq!(understands(Some(executor), Some(scheduler)), Ok(()));
        }
        assert_eq!(understands(None, Some(2)), Ok(()), "who says nothing speaks the first");
        let older = understands(Some(2), Some(4)).unwrap_err();
        assert!(older.contains("version 2") && older.contains("version 4"), "{older}");
        assert!(older.ends_with("where the executor runs"), "{older}");
        assert!(understands(Some(4), None).unwrap_err().ends_with("where the scheduler runs"));
    }
}
