//! Migrations of Durable Object classes. Pure.

use crate::cloudflare::api::answer::Refusal;
use crate::cloudflare::api::state::{ObjectNamespace, State, new_id};
use serde::Deserialize;
use serde_json::Value;

/// What a script's upload says of its classes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Migrations {
    old_tag: Option<String>,
    new_tag: Option<String>,
    steps: Vec<Step>,
    /// In the older form, there is one step, and it stands here.
    #[serde(flatten)]
    step: Step,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Step {
    new_classes: Vec<String>,
    new_sqlite_classes: Vec<String>,
    deleted_classes: Vec<String>,
    renamed_classes: Vec<Renamed>,
    transferred_classes: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Renamed {
    from: String,
    to: String,
}

impl Migrations {
    /// What an upload's metadata say.
    pub fn read(metadata: &Value) -> Result<Option<Self>, Refusal> {
        match &metadata["migrations"] {
            Value::Null => Ok(None),
            value => serde_json::from_value(value.clone()).map(Some).map_err(Refusal::malformed),
        }
    }

    /// Makes, renames and removes classes. `tag` is the script's last migration.
    pub fn apply(
        &self,
        state: &mut State,
        script: &str,
        tag: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        if self.old_tag.as_deref().is_some_and(|old| !old.is_empty()) && self.old_tag.as_deref() != tag {
            let text = format!(
                "Actor migration tag precondition failed, current tag is '{}', expected '{}'.",
                tag.unwrap_or_default(),
                self.old_tag.as_deref().unwrap_or_default()
            );
            return Err(Refusal::new(412, 10079, text));
        }
        for step in self.steps.iter().chain([&self.step]) {
            step.apply(state, script)?;
        }
        Ok(self.new_tag.clone().or(tag.map(str::to_owned)))
    }
}

impl Step {
    fn apply(&self, state: &mut State, script: &str) -> Result<(), Refusal> {
        let find = |state: &State, class: &str| {
            super::binding::namespace_of(state, script, class).map(str::to_owned)
        };
        if !self.transferred_classes.is_empty() {
            return Err(Refusal::new(501, 10021, "this stand-in does not transfer classes between Workers"));
        }
        for (classes, sqlite) in [(&self.new_classes, false), (&self.new_sqlite_classes, true)] {
            for class in classes {
                if find(state, class).is_some() {
                    let text = format!(
                        "Cannot apply new-class migration to class '{class}' that is already depended on by existing \
                         Durable Objects"
                    );
                    return Err(Refusal::new(400, 10074, text));
                }
                let namespace = ObjectNamespace { script: script.to_owned(), class: class.clone(), sqlite };
                state.objects.insert(new_id(), namespace);
            }
        }
        for class in &self.deleted_classes {
            let id = find(state, class).ok_or_else(|| unknown("deleted", class))?;
            state.objects.remove(&id);
        }
        for Renamed { from, to } in &self.renamed_classes {
            let id = find(state, from).ok_or_else(|| unknown("renamed", from))?;
            if let Some(namespace) = state.objects.get_mut(&id) {
                namespace.class.clone_from(to);
            }
        }
        Ok(())
    }
}

fn unknown(kind: &str, class: &str) -> Refusal {
    let text = format!("Cannot apply {kind}_classes migration to non-existent class {class}.");
    Refusal::new(400, 10072, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply(state: &mut State, tag: Option<&str>, value: &Value) -> Result<Option<String>, u32> {
        let migrations = Migrations::read(&json!({ "migrations": value })).unwrap().unwrap();
        migrations.apply(state, "s", tag).map_err(|refusal| refusal.code)
    }

    #[test]
    fn classes_come_and_go() {
        let mut state = State::default();
        let first = json!({ "new_tag": "v1", "steps": [{ "new_sqlite_classes": ["A", "B"] }] });
        assert_eq!(apply(&mut state, None, &first), Ok(Some("v1".into())));
        assert_eq!(apply(&mut state, Some("v1"), &first), Err(10074));
        let late = json!({ "old_tag": "v0", "new_tag": "v2", "steps": [] });
        assert_eq!(apply(&mut state, Some("v1"), &late), Err(10079));
        let next = json!({ "old_tag": "v1", "new_tag": "v2",
            "steps": [{ "renamed_classes": [{ "from": "A", "to": "C" }], "deleted_classes": ["B"] }] });
        assert_eq!(apply(&mut state, Some("v1"), &next), Ok(Some("v2".into())));
        assert_eq!(state.objects.len(), 1);
        assert!(state.objects.values().all(|namespace| namespace.class == "C" && namespace.sqlite));
        assert_eq!(apply(&mut state, None, &json!({ "deleted_classes": ["X"] })), Err(10072));
    }
}
