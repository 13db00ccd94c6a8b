//! What the receiver makes of a request's headers and body: no input may crash it, and whatever it accepts must be safe
//! to hand to NATS.
//!
//! The input's first lines are the content type, the event, the delivery, a signature and an enterprise host; the rest
//! is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_events::event::Event;
use windlass_events::headers::{Delivery, ENTERPRISE_HOST, Encoding, KEPT};
use windlass_events::signature::{Keys, Signature, sign};
use windlass_events::subject::decode_token;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(6, |&byte| byte == b'\n');
    let mut line = || parts.next().unwrap_or_default();
    let (content_type, event, id, signature, host, body) = (line(), line(), line(), line(), line(), line());

    let keys = Keys::new(&["fuzz".into()]);
    if let Ok(signature) = Signature::parse(Some(signature)) {
        assert!(keys.verify(&signature, body).is_err() || sign(b"fuzz", body).len() == 71);
    }
    let good = Signature::parse(Some(sign(b"fuzz", body).as_bytes())).expect("our own signature has the right form");
    assert!(keys.verify(&good, body).is_ok());

    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(content_type), Some(event), Some(id)) = (text(content_type), text(event), text(id)) else { return };
    let Some(encoding) = Encoding::parse(content_type) else { return };
    // HTTP has no header value with control bytes in it.
    let host = text(host).filter(|host| host.bytes().all(|byte| byte >= b' ' && byte != 0x7f));
    let kept = KEPT.map(|name| host.filter(|_| name == ENTERPRISE_HOST));
    // The receiver checks these two before anything else; anything else is not asked of the rest.
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !is_name(event) || !is_name(id) || event.len() > 64 {
        return;
    }
    let delivery = Delivery { id, event, encoding, kept };
    let received = jiff::Timestamp::UNIX_EPOCH;
    let Ok(stored) = Event::new("github", &delivery, body.to_vec().into(), received) else { return };

    let tokens: Vec<&str> = stored.subject.split('.').collect();
    assert_eq!(tokens.len(), 5, "{}", stored.subject);
    assert!(stored.subject.len() < 1200);
    for token in &tokens {
        assert!(!token.is_empty() && !token.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"*>".contains(&byte)));
        assert!(*token == "-" || decode_token(token).is_some(), "{token}");
    }
    assert_eq!(stored.body, body);
    for (name, value) in &stored.headers {
        assert!(!value.bytes().any(|byte| byte == b'\r' || byte == b'\n'), "{name}: {value}");
    }
});
