//! A vendor's library in this process.
//!
//! PKCS#11 initialises a library once per process, whoever uses it, so libraries are remembered here for as long as the
//! process runs: two trust domains that name the same one share it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
};

use super::{TokenError, Trouble};

/// How far apart new beginnings of one library are at least.
const RESTARTS_APART: Duration = Duration::from_secs(1);

static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// A library, and which of its lives in this process it is in.
#[derive(Debug)]
pub(super) struct Module {
    path: PathBuf,
    library: Pkcs11,
    /// Read while the library is called; written while it begins anew, which nothing else may run beside.
    life: RwLock<Life>,
}

#[derive(Debug)]
struct Life {
    generation: u64,
    began: Instant,
}

impl Module {
    /// The library at `path`, loaded and initialised unless it is already.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, TokenError> {
        // One library has one state in a process, by whichever of its names it was loaded.
        let canonical = path.canonicalize();
        let path = canonical.as_deref().unwrap_or(path);
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(path) {
            return Ok(Arc::clone(module));
        }
        let failed = |source| TokenError::Module { path: path.to_owned(), source };
        let library = Pkcs11::new(path).map_err(failed)?;
        initialise(&library).map_err(failed)?;
        let life = RwLock::new(Life { generation: 0, began: Instant::now() });
        let module = Arc::new(Self { path: path.to_owned(), library, life });
        modules.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    /// Calls the library. What it gave out in an earlier life of another generation is of no use.
    pub(super) fn call<T>(
        &self,
        work: impl FnOnce(&Pkcs11, u64) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let life = self.life.read().unwrap_or_else(PoisonError::into_inner);
        work(&self.library, life.generation)
    }

    /// Begins anew, for libraries that look for tokens then alone, unless somebody has just done so.
    pub(super) fn restart(&self) -> Result<(), TokenError> {
        let mut life = self.life.write().unwrap_or_else(PoisonError::into_inner);
        if life.generation > 0 && life.began.elapsed() < RESTARTS_APART {
            return Ok(());
        }
        let failed = |source| TokenError::Module { path: self.path.clone(), source };
        *life = Life { generation: life.generation + 1, began: Instant::now() };
        match self.library.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => return Err(failed(error)),
        }
        initialise(&self.library).map_err(failed)
    }
}

fn initialise(library: &Pkcs11) -> Result<(), Error> {
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error),
    }
}
