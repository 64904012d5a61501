//! Reads of the keyed state that believe a miss only where the state is whole.
//!
//! A state that was lost is filled again by the scheduler that leads next. Until it has, a key that is not there may
//! come yet: whoever takes it for one that never was goes on with nothing. The scheduler writes [`names::PROTOCOL`] last.
use dagbok_protocol::names;
use dagbok_runlog::{KeyedState, PortError, PortResult, Versioned};

/// A key's value; `None` where there surely is none. [`PortError::Unavailable`] where nobody can tell yet.
pub async fn get(state: &dyn KeyedState, key: &str) -> PortResult<Option<Versioned>> {
    let found = state.get(key).await?;
    if found.is_some() {
        return Ok(found);
    }
    // It may have been filled since: what it misses once it is whole is not there.
    let before = mark(state).await?;
    let found = state.get(key).await?;
    if found.is_none() {
        stands(state, before).await?;
    }
    Ok(found)
}

/// Every key that begins with `prefix`, with its value. [`PortError::Unavailable`] where some may come yet.
pub async fn list(state: &dyn KeyedState, prefix: &str) -> PortResult<Vec<(String, Versioned)>> {
    let before = mark(state).await?;
    let found = state.list(prefix).await?;
    stands(state, before).await?;
    Ok(found)
}

/// The revision of what is written last.
async fn mark(state: &dyn KeyedState) -> PortResult<u64> {
    let found = state.get(names::PROTOCOL).await?;
    found.map(|found| found.revision).ok_or_else(unfilled)
}

/// A state that was lost in between has another mark, or none.
async fn stands(state: &dyn KeyedState, before: u64) -> PortResult<()> {
    if mark(state).await? == before { Ok(()) } else { Err(unfilled()) }
}

fn unfilled() -> PortError {
    PortError::unavailable("state", "it is not whole: no scheduler has filled it since it was made")
}

#[cfg(test)]
mod tests {
    use dagbok_runlog::memory;

    use super::*;

    #[tokio::test]
    async fn a_miss_is_believed_once_the_state_is_filled() {
        let state = memory::ports().state;
        assert!(matches!(get(&*state, "k").await, Err(PortError::Unavailable { .. })));
        assert!(matches!(list(&*state, "k").await, Err(PortError::Unavailable { .. })));
        state.put("k", "1".into(), None).await.unwrap();
        assert_eq!(get(&*state, "k").await.unwrap().unwrap().value, "1", "what is there is there");
        assert!(list(&*state, "k").await.is_err(), "more may come");
        state.put(names::PROTOCOL, "2".into(), None).await.unwrap();
        assert_eq!(get(&*state, "other").await.unwrap(), None);
        assert_eq!(list(&*state, "k").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_state_that_was_filled_anew_in_between_is_read_again() {
        let state = memory::ports().state;
        state.put(names::PROTOCOL, "2".into(), None).await.unwrap();
        let before = mark(&*state).await.unwrap();
        stands(&*state, before).await.unwrap();
        state.put(names::PROTOCOL, "2".into(), None).await.unwrap();
        assert!(stands(&*state, before).await.is_err());
    }
}
