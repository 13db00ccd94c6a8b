//! The states of a container and what each call does in it. Pure: no process is touched here.

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was made and never started.
    Created,
    /// It was started. Its process may take a moment to be there.
    Running,
    /// It ended, with this status: 128 and the signal's number for one that was killed.
    Exited(i64),
    /// It is gone; the status is the one with which it ended, if it ever ran.
    Removed(Option<i64>),
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is to be done.
    Do,
    /// It is as it should be already.
    Nothing,
    /// It cannot be done in this state.
    Conflict,
    /// There is no such container any more.
    Gone,
}

impl State {
    /// As Docker names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited(_) => "exited",
            Self::Removed(_) => "dead",
        }
    }

    /// The status with which it ended, if it did.
    pub const fn exit_code(self) -> Option<i64> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Removed(code) => code,
            Self::Created | Self::Running => None,
        }
    }

    /// `POST …/start`.
    pub const fn start(self) -> Step {
        match self {
            Self::Created | Self::Exited(_) => Step::Do,
            Self::Running => Step::Nothing,
            Self::Removed(_) => Step::Gone,
        }
    }

    /// `POST …/kill` and `POST …/exec`: only what runs can be told something.
    pub const fn signal(self) -> Step {
        match self {
            Self::Running => Step::Do,
            Self::Created | Self::Exited(_) => Step::Conflict,
            Self::Removed(_) => Step::Gone,
        }
    }

    /// `DELETE …`: what runs is removed only by force.
    pub const fn remove(self, force: bool) -> Step {
        match self {
            Self::Running if !force => Step::Conflict,
            Self::Removed(_) => Step::Gone,
            _ => Step::Do,
        }
    }

    /// After the process has ended. One that is removed stays so.
    pub const fn ended(self, code: i64) -> Self {
        match self {
            Self::Removed(_) => Self::Removed(Some(code)),
            _ => Self::Exited(code),
        }
    }

    /// After its removal.
    pub const fn removed(self) -> Self {
        Self::Removed(self.exit_code())
    }
}

/// What `POST …/wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run: at once, if it does not.
    NotRunning,
    /// That it ends the next time.
    NextExit,
    /// That it is gone.
    Removed,
}

impl Condition {
    /// Reads the parameter `condition`.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        Some(match text {
            None | Some("" | "not-running") => Self::NotRunning,
            Some("next-exit") => Self::NextExit,
            Some("removed") => Self::Removed,
            Some(_) => return None,
        })
    }

    /// Whether it is met. `was_running`: whether it has been seen running since the wait began.
    pub const fn is_met(self, state: State, was_running: bool) -> bool {
        match (self, state) {
            (_, State::Removed(_)) => true,
            (Self::NotRunning, State::Exited(_) | State::Created) => true,
            (Self::NextExit, State::Exited(_)) => was_running,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 5] =
        [State::Created, State::Running, State::Exited(0), State::Removed(None), State::Removed(Some(137))];

    #[test]
    fn every_call_in_every_state() {
        use Step::{Conflict, Do, Gone, Nothing};
        assert_eq!(ALL.map(State::start), [Do, Nothing, Do, Gone, Gone]);
        assert_eq!(ALL.map(State::signal), [Conflict, Do, Conflict, Gone, Gone]);
        assert_eq!(ALL.map(|state| state.remove(false)), [Do, Conflict, Do, Gone, Gone]);
        assert_eq!(ALL.map(|state| state.remove(true)), [Do, Do, Do, Gone, Gone]);
    }

    #[test]
    fn the_status_outlives_the_container() {
        assert_eq!(State::Running.ended(137), State::Exited(137));
        assert_eq!(State::Running.removed().ended(143), State::Removed(Some(143)));
        assert_eq!(State::Exited(1).removed().exit_code(), Some(1));
        assert_eq!(State::Created.removed().exit_code(), None);
    }

    #[test]
    fn waits() {
        let met = |condition: Condition| ALL.map(|state| condition.is_met(state, false));
        assert_eq!(met(Condition::NotRunning), [true, false, true, true, true]);
        assert_eq!(met(Condition::NextExit), [false, false, false, true, true]);
        assert_eq!(met(Condition::Removed), [false, false, false, true, true]);
        assert!(Condition::NextExit.is_met(State::Exited(0), true));
        assert_eq!(Condition::parse(None), Some(Condition::NotRunning));
        assert_eq!(Condition::parse(Some("healthy")), None);
    }
}
