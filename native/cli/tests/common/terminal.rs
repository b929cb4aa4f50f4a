//! A person at a terminal.

use super::{Running, SOON};
use std::process::Command;

/// Runs a program on a pseudo terminal, types `typed` half a second after the screen ends with `question`, and
/// gives what was on the screen and the exit code. The terminal must be left as it was.
#[track_caller]
pub(crate) fn on_a_terminal(program: &Command, question: &str, typed: &str) -> (String, i32) {
    const PERSON: &str = r#"
import os, sys, termios, time
question, typed, program = sys.argv[1], sys.argv[2], sys.argv[3:]
terminal, inner = os.openpty()
before = termios.tcgetattr(terminal)
pid = os.fork()
if pid == 0:
    os.close(terminal)
    os.login_tty(inner)
    os.execvp(program[0], program)
os.close(inner)
screen, waits = b"", True
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    screen += more
    if waits and screen.rstrip(b" ").endswith(os.fsencode(question)):
        time.sleep(0.5)
        os.write(terminal, os.fsencode(typed))
        waits = False
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
os.write(1, screen)
if termios.tcgetattr(terminal) != before:
    sys.exit("the terminal is not as it was")
sys.exit(status if status >= 0 else 100)
"#;
    let mut command = Command::new("python3");
    command.args(["-c", PERSON, question, typed]);
    command.arg(program.get_program()).args(program.get_args());
    let ran = Running::start(&mut command).wait(SOON * 3);
    assert!(!ran.stderr.contains("not as it was"), "{ran:#?}");
    (ran.said(), ran.status.code().unwrap())
}
