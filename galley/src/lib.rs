//! galley
