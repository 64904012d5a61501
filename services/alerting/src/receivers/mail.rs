//! Mailboxes, by SMTP.
use std::time::Duration;

use dagbok_alerts::{Answered, Message, Purpose, Rule};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor,
    address::Address,
    message::{Mailbox, Mailboxes, MultiPart},
    transport::smtp::authentication::Credentials,
};

use super::token;
use crate::config::{Mail, MailTls};

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Mailboxes of a DAG's file that are told at most.
const NAMED: usize = 20;

/// Whether mail can be sent to or from `address`.
pub(crate) fn is_mailbox(address: &str) -> bool {
    address.parse::<Mailbox>().is_ok()
}

pub(super) async fn send(mail: &Mail, name: &str, message: &Message) -> Answered {
    let built = transport(mail).and_then(|transport| Ok((transport, letter(mail, name, message)?)));
    let (transport, letter) = match built {
        Ok(built) => built,
        Err(why) => return Answered::Rejected { status: None, why },
    };
    match transport.send(letter).await {
        Ok(answer) => {
            let said: String = answer.message().collect::<Vec<_>>().join(" ");
            let provider_id = Some(said).filter(|said| !said.is_empty());
            Answered::Accepted { status: Some(u16::from(answer.code())), provider_id }
        }
        Err(error) => {
            let status = error.status().map(u16::from);
            let why = text_of(&error);
            if error.is_permanent() {
                Answered::Rejected { status, why }
            } else {
                Answered::Failed { status, why, retry_after: None }
            }
        }
    }
}

fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

fn transport(mail: &Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    type Smtp = AsyncSmtpTransport<Tokio1Executor>;
    let wrong = |error: lettre::transport::smtp::Error| text_of(&error);
    let builder = match mail.tls {
        MailTls::Starttls => Smtp::starttls_relay(&mail.host).map_err(wrong)?,
        MailTls::Tls => Smtp::relay(&mail.host).map_err(wrong)?,
        MailTls::None => Smtp::builder_dangerous(&mail.host),
    };
    let builder = builder.port(mail.port).timeout(Some(PATIENCE));
    let login = mail.login.as_ref();
    let builder = match login {
        Some((user, password)) => {
            builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()))
        }
        None => builder,
    };
    Ok(builder.build())
}

/// One letter; all about one alert stand in one thread.
fn letter(mail: &Mail, name: &str, message: &Message) -> Result<lettre::Message, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("no mail can be made of it: {error}");
    let from: Mailbox =
        mail.from.parse().map_err(|error: lettre::address::AddressError| wrong(&error))?;
    let to: Result<Vec<Mailbox>, _> = mail.to.iter().map(|to| to.parse::<Mailbox>()).collect();
    let mut to = to.map_err(|error| wrong(&error))?;
    let named = message.labels.get("email").filter(|_| mail.dag_email);
    if message.labels.get("rule").is_some_and(|rule| rule == Rule::TaskRetried.word()) {
        // That is for its author alone.
        to.clear();
    }
    for mailbox in named.into_iter().flat_map(|named| named.split(',')).take(NAMED) {
        // What the DAG's author wrote is no reason not to tell the others.
        match mailbox.parse::<Mailbox>() {
            Ok(mailbox) if to.iter().all(|it| it.email != mailbox.email) => to.push(mailbox),
            Ok(_) => {}
            Err(error) => tracing::warn!(mailbox, %error, "a DAG's file names what is no mailbox"),
        }
    }
    if to.is_empty() {
        return Err("no mail can be made of it: it names no mailbox".to_owned());
    }
    let to: Mailboxes = to.into_iter().collect();
    let domain = domain(&from.email);
    let thread = format!("<{}@{domain}>", message.dedup_key);
    let id = if message.purpose == Purpose::Trigger {
        format!("<{}.{}@{domain}>", message.dedup_key, token(name))
    } else {
        format!("<{}@{domain}>", token(name))
    };
    lettre::Message::builder()
        .from(from)
        .mailbox(lettre::message::header::To::from(to))
        .subject(message.title.as_str())
        .message_id(Some(id))
        .in_reply_to(thread.clone())
        .references(thread)
        .multipart(MultiPart::alternative_plain_html(message.text_with_link(), html(message)))
        .map_err(|error| wrong(&error))
}

/// The same as a page: what to do on top, then all that is said, line by line. Nothing in it is fetched from anywhere.
fn html(message: &Message) -> String {
    let button = |link: &String, text: &str| {
        format!(r#"<a href="{}" style="{BUTTON}">{text}</a> "#, escaped(link))
    };
    let take = message.acknowledge.as_ref().map(|link| button(link, "Acknowledge"));
    let look = message.link.as_ref().map(|link| button(link, "Look at it"));
    let read = message.runbook.as_ref().map(|link| button(link, "Runbook"));
    let buttons: String = take.into_iter().chain(look).chain(read).collect();
    let rest = message.text.strip_prefix(&message.title).unwrap_or(&message.text);
    let lines: Vec<String> = rest.trim().lines().map(escaped).collect();
    let lines = lines.join("<br>\n");
    format!(
        "<!doctype html>\n<html><body style=\"font-family: sans-serif\">\n<h3>{}</h3>\n<p>{buttons}</p>\n<p>{lines}</p>\n</body></html>\n",
        escaped(&message.title)
    )
}

/// How a link looks that is to be pressed.
const BUTTON: &str = "display: inline-block; padding: 8px 16px; border: 1px solid #444; border-radius: 4px; color: #111; text-decoration: none";

/// Text as it stands in a page, be it in an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn domain(address: &Address) -> String {
    address.domain().to_owned()
}
