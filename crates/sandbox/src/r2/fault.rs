//! Faults to order: which request meets which. Pure: see [`Faults::meet`].

use serde::{Deserialize, Serialize};

/// A fault, and the requests that meet it.
///
/// As JSON: `{"method":"PUT","key":"states/*.tflock","skip":0,"times":1,"effect":"lose_answer"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only requests with this method; without it, any.
    #[serde(default)]
    pub method: Option<String>,
    /// Only requests whose `bucket/key` matches; `*` stands for anything. Without it, any.
    #[serde(default)]
    pub key: Option<String>,
    /// So many matching requests pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// So many meet the fault then.
    #[serde(default = "once")]
    pub times: u64,
    /// What happens to them.
    pub effect: Effect,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is carried out, and the connection is cut before the answer.
    LoseAnswer,
    /// The connection is cut, and nothing is carried out.
    LoseRequest,
    /// It is answered with this status (400 to 599), and nothing is carried out.
    Error(u16),
    /// It is carried out so many milliseconds later.
    Delay(u64),
}

fn once() -> u64 {
    1
}

impl Fault {
    /// A fault for the next request with this method whose `bucket/key` matches.
    pub fn next(method: &str, key: &str, effect: Effect) -> Self {
        Self { method: Some(method.to_owned()), key: Some(key.to_owned()), skip: 0, times: 1, effect }
    }

    fn concerns(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.key.as_deref().is_none_or(|pattern| matches(pattern, path))
    }
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    /// Orders one.
    pub fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Those that are still to come.
    pub fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// What happens to this request: the first fault that concerns it and is due. Others only count it.
    pub fn meet(&mut self, method: &str, path: &str) -> Option<Effect> {
        let mut met = None;
        for fault in self.waiting.iter_mut().filter(|fault| fault.concerns(method, path)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if met.is_none() && fault.times > 0 {
                fault.times -= 1;
                met = Some(fault.effect);
            }
        }
        self.waiting.retain(|fault| fault.times > 0);
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
    fn patterns() {
        for (pattern, text) in
            [("*", ""), ("a*", "a"), ("*c", "abc"), ("a*c*e", "abcde"), ("s/*.tflock", "s/é/k.tflock")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*", "ba"), ("*c", "abcd"), ("a*c*e", "ace2")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_third_and_fourth() {
        let mut faults = Faults::default();
        faults.add(Fault { skip: 2, times: 2, ..Fault::next("PUT", "b/*", Effect::Error(500)) });
        let met: Vec<_> = (0..6).map(|_| faults.meet("PUT", "b/k").is_some()).collect();
        assert_eq!(met, [false, false, true, true, false, false]);
        assert_eq!(faults.meet("GET", "b/k"), None);
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn two_faults_for_one_request_come_one_after_the_other() {
        let mut faults = Faults::default();
        faults.add(Fault::next("PUT", "*", Effect::LoseAnswer));
        faults.add(Fault::next("PUT", "*", Effect::Delay(5)));
        assert_eq!(faults.meet("PUT", "b/k"), Some(Effect::LoseAnswer));
        assert_eq!(faults.meet("PUT", "b/k"), Some(Effect::Delay(5)));
        assert_eq!(faults.meet("PUT", "b/k"), None);
    }

    #[test]
    fn as_json() {
        let fault: Fault = serde_json::from_str(r#"{"method":"PUT","effect":{"error":503}}"#).unwrap();
        assert_eq!((fault.times, fault.effect), (1, Effect::Error(503)));
        let fault: Fault = serde_json::from_str(r#"{"effect":"lose_answer"}"#).unwrap();
        assert_eq!(fault.effect, Effect::LoseAnswer);
        assert!(serde_json::from_str::<Fault>(r#"{"effect":"lose_answer","path":"x"}"#).is_err());
    }
}
