//! Objects that cannot be read: what their conditions say all the same.
//!
//! Law: `Accepted` speaks of the version that came, with its generation; what still holds of the last good one
//! keeps that one's.

use tidegate_actors::correlation::ViewError;

use super::status::{Condition, Truth, condition};
use crate::resource::field;

/// That an object is not accepted because it cannot be read; `last` is the condition of its last good version, if
/// that stays in force.
pub fn accepted(error: &ViewError, reason: &'static str, last: Option<&Condition>) -> Condition {
    let errors = error.errors.iter().map(field::spell).collect::<Vec<_>>().join("; ");
    let message = match last {
        None => format!("it cannot be read: {errors}"),
        Some(last) => {
            let version = match last.observed_generation {
                0 => "the last good version".to_owned(),
                generation => format!("the last good version, generation {generation},"),
            };
            let but = match last.status {
                Truth::True => String::new(),
                _ => format!(", which is not accepted either ({})", last.message),
            };
            format!("{version} stays in force{but}; this one cannot be read: {errors}")
        }
    };
    Condition::new(condition::ACCEPTED, Truth::False, reason, message, error.object.generation())
}

/// Puts that in the place of what the last good version was told.
pub fn tell(conditions: &mut [Condition], error: &ViewError, reason: &'static str) {
    for told in conditions.iter_mut().filter(|told| told.r#type == condition::ACCEPTED) {
        *told = accepted(error, reason, Some(told));
    }
}
