//! How workerd wraps the commands that it runs in a container: in a shell that writes down its process id, and a second
//! shell that reads it for a signal. An image without a shell, as ours, has neither; here the engine does their work.

/// What a command means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrapped<'a> {
    /// To run this command, known by this key from now on.
    Run {
        /// The key.
        key: &'a str,
        /// The command itself.
        command: &'a [String],
    },
    /// To send a signal to the command with this key.
    Signal {
        /// The key.
        key: &'a str,
        /// The signal's number or name.
        signal: &'a str,
    },
    /// What it says.
    Plain,
}

const FILE: &str = "/tmp/.workerd-exec-";

/// The key in `/tmp/.workerd-exec-KEY.pid`, where the text begins with it, and what follows.
fn key(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(FILE)?.split_once(".pid")
}

/// Reads a command. Anything but exactly what workerd sends is left as it is.
pub fn read(command: &[String]) -> Wrapped<'_> {
    let [shell, option, script, rest @ ..] = command else { return Wrapped::Plain };
    if shell != "/bin/sh" || option != "-c" {
        return Wrapped::Plain;
    }
    run(script, rest).or_else(|| signal(script)).unwrap_or(Wrapped::Plain)
}

/// `echo $$ > FILE; exec "$@"`, then `sh` and the command.
fn run<'a>(script: &'a str, rest: &'a [String]) -> Option<Wrapped<'a>> {
    let (key, after) = key(script.strip_prefix("echo $$ > ")?)?;
    let (name, command) = rest.split_first()?;
    (after == "; exec \"$@\"" && name == "sh").then_some(Wrapped::Run { key, command })
}

/// `[ -s FILE ] || exit 3; kill -N "$(cat FILE)"`.
fn signal(script: &str) -> Option<Wrapped<'_>> {
    let (key, after) = key(script.strip_prefix("[ -s ")?)?;
    let (signal, after) = after.strip_prefix(" ] || exit 3; kill -")?.split_once(' ')?;
    (after == format!("\"$(cat {FILE}{key}.pid)\"")).then_some(Wrapped::Signal { key, signal })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_workerd_sends() {
        let run =
            words(&["/bin/sh", "-c", "echo $$ > /tmp/.workerd-exec-1-a.pid; exec \"$@\"", "sh", "/x", "-v"]);
        assert_eq!(read(&run), Wrapped::Run { key: "1-a", command: &words(&["/x", "-v"]) });
        let script =
            "[ -s /tmp/.workerd-exec-1-a.pid ] || exit 3; kill -15 \"$(cat /tmp/.workerd-exec-1-a.pid)\"";
        assert_eq!(read(&words(&["/bin/sh", "-c", script])), Wrapped::Signal { key: "1-a", signal: "15" });
    }

    #[test]
    fn what_others_send_is_left_alone() {
        for command in [
            &["/bin/sh", "-c", "echo $$ > /tmp/.workerd-exec-1.pid; rm -rf /; exec \"$@\"", "sh", "x"][..],
            &[
                "/bin/sh",
                "-c",
                "[ -s /tmp/.workerd-exec-1.pid ] || exit 3; kill -9 \"$(cat /tmp/.workerd-exec-2.pid)\"",
            ],
            &["/bin/sh", "-c", "echo $$ > /tmp/.workerd-exec-1.pid; exec \"$@\""],
            &["/bin/bash", "-c", "echo $$ > /tmp/.workerd-exec-1.pid; exec \"$@\"", "sh", "x"],
            &["/nats-server", "--version"],
            &[],
        ] {
            assert_eq!(read(&words(command)), Wrapped::Plain, "{command:?}");
        }
    }
}
