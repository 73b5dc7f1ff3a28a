//! A password: where it is read from, and how it is kept out of sight.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::read;
use zeroize::Zeroizing;

use crate::AuthError;

/// The environment variable that replaces the prompt.
const VARIABLE: &str = "IPERF3_PASSWORD";

/// The longest line that Linux takes from a terminal, with its end (`N_TTY_BUF_SIZE`, drivers/tty/n_tty.c).
const LINE_LIMIT: usize = 4096;

/// A password. Its memory is overwritten when it is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes over a password that the caller knows.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The password of `user`: from `IPERF3_PASSWORD`, or else typed on the terminal, without echo.
    ///
    /// Waits for the user. Ctrl-C at the question gives the terminal its echo back before it raises `SIGINT`.
    pub fn from_env_or_prompt(user: &str) -> Result<Self, AuthError> {
        if let Some(password) = std::env::var_os(VARIABLE) {
            return Ok(Self::new(OsString::into_vec(password)));
        }
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(AuthError::NoPassword {
                user: user.to_owned(),
            });
        }
        // Not stdout: with -J that is for the document alone.
        let password = Self::ask(stdin.as_fd(), &mut io::stderr());
        if let Err(error) = &password
            && error.kind() == ErrorKind::Interrupted
        {
            // Where something else waits for the signal, the error repeats it.
            let _ = raise(Signal::SIGINT);
        }
        password.map_err(AuthError::Prompt)
    }

    /// Prompts on a terminal. The error is [`ErrorKind::Interrupted`] when the user typed Ctrl-C.
    fn ask(terminal: BorrowedFd<'_>, screen: &mut impl Write) -> io::Result<Self> {
        let silent = Silent::new(terminal)?;
        screen.write_all(b"Password: ")?;
        screen.flush()?;
        let line = silent.read_line();
        drop(silent);
        // The line feed of the user was not echoed either.
        screen.write_all(b"\n")?;
        screen.flush()?;
        line.map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A terminal without echo, until this is dropped.
///
/// It sends no signals either, as they could end the program before the echo is back: Ctrl-C ends a line instead, and
/// is its last byte.
struct Silent<'terminal> {
    terminal: BorrowedFd<'terminal>,
    before: Termios,
}

impl<'terminal> Silent<'terminal> {
    fn new(terminal: BorrowedFd<'terminal>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ISIG);
        silent.control_chars[SpecialCharacterIndices::VEOL as usize] = interrupt(&before);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }

