//! One file for each rule: its options, and the constants that they give its kernel.

pub(super) mod adabelief;
pub(super) mod adadelta;
pub(super) mod adafactor;
pub(super) mod adagrad;
pub(super) mod adam;
pub(super) mod adamax;
pub(super) mod adamw;
pub(super) mod asgd;
pub(super) mod fromage;
pub(super) mod lamb;
pub(super) mod lars;
pub(super) mod lion;
pub(super) mod muon;
pub(super) mod nadam;
pub(super) mod novograd;
pub(super) mod radam;
pub(super) mod rmsprop;
pub(super) mod rprop;
pub(super) mod schedule_free_adamw;
pub(super) mod sgd;
pub(super) mod sm3;
pub(super) mod yogi;
