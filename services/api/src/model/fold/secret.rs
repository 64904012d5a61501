//! What facts about variables and connections change.
use dagbok_events::{ConnectionSet, Fact, Sealed, SecretsRewrapped, VariableSet};
use dagbok_rows::key::table;

use super::Context;
use crate::model::{
    Overlay, StoreError, keys,
    rows::{ConnectionRow, VariableRow},
};

/// Such a fact; any other changes nothing.
pub(super) fn about(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &Fact,
) -> Result<(), StoreError> {
    match fact {
        Fact::VariableSet(fact) => {
            let VariableSet { key, description, sealed } = (**fact).clone();
            let (set_at, set_by) = (context.at, context.by.clone());
            let row = VariableRow { key, description, sealed, set_at, set_by };
            rows.put(keys::variable(&row.key), Some(row));
        }
        Fact::VariableDeleted(fact) => rows.put::<VariableRow>(keys::variable(&fact.key), None),
        Fact::ConnectionSet(fact) => {
            let ConnectionSet { conn_id, conn_type, description, sealed } = (**fact).clone();
            let (set_at, set_by) = (context.at, context.by.clone());
            let row = ConnectionRow { conn_id, conn_type, description, sealed, set_at, set_by };
            rows.put(keys::connection(&row.conn_id), Some(row));
        }
        Fact::ConnectionDeleted(fact) => {
            rows.put::<ConnectionRow>(keys::connection(&fact.conn_id), None);
        }
        Fact::SecretsRewrapped(fact) => rewrapped(rows, fact)?,
        _ => {}
    }
    Ok(())
}

/// Keys are wrapped anew all together and seldom, so the rows are looked through.
fn rewrapped(rows: &mut Overlay<'_>, fact: &SecretsRewrapped) -> Result<(), StoreError> {
    let wrap = |sealed: &mut Sealed| {
        if let Some(new) = fact.keys.iter().find(|key| key.id == sealed.id) {
            sealed.master.clone_from(&fact.master);
            sealed.key.clone_from(&new.key);
        }
    };
    for key in rows.keys_within::<VariableRow>(&table::<VariableRow>())? {
        if let Some(row) = rows.edit::<VariableRow>(key)? {
            wrap(&mut row.sealed);
        }
    }
    for key in rows.keys_within::<ConnectionRow>(&table::<ConnectionRow>())? {
        if let Some(row) = rows.edit::<ConnectionRow>(key)? {
            wrap(&mut row.sealed);
        }
    }
    Ok(())
}
