//! The epcis room.
