//! Why a try that an executor took up has not begun there, as that executor says in its presence: what a cluster says of a
//! pod. Presences are of now alone, so the past knows nothing of it.
use dagbok_protocol::HeldTry;

use super::{super::executors::present, text::new};
use crate::{
    api::state::ApiState,
    shapes::{WhyAnswer, WhyPiece, WhyReason},
};

/// Adds it to whatever is queued. Where presences can't be read nothing is added.
pub(super) async fn say(state: &ApiState, told: &mut WhyAnswer) {
    if !is_queued(&told.is) && !told.roots.iter().any(is_queued) {
        return;
    }
    let presences = match present(state).await {
        Ok(presences) => presences,
        Err(error) => {
            tracing::debug!(%error, "why tries have not begun can't be read");
            return;
        }
    };
    let (dag, run) = (told.dag_id.clone(), told.dag_run_id.clone());
    let is_of = |held: &HeldTry, piece: &WhyPiece| {
        let HeldTry { key, .. } = held;
        key.dag_id.as_str() == dag
            && Some(key.run_id.as_str()) == run.as_deref()
            && Some(key.task_id.as_str()) == piece.task_id.as_deref()
            && key.map_index.0 == piece.map_index
            && Some(key.try_number.get()) == piece.try_number
    };
    let reason = |piece: &WhyPiece| {
        presences.values().find_map(|presence| {
            let held = presence.holds.iter().find(|held| is_of(held, piece))?;
            let message =
                format!("{} has it, and waits: {}", presence.executor, held.waits.as_ref()?);
            Some(WhyReason { name: Some(presence.executor.to_string()), ..new("held", message) })
        })
    };
    if let Some(found) = take(&mut told.is, reason) {
        told.message = format!("{}; {found}", told.message);
    }
    for root in &mut told.roots {
        take(root, reason);
    }
}

fn is_queued(piece: &WhyPiece) -> bool {
    piece.state == "queued"
}

/// Puts the reason first; returns its words.
fn take(piece: &mut WhyPiece, of: impl Fn(&WhyPiece) -> Option<WhyReason>) -> Option<String> {
    let reason = is_queued(piece).then(|| of(piece)).flatten()?;
    let message = reason.message.clone();
    piece.reasons.insert(0, reason);
    Some(message)
}
