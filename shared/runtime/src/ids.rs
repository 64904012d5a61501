//! Fresh ids.
use dagbok_events::CommandId;
use uuid::Uuid;

/// A UUIDv7 in text: unique, and sorted by time.
pub fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}

/// A fresh command id.
pub fn fresh_command_id() -> CommandId {
    CommandId::new(fresh_id()).expect("a UUID is within the rules")
}
