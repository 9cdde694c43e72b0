//! What facts do to the read models.
