//! Looks whether a state and its history are sound, and changes nothing.

use crate::error::Error;
use crate::location::Place;
use crate::terraform::{self, Summary};
use bytes::Bytes;
use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is as it should be.
    Good,
    /// It is not wrong, and worth knowing.
    Note,
    /// It is wrong.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Of which workspace.
    pub workspace: String,
    /// What was looked at.
    pub what: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
}

/// How the content of a state is read: Terraform's, or another that has a serial and a lineage.
pub type Read<'a> = &'a (dyn Fn(&str, &Bytes) -> Result<Summary, Error> + Sync);

/// Checks every workspace of Terraform's; with `deep`, every version of the history is read.
///
/// # Errors
/// When the store fails, or there is no state at all. What is wrong with a state is a [`Check`].
pub async fn verify(place: &Place, deep: bool) -> Result<Vec<Check>, Error> {
    verify_with(place, deep, &|place, content| terraform::parse(place, content)).await
}

/// Checks every workspace, whatever kind of state it is.
///
/// # Errors
/// As [`verify`].
pub async fn verify_with(place: &Place, deep: bool, read: Read<'_>) -> Result<Vec<Check>, Error> {
    let workspaces = place.workspaces().await?;
    if workspaces.is_empty() {
        return Err(Error::Absent { place: place.store.place(&place.key) });
    }
    let mut checks = Vec::new();
    for workspace in workspaces {
        one(place, &workspace, deep, read, &mut checks).await?;
    }
    Ok(checks)
}

/// What the checks come to.
///
/// # Errors
/// When one of them is bad.
pub fn judge(checks: &[Check]) -> Result<(), Error> {
    let mut bad = checks.iter().filter(|check| check.outcome == Outcome::Bad);
    let Some(first) = bad.next() else { return Ok(()) };
    let (count, total) = (bad.count() + 1, checks.len());
    let first = format!("{} of workspace {}: {}", first.what, first.workspace, first.found);
    Err(Error::Unsound { count, total, first })
}

async fn one(
    place: &Place,
    workspace: &str,
    deep: bool,
    read: Read<'_>,
    checks: &mut Vec<Check>,
) -> Result<(), Error> {
    let store = &place.store;
    let key = place.key_of(workspace);
    let mut add = |what, outcome, found: String| {
        checks.push(Check { workspace: workspace.to_owned(), what, outcome, found });
    };
    let history = store.history(&key).await?;
    let current = match store.read(&key).await {
        Ok(current) => current,
        // The store works, and what it holds cannot be opened.
        Err(error @ (Error::NoKey { .. } | Error::WrongKey { .. } | Error::Corrupt { .. })) => {
            add("state", Outcome::Bad, error.to_string());
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(current) = &current {
        match read(&place.place_of(workspace), &current.content) {
            Err(error) => add("state", Outcome::Bad, error.to_string()),
            Ok(found) => {
                let text = format!(
                    "serial {}, lineage {}, {} resources, SHA-256 {}",
                    found.serial, found.lineage, found.resources, current.sha256
                );
                add("state", Outcome::Good, text);
                if found.resources == 0 {
                    add("resources", Outcome::Note, "it has none".to_owned());
                }
                let kept = history.iter().any(|past| past.sha256 == current.sha256);
                let newer = history.first().filter(|newest| newest.serial > found.serial);
                match newer {
                    Some(newest) => add(
                        "serial",
                        Outcome::Bad,
                        format!(
                            "the history goes up to {}, and the state is {}",
                            newest.serial, found.serial
                        ),
                    ),
                    None if kept => add("history", Outcome::Good, "it holds the current version".to_owned()),
                    None => add(
                        "history",
                        Outcome::Note,
                        "it does not hold the current version, which Terraform wrote past Windlass; the next write \
                         through `windlass state exec` keeps it, and another plain apply would lose it"
                            .to_owned(),
                    ),
                }
                if !store.keys().is_empty() && !current.sealed {
                    add(
                        "encryption",
                        Outcome::Bad,
                        "a key was given, and the state is not encrypted".to_owned(),
                    );
                }
            }
        }
    }
    drop(current);
    if deep {
        let mut sound = 0;
        for past in &history {
            match store.compare(&past.key, &past.sha256).await {
                Ok(()) => sound += 1,
                Err(
                    error @ (Error::NoKey { .. }
                    | Error::WrongKey { .. }
                    | Error::Corrupt { .. }
                    | Error::Damaged { .. }),
                ) => add("history", Outcome::Bad, error.to_string()),
                Err(error) => return Err(error),
            }
        }
        add("history", Outcome::Good, format!("{sound} versions are what their names say"));
    }
    if let Some(holder) = store.holder(&key).await? {
        let gone = if holder.is_orphaned() { "; its process is gone" } else { "" };
        let text =
            format!("held by {}, for {}, since {}{gone}", holder.who, holder.operation, holder.created);
        add("lock", Outcome::Note, text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Bucket, Condition};
    use crate::store::Store;
    use crate::terraform::tests::state;
    use std::sync::Arc;

    #[tokio::test]
    async fn what_is_wrong_is_said_and_what_is_right_too() {
        let place = Place::on(Store::new(Arc::new(Bucket::in_memory())), "a");
        assert_eq!(verify(&place, true).await.unwrap_err().code(), "WL0713");
        place.store.write("a", 3, &state("one", 3, 5), &Condition::Absent).await.unwrap();
        assert!(judge(&verify(&place, true).await.unwrap()).is_ok());
        // An old version comes back under its old serial: whoever did that has lost what came after.
        place.store.write("a", 4, &state("one", 4, 5), &Condition::Always).await.unwrap();
        let _ = place.store.blobs().put("a", state("one", 3, 5), &Condition::Always).await.unwrap();
        assert_eq!(judge(&verify(&place, false).await.unwrap()).unwrap_err().code(), "WL0728");
        let _ = place.store.blobs().put("a", "{".into(), &Condition::Always).await.unwrap();
        assert!(judge(&verify(&place, false).await.unwrap()).is_err());
    }
}
