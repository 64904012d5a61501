//! Deliveries that one process passes on to another by their address: where the server wants to hear of them. It names the
//! stream and the item's place in it, so that whoever has it can read the item there, renew its lease and acknowledge it.
use async_nats::{
    Message,
    jetstream::{message::StreamMessage, stream::RawMessage},
};
use dagbok_runlog::{PortError, PortResult};
use serde::Deserialize;
use serde_json::json;

use crate::{
    error::{AskError, MESSAGE_NOT_FOUND},
    link::Link,
};

/// What the address of a delivery begins with.
const ACK: &str = "$JS.ACK.";

/// The item at an address, as a pull would bring it; `None` where it is gone.
pub(crate) async fn message(
    link: &Link,
    stream: &str,
    address: &str,
) -> PortResult<Option<Message>> {
    #[derive(Deserialize)]
    struct Found {
        message: RawMessage,
    }
    let odd = |why: &str| PortError::Refused {
        what: "queue",
        why: format!("`{address}` is no address of a delivery of `{stream}`: {why}"),
    };
    let (of, sequence) = place(address).ok_or_else(|| odd("it has other parts"))?;
    if of != stream {
        return Err(odd("it is of another stream"));
    }
    let name = format!("STREAM.MSG.GET.{stream}");
    let raw = match link.api::<Found>(&name, &json!({ "seq": sequence })).await {
        Ok(Found { message }) => message,
        Err(error) if error.is(MESSAGE_NOT_FOUND) => return Ok(None),
        Err(error) => return Err(error.port("queue")),
    };
    let StreamMessage { subject, headers, payload, .. } = StreamMessage::try_from(raw)
        .map_err(|error| AskError::Other(error.to_string()).port("queue"))?;
    let length = payload.len();
    let reply = Some(address.into());
    let headers = Some(headers);
    Ok(Some(Message { subject, reply, payload, headers, status: None, description: None, length }))
}

/// The stream and the item's sequence. Newer servers put a domain and an account before the stream.
fn place(address: &str) -> Option<(&str, u64)> {
    let parts: Vec<&str> = address.strip_prefix(ACK)?.split('.').collect();
    let at = match parts.len() {
        7 => 0,
        9.. => 2,
        _ => return None,
    };
    Some((parts[at], parts[at + 3].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn an_address_names_the_stream_and_the_place() {
        let short = "$JS.ACK.dagbok_default_work.default.1.42.7.1700000000000000000.0";
        assert_eq!(place(short), Some(("dagbok_default_work", 42)));
        let long = "$JS.ACK.hub.abc.dagbok_default_work.default.1.42.7.1700000000000000000.0.x";
        assert_eq!(place(long), Some(("dagbok_default_work", 42)));
        for odd in ["", "$JS.ACK.", "$JS.ACK.a.b.c.d.e.f", "$JS.ACK.a.b.1.x.7.1.0", "a.b"] {
            assert_eq!(place(odd), None, "{odd}");
        }
    }
}
