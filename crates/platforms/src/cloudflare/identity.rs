//! Who the nodes are, as it is on this machine: the tokens and credentials that [`windlass_nats::authority`] has made.

use super::edge::Identity;
use super::ledger;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use windlass_engine::wanted::{self, EDGE, OUTBOX, main_account};
use windlass_fleet::Fleet;
use windlass_nats::jwt;
use windlass_nats::keys::SYSTEM_ACCOUNT;

fn token(path: &Path) -> Option<(String, String)> {
    let token = std::fs::read_to_string(path).ok()?.trim().to_owned();
    let subject = jwt::decode(&token).ok()?.subject;
    Some((subject, token))
}

fn account(directory: &Path, name: &str) -> Option<(String, String)> {
    token(&directory.join("jwt").join("accounts").join(format!("{name}.jwt")))
}

fn creds_file(directory: &Path, fleet: &Fleet, user: &str) -> PathBuf {
    directory.join("creds").join(main_account(fleet)).join(format!("{user}.creds"))
}

/// The nodes' credentials for the hub.
pub(super) fn leaf_creds(directory: &Path, fleet: &Fleet) -> PathBuf {
    creds_file(directory, fleet, EDGE)
}

/// The credentials with which events are published into the hub.
pub(super) fn hub_creds(directory: &Path, fleet: &Fleet) -> PathBuf {
    creds_file(directory, fleet, OUTBOX)
}

/// What of it was not made yet, or the identity. A node knows the account that joins the hub and those that it imports
/// from; others have no way from there.
pub(super) fn read(directory: &Path, fleet: &Fleet) -> Result<Identity, String> {
    let missing = |what: &str| what.to_owned();
    let (_, operator) =
        token(&directory.join("jwt").join("operator.jwt")).ok_or_else(|| missing("the operator"))?;
    let (system_account, system_token) =
        account(directory, SYSTEM_ACCOUNT).ok_or_else(|| missing("the system account"))?;
    let joined = main_account(fleet);
    let mut accounts = BTreeMap::from([(system_account.clone(), system_token)]);
    let mut names = vec![joined];
    let imports = fleet.accounts.get(joined).into_iter().flat_map(|account| &account.imports);
    names.extend(imports.map(|import| import.account.as_str()));
    let known = wanted::accounts(fleet);
    for name in names.into_iter().filter(|name| known.contains(name)) {
        let (key, token) = account(directory, name).ok_or_else(|| format!("the account {name}"))?;
        accounts.insert(key, token);
    }
    let (account, _) = account(directory, joined).ok_or_else(|| format!("the account {joined}"))?;
    let creds = std::fs::read_to_string(leaf_creds(directory, fleet))
        .map_err(|_| format!("the user {joined}/{EDGE}"))?;
    Ok(Identity { operator, system_account, accounts, account, creds: ledger::digest("LEAF_CREDS", &creds) })
}
