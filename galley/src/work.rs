//! What judging one object costs, counted in steps instead of time.
//!
//! Anyone who reaches the webhook may send an object of 4 MiB, so every check is at most n log n, and what an
//! object can multiply (expressions, hosts times addresses) is counted. An object that takes more than
//! [`STEPS_MAX`] or [`PROGRAM_STATES_MAX`] is refused as a whole: a check that stops half-way admits nothing.
//! Steps are the same on every machine, so tests hold the cost of checks against the size of objects.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use mesh_api::regex::{Expression, RegexError, TEXT_BYTES_MAX};

/// Steps that one object may take: well under a second. A step is a value that is decoded, a byte of an
/// expression, a part of a host name that is compared, or an item that the model makes of several lists.
pub const STEPS_MAX: u64 = 30_000_000;

/// States of the programs of all regular expressions of one object. Every proxy that the object is for holds
/// them, at some tens of bytes each.
pub const PROGRAM_STATES_MAX: u64 = 4_000_000;

/// Steps that one object has taken so far.
#[derive(Debug, Default)]
pub struct Budget {
    steps: Cell<u64>,
    program_states: Cell<u64>,
    /// Expressions that were judged, with the size of their programs: objects repeat them.
    judged: RefCell<HashMap<Box<str>, Result<u64, RegexError>>>,
}

/// The object takes more steps than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object takes more work to check than one object may: split it into several")]
pub struct Exhausted;

impl Budget {
    /// Steps taken.
    pub fn spent(&self) -> u64 {
        self.steps.get()
    }

    /// States of programs.
    pub fn program_states(&self) -> u64 {
        self.program_states.get()
    }

    /// Takes steps.
    ///
    /// # Errors
    /// The object has taken more than it may, now or before.
    pub fn spend(&self, steps: u64) -> Result<(), Exhausted> {
        self.steps.set(self.spent().saturating_add(steps));
        self.check()
    }

    /// Whether there are steps left.
    ///
    /// # Errors
    /// There are none.
    pub fn check(&self) -> Result<(), Exhausted> {
        let within = self.spent() <= STEPS_MAX && self.program_states() <= PROGRAM_STATES_MAX;
        within.then_some(()).ok_or(Exhausted)
    }

    /// Judges an expression that a user wrote, whose length is limited.
    pub(crate) fn written(&self, text: &str) -> Result<(), RegexError> {
        match text.len() <= TEXT_BYTES_MAX {
            true => self.expression(text),
            false => Err(RegexError::TooLong),
        }
    }

    /// Judges an expression that is made of what a user wrote. Once the budget is exhausted everything passes,
    /// since the object is refused anyway.
    pub(crate) fn expression(&self, text: &str) -> Result<(), RegexError> {
        if self.check().is_err() {
            return Ok(());
        }
        // Every occurrence is compiled by the proxies, but judged only once here.
        let known = self.judged.borrow().get(text).cloned();
        let states = match known {
            Some(known) => known?,
            None => self.judge(text)?,
        };
        let total = self.program_states().saturating_add(states);
        self.program_states.set(total);
        Ok(())
    }

    fn judge(&self, text: &str) -> Result<u64, RegexError> {
        let parsed = Expression::parse(text);
        // Errors cost no more than what was read up to them.
        let steps = parsed.as_ref().map_or(text.len() as u64, Expression::work);
        self.steps.set(self.spent().saturating_add(steps));
        let states = parsed.map(|parsed| parsed.program_size());
        self.judged.borrow_mut().insert(text.into(), states.clone());
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_judged_once_and_its_program_counted_each_time() {
        let budget = Budget::default();
        budget.expression(r"\w{500}1").unwrap();
        let (steps, states) = (budget.spent(), budget.program_states());
        budget.expression(r"\w{500}1").unwrap();
        assert_eq!(
            (budget.spent(), budget.program_states()),
            (steps, 2 * states)
        );
    }

    #[test]
    fn the_end_of_the_budget_is_final() {
        let budget = Budget::default();
        assert_eq!(budget.spend(STEPS_MAX), Ok(()));
        assert_eq!(budget.spend(1), Err(Exhausted));
        assert_eq!(budget.check(), Err(Exhausted));
    }
}
