//! A password: where it comes from, and that it stays out of sight.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStringExt;

use rpassword::ConfigBuilder;
use zeroize::Zeroizing;

use crate::AuthError;

/// The environment variable that spares a client the question.
const VARIABLE: &str = "IPERF3_PASSWORD";

/// A password. Its memory is overwritten when it is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes over a password that the caller knows.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Takes the password of `user` from `IPERF3_PASSWORD`, else asks for it on the terminal, without echo.
    ///
    /// Waits for the user. A Ctrl-C at the question raises `SIGINT`, once the terminal is as it was.
    pub fn from_env_or_prompt(user: &str) -> Result<Self, AuthError> {
        if let Some(password) = std::env::var_os(VARIABLE) {
            return Ok(Self::new(OsString::into_vec(password)));
        }
        if !io::stdin().is_terminal() {
            return Err(AuthError::NoPassword {
                user: user.to_owned(),
            });
        }
        Self::ask(ConfigBuilder::new().output_writer(io::stdout())).map_err(AuthError::Prompt)
    }

    fn ask(terminal: ConfigBuilder) -> io::Result<Self> {
        let terminal = terminal.password_feedback_hide().build();
        rpassword::prompt_password_with_config("Password: ", terminal).map(Self::new)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use nix::pty::openpty;
    use nix::sys::termios::{LocalFlags, tcgetattr};
    use nix::unistd::ttyname;

    #[test]
    fn a_password_is_not_shown() {
        let password = Password::new("s3cret");
        assert_eq!(format!("{password:?} {password:#?}"), "Password(..) Password(..)");
    }

    #[test]
    fn the_terminal_is_asked_without_echo() {
        let pty = openpty(None, None).unwrap();
        let name = ttyname(&pty.slave).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        assert!(before.local_flags.contains(LocalFlags::ECHO));

        let mut keyboard = File::from(pty.master.try_clone().unwrap());
        let screen = File::from(pty.slave.try_clone().unwrap());
        let asked = thread::spawn(move || {
            let terminal = ConfigBuilder::new()
                .input_file_path(name.to_str().unwrap())
                .output_writer(screen);
            Password::ask(terminal)
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while tcgetattr(&pty.slave)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ECHO)
        {
            assert!(Instant::now() < deadline, "the echo stays on");
            thread::sleep(Duration::from_millis(5));
        }
        keyboard.write_all("ros\u{7f}ssì\n".as_bytes()).unwrap();

        assert_eq!(
            asked.join().unwrap().unwrap().as_bytes(),
            "rossì".as_bytes()
        );
        assert_eq!(
            tcgetattr(&pty.slave).unwrap().local_flags,
            before.local_flags
        );
        let mut shown = [0; 64];
        let length = keyboard.read(&mut shown).unwrap();
        assert_eq!(&shown[..length], b"Password: \r\n");
    }

    /// Only a process of its own can have an environment of its own.
    fn in_a_process(password: Option<&str>) -> String {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("password::tests::child")
            .env_remove(VARIABLE)
            .stdin(Stdio::null());
        if let Some(password) = password {
            child.env(VARIABLE, password);
        }
        let output = child.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    #[ignore = "the other tests run it in an environment of their own"]
    fn child() {
        match Password::from_env_or_prompt("mario") {
            Ok(password) => println!("<{}>", str::from_utf8(password.as_bytes()).unwrap()),
            Err(error) => println!("<{} {error}>", error.code().0),
        }
    }

    #[test]
    fn the_environment_is_asked_first() {
        assert!(in_a_process(Some("rossi")).contains("<rossi>"));
    }

    #[test]
    fn without_environment_and_terminal_there_is_no_password() {
        let told = in_a_process(None);
        assert!(
            told.contains(
                "<22 you must specify a username, password, and path to a valid RSA public key: no password for mario"
            ),
            "{told}"
        );
    }
}
