//! Faults to order: which start of which container meets which. Pure: see [`Faults::meet`].

use serde::{Deserialize, Serialize};

/// A fault, and the starts that meet it.
///
/// As JSON: `{"container":"*NatsNode*","times":2,"effect":{"crash_after":500}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only containers whose name or image matches; `*` stands for anything. Without it, any.
    #[serde(default)]
    pub container: Option<String>,
    /// So many starts meet it; without it, every one until the fault is taken back.
    #[serde(default)]
    pub times: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a container that is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It runs, and none of its ports ever answers.
    NeverHealthy,
    /// It ends at once with status 1.
    CrashAtStart,
    /// It is killed so many milliseconds after its start.
    CrashAfter(u64),
    /// Its process is started only so many milliseconds later.
    SlowStart(u64),
    /// It runs the image that a container of its name ran before, whatever image is asked for: as an instance that a
    /// completed rollout has not replaced.
    KeepOldImage,
}

impl Fault {
    /// A fault for every start of every container until it is taken back.
    pub const fn always(effect: Effect) -> Self {
        Self { container: None, times: None, effect }
    }

    fn concerns(&self, name: &str, image: &str) -> bool {
        let pattern = self.container.as_deref();
        pattern.is_none_or(|pattern| matches(pattern, name) || matches(pattern, image))
    }
}

/// The faults that are still to come.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    /// Orders one.
    pub fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    /// Takes all back. What runs with a fault keeps it.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Those that are still to come.
    pub fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// What happens to this start: everything that concerns it, and one of each kind.
    pub fn meet(&mut self, name: &str, image: &str) -> Vec<Effect> {
        let mut met: Vec<Effect> = Vec::new();
        for fault in self.waiting.iter_mut().filter(|fault| fault.concerns(name, image)) {
            let kind = std::mem::discriminant(&fault.effect);
            if fault.times == Some(0) || met.iter().any(|other| std::mem::discriminant(other) == kind) {
                continue;
            }
            fault.times = fault.times.map(|times| times - 1);
            met.push(fault.effect);
        }
        self.waiting.retain(|fault| fault.times != Some(0));
        met
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for anything, also for nothing.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.any(|at| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_or_image_and_so_often() {
        let mut faults = Faults::default();
        faults.add(Fault {
            container: Some("*-NatsNode-*".to_owned()),
            times: Some(2),
            effect: Effect::CrashAtStart,
        });
        faults.add(Fault { container: Some("nats:2".to_owned()), ..Fault::always(Effect::SlowStart(9)) });
        let mut meet = |name: &str, image: &str| faults.meet(name, image);
        assert_eq!(meet("w-Fleet-0", "x"), []);
        assert_eq!(meet("w-NatsNode-0", "nats:2"), [Effect::CrashAtStart, Effect::SlowStart(9)]);
        assert_eq!(meet("w-NatsNode-1", "x"), [Effect::CrashAtStart]);
        assert_eq!(meet("w-NatsNode-0", "nats:2"), [Effect::SlowStart(9)]);
        assert_eq!(faults.waiting().len(), 1);
    }

    #[test]
    fn two_of_a_kind_come_one_after_the_other() {
        let mut faults = Faults::default();
        for millis in [1, 2] {
            faults.add(Fault { times: Some(1), ..Fault::always(Effect::CrashAfter(millis)) });
        }
        assert_eq!(faults.meet("a", "b"), [Effect::CrashAfter(1)]);
        assert_eq!(faults.meet("a", "b"), [Effect::CrashAfter(2)]);
        assert_eq!(faults.meet("a", "b"), []);
    }

    #[test]
    fn as_json() {
        let fault: Fault = serde_json::from_str(r#"{"effect":"never_healthy"}"#).unwrap();
        assert_eq!(fault, Fault::always(Effect::NeverHealthy));
        assert!(serde_json::from_str::<Fault>(r#"{"effect":"never_healthy","name":"x"}"#).is_err());
    }
}
