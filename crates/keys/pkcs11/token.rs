//! One token: its sessions, and how it is found again after it was lost.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    mechanism::MechanismType,
    session::{Session, UserType},
    slot::Slot,
};

use super::{TokenError, TokenSettings, Trouble, module::Module, pin::PinFile};
use crate::KeyError;

/// How long a signature waits for a session.
const PATIENCE: Duration = Duration::from_secs(5);

/// A token by its label, with the sessions that are open with it.
#[derive(Debug)]
pub(super) struct Token {
    module: Arc<Module>,
    label: String,
    pin: PinFile,
    most: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Open>,
    in_use: usize,
}

/// A session, and the life of the module that it belongs to. It is closed by name and not when it is dropped: after a new
/// beginning its number may be another session's.
#[derive(Debug)]
struct Open {
    session: Session,
    generation: u64,
}

impl Token {
    pub(super) fn new(module: Arc<Module>, settings: &TokenSettings) -> Self {
        Self {
            module,
            label: settings.label.clone(),
            pin: PinFile::new(settings.pin_file.clone()),
            most: settings.sessions.clamp(1, TokenSettings::MAX_SESSIONS),
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    pub(super) fn failed(&self, source: TokenError) -> KeyError {
        KeyError::Token { token: self.label.clone(), source }
    }

    /// Does `work` in a session that is logged in. Where the session or the token was lost it is done again in a new one,
    /// and where that does not help, once more after the module began anew.
    pub(super) fn with_session<T>(
        &self,
        work: impl Fn(&Session, u64) -> Result<T, Trouble>,
    ) -> Result<T, TokenError> {
        let _place = self.place()?;
        match self.attempt(&work) {
            Err(Trouble::Lost(_)) => self.close_idle(),
            other => return other.map_err(Trouble::into_error),
        }
        match self.attempt(&work) {
            Err(Trouble::Lost(_)) => self.module.restart()?,
            other => return other.map_err(Trouble::into_error),
        }
        self.attempt(&work).map_err(Trouble::into_error)
    }

    /// What the token can do.
    pub(super) fn mechanisms(&self) -> Result<Vec<MechanismType>, TokenError> {
        let known = self
            .module
            .call(|library, _generation| Ok(library.get_mechanism_list(self.find(library)?)?));
        known.map_err(Trouble::into_error)
    }

    fn attempt<T>(&self, work: impl Fn(&Session, u64) -> Result<T, Trouble>) -> Result<T, Trouble> {
        self.module.call(|library, generation| {
            let idle = self.lock().idle.pop();
            let open = match idle.filter(|open| open.generation == generation) {
                Some(open) => open,
                None => Open { session: self.open(library)?, generation },
            };
            let outcome = work(&open.session, generation);
            if outcome.is_ok() {
                self.lock().idle.push(open);
            } else {
                // Whatever it was in the middle of ends with it. That it cannot be closed changes nothing.
                open.session.close().unwrap_or_default();
            }
            outcome
        })
    }

    fn open(&self, library: &Pkcs11) -> Result<Session, Trouble> {
        let session = library.open_rw_session_no_drop(self.find(library)?)?;
        let log_in = self.pin.log_in(
            |pin| match session.login(UserType::User, Some(pin)) {
                // The login is the process's and not the session's.
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
                Err(error) => Err(Trouble::from(error)),
            },
            |trouble| matches!(trouble, Trouble::Final(TokenError::PinWrong)),
        );
        match log_in {
            Ok(Ok(())) => Ok(session),
            Ok(Err(trouble)) => {
                session.close().unwrap_or_default();
                Err(trouble)
            }
            Err(error) => {
                session.close().unwrap_or_default();
                Err(error.into())
            }
        }
    }

    fn find(&self, library: &Pkcs11) -> Result<Slot, Trouble> {
        let mut found = None;
        for slot in library.get_slots_with_token()? {
            // A slot whose token was pulled out a moment ago is none.
            let Ok(token) = library.get_token_info(slot) else { continue };
            if token.label() == self.label && found.replace(slot).is_some() {
                return Err(TokenError::Ambiguous.into());
            }
        }
        found.ok_or_else(|| TokenError::Absent.into())
    }

    /// Room for one more session, as soon as there is.
    fn place(&self) -> Result<Place<'_>, TokenError> {
        let (mut pool, timeout) = self
            .returned
            .wait_timeout_while(self.lock(), PATIENCE, |pool| pool.in_use >= self.most)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(TokenError::Busy);
        }
        pool.in_use += 1;
        Ok(Place(self))
    }

    fn close_idle(&self) {
        let idle = std::mem::take(&mut self.lock().idle);
        let closed = self.module.call(|_library, generation| {
            for open in idle.into_iter().filter(|open| open.generation == generation) {
                open.session.close().unwrap_or_default();
            }
            Ok(())
        });
        closed.unwrap_or_default();
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // No caller can panic halfway through a change of the pool, so a poisoned one is still whole.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for a session, given back when it is dropped.
struct Place<'a>(&'a Token);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().in_use -= 1;
        self.0.returned.notify_one();
    }
}
