//! The ledger's keyring as `wire` wants one: new keys are drawn here, and stored before a commit uses them.

use std::collections::BTreeMap;

use lotline_ledger::{KeyState as Stored, Keyring as Ring, KeyringError, Micros, Secret as RingSecret};
use lotline_wire::seal::{self, KeyId, KeyState, Keys, Secret};

/// A keyring with keys that are not stored yet.
#[derive(Debug)]
pub(crate) struct SealingKeys {
    ring: Ring,
    fresh: BTreeMap<KeyId, Secret>,
}

impl SealingKeys {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, fresh: BTreeMap::new() }
    }

    /// Whether it knows of the ledger's secret, be it destroyed.
    pub(crate) fn has_ledger_secret(&self) -> bool {
        !matches!(stored(&self.ring, KeyId::LEDGER_SECRET), KeyState::Unknown)
    }

    /// Stores the new keys, durably.
    pub(crate) fn store(&mut self, now: Micros) -> Result<(), KeyringError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let new = self.fresh.iter().map(|(id, secret)| (ring_id(*id), RingSecret::new(secret.0)));
        self.ring.insert(new.collect::<Vec<_>>(), now)?;
        self.fresh.clear();
        Ok(())
    }
}

fn ring_id(id: KeyId) -> lotline_ledger::KeyId {
    lotline_ledger::KeyId::new(id.0)
}

fn stored(ring: &Ring, id: KeyId) -> KeyState {
    match ring.state(&ring_id(id)) {
        Some(Stored::Present(secret, _)) => KeyState::Present(Secret(*secret.reveal())),
        Some(Stored::Erased(_)) => KeyState::Erased,
        None => KeyState::Unknown,
    }
}

impl Keys for SealingKeys {
    fn state(&self, id: KeyId) -> KeyState {
        self.fresh.get(&id).map_or_else(|| stored(&self.ring, id), |secret| KeyState::Present(secret.clone()))
    }
}

/// A ledger's keyring, to open sealed values with.
#[derive(Debug)]
pub struct LedgerKeys(pub Ring);

impl Keys for LedgerKeys {
    fn state(&self, id: KeyId) -> KeyState {
        stored(&self.0, id)
    }
}

impl seal::Keyring for SealingKeys {
    fn create(&mut self, id: KeyId) -> Result<Secret, seal::KeyringError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| seal::KeyringError(Box::new(error)))?;
        let secret = Secret(bytes);
        self.fresh.insert(id, secret.clone());
        Ok(secret)
    }
}
