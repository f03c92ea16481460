//! A setting that may be replaced while the daemon runs.

use std::sync::{Arc, PoisonError, RwLock};

/// What holds now. Who reads it twice may see two.
#[derive(Debug)]
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// What holds until it is replaced.
    pub fn new(setting: T) -> Self {
        Self(RwLock::new(Arc::new(setting)))
    }

    /// What holds now; it stays as it is for whoever has it.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on another one holds.
    pub fn set(&self, setting: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setting);
    }
}
