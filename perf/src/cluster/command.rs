//! What can be typed while a cluster runs.

use std::fmt;
use std::str::FromStr;

/// What a newcomer is told.
pub(super) const TRY: &str = "\
try: put color blue, get color, status, kill 1, get color, start 1, transfer 2; help lists all; \
quit or ctrl-c stops";

/// What `help` says.
pub(super) const HELP: &str = "\
put KEY VALUE  writes; the value is the rest of the line
get KEY        reads what was last written, wherever that was
del KEY        deletes
status         says how each member stands
kill N         kills member N, as kill -9 does
start N        starts member N again
transfer N     has the leader hand over to member N
quit           stops all members";

/// A line that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Put {
        key: String,
        value: String,
    },
    Get {
        key: String,
    },
    Delete {
        key: String,
    },
    Status,
    Kill(u64),
    Start(u64),
    Transfer(u64),
    Help,
    Quit,
    /// An empty line.
    Nothing,
}

/// A line that is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommandError {
    Unknown(String),
    /// How it should be.
    Usage(&'static str),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "there is no {word:?}; help lists what there is"),
            Self::Usage(usage) => write!(f, "usage: {usage}"),
        }
    }
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Self, CommandError> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let one = |usage| match rest {
            key if key.is_empty() || key.contains(char::is_whitespace) => {
                Err(CommandError::Usage(usage))
            }
            key => Ok(key.to_owned()),
        };
        let none = |command| match rest {
            "" => Ok(command),
            _ => Err(CommandError::Unknown(line.to_owned())),
        };
        let number = |usage| one(usage)?.parse().map_err(|_| CommandError::Usage(usage));
        match word {
            "" => Ok(Self::Nothing),
            "put" => match rest.split_once(char::is_whitespace) {
                Some((key, value)) => {
                    Ok(Self::Put { key: key.to_owned(), value: value.trim_start().to_owned() })
                }
                None => Err(CommandError::Usage("put KEY VALUE")),
            },
            "get" => Ok(Self::Get { key: one("get KEY")? }),
            "del" => Ok(Self::Delete { key: one("del KEY")? }),
            "status" => none(Self::Status),
            "kill" => Ok(Self::Kill(number("kill N")?)),
            "start" => Ok(Self::Start(number("start N")?)),
            "transfer" => Ok(Self::Transfer(number("transfer N")?)),
            "help" => none(Self::Help),
            "quit" | "exit" => none(Self::Quit),
            _ => Err(CommandError::Unknown(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands() {
        let put = |key: &str, value: &str| Command::Put { key: key.into(), value: value.into() };
        for (line, command) in [
            ("put a b", put("a", "b")),
            ("  put  a   b c  ", put("a", "b c")),
            ("get a", Command::Get { key: "a".into() }),
            ("del a", Command::Delete { key: "a".into() }),
            ("status", Command::Status),
            ("kill 2", Command::Kill(2)),
            ("start 2", Command::Start(2)),
            ("transfer 2", Command::Transfer(2)),
            ("quit\r", Command::Quit),
            ("", Command::Nothing),
        ] {
            assert_eq!(line.parse(), Ok(command), "{line}");
        }
    }

    #[test]
    fn says_how_a_command_should_be() {
        for (line, usage) in [
            ("put a", "put KEY VALUE"),
            ("get", "get KEY"),
            ("get a b", "get KEY"),
            ("kill", "kill N"),
            ("kill x", "kill N"),
            ("transfer -1", "transfer N"),
        ] {
            assert_eq!(line.parse::<Command>(), Err(CommandError::Usage(usage)), "{line}");
        }
        for line in ["fly", "status all", "(too long)"] {
            assert!(matches!(line.parse::<Command>(), Err(CommandError::Unknown(_))), "{line}");
        }
    }
}
