//! One file for each rule: its options, and the constants that they give its kernel.

pub(crate) mod adabelief;
pub(crate) mod adadelta;
pub(crate) mod adafactor;
pub(crate) mod adagrad;
pub(crate) mod adam;
pub(crate) mod adamax;
pub(crate) mod adamw;
pub(crate) mod fromage;
pub(crate) mod lamb;
pub(crate) mod lars;
pub(crate) mod lion;
pub(crate) mod lookahead;
pub(crate) mod nadam;
pub(crate) mod novograd;
pub(crate) mod radam;
pub(crate) mod registry;
pub(crate) mod rmsprop;
pub(crate) mod rprop;
pub(crate) mod sgd;
pub(crate) mod sm3;
pub(crate) mod yogi;