    /// A line without its end. The buffer never grows, so no copy of it stays behind.
    fn read_line(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut line = Zeroizing::new(vec![0; LINE_LIMIT]);
        let mut length = 0;
        while length < LINE_LIMIT {
            let read = match read(self.terminal, &mut line[length..]) {
                Ok(0) if length == 0 => return Err(ErrorKind::UnexpectedEof.into()),
                Err(Errno::EINTR) => continue,
                read => read?,
            };
            length += read;
            let last = line[length - 1];
            if last == interrupt(&self.before) {
                return Err(ErrorKind::Interrupted.into());
            }
            if last == b'\n' || read == 0 {
                line.truncate(length - usize::from(last == b'\n'));
                return Ok(line);
            }
        }
        Err(ErrorKind::InvalidInput.into())
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A closed terminal needs no echo.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

/// The key that interrupts, Ctrl-C as a rule.
fn interrupt(terminal: &Termios) -> u8 {
    terminal.control_chars[SpecialCharacterIndices::VINTR as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufReader, Read};
    use std::os::fd::OwnedFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    use nix::pty::openpty;

    #[test]
    fn a_password_is_not_shown() {
        let password = Password::new("s3cret");
        assert_eq!(
            format!("{password:?} {password:#?}"),
            "Password(..) Password(..)"
        );
    }

    /// A terminal with a user.
    struct Terminal {
        user: File,
        program: OwnedFd,
    }

    impl Terminal {
        fn new() -> Self {
            let pty = openpty(None, None).unwrap();
            let terminal = Self {
                user: pty.master.into(),
                program: pty.slave,
            };
            assert!(terminal.has_echo());
            terminal
        }

        fn has_echo(&self) -> bool {
            let flags = tcgetattr(&self.program).unwrap().local_flags;
            flags.contains(LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::ICANON)
        }

        /// Waits for the prompt, which appears with the echo off.
        fn type_unseen(&mut self, text: &[u8]) {
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.has_echo() {
                assert!(Instant::now() < deadline, "the echo stays on");
                thread::sleep(Duration::from_millis(5));
            }
            self.user.write_all(text).unwrap();
        }

        fn ask(&self) -> JoinHandle<io::Result<Password>> {
            let terminal = self.program.try_clone().unwrap();
            thread::spawn(move || {
                let mut screen = File::from(terminal.try_clone().unwrap());
                Password::ask(terminal.as_fd(), &mut screen)
            })
        }

        /// All that the program wrote. Reading fails once no process has the terminal open.
        fn shown(self) -> String {
            drop(self.program);
            let user = BufReader::new(self.user);
            let bytes = user.bytes().map_while(Result::ok).collect();
            String::from_utf8(bytes).unwrap()
        }
    }

    #[test]
    fn the_prompt_has_no_echo() {
        let mut terminal = Terminal::new();
        let answer = terminal.ask();
        terminal.type_unseen("ros\u{7f}ss\u{ec}\n".as_bytes());
        let password = answer.join().unwrap().unwrap();
        assert_eq!(password.as_bytes(), "ross\u{ec}".as_bytes());
        assert!(terminal.has_echo());
        assert_eq!(terminal.shown(), "Password: \r\n");
    }

    #[test]
    fn a_line_may_end_without_line_feed() {
        let mut terminal = Terminal::new();
        let answer = terminal.ask();
        terminal.type_unseen(b"ross\x04i\x04\x04");
        assert_eq!(answer.join().unwrap().unwrap().as_bytes(), b"rossi");

        let answer = terminal.ask();
        terminal.type_unseen(b"\x04");
        let error = answer.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(terminal.has_echo());
    }

    /// Only a process of its own can have an environment of its own, and die of a signal.
    fn process(password: Option<&str>, stdin: Stdio) -> Command {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "--nocapture"])
            .arg("password::tests::the_environment_comes_before_the_prompt")
            .env(CHILD, "1")
            .env_remove(VARIABLE)
            .envs(password.map(|password| (VARIABLE, password)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        child
    }

    fn error_of_process(password: Option<&str>) -> String {
        let output = process(password, Stdio::null()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Marks a process as the child.
    const CHILD: &str = "IPERF_AUTH_TEST_CHILD";

    /// What the child does: it reports what it got.
    fn ask() {
        match Password::from_env_or_prompt("mario") {
            Ok(password) => println!("<{}>", str::from_utf8(password.as_bytes()).unwrap()),
            Err(error) => println!("<{} {error}>", error.code().0),
        }
    }

    #[test]
    fn the_environment_comes_before_the_prompt() {
        if std::env::var_os(CHILD).is_some() {
            return ask();
        }
        assert!(error_of_process(Some("rossi")).contains("<rossi>"));
    }

    #[test]
    fn without_environment_and_terminal_there_is_no_password() {
        let error = error_of_process(None);
        assert!(
            error.contains(
                "<22 you must specify a username, password, and path to a valid RSA public key: no password for mario"
            ),
            "{error}"
        );
    }

    #[test]
    fn the_question_is_on_stderr_and_the_answer_on_stdin() {
        let mut terminal = Terminal::new();
        let stdin = terminal.program.try_clone().unwrap().into();
        let child = process(None, stdin).spawn().unwrap();
        terminal.type_unseen(b"rossi\n");
        let output = child.wait_with_output().unwrap();
        let [error, answer] = [output.stdout, output.stderr].map(|o| String::from_utf8(o).unwrap());
        assert!(
            error.contains("<rossi>") && !error.contains("Password"),
            "{error}"
        );
        assert_eq!(answer, "Password: \n");
    }

    #[test]
    fn an_interrupt_leaves_the_echo_on() {
        let mut terminal = Terminal::new();
        let stdin = terminal.program.try_clone().unwrap().into();
        let mut child = process(None, stdin).spawn().unwrap();
        terminal.type_unseen(b"ros\x03");
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{status}");
        assert!(terminal.has_echo());
    }
}
