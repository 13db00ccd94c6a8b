use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret as _, SecretString};

use super::*;
use crate::creds;
use crate::keys::Kind;

const THEN: i64 = 1_790_000_000;

fn key(kind: Kind, byte: u8) -> Key {
    let nkey = match kind {
        Kind::Operator => KeyPairType::Operator,
        Kind::Account => KeyPairType::Account,
        Kind::User => KeyPairType::User,
    };
    let seed = KeyPair::new_from_raw(nkey, [byte; 32]).unwrap().seed().unwrap();
    Key::from_seed(kind, &SecretString::from(seed)).unwrap()
}

fn golden(name: &str, token: &str) {
    crate::config::tests::golden_json(name, &decode(token).unwrap().claims);
}

fn operator_token() -> String {
    let claims = OperatorClaims {
        name: "acme".to_owned(),
        signing_keys: vec![key(Kind::Operator, 2).public().to_owned()],
        system_account: Some(key(Kind::Account, 3).public().to_owned()),
    };
    operator(&claims, &key(Kind::Operator, 1), THEN).unwrap()
}

fn user_token(permissions: Permissions) -> String {
    let claims = UserClaims {
        name: "receiver".to_owned(),
        account: key(Kind::Account, 4).public().to_owned(),
        permissions,
        ..UserClaims::default()
    };
    user(&claims, key(Kind::User, 6).public(), &key(Kind::Account, 5), THEN).unwrap()
}

#[test]
fn operator_claims() {
    golden("operator.json", &operator_token());
}

#[test]
fn account_claims() {
    let mut claims = AccountClaims {
        name: "GITHUB".to_owned(),
        jetstream: Some(JetStreamLimits::default()),
        signing_keys: vec![key(Kind::Account, 5).public().to_owned()],
        ..AccountClaims::default()
    };
    let signer = key(Kind::Operator, 2);
    let subject = key(Kind::Account, 4);
    golden("account.json", &account(&claims, subject.public(), &signer, THEN).unwrap());
    claims.name = "SYS".to_owned();
    claims.jetstream = None;
    claims.exports.push(Export { subject: "rates.>".to_owned(), r#type: Exchange::Stream });
    claims.imports.push(Import {
        subject: "quote".to_owned(),
        account: key(Kind::Account, 7).public().to_owned(),
        local_subject: Some("shop.quote".to_owned()),
        r#type: Exchange::Service,
    });
    claims.limits.connections = Some(0);
    claims.revocations.insert(key(Kind::User, 6).public().to_owned(), THEN);
    let system = account(&claims, subject.public(), &signer, THEN).unwrap();
    golden("account-system.json", &system);
}

#[test]
fn user_claims_and_credentials() {
    let permissions = Permissions {
        publish: Access::only(["github.>", "$JS.API.INFO"]),
        subscribe: Access::Only { allow: vec!["_INBOX.>".to_owned()], except: vec!["_INBOX.x.>".to_owned()] },
        responses: true,
    };
    let token = user_token(permissions);
    golden("user.json", &token);
    let receiver = key(Kind::User, 6);
    let text = creds::render(&token, &receiver).unwrap();
    let seed = receiver.seed().unwrap();
    assert!(text.expose_secret().contains(seed.expose_secret()));
    // The golden file holds no seed, not even one made for a test.
    let masked = text.expose_secret().replace(seed.expose_secret(), "<seed>");
    crate::config::tests::golden("user.creds", &masked);
    assert_eq!(creds::token(text.expose_secret()), Some(token.as_str()));
}

#[test]
fn nothing_allowed_is_written_as_everything_denied() {
    let claims = decode(&user_token(Permissions::default())).unwrap().claims;
    assert_eq!(claims["nats"]["pub"], serde_json::json!({"deny": [">"]}));
    assert_eq!(claims["nats"]["sub"], serde_json::json!({"deny": [">"]}));
    let claims = decode(&user_token(Permissions::everything())).unwrap().claims;
    assert_eq!(claims["nats"]["pub"], serde_json::json!({}));
    assert!(claims["nats"].get("bearer_token").is_none());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(operator_token(), operator_token());
}

#[test]
fn a_token_is_kept_until_its_claims_change() {
    let issue = |name: &str, at: i64| {
        let claims = OperatorClaims { name: name.to_owned(), ..OperatorClaims::default() };
        operator(&claims, &key(Kind::Operator, 1), at)
    };
    let first = renew(None, THEN, |at| issue("acme", at)).unwrap();
    assert_eq!(renew(Some(&first), THEN + 9, |at| issue("acme", at)).unwrap(), first);
    let second = renew(Some(&first), THEN + 9, |at| issue("other", at)).unwrap();
    assert_eq!(decode(&second).unwrap().issued_at, THEN + 9);
    for damaged in ["", "a.b.c", &first[..first.len() - 4]] {
        let renewed = renew(Some(damaged), THEN + 9, |at| issue("acme", at)).unwrap();
        assert_eq!(decode(&renewed).unwrap().issued_at, THEN + 9);
    }
}

#[test]
fn a_changed_token_does_not_verify() {
    let token = operator_token();
    let parts: Vec<&str> = token.split('.').collect();
    let claims = String::from_utf8(BASE64URL_NOPAD.decode(parts[1].as_bytes()).unwrap()).unwrap();
    let forged = BASE64URL_NOPAD.encode(claims.replace("acme", "evil").as_bytes());
    assert!(decode(&format!("{}.{forged}.{}", parts[0], parts[2])).is_err());
    let unsigned = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"none"}"#);
    assert!(decode(&format!("{unsigned}.{}.", parts[1])).is_err());
}
